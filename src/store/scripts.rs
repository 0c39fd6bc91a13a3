//! The scripts that move messages. Each move is one of them, so that it happens whole or not at
//! all; how is said in `lua/moves.lua`.

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
