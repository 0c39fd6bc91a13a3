//! The scripts that move messages, alone, on a real Redis: random replicas that read, park, defer,
//! bring back, settle and bury, whose answers get lost so that they ask again, and who are killed
//! between any two steps. After each step every message is in exactly one place, and every backlog
//! that holds something is known.

use std::collections::HashMap;

use redis::Value;

use crate::support::redis::{AGAIN, BACKLOGS, DEAD, MESSAGES, PARKED, Redis};

const SEEDS: u64 = 6;
const STEPS: usize = 1500;
const GROUP: &str = "outhook";
const ENDPOINTS: [&str; 3] = ["http://a", "http://b", "http://c/d"];

macro_rules! script {
    ($name:literal) => {
        concat!(
            include_str!("../../src/store/lua/moves.lua"),
            "\n",
            include_str!(concat!("../../src/store/lua/", $name, ".lua"))
        )
    };
}

/// A message in a replica's hands.
#[derive(Debug, Clone)]
struct Held {
    /// With a + before it, if it has come back.
    entry: String,
    id: String,
}

struct World<'a> {
    redis: &'a Redis,
    random: u64,
    /// By replica. One that is killed forgets.
    hands: HashMap<String, Vec<Held>>,
    added: usize,
    settled: usize,
    killed: usize,
}

impl World<'_> {
    fn below(&mut self, n: usize) -> usize {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    }

    fn eval(&self, code: &str, keys: &[&str], args: &[&str]) -> Value {
        let count = keys.len().to_string();
        self.redis
            .command(&[&["EVAL", code, &count], keys, args].concat())
    }

    fn backlog(name: &str) -> String {
        format!("{{outhook}}:backlog:{name}")
    }

    fn add(&mut self) {
        self.added += 1;
        self.redis.add(format!("m{}", self.added));
    }

    fn take(&mut self, replica: &str, reply: Value, plus: &str) {
        let hand = self.hands.entry(replica.to_owned()).or_default();
        for (entry, id) in entries(reply) {
            let entry = format!("{plus}{entry}");
            if !hand.iter().any(|held| held.entry == entry) {
                hand.push(Held { entry, id });
            }
        }
    }

    fn read(&mut self, replica: &str) {
        let read = ["XREADGROUP", "GROUP", GROUP, replica, "COUNT", "5"];
        let reply: Value = self
            .redis
            .command(&[&read[..], &["STREAMS", MESSAGES, ">"]].concat());
        if let Value::Array(mut streams) = reply
            && let Some(Value::Array(mut stream)) = streams.pop()
        {
            self.take(replica, stream.pop().unwrap(), "");
        }
    }

    fn recall(&mut self, replica: &str) {
        let args = [GROUP, replica, "3", "1000000"];
        let reply = self.eval(script!("recall"), &[PARKED, AGAIN], &args);
        self.take_first(replica, reply);
    }

    fn release(&mut self, replica: &str) {
        let name = ENDPOINTS[self.below(3)];
        let keys = [&Self::backlog(name), BACKLOGS, AGAIN];
        let args = [name, GROUP, replica, "4", "1000000", ""];
        let reply = self.eval(script!("release"), &keys, &args);
        self.take_first(replica, reply);
    }

    /// Half of the answers get lost: what they gave is found again as our own, later.
    fn take_first(&mut self, replica: &str, reply: Value) {
        let lost = self.below(4) == 0;
        if let Value::Array(parts) = reply
            && !lost
        {
            self.take(replica, parts.into_iter().next().unwrap(), "+");
        }
    }

    /// What it holds by Redis's account, after a lost answer.
    fn recover(&mut self, replica: &str) {
        for (stream, plus) in [(MESSAGES, ""), (AGAIN, "+")] {
            let ask = ["XPENDING", stream, GROUP, "-", "+", "1000", replica];
            let rows: Vec<(String, String, u64, u64)> = self.redis.command(&ask);
            for (entry, ..) in rows {
                let found = self.redis.command(&["XRANGE", stream, &entry, &entry]);
                self.take(replica, found, plus);
            }
        }
    }

    /// Moves up to three held messages, and asks again at times, as if no answer had come.
    fn put_away(&mut self, replica: &str) {
        let hand = self.hands.entry(replica.to_owned()).or_default();
        let some: Vec<Held> = hand.drain(..hand.len().min(3)).collect();
        let (mut keys, mut args) = (vec![], vec![GROUP.to_owned(), replica.to_owned()]);
        keys.extend([PARKED, MESSAGES, AGAIN, DEAD, BACKLOGS].map(str::to_owned));
        args.extend(["1000", "60000", "control"].map(str::to_owned));
        for held in &some {
            args.push(held.entry.clone());
            match self.below(3) {
                0 => args.extend(["1".into(), String::new(), String::new()]),
                _ => {
                    let name = ENDPOINTS[self.below(3)];
                    keys.push(Self::backlog(name));
                    let push = ["RPUSH", "LPUSH"][self.below(2)];
                    args.extend([push.into(), keys.len().to_string(), name.to_owned()]);
                }
            }
            let received = (1 + self.below(1000)).to_string();
            args.extend(
                ["", "", "2", &received, &held.id, "u", "s", "", &held.id].map(str::to_owned),
            );
        }
        let keys: Vec<&str> = keys.iter().map(|k| &**k).collect();
        let args: Vec<&str> = args.iter().map(|a| &**a).collect();
        if !some.is_empty() {
            for _ in 0..=self.below(2) {
                self.eval(script!("park"), &keys, &args);
            }
        }
    }

    fn bury(&mut self, replica: &str) {
        let hand = self.hands.entry(replica.to_owned()).or_default();
        let Some(held) = hand.pop() else { return };
        let args = [GROUP, replica, &held.entry, "2", "id", &held.id];
        for _ in 0..=self.below(2) {
            self.eval(script!("bury"), &[DEAD, MESSAGES, AGAIN], &args);
        }
    }

    fn settle(&mut self, replica: &str) {
        let hand = self.hands.entry(replica.to_owned()).or_default();
        let Some(held) = hand.pop() else { return };
        let (stream, entry) = match held.entry.strip_prefix('+') {
            Some(entry) => (AGAIN, entry),
            None => (MESSAGES, &*held.entry),
        };
        let _: usize = self.redis.command(&["XACK", stream, GROUP, entry]);
        let gone: usize = self.redis.command(&["XDEL", stream, entry]);
        self.settled += gone;
    }

    /// Another one takes over all that it holds.
    fn kill(&mut self, replica: &str, heir: &str) {
        self.killed += 1;
        self.hands.remove(replica);
        for (stream, plus) in [(MESSAGES, ""), (AGAIN, "+")] {
            let args = [GROUP, heir, replica, "0", "100"];
            let code = include_str!("../../src/store/lua/take.lua");
            let Value::Array(ids) = self.eval(code, &[MESSAGES, stream], &args) else {
                panic!("ids");
            };
            for id in ids {
                let id = text(id);
                let found = self.redis.command(&["XRANGE", stream, &id, &id]);
                self.take(heir, found, plus);
            }
        }
    }

    fn step(&mut self) {
        let replica = format!("r{}", self.below(3));
        match self.below(16) {
            0..3 => self.add(),
            3..6 => self.read(&replica),
            6..9 => self.put_away(&replica),
            9 => self.recall(&replica),
            10..12 => self.release(&replica),
            12 => self.settle(&replica),
            13 => self.bury(&replica),
            14 => self.recover(&replica),
            _ => {
                let heir = format!("r{}", self.below(3));
                if heir != replica {
                    self.kill(&replica, &heir);
                }
            }
        }
    }

    /// How often each message is somewhere.
    fn places(&self) -> HashMap<String, usize> {
        let mut places = HashMap::new();
        let mut found = |id: String| *places.entry(id).or_default() += 1;
        for stream in [MESSAGES, AGAIN, DEAD] {
            let all = entries(self.redis.command(&["XRANGE", stream, "-", "+"]));
            all.into_iter().for_each(|(_, id)| found(id));
        }
        let parked: Vec<String> = self.redis.command(&["ZRANGE", PARKED, "0", "-1"]);
        let mut members = parked;
        let known: Vec<String> = self.redis.command(&["ZRANGE", BACKLOGS, "0", "-1"]);
        for name in ENDPOINTS {
            let list = ["LRANGE", &Self::backlog(name), "0", "-1"];
            let list: Vec<String> = self.redis.command(&list);
            assert!(
                list.is_empty() || known.iter().any(|k| k == name),
                "{name} is forgotten"
            );
            members.extend(list);
        }
        for member in members {
            found(member.split('\n').nth(1).unwrap().to_owned());
        }
        places
    }
}

