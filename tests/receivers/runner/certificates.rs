//! The certificates of the corpus: one authority that senders are told to trust, one that they
//! are not, and a server certificate of each kind, good ones and bad ones.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};

use super::case::{Certificate, Tls};

/// What the good certificate is for.
const NAMES: [&str; 5] = ["localhost", "*.tls.test", "dotted.test", "127.0.0.1", "::1"];

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

/// A chain, as a server sends it, and the key of its first certificate.
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
}

pub struct Certificates {
    root: Authority,
    intermediate: Authority,
    expired: Authority,
    stranger: Authority,
    made: Mutex<HashMap<Certificate, Arc<Identity>>>,
}

impl Certificates {
    pub fn new() -> Certificates {
        let root = Authority::root("Corpus Root");
        Certificates {
            intermediate: root.below("Corpus Intermediate", (2020, 2090)),
            expired: root.below("Corpus Old Intermediate", (2020, 2021)),
            stranger: Authority::root("Nobody's Root"),
            root,
            made: Mutex::default(),
        }
    }

    /// The certificate that senders are to trust.
    pub fn root_pem(&self) -> String {
        let text = BASE64_STANDARD.encode(&self.root.certificate);
        let lines: Vec<&str> = text
            .as_bytes()
            .chunks(64)
            .map(|line| std::str::from_utf8(line).expect("ASCII"))
            .collect();
        format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            lines.join("\n")
        )
    }

    /// A server as the case wants it.
    pub fn server(&self, tls: &Tls) -> Result<Arc<ServerConfig>, String> {
        let versions: Vec<_> = match tls.versions.is_empty() {
            true => rustls::ALL_VERSIONS.to_vec(),
            false => tls
                .versions
                .iter()
                .map(|name| version(name))
                .collect::<Result<_, _>>()?,
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&versions)
            .map_err(|e| e.to_string())?;
        let config = if tls.client_certificate {
            let mut roots = RootCertStore::empty();
            roots
                .add(self.root.certificate.clone())
                .map_err(|e| e.to_string())?;
            let verifier =
                WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build();
            config.with_client_cert_verifier(verifier.map_err(|e| e.to_string())?)
        } else {
            config.with_no_client_auth()
        };
        let identity = self.identity(tls.certificate);
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.key.serialize_der()));
        let mut config = config
            .with_single_cert(identity.chain.clone(), key)
            .map_err(|e| e.to_string())?;
        config.alpn_protocols = tls
            .alpn
            .iter()
            .map(|name| name.clone().into_bytes())
            .collect();
        config.session_storage = ServerSessionMemoryCache::new(64);
        if tls.forgets {
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(config.into())
    }

    fn identity(&self, kind: Certificate) -> Arc<Identity> {
        let mut made = self.made.lock().expect("no panic while it was locked");
        made.entry(kind)
            .or_insert_with(|| self.make(kind).into())
            .clone()
    }

    fn make(&self, kind: Certificate) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let mut params = leaf(&NAMES);
        match kind {
            Certificate::Expired => params.not_after = date_time_ymd(2021, 3, 1),
            Certificate::NotYetValid => params.not_before = date_time_ymd(2089, 6, 1),
            Certificate::WrongName => params = leaf(&["shop.example", "www.shop.example"]),
            Certificate::CommonNameOnly => {
                params = leaf(&[]);
                params
                    .distinguished_name
                    .push(DnType::CommonName, "localhost");
            }
            Certificate::SelfSignedAuthority => {
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            }
            _ => {}
        }
        if matches!(
            kind,
            Certificate::SelfSigned | Certificate::SelfSignedAuthority
        ) {
            let own = params.self_signed(&key).expect("a certificate");
            return Identity {
                chain: vec![own.der().clone()],
                key,
            };
        }
        let (signer, rest) = match kind {
            Certificate::UnknownIssuer => (&self.stranger, vec![]),
            Certificate::UnknownIssuerWithRoot => (&self.stranger, vec![&self.stranger]),
            Certificate::Chain => (&self.intermediate, vec![&self.intermediate]),
            Certificate::ShuffledChain => {
                (&self.intermediate, vec![&self.root, &self.intermediate])
            }
            Certificate::MissingIntermediate => (&self.intermediate, vec![]),
            Certificate::ExpiredIntermediate => (&self.expired, vec![&self.expired]),
            _ => (&self.root, vec![]),
        };
        let own = params
            .signed_by(&key, &signer.issuer)
            .expect("a certificate");
        let rest = rest
            .into_iter()
            .map(|authority| authority.certificate.clone());
        let chain = std::iter::once(own.der().clone()).chain(rest).collect();
        Identity { chain, key }
    }
}

impl Authority {
    fn root(name: &str) -> Authority {
        let (params, key) = (
            authority(name, (2020, 2090)),
            KeyPair::generate().expect("a key"),
        );
        let certificate = params
            .self_signed(&key)
            .expect("a certificate")
            .der()
            .clone();
        Authority {
            issuer: Issuer::new(params, key),
            certificate,
        }
    }

    fn below(&self, name: &str, years: (i32, i32)) -> Authority {
        let (params, key) = (authority(name, years), KeyPair::generate().expect("a key"));
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("a certificate")
            .der()
            .clone();
        Authority {
            issuer: Issuer::new(params, key),
            certificate,
        }
    }
}

fn authority(name: &str, years: (i32, i32)) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(years.0, 1, 1);
    params.not_after = date_time_ymd(years.1, 1, 1);
    params
}

fn leaf(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).into()).collect();
    let mut params = CertificateParams::new(names).expect("good names");
    params.distinguished_name = DistinguishedName::new();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2090, 1, 1);
    params
}

fn version(name: &str) -> Result<&'static rustls::SupportedProtocolVersion, String> {
    match name {
        "1.2" => Ok(&rustls::version::TLS12),
        "1.3" => Ok(&rustls::version::TLS13),
        _ => Err(format!(
            "{name:?} is no version of TLS that can be served: 1.2, 1.3"
        )),
    }
}
