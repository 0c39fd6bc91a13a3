//! What a scripted receiver does about a request: an answer, a bad answer, or none.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use super::sys;

/// What to do about a request.
#[derive(Clone)]
pub enum Reply {
    Answer(Answer),
    /// These bytes, whatever they mean, then the end.
    Bytes(Vec<u8>),
    /// The first bytes, then the second again and again, until the peer leaves.
    Drip {
        start: Vec<u8>,
        again: Vec<u8>,
        every: Duration,
    },
    /// Nothing, until the peer leaves.
    Hang,
    /// These bytes, whatever they mean, then nothing until the peer leaves.
    Hold(Vec<u8>),
    /// A close without an answer.
    Close,
    /// A reset without an answer.
    Reset,
}

#[derive(Clone)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    after: Duration,
    close: bool,
}

/// A plain answer with this status and no body.
pub fn status(status: u16) -> Answer {
    Answer {
        status,
        headers: Vec::new(),
        body: Vec::new(),
        after: Duration::ZERO,
        close: false,
    }
}

impl Answer {
    pub fn header(mut self, name: &str, value: &str) -> Answer {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Answer {
        self.body = body.into();
        self
    }

    pub fn after(mut self, delay: Duration) -> Answer {
        self.after = delay;
        self
    }

    /// Closes the connection behind the answer, which promised to keep it.
    pub fn then_close(mut self) -> Answer {
        self.close = true;
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} Scripted\r\n", self.status);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if self.status != 204 {
            head += &format!("content-length: {}\r\n", self.body.len());
        }
        [head.as_bytes(), b"\r\n", &self.body].concat()
    }
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Reply {
        Reply::Answer(answer)
    }
}

/// Does what the script says; `false` ends the connection.
pub fn act(reply: Reply, stream: &mut TcpStream) -> bool {
    match reply {
        Reply::Answer(answer) => {
            thread::sleep(answer.after);
            stream.write_all(&answer.bytes()).is_ok() && !answer.close
        }
        Reply::Bytes(bytes) => {
            let _ = stream.write_all(&bytes);
            false
        }
        Reply::Drip {
            start,
            again,
            every,
        } => {
            let mut more = stream.write_all(&start).is_ok();
            while more {
                thread::sleep(every);
                more = stream.write_all(&again).is_ok();
            }
            false
        }
        Reply::Hang => act(Reply::Hold(Vec::new()), stream),
        Reply::Hold(bytes) => {
            let _ = stream.write_all(&bytes);
            while matches!(stream.read(&mut [0; 4096]), Ok(1..)) {}
            false
        }
        Reply::Close => false,
        Reply::Reset => {
            if let Ok(same) = stream.try_clone() {
                sys::reset(same);
            }
            false
        }
    }
}
