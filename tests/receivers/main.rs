//! The corpus of receivers: what servers in the open do, one file each, played to the real
//! binary. `README.md` beside this file says how to read, run and add to it.

mod runner;

use std::path::Path;
use std::sync::Arc;

use runner::case::{Case, read_all};
use runner::certificates::Certificates;
use runner::names::NameServer;
use runner::senders::command::Script;
use runner::senders::curl::Curl;
use runner::senders::outhook::Outhook;
use runner::senders::{Sender, Surroundings};
use runner::table::{Column, story, table};
use runner::{Played, play_all};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/receivers");

fn cases() -> Vec<Arc<Case>> {
    let all = read_all(Path::new(FOLDER)).unwrap_or_else(|e| panic!("{e}"));
    all.into_iter().map(Arc::new).collect()
}

/// Those whose name holds the value of CORPUS_CASE.
fn chosen(cases: &[Arc<Case>]) -> Vec<Arc<Case>> {
    let wanted = std::env::var("CORPUS_CASE").unwrap_or_default();
    let chosen: Vec<_> = cases
        .iter()
        .filter(|case| case.name.contains(&wanted))
        .cloned()
        .collect();
    assert!(
        !chosen.is_empty(),
        "no case is called like CORPUS_CASE={wanted}"
    );
    chosen
}

/// The senders beside outhook: what CORPUS_SENDER asks for.
fn others(surroundings: &Surroundings) -> Vec<Box<dyn Sender>> {
    match std::env::var("CORPUS_SENDER").as_deref() {
        Ok("curl") => match Curl::find(surroundings.clone()) {
            Some(curl) => vec![Box::new(curl)],
            None => panic!("CORPUS_SENDER=curl: there is no curl on the PATH"),
        },
        Err(_) | Ok("") => Vec::new(),
        Ok(line) => vec![Box::new(Script {
            line: line.into(),
            surroundings: surroundings.clone(),
        })],
    }
}

#[test]
fn every_receiver_of_the_corpus_is_understood() {
    let cases = chosen(&cases());
    let certificates = Certificates::new();
    let names = NameServer::start(&cases).unwrap_or_else(|e| panic!("{e}"));
    let folder = tempfile::tempdir().expect("a folder");
    let surroundings = Surroundings {
        ca_file: folder.path().join("root.pem"),
        name_server: names.address,
        folder: folder.path().to_owned(),
    };
    std::fs::write(&surroundings.ca_file, certificates.root_pem()).expect("to write a file");

    let outhook = Outhook::new(surroundings.clone());
    let mut played = play_all(&cases, &certificates, &outhook);
    let ended = outhook.end();
    for (case, played) in cases.iter().zip(&mut played) {
        for option in outhook.lacks(case) {
            played.faults.push(format!("outhook has no {option} yet"));
        }
    }
    let mut columns = vec![Column {
        name: outhook.name(),
        played,
        lenient: false,
    }];
    for other in others(&surroundings) {
        let played = play_all(&cases, &certificates, other.as_ref());
        other.end().unwrap_or_else(|e| panic!("{e}"));
        columns.push(Column {
            name: other.name(),
            played,
            lenient: true,
        });
    }
    println!("{}", table(&cases, &columns));
    let wrong = |played: &&Played| !played.faults.is_empty();
    let failed = columns[0].played.iter().filter(wrong).count();
    for (case, played) in cases.iter().zip(&columns[0].played) {
        if wrong(&played) {
            println!("{}", story(case, played));
        }
    }
    ended.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(
        failed,
        0,
        "{failed} of {} receivers are misunderstood; their stories stand above",
        cases.len()
    );
}

#[test]
fn the_corpus_says_where_its_receivers_were_seen() {
    let cases = cases();
    for case in &cases {
        assert!(!case.seen.is_empty(), "{}: `seen` is empty", case.name);
        let links = case.seen.iter().all(|seen| seen.starts_with("https://"));
        assert!(links, "{}: `seen` holds links", case.name);
    }
}
