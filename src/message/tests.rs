//! Messages as producers write them, good and bad.

use super::*;

fn parse(raw: &[u8]) -> Result<Message, Rejection> {
    Message::parse(
        raw.to_vec(),
        1 << 20,
        || "made".into(),
        |url| Endpoint::parse(url).map(Arc::new),
    )
}

fn reason(raw: &str) -> (RejectReason, String) {
    let r = parse(raw.as_bytes()).expect_err(raw);
    assert_eq!(r.raw, raw.as_bytes());
    (r.reason, r.detail.to_string())
}

#[test]
fn data_is_a_slice_of_what_was_published() {
    for data in [
        "{\"b\" : 1.10,  \"a\":1e999, \"a\":12345678901234567890123}",
        "null",
        "[ ]",
        "\"\\ud800\"",
        "-0",
    ] {
        let raw = format!(r#" {{"x":[1],"url":"http://h/p","data":{data} ,"webhookId":"a"}} "#);
        let m = parse(raw.as_bytes()).unwrap();
        assert_eq!(m.data(), data.as_bytes());
        assert_eq!(&*m.id, "a");
        assert_eq!(m.raw(), raw.as_bytes());
    }
}

#[test]
fn a_missing_id_is_made_and_a_wrong_one_refused() {
    let m = parse(br#"{"url":"http://h/","data":1}"#).unwrap();
    assert_eq!(&*m.id, "made");
    let long = "a".repeat(257);
    for id in [
        "7.0",
        "true",
        "{}",
        "\"\"",
        "\" a\"",
        "\"a\\tb\"",
        "\"é\"",
        "\"a.b\"",
        "\"a\\r\\nX: 1\"",
        "\"a\\u0000\"",
        "\"\\ud800\"",
        &format!("\"{long}\""),
    ] {
        let (why, detail) = reason(&format!(
            r#"{{"url":"http://h/","data":1,"webhookId":{id}}}"#
        ));
        assert_eq!(why, RejectReason::BadId, "{id}");
        assert!(detail.contains("webhookId"), "{detail}");
    }
}

#[test]
fn each_wrong_field_is_named() {
    use RejectReason::*;
    for (raw, why, word) in [
        (r#"["http://h/","a",1]"#, BadJson, "object"),
        (r#"{"data":1}"#, BadUrl, "url is missing"),
        (r#"{"url":5,"data":1}"#, BadUrl, "url must be a string"),
        (r#"{"url":"/x","data":1}"#, BadUrl, "url"),
        (r#"{"url":"http://h/"}"#, BadData, "data is missing"),
        (
            r#"{"url":"http://h/","url":"http://h/","data":1}"#,
            BadJson,
            "duplicate",
        ),
        (r#"{"url":"http://h/","data":1} x"#, BadJson, "trailing"),
        ("\u{feff}{}", BadUrl, "url is missing"),
        ("x", BadJson, "begins with 'x'"),
        (r#""{\"url\":1}""#, BadJson, "encoded twice?"),
        (r#""text""#, BadJson, "begins with '\"'"),
        (r#"{"url":null,"data":1}"#, BadUrl, "not null"),
        (
            r#"{"url":"ftp://h/","data":1}"#,
            BadUrl,
            r#"it is "ftp://h/""#,
        ),
        ("", BadJson, "'{'"),
        (
            r#"{"url":"http://h/","data":1,"headers":[]}"#,
            BadHeaders,
            "headers",
        ),
    ] {
        let (got, detail) = reason(raw);
        assert_eq!(got, why, "{raw}");
        assert!(detail.contains(word), "{raw}: {detail}");
    }
    assert_eq!(parse(b"{\"url\":\"\xff\"}").unwrap_err().reason, BadJson);
}

#[test]
fn deep_nesting_is_passed_through_without_a_stack() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let raw = format!(r#"{{"url":"http://h/","data":{deep}}}"#);
    assert_eq!(parse(raw.as_bytes()).unwrap().data(), deep.as_bytes());
}

fn with(more: &str) -> String {
    format!(r#"{{"url":"http://h/","data":1,{more}}}"#)
}

#[test]
fn null_is_absence_and_a_whole_number_is_an_id() {
    let optional = json_object::NAMES
        .iter()
        .filter(|name| !["url", "data"].contains(name));
    let all: Vec<String> = optional.map(|name| format!("\"{name}\": null")).collect();
    let m = parse(with(&all.join(",")).as_bytes()).unwrap();
    assert_eq!((&*m.id, m.deliver_at, m.headers.len()), ("made", None, 0));
    let overrides = m.overrides;
    assert!(overrides.timeout.is_none() && overrides.max_attempts.is_none());
    assert!(overrides.expires_at.is_none() && overrides.order_key.is_none());
    assert!(overrides.secret.is_none());
    assert_eq!(
        parse(br#"{"url":"http://h/","data":null}"#).unwrap().data(),
        b"null"
    );
    for (json, id) in [
        ("12345", "12345"),
        ("-7", "-7"),
        ("12345678901234567890123", "12345678901234567890123"),
    ] {
        let m = parse(with(&format!("\"webhookId\":{json}")).as_bytes()).unwrap();
        assert_eq!(&*m.id, id);
    }
}

#[test]
fn seconds_are_not_taken_for_milliseconds() {
    use RejectReason::*;
    for (field, why, value) in [
        ("deliverAt", BadDeliverAt, "1795696800"),
        ("deliverAt", BadDeliverAt, "0"),
        ("expiresAt", BadExpiresAt, "99999999999"),
        ("expiresAt", BadExpiresAt, "1795696800.5"),
        ("timeout", BadTimeout, "30"),
        ("timeout", BadTimeout, "99"),
    ] {
        let (got, detail) = reason(&with(&format!("\"{field}\":{value}")));
        assert_eq!(got, why, "{detail}");
        assert!(
            detail.contains("looks like seconds; milliseconds are meant"),
            "{detail}"
        );
        assert!(detail.contains(field) && detail.contains(value), "{detail}");
    }
    for (value, ms) in [
        ("100000000000", 100_000_000_000),
        ("1.8e12", 1_800_000_000_000),
    ] {
        let m = parse(with(&format!("\"deliverAt\":{value}")).as_bytes()).unwrap();
        assert_eq!(m.deliver_at, Some(ms));
    }
    let m = parse(with(r#""timeout":"50ms""#).as_bytes()).unwrap();
    assert_eq!(m.overrides.timeout, Some(Duration::from_millis(50)));
}

#[test]
fn a_field_that_is_spelt_otherwise_is_taken_for_what_it_must_mean() {
    let raw = r#"{"URL":"http://h/","Data": {"a":1} ,"webhook_id":"x","order_key":"k","id":"no"}"#;
    let m = parse(raw.as_bytes()).unwrap();
    assert_eq!((&*m.id, m.data()), ("x", &br#"{"a":1}"#[..]));
    assert_eq!(m.overrides.order_key.as_deref(), Some("k"));
    let names: Vec<(&str, &str)> = m.aliases.iter().map(|a| (&*a.given, a.known)).collect();
    let want = [
        ("Data", "data"),
        ("URL", "url"),
        ("order_key", "orderKey"),
        ("webhook_id", "webhookId"),
    ];
    let mut names = names;
    names.sort();
    assert_eq!(names, want);
    // Beside the right name it is another field, wherever it stands.
    for more in [
        r#""webhookId":"a","webhook_id":5"#,
        r#""webhook_id":5,"webhookId":"a""#,
    ] {
        let m = parse(with(more).as_bytes()).unwrap();
        assert_eq!((&*m.id, m.aliases.len()), ("a", 0));
    }
}

#[test]
fn a_byte_order_mark_is_skipped_and_kept() {
    let raw = "\u{feff}{\"url\":\"http://h/\",\"data\":[1]}";
    let m = parse(raw.as_bytes()).unwrap();
    assert_eq!((m.data(), m.raw()), (&b"[1]"[..], raw.as_bytes()));
    let seen = peek(raw.as_bytes()).unwrap();
    assert_eq!((&*seen.url, seen.deliver_at), ("http://h/", None));
}

#[test]
fn each_refusal_names_the_field_and_what_is_wrong_with_it() {
    for (more, words) in [
        (
            r#""webhookId":"pay-é""#,
            &["webhookId holds 'é' (U+00E9)", "\"pay-é\""][..],
        ),
        (r#""webhookId":"a😀""#, &["'😀' (U+1F600)"]),
        (
            r#""webhookId":{"a":1}"#,
            &["webhookId must be", r#"{"a":1}"#],
        ),
        (
            r#""deliverAt":"tomorrow""#,
            &["deliverAt must be", "\"tomorrow\""],
        ),
        (r#""expiresAt":[]"#, &["expiresAt must be", "not []"]),
        (r#""timeout":"5""#, &["timeout must be", "not \"5\""]),
        (r#""maxAttempts":0"#, &["maxAttempts must be", "not 0"]),
        (r#""orderKey":5"#, &["orderKey must be a string", "not 5"]),
        (r#""headers":{"Host":"x"}"#, &["headers: host"]),
        (r#""x" 1"#, &["line 1 column", "near"]),
    ] {
        let (_, detail) = reason(&with(more));
        for word in words {
            assert!(detail.contains(word), "{word} in {detail}");
        }
    }
    // Nothing of a message stands in what may be logged of it.
    for more in [
        r#""webhookId":"hunter2 ""#,
        r#""url":"http://hunter2:hunter2@h/hunter2""#,
        r#""url":"hunter2""#,
        r#""url":["hunter2"]"#,
        r#""headers":{"hunter2 ":"x"}"#,
        r#""headers":{"x":"hunter2\n"}"#,
        r#""deliverAt":"hunter2""#,
        r#""expiresAt":["hunter2"]"#,
        r#""timeout":"hunter2""#,
        r#""maxAttempts":"hunter2""#,
        r#""orderKey":{"x":"hunter2"}"#,
        r#""hunter2" "hunter2""#,
    ] {
        let url = match more.contains("url") {
            true => "",
            false => r#","url":"http://h/""#,
        };
        let raw = format!(r#"{{{more},"data":1{url}}}"#);
        let detail = parse(raw.as_bytes()).unwrap_err().detail;
        assert!(!detail.sentence().contains("hunter2"), "{detail:?}");
    }
    let long = format!("\"deliverAt\":\"{}\"", "x".repeat(10_000));
    assert!(reason(&with(&long)).1.len() < 300);
    let e = parse(b"{\"url\":\"\xff\"}").unwrap_err().detail.to_string();
    assert!(e.contains("byte 0xff at 8"), "{e}");
}

#[test]
fn a_key_holds_for_one_origin_and_stands_in_a_line() {
    let group = |url: &str, key: &str| {
        let raw = format!(r#"{{"url":"{url}","orderKey":"{key}","data":1}}"#);
        parse(raw.as_bytes())
            .unwrap()
            .group()
            .map(|group| group.to_string())
    };
    let of = |url| group(url, "k").unwrap();
    assert_eq!(of("http://H:80/a"), of("http://h/b"));
    assert_ne!(of("http://h/"), of("https://h/"));
    assert_eq!(
        group("http://h/", r"a b\t\n%\u0085é{}").unwrap(),
        "http://h a b%09%0A%25%C2%85é{}"
    );
    assert_eq!(
        parse(br#"{"url":"http://h/","data":1}"#).unwrap().group(),
        None
    );
}
