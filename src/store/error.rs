//! Why Redis did not do what was asked: what was tried, what answered, and the setting or act that
//! helps.

use std::fmt;

use redis::{ErrorKind, RedisError};

/// Why the store did not take something, in words for the operator.
#[derive(Debug)]
pub struct StoreError {
    text: String,
    /// What the server calls it (`NOAUTH`, `OOM`); empty when it cannot be reached.
    code: String,
}

impl StoreError {
    pub fn new(text: impl Into<String>) -> Self {
        StoreError {
            text: text.into(),
            code: String::new(),
        }
    }

    #[cfg(test)]
    pub fn refusal(code: &str) -> Self {
        StoreError {
            text: format!("{code} planted"),
            code: code.to_owned(),
        }
    }

    /// The same, with more to say.
    pub(super) fn with(&self, more: &str) -> Self {
        StoreError {
            text: format!("{}{more}", self.text),
            code: self.code.clone(),
        }
    }

    /// Two errors of one code are the same trouble, whatever their words: a server that
    /// goes away is reset, then refused, then loading.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The server refuses just this, and will when it is asked again; it is not in trouble
    /// itself.
    pub fn is_refusal(&self) -> bool {
        matches!(&*self.code, "WRONGTYPE" | "NOPERM" | "OOM" | "ERR")
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for StoreError {}

/// What is known of the server that did not do it.
pub(super) struct About<'a> {
    /// Its address, without user and password.
    pub shown: &'a str,
    pub user: &'a str,
    /// The hash tag of all keys.
    pub tag: &'a str,
    pub is_tls: bool,
    /// One server, and not whichever Sentinel or Cluster names.
    pub is_fixed: bool,
    /// There was no connection yet that had answered.
    pub is_new: bool,
}

impl About<'_> {
    /// Says what went wrong, where, and what may help.
    pub fn explain(&self, e: &RedisError) -> StoreError {
        // Of a pipeline or transaction, what the first of its commands was told.
        let first = e.clone().into_server_errors();
        let first = first.as_deref().and_then(<[_]>::first).map(|(_, e)| e);
        let code = first.map(|first| first.code()).or(e.code());
        let (text, hint) = match (first, code) {
            (Some(first), Some(code)) => {
                let details = first.details().unwrap_or_default();
                (format!("{code} {details}"), self.hint(code, details))
            }
            (_, Some(code)) => (e.to_string(), self.hint(code, &e.to_string())),
            _ if e.kind() == ErrorKind::AuthenticationFailed => {
                let details = e.detail().unwrap_or_default();
                let text = format!("the server does not take the password: {details}");
                (text, "; see --redis-password".into())
            }
            // Whose address is known and answers with something else is no Redis.
            _ if e.kind() == ErrorKind::Parse => {
                let answer = e.detail().unwrap_or("something else");
                (
                    format!("what answers there is not Redis, but {answer}"),
                    self.where_to().into(),
                )
            }
            _ => self.without_answer(e),
        };
        let code = code.filter(|code| *code != "LOADING").unwrap_or_default();
        StoreError {
            text: format!("{}: {text}{hint}", self.shown),
            code: code.to_owned(),
        }
    }

    /// What helps against what the server said.
    fn hint(&self, code: &str, details: &str) -> String {
        match code {
            "NOPERM" => format!("; ACL SETUSER {} {}", self.user, self.rule(details)),
            "NOAUTH" | "WRONGPASS" => "; see --redis-password".into(),
            "WRONGTYPE" => {
                "; a key that outhook uses holds something else: rename or delete it".into()
            }
            "OOM" => "; Redis is full: see maxmemory in its configuration".into(),
            "READONLY" => "; this is a replica, outhook needs the master".into(),
            "MOVED" | "ASK" if self.is_fixed => {
                "; this is a cluster: see redis+cluster:// at --redis-address".into()
            }
            _ => String::new(),
        }
    }

    /// The rule that would allow what was refused: servers name the command, and of keys and
    /// channels that it is one.
    fn rule(&self, details: &str) -> String {
        let command = details
            .split('\'')
            .nth(1)
            .filter(|_| details.contains("command"));
        match command {
            Some(command) => format!("+{}", command.to_lowercase()),
            None if details.contains("channel") => format!("&{}:*", self.tag),
            None => format!("~{}:*", self.tag),
        }
    }

