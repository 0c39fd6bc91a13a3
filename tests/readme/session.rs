//! A bash script in which examples run: this build of outhook on the PATH, a directory and ports of
//! its own. What it starts ends with it.

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

pub const BIN: &str = env!("CARGO_BIN_EXE_outhook");

/// What commands of examples find in place of the usual ports, and what hidden commands may use.
const PRELUDE: &str = r#"
# Bash may lose a signal to what it is just about to start, so one is not enough.
finish() {
    for signal in TERM TERM KILL; do
        kill -"$signal" $(jobs -pr) 2>/dev/null || true
        for _ in {1..200}; do
            [ -n "$(jobs -pr)" ] || return 0
            sleep 0.05
        done
    done
}
trap finish EXIT
# It is started with `&`, in a shell of its own: without `exec` it would outlive that.
redis-server() { exec redis-server --port "$redis_port" --dir . "$@" >redis.log; }
redis-cli() { command redis-cli -p "$redis_port" "$@"; }
# As a reader runs it from a checkout, but short.
cargo() {
    [ "$1 $2 $3" = "run --release --" ]
    OUTHOOK_FOR=1s OUTHOOK_MAX_ATTEMPTS=1 OUTHOOK_TIMEOUT=500ms OUTHOOK_ENDPOINT_BACKOFF_BASE=100ms \
        OUTHOOK_ENDPOINT_BACKOFF_MAX=100ms outhook "${@:4}"
}
pidof() { echo "$serve"; }
wait-until() { until "$@" >/dev/null 2>&1; do sleep 0.05; done; }
subscribed() { redis-cli PUBSUB NUMSUB payments | grep -qx 1; }
dead-letters() { redis-cli XLEN '{outhook}:dead' | grep -qx "$1"; }
# grep-out TEXT COMMAND...: whether it says so.
grep-out() { "${@:2}" 2>&1 | grep -q -- "$1"; }
start-redis() { redis-server --save '' & wait-until redis-cli PING; }
start-receiver() { outhook listen "$@" >listen.log 2>&1 & }
start-outhook() {
    outhook serve --allow-cidr 127.0.0.0/8 "$@" 2>serve.log &
    serve=$!
    wait-until subscribed
}
services() { start-redis; start-receiver; start-outhook "$@"; }
"#;

/// The ports that stand in the documents, and the free ones that are used in their place.
pub struct Ports([(&'static str, String); 4]);

impl Ports {
    pub fn free() -> Ports {
        Ports(["6379", "9000", "9001", "9002"].map(|usual| (usual, free_port())))
    }

    fn take(&self, text: &str) -> String {
        let replace = |text: String, (usual, free): &(&str, String)| {
            text.replace(&format!(":{usual}"), &format!(":{free}"))
                .replace(&format!("--port {usual}"), &format!("--port {free}"))
        };
        self.0.iter().fold(text.to_owned(), replace)
    }

    /// With those of the documents again.
    pub fn give_back(&self, text: &str) -> String {
        let replace = |text: String, (usual, free): &(&str, String)| {
            text.replace(&format!(":{free}"), &format!(":{usual}"))
        };
        self.0.iter().fold(text.to_owned(), replace)
    }
}

pub fn run(script: &str, dir: &Path) -> Output {
    run_at(&Ports::free(), script, dir)
}

pub fn run_at(ports: &Ports, script: &str, dir: &Path) -> Output {
    let script = ports.take(&format!("{PRELUDE}{script}"));
    let [(_, redis), (_, receiver), ..] = &ports.0;
    let bin = Path::new(BIN).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut child = Command::new("timeout")
        .args(["90", "bash", "-euo", "pipefail"])
        .current_dir(dir)
        .env("PATH", path)
        .env("redis_port", redis)
        .env("REDIS_ADDRESS", format!("127.0.0.1:{redis}"))
        .env("OUTHOOK_BIND", format!("127.0.0.1:{receiver}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(script.as_bytes()).unwrap();
    drop(input);
    child.wait_with_output().unwrap()
}

/// Below those that the system gives to connections, as one of these could take it before who is to
/// have it has started. Each process begins somewhere else.
fn free_port() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(7919);
    loop {
        let next = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 10_240 + next % 22_000;
        if TcpListener::bind(("127.0.0.1", port as u16)).is_ok() {
            return port.to_string();
        }
    }
}
