//! Where Redis can be: behind TLS, sentinels, a cluster, an ACL; and what is said of how it is
//! set up.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::support::receiver::{Receiver, status};
use crate::support::redis::{MESSAGES, Redis, is_7, server};
use crate::support::service::{Finished, Outhook, Service};
use crate::support::{free_port, message, until};

/// Starts `serve` and waits until it takes messages from both sources.
fn serve_at(address: &str, args: &[&str]) -> Service {
    let service = Outhook::new(&[&["serve", "--redis-address", address], args].concat()).spawn();
    service.log.wait("ready: subscribed");
    service.log.wait("ready: consuming");
    service
}

fn check(args: &[&str]) -> Finished {
    Outhook::new(&[&["check"], args].concat()).run("")
}

fn openssl(dir: &Path, args: &[&str]) {
    let run = Command::new("openssl").args(args).current_dir(dir).output();
    let run = run.expect("openssl on the PATH");
    assert!(run.status.success(), "{args:?}: {run:?}");
}

/// A CA, and a certificate of its for 127.0.0.1.
fn certificates() -> TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    let new = [
        "req", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
    ];
    let ca = [
        "/CN=test CA",
        "-x509",
        "-keyout",
        "ca.key",
        "-out",
        "ca.crt",
    ];
    openssl(dir.path(), &[&new[..], &ca].concat());
    let request = ["/CN=redis", "-keyout", "redis.key", "-out", "redis.csr"];
    openssl(dir.path(), &[&new[..], &request].concat());
    fs::write(dir.path().join("ext"), "subjectAltName=IP:127.0.0.1").expect("to write");
    let sign = [
        "x509",
        "-req",
        "-in",
        "redis.csr",
        "-CA",
        "ca.crt",
        "-CAkey",
        "ca.key",
    ];
    let out = [
        "-CAcreateserial",
        "-days",
        "2",
        "-extfile",
        "ext",
        "-out",
        "redis.crt",
    ];
    openssl(dir.path(), &[&sign[..], &out].concat());
    dir
}

#[test]
fn tls_is_spoken_to_a_server_whose_ca_is_given_and_to_no_other() {
    if !Redis::start().has_tls() {
        eprintln!("skipped: this redis-server is built without TLS");
        return;
    }
    let dir = certificates();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (port, receiver) = (free_port().to_string(), Receiver::ok());
    let [key, cert, ca] = ["redis.key", "redis.crt", "ca.crt"].map(path);
    let redis = Redis::with(&[
        "--tls-port",
        &port,
        "--bind",
        "127.0.0.1",
        "--tls-key-file",
        &key,
        "--tls-cert-file",
        &cert,
        "--tls-ca-cert-file",
        &ca,
        "--tls-auth-clients",
        "no",
    ]);
    let address = format!("rediss://127.0.0.1:{port}");
    let mut service = serve_at(&address, &["--redis-ca-file", &ca]);
    redis.send(message(&receiver.url("/"), "p", "1"));
    redis.add(message(&receiver.url("/"), "s", "1"));
    receiver.wait_for(2);
    service.end_well();

    let run = check(&["--redis-address", &address]);
    assert_eq!(run.code, 1, "not one of Mozilla's: {run:?}");
    for (args, word) in [
        (
            ["--redis-address", &address, "--redis-ca-file", "/nowhere"],
            "readable PEM",
        ),
        (
            ["--redis-address", &address, "--redis-ca-file", &key],
            "no certificate",
        ),
        (
            ["--redis-address", "127.0.0.1:1", "--redis-ca-file", &ca],
            "rediss://",
        ),
    ] {
        let run = check(&args);
        assert_eq!((run.code, run.err.len()), (2, 1), "{run:?}");
        assert!(
            run.err[0].contains("--redis-ca-file") && run.err[0].contains(word),
            "{run:?}"
        );
    }
}

/// One sentinel, which is enough for its quorum.
struct Sentinel {
    child: Child,
    port: u16,
    _dir: TempDir,
}

impl Sentinel {
    fn watching(master: &str) -> Sentinel {
        let (dir, port) = (tempfile::tempdir().expect("a folder"), free_port());
        let (host, master_port) = master.split_once(':').unwrap();
        let file = dir.path().join("sentinel.conf");
        let config = format!(
            "bind 127.0.0.1\nport {port}\nrequirepass guard\ndir {}\n\
             sentinel monitor main {host} {master_port} 1\n\
             sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 2000\n",
            dir.path().display()
        );
        fs::write(&file, config).expect("to write");
        let child = Command::new(server())
            .arg(&file)
            .arg("--sentinel")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server on the PATH, or REDIS_SERVER");
        Sentinel {
            child,
            port,
            _dir: dir,
        }
    }

