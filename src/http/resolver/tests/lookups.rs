//! Look-ups against servers that exist in a function only; time is a number.

use std::net::IpAddr;

use simple_dns::rdata::{A, AAAA, RData};
use simple_dns::{CLASS, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE};

use super::*;

const MS: Duration = Duration::from_millis(1);

/// What a server does with a question.
#[derive(Debug, Clone, PartialEq)]
enum Act {
    Silent,
    Code(RCODE),
    Addresses(Vec<IpAddr>),
    Cut,
    Garbage,
}

use Act::*;

/// What came for a question, in the order sent.
#[derive(Debug, Clone)]
struct Sent {
    socket: SocketId,
    server: SocketAddr,
    stream: Option<StreamId>,
    bytes: Vec<u8>,
}

impl Sent {
    fn name(&self) -> String {
        Packet::parse(&self.bytes).unwrap().questions[0]
            .qname
            .to_string()
    }

    fn is_v4(&self) -> bool {
        Packet::parse(&self.bytes).unwrap().questions[0].qtype == QTYPE::TYPE(TYPE::A)
    }

    fn has_edns(&self) -> bool {
        Packet::parse(&self.bytes).unwrap().opt().is_some()
    }

    fn reply(&self, act: &Act) -> Option<Vec<u8>> {
        let mut packet = Packet::parse(&self.bytes).unwrap().into_reply();
        packet.set_flags(PacketFlag::RECURSION_AVAILABLE);
        *packet.opt_mut() = None;
        let name = packet.questions[0].qname.clone();
        match act {
            Silent => return None,
            Garbage => return Some([&self.bytes[..2], b"\x80 garbage and more of it"].concat()),
            Cut => packet.set_flags(PacketFlag::TRUNCATION),
            Code(code) => *packet.rcode_mut() = *code,
            Addresses(ips) => {
                let own = |ip: &&IpAddr| ip.is_ipv4() == self.is_v4();
                for ip in ips.iter().filter(own) {
                    let data = match ip {
                        IpAddr::V4(ip) => RData::A(A {
                            address: (*ip).into(),
                        }),
                        IpAddr::V6(ip) => RData::AAAA(AAAA {
                            address: (*ip).into(),
                        }),
                    };
                    packet
                        .answers
                        .push(ResourceRecord::new(name.clone(), CLASS::IN, 60, data));
                }
            }
        }
        Some(packet.build_bytes_vec_compressed().unwrap())
    }
}

struct World {
    lookups: Lookups,
    start: Instant,
    now: Instant,
    news: Vec<(Duration, Publication)>,
}

impl World {
    fn new(conf: &str) -> World {
        World::with(conf, 1, MAX_IN_FLIGHT)
    }

    fn with(conf: &str, seed: u64, most: usize) -> World {
        let hosts = HostsFile::parse("10.9.9.9 in-the-file\n");
        let now = Instant::now();
        World {
            lookups: Lookups::new(
                ResolvConf::parse(conf, &[]),
                hosts,
                Random::seeded(seed),
                most,
            ),
            start: now,
            now,
            news: Vec::new(),
        }
    }

    fn begin(&mut self, name: &str) -> Vec<Sent> {
        self.lookups.begin(name.into(), self.now);
        self.sent()
    }

    /// What has gone out since the last time.
    fn sent(&mut self) -> Vec<Sent> {
        let since = self.now - self.start;
        self.news.extend(
            self.lookups
                .take_published()
                .into_iter()
                .map(|p| (since, p)),
        );
        let outbox = std::mem::take(self.lookups.outbox());
        let datagrams = outbox.datagrams.iter().map(|d| Sent {
            socket: d.socket,
            server: d.server,
            stream: None,
            bytes: outbox.bytes[d.range.clone()].to_vec(),
        });
        let streams = outbox.connects.iter().map(|(id, server, bytes)| Sent {
            socket: 0,
            server: *server,
            stream: Some(*id),
            bytes: bytes[2..].to_vec(),
        });
        datagrams.chain(streams).collect()
    }

