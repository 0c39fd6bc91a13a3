//! outhook itself: one `deliver` process for all cases, and one for each other set of options.
//!
//! What became of a message is read from standard error: the log line of an attempt that
//! delivered, and the dead letter of one that is given up.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::super::case::Case;
use super::super::progress::{Outcome, Progress};
use super::{CASE_LIMIT, Job, Sender, Surroundings};

/// What every process is started with: retries come at once, a worker for every case.
const OPTIONS: [&str; 12] = [
    "--backoff-base",
    "20ms",
    "--jitter",
    "0",
    "--timeout",
    "20s",
    "--connect-timeout",
    "10s",
    "--workers",
    "256",
    "--log",
    "info,outhook=debug",
];

/// Of a process that went wrong, so many lines are shown.
const SHOWN: usize = 40;

pub struct Outhook {
    surroundings: Surroundings,
    help: String,
    processes: Mutex<HashMap<Vec<String>, Arc<Process>>>,
}

struct Process {
    child: Mutex<Child>,
    input: Mutex<Option<ChildStdin>>,
    reader: Mutex<Option<JoinHandle<()>>>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// By message id: whom to tell.
    waiting: Mutex<HashMap<String, (Arc<Progress>, usize)>>,
    lines: Mutex<Vec<String>>,
}

impl Outhook {
    pub fn new(surroundings: Surroundings) -> Outhook {
        let help = command()
            .args(["deliver", "--help"])
            .output()
            .expect("to start the binary");
        Outhook {
            surroundings,
            help: String::from_utf8_lossy(&help.stdout).into_owned(),
            processes: Mutex::default(),
        }
    }

    fn has(&self, option: &str) -> bool {
        self.help.contains(&format!("{option} "))
    }

    /// Options that a case needs and this binary has not: each is said, as the case fails.
    pub fn lacks(&self, case: &Case) -> Vec<&'static str> {
        let needs = [
            ("--ca-file", case.tls.is_some()),
            ("--dns-server", !case.name_server.is_empty()),
        ];
        needs
            .into_iter()
            .filter(|(option, needed)| *needed && !self.has(option))
            .map(|(option, _)| option)
            .collect()
    }

    fn process(&self, case: &Case) -> Arc<Process> {
        let mut processes = self.processes.lock().expect("no panic while it was locked");
        let started = processes
            .entry(case.options.clone())
            .or_insert_with(|| self.start(&case.options).into());
        started.clone()
    }

    fn start(&self, options: &[String]) -> Process {
        let mut command = command();
        command.arg("deliver").args(OPTIONS);
        // A case with faults in a row must not wait long for its endpoint's next turn.
        let backoff = "--endpoint-backoff-base";
        if self.has(backoff) {
            command.args([backoff, "20ms"]);
        }
        // The corpus is on loopback, but for one address to which there is no route.
        if self.has("--allow-cidr") {
            command.args(["--allow-cidr", "127.0.0.0/8,::1/128,240.0.0.1"]);
        }
        if self.has("--ca-file") {
            command.arg("--ca-file").arg(&self.surroundings.ca_file);
        }
        if self.has("--dns-server") {
            command.args(["--dns-server", &self.surroundings.name_server.to_string()]);
        }
        command.args(options);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("to start the binary");
        let shared = Arc::new(Shared::default());
        let (log, to) = (child.stderr.take().expect("a pipe"), shared.clone());
        let reader = thread::spawn(move || {
            for line in BufReader::new(log).split(b'\n').map_while(Result::ok) {
                to.take(&String::from_utf8_lossy(&line));
            }
            to.end();
        });
        Process {
            input: Mutex::new(child.stdin.take()),
            child: Mutex::new(child),
            reader: Mutex::new(Some(reader)),
            shared,
        }
    }
}

impl Sender for Outhook {
    fn name(&self) -> String {
        "outhook".into()
    }

    fn skips(&self, _: &Case) -> Option<String> {
        None
    }

    fn send(&self, job: &Job) {
        let process = self.process(&job.case);
        for n in 0..job.case.message.len() {
            if !job.progress.await_release(n, CASE_LIMIT) {
                return;
            }
            let told = (job.progress.clone(), n);
            process
                .shared
                .waiting
                .lock()
                .expect("no panic while it was locked")
                .insert(job.id(n), told);
            let line = job.line(n);
            let mut input = process.input.lock().expect("no panic while it was locked");
            // One that has died is found out by the messages that nobody settles.
            let _ = input.as_mut().map(|input| input.write_all(line.as_bytes()));
        }
    }

