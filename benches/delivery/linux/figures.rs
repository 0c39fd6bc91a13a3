//! Numbers as they are printed, and the targets that some of them have.

use std::time::Duration;

use serde_json::{Value, json};

pub fn rate(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

/// Of a sorted list.
pub fn at(sorted: &[Duration], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let value = sorted.get((last as f64 * share) as usize);
    (value.copied().unwrap_or_default().as_secs_f64() * 1e6).round() / 1e3
}

pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

pub fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// A figure that is to be no larger.
pub fn at_most(value: f64, limit: f64) -> Value {
    json!({ "value": round(value), "at_most": limit, "met": value <= limit })
}

/// A figure that is to be no smaller.
pub fn at_least(value: f64, limit: f64) -> Value {
    json!({ "value": round(value), "at_least": limit, "met": value >= limit })
}

/// One line a figure, with its target beside it if it has one.
pub fn print(scenario: &str, figures: &Value) {
    println!("{scenario}");
    for (name, figure) in figures.as_object().into_iter().flatten() {
        let Some(value) = figure.get("value") else {
            println!("  {name:<28} {figure:>12}");
            continue;
        };
        let target = match (figure.get("at_most"), figure.get("at_least")) {
            (Some(limit), _) => format!("at most {limit}"),
            (None, Some(limit)) => format!("at least {limit}"),
            (None, None) => String::new(),
        };
        let missed = match figure["met"] == false {
            true => ", missed",
            false => "",
        };
        println!("  {name:<28} {value:>12}   {target}{missed}");
    }
}
