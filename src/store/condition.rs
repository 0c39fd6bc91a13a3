//! The condition of the stream and the other keys: what in it loses messages, or will.

use std::fmt::Display;
use std::str::FromStr;

use redis::{RedisResult, Script, Value, pipe};

use super::connection::Connection;
use super::reply::{items, text};
use super::{Keys, Redis, StoreError, scripts};
use crate::message::entry::{EntryId, Stream};

/// Pending entries looked at in one script.
const PAGE: usize = 100;

/// Scripts in a row: what is left then is looked at the next time.
const MOST_PAGES: usize = 1000;

/// What the stream and its group say of themselves, at one moment.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Condition {
    /// Entries in the stream.
    length: u64,
    last_generated: Option<EntryId>,
    first_entry: Option<EntryId>,
    /// Entries ever added; known from 7.0 on.
    added: Option<u64>,
    other_groups: Vec<String>,
    /// `None`: there is no such group.
    group: Option<Group>,
}

#[derive(Debug, Default, Clone, PartialEq)]
struct Group {
    pending: u64,
    first_pending: Option<EntryId>,
    last_delivered: Option<EntryId>,
    /// Entries ever read; known from 7.0 on, and not always.
    read: Option<u64>,
    lag: Option<u64>,
    /// Something has not been read yet.
    has_unread: bool,
}

impl Condition {
    /// `None`: there is no stream yet.
    pub fn ask(
        connection: &mut Connection,
        redis: &Redis,
        keys: &Keys,
    ) -> Result<Option<Condition>, StoreError> {
        let reply: RedisResult<Value> = Script::new(scripts::INSPECT)
            .key(&keys.messages)
            .arg(&keys.group)
            .invoke(connection);
        let reply = reply.map_err(|e| redis.error(&e))?;
        let fields: Vec<String> = items(Some(reply)).filter_map(text).collect();
        Ok(Condition::read(&fields))
    }

    fn read(fields: &[String]) -> Option<Condition> {
        let mut condition = Condition::default();
        let mut group = Group::default();
        let mut is_group = false;
        for pair in fields.chunks_exact(2) {
            let [name, value] = pair else { continue };
            match &**name {
                "length" => condition.length = parse(value).unwrap_or_default(),
                "last_generated" => condition.last_generated = parse(value),
                "first_entry" => condition.first_entry = parse(value),
                "added" => condition.added = parse(value),
                "other_group" => condition.other_groups.push(value.clone()),
                "pending" => {
                    group.pending = parse(value).unwrap_or_default();
                    is_group = true;
                }
                "first_pending" => group.first_pending = parse(value),
                "last_delivered" => group.last_delivered = parse(value),
                "read" => group.read = parse(value),
                "lag" => group.lag = parse(value),
                "unread" => group.has_unread = value != "0",
                _ => {}
            }
        }
        condition.group = is_group.then_some(group);
        (!fields.is_empty()).then_some(condition)
    }

    /// Whether there may be entries that nobody holds, and is not worth a look otherwise. All that
    /// is settled is deleted, so what is in the stream is pending or was not read yet.
    pub fn may_have_orphans(&self) -> bool {
        let Some(group) = &self.group else {
            return false;
        };
        match group.lag {
            _ if !group.has_unread => self.length > group.pending,
            Some(lag) => self.length != group.pending + lag,
            None => self.length > group.pending,
        }
    }

    /// How many entries nobody holds, as far as can be said without looking at each.
    fn orphans(&self) -> Option<u64> {
        let group = self.group.as_ref()?;
        let unread = if group.has_unread { group.lag? } else { 0 };
        Some(self.length.saturating_sub(group.pending + unread))
    }

