//! Goes through all that waits in Redis, page by page: first what waits for a time, in the order in
//! which it is due, then each backlog, oldest first.

use std::collections::HashSet;
use std::time::SystemTime;

use crate::cli::args::select::Choice;
use crate::cli::output::{Progress, Stop, value};
use crate::message::timestamp::unix_ms;
use crate::message::{Glimpse, peek};
use crate::store::{Admin, Fields, ParkedMessage};

/// Where a message waits.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    /// `{outhook}:parked`
    Time,
    /// The backlog of this endpoint.
    Backlog(String),
}

impl Place {
    pub fn backlog(&self) -> Option<&str> {
        match self {
            Place::Time => None,
            Place::Backlog(name) => Some(name),
        }
    }
}

/// Whether what was handed on is still there.
pub enum Then {
    Stays,
    Goes,
}

/// Hands on what is meant of each page.
pub fn each_page(
    admin: &mut Admin,
    select: &Choice,
    mut act: impl FnMut(&mut Admin, &Place, Vec<ParkedMessage>) -> Result<Then, Stop>,
) -> Result<(), Stop> {
    let mut left = select.limit.unwrap_or(u64::MAX);
    let backlogs = admin.backlogs()?.into_iter();
    let backlogs = backlogs.map(|backlog| Place::Backlog(backlog.name));
    for place in std::iter::once(Place::Time).chain(backlogs) {
        let mut start = 0;
        while left > 0 {
            let mut page = match &place {
                Place::Time => admin.parked(start)?,
                Place::Backlog(name) => admin.backlog(name, start)?,
            };
            let read = page.len();
            page.retain(|message| {
                let is_meant = left > 0 && covers(select, message);
                left -= u64::from(is_meant);
                is_meant
            });
            start += read;
            let meant = page.len();
            if meant > 0 && matches!(act(admin, &place, page)?, Then::Goes) {
                // What follows moves up.
                start -= meant;
            }
            if read == 0 {
                break;
            }
        }
    }
    Ok(())
}

/// Whether a message is meant. What costs most is looked at last.
pub fn covers(select: &Choice, message: &ParkedMessage) -> bool {
    select.has_time(message.received)
        && select.has_id(value(&message.fields, "id"), "")
        && (select.url.is_none()
            || url(&message.fields).is_some_and(|url| select.has_url(url.as_bytes())))
}

/// What a parked message says of itself.
pub fn peek_at(fields: &Fields) -> Option<Glimpse> {
    peek(value(fields, "message"))
}

/// Where a parked message goes, as its producer wrote it.
pub fn url(fields: &Fields) -> Option<String> {
    peek_at(fields).map(|glimpse| glimpse.url)
}

/// The URL is in the message alone.
pub fn with_url(mut fields: Fields) -> Fields {
    if let Some(url) = url(&fields) {
        fields.push(("url".into(), url.into_bytes()));
    }
    fields
}

/// Whether it is not to be delivered yet.
pub fn is_early(message: &ParkedMessage, now: u64) -> bool {
    let at = peek_at(&message.fields).and_then(|glimpse| glimpse.deliver_at);
    at.is_some_and(|at| at > now)
}

/// Makes due now what is parked and meant, but for what is not to be delivered yet. Answers how
/// many.
pub fn flush_those(
    admin: &mut Admin,
    mut is_meant: impl FnMut(&ParkedMessage) -> bool,
) -> Result<u64, Stop> {
    let mut progress = Progress::new("flushed");
    let now = unix_ms(SystemTime::now());
    // Some are parked again behind us, at once; each is moved once, and no more than there are now.
    let most = admin.parked_count()? as u64;
    let mut moved = HashSet::new();
    let mut done = 0;
    loop {
        let before = done;
        let mut start = 0;
        loop {
            let mut page = admin.parked(start)?;
            let read = page.len();
            page.retain(|message| {
                !is_early(message, now) && is_meant(message) && moved.insert(message.hash())
            });
            // What is moved leaves the order, and what follows moves up.
            start += read - page.len();
            if !page.is_empty() {
                done += admin.flush(&page)?;
                progress.at(done);
            }
            if read == 0 || done >= most {
                break;
            }
        }
        // What replicas took out meanwhile has moved up others that we passed over.
        if done == before || done >= most {
            return Ok(done);
        }
    }
}
