//! Heads as receivers send them, and as nobody should.

use super::*;

use ureq_proto::client::state::RecvResponse;
use ureq_proto::client::{Call, RecvBodyResult, RecvResponseResult, SendRequestResult};
use ureq_proto::{BodyMode, http::Request};

mod fuzz;
mod table;

use table::{FIELDS, HEADS, NOT_HTTP};

type Outcome = Result<(usize, Option<Head>), NotHttp>;

fn read(pieces: &[&[u8]]) -> (Outcome, HeadReader) {
    let mut reader = HeadReader::default();
    let mut used = 0;
    for piece in pieces {
        match reader.feed(piece) {
            Ok((n, None)) => {
                assert_eq!(n, piece.len());
                used += n;
            }
            Ok((n, head)) => return (Ok((used + n, head)), reader),
            Err(e) => return (Err(e), reader),
        }
    }
    (Ok((used, None)), reader)
}

fn show(head: &Head) -> String {
    let mut text = format!("{} ", head.status);
    text += &match head.length {
        BodyLength::None => "none".to_owned(),
        BodyLength::Exactly(n) => n.to_string(),
        BodyLength::Chunked => "chunked".to_owned(),
        BodyLength::UntilClose => "close".to_owned(),
    };
    text += if head.keep == Keep::Yes {
        " keep"
    } else {
        " drop"
    };
    text += &head
        .rest
        .map(|rest| format!(" rest={rest:?}"))
        .unwrap_or_default();
    text += if head.asks { " asks" } else { "" };
    for (name, value) in [
        ("retry", &head.retry_after),
        ("date", &head.date),
        ("says", &head.proxy_says),
    ] {
        text += &value
            .as_ref()
            .map(|v| format!(" {name}={v}"))
            .unwrap_or_default();
    }
    text
}

fn table() -> impl Iterator<Item = (Vec<u8>, usize, &'static str)> {
    let whole = |lines: &str| format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n");
    let fields = FIELDS
        .iter()
        .map(move |(lines, want)| (whole(lines), *want));
    let heads = HEADS.iter().map(|(head, want)| ((*head).to_owned(), *want));
    fields.chain(heads).map(|(head, want)| {
        let length = head.find('|').unwrap_or(head.len());
        // Characters of the table below U+0100 stand for bytes: Latin-1, which is not UTF-8.
        let bytes: Vec<u8> = head
            .chars()
            .filter(|c| *c != '|')
            .map(|c| u8::try_from(c).unwrap_or(0xff))
            .collect();
        let length = head[..length].chars().count();
        (bytes, length, want)
    })
}

#[test]
fn the_status_counts_and_the_body_is_found_whatever_else_the_head_holds() {
    let mut count = 0;
    for (bytes, length, want) in table() {
        let shown = bytes.escape_ascii();
        let (outcome, _) = read(&[&bytes]);
        let (used, head) = outcome.unwrap_or_else(|e| panic!("{shown}: {e}"));
        assert_eq!(show(&head.expect("a head")), want, "{shown}");
        assert_eq!(used, length, "{shown}");
        count += 1;
    }
    assert!(count >= 120);
}

