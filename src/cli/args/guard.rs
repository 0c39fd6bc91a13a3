//! Where messages may lead: the address guard.

use clap::Args;

use crate::trust::guard::{Changes, Cidr, Guard, PortRule, Ports};

/// Where messages may lead.
#[derive(Debug, Args)]
pub struct GuardArgs {
    /// Allow these addresses, although they are private, loopback, a metadata service or otherwise
    /// refused by default: a range such as 10.0.0.0/8, or one address; repeatable
    #[arg(long, env = "OUTHOOK_ALLOW_CIDR", value_name = "CIDR", value_delimiter = ',')]
    allow_cidr: Vec<Cidr>,
    /// Refuse these addresses, even where --allow-cidr allows them; repeatable
    #[arg(long, env = "OUTHOOK_DENY_CIDR", value_name = "CIDR", value_delimiter = ',')]
    deny_cidr: Vec<Cidr>,
    /// Allow only these ports: numbers, ranges such as 8000-8999, and "usual" for all ports except
    /// those of mail, databases, control planes and other protocols; repeatable
    #[arg(
        long,
        env = "OUTHOOK_ALLOW_PORT",
        value_name = "PORT",
        value_delimiter = ',',
        default_value = "usual"
    )]
    allow_port: Vec<PortRule>,
    /// Refuse http:// URLs
    #[arg(long, env = "OUTHOOK_HTTPS_ONLY")]
    https_only: bool,
}

impl GuardArgs {
    pub fn guard(&self) -> Guard {
        Guard::default().with(Changes {
            allow: self.allow_cidr.clone(),
            deny: self.deny_cidr.clone(),
            ports: Some(Ports::new(self.allow_port.iter().copied())),
            https_only: Some(self.https_only),
        })
    }
}
