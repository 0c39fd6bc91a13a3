//! What the operator's commands learn before they print or change something: from Redis, and from the
//! running replicas, which are asked.

pub mod endpoints;
pub mod find;
pub mod waiting;
pub mod why;
