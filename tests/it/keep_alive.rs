//! Connections are kept and used again, and one that has gone stale costs nothing.

use crate::support::receiver::{Receiver, Reply, Request, status};
use crate::support::redis::Redis;
use crate::support::service::{Service, serve};
use crate::support::{MS, message};

/// Sends one after another: each only when the one before is settled, its connection idle.
fn send_in_turn(redis: &Redis, service: &Service, receiver: &Receiver, n: usize) {
    for i in 0..n {
        redis.send(message(&receiver.url("/"), &format!("turn-{i:03}"), "1"));
        service.log.wait(&format!("delivered id=turn-{i:03}"));
    }
}

#[test]
fn ten_messages_in_turn_use_one_connection() {
    let bodies = ["", "ok", "{\"received\":true}"];
    let (redis, receiver) = (
        Redis::start(),
        Receiver::answering(move |_, n| status(200).body(bodies[n % 3])),
    );
    let service = serve(&redis, &[]);
    send_in_turn(&redis, &service, &receiver, 10);
    assert_eq!((receiver.count(), receiver.connected()), (10, 1));
}

#[test]
fn a_connection_is_kept_after_a_chunked_answer_and_a_204() {
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let receiver = Receiver::connections(move |mut stream, _| {
        use std::io::{Read, Write};
        let mut buffer = [0; 4096];
        let mut n = 0;
        while matches!(stream.read(&mut buffer), Ok(1..)) {
            let answer = if n % 2 == 0 {
                &chunked[..]
            } else {
                b"HTTP/1.1 204 No Content\r\n\r\n"
            };
            n += 1;
            if stream.write_all(answer).is_err() {
                return;
            }
        }
    });
    let redis = Redis::start();
    let service = serve(&redis, &[]);
    send_in_turn(&redis, &service, &receiver, 6);
    assert_eq!(receiver.connected(), 1);
}

#[test]
fn a_connection_closed_behind_its_answer_costs_no_attempt() {
    let (redis, receiver) = (
        Redis::start(),
        Receiver::answering(|_, _| status(200).then_close()),
    );
    let mut service = serve(&redis, &["--max-attempts", "1"]);
    send_in_turn(&redis, &service, &receiver, 30);
    service.end_well();
    assert_eq!(receiver.count(), 30);
    assert!(redis.dead().is_empty());
}

/// Answers the first request of each connection, and does `then` about the second: to the
/// client it looks as if the server had closed the idle connection just then.
fn stale_at_second(then: Reply) -> Receiver {
    let seen = std::sync::Mutex::new(std::collections::HashSet::new());
    Receiver::answering(move |request: &Request, _| {
        let fresh = seen.lock().unwrap().insert(request.connection);
        if fresh {
            status(200).into()
        } else {
            then.clone()
        }
    })
}

#[test]
fn a_reused_connection_that_ends_without_an_answer_is_replaced_at_once_and_spends_no_attempt() {
    for then in [Reply::Close, Reply::Reset] {
        let (redis, receiver) = (Redis::start(), stale_at_second(then));
        let mut service = serve(&redis, &["--max-attempts", "1"]);
        send_in_turn(&redis, &service, &receiver, 10);
        assert_eq!(service.log.count("attempt=2"), 0, "no attempt was spent");
        service.end_well();
        assert!(redis.dead().is_empty());
        // The first is answered; each later one may come twice, on an old and on a new connection.
        assert!(receiver.count() <= 19, "{} requests", receiver.count());
    }
}

#[test]
fn a_fresh_connection_that_ends_without_an_answer_spends_an_attempt() {
    let (redis, receiver) = (Redis::start(), Receiver::script([Reply::Close]));
    let _service = serve(&redis, &["--max-attempts", "2", "--backoff-base", "20ms"]);
    redis.send(message(&receiver.url("/"), "a", "1"));
    let dead = &redis.wait_dead(1)[0];
    assert_eq!(
        (dead.text("reason"), dead.number("attempts")),
        ("exhausted".into(), 2)
    );
    assert_eq!(receiver.count(), 2);
}

#[test]
fn a_reused_connection_that_hangs_spends_an_attempt_and_is_not_sent_to_again() {
    let (redis, receiver) = (Redis::start(), stale_at_second(Reply::Hang));
    let service = serve(&redis, &["--max-attempts", "1", "--timeout", "400ms"]);
    send_in_turn(&redis, &service, &receiver, 1);
    redis.send(message(&receiver.url("/"), "hangs", "1"));
    assert_eq!(redis.wait_dead(1)[0].text("id"), "hangs");
    redis.send(message(&receiver.url("/"), "next", "1"));
    service.log.wait("delivered id=next");
    let requests = receiver.requests();
    assert_eq!(requests.len(), 3);
    assert_ne!(requests[1].connection, requests[2].connection);
}

#[test]
fn a_server_that_wants_no_reuse_gets_a_connection_each() {
    let receiver =
        Receiver::answering(|_, _| status(200).header("connection", "close").then_close());
    let redis = Redis::start();
    let service = serve(&redis, &["--max-attempts", "1"]);
    send_in_turn(&redis, &service, &receiver, 5);
    assert_eq!((receiver.count(), receiver.connected()), (5, 5));
}

#[test]
fn a_connection_with_a_late_rest_of_a_body_is_not_used_again() {
    // The answer says 5 bytes and 5 more follow: whoever used the connection again would
    // take them for the next answer.
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhelloHTTP/1.1 500 Smuggled\r\ncontent-length: 0\r\n\r\n";
    let script = [Reply::Hold(answer.to_vec()), status(200).into()];
    let (redis, receiver) = (Redis::start(), Receiver::script(script));
    let service = serve(&redis, &["--max-attempts", "1", "--timeout", "5s"]);
    redis.send(message(&receiver.url("/"), "first", "1"));
    service.log.wait("delivered id=first");
    redis.send(message(&receiver.url("/"), "second", "1"));
    service.log.wait("delivered id=second");
    assert!(redis.dead().is_empty());
}

#[test]
fn a_receiver_that_closes_instead_of_an_answer_is_asked_twice_at_most_and_in_time() {
    let seen = std::sync::Mutex::new(std::collections::HashSet::new());
    let receiver = Receiver::answering(move |request: &Request, _| -> Reply {
        let fresh = seen.lock().unwrap().insert(request.connection);
        if request.id() != "last" {
            return status(200).after(100 * MS).into();
        }
        std::thread::sleep(500 * MS);
        match fresh {
            true => status(200).into(),
            false => Reply::Close,
        }
    });
    let redis = Redis::start();
    let service = serve(&redis, &["--timeout", "800ms", "--max-attempts", "1"]);
    // Four idle connections, each of which would seem to have been closed.
    for n in 0..4 {
        redis.send(message(&receiver.url("/"), &format!("m{n}"), "1"));
    }
    service.log.wait_times("delivered id=", 4);
    redis.send(message(&receiver.url("/"), "last", "1"));
    assert!(redis.wait_dead(1)[0].text("error").starts_with("timeout"));
    let asked = receiver.requests();
    assert_eq!(asked.iter().filter(|r| r.id() == "last").count(), 2);
}
