//! What is signed: one attempt.

/// See the module's header.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub id: &'a str,
    /// Unix milliseconds of this attempt.
    pub at: u64,
    pub method: &'a str,
    /// As it is sent.
    pub url: &'a str,
    /// As it is sent, byte for byte.
    pub body: &'a [u8],
}

/// A number as text, without an allocation.
pub struct Digits {
    bytes: [u8; 20],
    begin: usize,
}

impl Digits {
    pub fn of(mut number: u64) -> Digits {
        let mut digits = Digits {
            bytes: [0; 20],
            begin: 20,
        };
        loop {
            digits.begin -= 1;
            digits.bytes[digits.begin] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return digits;
            }
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.begin..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_as_they_are_printed() {
        for n in [0, 1, 9, 10, 1_614_265_330, u64::MAX] {
            assert_eq!(Digits::of(n).as_bytes(), n.to_string().as_bytes());
        }
    }
}
