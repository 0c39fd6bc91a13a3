//! `data` is forwarded byte for byte, whatever JSON it is; what is no JSON is refused.

use crate::support::message;
use crate::support::receiver::Receiver;
use crate::support::redis::Redis;
use crate::support::service::serve;

/// JSON that a parser may not touch: order, blanks, numbers and escapes all carry meaning
/// for somebody who checks a signature.
fn valid() -> Vec<String> {
    let mut all: Vec<String> = [
        "null",
        "true",
        "false",
        "0",
        "-0",
        "-0.0",
        "1.10",
        "1e999",
        "-1E-999",
        "1e2",
        "0.1e+0007",
        "123456789012345678901234567890",
        "-123456789012345678901234567890.098765432109876543210",
        r#""""#,
        r#""plain""#,
        r#""é 日本 😀 \u0000 \ud83d\ude00 \/ \\ \" \b\f\n\r\t""#,
        r#""\ud800""#,
        r#""\udc00\ud800 both halves astray""#,
        "\"\u{2028}\u{7f}\u{ffff}\u{10ffff}\u{feff}\"",
        "[]",
        "[ ]",
        "{}",
        "{\n}",
        "[ 1 ,2,\t3\r\n, null ]",
        r#"{"b":1,"a":2,"c":{"z":0,"y":0}}"#,
        r#"{"twice":1,"twice":2,"twice":{"twice":3}}"#,
        r#"{"":"","  ":" "}"#,
        r#"{"\u0061":1,"a":2}"#,
        "{ \"odd\"  :\n\t[ 1 , 2 ]\r\n , \"space\":\t{ }\n}",
        // Our own names have no meaning inside.
        r#"{"url":5,"webhookId":"a.b","data":{"data":null},"headers":[]}"#,
        r#"[["http://h/","id",1]]"#,
    ]
    .map(str::to_owned)
    .into();
    all.push(format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)));
    all.push(format!(
        "{}1{}",
        "{\"a\":".repeat(50_000),
        "}".repeat(50_000)
    ));
    all.push(format!("\"{}\"", "x".repeat(900_000)));
    all.push("9".repeat(100_000));
    all
}

/// As text, without the message around it.
fn invalid() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = [
        "nul",
        "True",
        "NaN",
        "Infinity",
        "-Infinity",
        "+1",
        "-",
        "--1",
        "01",
        "-01",
        "1.",
        ".5",
        "1e",
        "1e+",
        "1.e1",
        "0x10",
        "1_000",
        "1 2",
        "\"",
        "\"a",
        "'a'",
        "\"\\\"",
        "\"\\x41\"",
        "\"\\u12\"",
        "\"\\u12G4\"",
        "\"\\a\"",
        "\"tab\there\"",
        "\"line\nhere\"",
        "\"nul\0here\"",
        "[",
        "]",
        "[1",
        "[1,]",
        "[,1]",
        "[1,,2]",
        "[1 2]",
        "[1:2]",
        "[\"a\",",
        "[[]",
        "{",
        "}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,}",
        "{\"a\" 1}",
        "{a:1}",
        "{'a':1}",
        "{1:1}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":1,,\"b\":2}",
        "[1]]",
        "{}}",
        "{}{}",
        "[][]",
        "null null",
        "1//",
        "/* */1",
        "[1,// two\n2]",
        "#",
        "\u{a0}1",
        "\u{feff}1",
        "1\u{2028}",
        "é",
        "<x/>",
        "*",
        "{\"a\":/*b*/1}",
        "[\u{c}1]",
        "[\u{b}1]",
        "\\u0031",
        "[\"a\"",
        "{\"a\":\"b",
        "{\"a\":[}",
        "[{]}",
    ]
    .map(|s| s.as_bytes().to_vec())
    .into();
    // Not UTF-8: a stray byte, a cut sequence, an overlong one, a surrogate, beyond the end.
    for bytes in [
        &b"\xff"[..],
        b"\xe2\x82",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\x80",
    ] {
        all.push([b"\"", bytes, b"\""].concat());
        all.push(bytes.to_vec());
    }
    all
}

#[test]
fn the_body_is_data_byte_for_byte() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut service = serve(&redis, &["--log", "info"]);
    let all = valid();
    for (n, data) in all.iter().enumerate() {
        // Blanks around it belong to the message and not to `data`.
        let url = receiver.url(&format!("/{n}"));
        redis.send(format!(
            "{{ \"data\" : \r\n{data}\t , \"url\": \"{url}\" }}\n"
        ));
    }
    let requests = receiver.wait_for(all.len());
    for request in &requests {
        let data = &all[request.path[1..].parse::<usize>().unwrap()];
        let shown: String = data.chars().take(80).collect();
        assert!(
            request.body == data.as_bytes(),
            "{shown} came as {:?}",
            String::from_utf8_lossy(&request.body)
        );
    }
    service.end_well();
    assert_eq!(receiver.count(), all.len());
    assert!(redis.dead().is_empty());
}

#[test]
fn the_place_of_a_field_and_other_fields_do_not_matter() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut service = serve(&redis, &[]);
    let url = receiver.url("/");
    let all = [
        format!(r#"{{"data":1,"webhookId":"w","url":"{url}"}}"#),
        format!(
            r#"{{"x":{{"url":1,"data":2}},"data":1,"x":[],"webhookId":"w","url":"{url}","Data":2,"URL":3,"webhookid":"v"}}"#
        ),
        format!(r#"{{"\u0064ata":1,"webhook\u0049d":"\u0077","\u0075rl":"{url}"}}"#),
        format!(
            "\t\r\n {{\"data\":1,\"webhookId\":\"w\",\"url\":\"{}\"}} \r\n\t",
            url.replace('/', "\\/")
        ),
        format!(r#"{{"data":1,"webhookId":"w","headers":{{}},"url":"{url}"}}"#),
    ];
    for text in &all {
        redis.send(text);
    }
    for request in receiver.wait_for(all.len()) {
        assert_eq!((request.id(), request.text()), ("w", "1"));
    }
    service.end_well();
    assert!(redis.dead().is_empty());
}

#[test]
fn what_is_no_json_is_one_dead_letter_each_whole_or_as_data_and_good_neighbours_arrive() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut service = serve(&redis, &["--log", "info"]);
    let url = receiver.url("/");
    let mut bad = Vec::new();
    for (n, text) in invalid().into_iter().enumerate() {
        let head = format!(r#"{{"url":"{url}","webhookId":"bad-{n}","data":"#);
        bad.push([head.as_bytes(), &text, b"}"].concat());
        bad.push(text);
    }
    for (n, bytes) in bad.iter().enumerate() {
        redis.send(bytes);
        redis.send(message(&url, &format!("good-{n}"), "1"));
    }
    let dead = redis.wait_dead(bad.len());
    for (dead, bytes) in dead.iter().zip(&bad) {
        assert_eq!(dead.get("message"), Some(&bytes[..]), "{dead:?}");
        assert_eq!(dead.text("reason"), "bad_json", "{dead:?}");
        assert_eq!(dead.text("attempts"), "0", "{dead:?}");
    }
    receiver.wait_for(bad.len());
    service.end_well();
    assert!(
        receiver
            .requests()
            .iter()
            .all(|r| r.id().starts_with("good-"))
    );
    assert_eq!(receiver.count(), bad.len());
}
