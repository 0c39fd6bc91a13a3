//! A name server for the corpus: it knows the names of all cases, and has their faults.
//!
//! [`NameServer`] owns a UDP and a TCP socket with one number, and a thread for each, which
//! end with the process. Each name stands in one case only, so one server does for all.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

use super::case::{Case, Name, NameFault};

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;

const NO_ERROR: u8 = 0;
const SERVER_FAILURE: u8 = 2;
const NO_SUCH_NAME: u8 = 3;
const REFUSED: u8 = 5;

pub struct NameServer {
    pub address: SocketAddr,
}

struct Zone {
    names: HashMap<String, Name>,
    /// How many questions for a name have come.
    asked: Mutex<HashMap<(String, u16), usize>>,
}

/// What was asked, and the bytes of the question itself.
struct Question {
    id: [u8; 2],
    name: String,
    kind: u16,
    bytes: Vec<u8>,
}

impl NameServer {
    pub fn start(cases: &[Arc<Case>]) -> Result<NameServer, String> {
        let mut names = HashMap::new();
        for case in cases {
            for name in &case.name_server {
                if names
                    .insert(name.name.to_lowercase(), name.clone())
                    .is_some()
                {
                    return Err(format!(
                        "{}: the name {} stands twice in the corpus",
                        case.name, name.name
                    ));
                }
            }
        }
        let (udp, tcp) = bind().map_err(|e| format!("no sockets for a name server: {e}"))?;
        let address = udp.local_addr().map_err(|e| e.to_string())?;
        let zone = Arc::new(Zone {
            names,
            asked: Mutex::default(),
        });
        let shared = zone.clone();
        thread::spawn(move || serve_udp(&udp, &shared));
        thread::spawn(move || {
            for stream in tcp.incoming().flatten() {
                let zone = zone.clone();
                thread::spawn(move || serve_tcp(stream, &zone));
            }
        });
        Ok(NameServer { address })
    }
}

fn bind() -> io::Result<(UdpSocket, TcpListener)> {
    let mut last = io::Error::other("not tried");
    for _ in 0..20 {
        let udp = UdpSocket::bind("127.0.0.1:0")?;
        match TcpListener::bind(udp.local_addr()?) {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(e) => last = e,
        }
    }
    Err(last)
}

fn serve_udp(socket: &UdpSocket, zone: &Zone) {
    let mut buffer = [0; 2048];
    loop {
        let Ok((read, from)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        for answer in zone.answers(&buffer[..read], false) {
            let _ = socket.send_to(&answer, from);
        }
    }
}

fn serve_tcp(mut stream: std::net::TcpStream, zone: &Zone) -> io::Result<()> {
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut question)?;
        for answer in zone.answers(&question, true) {
            let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
            stream.write_all(&[&length.to_be_bytes()[..], &answer].concat())?;
        }
    }
}

impl Zone {
    /// What is sent back: as a rule one answer, or none.
    fn answers(&self, packet: &[u8], over_tcp: bool) -> Vec<Vec<u8>> {
        let Some(question) = Question::parse(packet) else {
            return Vec::new();
        };
        let Some(name) = self.names.get(&question.name) else {
            return vec![question.answer(NO_SUCH_NAME, false, &[])];
        };
        let mut asked = self.asked.lock().expect("no panic while it was locked");
        let count = asked
            .entry((question.name.clone(), question.kind))
            .or_default();
        *count += 1;
        if *count <= name.lost {
            return Vec::new();
        }
        let wants_v6 = question.kind == AAAA;
        let failed = |code| vec![question.answer(code, false, &[])];
        match name.fault {
            NameFault::Silent => Vec::new(),
            NameFault::SilentAaaa if wants_v6 => Vec::new(),
            NameFault::FailingAaaa if wants_v6 => failed(SERVER_FAILURE),
            NameFault::NoSuchName => failed(NO_SUCH_NAME),
            NameFault::ServerFailure => failed(SERVER_FAILURE),
            NameFault::Refused => failed(REFUSED),
            NameFault::Truncated if !over_tcp => vec![question.answer(NO_ERROR, true, &[])],
            NameFault::ForgedFirst => {
                let records = self.records(&question, name);
                let wrong: Vec<_> = records
                    .iter()
                    .map(|(owner, kind, ttl, data)| {
                        (owner.clone(), *kind, *ttl, vec![9; data.len()])
                    })
                    .collect();
                let mut forged = question.answer(NO_ERROR, false, &wrong);
                forged[0] ^= 0xff;
                vec![forged, question.answer(NO_ERROR, false, &records)]
            }
            _ => vec![question.answer(NO_ERROR, false, &self.records(&question, name))],
        }
    }

    fn records(&self, question: &Question, name: &Name) -> Vec<(Vec<u8>, u16, u32, Vec<u8>)> {
        let mut records = Vec::new();
        let (mut owner, mut name) = (encode(&question.name), name);
        while let Some(alias) = &name.alias {
            records.push((owner, CNAME, name.ttl, encode(alias)));
            owner = encode(alias);
            // A loop of aliases ends too.
            match self.names.get(&alias.to_lowercase()) {
                Some(next) if records.len() < 8 => name = next,
                _ => return records,
            }
        }
        for address in &name.addresses {
            match (address.parse(), question.kind) {
                (Ok(IpAddr::V4(ip)), A) => {
                    records.push((owner.clone(), A, name.ttl, ip.octets().to_vec()))
                }
                (Ok(IpAddr::V6(ip)), AAAA) => {
                    records.push((owner.clone(), AAAA, name.ttl, ip.octets().to_vec()))
                }
                _ => {}
            }
        }
        records
    }
}

impl Question {
    fn parse(packet: &[u8]) -> Option<Question> {
        let id = packet.get(..2)?.try_into().ok()?;
        let mut at = 12;
        let mut labels = Vec::new();
        loop {
            let length = usize::from(*packet.get(at)?);
            at += 1;
            if length == 0 {
                break;
            }
            labels.push(String::from_utf8_lossy(packet.get(at..at + length)?).to_lowercase());
            at += length;
        }
        let kind = u16::from_be_bytes(packet.get(at..at + 2)?.try_into().ok()?);
        let bytes = packet.get(12..at + 4)?.to_vec();
        Some(Question {
            id,
            name: labels.join("."),
            kind,
            bytes,
        })
    }

    fn answer(
        &self,
        code: u8,
        truncated: bool,
        records: &[(Vec<u8>, u16, u32, Vec<u8>)],
    ) -> Vec<u8> {
        let count = (records.len() as u16).to_be_bytes();
        let flags = [0x84 | u8::from(truncated) << 1, 0x80 | code];
        let mut answer = [
            &self.id[..],
            &flags,
            &[0, 1],
            &count,
            &[0, 0, 0, 0],
            &self.bytes,
        ]
        .concat();
        for (owner, kind, ttl, data) in records {
            answer.extend_from_slice(owner);
            answer.extend_from_slice(&kind.to_be_bytes());
            answer.extend_from_slice(&[0, 1]);
            answer.extend_from_slice(&ttl.to_be_bytes());
            answer.extend_from_slice(&(data.len() as u16).to_be_bytes());
            answer.extend_from_slice(data);
        }
        answer
    }
}

fn encode(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.trim_end_matches('.').split('.') {
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes
}
