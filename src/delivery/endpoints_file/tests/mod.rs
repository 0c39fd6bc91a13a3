//! What an endpoints file comes to, and what is said of a bad one.

mod signing;

use super::*;
use crate::delivery::retry_schedule::Delays;
use crate::message::endpoint::Endpoint;

fn read_rules(text: &str) -> Result<EndpointRules, String> {
    read_with(text, &|_| Err("it is not there".into()))
}

/// `secret` reads the files of secrets. No other files are there.
fn read_with(
    text: &str,
    secret: &dyn Fn(&str) -> Result<Secret, String>,
) -> Result<EndpointRules, String> {
    let second = Duration::from_secs(1);
    let bounds = Bounds {
        schedule: RetrySchedule {
            attempts: 5,
            delays: Delays::Doubling {
                base: second,
                max: second,
            },
            jitter: 0.0,
        },
        timeout: 20 * second,
        usual_timeout: 15 * second,
        max_age: 86_400 * second,
        workers: 128,
        guard: Arc::default(),
    };
    let name = if text.starts_with('{') {
        "a.json"
    } else {
        "a.toml"
    };
    let readers = Readers {
        authorities: &|_| Err("it is not there".into()),
        secret,
    };
    parse(text, name, &bounds, readers, Defaults::default())
}

