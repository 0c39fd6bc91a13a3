//! Questions and answers as bytes, and what an answer means. Pure.
//!
//! A question is a few bytes, written here; simple-dns reads the answers. Two things it must not be
//! trusted with are looked at first: whether an answer belongs to the question, and how many records it says
//! it has. The crate makes room for that many before it reads the first.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Packet, PacketFlag, RCODE, ResourceRecord};

/// We say that we can take this many bytes in one datagram: as many as go through any path unbroken.
const UDP_PAYLOAD: u16 = 1232;
/// Type, class, time to live and length of the OPT record, and the root before it.
const OPT_BYTES: usize = 11;
const HEADER: usize = 12;
/// The class of everything.
const INTERNET: u16 = 1;
/// The longest label, and the longest name without its last dot.
const MAX_LABEL: usize = 63;
const MAX_NAME: usize = 253;

/// An answer of more records is nobody's honest answer to a question for addresses. The reader
/// is bounded by it: each record may take its time, and 3 KB of memory, for a long name.
const MAX_RECORDS: usize = 1024;
const MAX_ADDRESSES: usize = 16;
/// Aliases followed from one name to the next.
const MAX_ALIASES: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    V6,
    V4,
}

/// A question for the addresses of one family, ready to be sent but for its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    pub family: Family,
    /// As for IPv4, and the same for both. The last [`OPT_BYTES`] may be left away.
    bytes: Arc<[u8]>,
}

impl Query {
    /// The questions for both families, IPv6 first. `None` if the name cannot be written: a label
    /// of more than 63 bytes, a name of more than 253, or bytes that no host has.
    pub fn pair(name: &str) -> Option<[Query; 2]> {
        let plain = |b: u8| b.is_ascii_graphic() && b != b'\\';
        if name.len() > MAX_NAME || !name.bytes().all(plain) {
            return None;
        }
        let mut bytes = Vec::with_capacity(HEADER + name.len() + 6 + OPT_BYTES);
        // A number to come; recursion desired; one question, one additional record.
        bytes.extend(b"\0\0\x01\0\0\x01\0\0\0\0\0\x01");
        for label in name.split('.') {
            if label.is_empty() || label.len() > MAX_LABEL {
                return None;
            }
            bytes.push(label.len() as u8);
            bytes.extend(label.as_bytes());
        }
        bytes.push(0);
        for field in [Family::V4.code(), INTERNET] {
            bytes.extend(field.to_be_bytes());
        }
        // EDNS: the root, type 41, how much fits, and no options.
        bytes.extend(b"\0\0\x29");
        bytes.extend(UDP_PAYLOAD.to_be_bytes());
        bytes.extend([0; 6]);
        let bytes: Arc<[u8]> = bytes.into();
        Some([Family::V6, Family::V4].map(|family| Query {
            family,
            bytes: bytes.clone(),
        }))
    }

    /// Appends the question to `out`. `edns`: with the record that allows larger answers.
    pub fn write(&self, id: u16, edns: bool, out: &mut Vec<u8>) {
        let from = out.len();
        match edns {
            true => out.extend_from_slice(&self.bytes),
            false => {
                out.extend_from_slice(&self.bytes[..self.bytes.len() - OPT_BYTES]);
                // Additional records: none.
                out[from + 11] = 0;
            }
        }
        out[from..from + 2].copy_from_slice(&id.to_be_bytes());
        let kind = from + HEADER + self.name().len();
        out[kind..kind + 2].copy_from_slice(&self.family.code().to_be_bytes());
    }

    /// Whether an answer repeats this question.
    fn is_repeated_in(&self, answer: &[u8]) -> bool {
        let name = self.name();
        let (Some(its_name), Some(rest)) = (
            answer.get(HEADER..HEADER + name.len()),
            answer.get(HEADER + name.len()..HEADER + name.len() + 4),
        ) else {
            return false;
        };
        let [k1, k2] = self.family.code().to_be_bytes();
        let [c1, c2] = INTERNET.to_be_bytes();
        its_name.eq_ignore_ascii_case(name) && *rest == [k1, k2, c1, c2]
    }

    fn name(&self) -> &[u8] {
        &self.bytes[HEADER..self.bytes.len() - OPT_BYTES - 4]
    }
}

impl Family {
    /// As the type of a question.
    fn code(self) -> u16 {
        match self {
            Family::V6 => 28,
            Family::V4 => 1,
        }
    }
}

/// Addresses of one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub addresses: Vec<IpAddr>,
    pub ttl: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Found(Found),
    /// The name exists, and has no such address.
    NoAddress {
        ttl: Option<Duration>,
    },
    /// NXDOMAIN.
    NoName {
        ttl: Option<Duration>,
    },
    /// It did not fit into a datagram; this much did.
    Truncated(Option<Found>),
    /// The server does not know this form of question.
    NotUnderstood,
    /// The server cannot or will not say. The word is the protocol's.
    Refused(&'static str),
}

/// Bytes that are no answer to this question: garbage, or somebody else's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotOurs;

/// The number of an answer, by which its question is found.
pub fn id(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(..2)?.try_into().ok()?))
}

