//! Questions and answers as bytes, and what an answer means. Pure.
//!
//! simple-dns reads and writes the wire format; what it must not be trusted with is looked at
//! here first: whether an answer belongs to the question, and how many records it says it has,
//! as the crate makes room for as many before it reads the first.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use simple_dns::rdata::{OPT, RData};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, Question, RCODE, ResourceRecord, TYPE};

/// What we say we can take in one datagram: what goes through any path unbroken.
const UDP_PAYLOAD: u16 = 1232;
/// Type, class, time to live and length of the OPT record, and the root before it.
const OPT_BYTES: usize = 11;
const HEADER: usize = 12;

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
    /// The last [`OPT_BYTES`] may be left away.
    bytes: Box<[u8]>,
}

impl Query {
    /// The questions for both families, IPv6 first. `None` if the name cannot be written: a label
    /// of more than 63 bytes, a name of more than 253, or bytes that no host has.
    pub fn pair(name: &str) -> Option<[Query; 2]> {
        let plain = |b: u8| b.is_ascii_graphic() && b != b'\\';
        if !name.bytes().all(plain) || name.split('.').any(str::is_empty) {
            return None;
        }
        let mut packet = Packet::new_query(0);
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
        let name = Name::new(name).ok()?;
        let class = QCLASS::CLASS(CLASS::IN);
        packet
            .questions
            .push(Question::new(name, TYPE::A.into(), class, false));
        *packet.opt_mut() = Some(OPT {
            opt_codes: Vec::new(),
            udp_packet_size: UDP_PAYLOAD,
            version: 0,
        });
        let v4: Box<[u8]> = packet.build_bytes_vec().ok()?.into();
        let mut v6 = v4.clone();
        let kind = v6.len() - OPT_BYTES - 4;
        v6[kind..kind + 2].copy_from_slice(&u16::from(TYPE::AAAA).to_be_bytes());
        Some([(Family::V6, v6), (Family::V4, v4)].map(|(family, bytes)| Query { family, bytes }))
    }

    /// Appends what is to be sent. `edns`: with the record that allows larger answers.
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
    }

    /// Name, type and class.
    fn question(&self) -> &[u8] {
        &self.bytes[HEADER..self.bytes.len() - OPT_BYTES]
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
    let asked = query.question();
    let repeated = bytes.get(HEADER..HEADER + asked.len());
    match (count(4), repeated) {
        (1, Some(repeated)) if repeated.eq_ignore_ascii_case(asked) => {}
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
    let packet = possible.then(|| Packet::parse(bytes).ok()).flatten();
    match packet {
        Some(packet) if truncated => Ok(Reply::Truncated(found(query, &packet))),
        None if truncated => Ok(Reply::Truncated(None)),
        Some(packet) => Ok(meaning(query, &packet)),
        None => Err(NotOurs),
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
        let own = |record: &&ResourceRecord| record.class == CLASS::IN && record.name == *owner;
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
#[path = "tests/wire.rs"]
mod tests;