    fn answer(&mut self, sent: &Sent, act: &Act) -> Vec<Sent> {
        if let Some(bytes) = sent.reply(act) {
            match sent.stream {
                Some(id) => self.lookups.receive_stream(id, Ok(&bytes), self.now),
                None => self.lookups.receive(sent.socket, &bytes, self.now),
            }
        }
        self.sent()
    }

    fn pass(&mut self, time: Duration) -> Vec<Sent> {
        let end = self.now + time;
        let mut all = Vec::new();
        while let Some(due) = self.lookups.next_due().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            self.lookups.run_due(self.now);
            all.extend(self.sent());
        }
        self.now = end;
        all
    }

    /// Lets servers act until nothing is in flight. Gives the only news, and how long it took.
    fn run(&mut self, name: &str, act: impl Fn(&Sent) -> Act) -> (Duration, Outcome) {
        let begun = self.now - self.start;
        let mut open = self.begin(name);
        while self.lookups.in_flight() > 0 {
            match open.is_empty() {
                true => open = self.pass(10 * MS),
                false => {
                    let next = open.remove(0);
                    open.extend(self.answer(&next, &act(&next)));
                }
            }
        }
        assert_eq!(self.lookups.open_numbers(), 0, "numbers are given back");
        let (at, news) = self.news.pop().expect("news");
        assert!(news.last);
        (at - begun, news.outcome)
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn both() -> Act {
    Addresses(vec![ip("10.0.0.1"), ip("2001:db8::1"), ip("10.0.0.2")])
}

fn found(v6: &[&str], v4: &[&str]) -> Outcome {
    let ips = |list: &[&str]| list.iter().map(|t| ip(t)).collect();
    Outcome::Found {
        v6: ips(v6),
        v4: ips(v4),
        ttl: Duration::from_secs(60),
    }
}

fn failure(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Failed { text } | Outcome::Absent { text, .. } => text,
        Outcome::Found { .. } => panic!("{outcome:?}"),
    }
}

const TWO: &str = "nameserver 10.0.0.53\nnameserver 10.0.0.54\n";

#[test]
fn both_families_are_asked_for_at_once() {
    let mut world = World::new("nameserver 10.0.0.53\n");
    let sent = world.begin("a.example");
    assert_eq!(sent.len(), 2);
    let (took, outcome) = World::new("").run("a.example", |_| both());
    assert_eq!(outcome, found(&["2001:db8::1"], &["10.0.0.1", "10.0.0.2"]));
    assert_eq!(took, Duration::ZERO);
}

#[test]
fn the_hosts_file_and_localhost_ask_nobody() {
    let mut world = World::new("");
    for (name, v4) in [
        ("in-the-file", "10.9.9.9"),
        ("IN-THE-FILE.", "10.9.9.9"),
        ("x.localhost", "127.0.0.1"),
    ] {
        assert!(world.begin(name).is_empty(), "{name}");
        let (_, news) = world.news.pop().unwrap();
        assert!(
            matches!(&news.outcome, Outcome::Found { v4: all, .. } if *all == [ip(v4)]),
            "{news:?}"
        );
    }
}

#[test]
fn one_family_is_enough_after_50_ms_if_the_other_is_silent() {
    for silent_v4 in [false, true] {
        let mut world = World::new("");
        for sent in world
            .begin("a.example")
            .iter()
            .filter(|s| s.is_v4() != silent_v4)
        {
            world.answer(sent, &both());
        }
        world.pass(49 * MS);
        assert!(world.news.is_empty());
        world.pass(MS);
        let (_, news) = world.news.pop().expect("news");
        let expected = match silent_v4 {
            true => found(&["2001:db8::1"], &[]),
            false => found(&[], &["10.0.0.1", "10.0.0.2"]),
        };
        assert_eq!((news.outcome, news.last), (expected.clone(), false));
        world.pass(Duration::from_secs(10));
        let (at, news) = world.news.pop().expect("the last news");
        assert_eq!(
            (news.outcome, news.last, at.as_secs()),
            (expected, true, 10)
        );
    }
}

