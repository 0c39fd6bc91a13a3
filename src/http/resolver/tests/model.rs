//! A model of look-ups: name servers that do anything, in any order, also twice.
//!
//! **It believes** which names are being looked up and since when, and that each name has the one
//! address which [`address`] makes of it, so that an answer to another question would show.
//!
//! **It does**, as dice decide ([`ACTS`]): somebody asks for a new name; a server answers any of the
//! questions it has ever got, well, badly, cut short, with an error or not at all, and sometimes a
//! second time; a server refuses; time passes. The configuration changes with the seed: one server
//! or two, a search domain, TCP only.
//!
//! **It checks** after each step that each look-up ends once, within its time, with an address of its
//! own name; that no more are under way than may be; and that alarms do not pile up. At the end
//! nothing is left: no look-up, no number of a question, no connection.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;
use crate::dice::{Dice, Odds, seeds};

const SEEDS: u64 = 40;
const STEPS: usize = 3000;
const MOST: usize = 50;

/// What happens in a step, and how often.
const ACTS: Odds<fn(&mut Model)> = &[
    (50, Model::answer),
    (30, Model::begin),
    (19, Model::pass_time),
    (1, Model::refuse),
];

/// What a server does, and how often: it answers with the address, with a code, or badly.
const ANSWERS: Odds<fn(&Sent) -> Act> = &[
    (9, |sent| {
        Addresses([true, false].map(|v4| address(&sent.name(), v4)).into())
    }),
    (3, |_| Silent),
    (3, |_| Garbage),
    (3, |_| Cut),
    (3, |_| Code(RCODE::NameError)),
    (1, |_| Code(RCODE::ServerFailure)),
    (1, |_| Code(RCODE::Refused)),
    (1, |_| Code(RCODE::FormatError)),
];

/// Once in so many answers the server answers the same question again later.
const ANSWERED_AGAIN: u64 = 5;

const CONFS: [&str; 4] = [
    "",
    TWO,
    "search corp.example\noptions timeout:1\n",
    "options rotate use-vc\n",
];

struct Model {
    world: World,
    dice: Dice,
    asked: usize,
    budget: Duration,
    /// Questions that a server may still answer.
    open: Vec<Sent>,
    begun: HashMap<String, Instant>,
}

/// The address that a name has in the model: an answer for another one would show.
fn address(name: &str, v4: bool) -> IpAddr {
    let step = |sum: u32, b: u8| sum.wrapping_mul(31).wrapping_add(b.into());
    let sum = name.bytes().fold(7, step);
    match v4 {
        true => Ipv4Addr::from(sum).into(),
        false => Ipv6Addr::from(u128::from(sum) << 64).into(),
    }
}

impl Model {
    fn new(seed: u64) -> Model {
        let conf = CONFS[seed as usize % CONFS.len()];
        Model {
            world: World::with(conf, seed, MOST),
            dice: Dice::new(seed),
            asked: 0,
            // With one search domain there are two names to be asked for.
            budget: ResolvConf::parse(conf, &[]).budget() * 2 + 300 * MS,
            open: Vec::new(),
            begun: HashMap::new(),
        }
    }

    fn step(&mut self) {
        self.dice.step();
        self.dice.draw(ACTS)(self);
        self.check();
    }

    fn begin(&mut self) {
        if self.world.lookups.room(self.world.now) == 0 {
            return self.pass_time();
        }
        self.asked += 1;
        let name = format!("n{}.z{}.test", self.asked, self.dice.below(4));
        self.begun.insert(name.clone(), self.world.now);
        let sent = self.world.begin(&name);
        self.open.extend(sent);
    }

    fn pass_time(&mut self) {
        let time = self.dice.millis(0, 300);
        let sent = self.world.pass(time);
        self.open.extend(sent);
    }

    fn answer(&mut self) {
        if self.open.is_empty() {
            return self.pass_time();
        }
        let n = self.dice.index(self.open.len());
        let sent = match self.dice.once_in(ANSWERED_AGAIN) {
            true => self.open[n].clone(),
            false => self.open.swap_remove(n),
        };
        let act = self.dice.draw(ANSWERS)(&sent);
        let more = self.world.answer(&sent, &act);
        self.open.extend(more);
    }

    fn refuse(&mut self) {
        if self.open.is_empty() {
            return self.pass_time();
        }
        let n = self.dice.index(self.open.len());
        let sent = self.open[n].clone();
        let (lookups, now) = (&mut self.world.lookups, self.world.now);
        match sent.stream {
            Some(id) => lookups.receive_stream(id, Err("reset".into()), now),
            None => lookups.refuse(sent.socket, "refused", now),
        }
        let more = self.world.sent();
        self.open.extend(more);
    }

    fn check(&mut self) {
        let lookups = &self.world.lookups;
        assert!(lookups.in_flight() <= MOST);
        assert!(lookups.alarms.len() < 5000, "{}", lookups.alarms.len());
        for (_, news) in std::mem::take(&mut self.world.news) {
            let begun = self.begun.get(&*news.name);
            let begun = begun.unwrap_or_else(|| panic!("twice: {news:?}"));
            let took = self.world.now - *begun;
            assert!(took <= self.budget, "too late: {news:?}");
            if let Outcome::Found { v6, v4, .. } = &news.outcome {
                let names = [&*news.name, &format!("{}.corp.example", news.name)];
                for ip in v6.iter().chain(v4) {
                    let own = names.iter().any(|n| address(n, ip.is_ipv4()) == *ip);
                    assert!(own, "somebody else's: {news:?}");
                }
            }
            if news.last {
                self.begun.remove(&*news.name);
            }
        }
    }

    fn check_end(&mut self) {
        self.world.pass(self.budget);
        for (_, news) in std::mem::take(&mut self.world.news) {
            if news.last {
                self.begun.remove(&*news.name);
            }
        }
        assert!(self.begun.is_empty(), "no news of {:?}", self.begun);
        let lookups = &mut self.world.lookups;
        assert_eq!(lookups.room(self.world.now), WINDOW);
        let left = (
            lookups.in_flight(),
            lookups.open_numbers(),
            lookups.name_servers.streams(),
        );
        assert_eq!(left, (0, 0, 0), "left over: look-ups, numbers, connections");
    }
}

#[test]
fn thousands_of_random_steps() {
    for seed in seeds(0..SEEDS) {
        let mut model = Model::new(seed);
        for _ in 0..STEPS {
            model.step();
        }
        model.check_end();
    }
}
