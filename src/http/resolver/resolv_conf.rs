//! `resolv.conf`: which servers are asked, for how long, and what is added to short names.
//!
//! Pure. The file is read as glibc reads it (resolv.conf(5), `res_init.c`): a later
//! `search` or `domain` replaces an earlier one, values above its limits are cut, lines that
//! mean nothing are passed over. The parser is our own, because it is no longer than this page, and the
//! crate for it refuses the whole file for one line that it does not know.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

/// glibc's MAXNS.
const MAX_SERVERS: usize = 3;
/// glibc has no limit any more; this one is far above what anybody has.
const MAX_SEARCH: usize = 32;
const PORT: u16 = 53;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvConf {
    pub servers: Vec<SocketAddr>,
    /// The domains that are added to names, without dots at either end.
    pub search: Vec<String>,
    /// A name with this many dots is first asked for as it is.
    pub ndots: usize,
    pub timeout: Duration,
    pub attempts: u32,
    pub rotate: bool,
    /// TCP from the start.
    pub use_vc: bool,
    /// No questions for IPv6 addresses.
    pub no_aaaa: bool,
}

impl Default for ResolvConf {
    /// As glibc does without a file.
    fn default() -> ResolvConf {
        ResolvConf {
            servers: vec![SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT)],
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
            rotate: false,
            use_vc: false,
            no_aaaa: false,
        }
    }
}

