//! The names of all Redis keys. They share one hash tag, so that a script or transaction
//! over several of them works on a cluster.

/// Dead letters: a stream, one entry a letter.
pub const DEAD: &str = "{outhook}:dead";