    fn end(&self) -> Result<(), String> {
        let processes =
            std::mem::take(&mut *self.processes.lock().expect("no panic while it was locked"));
        processes.into_iter().try_for_each(|(options, process)| {
            process
                .end()
                .map_err(|e| format!("outhook deliver {}: {e}", options.join(" ")))
        })
    }
}

impl Process {
    fn end(&self) -> Result<(), String> {
        *self.input.lock().expect("no panic while it was locked") = None;
        let mut child = self.child.lock().expect("no panic while it was locked");
        let end = Instant::now() + CASE_LIMIT;
        let code = loop {
            match child.try_wait().expect("a child") {
                Some(status) => break status.code(),
                None if Instant::now() >= end => {
                    let _ = child.kill();
                    let _ = child.wait();
                    break None;
                }
                None => thread::sleep(Duration::from_millis(5)),
            }
        };
        if let Some(reader) = self
            .reader
            .lock()
            .expect("no panic while it was locked")
            .take()
        {
            let _ = reader.join();
        }
        let lines = self
            .shared
            .lines
            .lock()
            .expect("no panic while it was locked");
        let panicked = lines.iter().any(|line| line.contains("panicked at"));
        // 1 says that there are dead letters, which is right here.
        match code {
            Some(0 | 1) if !panicked => Ok(()),
            _ => {
                let last = lines[lines.len().saturating_sub(SHOWN)..].join("\n");
                Err(format!(
                    "ended with {code:?}, panicked: {panicked}; its last lines:\n{last}"
                ))
            }
        }
    }
}

impl Shared {
    fn take(&self, line: &str) {
        let found = match line.starts_with('{') {
            true => dead_letter(line),
            false => delivered(line),
        };
        if let Some((id, outcome)) = found {
            let told = self
                .waiting
                .lock()
                .expect("no panic while it was locked")
                .remove(&id);
            if let Some((progress, n)) = told {
                progress.settle(n, outcome);
            }
        }
        let mut lines = self.lines.lock().expect("no panic while it was locked");
        lines.push(line.chars().take(400).collect());
    }

    /// The process has ended: nobody will settle what is left.
    fn end(&self) {
        let left = std::mem::take(&mut *self.waiting.lock().expect("no panic while it was locked"));
        for (progress, n) in left.into_values() {
            let text = "outhook ended before it was settled".into();
            progress.settle(
                n,
                Outcome {
                    text,
                    ..Outcome::default()
                },
            );
        }
    }
}

/// `delivered id=a url=http://h/ status=200 attempt=1 took=1ms`, behind time and level.
fn delivered(line: &str) -> Option<(String, Outcome)> {
    let words = line.split_once(" delivered id=")?.1;
    let id = words.split(' ').next()?.to_owned();
    let number = |name: &str| {
        words
            .split(' ')
            .find_map(|word| word.strip_prefix(name)?.parse().ok())
    };
    let status = number("status=");
    let attempts = number("attempt=").map(u32::from);
    Some((
        id,
        Outcome {
            delivered: true,
            status,
            attempts,
            ..Outcome::default()
        },
    ))
}

fn dead_letter(line: &str) -> Option<(String, Outcome)> {
    let letter: Value = serde_json::from_str(line).ok()?;
    let text = |name: &str| letter.get(name).and_then(Value::as_str).map(str::to_owned);
    let number = |name: &str| letter.get(name).and_then(Value::as_u64);
    let reason = text("reason")?;
    let error = text("error");
    let (kind, words) = match error
        .as_deref()
        .map(|error| error.split_once(": ").unwrap_or((error, "")))
    {
        Some((kind, words)) => (Some(kind.to_owned()), words.to_owned()),
        None => (None, String::new()),
    };
    let refused = reason.starts_with("bad_") || reason == "too_large";
    let outcome = Outcome {
        status: number("status").and_then(|n| u16::try_from(n).ok()),
        kind,
        text: if refused {
            text("detail").unwrap_or_default()
        } else {
            words
        },
        refused: refused.then_some(reason),
        attempts: number("attempts").and_then(|n| u32::try_from(n).ok()),
        ..Outcome::default()
    };
    Some((text("id")?, outcome))
}

/// With a clean environment, so that no setting of whoever runs this changes a case.
fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outhook"));
    for (name, _) in std::env::vars_os() {
        let upper = name.to_string_lossy().to_uppercase();
        if upper.starts_with("REDIS_") || upper.ends_with("_PROXY") {
            command.env_remove(name);
        }
    }
    command
}
