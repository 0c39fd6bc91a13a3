//! The whole resolver, with a server on loopback and files of its own.

use std::fs;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::*;

/// Answers 10.0.0.1 for names that end so, NXDOMAIN for others; no address for IPv6, and nothing
/// at all if a name holds the word silent.
fn server(suffix: &'static str) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut bytes = [0; 600];
        while let Ok((n, from)) = socket.recv_from(&mut bytes) {
            let end = bytes[12..n].iter().position(|b| *b == 0).unwrap() + 12;
            let name: Vec<u8> = bytes[13..end]
                .iter()
                .map(|b| if *b < 32 { b'.' } else { *b })
                .collect();
            if name.windows(6).any(|part| part == b"silent") {
                continue;
            }
            let known = name.ends_with(suffix.as_bytes());
            let v4 = bytes[end + 2] == 1;
            bytes[2..4].copy_from_slice(if known { &[0x81, 0x80] } else { &[0x81, 0x83] });
            bytes[6..12].fill(0);
            bytes[7] = u8::from(known && v4);
            let record = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\0\0\x01";
            let end = end + 5;
            bytes[end..end + record.len()].copy_from_slice(record);
            let length = if known && v4 { end + record.len() } else { end };
            let _ = socket.send_to(&bytes[..length], from);
        }
    });
    addr
}

fn names(servers: Vec<SocketAddr>, dir: &std::path::Path) -> Resolver {
    Resolver::start(ResolverConfig {
        servers,
        system: false,
        files: Files {
            resolv_conf: dir.join("resolv.conf"),
            hosts: dir.join("hosts"),
        },
    })
    .unwrap()
}

/// The addresses, or why there are none, however long it takes to find out.
fn lookup(names: &Resolver, name: &str) -> Result<Vec<IpAddr>, String> {
    loop {
        match names.addresses(name, soon()) {
            Ok(addresses) => return Ok(addresses),
            Err(LookupError::Failed(text) | LookupError::Starved(text)) => return Err(text),
            Err(LookupError::Pending(_)) => thread::sleep(Duration::from_millis(2)),
        }
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn short_names_are_completed_from_the_file_and_the_hosts_file_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("resolv.conf"),
        "search nowhere.test corp.test\noptions ndots:2\n",
    )
    .unwrap();
    fs::write(dir.path().join("hosts"), "10.0.0.7 db\n").unwrap();
    let names = names(vec![server("corp.test")], dir.path());
    let ask = |name: &str| lookup(&names, name);
    assert_eq!(ask("db"), Ok(vec![ip("10.0.0.7")]));
    assert_eq!(ask("app.eu"), Ok(vec![ip("10.0.0.1")]));
    assert_eq!(ask("10.0.0.9"), Ok(vec![ip("10.0.0.9")]));
    assert_eq!(ask("::1"), Ok(vec![ip("::1")]));
    let error = ask("app.eu.").unwrap_err();
    assert!(error.contains("app.eu. does not exist"), "{error}");
    fs::write(dir.path().join("hosts"), "10.0.0.8 db\n10.0.0.8 app.eu\n").unwrap();
    let end = soon();
    while ask("app.eu") != Ok(vec![ip("10.0.0.8")]) || ask("db") != Ok(vec![ip("10.0.0.8")]) {
        assert!(Instant::now() < end, "the file is not read again");
        // A look-up makes it look at the files.
        let _ = ask(&format!(
            "n{:?}",
            end.saturating_duration_since(Instant::now())
        ));
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn closing_ends_every_wait_and_dropping_ends_the_thread() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let names = names(vec![silent.local_addr().unwrap()], dir.path());
    let shared = Arc::downgrade(&names.0.0);
    let waiting: Vec<_> = (0..8)
        .map(|n| {
            let names = names.clone();
            thread::spawn(move || lookup(&names, &format!("n{}.test", n / 2)))
        })
        .collect();
    // The first question has come, so somebody waits.
    silent.recv(&mut [0; 100]).unwrap();
    names.shut_down();
    for thread in waiting {
        let error = thread.join().unwrap().unwrap_err();
        assert!(error.contains("outhook is ending"), "{error}");
    }
    assert!(names.addresses("a.test", soon()).is_err());
    drop(names);
    let end = soon();
    while shared.strong_count() > 0 {
        assert!(Instant::now() < end, "the thread is still there");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn twenty_thousand_silent_names_hold_up_no_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let names = names(vec![server("test")], dir.path());
    let mut slowest = Duration::ZERO;
    for n in 0..20_000 {
        let silent = format!("n{n}.silent{}.test", n % 20);
        // It goes on being looked up, though nobody waits.
        assert!(names.addresses(&silent, Instant::now()).is_err());
        if n % 100 == 99 {
            let begun = Instant::now();
            let good = lookup(&names, &format!("n{n}.good{n}.test"));
            assert_eq!(good, Ok(vec![ip("10.0.0.1")]));
            slowest = slowest.max(begun.elapsed());
        }
    }
    println!("the slowest of 200 took {slowest:?}");
}

/// CPU time of a thread of this process, by its name.
fn cpu_of(name: &str) -> Duration {
    let tasks = fs::read_dir("/proc/self/task")
        .unwrap()
        .map(|t| t.unwrap().path());
    let own = |path: &std::path::PathBuf| {
        fs::read_to_string(path.join("comm"))
            .unwrap_or_default()
            .trim()
            == name
    };
    let nanos = tasks.filter(own).map(|path| {
        let stat = fs::read_to_string(path.join("schedstat")).unwrap();
        stat.split(' ').next().unwrap().parse::<u64>().unwrap()
    });
    Duration::from_nanos(nanos.sum())
}

/// What a look-up costs: `cargo test --release --lib names -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, and only on Linux"]
fn what_a_look_up_costs() {
    const SECONDS: u64 = 5;
    let dir = tempfile::tempdir().unwrap();
    let names = names(vec![server("test")], dir.path());
    for (threads, rate) in [
        (64, 5_000),
        (64, 10_000),
        (64, 20_000),
        (256, 20_000),
        (64, 1_000_000),
    ] {
        let (done, failed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (begun, before) = (Instant::now(), cpu_of("resolver"));
        let callers: Vec<_> = (0..threads)
            .map(|t| {
                let (names, done, failed) = (names.clone(), done.clone(), failed.clone());
                thread::spawn(move || {
                    let pause = Duration::from_secs(1) * threads / rate;
                    let mut next = begun;
                    for n in 0.. {
                        if begun.elapsed() > Duration::from_secs(SECONDS) {
                            return;
                        }
                        let name = format!("n{n}.t{t}.customer-{rate}-{threads}.test");
                        match lookup(&names, &name) {
                            Ok(_) => done.fetch_add(1, Ordering::Relaxed),
                            Err(_) => failed.fetch_add(1, Ordering::Relaxed),
                        };
                        next += pause;
                        thread::sleep(next.saturating_duration_since(Instant::now()));
                    }
                })
            })
            .collect();
        callers
            .into_iter()
            .for_each(|caller| caller.join().unwrap());
        let (took, cpu) = (begun.elapsed(), cpu_of("resolver") - before);
        let count = done.load(Ordering::Relaxed);
        println!(
            "{threads} callers: {:.0} look-ups/s (A and AAAA), {:.1} % of a core, {:.2} us each; {failed:?} failed",
            count as f64 / took.as_secs_f64(),
            100.0 * cpu.as_secs_f64() / took.as_secs_f64(),
            1e6 * cpu.as_secs_f64() / count as f64
        );
    }
}
