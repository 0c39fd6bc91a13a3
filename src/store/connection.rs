//! One connection to a Redis server: the crate's commands and parser over a [`Socket`] of ours.
//!
//! The crate's own connection reads from a socket with a timeout, which a stopped process finds
//! broken (see `socket.rs`), and gives nobody its file descriptor. All that it adds to commands
//! and parser is small: send, read as many answers as were asked for.
//!
//! After any I/O error the connection is broken for good, as a late answer would be taken for
//! that of the next question. A [`super::Subscription`] asks no such questions, and reads on.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::{
    Cmd, ConnectionAddr, ConnectionLike, ErrorKind, IntoConnectionInfo, Parser, RedisError,
    RedisResult, Value, cmd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::error::foreign;
use super::socket::Socket;

/// So a server answers PING, of all commands that write nothing, while it cannot save and takes no
/// writes for that. It is there, and subscriptions stand.
pub(super) const REFUSES_PING: &str = "MISCONF";

/// A server, and how to get in.
#[derive(Clone)]
pub(super) struct Server {
    pub at: At,
    pub tls: Option<Arc<ClientConfig>>,
    pub username: Option<String>,
    pub password: Option<String>,
    pub db: i64,
}

#[derive(Clone)]
pub(super) enum At {
    Tcp(String, u16),
    Unix(PathBuf),
}

/// See the module's header.
pub struct Connection {
    stream: Stream,
    parser: Parser,
    db: i64,
    is_broken: bool,
}

enum Stream {
    Plain(Socket),
    Tls(Box<StreamOwned<ClientConnection, Socket>>),
}

impl Server {
    /// Reads a `redis://`, `rediss://` or `unix://` URL; `None` when it is not one.
    /// `ca`: the PEM certificates to trust for TLS, instead of Mozilla's.
    pub fn parse(url: &str, ca: Option<&[u8]>) -> Result<Option<Server>, String> {
        let plain = url
            .strip_prefix("rediss://")
            .map(|r| format!("redis://{r}"));
        let is_tls = plain.is_some();
        let Ok(info) = plain.as_deref().unwrap_or(url).into_connection_info() else {
            return Ok(None);
        };
        let at = match info.addr() {
            ConnectionAddr::Tcp(host, port) if *port != 0 => At::Tcp(host.clone(), *port),
            ConnectionAddr::Unix(path) => At::Unix(path.clone()),
            _ => return Ok(None),
        };
        let tls = match (is_tls, ca) {
            (true, ca) => Some(Arc::new(tls_config(ca)?)),
            (false, None) => None,
            (false, Some(_)) => return Err("it is for a rediss:// address".into()),
        };
        let settings = info.redis_settings();
        Ok(Some(Server {
            at,
            tls,
            username: settings.username().map(str::to_owned),
            password: settings.password().map(str::to_owned),
            db: settings.db(),
        }))
    }

    /// The same way in, at another address.
    pub fn at(&self, host: String, port: u16) -> Server {
        let at = At::Tcp(host, port);
        Server { at, ..self.clone() }
    }

    /// Connects and logs in. Each step, and each later wait for an answer, gets `limit`.
    pub fn connect(&self, limit: Duration) -> RedisResult<Connection> {
        let socket = match &self.at {
            At::Tcp(host, port) => Socket::connect_tcp(host, *port, limit)?,
            At::Unix(path) => Socket::connect_unix(path, limit)?,
        };
        let stream = match (&self.tls, &self.at) {
            (Some(config), At::Tcp(host, _)) => {
                let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
                let tls = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
                Stream::Tls(Box::new(StreamOwned::new(tls, socket)))
            }
            _ => Stream::Plain(socket),
        };
        let mut connection = Connection {
            stream,
            parser: Parser::new(),
            db: self.db,
            is_broken: false,
        };
        self.log_in(&mut connection)?;
        Ok(connection)
    }

    fn log_in(&self, connection: &mut Connection) -> RedisResult<()> {
        if let Some(password) = &self.password {
            let mut auth = cmd("AUTH");
            auth.arg(&self.username).arg(password);
            auth.query::<()>(connection).map_err(|e| match e.code() {
                // One without a password calls it an ERR among others.
                Some("ERR") => {
                    let what = "the server does not take the password";
                    RedisError::from((ErrorKind::AuthenticationFailed, what, e.to_string()))
                }
                _ => e,
            })?;
        }
        match self.db {
            0 => Ok(()),
            db => cmd("SELECT").arg(db).query(connection),
        }
    }
}

fn tls_config(ca: Option<&[u8]>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    match ca {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|e| e.to_string())?;
                roots.add(certificate).map_err(|e| e.to_string())?;
            }
        }
    }
    let config = ClientConfig::builder().with_root_certificates(roots);
    Ok(config.with_no_client_auth())
}

impl Connection {
    /// How long an answer is waited for from now on: the wait for each part of it, as a large
    /// one may take its time.
    pub fn set_read_limit(&mut self, limit: Duration) {
        self.socket().read_limit = limit;
    }

    /// The same for room to send.
    pub fn set_write_limit(&mut self, limit: Duration) {
        self.socket().write_limit = limit;
    }

