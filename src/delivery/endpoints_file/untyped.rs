//! A value of any type: its text counts as a secret, and no error shows it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::trust::secret::Secret;

/// How the toml crate hands over a time without quotes.
const TOML_TIME: &str = "$__toml_private_datetime";

#[derive(Debug)]
pub enum Untyped {
    Bool(bool),
    /// A time in TOML too.
    Text(Secret),
    List(Vec<Untyped>),
    Table(Vec<(String, Untyped)>),
    /// A number, or null.
    Other,
}

impl Untyped {
    pub fn text(self, name: &str) -> Result<Secret, String> {
        match self {
            Untyped::Text(text) => Ok(text),
            _ => Err(format!("{name} must be a string")),
        }
    }

    pub fn table(self, name: &str) -> Result<Vec<(String, Untyped)>, String> {
        match self {
            Untyped::Table(table) => Ok(table),
            _ => Err(format!("{name} must be a table")),
        }
    }

    pub fn list(self, name: &str) -> Result<Vec<Untyped>, String> {
        match self {
            Untyped::List(list) => Ok(list),
            _ => Err(format!("{name} must be a list")),
        }
    }
}

impl<'de> Deserialize<'de> for Untyped {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Untyped, D::Error> {
        d.deserialize_any(UntypedVisitor)
    }
}

struct UntypedVisitor;

impl<'de> Visitor<'de> for UntypedVisitor {
    type Value = Untyped;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Untyped, E> {
        Ok(Untyped::Bool(value))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Untyped, E> {
        Ok(Untyped::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Untyped, E> {
        Ok(Untyped::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Untyped, E> {
        Ok(Untyped::Other)
    }

    fn visit_unit<E>(self) -> Result<Untyped, E> {
        Ok(Untyped::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Untyped, E> {
        Ok(Untyped::Text(Secret::new(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Untyped, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = seq.next_element()? {
            list.push(value);
        }
        Ok(Untyped::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Untyped, A::Error> {
        let mut table: Vec<(String, Untyped)> = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, Untyped>()? {
            if name == TOML_TIME {
                return Ok(value);
            }
            if table.iter().any(|(n, _)| *n == name) {
                return Err(serde::de::Error::custom("a name stands twice in a table"));
            }
            table.push((name, value));
        }
        Ok(Untyped::Table(table))
    }
}
