//! Intake: where messages come from. Each source is a thread that blocks on its input,
//! parses, and sends to the timer; it ends, and with it its channel, when its input does or
//! the drain begins.

pub mod consumer;
pub mod dealer;
pub mod death_watch;
pub mod hands;
pub mod heartbeat;
pub mod recaller;
mod sessions;
pub mod stdin;
pub mod subscriber;
mod takeover;
pub mod upkeep;

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::SystemTime;

use log::warn;

use crate::delivery::{Attempts, DeadLetter, Delivery};
use crate::message::boot_time::BootTime;
use crate::message::detail::Detail;
use crate::message::endpoint::Endpoint;
use crate::message::entry::EntryId;
use crate::message::entry::{Entry, StoredMessage};
use crate::message::timestamp::unix_ms;
use crate::message::{Alias, Message, RejectReason, Rejection};
use crate::service::boot_clock::boot_time;
use crate::service::channel::byte_bound::{BlockingSender, Closed, Weighed};

/// A message of a source: accepted, or a dead letter because it was refused.
pub type Arrival = Result<Delivery, Box<DeadLetter>>;

/// Bytes of parsed URLs that are remembered. Beyond that all are forgotten.
const MAX_KNOWN: usize = 1 << 20;

/// About how much memory an endpoint takes beside its texts.
const ENDPOINT: usize = 256;

/// At most this many names of fields are logged.
const MAX_ALIASES: usize = 100;

/// A source's way to the timer.
pub struct Intake {
    out: BlockingSender<Arrival>,
    /// Written into dead letters: the source's name, or `name:detail`.
    source: Arc<str>,
    name: Box<str>,
    max_bytes: usize,
    /// Most messages go to URLs that were seen before: parsing again costs more than the look-up,
    /// and the copies share their memory.
    endpoints: Endpoints,
    /// Names of fields that were logged, by source.
    aliases: HashSet<(Arc<str>, Box<str>)>,
    ids: Ids,
    /// Messages that come now were published while draining.
    is_late: bool,
    /// Whether messages may name secrets.
    takes_secrets: bool,
}

#[derive(Default)]
struct Endpoints {
    known: HashMap<Box<str>, Arc<Endpoint>>,
    bytes: usize,
}

/// The reason for refusing a message that names a secret where there are none.
const NO_SECRETS: &str =
    "secret: there is nowhere to look for it: set --secrets-dir or --secrets-from redis";

impl Weighed for Arrival {
    fn bytes(&self) -> usize {
        match self {
            Ok(delivery) => delivery.message.raw().len(),
            Err(letter) => letter.message.len(),
        }
    }
}

impl Intake {
    pub fn new(out: BlockingSender<Arrival>, name: &str, max_bytes: usize) -> Self {
        Intake {
            out,
            source: name.into(),
            name: name.into(),
            max_bytes,
            endpoints: Endpoints::default(),
            aliases: HashSet::new(),
            ids: Ids::default(),
            is_late: false,
            takes_secrets: true,
        }
    }

    /// From now on messages that name a secret are refused, because there are no secrets.
    pub fn refuse_secrets(&mut self) {
        self.takes_secrets = false;
    }

    /// Says where in the source the next messages come from, as the Pub/Sub channel.
    pub fn set_detail(&mut self, detail: &str) {
        let known = self.source.strip_prefix(&*self.name);
        if known.and_then(|d| d.strip_prefix(':')) != Some(detail) {
            // It is written into lines.
            let detail = detail.replace(char::is_control, "?");
            self.source = format!("{}:{detail}", self.name).into();
        }
    }

    /// Messages from now on were published while draining: they are kept for the next start.
    pub fn set_late(&mut self) {
        self.is_late = true;
    }

    /// Parses one message and hands it on. Blocks while the channel is full.
    pub fn offer(&mut self, raw: Vec<u8>) -> Result<(), Closed> {
        let now = unix_ms(SystemTime::now());
        let id = self.ids.next();
        let source = self.source.clone();
        let arrival = match self.parse(raw, || id) {
            Ok(message) => Ok(Delivery {
                is_late: self.is_late,
                ..Delivery::new(message, source, now, boot_time())
            }),
            Err(rejection) => Err(DeadLetter::rejected(rejection, source, now).into()),
        };
        self.send(arrival)
    }

