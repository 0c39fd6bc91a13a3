//! What the headers of Standard Webhooks claim.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;

use super::claim::{Claim, ClaimedSignature, MOST, SignedContent, text, time};
use crate::trust::signing::key::Kind;
use crate::trust::signing::standard_webhooks::Names;

pub fn read_webhook<'a>(names: &Names, headers: &'a HeaderMap) -> Result<Claim<'a>, String> {
    let own = names.signature;
    let id = text(headers, names.id.unwrap_or("webhook-id"), own);
    let value = text(headers, own, own)?;
    let mut signatures = Vec::new();
    for signature in value.split(' ').filter(|s| !s.is_empty()) {
        let wrong = || {
            format!("{own} holds what is no signature: each must be as v1,… or v1a,… with base64")
        };
        let (kind, text) = signature.split_once(',').ok_or_else(wrong)?;
        let kind = match kind {
            "v1" => Kind::Hmac,
            "v1a" => Kind::Ed25519,
            // It may be of a later version: the libraries of receivers skip it.
            _ => continue,
        };
        let bytes = STANDARD.decode(text).map_err(|_| wrong())?;
        signatures.push(ClaimedSignature {
            kind: Some(kind),
            bytes,
        });
    }
    match signatures.len() {
        0 => return Err(format!("{own} holds no signature as v1,… or v1a,…")),
        1..=MOST => {}
        n => {
            return Err(format!(
                "{own} holds {n} signatures; at most {MOST} are tried"
            ));
        }
    }
    let seconds = time(text(headers, names.timestamp, own)?, names.timestamp)?;
    if seconds > 100_000_000_000 {
        return Err(format!("{} is not in seconds", names.timestamp));
    }
    Ok(Claim {
        id: id?,
        at: Some(seconds * 1000),
        expires: None,
        signatures,
        over: SignedContent::Webhook,
    })
}
