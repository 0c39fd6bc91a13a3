//! Says what exactly is wrong with a certificate, in a sentence for the person who has to mend it. Pure.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, Error, OtherError};

/// More names of a certificate are not written out.
const NAMES_SHOWN: usize = 6;

/// What is wrong with a certificate.
#[derive(Debug)]
struct Refusal(String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

/// The error that refuses a certificate: `e`, as a sentence.
pub fn refuse(
    e: &Error,
    certificate: &CertificateDer<'_>,
    chain: &[CertificateDer<'_>],
    name: &ServerName<'_>,
) -> Error {
    let refusal = Refusal(describe(e, certificate, chain, name));
    CertificateError::Other(OtherError(Arc::new(refusal))).into()
}

/// The refusal in an error of rustls, if it is one of ours.
pub fn refusal(e: &Error) -> Option<String> {
    match e {
        Error::InvalidCertificate(CertificateError::Other(OtherError(e))) => {
            e.downcast_ref::<Refusal>().map(Refusal::to_string)
        }
        _ => None,
    }
}

fn describe(
    e: &Error,
    certificate: &CertificateDer<'_>,
    chain: &[CertificateDer<'_>],
    name: &ServerName<'_>,
) -> String {
    use CertificateError as C;
    let Error::InvalidCertificate(reason) = e else {
        return format!("the server's certificate is refused: {e}");
    };
    match reason {
        C::ExpiredContext { not_after, .. } => {
            format!("the certificate expired at {}", date(*not_after))
        }
        C::NotValidYetContext { not_before, .. } => {
            let from = date(*not_before);
            format!("the certificate is not yet valid: it begins at {from} (is the clock right?)")
        }
        C::NotValidForNameContext { presented, .. } => {
            let wanted = name.to_str();
            format!(
                "the certificate is not for {wanted}; it is for {}",
                names(presented)
            )
        }
        C::UnknownIssuer => describe_issuer(certificate, chain),
        _ if is_authority(e) => match parties(certificate) {
            Some((issuer, subject)) if issuer == subject => SELF_SIGNED.into(),
            _ => "the server shows the certificate of an authority as its own".into(),
        },
        C::InvalidPurposeContext { .. } | C::InvalidPurpose => {
            "the certificate is not for servers (extended key usage)".into()
        }
        C::BadEncoding => "the certificate is malformed".into(),
        C::BadSignature => "the certificate is not signed by the issuer that it names".into(),
        other => format!("the certificate is refused: {other}"),
    }
}

const SELF_SIGNED: &str = "the certificate is self-signed; --ca-file can name it as trusted";

fn describe_issuer(certificate: &CertificateDer<'_>, chain: &[CertificateDer<'_>]) -> String {
    let Some((issuer, subject)) = parties(certificate) else {
        return "the certificate's issuer is not known".into();
    };
    if issuer == subject {
        return SELF_SIGNED.into();
    }
    // Of what it sent, walk up to the certificate whose issuer is missing.
    let mut missing = issuer;
    let mut steps = 0;
    while let Some((above, _)) = chain
        .iter()
        .filter_map(parties)
        .find(|(_, subject)| *subject == missing)
        && steps < chain.len()
        && above != missing
    {
        missing = above;
        steps += 1;
    }
    let issuer = common_name(&missing).unwrap_or_else(|| "an unnamed issuer".into());
    if steps == 0 {
        format!(
            "the certificate's issuer, {issuer}, is not known: an intermediate certificate is \
             missing in what the server sends (browsers may fetch it themselves), or it is a \
             private authority, which --ca-file can name"
        )
    } else {
        format!("the issuer {issuer} is not trusted; --ca-file can name a private authority")
    }
}

/// Issuer and subject, as they are encoded.
fn parties(certificate: &CertificateDer<'_>) -> Option<(Vec<u8>, Vec<u8>)> {
    let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
    Some((parsed.issuer().to_vec(), parsed.subject().to_vec()))
}

/// The common name in an encoded name: what follows the object identifier 2.5.4.3.
fn common_name(encoded: &[u8]) -> Option<String> {
    const COMMON_NAME: [u8; 5] = [0x06, 0x03, 0x55, 0x04, 0x03];
    let at = encoded
        .windows(COMMON_NAME.len())
        .position(|bytes| bytes == COMMON_NAME)?;
    let value = &encoded[at + COMMON_NAME.len()..];
    let length = usize::from(*value.get(1)?);
    let text = value.get(2..2 + length).filter(|_| length < 0x80)?;
    Some(format!("{:?}", String::from_utf8_lossy(text)))
}

fn names(presented: &[String]) -> String {
    let clean = |name: &String| {
        // webpki writes them as DnsName("a.example"), IpAddress(127.0.0.1).
        let inner = name.split_once('(').map_or(&**name, |(_, rest)| rest);
        inner
            .trim_end_matches(')')
            .trim_matches('"')
            .escape_debug()
            .to_string()
    };
    let mut shown: Vec<String> = presented.iter().take(NAMES_SHOWN).map(clean).collect();
    match presented.len() {
        0 => return "no name at all (a common name alone does not count)".into(),
        n if n > NAMES_SHOWN => shown.push(format!("{} more", n - NAMES_SHOWN)),
        _ => {}
    }
    shown.join(", ")
}

fn date(time: UnixTime) -> String {
    let time = UNIX_EPOCH + Duration::from_secs(time.as_secs());
    humantime::format_rfc3339_seconds(time).to_string()
}

pub fn is_unknown_issuer(e: &Error) -> bool {
    matches!(
        e,
        Error::InvalidCertificate(CertificateError::UnknownIssuer)
    )
}

/// The certificate of an authority where a server's own is expected.
pub fn is_authority(e: &Error) -> bool {
    match e {
        Error::InvalidCertificate(CertificateError::Other(OtherError(e))) => {
            matches!(
                e.downcast_ref::<webpki::Error>(),
                Some(webpki::Error::CaUsedAsEndEntity)
            )
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_and_cleaned() {
        let list = |n: usize| {
            (0..n)
                .map(|i| format!("DnsName(\"h{i}.example\")"))
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&list(2)), "h0.example, h1.example");
        assert!(names(&list(9)).ends_with("h5.example, 3 more"));
        assert!(names(&[]).contains("no name"));
        assert_eq!(names(&["IpAddress(127.0.0.1)".into()]), "127.0.0.1");
    }

    #[test]
    fn a_common_name_is_found_and_nothing_is_read_beyond_the_end() {
        let name = b"\x31\x0f\x30\x0d\x06\x03\x55\x04\x03\x0c\x06Acme 1";
        assert_eq!(common_name(name).unwrap(), "\"Acme 1\"");
        for end in 0..name.len() {
            assert_eq!(common_name(&name[..end]), None);
        }
    }
}
