//! What a proxy sends before there is a way through it.

use crate::http::proxy::http_connect::AnswerReader;
use crate::http::proxy::socks::{Next, Talk, Target};
use crate::http::proxy::{Blame, http_connect};
use crate::trust::egress::Login;
use crate::trust::secret::Secret;

/// The most that a proxy may have us read of one SOCKS answer.
const MAX_REPLY: usize = 4 + 1 + 255 + 2;

/// An answer to CONNECT. The first byte says where the others are split.
pub fn proxy_http(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else {
        return;
    };
    let at = bytes.len() * usize::from(*first) / 255;
    let (a, b) = bytes.split_at(at);
    let whole = feed(&[bytes]);
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    for pieces in [&[a, b][..], &single] {
        match (&whole, feed(pieces)) {
            // The sentence quotes what had come.
            (Err(_), Err(_)) => {}
            (whole, split) => assert_eq!(*whole, split, "split at {at}"),
        }
    }
    match whole {
        Ok((used, Some(answer))) => {
            assert!(used <= bytes.len());
            for has_login in [false, true] {
                assert_blame(answer.blame(has_login).as_ref());
            }
        }
        Ok((used, None)) => assert_eq!(used, bytes.len()),
        Err(e) => assert_sentence(&e),
    }
}

fn feed(pieces: &[&[u8]]) -> Result<(usize, Option<http_connect::Answer>), String> {
    let mut reader = AnswerReader::default();
    let mut used = 0;
    for piece in pieces {
        let (n, answer) = reader.feed(piece)?;
        used += n;
        if answer.is_some() {
            return Ok((used, answer));
        }
    }
    Ok((used, None))
}

/// What a SOCKS proxy says; the first byte chooses what is asked of it.
pub fn proxy_socks(bytes: &[u8]) {
    let Some((first, mut bytes)) = bytes.split_first() else {
        return;
    };
    let login = Login {
        user: Secret::new("me".into()),
        password: Secret::new("hunter2".into()),
    };
    let target = match first % 3 {
        0 => Target::Name("a.example"),
        1 => Target::Address([192, 0, 2, 1].into()),
        _ => Target::Address([0x2001_u16, 0xdb8, 0, 0, 0, 0, 0, 1].into()),
    };
    let login = (first % 2 == 0).then_some(&login);
    let step = usize::from(first / 8).max(1);
    let (mut talk, _) = Talk::new(target, 443, login);
    for _ in 0..10_000 {
        let wanted = talk.wants();
        assert!(wanted <= MAX_REPLY, "{wanted}");
        let taken = wanted.min(bytes.len()).min(step);
        if taken == 0 && wanted > 0 {
            return;
        }
        let (now, later) = bytes.split_at(taken);
        bytes = later;
        match talk.feed(now) {
            // It is written and what comes then is fed.
            Ok(Next::Send(sent)) => assert!(!sent.is_empty() && sent.len() < 600),
            Ok(Next::Read(n)) => assert!((1..=MAX_REPLY).contains(&n)),
            Ok(Next::Done) => return,
            Err(blame) => return assert_blame(Some(&blame)),
        }
    }
    panic!("it does not end");
}

fn assert_blame(blame: Option<&Blame>) {
    match blame {
        Some(
            Blame::Own(text) | Blame::Unclear(text) | Blame::Login(text) | Blame::Target(_, text),
        ) => {
            assert_sentence(text);
            assert!(!text.contains("hunter2"), "{text}");
        }
        None => {}
    }
}

fn assert_sentence(text: &str) {
    assert!(!text.is_empty() && text.len() < 2000, "{text:?}");
    assert!(!text.contains(char::is_control), "{text:?}");
}
