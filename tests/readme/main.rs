//! README.md and the pages of docs/, held against the program: their examples are run, their tables
//! compared with it, their links followed.
//!
//! What stands above a block says what is done with it:
//!
//! | comment | the block |
//! | --- | --- |
//! | `<!-- run -->` | is run with the others of its page, in their order, as one bash script |
//! | `<!-- run, ends with 1 -->` | the same, and ends with this code |
//! | `<!-- run by FILE: TEXT -->` | is run by that file, which holds this text |
//! | `<!-- says -->` | is what the block before it said, line by line; `…` stands for anything |
//!
//! Further lines of the comment are commands that are run before the block, and that no reader sees.
//! `session.rs` has what they may use. JSON is a message, and TOML an endpoints file, that outhook takes.

mod examples;
mod links;
mod pages;
mod session;
mod tables;
mod values;
