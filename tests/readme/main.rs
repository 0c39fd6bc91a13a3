//! README.md and docs/, held against the program: their examples are run, their tables compared
//! with `--help`. Ports in the examples are replaced by free ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

const BIN: &str = env!("CARGO_BIN_EXE_outhook");

/// README.md and the pages of docs/, one behind the other.
fn readme() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = fs::read_dir(root.join("docs")).unwrap();
    let mut pages: Vec<_> = pages.map(|page| page.unwrap().path()).collect();
    pages.sort();
    pages.insert(0, root.join("README.md"));
    let texts = pages.iter().map(|page| fs::read_to_string(page).unwrap());
    texts.collect::<Vec<_>>().join("\n")
}

/// The shell examples by what the comment above each says of who runs it.
fn examples() -> Vec<(String, String)> {
    let text = readme();
    let mut found = Vec::new();
    for part in text.split("```sh\n").skip(1) {
        let code = part.split("```").next().unwrap().to_owned();
        let before = &text[..text.find(&code).unwrap()];
        let comment = before.lines().rev().nth(1).unwrap();
        let label = comment
            .strip_prefix("<!-- run")
            .and_then(|c| c.strip_suffix(" -->"))
            .unwrap_or_else(|| panic!("the example has no `<!-- run … -->` above it:\n{code}"));
        found.push((label.trim_start_matches([':', ' ']).to_owned(), code));
    }
    found
}

fn example(label: &str) -> String {
    let all = examples();
    let found = all.iter().find(|(l, _)| l == label);
    found
        .unwrap_or_else(|| panic!("no example {label:?}"))
        .1
        .clone()
}

