//! Explains a look-up that found nothing: which servers were asked, what each said, how long it
//! took, and what helps. Pure.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use super::question::NonAnswer;

/// The servers that were asked, and what each said last, if it was no answer.
#[derive(Debug, Default)]
pub struct Diagnosis(Vec<(SocketAddr, NonAnswer, Duration)>);

impl Diagnosis {
    pub fn ask(&mut self, server: SocketAddr) {
        if !self.0.iter().any(|(s, ..)| *s == server) {
            self.0.push((server, NonAnswer::Nothing, Duration::ZERO));
        }
    }

    pub fn hear(&mut self, server: SocketAddr, word: NonAnswer, after: Duration) {
        self.ask(server);
        for known in self.0.iter_mut().filter(|(s, ..)| *s == server) {
            // These are only hints: an answer may still come.
            let hint = matches!(word, NonAnswer::Garbage | NonAnswer::NoSocket(_));
            if !hint || known.1 == NonAnswer::Nothing {
                *known = (server, word.clone(), after);
            }
        }
    }

    pub fn is_anyone_silent(&self) -> bool {
        let silent = |word: &NonAnswer| {
            matches!(
                word,
                NonAnswer::Nothing | NonAnswer::Garbage | NonAnswer::Unreachable(_)
            )
        };
        self.0.iter().any(|(_, word, _)| silent(word))
    }

    /// `known`: the name exists. `candidates`: how many names were asked for.
    pub fn absence(&self, name: &str, known: bool, candidates: usize) -> String {
        let servers = list(self.0.iter().map(|(server, ..)| shown(*server)));
        let mut text = match known {
            true => format!(
                "{name} has no address: asked {servers}, the name exists without an A or AAAA record"
            ),
            false => format!("{name} does not exist: asked {servers}, the answer was NXDOMAIN"),
        };
        if candidates > 1 {
            let more = candidates - 1;
            let _ = write!(text, "; with {more} search domain{} likewise", plural(more));
        }
        text
    }

    pub fn failure(&self, name: &str, budget: Duration) -> String {
        let mut parts = Vec::new();
        let silent = |word: &NonAnswer| *word == NonAnswer::Nothing;
        let quiet: Vec<_> = self.0.iter().filter(|(_, w, _)| silent(w)).collect();
        if !quiet.is_empty() {
            let servers = list(quiet.iter().map(|(server, ..)| shown(*server)));
            parts.push(format!(
                "no answer from {servers} within {}",
                seconds(budget)
            ));
        }
        for (server, word, after) in &self.0 {
            let (server, after) = (shown(*server), seconds(*after));
            match word {
                NonAnswer::Nothing => {}
                NonAnswer::Said(word) => {
                    parts.push(format!("{server} answered {word} after {after}"))
                }
                NonAnswer::Garbage => parts.push(format!(
                    "{server} sent what is no answer within {}",
                    seconds(budget)
                )),
                NonAnswer::NoSocket(why) => {
                    parts.push(format!("there was no socket to ask {server} from: {why}"));
                }
                NonAnswer::Unreachable(why) => {
                    parts.push(format!("{server} cannot be reached: {why}"))
                }
            }
        }
        let lost = |word: &NonAnswer| matches!(word, NonAnswer::Unreachable(_));
        let advice = match self.0.iter().all(|(_, word, _)| lost(word)) {
            true => "; /etc/resolv.conf or --dns-server says which server is asked",
            false => "",
        };
        format!(
            "{name} could not be looked up: {}{advice}",
            parts.join("; ")
        )
    }
}

/// A server as an operator knows it.
pub fn shown(server: SocketAddr) -> String {
    match server.port() {
        53 => server.ip().to_string(),
        _ => server.to_string(),
    }
}

/// `a`, `a and b`, `a, b and c`.
pub fn list(items: impl Iterator<Item = String>) -> String {
    let mut items: Vec<String> = items.collect();
    match items.pop() {
        None => "no server".into(),
        Some(last) if items.is_empty() => last,
        Some(last) => format!("{} and {last}", items.join(", ")),
    }
}

/// A time with as many digits as anybody reads.
pub fn seconds(time: Duration) -> String {
    match time.as_millis() {
        ms @ 0..1000 => format!("{ms} ms"),
        ms if ms % 1000 < 50 => format!("{} s", ms / 1000),
        ms => format!("{:.1} s", ms as f64 / 1000.0),
    }
}

fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_s_part_is_told() {
        let servers: Vec<SocketAddr> = ["10.0.0.1:53", "10.0.0.2:5353", "[::1]:53"]
            .iter()
            .map(|s| s.parse().unwrap())
            .collect();
        let mut diagnosis = Diagnosis::default();
        servers.iter().for_each(|s| diagnosis.ask(*s));
        let ten = Duration::from_secs(10);
        assert_eq!(
            diagnosis.failure("a.example", ten),
            "a.example could not be looked up: no answer from 10.0.0.1, 10.0.0.2:5353 and ::1 within 10 s"
        );
        diagnosis.hear(
            servers[0],
            NonAnswer::Said("SERVFAIL"),
            Duration::from_millis(1250),
        );
        diagnosis.hear(servers[0], NonAnswer::Garbage, ten);
        diagnosis.hear(servers[1], NonAnswer::Garbage, ten);
        assert_eq!(
            diagnosis.failure("a.example", ten),
            "a.example could not be looked up: no answer from ::1 within 10 s; \
             10.0.0.1 answered SERVFAIL after 1.2 s; 10.0.0.2:5353 sent what is no answer within 10 s"
        );
        assert_eq!(
            diagnosis.absence("a.example", false, 3),
            "a.example does not exist: asked 10.0.0.1, 10.0.0.2:5353 and ::1, the answer was NXDOMAIN; \
             with 2 search domains likewise"
        );
    }

    #[test]
    fn a_server_that_is_not_there_brings_the_setting_with_it() {
        let mut diagnosis = Diagnosis::default();
        let why = NonAnswer::Unreachable("Connection refused".into());
        diagnosis.hear("127.0.0.1:53".parse().unwrap(), why, Duration::ZERO);
        let text = diagnosis.failure("a", Duration::from_secs(1));
        assert!(
            text.contains("refused") && text.contains("--dns-server"),
            "{text}"
        );
    }
}
