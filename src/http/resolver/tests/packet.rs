//! What bytes mean, and that no bytes do harm.

use simple_dns::rdata::{A, AAAA, CNAME, OPT, SOA};
use simple_dns::{Name, QCLASS, Question, TYPE};

use super::*;
use crate::dice::Dice;

fn query(name: &str) -> Query {
    let [_, v4] = Query::pair(name).expect("a name");
    v4
}

/// An answer to a question, to be filled in.
fn reply<'a>(name: &'a str, kind: TYPE) -> Packet<'a> {
    let mut packet = Packet::new_reply(7);
    packet.set_flags(PacketFlag::RECURSION_AVAILABLE);
    let name = Name::new(name).unwrap();
    packet.questions.push(Question::new(
        name,
        kind.into(),
        QCLASS::CLASS(CLASS::IN),
        false,
    ));
    packet
}

fn record<'a>(name: &'a str, ttl: u32, data: RData<'a>) -> ResourceRecord<'a> {
    ResourceRecord::new(Name::new(name).unwrap(), CLASS::IN, ttl, data)
}

fn a(last: u8) -> RData<'static> {
    RData::A(A {
        address: u32::from(Ipv4Addr::new(10, 0, 0, last)),
    })
}

fn alias<'a>(to: &'a str) -> RData<'a> {
    RData::CNAME(CNAME(Name::new(to).unwrap()))
}

fn read_packet(query: &Query, packet: &Packet) -> Result<Reply, NotOurs> {
    read(query, &packet.build_bytes_vec_compressed().unwrap())
}

fn found(ttl: u64, last: &[u8]) -> Reply {
    Reply::Found(Found {
        addresses: last
            .iter()
            .map(|n| Ipv4Addr::new(10, 0, 0, *n).into())
            .collect(),
        ttl: Duration::from_secs(ttl),
    })
}

#[test]
fn a_question_is_what_the_rfc_says() {
    let mut bytes = Vec::new();
    query("a.bc").write(0x1234, true, &mut bytes);
    let expected =
        b"\x12\x34\x01\0\0\x01\0\0\0\0\0\x01\x01a\x02bc\0\0\x01\0\x01\0\0\x29\x04\xd0\0\0\0\0\0\0";
    assert_eq!(bytes, expected);
    bytes.clear();
    let [v6, _] = Query::pair("a.bc").unwrap();
    v6.write(1, false, &mut bytes);
    assert_eq!(
        bytes,
        b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x01a\x02bc\0\0\x1c\0\x01"
    );
}

#[test]
fn a_question_reads_as_what_was_meant() {
    let longest = [
        "a".repeat(63),
        "b".repeat(63),
        "c".repeat(63),
        "d".repeat(61),
    ]
    .join(".");
    for name in [
        "a",
        "hooks.customer.test",
        "xn--bcher-kva.example",
        &longest,
    ] {
        for (query, kind) in Query::pair(name).unwrap().iter().zip([TYPE::AAAA, TYPE::A]) {
            let mut bytes = Vec::new();
            query.write(7, true, &mut bytes);
            let packet = Packet::parse(&bytes).unwrap();
            assert_eq!((packet.id(), packet.questions.len()), (7, 1));
            assert_eq!(packet.questions[0].qname, Name::new(name).unwrap());
            assert_eq!(packet.questions[0].qtype, kind.into());
            assert!(packet.has_flags(PacketFlag::RECURSION_DESIRED));
            assert_eq!(packet.opt().unwrap().udp_packet_size, UDP_PAYLOAD);
        }
    }
    assert_eq!(Query::pair(&(longest + "d")), None);
}

#[test]
fn what_is_no_name_is_not_asked_for() {
    let long = "a".repeat(64);
    let longer = "abcdefg.".repeat(32) + "abc";
    for name in ["", ".", "a..b", ".a", "a b", "a\\.b", "é", &long, &longer] {
        assert_eq!(Query::pair(name), None, "{name}");
    }
    assert!(Query::pair("_srv.a-b.example").is_some());
}

#[test]
fn addresses_are_found_at_the_end_of_a_chain_in_any_order() {
    let mut packet = reply("WWW.example", TYPE::A);
    packet.answers.push(record("c.example", 300, a(2)));
    packet
        .answers
        .push(record("b.example", 40, alias("C.example")));
    packet.answers.push(record("other.example", 1, a(9)));
    packet
        .answers
        .push(record("www.example", 90, alias("b.example")));
    packet.answers.push(record("c.example", 300, a(1)));
    packet.answers.push(record("c.example", 300, a(2)));
    assert_eq!(
        read_packet(&query("www.example"), &packet),
        Ok(found(40, &[2, 1]))
    );
}