    /// Parses an entry of the stream, to be sent on. A message without an id gets one that is the
    /// same for every replica and every reading. `asked`: a moment before its lease began.
    pub fn read_entry(&mut self, entry: Entry, asked: BootTime) -> Arrival {
        let (id, count, suspect) = (entry.id, entry.count, entry.suspect);
        let head = entry.head();
        let arrival = match entry.open() {
            Ok(stored) => self.unpack(stored, id, count, suspect, asked),
            Err((reason, detail, raw)) => {
                let rejection = Rejection {
                    reason,
                    detail,
                    id: None,
                    url: None,
                    raw,
                };
                Err(DeadLetter::rejected(rejection, self.source.clone(), id.ms).into())
            }
        };
        arrival.map_err(|mut letter: Box<DeadLetter>| {
            letter.entry = Some(id);
            letter.head = head.map(Into::into);
            letter.died = unix_ms(SystemTime::now());
            letter
        })
    }

    /// Hands on entries that have come back. Blocks while the channel is full.
    pub fn send_entries(&mut self, read: Vec<Entry>, asked: BootTime) -> Result<(), Closed> {
        for entry in read {
            let arrival = self.read_entry(entry, asked);
            self.send(arrival)?;
        }
        Ok(())
    }

    /// Hands on one message. Blocks while the channel is full.
    pub fn send(&self, arrival: Arrival) -> Result<(), Closed> {
        self.out.send(arrival)
    }

    fn unpack(
        &mut self,
        stored: StoredMessage,
        entry: EntryId,
        count: u32,
        suspect: bool,
        asked: BootTime,
    ) -> Arrival {
        let received = stored.received.unwrap_or(entry.ms);
        let source = match stored.source {
            Some(source) => source.into(),
            None => self.source.clone(),
        };
        let fresh = || {
            stored
                .id
                .unwrap_or_else(|| format!("msg_{}-{}", entry.ms, entry.seq))
                .into()
        };
        match self.parse(stored.message, fresh) {
            Ok(message) => {
                let head = message.group();
                let head = head.filter(|head| stored.head.as_deref() == Some(head));
                Ok(Delivery {
                    entry: Some(entry),
                    attempts: Attempts::of_entry(stored.attempts, count),
                    reclaimed: suspect,
                    head,
                    failed_before: stored.failure.map(Into::into),
                    ..Delivery::new(message, source, received, asked)
                })
            }
            Err(rejection) => Err(DeadLetter::rejected(rejection, source, received).into()),
        }
    }

    fn parse(
        &mut self,
        raw: Vec<u8>,
        fresh_id: impl FnOnce() -> Box<str>,
    ) -> Result<Message, Rejection> {
        let endpoints = &mut self.endpoints;
        let message = Message::parse(raw, self.max_bytes, fresh_id, |url| endpoints.find(url))?;
        if message.overrides.secret.is_some() && !self.takes_secrets {
            return Err(message.refuse(RejectReason::BadSecret, NO_SECRETS.into()));
        }
        for alias in &message.aliases {
            self.log_alias(alias);
        }
        Ok(message)
    }

    /// Logs once for each source that a name is taken for another.
    fn log_alias(&mut self, Alias { given, known }: &Alias) {
        let news = (self.source.clone(), given.clone());
        if self.aliases.len() < MAX_ALIASES && self.aliases.insert(news) {
            let source = &self.source;
            warn!("{source}: messages have the field {given:?}: it is taken for {known:?}");
        }
    }
}

impl Endpoints {
    fn find(&mut self, url: &str) -> Result<Arc<Endpoint>, Detail> {
        if let Some(endpoint) = self.known.get(url) {
            return Ok(endpoint.clone());
        }
        let endpoint = Arc::new(Endpoint::parse(url)?);
        // The key, and what the endpoint holds of it twice.
        self.bytes += ENDPOINT + 3 * url.len();
        if self.bytes > MAX_KNOWN {
            self.known.clear();
            self.bytes = ENDPOINT + 3 * url.len();
        }
        self.known.insert(url.into(), endpoint.clone());
        Ok(endpoint)
    }
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
