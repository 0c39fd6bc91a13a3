//! Where exchanges go: through which proxy, whom they trust there, and which connections they may share.
//!
//! Owns one store of trusted certificates for each set that rules name. Never blocks but for the lock
//! of these.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::delivery::FailureKind;
use crate::delivery::rules::EndpointRule;
use crate::http::exchange::Target;
use crate::http::failure::Failure;
use crate::http::proxy::Gate;
use crate::http::tls::TrustStore;
use crate::message::endpoint::Endpoint;
use crate::trust::authorities::Authorities;
use crate::trust::egress::Egress;
use crate::trust::login::Identity;

/// See the module's header.
pub struct Targets {
    egress: Egress,
    /// The proxy, if there is one.
    gate: Option<Arc<Gate>>,
    trust: Arc<TrustStore>,
    /// What rules trust instead, by the fingerprint of their authorities.
    own: Mutex<HashMap<u64, Arc<TrustStore>>>,
    public_authorities: bool,
}

impl Targets {
    /// The error says which certificate cannot be used.
    pub fn new(
        egress: Egress,
        authorities: Option<&Authorities>,
        public_authorities: bool,
    ) -> Result<Targets, String> {
        let trust = TrustStore::new(public_authorities, authorities)?;
        Ok(Targets {
            gate: Gate::of(&egress, &trust),
            egress,
            trust: Arc::new(trust),
            own: Mutex::default(),
            public_authorities,
        })
    }

    /// The proxy, if there is one.
    pub fn gate(&self) -> Option<&Arc<Gate>> {
        self.gate.as_ref()
    }

    /// Where an exchange with `endpoint` by this rule goes.
    pub fn target(
        &self,
        endpoint: &Arc<Endpoint>,
        rule: Option<&EndpointRule>,
        insecure: bool,
    ) -> Result<Target, Failure> {
        let gate = self.gate().filter(|_| !self.egress.is_direct(endpoint));
        let own = rule.and_then(|rule| rule.authorities.as_ref());
        let identity = rule.and_then(|rule| rule.login.as_ref()?.identity.as_ref());
        let usual = Target {
            key: endpoint.origin.clone(),
            trust: self.trust.clone(),
            identity: None,
            insecure: false,
            gate: gate.cloned(),
            guard: rule.and_then(|rule| rule.guard.clone()),
            endpoint: endpoint.clone(),
        };
        let mark = tls_mark(own, identity, insecure).filter(|_| endpoint.is_https());
        let Some(mark) = mark else {
            return Ok(usual);
        };
        Ok(Target {
            // Others do not trust the server that answers there, or are somebody else to it.
            key: format!("{} {mark}", endpoint.origin).into(),
            trust: own.map_or_else(|| Ok(self.trust.clone()), |own| self.trust_in(own))?,
            identity: identity.cloned(),
            insecure,
            ..usual
        })
    }

    fn trust_in(&self, authorities: &Authorities) -> Result<Arc<TrustStore>, Failure> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(trust) = own.get(&authorities.fingerprint()) {
            return Ok(trust.clone());
        }
        let trust = TrustStore::new(self.public_authorities, Some(authorities));
        let trust = Arc::new(trust.map_err(|e| Failure::new(FailureKind::Tls, e))?);
        own.insert(authorities.fingerprint(), trust.clone());
        Ok(trust)
    }
}

/// Tells the connections apart that must not be shared: by whom we trust there, and who we are to
/// the server. `None` where both are as everywhere.
fn tls_mark(
    own: Option<&Authorities>,
    identity: Option<&Identity>,
    insecure: bool,
) -> Option<String> {
    if own.is_none() && identity.is_none() && !insecure {
        return None;
    }
    let shown = |print: Option<u64>| print.map_or("-".into(), |print| format!("{print:x}"));
    let verified = if insecure { " unverified" } else { "" };
    Some(format!(
        "{} {}{verified}",
        shown(own.map(Authorities::fingerprint)),
        shown(identity.map(Identity::fingerprint)),
    ))
}
