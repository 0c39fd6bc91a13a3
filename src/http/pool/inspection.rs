//! Whether a connection that rests is still as it was left. Never blocks.

use std::io::ErrorKind;

use crate::http::connection::{Connection, Unasked};
use crate::http::response::UnreadBody;

/// Whether a connection can be used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It is as quiet as a new one.
    Quiet,
    /// The rest of its last answer has not come.
    NotYet,
    /// More has come than the answer has.
    Exceeded,
    /// It has ended, or is broken.
    Ended,
}

/// Takes in what has come of the rest of an answer, and says whether the connection can be used again.
pub fn settle(connection: &mut dyn Connection, unread: &mut UnreadBody) -> Settled {
    let mut buffer = [0; 4096];
    while !unread.is_done() {
        let n = match connection.read_now(&mut buffer) {
            Ok(n @ 1..) => n,
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Settled::NotYet,
            _ => return Settled::Ended,
        };
        match std::mem::replace(unread, UnreadBody::Nothing).pass(&buffer[..n]) {
            Some(rest) => *unread = rest,
            None => return Settled::Exceeded,
        }
    }
    match connection.look() {
        Ok(Unasked::Nothing) => Settled::Quiet,
        Ok(Unasked::Bytes) => Settled::Exceeded,
        _ => Settled::Ended,
    }
}
