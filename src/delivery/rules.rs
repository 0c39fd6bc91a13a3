//! What an operator has set for some endpoints, beyond the options that hold for all. Pure.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ureq::http::{HeaderValue, Method};

use crate::delivery::backoff::RetrySchedule;
use crate::message::endpoint::Endpoint;
use crate::message::headers::Headers;
use crate::trust::authorities::Authorities;
use crate::trust::guard::Guard;
use crate::trust::login::Login;
use crate::trust::signing::Signing;

/// All rules, in the order of the file: the first that matches holds.
#[derive(Debug, Default, Clone)]
pub struct Rules {
    list: Vec<Arc<Rule>>,
    /// For all that none of these matches.
    rest: Option<Arc<Rule>>,
}

/// What options set for all endpoints, and a rule may set otherwise.
#[derive(Debug, Default, Clone)]
pub struct Defaults {
    pub signing: Option<Arc<Signing>>,
    pub idempotency_key: bool,
}

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
    /// How what is sent to them is signed, if at all.
    pub signing: Option<Arc<Signing>>,
    pub login: Option<Arc<Login>>,
    /// In place of the guard of the options, on which it builds.
    pub guard: Option<Arc<Guard>>,
    /// The id is sent as `Idempotency-Key` too, unless the message brings its own.
    pub idempotency_key: bool,
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
        Rules {
            list: rules.into_iter().map(Arc::new).collect(),
            rest: None,
        }
    }

    /// Sets what holds for endpoints that no rule is for.
    pub fn set_defaults(&mut self, defaults: Defaults) {
        let sets_something = defaults.signing.is_some() || defaults.idempotency_key;
        self.rest = sets_something.then(|| {
            Arc::new(Rule {
                signing: defaults.signing,
                idempotency_key: defaults.idempotency_key,
                ..Rule::plain(Match::Host("*".into()))
            })
        });
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.list.iter().chain(&self.rest).map(|rule| &**rule)
    }

    /// The rule for `endpoint`.
    pub fn find(&self, endpoint: &Endpoint) -> Option<&Arc<Rule>> {
        // Most have no rules at all, and need no text of the URL.
        if self.list.is_empty() {
            return self.rest.as_ref();
        }
        self.list
            .iter()
            .find(|rule| rule.matches.covers(endpoint))
            .or(self.rest.as_ref())
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
    /// Whether it is for this endpoint.
    pub fn covers(&self, endpoint: &Endpoint) -> bool {
        match self {
            Match::Prefix(prefix) => endpoint.url.starts_with(&**prefix),
            Match::Host(pattern) => {
                let host = endpoint.uri.host().unwrap_or_default();
                match pattern.strip_prefix('*') {
                    Some(end) => host.ends_with(end),
                    None => host == pattern,
                }
            }
        }
    }
}

impl Rule {
    /// Whether certificates are not verified there.
    pub fn is_insecure(&self) -> bool {
        self.login.as_ref().is_some_and(|login| login.insecure_tls)
    }

    /// The lane of its endpoints, where it is not their origin's.
    pub fn lane(&self) -> Option<&Arc<str>> {
        match &self.matches {
            Match::Prefix(prefix) => Some(prefix),
            Match::Host(_) => None,
        }
    }

    /// A rule that sets nothing.
    fn plain(matches: Match) -> Rule {
        Rule {
            matches,
            max_in_flight: None,
            pace: None,
            timeout: None,
            schedule: None,
            max_age: None,
            max_age_raised: false,
            headers: Headers::default(),
            method: None,
            user_agent: None,
            authorities: None,
            signing: None,
            login: None,
            guard: None,
            idempotency_key: false,
            disabled: false,
        }
    }
}

#[cfg(test)]
impl Rule {
    /// A rule of limits alone, for any host named `h`.
    pub fn of_limits(max_in_flight: Option<usize>, pace: Option<Duration>) -> Rule {
        Rule {
            max_in_flight,
            pace,
            ..Rule::plain(Match::Host("h".into()))
        }
    }
}
