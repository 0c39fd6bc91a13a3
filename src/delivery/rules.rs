//! What an operator has set for some endpoints, beyond the options that hold for all. Pure.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method};

use crate::delivery::retry_schedule::RetrySchedule;
use crate::message::endpoint::Endpoint;
use crate::message::headers::Headers;
use crate::trust::authorities::Authorities;
use crate::trust::guard::Guard;
use crate::trust::login::Login;
use crate::trust::signing::Signing;

/// All rules, in the order of the file. The first one that matches counts.
#[derive(Debug, Default, Clone)]
pub struct EndpointRules {
    list: Vec<Arc<EndpointRule>>,
    /// The rule for endpoints that no other rule matches.
    rest: Option<Arc<EndpointRule>>,
}

/// Settings from the options, which a rule may override.
#[derive(Debug, Default, Clone)]
pub struct Defaults {
    pub signing: Option<Arc<Signing>>,
    pub idempotency_key: bool,
}

/// Settings for the endpoints that it matches. Options fill in what it does not set.
#[derive(Debug)]
pub struct EndpointRule {
    pub matches: Match,
    /// How many attempts it may have at a time.
    pub max_in_flight: Option<usize>,
    /// The shortest time between the starts of two attempts.
    pub pace: Option<Duration>,
    pub timeout: Option<Duration>,
    pub schedule: Option<RetrySchedule>,
    /// A message that has waited for longer is given up.
    pub max_age: Option<Duration>,
    /// It was raised from the configured value, because all attempts take that long.
    pub max_age_raised: bool,
    /// Added to every request, unless the message brings its own of that name.
    pub headers: Headers,
    pub method: Option<Method>,
    pub user_agent: Option<HeaderValue>,
    /// The certificates to trust, in place of those of `--ca-file`.
    pub authorities: Option<Authorities>,
    /// How deliveries are signed, if at all.
    pub signing: Option<Arc<Signing>>,
    pub login: Option<Arc<Login>>,
    /// Replaces the guard of the options, on which it builds.
    pub guard: Option<Arc<Guard>>,
    /// The id is sent as `Idempotency-Key` too, unless the message brings its own.
    pub idempotency_key: bool,
    /// Nothing is sent; messages wait.
    pub disabled: bool,
}

/// Which endpoints a rule is for.
#[derive(Debug)]
pub enum Match {
    /// URLs with this prefix. They share one lane, and so the limits of the rule.
    Prefix(Arc<str>),
    /// A host name, or `*.` and a domain. Each origin has its own lane.
    Host(String),
}

impl EndpointRules {
    pub fn new(rules: Vec<EndpointRule>) -> EndpointRules {
        EndpointRules {
            list: rules.into_iter().map(Arc::new).collect(),
            rest: None,
        }
    }

    /// Sets the defaults for endpoints that no rule matches.
    pub fn set_defaults(&mut self, defaults: Defaults) {
        let sets_something = defaults.signing.is_some() || defaults.idempotency_key;
        self.rest = sets_something.then(|| {
            Arc::new(EndpointRule {
                signing: defaults.signing,
                idempotency_key: defaults.idempotency_key,
                ..EndpointRule::plain(Match::Host("*".into()))
            })
        });
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &EndpointRule> {
        self.list.iter().chain(&self.rest).map(|rule| &**rule)
    }

    /// The rule for `endpoint`.
    pub fn find(&self, endpoint: &Endpoint) -> Option<&Arc<EndpointRule>> {
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
            Match::Prefix(prefix) => {
                endpoint.url.starts_with(&**prefix) && !leads_out(prefix, &endpoint.url)
            }
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

/// Whether a URL that begins with `prefix` may lead out of its path: servers resolve `..` in any
/// spelling, and the request then reaches another receiver.
fn leads_out(prefix: &str, url: &str) -> bool {
    let path = |url: &str| {
        url.find("://")
            .and_then(|at| Some(at + 3 + url[at + 3..].find('/')?))
    };
    // The whole origin has no outside.
    let Some(root) = path(prefix).filter(|root| prefix.len() > root + 1) else {
        return false;
    };
    // The last segment of the prefix may be only the beginning of one.
    let from = prefix[root..].split('?').next().unwrap_or_default();
    let from = root + from.rfind('/').map_or(0, |at| at + 1);
    let rest = url[from..].split('?').next().unwrap_or_default();
    rest.bytes().any(|b| matches!(b, b'.' | b'%')) && has_dot_segment(rest)
}

/// Whether a path has a segment `.` or `..` for any server: also for those that decode it first, even
/// twice, take `\` for `/`, or drop parameters (`..;a=b`).
fn has_dot_segment(path: &str) -> bool {
    let mut path = path.to_ascii_lowercase();
    while path.contains("%25") {
        path = path.replace("%25", "%");
    }
    for (spelled, meant) in [
        ("%2e", "."),
        ("%c0%ae", "."),
        ("%2f", "/"),
        ("%c0%af", "/"),
        ("%5c", "/"),
        ("\\", "/"),
        ("%3b", ";"),
    ] {
        path = path.replace(spelled, meant);
    }
    path.split('/')
        .any(|segment| matches!(segment.split(';').next(), Some("." | "..")))
}

impl EndpointRule {
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
    fn plain(matches: Match) -> EndpointRule {
        EndpointRule {
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
impl EndpointRule {
    /// A rule of limits alone, for any host named `h`.
    pub fn of_limits(max_in_flight: Option<usize>, pace: Option<Duration>) -> EndpointRule {
        EndpointRule {
            max_in_flight,
            pace,
            ..EndpointRule::plain(Match::Host("h".into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_with_a_path_is_not_for_what_leads_out_of_it() {
        let covers = |prefix: &str, rest: &str| {
            let prefix = Endpoint::parse(prefix).unwrap().url;
            let url = Endpoint::parse(&format!("{prefix}{rest}")).unwrap();
            Match::Prefix(prefix).covers(&url)
        };
        let acme = "https://h/hooks/acme/";
        for rest in [
            "",
            "1",
            "a.b/..c/c../...",
            "?to=../x",
            "a?../x",
            "a;b/c;..",
            "%2e%2ex",
            "//a",
            ".well-known/a",
            "100%25/x",
        ] {
            assert!(covers(acme, rest), "{rest}");
        }
        for rest in [
            "..",
            ".",
            "./a",
            "a/.",
            "../../admin/delete",
            "x/../../../admin",
            "%2e%2e/evil/",
            ".%2E/evil?a",
            "..%2fevil",
            "..%2Fevil",
            "a%2f..%2fevil",
            "..%5cevil",
            "a%5C..%5cevil",
            "..;/x",
            "..;a=b/x",
            "%2e%2e%3bx/y",
            "%252e%252e/x",
            "..%25252fx",
            "%c0%ae%C0%AE%c0%afx",
        ] {
            assert!(!covers(acme, rest), "{rest}");
            assert!(covers("https://h/", rest), "{rest}");
        }
        assert!(!covers("https://h/hooks/acme", "/../x"));
        assert!(!covers("https://h/hooks/.", "./x"));
        assert!(!covers("https://h/hooks/%2e", "%2e/x"));
        // A `..` that the operator writes is intended.
        assert!(covers("https://h/a/../b/", "c"));
        assert!(covers("https://h/a?k=../", "../c"));
    }
}