#[test]
fn a_chain_without_an_end_ends() {
    let mut packet = reply("a.example", TYPE::A);
    packet
        .answers
        .push(record("a.example", 40, alias("b.example")));
    packet
        .answers
        .push(record("b.example", 40, alias("a.example")));
    let none = Ok(Reply::NoAddress { ttl: None });
    assert_eq!(read_packet(&query("a.example"), &packet), none);
}

#[test]
fn only_addresses_of_the_family_and_only_so_many_count() {
    let mut packet = reply("a.example", TYPE::A);
    packet
        .answers
        .push(record("a.example", 9, RData::AAAA(AAAA { address: 1 })));
    (0..100).for_each(|n| packet.answers.push(record("a.example", 50, a(n))));
    let sixteen: Vec<u8> = (0..16).collect();
    assert_eq!(
        read_packet(&query("a.example"), &packet),
        Ok(found(50, &sixteen))
    );
}

#[test]
fn records_of_another_class_are_not_the_names() {
    let q = query("a.example");
    let none = Ok(Reply::NoAddress { ttl: None });
    let mut flush = reply("a.example", TYPE::A);
    let record_of_a = || record("a.example", 50, a(1));
    flush.answers.push(record_of_a().with_cache_flush(true));
    assert_eq!(read_packet(&q, &flush), none, "class 0x8001");
    let good = {
        let mut packet = reply("a.example", TYPE::A);
        packet.answers.push(record_of_a());
        packet.build_bytes_vec().unwrap()
    };
    // Behind the question and the record's name and type stands its class.
    let class = good.len() - 12;
    assert_eq!(read(&q, &good), Ok(found(50, &[1])));
    for (value, expected) in [
        (0x8001_u16, none.clone()),
        (3, none.clone()),
        (254, none),
        (0, Err(NotOurs)),
        (255, Err(NotOurs)),
        (0x0101, Err(NotOurs)),
        (0xffff, Err(NotOurs)),
    ] {
        let mut bytes = good.clone();
        bytes[class..class + 2].copy_from_slice(&value.to_be_bytes());
        assert_eq!(read(&q, &bytes), expected, "class {value:#x}");
    }
}

#[test]
fn an_address_of_another_length_is_none() {
    for (query, kind, data) in Query::pair("a.example")
        .unwrap()
        .iter()
        .zip([TYPE::AAAA, TYPE::A])
        .map(|(query, kind)| match kind {
            TYPE::A => (query, kind, a(1)),
            _ => (query, kind, RData::AAAA(AAAA { address: 1 })),
        })
    {
        let mut packet = reply("a.example", kind);
        packet.answers.push(record("a.example", 50, data));
        let good = packet.build_bytes_vec().unwrap();
        assert!(matches!(read(query, &good), Ok(Reply::Found(_))));
        let size = match query.family {
            Family::V4 => 4,
            Family::V6 => 16,
        };
        let length = good.len() - size - 1;
        for (longer, value) in [(0, size - 1), (1, size + 1), (12, size + 12), (0, 0)] {
            let mut bytes = good.clone();
            bytes[length] = value as u8;
            bytes.extend(vec![1; longer]);
            assert_eq!(read(query, &bytes), Err(NotOurs), "{kind:?} of {value}");
        }
    }
}

#[test]
fn nothing_is_believed_for_as_long_as_the_zone_says() {
    let soa = |ttl, minimum| {
        let name = || Name::new("example").unwrap();
        let soa = SOA {
            mname: name(),
            rname: name(),
            serial: 1,
            refresh: 1,
            retry: 1,
            expire: 1,
            minimum,
        };
        record("example", ttl, RData::SOA(soa))
    };
    let mut packet = reply("a.example", TYPE::A);
    packet.name_servers.push(soa(100, 7));
    let ttl = Some(Duration::from_secs(7));
    let q = query("a.example");
    assert_eq!(read_packet(&q, &packet), Ok(Reply::NoAddress { ttl }));
    *packet.rcode_mut() = RCODE::NameError;
    assert_eq!(read_packet(&q, &packet), Ok(Reply::NoName { ttl }));
}