    /// How many entries were trimmed or deleted before this group had read them. Redis counts
    /// what is added and what is read; what is missing between the two is gone.
    fn trimmed_unread(&self) -> Option<u64> {
        let group = self.group.as_ref()?;
        // Pending entries that are gone too would be counted as read and not as in the stream.
        if group.pending > 0
            && (self.first_entry.is_none() || group.first_pending < self.first_entry)
        {
            return None;
        }
        let nothing = EntryId::new(0, 0);
        let read = match group.read {
            None if group.last_delivered == Some(nothing) => 0,
            read => read?,
        };
        let unread = match group.has_unread {
            true => self.length.saturating_sub(group.pending),
            false => 0,
        };
        Some(self.added?.saturating_sub(read + unread))
    }

    /// A sentence for each thing that somebody should do something about.
    pub fn advice(&self, keys: &Keys) -> Vec<String> {
        let (stream, group) = (&keys.messages, &keys.group);
        let mut advice = Vec::new();
        if let Some(n @ 1..) = self.trimmed_unread() {
            advice.push(format!(
                "{n} entries of {stream} were trimmed or deleted before the group {group} had read \
                 them; a producer must not add with MAXLEN or MINID"
            ));
        }
        let end = EntryId::new(u64::MAX, u64::MAX);
        if self.last_generated == Some(end) {
            advice.push(format!(
                "{stream}: its last possible id is used up, so nothing can be added and nothing \
                 parked comes back; when it is empty, DEL it: outhook makes it anew"
            ));
        }
        if !self.other_groups.is_empty() {
            advice.push(format!(
                "{stream} has more groups than {group}: {}; what one group delivers is deleted for \
                 all, see --group",
                self.other_groups.join(", ")
            ));
        }
        advice
    }

    /// The same, of what a running service mends by itself.
    pub fn passing_advice(&self, keys: &Keys) -> Option<String> {
        let n = self.orphans().filter(|n| *n > 0)?;
        Some(format!(
            "{n} entries of {} are nobody's: not new, and not pending; a running outhook takes them \
             back with its next sweep",
            keys.messages
        ))
    }
}

fn parse<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

/// Makes entries that nobody holds pending for this consumer. Answers how many there were.
pub(super) fn take_back(
    connection: &mut Connection,
    keys: &Keys,
    stream: Stream,
    consumer: &str,
) -> RedisResult<usize> {
    let script = Script::new(scripts::ORPHANS);
    let all_there_is = match stream {
        Stream::Messages => "",
        Stream::Again => "all",
    };
    let (mut all, mut from) = (0, "0-0".to_owned());
    for _ in 0..MOST_PAGES {
        let (given, next): (usize, String) = script
            .key(keys.stream(stream))
            .arg(&keys.group)
            .arg(consumer)
            .arg(&from)
            .arg(PAGE)
            .arg(all_there_is)
            .invoke(connection)?;
        all += given;
        if next.is_empty() {
            break;
        }
        from = next;
    }
    Ok(all)
}

/// A sentence for each key that holds something else than what it is for.
pub fn find_wrong_types(
    connection: &mut Connection,
    redis: &Redis,
    keys: &Keys,
) -> Result<Vec<String>, StoreError> {
    let wanted = [
        (&keys.messages, "XLEN", "stream"),
        (&keys.again, "XLEN", "stream"),
        (&keys.parked, "ZCARD", "sorted set"),
        (&keys.backlogs, "ZCARD", "sorted set"),
        (&keys.ordered, "XLEN", "stream"),
        (&keys.heads, "HLEN", "hash"),
        (&keys.dead, "XLEN", "stream"),
        (&keys.holds, "ZCARD", "sorted set"),
        (&keys.secrets, "HLEN", "hash"),
    ];
    let mut request = pipe();
    for (key, command, _) in &wanted {
        request.cmd(command).arg(*key);
    }
    let packed = request.get_packed_pipeline();
    let answers = redis::ConnectionLike::req_packed_commands(connection, &packed, 0, wanted.len());
    let answers = answers.map_err(|e| redis.error(&e))?;
    let wrong = wanted
        .iter()
        .zip(answers)
        .filter(|(_, answer)| matches!(answer, Value::ServerError(e) if e.code() == "WRONGTYPE"));
    let sentences = wrong.map(|((key, _, kind), _)| is_not(key, kind));
    Ok(sentences.collect())
}

