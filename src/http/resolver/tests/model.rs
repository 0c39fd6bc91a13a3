//! Servers that do anything in any order, also twice.
//!
//! Believed: whatever they do, each look-up ends in time, once; what it finds is its own; nothing
//! is left over. Done at random, from a seed: begin, answer well or badly, refuse, let time pass.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;
use crate::dice::{Dice, seeds};

const SEEDS: u64 = 40;
const STEPS: usize = 3000;
const MOST: usize = 50;

const CONFS: [&str; 4] = [
    "",
    TWO,
    "search corp.example\noptions timeout:1\n",
    "options rotate use-vc\n",
];

struct Model {
    world: World,
    dice: Dice,
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
            // With one search domain there are two names to be asked for.
            budget: Conf::parse(conf, &[]).budget() * 2 + 300 * MS,
            open: Vec::new(),
            begun: HashMap::new(),
        }
    }

    fn step(&mut self, n: usize) {
        self.dice.step();
        match self.dice.below(10) {
            0..3 if self.world.flights.room(self.world.now) > 0 => {
                let name = format!("n{n}.z{}.test", self.dice.below(4));
                self.begun.insert(name.clone(), self.world.now);
                let sent = self.world.begin(&name);
                self.open.extend(sent);
            }
            3..8 if !self.open.is_empty() => self.answer(),
            8 if !self.open.is_empty() && self.dice.once_in(10) => self.refuse(),
            _ => {
                let time = self.dice.below(300) as u32 * MS;
                let sent = self.world.pass(time);
                self.open.extend(sent);
            }
        }
    }

    fn answer(&mut self) {
        let n = self.dice.index(self.open.len());
        // Some answers come twice.
        let sent = match self.dice.below(5) {
            0 => self.open[n].clone(),
            _ => self.open.swap_remove(n),
        };
        let codes = [RCODE::ServerFailure, RCODE::Refused, RCODE::FormatError];
        let act = match self.dice.below(8) {
            0 => Silent,
            1 => Garbage,
            2 => Cut,
            3 => Code(*self.dice.pick(&codes)),
            4 => Code(RCODE::NameError),
            _ => Addresses([true, false].map(|v4| address(&sent.name(), v4)).into()),
        };
        let more = self.world.answer(&sent, &act);
        self.open.extend(more);
    }

    fn refuse(&mut self) {
        let n = self.dice.index(self.open.len());
        let sent = self.open[n].clone();
        let (flights, now) = (&mut self.world.flights, self.world.now);
        match sent.stream {
            Some(id) => flights.receive_stream(id, Err("reset".into()), now),
            None => flights.refuse(sent.socket, "refused", now),
        }
        let more = self.world.sent();
        self.open.extend(more);
    }

    fn check(&mut self) {
        let flights = &self.world.flights;
        assert!(flights.in_flight() <= MOST);
        assert!(flights.alarms.len() < 5000, "{}", flights.alarms.len());
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
        let flights = &mut self.world.flights;
        assert_eq!(flights.room(self.world.now), WINDOW);
        let left = (
            flights.in_flight(),
            flights.open_numbers(),
            flights.net.streams(),
        );
        assert_eq!(left, (0, 0, 0), "left over: look-ups, numbers, connections");
    }
}

#[test]
fn thousands_of_random_steps() {
    for seed in seeds(0..SEEDS) {
        let mut model = Model::new(seed);
        for n in 0..STEPS {
            model.step(n);
            model.check();
        }
        model.check_end();
    }
}
