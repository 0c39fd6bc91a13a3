//! Names through the system's resolver, for what only that one knows: LDAP, mDNS and the like.
//!
//! `getaddrinfo` knows no deadline and blocks for as long as it likes, so four threads call it.
//! Silent names of one customer do hold up new names of others here; known names they do not.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::Shared;
use super::lookup::{Outcome, Publication};

const THREADS: usize = 4;

/// Names that may wait for a thread.
pub const MOST_REQUESTS: usize = 1024;

/// getaddrinfo tells no TTL; half a minute is what long-lived clients commonly assume.
const TTL: Duration = Duration::from_secs(30);

pub fn start(shared: &Arc<Shared>) -> io::Result<()> {
    for n in 1..=THREADS {
        let shared = shared.clone();
        thread::Builder::new()
            .name(format!("resolver-{n}"))
            .spawn(move || while look_up_next(&shared) {})?;
    }
    Ok(())
}

/// Blocks until there is a name, and then in getaddrinfo. `false` at the end.
fn look_up_next(shared: &Shared) -> bool {
    let mut state = shared.lock();
    let name = loop {
        if state.ended {
            return false;
        }
        if let Some(name) = state.cache.take_request() {
            break name;
        }
        let woken = shared.requested.wait(state);
        state = woken.unwrap_or_else(PoisonError::into_inner);
    };
    drop(state);
    let outcome = match (&*name, 0).to_socket_addrs() {
        Ok(found) => {
            let ips = found.map(|addr: SocketAddr| addr.ip());
            let (v6, v4) = ips.partition(|ip| ip.is_ipv6());
            Outcome::Found { v6, v4, ttl: TTL }
        }
        Err(e) => Outcome::Failed {
            text: format!("{name} could not be looked up by the system's resolver: {e}"),
        },
    };
    let last = true;
    let news = Publication {
        name,
        outcome,
        last,
    };
    shared.publish(&[news], Instant::now());
    true
}
