//! Receivers behind TLS, and the certificates of both sides.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::receiver::{Request, read_request};

/// An authority that issues certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

/// A certificate, and the key of it in PKCS#8.
pub struct Identity {
    pub certificate: CertificateDer<'static>,
    pub key: Vec<u8>,
}

impl Authority {
    pub fn new() -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Authority {
            issuer: Issuer::new(params, key),
            certificate,
        }
    }

    pub fn issue(&self, name: &str) -> Identity {
        self.issue_until(name, 2090)
    }

    pub fn issue_until(&self, name: &str, year: i32) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.into()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity {
            certificate: certificate.der().clone(),
            key: key.serialize_der(),
        }
    }

    pub fn write(&self, path: &Path) {
        std::fs::write(path, pem("CERTIFICATE", &self.certificate)).unwrap();
    }
}

impl Identity {
    pub fn chain_pem(&self) -> String {
        pem("CERTIFICATE", &self.certificate)
    }

    pub fn key_pem(&self) -> String {
        pem("PRIVATE KEY", &self.key)
    }

    /// The key as RFC 5915 has it (SEC1): what PKCS#8 puts around it.
    pub fn sec1_pem(&self) -> String {
        let begin = self.key.windows(5).position(|w| w == [0x30, 0x6b, 2, 1, 1]);
        pem(
            "EC PRIVATE KEY",
            &self.key[begin.expect("a key of P-256")..],
        )
    }
}

pub fn pem(kind: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n",
        lines.join("\n")
    )
}

/// A request, and the certificate that was shown on its connection.
#[derive(Clone)]
pub struct Seen {
    pub request: Request,
    pub client: Option<CertificateDer<'static>>,
}

/// A receiver that answers whatever comes with 200, and keeps its connections.
pub struct TlsReceiver {
    pub url: String,
    body: Arc<Mutex<String>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl TlsReceiver {
    /// Shows a certificate of `server` for 127.0.0.1; asks for one of `clients`, if that is given.
    pub fn start(
        server: &Authority,
        clients: Option<&Authority>,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> TlsReceiver {
        let own = server.issue("127.0.0.1");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .unwrap();
        let config = match clients {
            None => config.with_no_client_auth(),
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                roots.add(clients.certificate.clone()).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build();
                config.with_client_cert_verifier(verifier.unwrap())
            }
        };
        let key = PrivateKeyDer::try_from(own.key).unwrap();
        let config = config.with_single_cert(vec![own.certificate], key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        let (config, seen) = (Arc::new(config), Arc::new(Mutex::new(Vec::new())));
        let body = Arc::new(Mutex::new(String::new()));
        let (all, said) = (seen.clone(), body.clone());
        thread::spawn(move || {
            for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                let connection = ServerConnection::new(config.clone()).unwrap();
                let (all, said) = (all.clone(), said.clone());
                thread::spawn(move || {
                    serve(StreamOwned::new(connection, stream), number, &all, &said)
                });
            }
        });
        TlsReceiver { url, body, seen }
    }

    /// From now on, with this body.
    pub fn say(&self, body: &str) {
        body.clone_into(&mut self.body.lock().unwrap());
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(
    stream: StreamOwned<ServerConnection, std::net::TcpStream>,
    number: usize,
    all: &Mutex<Vec<Seen>>,
    body: &Mutex<String>,
) {
    let mut reader = BufReader::new(stream);
    while reader.fill_buf().is_ok_and(|bytes| !bytes.is_empty()) {
        let Some(request) = read_request(&mut reader, number) else {
            return;
        };
        let certificates = reader.get_ref().conn.peer_certificates();
        let client = certificates.map(|all| all[0].clone().into_owned());
        all.lock().unwrap().push(Seen { request, client });
        let body = body.lock().unwrap().clone();
        let length = body.len();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
        if reader.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}
