//! Finds one message by its webhookId, wherever it is in Redis. It may be there more than once: an id
//! goes to several URLs.

use std::time::SystemTime;

use super::endpoints::Known;
use super::waiting::{Then, each_page, with_url};
use super::why::why;
use crate::cli::args::select::Choice;
use crate::cli::output::{Stop, value};
use crate::message::peek;
use crate::message::timestamp::unix_ms;
use crate::store::{Admin, Fields, First};

/// Answers what is known of each that there is, with its `state`: `dead`, `parked`, `deferred` (its endpoint
/// is waited for), `behind` (another of its key is), or `queued` (it was not read yet, or a replica has it).
pub fn find(admin: &mut Admin, id: &str) -> Result<Vec<Fields>, Stop> {
    let mut found = Vec::new();
    find_waiting(admin, id, &mut found)?;
    find_behind(admin, id, &mut found)?;
    for stream in admin.streams() {
        each_entry(admin, &stream, First::Oldest, |entry, fields| {
            let own = peek(value(&fields, "message")).and_then(|glimpse| glimpse.id);
            let is_it = value(&fields, "id") == id.as_bytes()
                || own.as_deref() == Some(id)
                || own.is_none() && id.strip_prefix("msg_") == Some(entry);
            if is_it {
                let mut fields = with_url(fields);
                fields.retain(|(name, _)| name != "id" && name != "head");
                fields.push(("id".into(), id.into()));
                fields.push(("entry".into(), entry.into()));
                fields.push(("stream".into(), stream.clone().into()));
                found.push(in_state("queued", fields));
            }
        })?;
    }
    let dead = admin.dead_stream();
    each_entry(admin, &dead, First::Newest, |entry, mut fields| {
        if value(&fields, "id") == id.as_bytes() {
            fields.push(("entry".into(), entry.into()));
            found.push(in_state("dead", fields));
        }
    })?;
    Ok(found)
}

fn find_waiting(admin: &mut Admin, id: &str, found: &mut Vec<Fields>) -> Result<(), Stop> {
    let now = unix_ms(SystemTime::now());
    let mut known = None;
    each_page(
        admin,
        &Choice::of_ids(&[id.to_owned()]),
        |admin, place, page| {
            if known.is_none() && place.backlog().is_some() {
                known = Some(Known::ask(admin, "")?);
            }
            for message in page {
                let why = why(&message, place, known.as_ref(), now);
                let due = message.due.to_string();
                let mut fields = with_url(message.fields);
                fields.push(("why".into(), why.text.into()));
                match place.backlog() {
                    None => fields.push(("due_ms".into(), due.into())),
                    Some(name) => fields.push(("backlog".into(), name.into())),
                }
                let state = if place.backlog().is_some() {
                    "deferred"
                } else {
                    "parked"
                };
                found.push(in_state(state, fields));
            }
            Ok(Then::Stays)
        },
    )
}

fn find_behind(admin: &mut Admin, id: &str, found: &mut Vec<Fields>) -> Result<(), Stop> {
    let mut cursor = 0;
    loop {
        let (keys, next) = admin.keys(cursor)?;
        for key in keys.into_iter().filter(|key| key.followers > 0) {
            let mut start = 0;
            loop {
                let page = admin.followers(&key.key, start)?;
                if page.is_empty() {
                    break;
                }
                start += page.len();
                for message in page {
                    if value(&message.fields, "id") == id.as_bytes() {
                        let mut fields = with_url(message.fields);
                        fields.push(("key".into(), key.key.clone().into()));
                        fields.push(("why".into(), "for an earlier message of its key".into()));
                        found.push(in_state("behind", fields));
                    }
                }
            }
        }
        cursor = next;
        if cursor == 0 {
            return Ok(());
        }
    }
}

/// Hands on each entry of a stream.
fn each_entry(
    admin: &mut Admin,
    stream: &str,
    order: First,
    mut act: impl FnMut(&str, Fields),
) -> Result<(), Stop> {
    let mut range = Some(("-".to_owned(), "+".to_owned()));
    while let Some((from, to)) = range {
        let (page, rest) = admin.entries(stream, &from, &to, order)?;
        for letter in page {
            act(&letter.entry, letter.fields);
        }
        range = rest;
    }
    Ok(())
}

fn in_state(state: &str, mut fields: Fields) -> Fields {
    fields.push(("state".into(), state.into()));
    fields
}