/// Runs a script with this build of outhook on the PATH; what it starts ends with it.
fn sh(script: &str) -> Output {
    let bin = Path::new(BIN).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new("timeout")
        .args(["60", "bash", "-euo", "pipefail"])
        .current_dir(dir.path())
        .env("PATH", path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let whole = format!("trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\n{script}");
    child
        .stdin
        .take()
        .unwrap()
        .write_all(whole.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

fn free_port() -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

#[test]
fn every_example_is_run_by_someone() {
    let labels: BTreeSet<String> = examples().into_iter().map(|(label, _)| label).collect();
    let known = [
        "by scripts/smoke.sh",
        "demo",
        "by .ci/run",
        "by hand",
        "stream",
        "operating",
        "secrets",
        "endpoints",
        "deliver",
        "dead",
        "keygen",
        "verify",
    ];
    assert_eq!(labels, known.map(String::from).into());
    let smoke = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/smoke.sh"));
    assert!(smoke.unwrap().contains("/payment"));
    assert_eq!(example("by .ci/run").trim(), "scripts/test.sh");
}

#[test]
fn the_demo_runs() {
    let code = example("demo").replace(
        "cargo run --release -- demo",
        "outhook demo --for 1s --drain-timeout 1s",
    );
    let out = sh(&code);
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{out:?}");
    assert!(text.contains("delivered="), "{text}");
}

#[test]
fn the_steps_by_hand_deliver_and_the_dead_letter_can_be_read() {
    let (redis, listen) = (free_port().to_string(), free_port().to_string());
    let steps = example("by hand");
    let (services, publish) = steps.trim().rsplit_once('\n').unwrap();
    // Between the steps a person waits until each has started; so does this.
    let script = format!(
        "{}\n\
         until redis-cli -p 6379 PUBSUB NUMSUB payments 2>/dev/null | grep -qx 1; do sleep 0.05; done\n\
         {publish} | grep -qx 1\n\
         until grep -q '^200 POST /hook webhook-id=w1 {{\"amount\":1.10}}' listen.log; do sleep 0.05; done\n\
         {stream}\n\
         until grep -q '^200 POST /hook webhook-id=w2 ' listen.log; do sleep 0.05; done\n\
         until grep -q '^200 POST /hook webhook-id=w3 ' listen.log; do sleep 0.05; done\n\
         {deliver} 2>deliver.log\n\
         grep -q '^200 POST /hook webhook-id=msg_.* \\[1,2,3\\]' listen.log\n\
         redis-cli -p 6379 PUBLISH payments 'no JSON'\n\
         until {dead} | grep -q bad_json; do sleep 0.05; done\n\
         {operating}\n{secrets}\n{endpoints}\n",
        services.replace(":9000 &", ":9000 >listen.log &"),
        stream = example("stream").trim(),
        operating = example("operating").trim(),
        secrets = example("secrets").trim(),
        endpoints = example("endpoints").trim(),
        deliver = example("deliver").trim(),
        dead = example("dead").trim(),
    );
    let out = sh(&script.replace("6379", &redis).replace("9000", &listen));
    assert!(out.status.success(), "{out:?}");
}

#[test]
fn every_option_stands_in_the_table_with_its_default() {
    let text = readme();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter(|l| l.starts_with("| `--"))
        .map(|l| l.split('|').map(str::trim).collect())
        .collect();
    let documented: BTreeSet<&str> = rows.iter().map(|r| r[1].trim_matches('`')).collect();
    let mut real = BTreeSet::new();
    for command in ["serve", "deliver", "demo", "listen", "check"] {
        let out = Command::new(BIN)
            .args([command, "--help"])
            .output()
            .unwrap();
        let help = String::from_utf8(out.stdout).unwrap();
        for part in help.split("\n      --").skip(1) {
            let flag = format!("--{}", part.split([' ', '\n']).next().unwrap());
            let flag = flag.trim_end_matches("...").to_owned();
            let words = part.split_whitespace().collect::<Vec<_>>().join(" ");
            let default = words
                .split_once("[default: ")
                .map(|(_, rest)| rest.split(']').next().unwrap().to_owned());
            let row = rows.iter().find(|r| r[1].trim_matches('`') == flag);
            let row =
                row.unwrap_or_else(|| panic!("{flag} is not in docs/configuration.md's table"));
            let plain = default.filter(|d| !d.contains(' ') && !d.starts_with("at"));
            assert_eq!(
                row[2].trim_matches('`'),
                plain.unwrap_or_default(),
                "{flag}"
            );
            real.insert(flag);
        }
    }
    let gone: Vec<_> = documented.iter().filter(|f| !real.contains(**f)).collect();
    assert!(gone.is_empty(), "documented, but no option: {gone:?}");
}

fn pem(kind: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    format!("-----BEGIN {kind}-----\n{text}\n-----END {kind}-----\n")
}

#[test]
fn the_endpoints_files_are_ones_that_outhook_takes() {
    let text = readme();
    let files: Vec<&str> = text.split("```toml\n").skip(1).collect();
    assert!(files.len() > 1);
    let made = rcgen::generate_simple_self_signed(vec!["us".into()]).unwrap();
    let (certificate, key) = (made.cert.der(), made.signing_key.serialize_der());
    let secrets = [
        ("acme.crt", pem("CERTIFICATE", certificate)),
        ("acme.key", pem("PRIVATE KEY", &key)),
        ("acme-token", "token\n".into()),
        ("acme-secret", "secret\n".into()),
        ("partner", "password\n".into()),
    ];
    let secrets = secrets.map(|(name, text)| format!("cat >secrets/{name} <<'END'\n{text}END\n"));
    let secrets = secrets.concat();
    for file in files {
        let file = file.split("```").next().unwrap();
        let file = file.replace("/run/secrets/", "secrets/");
        let script = format!(
            "mkdir secrets\n{secrets}\ncat >endpoints.toml <<'END'\n{file}END\nOUTHOOK_LOG=info outhook deliver --endpoints endpoints.toml </dev/null"
        );
        let out = sh(&script);
        assert!(out.status.success(), "{out:?}");
    }
}

#[test]
fn keys_are_made_and_a_signature_is_looked_at() {
    let out = sh(&example("keygen"));
    let text = String::from_utf8_lossy(&out.stdout);
    let prefixes: Vec<_> = text
        .lines()
        .map(|line| line.split('_').next().unwrap())
        .collect();
    assert_eq!(prefixes, ["whsec", "whsk", "whpk"], "{out:?}");
    let out = sh(&example("verify"));
    let text = String::from_utf8_lossy(&out.stdout);
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    let said = text.trim().split(". ").next().unwrap();
    assert!(readme().contains(&format!("It says `{said}`")), "{said}");
}

#[test]
fn the_examples_in_other_languages_name_the_stream_and_the_field() {
    let text = readme();
    for language in ["python", "js", "go", "ruby"] {
        let code = text
            .split(&format!("```{language}\n"))
            .nth(1)
            .expect(language);
        let code = code.split("```").next().unwrap();
        assert!(
            code.contains("{outhook}:messages") && code.contains("message"),
            "{language}"
        );
    }
}

/// The names in backticks of a cell of a table.
fn named(cell: &str) -> BTreeSet<String> {
    let parts = cell.split('`').skip(1).step_by(2);
    parts.map(str::to_owned).collect()
}

#[test]
fn every_event_of_the_log_stands_in_its_table_with_its_keys() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/logs.md")).unwrap();
    let table = page.split("| event | keys |").nth(1).unwrap();
    let rows = table.lines().filter_map(|row| {
        let (event, keys) = row.strip_prefix("| `")?.split_once("` |")?;
        Some((event.to_owned(), named(keys)))
    });
    let documented: BTreeMap<String, BTreeSet<String>> = rows.collect();
    let mut logged = BTreeMap::<String, BTreeSet<String>>::new();
    for code in sources(&root.join("src")) {
        for part in code.split("event = \"").skip(1) {
            let (event, rest) = part.split_once('"').unwrap();
            let keys = rest.split(';').next().unwrap().split(',');
            let keys = keys.filter_map(|key| Some(key.split_once('=')?.0.trim().to_owned()));
            let keys = keys.map(|key| key.split(':').next().unwrap().to_owned());
            logged.entry(event.to_owned()).or_default().extend(keys);
        }
        for part in code.split("log_counters(\"").skip(1) {
            let event = part.split('"').next().unwrap();
            logged.entry(event.to_owned()).or_default();
        }
    }
    // Written by hand, as it is no record of anyone's.
    let keys = BTreeSet::from(["count".to_owned()]);
    logged.insert("log_dropped".into(), keys);
    assert!(logged.len() > 10);
    assert_eq!(documented, logged);
}

/// The program's code, file by file, without its tests.
fn sources(folder: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(sources(&path));
        } else {
            let code = fs::read_to_string(&path).unwrap();
            all.push(code.split("#[cfg(test)]").next().unwrap().to_owned());
        }
    }
    all
}
