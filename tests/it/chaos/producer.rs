//! The producer: adds messages to the stream, and knows of each whether it was added.
//!
//! An XADD that was not answered may have been made or not. Its id is never used again, so that
//! no repetition of ours is taken for one of outhook's.

use std::collections::HashMap;
use std::thread;
use std::time::Duration;

use super::clock::{At, now};
use super::endpoint::NEVER;
use crate::support::dice::Dice;
use crate::support::redis::MESSAGES;
use crate::support::unix_ms;

/// Between two messages.
const PAUSE: Duration = Duration::from_millis(8);

/// How long an answer is waited for. Longer than Redis is ever stopped or paused.
const ANSWER: Duration = Duration::from_secs(20);

/// What there is to know of a message.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Redis has said that it has it.
    pub at: Option<At>,
    /// It must end as a dead letter, for this reason.
    pub dies: Option<&'static str>,
}

/// Adds messages until then. Answers all that may have been added, by id.
pub fn produce(address: &str, urls: &[String], seed: u64, end: At) -> HashMap<String, Sent> {
    let mut dice = Dice::part(seed, 1000);
    let client = redis::Client::open(address).expect("an address");
    let mut connection: Option<redis::Connection> = None;
    let mut all = HashMap::new();
    let mut number = 0;
    while now() < end {
        thread::sleep(PAUSE);
        let open = connection.take().or_else(|| {
            let open = client.get_connection().ok()?;
            open.set_read_timeout(Some(ANSWER)).ok()?;
            Some(open)
        });
        let Some(mut open) = open else {
            continue;
        };
        dice.step();
        let id = format!("m{number}");
        let url = &urls[number % urls.len()];
        let (message, dies) = compose(&mut dice, number, &id, url);
        let mut add = redis::cmd("XADD");
        add.arg(MESSAGES).arg("*").arg("message").arg(message);
        let at = match add.query::<String>(&mut open) {
            Ok(_) => {
                connection = Some(open);
                Some(now())
            }
            // It said no.
            Err(e) if e.code().is_some() => continue,
            Err(_) => None,
        };
        all.insert(id, Sent { at, dies });
        number += 1;
    }
    all
}

/// Most are plain; some wait for a time, and a few must die.
fn compose(dice: &mut Dice, number: usize, id: &str, url: &str) -> (String, Option<&'static str>) {
    let (url, more, dies) = match number % 50 {
        7 => (
            format!("{url}{NEVER}"),
            r#","maxAttempts":2"#.to_owned(),
            Some("exhausted"),
        ),
        23 => (
            "ftp://127.0.0.1/".to_owned(),
            String::new(),
            Some("bad_url"),
        ),
        n if n % 10 == 3 => {
            let due = unix_ms() + 500 + dice.below(4000);
            (format!("{url}/"), format!(r#","deliverAt":{due}"#), None)
        }
        _ => (format!("{url}/"), String::new(), None),
    };
    let text = format!(r#"{{"url":"{url}","webhookId":"{id}","data":{number}{more}}}"#);
    (text, dies)
}
