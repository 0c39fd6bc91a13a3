//! One line of the log, as text for people or as JSON for machines. Pure.
//!
//! The text is what a record says. As JSON it has the record's keys too: which there are, and for
//! which events, stands in docs/logs.md.

use std::io::Write;
use std::time::SystemTime;

use clap::ValueEnum;
use log::kv::{Error, Key, Value, VisitSource, VisitValue};
use log::{Level, Record};
use serde::Serializer;
use serde::ser::{Serialize, SerializeMap};

/// How the lines of the log are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line of text, for people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

impl LogFormat {
    /// One record, with its line end.
    pub fn line(self, record: &Record<'_>, now: SystemTime) -> Vec<u8> {
        match self {
            LogFormat::Text => text(
                record.level(),
                record.target(),
                &record.args().to_string(),
                now,
            ),
            LogFormat::Json => json(record, now),
        }
    }

    /// Lines were dropped.
    pub fn dropped(self, count: u64, now: SystemTime) -> Vec<u8> {
        let says = format!("{count} log lines dropped: standard error was not read");
        let args = format_args!("{says}");
        let keys = [
            ("event", Value::from("log_dropped")),
            ("count", count.into()),
        ];
        let record = Record::builder()
            .level(Level::Warn)
            .target(module_path!())
            .args(args)
            .key_values(&keys)
            .build();
        self.line(&record, now)
    }
}

fn text(level: Level, target: &str, says: &str, now: SystemTime) -> Vec<u8> {
    let time = humantime::format_rfc3339_seconds(now);
    // A line may tell what others have sent. That must not look like a line of ours.
    let says = says.replace(|c: char| c.is_ascii_control(), "?");
    format!("[{time} {level:<5} {target}] {says}\n").into_bytes()
}

fn json(record: &Record<'_>, now: SystemTime) -> Vec<u8> {
    let mut line = Vec::with_capacity(256);
    let mut json = serde_json::Serializer::new(&mut line);
    // Nothing of this fails: what it writes to is memory, and all keys are text.
    let Ok(mut map) = json.serialize_map(None) else {
        return line;
    };
    let time = humantime::format_rfc3339_millis(now).to_string();
    let _ = map.serialize_entry("time", &time);
    let level = record.level().as_str().to_ascii_lowercase();
    let _ = map.serialize_entry("level", &level);
    let _ = record.key_values().visit(&mut Keys(&mut map));
    let _ = map.serialize_entry("message", &record.args().to_string());
    let _ = map.serialize_entry("module", record.target());
    let _ = map.end();
    let _ = line.write_all(b"\n");
    line
}

/// Writes a record's keys into the object. One without a value is left out.
struct Keys<'a, M>(&'a mut M);

impl<'kvs, M: SerializeMap> VisitSource<'kvs> for Keys<'_, M> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        value.visit(Entry(self.0, key.as_str()))
    }
}

/// One of them.
struct Entry<'a, 'k, M>(&'a mut M, &'k str);

impl<M: SerializeMap> Entry<'_, '_, M> {
    fn write(&mut self, value: impl Serialize) -> Result<(), Error> {
        let written = self.0.serialize_entry(self.1, &value);
        written.map_err(|_| Error::msg("the line could not be written"))
    }
}

impl<'v, M: SerializeMap> VisitValue<'v> for Entry<'_, '_, M> {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), Error> {
        self.write(value.to_string())
    }

    fn visit_null(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), Error> {
        self.write(value)
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), Error> {
        self.write(value)
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), Error> {
        self.write(value)
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), Error> {
        self.write(value)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn line(format: LogFormat, says: &str, keys: &[(&str, Value<'_>)]) -> String {
        let args = format_args!("{says}");
        let record = Record::builder()
            .level(Level::Warn)
            .target("outhook::x")
            .args(args)
            .key_values(&keys)
            .build();
        let now = UNIX_EPOCH + Duration::from_millis(1_800_000_000_123);
        String::from_utf8(format.line(&record, now)).unwrap()
    }

    #[test]
    fn a_text_line_ends_where_it_ends_whatever_it_tells() {
        assert_eq!(
            line(LogFormat::Text, "a\nb\x1b[2J é", &[("id", "x".into())]),
            "[2027-01-15T08:00:00Z WARN  outhook::x] a?b?[2J é\n"
        );
    }

    #[test]
    fn a_json_line_has_the_keys_of_its_record_with_their_types() {
        let keys = [
            ("event", Value::from("dead")),
            ("count", 3u64.into()),
            ("rate", 0.5.into()),
            ("loss", true.into()),
            ("nothing", Value::null()),
            ("id", "a\"\n".into()),
        ];
        assert_eq!(
            line(LogFormat::Json, "a\nb", &keys),
            "{\"time\":\"2027-01-15T08:00:00.123Z\",\"level\":\"warn\",\"event\":\"dead\",\
             \"count\":3,\"rate\":0.5,\"loss\":true,\"id\":\"a\\\"\\n\",\"message\":\"a\\nb\",\
             \"module\":\"outhook::x\"}\n"
        );
        let dropped = LogFormat::Json.dropped(7, UNIX_EPOCH);
        let dropped: serde_json::Value = serde_json::from_slice(&dropped).unwrap();
        assert_eq!(dropped["count"], 7);
    }
}
