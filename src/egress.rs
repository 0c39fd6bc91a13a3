//! The way out of this machine: from which address connections are made. Pure.

mod source;

pub use source::Source;

/// How connections to receivers leave this machine.
#[derive(Debug, Clone, Default)]
pub struct Egress {
    pub source: Source,
}
