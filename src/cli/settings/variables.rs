//! Variables that begin as ours do, and are none: mostly a slip of the pen, which would otherwise
//! only show in that nothing changes.

use super::Settings;
use crate::cli::nearest::{OPTION, nearest};

const OURS: &str = "OUTHOOK_";

/// Of the compose file, and not for the program.
const NOT_FOR_US: &[&str] = &["OUTHOOK_TAG"];

impl Settings {
    /// One sentence for each.
    pub fn unknown_variables(&self) -> Vec<String> {
        let names = self.known.iter().map(|known| &*known.variable);
        let names: Vec<&str> = names.filter_map(|name| name.strip_prefix(OURS)).collect();
        let ours = self.variables.iter();
        let ours = ours.filter_map(|(name, value)| Some((name.strip_prefix(OURS)?, name, value)));
        let unknown = ours.filter(|(rest, name, value)| {
            let is_known = names.contains(rest) || NOT_FOR_US.contains(&&***name);
            !is_known && !is_injected(name, value)
        });
        let sentence = |(rest, name, _): (&str, &String, &String)| {
            let meant = nearest(rest, names.iter().copied(), OPTION);
            let meant =
                meant.map_or_else(String::new, |meant| format!("; is {OURS}{meant} meant?"));
            format!("{name} is no variable of outhook{meant}")
        };
        unknown.map(sentence).collect()
    }
}

/// Whether Kubernetes or Docker has put it there, for a service that is called outhook, or whose
/// name begins so: `…_SERVICE_HOST`, `…_SERVICE_PORT_HTTP`, `…_PORT=tcp://10.0.0.1:80`,
/// `…_PORT_80_TCP_ADDR`, `…_ENV_PATH`.
fn is_injected(name: &str, value: &str) -> bool {
    let is_url = ["tcp://", "udp://", "sctp://"]
        .iter()
        .any(|scheme| value.starts_with(scheme));
    let is_port = |rest: &str| {
        let mut parts = rest.split('_');
        let number = parts.next().unwrap_or_default();
        number.parse::<u16>().is_ok() && matches!(parts.next(), Some("TCP" | "UDP" | "SCTP"))
    };
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || name.ends_with("_PORT") && is_url
        || name.split("_PORT_").skip(1).any(is_port)
        || name.contains("_ENV_")
        || name.ends_with("_NAME") && value.starts_with('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_orchestrators_inject_is_told_from_a_slip() {
        for (name, value) in [
            ("OUTHOOK_SERVICE_HOST", "10.0.0.1"),
            ("OUTHOOK_SERVICE_PORT", "80"),
            ("OUTHOOK_SERVICE_PORT_HTTP", "80"),
            ("OUTHOOK_PORT", "tcp://10.0.0.1:80"),
            ("OUTHOOK_PORT_80_TCP", "tcp://10.0.0.1:80"),
            ("OUTHOOK_PORT_80_TCP_ADDR", "10.0.0.1"),
            ("OUTHOOK_PORT_53_UDP_PROTO", "udp"),
            ("OUTHOOK_METRICS_SERVICE_HOST", "10.0.0.1"),
            ("OUTHOOK_METRICS_PORT", "tcp://10.0.0.1:80"),
            ("OUTHOOK_ENV_PATH", "/bin"),
            ("OUTHOOK_NAME", "/web/outhook"),
        ] {
            assert!(is_injected(name, value), "{name}");
        }
        for (name, value) in [
            ("OUTHOOK_WORKES", "5"),
            ("OUTHOOK_PORT", "8080"),
            ("OUTHOOK_ALLOW_PORTS", "80"),
            ("OUTHOOK_PORT_TCP", "80"),
            ("OUTHOOK_NAME", "a"),
        ] {
            assert!(!is_injected(name, value), "{name}");
        }
    }
}
