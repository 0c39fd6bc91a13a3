//! `outhook verify`: whether a request is signed as it should be, and why not.

use std::fs;
use std::io::{self, Read, Write};
use std::process::ExitCode;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{exit_code, rules};
use crate::cli::VerifyArgs;
use crate::message::endpoint::Endpoint;
use crate::trust::signing::verify::{Received, Verifier};

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
