//! A model of the scripts that move messages, on a real Redis and without the program.
//!
//! **It believes** which messages three replicas have in their hands, how many have been added and
//! settled, and in which order those whose key begins with `o` were added.
//!
//! **It does** what replicas do, as dice decide ([`ACTS`]): add, read, deal, ask whose turn it is, park
//! or defer, bring back what is due, release from a backlog, settle, bury. An answer gets lost now and
//! then: then the replica asks the same again, or finds out later what it holds. A replica is killed
//! between any two steps, and another takes over what it held. Somebody deletes the head of a key by
//! hand, wherever it is.
//!
//! **It checks** that every message is in exactly one place, or settled; that every backlog with
//! something in it is known; that of each key one message is in play, where the hash of heads says, and
//! that no key stands still; and that what was added in order comes to its end in order.
//!
//! The scheduler's part in this is in the models of `src/scheduler/tests`.

use std::collections::HashMap;

use redis::Value;

use crate::support::dice::{Dice, Odds, seeds};
use crate::support::redis::{AGAIN, BACKLOGS, DEAD, HEADS, MESSAGES, ORDERED, PARKED, Redis};

const SEEDS: u64 = 12;
const STEPS: usize = 1500;
/// Everything is looked at after each so many steps: that takes longer than a step.
const LOOKED_AT: usize = 10;
/// Once in so many times the answer to what brings messages gets lost.
const LOST: u64 = 4;
/// Once in so many times a replica that deals looks again at what there is; otherwise it deals what it
/// saw, perhaps a while ago.
const LOOKS_AGAIN: u64 = 3;
/// A replica asks the same again fewer than so many times.
const REPEATED: u64 = 3;

type Act = fn(&mut World, &str);

/// What a replica does, and how often.
const ACTS: Odds<Act> = &[
    (5, World::settle),
    (3, |world, _| world.add()),
    (3, World::read),
    (3, World::queue),
    (3, World::put_away),
    (2, World::deal),
    (2, World::release),
    (1, World::recall),
    (1, World::bury),
    (1, World::recover),
    (1, World::kill),
    (1, |world, _| world.delete()),
];

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
    /// It is the head of its key.
    is_head: bool,
}

impl Held {
    /// The key whose head it is.
    fn head(&self) -> &str {
        if self.is_head { key(&self.id) } else { "" }
    }
}

/// The key of a message. Those that begin with `o` are added in order.
fn key(id: &str) -> &str {
    id.split_once('.').map_or("", |(key, _)| key)
}

fn followers(key: &str) -> String {
    format!("{{outhook}}:key:{key}")
}

fn member(id: &str) -> String {
    format!("0 7 {id} s\n{id}")
}

struct World {
    redis: Redis,
    dice: Dice,
    /// By replica. One that is killed forgets.
    hands: HashMap<String, Vec<Held>>,
    added: usize,
    number: usize,
    settled: usize,
    killed: usize,
    /// What was seen of what is to be dealt, perhaps a while ago.
    cards: Vec<(String, String)>,
    /// By key, what was added in order, and what came to its end.
    added_in_order: HashMap<String, Vec<String>>,
    ended: HashMap<String, Vec<String>>,
}

impl World {
    fn eval(&self, code: &str, keys: &[&str], args: &[&str]) -> Value {
        let count = keys.len().to_string();
        self.redis
            .command(&[&["EVAL", code, &count], keys, args].concat())
    }

    fn backlog(name: &str) -> String {
        format!("{{outhook}}:backlog:{name}")
    }

    fn add(&mut self) {
        (self.added, self.number) = (self.added + 1, self.number + 1);
        let n = self.number;
        match self.dice.below(6) {
            0..3 => drop(self.redis.add(format!("m{n}"))),
            3 => drop(self.redis.add(format!("k{}.{n}", n % 2))),
            _ => {
                let id = format!("o{}.{n}", n % 3);
                let key = key(&id).to_owned();
                self.added_in_order.entry(key).or_default().push(id.clone());
                let add = ["XADD", ORDERED, "*", "message", &id];
                self.redis.command::<String>(&add);
            }
        }
    }

    /// Looks at what is to be dealt, or deals what was seen when it looked last.
    fn deal(&mut self, replica: &str) {
        if self.dice.once_in(LOOKS_AGAIN) || self.cards.is_empty() {
            let range = ["XRANGE", ORDERED, "-", "+", "COUNT", "6"];
            self.cards = entries(self.redis.command(&range))
                .into_iter()
                .map(|(entry, id, _)| (entry, id))
                .collect();
        }
        if self.cards.is_empty() {
            return;
        }
        let mut keys = [ORDERED, AGAIN, HEADS].map(str::to_owned).to_vec();
        let mut args = [GROUP, replica, "60000"].map(str::to_owned).to_vec();
        for (entry, id) in &self.cards {
            keys.extend([followers(key(id)), "{outhook}:seen:".to_owned()]);
            args.extend([entry.clone(), key(id).to_owned(), member(id)]);
            args.push(String::new());
        }
        let reply = self.eval_owned(script!("deal"), &keys, &args);
        self.take_first(replica, reply);
    }

