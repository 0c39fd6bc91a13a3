//! Answers of token endpoints: a token that a header can carry, or a sentence without anything secret.

use std::sync::Arc;
use std::time::Duration;

use super::assert_sentence;
use crate::message::endpoint::Endpoint;
use crate::trust::login::Grant;
use crate::trust::secret::Secret;

const SECRET: &str = "hunter2hunter2";

/// The first byte chooses the status; the others are the body.
pub fn token(bytes: &[u8]) {
    let Some((first, body)) = bytes.split_first() else {
        return;
    };
    let status = [200, 201, 302, 400, 401, 500][usize::from(first % 6)];
    let url = "https://login.acme.example/token";
    let grant = Grant {
        endpoint: Arc::new(Endpoint::parse(url).expect("a URL")),
        client_id: "outhook".into(),
        client_secret: Secret::new(SECRET.into()),
        scope: None,
        audience: None,
        in_body: false,
    };
    match grant.read(status, body) {
        Ok(granted) => {
            assert!((200..300).contains(&status));
            assert!(granted.life <= Duration::from_secs(86_400));
            let value = granted.header.to_str().expect("printable");
            let token = value.strip_prefix("Bearer ").expect("a token");
            assert!(!token.is_empty() && granted.header.is_sensitive());
            if token.len() >= 4 {
                assert_eq!(granted.redactor.redact_in(token.to_owned()), "***");
            }
            if let Some(odd) = granted.odd {
                assert_sentence(&odd);
            }
        }
        Err(e) => {
            assert_sentence(&e);
            assert!(e.len() < 1000 && !e.contains(SECRET), "{e}");
        }
    }
}
