//! Tokens: fetched from their token endpoints as messages are delivered, by the same connections,
//! deadlines and rules. One message of all that need a token fetches it; the others come again.

use std::io::Read;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use log::{debug, warn};
use ureq::Error;
use ureq::http::{HeaderValue, Request, header};

use super::answer::retry_after;
use super::sender::Sender;
use crate::delivery::rules::EndpointRule;
use crate::delivery::{FailureKind, Job};
use crate::http::exchange::Exchange;
use crate::http::failure::{Failure, kind_and_text, other, short, without};
use crate::http::request;
use crate::trust::authorities::Authorities;
use crate::trust::guard::Guard;
use crate::trust::login::{Grant, Identity, OAuth2, Step, Token, Tokens};

/// The longest answer of a token endpoint.
const MAX_ANSWER: u64 = 64 * 1024;

/// While there is a token that is still good, nobody waits for longer for the next.
const SPARE_TIME: Duration = Duration::from_secs(5);

type Shared = Arc<Mutex<Tokens>>;

/// A grant, and the tokens that its rules share.
struct Known {
    grant: Arc<Grant>,
    manner: Manner,
    tokens: Shared,
}

/// How a rule has its tokens fetched. Where that differs, a failure of one is none of another, and a
/// token may be bound to a certificate that only one of them has (RFC 8705).
#[derive(PartialEq)]
struct Manner {
    authorities: Option<u64>,
    identity: Option<u64>,
    guard: Option<Arc<Guard>>,
    timeout: Option<Duration>,
}

impl Manner {
    fn of(rule: Option<&EndpointRule>) -> Manner {
        let identity = rule.and_then(|rule| rule.login.as_ref()?.identity.as_ref());
        let authorities = rule.and_then(|rule| rule.authorities.as_ref());
        Manner {
            authorities: authorities.map(Authorities::fingerprint),
            identity: identity.map(Identity::fingerprint),
            guard: rule.and_then(|rule| rule.guard.clone()),
            timeout: rule.and_then(|rule| rule.timeout),
        }
    }
}

/// What a token endpoint has answered.
struct Answer {
    status: u16,
    retry_after: Option<Duration>,
    body: Vec<u8>,
}

/// A fetch under way. If it ends without a report, by a defect, others may fetch.
struct Flight<'a> {
    tokens: &'a Mutex<Tokens>,
    has_reported: bool,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if !self.has_reported {
            lock(self.tokens).abandoned();
        }
    }
}

/// The tokens of all grants.
#[derive(Default)]
pub struct TokenFetcher {
    grants: Mutex<Vec<Known>>,
}

impl TokenFetcher {
    /// A token that is good, and not the one that was refused. It holds a worker only if that one fetches
    /// it.
    #[inline(never)]
    pub fn token(
        &self,
        sender: &Sender,
        oauth2: &OAuth2,
        job: &Job,
        begun: Instant,
        refused: Option<&Token>,
    ) -> Result<Token, Failure> {
        let (shared, grant) = (self.tokens(oauth2, job), &oauth2.grant);
        let step = lock(shared).next(refused, Instant::now());
        match step {
            Step::Use(token) => Ok(token),
            Step::Failed(text) => Err(Failure::new(FailureKind::Login, text)),
            Step::Wait(again) => Err(wait_for_token(sender, grant, job, (begun, again))),
            Step::Fetch(spare) => {
                let mut flight = Flight {
                    tokens: shared,
                    has_reported: false,
                };
                let result = fetch(sender, grant, job, begun, spare.is_some());
                let token = settle(grant, shared, result);
                flight.has_reported = true;
                match (token, spare) {
                    // The time that is left may not be enough for an endpoint that is not to blame.
                    (Ok(_), _)
                        if job.delivery.token_asked.is_none()
                            && begun.elapsed() > sender.limit(job) / 2 =>
                    {
                        let again = Duration::ZERO;
                        let text = format!("the token from {} came late", grant.shown());
                        Err(Failure::new(FailureKind::Tokenless { again }, text))
                    }
                    (Ok(token), _) | (Err(_), Some(token)) => Ok(token),
                    (Err(e), None) => Err(e),
                }
            }
        }
    }

    /// The endpoint has answered 401 to `token`. Whether it is worth trying again.
    pub fn refuse(&self, oauth2: &OAuth2, job: &Job, token: &Token) -> bool {
        lock(self.tokens(oauth2, job)).refused(token, Instant::now())
    }

    /// The tokens of a grant, also where the file has been read again since.
    fn tokens<'a>(&self, oauth2: &'a OAuth2, job: &Job) -> &'a Mutex<Tokens> {
        oauth2.tokens.get_or_init(|| {
            let mut grants = self.grants.lock().unwrap_or_else(PoisonError::into_inner);
            let manner = Manner::of(job.rule.as_deref());
            let is_same = |known: &&Known| known.grant == oauth2.grant && known.manner == manner;
            if let Some(known) = grants.iter().find(is_same) {
                return known.tokens.clone();
            }
            // Of what no rule names any more, nothing is kept.
            grants.retain(|known| Arc::strong_count(&known.tokens) > 1);
            let tokens = Shared::default();
            grants.push(Known {
                grant: oauth2.grant.clone(),
                manner,
                tokens: tokens.clone(),
            });
            tokens
        })
    }
}

