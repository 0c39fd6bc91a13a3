//! `outhook keygen`, `verify` and `listen --secret`: what a developer sees of signatures.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::support::message;
use crate::support::receiver::Receiver;
use crate::support::service::{Finished, Outhook};

fn keygen(args: &[&str]) -> Vec<String> {
    let run = Outhook::new(&[&["keygen"], args].concat()).run("");
    assert_eq!(run.code, 0, "{run:?}");
    run.out
}

fn write(folder: &TempDir, name: &str, bytes: impl AsRef<[u8]>) -> String {
    let path = folder.path().join(name);
    fs::write(&path, bytes).expect("to write");
    path.to_str().expect("a plain path").to_owned()
}

/// One delivery with these arguments: its headers as a file has them, and its body.
fn delivered(args: &[&str], data: &str) -> (String, Vec<u8>, String) {
    let receiver = Receiver::ok();
    let url = receiver.url("/hook");
    let run = Outhook::new(&[&["deliver"], args].concat()).run(message(&url, "m1", data));
    assert_eq!(run.code, 0, "{run:?}");
    let request = receiver.wait_for(1).remove(0);
    let mut head = format!("{} {} HTTP/1.1\n", request.method, request.path);
    for (name, value) in &request.headers {
        head += &format!("{name}: {value}\n");
    }
    (head, request.body, url)
}

fn verify(args: &[&str], body: impl Into<Vec<u8>>) -> Finished {
    Outhook::new(&[&["verify"], args].concat()).run(body)
}

#[test]
fn keys_that_are_made_sign_and_verify() {
    let folder = tempfile::tempdir().unwrap();
    let [secret] = &keygen(&[])[..] else {
        panic!("one line")
    };
    assert!(secret.starts_with("whsec_") && *secret != keygen(&[])[0]);
    let [private, public] = &keygen(&["--ed25519"])[..] else {
        panic!("two lines")
    };
    assert!(private.starts_with("whsk_") && public.starts_with("whpk_"));
    let file = write(&folder, "private", private);
    assert_eq!(
        keygen(&["--public-of", &file]),
        std::slice::from_ref(public)
    );
    for (sign, check) in [(secret, secret), (private, public)] {
        let (head, body, _) = delivered(&["--signing-secret", sign], "{\"a\": 1}");
        let head = write(&folder, "head", head);
        let key = write(&folder, "key", format!("{check}\n"));
        let args = ["--secret-file", &key, "--headers-file", &head];
        let run = verify(&args, body);
        assert!(
            run.code == 0 && run.out[0].starts_with("valid: signed"),
            "{run:?}"
        );
        let run = verify(&args, "{\"a\":1}");
        assert_eq!(run.code, 1);
        assert!(
            run.out[0].starts_with("not valid: the body is not as"),
            "{run:?}"
        );
        let later = ["--at", "2099-01-01T00:00:00Z"];
        let run = verify(&[&args[..], &later].concat(), "{\"a\": 1}");
        assert!(
            run.code == 1 && run.out[0].contains("ago (5m are allowed)"),
            "{run:?}"
        );
    }
    let whole = write(&folder, "whole", secret);
    let run = Outhook::new(&["keygen", "--public-of", &whole]).run("");
    assert!(
        run.code == 2 && !run.err[0].contains(&secret[6..]),
        "{run:?}"
    );
}

