//! What `signing` of an endpoints file comes to, and what is said of a bad one.

use super::read_with;
use crate::delivery::rules::EndpointRules;
use crate::message::endpoint::Endpoint;
use crate::message::timestamp::parse_rfc3339;
use crate::trust::secret::Secret;

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn read(text: &str) -> Result<EndpointRules, String> {
    read_with(text, &|path| match path {
        "/key" => Ok(Secret::new(KEY.into())),
        _ => Err("it is not there".into()),
    })
}

fn is_signed(rules: &EndpointRules, url: &str) -> bool {
    let rule = rules.find(&Endpoint::parse(url).unwrap());
    rule.is_some_and(|rule| rule.signing.is_some())
}

#[test]
fn a_key_is_the_endpoint_s_or_the_file_s_or_none() {
    let text = format!(
        "signing = {{ secret_file = \"/key\" }}\n\
         [[endpoint]]\nurl = \"http://a/\"\nsigning = false\n\
         [[endpoint]]\nurl = \"http://b/\"\nsigning = \"{KEY}\"\n\
         [[endpoint]]\nurl = \"http://c/\"\n[endpoint.signing]\n\
         keys = [{{ secret = \"{KEY}\", not_after = 2030-01-01 }},\n\
                 {{ secret_file = \"/key\", not_before = \"2029-12-31T00:00:00+02:00\", \
                    not_after = 2031-01-01T00:00:00Z }}]\n"
    );
    let rules = read(&text).unwrap();
    assert!(!is_signed(&rules, "http://a/"));
    assert!(
        ["http://b/", "http://c/", "http://d/"]
            .iter()
            .all(|url| is_signed(&rules, url))
    );
    let c = rules.find(&Endpoint::parse("http://c/").unwrap()).unwrap();
    let until = c.signing.as_ref().unwrap().signs_until(0);
    assert_eq!(until, Ok(parse_rfc3339("2031-01-01T00:00:00Z").unwrap()));
    let json = format!(r#"{{"endpoint":[{{"host":"h","signing":{{"keys":["{KEY}"]}}}}]}}"#);
    let rules = read(&json).unwrap();
    assert!(is_signed(&rules, "http://h/") && !is_signed(&rules, "http://i/"));
}

#[test]
fn what_an_operator_should_know_is_told() {
    let doubts = |signing: &str| {
        let text = format!("[[endpoint]]\nhost = \"h\"\nsigning = {{ {signing} }}\n");
        let rules = read(&text).unwrap_or_else(|e| panic!("{text}: {e}"));
        let rule = rules.find(&Endpoint::parse("http://h/").unwrap()).unwrap();
        rule.signing.as_ref().unwrap().doubts().join("; ")
    };
    let two = "keys = [\"long enough\", \"and another\"]";
    let after = "keys = [{ secret = \"long enough\", not_after = 2030-01-01 }, \
                 { secret = \"and another\", not_before = 2030-01-01 }]";
    for (signing, words) in [
        (format!("scheme = \"github\", {two}"), "signs alone"),
        (format!("scheme = \"stripe\", {two}"), ""),
        (format!("header = \"x-a\", {two}"), "signs alone"),
        (format!("scheme = \"github\", {after}"), ""),
        ("scheme = \"slack\", secret = \"1234567\"".into(), "guess"),
        ("scheme = \"slack\", secret = \"12345678\"".into(), ""),
        (format!("keys = [\"{KEY}\", \"{KEY}\"]"), ""),
    ] {
        let got = doubts(&signing);
        assert_eq!(got.is_empty(), words.is_empty(), "{signing}: {got}");
        assert!(got.contains(words), "{signing}: {got}");
    }
}

#[test]
fn what_is_wrong_is_named_and_no_secret_shown() {
    assert_refused(&[
        ("true", "false"),
        ("5", "table"),
        ("[\"KEY\"]", "table"),
        ("\"SECRET\"", "without a prefix"),
        ("\"KEY \"", "blanks"),
        ("KEY", "line 3"),
        ("{}", "secret or secret_file"),
        ("{ KEY = 1 }", "a key stands where"),
        ("{ secret = \"v1,SECRET\" }", "v1"),
        ("{ secret = [\"KEY\"] }", "must be a string"),
        ("{ secret = \"KEY\", secret_file = \"/key\" }", "exclude"),
        ("{ secret = \"KEY\", keys = [] }", "exclude"),
        ("{ keys = [] }", "empty"),
        ("{ keys = \"KEY\" }", "list"),
        ("{ keys = [5] }", "key 1"),
        ("{ keys = [\"KEY\", \"whsec_KEY\"] }", "key 2"),
        (
            "{ keys = [{ secret = \"KEY\", to = 1 }] }",
            "\"to\" is not known",
        ),
        (
            "{ secret_file = \"/none\" }",
            "secret_file /none: it is not there",
        ),
        ("{ secret_file = \"KEY\" }", "must name a file"),
        ("{ secret = \"KEY\", not_after = \"KEY\" }", "RFC 3339"),
        (
            "{ secret = \"KEY\", not_before = 2030-01-01, not_after = 2030-01-01 }",
            "earlier",
        ),
    ]);
}

#[test]
fn what_nobody_can_verify_and_what_breaks_the_request_is_refused() {
    assert_refused(&[
        (
            "{ secret = \"KEY\", header = \"User-Agent\" }",
            "meaning of its own",
        ),
        (
            "{ secret = \"KEY\", header = \"x-a\", headers = { Content-Encoding = \"x\" } }",
            "meaning of its own",
        ),
        (
            "{ secret = \"KEY\", header = \"x-a\", sign = \"{timestamp}.{body}\" }",
            "{timestamp} is signed, and not sent",
        ),
        (
            "{ secret = \"KEY\", header = \"x-a\", sign = \"{timestamp_ms}{body}\", \
             value = \"{timestamp} {signature}\" }",
            "{timestamp_ms} is signed, and not sent",
        ),
        (
            "{ secret = \"KEY\", header = \"x-a\" }\nheaders = { X-A = \"1\" }",
            "headers: x-a is set by signing",
        ),
        (
            "{ secret = \"KEY\", scheme = \"rfc9421\" }\nheaders = { Signature = \"1\" }",
            "headers: signature is set by signing",
        ),
        (
            "{ secret = \"KEY\", header = \"Authorization\" }\nbearer_token = \"abc\"",
            "authorization is set by the login",
        ),
    ]);
}

fn assert_refused(cases: &[(&str, &str)]) {
    let secret = &KEY[6..];
    for (signing, words) in cases {
        let value = signing.replace("KEY", KEY).replace("SECRET", secret);
        let text = format!("[[endpoint]]\nhost = \"h\"\nsigning = {value}\n");
        let e = read(&text).expect_err(&text);
        assert!(e.contains(words), "{signing}: {e}");
        assert!(!e.contains(&secret[..8]), "{signing}: {e}");
        assert!(!e.contains('\n') && e.contains("line "), "{signing}: {e}");
    }
}
