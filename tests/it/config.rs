//! Flags, variables and files; what is wrong with them is said in one line, with exit code 2.

use crate::support::receiver::{Receiver, status};
use crate::support::redis::Redis;
use crate::support::service::{Finished, Outhook};
use crate::support::{DEADLINE, message};

/// Exit code 2, and one line that holds all these words.
fn assert_refused(run: &Finished, words: &[&str]) {
    assert_eq!(run.code, 2, "{words:?}: {run:?}");
    assert_eq!(run.err.len(), 1, "{words:?}: one line, not {run:#?}");
    assert!(run.out.is_empty(), "{run:?}");
    for word in words {
        assert!(
            run.err[0].contains(word),
            "{word:?} is not in {:?}",
            run.err[0]
        );
    }
}

fn refused_args(args: &[&str], words: &[&str]) {
    assert_refused(&Outhook::new(args).run(""), words);
}

/// Command, option, and values that it may not have.
const BAD_VALUES: &[(&str, &str, &[&str])] = &[
    (
        "deliver",
        "--workers",
        &["0", "-1", "many", "1.5", "", "99999999999999999999"],
    ),
    ("deliver", "--max-in-flight", &["0", "-1", "x", "4097"]),
    ("deliver", "--timeout", &["0s", "soon", "-1s", "", "15"]),
    ("deliver", "--connect-timeout", &["0s", "soon"]),
    (
        "deliver",
        "--dns-server",
        &["", "a.example", "10.0.0.1:0", "10.0.0.1:x", "::"],
    ),
    ("deliver", "--resolver", &["", "dns"]),
    ("deliver", "--max-attempts", &["0", "-1", "x", "5000000000"]),
    ("deliver", "--backoff-base", &["x", "-1s", "1"]),
    ("deliver", "--backoff-max", &["x", ""]),
    ("deliver", "--jitter", &["-0.1", "x", "NaN", "inf", ""]),
    (
        "deliver",
        "--retry-schedule",
        &["x", "", "5s,,5m", "5s,x", "standards", ","],
    ),
    ("deliver", "--max-message-bytes", &["0", "x", "1MB", "-1"]),
    ("deliver", "--max-active", &["0", "x"]),
    ("deliver", "--drain-timeout", &["x", "-1s", "25h"]),
    (
        "serve",
        "--redis-address",
        &[
            "",
            "http://h/",
            "nowhere:port",
            "host:99999",
            "host:0",
            ":6379",
        ],
    ),
    ("serve", "--channel", &[""]),
    (
        "listen",
        "--bind",
        &["", "nowhere", "127.0.0.1:99999", "127.0.0.1"],
    ),
    ("listen", "--status", &["99", "1000", "x", "-1"]),
    ("listen", "--fail-rate", &["-0.1", "1.1", "x", "NaN"]),
    ("listen", "--delay", &["x", "-1s"]),
    ("listen", "--retry-after", &["x", "-1"]),
];

