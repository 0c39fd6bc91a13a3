//! The endpoints file: rules as an operator writes them, in TOML or JSON. Pure: the caller reads
//! the file.

mod confidential;
mod guard;
mod login;
mod signing;
mod untyped;
mod values;

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method};
use serde::Deserialize;
use toml::Spanned;

use crate::delivery::retry_schedule::RetrySchedule;
use crate::delivery::rules::{Defaults, EndpointRule, EndpointRules, Match};
use crate::message::MAX_ATTEMPTS;
use crate::message::endpoint::Endpoint;
use crate::message::headers::Headers;
use crate::message::printable::printable;
use crate::trust::authorities::Authorities;
use crate::trust::guard::{Cidr, Guard, Ports};
use crate::trust::secret::{Secret, without_keys};
use crate::trust::signing::Signing;
use confidential::Confidential;

/// The limits and defaults that rules are checked against.
#[derive(Debug, Clone)]
pub struct Bounds {
    pub schedule: RetrySchedule,
    /// The longest timeout that a rule may set.
    pub timeout: Duration,
    /// The timeout where none is set.
    pub usual_timeout: Duration,
    /// How long messages wait at most, where no rule sets it.
    pub max_age: Duration,
    pub workers: usize,
    /// The guard where a rule sets none.
    pub guard: Arc<Guard>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File<E> {
    #[serde(default = "Vec::new")]
    endpoint: Vec<E>,
    #[serde(default, deserialize_with = "signing::setting")]
    signing: Option<signing::Setting>,
}

/// A table `[[endpoint]]`. Values are checked while they are read, so that an error has its line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EndpointTable {
    #[serde(default, deserialize_with = "values::prefix")]
    url: Option<Match>,
    #[serde(default, deserialize_with = "values::host")]
    host: Option<Match>,
    max_in_flight: Option<usize>,
    #[serde(default, deserialize_with = "values::rate")]
    rate: Option<Duration>,
    #[serde(default, deserialize_with = "values::timeout")]
    timeout: Option<Duration>,
    #[serde(default, deserialize_with = "values::delays")]
    retry_schedule: Option<Vec<Duration>>,
    max_attempts: Option<u32>,
    #[serde(default, deserialize_with = "values::max_age")]
    max_age: Option<Duration>,
    #[serde(default, deserialize_with = "values::header_table")]
    headers: Headers,
    #[serde(default, deserialize_with = "values::method")]
    method: Option<Method>,
    #[serde(default, deserialize_with = "values::user_agent")]
    user_agent: Option<HeaderValue>,
    ca_file: Option<String>,
    #[serde(default, deserialize_with = "signing::setting")]
    signing: Option<signing::Setting>,
    idempotency_key: Option<bool>,
    client_cert_file: Option<String>,
    client_key_file: Option<String>,
    bearer_token: Option<Confidential<Secret>>,
    bearer_token_file: Option<String>,
    basic: Option<Confidential<login::Basic>>,
    oauth2: Option<Confidential<login::OAuth2Table>>,
    #[serde(default)]
    insecure_tls: bool,
    #[serde(default, deserialize_with = "guard::cidrs")]
    allow_cidr: Vec<Cidr>,
    #[serde(default, deserialize_with = "guard::cidrs")]
    deny_cidr: Vec<Cidr>,
    #[serde(default, deserialize_with = "guard::ports")]
    allow_port: Option<Ports>,
    https_only: Option<bool>,
    #[serde(default)]
    disabled: bool,
}

/// Reads the files that rules name. The errors do not name the file.
#[derive(Clone, Copy)]
pub struct Readers<'a> {
    pub authorities: &'a dyn Fn(&str) -> Result<Authorities, String>,
    pub secret: &'a dyn Fn(&str) -> Result<Secret, String>,
}

/// Reads rules; if `name` ends in `.json`, they are JSON. The error is one line, with the place and
/// the values that are allowed. `defaults` hold where the file sets nothing.
pub fn parse(
    text: &str,
    name: &str,
    bounds: &Bounds,
    readers: Readers<'_>,
    mut defaults: Defaults,
) -> Result<EndpointRules, String> {
    let (tables, set) = read(text, name.ends_with(".json"))?;
    if let Some(setting) = set {
        defaults.signing = setting.resolve(readers).map_err(|e| one_line(&e))?;
    }
    let rules: Result<Vec<EndpointRule>, String> = (1..)
        .zip(tables)
        .map(|(n, (line, table))| {
            let rule = table.rule(bounds, &defaults, readers);
            rule.map_err(|e| format!("{line}endpoint {n}: {}", one_line(&e)))
        })
        .collect();
    let mut rules = EndpointRules::new(rules?);
    rules.set_defaults(defaults);
    Ok(rules)
}

