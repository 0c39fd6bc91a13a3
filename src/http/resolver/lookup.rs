//! One look-up: two questions for a name, and for its completions if need be. Pure.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::diagnosis::Diagnosis;
use super::evictor::zone;
use super::name_servers::NameServers;
use super::packet::{Query, Reply};
use super::question::{NonAnswer, Plan, Question, QuestionResult};
use super::resolv_conf::ResolvConf;
use super::source_ports::Ask;

/// How long one family's addresses wait for the other's (RFC 8305, 3).
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);

/// What is known of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Found {
        v6: Vec<IpAddr>,
        v4: Vec<IpAddr>,
        ttl: Duration,
    },
    /// The servers say that there is nothing.
    Absent { text: String, ttl: Option<Duration> },
    /// No server said anything of use.
    Failed { text: String },
}

/// News of a look-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    pub name: Arc<str>,
    pub outcome: Outcome,
    /// Nothing more will come.
    pub last: bool,
}

#[derive(Debug)]
pub struct Lookup {
    id: u64,
    conf: Arc<ResolvConf>,
    plan: Plan,
    candidates: Vec<String>,
    candidate: usize,
    /// IPv6 first, as its addresses come first.
    questions: [Question; 2],
    began: Instant,
    ends: Instant,
    /// When one family's addresses are enough.
    usable_at: Option<Instant>,
    published: bool,
    diagnosis: Diagnosis,
    /// Of the candidates before this one.
    absent: Absence,
    /// When the look-up is looked at next, as far as the heap of alarms knows.
    pub alarm: Option<Instant>,
}

/// What the servers have denied so far.
#[derive(Debug, Default)]
struct Absence {
    /// At least one name exists, but has no address.
    is_known: bool,
    ttl: Option<Duration>,
    failed: bool,
}

impl Lookup {
    /// The error says what is wrong with the name.
    pub fn new(
        id: u64,
        name: Arc<str>,
        conf: Arc<ResolvConf>,
        servers: Arc<[SocketAddr]>,
        now: Instant,
    ) -> Result<Lookup, String> {
        let mut candidates = conf.candidates(&name);
        // A completion may be too long where the name is not.
        if candidates.len() > 1 {
            candidates.retain(|candidate| Query::pair(candidate).is_some());
        }
        let first = candidates.first().map(|name| questions(name, &conf, now));
        let Some(Some(questions)) = first else {
            return Err(format!("{name} is no name that could be looked up"));
        };
        Ok(Lookup {
            id,
            plan: Plan {
                name,
                servers,
                attempts: conf.attempts,
                first_resend: conf.first_resend(),
                use_vc: conf.use_vc,
            },
            ends: now + conf.budget(),
            conf,
            candidates,
            candidate: 0,
            questions,
            began: now,
            usable_at: None,
            published: false,
            diagnosis: Diagnosis::default(),
            absent: Absence::default(),
            alarm: None,
        })
    }

    pub fn name(&self) -> &Arc<str> {
        &self.plan.name
    }

    pub fn zone(&self) -> &str {
        zone(&self.plan.name)
    }

    pub fn question(&self, index: u8) -> &Question {
        &self.questions[usize::from(index)]
    }

    /// When something is to be done if nothing comes.
    pub fn due(&self) -> Instant {
        let sends = self.questions.iter().filter_map(Question::next_send);
        let usable = self.usable_at.filter(|_| !self.published);
        sends
            .chain(usable)
            .chain([self.ends])
            .min()
            .unwrap_or(self.ends)
    }

    /// Takes in an answer, and goes on.
    pub fn hear(
        &mut self,
        index: u8,
        from: (SocketAddr, bool),
        reply: Reply,
        now: Instant,
        name_servers: &mut NameServers,
    ) -> Option<Publication> {
        let ask = self.ask(index);
        let question = &mut self.questions[usize::from(index)];
        if question.is_open() {
            let word = question.hear(ask, from, reply, (&self.plan, now), name_servers);
            self.note(from.0, word, now);
        }
        self.advance(now, name_servers)
    }

    /// Takes in that a server could not be reached, and goes on.
    pub fn miss(
        &mut self,
        index: u8,
        (server, by_stream): (SocketAddr, bool),
        word: NonAnswer,
        now: Instant,
        name_servers: &mut NameServers,
    ) -> Option<Publication> {
        let question = &mut self.questions[usize::from(index)];
        let word = question.miss(word, by_stream, (&self.plan, now), name_servers);
        self.note(server, word, now);
        self.advance(now, name_servers)
    }

    /// Notes what would explain it if no answer came.
    pub fn hint(&mut self, server: SocketAddr, word: NonAnswer, now: Instant) {
        self.note(server, Some(word), now);
    }

    /// Does what is due. Answers the news, if there is any.
    pub fn advance(&mut self, now: Instant, name_servers: &mut NameServers) -> Option<Publication> {
        loop {
            if now >= self.ends {
                self.questions
                    .iter_mut()
                    .for_each(|q| q.give_up(name_servers));
            }
            for index in [0, 1] {
                let ask = self.ask(index);
                let question = &mut self.questions[usize::from(index)];
                if let Some(server) = question.send_due(ask, &self.plan, now, name_servers) {
                    self.diagnosis.ask(server);
                }
            }
            if self.questions.iter().any(Question::is_open) {
                return self.settle_for_less(now, name_servers);
            }
            match self.conclude() {
                Some(outcome) => return Some(self.publish(outcome, true)),
                None => self.ask_next_candidate(now),
            }
        }
    }