#[test]
fn a_scheme_is_verified_by_name_or_as_the_endpoints_file_says() {
    let folder = tempfile::tempdir().unwrap();
    let rules = |host: &str, signing: &str| {
        let text = format!("[[endpoint]]\nhost = \"{host}\"\n[endpoint.signing]\n{signing}\n");
        write(&folder, "endpoints.toml", text)
    };
    let path = rules("127.0.0.1", "scheme = \"github\"\nsecret = \"as agreed\"");
    let (head, body, url) = delivered(&["--endpoints", &path], "[1, 2]");
    let head = write(&folder, "head", head);
    let body = write(&folder, "body", body);
    let common = ["--headers-file", &*head, "--body-file", &*body];
    for args in [
        &["--secret", "as agreed", "--scheme", "github"][..],
        &["--endpoints", &path, "--url", &url],
    ] {
        let run = verify(&[&common, args].concat(), "");
        assert_eq!(
            (run.code, &*run.out),
            (0, &["valid: signed by the key".to_owned()][..])
        );
    }
    let wrong = ["--secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"];
    let run = verify(&[&common[..], &wrong].concat(), "");
    assert!(
        run.code == 1 && run.out[0].contains("is the scheme github?"),
        "{run:?}"
    );
    let path = rules(
        "127.0.0.1",
        &format!("scheme = \"rfc9421\"\nsecret = \"{}\"", wrong[1]),
    );
    let (head, body, url) = delivered(&["--endpoints", &path], "[1, 2]");
    let head = write(&folder, "head", head);
    let args = [
        "--scheme",
        "rfc9421",
        "--secret",
        wrong[1],
        "--headers-file",
        &head,
    ];
    let run = verify(&[&args[..], &["--url", &url]].concat(), body.clone());
    assert_eq!(run.code, 0, "{run:?}");
    let run = verify(
        &[&args[..], &["--url", &format!("{url}/other")]].concat(),
        body,
    );
    assert!(
        run.code == 1 && run.out[0].contains("method, URL"),
        "{run:?}"
    );
}

#[test]
fn what_cannot_be_verified_is_said_and_no_secret_shown() {
    let folder = tempfile::tempdir().unwrap();
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let file = write(&folder, "secret", &secret[..20]);
    for (args, words) in [
        (&[][..], "must be given"),
        (&["--secret", &secret[6..]], "without a prefix"),
        (&["--secret-file", &file], "10 bytes"),
        (&["--secret", secret, "--secret-file", &file], "exclude"),
        (&["--secret", secret, "--scheme", "githup"], "github"),
        (&["--secret", secret, "--header", "nothing"], "Name: value"),
        (&["--secret", secret, "--headers-file", "/none"], "readable"),
        (&["--secret", secret, "--url", "nowhere"], "--url nowhere"),
        (&["--endpoints", &file], "--url"),
    ] {
        let run = verify(args, "");
        assert_eq!((run.code, run.err.len()), (2, 1), "{args:?}: {run:?}");
        assert!(run.err[0].contains(words), "{args:?}: {run:?}");
        assert!(!run.err[0].contains(&secret[8..16]), "{run:?}");
    }
    let one = ["--secret", secret, "--header", "webhook-id: a"];
    let run = verify(&one, "");
    assert!(
        run.code == 1 && run.out[0].contains("no header webhook-signature"),
        "{run:?}"
    );
}

#[test]
fn listen_verifies_what_arrives_and_shows_its_headers() {
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let service = Outhook::new(&["listen", "--bind", "127.0.0.1:0", "--secret", secret]).spawn();
    let line = service.out.wait("listen: on ");
    let url = format!("{}/hook", line.rsplit(' ').next().unwrap());
    let send = |id: &str, args: &[&str]| {
        let args = [&["deliver", "--max-attempts", "1"], args].concat();
        Outhook::new(&args)
            .run(message(&url, id, "{\"a\": 1}"))
            .code
    };
    assert_eq!(send("good", &["--signing-secret", secret]), 0);
    let line = service.out.wait("webhook-id=good");
    assert!(
        line.starts_with("200 POST /hook webhook-id=good valid (signed by the key"),
        "{line}"
    );
    assert!(line.ends_with(" {\"a\": 1}"), "{line}");
    service.out.wait("    Webhook-Signature: v1,");
    assert_eq!(send("bare", &[]), 1, "it is answered 401");
    let line = service.out.wait("webhook-id=bare");
    assert!(
        line.starts_with("401 ") && line.contains("NOT VALID (there is no header"),
        "{line}"
    );
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let bad = Outhook::new(&["listen", "--secret-file", file.to_str().unwrap()]).run("");
    assert!(
        bad.code == 2 && bad.err[0].contains("--secret-file"),
        "{bad:?}"
    );
}

