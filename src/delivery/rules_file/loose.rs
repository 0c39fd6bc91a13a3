//! A value of a file, whatever it is: its text is taken for a secret, and no error shows it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::trust::secret::Secret;

/// How the toml crate hands over a time without quotes.
const TOML_TIME: &str = "$__toml_private_datetime";

#[derive(Debug)]
pub enum Loose {
    Bool(bool),
    /// A time in TOML too.
    Text(Secret),
    List(Vec<Loose>),
    Table(Vec<(String, Loose)>),
    /// A number, or null.
    Other,
}

impl Loose {
    pub fn text(self, name: &str) -> Result<Secret, String> {
        match self {
            Loose::Text(text) => Ok(text),
            _ => Err(format!("{name} must be a string")),
        }
    }

    pub fn table(self, name: &str) -> Result<Vec<(String, Loose)>, String> {
        match self {
            Loose::Table(table) => Ok(table),
            _ => Err(format!("{name} must be a table")),
        }
    }

    pub fn list(self, name: &str) -> Result<Vec<Loose>, String> {
        match self {
            Loose::List(list) => Ok(list),
            _ => Err(format!("{name} must be a list")),
        }
    }
}

impl<'de> Deserialize<'de> for Loose {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Loose, D::Error> {
        d.deserialize_any(LooseVisitor)
    }
}

struct LooseVisitor;

impl<'de> Visitor<'de> for LooseVisitor {
    type Value = Loose;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Loose, E> {
        Ok(Loose::Bool(value))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Loose, E> {
        Ok(Loose::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Loose, E> {
        Ok(Loose::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Loose, E> {
        Ok(Loose::Other)
    }

    fn visit_unit<E>(self) -> Result<Loose, E> {
        Ok(Loose::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Loose, E> {
        Ok(Loose::Text(Secret::new(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Loose, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = seq.next_element()? {
            list.push(value);
        }
        Ok(Loose::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Loose, A::Error> {
        let mut table: Vec<(String, Loose)> = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, Loose>()? {
            if name == TOML_TIME {
                return Ok(value);
            }
            if table.iter().any(|(n, _)| *n == name) {
                return Err(serde::de::Error::custom("a name stands twice in a table"));
            }
            table.push((name, value));
        }
        Ok(Loose::Table(table))
    }
}
