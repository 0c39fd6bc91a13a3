//! All scripts that run inside Redis.
//!
//! Each move of a message is one script, so that it happens whole or not at all; `lua/moves.lua` says
//! how, and stands before each script that moves.

macro_rules! moving {
    ($file:literal) => {
        concat!(include_str!("lua/moves.lua"), "\n", include_str!($file))
    };
}

pub const DEDUP: &str = moving!("lua/dedup.lua");
pub const NOTE: &str = moving!("lua/note.lua");
pub const SETTLE: &str = include_str!("lua/settle.lua");
pub const ADVANCE: &str = moving!("lua/advance.lua");
pub const QUEUE: &str = moving!("lua/queue.lua");
pub const DEAL: &str = moving!("lua/deal.lua");
pub const REVIVE: &str = moving!("lua/revive.lua");
pub const PURGE: &str = moving!("lua/purge.lua");
pub const BURY: &str = moving!("lua/bury.lua");
pub const PARK: &str = moving!("lua/park.lua");
pub const RECALL: &str = moving!("lua/recall.lua");
pub const RELEASE: &str = moving!("lua/release.lua");
pub const FLUSH: &str = include_str!("lua/flush.lua");
pub const REPLAY: &str = moving!("lua/replay.lua");

/// These move no message.
pub const HOLD: &str = include_str!("lua/hold.lua");
pub const INSPECT: &str = include_str!("lua/inspect.lua");
pub const ORPHANS: &str = include_str!("lua/orphans.lua");
pub const SHARE: &str = include_str!("lua/share.lua");
pub const TAKE: &str = include_str!("lua/take.lua");
pub const TIDY: &str = include_str!("lua/tidy.lua");
