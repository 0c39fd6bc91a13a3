//! The endpoints file: rules as an operator writes them, in TOML or JSON. Pure: it is given the
//! text.

mod fields;
mod loose;
mod signing;

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;
use ureq::http::{HeaderValue, Method};

use crate::authorities::Authorities;
use crate::backoff::RetrySchedule;
use crate::headers::Headers;
use crate::message::MAX_ATTEMPTS;
use crate::rules::{Match, Rule, Rules};
use crate::secret::Secret;
use crate::signing::Signing;

/// What rules are checked against, and build on.
#[derive(Debug, Clone)]
pub struct Bounds {
    pub schedule: RetrySchedule,
    /// The most that a timeout may be.
    pub timeout: Duration,
    /// The timeout where none is set.
    pub usual_timeout: Duration,
    /// The longest that messages wait, where nothing else is set.
    pub max_age: Duration,
    pub workers: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File<E> {
    #[serde(default = "Vec::new")]
    endpoint: Vec<E>,
    #[serde(default, deserialize_with = "signing::setting")]
    signing: Option<signing::Setting>,
}

/// One `[[endpoint]]`. Values are checked while they are read, so that an error has its line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(default, deserialize_with = "fields::prefix")]
    url: Option<Match>,
    #[serde(default, deserialize_with = "fields::host")]
    host: Option<Match>,
    max_in_flight: Option<usize>,
    #[serde(default, deserialize_with = "fields::rate")]
    rate: Option<Duration>,
    #[serde(default, deserialize_with = "fields::timeout")]
    timeout: Option<Duration>,
    #[serde(default, deserialize_with = "fields::pauses")]
    retry_schedule: Option<Vec<Duration>>,
    max_attempts: Option<u32>,
    #[serde(default, deserialize_with = "fields::max_age")]
    max_age: Option<Duration>,
    #[serde(default, deserialize_with = "fields::header_table")]
    headers: Headers,
    #[serde(default, deserialize_with = "fields::method")]
    method: Option<Method>,
    #[serde(default, deserialize_with = "fields::user_agent")]
    user_agent: Option<HeaderValue>,
    ca_file: Option<String>,
    #[serde(default, deserialize_with = "signing::setting")]
    signing: Option<signing::Setting>,
    #[serde(default)]
    disabled: bool,
}

/// Reads the files that rules name. The errors do not name the file.
#[derive(Clone, Copy)]
pub struct Readers<'a> {
    pub authorities: &'a dyn Fn(&str) -> Result<Authorities, String>,
    pub secret: &'a dyn Fn(&str) -> Result<Secret, String>,
}

/// Reads rules; `name` tells by its ending whether they are JSON. The error is one line, with
/// the place and what is allowed. `signing`: how deliveries are signed where the file says nothing of
/// it.
pub fn parse(
    text: &str,
    name: &str,
    bounds: &Bounds,
    readers: Readers<'_>,
    signing: Option<Arc<Signing>>,
) -> Result<Rules, String> {
    let (entries, set) = read(text, name.ends_with(".json"))?;
    let signing = match set {
        Some(setting) => setting.resolve(readers).map_err(|e| one_line(&e))?,
        None => signing,
    };
    let rules: Result<Vec<Rule>, String> = (1..)
        .zip(entries)
        .map(|(n, (line, entry))| {
            let rule = entry.rule(bounds, signing.as_ref(), readers);
            rule.map_err(|e| format!("{line}endpoint {n}: {}", one_line(&e)))
        })
        .collect();
    let mut rules = Rules::new(rules?);
    rules.sign_rest(signing);
    Ok(rules)
}

/// The endpoints, each with its place for errors, and what `signing` says for all.
type Contents = (Vec<(String, Entry)>, Option<signing::Setting>);

fn read(text: &str, is_json: bool) -> Result<Contents, String> {
    if is_json {
        let file: File<Entry> = serde_json::from_str(text).map_err(|e| one_line(&e))?;
        let entries = file.endpoint.into_iter();
        return Ok((entries.map(|e| (String::new(), e)).collect(), file.signing));
    }
    let line = |at: usize| format!("line {}: ", text[..at].matches('\n').count() + 1);
    let file: File<Spanned<Entry>> = toml::from_str(text).map_err(|e| {
        let line = e.span().map(|s| line(s.start)).unwrap_or_default();
        format!("{line}{}", one_line(&e.message()))
    })?;
    let entries = file.endpoint.into_iter();
    let entries = entries.map(|e| (line(e.span().start), e.into_inner()));
    Ok((entries.collect(), file.signing))
}