    /// All that the server had sent by then has been read.
    pub(super) fn empty_at(&self) -> Instant {
        match &self.stream {
            Stream::Plain(socket) => socket.empty_at(),
            Stream::Tls(tls) => tls.sock.empty_at(),
        }
    }

    /// Sends a command, and does not wait for its answer.
    pub(super) fn send(&mut self, command: &Cmd) -> RedisResult<()> {
        self.send_packed(&command.get_packed_command())
    }

    /// Reads one value. One that had come in part when the time was over is gone on with next.
    pub(super) fn receive(&mut self) -> RedisResult<Value> {
        let value = match &mut self.stream {
            Stream::Plain(socket) => self.parser.parse_value(socket),
            Stream::Tls(tls) => self.parser.parse_value(tls),
        };
        value.map_err(|e| match e.kind() {
            // The crate tells where its grammar ended, in several lines.
            ErrorKind::Parse => {
                let answer = foreign(self.socket().first());
                RedisError::from((ErrorKind::Parse, "what answers is not Redis", answer))
            }
            _ => e,
        })
    }

    fn socket(&mut self) -> &mut Socket {
        match &mut self.stream {
            Stream::Plain(socket) => socket,
            Stream::Tls(tls) => &mut tls.sock,
        }
    }

    fn send_packed(&mut self, bytes: &[u8]) -> RedisResult<()> {
        let sent = match &mut self.stream {
            Stream::Plain(socket) => socket.write_all(bytes),
            Stream::Tls(tls) => tls.write_all(bytes).and_then(|()| tls.flush()),
        };
        self.is_broken |= sent.is_err();
        Ok(sent?)
    }

    /// Sends, and reads so many answers.
    fn ask(&mut self, bytes: &[u8], answers: usize) -> RedisResult<Vec<Value>> {
        if self.is_broken {
            return Err(io::Error::from(io::ErrorKind::NotConnected).into());
        }
        self.send_packed(bytes)?;
        let values: RedisResult<Vec<Value>> = (0..answers).map(|_| self.receive()).collect();
        // What the server refuses is a value too. An error here means that an answer is missing.
        self.is_broken |= values.is_err();
        values
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command(&mut self, command: &[u8]) -> RedisResult<Value> {
        let mut values = self.ask(command, 1)?;
        Ok(values.pop().expect("as many as were asked for"))
    }

    /// The first `offset` answers only say that a command was queued, or why it was not.
    fn req_packed_commands(
        &mut self,
        commands: &[u8],
        offset: usize,
        count: usize,
    ) -> RedisResult<Vec<Value>> {
        let mut values = self.ask(commands, offset + count)?;
        let wanted = values.split_off(offset);
        for value in values {
            if let Value::ServerError(refused) = value {
                return Err(refused.into());
            }
        }
        Ok(wanted)
    }

    fn get_db(&self) -> i64 {
        self.db
    }

    fn check_connection(&mut self) -> bool {
        cmd("PING").query::<()>(self).is_ok()
    }

    fn is_open(&self) -> bool {
        !self.is_broken
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixListener;

    use super::*;

    /// A connection, and the server's end of it.
    fn pair() -> (Connection, std::os::unix::net::UnixStream) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let url = format!("unix://{}", path.display());
        let server = Server::parse(&url, None).unwrap().unwrap();
        let connection = server.connect(Duration::ZERO).unwrap();
        (connection, listener.accept().unwrap().0)
    }

    #[test]
    fn a_value_that_comes_in_parts_is_whole_however_often_the_wait_is_over() {
        let (mut connection, mut server) = pair();
        let data = "x".repeat(40_000);
        let text = format!("*2\r\n$7\r\nmessage\r\n${}\r\n{data}\r\n:7\r\n", data.len());
        for part in text.as_bytes().chunks(9_001) {
            let early = connection.receive();
            assert!(early.is_err_and(|e| e.is_timeout()));
            server.write_all(part).unwrap();
        }
        let value = connection.receive().unwrap();
        let bulk = |text: &str| Value::BulkString(text.into());
        assert_eq!(value, Value::Array(vec![bulk("message"), bulk(&data)]));
        assert_eq!(connection.receive().unwrap(), Value::Int(7));
    }

    #[test]
    fn an_answer_that_came_too_late_is_not_taken_for_the_next() {
        let (mut connection, mut server) = pair();
        assert!(cmd("GET").arg("a").query::<()>(&mut connection).is_err());
        assert!(!connection.is_open());
        server.write_all(b"+late\r\n").unwrap();
        let next: RedisResult<String> = cmd("GET").arg("b").query(&mut connection);
        assert!(next.is_err_and(|e| e.is_io_error()));
    }

    #[test]
    fn of_a_transaction_the_first_refusal_is_told() {
        let (mut connection, mut server) = pair();
        let answers = b"+OK\r\n+QUEUED\r\n-NOPERM no\r\n-EXECABORT because\r\n";
        server.write_all(answers).unwrap();
        let mut request = redis::pipe();
        request.atomic().cmd("A").ignore().cmd("B").ignore();
        let refused = request.query::<()>(&mut connection).unwrap_err();
        assert_eq!(refused.code(), Some("NOPERM"));
        assert!(connection.is_open(), "the server is fine");
    }
}
