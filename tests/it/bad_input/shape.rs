//! The message as a whole is wrong: no JSON object, a field missing or doubled, too large.

use super::{assert_refuses, case, refuses_all};
use crate::support::message;
use crate::support::receiver::Receiver;
use crate::support::redis::Redis;
use crate::support::service::serve;

#[test]
fn what_is_no_json_object_is_bad_json() {
    let good = r#"{"url":"http://127.0.0.1:1/","webhookId":"a","data":1}"#;
    refuses_all([
        case("", "bad_json", ""),
        case(" \n", "bad_json", ""),
        case("garbage", "bad_json", ""),
        case("\0", "bad_json", ""),
        case(b"\xff\xfe\x00\x01".to_vec(), "bad_json", "UTF-8"),
        case(
            b"{\"url\":\"http://127.0.0.1:1/\",\"data\":\"\xff\"}".to_vec(),
            "bad_json",
            "UTF-8",
        ),
        case(
            b"{\"url\":\"http://127.0.0.1:1/\",\"data\":1,\"other\":\"\xc3\"}".to_vec(),
            "bad_json",
            "UTF-8",
        ),
        case(r#"["http://127.0.0.1:1/","a",1]"#, "bad_json", "object"),
        case(r#"["http://127.0.0.1:1/","a",1,{}]"#, "bad_json", "object"),
        case("null", "bad_json", "object"),
        case("7", "bad_json", "object"),
        case("\"text\"", "bad_json", "object"),
        case(format!("\u{feff}\u{feff}{good}"), "bad_json", "object"),
        case(format!("{good:?}"), "bad_json", "encoded twice?"),
        case(format!("{good} trailing"), "bad_json", "JSON"),
        case(format!("{good}{good}"), "bad_json", "JSON"),
        case(format!("{good}\0"), "bad_json", "JSON"),
        case(&good[..good.len() - 1], "bad_json", "JSON"),
        case("{", "bad_json", "JSON"),
        case("[".repeat(100_000), "bad_json", ""),
        case("{\"a\":".repeat(100_000), "bad_json", ""),
    ]);
}

#[test]
fn a_key_of_ours_that_stands_twice_is_bad_json_and_names_the_key() {
    let url = "http://127.0.0.1:1/";
    refuses_all([
        case(
            format!(r#"{{"url":"{url}","url":"{url}","data":1}}"#),
            "bad_json",
            "url",
        ),
        case(
            format!(r#"{{"url":"{url}","data":1,"data":1}}"#),
            "bad_json",
            "data",
        ),
        case(
            format!(r#"{{"url":"{url}","data":1,"webhookId":"a","webhookId":"a"}}"#),
            "bad_json",
            "webhookId",
        ),
        case(
            format!(r#"{{"url":"{url}","data":1,"headers":{{}},"headers":{{}}}}"#),
            "bad_json",
            "headers",
        ),
        case(
            format!(r#"{{"url":"{url}","data":1,"\u0075rl":"{url}"}}"#),
            "bad_json",
            "url",
        ),
    ]);
}

#[test]
fn a_missing_field_is_named() {
    let dead = refuses_all([
        case("{}", "bad_url", "url"),
        case(r#"{"data":1}"#, "bad_url", "url"),
        case(r#"{"data":1,"webhookId":"known"}"#, "bad_url", "url"),
        case(r#"{"url":"http://127.0.0.1:1/x"}"#, "bad_data", "data"),
        case(
            r#"{"url":"http://127.0.0.1:1/x","webhookId":"known","datum":1}"#,
            "bad_data",
            "data",
        ),
    ]);
    assert_eq!(dead[0].get("url"), None);
    assert_eq!(
        (dead[2].text("id").as_str(), dead[2].get("url")),
        ("known", None)
    );
    assert_eq!(dead[4].text("id"), "known");
    assert_eq!(dead[4].text("url"), "http://127.0.0.1:1/x");
}

#[test]
fn a_message_beyond_the_limit_is_too_large_and_names_the_setting() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let of = |bytes: usize| {
        let empty = message("http://127.0.0.1:1/", "a", "\"\"").len();
        message(
            "http://127.0.0.1:1/",
            "a",
            &format!("\"{}\"", "x".repeat(bytes - empty)),
        )
    };
    assert_refuses(
        &redis,
        &receiver,
        &[],
        vec![
            case(of(10 << 20), "too_large", "--max-message-bytes"),
            case(of((1 << 20) + 1), "too_large", "--max-message-bytes"),
            case(vec![0xff; 2 << 20], "too_large", "--max-message-bytes"),
        ],
    );
}

#[test]
fn a_message_of_just_the_limit_is_delivered_and_the_limit_can_be_moved() {
    for (args, limit) in [
        (&[][..], 1 << 20),
        (&["--max-message-bytes", "300"], 300),
        (&["--max-message-bytes", "12000000"], 12_000_000),
    ] {
        let (redis, receiver) = (Redis::start(), Receiver::ok());
        let mut service = serve(&redis, args);
        let empty = message(&receiver.url("/"), "a", "\"\"").len();
        for extra in [0, 1] {
            let data = format!("\"{}\"", "x".repeat(limit - empty + extra));
            redis.send(message(&receiver.url("/"), "a", &data));
        }
        let request = &receiver.wait_for(1)[0];
        assert_eq!(request.body.len(), limit - empty + 2);
        assert_eq!(redis.wait_dead(1)[0].text("reason"), "too_large");
        service.end_well();
        assert_eq!(receiver.count(), 1);
    }
}

#[test]
fn a_flood_of_garbage_is_all_dead_letters_and_a_good_message_gets_through() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut service = serve(&redis, &["--log", "info"]);
    let garbage: Vec<String> = (0..3000).map(|n| format!("garbage {n}")).collect();
    assert_eq!(redis.send_all(&garbage), 3000);
    redis.send(message(&receiver.url("/"), "a", "1"));
    receiver.wait_for(1);
    let dead = redis.wait_dead(3000);
    for (dead, raw) in dead.iter().zip(&garbage) {
        assert_eq!(dead.text("message"), *raw, "in the order of their arrival");
    }
    service.end_well();
}
