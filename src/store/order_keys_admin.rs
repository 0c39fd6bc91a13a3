//! What an operator does with keys whose messages go one after another: look, and let one go on.

use redis::{RedisResult, Script, Value, cmd, pipe};

use super::admin::{Admin, Fields, fields};
use super::order_keys::{heads, meant, revive};
use super::reply::{bytes, items};
use super::waiting_admin::{ParkedMessage, parked};
use super::{StoreError, scripts};

/// Keys and messages in one page; a message may be a megabyte.
const PAGE: usize = 100;

/// A key that has a head.
#[derive(Debug)]
pub struct KeyInPlay {
    pub key: String,
    /// Where its head is.
    pub head: String,
    /// How many follow.
    pub followers: u64,
}

impl Admin {
    /// About a page of keys from `cursor` on, and where to go on; 0 at the end.
    pub fn keys(&mut self, cursor: u64) -> Result<(Vec<KeyInPlay>, u64), StoreError> {
        let mut scan = cmd("HSCAN");
        scan.arg(&self.keys.heads)
            .arg(cursor)
            .arg("COUNT")
            .arg(PAGE);
        let reply: RedisResult<Value> = scan.query(&mut self.connection);
        let (next, heads) = heads(self.done(reply)?);
        if heads.is_empty() {
            return Ok((Vec::new(), next));
        }
        let mut request = pipe();
        for (key, _) in &heads {
            request.cmd("LLEN").arg(self.keys.followers(key));
        }
        let reply: RedisResult<Vec<u64>> = request.query(&mut self.connection);
        let page = heads.into_iter().zip(self.done(reply)?);
        let page = page.map(|((key, head), followers)| KeyInPlay {
            key,
            head,
            followers,
        });
        Ok((page.collect(), next))
    }

    /// Where the head of a key is, if it has one.
    pub fn head(&mut self, key: &str) -> Result<Option<String>, StoreError> {
        let mut get = cmd("HGET");
        get.arg(&self.keys.heads).arg(key);
        let reply = get.query(&mut self.connection);
        self.done(reply)
    }

    /// What stands in the entry that is the head, if it is one.
    pub fn head_entry(&mut self, head: &str) -> Result<Fields, StoreError> {
        let Some(id) = meant(head) else {
            return Ok(Fields::new());
        };
        let mut range = cmd("XRANGE");
        range.arg(self.keys.stream(id.stream));
        range.arg(id.to_string()).arg(id.to_string());
        let reply: RedisResult<Value> = range.query(&mut self.connection);
        let entry = items(Some(self.done(reply)?)).next();
        Ok(fields(items(items(entry).nth(1))))
    }

    /// Up to a page of the messages that follow the head of a key, oldest first, from the `start`-th
    /// on.
    pub fn followers(&mut self, key: &str, start: usize) -> Result<Vec<ParkedMessage>, StoreError> {
        let mut range = cmd("LRANGE");
        range.arg(self.keys.followers(key)).arg(start);
        range.arg(start + PAGE - 1);
        let reply: RedisResult<Value> = range.query(&mut self.connection);
        let members = items(Some(self.done(reply)?)).map(bytes);
        Ok(members.map(|member| parked(member, 0)).collect())
    }

    /// The head of a key is not waited for any more, if it is still there. Answers whether it was.
    pub fn skip(&mut self, key: &str, head: &str) -> Result<bool, StoreError> {
        let skipped = revive(&mut self.connection, &self.keys, (key, head), true);
        let skipped = self.done(skipped)?;
        self.tell_due();
        Ok(skipped)
    }

    /// Deletes the head of a key, which is parked or in that backlog: the next may go. Answers how
    /// many were still there.
    pub(super) fn purge_head(
        &mut self,
        backlog: Option<&str>,
        key: &str,
        member: &[u8],
    ) -> Result<u64, StoreError> {
        let script = Script::new(scripts::PURGE);
        let (from, kind) = match backlog {
            None => (self.keys.parked.clone(), "parked"),
            Some(name) => (self.keys.backlog(name), "backlog"),
        };
        let mut call = script.key(from);
        call.key(&self.keys.heads).key(&self.keys.parked);
        call.key(self.keys.followers(key));
        call.arg(kind).arg(key).arg(member);
        let reply = call.invoke(&mut self.connection);
        self.done(reply)
    }
}
