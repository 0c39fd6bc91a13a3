//! The address guard: where outhook may connect to for a message, and where never. Pure.
//!
//! Whoever writes URLs is not to reach what only this machine can: itself, its network, the
//! metadata service of its cloud. Decided by address, never by name: each address that a name
//! has is judged, and each again as it is dialled. [`Checked`] is what may be dialled; nothing
//! but the guard makes one.

mod cidr;
mod embedded_ipv4;
mod ports;
mod ranges;

use std::fmt;
use std::net::IpAddr;

pub use cidr::Cidr;
pub use ports::{PortRule, Ports};

/// What is allowed, beside all that is global unicast and not special.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    allow: Vec<Cidr>,
    deny: Vec<Cidr>,
    ports: Ports,
    https_only: bool,
}

/// What an endpoint's rule sets beside the options.
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
    /// The same of the IPv4 address inside.
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
    /// For what the operator names, and no message does: a proxy. All addresses pass.
    pub fn open() -> Guard {
        Guard::default().with(Changes {
            allow: vec![Cidr::v4([0; 4], 0), Cidr::v6([0; 8], 0)],
            ..Changes::default()
        })
    }

    /// The same with what a rule sets. Ranges are added; a list of ports takes the place of the
    /// other, and so does what is said of https.
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

    /// Judges an address. What is denied is denied, in whatever IPv6 address it is wrapped;
    /// what is allowed is exactly what was written.
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
        // NAT64 is a special range itself, in which all is as what is inside.
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

    /// Judges all addresses of a name: one that is bad is enough.
    pub fn check_all(&self, addresses: &[IpAddr]) -> Result<(), Refusal> {
        addresses
            .iter()
            .try_for_each(|ip| self.check(*ip).map(drop))
    }

    fn allows(&self, ip: IpAddr) -> bool {
        self.allow.iter().any(|range| range.contains(ip))
    }

    /// What is to be said at each start, where all addresses of a family are allowed.
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