/// Reads what came for `query`; the caller has looked at its number and where it came from.
pub fn read(query: &Query, bytes: &[u8]) -> Result<Reply, NotOurs> {
    let header: &[u8; HEADER] = bytes
        .get(..HEADER)
        .and_then(|h| h.try_into().ok())
        .ok_or(NotOurs)?;
    let count = |n: usize| usize::from(u16::from_be_bytes([header[n], header[n + 1]]));
    // An answer (QR), of the kind that is asked for by a plain question (opcode 0).
    if header[2] & 0b1111_1000 != 0b1000_0000 {
        return Err(NotOurs);
    }
    let truncated = header[2] & 0b10 != 0;
    let refusal = refusal(header[3] & 0b1111);
    match (count(4), query.is_repeated_in(bytes)) {
        (1, true) => {}
        // Some leave the question out when they refuse it.
        (0, _) if refusal.is_some() => return Ok(refusal.expect("just seen")),
        _ => return Err(NotOurs),
    }
    if let Some(refusal) = refusal {
        return Ok(refusal);
    }
    let records = count(6) + count(8) + count(10);
    // The shortest record takes 11 bytes.
    let possible = records <= MAX_RECORDS && records * 11 <= bytes.len();
    let sound = possible && are_addresses_sound(&bytes[HEADER + query.name().len() + 4..], records);
    let packet = sound.then(|| Packet::parse(bytes).ok()).flatten();
    match packet {
        Some(packet) if truncated => Ok(Reply::Truncated(found(query, &packet))),
        None if truncated => Ok(Reply::Truncated(None)),
        Some(packet) => Ok(meaning(query, &packet)),
        None => Err(NotOurs),
    }
}

/// Whether all records are there, and each address has its right length: simple-dns takes the first bytes
/// of a longer one.
fn are_addresses_sound(mut rest: &[u8], records: usize) -> bool {
    for _ in 0..records {
        let Some(behind) = skip_name(rest) else {
            return false;
        };
        let Some((&[k1, k2, _, _, _, _, _, _, l1, l2], data)) = behind.split_first_chunk() else {
            return false;
        };
        let length = usize::from(u16::from_be_bytes([l1, l2]));
        let sound = match u16::from_be_bytes([k1, k2]) {
            1 => length == 4,
            28 => length == 16,
            _ => true,
        };
        match data.get(length..) {
            Some(next) if sound => rest = next,
            _ => return false,
        }
    }
    true
}

/// The bytes behind a name.
fn skip_name(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        let (first, rest) = bytes.split_first()?;
        match first {
            0 => return Some(rest),
            // The rest of it stands elsewhere.
            0xc0.. => return rest.get(1..),
            length => bytes = rest.get(usize::from(*length)..)?,
        }
    }
}

fn refusal(code: u8) -> Option<Reply> {
    match code {
        0 | 3 => None,
        // A server from before EDNS; NOTIMP is what some of them say.
        1 => Some(Reply::NotUnderstood),
        2 => Some(Reply::Refused("SERVFAIL")),
        4 => Some(Reply::NotUnderstood),
        5 => Some(Reply::Refused("REFUSED")),
        _ => Some(Reply::Refused("an error of no use here")),
    }
}

fn meaning(query: &Query, packet: &Packet) -> Reply {
    match packet.rcode() {
        RCODE::NoError => {}
        // A name whose alias leads nowhere does not exist either.
        RCODE::NameError => {
            return Reply::NoName {
                ttl: negative_ttl(packet),
            };
        }
        RCODE::BADVERS => return Reply::NotUnderstood,
        _ => return Reply::Refused("an error of no use here"),
    }
    if let Some(found) = found(query, packet) {
        return Reply::Found(found);
    }
    let useless = packet.answers.is_empty()
        && !packet.has_flags(PacketFlag::RECURSION_AVAILABLE)
        && !packet.has_flags(PacketFlag::AUTHORITATIVE_ANSWER);
    match useless {
        true => Reply::Refused("that it does not ask others"),
        false => Reply::NoAddress {
            ttl: negative_ttl(packet),
        },
    }
}

/// The addresses at the end of the chain of aliases, in the server's order.
fn found(query: &Query, packet: &Packet) -> Option<Found> {
    let mut owner = &packet.questions.first()?.qname;
    let mut ttl = u32::MAX;
    for _ in 0..=MAX_ALIASES {
        // simple-dns takes the highest bit of a class for multicast DNS's. Here it makes another class.
        let own = |record: &&ResourceRecord| {
            record.class == CLASS::IN && !record.cache_flush && record.name == *owner
        };
        let mut addresses = Vec::new();
        for record in packet.answers.iter().filter(own) {
            let ip: IpAddr = match (&record.rdata, query.family) {
                (RData::A(a), Family::V4) => Ipv4Addr::from(a.address).into(),
                (RData::AAAA(a), Family::V6) => Ipv6Addr::from(a.address).into(),
                _ => continue,
            };
            ttl = ttl.min(record.ttl);
            if !addresses.contains(&ip) && addresses.len() < MAX_ADDRESSES {
                addresses.push(ip);
            }
        }
        if !addresses.is_empty() {
            let ttl = Duration::from_secs(ttl.into());
            return Some(Found { addresses, ttl });
        }
        let alias = packet.answers.iter().filter(own).find_map(|record| {
            let RData::CNAME(to) = &record.rdata else {
                return None;
            };
            Some((&to.0, record.ttl))
        });
        let (to, its_ttl) = alias?;
        ttl = ttl.min(its_ttl);
        owner = to;
    }
    None
}

/// How long it may be believed that there is nothing (RFC 2308, 5).
fn negative_ttl(packet: &Packet) -> Option<Duration> {
    packet.name_servers.iter().find_map(|record| {
        let RData::SOA(soa) = &record.rdata else {
            return None;
        };
        Some(Duration::from_secs(record.ttl.min(soa.minimum).into()))
    })
}

#[cfg(test)]
#[path = "tests/packet.rs"]
mod tests;
