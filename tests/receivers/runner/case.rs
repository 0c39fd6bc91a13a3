//! A case: one receiver, as its file in `tests/receivers/` describes it.
//!
//! Pure but for [`read_all`]. `README.md` beside the files documents the format; a file that
//! does not keep to it is refused with its name and the reason.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::script::Connection;

/// One receiver: what it does, what is sent to it, and what is right.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The file's path below `tests/receivers/`, without its ending.
    #[serde(skip)]
    pub name: String,
    pub about: String,
    pub right: String,
    pub seen: Vec<String>,
    #[serde(default)]
    pub scheme: Scheme,
    pub tls: Option<Tls>,
    /// Where it listens, all with one port.
    #[serde(default = "loopback")]
    pub listen: Vec<String>,
    /// Addresses at which that port drops every SYN.
    #[serde(default)]
    pub drops: Vec<String>,
    /// Addresses at which that port refuses connections.
    #[serde(default)]
    pub refuses: Vec<String>,
    /// The size of its receive buffer, to make it slow at taking what is sent.
    pub receive_buffer: Option<usize>,
    /// Names that the corpus's DNS server knows for this case.
    #[serde(default)]
    pub name_server: Vec<Name>,
    /// Options of outhook; a case with options gets a process of its own.
    #[serde(default)]
    pub options: Vec<String>,
    /// All messages are sent at once.
    #[serde(default)]
    pub together: bool,
    #[serde(default)]
    pub connection: Vec<Connection>,
    pub message: Vec<Message>,
    #[serde(default)]
    pub request: Vec<Request>,
    /// Runs only where the kernel has IPv6.
    #[serde(default)]
    pub needs_ipv6: bool,
    /// How many connections and requests the receiver must have seen.
    pub connections: Option<usize>,
    pub requests: Option<usize>,
    /// Why curl cannot be compared.
    pub skip_curl: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    #[default]
    Http,
    Https,
}

impl Scheme {
    pub fn text(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

/// A TLS server; an `https` case without one gets the bytes of the client as they are.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    #[serde(default)]
    pub certificate: Certificate,
    /// `"1.2"`, `"1.3"`; both if it is empty.
    #[serde(default)]
    pub versions: Vec<String>,
    #[serde(default)]
    pub alpn: Vec<String>,
    #[serde(default)]
    pub client_certificate: bool,
    /// The server name that the client must send, `"none"` if it must not.
    pub server_name: Option<String>,
    /// How many of the connections must have resumed a session.
    pub resumed: Option<usize>,
    /// It gives out no session tickets and remembers no sessions.
    #[serde(default)]
    pub forgets: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Certificate {
    #[default]
    Good,
    Expired,
    NotYetValid,
    WrongName,
    CommonNameOnly,
    SelfSigned,
    /// Self-signed and marked as an authority, as `openssl req -x509` makes it.
    SelfSignedAuthority,
    UnknownIssuer,
    UnknownIssuerWithRoot,
    Chain,
    /// The chain in the wrong order, and with the root.
    ShuffledChain,
    MissingIntermediate,
    ExpiredIntermediate,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Name {
    pub name: String,
    #[serde(default)]
    pub addresses: Vec<String>,
    #[serde(default = "default_ttl")]
    pub ttl: u32,
    pub alias: Option<String>,
    #[serde(default)]
    pub fault: NameFault,
    /// So many questions are not answered at first.
    #[serde(default)]
    pub lost: usize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NameFault {
    #[default]
    None,
    NoSuchName,
    ServerFailure,
    Refused,
    Silent,
    /// AAAA questions are never answered.
    SilentAaaa,
    /// AAAA questions are answered with a failure.
    FailingAaaa,
    /// The answer over UDP is cut; the whole one comes over TCP.
    Truncated,
    /// The first answer has another id than the question, and a wrong address.
    ForgedFirst,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    pub url: Option<String>,
    pub data: Option<String>,
    /// `data` is a string of so many characters.
    pub data_bytes: Option<usize>,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    pub timeout: Option<String>,
    pub max_attempts: Option<u32>,
    pub delivered: Option<u16>,
    pub failed: Option<Failed>,
    pub refused: Option<String>,
    /// What the error must hold, each; `a|b`: one of these.
    #[serde(default)]
    pub says: Vec<String>,
    /// What it must not hold.
    #[serde(default)]
    pub never_says: Vec<String>,
    pub attempts: Option<u32>,
    pub within: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Failed {
    Status(u16),
    Kind(String),
}

/// What the n-th request must look like.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub line: Option<String>,
    #[serde(default)]
    pub has: Vec<String>,
    #[serde(default)]
    pub lacks: Vec<String>,
    pub body: Option<String>,
}

fn loopback() -> Vec<String> {
    vec!["127.0.0.1".into()]
}

fn default_ttl() -> u32 {
    30
}

impl Case {
    /// Whether its script says when the next message is sent.
    pub fn is_paced(&self) -> bool {
        let mut steps = self.connection.iter().flat_map(|c| &c.steps);
        steps.any(|step| step.next.is_some())
    }

    /// The URL of a message, for a receiver at this port.
    pub fn url(&self, message: &Message, port: u16) -> String {
        let own = message.url.as_deref();
        let url = own.map_or(
            format!("{}://127.0.0.1:{{port}}/", self.scheme.text()),
            str::to_owned,
        );
        url.replace("{port}", &port.to_string())
    }

    fn check(&self) -> Result<(), String> {
        if self.about.is_empty() || self.right.is_empty() || self.message.is_empty() {
            return Err("about, right and one [[message]] at least are needed".into());
        }
        for (n, message) in self.message.iter().enumerate() {
            let ends = [
                message.delivered.is_some(),
                message.failed.is_some(),
                message.refused.is_some(),
            ];
            if ends.iter().filter(|is| **is).count() != 1 {
                return Err(format!(
                    "message {}: one of delivered, failed, refused",
                    n + 1
                ));
            }
            for text in [&message.timeout, &message.within].into_iter().flatten() {
                duration(text)?;
            }
        }
        for step in self.connection.iter().flat_map(|c| &c.steps) {
            step.check()?;
        }
        Ok(())
    }
}

pub fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|e| format!("{text:?}: {e}"))
}

/// All cases below this folder, in the order of their names.
pub fn read_all(root: &Path) -> Result<Vec<Case>, String> {
    let mut cases = Vec::new();
    read_folder(root, root, &mut cases)?;
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(cases)
}

fn read_folder(root: &Path, folder: &Path, cases: &mut Vec<Case>) -> Result<(), String> {
    let told = |path: &Path, e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    for entry in fs::read_dir(folder).map_err(|e| told(folder, &e))? {
        let path = entry.map_err(|e| told(folder, &e))?.path();
        if path.is_dir() {
            read_folder(root, &path, cases)?;
        } else if path.extension().is_some_and(|ending| ending == "toml") {
            let text = fs::read_to_string(&path).map_err(|e| told(&path, &e))?;
            let mut case: Case = toml::from_str(&text).map_err(|e| told(&path, &e))?;
            let name = path.strip_prefix(root).expect("a path below the root");
            case.name = name.with_extension("").display().to_string();
            case.check().map_err(|e| told(&path, &e))?;
            cases.push(case);
        }
    }
    Ok(())
}