#[test]
fn the_other_family_completes_the_answer_when_it_comes_late() {
    let mut world = World::new("");
    let sent = world.begin("a.example");
    let (v4, v6) = (
        sent.iter().find(|s| s.is_v4()).unwrap(),
        sent.iter().find(|s| !s.is_v4()).unwrap(),
    );
    world.answer(v4, &both());
    world.pass(400 * MS);
    world.answer(v6, &both());
    let (_, news) = world.news.pop().unwrap();
    assert_eq!(
        news.outcome,
        found(&["2001:db8::1"], &["10.0.0.1", "10.0.0.2"])
    );
    assert!(news.last && world.lookups.in_flight() == 0);
}

#[test]
fn silence_takes_glibc_s_time_and_is_told_with_the_servers() {
    let (took, outcome) = World::new(TWO).run("a.example", |_| Silent);
    assert_eq!(took, Duration::from_secs(20));
    assert_eq!(
        failure(&outcome),
        "a.example could not be looked up: no answer from 10.0.0.53 and 10.0.0.54 within 20 s"
    );
    let (took, _) = World::new("options timeout:1 attempts:1\n").run("a.example", |_| Silent);
    assert_eq!(took, Duration::from_secs(1));
}

#[test]
fn a_lost_datagram_costs_200_ms_and_the_next_server_is_asked() {
    let mut world = World::new(TWO);
    let dead = |s: &Sent| match s.server.ip() == ip("10.0.0.53") {
        true => Silent,
        false => both(),
    };
    let (took, outcome) = world.run("a.example", dead);
    assert_eq!(outcome, found(&["2001:db8::1"], &["10.0.0.1", "10.0.0.2"]));
    assert_eq!(took, 200 * MS);
    world.pass(Duration::from_secs(3));
    let (took, _) = world.run("b.example", dead);
    assert_eq!(took, Duration::ZERO, "the silent one is asked last now");
    world.pass(Duration::from_secs(60));
    let sent = world.begin("c.example");
    assert_eq!(
        sent[0].server.ip(),
        ip("10.0.0.53"),
        "it gets another chance"
    );
}

#[test]
fn a_refusal_leads_to_the_next_server_at_once() {
    let refuses = |s: &Sent| match s.server.ip() == ip("10.0.0.53") {
        true => Code(RCODE::ServerFailure),
        false => both(),
    };
    assert_eq!(World::new(TWO).run("a.example", refuses).0, Duration::ZERO);
    let (took, outcome) = World::new(TWO).run("a.example", |_| Code(RCODE::Refused));
    assert!(took < Duration::from_secs(1), "{took:?}");
    let text = failure(&outcome);
    assert!(
        text.contains("10.0.0.53 answered REFUSED after") && text.contains("10.0.0.54 answered"),
        "{text}"
    );
}

#[test]
fn a_server_that_nobody_listens_at_is_told_from_a_silent_one() {
    let mut world = World::new("nameserver 10.0.0.53\n");
    let mut open = world.begin("a.example");
    while world.lookups.in_flight() > 0 {
        for sent in open.drain(..) {
            world
                .lookups
                .refuse(sent.socket, "Connection refused", world.now);
        }
        open = [world.sent(), world.pass(10 * MS)].concat();
    }
    let (at, news) = world.news.pop().unwrap();
    assert!(at < Duration::from_secs(1), "{at:?}");
    let text = failure(&news.outcome);
    assert!(
        text.contains("10.0.0.53 cannot be reached: Connection refused"),
        "{text}"
    );
}

#[test]
fn nothing_is_told_from_no_such_name() {
    let (_, outcome) = World::new("").run("a.example", |_| Code(RCODE::NameError));
    assert!(
        failure(&outcome).contains("a.example does not exist"),
        "{outcome:?}"
    );
    let (_, outcome) = World::new("").run("a.example", |_| Addresses(vec![]));
    assert!(
        failure(&outcome).contains("a.example has no address"),
        "{outcome:?}"
    );
    assert!(matches!(outcome, Outcome::Absent { .. }));
}

