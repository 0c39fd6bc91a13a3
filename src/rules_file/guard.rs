//! The keys of one `[[endpoint]]` that are the address guard's.

use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;

use crate::guard::{Changes, Cidr, Guard, PortRule, Ports};

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

/// The guard of a rule, if it is not that of the options.
pub fn build(
    usual: &Arc<Guard>,
    allow: Vec<Cidr>,
    deny: Vec<Cidr>,
    ports: Option<Ports>,
    https_only: Option<bool>,
) -> Option<Arc<Guard>> {
    let guard = usual.with(Changes {
        allow,
        deny,
        ports,
        https_only,
    });
    (guard != **usual).then(|| Arc::new(guard))
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
