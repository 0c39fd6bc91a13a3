//! Records of TLS that come when none is awaited, or without end. Servers made by hand, as none
//! of today does so.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use base64::Engine;
use base64::prelude::BASE64_STANDARD as STANDARD;
use rustls::crypto::cipher::{MessageEncrypter, OutboundChunks, OutboundPlainMessage};
use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{
    ConnectionTrafficSecrets, ContentType, ProtocolVersion, ServerConfig, ServerConnection,
    SupportedCipherSuite,
};
use tempfile::TempDir;

use crate::support::message;
use crate::support::service::Outhook;

/// What a server does with a connection.
type Script = fn(&mut ServerConnection, &mut TcpStream);

/// A server that plays its scripts, one a connection, and ends.
struct Server {
    url: String,
    folder: TempDir,
    played: JoinHandle<()>,
}

fn config(folder: &TempDir) -> Arc<ServerConfig> {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into()]).unwrap();
    let pem = format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        STANDARD.encode(made.cert.der())
    );
    std::fs::write(folder.path().join("ca.pem"), pem).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites = vec![TLS13_AES_128_GCM_SHA256];
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(made.cert)], key)
        .unwrap();
    config.send_half_rtt_data = true;
    config.send_tls13_tickets = 0;
    config.enable_secret_extraction = true;
    Arc::new(config)
}

impl Server {
    fn start(scripts: Vec<Script>) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let config = config(&folder);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        let played = thread::spawn(move || {
            for script in scripts {
                let (mut stream, _) = listener.accept().unwrap();
                let mut connection = ServerConnection::new(config.clone()).unwrap();
                script(&mut connection, &mut stream);
            }
        });
        Server {
            url,
            folder,
            played,
        }
    }

    fn deliver(self, args: &[&str], ids: &[&str]) -> (i32, String) {
        let ca_file = self.folder.path().join("ca.pem");
        let ca_file = ca_file.to_str().unwrap();
        let usual = [
            "deliver",
            "--workers",
            "1",
            "--max-attempts",
            "1",
            "--ca-file",
            ca_file,
        ];
        let lines: Vec<String> = ids.iter().map(|id| message(&self.url, id, "1")).collect();
        let ended = Outhook::new(&[&usual, args].concat()).run(lines.join("\n"));
        self.played.join().unwrap();
        (ended.code, ended.err.join("\n"))
    }
}

/// Goes on until a request has come, of which the body is `1`.
fn read_request(connection: &mut ServerConnection, stream: &mut TcpStream) {
    let mut seen = Vec::new();
    while !seen.windows(5).any(|w| w == b"\r\n\r\n1") {
        connection.complete_io(stream).unwrap();
        let mut buffer = [0; 4096];
        if let Ok(n) = connection.reader().read(&mut buffer) {
            seen.extend_from_slice(&buffer[..n]);
        }
    }
}

fn send(connection: &mut ServerConnection, stream: &mut TcpStream, text: &str) {
    connection.writer().write_all(text.as_bytes()).unwrap();
    connection.complete_io(stream).unwrap();
}

const GOOD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const BAD: &str = "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n";

