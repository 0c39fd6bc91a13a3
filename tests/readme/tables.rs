//! Tables of words that outhook says or takes are complete, and hold no other.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use crate::pages::{Page, code, codes, documents, source_files, sources};
use crate::session::{self, BIN};

fn outhook(args: &[&str]) -> String {
    let out = Command::new(BIN).args(args).output().unwrap();
    let texts = [out.stdout, out.stderr].map(|text| String::from_utf8(text).unwrap());
    texts.concat()
}

fn set<'a>(words: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    words.into_iter().map(str::to_owned).collect()
}

#[test]
fn every_option_stands_in_the_table_with_its_default() {
    let page = Page::read("docs/configuration.md");
    let mut rows = page.rows();
    rows.retain(|row| row[0].starts_with("`--"));
    let documented = set(rows.iter().map(|row| code(&row[0])));
    let mut real = BTreeSet::new();
    for command in ["serve", "deliver", "demo", "listen", "check"] {
        let help = outhook(&[command, "--help"]);
        for part in help.split("\n      --").skip(1) {
            let flag = format!("--{}", part.split([' ', '\n']).next().unwrap());
            let flag = flag.trim_end_matches("...").to_owned();
            let words = part.split_whitespace().collect::<Vec<_>>().join(" ");
            let default = words
                .split_once("[default: ")
                .map(|(_, rest)| rest.split(']').next().unwrap().to_owned());
            let row = rows.iter().find(|row| code(&row[0]) == flag);
            let row = row.unwrap_or_else(|| panic!("{flag} is not in the table of {}", page.name));
            let plain = default.filter(|d| !d.contains(' '));
            assert_eq!(code(&row[1]), plain.unwrap_or_default(), "{flag}");
            real.insert(flag);
        }
    }
    assert_eq!(documented, real);
}

#[test]
fn options_that_pages_name_are_there() {
    // Of other programs: docker, cargo, scripts.
    let mut real = set([
        "--quick", "--intake", "--local", "--locked", "--path", "--signal",
    ]);
    collect_flags(&mut Vec::new(), &mut real);
    for page in documents() {
        for text in codes(&page.prose()) {
            let words = text
                .split([' ', '\n'])
                .filter(|word| word.starts_with("--"));
            for word in words.filter(|word| word.len() > 2) {
                let flag = word.split('=').next().unwrap();
                assert!(real.contains(flag), "{}: {flag}", page.name);
            }
        }
    }
}

/// The options of a command, and of all below it.
fn collect_flags<'a>(command: &mut Vec<&'a str>, all: &mut BTreeSet<String>) {
    let mut args = command.clone();
    args.push("--help");
    let help: &'a str = outhook(&args).leak();
    let words = help
        .split_whitespace()
        .filter(|word| word.starts_with("--"));
    all.extend(set(
        words.map(|word| word.trim_end_matches(['.', ',', ';', ')', ':']))
    ));
    let below = help.split("Commands:\n").nth(1).unwrap_or_default();
    let below = below.lines().take_while(|line| !line.is_empty());
    for line in below.filter(|line| !line.starts_with("   ")) {
        let name = line.split_whitespace().next().unwrap();
        if name != "help" {
            command.push(name);
            collect_flags(command, all);
            command.pop();
        }
    }
}

#[test]
fn every_reason_of_a_dead_letter_has_a_row() {
    let page = Page::read("docs/retries.md");
    let said = outhook(&["dead", "list", "--reason", "nonsense"]);
    let (_, real) = said.trim().split_once("one of ").expect(&said);
    let rows = page.table("| reason |");
    let documented = set(rows.iter().map(|row| code(&row[0])));
    assert_eq!(documented, set(real.split(' ')));
}

#[test]
fn every_kind_of_error_has_a_row() {
    let page = Page::read("docs/retries.md");
    let all = sources();
    let (_, after) = all.split_once("impl fmt::Display for FailureKind").unwrap();
    let body = after.split("\nimpl").next().unwrap();
    let real = set(body.split('"').skip(1).step_by(2));
    let rows = page.table("| `error` | why there was no answer |");
    assert_eq!(set(rows.iter().map(|row| code(&row[0]))), real);
}

#[test]
fn every_counter_has_a_row() {
    let page = Page::read("docs/operations.md");
    let rows = page.table("| counter |");
    let documented = set(rows.iter().flat_map(|row| codes(&row[0])));
    let dir = tempfile::tempdir().unwrap();
    let script = "services; kill -USR1 $serve; wait-until grep accepted= serve.log; cat serve.log";
    let out = session::run(script, dir.path());
    let log = String::from_utf8_lossy(&out.stdout);
    let line = log
        .lines()
        .find(|line| line.contains("accepted="))
        .expect(&log);
    let words = line
        .split_whitespace()
        .filter_map(|word| word.split_once('='));
    assert_eq!(documented, set(words.map(|(name, _)| name)));
}

