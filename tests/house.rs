//! Keeps the house in order: what ARCHITECTURE.md says of the folders, sizes and absences is
//! checked here, so that it stays true.

#[path = "house/circles.rs"]
mod circles;

use std::fs;
use std::path::{Path, PathBuf};

/// The folders of `src`. Each imports only those that come after it here.
const FOLDERS: &[&str] = &[
    "cli",
    "service",
    "http",
    "store",
    "scheduler",
    "delivery",
    "trust",
    "message",
];

/// Those of decisions and values: no clock, thread or I/O.
const PURE: &[&str] = &["scheduler", "delivery", "trust", "message"];

/// In one of those, and still not pure: all workers ask it, and some wait for an answer.
const IMPURE: &str = "trust/keyring";

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

/// The folder of a file, by its place in the list. `main.rs` and `lib.rs` are in none.
fn folder(path: &Path) -> Option<usize> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let path = path.strip_prefix(&root).unwrap();
    let first = path.components().next().unwrap().as_os_str();
    if path.components().count() == 1 {
        assert!(
            ["main.rs", "lib.rs"].map(Path::new).contains(&path),
            "{path:?}"
        );
        return None;
    }
    let place = FOLDERS.iter().position(|name| *name == first);
    assert!(
        place.is_some(),
        "{first:?}: give it a place in FOLDERS and ARCHITECTURE.md"
    );
    place
}

fn is_test(path: &Path) -> bool {
    // Only below the root: the checkout itself may have any name.
    let path = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap();
    let is_tests = |name: &std::ffi::OsStr| name == "tests" || name == "tests.rs";
    path.components().any(|c| is_tests(c.as_os_str()))
}

/// Everything but what is built for tests alone: each item that follows `#[cfg(test)]`, up to the `;` of a
/// declaration or to the line that closes its block.
fn without_tests(text: &str) -> String {
    let mut kept = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let indent = line.len() - line.trim_start().len();
        if line.trim() != "#[cfg(test)]" {
            kept.push_str(line);
            kept.push('\n');
            continue;
        }
        let is_last = |line: &&str| {
            let depth = line.len() - line.trim_start().len();
            depth == indent && (line.ends_with('}') || line.ends_with(';') || line.ends_with(','))
        };
        lines.by_ref().find(is_last);
    }
    kept
}

#[test]
fn imports_run_down_only() {
    let mut crossings = 0;
    for (path, text) in sources() {
        let Some(own) = folder(&path) else {
            continue;
        };
        for part in without_tests(&text).split("crate::").skip(1) {
            let is_name = |c: &char| c.is_alphanumeric() || *c == '_';
            let to: String = part.chars().take_while(is_name).collect();
            let Some(target) = FOLDERS.iter().position(|name| *name == to) else {
                continue;
            };
            crossings += usize::from(target != own);
            let shown = path.display();
            assert!(
                target >= own,
                "{shown}: {} imports {to}, which is above",
                FOLDERS[own]
            );
        }
    }
    assert!(crossings > 100, "{crossings}");
}

#[test]
fn decisions_are_pure_and_edges_know_nothing_of_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (path, text) in sources().iter().filter(|(p, _)| !is_test(p)) {
        let code = without_tests(text);
        let name = folder(path).map_or("", |folder| FOLDERS[folder]);
        let is_exempt = path
            .strip_prefix(&root)
            .unwrap()
            .to_string_lossy()
            .starts_with(IMPURE);
        let forbidden: &[&str] = match name {
            _ if PURE.contains(&name) && !is_exempt => &[
                "Instant::now",
                "SystemTime::now",
                "std::thread",
                "crossbeam",
                "std::net::Tcp",
                "std::fs",
                "redis::",
            ],
            "http" | "store" => &["Scheduler", "RetrySchedule", "signal_hook"],
            _ => &[],
        };
        for word in forbidden {
            assert!(
                !code.contains(word),
                "{}: {word} has no place in {name}",
                path.display()
            );
        }
        let at_home = path.components().any(|c| c.as_os_str() == "http");
        assert!(
            at_home || !code.contains("ureq::"),
            "{}: ureq has no place outside of http",
            path.display()
        );
    }
}

#[test]
fn of_the_resolver_only_its_edge_has_sockets_files_threads_and_a_clock() {
    let edge = [
        "mod",
        "shared",
        "event_loop",
        "tcp",
        "watched_files",
        "getaddrinfo",
        "waiter",
    ];
    let mut pure = 0;
    for (path, text) in sources().iter().filter(|(p, _)| !is_test(p)) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let here = path.parent().unwrap().ends_with("http/resolver");
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
        "cli/args/egress.rs",
        "nobody: it sees whether an address is this machine's",
    ),
    (
        "http/connection/socket.rs",
        "receivers, with what the guard has checked",
    ),
    (
        "http/connection/race.rs",
        "nobody: it sees whether there are ports",
    ),
    ("http/resolver/event_loop.rs", "name servers"),
    ("http/resolver/tcp.rs", "name servers"),
    ("http/resolver/getaddrinfo.rs", "nobody: it looks up"),
    ("store/socket.rs", "Redis"),
    ("service/receiver.rs", "itself, to wake up"),
];

