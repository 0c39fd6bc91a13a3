//! Which Pub/Sub channels are subscribed to.

use clap::Args;

use super::values::nonempty;

/// What to listen to.
#[derive(Debug, Args)]
pub struct ChannelArgs {
    /// Pub/Sub channel to subscribe to; repeatable
    #[arg(long = "channel", env = "OUTHOOK_CHANNEL", value_name = "NAME", default_value = "payments",
          value_delimiter = ',', value_parser = nonempty)]
    pub names: Vec<String>,
}
