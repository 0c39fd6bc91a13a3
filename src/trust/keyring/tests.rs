//! What is known of names, and when it is asked for.

use super::*;

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn name() -> Arc<str> {
    "acme".into()
}

fn keys(text: &str) -> Read {
    keys_of(&Secret::new(text.into()))
}

fn wanted(requests: &Requests) -> usize {
    requests.wanted.try_iter().count()
}

/// `S`igning, `U`nread or `M`issing.
fn find(keyring: &Keyring, now: Instant) -> char {
    match keyring.find(&name(), None, now) {
        Found::Signing(_) => 'S',
        Found::Unread { .. } => 'U',
        Found::Missing(_) => 'M',
    }
}

#[test]
fn a_name_is_asked_for_once_and_again_before_it_is_old_and_signs_no_longer() {
    let (keyring, requests) = keyring("a place".into());
    let (now, name) = (Instant::now(), name());
    assert_eq!((find(&keyring, now), find(&keyring, now)), ('U', 'U'));
    assert_eq!(wanted(&requests), 1, "once");
    requests.put(&name, keys(KEY), requests.epoch(), now);
    assert_eq!((find(&keyring, now + HALF), wanted(&requests)), ('S', 0));
    // Soon old: it is asked for, and used meanwhile.
    assert_eq!((find(&keyring, now + FRESH), wanted(&requests)), ('S', 1));
    requests.put(&name, keys(KEY), requests.epoch(), now + FRESH);
    // Old: it waits to be read.
    let old = now + 9 * FRESH;
    assert_eq!((find(&keyring, old), wanted(&requests)), ('U', 1));
    requests.put(&name, Err("it is not there".into()), requests.epoch(), old);
    assert_eq!((find(&keyring, old), wanted(&requests)), ('M', 0));
    // What was denied a while ago is not denied again before it was looked for.
    assert_eq!(
        (find(&keyring, old + 2 * FRESH), wanted(&requests)),
        ('U', 1)
    );
}

#[test]
fn what_is_old_signs_while_nothing_can_be_read_and_not_because_of_an_earlier_failure() {
    let (keyring, requests) = keyring("a place".into());
    let (now, name) = (Instant::now(), name());
    requests.put(&name, keys(KEY), requests.epoch(), now);
    let old = now + 2 * FRESH;
    assert_eq!(find(&keyring, old), 'U');
    requests.note_failure(old);
    requests.give_back(std::slice::from_ref(&name));
    assert_eq!((find(&keyring, old), wanted(&requests)), ('S', 2));
    // Or no answer comes at all.
    let (waits, done) = (old + GRACE / 2, old + GRACE);
    requests.put(&name, keys(KEY), requests.epoch(), now);
    assert_eq!((find(&keyring, old), find(&keyring, waits)), ('U', 'U'));
    assert_eq!(find(&keyring, done), 'S');
    // A failure of long ago is none of now.
    requests.put(&name, keys(KEY), requests.epoch(), old);
    requests.note_failure(old);
    keyring.read_again();
    assert_eq!(find(&keyring, old + FRESH / 2), 'S');
    assert_eq!(find(&keyring, old + FRESH), 'S', "it has waited meanwhile");
    requests.put(&name, keys(KEY), requests.epoch(), old);
    requests.note_failure(old);
    assert_eq!(find(&keyring, old + 2 * FRESH), 'U');
}

#[test]
fn what_has_changed_is_read_again_and_signs_anew() {
    let (keyring, requests) = keyring("a place".into());
    let (now, name) = (Instant::now(), name());
    let signing = || match keyring.find(&name, None, now) {
        Found::Signing(signing) => signing,
        other => panic!("{other:?}"),
    };
    requests.put(&name, keys(KEY), requests.epoch(), now);
    let first = signing();
    assert!(Arc::ptr_eq(&first, &signing()), "prepared once");
    let epoch = requests.epoch();
    keyring.read_again();
    assert_eq!((find(&keyring, now), wanted(&requests)), ('U', 1));
    // It was read before the change was told: that may be too early.
    requests.put(&name, keys(KEY), epoch, now);
    assert_eq!((find(&keyring, now), wanted(&requests)), ('U', 1));
    requests.put(&name, keys(KEY), requests.epoch(), now);
    assert!(Arc::ptr_eq(&first, &signing()), "it is the same");
    requests.put(
        &name,
        keys(&format!("{KEY}\n{KEY}\n")),
        requests.epoch(),
        now,
    );
    assert!(!Arc::ptr_eq(&first, &signing()));
    // For endpoints with a signing of their own it is another.
    let own = first.clone();
    let Found::Signing(other) = keyring.find(&name, Some(&own), now) else {
        panic!("it is known");
    };
    assert!(!Arc::ptr_eq(&other, &signing()));
}

#[test]
fn what_is_wrong_is_said_with_the_name_and_without_the_secret() {
    let (keyring, requests) = keyring("a place".into());
    let now = Instant::now();
    for (text, words) in [
        ("", "empty"),
        (" \n\r\n", "empty"),
        ("hunter2hunter2hunter2", "prefix"),
        (&format!("{KEY}\nhunter2hunter2"), "key 2"),
        (&"hunter2\n".repeat(17), "17 keys"),
    ] {
        requests.put(&name(), keys(text), requests.epoch(), now);
        let Found::Missing(text) = keyring.find(&name(), None, now) else {
            panic!("{text}");
        };
        assert!(
            text.starts_with("secret acme: ") && text.contains("a place"),
            "{text}"
        );
        assert!(text.contains(words) && !text.contains("hunter"), "{text}");
    }
}

#[test]
fn names_that_are_made_up_do_not_fill_the_memory() {
    let (keyring, requests) = keyring("a place".into());
    let now = Instant::now();
    requests.put(&name(), keys(KEY), requests.epoch(), now);
    for n in 0..3 * PARTS * MOST_KNOWN {
        keyring.find(&format!("n{n}").into(), None, now);
        if n % 512 == 0 {
            wanted(&requests);
        }
    }
    let parts = keyring.table.parts.iter();
    assert!(
        parts
            .map(|p| p.lock().unwrap().len())
            .all(|n| n <= MOST_KNOWN)
    );
    assert_eq!(find(&keyring, now), 'S', "what is known stays");
}

/// Not a test of the machine: `cargo test --release -- --ignored --nocapture cost`.
#[test]
#[ignore = "a measurement"]
fn cost_of_a_name() {
    let (keyring, requests) = keyring("a place".into());
    let (now, name) = (Instant::now(), name());
    requests.put(&name, keys(KEY), requests.epoch(), now);
    let n = 1_000_000;
    let begun = Instant::now();
    for _ in 0..n {
        assert!(matches!(keyring.find(&name, None, now), Found::Signing(_)));
    }
    println!("{} ns", begun.elapsed().as_nanos() / n);
}