#[test]
fn the_first_rule_that_matches_holds() {
    let text = r#"
        [[endpoint]]
        url = "https://A.example/hooks"
        max_in_flight = 4
        rate = "600/m"
        timeout = "5s"
        retry_schedule = "5s,1m"
        headers = { "X-B" = "2" }
        method = "PUT"
        user_agent = "acme/1"

        [[endpoint]]
        host = "*.example"
        max_attempts = 8
        disabled = true
    "#;
    let rules = read_rules(text).unwrap();
    let find = |url: &str| rules.find(&Endpoint::parse(url).unwrap()).cloned();
    let first = find("https://a.example/hooks/1").unwrap();
    assert_eq!(
        (first.max_in_flight, first.pace),
        (Some(4), Some(Duration::from_millis(100)))
    );
    assert_eq!(first.schedule.as_ref().unwrap().attempts, 3);
    assert!(first.lane().is_some() && !first.disabled);
    let second = find("https://a.example/other").unwrap();
    assert_eq!(second.schedule.as_ref().unwrap().attempts, 8);
    assert!(second.lane().is_none() && second.disabled);
    assert!(find("https://a.example.evil/hooks").is_none());
    assert!(find("https://example/").is_none());
    assert!(
        read_rules("")
            .unwrap()
            .find(&Endpoint::parse("http://h/").unwrap())
            .is_none()
    );
    // A rule is for all spellings of what it names, and for no other path.
    let spelled = r#"{"endpoint":[{"url":"HTTP://H.:80/a b/../it's"},{"host":"*.B.Example."}]}"#;
    let spelled = read_rules(spelled).unwrap();
    let find = |url: &str| spelled.find(&Endpoint::parse(url).unwrap()).is_some();
    assert!(find("http://h/a%20b/../it's?x") && find("http://h./a b/../it's"));
    assert!(!find("http://h/it's") && !find("http://h/a%20b/../it%27s"));
    assert!(find("http://c.b.example/") && find("http://c.b.example./"));
    let json = read_rules(r#"{"endpoint":[{"host":"h","rate":"10/s"}]}"#).unwrap();
    assert!(json.find(&Endpoint::parse("http://h/").unwrap()).is_some());
}

#[test]
fn a_host_is_for_all_spellings_of_what_it_names() {
    for (host, url) in [
        ("[0:0:0:0:0:0:0:1]", "http://[::1]/"),
        ("::1", "http://[::1]:8080/"),
        ("[::ffff:10.0.0.1]", "http://[::ffff:a00:1]/"),
        ("127.1", "http://127.0.0.1/"),
        ("0x7f.0.0.1", "https://127.0.0.1/"),
        ("2130706433", "http://127.0.0.1/"),
        ("127.0.0.1.", "http://127.1/"),
        ("Bücher.example", "http://xn--bcher-kva.example/"),
        ("*.bücher.example", "http://a.bücher.example/"),
        ("H.Example.", "http://h.example/"),
        ("my_service", "http://my_service/"),
    ] {
        let rules = read_rules(&format!("[[endpoint]]\nhost = \"{host}\""));
        let rules = rules.unwrap_or_else(|e| panic!("{host}: {e}"));
        let found = rules.find(&Endpoint::parse(url).unwrap()).is_some();
        assert!(found, "{host} {url}");
    }
    // What no URL could ever match.
    for host in [
        "h:8080",
        "*.[::1]",
        "*.127.1",
        "*",
        "*.",
        "",
        ".",
        "a..b",
        "a@b",
        "a?",
        "[::1]:80",
        "1.2.3.400",
    ] {
        let error = read_rules(&format!("[[endpoint]]\nhost = \"{host}\""));
        let error = error.expect_err(host);
        assert!(
            error.contains("line 2") && error.contains(&format!("{host:?}")),
            "{error}"
        );
    }
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    for (text, words) in [
        ("[[endpoint]]\nurl = \"x\"", &["line 2", "\"x\""][..]),
        (
            "[[endpoint]]\nurl = \"http://h\"\nrate = \"5\"",
            &["line 3", "100/s"],
        ),
        (
            "[[endpoint]]\nurl = \"http://h\"\nrate = \"0/s\"",
            &["line 3"],
        ),
        (
            "[[endpoint]]\nurl = \"http://h\"\nrate = \"4000000000/s\"",
            &["line 3", "at most 1000000/s"],
        ),
        ("[[endpoint]]\nhost = \"a/b\"", &["line 2", "host name"]),
        (
            "[[endpoint]]\nhost = \"h\"\nspeed = 3",
            &["line 3", "speed"],
        ),
        (
            "[[endpoint]]\nhost = \"h\"\ntimeout = \"1h\"",
            &["endpoint 1", "timeout", "20s"],
        ),
        (
            "[[endpoint]]\nhost = \"h\"\nmax_in_flight = 0",
            &["endpoint 1", "max_in_flight"],
        ),
        (
            "[[endpoint]]\nhost = \"h\"\nmethod = \"GET\"",
            &["line 3", "POST"],
        ),
        (
            "[[endpoint]]\nhost = \"h\"\nheaders = { Host = \"x\" }",
            &["line 3", "host"],
        ),
        (
            "[[endpoint]]\nhost = \"h\"\n\n[[endpoint]]\nrate = \"1/s\"",
            &["line 4", "endpoint 2", "url or host"],
        ),
        (
            "[[endpoint]]\nhost = \"h\"\nmax_attempts = 2\nretry_schedule = \"1s\"",
            &["exclude"],
        ),
        (
            "[[endpoint]]\nhost = \"h\"\n[signing]\nsecret_file = \"k\"",
            &["line 3", "[endpoint.signing]"],
        ),
        ("[[endpoint]\n", &["line 1"]),
        (
            "{\"endpoint\":[{\"host\":\"h\",\"rate\":1}]}",
            &["line 1", "column"],
        ),
    ] {
        let error = read_rules(text).expect_err(text);
        for word in words {
            assert!(error.contains(word), "{text}: {error}");
        }
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn an_error_is_one_short_line_whatever_it_repeats() {
    let long = format!("[[endpoint]]\nhost = \"h\"\n{} = 1", "x".repeat(10_000));
    for text in [
        "[[endpoint]]\nhost = \"h\"\n\"a\\u001b[2J\\nb\" = 1",
        "[[endpoint]]\nhost = \"h\"\nca_file = \"a\\u001b[2J\\nb\"",
        "{\"endpoint\":[{\"\\u001b[2J\\n\\u0085\":1}]}",
        &long,
    ] {
        let error = read_rules(text).expect_err(text);
        assert!(!error.contains(char::is_control), "{error:?}");
        assert!(error.chars().count() < 600, "{error}");
    }
}

#[test]
fn what_is_wrong_with_the_guards_keys_is_named_too() {
    for (text, words) in [
        (
            "[[endpoint]]\nhost = \"h\"\ninsecure_tls = true\nhttps_only = true",
            &["endpoint 1", "insecure_tls", "--https-only"][..],
        ),
        (
            "[[endpoint]]\nhost = \"h\"\nallow_cidr = [\"10.0.0.0/8\", \"10.1.2.3/8\"]",
            &["line 3", "10.1.2.3/8", "10.0.0.0/8 or 10.1.2.3/32"],
        ),
        (
            "[[endpoint]]\nhost = \"h\"\nallow_port = 70000",
            &["line 3", "70000", "a port"],
        ),
        (
            "[[endpoint]]\nhost = \"h\"\nallow_port = []",
            &["line 3", "allow_port is empty"],
        ),
    ] {
        let error = read_rules(text).expect_err(text);
        for word in words {
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
