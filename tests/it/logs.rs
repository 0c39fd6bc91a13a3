//! The log: what machines read, what an operator sees at night, and what nobody is to see.

use serde_json::Value;

use crate::support::message;
use crate::support::receiver::Receiver;
use crate::support::redis::Redis;
use crate::support::service::{Outhook, Service, serve};
use crate::support::sys::Signal;

fn serve_with_log(redis: &Redis, filter: &str, args: &[&str]) -> Service {
    let address = redis.address();
    let args = [&["serve", "--redis-address", &address], args].concat();
    Outhook::new(&args).env("OUTHOOK_LOG", filter).spawn()
}

/// All lines so far as objects, each with what all have.
fn objects(service: &Service) -> Vec<Value> {
    let lines = service.log.all();
    let lines = lines.iter().map(|line| {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        for key in ["time", "level", "message", "module"] {
            assert!(object[key].is_string(), "{key}: {line}");
        }
        object
    });
    lines.collect()
}

#[test]
fn as_json_each_line_is_an_object_with_the_keys_of_its_event() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut service = serve(&redis, &["--log-format", "json"]);
    redis.add(message(&receiver.url("/"), "m1", "1"));
    receiver.wait_for(1);
    service.signal(Signal::USR1);
    service.log.wait("\"snapshot\"");
    service.end_well();
    let objects = objects(&service);
    let of = |event: &str| {
        let found = objects.iter().find(|o| o["event"] == event);
        found.unwrap_or_else(|| panic!("no {event}"))
    };
    assert_eq!(of("start")["workers"], 512);
    assert_eq!(of("snapshot")["accepted"], 1);
    assert_eq!(of("drain_done")["delivered"], 1);
    assert_eq!(of("drain_done")["lost"], 0);
}

#[test]
fn the_log_is_made_verbose_and_usual_again_while_it_runs() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut service = serve_with_log(&redis, "info", &[]);
    service.log.wait("ready: subscribed");
    let deliver = |id: &str| {
        redis.add(message(&receiver.url("/"), id, "1"));
        redis.wait_settled();
    };
    deliver("before");
    service.signal(Signal::USR2);
    service
        .log
        .wait("the log's filter is \"info,outhook=debug\" now");
    deliver("verbose");
    service.log.wait("delivered id=verbose");
    service.signal(Signal::USR2);
    service.log.wait("the log's filter is \"info\" now");
    deliver("after");
    service.end_well();
    assert_eq!(service.log.count("delivered id="), 1);
    assert_eq!(receiver.count(), 3);
}
