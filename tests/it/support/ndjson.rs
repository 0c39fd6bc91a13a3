//! Dead letters in their NDJSON form.

use serde_json::Value;

#[derive(Debug)]
pub struct Letter(Value);

impl Letter {
    /// Every line is a dead letter.
    pub fn all(text: &str) -> Vec<Letter> {
        text.lines()
            .map(|l| Letter::parse(l).unwrap_or_else(|| panic!("no dead letter: {l}")))
            .collect()
    }

    /// The lines that are dead letters, among others that are log lines.
    pub fn among(lines: &[String]) -> Vec<Letter> {
        lines.iter().filter_map(|l| Letter::parse(l)).collect()
    }

    fn parse(line: &str) -> Option<Letter> {
        let value: Value = serde_json::from_str(line).ok()?;
        value.get("reason").is_some().then_some(Letter(value))
    }

    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    pub fn text(&self, name: &str) -> &str {
        let value = self.get(name).and_then(Value::as_str);
        value.unwrap_or_else(|| panic!("{name} in {}", self.0))
    }

    pub fn number(&self, name: &str) -> u64 {
        let value = self.get(name).and_then(Value::as_u64);
        value.unwrap_or_else(|| panic!("{name} in {}", self.0))
    }
}
