//! Any other sender: a command that reads messages, one JSON object a line, and writes one
//! line for each: `{"id": "...", "status": 200}` or `{"id": "...", "error": "tls: ..."}`.
//! `README.md` beside the cases shows one.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::super::case::Case;
use super::super::progress::Outcome;
use super::{CASE_LIMIT, Job, Sender, Surroundings};

pub struct Script {
    pub line: String,
    pub surroundings: Surroundings,
}

impl Sender for Script {
    fn name(&self) -> String {
        self.line
            .split(['/', ' '])
            .rfind(|word| !word.is_empty())
            .unwrap_or("command")
            .into()
    }

    fn skips(&self, case: &Case) -> Option<String> {
        let options = !case.options.is_empty();
        options.then(|| "it is about options of outhook".into())
    }

    fn send(&self, job: &Job) {
        let started = Command::new("sh")
            .args(["-c", &self.line])
            .env("CORPUS_CA_FILE", &self.surroundings.ca_file)
            .env(
                "CORPUS_DNS_SERVER",
                self.surroundings.name_server.to_string(),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = started else {
            return settle_rest(job, "the sender cannot be started");
        };
        let mut input = child.stdin.take().expect("a pipe");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for line in output.lines().map_while(Result::ok) {
                    take(job, &line);
                }
                settle_rest(job, "the sender said nothing of it");
            });
            for n in 0..job.case.message.len() {
                if !job.progress.await_release(n, CASE_LIMIT)
                    || input.write_all(job.line(n).as_bytes()).is_err()
                {
                    break;
                }
            }
            drop(input);
            job.progress.await_settled(CASE_LIMIT);
            let _ = child.kill();
            let _ = child.wait();
        });
    }

    fn end(&self) -> Result<(), String> {
        Ok(())
    }
}

fn take(job: &Job, line: &str) {
    let Ok(report) = serde_json::from_str::<Value>(line) else {
        return;
    };
    let text = |name: &str| report.get(name).and_then(Value::as_str).map(str::to_owned);
    let status = report
        .get("status")
        .and_then(Value::as_u64)
        .and_then(|n| u16::try_from(n).ok());
    let error = text("error");
    let n = (0..job.case.message.len()).find(|n| text("id").as_deref() == Some(&job.id(*n)));
    let kind = error
        .as_deref()
        .map(|error| error.split(':').next().unwrap_or(error).to_owned());
    if let Some(n) = n {
        let delivered =
            error.is_none() && status.is_some_and(|status| (200..300).contains(&status));
        job.progress.settle(
            n,
            Outcome {
                delivered,
                status,
                kind,
                text: error.unwrap_or_default(),
                ..Outcome::default()
            },
        );
    }
}

fn settle_rest(job: &Job, text: &str) {
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
