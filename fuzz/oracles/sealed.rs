//! Encrypted secrets: what was sealed opens, and nothing else does.

use crate::trust::encryption::{KEY_PREFIX, SealingKeys};
use crate::trust::keyring::keys_of;
use crate::trust::secret::Secret;

/// A value as it is stored; and, the same bytes, a value to be stored.
pub fn sealed(bytes: &[u8]) {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let key = format!("{KEY_PREFIX}{}", STANDARD.encode([7; 32]));
    let keys = SealingKeys::parse(&Secret::new(key)).expect("a key");
    let text = String::from_utf8_lossy(bytes);
    // Nobody without the key makes one that opens.
    super::assert_sentence(&keys.open("acme", &text).expect_err("it opens"));
    let Ok(value) = Secret::from_file(bytes.to_vec()) else {
        return;
    };
    if let Err(e) = keys_of(&value) {
        super::assert_sentence(&e);
    }
    let stored = keys.seal("acme", &value, [9; 12]);
    let opened = keys.open("acme", &stored).expect("it was sealed with it");
    assert_eq!(keys_of(&opened), keys_of(&value));
    assert!(keys.open("other", &stored).is_err());
    let at = stored.len() - 1 - bytes.len() % (stored.len() - 8);
    let mut changed = stored.clone().into_bytes();
    changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).expect("ASCII");
    // The last character of base64 may have bits that mean nothing; a strict reader refuses them.
    assert!(keys.open("acme", &changed).is_err(), "{at}");
}
