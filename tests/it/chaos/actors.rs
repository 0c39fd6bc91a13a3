//! Who makes things fail: one actor for each replica's process, each replica's path to Redis, the
//! Redis server, and each endpoint. Each draws its faults from numbers of its own, makes one after
//! another, and leaves all in order at the end; those of different actors overlap.

use std::thread;
use std::time::Duration;

use super::clock::{At, now};
use super::endpoint::{Endpoint, Mood};
use super::faults::{Deck, Faults, On, rest};
use super::path::{Cut, Path, Weather};
use super::replica::Replica;
use crate::support::dice::Dice;
use crate::support::redis::Redis;
use crate::support::until;

/// What an actor needs.
#[derive(Clone, Copy)]
pub struct Stage<'a> {
    pub faults: &'a Faults,
    pub seed: u64,
    pub end: At,
}

impl Stage<'_> {
    fn dice(&self, on: On) -> Dice {
        let part = match on {
            On::Process(n) => n,
            On::RedisPath(n) => 100 + n,
            On::Server => 200,
            On::EndpointPath(n) => 300 + n,
            On::Endpoint(n) => 400 + n,
        };
        Dice::part(self.seed, part as u64 + 1)
    }

    fn is_over(&self) -> bool {
        now() >= self.end
    }

    /// One fault, from its beginning to its end.
    fn fault(&self, on: On, what: &str, act: impl FnOnce()) {
        let number = self.faults.begin(on, what);
        act();
        self.faults.end(number);
    }
}

#[derive(Clone, Copy)]
enum Process {
    Kill,
    Terminate,
    /// For longer than the lease.
    Stop,
    StopShortly,
}

pub fn act_on_process(stage: &Stage, number: usize, replica: &mut Replica) {
    let on = On::Process(number);
    let mut dice = stage.dice(on);
    let mut deck = Deck::new(&[
        Process::Kill,
        Process::Kill,
        Process::Terminate,
        Process::Terminate,
        Process::Stop,
        Process::StopShortly,
    ]);
    loop {
        rest(dice.millis(800, 4500), stage.end);
        if stage.is_over() {
            return;
        }
        let absent = dice.millis(0, 3000);
        match deck.draw(&mut dice) {
            Process::Kill => stage.fault(on, "kill -9", || {
                replica.kill();
                thread::sleep(absent);
                replica.start();
            }),
            Process::Terminate => stage.fault(on, "SIGTERM", || {
                replica.terminate();
                thread::sleep(absent / 4);
                replica.start();
            }),
            Process::Stop => stage.fault(on, "SIGSTOP for longer than the lease", || {
                replica.stop();
                thread::sleep(dice.millis(3200, 6000));
                replica.cont();
            }),
            Process::StopShortly => stage.fault(on, "SIGSTOP", || {
                replica.stop();
                thread::sleep(dice.millis(100, 2500));
                replica.cont();
            }),
        }
    }
}

/// What a path does for a while, and whether its connections are then cut, so that what waited in
/// them is lost.
const STORMS: [(&str, bool, bool); 3] = [
    ("requests do not arrive", true, false),
    ("answers do not arrive", false, true),
    ("nothing arrives", true, true),
];

pub fn act_on_path(stage: &Stage, on: On, path: &Path, longest: u64) {
    let mut dice = stage.dice(on);
    let mut deck = Deck::new(&[0, 1, 1, 2, 3, 4, 5, 6]);
    loop {
        rest(dice.millis(800, 4000), stage.end);
        if stage.is_over() {
            return;
        }
        let card: usize = deck.draw(&mut dice);
        // Half of them are longer than a lease or a timeout.
        let length = match dice.below(2) {
            0 => dice.millis(50, longest / 4),
            _ => dice.millis(longest / 3, longest),
        };
        let ends_with_cut = dice.once_in(2);
        match card {
            0..=2 => storm(stage, on, path, STORMS[card], length, ends_with_cut),
            3 => stage.fault(on, "slow", || {
                let delay = dice.millis(20, 250);
                path.set(Weather {
                    delay,
                    ..Weather::default()
                });
                rest(length, stage.end);
                path.set(Weather::default());
            }),
            4 => stage.fault(on, "connections closed", || path.cut(Cut::Close)),
            5 => stage.fault(on, "connections reset", || path.cut(Cut::Reset)),
            _ => stage.fault(on, "connections reset and refused", || {
                path.set(Weather {
                    refuses: true,
                    ..Weather::default()
                });
                path.cut(Cut::Reset);
                rest(length / 2, stage.end);
                path.set(Weather::default());
            }),
        }
    }
}

fn storm(
    stage: &Stage,
    on: On,
    path: &Path,
    (what, holds_up, holds_down): (&str, bool, bool),
    length: Duration,
    ends_with_cut: bool,
) {
    let end = match ends_with_cut {
        true => "then all is reset",
        false => "then all goes on",
    };
    stage.fault(on, &format!("{what}, {end}"), || {
        path.set(Weather {
            holds_up,
            holds_down,
            ..Weather::default()
        });
        rest(length, stage.end);
        if ends_with_cut {
            path.cut(Cut::Reset);
        }
        path.set(Weather::default());
    });
}

#[derive(Clone, Copy)]
enum Server {
    Kill,
    Stop,
    CutClients,
    PauseClients,
    PauseWrites,
}

pub fn act_on_server(stage: &Stage, redis: &mut Redis) {
    let on = On::Server;
    let mut dice = stage.dice(on);
    let mut deck = Deck::new(&[
        Server::Kill,
        Server::Kill,
        Server::Stop,
        Server::CutClients,
        Server::PauseClients,
        Server::PauseWrites,
    ]);
    loop {
        rest(dice.millis(2500, 8000), stage.end);
        if stage.is_over() {
            return;
        }
        let absent = dice.millis(0, 2500);
        let length = dice.millis(200, 2500);
        match deck.draw(&mut dice) {
            Server::Kill => stage.fault(on, "kill -9", || {
                redis.kill();
                thread::sleep(absent);
                redis.up();
            }),
            Server::Stop => stage.fault(on, "SIGSTOP", || {
                redis.stop();
                thread::sleep(length * 2);
                redis.cont();
            }),
            Server::CutClients => stage.fault(on, "CLIENT KILL", || {
                // Ours may be one of those that another fault has broken.
                until("a connection to Redis", || redis.reconnect());
                redis.command::<i64>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
            }),
            Server::PauseClients => pause(stage, redis, "ALL", length),
            Server::PauseWrites => pause(stage, redis, "WRITE", length),
        }
    }
}

fn pause(stage: &Stage, redis: &Redis, what: &str, length: Duration) {
    stage.fault(On::Server, &format!("CLIENT PAUSE {what}"), || {
        redis.command::<()>(&["CLIENT", "PAUSE", &length.as_millis().to_string(), what]);
        thread::sleep(length);
    });
}

pub fn act_on_endpoint(stage: &Stage, endpoint: &Endpoint) {
    let on = On::Endpoint(endpoint.number());
    let mut dice = stage.dice(on);
    let mut deck = Deck::new(&[
        Mood::Fails,
        Mood::Busy,
        Mood::Hangs,
        Mood::Slow,
        Mood::Drops,
    ]);
    loop {
        rest(dice.millis(1500, 5000), stage.end);
        if stage.is_over() {
            return;
        }
        let mood = deck.draw(&mut dice);
        stage.fault(on, &format!("{mood:?}"), || {
            endpoint.set(mood);
            rest(dice.millis(300, 2500), stage.end);
            endpoint.set(Mood::Well);
        });
    }
}
