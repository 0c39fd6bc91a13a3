//! Reads an answer: what of it is kept for the record, and when it says to come again.
//!
//! Blocks until the exchange's deadline at the longest.

use std::io::{self, Read};
use std::time::{Duration, SystemTime};

use ureq::Body;
use ureq::http::{Response, header};

use crate::delivery::AttemptResult;
use crate::delivery::retry_schedule::parse_retry_after;
use crate::trust::login::Redactor;

/// This much of an answer's body is read (a connection can be used again only when all of it was),
/// and this much is kept for the record.
const BODY_READ: u64 = 64 * 1024;
const BODY_KEPT: usize = 1024;

/// Reads an answer. The secrets that the redactors know are hidden in the part that is kept.
pub fn read<'a>(
    response: Response<Body>,
    redactors: impl Iterator<Item = &'a Redactor>,
) -> AttemptResult {
    let (status, retry_after) = (response.status().as_u16(), retry_after(&response));
    let mut kept = Vec::new();
    let mut reader = response.into_body().into_reader().take(BODY_READ);
    // The status has decided. A body that breaks off, or is not done in time, only costs
    // the connection.
    let _ = reader
        .by_ref()
        .take(BODY_KEPT as u64)
        .read_to_end(&mut kept);
    if kept.len() == BODY_KEPT {
        read_rest(&mut reader);
    }
    redactors.for_each(|redactor| redactor.redact(&mut kept));
    AttemptResult::Response {
        status,
        retry_after,
        body: kept.into(),
    }
}

/// What the header `Retry-After` asks for.
pub fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let field = |name| response.headers().get(name).and_then(|v| v.to_str().ok());
    let value = field(header::RETRY_AFTER)?;
    parse_retry_after(value, field(header::DATE), SystemTime::now())
}

// Inlined, the buffer of `io::copy` would be part of the attempt's frame, and every attempt that
// waits for an answer would hold 8 KiB of memory for it.
#[inline(never)]
fn read_rest(reader: &mut impl Read) {
    let _ = io::copy(reader, &mut io::sink());
}