#[test]
fn nothing_connects_around_the_address_guard() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let all: Vec<_> = sources()
        .into_iter()
        .filter(|(path, _)| !is_test(path))
        .map(|(path, text)| {
            let name = path.strip_prefix(&root).unwrap().display().to_string();
            (name, without_tests(&text))
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
        .find(|(name, _)| name == "http/connection/socket.rs")
        .unwrap()
        .1;
    assert_eq!(socket.matches(".connect(").count(), 1);
    assert!(socket.contains("pub fn connecting(\n        ip: Checked,\n        port: u16,"));
    assert_eq!(who(&["Socket::connecting("]), ["http/connection/race.rs"]);
    assert_eq!(who(&["= race("]), ["http/connection/dialer.rs"]);
    // To a proxy too, which no message names; what it is to lead to has been checked before.
    let mut dials = who(&["dialer.dial("]);
    dials.sort_unstable();
    assert_eq!(dials, ["http/exchange/opener.rs", "http/proxy/mod.rs"]);
    assert_eq!(who(&["Guard::open()"]), ["http/proxy/mod.rs"]);
    assert_eq!(who(&["Checked("]), ["trust/guard/mod.rs"]);
    // And every exchange asks before it takes a connection or makes one.
    let opening = &all
        .iter()
        .find(|(name, _)| name == "http/exchange/opener.rs")
        .unwrap()
        .1;
    for word in [
        "self.guard.check_url()?",
        "self.guard.may_use(",
        "self.guard.check_addresses(&addresses)?",
    ] {
        assert!(opening.contains(word), "{word}");
    }
    assert_eq!(who(&["pool.take("]), ["http/exchange/opener.rs"]);
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

/// The scheduler's values, which others read, and the lane, whose parts are owners themselves. All other
/// types of the scheduler are owners, and hide their fields.
const VALUES: &[&str] = &[
    "lane/mod.rs",
    "lane/share.rs",
    "lane/weight.rs",
    "limits.rs",
    "now.rs",
    "room.rs",
    "saturation.rs",
    "tally.rs",
];

#[test]
fn state_of_the_scheduler_changes_in_the_file_of_its_owner() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/scheduler");
    let mut bare: Vec<String> = Vec::new();
    for (path, text) in sources() {
        let Ok(name) = path.strip_prefix(&root) else {
            continue;
        };
        if is_test(&path) || VALUES.contains(&&*name.to_string_lossy()) {
            continue;
        }
        let code = without_tests(&text);
        let fields = code.lines().filter(|line| {
            let field = line.strip_prefix("    pub");
            field.is_some_and(|field| field.contains(": ") && field.ends_with(','))
        });
        bare.extend(fields.map(|field| format!("{}:{field}", name.display())));
    }
    assert!(bare.is_empty(), "{bare:#?}");
}

#[test]
fn the_way_of_a_message_can_be_followed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let way = text.split("from PUBLISH to 2xx:").nth(1).unwrap();
    let steps = way.split("\n## ").next().unwrap().lines();
    let steps: Vec<_> = steps.filter(|line| line.contains(". `")).collect();
    assert!((6..=12).contains(&steps.len()), "{steps:?}");
    for step in steps {
        let mut names = step.split('`').skip(1).step_by(2);
        let (file, function) = (names.next().unwrap(), names.next().unwrap());
        let code = fs::read_to_string(root.join("src").join(file)).expect(step);
        let is_there = code.contains(&format!("fn {function}("));
        assert!(is_there, "{step}");
    }
}

#[test]
fn the_files_that_the_architecture_names_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let is_name = |name: &&str| {
        let mut characters = name.chars();
        characters.all(|c| c.is_ascii_lowercase() || "/._".contains(c))
            && (name.ends_with(".rs") || name.ends_with(".lua") || name.contains('/'))
    };
    let mut all = Vec::new();
    let mut folders: Vec<_> = ["src", "tests", "fuzz", "scripts"]
        .map(|d| root.join(d))
        .into();
    while let Some(folder) = folders.pop() {
        all.push(folder.display().to_string());
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => all.push(path.display().to_string()),
            }
        }
    }
    let mut found = 0;
    for name in text.split('`').skip(1).step_by(2).filter(is_name) {
        found += 1;
        let name = name.trim_end_matches('/');
        let ends = [format!("/{name}"), format!("/{name}.rs")];
        let is_there = |path: &String| ends.iter().any(|end| path.ends_with(end));
        assert!(all.iter().any(is_there), "ARCHITECTURE.md names {name}");
    }
    assert!(found > 60, "{found}");
}

/// Names that meant several things, or were this project's own: the glossary in ARCHITECTURE.md has
/// what took their place.
const RETIRED: &[&str] = &[
    "Told",
    "Fate",
    "Sign",
    "Keeper",
    "Trouble",
    "Inlet",
    "Sleeper",
    "Giver",
    "Taker",
    "Order",
    "Orders",
    "obey",
    "route_anew",
    "look_through",
    "held_already",
    "unkept",
    "pause_base",
    "pause_max",
    "lane_key",
    "FaultKind",
    "Telling",
    "Blots",
    "Shy",
    "Loose",
    "LaneReport",
    "Claimed",
    "obeyed",
];

#[test]
fn retired_words_do_not_come_back() {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    for (path, text) in sources() {
        let code = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        for (line, word) in code.flat_map(|l| l.split(|c| !is_name(c)).map(move |w| (l, w))) {
            assert!(!RETIRED.contains(&word), "{}: {line}", path.display());
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
        .map(|(_, text)| without_tests(&text))
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
