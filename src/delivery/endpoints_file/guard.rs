//! The keys of an `[[endpoint]]` table that set the address guard.

use std::mem::take;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;

use super::EndpointTable;
use crate::trust::guard::{Changes, Cidr, Guard, PortRule, Ports};

pub fn cidrs<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Cidr>, D::Error> {
    list(d)
}

pub fn ports<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Ports>, D::Error> {
    let rules: Vec<PortRule> = list(d)?;
    match rules.is_empty() {
        true => Err(D::Error::custom(
            "allow_port is empty: leave it away, or name a port",
        )),
        false => Ok(Some(Ports::new(rules))),
    }
}

impl EndpointTable {
    /// The guard of a rule, if the rule changes the guard of the options.
    pub(super) fn guard(&mut self, usual: &Arc<Guard>) -> Result<Option<Arc<Guard>>, String> {
        let own = usual.with(Changes {
            allow: take(&mut self.allow_cidr),
            deny: take(&mut self.deny_cidr),
            ports: self.allow_port.take(),
            https_only: self.https_only,
        });
        // An operator who asks for HTTPS does not want an unverified receiver either.
        if self.insecure_tls && (usual.is_https_only() || own.is_https_only()) {
            return Err(
                "insecure_tls: certificates are to be verified where --https-only is set \
                        (or https_only in the rule); leave one of the two away"
                    .into(),
            );
        }
        Ok((own != **usual).then(|| Arc::new(own)))
    }
}

/// One value or several: a text, or a number.
fn list<'de, D: Deserializer<'de>, T: FromStr<Err = String>>(d: D) -> Result<Vec<T>, D::Error> {
    let values = match Value::deserialize(d)? {
        Value::Array(values) => values,
        value => vec![value],
    };
    let read = |value: &Value| {
        let text = match value {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        text.parse()
            .map_err(|e: String| D::Error::custom(format!("{value}: {e}")))
    };
    values.iter().map(read).collect()
}
