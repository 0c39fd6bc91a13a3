//! Whatever a receiver or the network does to one attempt, it ends, in time, as one of
//! delivered or failed, and the process does not mind.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::support::receiver::{Receiver, Reply, status};
use crate::support::redis::{Dead, Redis};
use crate::support::service::serve;
use crate::support::{MS, free_port, message, sys};

/// One attempt that has to fail; gives the dead letter.
fn fails(receiver: &Receiver, args: &[&str]) -> Dead {
    assert_fails_at(&receiver.url("/"), args)
}

fn assert_fails_at(url: &str, args: &[&str]) -> Dead {
    let redis = Redis::start();
    let mut service = serve(&redis, &[&["--max-attempts", "1"], args].concat());
    redis.send(message(url, "a", "1"));
    let dead = redis.wait_dead(1).remove(0);
    assert_eq!(
        (dead.text("reason"), dead.number("attempts")),
        ("exhausted".into(), 1)
    );
    service.end_well();
    dead
}

/// One attempt that has to count as delivered.
fn assert_delivers(receiver: &Receiver, args: &[&str]) {
    let redis = Redis::start();
    let mut service = serve(&redis, &[&["--max-attempts", "1"], args].concat());
    redis.send(message(&receiver.url("/"), "a", "1"));
    service.log.wait("delivered id=a");
    service.end_well();
    assert!(redis.dead().is_empty());
}

#[test]
fn a_refused_connection_fails_and_is_tried_again() {
    let dead = assert_fails_at(&format!("http://127.0.0.1:{}/", free_port()), &[]);
    assert!(
        dead.text("error").to_lowercase().contains("refused"),
        "{dead:?}"
    );
}

#[test]
fn a_reset_or_a_close_without_an_answer_fails_and_the_next_attempt_may_succeed() {
    for fault in [Reply::Reset, Reply::Close] {
        let redis = Redis::start();
        let receiver = Receiver::script([fault, status(200).into()]);
        let mut service = serve(&redis, &["--backoff-base", "50ms"]);
        redis.send(message(&receiver.url("/"), "a", "1"));
        let line = service.log.wait("delivered id=a");
        assert!(line.contains("attempt=2"), "{line}");
        service.end_well();
        assert!(redis.dead().is_empty());
    }
}

#[test]
fn a_receiver_that_never_answers_fails_at_the_timeout() {
    let receiver = Receiver::script([Reply::Hang]);
    let begun = Instant::now();
    let dead = fails(&receiver, &["--timeout", "400ms"]);
    assert!(begun.elapsed() >= 400 * MS);
    assert!(
        begun.elapsed() < Duration::from_secs(12),
        "{:?}",
        begun.elapsed()
    );
    assert!(
        dead.text("error").to_lowercase().contains("time"),
        "{dead:?}"
    );
    assert_eq!(dead.get("status"), None);
}

