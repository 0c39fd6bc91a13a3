//! Whether bytes of a connection end where a TLS record does. Pure.

/// Header, nonce, kind and tag are shorter than this.
const AROUND: usize = 32;

/// Follows the records of one connection, from its first byte on: five bytes of header, of which
/// the last two are the length of what follows.
#[derive(Debug, Default)]
pub struct RecordCursor {
    /// Bytes that have come in all, but for what records take for themselves.
    pub total: usize,
    header: usize,
    length: usize,
}

impl RecordCursor {
    /// Takes in what came.
    pub fn pass(&mut self, mut bytes: &[u8]) {
        self.total += bytes.len();
        while let Some((first, rest)) = bytes.split_first() {
            if self.header == 5 {
                let passed = self.length.min(bytes.len());
                self.length -= passed;
                bytes = &bytes[passed..];
            } else {
                self.header += 1;
                if self.header > 3 {
                    self.length = self.length << 8 | usize::from(*first);
                }
                bytes = rest;
            }
            if self.header == 5 && self.length == 0 {
                (self.header, self.length) = (0, 0);
                self.total = self.total.saturating_sub(AROUND);
            }
        }
    }

    /// Whether a record has begun and not ended.
    pub fn is_inside(&self) -> bool {
        self.header > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_record_is_known_however_it_comes() {
        let bytes = b"\x17\x03\x03\x00\x02ab\x17\x03\x03\x01\x00".to_vec();
        let bytes = [bytes, vec![7; 256], b"\x15\x03\x03\x00\x00".to_vec()].concat();
        let ends = [0, 7, 7 + 5 + 256, bytes.len()];
        for step in 1..9 {
            let mut cursor = RecordCursor::default();
            let mut at = 0;
            for part in bytes.chunks(step) {
                cursor.pass(part);
                at += part.len();
                assert_eq!(cursor.is_inside(), !ends.contains(&at), "{at} by {step}");
            }
            assert!(cursor.total < bytes.len() - AROUND);
        }
    }
}
