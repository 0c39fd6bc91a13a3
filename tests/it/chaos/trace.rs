//! What was said between replicas and Redis, read from the records of their paths: who was given
//! which entry, and who wrote what of it, when, and whether the answer came.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::clock::At;
use super::path::{Chunk, Record};
use super::replica::Life;

/// A value of the protocol.
#[derive(Clone, PartialEq)]
pub enum Resp {
    Text(Vec<u8>),
    Int(i64),
    Error(String),
    Nil,
    Array(Vec<Resp>),
}

impl fmt::Debug for Resp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Resp::Text(text) => f.write_str(&lossy(text)),
            Resp::Int(number) => write!(f, "{number}"),
            Resp::Error(text) => write!(f, "-{text}"),
            Resp::Nil => f.write_str("nil"),
            Resp::Array(items) => f.debug_list().entries(items).finish(),
        }
    }
}

/// One command of one replica.
#[derive(Debug)]
pub struct Call {
    pub life: usize,
    /// Which of its connections.
    pub link: usize,
    pub words: Vec<Vec<u8>>,
    /// It has left the replica; Redis has it; Redis has answered; the replica has the answer.
    pub sent: At,
    pub reached: Option<At>,
    pub answer: Option<Resp>,
    pub answered: Option<At>,
    pub came: Option<At>,
}

impl Call {
    pub fn name(&self) -> String {
        self.words.first().map_or(String::new(), |w| lossy(w))
    }

    /// The entries that it names. Those of the second stream have a + before them, as in scripts.
    pub fn entries(&self) -> impl Iterator<Item = String> + '_ {
        let plus = if self.is_of_second_stream() { "+" } else { "" };
        let found = self.words.iter().filter_map(|word| entry_id(word));
        found.map(move |entry| format!("{plus}{entry}"))
    }

    /// Those that are given by its answer, and the ids of their messages.
    fn given(&self) -> Vec<(String, String)> {
        let is_script = self.name() == "EVALSHA";
        let plus = match is_script || self.is_of_second_stream() {
            true => "+",
            false => "",
        };
        let given = self.answer.iter().flat_map(entries_of);
        given
            .map(|(entry, id)| (format!("{plus}{entry}"), id))
            .collect()
    }

    /// A command about the entries of that stream alone.
    fn is_of_second_stream(&self) -> bool {
        let key = self.words.get(1).map_or(String::new(), |w| lossy(w));
        key.ends_with(":again")
    }
}

/// Redis gives an entry to a replica.
#[derive(Debug, Clone)]
pub struct Given {
    pub life: usize,
    pub entry: String,
    pub at: At,
    pub came: Option<At>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Deed {
    Settle,
    Note,
    Park,
    Bury,
}

/// What a replica writes of an entry.
#[derive(Debug, Clone)]
pub struct Written {
    pub life: usize,
    pub deed: Deed,
    pub sent: At,
    pub reached: Option<At>,
    pub answered: Option<At>,
    pub came: Option<At>,
}

#[derive(Default)]
pub struct Trace {
    pub calls: Vec<Call>,
    /// By the message's id.
    pub given: HashMap<String, Vec<Given>>,
    /// By entry.
    pub written: HashMap<String, Vec<Written>>,
    /// The calls that name an entry, or hold a message of this id.
    pub naming: HashMap<String, Vec<usize>>,
    /// Of each life, when it sent the settlements of which the answer came.
    pub settled: HashMap<usize, Vec<At>>,
}

impl Trace {
    /// Reads all records of these lives.
    pub fn read(lives: &[Arc<Life>]) -> Trace {
        let mut trace = Trace::default();
        for (life, of) in lives.iter().enumerate() {
            for (link, record) in of.links.lock().unwrap().iter().enumerate() {
                let first = trace.calls.len();
                read_link(&record.lock().unwrap(), life, link, &mut trace.calls);
                trace.digest(life, first..trace.calls.len());
            }
        }
        for (number, call) in trace.calls.iter().enumerate() {
            let ids = call.words.iter().filter_map(|word| webhook_id(word));
            for name in call.entries().chain(ids) {
                trace.naming.entry(name).or_default().push(number);
            }
        }
        for given in trace.given.values_mut() {
            given.sort_by_key(|g| g.at);
        }
        for written in trace.written.values_mut() {
            written.sort_by_key(|w| w.sent);
        }
        trace
    }

