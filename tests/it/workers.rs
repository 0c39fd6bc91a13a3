//! How many workers there are, what one endpoint gets of them, and what the system allows.

use std::fs;

use crate::support::message;
use crate::support::receiver::{Receiver, Reply, status};
use crate::support::redis::Redis;
use crate::support::service::{Finished, Outhook};
use crate::support::{MS, until};

fn deliver(args: &[&str], url: &str, count: usize) -> Finished {
    let lines: Vec<String> = (0..count)
        .map(|n| message(url, &format!("m{n}"), "1"))
        .collect();
    Outhook::new(&[&["deliver"], args].concat()).run(lines.join("\n"))
}

/// So slow that a lane uses all the attempts that it may make at a time.
fn slow() -> Receiver {
    Receiver::answering(|_, _| status(200).after(50 * MS))
}

#[test]
fn one_endpoint_gets_what_max_in_flight_says_and_no_more() {
    let slow = slow();
    let run = deliver(
        &["--workers", "16", "--max-in-flight", "6"],
        &slow.url("/"),
        60,
    );
    assert_eq!((run.code, slow.count()), (0, 60), "{run:?}");
    assert_eq!(slow.connected(), 6, "connections, each of which is kept");
}

#[test]
fn a_rule_s_max_in_flight_goes_before_the_option() {
    let slow = slow();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("endpoints.toml");
    let rule = format!(
        "[[endpoint]]\nurl = \"{}\"\nmax_in_flight = 3\n",
        slow.url("/")
    );
    fs::write(&file, rule).unwrap();
    let file = file.to_str().unwrap();
    let args = ["--workers", "16", "--max-in-flight", "6"];
    let run = deliver(
        &[&args[..], &["--endpoints", file]].concat(),
        &slow.url("/"),
        30,
    );
    assert_eq!((run.code, slow.connected()), (0, 3), "{run:?}");
}

#[test]
fn the_soft_limit_of_descriptors_is_raised_and_that_is_said() {
    let run = Outhook::new(&["deliver"]).limited("-S -n 256").run("");
    assert_eq!(run.code, 0, "{run:?}");
    let said = |part: &str| run.err.iter().any(|line| line.contains(part));
    assert!(said("limit raised from 256 to"), "{run:?}");
    assert!(!said("fits"), "{run:?}");
}

#[test]
fn too_few_descriptors_are_said_at_start_and_by_check_with_what_fits() {
    let redis = Redis::start();
    let address = redis.address();
    let check = ["check", "--redis-address", &address];
    for command in [&["deliver"][..], &check] {
        let run = Outhook::new(command).limited("-n 256").run("");
        let line = run.err.iter().find(|line| line.contains("512 workers"));
        let line = line.unwrap_or_else(|| panic!("{run:?}"));
        assert!(line.contains("--workers 153 fits"), "{line}");
        let fewer = [command, &["--workers", "153"]].concat();
        let run = Outhook::new(&fewer).limited("-n 256").run("");
        assert_eq!(run.code, 0, "{run:?}");
        assert!(!run.err.iter().any(|l| l.contains("fits")), "{run:?}");
    }
}

#[test]
fn workers_that_are_all_busy_for_long_are_told_of_with_the_setting_that_helps() {
    let hangs = Receiver::script([Reply::Hang]);
    let args = ["deliver", "--workers", "1", "--timeout", "10m"];
    let mut service = Outhook::new(&args).spawn();
    let two = [0, 1].map(|n| message(&hangs.url("/"), &format!("m{n}"), "1"));
    service.write(two.join("\n") + "\n");
    hangs.wait_connected(1);
    let line = service.log.wait("workers: all 1 have been busy for 10s");
    assert!(line.contains("1 messages are queued"), "{line}");
    assert!(line.contains("more --workers would help"), "{line}");
}

#[test]
fn what_the_workers_allow_is_said_at_start() {
    let redis = Redis::start();
    let args = [
        "serve",
        "--redis-address",
        &redis.address(),
        "--workers",
        "100",
    ];
    let service = Outhook::new(&args).spawn();
    service
        .log
        .wait("100 workers: 500/s if endpoints answer in 200ms; of these 25, and so 125/s");
}

#[test]
fn a_quiet_service_with_all_its_workers_is_small() {
    let redis = Redis::start();
    let resident = |workers: &str| {
        let args = [
            "serve",
            "--redis-address",
            &redis.address(),
            "--workers",
            workers,
        ];
        let service = Outhook::new(&args).spawn();
        service.log.wait("ready: subscribed");
        until("all its threads to rest", || {
            all_sleep(service.pid()).then_some(())
        });
        anonymous_kib(service.pid())
    };
    let per_worker = (resident("1024") - resident("128")) as f64 / 896.0;
    // Without optimization the frames are larger.
    let most = if cfg!(debug_assertions) { 15.0 } else { 10.0 };
    assert!(per_worker <= most, "{per_worker} KiB");
}

/// Whether no thread of the process runs.
fn all_sleep(pid: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("a living process");
    tasks.flatten().all(|task| {
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|s| s.starts_with('S'))
    })
}

fn anonymous_kib(pid: u32) -> i64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a living process");
    let line = status.lines().find(|l| l.starts_with("RssAnon:"));
    let kib = line.and_then(|l| l.split_whitespace().nth(1));
    kib.and_then(|n| n.parse().ok()).expect("RssAnon")
}