#[test]
fn a_name_denied_for_ipv6_alone_still_has_its_ipv4_address() {
    let odd = |s: &Sent| match s.is_v4() {
        true => both(),
        false => Code(RCODE::NameError),
    };
    assert_eq!(
        World::new("").run("a.example", odd).1,
        found(&[], &["10.0.0.1", "10.0.0.2"])
    );
    let denied = |s: &Sent| match s.is_v4() {
        true => Code(RCODE::NameError),
        false => Silent,
    };
    let (took, outcome) = World::new("").run("a.example", denied);
    assert!(
        failure(&outcome).contains("does not exist") && took <= 60 * MS,
        "{took:?} {outcome:?}"
    );
}

#[test]
fn what_does_not_fit_is_asked_for_by_tcp() {
    let cut = |s: &Sent| match s.stream {
        None => Cut,
        Some(_) => both(),
    };
    let (took, outcome) = World::new("").run("a.example", cut);
    assert_eq!(outcome, found(&["2001:db8::1"], &["10.0.0.1", "10.0.0.2"]));
    assert_eq!(took, Duration::ZERO);
}

#[test]
fn a_server_from_before_edns_is_asked_again_without_it_and_remembered() {
    let mut world = World::new("");
    let old = |s: &Sent| match s.has_edns() {
        true => Code(RCODE::FormatError),
        false => both(),
    };
    let (took, outcome) = world.run("a.example", old);
    assert_eq!(
        (took, outcome),
        (
            Duration::ZERO,
            found(&["2001:db8::1"], &["10.0.0.1", "10.0.0.2"])
        )
    );
    assert!(world.begin("b.example").iter().all(|s| !s.has_edns()));
    let swallowed = |s: &Sent| match s.has_edns() {
        true => Silent,
        false => both(),
    };
    let (took, _) = World::new("").run("a.example", swallowed);
    assert!(took <= Duration::from_secs(4), "{took:?}");
}

#[test]
fn short_names_are_completed_until_one_exists() {
    let conf = "search corp.example lab.example\n";
    let lab = |s: &Sent| match s.name().ends_with("lab.example") {
        true => both(),
        false => Code(RCODE::NameError),
    };
    let mut world = World::new(conf);
    assert!(matches!(world.run("db", lab).1, Outcome::Found { .. }));
    let (_, outcome) = world.run("db.", lab);
    assert!(
        failure(&outcome).contains("db. does not exist"),
        "a trailing dot means: as it is"
    );
    let (_, outcome) = World::new(conf).run("db", |_| Code(RCODE::NameError));
    assert!(
        failure(&outcome).contains("with 2 search domains likewise"),
        "{outcome:?}"
    );
}

#[test]
fn forged_answers_are_not_believed_and_garbage_is_told_of() {
    let mut world = World::new("nameserver 10.0.0.53\n");
    let sent = world.begin("a.example");
    let other = world.begin("b.example");
    for s in &sent {
        let good = s.reply(&both()).unwrap();
        let mut wrong_number = good.clone();
        wrong_number[1] ^= 1;
        world.lookups.receive(s.socket, &wrong_number, world.now);
        world.lookups.receive(s.socket + 1000, &good, world.now);
        let mut wrong_name = other[0].reply(&both()).unwrap();
        wrong_name[..2].copy_from_slice(&good[..2]);
        world.lookups.receive(s.socket, &wrong_name, world.now);
        world.lookups.receive(s.socket, &[], world.now);
    }
    assert!(world.sent().is_empty() && world.news.is_empty());
    world.pass(Duration::from_secs(10));
    let (_, news) = world
        .news
        .iter()
        .find(|(_, n)| &*n.name == "a.example")
        .unwrap();
    assert!(
        failure(&news.outcome).contains("10.0.0.53 sent what is no answer"),
        "{news:?}"
    );
}

#[test]
fn where_too_many_are_in_flight_the_oldest_of_the_largest_zone_goes() {
    let mut world = World::with("", 1, 100);
    let early = world.begin("first.good.test");
    for n in 0..1000 {
        world.begin(&format!("n{n}.slow.test"));
    }
    assert_eq!(world.lookups.in_flight(), 100);
    let ended: Vec<_> = world.news.iter().map(|(_, n)| &*n.name).collect();
    assert_eq!(ended.len(), 901);
    assert_eq!(ended[0], "n0.slow.test");
    assert!(
        failure(&world.news[0].1.outcome).contains("the oldest of those below slow.test had to go")
    );
    for sent in early {
        world.answer(&sent, &both());
    }
    let (_, news) = world.news.pop().unwrap();
    assert_eq!(
        (&*news.name, news.outcome),
        (
            "first.good.test",
            found(&["2001:db8::1"], &["10.0.0.1", "10.0.0.2"])
        )
    );
}

