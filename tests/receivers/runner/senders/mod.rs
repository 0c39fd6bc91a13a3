//! Senders: outhook first, and others beside which it stands.
//!
//! A sender gets the messages of a case one by one, each when the case's script has let it go,
//! and reports what became of each to [`Progress`].

pub mod command;
pub mod curl;
pub mod outhook;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::case::{Case, Message, duration};
use super::progress::Progress;

/// The messages of one case, for one sender.
pub struct Job {
    /// The case's number, for ids that no other case has.
    pub number: usize,
    pub case: Arc<Case>,
    pub port: u16,
    pub progress: Arc<Progress>,
}

/// What all senders are told.
#[derive(Clone)]
pub struct Surroundings {
    /// The authority of the good certificates, as a PEM file.
    pub ca_file: PathBuf,
    pub name_server: SocketAddr,
    pub folder: PathBuf,
}

pub trait Sender: Send + Sync {
    fn name(&self) -> String;

    /// Why this sender cannot be asked about this case.
    fn skips(&self, case: &Case) -> Option<String>;

    /// Sends what is released, until all of it was or the case is over.
    fn send(&self, job: &Job);

    /// Ends what it has started, and says what was wrong with it.
    fn end(&self) -> Result<(), String>;
}

/// Longer than any case takes.
pub const CASE_LIMIT: Duration = Duration::from_secs(40);

impl Job {
    pub fn id(&self, n: usize) -> String {
        format!("c{:03}-{}", self.number, n + 1)
    }

    pub fn url(&self, n: usize) -> String {
        self.case.url(&self.case.message[n], self.port)
    }

    /// The message as outhook takes it: one line of JSON.
    pub fn line(&self, n: usize) -> String {
        let message = &self.case.message[n];
        let mut fields = Map::new();
        fields.insert("url".into(), self.url(n).into());
        fields.insert("webhookId".into(), self.id(n).into());
        fields.insert("maxAttempts".into(), message.most_attempts().into());
        if let Some(timeout) = &message.timeout {
            fields.insert("timeout".into(), timeout.clone().into());
        }
        if !message.headers.is_empty() {
            let headers = message
                .headers
                .iter()
                .map(|(name, value)| (name.clone(), Value::from(value.clone())));
            fields.insert("headers".into(), Value::Object(headers.collect()));
        }
        let fields = Value::Object(fields).to_string();
        let rest = fields.strip_suffix('}').expect("an object");
        format!("{rest},\"data\":{}}}\n", message.body())
    }
}

impl Message {
    pub fn body(&self) -> String {
        match (&self.data, self.data_bytes) {
            (Some(data), _) => data.clone(),
            (None, Some(n)) => format!("\"{}\"", "x".repeat(n)),
            (None, None) => "{\"paid\":1.10}".into(),
        }
    }

    /// As many as are expected, unless the case says otherwise: so none is made for luck.
    pub fn most_attempts(&self) -> u32 {
        self.max_attempts
            .unwrap_or(self.attempts.unwrap_or(1).max(1))
    }

    pub fn limit(&self) -> Duration {
        let own = self.timeout.as_deref().and_then(|text| duration(text).ok());
        own.unwrap_or(Duration::from_secs(20))
    }
}
