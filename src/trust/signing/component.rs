//! The parts of a request that a signature may cover (RFC 9421, section 2).

use http::{HeaderMap, HeaderName, Uri};

use super::subject::Subject;

/// The headers of the signature itself, which it cannot cover.
pub const SIGNATURE: HeaderName = HeaderName::from_static("signature");
pub const INPUT: HeaderName = HeaderName::from_static("signature-input");

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Component {
    Method,
    TargetUri,
    Authority,
    Scheme,
    RequestTarget,
    Path,
    Query,
    Field(HeaderName),
}

impl Component {
    const DERIVED: [(&str, Component); 7] = [
        ("@method", Component::Method),
        ("@target-uri", Component::TargetUri),
        ("@authority", Component::Authority),
        ("@scheme", Component::Scheme),
        ("@request-target", Component::RequestTarget),
        ("@path", Component::Path),
        ("@query", Component::Query),
    ];

    pub fn parse(text: &str) -> Result<Component, String> {
        if text.starts_with('@') {
            let found = Component::DERIVED.iter().find(|(name, _)| *name == text);
            return found.map(|(_, part)| part.clone()).ok_or_else(|| {
                let names = Component::DERIVED.map(|(name, _)| name).join(", ");
                format!("one that begins with @ must be of {names}")
            });
        }
        match HeaderName::from_bytes(text.as_bytes()) {
            Ok(name) if name == SIGNATURE || name == INPUT || name == "host" => Err(format!(
                "{name} cannot be covered; for host there is @authority"
            )),
            Ok(name) => Ok(Component::Field(name)),
            Err(_) => Err("each must be the name of a header, or as \"@method\"".into()),
        }
    }

    pub fn name(&self) -> &str {
        if let Component::Field(name) = self {
            return name.as_str();
        }
        let found = Component::DERIVED.iter().find(|(_, part)| part == self);
        found.expect("all are there").0
    }

    pub fn is_of_url(&self) -> bool {
        !matches!(self, Component::Method | Component::Field(_))
    }

    /// `None` for a header that is not sent.
    pub fn value(&self, subject: &Subject<'_>, uri: &Uri, headers: &HeaderMap) -> Option<String> {
        let target = || uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
        Some(match self {
            Component::Method => subject.method.to_owned(),
            Component::TargetUri => subject.url.to_owned(),
            Component::Authority => uri.authority()?.as_str().to_lowercase(),
            Component::Scheme => uri.scheme_str()?.to_owned(),
            Component::RequestTarget => target(),
            Component::Path => uri.path().to_owned(),
            Component::Query => format!("?{}", uri.query().unwrap_or_default()),
            Component::Field(name) => {
                let values: Vec<&str> = headers
                    .get_all(name)
                    .iter()
                    .filter_map(|value| value.to_str().ok())
                    .map(str::trim)
                    .collect();
                match values.is_empty() {
                    // The transport adds it.
                    true if name == "content-length" => subject.body.len().to_string(),
                    true => return None,
                    false => values.join(", "),
                }
            }
        })
    }
}
