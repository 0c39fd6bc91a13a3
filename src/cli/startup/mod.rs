//! What `serve`, `deliver` and `demo` begin with: the rules, the secrets, and who reads them again or
//! ends the process.

pub mod descriptors;
mod keyring;
pub mod rules;

use std::time::Duration;

use log::warn;

use crate::cli::args::delivery::DeliveryArgs;
use crate::cli::settings::Settings;
use crate::delivery::config::DeliveryConfig;
use crate::delivery::endpoints_file::Bounds;
use crate::delivery::rules::EndpointRules;
use crate::service::control::{Commands, Inbox};
use crate::service::drain::Drain;
use crate::service::outage::OutageTracker;
use crate::service::pipeline::Control;
use crate::service::pulse::Pulse;
use crate::service::signals;
use crate::store::{Keys, Redis};
use crate::trust::keyring::Keyring;

/// The longest timeout of a rule where no lease bounds it.
pub const LONGEST: Duration = Duration::from_secs(3600);

/// What all three have before their pipeline starts.
pub struct Start {
    pub commands: Commands,
    pub inbox: Inbox,
    pub rules: EndpointRules,
    pub keyring: Option<Keyring>,
    pub drain: Drain,
}

impl Start {
    /// From here on signals are heeded. `longest`: the most that a rule's timeout may be; `redis`:
    /// where secrets may be. The error is a bad configuration, in one line.
    pub fn new(
        settings: &Settings,
        args: &DeliveryArgs,
        config: &DeliveryConfig,
        longest: Duration,
        redis: Option<(&Redis, &Keys)>,
        secrets_outage: OutageTracker,
    ) -> Result<Start, String> {
        let (commands, inbox) = Commands::channel();
        let bounds = Bounds {
            schedule: config.schedule.clone(),
            usual_timeout: config.timeout,
            max_age: config.max_age,
            timeout: longest,
            workers: config.workers,
            guard: config.guard.clone(),
        };
        let file = args.endpoints.as_deref();
        let (rules, reload) = rules::watch(file, bounds, &args.signing, commands.clone())?;
        let keyring = keyring::open(&args.keyring, redis, secrets_outage)?;
        let reload = rules::and_secrets(reload, keyring.clone());
        let drain =
            signals::listen(commands.clone(), reload).map_err(|e| format!("signals: {e}"))?;
        settings.tell();
        args.doubts().iter().for_each(|doubt| warn!("{doubt}"));
        Ok(Start {
            commands,
            inbox,
            rules,
            keyring,
            drain,
        })
    }

    /// Without Redis: for a process that is alone.
    pub fn control(self, replica: &str) -> (Drain, Control) {
        let control = Control {
            rules: self.rules,
            inbox: self.inbox,
            replica: replica.into(),
            pulse: Pulse::default(),
            wants: None,
            lender: None,
            keyring: self.keyring,
        };
        (self.drain, control)
    }
}
