//! The script of one connection: its steps, and the bytes they send. Pure.

use serde::Deserialize;

use super::case::duration;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    pub steps: Vec<Step>,
    /// The steps begin again until the sender closes.
    #[serde(default)]
    pub again: bool,
}

/// One step; exactly one of its verbs is set.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    pub read: Option<Read>,
    pub send: Option<String>,
    pub send_hex: Option<String>,
    /// A whole small answer with this status.
    pub answer: Option<u16>,
    pub wait: Option<Wait>,
    /// Waits until so many requests have been read on all connections.
    pub requests: Option<usize>,
    pub pause: Option<String>,
    /// Lets the sender have the next message.
    pub next: Option<bool>,
    pub close: Option<Close>,
    /// With `send`: how often, at which distance, and how many bytes in each packet.
    pub times: Option<usize>,
    pub every: Option<String>,
    pub pieces: Option<usize>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Read {
    What(ReadWhat),
    Bytes(usize),
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReadWhat {
    /// A head and its body.
    Request,
    Head,
    /// Whatever comes first.
    Some,
    /// Until the sender closes.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wait {
    /// All messages that the sender has are delivered or given up.
    Settled,
    /// The sender's kernel has all that was sent here.
    Arrived,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Close {
    Fin,
    Reset,
    /// FIN, but it goes on reading.
    Half,
    /// TLS's close_notify, then FIN.
    Notify,
}

impl Step {
    pub fn check(&self) -> Result<(), String> {
        let verbs = [
            self.read.is_some(),
            self.send.is_some(),
            self.send_hex.is_some(),
            self.answer.is_some(),
            self.wait.is_some(),
            self.requests.is_some(),
            self.pause.is_some(),
            self.next.is_some(),
            self.close.is_some(),
        ];
        if verbs.iter().filter(|is| **is).count() != 1 {
            return Err(format!("a step has one verb: {self:?}"));
        }
        for text in [&self.pause, &self.every].into_iter().flatten() {
            duration(text)?;
        }
        self.bytes().map(|_| ())
    }

    /// What one round of a `send`, `send_hex` or `answer` sends.
    pub fn bytes(&self) -> Result<Option<Vec<u8>>, String> {
        if let Some(text) = &self.send {
            return latin1(text).map(Some);
        }
        if let Some(text) = &self.send_hex {
            return hex(text).map(Some);
        }
        let head = |status| format!("HTTP/1.1 {status} Corpus\r\nContent-Length: 0\r\n\r\n");
        Ok(self.answer.map(|status| head(status).into_bytes()))
    }
}

/// In these files a character is the byte of its number, so that any bytes can be written.
pub fn latin1(text: &str) -> Result<Vec<u8>, String> {
    let byte = |c: char| {
        u8::try_from(u32::from(c))
            .map_err(|_| format!("{c:?} is no byte: write its UTF-8 as \\u00XX each"))
    };
    text.chars().map(byte).collect()
}

fn hex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<u32> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| {
            c.to_digit(16)
                .ok_or_else(|| format!("{c:?} is no hexadecimal digit"))
        })
        .collect::<Result<_, _>>()?;
    if !digits.len().is_multiple_of(2) {
        return Err("half a byte at the end of send_hex".into());
    }
    Ok(digits
        .chunks(2)
        .map(|pair| (pair[0] * 16 + pair[1]) as u8)
        .collect())
}
