//! Where settings come from: flags over variables over the file of `--config`; what is said of each
//! that is wrong, unknown, or not as it is by default.

use std::fs;

use tempfile::TempDir;

use crate::support::receiver::{Receiver, status};
use crate::support::redis::Redis;
use crate::support::service::{Finished, Outhook};
use crate::support::{free_port, message};

/// A file of this text.
struct Config(TempDir);

impl Config {
    fn of(text: &str) -> Config {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("outhook.toml"), text).expect("to write");
        Config(folder)
    }

    fn path(&self) -> String {
        self.0.path().join("outhook.toml").display().to_string()
    }
}

fn run(args: &[&str], variables: &[(&str, &str)]) -> Finished {
    let new = Outhook::new(args);
    let set = |outhook: Outhook, (name, value): &(&str, &str)| outhook.env(name, value);
    variables.iter().fold(new, set).run("")
}

/// Exit code 2, and this one line.
fn assert_refused(run: &Finished, line: &str) {
    assert_eq!((run.code, run.err.len()), (2, 1), "{run:?}");
    assert_eq!(run.err[0], format!("outhook: {line}"));
}

#[test]
fn an_empty_variable_counts_as_not_set_whatever_it_is_for() {
    let help = Outhook::new(&["serve", "--help"]).run("").out.join(" ");
    let names = help.split("[env: ").skip(1);
    let names: Vec<&str> = names.filter_map(|rest| rest.split('=').next()).collect();
    assert!(names.len() > 60, "{names:?}");
    let all: Vec<(&str, &str)> = names.iter().map(|name| (*name, "")).collect();
    let run = run(&["deliver"], &all);
    assert_eq!((run.code, &*run.err.join("\n")).0, 0, "{run:?}");
    let settings = run.err.iter().filter(|line| line.contains("settings:"));
    assert_eq!(settings.count(), 0, "{run:?}");
    // Of a switch, and of a tool's options too.
    let redis = Redis::start();
    let check = Outhook::new(&["check"])
        .env("REDIS_ADDRESS", "")
        .env("REDIS_URL", redis.address())
        .env("OUTHOOK_REDIS_PASSWORD", "")
        .env("OUTHOOK_CHANNEL", "");
    assert_eq!(check.run("").code, 0);
}

#[test]
fn a_switch_is_written_as_people_write_it() {
    for on in ["1", "yes", "on", "true", "TRUE", "Yes"] {
        let run = run(&["deliver"], &[("OUTHOOK_HTTPS_ONLY", on)]);
        let is_on = run
            .err
            .iter()
            .any(|l| l.contains("--https-only (OUTHOOK_HTTPS_ONLY)"));
        assert!(is_on && run.code == 0, "{on}: {run:?}");
    }
    for off in ["0", "no", "off", "false"] {
        let run = run(&["deliver"], &[("OUTHOOK_HTTPS_ONLY", off)]);
        let is_on = run.err.iter().any(|l| l.contains("--https-only"));
        assert!(!is_on && run.code == 0, "{off}: {run:?}");
    }
    assert_refused(
        &run(&["deliver"], &[("OUTHOOK_HTTPS_ONLY", "maybe")]),
        "--https-only (OUTHOOK_HTTPS_ONLY) maybe: it must be true or false (or yes or no, on or \
         off, 1 or 0)",
    );
}

