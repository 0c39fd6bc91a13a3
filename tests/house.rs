//! Keeps the house in order: what ARCHITECTURE.md says of the floors, sizes and absences is
//! checked here, so that it stays true.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The floor of each top-level module. An import may go down or stay on its floor.
const FLOORS: &[(&str, u8)] = &[
    ("main", 5),
    ("cli", 4),
    ("commands", 4),
    ("pipeline", 3),
    ("timer", 3),
    ("wake", 3),
    ("work_queue", 3),
    ("worker", 3),
    ("ledger", 3),
    ("lender", 3),
    ("intake", 3),
    ("signals", 3),
    ("drain", 3),
    ("clock", 3),
    ("pulse", 3),
    ("control", 3),
    ("outage", 3),
    ("receiver", 3),
    ("logging", 3),
    ("threads", 3),
    ("descriptors", 2),
    ("http", 2),
    ("store", 2),
    ("scheduler", 1),
    ("lane", 1),
    ("authorities", 0),
    ("backoff", 0),
    ("config", 0),
    ("delivery", 0),
    ("egress", 0),
    ("endpoint", 0),
    ("entry", 0),
    ("guard", 0),
    ("record", 0),
    ("rules", 0),
    ("rules_file", 0),
    ("secret", 0),
    ("timestamp", 0),
    ("signing", 0),
    ("headers", 0),
    ("history", 0),
    ("hold", 0),
    ("limits", 0),
    ("login", 0),
    ("report", 0),
    ("message", 0),
    ("places", 0),
    ("verdict", 0),
    ("lib", 5),
    ("fuzzing", 5),
    ("keyring", 2),
    ("sealed", 0),
    ("secret_loader", 3),
];

const MAX_FILE: usize = 400;
const MAX_FUNCTION: usize = 70;

fn sources() -> Vec<(PathBuf, String)> {
    fn walk(dir: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    let mut found = Vec::new();
    walk(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut found,
    );
    assert!(found.len() > 20);
    found
}

/// `src/http/mod.rs` and `src/http/resolver.rs` are both of module `http`.
fn module(path: &Path) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let first = path
        .strip_prefix(&root)
        .unwrap()
        .components()
        .next()
        .unwrap();
    let name = first.as_os_str().to_string_lossy();
    name.trim_end_matches(".rs").to_owned()
}

fn is_test(path: &Path) -> bool {
    path.components().any(|c| c.as_os_str() == "tests")
}

fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap()
}

#[test]
fn imports_run_down_only() {
    let floors: BTreeMap<_, _> = FLOORS.iter().copied().collect();
    for (path, text) in sources() {
        let own = module(&path);
        let floor = *floors.get(&*own).unwrap_or_else(|| {
            panic!("{own} has no floor; give it one here and in ARCHITECTURE.md")
        });
        for part in without_tests(&text).split("crate::").skip(1) {
            let to: String = part
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            let Some(target) = floors.get(&*to) else {
                continue;
            };
            assert!(
                *target <= floor,
                "{}: floor {floor} imports {to} of floor {target}",
                path.display()
            );
        }
    }
}

#[test]
fn the_lower_floors_are_pure() {
    let floors: BTreeMap<_, _> = FLOORS.iter().copied().collect();
    for (path, text) in sources().iter().filter(|(p, _)| !is_test(p)) {
        let code = without_tests(text);
        let floor = floors[&*module(path)];
        let forbidden: &[&str] = match floor {
            0 | 1 => &[
                "Instant::now",
                "SystemTime::now",
                "std::thread",
                "crossbeam",
                "std::net::Tcp",
                "std::fs",
                "redis::",
            ],
            2 => &["Scheduler", "RetrySchedule", "signal_hook"],
            _ => &[],
        };
        for word in forbidden {
            assert!(
                !code.contains(word),
                "{}: {word} has no place on floor {floor}",
                path.display()
            );
        }
        let at_home = path.components().any(|c| c.as_os_str() == "http");
        assert!(
            at_home || !code.contains("ureq::unversioned"),
            "{}",
            path.display()
        );
    }
}

#[test]
fn of_the_resolver_only_its_edge_has_sockets_files_threads_and_a_clock() {
    let edge = ["mod", "edge", "stream", "files", "system", "waiter"];
    let mut pure = 0;
    for (path, text) in sources().iter().filter(|(p, _)| !is_test(p)) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let here = path.parent().unwrap().ends_with("http/names");
        if !here || edge.contains(&name) {
            continue;
        }
        pure += 1;
        for word in [
            "Instant::now",
            "std::fs",
            "std::thread",
            "UdpSocket",
            "TcpStream",
        ] {
            assert!(!without_tests(text).contains(word), "{name}: {word}");
        }
    }
    assert!(pure > 8);
}

/// Who makes sockets that connect, or has the system look up names, and to whom.
const CONNECTS: &[(&str, &str)] = &[
    (
        "cli/egress.rs",
        "nobody: it sees whether an address is this machine's",
    ),
    (
        "http/socket.rs",
        "receivers, with what the guard has checked",
    ),
    ("http/connect.rs", "nobody: it sees whether there are ports"),
    ("http/names/edge.rs", "name servers"),
    ("http/names/stream.rs", "name servers"),
    ("http/names/system.rs", "nobody: it looks up"),
    ("store/socket.rs", "Redis"),
    ("receiver.rs", "itself, to wake up"),
];