/// The first answer ends just where a read does, and the second stands in the same record: what
/// of it has been decrypted stands neither in the socket nor in a buffer of the exchange.
#[test]
fn a_second_answer_in_the_record_of_the_first_is_nobodys() {
    let twice: Script = |connection, stream| {
        read_request(connection, stream);
        let begin = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: ";
        let pad = "x".repeat(4096 - begin.len() - 4);
        send(connection, stream, &format!("{begin}{pad}\r\n\r\n{GOOD}"));
        let mut buffer = [0; 4096];
        while stream.read(&mut buffer).is_ok_and(|n| n > 0) {}
    };
    let refuses: Script = |connection, stream| {
        read_request(connection, stream);
        send(connection, stream, BAD);
    };
    let server = Server::start(vec![twice, refuses]);
    let (code, said) = server.deliver(&[], &["first", "second"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("delivered=1"), "{said}");
    assert!(said.contains("dead (exhausted): second"), "{said}");
}

/// As a ticket that the network has cut in two would be.
#[test]
fn part_of_a_record_on_a_new_connection_is_no_fault() {
    let cut: Script = |connection, stream| {
        while connection.wants_read() && !connection.wants_write() {
            connection.read_tls(stream).unwrap();
            connection.process_new_packets().unwrap();
        }
        connection.writer().write_all(GOOD.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        while connection.wants_write() {
            connection.write_tls(&mut bytes).unwrap();
        }
        let (begin, end) = bytes.split_at(bytes.len() - 9);
        stream.write_all(begin).unwrap();
        read_request(connection, stream);
        stream.write_all(end).unwrap();
    };
    let (code, said) = Server::start(vec![cut]).deliver(&[], &["a"]);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn session_tickets_without_end_end_with_the_timeout() {
    let flood: Script = |connection, stream| {
        read_request(connection, stream);
        let (mut sequence, mut encrypter) = take_keys(connection);
        // NewSessionTicket: lifetime, age, nonce "n", ticket "t", no extensions.
        let ticket = b"\x04\x00\x00\x0f\x00\x00\x1c\x20\x00\x00\x00\x01\x01n\x00\x01t\x00\x00";
        loop {
            let mut bytes = Vec::new();
            for _ in 0..500 {
                let record = (ContentType::Handshake, &ticket[..]);
                bytes.extend(seal(&mut *encrypter, sequence, record));
                sequence += 1;
            }
            // It ends when outhook hangs up.
            if stream.write_all(&bytes).is_err() {
                return;
            }
        }
    };
    let (code, said) = Server::start(vec![flood]).deliver(&["--timeout", "500ms"], &["a"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("no answer within 500ms"), "{said}");
}

/// Writes a record of the server's.
fn seal(
    encrypter: &mut dyn MessageEncrypter,
    sequence: u64,
    (typ, bytes): (ContentType, &[u8]),
) -> Vec<u8> {
    let message = OutboundPlainMessage {
        typ,
        version: ProtocolVersion::TLSv1_2,
        payload: OutboundChunks::Single(bytes),
    };
    encrypter.encrypt(message, sequence).unwrap().encode()
}

/// Writes as the server does, and the number of its next record. What stands in the connection
/// is not needed any more.
fn take_keys(connection: &mut ServerConnection) -> (u64, Box<dyn MessageEncrypter>) {
    let other = ServerConnection::new(config(&tempfile::tempdir().unwrap())).unwrap();
    let connection = std::mem::replace(connection, other);
    let (sequence, secrets) = connection.dangerous_extract_secrets().unwrap().tx;
    let ConnectionTrafficSecrets::Aes128Gcm { key, iv } = secrets else {
        panic!("the only suite is another");
    };
    let SupportedCipherSuite::Tls13(suite) = TLS13_AES_128_GCM_SHA256 else {
        panic!("it is of TLS 1.3");
    };
    (sequence, suite.aead_alg.encrypter(key, iv))
}

/// A ticket is remembered for an hour, and a server may have thousands of names.
#[test]
fn a_session_with_a_very_long_ticket_is_not_remembered() {
    let long: Script = |connection, stream| {
        read_request(connection, stream);
        assert_eq!(
            connection.handshake_kind(),
            Some(rustls::HandshakeKind::Full)
        );
        let (sequence, mut encrypter) = take_keys(connection);
        let ticket = [7; 40_000];
        let mut body = b"\x00\x00\x1c\x20\x00\x00\x00\x01\x01n".to_vec();
        body.extend((ticket.len() as u16).to_be_bytes());
        body.extend(ticket);
        body.extend([0, 0]);
        let mut message = vec![4];
        message.extend(&(body.len() as u32).to_be_bytes()[1..]);
        message.extend(body);
        let parts = message
            .chunks(10_000)
            .map(|part| (ContentType::Handshake, part));
        let answer = (ContentType::ApplicationData, GOOD.as_bytes());
        for (sequence, record) in (sequence..).zip(parts.chain([answer])) {
            let bytes = seal(&mut *encrypter, sequence, record);
            stream.write_all(&bytes).unwrap();
        }
        let mut buffer = [0; 4096];
        while stream.read(&mut buffer).is_ok_and(|n| n > 0) {}
    };
    let offers_none: Script = |connection, stream| {
        let mut hello = vec![0; 16 * 1024];
        let n = stream.peek(&mut hello).unwrap();
        // It would stand in the greeting.
        assert!(!hello[..n].windows(64).any(|part| part == [7; 64]));
        read_request(connection, stream);
        send(connection, stream, GOOD);
    };
    let server = Server::start(vec![long, offers_none]);
    let (code, said) = server.deliver(&[], &["first", "second"]);
    assert_eq!(code, 0, "{said}");
}