fn is_not(key: &str, kind: impl Display) -> String {
    format!("{key} is no {kind}, as outhook needs it: rename or delete it, or see --redis-prefix")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(text: &str) -> Condition {
        let fields: Vec<String> = text.split(' ').map(str::to_owned).collect();
        Condition::read(&fields).unwrap()
    }

    #[test]
    fn orphans_are_what_is_in_the_stream_and_neither_pending_nor_new() {
        for (text, may, orphans) in [
            ("length 0 pending 0 unread 0 lag 0", false, Some(0)),
            ("length 5 pending 5 unread 0 lag 0", false, Some(0)),
            ("length 9 pending 5 unread 1 lag 4", false, Some(0)),
            ("length 5 pending 0 unread 0 lag 0", true, Some(5)),
            ("length 9 pending 3 unread 1 lag 4", true, Some(2)),
            // Redis 7.0 counts what was trimmed as lag still: worth a look.
            ("length 9 pending 3 unread 1 lag 40", true, Some(0)),
            // 6.2 tells no lag.
            ("length 9 pending 3 unread 1", true, None),
            ("length 3 pending 3 unread 0", false, Some(0)),
            ("length 5 pending 3 unread 0", true, Some(2)),
            // Trimmed while they were pending.
            ("length 3 pending 5 unread 0 lag 0", false, Some(0)),
            // No group yet.
            ("length 3", false, None),
        ] {
            let condition = condition(text);
            assert_eq!(condition.may_have_orphans(), may, "{text}");
            assert_eq!(condition.orphans(), orphans, "{text}");
        }
        assert_eq!(Condition::read(&[]), None);
    }

    #[test]
    fn what_was_added_and_is_neither_read_nor_there_was_trimmed() {
        for (text, trimmed) in [
            (
                "length 4 added 10 pending 0 last_delivered 0-0 unread 1",
                Some(6),
            ),
            (
                "length 4 added 10 pending 0 last_delivered 5-0 unread 1",
                None,
            ),
            (
                "length 4 added 13 read 3 pending 0 last_delivered 5-0 unread 1",
                Some(6),
            ),
            (
                "length 0 added 13 read 13 pending 0 last_delivered 5-0 unread 0",
                Some(0),
            ),
            (
                "length 6 added 13 read 7 pending 2 first_pending 5-0 first_entry 5-0 unread 1",
                Some(2),
            ),
            // What is pending and gone is told elsewhere.
            (
                "length 4 added 13 read 7 pending 2 first_pending 5-0 first_entry 7-0 unread 1",
                None,
            ),
            (
                "length 0 added 13 read 7 pending 2 first_pending 5-0 unread 0",
                None,
            ),
            ("length 4 pending 0 last_delivered 0-0 unread 1", None),
        ] {
            assert_eq!(condition(text).trimmed_unread(), trimmed, "{text}");
        }
    }

    #[test]
    fn each_fault_has_its_sentence_and_a_good_stream_none() {
        let keys = Keys::new("o");
        let good = "length 4 added 13 read 9 last_generated 7-0 pending 0 unread 1 lag 4";
        assert!(condition(good).advice(&keys).is_empty());
        assert_eq!(condition(good).passing_advice(&keys), None);
        let max = u64::MAX;
        for (more, words) in [
            ("added 20", "7 entries of {o}:messages were trimmed"),
            (&*format!("last_generated {max}-{max}"), "used up"),
            ("other_group x", "more groups than outhook: x"),
        ] {
            let advice = condition(&format!("{good} {more}")).advice(&keys);
            assert!(advice.len() == 1 && advice[0].contains(words), "{advice:?}");
        }
        let orphans = condition(&format!("{good} lag 1")).passing_advice(&keys);
        assert!(orphans.is_some_and(|text| text.starts_with("3 entries of")));
    }
}