#[test]
fn nothing_connects_around_the_address_guard() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let all: Vec<_> = sources()
        .into_iter()
        .filter(|(path, _)| !is_test(path))
        .map(|(path, text)| {
            let name = path.strip_prefix(&root).unwrap().display().to_string();
            (name, without_tests(&text).to_owned())
        })
        .collect();
    let who = |words: &[&str]| -> Vec<&str> {
        let has = |code: &str| words.iter().any(|word| code.contains(word));
        let found = all.iter().filter(|(_, code)| has(code));
        found.map(|(name, _)| &**name).collect()
    };
    let mut known: Vec<_> = CONNECTS.iter().map(|(name, _)| *name).collect();
    known.sort_unstable();
    let mut found = who(&[
        "Socket::new(Domain",
        "socket2::Socket::new",
        "TcpStream::connect",
        "UnixStream::connect",
        "UdpSocket::bind",
        "net::connect",
        "to_socket_addrs",
        "getaddrinfo(",
    ]);
    found.sort_unstable();
    assert_eq!(found, known);
    // One function connects to receivers, and takes nothing but what the guard has checked.
    let socket = &all
        .iter()
        .find(|(name, _)| name == "http/socket.rs")
        .unwrap()
        .1;
    assert_eq!(socket.matches(".connect(").count(), 1);
    assert!(socket.contains("pub fn connecting(\n        ip: Checked,\n        port: u16,"));
    assert_eq!(who(&["Socket::connecting("]), ["http/connect.rs"]);
    // To a proxy too, which no message names; what it is to lead to has been checked before.
    let mut dials = who(&["connect::connect"]);
    dials.sort_unstable();
    assert_eq!(dials, ["http/exchange.rs", "http/proxy/mod.rs"]);
    assert_eq!(who(&["Guard::open()"]), ["http/proxy/mod.rs"]);
    assert_eq!(who(&["Checked("]), ["guard/mod.rs"]);
    // And every exchange asks before it takes a connection or makes one.
    let exchange = &all
        .iter()
        .find(|(name, _)| name == "http/exchange.rs")
        .unwrap()
        .1;
    for word in [
        "self.check_url()?",
        "self.may_use(",
        "self.check_addresses(&addresses)?",
    ] {
        assert!(exchange.contains(word), "{word}");
    }
    assert_eq!(who(&["pool.take("]), ["http/exchange.rs"]);
}

#[test]
fn files_and_functions_are_small_and_finished() {
    for (path, text) in sources() {
        let shown = path.display();
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines.len() <= MAX_FILE || is_test(&path),
            "{shown}: {} lines",
            lines.len()
        );
        for word in ["TODO", "FIXME", "todo!(", "unimplemented!("] {
            assert!(!text.contains(word), "{shown}: {word}");
        }
        let mut open: Option<(usize, usize)> = None;
        for (n, line) in lines.iter().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let starts = line
                .trim_start()
                .trim_start_matches("pub ")
                .starts_with("fn ");
            if starts && open.is_none() && !line.trim_end().ends_with(';') {
                open = Some((n, indent));
            }
            if let Some((from, at)) = open
                && indent == at
                && line.trim_start().starts_with('}')
            {
                assert!(
                    n - from < MAX_FUNCTION,
                    "{shown}:{}: function of {} lines",
                    from + 1,
                    n - from + 1
                );
                open = None;
            }
        }
    }
}

#[test]
fn every_module_says_what_it_is_for() {
    for (path, text) in sources().iter().filter(|(p, _)| !p.ends_with("main.rs")) {
        assert!(text.starts_with("//! "), "{}", path.display());
    }
}

/// Commands that need no permission of their own to be asked for: what each connection begins
/// with, what finds the server, what only operators' tools use, and what is really tried.
const NOT_ASKED_FOR: [&str; 18] = [
    "AUTH",
    "SELECT",
    "PING",
    "CLIENT",
    "MULTI",
    "DISCARD",
    "INFO",
    "CLUSTER",
    "ROLE",
    "SENTINEL",
    "SUBSCRIBE",
    "UNSUBSCRIBE",
    "BLPOP",
    "LREM",
    "HGETALL",
    "XREVRANGE",
    "EXEC",
    "ZREVRANGE",
];

#[test]
fn each_redis_command_is_among_the_permissions_that_are_asked_for() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    let asked = fs::read_to_string(root.join("permissions.rs")).unwrap();
    let mut texts: Vec<String> = sources()
        .into_iter()
        .filter(|(path, _)| path.starts_with(&root))
        .map(|(_, text)| without_tests(&text).to_owned())
        .collect();
    for script in fs::read_dir(root.join("lua")).unwrap() {
        texts.push(fs::read_to_string(script.unwrap().path()).unwrap());
    }
    let mut found = 0;
    for text in &texts {
        for before in ["cmd(\"", "call('", "{ 'XADD'", "{ 'ZADD'"] {
            for part in text.split(before).skip(1) {
                let name: String = match before.strip_prefix("{ '") {
                    Some(name) => name.trim_end_matches('\'').to_owned(),
                    None => part.chars().take_while(char::is_ascii_uppercase).collect(),
                };
                found += 1;
                assert!(
                    NOT_ASKED_FOR.contains(&&*name)
                        || asked.contains(&format!("\"{name} "))
                        || asked.contains(&format!("\"{name}\"")),
                    "{name}: add it to the table in store/permissions.rs, or to the list here"
                );
            }
        }
    }
    assert!(found > 40, "{found} commands found");
}

#[test]
fn no_async_runtime_and_no_second_tls_in_the_tree() {
    let lock =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).unwrap();
    for name in [
        "tokio",
        "async-std",
        "smol",
        "openssl",
        "native-tls",
        "aws-lc-rs",
        "aws-lc-sys",
    ] {
        assert!(!lock.contains(&format!("name = \"{name}\"")), "{name}");
    }
}
