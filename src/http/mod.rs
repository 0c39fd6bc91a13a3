//! HTTP: one attempt, from a delivery to what came of it.
//!
//! ```text
//! client ──▶ exchange ──▶ pool, proxy ──▶ tls ──▶ connection ──▶ resolver
//!    └──▶ request  └──▶ response
//! ```
//!
//! Read [`Client::attempt`], then `exchange/transport.rs`, which is the connection under ureq.
//! ureq is used in this folder and nowhere else. An attempt blocks for at most `--timeout`. The folder
//! knows nothing of scheduling, retries or Redis.

mod client;
mod connection;
mod exchange;
mod failure;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod pool;
mod proxy;
mod request;
mod resolver;
mod response;
mod tls;

pub use client::{Client, ClientConfig};
pub use resolver::{Files, ResolverConfig};