#[test]
fn a_variable_that_is_none_of_ours_is_named_with_the_nearest() {
    let variables = [
        ("OUTHOOK_WORKES", "5"),
        // As Kubernetes puts it there for a service of our name, and as compose.yaml has it.
        ("OUTHOOK_SERVICE_HOST", "10.0.0.1"),
        ("OUTHOOK_SERVICE_PORT_HTTP", "80"),
        ("OUTHOOK_PORT", "tcp://10.0.0.1:80"),
        ("OUTHOOK_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("OUTHOOK_TAG", "dev"),
        // For another command.
        ("OUTHOOK_RATE", "5"),
    ];
    let said = "OUTHOOK_WORKES is no variable of outhook; is OUTHOOK_WORKERS meant?";
    for command in ["deliver", "check"] {
        let run = run(&[command], &variables);
        let lines = run
            .err
            .iter()
            .filter(|l| l.contains("no variable of outhook"));
        let lines: Vec<_> = lines.collect();
        assert!(
            lines.len() == 1 && lines[0].contains(said),
            "{command}: {run:?}"
        );
    }
}

#[test]
fn what_was_perhaps_meant_stays_in_the_line() {
    for (args, line) in [
        (
            &["serv"][..],
            "serv: there is no such command; is serve meant? See outhook --help",
        ),
        (
            &["serve", "--worker", "5"],
            "--worker: there is no such option; is --workers meant? See outhook serve --help",
        ),
        (
            &["serve", "--workers", "-5"],
            "--workers -5: it must be a whole number from 1 to 4096",
        ),
        (&["serve", "--workers"], "--workers: it needs a value"),
        (
            &["serve", "--resolver", "dns"],
            "--resolver dns: it must be builtin or system",
        ),
    ] {
        assert_refused(&run(args, &[]), line);
    }
}

#[test]
fn an_error_names_the_variable_or_the_file_that_the_value_comes_from() {
    let wrong = "it must be a whole number from 1 to 4096";
    assert_refused(
        &run(&["serve"], &[("OUTHOOK_WORKERS", "0")]),
        &format!("--workers (OUTHOOK_WORKERS) 0: {wrong}"),
    );
    // A flag wins, and is to blame.
    assert_refused(
        &run(&["serve", "--workers", "0"], &[("OUTHOOK_WORKERS", "5")]),
        &format!("--workers 0: {wrong}"),
    );
    let config = Config::of("workers = 0\n");
    assert_refused(
        &run(&["serve", "--config", &config.path()], &[]),
        &format!("--workers (outhook.toml) 0: {wrong}"),
    );
    // What no option alone is to blame for.
    assert_refused(
        &run(
            &["serve", "--lease", "30s"],
            &[("OUTHOOK_TIMEOUT", "20s"), ("REDIS_ADDRESS", "127.0.0.1:1")],
        ),
        "--timeout (OUTHOOK_TIMEOUT) 20s: it must be at most a third of --lease (30s)",
    );
    let run = run(&["serve"], &[("REDIS_URL", "nowhere:port")]);
    assert!(
        run.err[0].contains("--redis-address (REDIS_URL) nowhere:port"),
        "{run:?}"
    );
}

#[test]
fn a_log_filter_that_names_no_level_and_no_module_is_refused() {
    for filter in ["verbose", "blah", "info,outhok", "warn,outhook=loud", ","] {
        let run = run(&["deliver", "--log", filter], &[]);
        assert_eq!((run.code, run.err.len()), (2, 1), "{filter}: {run:?}");
        assert!(run.err[0].contains("--log"), "{run:?}");
    }
    for filter in [
        "WARN",
        "outhook",
        "outhook::http,error",
        "warn,outhook=debug",
        "off",
    ] {
        assert_eq!(run(&["deliver", "--log", filter], &[]).code, 0, "{filter}");
    }
}

#[test]
fn settings_that_contradict_each_other_are_refused_with_both_names() {
    for (args, line) in [
        (
            &["--connect-timeout", "30s", "--timeout", "5s"][..],
            "--connect-timeout 30s: it must be at most --timeout (5s)",
        ),
        (
            &["--backoff-base", "10s", "--backoff-max", "1s"],
            "--backoff-base 10s: it must be at most --backoff-max (1s)",
        ),
        (
            &["--endpoint-backoff-base", "2m"],
            "--endpoint-backoff-base 2m: it must be at most --endpoint-backoff-max (1m)",
        ),
        (
            &["--ca-only"],
            "--ca-only: it needs --ca-file, or nothing would be trusted",
        ),
        (
            &["--proxy-credentials-file", "/x"],
            "--proxy-credentials-file /x: it needs --proxy",
        ),
    ] {
        assert_refused(&run(&[&["deliver"], args].concat(), &[]), line);
    }
    // Where --timeout alone is shorter, connecting takes no longer either.
    assert_eq!(run(&["deliver", "--timeout", "2s"], &[]).code, 0);
    assert_refused(
        &run(&["serve", "--redis-budget", "80"], &[]),
        "--redis-budget 80: it would be 80 bytes; it must be at least 1mb, or a share such as 80%",
    );
}

#[test]
fn settings_that_change_nothing_are_said() {
    for (args, said) in [
        (
            ["--max-active", "10"],
            "--max-active 10 is less than --workers (512): at most 10 attempts",
        ),
        (
            ["--max-active-bytes", "1000"],
            "--max-active-bytes 1000 is less than --max-message-bytes (1048576)",
        ),
        (["--no-proxy", "a.example"], "--no-proxy changes nothing"),
    ] {
        let run = run(&[&["deliver"][..], &args].concat(), &[]);
        let is_said = run.err.iter().any(|line| line.contains(said));
        assert!(is_said && run.code == 0, "{said}: {run:?}");
    }
}

#[test]
fn a_flag_wins_over_a_variable_and_that_over_the_file() {
    let receiver = Receiver::script([status(500)]);
    let config = Config::of(
        "max-attempts = 4\nbackoff-base = \"10ms\"\njitter = 0\nallow-cidr = [\"127.0.0.0/8\"]\n\
         https-only = false\nrate = 3\n",
    );
    let path = config.path();
    let input = message(&receiver.url("/"), "a", "1");
    let attempts = |args: &[&str], variable: &str| {
        let before = receiver.count();
        let args = [&["deliver", "--config", &path], args].concat();
        let outhook = Outhook::new(&args).guarded();
        let run = outhook
            .env("OUTHOOK_MAX_ATTEMPTS", variable)
            .run(input.as_str());
        assert_eq!(run.code, 1, "{run:?}");
        receiver.count() - before
    };
    assert_eq!(attempts(&[], ""), 4);
    assert_eq!(attempts(&[], "3"), 3);
    assert_eq!(attempts(&["--max-attempts", "2"], "3"), 2);
}

#[test]
fn the_file_may_be_named_by_a_variable_and_is_for_tools_too() {
    let redis = Redis::start();
    let config = Config::of(&format!(
        "redis-address = \"{}\"\nchannel = [\"a\", \"b\"]\nbridge = true\n",
        redis.address()
    ));
    for args in [&["check"][..], &["dead", "list", "--json"]] {
        let run = Outhook::new(args)
            .env("OUTHOOK_CONFIG", config.path())
            .run("");
        assert_eq!(run.code, 0, "{run:?}");
    }
    let mut service = Outhook::new(&["serve", "--config", &config.path()]).spawn();
    service.log.wait("ready: subscribed to a, b at");
    service.end_well();
    // A variable that others have set wins too.
    let away = format!("127.0.0.1:{}", free_port());
    let check = Outhook::new(&["check", "--config", &config.path()]).env("REDIS_ADDRESS", away);
    assert_eq!(check.run("").code, 1);
}

#[test]
fn a_secret_in_the_file_gives_way_to_a_variable_that_names_a_file_with_it() {
    let redis = Redis::with(&["--requirepass", "right-s3cret"]);
    let config = Config::of("redis-password = \"wrong-s3cret\"\n");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("password");
    fs::write(&file, "right-s3cret\n").expect("to write");
    let check = Outhook::new(&["check", "--config", &config.path()])
        .env("REDIS_URL", redis.address())
        .env("OUTHOOK_REDIS_PASSWORD_FILE", &file)
        .run("");
    assert_eq!(check.code, 0, "{check:?}");
}

#[test]
fn what_is_wrong_in_the_file_is_named_with_its_line() {
    for (text, said) in [
        (
            "\nworkrs = 5\n",
            "line 2: workrs: there is no such option; is workers meant?",
        ),
        (
            "max_attempts = 5\n",
            "line 1: max_attempts: there is no such option; is max-attempts meant?",
        ),
        (
            "[serve]\nworkers = 5\n",
            "line 1: [serve]: options stand in no table; write workers = … without one",
        ),
        ("workers =\n", "line 1: "),
        (
            "config = \"x\"\n",
            "line 1: config: a file cannot name another one",
        ),
        (
            "channel = [{ a = 1 }]\n",
            "line 1: channel: it must be a text, a number, true or false, or a list of these",
        ),
    ] {
        let config = Config::of(text);
        let run = run(&["serve", "--config", &config.path()], &[]);
        assert_eq!((run.code, run.err.len()), (2, 1), "{run:?}");
        let begin = format!("outhook: --config {}: {said}", config.path());
        assert!(run.err[0].starts_with(&begin), "{run:?}");
    }
    let config = Config::of("retry-schedule = \"5s\"\n");
    let args = ["serve", "--max-attempts", "3", "--config", &config.path()];
    let run = run(&args, &[]);
    let both = "--retry-schedule (outhook.toml) and --max-attempts exclude each other";
    let other = "--max-attempts and --retry-schedule (outhook.toml) exclude each other";
    assert!(
        run.err[0].contains(both) || run.err[0].contains(other),
        "{run:?}"
    );
}

#[test]
fn one_line_at_the_start_has_all_that_is_not_as_by_default_and_no_secret() {
    let config = Config::of("redis-password = \"in-file-s3cret\"\nbridge = true\n");
    let mut service = Outhook::new(&["serve", "--config", &config.path(), "--jitter=0.5"])
        .env("OUTHOOK_WORKERS", "7")
        .env("OUTHOOK_MAX_ATTEMPTS", "5")
        .env(
            "OUTHOOK_SIGNING_SECRET",
            "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0",
        )
        .env("REDIS_ADDRESS", "redis://:in-url-s3cret@127.0.0.1:1")
        .spawn();
    let line = service.log.wait("settings:");
    for part in [
        "--redis-address (REDIS_ADDRESS) (hidden)",
        "--redis-password (outhook.toml) (hidden)",
        "--bridge (outhook.toml),",
        "--workers (OUTHOOK_WORKERS) 7",
        "--jitter 0.5",
        "--signing-secret (OUTHOOK_SIGNING_SECRET) (hidden)",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(!line.contains("max-attempts"), "as by default: {line}");
    assert_eq!(service.log.count("settings:"), 1);
    service.terminate();
    let all = service.log.all().concat();
    assert!(!all.contains("s3cret") && !all.contains("c2Vjc"), "{all}");
}
