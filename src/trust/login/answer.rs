//! The meaning of a token endpoint's response. Pure.

use std::time::Duration;

use serde_json::{Map, Value};

use super::header::sensitive;
use super::oauth2::Grant;
use super::redaction::Redactor;
use super::token::Granted;
use crate::message::printable::printable;
use crate::trust::secret::Secret;

/// The lifetime of a token that has no `expires_in`.
const USUAL_LIFE: Duration = Duration::from_secs(300);

/// A shorter lifetime counts as this, so that a token is not fetched for each message. If the
/// endpoint refuses it, it is renewed.
const LEAST_LIFE: Duration = Duration::from_secs(5);

/// The longest lifetime: a longer one is renewed anyway, at no cost.
const LONGEST_LIFE: Duration = Duration::from_secs(86_400);

/// At most this much of a token endpoint's error is repeated.
const MAX_ERROR: usize = 60;
const MAX_DESCRIPTION: usize = 160;

impl Grant {
    /// Reads a response of the token endpoint. The error is a sentence without its subject. Of the
    /// response it repeats only what that says of an error.
    pub fn read(&self, status: u16, body: &[u8]) -> Result<Granted, String> {
        self.read_raw(status, body)
            .map_err(|e| self.redactor().redact_in(e))
    }

    fn read_raw(&self, status: u16, body: &[u8]) -> Result<Granted, String> {
        let parsed: Result<Map<String, Value>, _> = serde_json::from_slice(body);
        if !(200..300).contains(&status) {
            let said = parsed.ok().and_then(|map| self.error_in(&map));
            return Err(match said {
                Some(said) => format!("answered {status}: {said}"),
                None if (300..400).contains(&status) => {
                    format!("answered {status}; redirects are not followed")
                }
                None => format!("answered {status}"),
            });
        }
        let granted = match parsed {
            Ok(map) => match map.get("access_token") {
                None => match self.error_in(&map) {
                    Some(said) => return Err(format!("answered {status}: {said}")),
                    None => Err("there is no access_token in it".into()),
                },
                Some(Value::String(token)) => grant(token, &map),
                Some(_) => Err("its access_token is not a string".into()),
            },
            Err(_) => Err("it is not a JSON object".into()),
        };
        granted.map_err(|e| format!("answered {status}, but {e}"))
    }

    fn error_in(&self, map: &Map<String, Value>) -> Option<String> {
        let field = |name, most| {
            let text = map.get(name)?.as_str()?;
            Some(self.clean(text, most)).filter(|text| !text.is_empty())
        };
        let error = field("error", MAX_ERROR);
        let description = field("error_description", MAX_DESCRIPTION);
        match (error, description) {
            (Some(error), Some(description)) => Some(format!("{error} ({description})")),
            (one, other) => one.or(other),
        }
    }

    /// Makes a text fit to be shown: some token endpoints repeat the request.
    fn clean(&self, text: &str, most: usize) -> String {
        let text = self.redactor().redact_in(text.to_owned());
        let mut shown: String = printable(&text).take(most).collect();
        if text.chars().nth(most).is_some() {
            shown.push('…');
        }
        shown.trim().to_owned()
    }
}

/// The error says what is wrong with the answer.
fn grant(token: &str, map: &Map<String, Value>) -> Result<Granted, String> {
    if token.is_empty() {
        return Err("its access_token is empty".into());
    }
    if !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("its access_token holds characters that no header can have".into());
    }
    match map.get("token_type") {
        None | Some(Value::Null) => {}
        Some(Value::String(kind)) if kind.eq_ignore_ascii_case("bearer") => {}
        Some(kind) => {
            let kind: String = kind.to_string().chars().take(20).collect();
            return Err(format!(
                "its token_type is {kind}, and only Bearer can be sent"
            ));
        }
    }
    let (life, odd) = read_life(map.get("expires_in"))?;
    Ok(Granted {
        header: sensitive(&format!("Bearer {token}"))?,
        redactor: Redactor::new([Secret::new(token.to_owned())]),
        life,
        odd,
    })
}

