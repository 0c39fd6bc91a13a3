//! A case: one receiver, as its file in `tests/receivers/` describes it.
//!
//! Pure but for [`read_all`]. `README.md` beside the files documents the format; a file that
//! does not keep to it is refused with its name and the reason.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

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

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    pub steps: Vec<Step>,
    /// The steps begin again until the sender closes.
    #[serde(default)]
    pub again: bool,
}

/// One step; exactly one of its verbs is set.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    pub read: Option<Read>,
    pub send: Option<String>,
    pub send_hex: Option<String>,
    /// A whole small answer with this status.
    pub answer: Option<u16>,
    pub wait: Option<Wait>,
    /// Waits until so many requests have been read on all connections.
    pub requests: Option<usize>,
    pub pause: Option<String>,
    /// Lets the sender have the next message.
    pub next: Option<bool>,
    pub close: Option<Close>,
    /// With `send`: how often, at which distance, and how many bytes in each packet.
    pub times: Option<usize>,
    pub every: Option<String>,
    pub pieces: Option<usize>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Read {
    What(ReadWhat),
    Bytes(usize),
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReadWhat {
    /// A head and its body.
    Request,
    Head,
    /// Whatever comes first.
    Some,
    /// Until the sender closes.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wait {
    /// All messages that the sender has are delivered or given up.
    Settled,
    /// The sender's kernel has all that was sent here.
    Arrived,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Close {
    Fin,
    Reset,
    /// FIN, but it goes on reading.
    Half,
    /// TLS's close_notify, then FIN.
    Notify,
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

impl Step {
    fn check(&self) -> Result<(), String> {
        let verbs = [
            self.read.is_some(),
            self.send.is_some(),
            self.send_hex.is_some(),
            self.answer.is_some(),
            self.wait.is_some(),
            self.requests.is_some(),
            self.pause.is_some(),
            self.next.is_some(),
            self.close.is_some(),
        ];
        if verbs.iter().filter(|is| **is).count() != 1 {
            return Err(format!("a step has one verb: {self:?}"));
        }
        for text in [&self.pause, &self.every].into_iter().flatten() {
            duration(text)?;
        }
        self.bytes().map(|_| ())
    }

    /// What one round of a `send`, `send_hex` or `answer` sends.
    pub fn bytes(&self) -> Result<Option<Vec<u8>>, String> {
        if let Some(text) = &self.send {
            return latin1(text).map(Some);
        }
        if let Some(text) = &self.send_hex {
            return hex(text).map(Some);
        }
        let head = |status| format!("HTTP/1.1 {status} Corpus\r\nContent-Length: 0\r\n\r\n");
        Ok(self.answer.map(|status| head(status).into_bytes()))
    }
}

/// In these files a character is the byte of its number, so that any bytes can be written.
pub fn latin1(text: &str) -> Result<Vec<u8>, String> {
    let byte = |c: char| {
        u8::try_from(u32::from(c))
            .map_err(|_| format!("{c:?} is no byte: write its UTF-8 as \\u00XX each"))
    };
    text.chars().map(byte).collect()
}

fn hex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<u32> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| {
            c.to_digit(16)
                .ok_or_else(|| format!("{c:?} is no hexadecimal digit"))
        })
        .collect::<Result<_, _>>()?;
    if digits.len() % 2 != 0 {
        return Err("half a byte at the end of send_hex".into());
    }
    Ok(digits
        .chunks(2)
        .map(|pair| (pair[0] * 16 + pair[1]) as u8)
        .collect())
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
