//! The kept corpus, and random changes of it: what libFuzzer does for hours, in a second.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::TARGETS;
use crate::dice::Dice;

/// For each target.
const ROUNDS: usize = 3000;
const TIME: Duration = Duration::from_secs(2);

/// Some bytes of the corpus, changed here and there.
fn change(dice: &mut Dice, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = dice.pick(corpus).clone();
    for _ in 0..=dice.below(5) {
        let at = dice.index(bytes.len() + 1);
        match dice.below(7) {
            0 if at < bytes.len() => bytes[at] = dice.below(256) as u8,
            1 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            3 => bytes.insert(at, *dice.pick(b"\0\xff\x1b\n\r\"\\{}[],:;./%@#=09aZ ")),
            4 => bytes.truncate(at),
            5 => {
                let end = at + dice.index(bytes.len() - at + 1).min(64);
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let other = dice.pick(corpus);
                let from = dice.index(other.len() + 1);
                let end = from + dice.index(other.len() - from + 1);
                bytes.splice(at..at, other[from..end].iter().copied());
            }
        }
    }
    bytes.truncate(1 << 16);
    bytes
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let dir = root().join("corpus").join(name);
    let files = fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut paths: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    // So that a seed means the same everywhere.
    paths.sort();
    assert!(paths.len() >= 3, "{name}: a corpus of {}", paths.len());
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Says which bytes it was, if one of them panics.
struct Shown<'a>(&'a str, &'a [u8]);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}: b\"{}\"", self.0, self.1.escape_ascii());
        }
    }
}

#[test]
fn what_must_hold_holds_for_the_corpus_and_for_random_changes_of_it() {
    if !root().is_dir() {
        println!("skipped: the crate as it is published has no corpus");
        return;
    }
    for (name, run) in TARGETS {
        let corpus = corpus(name);
        for bytes in &corpus {
            let _shown = Shown(name, bytes);
            run(bytes);
        }
        let mut dice = Dice::usual(14);
        let begun = Instant::now();
        let mut rounds = 0;
        while rounds < ROUNDS && begun.elapsed() < TIME {
            let bytes = change(&mut dice, &corpus);
            dice.step();
            let _shown = Shown(name, &bytes);
            run(&bytes);
            rounds += 1;
        }
        println!(
            "{name}: {} kept, {rounds} changed, {:?}",
            corpus.len(),
            begun.elapsed()
        );
    }
}

#[test]
fn each_target_is_one_of_libfuzzers() {
    if !root().is_dir() {
        return;
    }
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
        let path = root().join(format!("fuzz_targets/{name}.rs"));
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.contains(&format!("outhook::fuzzing::{name}")),
            "{name}"
        );
    }
}