    /// Asks whose turn it is of those with a key in its hands.
    fn queue(&mut self, replica: &str) {
        let hand = self.hands.entry(replica.to_owned()).or_default();
        let asked: Vec<Held> = hand
            .extract_if(.., |held| !key(&held.id).is_empty() && !held.is_head)
            .collect();
        let mut keys = [HEADS, MESSAGES, AGAIN].map(str::to_owned).to_vec();
        let mut args = vec![GROUP.to_owned(), replica.to_owned()];
        for held in &asked {
            keys.push(followers(key(&held.id)));
            args.extend([
                held.entry.clone(),
                key(&held.id).to_owned(),
                member(&held.id),
            ]);
        }
        for _ in 0..1 + self.dice.below(REPEATED - 1) {
            self.eval_owned(script!("queue"), &keys, &args);
        }
        let Value::Array(answers) = self.eval_owned(script!("queue"), &keys, &args) else {
            panic!("answers");
        };
        // Indexes and reasons in turn, of those that are no heads.
        let others: Vec<usize> = answers
            .chunks_exact(2)
            .map(|pair| match pair[0] {
                Value::Int(index) => index as usize,
                ref other => panic!("{other:?}"),
            })
            .collect();
        let heads = asked.into_iter().enumerate();
        let heads = heads.filter(|(index, _)| !others.contains(index));
        let hand = self.hands.entry(replica.to_owned()).or_default();
        hand.extend(heads.map(|(_, held)| Held {
            is_head: true,
            ..held
        }));
    }

    fn eval_owned(&self, code: &str, keys: &[String], args: &[String]) -> Value {
        let keys: Vec<&str> = keys.iter().map(|k| &**k).collect();
        let args: Vec<&str> = args.iter().map(|a| &**a).collect();
        self.eval(code, &keys, &args)
    }

    /// Takes one out of its hands that may be moved: with a key only the head.
    fn pop(&mut self, replica: &str) -> Option<Held> {
        let hand = self.hands.entry(replica.to_owned()).or_default();
        let is_free = |held: &Held| key(&held.id).is_empty() || held.is_head;
        let at = hand.iter().position(is_free)?;
        Some(hand.remove(at))
    }

    /// It is about to be settled or buried, unless others have done so.
    fn end(&mut self, replica: &str, held: &Held, is_ours: bool) -> bool {
        let (stream, entry) = match held.entry.strip_prefix('+') {
            Some(entry) => (AGAIN, entry),
            None => (MESSAGES, &*held.entry),
        };
        let ask = ["XPENDING", stream, GROUP, entry, entry, "1"];
        let rows: Vec<(String, String, u64, u64)> = self.redis.command(&ask);
        let ends = rows.iter().any(|row| !is_ours || row.1 == replica);
        if ends && held.id.starts_with('o') {
            let ended = self.ended.entry(key(&held.id).to_owned()).or_default();
            ended.push(held.id.clone());
        }
        ends
    }

