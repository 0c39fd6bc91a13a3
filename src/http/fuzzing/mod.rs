//! What must hold for whatever a receiver, a name server or a proxy sends: some of the fuzz targets.

mod proxy;

use std::net::IpAddr;

use crate::http::resolver::packet::{Family, Query, Reply, read};
use crate::http::response::{BodyLength, Head, HeadReader, Keep, MAX_HEAD};

pub use proxy::{proxy_http, proxy_socks};

/// The most that a reader of heads may hold.
const MAX_MEMORY: usize = 4096;

type Outcome = Result<(usize, Option<Head>), String>;

/// The first byte says where the others are split; they are what a receiver sends.
pub fn head(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else {
        return;
    };
    let at = bytes.len() * usize::from(*first) / 255;
    let (whole, reader) = feed(&[bytes]);
    let (a, b) = bytes.split_at(at);
    // Byte by byte every line is pieced together; beyond this it takes too long.
    let single: Vec<&[u8]> = bytes.chunks(1 + bytes.len() / 8192).collect();
    let end = reader.end();
    for pieces in [&[a, b][..], &single] {
        let (split, reader) = feed(pieces);
        match (&whole, &split) {
            // The sentence quotes what had come.
            (Err(_), Err(_)) => continue,
            _ => assert_eq!(whole, split, "split at {at}"),
        }
        if matches!(whole, Ok((_, None))) {
            assert_eq!(reader.end(), end);
        }
    }
    match whole {
        Ok((used, Some(head))) => {
            assert!(used <= MAX_HEAD.min(bytes.len()));
            check_head(&head, &bytes[..used]);
        }
        Ok((used, None)) => assert!(used == bytes.len() && used < MAX_HEAD),
        Err(e) => assert!(!e.contains(char::is_control) && e.len() < 1000, "{e:?}"),
    }
}

fn feed(pieces: &[&[u8]]) -> (Outcome, HeadReader) {
    let mut reader = HeadReader::default();
    let mut used = 0;
    for piece in pieces {
        let outcome = reader.feed(piece);
        assert!(reader.memory() <= MAX_MEMORY, "{} bytes", reader.memory());
        match outcome {
            Ok((n, None)) => used += n,
            Ok((n, head)) => return (Ok((used + n, head)), reader),
            Err(e) => return (Err(e.to_string()), reader),
        }
    }
    (Ok((used, None)), reader)
}

fn check_head(head: &Head, bytes: &[u8]) {
    let digits = head.status.to_string();
    assert!((100..=999).contains(&head.status));
    assert!(
        bytes.windows(3).any(|w| w == digits.as_bytes()),
        "nobody sent {digits}"
    );
    // What ureq gets says the same.
    let mut canonical = Vec::new();
    head.write_canonical(&mut canonical);
    let (outcome, _) = feed(&[&canonical]);
    let (used, again) = outcome.expect("a head");
    let again = again.expect("a whole head");
    let length = match head.length {
        BodyLength::None if !matches!(head.status, 101 | 204 | 304) => BodyLength::Exactly(0),
        length => length,
    };
    assert_eq!(
        (used, again.status, again.length),
        (canonical.len(), head.status, length)
    );
    assert_eq!(
        (&again.retry_after, &again.date),
        (&head.retry_after, &head.date)
    );
    let keeps = |head: &Head| head.keep == Keep::Yes;
    assert!(keeps(head) || !keeps(&again), "it must not be kept");
}

/// What a name server sends to the questions for the addresses of `a.example`.
pub fn dns(bytes: &[u8]) {
    for query in Query::pair("a.example").expect("a name") {
        let (kind, length) = match query.family {
            Family::V4 => (1_u16, 4_u16),
            Family::V6 => (28, 16),
        };
        let found = match read(&query, bytes) {
            Ok(Reply::Found(found) | Reply::Truncated(Some(found))) => found,
            _ => continue,
        };
        assert!((1..=16).contains(&found.addresses.len()));
        for (n, address) in found.addresses.iter().enumerate() {
            assert!(!found.addresses[..n].contains(address), "twice");
            // Somewhere it stands as it must: type, class, a time to live, its length, itself.
            let octets = match address {
                IpAddr::V4(ip) => ip.octets().to_vec(),
                IpAddr::V6(ip) => ip.octets().to_vec(),
            };
            let stands = bytes.windows(10 + octets.len()).any(|w| {
                let numbers = [(0, kind), (2, 1), (8, length)];
                let same = |(at, n): (usize, u16)| w[at..at + 2] == n.to_be_bytes();
                numbers.into_iter().all(same) && w[10..] == octets
            });
            assert!(stands, "{address} is in no record of class IN");
        }
    }
}
