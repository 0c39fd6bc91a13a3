//! `outhook listen`: prints what arrives, one line a request; with a secret also whether it is signed
//! as it should be, and its headers.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, SystemTime};

use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue};

use log::info;

use crate::cli::args::values::{address, duration, number, share};
use crate::cli::args::verifier::SecretArgs;
use crate::cli::settings::Settings;
use crate::cli::startup::descriptors;
use crate::message::printable::printable;
use crate::message::timestamp::unix_ms;
use crate::service::receiver::{self, Behaviour, Received};
use crate::service::signals;
use crate::trust::guard::{Cidr, Guard};
use crate::trust::signing::verify::{self as signing, Verifier};

#[derive(Debug, Args)]
pub struct ListenArgs {
    /// Address to listen at; port 0 takes a free port
    #[arg(
        long,
        env = "OUTHOOK_BIND",
        value_name = "ADDR",
        default_value = "127.0.0.1:9000",
        value_parser = address
    )]
    pub bind: SocketAddr,
    /// Status to answer
    #[arg(long, env = "OUTHOOK_STATUS", value_name = "CODE", default_value_t = 200, value_parser = number::<u16>(200, 599))]
    pub status: u16,
    /// Share of requests that are answered with 500 instead, 0 to 1
    #[arg(long, env = "OUTHOOK_FAIL_RATE", value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub fail_rate: f64,
    /// Wait this long before each answer
    #[arg(long, env = "OUTHOOK_DELAY", value_name = "DURATION", default_value = "0s", value_parser = duration)]
    pub delay: Duration,
    /// Accept requests and never answer
    #[arg(long, env = "OUTHOOK_HANG")]
    pub hang: bool,
    /// Send Retry-After with every answer other than 2xx
    #[arg(long, env = "OUTHOOK_RETRY_AFTER", value_name = "SECONDS")]
    pub retry_after: Option<u32>,
    #[command(flatten)]
    pub secret: SecretArgs,
}

/// The answer to what is not signed as it should be.
const UNAUTHORIZED: u16 = 401;

/// Longer bodies are printed in part.
const MAX_SHOWN: usize = 4096;

/// Why an address cannot be listened at, and what helps.
fn not_bound(e: &io::Error) -> String {
    // The server's crate wraps it.
    let inner = e
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<io::Error>());
    let e = inner.unwrap_or(e);
    let hint = match e.kind() {
        io::ErrorKind::AddrInUse => {
            "another process listens there: stop it, or choose another port; port 0 takes a free one"
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address; 0.0.0.0 is all it has"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need a permission; choose a higher one"
        }
        _ => "it must be a free address",
    };
    format!("{e}; {hint}")
}

/// The error is a bad configuration, in one line.
pub fn run(args: ListenArgs, settings: &Settings) -> Result<ExitCode, String> {
    descriptors::prepare(None);
    ctrlc::set_handler(|| std::process::exit(0)).map_err(|e| format!("signals: {e}"))?;
    let (verifier, tolerance) = (args.secret.verifier()?, args.secret.tolerance);
    let behaviour = Behaviour {
        status: args.status,
        fail_rate: args.fail_rate,
        delay: args.delay,
        hang: args.hang,
        retry_after: args.retry_after,
        // 200 would mean that it is valid.
        takes_get: verifier.is_some(),
    };
    let on_request = move |r: &mut Received| match &verifier {
        None => print(&line(r, "")),
        Some(verifier) => {
            let verdict = verify(verifier, r, tolerance);
            let headers: String = r.headers.iter().map(shown_header).collect();
            print(&(line(r, &verdict) + &headers));
        }
    };
    let address = receiver::start(args.bind, behaviour, on_request)
        .map_err(|e| format!("--bind {}: {}", args.bind, not_bound(&e)))?;
    settings.tell();
    // The threads that answer are not to be interrupted.
    signals::unblock();
    print(&format!("listen: on http://{address}"));
    let ip = address.ip();
    if !ip.is_unspecified() && Guard::default().check(ip).is_err() {
        info!(
            "outhook sends here only with --allow-cidr {}",
            Cidr::only(ip)
        );
    }
    loop {
        thread::park();
    }
}

/// A reader that went away is no reason to stop answering.
fn print(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// The verdict, in words. What is not valid is answered so, unless all is to fail anyway.
fn verify(verifier: &Verifier, r: &mut Received, tolerance: Duration) -> String {
    let mut headers = HeaderMap::new();
    for (name, value) in &r.headers {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
            headers.append(name, value);
        }
    }
    let url = format!("http://{}{}", r.header("host").unwrap_or_default(), r.path);
    let received = signing::Received {
        method: &r.method,
        url: &url,
        headers: &headers,
        body: &r.body,
    };
    let verdict = verifier.verify(&received, unix_ms(SystemTime::now()), tolerance);
    if verdict.is_err() && (200..300).contains(&r.status) {
        r.status = UNAUTHORIZED;
    }
    match verdict {
        Ok(how) => format!("valid ({how}) "),
        Err(reasons) => format!("NOT VALID ({}) ", reasons.join("; ")),
    }
}

fn shown_header((name, value): &(String, String)) -> String {
    let line = format!("{name}: {value}");
    format!("\n    {}", printable(&line).collect::<String>())
}

fn line(r: &Received, verdict: &str) -> String {
    let shown = String::from_utf8_lossy(&r.body[..r.body.len().min(MAX_SHOWN)]);
    let more = match r.body.len().checked_sub(MAX_SHOWN) {
        Some(rest) if rest > 0 => format!(" … and {rest} bytes more"),
        _ => String::new(),
    };
    let status = match r.status {
        0 => "hang".to_owned(),
        status => status.to_string(),
    };
    let id = r.header("webhook-id").unwrap_or("-");
    let (method, path) = (&r.method, &r.path);
    // One line a request, whatever is in it.
    let line = format!("{status} {method} {path} webhook-id={id} {verdict}{shown}{more}");
    printable(&line).collect()
}
