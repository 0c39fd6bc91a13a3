//! Keys that verify signatures.

use ring::hmac;
use ring::signature::{ED25519, KeyPair, UnparsedPublicKey};

use crate::trust::signing::key::{Key, Kind};

/// See the module's header.
#[derive(Debug)]
pub enum VerifyingKey {
    Hmac(hmac::Key),
    Ed25519(Vec<u8>),
}

impl VerifyingKey {
    pub fn of(key: &Key) -> VerifyingKey {
        match key {
            Key::Hmac(key) => VerifyingKey::Hmac(key.clone()),
            Key::Ed25519(pair) => VerifyingKey::Ed25519(pair.public_key().as_ref().to_vec()),
        }
    }

    pub fn kind(&self) -> Kind {
        match self {
            VerifyingKey::Hmac(_) => Kind::Hmac,
            VerifyingKey::Ed25519(_) => Kind::Ed25519,
        }
    }

    /// Whether this is its signature of these bytes.
    pub fn verifies(&self, signature: &[u8], signed: &[u8]) -> bool {
        match self {
            VerifyingKey::Hmac(key) => hmac::verify(key, signed, signature).is_ok(),
            VerifyingKey::Ed25519(public) => UnparsedPublicKey::new(&ED25519, public)
                .verify(signed, signature)
                .is_ok(),
        }
    }
}
