//! Every shell example is run, and says what the page tells that it says.

use std::fs;
use std::thread;

use crate::pages::{Block, Page, documents, root};
use crate::session::{self, Ports};

/// What is to be done with a block of a shell.
enum Label {
    Run { code: u8, before: String },
    RunBy { file: String, text: String },
}

impl Label {
    fn of(page: &Page, block: &Block) -> Label {
        let place = format!("{}:{}", page.name, block.line);
        let comment = block.comment.as_deref().unwrap_or_default();
        let (first, before) = comment.split_once('\n').unwrap_or((comment, ""));
        if let Some((file, text)) = first
            .strip_prefix("run by ")
            .and_then(|f| f.split_once(": "))
        {
            return Label::RunBy {
                file: file.into(),
                text: text.into(),
            };
        }
        let code = match first {
            "run" => 0,
            other => other
                .strip_prefix("run, ends with ")
                .and_then(|code| code.parse().ok())
                .unwrap_or_else(|| panic!("{place}: no `<!-- run … -->` above it: {other:?}")),
        };
        Label::Run {
            code,
            before: before.into(),
        }
    }
}

/// The script of a page, and for each block of it that says something, its number and what it says.
fn script(page: &Page) -> (String, Vec<(usize, Block)>) {
    let (mut script, mut said) = (String::new(), Vec::new());
    let mut last = None;
    for (n, block) in page.blocks().into_iter().enumerate() {
        if block.comment.as_deref() == Some("says") {
            let last = last.unwrap_or_else(|| panic!("{}:{}: who?", page.name, block.line));
            said.push((last, block));
            continue;
        }
        if block.language != "sh" {
            continue;
        }
        match Label::of(page, &block) {
            Label::Run { code, before } => {
                let (line, text) = (block.line, &block.text);
                script += &format!("echo \"### line {line}, after $SECONDS s\" >&2\n{before}\n");
                script += &match code {
                    0 => format!("{{\n{text}}} >said.{n} 2>&1\n"),
                    code => format!("( {text} ) >said.{n} 2>&1 && false || [ $? = {code} ]\n"),
                };
                last = Some(n);
            }
            Label::RunBy { file, text } => {
                let runner = fs::read_to_string(root().join(&file)).expect(&file);
                assert!(runner.contains(&text), "{}: {file}: {text}", page.name);
            }
        }
    }
    (script, said)
}

fn run(page: &Page) {
    let (script, said) = script(page);
    if script.is_empty() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let ports = Ports::free();
    let out = session::run_at(&ports, &script, dir.path());
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap_or_default();
    let told = || {
        let logs = ["serve.log", "listen.log"].map(read).join("\n");
        let blocks = (0..99).map(|n| read(&format!("said.{n}")));
        let blocks: String = blocks.collect();
        let errors = String::from_utf8_lossy(&out.stderr);
        format!("{}:\n{errors}\nlogs:\n{logs}\nsaid:\n{blocks}", page.name)
    };
    assert!(out.status.success(), "{}", told());
    for (n, block) in said {
        let text = ports.give_back(&read(&format!("said.{n}")));
        let mut lines = text.lines();
        for expected in block.text.lines() {
            let is_there = lines.any(|line| matches(expected, line));
            assert!(is_there, "line {}: {expected}\n{}", block.line, told());
        }
    }
}

/// Whether a line is what is expected, in which `…` stands for anything, several blanks for one, any
/// time for any other, and any entry for any other.
fn matches(expected: &str, line: &str) -> bool {
    let plain = |text: &str| {
        text.split_whitespace()
            .map(kind)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let (expected, line) = (plain(expected), plain(line));
    let mut parts: Vec<&str> = expected.split('…').map(str::trim).collect();
    let last = parts.pop().filter(|_| !parts.is_empty());
    let Some(last) = last else {
        return line == expected;
    };
    let Some(mut rest) = line.strip_prefix(parts[0]) else {
        return false;
    };
    for part in &parts[1..] {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// A word, or what stands for all of its kind.
fn kind(word: &str) -> &str {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let entry = word.split_once('-');
    match entry {
        Some((ms, n)) if ms.len() == 13 && is_number(ms) && is_number(n) => "an entry",
        Some((year, _)) if word.len() == 24 && is_number(year) && word.ends_with('Z') => "a time",
        _ => word,
    }
}

#[test]
fn every_example_is_run_and_says_what_the_page_tells() {
    let pages = documents();
    let failed: Vec<String> = thread::scope(|scope| {
        let runs: Vec<_> = pages.iter().map(|page| scope.spawn(|| run(page))).collect();
        let ends = runs.into_iter().zip(&pages);
        ends.filter_map(|(run, page)| run.join().is_err().then(|| page.name.clone()))
            .collect()
    });
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn the_command_that_runs_all_tests_stands_in_the_readme() {
    let page = Page::read("README.md");
    let is_it = |block: &Block| block.text.trim() == "scripts/test.sh";
    assert!(page.blocks_of("sh").iter().any(is_it));
}

#[test]
fn examples_in_other_languages_name_the_stream_and_the_field() {
    let page = Page::read("docs/producing.md");
    for language in ["python", "js", "go", "ruby"] {
        let blocks = page.blocks_of(language);
        let code = &blocks.first().expect(language).text;
        let is_right = code.contains("{outhook}:messages") && code.contains("message");
        assert!(is_right, "{language}");
    }
}

#[test]
fn lines_are_compared_with_gaps() {
    for (expected, line, is_same) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("a…", "ab", true),
        ("…b", "ab", true),
        ("…b", "abc", false),
        ("a … c", "a   b c", true),
        ("a…c", "ab", false),
        ("a…1", "a 10 1", true),
        ("1795791600000-0 a", "1795791600001-1 a", true),
        ("1795791600000-0", "1795-0", false),
        ("2026-11-27T15:00:00.000Z", "2027-11-27T15:00:00.000Z", true),
    ] {
        assert_eq!(matches(expected, line), is_same, "{expected} {line}");
    }
}
