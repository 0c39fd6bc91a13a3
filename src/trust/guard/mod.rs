//! The address guard: where outhook may connect to for a message, and where never. Pure.
//!
//! A producer of URLs must not reach what only this machine can reach: the machine itself, its
//! network, the metadata service of its cloud. The guard decides by address, never by name. It
//! judges each address of a name, and again each address that is dialled. Only a [`Checked`]
//! address can be dialled, and only the guard makes one.

mod cidr;
mod embedded_ipv4;
mod ports;
mod ranges;

use std::fmt;
use std::net::IpAddr;

pub use cidr::Cidr;
pub use ports::{PortRule, Ports};

/// The rules, beside the default: global unicast addresses that are not special are allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    allow: Vec<Cidr>,
    deny: Vec<Cidr>,
    ports: Ports,
    https_only: bool,
}

/// The settings of a rule, on top of the options.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    pub allow: Vec<Cidr>,
    pub deny: Vec<Cidr>,
    pub ports: Option<Ports>,
    pub https_only: Option<bool>,
}

/// An address that the guard lets pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked(IpAddr);

/// Why something is not dialled. [`fmt::Display`] gives the rule and the setting that helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No customer's server can be in this range.
    Special(IpAddr, &'static ranges::Range),
    /// The IPv4 address inside is in such a range.
    SpecialInside(IpAddr, IpAddr, &'static ranges::Range),
    Denied(IpAddr, Cidr),
    Port(u16),
    PlainHttp,
}

impl Checked {
    pub fn ip(self) -> IpAddr {
        self.0
    }
}

impl Default for Guard {
    fn default() -> Guard {
        Guard {
            allow: Vec::new(),
            deny: Vec::new(),
            ports: Ports::usual(),
            https_only: false,
        }
    }
}

impl Guard {
    /// For addresses that the operator names and no message does: a proxy. All addresses pass.
    pub fn open() -> Guard {
        Guard::default().with(Changes {
            allow: vec![Cidr::v4([0; 4], 0), Cidr::v6([0; 8], 0)],
            ..Changes::default()
        })
    }

    /// This guard with the settings of a rule. Ranges are added. Ports and https_only replace those
    /// of this guard.
    pub fn with(&self, changes: Changes) -> Guard {
        Guard {
            allow: [&*self.allow, &*changes.allow].concat(),
            deny: [&*self.deny, &*changes.deny].concat(),
            ports: changes.ports.unwrap_or_else(|| self.ports.clone()),
            https_only: changes.https_only.unwrap_or(self.https_only),
        }
    }

    pub fn is_https_only(&self) -> bool {
        self.https_only
    }

    /// Judges what a URL says without any look-up.
    pub fn check_url(&self, is_https: bool, port: u16) -> Result<(), Refusal> {
        if self.https_only && !is_https {
            return Err(Refusal::PlainHttp);
        }
        match self.ports.allow(port) {
            true => Ok(()),
            false => Err(Refusal::Port(port)),
        }
    }

    /// Judges an address. A denied address is denied in any IPv6 notation. An allowed one is
    /// allowed only as it was written.
    pub fn check(&self, ip: IpAddr) -> Result<Checked, Refusal> {
        let inside = embedded_ipv4::any(ip).map(IpAddr::from);
        let denies = |range: &&Cidr| {
            range.contains(ip) || inside.is_some_and(|inside| range.contains(inside))
        };
        if let Some(range) = self.deny.iter().find(denies) {
            return Err(Refusal::Denied(ip, *range));
        }
        if self.allows(ip) {
            return Ok(Checked(ip));
        }
        let nat64 = embedded_ipv4::behind_nat64(ip);
        // NAT64 is a special range itself: its addresses are judged by the address inside.
        if let Some(range) = ranges::find(ip).filter(|_| nat64.is_none()) {
            return Err(Refusal::Special(ip, range));
        }
        let inside = nat64.or_else(|| embedded_ipv4::behind_isatap(ip));
        let inside = inside.map(IpAddr::from).filter(|ip| !self.allows(*ip));
        match inside.and_then(|inside| Some((inside, ranges::find(inside)?))) {
            Some((inside, range)) => Err(Refusal::SpecialInside(ip, inside, range)),
            None => Ok(Checked(ip)),
        }
    }

    /// Judges all addresses of a name: a single bad one is enough.
    pub fn check_all(&self, addresses: &[IpAddr]) -> Result<(), Refusal> {
        addresses
            .iter()
            .try_for_each(|ip| self.check(*ip).map(drop))
    }

    fn allows(&self, ip: IpAddr) -> bool {
        self.allow.iter().any(|range| range.contains(ip))
    }

    /// A sentence for the log, at each start, if all addresses of a family are allowed.
    pub fn describe_off(&self) -> Option<&'static str> {
        match cidr::hold_all(&self.allow) {
            (true, true) => Some("off: all addresses are allowed"),
            (true, false) => Some("off for IPv4: all addresses are allowed"),
            (false, true) => Some("off for IPv6: all addresses are allowed"),
            (false, false) => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let warn = |f: &mut fmt::Formatter<'_>, what: &str| {
            let is_of_cloud = what.contains("metadata") || what.contains("credentials");
            match is_of_cloud {
                true => f.write_str("; whoever wrote this URL may be after your credentials"),
                false => Ok(()),
            }
        };
        let allow = |f: &mut fmt::Formatter<'_>, ip: IpAddr| {
            let range = Cidr::only(ip);
            write!(
                f,
                "; --allow-cidr {range} (allow_cidr in its rule) allows it"
            )
        };
        match self {
            Refusal::Special(ip, (range, what)) => {
                write!(f, "{ip} is refused: {what} ({range})")?;
                warn(f, what)?;
                match embedded_ipv4::notation(*ip) {
                    Some(inside) => write!(f, "; only {inside} itself can be allowed"),
                    None => allow(f, *ip),
                }
            }
            Refusal::SpecialInside(ip, inside, (range, what)) => {
                write!(f, "{ip} is refused: {inside} is inside, {what} ({range})")?;
                warn(f, what)?;
                allow(f, *inside)
            }
            Refusal::Denied(ip, range) => write!(
                f,
                "{ip} is refused: --deny-cidr {range} (or deny_cidr in its rule), which would have \
                 to go"
            ),
            Refusal::Port(port) => {
                write!(f, "port {port} is refused: ")?;
                match ports::danger(*port) {
                    Some(what) => write!(f, "it is known for {what}")?,
                    None => f.write_str("it is none of those that are allowed")?,
                }
                write!(
                    f,
                    "; --allow-port usual,{port} (allow_port in its rule) allows it"
                )
            }
            Refusal::PlainHttp => f.write_str(
                "http:// is refused: --https-only (or https_only in its rule); https_only = false \
                 in its rule allows it",
            ),
        }
    }
}

#[cfg(test)]
mod tests;
