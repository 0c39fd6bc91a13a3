//! The application: sends messages through Redis, and waits with more while too many are on
//! their way, as Redis cuts off a subscriber that is 32 MB behind.

use std::time::{Duration, Instant};

use redis::Connection;

use super::message::{self, Template};
use super::tally::Tally;
use super::{Intake, Result};

/// Commands in one write.
const BATCH: usize = 50;

/// Messages sent and not yet arrived.
const OUTSTANDING: usize = 1000;

pub struct Publisher {
    connection: Connection,
    intake: Intake,
    templates: Vec<Template>,
}

impl Publisher {
    /// Message `n` goes to `urls[n % urls.len()]`.
    pub fn new(port: u16, intake: Intake, urls: &[String]) -> Result<Publisher> {
        let connection = redis::Client::open(("127.0.0.1", port))?.get_connection()?;
        // A number that stands nowhere else in the text.
        let mark = 87_654_321;
        let templates = urls.iter().map(|url| {
            let id = message::digits(mark);
            let data = String::from_utf8(message::body(mark)).expect("ASCII");
            let text = format!(r#"{{"url":"{url}","webhookId":"{id}","data":{data}}}"#);
            Template::new(text.into_bytes(), mark)
        });
        Ok(Publisher {
            connection,
            intake,
            templates: templates.collect(),
        })
    }

    /// Messages `from..to` at once.
    pub fn send(&mut self, from: usize, to: usize) -> Result<()> {
        let mut pipe = redis::pipe();
        for number in from..to {
            let template = number % self.templates.len();
            let text = self.templates[template].stamp(number);
            match self.intake {
                Intake::PubSub => pipe.cmd("PUBLISH").arg("payments").arg(text),
                Intake::Stream => {
                    pipe.cmd("XADD").arg("{outhook}:messages").arg("*");
                    pipe.arg("message").arg(text)
                }
            };
            pipe.ignore();
        }
        Ok(pipe.query(&mut self.connection)?)
    }

    /// `count` messages as fast as they are taken, and waits for the last of them.
    pub fn flood(&mut self, count: usize, tally: &Tally) -> Result<()> {
        let mut sent = 0;
        while sent < count {
            if !tally.wait_for((sent + BATCH).saturating_sub(OUTSTANDING)) {
                return Err(format!("no more arrivals after {sent} messages").into());
            }
            let next = (sent + BATCH).min(count);
            self.send(sent, next)?;
            sent = next;
        }
        match tally.wait_for(count) {
            true => Ok(()),
            false => tally.check(count),
        }
    }

    /// `count` messages at a steady rate. Answers when each was sent, by the tally's clock.
    pub fn drip(&mut self, count: usize, rate: u32, tally: &Tally) -> Result<Vec<Duration>> {
        let begun = Instant::now();
        let mut sent = Vec::with_capacity(count);
        for number in 0..count {
            let due = Duration::from_secs(1) / rate * number as u32;
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
            sent.push(tally.now());
            self.send(number, number + 1)?;
        }
        Ok(sent)
    }
}
