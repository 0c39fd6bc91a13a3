//! Children, and what the kernel says of them. A child is killed when its handle is dropped.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Result;

const READY: Duration = Duration::from_secs(10);

pub struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a process has used so far.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    pub cpu: Duration,
    /// Resident memory now, and at most so far.
    pub rss_kb: u64,
    pub peak_kb: u64,
}

/// A redis-server of our own. Answers its port.
pub fn redis(dir: &Path) -> Result<(Process, u16)> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let child = Command::new("redis-server")
        .args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
        ])
        .arg(dir)
        .stdout(Stdio::null())
        .spawn()
        .map_err(|e| format!("redis-server: {e}; scripts/test.sh installs it"))?;
    let process = Process(child);
    let client = redis::Client::open(("127.0.0.1", port))?;
    let begun = Instant::now();
    while client.get_connection().is_err() {
        if begun.elapsed() > READY {
            return Err("redis-server does not come up".into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok((process, port))
}

/// outhook with these options, ready. Answers how long that took.
pub fn outhook(redis_port: u16, options: &[&str]) -> Result<(Process, Duration)> {
    let begun = Instant::now();
    let own = env!("CARGO_BIN_EXE_outhook").into();
    let mut child = Command::new(std::env::var_os("OUTHOOK").unwrap_or(own))
        .args([
            "serve",
            "--redis-address",
            &format!("127.0.0.1:{redis_port}"),
        ])
        .args(options)
        .env_remove("OUTHOOK_LOG")
        // The sink is on loopback. A variable, as builds from before the guard know no option.
        .env("OUTHOOK_ALLOW_CIDR", "127.0.0.0/8")
        .stderr(Stdio::piped())
        .spawn()?;
    let log = child.stderr.take().ok_or("its log is not a pipe")?;
    let mut process = Process(child);
    let mut lines = BufReader::new(log).lines();
    for line in lines.by_ref() {
        if line?.contains("ready: subscribed") {
            let took = begun.elapsed();
            // A pipe that nobody reads fills up.
            std::thread::spawn(move || lines.for_each(drop));
            return Ok((process, took));
        }
    }
    let status = process.0.wait()?;
    Err(format!("outhook ended before it was ready: {status}").into())
}

/// This program again, as the client that only posts.
pub fn reference(args: &[String]) -> Result<Process> {
    let mut command = Command::new(std::env::current_exe()?);
    Ok(Process(
        command.arg(super::reference::POST).args(args).spawn()?,
    ))
}

impl Process {
    pub fn usage(&self) -> Result<Usage> {
        let proc = format!("/proc/{}", self.0.id());
        let stat = fs::read_to_string(format!("{proc}/stat"))?;
        // The second field may hold blanks; the numbers come after its closing bracket.
        let numbers = stat.rsplit(')').next().unwrap_or_default();
        let field = |n: usize| -> u64 {
            let text = numbers.split_whitespace().nth(n - 3);
            text.and_then(|t| t.parse().ok()).unwrap_or_default()
        };
        let ticks = field(14) + field(15);
        let status = fs::read_to_string(format!("{proc}/status"))?;
        let kb = |name: &str| -> u64 {
            let line = status.lines().find_map(|l| l.strip_prefix(name));
            let text = line.and_then(|l| l.split_whitespace().next());
            text.and_then(|t| t.parse().ok()).unwrap_or_default()
        };
        Ok(Usage {
            // USER_HZ is 100 wherever Linux runs.
            cpu: Duration::from_millis(ticks * 10),
            rss_kb: kb("VmRSS:"),
            peak_kb: kb("VmHWM:"),
        })
    }

    /// Waits for its end, which must be a good one.
    pub fn wait(mut self) -> Result<()> {
        let status = self.0.wait()?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("the reference client failed: {status}").into()),
        }
    }
}

/// CPU of this process's own threads whose names begin so.
pub fn threads(name: &str) -> Result<Duration> {
    let mut ticks = 0;
    for task in fs::read_dir("/proc/self/task")? {
        let Ok(stat) = fs::read_to_string(task?.path().join("stat")) else {
            // It has ended.
            continue;
        };
        let (before, numbers) = stat.rsplit_once(')').unwrap_or_default();
        if before
            .split_once('(')
            .is_some_and(|(_, n)| n.starts_with(name))
        {
            let used = numbers.split_whitespace().skip(11).take(2);
            ticks += used.filter_map(|t| t.parse::<u64>().ok()).sum::<u64>();
        }
    }
    Ok(Duration::from_millis(ticks * 10))
}
