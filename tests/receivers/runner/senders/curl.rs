//! curl, as it is on the PATH: one process a case, so that it keeps its connections.
//!
//! curl cannot wait for anybody between two transfers, so between two messages it asks the
//! [`Gate`] of its case, which answers when the case's script has let the next message go.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::super::case::{Case, NameFault};
use super::super::progress::{Outcome, Progress};
use super::{CASE_LIMIT, Job, Sender, Surroundings};

/// One line a transfer, on standard error because that is not buffered.
const REPORT: &str = "%{stderr}message %{http_code} %{exitcode} %{errormsg}\n";

pub struct Curl {
    surroundings: Surroundings,
    pub version: String,
}

impl Curl {
    pub fn find(surroundings: Surroundings) -> Option<Curl> {
        let output = Command::new("curl").arg("--version").output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let version = text.split(' ').nth(1)?.to_owned();
        Some(Curl {
            surroundings,
            version,
        })
    }

    fn start(&self, job: &Job, gate: u16) -> io::Result<Child> {
        let mut command = Command::new("curl");
        for n in 0..job.case.message.len() {
            if n > 0 {
                // The same options for each: `--next` forgets them.
                command.args([
                    "--next",
                    "--silent",
                    "--noproxy",
                    "*",
                    "--output",
                    "/dev/null",
                ]);
                command
                    .arg(format!("http://127.0.0.1:{gate}/{n}"))
                    .arg("--next");
            } else {
                command.arg("--disable");
            }
            self.add_message(&mut command, job, n)?;
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
    }

    fn add_message(&self, command: &mut Command, job: &Job, n: usize) -> io::Result<()> {
        let message = &job.case.message[n];
        let body = self.surroundings.folder.join(job.id(n));
        std::fs::write(&body, message.body())?;
        command.args([
            "--silent",
            "--globoff",
            "--path-as-is",
            "--http1.1",
            "--noproxy",
            "*",
            "--output",
            "/dev/null",
        ]);
        command.args([
            "--header",
            "Content-Type: application/json",
            "--header",
            "Expect:",
        ]);
        command
            .arg("--header")
            .arg(format!("Webhook-Id: {}", job.id(n)));
        for (name, value) in &message.headers {
            command.arg("--header").arg(format!("{name}: {value}"));
        }
        command
            .arg("--data-binary")
            .arg(format!("@{}", body.display()));
        command
            .arg("--max-time")
            .arg(message.limit().as_secs_f32().to_string());
        command.arg("--cacert").arg(&self.surroundings.ca_file);
        for name in &job.case.name_server {
            let addresses = name.addresses.join(",");
            command
                .arg("--resolve")
                .arg(format!("{}:{}:{addresses}", name.name, job.port));
        }
        command.args(["--write-out", REPORT]).arg(job.url(n));
        Ok(())
    }
}

impl Sender for Curl {
    fn name(&self) -> String {
        format!("curl {}", self.version)
    }

    fn skips(&self, case: &Case) -> Option<String> {
        let own = case.skip_curl.clone();
        let wants = |what: &str| Some(what.to_owned());
        if own.is_some() {
            own
        } else if case.message.iter().any(|m| m.refused.is_some()) {
            wants("it is about what outhook takes")
        } else if case.message.iter().any(|m| m.most_attempts() > 1) {
            wants("one attempt is all that curl makes")
        } else if case.together {
            wants("curl sends one after another")
        } else if case
            .name_server
            .iter()
            .any(|n| n.fault != NameFault::None || n.addresses.is_empty() || n.lost > 0)
        {
            wants("it is about a name server")
        } else if !case.options.is_empty() {
            wants("it is about options of outhook")
        } else {
            None
        }
    }

    fn send(&self, job: &Job) {
        if !job.progress.await_release(0, CASE_LIMIT) {
            return;
        }
        let gate = match Gate::open(job.progress.clone()) {
            Ok(gate) => gate,
            Err(e) => return fail_all(job, &format!("no gate: {e}")),
        };
        let mut child = match self.start(job, gate.port) {
            Ok(child) => child,
            Err(e) => return fail_all(job, &format!("curl cannot be started: {e}")),
        };
        let log = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut n = 0;
        for line in log.split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            if let Some(report) = line.strip_prefix("message ") {
                job.progress.settle(n, outcome(report));
                n += 1;
            }
        }
        let _ = child.wait();
        fail_all(job, "curl ended without it");
    }

    fn end(&self) -> Result<(), String> {
        Ok(())
    }
}

/// Of what is settled already, nothing changes.
fn fail_all(job: &Job, text: &str) {
    for n in 0..job.case.message.len() {
        job.progress.settle(
            n,
            Outcome {
                text: text.into(),
                ..Outcome::default()
            },
        );
    }
}

/// `200 0 ` or `000 56 Recv failure: Connection reset by peer`.
fn outcome(report: &str) -> Outcome {
    let mut words = report.splitn(3, ' ');
    let status = words
        .next()
        .and_then(|word| word.parse::<u16>().ok())
        .filter(|status| *status > 0);
    let code = words
        .next()
        .and_then(|word| word.parse::<u32>().ok())
        .unwrap_or(1);
    let text = words.next().unwrap_or_default().to_owned();
    let kind = match code {
        0 => None,
        6 => Some("dns"),
        7 => Some("connect"),
        28 => Some("timeout"),
        35 | 51 | 53..=54 | 58..=60 | 64 | 66 | 77 | 80 | 82..=83 | 90..=91 => Some("tls"),
        _ => Some("protocol"),
    };
    Outcome {
        delivered: code == 0 && status.is_some_and(|status| (200..300).contains(&status)),
        status,
        kind: kind.map(str::to_owned),
        text,
        attempts: Some(1),
        ..Outcome::default()
    }
}

/// Answers `GET /n` when message n has been released. Its thread ends with the case.
struct Gate {
    port: u16,
}

impl Gate {
    fn open(progress: Arc<Progress>) -> io::Result<Gate> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        listener.set_nonblocking(true)?;
        thread::spawn(move || {
            while !progress.is_over() {
                match listener.accept() {
                    Ok((stream, _)) => drop(Gate::answer(stream, &progress)),
                    Err(_) => thread::sleep(Duration::from_millis(2)),
                }
            }
        });
        Ok(Gate { port })
    }

    fn answer(mut stream: std::net::TcpStream, progress: &Progress) -> io::Result<()> {
        stream.set_nonblocking(false)?;
        let mut buffer = [0; 2048];
        let read = stream.read(&mut buffer)?;
        let text = String::from_utf8_lossy(&buffer[..read]).into_owned();
        let path = text
            .split(' ')
            .nth(1)
            .and_then(|path| path.strip_prefix('/'));
        let n = path.and_then(|n| n.parse().ok()).unwrap_or(0);
        progress.await_release(n, CASE_LIMIT);
        stream.write_all(b"HTTP/1.1 204 Go\r\nConnection: close\r\n\r\n")
    }
}
