//! Ports that no webhook goes to: those of other protocols, whose servers may take lines of a
//! request for commands, and those of databases and control planes. Pure.

use std::str::FromStr;

/// Which ports are allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports {
    /// All ports but the dangerous ones.
    usual: bool,
    /// A range of ports, from the first to the last.
    spans: Vec<(u16, u16)>,
}

/// One of the values of `--allow-port`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortRule {
    Usual,
    Span(u16, u16),
}

impl Ports {
    pub fn new(rules: impl IntoIterator<Item = PortRule>) -> Ports {
        let mut ports = Ports {
            usual: false,
            spans: Vec::new(),
        };
        for rule in rules {
            match rule {
                PortRule::Usual => ports.usual = true,
                PortRule::Span(first, last) => ports.spans.push((first, last)),
            }
        }
        ports
    }

    /// The default.
    pub fn usual() -> Ports {
        Ports::new([PortRule::Usual])
    }

    pub fn allow(&self, port: u16) -> bool {
        self.usual && danger(port).is_none()
            || self
                .spans
                .iter()
                .any(|(first, last)| (*first..=*last).contains(&port))
    }
}

impl FromStr for PortRule {
    type Err = String;

    fn from_str(text: &str) -> Result<PortRule, String> {
        let text = text.trim();
        if text == "usual" {
            return Ok(PortRule::Usual);
        }
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.trim().parse(), last.trim().parse()) {
            (Ok(first), Ok(last)) if 0 < first && first <= last => Ok(PortRule::Span(first, last)),
            _ => Err(
                "it must be a port, a range of them as 8000-8999, or usual (all but the dangerous \
                 ones)"
                    .into(),
            ),
        }
    }
}

/// The service that listens at a port that is not allowed by default.
pub fn danger(port: u16) -> Option<&'static str> {
    let at = DANGEROUS.binary_search_by_key(&port, |(port, _)| *port);
    at.ok().map(|at| DANGEROUS[at].1)
}