    /// Whether it has found the replica, without which it cannot fail over.
    fn knows_replica(&self) -> bool {
        let url = format!("redis://:guard@127.0.0.1:{}", self.port);
        let connection = redis::Client::open(url).unwrap().get_connection();
        let replicas = connection.and_then(|mut connection| {
            let mut ask = redis::cmd("SENTINEL");
            ask.arg("REPLICAS").arg("main");
            ask.query::<Vec<redis::Value>>(&mut connection)
        });
        replicas.is_ok_and(|replicas| replicas.len() == 1)
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn sentinels_lead_to_the_master_and_after_a_failover_to_the_next() {
    let (mut first, receiver) = (Redis::on_tcp(&[]), Receiver::ok());
    let (host, port) = first
        .tcp()
        .split_once(':')
        .map(|(h, p)| (h.to_owned(), p.to_owned()))
        .unwrap();
    let second = Redis::on_tcp(&["--replicaof", &host, &port]);
    let sentinel = Sentinel::watching(&first.tcp());
    until("the sentinel to know the replica", || {
        sentinel.knows_replica().then_some(())
    });
    // The first of the two is not there, which is no reason to give up.
    let address = format!(
        "redis+sentinel://127.0.0.1:1,127.0.0.1:{}/main",
        sentinel.port
    );
    let mut service = serve_at(&address, &["--redis-sentinel-password", "guard"]);
    first.send(message(&receiver.url("/"), "p1", "1"));
    first.add(message(&receiver.url("/"), "s1", "1"));
    receiver.wait_for(2);
    // Until the replica has it all: what it has not, a failover loses.
    first.command::<usize>(&["WAIT", "1", "10000"]);
    first.kill();
    service.log.wait("redis: trouble");
    service.log.wait("redis: back after");
    second.reconnect().expect("the master that is now");
    second.send_when_heard(message(&receiver.url("/"), "p2", "1"));
    second.add(message(&receiver.url("/"), "s2", "1"));
    let ids: Vec<String> = receiver
        .wait_for(4)
        .iter()
        .map(|r| r.id().to_owned())
        .collect();
    assert!(
        ids.contains(&"p2".into()) && ids.contains(&"s2".into()),
        "{ids:?}"
    );
    service.end_well();

    let run = check(&[
        "--redis-address",
        &address,
        "--redis-sentinel-password",
        "wrong",
    ]);
    assert_eq!(run.code, 1, "{run:?}");
    let run = check(&["--redis-address", "redis+sentinel://:secret@127.0.0.1:1"]);
    assert_eq!((run.code, run.err.len()), (2, 1), "{run:?}");
    assert!(
        run.err[0].contains("name of the master") && !run.err[0].contains("secret"),
        "{run:?}"
    );
    let unknown = address.replace("/main", "/other");
    let run = check(&[
        "--redis-address",
        &unknown,
        "--redis-sentinel-password",
        "guard",
    ]);
    assert!(run.code == 1 && run.err[0].contains("\"other\""), "{run:?}");
}

/// Two free ports, the second 10,000 above the first, and where no other test looks for one.
fn ports_of_an_old_node() -> (u16, u16) {
    loop {
        let port = free_port();
        let bus = port + 10_000;
        if (30_000..32_700).contains(&bus) && TcpListener::bind(("127.0.0.1", bus)).is_ok() {
            return (port, bus);
        }
    }
}

#[test]
fn a_cluster_is_asked_for_the_node_that_has_the_keys() {
    let receiver = Receiver::ok();
    let nodes: Vec<(Redis, u16)> = (0..3)
        .map(|_| {
            let args = ["--cluster-enabled", "yes"];
            if is_7("has its cluster bus 10,000 ports above") {
                let bus = free_port();
                let at = bus.to_string();
                let args = [&args[..], &["--cluster-port", &at]].concat();
                return (Redis::on_tcp(&args), bus);
            }
            let (port, bus) = ports_of_an_old_node();
            (Redis::on_port(port, &args), bus)
        })
        .collect();
    for (n, (node, _)) in nodes.iter().enumerate() {
        let range = n * 5461..=((n + 1) * 5461 - 1).max(16383 * (n / 2));
        let slots: Vec<String> = range.map(|slot| slot.to_string()).collect();
        let slots = slots.iter().map(String::as_str);
        let add: Vec<&str> = ["CLUSTER", "ADDSLOTS"].into_iter().chain(slots).collect();
        node.command::<()>(&add);
        let (to, bus) = &nodes[(n + 1) % 3];
        let port = to.tcp().split_once(':').unwrap().1.to_owned();
        node.command::<()>(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus.to_string()]);
    }
    for (node, _) in &nodes {
        until("the cluster to be whole", || {
            let info: String = node.command(&["CLUSTER", "INFO"]);
            let ok = info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3");
            ok.then_some(())
        });
    }
    let slot: usize = nodes[0].0.command(&["CLUSTER", "KEYSLOT", MESSAGES]);
    let (owner, other) = (
        &nodes[(slot / 5461).min(2)].0,
        &nodes[(slot / 5461 + 1) % 3].0,
    );
    let address = format!("redis+cluster://{}", other.tcp());
    let mut service = serve_at(&address, &["--max-attempts", "1"]);
    let bad = Receiver::script([status(500)]);
    owner.add(message(&receiver.url("/"), "s", "1"));
    owner.add(message(&bad.url("/"), "d", "1"));
    // What is published at any node is heard at all.
    other.publish("payments", message(&receiver.url("/"), "p", "1"));
    receiver.wait_for(2);
    assert_eq!(owner.wait_dead(1)[0].text("id"), "d");
    service.end_well();
    let run = check(&["--redis-address", &address, "--redis-prefix", "x"]);
    assert_eq!(run.code, 0, "{run:?}");

    // Without being told that it is a cluster, it is told what to say.
    let mut lost = Outhook::new(&["serve", "--redis-address", &other.tcp()]).spawn();
    assert!(lost.log.wait("redis: trouble").contains("redis+cluster://"));
    lost.terminate();
}

/// What docs/redis.md says a user needs.
fn acl() -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/redis.md");
    let page = fs::read_to_string(page).expect("docs/redis.md");
    let line = page.lines().find(|line| line.starts_with("ACL SETUSER"));
    line.expect("an ACL in docs/redis.md")
        .split(' ')
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_acl_of_the_documents_is_enough_for_everything() {
    let (redis, receiver) = (Redis::on_tcp(&[]), Receiver::ok());
    let bad = Receiver::script([status(500)]);
    redis.command::<()>(&acl().iter().map(String::as_str).collect::<Vec<_>>());
    let address = format!("redis://outhook:password@{}", redis.tcp());
    let retry = [
        "--max-attempts",
        "2",
        "--backoff-base",
        "3s",
        "--lease",
        "4s",
        "--timeout",
        "1s",
    ];
    let told = [
        "--status-ttl",
        "1h",
        "--attempt-log",
        "100",
        "--bridge",
        "--jitter",
        "0",
        "--dedup",
        "1m",
        "--dead-max",
        "1000",
        "--dead-max-age",
        "1h",
        "--redis-budget",
        "1gb",
    ];
    let mut service = serve_at(&address, &[&retry[..], &told].concat());
    redis.send(message(&receiver.url("/"), "p", "1"));
    redis.add(message(&receiver.url("/"), "s", "1"));
    // Parked, brought back, and a dead letter in the end.
    redis.add(message(&bad.url("/"), "d", "1"));
    receiver.wait_for(2);
    assert_eq!(redis.wait_dead(1)[0].number("attempts"), 2);
    redis.send(message(&receiver.url("/"), "p", "another"));
    redis.send(message(&receiver.url("/"), "p", "2"));
    redis.add(message(&receiver.url("/"), "s", "1"));
    redis.wait_dead(3);
    for tool in [
        &["dead", "list"][..],
        &["dead", "replay", "--all"],
        &["parked", "list"],
        &["status", "p"],
        &["endpoints", "pause", "http://h"],
        &["endpoints", "list"],
        &["endpoints", "resume", "http://h"],
        &["check"],
    ] {
        let run = Outhook::new(tool).env("REDIS_ADDRESS", &address).run("");
        assert_eq!(run.code, 0, "{tool:?}: {run:?}");
    }
    service.end_well();
    assert_eq!(service.log.count("redis: trouble"), 0);
    assert_eq!(service.log.count("Redis refuses"), 0);
    let log: Vec<String> = redis.command(&["ACL", "LOG"]);
    assert!(log.is_empty(), "{log:?}");
}

#[test]
fn what_should_be_set_up_otherwise_is_said_once_with_what_to_change() {
    let redis = Redis::on_tcp(&["--maxmemory-policy", "allkeys-lru"]);
    let run = check(&["--redis-address", &redis.tcp()]);
    let text = run.err.join("\n");
    assert_eq!(run.code, 0, "{run:?}");
    assert!(
        text.contains("appendonly yes") && text.contains("noeviction"),
        "{run:?}"
    );
    let mut service = serve_at(&redis.tcp(), &[]);
    service.log.wait("maxmemory-policy noeviction");
    redis.command::<()>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    service.log.wait("redis: back");
    service.end_well();
    assert_eq!(service.log.count("appendonly yes"), 1);
    redis.command::<()>(&["CONFIG", "SET", "appendonly", "yes"]);
    redis.command::<()>(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    let run = check(&["--redis-address", &redis.tcp()]);
    assert!(run.code == 0 && run.err.is_empty(), "{run:?}");
}
