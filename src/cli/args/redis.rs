//! How to reach Redis, and which keys to use there.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use super::secret_files::secret_of;
use super::values::{nonempty, prefix};
use crate::store::{Keys, Redis, RedisConfig};
use crate::trust::secret::Secret;

/// How to reach Redis.
#[derive(Debug, Args)]
#[command(next_help_heading = "Redis")]
pub struct RedisArgs {
    /// Where Redis is: host:port, or a redis://, rediss://, unix://, redis+sentinel:// or
    /// redis+cluster:// URL. The variables REDIS_ADDRESS and REDIS_URL are read too
    /// [default: 127.0.0.1:6379]
    #[arg(long, env = "OUTHOOK_REDIS_ADDRESS", value_name = "ADDR", hide_env_values = true)]
    redis_address: Option<Secret>,
    /// File that holds the address, because an address may contain a password
    #[arg(long, env = "OUTHOOK_REDIS_ADDRESS_FILE", value_name = "FILE")]
    redis_address_file: Option<PathBuf>,
    /// Redis user (ACL)
    #[arg(long, env = "OUTHOOK_REDIS_USERNAME", value_name = "NAME")]
    redis_username: Option<String>,
    /// Redis password
    #[arg(long, env = "OUTHOOK_REDIS_PASSWORD", value_name = "PASSWORD", hide_env_values = true)]
    redis_password: Option<Secret>,
    /// File that holds the password
    #[arg(long, env = "OUTHOOK_REDIS_PASSWORD_FILE", value_name = "FILE")]
    redis_password_file: Option<PathBuf>,
    /// Password of the sentinels, for redis+sentinel://
    #[arg(
        long,
        env = "OUTHOOK_REDIS_SENTINEL_PASSWORD",
        value_name = "PASSWORD",
        hide_env_values = true
    )]
    redis_sentinel_password: Option<Secret>,
    /// File that holds the password of the sentinels
    #[arg(long, env = "OUTHOOK_REDIS_SENTINEL_PASSWORD_FILE", value_name = "FILE")]
    redis_sentinel_password_file: Option<PathBuf>,
    /// PEM file of the certificates to trust for rediss://, in place of Mozilla's
    #[arg(long, env = "OUTHOOK_REDIS_CA_FILE", value_name = "FILE")]
    redis_ca_file: Option<PathBuf>,
    /// Namespace: all keys begin with {PREFIX}, such as {PREFIX}:messages
    #[arg(long, env = "OUTHOOK_REDIS_PREFIX", value_name = "PREFIX", default_value = "outhook", value_parser = prefix)]
    redis_prefix: String,
    /// Stream to take messages from [default: {PREFIX}:messages]
    #[arg(long, env = "OUTHOOK_STREAM", value_name = "KEY", value_parser = nonempty)]
    stream: Option<String>,
    /// Consumer group of the stream
    #[arg(long, env = "OUTHOOK_GROUP", value_name = "NAME", default_value = "outhook", value_parser = nonempty)]
    group: String,
}

impl RedisArgs {
    /// Reads and checks the address; connects to nothing yet. The error is one line.
    pub fn open(&self) -> Result<Redis, String> {
        Redis::new(&self.config()?).map_err(|e| match e.to_string() {
            other if other.starts_with("--") => other,
            text => format!("--redis-address {text}"),
        })
    }

    /// The keys to use. The error is one line.
    pub fn keys(&self) -> Result<Keys, String> {
        let mut keys = Keys::new(&self.redis_prefix);
        if let Some(stream) = &self.stream {
            let tag = format!("{{{}}}", self.redis_prefix);
            if !stream.contains(&tag) {
                return Err(format!(
                    "--stream {stream}: it must contain {tag}, so that all keys are in one \
                     slot; see --redis-prefix"
                ));
            }
            keys.messages = stream.clone();
        }
        keys.group = self.group.clone();
        Ok(keys)
    }

    /// Puts together what flags, variables and files say. The error is one line.
    fn config(&self) -> Result<RedisConfig, String> {
        let flag = "--redis-address";
        let shown = |secret: Secret| secret.expose().to_owned();
        let file = self.redis_address_file.as_deref();
        let address = secret_of(flag, self.redis_address.as_ref(), file)?.map(shown);
        let address = address.unwrap_or_else(|| "127.0.0.1:6379".into());
        let file = self.redis_password_file.as_deref();
        let password = secret_of("--redis-password", self.redis_password.as_ref(), file)?;
        let flag = "--redis-sentinel-password";
        let file = self.redis_sentinel_password_file.as_deref();
        let sentinel_password = secret_of(flag, self.redis_sentinel_password.as_ref(), file)?;
        let ca = self
            .redis_ca_file
            .as_deref()
            .map(certificates)
            .transpose()?;
        Ok(RedisConfig {
            address,
            username: self.redis_username.clone(),
            password: password.map(shown),
            sentinel_password: sentinel_password.map(shown),
            ca,
            tag: format!("{{{}}}", self.redis_prefix),
        })
    }
}

/// The text of a PEM file. A file without a certificate would mean that nobody is trusted.
fn certificates(file: &Path) -> Result<Vec<u8>, String> {
    let shown = file.display();
    let text = fs::read_to_string(file)
        .map_err(|e| format!("--redis-ca-file {shown}: {e}; it must be a readable PEM file"))?;
    match text.contains("BEGIN CERTIFICATE") {
        true => Ok(text.into_bytes()),
        false => Err(format!(
            "--redis-ca-file {shown}: there is no certificate in it"
        )),
    }
}
