//! `outhook verify`: whether a request is signed as it should be, and why not.

use std::fs;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::cli::args::verifier::SecretArgs;
use crate::cli::exit::exit_code;
use crate::cli::startup::rules;
use crate::message::endpoint::Endpoint;
use crate::message::timestamp::{parse_rfc3339, unix_ms};
use crate::trust::signing::verify::{Received, Verifier};

#[derive(Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    pub secret: SecretArgs,
    /// Take scheme and keys from this endpoints file: those of its rule for --url
    #[arg(long, value_name = "FILE", requires = "url", conflicts_with_all = ["secret", "secret_file"])]
    pub endpoints: Option<PathBuf>,
    /// A header of the request, as 'Name: value'; repeatable
    #[arg(long = "header", value_name = "HEADER")]
    pub headers: Vec<String>,
    /// File with the headers, one a line; a request line before them is allowed
    #[arg(long, value_name = "FILE")]
    pub headers_file: Option<PathBuf>,
    /// File with the body, byte for byte [default: standard input]
    #[arg(long, value_name = "FILE")]
    pub body_file: Option<PathBuf>,
    /// URL of the request, for schemes that sign it
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Method of the request, for schemes that sign it
    #[arg(long, value_name = "METHOD", default_value = "POST")]
    pub method: String,
    /// Time of arrival, in RFC 3339 [default: now]
    #[arg(long, value_name = "TIME", value_parser = at)]
    pub at: Option<u64>,
}

impl VerifyArgs {
    /// Unix milliseconds.
    pub fn now(&self) -> u64 {
        self.at.unwrap_or_else(|| unix_ms(SystemTime::now()))
    }
}

fn at(text: &str) -> Result<u64, String> {
    parse_rfc3339(text.trim())
        .ok_or_else(|| "it must be a time in RFC 3339, such as 2027-01-31T12:00:00Z".into())
}

/// The error is a bad configuration, in one line.
pub fn run(args: &VerifyArgs) -> Result<ExitCode, String> {
    let verifier = verifier(args)?;
    let mut method = args.method.clone();
    let headers = headers(args, &mut method)?;
    let body = body(args)?;
    let url = match &args.url {
        Some(url) => Endpoint::parse(url)
            .map_err(|e| format!("--url {url}: {e}"))?
            .url
            .to_string(),
        None => String::new(),
    };
    let received = Received {
        method: &method,
        url: &url,
        headers: &headers,
        body: &body,
    };
    let verdict = verifier.verify(&received, args.now(), args.secret.tolerance);
    let lines: Vec<String> = match &verdict {
        Ok(how) => vec![format!("valid: {how}\n")],
        Err(reasons) => reasons
            .iter()
            .map(|r| format!("not valid: {r}\n"))
            .collect(),
    };
    // The exit code is the verdict, also where nobody reads the reasons.
    let mut out = io::stdout().lock();
    let _ = out
        .write_all(lines.concat().as_bytes())
        .and_then(|()| out.flush());
    Ok(exit_code(verdict.is_ok()))
}

fn verifier(args: &VerifyArgs) -> Result<Verifier, String> {
    if let (Some(path), Some(url)) = (&args.endpoints, &args.url) {
        return match rules::signing_for(path, url)? {
            Some(signing) => Ok(Verifier::of_signing(&signing)),
            None => Err(format!(
                "--endpoints {}: it has no signing settings for {url}",
                path.display()
            )),
        };
    }
    let verifier = args.secret.verifier()?;
    verifier.ok_or_else(|| "one of --secret, --secret-file and --endpoints must be given".into())
}

fn headers(args: &VerifyArgs, method: &mut String) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    let mut lines: Vec<String> = Vec::new();
    if let Some(path) = &args.headers_file {
        let shown = path.display();
        let text = fs::read_to_string(path)
            .map_err(|e| format!("--headers-file {shown}: {e}; it must be a readable file"))?;
        lines.extend(request_lines(&text).map(str::to_owned));
        if let Some((first, _)) = lines.first().and_then(|line| line.split_once(' '))
            && lines[0].contains(" HTTP/")
        {
            *method = first.to_owned();
            lines.remove(0);
        }
    }
    lines.extend(args.headers.iter().cloned());
    for line in lines {
        // HTTP/2 has no request line.
        if let Some((name, value)) = line.strip_prefix(':').and_then(|l| l.split_once(':')) {
            match (name, HeaderValue::from_str(value.trim())) {
                ("method", _) => *method = value.trim().to_owned(),
                ("authority", Ok(value)) => drop(headers.insert("host", value)),
                _ => {}
            }
            continue;
        }
        let wrong = || {
            let name: String = line.chars().take_while(|c| *c != ':').take(64).collect();
            format!("{name:?} is no header: it must be as 'Name: value'")
        };
        let (name, value) = line.split_once(':').ok_or_else(wrong)?;
        let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| wrong())?;
        let value = HeaderValue::from_str(value.trim()).map_err(|_| wrong())?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// The lines of the head of a request: as they are, or as `curl -v` shows them among others.
fn request_lines(text: &str) -> impl Iterator<Item = &str> {
    let is_of_curl = text.lines().any(|line| line.starts_with("> "));
    let all = text.lines().filter_map(move |line| match is_of_curl {
        true => line.strip_prefix('>'),
        false => Some(line),
    });
    all.map(str::trim).filter(|line| !line.is_empty())
}

fn body(args: &VerifyArgs) -> Result<Vec<u8>, String> {
    let Some(path) = &args.body_file else {
        let mut body = Vec::new();
        let read = io::stdin().lock().read_to_end(&mut body);
        return read
            .map(|_| body)
            .map_err(|e| format!("standard input: {e}"));
    };
    fs::read(path).map_err(|e| {
        format!(
            "--body-file {}: {e}; it must be a readable file",
            path.display()
        )
    })
}