#[test]
fn a_head_that_trickles_for_ever_fails_at_the_timeout() {
    let trickle = Reply::Drip {
        start: b"HTTP/1.1 200 OK\r\n".to_vec(),
        again: b"x: y\r\n".to_vec(),
        every: 20 * MS,
    };
    let begun = Instant::now();
    fails(&Receiver::script([trickle]), &["--timeout", "500ms"]);
    assert!(
        begun.elapsed() < Duration::from_secs(12),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn a_head_without_end_counts_as_its_status_says() {
    let flood = Reply::Drip {
        start: b"HTTP/1.1 200 OK\r\n".to_vec(),
        again: format!("x: {}\r\n", "y".repeat(8000)).into_bytes(),
        every: Duration::ZERO,
    };
    assert_delivers(&Receiver::script([flood]), &["--timeout", "1m"]);
}

#[test]
fn interim_answers_are_skipped_and_a_flood_of_them_fails() {
    let early = b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n";
    let good = [
        &early.repeat(3)[..],
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    ]
    .concat();
    assert_delivers(&Receiver::script([Reply::Hold(good)]), &[]);
    let flood = Reply::Drip {
        start: Vec::new(),
        again: early.to_vec(),
        every: MS,
    };
    fails(&Receiver::script([flood]), &["--timeout", "500ms"]);
    // One that comes as fast as it can does not cost a core until the deadline.
    let flood = Reply::Drip {
        start: Vec::new(),
        again: early.repeat(100),
        every: Duration::ZERO,
    };
    let dead = fails(&Receiver::script([flood]), &["--timeout", "1m"]);
    assert!(dead.text("error").contains("only interim"), "{dead:?}");
}

#[test]
fn trailers_without_end_do_not_change_what_the_status_said() {
    let flood = Reply::Drip {
        start: b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n".to_vec(),
        again: b"x: y\r\n".repeat(100),
        every: Duration::ZERO,
    };
    assert_delivers(&Receiver::script([flood]), &["--timeout", "1m"]);
}

#[test]
fn after_a_200_a_body_that_drips_for_ever_is_still_delivered() {
    let drip = Reply::Drip {
        start: b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n".to_vec(),
        again: b"x".to_vec(),
        every: 20 * MS,
    };
    assert_delivers(&Receiver::script([drip]), &["--timeout", "600ms"]);
}

#[test]
fn a_body_cut_short_does_not_change_what_the_status_said() {
    let cut = |status: &str| {
        Reply::Bytes(format!("HTTP/1.1 {status}\r\ncontent-length: 100\r\n\r\nshort").into())
    };
    assert_delivers(&Receiver::script([cut("200 OK")]), &[]);
    let dead = fails(&Receiver::script([cut("500 Oh")]), &[]);
    assert_eq!(dead.number("status"), 500);
    let chunk = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffff\r\nshort";
    assert_delivers(&Receiver::script([Reply::Bytes(chunk.to_vec())]), &[]);
}

#[test]
fn bodies_without_end_are_read_only_so_far_and_take_no_memory() {
    let flood = |head: &str| Reply::Drip {
        start: head.as_bytes().to_vec(),
        again: format!("40000\r\n{}\r\n", "x".repeat(0x40000)).into_bytes(),
        every: Duration::ZERO,
    };
    let heads = [
        "HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\n",
    ];
    let redis = Redis::start();
    let receiver = Receiver::answering(move |_, n| flood(heads[n % heads.len()]));
    let mut service = serve(&redis, &["--max-attempts", "1"]);
    let before = sys::peak_rss(service.pid());
    for n in 0..12 {
        redis.send(message(&receiver.url("/"), &format!("m{n:02}"), "1"));
    }
    for n in 0..12 {
        service.log.wait(&format!("delivered id=m{n:02}"));
    }
    let grown = sys::peak_rss(service.pid()) - before;
    assert!(grown < 20 << 20, "grew by {grown} bytes");
    service.end_well();
    assert!(redis.dead().is_empty());
}

#[test]
fn a_redirect_is_an_answer_and_is_not_followed() {
    for code in [301, 302, 303, 307, 308] {
        let target = Receiver::ok();
        let receiver = Receiver::script([status(code).header("location", &target.url("/"))]);
        let dead = fails(&receiver, &[]);
        assert_eq!(dead.number("status"), u64::from(code));
        assert_eq!((receiver.count(), target.connected()), (1, 0));
    }
}

#[test]
fn what_is_no_http_fails() {
    for bytes in [
        "NOPE\r\n\r\n",
        "HTTP/1.1\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n",
        "<html>hello</html>",
        "\r\n\r\n\r\n",
        "\0\0\0\0",
        "",
        "HTTP/1.1 200",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "+PONG\r\n",
    ] {
        let receiver = Receiver::script([Reply::Bytes(bytes.into())]);
        let dead = fails(&receiver, &["--timeout", "5s"]);
        assert!(!dead.text("error").is_empty(), "{bytes:?}: {dead:?}");
    }
}

#[test]
fn every_other_status_fails_and_is_recorded() {
    for code in [
        101, 300, 304, 400, 401, 404, 409, 418, 422, 429, 499, 500, 502, 503, 504, 599,
    ] {
        let dead = fails(&Receiver::script([status(code).then_close()]), &[]);
        assert_eq!(dead.number("status"), u64::from(code));
    }
}

#[test]
fn an_answer_of_http_1_0_without_a_length_is_delivered() {
    assert_delivers(
        &Receiver::script([Reply::Bytes(b"HTTP/1.0 200 OK\r\n\r\nfine".to_vec())]),
        &[],
    );
}

#[test]
fn an_answer_before_the_body_was_read_fails_as_any_other() {
    // It answers as soon as it sees the head, and resets what it has not read.
    let receiver = Receiver::connections(|mut stream, _| {
        let _ = stream.read(&mut [0; 64]);
        let _ = stream
            .write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    });
    let redis = Redis::start();
    let mut service = serve(&redis, &["--max-attempts", "2", "--backoff-base", "20ms"]);
    redis.send(message(
        &receiver.url("/"),
        "a",
        &format!("\"{}\"", "x".repeat(1_000_000)),
    ));
    let dead = &redis.wait_dead(1)[0];
    assert_eq!(
        (dead.text("reason"), dead.number("attempts")),
        ("exhausted".into(), 2)
    );
    // The reset may have overtaken the answer, so either may have been seen.
    assert!(
        dead.get("status") == Some(b"413") || dead.get("error").is_some(),
        "{dead:?}"
    );
    service.end_well();
}

#[test]
fn a_receiver_that_does_not_read_fails_at_the_timeout() {
    let receiver = Receiver::connections(|stream, _| {
        std::thread::sleep(Duration::from_secs(20));
        drop(stream);
    });
    let redis = Redis::start();
    let args = [
        "--max-attempts",
        "1",
        "--timeout",
        "700ms",
        "--max-message-bytes",
        "30000000",
    ];
    let mut service = serve(&redis, &args);
    let begun = Instant::now();
    redis.send(message(
        &receiver.url("/"),
        "a",
        &format!("\"{}\"", "x".repeat(20_000_000)),
    ));
    redis.wait_dead(1);
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
    service.end_well();
}

#[test]
fn a_slow_connect_ends_at_the_connect_timeout() {
    // A full backlog: the kernel drops further SYNs, as a host that is not there would.
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::STREAM,
        None,
    )
    .unwrap();
    rustix::net::bind(
        &socket,
        &"127.0.0.1:0".parse::<std::net::SocketAddrV4>().unwrap(),
    )
    .unwrap();
    rustix::net::listen(&socket, 0).unwrap();
    let addr = std::net::SocketAddr::try_from(rustix::net::getsockname(&socket).unwrap()).unwrap();
    let fill: Vec<_> = (0..4)
        .map(|_| std::net::TcpStream::connect_timeout(&addr, 300 * MS))
        .collect();
    assert!(fill.iter().any(Result::is_err), "the backlog is full");
    let begun = Instant::now();
    let dead = assert_fails_at(
        &format!("http://{addr}/"),
        &["--connect-timeout", "400ms", "--timeout", "60s"],
    );
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
    assert!(
        dead.text("error").to_lowercase().contains("time"),
        "{dead:?}"
    );
}

#[test]
fn a_name_that_does_not_exist_fails_with_the_name_in_the_error() {
    let dead = assert_fails_at("http://no-such-host.invalid/", &["--timeout", "10s"]);
    let error = dead.text("error").to_lowercase();
    assert!(
        error.contains("no-such-host.invalid")
            || error.contains("resolve")
            || error.contains("dns"),
        "{error}"
    );
}

#[test]
fn https_to_a_plain_server_fails_and_hangs_no_longer_than_the_timeout() {
    for reply in [
        Reply::Hang,
        Reply::Bytes(b"HTTP/1.1 400 Bad\r\n\r\n".to_vec()),
    ] {
        let plain = Receiver::connections(move |mut stream, _| {
            let _ = stream.read(&mut [0; 1024]);
            match &reply {
                Reply::Bytes(bytes) => drop(stream.write_all(bytes)),
                _ => while matches!(stream.read(&mut [0; 1024]), Ok(1..)) {},
            }
        });
        let begun = Instant::now();
        assert_fails_at(&format!("https://{}/", plain.addr), &["--timeout", "800ms"]);
        assert!(
            begun.elapsed() < Duration::from_secs(12),
            "{:?}",
            begun.elapsed()
        );
    }
}