#[test]
fn the_verdict_is_the_exit_code_though_nobody_can_be_told() {
    let key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let (head, body, _) = delivered(&["--signing-secret", key], "{}");
    let folder = tempfile::tempdir().unwrap();
    let (head, body) = (write(&folder, "h", head), write(&folder, "b", body));
    for (body, code) in [(&*body, 0), ("/dev/null", 1)] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full");
        let (reader, closed) = std::io::pipe().unwrap();
        drop(reader);
        for out in [full.unwrap().into(), std::process::Stdio::from(closed)] {
            let status = std::process::Command::new(env!("CARGO_BIN_EXE_outhook"))
                .args(["verify", "--secret", key, "--headers-file", &head])
                .args(["--body-file", body])
                .stdout(out)
                .status();
            assert_eq!(status.unwrap().code(), Some(code), "{body}");
        }
    }
}

#[test]
fn heads_are_read_as_tools_show_them() {
    let key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let folder = tempfile::tempdir().unwrap();
    let (head, body, _) = delivered(&["--signing-secret", key], "{}");
    let headers = head.split_once('\n').unwrap().1;
    let lines = |before: &str| -> String {
        headers
            .lines()
            .map(|line| format!("{before}{line}\n"))
            .collect()
    };
    for text in [
        format!(
            "* Connected to h\n> POST /hook HTTP/2\n{}> \n{{ [5 bytes data]\n< HTTP/2 200\n\
             < webhook-id: other\n",
            lines("> ")
        ),
        format!(":method: POST\n:scheme: https\n:authority: h\n:path: /hook\n{headers}"),
        headers.to_owned(),
    ] {
        let head = write(&folder, "head", &text);
        let run = verify(&["--secret", key, "--headers-file", &head], body.clone());
        assert_eq!(run.code, 0, "{text}: {run:?}");
    }
}

#[test]
fn listen_answers_nothing_unverified_and_acts_on_no_terminal() {
    let key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let service = Outhook::new(&["listen", "--bind", "127.0.0.1:0", "--secret", key]).spawn();
    let line = service.out.wait("listen: on ");
    let address = line.rsplit('/').next().unwrap().to_owned();
    let send = |request: &str| {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(&address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        String::from_utf8(answer.to_vec()).unwrap()
    };
    assert_eq!(send("GET /g HTTP/1.1\r\nhost: h\r\n\r\n"), "HTTP/1.1 401");
    service.out.wait("401 GET /g");
    let request =
        "POST /p HTTP/1.1\r\nhost: h\r\nwebhook-id: a\u{1b}[31m\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(send(request), "HTTP/1.1 401");
    let line = service.out.wait("401 POST /p");
    assert!(
        !line.contains('\u{1b}') && line.contains("[31m"),
        "{line:?}"
    );
}

#[test]
fn a_key_in_the_place_of_something_else_is_not_shown() {
    let inner = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let key = &*format!("whsec_{inner}");
    let url = &*format!("http://h/{key}");
    let sealing = &*format!("ohsk_{inner}");
    let mut starts: Vec<(Vec<&str>, &str)> = Vec::new();
    for args in [
        &["verify", "--secret-file", key][..],
        &["verify", "--secret", key, "--header", key],
        &["verify", "--secret", key, "--url", key],
        &["verify", "--secret", key, "--headers-file", key],
        &["verify", "--secret", key, "--body-file", key],
        &["verify", "--endpoints", key, "--url", url],
        &["listen", "--secret-file", key],
        &["keygen", "--public-of", key],
        &["keygen", key],
        &["deliver", "--signing-secret-file", key],
        &["deliver", "--secrets-dir", key],
        &["deliver", "--endpoints", key],
        &["secrets", "set", "acme", "--file", key],
        &["secrets", "set", "acme", "--secrets-key-file", sealing],
    ] {
        starts.push((args.to_vec(), ""));
    }
    for name in ["OUTHOOK_SIGNING_SECRET_FILE", "OUTHOOK_SECRETS_DIR"] {
        starts.push((vec!["serve"], name));
    }
    for (args, variable) in starts {
        let mut run = Outhook::new(&args);
        if !variable.is_empty() {
            run = run.env(variable, key);
        }
        let run = run.run("");
        let shown = [&run.out[..], &run.err].concat().join("\n");
        assert_eq!(run.code, 2, "{args:?} {variable}: {shown}");
        assert!(!shown.contains(&inner[..8]), "{args:?} {variable}: {shown}");
    }
}