#[test]
fn what_a_server_says_instead_of_an_answer_is_understood() {
    let q = query("a.example");
    for (code, expected) in [
        (RCODE::ServerFailure, Reply::Refused("SERVFAIL")),
        (RCODE::Refused, Reply::Refused("REFUSED")),
        (RCODE::FormatError, Reply::NotUnderstood),
        (RCODE::NotImplemented, Reply::NotUnderstood),
    ] {
        let mut packet = reply("a.example", TYPE::A);
        *packet.rcode_mut() = code;
        assert_eq!(read_packet(&q, &packet), Ok(expected.clone()));
        packet.questions.clear();
        assert_eq!(
            read_packet(&q, &packet),
            Ok(expected),
            "without the question"
        );
    }
    let mut referral = reply("a.example", TYPE::A);
    referral.remove_flags(PacketFlag::RECURSION_AVAILABLE);
    let refused = Ok(Reply::Refused("that it does not ask others"));
    assert_eq!(read_packet(&q, &referral), refused);
}

#[test]
fn the_answer_to_another_question_is_not_ours() {
    let q = query("a.example");
    for (name, kind) in [
        ("b.example", TYPE::A),
        ("a.example", TYPE::AAAA),
        ("a.example.b", TYPE::A),
    ] {
        assert_eq!(read_packet(&q, &reply(name, kind)), Err(NotOurs), "{name}");
    }
    let mut own = Vec::new();
    q.write(7, true, &mut own);
    assert_eq!(read(&q, &own), Err(NotOurs), "the question itself");
    let mut none = reply("a.example", TYPE::A);
    none.questions.clear();
    assert_eq!(read_packet(&q, &none), Err(NotOurs));
}

#[test]
fn what_is_cut_short_says_so_wherever_it_is_cut() {
    let q = query("a.example");
    let mut packet = reply("a.example", TYPE::A);
    packet.set_flags(PacketFlag::TRUNCATION);
    packet.answers.push(record("a.example", 50, a(1)));
    let bytes = packet.build_bytes_vec().unwrap();
    assert_eq!(
        read(&q, &bytes),
        Ok(Reply::Truncated(Some(Found {
            addresses: vec![Ipv4Addr::new(10, 0, 0, 1).into()],
            ttl: Duration::from_secs(50)
        })))
    );
    assert_eq!(
        read(&q, &bytes[..bytes.len() - 3]),
        Ok(Reply::Truncated(None))
    );
}

#[test]
fn loops_of_compression_and_absurd_counts_are_no_answers() {
    let q = query("a.example");
    let mut bytes = reply("a.example", TYPE::A).build_bytes_vec().unwrap();
    bytes[7] = 1;
    for pointer in [
        [0xc0, bytes.len() as u8],
        [0xff, 0xff],
        [0xc0, bytes.len() as u8 + 2],
    ] {
        let looped = [
            &bytes[..],
            &pointer,
            b"\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\0\0\x01",
        ]
        .concat();
        assert_eq!(read(&q, &looped), Err(NotOurs), "{pointer:?}");
    }
    bytes[6..12].fill(0xff);
    assert_eq!(read(&q, &bytes), Err(NotOurs));
}

#[test]
fn any_bytes_are_read_without_a_panic() {
    let q = query("a.example");
    let mut packet = reply("a.example", TYPE::A);
    packet
        .answers
        .push(record("a.example", 50, alias("b.example")));
    packet.answers.push(record("b.example", 50, a(1)));
    *packet.opt_mut() = Some(OPT {
        opt_codes: Vec::new(),
        udp_packet_size: 512,
        version: 0,
    });
    let good = packet.build_bytes_vec_compressed().unwrap();
    let mut dice = Dice::usual(1);
    for _ in 0..60_000 {
        dice.step();
        let mut bytes = good.clone();
        for _ in 0..=dice.below(6) {
            let at = dice.index(bytes.len());
            match dice.below(4) {
                0 => bytes.truncate(at.max(1)),
                1 => bytes.insert(at, dice.below(256) as u8),
                // Types and lengths are what a parser stumbles over.
                2 => bytes[at] = *dice.pick(&[0, 1, 0xc0, 0xff, 41, 64, 65, 63]),
                _ => bytes[at] = dice.below(256) as u8,
            }
        }
        let _ = read(&q, &bytes);
    }
}