impl Entry {
    fn rule(
        self,
        bounds: &Bounds,
        signing: Option<&Arc<Signing>>,
        readers: Readers<'_>,
    ) -> Result<Rule, String> {
        let matches = match (self.url, self.host) {
            (Some(url), None) => url,
            (None, Some(host)) => host,
            _ => return Err("it must have either url or host".into()),
        };
        if let Some(n) = self
            .max_in_flight
            .filter(|n| *n == 0 || *n > bounds.workers)
        {
            let most = bounds.workers;
            return Err(format!(
                "max_in_flight {n}: it must be 1 to {most} (--workers)"
            ));
        }
        if let Some(timeout) = self.timeout.filter(|t| *t > bounds.timeout) {
            let (got, most) = (
                humantime::format_duration(timeout),
                humantime::format_duration(bounds.timeout),
            );
            return Err(format!(
                "timeout {got}: it must be at most {most} (an hour, and a third of --lease)"
            ));
        }
        let schedule = match (self.retry_schedule, self.max_attempts) {
            (Some(_), Some(_)) => {
                return Err("retry_schedule and max_attempts exclude each other".into());
            }
            (None, Some(n)) if n == 0 || n > MAX_ATTEMPTS => {
                return Err(format!("max_attempts {n}: it must be 1 to {MAX_ATTEMPTS}"));
            }
            (None, Some(attempts)) => Some(RetrySchedule {
                attempts,
                ..bounds.schedule.clone()
            }),
            (Some(list), None) => Some(RetrySchedule::list(list, bounds.schedule.jitter)),
            (None, None) => None,
        };
        let read =
            |path: &String| (readers.authorities)(path).map_err(|e| format!("ca_file {path}: {e}"));
        let timeout = self.timeout.unwrap_or(bounds.usual_timeout);
        let longest = schedule
            .as_ref()
            .unwrap_or(&bounds.schedule)
            .longest(timeout);
        let asked = self.max_age.unwrap_or(bounds.max_age);
        Ok(Rule {
            authorities: self.ca_file.as_ref().map(read).transpose()?,
            signing: match self.signing {
                Some(setting) => setting.resolve(readers)?,
                None => signing.cloned(),
            },
            max_age: Some(asked.max(longest)),
            max_age_raised: longest > asked,
            matches,
            max_in_flight: self.max_in_flight,
            pace: self.rate,
            timeout: self.timeout,
            schedule,
            headers: self.headers,
            method: self.method,
            user_agent: self.user_agent,
            disabled: self.disabled,
        })
    }
}

/// The longest error, in characters: parsers repeat names and values, however long.
const MAX_ERROR: usize = 500;