    fn take(&mut self, replica: &str, reply: Value, plus: &str) {
        let hand = self.hands.entry(replica.to_owned()).or_default();
        for (entry, id, is_head) in entries(reply) {
            let entry = format!("{plus}{entry}");
            if !hand.iter().any(|held| held.entry == entry) {
                hand.push(Held { entry, id, is_head });
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
        let reply = self.eval(script!("recall"), &[PARKED, AGAIN, HEADS], &args);
        self.take_first(replica, reply);
    }

    fn release(&mut self, replica: &str) {
        let name = *self.dice.pick(&ENDPOINTS);
        let keys = [&Self::backlog(name), BACKLOGS, AGAIN, HEADS];
        let args = [name, GROUP, replica, "4", "1000000", ""];
        let reply = self.eval(script!("release"), &keys, &args);
        self.take_first(replica, reply);
    }

    /// Some answers get lost: what they gave is found again as our own, later.
    fn take_first(&mut self, replica: &str, reply: Value) {
        let lost = self.dice.once_in(LOST);
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
        let some: Vec<Held> = (0..3).filter_map(|_| self.pop(replica)).collect();
        let (mut keys, mut args) = (vec![], vec![GROUP.to_owned(), replica.to_owned()]);
        keys.extend([PARKED, MESSAGES, AGAIN, DEAD, BACKLOGS, HEADS, ORDERED].map(str::to_owned));
        args.extend(["1000", "60000", "control"].map(str::to_owned));
        for held in &some {
            args.extend([held.entry.clone(), held.head().to_owned()]);
            match self.dice.below(3) {
                0 => args.extend(["1".into(), String::new(), String::new()]),
                _ => {
                    let name = *self.dice.pick(&ENDPOINTS);
                    keys.push(Self::backlog(name));
                    let push = *self.dice.pick(&["RPUSH", "LPUSH"]);
                    args.extend([push.into(), keys.len().to_string(), name.to_owned()]);
                }
            }
            let received = (1 + self.dice.below(1000)).to_string();
            args.extend(
                ["", "", "2", &received, &held.id, "u", "s", "", &held.id].map(str::to_owned),
            );
        }
        if !some.is_empty() {
            for _ in 0..1 + self.dice.below(REPEATED - 1) {
                self.eval_owned(script!("park"), &keys, &args);
            }
        }
    }

    fn bury(&mut self, replica: &str) {
        let Some(held) = self.pop(replica) else {
            return;
        };
        self.end(replica, &held, true);
        let list = followers(held.head());
        let at = if held.is_head { "6" } else { "" };
        let (head, id) = (held.head(), &*held.id);
        let args = [GROUP, replica, &held.entry, head, at, "2", "id", id];
        for _ in 0..1 + self.dice.below(REPEATED - 1) {
            let keys = [DEAD, MESSAGES, AGAIN, HEADS, PARKED, &list];
            self.eval(script!("bury"), &keys, &args);
        }
    }

    fn settle(&mut self, replica: &str) {
        let Some(held) = self.pop(replica) else {
            return;
        };
        let ends = self.end(replica, &held, false);
        if held.is_head {
            let list = followers(held.head());
            let keys = [HEADS, PARKED, MESSAGES, AGAIN, &list];
            for _ in 0..1 + self.dice.below(REPEATED - 1) {
                let args = [GROUP, &held.entry, held.head()];
                self.eval(script!("advance"), &keys, &args);
            }
            self.settled += usize::from(ends);
            return;
        }
        let (stream, entry) = match held.entry.strip_prefix('+') {
            Some(entry) => (AGAIN, entry),
            None => (MESSAGES, &*held.entry),
        };
        let _: usize = self.redis.command(&["XACK", stream, GROUP, entry]);
        let gone: usize = self.redis.command(&["XDEL", stream, entry]);
        self.settled += gone;
    }

    /// Another one takes over all that it holds.
    fn kill(&mut self, replica: &str) {
        let heir = format!("r{}", self.dice.below(3));
        if heir == replica {
            return;
        }
        self.killed += 1;
        self.hands.remove(replica);
        for (stream, plus) in [(MESSAGES, ""), (AGAIN, "+")] {
            let args = [GROUP, &heir, replica, "0", "100"];
            let code = include_str!("../../src/store/lua/take.lua");
            let Value::Array(ids) = self.eval(code, &[MESSAGES, stream], &args) else {
                panic!("ids");
            };
            for id in ids {
                let id = text(id);
                let found = self.redis.command(&["XRANGE", stream, &id, &id]);
                self.take(&heir, found, plus);
            }
        }
    }

    /// Somebody deletes the head of a key, wherever it is, and its key goes on.
    fn delete(&mut self) {
        let heads: HashMap<String, String> = self.redis.command(&["HGETALL", HEADS]);
        let mut heads: Vec<_> = heads.into_iter().collect();
        heads.sort();
        if heads.is_empty() {
            return;
        }
        let (key, place) = heads.swap_remove(self.dice.index(heads.len()));
        let list = followers(&key);
        if place.contains(' ') {
            let members: Vec<String> = self.redis.command(&["ZRANGE", PARKED, "0", "-1"]);
            let end = format!("\t{key}");
            let is_head = |m: &&String| m.split('\n').next().unwrap().ends_with(&end);
            if let Some(member) = members.iter().find(is_head) {
                let keys = [PARKED, HEADS, PARKED, &list];
                let gone = self.eval(script!("purge"), &keys, &["parked", &key, member]);
                assert_eq!(gone, Value::Int(1));
                self.added -= 1;
            }
            return;
        }
        let keys = [HEADS, PARKED, MESSAGES, AGAIN, &list];
        let args = [GROUP, &key, &place, ""];
        let revived = self.eval(script!("revive"), &keys, &args);
        assert_eq!(revived, Value::Int(0), "it is there");
        let (stream, entry) = match place.strip_prefix('+') {
            Some(entry) => (AGAIN, entry),
            None => (MESSAGES, &*place),
        };
        let gone: usize = self.redis.command(&["XDEL", stream, entry]);
        self.added -= gone;
        let revived = self.eval(script!("revive"), &keys, &args);
        assert_eq!(revived, Value::Int(0), "it is pending");
        let _: usize = self.redis.command(&["XACK", stream, GROUP, entry]);
        for expected in [1, 0] {
            let revived = self.eval(script!("revive"), &keys, &args);
            assert_eq!(revived, Value::Int(expected));
        }
    }

    fn step(&mut self) {
        self.dice.step();
        let replica = format!("r{}", self.dice.below(3));
        self.dice.draw(ACTS)(self, &replica);
    }

    /// How often each message is somewhere.
    fn places(&self) -> HashMap<String, usize> {
        let mut places = HashMap::new();
        let mut found = |id: String| *places.entry(id).or_default() += 1;
        for stream in [MESSAGES, AGAIN, DEAD, ORDERED] {
            let all = entries(self.redis.command(&["XRANGE", stream, "-", "+"]));
            all.into_iter().for_each(|(_, id, _)| found(id));
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
        for key in ["k0", "k1", "o0", "o1", "o2"] {
            let list = ["LRANGE", &followers(key), "0", "-1"];
            members.extend(self.redis.command::<Vec<String>>(&list));
        }
        for member in members {
            found(member.split('\n').nth(1).unwrap().to_owned());
        }
        places
    }
}

/// Which heads there are, by key, and where each is as the hash says.
fn check_heads(world: &World) {
    let said: HashMap<String, String> = world.redis.command(&["HGETALL", HEADS]);
    let mut found: HashMap<String, Vec<String>> = HashMap::new();
    for (entry, id, is_head) in entries(world.redis.command(&["XRANGE", AGAIN, "-", "+"])) {
        if is_head {
            let place = format!("+{entry}");
            found.entry(key(&id).to_owned()).or_default().push(place);
        }
    }
    let parked: Vec<String> = world.redis.command(&["ZRANGE", PARKED, "0", "-1"]);
    let mut members: Vec<_> = parked.into_iter().map(|m| ("parked", m)).collect();
    for name in ENDPOINTS {
        let list = ["LRANGE", &World::backlog(name), "0", "-1"];
        let list: Vec<String> = world.redis.command(&list);
        members.extend(list.into_iter().map(|m| ("backlog", m)));
    }
    for (kind, member) in members {
        let line = member.split('\n').next().unwrap();
        if let Some(key) = line.split('\t').nth(2) {
            let words: Vec<&str> = line.split(' ').collect();
            let place = format!("{kind} {} {}", words[1], words[2]);
            found.entry(key.to_owned()).or_default().push(place);
        }
    }
    for (key, place) in &said {
        // One that has never left the first stream has no mark.
        if !place.starts_with(|c: char| c.is_ascii_digit()) {
            assert_eq!(found.remove(key), Some(vec![place.clone()]), "{key}");
        }
    }
    assert!(found.is_empty(), "in play beside the head: {found:?}");
    for key in ["k0", "k1", "o0", "o1", "o2"] {
        let waits: usize = world.redis.command(&["LLEN", &followers(key)]);
        assert!(waits == 0 || said.contains_key(key), "{key} stands still");
    }
    for (key, ended) in &world.ended {
        let added = &world.added_in_order[key];
        let place = |id: &String| added.iter().position(|a| a == id);
        // Some were deleted.
        let in_order = ended.is_sorted_by(|a, b| place(a) < place(b));
        assert!(in_order, "order of {key}: {ended:?}");
    }
}

fn text(value: Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Their ids, those of the messages, which are the messages here, and whether each is a head.
fn entries(reply: Value) -> Vec<(String, String, bool)> {
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
        let is_head = fields.chunks_exact(2).any(|pair| pair[0] == "head");
        (entry, id.unwrap()[1].clone(), is_head)
    });
    read.collect()
}

#[test]
fn whatever_replicas_do_and_wherever_they_end_each_message_is_in_one_place() {
    for seed in seeds(1..SEEDS + 1) {
        let redis = Redis::start();
        for stream in [MESSAGES, AGAIN] {
            redis.command::<()>(&["XGROUP", "CREATE", stream, GROUP, "0", "MKSTREAM"]);
        }
        let mut world = World {
            redis,
            dice: Dice::new(seed),
            hands: HashMap::new(),
            added: 0,
            number: 0,
            settled: 0,
            killed: 0,
            cards: Vec::new(),
            added_in_order: HashMap::new(),
            ended: HashMap::new(),
        };
        for step in 0..STEPS {
            world.step();
            if step % LOOKED_AT > 0 {
                continue;
            }
            let places = world.places();
            let twice = places.iter().find(|(_, count)| **count > 1);
            assert_eq!(twice, None);
            check_heads(&world);
            let here = places.len() + world.settled;
            assert_eq!(here, world.added);
        }
        let in_order: usize = world.ended.values().map(Vec::len).sum();
        assert!(in_order > 5, "{in_order}");
        assert!(world.settled > 10 && world.killed > 10);
    }
}