#[test]
fn a_burst_is_spread_unless_it_is_answered() {
    let mut world = World::new("");
    let mut sent = Vec::new();
    for n in 0..WINDOW {
        assert!(world.lookups.room(world.now) > 0);
        sent.extend(world.begin(&format!("n{n}.test")));
    }
    assert_eq!(world.lookups.room(world.now), 0);
    sent.drain(..20)
        .for_each(|s| drop(world.answer(&s, &both())));
    assert_eq!(world.lookups.room(world.now), 10, "ten have been answered");
    let due = world.lookups.room_due().expect("those that wait");
    assert_eq!(world.lookups.room(due), WINDOW);
    for s in sent {
        world.answer(&s, &both());
    }
    assert_eq!(world.lookups.room(world.now), WINDOW);
}

#[test]
fn tcp_cannot_be_filled_by_one_owner_s_names() {
    let mut world = World::new("");
    let by_tcp = |world: &mut World, name: &str| -> Vec<Sent> {
        let sent = world.begin(name);
        sent.iter().flat_map(|s| world.answer(s, &Cut)).collect()
    };
    let good = by_tcp(&mut world, "a.good.test");
    for n in 0..500 {
        by_tcp(&mut world, &format!("n{n}.bad.test"));
        world.lookups.run_due(world.now);
        assert!(world.lookups.name_servers.streams() <= 64);
    }
    assert_eq!(good.len(), 2);
    for s in &good {
        assert!(s.stream.is_some());
        world.answer(s, &both());
    }
    let found = world.news.iter().find(|(_, n)| &*n.name == "a.good.test");
    assert!(found.is_some_and(|(_, n)| matches!(n.outcome, Outcome::Found { .. })));
}

#[path = "model.rs"]
mod model;

#[test]
#[ignore = "a measurement"]
fn what_the_core_costs() {
    use super::super::cache::Cache;
    let cpu = || {
        let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        stat.split(' ').next().unwrap().parse::<u64>().unwrap()
    };
    let mut world = World::with("", 1, MAX_IN_FLIGHT);
    let mut cache = Cache::new(8192);
    let now = Instant::now();
    for round in 0..6 {
        let (mut ask, mut begin, mut receive, mut learn) = (0, 0, 0, 0);
        const N: u64 = 20_000;
        for n in 0..N / 16 {
            let t0 = cpu();
            for k in 0..16 {
                cache.ask(&format!("n{n}.t{k}.customer-{round}.test"), now);
            }
            let t1 = cpu();
            while let Some(name) = cache.take_request() {
                world.lookups.begin(name, now);
            }
            let mut outbox = std::mem::take(world.lookups.outbox());
            let t2 = cpu();
            for d in &outbox.datagrams {
                let mut bytes = outbox.bytes[d.range.clone()].to_vec();
                bytes.truncate(bytes.len() - 11);
                bytes[2..4].copy_from_slice(&[0x81, 0x80]);
                bytes[11] = 0;
                if bytes[bytes.len() - 3] == 1 {
                    bytes[7] = 1;
                    bytes.extend(b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\0\0\x01");
                }
                world.lookups.receive(d.socket, &bytes, now);
            }
            let t3 = cpu();
            outbox.clear();
            *world.lookups.outbox() = outbox;
            for news in world.lookups.take_published() {
                cache.learn(&news, now);
            }
            let t4 = cpu();
            (ask, begin, receive, learn) = (
                ask + t1 - t0,
                begin + t2 - t1,
                receive + t3 - t2,
                learn + t4 - t3,
            );
        }
        println!(
            "per look-up: ask {} ns, begin {} ns, receive {} ns, learn {} ns",
            ask / N,
            begin / N,
            receive / N,
            learn / N
        );
    }
}
