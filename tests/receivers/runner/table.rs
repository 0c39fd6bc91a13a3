//! What is printed: a table of all cases, and for each that failed what it takes to see why.

use std::fmt::Write;
use std::sync::Arc;

use super::Played;
use super::case::Case;
use super::judge::{expected, got};

/// One sender's column.
pub struct Column {
    pub name: String,
    pub played: Vec<Played>,
    /// Only what became of the messages counts, not how its errors are worded.
    pub lenient: bool,
}

impl Column {
    fn is_right(&self, n: usize) -> bool {
        let played = &self.played[n];
        match self.lenient {
            true => played.right,
            false => played.faults.is_empty(),
        }
    }

    fn cell(&self, n: usize) -> String {
        let played = &self.played[n];
        if let Some(skipped) = &played.skipped {
            return format!("-  {skipped}");
        }
        let mark = if self.is_right(n) { "ok" } else { "WRONG" };
        let ends: Vec<String> = played
            .outcomes
            .iter()
            .map(|outcome| outcome.as_ref().map_or("nothing".into(), got))
            .collect();
        format!("{mark}  {}", short(&ends))
    }
}

/// The table, one line a case.
pub fn table(cases: &[Arc<Case>], columns: &[Column]) -> String {
    let mut rows = vec![vec!["case".to_owned(), "right".to_owned()]];
    rows[0].extend(columns.iter().map(|column| column.name.clone()));
    for (n, case) in cases.iter().enumerate() {
        let right: Vec<String> = case.message.iter().map(expected).collect();
        let mut row = vec![case.name.clone(), short(&right)];
        row.extend(columns.iter().map(|column| column.cell(n)));
        rows.push(row);
    }
    let mut text = String::new();
    let width = |at: usize| {
        rows.iter()
            .map(|row| row[at].chars().count())
            .max()
            .unwrap_or_default()
            .min(52)
    };
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    for row in &rows {
        for (cell, width) in row.iter().zip(&widths) {
            let cell: String = cell.chars().take(*width).collect();
            let _ = write!(text, "{cell:width$}  ");
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    for column in columns {
        let asked = column
            .played
            .iter()
            .filter(|played| played.skipped.is_none())
            .count();
        let right = (0..cases.len())
            .filter(|n| column.played[*n].skipped.is_none() && column.is_right(*n))
            .count();
        let slowest = (0..cases.len())
            .max_by_key(|n| column.played[*n].took)
            .unwrap_or_default();
        let took = column.played[slowest].took;
        let name = &cases[slowest].name;
        let _ = writeln!(
            text,
            "{}: {right} of {asked} right; the longest was {name}, {took:.1?}",
            column.name
        );
    }
    text
}

/// Equal ends one after another are counted.
fn short(ends: &[String]) -> String {
    let mut parts: Vec<(usize, &str)> = Vec::new();
    for end in ends {
        match parts.last_mut() {
            Some((count, same)) if same == end => *count += 1,
            _ => parts.push((1, end)),
        }
    }
    let parts: Vec<String> = parts
        .iter()
        .map(|(count, end)| {
            if *count == 1 {
                (*end).to_owned()
            } else {
                format!("{count} x {end}")
            }
        })
        .collect();
    parts.join(", ")
}

/// Everything about a case that failed.
pub fn story(case: &Case, played: &Played) -> String {
    let mut text = format!(
        "\n--- {}\n{}\nright: {}\n",
        case.name,
        case.about.trim(),
        case.right.trim()
    );
    for link in &case.seen {
        let _ = writeln!(text, "seen: {link}");
    }
    for fault in &played.faults {
        let _ = writeln!(text, "WRONG  {fault}");
    }
    for (n, outcome) in played.outcomes.iter().enumerate() {
        let end = outcome.as_ref().map_or("nothing".into(), got);
        let attempts = outcome.as_ref().and_then(|outcome| outcome.attempts);
        let attempts = attempts.map_or(String::new(), |made| format!(", attempts {made}"));
        let _ = writeln!(text, "  message {}: {end}{attempts}", n + 1);
    }
    for line in &played.transcript {
        let _ = writeln!(text, "  {line}");
    }
    text
}
