//! What the tests stand on: the real binary, a private Redis and scripted sockets.
//!
//! Each value owns what it started and ends just that when it is dropped: [`redis::Redis`]
//! its server, [`service::Service`] its process, [`receiver::Receiver`] and
//! [`proxy::Proxy`] their threads and sockets. Nothing is shared between tests, so all of
//! them may run at once. Nothing here sleeps for luck: a test waits for an event, and one
//! that does not come within [`DEADLINE`] is a failure that says what was awaited.

pub mod client;
pub mod dice;
pub mod dns;
pub mod forward;
pub mod https;
pub mod ndjson;
pub mod proxy;
pub mod receiver;
pub mod redis;
pub mod reply;
pub mod service;
pub mod sys;
pub mod terminal;
pub mod tls;

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Far above what any awaited event takes, for a machine that is busy with other things.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// How long after `--drain-timeout` the service may still be there: the 1.5 s of the
/// contract, and what a busy machine adds to it.
pub const DRAIN_MARGIN: Duration = Duration::from_millis(3500);

pub const MS: Duration = Duration::from_millis(1);

/// Asks again and again until there is an answer.
pub fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < end, "waited {DEADLINE:?} in vain: {what}");
        thread::sleep(5 * MS);
    }
}

/// A message with an id; `data` is JSON.
pub fn message(url: &str, id: &str, data: &str) -> String {
    format!(r#"{{"url":"{url}","webhookId":"{id}","data":{data}}}"#)
}

/// A door that is shut until a test opens it, to hold answers back.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    /// Waits until the gate is open.
    pub fn pass(&self) {
        let shut = self.0.0.lock().unwrap();
        drop(self.0.1.wait_timeout_while(shut, DEADLINE, |open| !*open));
    }
}

/// Ports of that range that the address guard refuses.
const REFUSED_PORTS: [u16; 9] = [
    15672, 16379, 25672, 26379, 27017, 27018, 27019, 28015, 29015,
];

/// A TCP port of 127.0.0.1 at which nobody listens. Below the range that the kernel gives
/// out by itself, so that no other test's port 0 becomes this one.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 15_000 + (std::process::id() as u16 % 100 * 150 + step) % 15_000;
        if REFUSED_PORTS.contains(&port) {
            continue;
        }
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The time, in Unix milliseconds.
pub fn unix_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
    since.expect("after 1970").as_millis() as u64
}