/// An error on one line, without what a terminal would take for more than text.
fn one_line(e: &impl Display) -> String {
    let text = e.to_string();
    let plain: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let words: Vec<&str> = plain.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(MAX_ERROR) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backoff::Delays;
    use crate::endpoint::Endpoint;

    fn read_rules(text: &str) -> Result<Rules, String> {
        let second = Duration::from_secs(1);
        let bounds = Bounds {
            schedule: RetrySchedule {
                attempts: 5,
                delays: Delays::Doubling {
                    base: second,
                    max: second,
                },
                jitter: 0.0,
            },
            timeout: 20 * second,
            usual_timeout: 15 * second,
            max_age: 86_400 * second,
            workers: 128,
        };
        let name = if text.starts_with('{') {
            "a.json"
        } else {
            "a.toml"
        };
        let readers = Readers {
            authorities: &|_| Err("it is not there".into()),
            secret: &|_| Err("it is not there".into()),
        };
        parse(text, name, &bounds, readers, None)
    }

    #[test]
    fn the_first_rule_that_matches_holds() {
        let text = r#"
            [[endpoint]]
            url = "https://A.example/hooks"
            max_in_flight = 4
            rate = "600/m"
            timeout = "5s"
            retry_schedule = "5s,1m"
            headers = { "X-B" = "2" }
            method = "PUT"
            user_agent = "acme/1"

            [[endpoint]]
            host = "*.example"
            max_attempts = 8
            disabled = true
        "#;
        let rules = read_rules(text).unwrap();
        let find = |url: &str| rules.find(&Endpoint::parse(url).unwrap()).cloned();
        let first = find("https://a.example/hooks/1").unwrap();
        assert_eq!(
            (first.max_in_flight, first.pace),
            (Some(4), Some(Duration::from_millis(100)))
        );
        assert_eq!(first.schedule.as_ref().unwrap().attempts, 3);
        assert!(first.lane().is_some() && !first.disabled);
        let second = find("https://a.example/other").unwrap();
        assert_eq!(second.schedule.as_ref().unwrap().attempts, 8);
        assert!(second.lane().is_none() && second.disabled);
        assert!(find("https://a.example.evil/hooks").is_none());
        assert!(find("https://example/").is_none());
        assert!(
            read_rules("")
                .unwrap()
                .find(&Endpoint::parse("http://h/").unwrap())
                .is_none()
        );
        // A rule is for all spellings of what it names, and for no other path.
        let spelled =
            r#"{"endpoint":[{"url":"HTTP://H.:80/a b/../it's"},{"host":"*.B.Example."}]}"#;
        let spelled = read_rules(spelled).unwrap();
        let find = |url: &str| spelled.find(&Endpoint::parse(url).unwrap()).is_some();
        assert!(find("http://h/a%20b/../it's?x") && find("http://h./a b/../it's"));
        assert!(!find("http://h/it's") && !find("http://h/a%20b/../it%27s"));
        assert!(find("http://c.b.example/") && find("http://c.b.example./"));
        let json = read_rules(r#"{"endpoint":[{"host":"h","rate":"10/s"}]}"#).unwrap();
        assert!(json.find(&Endpoint::parse("http://h/").unwrap()).is_some());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, words) in [
            ("[[endpoint]]\nurl = \"x\"", &["line 2", "\"x\""][..]),
            (
                "[[endpoint]]\nurl = \"http://h\"\nrate = \"5\"",
                &["line 3", "100/s"],
            ),
            (
                "[[endpoint]]\nurl = \"http://h\"\nrate = \"0/s\"",
                &["line 3"],
            ),
            (
                "[[endpoint]]\nurl = \"http://h\"\nrate = \"4000000000/s\"",
                &["line 3", "at most 1000000/s"],
            ),
            ("[[endpoint]]\nhost = \"a/b\"", &["line 2", "host name"]),
            (
                "[[endpoint]]\nhost = \"h\"\nspeed = 3",
                &["line 3", "speed"],
            ),
            (
                "[[endpoint]]\nhost = \"h\"\ntimeout = \"1h\"",
                &["endpoint 1", "timeout", "20s"],
            ),
            (
                "[[endpoint]]\nhost = \"h\"\nmax_in_flight = 0",
                &["endpoint 1", "max_in_flight"],
            ),
            (
                "[[endpoint]]\nhost = \"h\"\nmethod = \"GET\"",
                &["line 3", "POST"],
            ),
            (
                "[[endpoint]]\nhost = \"h\"\nheaders = { Host = \"x\" }",
                &["line 3", "host"],
            ),
            (
                "[[endpoint]]\nhost = \"h\"\n\n[[endpoint]]\nrate = \"1/s\"",
                &["line 4", "endpoint 2", "url or host"],
            ),
            (
                "[[endpoint]]\nhost = \"h\"\nmax_attempts = 2\nretry_schedule = \"1s\"",
                &["exclude"],
            ),
            ("[[endpoint]\n", &["line 1"]),
            (
                "{\"endpoint\":[{\"host\":\"h\",\"rate\":1}]}",
                &["line 1", "column"],
            ),
        ] {
            let error = read_rules(text).expect_err(text);
            for word in words {
                assert!(error.contains(word), "{text}: {error}");
            }
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn an_error_is_one_short_line_whatever_it_repeats() {
        let long = format!("[[endpoint]]\nhost = \"h\"\n{} = 1", "x".repeat(10_000));
        for text in [
            "[[endpoint]]\nhost = \"h\"\n\"a\\u001b[2J\\nb\" = 1",
            "[[endpoint]]\nhost = \"h\"\nca_file = \"a\\u001b[2J\\nb\"",
            "{\"endpoint\":[{\"\\u001b[2J\\n\\u0085\":1}]}",
            &long,
        ] {
            let error = read_rules(text).expect_err(text);
            assert!(!error.contains(char::is_control), "{error:?}");
            assert!(error.chars().count() < 600, "{error}");
        }
    }
}
