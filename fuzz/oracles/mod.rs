//! What must hold whatever bytes come: one function for each reader of what others write.
//!
//! Each takes bytes and panics where something that must hold does not. The crate in `fuzz/` gives them to
//! libFuzzer; `tests.rs` runs the kept corpus and some random changes of it on stable. Neither
//! this module nor its feature is in what ships.

mod endpoints;
mod guard;
mod message;
mod retry_after;
mod sealed;
mod signing;
#[cfg(test)]
mod tests;
mod token;
mod verify;

pub use crate::http::fuzzing::{dns, head, proxy_http, proxy_socks};
pub use endpoints::endpoints;
pub use guard::guard;
pub use message::{fields, message};
pub use retry_after::retry_after;
pub use sealed::sealed;
pub use signing::signing;
pub use token::token;
pub use verify::verify;

/// Takes any bytes, and panics where something that must hold does not.
pub type Target = fn(&[u8]);

/// All of them, by the name of their corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("dns", dns),
    ("endpoints", endpoints),
    ("fields", fields),
    ("guard", guard),
    ("head", head),
    ("message", message),
    ("proxy_http", proxy_http),
    ("proxy_socks", proxy_socks),
    ("retry_after", retry_after),
    ("sealed", sealed),
    ("signing", signing),
    ("token", token),
    ("verify", verify),
];

/// A sentence for people: one line of a sane length, and nothing that a terminal would act on.
fn assert_sentence(text: &str) {
    assert!(!text.is_empty(), "an empty sentence");
    assert!(!text.contains(char::is_control), "{text:?}");
    assert!(text.len() < 12_000, "{} bytes", text.len());
}