    /// Ends it before its time.
    pub fn end(&mut self, why: String, name_servers: &mut NameServers) -> Publication {
        self.questions
            .iter_mut()
            .for_each(|q| q.give_up(name_servers));
        let outcome = self.found().unwrap_or(Outcome::Failed { text: why });
        self.publish(outcome, true)
    }

    pub fn asked_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.began)
    }

    fn ask(&self, index: u8) -> Ask {
        let lookup = self.id;
        Ask { lookup, index }
    }

    fn note(&mut self, server: SocketAddr, word: Option<NonAnswer>, now: Instant) {
        if let Some(word) = word {
            let after = now.saturating_duration_since(self.began);
            self.diagnosis.hear(server, word, after);
        }
    }

    /// One question is still open: is the other's answer enough?
    fn settle_for_less(
        &mut self,
        now: Instant,
        name_servers: &mut NameServers,
    ) -> Option<Publication> {
        let [v6, v4] = &self.questions;
        let any = [v6, v4]
            .iter()
            .any(|q| matches!(q.part, Some(QuestionResult::Found(_))));
        // Servers that deny a name because it has no IPv6 address exist; the reverse does not.
        let denied = matches!(v4.part, Some(QuestionResult::NoName(_)));
        if self.published || !(any || denied) {
            return None;
        }
        if now < *self.usable_at.get_or_insert(now + RESOLUTION_DELAY) {
            return None;
        }
        if denied {
            self.questions[0].finish(QuestionResult::NoName(None), name_servers);
            return self.advance(now, name_servers);
        }
        self.published = true;
        let outcome = self.found()?;
        Some(self.publish(outcome, false))
    }

    fn found(&self) -> Option<Outcome> {
        let [v6, v4] = self.questions.each_ref().map(|q| match &q.part {
            Some(QuestionResult::Found(found)) => Some(found.clone()),
            _ => None,
        });
        let ttl = [&v6, &v4].into_iter().flatten().map(|f| f.ttl).min()?;
        Some(Outcome::Found {
            v6: v6.map(|f| f.addresses).unwrap_or_default(),
            v4: v4.map(|f| f.addresses).unwrap_or_default(),
            ttl,
        })
    }

    /// Both questions are done. `None`: the next candidate is to be asked for.
    fn conclude(&mut self) -> Option<Outcome> {
        if let Some(found) = self.found() {
            return Some(found);
        }
        let [v6, v4] = self.questions.each_ref().map(|q| q.part.clone());
        let failed = match (&v6, &v4) {
            (Some(QuestionResult::Failed), Some(QuestionResult::NoName(_))) => false,
            (v6, v4) => [v6, v4]
                .iter()
                .any(|part| **part == Some(QuestionResult::Failed)),
        };
        let more = self.candidate + 1 < self.candidates.len();
        if failed {
            self.absent.failed = true;
            // As glibc: a server that is silent will be silent for the next one too.
            return match more && !self.diagnosis.is_anyone_silent() {
                true => None,
                false => Some(self.failure()),
            };
        }
        for part in [v6, v4].into_iter().flatten() {
            let (known, ttl) = match part {
                QuestionResult::NoAddress(ttl) => (true, ttl),
                QuestionResult::NoName(ttl) => (false, ttl),
                QuestionResult::Found(_) | QuestionResult::Failed => continue,
            };
            self.absent.is_known |= known;
            self.absent.ttl = match (self.absent.ttl, ttl) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        match (more, self.absent.failed) {
            (true, _) => None,
            (false, true) => Some(self.failure()),
            (false, false) => Some(Outcome::Absent {
                text: self.diagnosis.absence(
                    &self.plan.name,
                    self.absent.is_known,
                    self.candidates.len(),
                ),
                ttl: self.absent.ttl,
            }),
        }
    }

    fn failure(&self) -> Outcome {
        Outcome::Failed {
            text: self.diagnosis.failure(&self.plan.name, self.conf.budget()),
        }
    }

    fn ask_next_candidate(&mut self, now: Instant) {
        self.candidate += 1;
        let name = &self.candidates[self.candidate];
        self.questions = questions(name, &self.conf, now).expect("it was written once before");
        self.ends = now + self.conf.budget();
        self.usable_at = None;
    }

    fn publish(&self, outcome: Outcome, last: bool) -> Publication {
        Publication {
            name: self.plan.name.clone(),
            outcome,
            last,
        }
    }
}

fn questions(name: &str, conf: &ResolvConf, now: Instant) -> Option<[Question; 2]> {
    let [v6, v4] = Query::pair(name)?.map(|query| Question::new(query, now));
    let mut v6 = v6;
    if conf.no_aaaa {
        v6.part = Some(QuestionResult::NoAddress(None));
    }
    Some([v6, v4])
}
