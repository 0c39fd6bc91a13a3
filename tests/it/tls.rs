//! Whom outhook trusts, by its options and by a rule. What goes wrong with TLS, and how it is
//! said, stands in `tests/receivers/tls`.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use base64::Engine;
use base64::prelude::BASE64_STANDARD as STANDARD;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;

use crate::support::message;
use crate::support::service::Outhook;

/// A receiver behind a certificate that it has signed itself, for 127.0.0.1.
struct Secret {
    url: String,
    folder: TempDir,
}

impl Secret {
    fn start() -> Secret {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let named = made.cert.der().clone();
        Secret::serve(vec![made.cert.into()], key, &named)
    }

    /// Shows `chain`; the certificate to trust is `named`.
    fn serve(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        named: &CertificateDer<'_>,
    ) -> Secret {
        let folder = tempfile::tempdir().unwrap();
        let pem = format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            STANDARD.encode(named)
        );
        std::fs::write(folder.path().join("ca.pem"), pem).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        let config = Arc::new(config);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let connection = ServerConnection::new(config.clone()).unwrap();
                answer(StreamOwned::new(connection, stream));
            }
        });
        Secret { url, folder }
    }

    fn certificate(&self) -> String {
        let path: PathBuf = self.folder.path().join("ca.pem");
        path.to_str().unwrap().to_owned()
    }

    /// What `deliver` says of one message, and its exit code.
    fn deliver(&self, args: &[&str]) -> (i32, String) {
        let args = [&["deliver", "--max-attempts", "1"], args].concat();
        let ended = Outhook::new(&args).run(message(&self.url, "a", "1"));
        (ended.code, ended.err.join("\n"))
    }
}

/// Answers one request on each connection.
fn answer(mut stream: StreamOwned<ServerConnection, std::net::TcpStream>) {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    while !seen.windows(5).any(|w| w == b"\r\n\r\n1") {
        match stream.read(&mut buffer) {
            Ok(n @ 1..) => seen.extend_from_slice(&buffer[..n]),
            _ => return,
        }
    }
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
}

#[test]
fn nobody_is_trusted_who_is_not_named() {
    let secret = Secret::start();
    let (code, said) = secret.deliver(&[]);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("self-signed") && said.contains("--ca-file"),
        "{said}"
    );
}

#[test]
fn the_option_names_whom_to_trust() {
    let secret = Secret::start();
    for more in [&[][..], &["--ca-only"]] {
        let (code, said) = secret.deliver(&[&["--ca-file", &*secret.certificate()], more].concat());
        assert_eq!(code, 0, "{said}");
    }
}

#[test]
fn a_rule_names_whom_to_trust_at_its_endpoint() {
    let secret = Secret::start();
    let rules = secret.folder.path().join("endpoints.toml");
    let rule = |ca_file: &str| {
        let text = format!(
            "[[endpoint]]\nurl = \"{}\"\nca_file = \"{ca_file}\"\n",
            secret.url
        );
        std::fs::write(&rules, text).unwrap();
        secret.deliver(&["--endpoints", rules.to_str().unwrap()])
    };
    let (code, said) = rule(&secret.certificate());
    assert_eq!(code, 0, "{said}");
    let (code, said) = rule("/not/there.pem");
    assert_eq!(code, 2, "{said}");
    assert!(
        said.contains("endpoint 1: ca_file /not/there.pem: "),
        "{said}"
    );
}

/// A certificate that is no authority's vouches for its own server alone: whoever has its key
/// could be everybody otherwise.
#[test]
fn a_server_that_is_trusted_cannot_vouch_for_others() {
    use rcgen::{CertificateParams, IsCa, Issuer, KeyPair};
    for (is_ca, code) in [
        (IsCa::NoCa, 1),
        (IsCa::ExplicitNoCa, 1),
        (IsCa::Ca(rcgen::BasicConstraints::Unconstrained), 0),
    ] {
        let mut named = CertificateParams::new(vec!["customer.example".into()]).unwrap();
        named.is_ca = is_ca;
        let named_key = KeyPair::generate().unwrap();
        let named_certificate = named.self_signed(&named_key).unwrap();
        let issuer = Issuer::new(named, named_key);
        let key = KeyPair::generate().unwrap();
        let other = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
        let other = other.signed_by(&key, &issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let server = Secret::serve(vec![other.into()], key, named_certificate.der());
        for more in [&[][..], &["--ca-only"]] {
            let named = server.certificate();
            let (got, said) = server.deliver(&[&["--ca-file", &*named], more].concat());
            assert_eq!(got, code, "{said}");
        }
    }
}