/// How long a token lives, and a sentence if the response says something odd about that.
fn read_life(said: Option<&Value>) -> Result<(Duration, Option<String>), String> {
    let seconds = match said {
        None | Some(Value::Null) => return Ok((USUAL_LIFE, None)),
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(_) => None,
    };
    match seconds.filter(|seconds: &f64| !seconds.is_nan()) {
        Some(seconds) if seconds > 0.0 => {
            let seconds = seconds.min(LONGEST_LIFE.as_secs_f64());
            Ok((Duration::from_secs_f64(seconds).max(LEAST_LIFE), None))
        }
        Some(_) => Err("its expires_in is not above 0: the token is over before it is used".into()),
        None => {
            let life = humantime::format_duration(USUAL_LIFE);
            let odd = format!("its expires_in is no number of seconds; it is taken for {life}");
            Ok((USUAL_LIFE, Some(odd)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::login::oauth2::tests::grant;

    #[test]
    fn good_answers_are_tokens() {
        for (body, life) in [
            (
                r#"{"access_token":"abc","token_type":"Bearer","expires_in":3600}"#,
                3600.0,
            ),
            (
                r#"{"access_token":"abc","token_type":"bearer","expires_in":"3600"}"#,
                3600.0,
            ),
            (r#"{"access_token":"abc","expires_in":7.5}"#, 7.5),
            (r#"{"access_token":"abc","expires_in":0.001}"#, 5.0),
            (r#"{"access_token":"abc","expires_in":1e-300}"#, 5.0),
            (
                r#"{"access_token":"abc","token_type":null,"expires_in":null}"#,
                300.0,
            ),
            (r#"{"access_token":"abc"}"#, 300.0),
            (r#"{"access_token":"abc","expires_in":1e300}"#, 86_400.0),
            (
                r#"{"access_token":"abc","expires_in":99999999999999999999999}"#,
                86_400.0,
            ),
        ] {
            let granted = grant(false).read(200, body.as_bytes()).expect(body);
            assert_eq!(granted.header, "Bearer abc", "{body}");
            assert_eq!(granted.life.as_secs_f64(), life, "{body}");
            assert!(granted.odd.is_none());
            assert!(!format!("{granted:?}").contains("abc"));
        }
        let odd = grant(false).read(201, br#"{"access_token":"abc","expires_in":"soon"}"#);
        let odd = odd.unwrap();
        assert_eq!(odd.life, USUAL_LIFE);
        assert!(odd.odd.unwrap().contains("taken for 5m"));
    }

    fn assert_said(status: u16, body: &str, words: &str) {
        let e = grant(false).read(status, body.as_bytes()).expect_err(body);
        assert!(e.contains(words), "{body}: {e}");
        assert!(!e.contains("abc") && !e.contains("s3cret"), "{body}: {e}");
        assert!(e.chars().count() < 260 && !e.contains('\n'), "{e}");
    }

    #[test]
    fn refusals_are_told_with_the_error_that_they_name() {
        let long = format!(
            r#"{{"error":"{}","error_description":"{}"}}"#,
            "e".repeat(999),
            "d\\n".repeat(999)
        );
        for (status, body, words) in [
            (
                401,
                r#"{"error":"invalid_client"}"#,
                "answered 401: invalid_client",
            ),
            (
                400,
                r#"{"error":"x","error_description":"a\nb"}"#,
                "answered 400: x (a b)",
            ),
            (
                400,
                r#"{"error_description":"only that"}"#,
                "answered 400: only that",
            ),
            (400, r#"{"error":{"code":1}}"#, "answered 400"),
            (
                401,
                r#"{"error":"no s3cret+ö, s3cret%2B%C3%B6 or so"}"#,
                "401: no ***, *** or so",
            ),
            (400, &*long, "eeee… (d d"),
            (500, "<html>abc", "answered 500"),
            (302, "", "answered 302; redirects are not followed"),
        ] {
            assert_said(status, body, words);
        }
    }

    #[test]
    fn answers_without_a_token_are_told_in_words_and_not_repeated() {
        for (status, body, words) in [
            (
                200,
                "<html>abc",
                "answered 200, but it is not a JSON object",
            ),
            (200, "", "answered 200, but it is not a JSON object"),
            (200, "[]", "answered 200, but it is not a JSON object"),
            (
                200,
                r#"{"access_token":"abc""#,
                "answered 200, but it is not a JSON object",
            ),
            (
                200,
                "{}",
                "answered 200, but there is no access_token in it",
            ),
            (
                200,
                r#"{"error":"bad_verification"}"#,
                "answered 200: bad_verification",
            ),
            (
                200,
                r#"{"access_token":5}"#,
                "but its access_token is not a string",
            ),
            (
                200,
                r#"{"access_token":""}"#,
                "but its access_token is empty",
            ),
            (
                200,
                r#"{"access_token":"abc\r\nx: y"}"#,
                "characters that no header can have",
            ),
            (
                200,
                r#"{"access_token":"abc def"}"#,
                "characters that no header can have",
            ),
            (
                200,
                r#"{"access_token":"abcä"}"#,
                "characters that no header can have",
            ),
        ] {
            assert_said(status, body, words);
        }
    }

    #[test]
    fn tokens_that_are_of_no_use_are_told_in_words() {
        for (status, body, words) in [
            (
                200,
                r#"{"access_token":"abc","token_type":"mac"}"#,
                "token_type is \"mac\", and only",
            ),
            (
                200,
                r#"{"access_token":"abc","token_type":7}"#,
                "token_type is 7, and only",
            ),
            (
                200,
                r#"{"access_token":"abc","expires_in":0}"#,
                "expires_in is not above 0",
            ),
            (
                200,
                r#"{"access_token":"abc","expires_in":"-1"}"#,
                "expires_in is not above 0",
            ),
        ] {
            assert_said(status, body, words);
        }
    }
}
