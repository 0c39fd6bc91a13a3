//! `outhook send`: messages from the command line or standard input into Redis.

use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::cli::args::redis::RedisArgs;
use crate::cli::args::values::nonempty;
use crate::cli::output::terminal::print_reading;
use crate::cli::output::{Out, Stop, ended};
use crate::message::endpoint::Endpoint;
use crate::message::{Alias, Message};
use crate::store::{Admin, NewMessage};

#[derive(Debug, Args)]
pub struct SendArgs {
    /// URL to send to. Without it, messages are read from standard input, one JSON object a line
    #[arg(long, value_name = "URL", requires = "data")]
    pub url: Option<String>,
    /// Body: any JSON, or @FILE
    #[arg(long, value_name = "JSON", requires = "url")]
    pub data: Option<String>,
    /// Id of the message [default: one is made]
    #[arg(long, value_name = "ID", requires = "url")]
    pub webhook_id: Option<String>,
    /// Extra request header, as name=value; repeatable
    #[arg(long = "header", value_name = "NAME=VALUE", requires = "url")]
    pub headers: Vec<String>,
    /// Deliver not before this time: RFC 3339, or Unix milliseconds
    #[arg(long, value_name = "TIME", requires = "url")]
    pub deliver_at: Option<String>,
    /// Deliver not after this time: RFC 3339, or Unix milliseconds
    #[arg(long, value_name = "TIME", requires = "url")]
    pub expires_at: Option<String>,
    /// Time limit of an attempt, such as 5s
    #[arg(long, value_name = "DURATION", requires = "url")]
    pub timeout: Option<String>,
    /// Number of attempts, in place of the configured number
    #[arg(long, value_name = "N", requires = "url")]
    pub max_attempts: Option<u32>,
    /// Deliver after the earlier messages with this key
    #[arg(long, value_name = "KEY", requires = "url")]
    pub order_key: Option<String>,
    /// Name of the secret that signs the message
    #[arg(long, value_name = "NAME", requires = "url")]
    pub secret: Option<String>,
    /// PUBLISH to a channel instead of adding to the stream
    #[arg(long)]
    pub publish: bool,
    /// Channel for --publish
    #[arg(long, env = "OUTHOOK_CHANNEL", value_name = "NAME", default_value = "payments", value_parser = nonempty)]
    pub channel: String,
    /// Send nothing; check the messages, and say what would be sent
    #[arg(long)]
    pub dry_run: bool,
    /// Print one JSON object a message, with its webhookId and its entry
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub redis: RedisArgs,
}

/// Messages in one request.
const BATCH: usize = 500;

/// The error is a bad configuration, in one line.
pub fn run(args: &SendArgs) -> Result<ExitCode, String> {
    let one = match &args.url {
        Some(url) => Some(compose(args, url)?),
        None => None,
    };
    let (redis, keys) = (args.redis.open()?, args.redis.keys()?);
    let work = || -> Result<bool, Stop> {
        let mut sender = Sender {
            admin: match args.dry_run {
                true => None,
                false => Some(Admin::open(redis, keys)?),
            },
            args,
            out: Out::new(args.json),
            batch: Vec::new(),
            good: true,
            aliases: Vec::new(),
        };
        match one {
            Some(message) => sender.take(message)?,
            None => {
                print_reading("reads messages from standard input, one JSON object a line");
                for (n, line) in io::stdin().lock().split(b'\n').enumerate() {
                    sender.line(n + 1, line?)?;
                }
            }
        }
        sender.flush()?;
        Ok(sender.good)
    };
    Ok(ended(work()))
}

/// A message that is good.
struct Checked {
    message: NewMessage,
    /// Its webhookId, if it has one.
    id: Option<String>,
    aliases: Box<[Alias]>,
}

struct Sender<'a> {
    /// Nothing is sent without it.
    admin: Option<Admin>,
    args: &'a SendArgs,
    out: Out,
    batch: Vec<Checked>,
    /// Nothing was refused, and everything published was heard.
    good: bool,
    /// Names of fields that were told of; there are not many ways to write them.
    aliases: Vec<Alias>,
}

