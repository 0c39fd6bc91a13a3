//! The names of all Redis keys. They share one hash tag, so that a script or transaction
//! over several of them works on a cluster.

use crate::message::entry::Stream;

/// What stands for bytes that are compared, on any replica and of any version.
pub fn digest(bytes: &[u8]) -> String {
    sha1_smol::Sha1::from(bytes).digest().to_string()
}

/// One namespace: what belongs together, and to no other.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Messages to deliver: a stream.
    pub messages: String,
    /// Its consumer group.
    pub group: String,
    /// Messages that have come back, of the same group: a stream that nobody reads, as each entry is
    /// handed to a consumer when it is added.
    pub again: String,
    /// Messages to deliver later: a sorted set, by due time in Unix ms of Redis's clock.
    pub parked: String,
    /// The backlogs that there are: a sorted set of their names, by when the oldest message of each
    /// was received, in Unix ms.
    pub backlogs: String,
    /// Messages that are to be delivered in the order in which they are added, of their keys: a
    /// stream without a group.
    pub ordered: String,
    /// Where the head of each key is that has one: a hash.
    pub heads: String,
    /// Dead letters: a stream, one entry a letter.
    pub dead: String,
    /// What every attempt came to: a capped stream.
    pub attempt_log: String,
    /// Endpoints that are held: a sorted set, by when that ends, in Unix ms of Redis's clock.
    pub holds: String,
    /// Secrets by name: a hash.
    pub secrets: String,
    /// A Pub/Sub channel, for commands to all replicas.
    pub control: String,
    prefix: String,
}

impl Keys {
    /// The keys of `prefix`, as `outhook`.
    pub fn new(prefix: &str) -> Keys {
        let prefix = format!("{{{prefix}}}:");
        Keys {
            messages: format!("{prefix}messages"),
            group: "outhook".into(),
            again: format!("{prefix}again"),
            parked: format!("{prefix}parked"),
            backlogs: format!("{prefix}backlogs"),
            ordered: format!("{prefix}ordered"),
            heads: format!("{prefix}heads"),
            dead: format!("{prefix}dead"),
            attempt_log: format!("{prefix}attempt-log"),
            holds: format!("{prefix}holds"),
            secrets: format!("{prefix}secrets"),
            control: format!("{prefix}control"),
            prefix,
        }
    }

    /// The pattern that names this key among others of ours, for an ACL.
    pub fn pattern(&self, key: &str) -> String {
        match key.strip_prefix(&self.prefix) {
            Some(_) => format!("{}*", self.prefix),
            None => key.to_owned(),
        }
    }

    /// Messages that wait for the endpoint of this name, oldest first: a list.
    pub fn backlog(&self, name: &str) -> String {
        format!("{}backlog:{name}", self.prefix)
    }

    /// Messages that follow the head of this key, oldest first: a list.
    pub fn followers(&self, key: &str) -> String {
        format!("{}key:{key}", self.prefix)
    }

    /// The stream of that kind.
    pub fn stream(&self, stream: Stream) -> &str {
        match stream {
            Stream::Messages => &self.messages,
            Stream::Again => &self.again,
        }
    }

    /// Remembers that a message of this id came for this URL.
    pub fn seen(&self, id: &str, url: &str) -> String {
        let url = &digest(url.as_bytes())[..16];
        format!("{}seen:{id}:{url}", self.prefix)
    }

    /// The channel on which replicas answer what a tool has asked for.
    pub fn reply(&self, question: u64) -> String {
        format!("{}reply:{question:016x}", self.prefix)
    }

    /// Whether it is such a key. Whoever may publish commands must not have us write anywhere else.
    pub fn is_reply(&self, key: &str) -> bool {
        let end = key.strip_prefix(&self.prefix);
        end.is_some_and(|end| end.starts_with("reply:"))
    }

    /// To this channel a replica subscribes that hears `channel` and does not drain.
    pub fn hears(&self, channel: &str) -> String {
        format!("{}hears:{channel}", self.prefix)
    }

    /// The hash that says what is lent of the limits of an endpoint.
    pub fn shares(&self, endpoint: &str) -> String {
        format!("{}shares:{endpoint}", self.prefix)
    }

    /// The hash that says where message `id` is.
    pub fn status(&self, id: &str) -> String {
        format!("{}status:{id}", self.prefix)
    }
}
