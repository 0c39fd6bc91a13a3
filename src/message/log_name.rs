//! What endpoints are called in the log: by their origin. Their paths and queries may hold what nobody
//! who reads logs is to know, as the URL of a chat's webhook does. Pure.

/// The origin of a URL, for the log: nothing if there is more before the path than scheme, host and
/// port, as in a URL that was refused.
pub fn origin_of(url: &str) -> Option<&str> {
    let rest = ["http://", "https://"]
        .iter()
        .find_map(|scheme| url.strip_prefix(scheme))?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let good = |c: u8| c.is_ascii_alphanumeric() || b".-_:[]".contains(&c);
    let is_good = end > 0 && rest[..end].bytes().all(good);
    is_good.then(|| &url[..url.len() - rest.len() + end])
}

/// What endpoints are called in the log: as their origin, with a mark if they are only a part of it.
pub fn log_name(endpoint: &str) -> String {
    match origin_of(endpoint) {
        Some(origin) if endpoint.len() <= origin.len() + 1 => origin.to_owned(),
        Some(origin) => format!("{origin}/…"),
        None => "an endpoint".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_has_origins_and_nothing_of_refused_urls() {
        for (url, origin, name) in [
            ("http://h/a?b=c", Some("http://h"), "http://h/…"),
            ("https://h:8443", Some("https://h:8443"), "https://h:8443"),
            ("https://h/", Some("https://h"), "https://h"),
            (
                "http://[::1]:80/x",
                Some("http://[::1]:80"),
                "http://[::1]:80/…",
            ),
            ("http://h?x", Some("http://h"), "http://h/…"),
            ("http://u:p@h/", None, "an endpoint"),
            ("http:///x", None, "an endpoint"),
            ("ftp://h/", None, "an endpoint"),
            ("http://a b/", None, "an endpoint"),
            ("", None, "an endpoint"),
        ] {
            assert_eq!(origin_of(url), origin, "{url}");
            assert_eq!(log_name(url), name, "{url}");
        }
    }
}
