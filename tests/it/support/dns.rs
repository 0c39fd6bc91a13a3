//! A name server on loopback, over UDP and TCP, that answers as a test's script says.
//!
//! [`DnsServer`] owns both sockets. Every question is recorded before it is answered. The wire
//! format is written by hand here, so that outhook's reader is not tested against itself.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use super::DEADLINE;

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;

/// A question as it came.
#[derive(Debug, Clone)]
pub struct Question {
    pub name: String,
    pub is_v4: bool,
    pub by_tcp: bool,
    /// Whence, for who wants to forge an answer.
    pub from: SocketAddr,
    bytes: Vec<u8>,
    /// Where name, type and class end in them.
    end: usize,
}

/// What is answered.
#[derive(Debug, Clone)]
pub enum Answer {
    Silent,
    /// An error, by its number: 2 is SERVFAIL, 3 NXDOMAIN, 5 REFUSED.
    Code(u8),
    /// Addresses of both families; those asked for are given. And their time to live.
    Addresses(Vec<IpAddr>, u32),
    /// The same, behind aliases.
    Behind(Vec<String>, Vec<IpAddr>),
    /// The beginning of an answer that does not fit.
    Cut,
    Bytes(Vec<u8>),
}

pub const SERVFAIL: u8 = 2;
pub const NXDOMAIN: u8 = 3;
pub const REFUSED: u8 = 5;

/// 127.0.0.1, for a minute.
pub fn here() -> Answer {
    Answer::Addresses(vec![IpAddr::from([127, 0, 0, 1])], 60)
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Vec<Question>>,
    grown: Condvar,
}

pub struct DnsServer {
    pub addr: SocketAddr,
    shared: Arc<Shared>,
}

impl DnsServer {
    /// Answers as the function says.
    pub fn answering(script: impl Fn(&Question) -> Answer + Send + Sync + 'static) -> DnsServer {
        let (udp, tcp) = sockets();
        let addr = udp.local_addr().expect("an address");
        let (shared, script) = (Arc::new(Shared::default()), Arc::new(script));
        let (all, own) = (shared.clone(), script.clone());
        thread::spawn(move || {
            let mut bytes = [0; 2048];
            while let Ok((n, from)) = udp.recv_from(&mut bytes) {
                if let Some(question) = Question::read(&bytes[..n], from, false) {
                    all.record(&question);
                    let _ = answer(&question, own(&question)).map(|b| udp.send_to(&b, from));
                }
            }
        });
        let all = shared.clone();
        thread::spawn(move || {
            for stream in tcp.incoming().flatten() {
                let (all, script) = (all.clone(), script.clone());
                thread::spawn(move || serve(stream, &all, &*script));
            }
        });
        DnsServer { addr, shared }
    }

    /// The option that leads outhook here.
    pub fn option(&self) -> String {
        format!("--dns-server={}", self.addr)
    }

    pub fn questions(&self) -> Vec<Question> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// How often this name was asked for, by IPv4.
    pub fn asked_for(&self, name: &str) -> usize {
        count(&self.shared.seen.lock().unwrap(), name)
    }

    /// Waits until this name has been asked for so often.
    pub fn wait_asked(&self, name: &str, n: usize) {
        let seen = self.shared.seen.lock().unwrap();
        let waited = self
            .shared
            .grown
            .wait_timeout_while(seen, DEADLINE, |seen| count(seen, name) < n);
        let n_seen = count(&waited.unwrap().0, name);
        assert!(
            n_seen >= n,
            "waited {DEADLINE:?} in vain for {n} questions for {name}: {n_seen}"
        );
    }
}

impl Shared {
    fn record(&self, question: &Question) {
        self.seen.lock().unwrap().push(question.clone());
        self.grown.notify_all();
    }
}

fn count(seen: &[Question], name: &str) -> usize {
    seen.iter().filter(|q| q.is_v4 && q.name == name).count()
}

/// One port for both.
fn sockets() -> (UdpSocket, TcpListener) {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a socket on loopback");
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().expect("an address")) {
            return (udp, tcp);
        }
    }
}

fn serve(mut stream: TcpStream, shared: &Shared, script: &dyn Fn(&Question) -> Answer) {
    let mut length = [0; 2];
    while stream.read_exact(&mut length).is_ok() {
        let mut bytes = vec![0; u16::from_be_bytes(length).into()];
        let from = stream.peer_addr();
        let (Ok(()), Ok(from)) = (stream.read_exact(&mut bytes), from) else {
            return;
        };
        let Some(question) = Question::read(&bytes, from, true) else {
            return;
        };
        shared.record(&question);
        if let Some(reply) = answer(&question, script(&question)) {
            let length = (reply.len() as u16).to_be_bytes();
            let _ = stream.write_all(&[&length[..], &reply].concat());
        }
    }
}

impl Question {
    fn read(bytes: &[u8], from: SocketAddr, by_tcp: bool) -> Option<Question> {
        let (mut at, mut labels) = (12, Vec::new());
        while *bytes.get(at)? > 0 {
            let end = at + 1 + usize::from(bytes[at]);
            labels.push(String::from_utf8_lossy(bytes.get(at + 1..end)?).into_owned());
            at = end;
        }
        let kind = u16::from_be_bytes([*bytes.get(at + 1)?, *bytes.get(at + 2)?]);
        Some(Question {
            name: labels.join("."),
            is_v4: kind == A,
            by_tcp,
            from,
            bytes: bytes.to_vec(),
            end: at + 5,
        })
    }

    /// The good answer, for who wants to spoil it.
    pub fn reply(&self, with: Answer) -> Vec<u8> {
        answer(self, with).expect("not silence")
    }
}

fn answer(question: &Question, with: Answer) -> Option<Vec<u8>> {
    let mut flags: u16 = 0x8180;
    let mut records: Vec<Vec<u8>> = Vec::new();
    let mut owner = question.name.clone();
    match with {
        Answer::Silent => return None,
        Answer::Bytes(bytes) => return Some(bytes),
        Answer::Code(code) => flags |= u16::from(code),
        Answer::Cut => flags |= 0x0200,
        Answer::Addresses(ips, ttl) => records.extend(addresses(question, &owner, &ips, ttl)),
        Answer::Behind(aliases, ips) => {
            for alias in aliases {
                records.push(record(&owner, CNAME, 60, &encoded(&alias)));
                owner = alias;
            }
            records.extend(addresses(question, &owner, &ips, 60));
        }
    }
    let mut bytes = question.bytes[..2].to_vec();
    for field in [flags, 1, records.len() as u16, 0, 0] {
        bytes.extend(field.to_be_bytes());
    }
    bytes.extend(&question.bytes[12..question.end]);
    bytes.extend(records.concat());
    Some(bytes)
}

fn addresses(question: &Question, owner: &str, ips: &[IpAddr], ttl: u32) -> Vec<Vec<u8>> {
    let wanted = ips.iter().filter(|ip| ip.is_ipv4() == question.is_v4);
    let record = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => record(owner, A, ttl, &ip.octets()),
        IpAddr::V6(ip) => record(owner, AAAA, ttl, &ip.octets()),
    };
    wanted.map(record).collect()
}

fn record(owner: &str, kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = encoded(owner);
    bytes.extend(kind.to_be_bytes());
    bytes.extend(1u16.to_be_bytes());
    bytes.extend(ttl.to_be_bytes());
    bytes.extend((data.len() as u16).to_be_bytes());
    bytes.extend(data);
    bytes
}

fn encoded(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.bytes());
    }
    bytes.push(0);
    bytes
}