/// How this text says that deliveries to `endpoint` are signed. The error is one line.
pub fn signing_for(
    text: &str,
    name: &str,
    endpoint: &Endpoint,
    readers: Readers<'_>,
) -> Result<Option<Arc<Signing>>, String> {
    let (tables, set) = read(text, name.ends_with(".json"))?;
    let is_for = |table: &EndpointTable| {
        let rule = table.url.as_ref().or(table.host.as_ref());
        rule.is_some_and(|rule| rule.covers(endpoint))
    };
    let own = tables.into_iter().find(|(_, table)| is_for(table));
    match own.and_then(|(_, table)| table.signing).or(set) {
        Some(setting) => setting.resolve(readers).map_err(|e| one_line(&e)),
        None => Ok(None),
    }
}

/// The tables, each with its place for errors, and the `signing` of the whole file.
type Contents = (Vec<(String, EndpointTable)>, Option<signing::Setting>);

fn read(text: &str, is_json: bool) -> Result<Contents, String> {
    if is_json {
        let file: File<EndpointTable> = serde_json::from_str(text).map_err(|e| one_line(&e))?;
        let tables = file.endpoint.into_iter();
        return Ok((tables.map(|e| (String::new(), e)).collect(), file.signing));
    }
    let line = |at: usize| format!("line {}: ", text[..at].matches('\n').count() + 1);
    let file: File<Spanned<EndpointTable>> = toml::from_str(text).map_err(|e| {
        let line = e.span().map(|s| line(s.start)).unwrap_or_default();
        format!("{line}{}", one_line(&e.message()))
    })?;
    if let Some(first) = file.endpoint.first() {
        find_late_signing(text, first.span().start)?;
    }
    let tables = file.endpoint.into_iter();
    let tables = tables.map(|e| (line(e.span().start), e.into_inner()));
    Ok((tables.collect(), file.signing))
}

/// A table `[signing]` behind an endpoint holds for the whole file, and hardly anyone means that.
fn find_late_signing(text: &str, first_endpoint: usize) -> Result<(), String> {
    let mut lines = text[first_endpoint..].lines();
    let is_table = |line: &str| line.starts_with("[signing]") || line.starts_with("[signing.");
    let Some(n) = lines.position(|line| is_table(line.trim_start())) else {
        return Ok(());
    };
    let before = text[..first_endpoint].matches('\n').count();
    Err(format!(
        "line {}: [signing] behind an endpoint would hold for all endpoints: write \
         [endpoint.signing] for that one, or put [signing] at the beginning of the file",
        before + n + 1
    ))
}

impl EndpointTable {
    fn rule(
        mut self,
        bounds: &Bounds,
        defaults: &Defaults,
        readers: Readers<'_>,
    ) -> Result<EndpointRule, String> {
        let matches = match (self.url.take(), self.host.take()) {
            (Some(url), None) => url,
            (None, Some(host)) => host,
            _ => return Err("it must have either url or host".into()),
        };
        let login = self.login(&matches, readers)?;
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
        let schedule = self.schedule(bounds)?;
        let read =
            |path: &String| (readers.authorities)(path).map_err(|e| format!("ca_file {path}: {e}"));
        let guard = self.guard(&bounds.guard)?;
        login::check_https_only(login.as_ref(), guard.as_ref().unwrap_or(&bounds.guard))?;
        let timeout = self.timeout.unwrap_or(bounds.usual_timeout);
        let longest = schedule
            .as_ref()
            .unwrap_or(&bounds.schedule)
            .longest(timeout);
        let asked = self.max_age.unwrap_or(bounds.max_age);
        Ok(EndpointRule {
            authorities: self.ca_file.as_ref().map(read).transpose()?,
            signing: self.signed(defaults.signing.as_ref(), login.as_ref(), readers)?,
            idempotency_key: self.idempotency_key.unwrap_or(defaults.idempotency_key),
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
            login: login.map(Arc::new),
            guard,
            disabled: self.disabled,
        })
    }

    fn schedule(&mut self, bounds: &Bounds) -> Result<Option<RetrySchedule>, String> {
        Ok(match (self.retry_schedule.take(), self.max_attempts) {
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
        })
    }
}

/// The longest error, in characters: parsers repeat names and values of any length.
const MAX_ERROR: usize = 500;

/// An error on one line, without control characters.
fn one_line(e: &impl Display) -> String {
    let text = without_keys(&e.to_string());
    let shown: String = printable(&text).collect();
    let words: Vec<&str> = shown.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(MAX_ERROR) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests;
