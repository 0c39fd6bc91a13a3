//! What an operator has set for some endpoints, beyond the options that hold for all. Pure.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ureq::http::{HeaderValue, Method};

use crate::authorities::Authorities;
use crate::backoff::RetrySchedule;
use crate::endpoint::Endpoint;
use crate::headers::Headers;

/// All rules, in the order of the file: the first that matches holds.
#[derive(Debug, Default, Clone)]
pub struct Rules(Vec<Arc<Rule>>);

/// Settings for the endpoints that it matches. What is not set is as the options say.
#[derive(Debug)]
pub struct Rule {
    pub matches: Match,
    /// Attempts at a time.
    pub max_in_flight: Option<usize>,
    /// The least time between the beginnings of two attempts.
    pub pace: Option<Duration>,
    pub timeout: Option<Duration>,
    pub schedule: Option<RetrySchedule>,
    /// What has waited for longer is given up.
    pub max_age: Option<Duration>,
    /// That is more than what was asked for, as all attempts take so long.
    pub max_age_raised: bool,
    /// Added to every request, unless the message brings its own of that name.
    pub headers: Headers,
    pub method: Option<Method>,
    pub user_agent: Option<HeaderValue>,
    /// Trusted in place of those of `--ca-file`.
    pub authorities: Option<Authorities>,
    /// Nothing is sent; messages wait.
    pub disabled: bool,
}

/// Which endpoints a rule is for.
#[derive(Debug)]
pub enum Match {
    /// URLs that begin so. They share one lane, and so the rule's limits.
    Prefix(Arc<str>),
    /// Hosts: a name, or `*.` and the end of one. Each origin has its own lane.
    Host(String),
}

impl Rules {
    pub fn new(rules: Vec<Rule>) -> Rules {
        Rules(rules.into_iter().map(Arc::new).collect())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter().map(|rule| &**rule)
    }

    /// The rule for `endpoint`.
    pub fn find(&self, endpoint: &Endpoint) -> Option<&Arc<Rule>> {
        // Most have no rules at all, and need no text of the URL.
        if self.0.is_empty() {
            return None;
        }
        let host = endpoint.uri.host().unwrap_or_default();
        self.0
            .iter()
            .find(|rule| rule.matches.covers(&endpoint.url, host))
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Match::Prefix(text) => f.write_str(text),
            Match::Host(text) => f.write_str(text),
        }
    }
}

impl Match {
    fn covers(&self, url: &str, host: &str) -> bool {
        match self {
            Match::Prefix(prefix) => url.starts_with(&**prefix),
            Match::Host(pattern) => match pattern.strip_prefix('*') {
                Some(end) => host.ends_with(end),
                None => host == pattern,
            },
        }
    }
}

impl Rule {
    /// The lane of its endpoints, where it is not their origin's.
    pub fn lane(&self) -> Option<&Arc<str>> {
        match &self.matches {
            Match::Prefix(prefix) => Some(prefix),
            Match::Host(_) => None,
        }
    }
}

#[cfg(test)]
impl Rule {
    /// A rule of limits alone, for any host named `h`.
    pub fn of_limits(max_in_flight: Option<usize>, pace: Option<Duration>) -> Rule {
        Rule {
            matches: Match::Host("h".into()),
            max_in_flight,
            pace,
            timeout: None,
            schedule: None,
            max_age: None,
            max_age_raised: false,
            headers: Headers::default(),
            method: None,
            user_agent: None,
            authorities: None,
            disabled: false,
        }
    }
}