impl ResolvConf {
    /// Reads the text of a file. `instead`: servers that take the place of the file's.
    pub fn parse(text: &str, instead: &[SocketAddr]) -> ResolvConf {
        let mut conf = ResolvConf {
            servers: Vec::new(),
            ..ResolvConf::default()
        };
        for line in text.lines() {
            // Comments stand on lines of their own.
            if line.starts_with([';', '#']) {
                continue;
            }
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => conf.add_server(words.next().unwrap_or_default()),
                Some("domain") => conf.set_search(words.take(1)),
                Some("search") => conf.set_search(words),
                Some("options") => words.for_each(|word| conf.set_option(word)),
                _ => {}
            }
        }
        if !instead.is_empty() {
            conf.servers = instead.to_vec();
        }
        if conf.servers.is_empty() {
            conf.servers = ResolvConf::default().servers;
        }
        conf
    }

    /// How long the server at this place in the list gets in each round, as glibc counts.
    fn patience(&self, index: usize) -> Duration {
        let doubled = self.timeout * (1 << index.min(4));
        let share = match index {
            0 => doubled,
            _ => doubled / self.servers.len() as u32,
        };
        share.max(Duration::from_secs(1))
    }

    /// How long one name is asked for before it is given up.
    pub fn budget(&self) -> Duration {
        let round: Duration = (0..self.servers.len()).map(|n| self.patience(n)).sum();
        round * self.attempts
    }

    /// How long after the first datagram the next one goes out, to the next server if there is
    /// one; the pauses double from then on. glibc waits for all of `timeout`; but a datagram
    /// without an answer is more often lost than its server slow, and to ask twice costs little.
    pub fn first_resend(&self) -> Duration {
        (self.timeout / 25).clamp(Duration::from_millis(100), Duration::from_millis(400))
    }

    /// The names to ask for in turn, without the last dot.
    pub fn candidates(&self, name: &str) -> Vec<String> {
        let absolute = name.strip_suffix('.');
        if absolute.is_some() || self.search.is_empty() {
            return vec![absolute.unwrap_or(name).to_owned()];
        }
        let completed = self.search.iter().map(|domain| match domain.as_str() {
            "" => name.to_owned(),
            domain => format!("{name}.{domain}"),
        });
        let dots = name.bytes().filter(|b| *b == b'.').count();
        let mut all = Vec::with_capacity(self.search.len() + 1);
        if dots >= self.ndots {
            all.push(name.to_owned());
            all.extend(completed);
        } else {
            all.extend(completed);
            all.push(name.to_owned());
        }
        // A search list with the root in it names the name itself a second time.
        let mut seen: Vec<String> = Vec::with_capacity(all.len());
        for candidate in all {
            if !seen.contains(&candidate) {
                seen.push(candidate);
            }
        }
        seen
    }

    fn add_server(&mut self, text: &str) {
        if self.servers.len() == MAX_SERVERS {
            return;
        }
        let plain = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, PORT));
        // Link-local ones with the number of an interface.
        let scoped = || format!("[{text}]:{PORT}").parse::<SocketAddrV6>();
        if let Ok(server) = plain.or_else(|_| scoped().map(SocketAddr::V6)) {
            self.servers.push(server);
        }
    }

    fn set_search<'a>(&mut self, domains: impl Iterator<Item = &'a str>) {
        self.search = domains
            .take(MAX_SEARCH)
            .map(|domain| domain.trim_matches('.').to_ascii_lowercase())
            .collect();
    }

    fn set_option(&mut self, word: &str) {
        let (name, value) = word.split_once(':').unwrap_or((word, ""));
        // As in C's atoi, a word that is no number is 0.
        let number = value.parse::<u32>().unwrap_or(0);
        match name {
            "ndots" => self.ndots = number.min(15) as usize,
            "timeout" => self.timeout = Duration::from_secs(number.clamp(1, 30).into()),
            "attempts" => self.attempts = number.clamp(1, 5),
            "rotate" => self.rotate = true,
            "use-vc" | "usevc" => self.use_vc = true,
            "no-aaaa" => self.no_aaaa = true,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    fn parse(text: &str) -> ResolvConf {
        ResolvConf::parse(text, &[])
    }

    #[test]
    fn an_empty_file_means_the_local_server() {
        assert_eq!(parse(""), ResolvConf::default());
        assert_eq!(parse("# nameserver 10.0.0.1\n"), ResolvConf::default());
        assert_eq!(parse("nameserver nonsense\n"), ResolvConf::default());
    }

    #[test]
    fn all_that_glibc_knows_is_read() {
        let conf = parse(
            "; comment\n\
             domain first.example\n\
             nameserver 10.0.0.1\n\
             nameserver\t2001:db8::1 # trailing words mean nothing\n\
             nameserver 10.0.0.1:5353\n\
             nameserver fe80::1%2\n\
             nameserver 10.0.0.4\n\
             search Corp.Example. other.example\n\
             options ndots:99 timeout:2 attempts:9 rotate\n\
             options use-vc no-aaaa edns0 unknown:7\n",
        );
        let servers = ["10.0.0.1:53", "[2001:db8::1]:53", "[fe80::1%2]:53"];
        assert_eq!(conf.servers, servers.map(|s| s.parse().unwrap()));
        assert_eq!(conf.search, ["corp.example", "other.example"]);
        assert_eq!((conf.ndots, conf.attempts), (15, 5));
        assert_eq!(conf.timeout, Duration::from_secs(2));
        assert!(conf.rotate && conf.use_vc && conf.no_aaaa);
    }

    #[test]
    fn servers_given_otherwise_replace_those_of_the_file_alone() {
        let own = ["127.0.0.1:5353".parse().unwrap()];
        let conf = ResolvConf::parse("nameserver 10.0.0.1\nsearch a.example\n", &own);
        assert_eq!(conf.servers, own);
        assert_eq!(conf.search, ["a.example"]);
    }

    #[test]
    fn the_time_for_a_name_is_glibc_s() {
        let seconds = |text: &str| parse(text).budget().as_secs_f64().round();
        assert_eq!(seconds(""), 10.0);
        assert_eq!(seconds("nameserver 1.1.1.1\nnameserver 1.0.0.1\n"), 20.0);
        let three = "nameserver 1.1.1.1\nnameserver 1.0.0.1\nnameserver 8.8.8.8\n";
        // 5, 10 / 3 and 20 / 3 seconds, twice.
        assert_eq!(seconds(three), 30.0);
        assert_eq!(seconds("options timeout:1 attempts:1\n"), 1.0);
    }

    #[test]
    fn names_are_completed_as_glibc_does() {
        let conf = parse("search corp.example lab.example\noptions ndots:2\n");
        let all = |name: &str| conf.candidates(name).join(" ");
        assert_eq!(all("db"), "db.corp.example db.lab.example db");
        assert_eq!(all("a.b"), "a.b.corp.example a.b.lab.example a.b");
        assert_eq!(all("a.b.c"), "a.b.c a.b.c.corp.example a.b.c.lab.example");
        assert_eq!(all("db."), "db");
        assert_eq!(parse("search .\n").candidates("db"), ["db"]);
    }

    #[test]
    fn any_text_is_read_without_a_panic() {
        let words = [
            "nameserver",
            "search",
            "options",
            "ndots:",
            "\0",
            "::",
            "%",
            "é",
            "\n",
            " ",
            "9",
        ];
        let mut dice = Dice::usual(1);
        for _ in 0..2000 {
            dice.step();
            let text: String = (0..40).map(|_| *dice.pick(&words)).collect();
            let conf = parse(&text);
            assert!(!conf.servers.is_empty() && conf.budget() >= Duration::from_secs(1));
        }
    }
}
