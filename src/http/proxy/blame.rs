//! Whose fault it is that a proxy did not lead to a target.

use crate::delivery::FailureKind;

/// See the module's header. The sentence says what happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Blame {
    /// The proxy's own.
    Own(String),
    /// The proxy's or the target's.
    Unclear(String),
    /// It does not take our login, at least not for this target.
    Login(String),
    /// The target's, as the proxy says.
    Target(FailureKind, String),
}