    /// Takes what matters out of the calls of one connection.
    fn digest(&mut self, life: usize, range: Range<usize>) {
        let calls = &self.calls[range];
        let mut settled: Vec<String> = Vec::new();
        for call in calls {
            match &*call.name() {
                "XREADGROUP" | "XRANGE" | "EVALSHA" if deed(call).is_none() => {
                    for (entry, id) in call.given() {
                        let Some(at) = call.answered else {
                            continue;
                        };
                        let given = Given {
                            life,
                            entry,
                            at,
                            came: call.came,
                        };
                        self.given.entry(id).or_default().push(given);
                    }
                }
                "XACK" => settled = call.entries().collect(),
                // It is made true by the end of the transaction.
                "EXEC" => {
                    if call.came.is_some() {
                        self.settled.entry(life).or_default().push(call.sent);
                    }
                    for entry in settled.drain(..) {
                        let written = written(call, Deed::Settle);
                        self.written.entry(entry).or_default().push(written);
                    }
                }
                _ => {
                    for entry in call.entries() {
                        if let Some(deed) = deed(call) {
                            let written = written(call, deed);
                            self.written.entry(entry).or_default().push(written);
                        }
                    }
                }
            }
        }
    }
}

fn written(call: &Call, deed: Deed) -> Written {
    Written {
        life: call.life,
        deed,
        sent: call.sent,
        reached: call.reached,
        answered: call.answered,
        came: call.came,
    }
}

/// Scripts are told apart by the keys that they begin with.
fn deed(call: &Call) -> Option<Deed> {
    if call.name() != "EVALSHA" {
        return None;
    }
    let key = |n: usize| call.words.get(n).map_or(String::new(), |w| lossy(w));
    let ends = |n: usize, name: &str| key(n).ends_with(name);
    match &*key(2) {
        // Others act on the stream alone, and name the consumer last.
        "2" if ends(3, ":messages") && call.entries().next().is_some() => Some(Deed::Note),
        _ if ends(3, ":dead") && ends(4, ":messages") => Some(Deed::Bury),
        _ if ends(3, ":parked") && ends(6, ":dead") => Some(Deed::Park),
        _ => None,
    }
}

/// Entries and the ids of their messages, wherever they stand in an answer.
fn entries_of(answer: &Resp) -> Vec<(String, String)> {
    let Resp::Array(items) = answer else {
        return Vec::new();
    };
    if let [Resp::Text(entry), Resp::Array(fields)] = &items[..]
        && let Some(entry) = entry_id(entry)
    {
        let id = fields.iter().find_map(|field| match field {
            Resp::Text(text) => webhook_id(text),
            _ => None,
        });
        return id.map(|id| (entry, id)).into_iter().collect();
    }
    items.iter().flat_map(entries_of).collect()
}

fn webhook_id(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    let rest = text.split_once(r#""webhookId":""#)?.1;
    Some(rest.split_once('"')?.0.to_owned())
}

/// `1700000000000-0`, perhaps with a + before it.
fn entry_id(word: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(word).ok()?;
    let (ms, seq) = text.strip_prefix('+').unwrap_or(text).split_once('-')?;
    let is_number = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    (ms.len() == 13 && is_number(ms) && is_number(seq)).then(|| text.to_owned())
}

pub fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Requests and answers come in the same order, but on a connection that has subscribed.
fn read_link(record: &Record, life: usize, link: usize, calls: &mut Vec<Call>) {
    let up: Vec<u8> = record.up.iter().flat_map(|c| c.bytes.clone()).collect();
    let down: Vec<u8> = record.down.iter().flat_map(|c| c.bytes.clone()).collect();
    let (mut asked, mut said) = (0, 0);
    let mut has_subscribed = false;
    while let Some(request) = parse(&up, &mut asked) {
        let Resp::Array(words) = request else {
            break;
        };
        let words = words.into_iter().map(|word| match word {
            Resp::Text(text) => text,
            _ => Vec::new(),
        });
        let words: Vec<Vec<u8>> = words.collect();
        has_subscribed |= words.first().is_some_and(|w| w == b"SUBSCRIBE");
        let chunk = chunk_at(&record.up, asked);
        let mut call = Call {
            life,
            link,
            words,
            sent: chunk.read,
            reached: chunk.passed,
            answer: None,
            answered: None,
            came: None,
        };
        if !has_subscribed && let Some(answer) = parse(&down, &mut said) {
            let chunk = chunk_at(&record.down, said);
            call.answer = Some(answer);
            call.answered = Some(chunk.read);
            call.came = chunk.passed;
        }
        calls.push(call);
    }
}

/// The chunk that completes the first `end` bytes.
fn chunk_at(chunks: &[Chunk], end: usize) -> &Chunk {
    let at = chunks.partition_point(|chunk| chunk.end < end);
    &chunks[at]
}

/// One value from `at` on, which then stands behind it; nothing if it is not whole.
fn parse(bytes: &[u8], at: &mut usize) -> Option<Resp> {
    let mut next = *at;
    let value = value(bytes, &mut next)?;
    *at = next;
    Some(value)
}

fn value(bytes: &[u8], at: &mut usize) -> Option<Resp> {
    let rest = bytes.get(*at..)?;
    let end = rest.windows(2).position(|w| w == b"\r\n")?;
    let (kind, line) = rest[..end].split_first()?;
    let line = lossy(line);
    *at += end + 2;
    let number = || line.parse::<i64>().ok();
    match kind {
        b'+' => Some(Resp::Text(line.into_bytes())),
        b'-' => Some(Resp::Error(line)),
        b':' => Some(Resp::Int(number()?)),
        b'$' => {
            let Ok(length) = usize::try_from(number()?) else {
                return Some(Resp::Nil);
            };
            let text = bytes.get(*at..*at + length)?.to_vec();
            bytes.get(*at + length..*at + length + 2)?;
            *at += length + 2;
            Some(Resp::Text(text))
        }
        b'*' => {
            let Ok(length) = usize::try_from(number()?) else {
                return Some(Resp::Nil);
            };
            let items: Option<Vec<Resp>> = (0..length).map(|_| value(bytes, at)).collect();
            Some(Resp::Array(items?))
        }
        other => panic!("not of this protocol: {:?} {line}", *other as char),
    }
}
