//! One of the two questions of a look-up: which server is asked when, until there is an answer. Pure.
//!
//! Datagrams go out after 0, 1, 2, 4, 8 … times a short pause, to one server after the other, until the time
//! is over that glibc would take. An answer to any of them counts. A server that refuses is passed over
//! at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::evictor::zone;
use super::name_servers::{NameServers, StreamId};
use super::packet::{Found, Query, Reply};
use super::source_ports::{Ask, Token};

/// From this datagram on it is tried without EDNS, which some firewalls swallow.
const PLAIN_FROM: u32 = 4;

/// What a server did that was no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NonAnswer {
    Nothing,
    Said(&'static str),
    Unreachable(String),
    /// Bytes that are no answer.
    Garbage,
    /// It was not asked, as the system had no socket for that.
    NoSocket(String),
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuestionResult {
    Found(Found),
    NoAddress(Option<Duration>),
    NoName(Option<Duration>),
    Failed,
}

/// What all questions of one look-up have in common.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The name that is looked up. Its zone says whose it is.
    pub name: Arc<str>,
    /// In the order in which they are asked.
    pub servers: Arc<[SocketAddr]>,
    pub attempts: u32,
    pub first_resend: Duration,
    pub use_vc: bool,
}

#[derive(Debug)]
pub struct Question {
    query: Query,
    pub part: Option<QuestionResult>,
    next_send: Option<Instant>,
    sends: u32,
    refusals: u32,
    /// The server whose turn it is.
    turn: usize,
    edns: bool,
    tokens: Vec<(SocketAddr, Token)>,
    stream: Option<StreamId>,
    /// The addresses of a truncated answer: they are better than nothing.
    rest: Option<Found>,
}

impl Question {
    pub fn new(query: Query, now: Instant) -> Question {
        Question {
            query,
            part: None,
            next_send: Some(now),
            sends: 0,
            refusals: 0,
            turn: 0,
            edns: true,
            tokens: Vec::new(),
            stream: None,
            rest: None,
        }
    }

    pub fn query(&self) -> &Query {
        &self.query
    }

    pub fn is_open(&self) -> bool {
        self.part.is_none()
    }

    pub fn next_send(&self) -> Option<Instant> {
        self.next_send.filter(|_| self.is_open())
    }

    /// Sends what is due. Answers the server that was asked.
    pub fn send_due(
        &mut self,
        ask: Ask,
        plan: &Plan,
        now: Instant,
        name_servers: &mut NameServers,
    ) -> Option<SocketAddr> {
        if self.next_send().is_none_or(|due| due > now) {
            return None;
        }
        let server = plan.servers[self.turn % plan.servers.len()];
        self.turn += 1;
        // After 1, 2, 4 … times the pause since the beginning: the pauses are 1, 1, 2, 4 …
        let pauses = 1 << self.sends.saturating_sub(1).min(8);
        self.next_send = Some(now + plan.first_resend * pauses);
        self.sends += 1;
        if plan.use_vc {
            self.ask_by_stream(ask, server, plan, name_servers);
            return Some(server);
        }
        let edns = self.edns && self.sends < PLAIN_FROM;
        let known = self
            .tokens
            .iter()
            .find(|(s, _)| *s == server)
            .map(|(_, t)| *t);
        let sent = name_servers.send(ask, &self.query, (server, known), edns, now);
        if let (Some(token), None) = (sent, known) {
            self.tokens.push((server, token));
        }
        Some(server)
    }

    /// Takes in what a server has answered. Answers what is to be said of the server, if anything.
    pub fn hear(
        &mut self,
        ask: Ask,
        (server, by_stream): (SocketAddr, bool),
        reply: Reply,
        (plan, now): (&Plan, Instant),
        name_servers: &mut NameServers,
    ) -> Option<NonAnswer> {
        if by_stream {
            self.drop_stream(name_servers);
        }
        match reply {
            Reply::Found(found) => self.finish(QuestionResult::Found(found), name_servers),
            Reply::NoAddress { ttl } => self.finish(QuestionResult::NoAddress(ttl), name_servers),
            Reply::NoName { ttl } => self.finish(QuestionResult::NoName(ttl), name_servers),
            Reply::Truncated(rest) => {
                self.rest = rest.or(self.rest.take());
                if by_stream {
                    return self.refuse(
                        NonAnswer::Said("too much for TCP"),
                        plan,
                        now,
                        name_servers,
                    );
                }
                self.ask_by_stream(ask, server, plan, name_servers);
            }
            Reply::NotUnderstood if self.edns => {
                self.edns = false;
                name_servers.mark_old(server);
                self.turn = plan.servers.iter().position(|s| *s == server).unwrap_or(0);
                self.next_send = Some(now);
            }
            Reply::NotUnderstood => {
                return self.refuse(NonAnswer::Said("FORMERR"), plan, now, name_servers);
            }
            Reply::Refused(word) => {
                return self.refuse(NonAnswer::Said(word), plan, now, name_servers);
            }
        }
        None
    }

    /// A server that could not be reached, by datagram or by TCP.
    pub fn miss(
        &mut self,
        word: NonAnswer,
        by_stream: bool,
        (plan, now): (&Plan, Instant),
        name_servers: &mut NameServers,
    ) -> Option<NonAnswer> {
        if by_stream {
            self.drop_stream(name_servers);
        }
        if !self.is_open() {
            return None;
        }
        self.refuse(word, plan, now, name_servers)
    }

    /// The time is over.
    pub fn give_up(&mut self, name_servers: &mut NameServers) {
        if self.is_open() {
            let part = self
                .rest
                .take()
                .map_or(QuestionResult::Failed, QuestionResult::Found);
            self.finish(part, name_servers);
        }
    }

    /// Ends the question; what still comes for it is nobody's.
    pub fn finish(&mut self, part: QuestionResult, name_servers: &mut NameServers) {
        self.part = Some(part);
        self.drop_stream(name_servers);
        for (_, token) in std::mem::take(&mut self.tokens) {
            name_servers.ports.close(token);
        }
    }

    /// Goes on to the next server; after a whole round of refusals, a little later.
    fn refuse(
        &mut self,
        word: NonAnswer,
        plan: &Plan,
        now: Instant,
        name_servers: &mut NameServers,
    ) -> Option<NonAnswer> {
        self.refusals += 1;
        let round = plan.servers.len() as u32;
        if self.rest.is_some() || self.refusals >= plan.attempts * round {
            self.give_up(name_servers);
        } else if self.refusals.is_multiple_of(round) {
            self.next_send = Some(now + plan.first_resend / 4);
        } else {
            self.next_send = Some(now);
        }
        Some(word)
    }

    fn ask_by_stream(
        &mut self,
        ask: Ask,
        server: SocketAddr,
        plan: &Plan,
        name_servers: &mut NameServers,
    ) {
        if self.stream.is_none() {
            self.stream = Some(name_servers.connect(ask, &self.query, server, zone(&plan.name)));
        }
    }

    fn drop_stream(&mut self, name_servers: &mut NameServers) {
        if let Some(stream) = self.stream.take() {
            name_servers.disconnect(stream);
        }
    }
}
