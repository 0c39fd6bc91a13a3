//! Values of the endpoints file that may be secrets: errors do not repeat them.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use crate::trust::secret::Secret;

/// A value that no error repeats. serde's own errors would repeat a value of the wrong type, such
/// as a password without its quotes or in the place of a table.
pub struct Confidential<T>(pub T);

/// What may stand there.
pub trait Kind: Sized {
    const WANTED: &str;

    fn of_text(_: &str) -> Option<Self> {
        None
    }

    fn of_table<'de, A: MapAccess<'de>>(_: A) -> Result<Self, A::Error> {
        Err(A::Error::custom(wanted::<Self>()))
    }
}

fn wanted<T: Kind>() -> String {
    format!("it must be {}", T::WANTED)
}

impl Kind for Secret {
    const WANTED: &str = "a text in quotes";

    fn of_text(text: &str) -> Option<Secret> {
        Some(Secret::new(text.to_owned()))
    }
}

impl<'de, T: Kind> Deserialize<'de> for Confidential<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Confidential<T>, D::Error> {
        d.deserialize_any(Look(PhantomData))
    }
}

struct Look<T>(PhantomData<T>);

impl<'de, T: Kind> Visitor<'de> for Look<T> {
    type Value = Confidential<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::WANTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Confidential<T>, E> {
        let made = T::of_text(text).ok_or_else(|| E::custom(wanted::<T>()));
        made.map(Confidential)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Confidential<T>, A::Error> {
        T::of_table(map).map(Confidential)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Confidential<T>, E> {
        Err(E::custom(wanted::<T>()))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Confidential<T>, E> {
        Err(E::custom(wanted::<T>()))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Confidential<T>, E> {
        Err(E::custom(wanted::<T>()))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Confidential<T>, E> {
        Err(E::custom(wanted::<T>()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_error_holds_what_stood_there() {
        let read = |text: &str| {
            toml::from_str::<std::collections::BTreeMap<String, Confidential<Secret>>>(text)
        };
        let secret = &read("a = \"123456\"").unwrap()["a"];
        assert_eq!(secret.0.expose(), "123456");
        for wrong in [
            "123456",
            "-123456",
            "1234.56",
            "[123456]",
            "{ b = 123456 }",
            "true",
            "2026-11-12",
            "s123456",
            "{ s123456 = 1 }",
        ] {
            let error = read(&format!("a = {wrong}")).err().expect(wrong);
            assert!(
                !error.message().contains("1234"),
                "{wrong}: {}",
                error.message()
            );
            let json = serde_json::from_str::<Confidential<Secret>>(wrong)
                .err()
                .expect(wrong);
            assert!(!json.to_string().contains("1234"), "{wrong}: {json}");
        }
    }
}
