//! The TLS receivers' side of trust: an authority, one chain as public servers send it (the
//! server's certificate and an intermediate's), and the configurations that show it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::{ServerConfig, SupportedProtocolVersion};

use super::Result;
use super::sink::HOSTS;

pub struct Authority {
    /// Its certificate, for `--ca-file`.
    pub file: PathBuf,
    chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
}

impl Authority {
    /// Makes all certificates. The file is written to `dir`.
    pub fn new(dir: &Path) -> Result<Authority> {
        let root = CertifiedIssuer::self_signed(authority("root")?, KeyPair::generate()?)?;
        let middle = authority("intermediate")?;
        let middle = CertifiedIssuer::signed_by(middle, KeyPair::generate()?, &root)?;
        let key = KeyPair::generate()?;
        let leaf = CertificateParams::new(HOSTS.map(String::from))?.signed_by(&key, &middle)?;
        let file = dir.join("ca.pem");
        let text = STANDARD.encode(root.der());
        let pem = format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
        fs::write(&file, pem)?;
        Ok(Authority {
            file,
            chain: vec![leaf.into(), middle.der().clone()],
            key,
        })
    }

    /// A server of one version of TLS. Without `resumption`, each handshake is a full one.
    pub fn server(
        &self,
        version: &'static SupportedProtocolVersion,
        resumption: bool,
    ) -> Result<Arc<ServerConfig>> {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let provider = Arc::new(ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])?
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Most servers keep no sessions, but give out tickets.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        match resumption {
            true => config.ticketer = ring::Ticketer::new()?,
            false => config.send_tls13_tickets = 0,
        }
        Ok(Arc::new(config))
    }
}

fn authority(name: &str) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}