#[test]
fn each_bad_value_is_refused_with_the_name_of_the_option_and_the_value() {
    let mut wrong = Vec::new();
    for (command, option, values) in BAD_VALUES {
        for value in *values {
            let mut service =
                Outhook::new(&[command, &format!("{option}={value}").as_str()]).spawn();
            service.close_stdin();
            // One that accepts the value may go on to run for ever.
            let code = service.exit_within(DEADLINE / 3);
            let lines = service.log.all();
            let named = lines.len() == 1 && [option, value].iter().all(|w| lines[0].contains(*w));
            if code != Some(2) || !named {
                wrong.push(format!("{option}={value}: {code:?} {lines:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_bad_variable_is_refused_like_a_bad_flag() {
    for (variable, option, value) in [
        ("OUTHOOK_WORKERS", "--workers", "0"),
        ("OUTHOOK_TIMEOUT", "--timeout", "soon"),
        ("OUTHOOK_MAX_ATTEMPTS", "--max-attempts", "x"),
        ("OUTHOOK_JITTER", "--jitter", "-1"),
        ("OUTHOOK_RETRY_SCHEDULE", "--retry-schedule", "5s,x"),
        ("OUTHOOK_DRAIN_TIMEOUT", "--drain-timeout", "x"),
        ("OUTHOOK_REDIS_ADDRESS", "--redis-address", "http://h/"),
        ("REDIS_ADDRESS", "", "nowhere:port"),
    ] {
        let run = Outhook::new(&["serve"]).env(variable, value).run("");
        assert_refused(&run, &[value]);
        let line = &run.err[0];
        assert!(
            line.contains(variable) || (!option.is_empty() && line.contains(option)),
            "{variable}: {line}"
        );
    }
}

#[test]
fn options_that_exclude_each_other_are_refused_together() {
    let schedule = ["--retry-schedule", "5s"];
    for other in [
        ["--max-attempts", "3"],
        ["--backoff-base", "1s"],
        ["--backoff-max", "1s"],
    ] {
        let run = Outhook::new(&[&["deliver"][..], &schedule, &other].concat()).run("");
        assert_refused(&run, &["--retry-schedule", other[0]]);
    }
    let run = Outhook::new(&["serve", "--retry-schedule", "5s"])
        .env("OUTHOOK_MAX_ATTEMPTS", "3")
        .run("");
    assert_refused(&run, &[]);
    assert!(
        run.err[0].contains("retry-schedule")
            && run.err[0]
                .to_lowercase()
                .replace('_', "-")
                .contains("max-attempts")
    );
}

#[test]
fn a_name_server_for_the_system_s_resolver_is_refused() {
    let args = ["--dns-server", "10.0.0.2", "--resolver", "system"];
    let run = Outhook::new(&[&["deliver"][..], &args].concat()).run("");
    assert_refused(&run, &["--dns-server 10.0.0.2", "--resolver system"]);
    let run = Outhook::new(&["serve", "--resolver", "system"])
        .env("OUTHOOK_DNS_SERVER", "10.0.0.2,[::1]:5353")
        .run("");
    let named = "--dns-server (OUTHOOK_DNS_SERVER) 10.0.0.2";
    assert_refused(&run, &[named, "--resolver system"]);
}

#[test]
fn what_is_no_command_or_option_is_refused_in_one_line() {
    refused_args(&["serve", "--nope"], &["--nope"]);
    refused_args(&["serve", "stray"], &["stray"]);
    refused_args(&["sevre"], &["sevre"]);
    refused_args(&["serve", "--workers"], &["--workers"]);
    refused_args(&["deliver", "--channel", "a"], &["--channel"]);
}

#[test]
fn help_and_version_are_no_errors() {
    for args in [
        &["--help"][..],
        &["serve", "--help"],
        &["deliver", "--help"],
        &["listen", "--help"],
        &["check", "--help"],
        &["demo", "--help"],
    ] {
        let run = Outhook::new(args).run("");
        assert_eq!(run.code, 0, "{args:?}");
        assert!(run.out.len() > 5, "{run:?}");
    }
    let run = Outhook::new(&["--version"]).run("");
    assert_eq!(
        (run.code, run.out),
        (0, vec![format!("outhook {}", env!("CARGO_PKG_VERSION"))])
    );
}

#[test]
fn every_option_of_serve_has_its_variable_in_the_help() {
    let help = Outhook::new(&["serve", "--help"]).run("").out.join("\n");
    for option in [
        "redis-address",
        "redis-address-file",
        "redis-username",
        "redis-password",
        "redis-password-file",
        "channel",
        "workers",
        "max-in-flight",
        "timeout",
        "connect-timeout",
        "max-attempts",
        "backoff-base",
        "backoff-max",
        "jitter",
        "retry-schedule",
        "max-message-bytes",
        "max-active",
        "drain-timeout",
        "log",
    ] {
        assert!(
            help.contains(&format!("--{option} ")),
            "--{option} is not in the help"
        );
        let variable = format!("OUTHOOK_{}", option.to_uppercase().replace('-', "_"));
        assert!(help.contains(&variable), "{variable} is not in the help");
    }
}

#[test]
fn variables_work_as_flags_do_and_flags_win() {
    let receiver = Receiver::script([status(500)]);
    let input = message(&receiver.url("/"), "a", "1");
    for (args, attempts) in [
        (&["deliver"][..], 2),
        (&["deliver", "--max-attempts", "3"], 3),
    ] {
        let before = receiver.count();
        let run = Outhook::new(args)
            .env("OUTHOOK_MAX_ATTEMPTS", "2")
            .env("OUTHOOK_BACKOFF_BASE", "10ms")
            .env("OUTHOOK_JITTER", "0")
            .env("OUTHOOK_WORKERS", "1")
            .env("OUTHOOK_TIMEOUT", "5s")
            .run(input.as_str());
        assert_eq!(run.code, 1);
        assert_eq!(receiver.count() - before, attempts);
    }
}

#[test]
fn the_address_and_the_channels_are_taken_from_variables_and_ours_win() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut service = Outhook::new(&["serve"])
        .env("REDIS_ADDRESS", "127.0.0.1:1")
        .env("OUTHOOK_REDIS_ADDRESS", redis.address())
        .env("OUTHOOK_CHANNEL", "a,b")
        .spawn();
    service.log.wait("ready: subscribed");
    for (n, channel) in ["a", "b"].iter().enumerate() {
        assert_eq!(
            redis.publish(channel, message(&receiver.url("/"), "x", "1")),
            1
        );
        receiver.wait_for(n + 1);
    }
    service.end_well();
}

#[test]
fn an_endpoints_file_that_is_a_pipe_is_refused_and_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    refused_args(
        &["deliver", "--endpoints", pipe.to_str().unwrap()],
        &["--endpoints", "not a file"],
    );
}

#[test]
fn a_number_that_is_none_or_too_large_is_refused_with_what_it_may_be() {
    for bad in ["many", "0", "4097"] {
        refused_args(
            &["deliver", "--workers", bad],
            &["--workers", bad, "a whole number from 1 to 4096"],
        );
    }
}

#[test]
fn an_endpoint_cannot_have_more_workers_than_there_are() {
    refused_args(
        &["deliver", "--workers", "8", "--max-in-flight", "9"],
        &["--max-in-flight 9", "at most --workers (8)"],
    );
}

#[test]
fn a_secret_may_stand_in_a_file_or_in_place_but_not_in_both() {
    let redis = Redis::with(&["--requirepass", "in-file-s3cret"]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    let path = file.to_str().unwrap();
    for text in ["in-file-s3cret", "in-file-s3cret\n", "in-file-s3cret\r\n"] {
        std::fs::write(&file, text).unwrap();
        let run = Outhook::new(&["check"])
            .env("OUTHOOK_REDIS_ADDRESS", redis.address())
            .env("OUTHOOK_REDIS_PASSWORD_FILE", path)
            .run("");
        assert_eq!(run.code, 0, "{text:?}: {run:?}");
    }
    let both = Outhook::new(&[
        "serve",
        "--redis-password",
        "in-place-s3cret",
        "--redis-password-file",
        path,
    ])
    .run("");
    assert_refused(&both, &["--redis-password", "--redis-password-file"]);
    let both = Outhook::new(&[
        "serve",
        "--redis-address",
        "127.0.0.1:1",
        "--redis-address-file",
        path,
    ])
    .run("");
    assert_refused(&both, &["--redis-address", "--redis-address-file"]);
    let both = Outhook::new(&["serve", "--redis-password", "in-place-s3cret"])
        .env("OUTHOOK_REDIS_PASSWORD_FILE", path)
        .run("");
    assert_refused(&both, &[]);
    let missing = format!("{path}.missing");
    refused_args(
        &["serve", "--redis-password-file", &missing],
        &["--redis-password-file", &missing],
    );
    refused_args(
        &["serve", "--redis-address-file", &missing],
        &["--redis-address-file", &missing],
    );
}

#[test]
fn a_password_never_shows() {
    let redis = Redis::with(&["--requirepass", "right"]);
    let socket = redis.socket();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    std::fs::write(&file, "redis://:s3cret@host:port").unwrap();
    let file = file.to_str().unwrap();
    let running = [
        vec![
            "--redis-address".to_owned(),
            redis.address(),
            "--redis-password".into(),
            "s3cret".into(),
        ],
        vec![
            "--redis-address".into(),
            format!("unix://{socket}?pass=s3cret"),
        ],
        vec![
            "--redis-address".into(),
            "redis://:s3cret@127.0.0.1:1".into(),
        ],
        vec![
            "--redis-address".into(),
            "redis://user:s3cret@127.0.0.1:1/0".into(),
        ],
    ];
    for args in running {
        let args = [
            vec!["serve".to_owned(), "--log".into(), "trace".into()],
            args,
        ]
        .concat();
        let mut service = Outhook::new(&args).spawn();
        service.log.wait("redis: trouble");
        service.terminate();
        assert_eq!(
            service.log.count("s3cret") + service.out.count("s3cret"),
            0,
            "{:#?}",
            service.log.all()
        );
        let check = [&["check".to_owned()], &args[1..]].concat();
        let run = Outhook::new(&check).run("");
        assert!(
            run.code == 1 && !format!("{run:?}").contains("s3cret"),
            "{run:#?}"
        );
    }
    for args in [
        &["serve", "--redis-address", "redis://:s3cret@host:port"][..],
        &[
            "serve",
            "--redis-address",
            "redis://user:s3cret@host:99999/0",
        ],
        &["serve", "--redis-address", "http://user:s3cret@host/"],
        &["serve", "--redis-address-file", file],
        &[
            "serve",
            "--redis-password",
            "s3cret",
            "--redis-password-file",
            file,
        ],
        &["serve", "--redis-password", "s3cret", "--workers", "0"],
    ] {
        let run = Outhook::new(args).run("");
        assert_refused(&run, &[]);
        assert!(!run.err[0].contains("s3cret"), "{}", run.err[0]);
    }
}

#[test]
fn the_log_level_follows_its_variable() {
    let receiver = Receiver::ok();
    let input = message(&receiver.url("/"), "a", "1");
    let lines = |level: &str| {
        Outhook::new(&["deliver"])
            .env("OUTHOOK_LOG", level)
            .run(input.as_str())
            .err
            .len()
    };
    assert_eq!(lines("off"), 0);
    assert_eq!(lines("error"), 0);
    assert!(lines("debug") > lines("warn"));
}
