//! The subcommands, one a file: its options, and what it does. Each answers the process's exit code.

mod check;
mod dead;
mod deliver;
mod demo;
mod endpoints;
mod keygen;
mod keys;
mod listen;
mod parked;
mod secrets;
mod send;
mod serve;
mod status;
mod verify;

use std::process::ExitCode;

use clap::Subcommand;

use crate::cli::settings::Settings;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Take messages from a Redis stream and from Pub/Sub, and deliver them
    Serve(Box<serve::ServeArgs>),
    /// Receive webhooks and print them, for development
    Listen(listen::ListenArgs),
    /// Make a key that signs deliveries
    Keygen(keygen::KeygenArgs),
    /// Verify the signature of a request, and say why it is wrong
    Verify(Box<verify::VerifyArgs>),
    /// Check that Redis answers and allows all that deliveries need
    Check(check::CheckArgs),
    /// Deliver messages from standard input, one JSON object a line, without Redis
    Deliver(deliver::DeliverArgs),
    /// Show everything at work in one process, without Redis
    Demo(demo::DemoArgs),
    /// Send messages through Redis, from the command line or standard input
    Send(send::SendArgs),
    /// List, show, replay or purge dead letters
    Dead(dead::DeadArgs),
    /// List messages that wait in Redis, make them due now, or delete them
    Parked(parked::ParkedArgs),
    /// List keys (orderKey) that have messages, show the messages of a key, or skip its first one
    Keys(keys::KeysArgs),
    /// Store secrets in Redis, list their names, or delete them
    Secrets(secrets::SecretsArgs),
    /// Show what happened to a message
    Status(status::StatusArgs),
    /// List endpoints as the running replicas see them; pause or resume an endpoint
    Endpoints(endpoints::EndpointsArgs),
}

impl Command {
    /// The error is a bad configuration, in one line.
    pub fn run(self, settings: &Settings) -> Result<ExitCode, String> {
        match self {
            Command::Serve(args) => serve::run(&args, settings),
            Command::Listen(args) => listen::run(args, settings),
            Command::Keygen(args) => keygen::run(&args),
            Command::Verify(args) => verify::run(&args),
            Command::Check(args) => check::run(&args, settings),
            Command::Deliver(args) => deliver::run(&args, settings),
            Command::Demo(args) => demo::run(&args, settings),
            Command::Send(args) => send::run(&args),
            Command::Dead(args) => dead::run(&args),
            Command::Parked(args) => parked::run(&args),
            Command::Keys(args) => keys::run(&args),
            Command::Secrets(args) => secrets::run(&args),
            Command::Status(args) => status::run(&args),
            Command::Endpoints(args) => endpoints::run(&args),
        }
    }
}