fn text(value: Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Their ids, and those of the messages, which are the messages here.
fn entries(reply: Value) -> Vec<(String, String)> {
    let Value::Array(entries) = reply else {
        return Vec::new();
    };
    let read = entries.into_iter().map(|entry| {
        let Value::Array(parts) = entry else {
            panic!("an entry")
        };
        let mut parts = parts.into_iter();
        let entry = text(parts.next().unwrap());
        let Some(Value::Array(fields)) = parts.next() else {
            panic!("fields")
        };
        let fields: Vec<String> = fields.into_iter().map(text).collect();
        let mut pairs = fields.chunks_exact(2);
        let id = pairs.find(|pair| ["message", "id"].contains(&&*pair[0]));
        (entry, id.unwrap()[1].clone())
    });
    read.collect()
}

#[test]
fn whatever_replicas_do_and_wherever_they_end_each_message_is_in_one_place() {
    for seed in 1..=SEEDS {
        let redis = Redis::start();
        for stream in [MESSAGES, AGAIN] {
            redis.command::<()>(&["XGROUP", "CREATE", stream, GROUP, "0", "MKSTREAM"]);
        }
        let mut world = World {
            redis: &redis,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            hands: HashMap::new(),
            added: 0,
            settled: 0,
            killed: 0,
        };
        for step in 0..STEPS {
            world.step();
            if step % 10 > 0 {
                continue;
            }
            let places = world.places();
            let twice = places.iter().find(|(_, count)| **count > 1);
            assert_eq!(twice, None, "seed {seed}, step {step}");
            let here = places.len() + world.settled;
            assert_eq!(here, world.added, "seed {seed}, step {step}");
        }
        assert!(world.settled > 10 && world.killed > 10, "seed {seed}");
    }
}