    fn where_to(&self) -> &'static str {
        "; --redis-address (or REDIS_ADDRESS) says where Redis is"
    }

    /// No answer came, or none that is one.
    fn without_answer(&self, e: &RedisError) -> (String, String) {
        let text = e.to_string();
        let other = match self.is_tls {
            true => "; if it speaks no TLS, write redis://",
            false => "; if it speaks TLS, write rediss://",
        };
        let is_unix = self.shown.starts_with("unix:");
        let (text, hint) = match () {
            () if e.is_connection_refusal() && is_unix => {
                (format!("nothing listens there ({text})"), self.where_to())
            }
            () if e.is_connection_refusal() => (
                format!("nothing listens there ({text})"),
                "; is Redis running? --redis-address (or REDIS_ADDRESS) says where it is",
            ),
            () if e.is_timeout() && self.is_new => ("no answer in time".into(), other),
            () if e.is_timeout() => ("no answer in time".into(), ""),
            () if !self.is_new => (text, ""),
            () if e.is_connection_dropped() => {
                (format!("it hung up without an answer ({text})"), other)
            }
            () if self.is_tls && text.contains("certificate") => (text, "; see --redis-ca-file"),
            () if self.is_tls && text.contains("corrupt message") => {
                (format!("what answers there speaks no TLS ({text})"), other)
            }
            () if text.contains("lookup address") => (text, self.where_to()),
            () => (text, ""),
        };
        (text, hint.into())
    }
}

/// What it is that answers in place of Redis, by its first bytes.
pub(super) fn foreign(first: &[u8]) -> String {
    match first {
        [b'H', b'T', b'T', b'P', b'/', ..] => "an HTTP server".into(),
        // An alert, as answer to what is no hello.
        [0x15, 3, ..] => "a server that speaks TLS: write rediss://".into(),
        first => {
            let text = String::from_utf8_lossy(first);
            format!("a server that answers {:?}", text.trim_end())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(is_tls: bool, is_new: bool) -> About<'static> {
        About {
            shown: "redis://h:1",
            user: "u",
            tag: "{o}",
            is_tls,
            is_fixed: true,
            is_new,
        }
    }

    #[test]
    fn a_refusal_names_the_rule_that_would_allow_it() {
        for (details, rule) in [
            // 6.2, and from 7.0 on.
            (
                "this user has no permissions to run the 'xadd' command or its subcommand",
                "+xadd",
            ),
            (
                "User u has no permissions to run the 'acl|list' command",
                "+acl|list",
            ),
            (
                "this user has no permissions to access one of the keys used as arguments",
                "~{o}:*",
            ),
            ("No permissions to access a key", "~{o}:*"),
            ("No permissions to access a channel", "&{o}:*"),
        ] {
            assert_eq!(about(false, false).rule(details), rule, "{details}");
        }
    }

    #[test]
    fn what_did_not_answer_is_named_with_what_helps() {
        use std::io::ErrorKind as Io;
        let said = |kind: Io, is_tls, is_new| {
            let e = RedisError::from(std::io::Error::from(kind));
            about(is_tls, is_new).explain(&e).to_string()
        };
        let refused = said(Io::ConnectionRefused, false, true);
        assert!(refused.contains("nothing listens there") && refused.contains("REDIS_ADDRESS"));
        assert!(said(Io::TimedOut, true, true).ends_with("write redis://"));
        assert!(said(Io::UnexpectedEof, false, true).ends_with("write rediss://"));
        // Where it has answered before, it speaks what we speak.
        assert!(said(Io::TimedOut, true, false).ends_with("no answer in time"));
    }

    #[test]
    fn what_is_no_redis_is_known_by_its_first_bytes() {
        assert_eq!(foreign(b"HTTP/1.1 400"), "an HTTP server");
        assert!(foreign(b"\x15\x03\x01\x00").contains("rediss://"));
        assert_eq!(
            foreign(b"220 mail\r\n"),
            "a server that answers \"220 mail\""
        );
    }
}
