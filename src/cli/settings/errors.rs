//! What clap finds wrong, in one line: the option, its value, what is allowed, and what was perhaps
//! meant.

use std::error::Error;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::cli::nearest::{OPTION, nearest};

/// Answers the line.
pub fn one_line(error: &clap::Error) -> String {
    let arg = name_of(&text(error, ContextKind::InvalidArg));
    let value = text(error, ContextKind::InvalidValue);
    match error.kind() {
        ErrorKind::ValueValidation => {
            let why = error.source().map(ToString::to_string);
            format!("{arg} {value}: {}", why.unwrap_or_default())
        }
        ErrorKind::InvalidValue if value.is_empty() => format!("{arg}: it needs a value"),
        ErrorKind::InvalidValue => {
            let allowed = text(error, ContextKind::ValidValue).replace(", ", " or ");
            let meant = meant(&value, error, ContextKind::SuggestedValue);
            format!("{arg} {value}: it must be {allowed}{meant}")
        }
        ErrorKind::UnknownArgument => {
            let is_flag = arg.starts_with('-');
            let what = if is_flag {
                "there is no such option"
            } else {
                "it is not expected here"
            };
            let meant = meant(&arg, error, ContextKind::SuggestedArg);
            see_help(error, format!("{arg}: {what}{meant}"))
        }
        ErrorKind::InvalidSubcommand => {
            let name = text(error, ContextKind::InvalidSubcommand);
            let meant = meant(&name, error, ContextKind::SuggestedSubcommand);
            see_help(error, format!("{name}: there is no such command{meant}"))
        }
        ErrorKind::ArgumentConflict => {
            let other = name_of(&text(error, ContextKind::PriorArg));
            match arg == other {
                true => format!("{arg}: it may stand only once"),
                false => format!("{arg} and {other} exclude each other; set one"),
            }
        }
        _ => first_paragraph(error),
    }
}

/// `--workers <N>` is an option with its value; `<ID>...` is a value alone.
fn name_of(shown: &str) -> String {
    shown
        .split([' ', '='])
        .next()
        .unwrap_or_default()
        .to_owned()
}

fn text(error: &clap::Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(all)) => all.join(", "),
        _ => String::new(),
    }
}

/// Names the nearest of clap's proposals.
fn meant(typed: &str, error: &clap::Error, kind: ContextKind) -> String {
    let all = text(error, kind);
    let meant = nearest(
        typed,
        all.split(", ").filter(|name| !name.is_empty()),
        OPTION,
    );
    meant.map_or_else(String::new, |name| format!("; is {name} meant?"))
}

/// Adds the command whose help has what there is.
fn see_help(error: &clap::Error, text: String) -> String {
    let Some(ContextValue::StyledStr(usage)) = error.get(ContextKind::Usage) else {
        return text;
    };
    let usage = usage.to_string();
    let words = usage.trim_start_matches("Usage:").split_whitespace();
    let command = words.take_while(|word| !word.starts_with(['[', '<', '-']));
    let command: Vec<&str> = command.collect();
    let see = if text.ends_with('?') { " See" } else { "; see" };
    format!("{text}{see} {} --help", command.join(" "))
}

fn first_paragraph(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = first.split_whitespace().collect();
    words.join(" ").trim_start_matches("error: ").to_owned()
}
