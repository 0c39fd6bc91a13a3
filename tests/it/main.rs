//! Integration tests: the real binary against a real Redis and real sockets on loopback.
//!
//! One file a theme, one claim a test, and its name is the claim. What they stand on is in
//! [`support`]. All of it is one test binary, as it links once.

mod admin_cli;
mod attempt_faults;
mod bad_input;
mod chaos;
mod check_cli;
mod config;
mod connections;
mod copies;
mod deliver_cli;
mod delivery;
mod demo_cli;
mod drain;
mod drain_end;
mod durable;
mod durable_faults;
mod durable_kills;
mod egress;
mod endpoints_cli;
mod endpoints_file;
mod ends;
mod guard;
mod guard_corpus;
mod isolation;
mod json_shapes;
mod keep_alive;
mod keys;
mod ledger_waits;
mod limits;
mod listen_cli;
mod listening;
mod logins;
mod moves;
mod names;
mod odd_members;
mod orphans;
mod overrides;
mod ownership;
mod permissions;
mod producers;
mod rebinding;
mod redis_places;
mod redis_trouble;
mod redis_writes;
mod retries;
mod scripts;
mod signing;
mod silence;
mod support;
mod surroundings;
mod tls;
mod tls_records;
mod workers;
