//! What is wrong with a message: a sentence, and apart from it a part of the message itself. Pure.
//!
//! Producers want to see what they wrote, so a dead letter has both. A log has the sentence alone, as
//! what a message holds is nobody's business who reads it.

use std::fmt;

/// See the module's header.
#[derive(Debug, Clone, PartialEq)]
pub struct Detail {
    sentence: String,
    /// As `, not "yesterday"`; mostly empty.
    quote: String,
}

impl Detail {
    /// `quote` goes on where the sentence ends.
    pub fn quoting(sentence: impl Into<String>, quote: impl Into<String>) -> Detail {
        Detail {
            sentence: sentence.into(),
            quote: quote.into(),
        }
    }

    /// What may be logged.
    pub fn sentence(&self) -> &str {
        &self.sentence
    }

    /// `prefix: ` and the same.
    pub fn of(self, prefix: &str) -> Detail {
        Detail {
            sentence: format!("{prefix}: {}", self.sentence),
            ..self
        }
    }

    /// The same, with more of a quote.
    pub fn and(mut self, quote: &str) -> Detail {
        self.quote.push_str(quote);
        self
    }
}

/// A sentence that repeats nothing of the message.
impl From<String> for Detail {
    fn from(sentence: String) -> Detail {
        Detail::quoting(sentence, "")
    }
}

impl From<&str> for Detail {
    fn from(sentence: &str) -> Detail {
        Detail::quoting(sentence, "")
    }
}

/// For whoever wrote it.
impl From<Detail> for String {
    fn from(detail: Detail) -> String {
        detail.to_string()
    }
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.sentence, self.quote)
    }
}
