//! Builds the request of an attempt from its delivery, and tells ureq to leave it as it is. Pure.

pub mod head;
mod signer;

use ureq::Agent;
use ureq::Error;
use ureq::config::{AutoHeaderValue, Config};
use ureq::http::{HeaderName, HeaderValue, Method, Request, header};

use crate::delivery::Job;
use crate::trust::keyring::Keyring;

/// The `User-Agent` of every request that does not bring its own.
pub const USER_AGENT: &str = concat!("outhook/", env!("CARGO_PKG_VERSION"));

/// As ureq has it.
const ACCEPT: &str = "*/*";

/// What a head holds beside its URL and the headers that are set here: the names of `Host`,
/// `Accept`, `User-Agent` and `Content-Length`, and their values.
const OTHER_HEAD: usize = 160 + USER_AGENT.len();

/// ureq as we need it. Time is kept by the transport, and connections by its pool.
pub fn agent_config() -> Config {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .allow_non_standard_methods(true)
        // Not from the environment: a proxy would be asked to resolve the name.
        .proxy(None)
        .max_idle_connections(0)
        .user_agent(USER_AGENT)
        .accept(AutoHeaderValue::Default)
        .accept_encoding(AutoHeaderValue::None)
        .build()
}

/// The request of one attempt. The headers of the message win over those of its rule, and those
/// over ours; over all of them `login` does, as producers may be trusted less than the operator, and
/// a signature. `at`: Unix milliseconds of this attempt.
pub fn build<'a>(
    job: &'a Job,
    at: u64,
    login: Option<&HeaderValue>,
    keyring: Option<&Keyring>,
) -> Result<Request<&'a [u8]>, Error> {
    let (message, rule) = (&job.delivery.message, job.rule.as_deref());
    let method = rule.and_then(|rule| rule.method.as_ref());
    let method = method.unwrap_or(&Method::POST);
    let mut request = Request::post(message.endpoint.uri.clone()).method(method.clone());
    let headers = request.headers_mut().expect("a vetted URI");
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    if let Some(rule) = rule {
        for (name, value) in &rule.headers {
            headers.insert(name, value.clone());
        }
        if let Some(name) = &rule.user_agent {
            headers.insert(header::USER_AGENT, name.clone());
        }
    }
    let id = HeaderValue::from_str(&message.id).map_err(|e| Error::Http(e.into()))?;
    if rule.is_some_and(|rule| rule.idempotency_key) {
        headers.insert(HeaderName::from_static("idempotency-key"), id.clone());
    }
    for (name, value) in &message.headers {
        headers.insert(name, value.clone());
    }
    if let Some(login) = login {
        headers.insert(header::AUTHORIZATION, login.clone());
    }
    headers.insert(HeaderName::from_static("webhook-id"), id);
    // ureq would add them too late to be covered by a signature.
    for (name, usual) in [(header::ACCEPT, ACCEPT), (header::USER_AGENT, USER_AGENT)] {
        let value = HeaderValue::from_static(usual);
        headers.entry(name).or_insert(value);
    }
    signer::sign(job, keyring, (method, at), headers)?;
    request.body(message.data()).map_err(Error::Http)
}

/// About how many bytes a request has on the wire; never fewer.
pub fn size(request: &Request<&[u8]>) -> usize {
    let uri = request.uri();
    let target = uri.path_and_query().map_or(1, |p| p.as_str().len());
    let host = uri.authority().map_or(0, |a| a.as_str().len());
    let headers: usize = request
        .headers()
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    OTHER_HEAD + target + host + headers + request.body().len()
}
