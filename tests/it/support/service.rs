//! The real binary, as a user runs it: arguments, environment, signals, exit code, output.
//!
//! [`Service`] owns the process: it is killed, by its pid, when the value is dropped. Two
//! threads read its output all the time, so that it never blocks on a full pipe. A test
//! that fails prints what the process wrote.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::redis::Redis;
use super::sys::{self, Signal};
use super::terminal::{self, Shown};
use super::{DEADLINE, DRAIN_MARGIN, MS, until};

/// What tests allow of the addresses that are refused as a rule.
pub const LOOPBACK: &str = "127.0.0.0/8,::1/128";

/// How much of the output of a process a failed test prints.
const SHOWN_LINES: usize = 80;

/// A command line that has not been started yet.
pub struct Outhook(Command);

impl Outhook {
    /// With a clean environment: nothing of ours, of the tutorial's or of any proxy.
    pub fn new<S: AsRef<OsStr>>(args: &[S]) -> Outhook {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outhook"));
        for (name, _) in std::env::vars_os() {
            let upper = name.to_string_lossy().to_uppercase();
            if upper.starts_with("OUTHOOK_")
                || upper.starts_with("REDIS_")
                || upper.ends_with("_PROXY")
                || ["COLUMNS", "NO_COLOR", "TERM"].contains(&&*upper)
            {
                command.env_remove(name);
            }
        }
        // One line an attempt, which tests may wait for and a failed one prints.
        command.env("OUTHOOK_LOG", "info,outhook=debug");
        // All receivers of tests are on loopback, where the address guard lets nothing lead.
        command.env("OUTHOOK_ALLOW_CIDR", LOOPBACK);
        command.args(args);
        Outhook(command)
    }

    /// An operator's command for this Redis.
    pub fn tool(redis: &Redis, args: &[&str]) -> Outhook {
        let words = args.iter().position(|arg| arg.starts_with('-'));
        let (words, options) = args.split_at(words.unwrap_or(args.len()));
        let address = redis.address();
        Outhook::new(&[words, &["--redis-address", &*address], options].concat())
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Outhook {
        self.0.env(name, value);
        self
    }

    /// With the address guard as it is where nothing is set.
    pub fn guarded(mut self) -> Outhook {
        self.0.env_remove("OUTHOOK_ALLOW_CIDR");
        self
    }

    /// Under limits, as the shell's `ulimit` takes them.
    pub fn limited(self, limits: &str) -> Outhook {
        let Outhook(bare) = self;
        let mut command = Command::new("sh");
        let script = format!("ulimit {limits} && exec \"$0\" \"$@\"");
        command.args(["-c", &script]).arg(bare.get_program());
        command.args(bare.get_args());
        for (name, value) in bare.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        Outhook(command)
    }

    /// Runs it to its end on a terminal of so many columns, on which this was typed before.
    pub fn on_terminal(self, columns: u16, typed: &str) -> Shown {
        terminal::run(self.0, columns, typed)
    }

    /// Starts it with pipes at all three ends.
    pub fn spawn(self) -> Service {
        let Outhook(mut command) = self;
        let shown = format!("{:?}", command.get_args().collect::<Vec<_>>());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("to start the binary");
        let out = Lines::reading(child.stdout.take().expect("a pipe"));
        let log = Lines::reading(child.stderr.take().expect("a pipe"));
        let stdin = child.stdin.take();
        Service {
            child,
            shown,
            stdin,
            out,
            log,
            ended: None,
        }
    }

    /// Starts it with this standard error; nothing can be awaited there.
    pub fn spawn_logging_to(self, stderr: impl Into<Stdio>) -> Service {
        let Outhook(mut command) = self;
        let shown = format!("{:?}", command.get_args().collect::<Vec<_>>());
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("to start the binary");
        let out = Lines::reading(child.stdout.take().expect("a pipe"));
        let log = Lines::reading(std::io::empty());
        Service {
            child,
            shown,
            stdin: None,
            out,
            log,
            ended: None,
        }
    }

    /// Runs it to its end with this standard input.
    pub fn run(self, input: impl Into<Vec<u8>>) -> Finished {
        let mut service = self.spawn();
        service.write(input);
        service.stdin = None;
        let code = service.wait_exit(DEADLINE);
        Finished {
            code,
            out: service.out.all(),
            err: service.log.all(),
        }
    }
}

/// Starts `serve` at this Redis and waits until it has subscribed.
pub fn serve(redis: &Redis, args: &[&str]) -> Service {
    let address = redis.address();
    let service = Outhook::new(&[&["serve", "--redis-address", &address], args].concat()).spawn();
    service.log.wait("ready: subscribed");
    service
}

/// Runs one of the tools at this Redis to its end.
pub fn tool(redis: &Redis, args: &[&str]) -> Finished {
    Outhook::new(&[args, &["--redis-address", &redis.address()]].concat()).run("")
}

/// A process that has run to its end.
#[derive(Debug)]
pub struct Finished {
    pub code: i32,
    pub out: Vec<String>,
    pub err: Vec<String>,
}

pub struct Service {
    child: Child,
    shown: String,
    stdin: Option<ChildStdin>,
    pub out: Lines,
    pub log: Lines,
    ended: Option<ExitStatus>,
}

impl Service {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Signals the process, which must still be there.
    pub fn signal(&mut self, signal: Signal) {
        assert!(
            self.is_running(),
            "{} has ended: {:?}",
            self.shown,
            self.ended
        );
        sys::signal(self.pid(), signal);
    }