fn wait_for_token(
    sender: &Sender,
    grant: &Grant,
    job: &Job,
    (begun, again): (Instant, Duration),
) -> Failure {
    let (endpoint, limit) = (grant.shown(), sender.usual_limit(job));
    let left = limit.saturating_sub(job.delivery.token_asked.unwrap_or(begun).elapsed());
    if left.is_zero() {
        let limit = short(limit);
        let text = format!("token endpoint {endpoint}: no token within {limit}");
        return Failure::new(FailureKind::Login, text);
    }
    let again = again.min(left);
    let text = format!("a token is being fetched from {endpoint}");
    Failure::new(FailureKind::Tokenless { again }, text)
}

/// Asks the token endpoint, for as long as an attempt may take where the message says nothing of
/// it: others want the token too.
fn fetch(
    sender: &Sender,
    grant: &Grant,
    job: &Job,
    begun: Instant,
    has_spare: bool,
) -> Result<Answer, Error> {
    let rule = job.rule.as_deref();
    let (from, most) = match has_spare {
        true => (Instant::now(), SPARE_TIME.min(sender.limit(job) / 3)),
        false => (begun, sender.usual_limit(job)),
    };
    let body = grant.body();
    let make = |may_reuse| {
        let request = build(grant, body.expose().as_bytes())?;
        // The secret goes to nobody who is not verified, whatever holds for the endpoint.
        let to = sender.targets.target(&grant.endpoint, rule, false);
        let exchange = Exchange {
            shared: sender.shared.clone(),
            to: to.map_err(other)?,
            begun: from,
            end: from + most,
            asked: job.delivery.token_asked.unwrap_or(begun),
            may_reuse,
            wants_body: true,
            expected: request::size(&request),
        };
        Ok((request, exchange))
    };
    let response = sender
        .send(make)
        .map_err(|e| without(e, Some(&grant.redactor())))?;
    let retry_after = retry_after(&response);
    let (status, mut body) = (response.status().as_u16(), Vec::new());
    let reader = response.into_body().into_reader();
    let read = reader.take(MAX_ANSWER + 1).read_to_end(&mut body);
    let wrong = |text: String| Err(other(Failure::new(FailureKind::Login, text)));
    match read {
        Ok(n) if n as u64 > MAX_ANSWER => wrong(format!(
            "answered {status} with more than {} KiB",
            MAX_ANSWER / 1024
        )),
        Err(_) => wrong(format!("answered {status}, but its body broke off")),
        Ok(_) => Ok(Answer {
            status,
            retry_after,
            body,
        }),
    }
}

/// Notes what a fetch came to, for all messages that wait for it.
fn settle(
    grant: &Grant,
    shared: &Mutex<Tokens>,
    result: Result<Answer, Error>,
) -> Result<Token, Failure> {
    let endpoint = grant.shown();
    let (text, wish) = match result {
        Ok(answer) => match grant.read(answer.status, &answer.body) {
            Ok(granted) => {
                if let Some(odd) = &granted.odd {
                    warn!("token endpoint {endpoint}: {odd}");
                }
                debug!("token endpoint {endpoint}: a token for {:?}", granted.life);
                return Ok(lock(shared).granted(granted, Instant::now()));
            }
            Err(text) => (
                format!("token endpoint {endpoint} {text}"),
                answer.retry_after,
            ),
        },
        Err(e) => match kind_and_text(&e) {
            (kind, text) if kind.postponed().is_some() => {
                // Nobody is to blame, and the next one may have more luck.
                let text = format!("token endpoint {endpoint}: {text}");
                lock(shared).abandoned();
                // For the token a message waits apart from the name of its endpoint.
                let kind = match kind {
                    FailureKind::Unresolved { again } => FailureKind::Tokenless { again },
                    kind => kind,
                };
                return Err(Failure::new(kind, text));
            }
            (FailureKind::Login, text) => (format!("token endpoint {endpoint} {text}"), None),
            (_, text) => (format!("token endpoint {endpoint}: {text}"), None),
        },
    };
    lock(shared).failed(text.clone(), wish, Instant::now());
    Err(Failure::new(FailureKind::Login, text))
}

fn build<'a>(grant: &Grant, body: &'a [u8]) -> Result<Request<&'a [u8]>, Error> {
    let mut request = Request::post(grant.endpoint.uri.clone());
    let headers = request.headers_mut().expect("a vetted URI");
    let form = HeaderValue::from_static("application/x-www-form-urlencoded");
    headers.insert(header::CONTENT_TYPE, form);
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    let login = grant.authorization();
    let login = login.map_err(|e| other(Failure::new(FailureKind::Login, e)))?;
    if let Some(login) = login {
        headers.insert(header::AUTHORIZATION, login);
    }
    request.body(body).map_err(Error::Http)
}

fn lock(tokens: &Mutex<Tokens>) -> MutexGuard<'_, Tokens> {
    tokens.lock().unwrap_or_else(PoisonError::into_inner)
}