#[test]
fn every_field_of_a_result_has_a_row() {
    let page = Page::read("docs/operations.md");
    let rows = page.table("| field | |");
    let documented = set(rows.iter().flat_map(|row| codes(&row[0])));
    let dir = tempfile::tempdir().unwrap();
    let script = "services --status-ttl 1d
        outhook send --url http://127.0.0.1:9000/ --webhook-id w --data 1 >sent
        wait-until grep-out delivered outhook status w
        outhook status w";
    let out = session::run(script, dir.path());
    let said = String::from_utf8_lossy(&out.stdout);
    let names = said.lines().filter_map(|line| line.split(' ').next());
    assert_eq!(documented, set(names.filter(|name| !name.is_empty())));
}

#[test]
fn every_field_of_the_endpoints_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let script = "printf '[[endpoint]]\\nhost = \"h\"\\nnonsense = 1\\n' >e.toml\n\
         outhook deliver --endpoints e.toml </dev/null || true\n";
    let out = session::run(script, dir.path());
    let said = String::from_utf8_lossy(&out.stderr);
    let (_, fields) = said.split_once("expected one of ").expect(&said);
    let pages = ["endpoints", "logins", "signing", "guard"];
    let pages = pages.map(|name| Page::read(&format!("docs/{name}.md")).text);
    let all = pages.concat();
    let mut found = 0;
    for field in codes(fields) {
        found += 1;
        assert!(all.contains(field), "{field}");
    }
    assert!(found > 15, "{said}");
}

#[test]
fn every_key_in_redis_has_a_row() {
    let page = Page::read("docs/redis.md");
    let rows = page.table("| key | type |");
    let names = rows.iter().flat_map(|row| codes(&row[0]));
    let names = names.map(|name| name.trim_start_matches("{outhook}:"));
    let documented = set(names.map(|name| name.split(':').next().unwrap()));
    let keys = Page::read("src/store/keys.rs").text;
    let mut real = set(keys.split("{prefix}").skip(1).map(word));
    real.extend(set(keys.split("format!(\"{}").skip(1).map(word)));
    assert_eq!(
        documented,
        real.into_iter().filter(|w| !w.is_empty()).collect()
    );
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_lowercase() && c != '-');
    &text[..end.unwrap_or(text.len())]
}

#[test]
fn exit_codes_are_those_of_the_program() {
    let page = Page::read("docs/configuration.md");
    let rows = page.table("| code |");
    let codes: Vec<&str> = rows.iter().map(|row| &*row[0]).collect();
    assert_eq!(codes, ["0", "1", "2", "130, 143"]);
    let out = Command::new(BIN).args(["serve", "--workers", "0"]).output();
    assert_eq!(out.unwrap().status.code(), Some(2));
}

#[test]
fn log_lines_that_pages_tell_of_are_written_somewhere() {
    // What is put together from parts.
    let all = sources();
    let all = all.replace("\"{}: trouble", "\"redis: trouble");
    let all = all.replace("\"{}: back", "\"redis: back");
    let mut found = 0;
    let page = Page::read("docs/logs.md");
    for row in page.table("| log line |") {
        for text in codes(&row[0]) {
            found += 1;
            assert!(all.contains(text), "{text}");
        }
    }
    assert!(found > 10, "{found}");
}

#[test]
fn every_event_of_the_log_has_a_row_with_its_keys() {
    let page = Page::read("docs/logs.md");
    let rows = page.table("| event | keys |");
    let rows = rows
        .iter()
        .map(|row| (code(&row[0]).to_owned(), set(codes(&row[1]))));
    let documented: BTreeMap<String, BTreeSet<String>> = rows.collect();
    let mut logged = BTreeMap::<String, BTreeSet<String>>::new();
    for source in source_files() {
        let source = source.split("#[cfg(test)]").next().unwrap();
        for part in source.split("event = \"").skip(1) {
            let (event, rest) = part.split_once('"').unwrap();
            let keys = rest.split(';').next().unwrap().split(',');
            let keys = keys.filter_map(|key| Some(key.split_once('=')?.0.trim()));
            let keys = keys.map(|key| key.split(':').next().unwrap());
            logged.entry(event.into()).or_default().extend(set(keys));
        }
        for part in source.split("log_counters(\"").skip(1) {
            let event = part.split('"').next().unwrap();
            logged.entry(event.into()).or_default();
        }
    }
    // Written by hand, as it is no record of anyone's.
    logged.insert("log_dropped".into(), set(["count"]));
    assert!(logged.len() > 10);
    assert_eq!(documented, logged);
}
