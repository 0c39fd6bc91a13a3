//! Bounds on bytes for channels that count places. Pure.

/// What stands in a channel: `None` fills a place that a large message takes beside its own.
pub type Place<T> = Option<T>;

/// Bytes in one place.
const PLACE: usize = 64 << 10;

/// The places that so many bytes take beside their own, at most half of a channel.
pub fn extra_places(bytes: usize, channel: usize) -> usize {
    (bytes / PLACE).min(channel / 2)
}
