//! Customers' servers behind a path that fails, and moods of their own. Each records every request
//! as it came, who sent it, and what was answered; the path's record says whether the answer
//! arrived.

use std::io::{BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::clock::{At, now};
use super::path::{Link, Path};
use crate::support::MS;
use crate::support::receiver::read_request;

/// How long a good answer takes, and one that comes after the attempt has been given up.
const QUICK: Duration = Duration::from_millis(2);
const SLOW: Duration = Duration::from_millis(1300);

/// What is asked for here is never accepted.
pub const NEVER: &str = "/never";

#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Mood {
    #[default]
    Well,
    Fails,
    /// 503 with Retry-After.
    Busy,
    Hangs,
    /// Accepts, and answers too late.
    Slow,
    /// Accepts, and closes the connection without an answer.
    Drops,
}

pub struct Arrival {
    pub id: String,
    /// Which life of which replica sent it.
    pub life: String,
    pub endpoint: usize,
    pub link: Link,
    /// When its first byte left the replica, and when all of it had come.
    pub sent: At,
    pub at: At,
    pub mood: Mood,
    /// Nothing: no answer.
    pub status: Option<u16>,
    pub is_accepted: bool,
    /// The answer was written.
    pub answered: Option<At>,
    /// How many bytes had been answered on its connection with it.
    end: usize,
}

impl Arrival {
    /// When the replica's socket had the whole answer, while the replica had it open.
    pub fn heard(&self) -> Option<At> {
        self.answered?;
        let record = self.link.lock().unwrap();
        let chunk = record.down.iter().find(|chunk| chunk.end >= self.end)?;
        chunk.passed
    }
}

pub struct Endpoint {
    number: usize,
    pub path: Arc<Path>,
    pub addr: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    mood: Mutex<Mood>,
    arrivals: Mutex<Vec<Arrival>>,
}

impl Endpoint {
    pub fn new(number: usize) -> Endpoint {
        let path = Path::new(false);
        let shared = Arc::new(Shared::default());
        let all = shared.clone();
        let addr = path.listen(UnixStream::pair, move |link, stream| {
            let all = all.clone();
            thread::spawn(move || all.serve(number, stream, &link));
        });
        Endpoint {
            number,
            path,
            addr,
            shared,
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub fn number(&self) -> usize {
        self.number
    }

    pub fn set(&self, mood: Mood) {
        *self.shared.mood.lock().unwrap() = mood;
    }

    pub fn take_arrivals(&self) -> Vec<Arrival> {
        std::mem::take(&mut self.shared.arrivals.lock().unwrap())
    }
}

impl Shared {
    /// One connection, request after request. A client sends none before the last is answered, so
    /// all that has come by then is that request.
    fn serve(&self, endpoint: usize, stream: UnixStream, link: &Link) {
        let mut reader = BufReader::new(stream);
        let (mut taken, mut answered) = (0, 0);
        while let Some(request) = read_request(&mut reader, 0) {
            let at = now();
            let sent = {
                let record = link.lock().unwrap();
                let first = record.up.iter().find(|chunk| chunk.end > taken);
                taken = record.up.last().map_or(0, |chunk| chunk.end);
                first.map_or(at, |chunk| chunk.read)
            };
            let mood = *self.mood.lock().unwrap();
            let (status, is_accepted, wait) = decide(mood, &request.path);
            let answer = status.map(answer);
            answered += answer.as_ref().map_or(0, Vec::len);
            let number = {
                let mut arrivals = self.arrivals.lock().unwrap();
                arrivals.push(Arrival {
                    id: request.id().to_owned(),
                    life: request.header("user-agent").unwrap_or_default().to_owned(),
                    endpoint,
                    link: link.clone(),
                    sent,
                    at,
                    mood,
                    status,
                    is_accepted,
                    answered: None,
                    end: answered,
                });
                arrivals.len() - 1
            };
            thread::sleep(wait);
            let Some(answer) = answer else {
                if mood == Mood::Hangs {
                    while matches!(reader.read(&mut [0; 512]), Ok(1..)) {}
                }
                return;
            };
            if reader.get_mut().write_all(&answer).is_err() {
                return;
            }
            self.arrivals.lock().unwrap()[number].answered = Some(now());
        }
    }
}

/// What is answered, whether that means that the message is accepted, and after how long.
fn decide(mood: Mood, path: &str) -> (Option<u16>, bool, Duration) {
    let is_good = path != NEVER;
    let good = if is_good { 200 } else { 400 };
    match mood {
        Mood::Well => (Some(good), is_good, QUICK),
        Mood::Fails => (Some(500), false, QUICK),
        Mood::Busy => (Some(503), false, QUICK),
        Mood::Hangs => (None, false, Duration::ZERO),
        Mood::Slow => (Some(good), is_good, SLOW),
        Mood::Drops => (None, is_good, MS),
    }
}

fn answer(status: u16) -> Vec<u8> {
    let more = match status {
        503 => "retry-after: 2\r\n",
        _ => "",
    };
    format!("HTTP/1.1 {status} Chaos\r\n{more}content-length: 0\r\n\r\n").into_bytes()
}
