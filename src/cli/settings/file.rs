//! The file of `--config`: options under the names of their flags, in TOML.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;
use toml::Spanned;

use crate::cli::nearest::{OPTION, nearest};
use crate::trust::secret::without_keys;

/// See the module's header.
pub struct ConfigFile {
    /// For messages.
    pub name: String,
    values: BTreeMap<String, Vec<String>>,
}

/// A value as it stands there. What it may be is for the option to say.
#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Switch(bool),
    Whole(i64),
    Real(f64),
    Text(String),
    List(Vec<Value>),
    Table(BTreeMap<String, IgnoredAny>),
}

impl ConfigFile {
    /// Reads the file, in which these options may stand. The error is one line.
    pub fn read(path: &str, names: &[&str]) -> Result<ConfigFile, String> {
        let wrong = |e: String| format!("--config {path}: {e}");
        // A pipe could not be read again.
        let text = match fs::metadata(path) {
            Ok(data) if !data.is_file() => Err("not a file".to_owned()),
            Ok(_) => fs::read_to_string(path).map_err(|e| e.to_string()),
            Err(e) => Err(e.to_string()),
        };
        let text = text.map_err(|e| wrong(format!("{e}; it must be a readable file")))?;
        let name = Path::new(path).file_name().unwrap_or_default();
        Ok(ConfigFile {
            name: name.to_string_lossy().into_owned(),
            values: parse(&text, names).map_err(wrong)?,
        })
    }

    pub fn get(&self, flag: &str) -> Option<&[String]> {
        self.values.get(flag).map(Vec::as_slice)
    }
}

fn parse(text: &str, names: &[&str]) -> Result<BTreeMap<String, Vec<String>>, String> {
    let line = |at: usize| text[..at].matches('\n').count() + 1;
    let all: BTreeMap<Spanned<String>, Value> = toml::from_str(text).map_err(|e| {
        let place = e.span().map(|span| format!("line {}: ", line(span.start)));
        let words = without_keys(e.message());
        let words: Vec<&str> = words.split_whitespace().collect();
        format!("{}{}", place.unwrap_or_default(), words.join(" "))
    })?;
    let mut values = BTreeMap::new();
    for (key, value) in all {
        let place = format!("line {}: ", line(key.span().start));
        let flag = key.into_inner();
        if let Value::Table(keys) = &value {
            let first = keys.keys().next().map_or("workers", String::as_str);
            return Err(format!(
                "{place}[{flag}]: options stand in no table; write {first} = … without one"
            ));
        }
        if flag == "config" {
            return Err(format!("{place}config: a file cannot name another one"));
        }
        if !names.contains(&&*flag) {
            let meant = nearest(&flag, names.iter().copied(), OPTION);
            let meant = meant.map_or_else(String::new, |name| format!("; is {name} meant?"));
            return Err(format!(
                "{place}{flag}: there is no such option{meant}; options stand here under the names \
                 of their flags, without --"
            ));
        }
        let texts = texts(value).ok_or_else(|| {
            format!("{place}{flag}: it must be a text, a number, true or false, or a list of these")
        })?;
        // A switch that is off is as if it were not there.
        if texts != ["false"] {
            values.insert(flag, texts);
        }
    }
    Ok(values)
}

/// As they would be typed.
fn texts(value: Value) -> Option<Vec<String>> {
    Some(match value {
        Value::Switch(on) => vec![on.to_string()],
        Value::Whole(n) => vec![n.to_string()],
        Value::Real(n) => vec![n.to_string()],
        Value::Text(text) => vec![text],
        Value::List(all) => {
            let all: Option<Vec<Vec<String>>> = all.into_iter().map(texts).collect();
            all?.concat()
        }
        Value::Table(_) => return None,
    })
}