#[test]
fn how_the_bytes_are_split_makes_no_difference() {
    for (bytes, ..) in table() {
        let (whole, _) = read(&[&bytes]);
        for at in 0..bytes.len() {
            let (a, b) = bytes.split_at(at);
            assert_eq!(read(&[a, b]).0, whole, "{} at {at}", bytes.escape_ascii());
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(read(&single).0, whole);
    }
    for (bytes, _) in NOT_HTTP {
        for at in 0..bytes.len() {
            let (a, b) = bytes.split_at(at);
            assert!(read(&[a, b]).0.is_err(), "{} at {at}", bytes.escape_ascii());
        }
    }
}

#[test]
fn what_is_no_answer_is_quoted() {
    for (bytes, words) in NOT_HTTP {
        let error = read(&[bytes])
            .0
            .expect_err(&bytes.escape_ascii().to_string());
        let error = error.to_string();
        assert!(error.contains(&words.replace(r"\\", r"\")), "{error}");
        assert!(error.is_ascii() && error.len() < 180, "{error}");
    }
    let long = [0xff; 500];
    let error = read(&[&long]).0.unwrap_err().to_string();
    assert!(
        error.ends_with(&format!("\"{}\"", r"\xff".repeat(15))),
        "{error}"
    );
    // Blanks before it have an end.
    let blanks = "\r\n".repeat(33);
    assert!(read(&[blanks.as_bytes()]).0.is_err());
    let blanks = "\r\n".repeat(32) + "HTTP/1.1 204 X\n\n";
    assert!(
        read(&[blanks.as_bytes()])
            .0
            .is_ok_and(|(_, head)| head.is_some())
    );
}

#[test]
fn long_heads_are_read_and_longer_ones_cost_the_connection_alone() {
    let many = format!(
        "HTTP/1.1 200 OK\r\n{}Content-Length: 3\r\n\r\n",
        "A: b\r\n".repeat(10_000)
    );
    assert_eq!(
        show(&read(&[many.as_bytes()]).0.unwrap().1.unwrap()),
        "200 3 keep"
    );
    let line = |n: usize| {
        format!(
            "HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 3\r\n\r\n",
            "x".repeat(n)
        )
    };
    let rest = line(0).len();
    for (n, want) in [
        (20_000, "200 3 keep"),
        (MAX_HEAD - rest, "200 3 keep"),
        (MAX_HEAD - rest + 1, "200 none drop"),
    ] {
        let text = line(n);
        for size in [text.len(), 16_384, 1_000] {
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            let (outcome, reader) = read(&pieces);
            let (used, head) = outcome.unwrap();
            assert_eq!(show(&head.unwrap()), want);
            assert_eq!(used, text.len().min(MAX_HEAD));
            assert!(reader.memory() <= 4096);
        }
    }
    // A value that is needed and too long says nothing, or the careful thing.
    let long = "5, ".repeat(400);
    for (name, want) in [
        ("Content-Length", "200 none drop"),
        ("Transfer-Encoding", "200 none drop"),
        ("Connection", "200 0 drop"),
        ("Retry-After", "200 0 keep"),
        ("Date", "200 0 keep"),
        ("Keep-Alive", "200 0 keep"),
    ] {
        let text = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{name}: {long}\r\n\r\n");
        let (whole, _) = read(&[text.as_bytes()]);
        assert_eq!(
            show(whole.clone().unwrap().1.as_ref().unwrap()),
            want,
            "{name}"
        );
        let single: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(read(&single).0, whole);
    }
    // Interim answers, or a status line, without end.
    let interim = "HTTP/1.1 102 X\r\n\r\n".repeat(20_000);
    assert!(
        read(&[interim.as_bytes()])
            .0
            .unwrap_err()
            .to_string()
            .contains("1xx")
    );
    let reason = format!("HTTP/1.1 200 {}", "x".repeat(MAX_HEAD));
    assert!(
        read(&[reason.as_bytes()])
            .0
            .unwrap_err()
            .to_string()
            .contains("status line")
    );
}

#[test]
fn joined_lines_are_as_long_as_one_may_be_and_no_longer() {
    for (first, second, kept) in [(400, 110, 512), (400, 111, 400), (512, 1, 512)] {
        let (a, b) = ("1".repeat(first), "2".repeat(second));
        let text = format!("HTTP/1.1 503 X\r\nRetry-After: {a}\r\nRetry-After: {b}\r\n\r\n");
        let head = read(&[text.as_bytes()]).0.unwrap().1.unwrap();
        assert_eq!(head.retry_after.as_ref().unwrap().len(), kept);
        let mut canonical = Vec::new();
        head.write_canonical(&mut canonical);
        let again = read(&[&canonical]).0.unwrap().1.unwrap();
        assert_eq!(again.retry_after, head.retry_after);
    }
}

#[test]
fn a_head_that_ends_with_the_connection_counts_unless_a_line_was_torn() {
    let end = |text: &str| {
        let (outcome, reader) = read(&[text.as_bytes()]);
        assert_eq!(outcome, Ok((text.len(), None)));
        reader.end()
    };
    for text in [
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r",
        "HTTP/1.1 100 X\r\n\r\nHTTP/1.1 200 OK\r\n",
    ] {
        assert_eq!(show(&end(text).unwrap()), "200 none drop");
    }
    let retry = end("HTTP/1.1 503 X\r\nRetry-After: 5\r\n").unwrap();
    assert_eq!(show(&retry), "503 none drop retry=5");
    for (text, status) in [
        ("", None),
        ("\r\n", None),
        ("HTTP/1.1 200 OK", None),
        ("HTTP/1.1 200 OK\r", None),
        ("HTTP/1.1 100 X\r\n\r\n", None),
        ("HTTP/1.1 100 X\r\n", Some(100)),
        ("HTTP/1.1 200 OK\r\nContent-Le", Some(200)),
        ("HTTP/1.1 410 Gone\r\nX", Some(410)),
    ] {
        assert_eq!(end(text), Err(CutHead { status }), "{text:?}");
    }
}

/// ureq's parser, at the place where it waits for an answer to a POST.
fn ureq() -> Call<RecvResponse> {
    let request = Request::post("http://h/").header("content-length", "0");
    let mut call = Call::new(request.body(()).unwrap()).unwrap().proceed();
    call.write(&mut [0; 256]).unwrap();
    match call.proceed().unwrap() {
        Some(SendRequestResult::RecvResponse(call)) => call,
        _ => panic!("no body is sent"),
    }
}

fn assert_ureq_does_what_it_says(head: &Head) {
    let mut text = Vec::new();
    head.write_canonical(&mut text);
    let shown = text.escape_ascii();
    let mut call = ureq();
    let (used, response) = call.try_response(&text, false).unwrap();
    let response = response.unwrap_or_else(|| panic!("{shown}"));
    assert_eq!(
        (used, response.status().as_u16()),
        (text.len(), head.status)
    );
    for (name, value) in [("retry-after", &head.retry_after), ("date", &head.date)] {
        let got = response.headers().get(name).map(|v| v.to_str().unwrap());
        assert_eq!(got, value.as_deref(), "{shown}");
    }
    let (must_close, body) = match call.proceed().unwrap() {
        RecvResponseResult::RecvBody(mut call) => {
            let mode = call.body_mode();
            let body: &[u8] = match mode {
                BodyMode::Chunked => b"0\r\n\r\n",
                BodyMode::LengthDelimited(n) => &[b'x'; 16][..n.min(16) as usize],
                _ => b"",
            };
            call.read(body, &mut [0; 64]).unwrap();
            match call.proceed() {
                Some(RecvBodyResult::Cleanup(call)) => (Some(call.must_close_connection()), mode),
                _ => (None, mode),
            }
        }
        RecvResponseResult::Redirect(call) => {
            (Some(call.must_close_connection()), BodyMode::NoBody)
        }
        RecvResponseResult::Cleanup(call) => (Some(call.must_close_connection()), BodyMode::NoBody),
    };
    let want = match head.length {
        BodyLength::None | BodyLength::Exactly(0) => BodyMode::NoBody,
        BodyLength::Exactly(n) => BodyMode::LengthDelimited(n),
        BodyLength::Chunked => BodyMode::Chunked,
        BodyLength::UntilClose => BodyMode::CloseDelimited,
    };
    assert_eq!(body, want, "{shown}");
    // The rest is not needed to tell where a redirect with a body goes on, nor a huge body.
    if let Some(must_close) = must_close {
        assert_eq!(must_close, head.keep != Keep::Yes, "{shown}");
    }
}

#[test]
fn ureq_reads_the_canonical_head_as_it_is_meant() {
    for (bytes, _, _) in table() {
        let head = read(&[&bytes]).0.unwrap().1.unwrap();
        assert_ureq_does_what_it_says(&head);
        let mut text = Vec::new();
        head.write_canonical(&mut text);
        let again = read(&[&text]).0.unwrap().1.unwrap();
        let length = match head.length {
            // This says the same, and a reader that waits for a body needs to be told.
            BodyLength::None if !matches!(head.status, 101 | 204 | 304) => BodyLength::Exactly(0),
            length => length,
        };
        assert_eq!((again.status, again.length), (head.status, length));
    }
}