    /// Stops it, and waits until the kernel has done so: the signal is on its way when it was sent.
    pub fn stop(&mut self) {
        self.signal(Signal::STOP);
        until("the process to stop", || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).ok()?;
            stat.rsplit_once(") ")?.1.starts_with('T').then_some(())
        });
    }

    pub fn is_running(&mut self) -> bool {
        self.ended = self.child.try_wait().expect("a child");
        self.ended.is_none()
    }

    /// Waits for the end and gives the exit code; minus the signal's number if it died of one.
    pub fn wait_exit(&mut self, within: Duration) -> i32 {
        let code = self.exit_within(within);
        code.unwrap_or_else(|| panic!("{} did not end within {within:?}", self.shown))
    }

    /// As [`Service::wait_exit`], but `None` if it is still there.
    pub fn exit_within(&mut self, within: Duration) -> Option<i32> {
        use std::os::unix::process::ExitStatusExt;
        let end = Instant::now() + within;
        while self.is_running() {
            if Instant::now() >= end {
                return None;
            }
            thread::sleep(2 * MS);
        }
        self.out.join();
        self.log.join();
        assert_eq!(self.log.count("panicked at"), 0, "{} panicked", self.shown);
        let status = self.ended?;
        status.code().or_else(|| status.signal().map(|s| -s))
    }

    /// SIGTERM, then the end: the usual way out. Says how long that took.
    pub fn terminate(&mut self) -> (i32, Duration) {
        let asked = Instant::now();
        self.signal(Signal::TERM);
        (self.wait_exit(DEADLINE), asked.elapsed())
    }

    /// Ends it as [`Service::terminate`]; nothing may have been lost.
    pub fn end_well(&mut self) {
        assert_eq!(self.terminate().0, 0, "exit code after SIGTERM");
    }

    /// A value of the line that SIGUSR1 asks for.
    pub fn snapshot(&mut self, name: &str) -> u64 {
        // Not so often that nothing else is seen when a test fails.
        thread::sleep(50 * MS);
        let before = self.log.count("snapshot:");
        self.signal(Signal::USR1);
        let line = self.log.wait_times("snapshot:", before + 1);
        let value = line.split(&format!(" {name}=")).nth(1);
        let value = value.and_then(|rest| rest.split(' ').next()?.parse().ok());
        value.unwrap_or_else(|| panic!("{name}: {line}"))
    }

    /// SIGTERM, within a drain of so many seconds; what could not be saved is named in the log.
    pub fn assert_ends_and_names(&mut self, drain_timeout: Duration, ids: &[&str]) {
        let (code, took) = self.terminate();
        assert_eq!(code, 1);
        assert!(took < drain_timeout + DRAIN_MARGIN, "{took:?}");
        let lines = self.log.all();
        let drain = lines.iter().position(|l| l.contains("drain: begins"));
        let lines = &lines[drain.expect("a drain")..];
        for id in ids {
            let is_named = lines.iter().any(|l| l.contains(id));
            assert!(is_named, "{id} is not named at the end");
        }
    }

    /// Writes to standard input. A process that has left does not care.
    pub fn write(&mut self, bytes: impl Into<Vec<u8>>) {
        let _ = self
            .stdin
            .as_mut()
            .expect("an open stdin")
            .write_all(&bytes.into());
    }

    /// Bytes of what was written that the process has not taken.
    pub fn unread(&self) -> usize {
        let stdin = self.stdin.as_ref().expect("not closed");
        rustix::io::ioctl_fionread(stdin).expect("a pipe") as usize
    }

    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if self.ended.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if thread::panicking() {
            self.out.join();
            self.log.join();
            eprintln!("--- {} wrote:", self.shown);
            let lines = [self.out.all(), self.log.all()].concat();
            let skipped = lines.len().saturating_sub(SHOWN_LINES);
            if skipped > 0 {
                eprintln!("... {skipped} lines, then");
            }
            for line in &lines[skipped..] {
                eprintln!("{}", line.chars().take(400).collect::<String>());
            }
            eprintln!("---");
        }
    }
}

/// What a process wrote to one end, line by line, as it comes.
pub struct Lines {
    shared: Arc<(Mutex<Vec<String>>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Lines {
    fn reading(from: impl Read + Send + 'static) -> Lines {
        let shared = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let to = shared.clone();
        let thread = thread::spawn(move || {
            let mut from = BufReader::new(from);
            let mut line = Vec::new();
            while matches!(from.read_until(b'\n', &mut line), Ok(1..)) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                to.0.lock().unwrap().push(text);
                to.1.notify_all();
                line.clear();
            }
        });
        Lines {
            shared,
            thread: Some(thread),
        }
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    pub fn all(&self) -> Vec<String> {
        self.shared.0.lock().unwrap().clone()
    }

    pub fn count(&self, part: &str) -> usize {
        self.all().iter().filter(|l| l.contains(part)).count()
    }

    /// Waits for a line that holds `part`, and gives the first such.
    pub fn wait(&self, part: &str) -> String {
        self.wait_times(part, 1)
    }

    /// Waits until `part` stands in so many lines, and gives the last of these.
    pub fn wait_times(&self, part: &str, n: usize) -> String {
        let find = |lines: &[String]| {
            lines
                .iter()
                .filter(|l| l.contains(part))
                .nth(n - 1)
                .cloned()
        };
        let lines = self.shared.0.lock().unwrap();
        let (lines, _) = self
            .shared
            .1
            .wait_timeout_while(lines, DEADLINE, |lines| find(lines).is_none())
            .unwrap();
        find(&lines).unwrap_or_else(|| {
            drop(lines);
            panic!("waited {DEADLINE:?} in vain for {part:?} in {n} lines of output")
        })
    }
}