/// The bad ports of the Fetch standard (<https://fetch.spec.whatwg.org/#port-blocking>), then other
/// services that speak no HTTP, or that no webhook should reach. Sorted by number. AJP (8009) is
/// not among them: it hangs up on anything that does not begin with its own two bytes, and
/// receivers use ports around 8000.
const DANGEROUS: [(u16, &str); 169] = [
    (1, "tcpmux"),
    (7, "echo"),
    (9, "discard"),
    (11, "systat"),
    (13, "daytime"),
    (15, "netstat"),
    (17, "qotd"),
    (19, "chargen"),
    (20, "ftp-data"),
    (21, "ftp"),
    (22, "ssh"),
    (23, "telnet"),
    (25, "smtp"),
    (37, "time"),
    (42, "name"),
    (43, "nicname"),
    (53, "dns"),
    (69, "tftp"),
    (77, "priv-rje"),
    (79, "finger"),
    (87, "ttylink"),
    (95, "supdup"),
    (101, "hostname"),
    (102, "iso-tsap"),
    (103, "gppitnp"),
    (104, "acr-nema"),
    (109, "pop2"),
    (110, "pop3"),
    (111, "sunrpc"),
    (113, "auth"),
    (115, "sftp"),
    (117, "uucp-path"),
    (119, "nntp"),
    (123, "ntp"),
    (135, "epmap"),
    (137, "netbios-ns"),
    (138, "netbios-dgm"),
    (139, "netbios-ssn"),
    (143, "imap"),
    (161, "snmp"),
    (179, "bgp"),
    (389, "ldap"),
    (427, "svrloc"),
    (445, "smb"),
    (465, "submissions"),
    (512, "exec"),
    (513, "login"),
    (514, "shell"),
    (515, "printer"),
    (526, "tempo"),
    (530, "courier"),
    (531, "chat"),
    (532, "netnews"),
    (540, "uucp"),
    (548, "afp"),
    (554, "rtsp"),
    (556, "remotefs"),
    (563, "nntps"),
    (587, "submission"),
    (601, "syslog-conn"),
    (636, "ldaps"),
    (873, "rsync"),
    (989, "ftps-data"),
    (990, "ftps"),
    (993, "imaps"),
    (995, "pop3s"),
    (1099, "rmi"),
    (1433, "sql server"),
    (1434, "sql server browser"),
    (1521, "oracle"),
    (1719, "h323gatestat"),
    (1720, "h323hostcall"),
    (1723, "pptp"),
    (1883, "mqtt"),
    (2049, "nfs"),
    (2181, "zookeeper"),
    (2375, "docker"),
    (2376, "docker"),
    (2377, "docker swarm"),
    (2379, "etcd"),
    (2380, "etcd"),
    (3260, "iscsi"),
    (3268, "ldap"),
    (3269, "ldaps"),
    (3306, "mysql"),
    (3389, "rdp"),
    (3659, "apple-sasl"),
    (4045, "npp"),
    (4190, "sieve"),
    (4222, "nats"),
    (4369, "epmd"),
    (4444, "debuggers"),
    (4505, "salt"),
    (4506, "salt"),
    (4646, "nomad"),
    (4647, "nomad"),
    (4648, "nomad"),
    (5060, "sip"),
    (5061, "sips"),
    (5432, "postgresql"),
    (5671, "amqps"),
    (5672, "amqp"),
    (5858, "node debugger"),
    (5900, "vnc"),
    (5984, "couchdb"),
    (5985, "winrm"),
    (5986, "winrm"),
    (6000, "x11"),
    (6379, "redis"),
    (6380, "redis"),
    (6443, "kubernetes"),
    (6566, "sane-port"),
    (6665, "irc"),
    (6666, "irc"),
    (6667, "irc"),
    (6668, "irc"),
    (6669, "irc"),
    (6679, "osaut"),
    (6697, "ircs"),
    (7077, "spark"),
    (7199, "cassandra"),
    (7473, "neo4j"),
    (7474, "neo4j"),
    (7687, "neo4j"),
    (8001, "kubectl proxy and kong admin"),
    (8091, "couchbase"),
    (8140, "puppet"),
    (8200, "vault"),
    (8201, "vault"),
    (8300, "consul"),
    (8301, "consul"),
    (8302, "consul"),
    (8500, "consul"),
    (8501, "consul"),
    (8502, "consul"),
    (8529, "arangodb"),
    (8600, "consul"),
    (8883, "mqtts"),
    (8983, "solr"),
    (9042, "cassandra"),
    (9092, "kafka"),
    (9160, "cassandra"),
    (9200, "elasticsearch"),
    (9229, "node debugger"),
    (9300, "elasticsearch"),
    (9901, "envoy admin"),
    (10080, "amanda"),
    (10248, "kubelet"),
    (10249, "kube-proxy"),
    (10250, "kubelet"),
    (10255, "kubelet"),
    (10256, "kube-proxy"),
    (10257, "kubernetes"),
    (10259, "kubernetes"),
    (11207, "couchbase"),
    (11210, "couchbase"),
    (11211, "memcached"),
    (15000, "envoy admin"),
    (15672, "rabbitmq"),
    (16379, "redis cluster"),
    (25672, "rabbitmq"),
    (26257, "cockroachdb"),
    (26379, "redis sentinel"),
    (27017, "mongodb"),
    (27018, "mongodb"),
    (27019, "mongodb"),
    (28015, "rethinkdb"),
    (29015, "rethinkdb"),
    (61616, "activemq"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_can_be_searched_and_spares_the_usual_ports() {
        assert!(DANGEROUS.is_sorted_by(|a, b| a.0 < b.0));
        let usual = Ports::usual();
        for port in [
            80, 443, 3000, 4000, 5000, 8000, 8002, 8009, 8080, 8088, 8123, 8443, 8888, 9000, 9090,
            9443, 65535,
        ] {
            assert!(usual.allow(port), "{port}");
        }
        for port in [
            1, 22, 25, 2375, 2379, 3306, 4646, 5432, 6379, 8001, 8200, 8500, 8501, 9200, 11211,
            27017,
        ] {
            assert!(!usual.allow(port), "{port}");
        }
        // Tests and the demo have receivers at ports that the system chooses.
        assert!((32768..=60999).all(|port| usual.allow(port)));
    }

    #[test]
    fn what_is_named_is_all_unless_the_usual_ones_are_named_too() {
        let read = |list: &str| Ports::new(list.split(',').map(|p| p.parse().unwrap()));
        let own = read("8443, 9000-9002");
        for (port, allowed) in [
            (8443, true),
            (9000, true),
            (9002, true),
            (9003, false),
            (443, false),
        ] {
            assert_eq!(own.allow(port), allowed, "{port}");
        }
        let more = read("usual,6379");
        assert!(more.allow(6379) && more.allow(443) && !more.allow(22));
        for bad in ["", "0", "70000", "9-8", "http", "-1", "1-", "0-9", "Usual"] {
            assert!(bad.parse::<PortRule>().is_err(), "{bad}");
        }
    }

    /// <https://fetch.spec.whatwg.org/#port-blocking>, without 0, which no URL may have.
    const FETCH: [u16; 82] = [
        1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101,
        102, 103, 104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389,
        427, 465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636,
        989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665,
        6666, 6667, 6668, 6669, 6679, 6697, 10080,
    ];

    #[test]
    fn all_bad_ports_of_the_fetch_standard_are_in_it_and_the_documents_name_the_others() {
        assert!(FETCH.iter().all(|port| danger(*port).is_some()));
        let page = include_str!("../../../docs/guard.md");
        let row = page.lines().find(|line| line.starts_with("| ports |"));
        let row = row.expect("a row of ports");
        let listed: Vec<u16> = row
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|number| number.parse().ok())
            .collect();
        for (port, what) in DANGEROUS {
            let is_named = FETCH.contains(&port) || listed.contains(&port);
            assert!(is_named, "docs/guard.md does not name {port} ({what})");
        }
    }
}
