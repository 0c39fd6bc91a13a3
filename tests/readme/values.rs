//! Messages, endpoints files, keys and requests that stand in the documents are read by outhook itself.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::pages::{Page, documents};
use crate::session;

#[test]
fn messages_are_ones_that_outhook_takes() {
    let mut script = "start-redis\n".to_owned();
    let mut found = 0;
    for page in documents() {
        for block in page.blocks_of("json") {
            found += 1;
            let place = format!("{}:{}", page.name, block.line);
            let text = block.text.replace('\n', " ");
            // A prefix of its own, as nobody is to deliver them.
            script += &format!(
                "echo {place} >&2\nouthook send --redis-prefix read <<'END'\n{text}\nEND\n"
            );
        }
    }
    assert!(found > 2, "{found}");
    let dir = tempfile::tempdir().unwrap();
    let out = session::run(&script, dir.path());
    assert!(out.status.success(), "{out:?}");
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(!errors.contains("outhook: "), "{errors}");
}

fn pem(kind: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    format!("-----BEGIN {kind}-----\n{text}\n-----END {kind}-----\n")
}

#[test]
fn files_are_ones_that_outhook_takes() {
    let made = rcgen::generate_simple_self_signed(vec!["us".into()]).unwrap();
    let (certificate, key) = (made.cert.der(), made.signing_key.serialize_der());
    let secrets = [
        ("acme.crt", pem("CERTIFICATE", certificate)),
        ("acme.key", pem("PRIVATE KEY", &key)),
        ("acme-token", "token\n".into()),
        ("acme-secret", "secret\n".into()),
        ("partner", "password\n".into()),
    ];
    let mut found = 0;
    for page in documents() {
        for block in page.blocks_of("toml") {
            found += 1;
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join("secrets")).unwrap();
            for (name, text) in &secrets {
                fs::write(dir.path().join("secrets").join(name), text).unwrap();
            }
            let file = block.text.replace("/run/secrets/", "secrets/");
            let file = file.replace("/etc/outhook/", "");
            // The first line says so where it is the file of --config.
            let (name, option) = match file.starts_with("# outhook.toml") {
                true => ("outhook.toml", "config"),
                false => ("endpoints.toml", "endpoints"),
            };
            fs::write(dir.path().join("endpoints.toml"), "").unwrap();
            fs::write(dir.path().join(name), file).unwrap();
            let script = format!("OUTHOOK_LOG=info outhook deliver --{option} {name} </dev/null\n");
            let out = session::run(&script, dir.path());
            assert!(
                out.status.success(),
                "{}:{}: {out:?}",
                page.name,
                block.line
            );
        }
    }
    assert!(found > 3, "{found}");
}

#[test]
fn the_requests_that_pages_show_are_what_is_sent() {
    let shown = ["README.md", "docs/receiving.md"].map(|name| (name, Page::read(name)));
    for (name, page) in shown {
        let blocks = page.blocks_of("http");
        let shown = &blocks.first().expect(name).text;
        let (head, body) = shown.trim_end().split_once("\n\n").expect(name);
        let of = |field: &str| {
            let mut lines = head.lines();
            let line = lines.find_map(|line| line.strip_prefix(field));
            line.expect(field).to_owned()
        };
        let (id, shown_host) = (of("Webhook-Id: "), of("Host: "));
        let sent = sent(&format!(r#""webhookId":"{id}","data":{body}"#), &shown_host);
        // All but the first two lines have no fixed order.
        let sorted = |text: &str| {
            let mut lines: Vec<_> = text.trim_end().lines().map(str::to_owned).collect();
            lines[2..].sort();
            lines
        };
        assert_eq!(sorted(&sent), sorted(shown), "{name}");
    }
}

/// What arrives of a message with these fields, with this host in place of the real one.
fn sent(fields: &str, shown_host: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let message = format!(r#"{{"url":"http://{host}/hook",{fields}}}"#);
    let script = format!("outhook deliver --allow-cidr 127.0.0.0/8 <<'END'\n{message}\nEND\n");
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream);
        let (mut sent, mut length) = (String::new(), 0);
        while !sent.ends_with("\r\n\r\n") {
            let begin = sent.len();
            reader.read_line(&mut sent).unwrap();
            if let Some(value) = sent[begin..].strip_prefix("Content-Length: ") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        reader.get_mut().write_all(answer).unwrap();
        tell.send(sent + std::str::from_utf8(&body).unwrap())
            .unwrap();
    });
    let dir = tempfile::tempdir().unwrap();
    let out = session::run(&script, dir.path());
    assert!(out.status.success(), "{out:?}");
    let sent = told.recv().unwrap();
    let own = format!("outhook/{}", env!("CARGO_PKG_VERSION"));
    sent.replace(&host, shown_host)
        .replace("\r\n", "\n")
        .replace(&own, "outhook/0.1.0")
}

#[test]
fn keys_have_the_prefixes_that_the_table_says() {
    let page = Page::read("docs/signing.md");
    let rows = page.table("| key | signature |");
    let dir = tempfile::tempdir().unwrap();
    let out = session::run("outhook keygen; outhook keygen --ed25519\n", dir.path());
    let text = String::from_utf8_lossy(&out.stdout);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    for (line, cell) in [(0, &rows[0][0]), (1, &rows[1][0]), (2, &rows[1][2])] {
        let prefix = crate::pages::code(cell);
        assert!(
            prefix.starts_with("wh") && lines[line].starts_with(prefix),
            "{cell}: {text}"
        );
    }
}
