//! `/etc/hosts`: names that no server is asked for. Pure.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// This many addresses count of one name.
const MAX_ADDRESSES: usize = 16;

/// The names of a file, and those of this machine itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct HostsFile(HashMap<Box<str>, Vec<IpAddr>>);

impl HostsFile {
    pub fn parse(text: &str) -> HostsFile {
        let mut hosts = HashMap::<Box<str>, Vec<IpAddr>>::new();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let Some(Ok(ip)) = words.next().map(str::parse::<IpAddr>) else {
                continue;
            };
            for name in words {
                let name = name.strip_suffix('.').unwrap_or(name);
                let known = hosts.entry(name.to_ascii_lowercase().into()).or_default();
                if !known.contains(&ip) && known.len() < MAX_ADDRESSES {
                    known.push(ip);
                }
            }
        }
        HostsFile(hosts)
    }

    /// The addresses of a name, if it need not be asked for. `localhost` and all below it are
    /// this machine, whatever the file says of them or not (RFC 6761, 6.3).
    pub fn get(&self, name: &str) -> Option<Vec<IpAddr>> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let name = match name.bytes().any(|b| b.is_ascii_uppercase()) {
            true => Cow::Owned(name.to_ascii_lowercase()),
            false => Cow::Borrowed(name),
        };
        if let Some(found) = self.0.get(&*name) {
            return Some(found.clone());
        }
        let local = name == "localhost" || name.ends_with(".localhost");
        local.then(|| vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()])
    }

    /// Names of which the other file says something else.
    pub fn differing<'a>(&'a self, other: &'a HostsFile) -> impl Iterator<Item = &'a str> {
        let changed = self
            .0
            .iter()
            .filter(|(name, ips)| other.0.get(*name) != Some(*ips));
        let added = other.0.keys().filter(|name| !self.0.contains_key(*name));
        changed
            .map(|(name, _)| &**name)
            .chain(added.map(|name| &**name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_as_it_is_written_by_hand_is_read() {
        let hosts = HostsFile::parse(
            "# comment\n127.0.0.1 localhost\n::1 localhost\n\n10.0.0.7\tDB.corp. db # the database\n\
             nonsense name\n10.0.0.8 db\n10.0.0.8 db\n",
        );
        let get = |name: &str| hosts.get(name).unwrap_or_default();
        let ips = |list: &[&str]| {
            list.iter()
                .map(|ip| ip.parse().unwrap())
                .collect::<Vec<IpAddr>>()
        };
        assert_eq!(get("localhost"), ips(&["127.0.0.1", "::1"]));
        assert_eq!(get("db.CORP"), ips(&["10.0.0.7"]));
        assert_eq!(get("db."), ips(&["10.0.0.7", "10.0.0.8"]));
        assert_eq!(hosts.get("name"), None);
        assert_eq!(
            HostsFile::default().get("a.localhost"),
            Some(ips(&["::1", "127.0.0.1"]))
        );
    }

    #[test]
    fn what_has_changed_between_two_files_is_known() {
        let before = HostsFile::parse("10.0.0.1 a b\n10.0.0.2 c\n");
        let after = HostsFile::parse("10.0.0.1 a\n10.0.0.3 c d\n");
        let mut names: Vec<&str> = before.differing(&after).collect();
        names.sort_unstable();
        assert_eq!(names, ["b", "c", "d"]);
    }
}
