//! Intake: where messages come from. Each source is a thread that blocks on its input,
//! parses, and sends to the timer; it ends, and with it its channel, when its input does or
//! the drain begins.

pub mod lines;
pub mod pubsub;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::SystemTime;

use crossbeam_channel::Sender;

use crate::delivery::{DeadLetter, Delivery, unix_ms};
use crate::endpoint::Endpoint;
use crate::message::Message;

/// What a source sends: a message accepted, or refused and to be kept.
pub type Arrival = Result<Delivery, DeadLetter>;

/// Parsed URLs that are remembered; then all are forgotten and it begins anew.
const MAX_ENDPOINTS: usize = 4096;

/// A source's way to the timer.
pub struct Intake {
    out: Sender<Arrival>,
    /// Written into dead letters: the source's name, or `name:detail`.
    source: Arc<str>,
    name: Box<str>,
    max_bytes: usize,
    /// Most messages go where others went before: parsing a URL twice costs more than the
    /// look-up, and the copies share their memory.
    endpoints: HashMap<Box<str>, Arc<Endpoint>>,
    ids: Ids,
}

/// The timer has ended: nothing more can be taken in.
#[derive(Debug)]
pub struct Closed;

impl Intake {
    pub fn new(out: Sender<Arrival>, name: &str, max_bytes: usize) -> Self {
        Intake {
            out,
            source: name.into(),
            name: name.into(),
            max_bytes,
            endpoints: HashMap::new(),
            ids: Ids::default(),
        }
    }

    /// Says where in the source the next messages come from, as the Pub/Sub channel.
    pub fn set_detail(&mut self, detail: &str) {
        let known = self.source.strip_prefix(&*self.name);
        if known.and_then(|d| d.strip_prefix(':')) != Some(detail) {
            self.source = format!("{}:{detail}", self.name).into();
        }
    }

    /// Parses one message and hands it on. Blocks while the channel is full.
    pub fn offer(&mut self, raw: Vec<u8>) -> Result<(), Closed> {
        let now = unix_ms(SystemTime::now());
        let endpoints = &mut self.endpoints;
        let ids = &mut self.ids;
        let message = Message::parse(
            raw,
            self.max_bytes,
            || ids.next(),
            |url| endpoint(endpoints, url),
        );
        let arrival = match message {
            Ok(message) => Ok(Delivery::new(message, self.source.clone(), now)),
            Err(rejection) => Err(DeadLetter::rejected(rejection, self.source.clone(), now)),
        };
        self.out.send(arrival).map_err(|_| Closed)
    }
}

fn endpoint(
    known: &mut HashMap<Box<str>, Arc<Endpoint>>,
    url: &str,
) -> Result<Arc<Endpoint>, String> {
    if let Some(endpoint) = known.get(url) {
        return Ok(endpoint.clone());
    }
    let endpoint = Arc::new(Endpoint::parse(url)?);
    if known.len() >= MAX_ENDPOINTS {
        known.clear();
    }
    known.insert(url.into(), endpoint.clone());
    Ok(endpoint)
}

/// Ids for messages that bring none: unique, not secret.
struct Ids {
    prefix: u64,
    next: u64,
}

impl Default for Ids {
    fn default() -> Self {
        // The keys of a new hasher are random: enough to tell one process from another.
        let random = RandomState::new();
        Ids {
            prefix: random.hash_one(1),
            next: random.hash_one(2),
        }
    }
}

impl Ids {
    fn next(&mut self) -> Box<str> {
        self.next = self.next.wrapping_add(1);
        format!("msg_{:016x}{:016x}", self.prefix, self.next).into()
    }
}