impl Sender<'_> {
    /// A line that is no good message is told, and the others are sent.
    fn line(&mut self, number: usize, line: Vec<u8>) -> Result<(), Stop> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        match check(line) {
            Ok(checked) => {
                for alias in &checked.aliases {
                    self.print_alias(number, alias);
                }
                self.take(checked)
            }
            Err(why) => {
                self.good = false;
                eprintln!("outhook: line {number}: {why}");
                Ok(())
            }
        }
    }

    /// Says once that a name is taken for another.
    fn print_alias(&mut self, number: usize, alias: &Alias) {
        if !self.aliases.contains(alias) {
            let Alias { given, known } = alias;
            eprintln!("outhook: line {number}: {given:?} is taken for {known:?}");
            self.aliases.push(alias.clone());
        }
    }

    fn take(&mut self, message: Checked) -> Result<(), Stop> {
        self.batch.push(message);
        match self.batch.len() < BATCH {
            true => Ok(()),
            false => self.flush(),
        }
    }

    fn flush(&mut self) -> Result<(), Stop> {
        let batch = std::mem::take(&mut self.batch);
        // Redis knows no empty request.
        if batch.is_empty() {
            return Ok(());
        }
        let (ids, messages): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|c| (c.id, c.message)).unzip();
        match &mut self.admin {
            None => {
                for id in ids {
                    let id = id.unwrap_or_else(|| "a new id".into());
                    let object = [("webhookId", Value::from(&*id)), ("dry_run", true.into())];
                    self.out.result(&object, &format!("{id}: would be sent"))?;
                }
            }
            Some(admin) if self.args.publish => {
                let heard = admin.publish(&self.args.channel, &messages)?;
                for (id, heard) in ids.into_iter().zip(heard) {
                    self.good &= heard > 0;
                    let object = [
                        ("webhookId", id.clone().into()),
                        ("receivers", heard.into()),
                    ];
                    self.out
                        .result(&object, &id.unwrap_or_else(|| "-".into()))?;
                    if heard == 0 {
                        eprintln!(
                            "outhook: nobody is subscribed to {}: the message is lost",
                            self.args.channel
                        );
                    }
                }
            }
            Some(admin) => {
                let entries = admin.add(&messages)?;
                for (id, entry) in ids.into_iter().zip(entries) {
                    // As whoever takes it from the stream names it.
                    let id = id.unwrap_or_else(|| format!("msg_{entry}"));
                    let object = [("webhookId", Value::from(&*id)), ("entry", entry.into())];
                    self.out.result(&object, &id)?;
                }
            }
        }
        Ok(self.out.flush()?)
    }
}

/// A message of what the options say. The error is one line.
fn compose(args: &SendArgs, url: &str) -> Result<Checked, String> {
    let data = match args.data.as_deref().unwrap_or_default() {
        text if text.starts_with('@') => std::fs::read_to_string(&text[1..])
            .map_err(|e| format!("--data {text}: {e}; it must be a readable file"))?,
        text => text.to_owned(),
    };
    // As it is written: `Value` would change numbers, and the order of keys.
    let data: Box<RawValue> = serde_json::from_str(data.trim())
        .map_err(|e| format!("--data: {e}; it must be JSON, so a text needs quotes of its own"))?;
    let mut headers = Map::new();
    for header in &args.headers {
        let (name, value) = header
            .split_once('=')
            .ok_or_else(|| format!("--header {header}: it must be name=value"))?;
        headers.insert(name.into(), value.into());
    }
    let mut fields = vec![("url", Value::from(url).to_string())];
    // What is published gets an id from whoever hears it, which nobody could name here.
    let made = || format!("msg_{:016x}", RandomState::new().hash_one(url));
    let id = args.webhook_id.clone();
    let id = id.or_else(|| args.publish.then(made));
    if let Some(id) = id {
        fields.push(("webhookId", Value::from(id).to_string()));
    }
    for (name, value) in [
        ("deliverAt", &args.deliver_at),
        ("expiresAt", &args.expires_at),
        ("timeout", &args.timeout),
    ] {
        if let Some(time) = value {
            let is_number = time.bytes().all(|b| b.is_ascii_digit());
            let text = || Value::from(&**time).to_string();
            fields.push((name, if is_number { time.clone() } else { text() }));
        }
    }
    if let Some(n) = args.max_attempts {
        fields.push(("maxAttempts", n.to_string()));
    }
    if let Some(key) = &args.order_key {
        fields.push(("orderKey", Value::from(&**key).to_string()));
    }
    if let Some(name) = &args.secret {
        fields.push(("secret", Value::from(&**name).to_string()));
    }
    if !headers.is_empty() {
        fields.push(("headers", Value::from(headers).to_string()));
    }
    fields.push(("data", data.get().to_owned()));
    let fields: Vec<String> = fields.iter().map(|(k, v)| format!("\"{k}\":{v}")).collect();
    check(format!("{{{}}}", fields.join(",")).into_bytes())
}

/// The same rules as everywhere; how large a message may be is the server's to say.
fn check(message: Vec<u8>) -> Result<Checked, String> {
    /// A message cannot have this id, as it holds a blank.
    const NONE: &str = "no id";
    let endpoint = |url: &str| Endpoint::parse(url).map(Arc::new);
    let read = Message::parse(message.clone(), usize::MAX, || NONE.into(), endpoint);
    let read = read.map_err(|rejection| rejection.detail.to_string())?;
    Ok(Checked {
        id: Some(read.id.to_string()).filter(|id| id != NONE),
        message: NewMessage {
            is_ordered: read.overrides.order_key.is_some(),
            message,
        },
        aliases: read.aliases,
    })
}
