//! Bounds on bytes for channels that count places. Pure.

/// An item of a channel. `None` fills a place that a large message takes beside its own.
pub type Place<T> = Option<T>;

/// How many bytes one place stands for.
const PLACE: usize = 64 << 10;

/// How many further places this many bytes take, at most half of a channel.
pub fn extra_places(bytes: usize, channel: usize) -> usize {
    (bytes / PLACE).min(channel / 2)
}
