//! Sends a request in an exchange, by an agent of ureq.
//!
//! Blocks until the exchange's deadline at the longest.

use std::sync::Arc;
use std::time::Duration;

use ureq::config::Config;
use ureq::http::{Request, Response};
use ureq::{Agent, Body, Error};

use super::targets::Targets;
use crate::delivery::Job;
use crate::http::exchange::{Exchange, NoLookup, Shared};
use crate::http::failure::failure_in;
use crate::http::request;

/// A request, and the exchange that it is sent in.
pub type Ready<'a> = (Request<&'a [u8]>, Exchange);

/// See the module's header.
pub struct Sender {
    /// ureq's part: no timeouts, no pool, no proxy, no redirects.
    config: Config,
    pub shared: Arc<Shared>,
    pub targets: Targets,
    timeout: Duration,
}

impl Sender {
    pub fn new(shared: Arc<Shared>, targets: Targets, timeout: Duration) -> Sender {
        Sender {
            config: request::agent_config(),
            shared,
            targets,
            timeout,
        }
    }

    /// Sends what `make` makes, which is told whether a kept connection may be used. Where that turns out
    /// to be closed, it is sent once more.
    pub fn send<'a>(
        &self,
        make: impl Fn(bool) -> Result<Ready<'a>, Error>,
    ) -> Result<Response<Body>, Error> {
        match self.send_once(make(true)?) {
            Err(e) if failure_in(&e).is_some_and(|f| f.stale) => self.send_once(make(false)?),
            response => response,
        }
    }

    fn send_once(&self, (request, exchange): Ready<'_>) -> Result<Response<Body>, Error> {
        // An agent of its own carries the exchange to the transport, and costs less than ureq's
        // pool, which recounts all its connections several times a request.
        let gate = exchange.to.gate.clone();
        Agent::with_parts(self.config.clone(), exchange, NoLookup)
            .run(request)
            .map_err(|e| match gate {
                Some(gate) => gate.monitor.name_in(e),
                None => e,
            })
    }

    /// How long an attempt may take whose message does not ask for less.
    pub fn usual_limit(&self, job: &Job) -> Duration {
        let rule = job.rule.as_ref().and_then(|rule| rule.timeout);
        rule.unwrap_or(self.timeout)
    }

    /// How long the attempt may take. A message may ask for less time, not for more.
    pub fn limit(&self, job: &Job) -> Duration {
        let most = self.usual_limit(job);
        let wish = job.delivery.message.overrides.timeout;
        wish.map_or(most, |wish| wish.min(most))
    }
}
