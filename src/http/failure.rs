//! Why an exchange brought no answer: a kind, and one sentence that says what is known.

use std::fmt;
use std::io::{self, ErrorKind};
use std::time::Duration;

use ureq::Error;

use crate::delivery::FailureKind;
use crate::trust::login::Redactor;

/// An exchange without an answer.
#[derive(Debug)]
pub struct Failure {
    pub kind: FailureKind,
    pub text: String,
    /// A kept connection broke before any byte of the answer. As a rule the server had closed
    /// it while it was idle, so the request is worth sending again at once.
    pub stale: bool,
    /// It was for want of what connections that rest hold: descriptors or memory.
    pub crowded: bool,
}

impl Failure {
    pub fn new(kind: FailureKind, text: impl Into<String>) -> Failure {
        Failure {
            kind,
            text: text.into(),
            stale: false,
            crowded: false,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

/// The failure that ureq carries, if it is ours.
pub fn failure_in(e: &Error) -> Option<&Failure> {
    match e {
        Error::Other(e) => e.downcast_ref(),
        _ => None,
    }
}

/// What to record of an exchange without an answer.
pub fn kind_and_text(e: &Error) -> (FailureKind, String) {
    match (failure_in(e), e) {
        (Some(failure), _) => (failure.kind, failure.text.clone()),
        // A request that cannot even be written.
        (None, Error::Http(_) | Error::BadUri(_)) => (FailureKind::Internal, e.to_string()),
        (None, _) => (FailureKind::Protocol, e.to_string()),
    }
}

/// The same error without the login that was sent. Some servers repeat it where an answer should be, and
/// errors quote such bytes.
pub fn without(e: Error, redactor: Option<&Redactor>) -> Error {
    match redactor {
        Some(redactor) => changed(e, |f| {
            f.text = redactor.redact_in(std::mem::take(&mut f.text))
        }),
        None => e,
    }
}

/// The same error with a changed failure.
pub fn changed(e: Error, change: impl FnOnce(&mut Failure)) -> Error {
    match e {
        Error::Other(inner) => match inner.downcast::<Failure>() {
            Ok(mut failure) => {
                change(&mut failure);
                Error::Other(failure)
            }
            Err(inner) => Error::Other(inner),
        },
        e => e,
    }
}

/// A failure as ureq carries it.
pub fn other(failure: Failure) -> Error {
    Error::Other(Box::new(failure))
}

/// Whether the system had no descriptor, memory or buffer for a socket. That is our own
/// trouble, and says nothing of the endpoint.
pub fn is_own_trouble(e: &io::Error) -> bool {
    use rustix::io::Errno;
    const OURS: [Errno; 4] = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    e.raw_os_error()
        .is_some_and(|code| OURS.contains(&Errno::from_raw_os_error(code)))
}

/// Says what to do about such trouble, by what was lacking.
pub fn describe_own_trouble(e: &io::Error) -> String {
    use rustix::io::Errno;
    let help = match e.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::MFILE) => {
            "outhook may open no more files: raise the limit (ulimit -n, LimitNOFILE=), or lower \
             --workers or --max-idle-connections"
        }
        Some(Errno::NFILE) => "the whole system may open no more files: raise fs.file-max",
        Some(Errno::ADDRNOTAVAIL) => {
            "all local ports are taken: widen net.ipv4.ip_local_port_range, or lower --workers"
        }
        _ => "the system has no memory for sockets",
    };
    format!("{e}; {help}")
}

/// The failure of a connection that broke, where no more is known.
pub fn broken(e: &io::Error) -> Failure {
    Failure::new(FailureKind::Protocol, format!("the connection broke: {e}"))
}

/// The sentence for a server that speaks first: in HTTP and TLS the client does.
pub fn spoke_first(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(60)];
    format!(
        "the server sent \"{}\" before it was asked: is the port right?",
        shown.escape_ascii()
    )
}

/// Whether an error is a deadline that has passed.
pub fn is_timeout(e: &io::Error) -> bool {
    matches!(e.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock)
}

/// A duration as a person writes it: `3ms`, `1.5s`, `15s`.
pub fn short(time: Duration) -> String {
    let ms = time.as_millis();
    match ms {
        0..1000 => format!("{ms}ms"),
        _ if ms.is_multiple_of(1000) => format!("{}s", ms / 1000),
        _ => format!("{:.1}s", time.as_secs_f64()),
    }
}
