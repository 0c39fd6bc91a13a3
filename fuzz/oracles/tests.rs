//! The kept corpus, and random changes of it: what libFuzzer does for hours, in a second.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::TARGETS;

/// For each target.
const ROUNDS: usize = 3000;
const TIME: Duration = Duration::from_secs(2);

struct Random(fastrand::Rng);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0.usize(..n)
    }

    /// Some bytes of the corpus, changed here and there.
    fn change(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(5) {
            let at = self.below(bytes.len() + 1);
            match self.below(7) {
                0 if at < bytes.len() => bytes[at] = self.below(256) as u8,
                1 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                2 if at < bytes.len() => drop(bytes.remove(at)),
                3 => bytes.insert(at, b"\0\xff\x1b\n\r\"\\{}[],:;./%@#=09aZ "[self.below(25)]),
                4 => bytes.truncate(at),
                5 => {
                    let end = at + self.below(bytes.len() - at + 1).min(64);
                    let piece = bytes[at..end].to_vec();
                    bytes.splice(at..at, piece);
                }
                _ => {
                    let other = &corpus[self.below(corpus.len())];
                    let from = self.below(other.len() + 1);
                    let end = from + self.below(other.len() - from + 1);
                    bytes.splice(at..at, other[from..end].iter().copied());
                }
            }
        }
        bytes.truncate(1 << 16);
        bytes
    }
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
    let seed = std::env::var("OUTHOOK_FUZZ_SEED").ok();
    let seed = seed.and_then(|s| s.parse().ok()).unwrap_or(14);
    println!("OUTHOOK_FUZZ_SEED={seed}");
    for (name, run) in TARGETS {
        let corpus = corpus(name);
        for bytes in &corpus {
            let _shown = Shown(name, bytes);
            run(bytes);
        }
        let mut random = Random(fastrand::Rng::with_seed(seed));
        let begun = Instant::now();
        let mut rounds = 0;
        while rounds < ROUNDS && begun.elapsed() < TIME {
            let bytes = random.change(&corpus);
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
