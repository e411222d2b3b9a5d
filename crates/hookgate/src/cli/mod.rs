//! The commands. Exit codes: 0 done, 1 refused or failed, 2 wrong usage.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::{
    access::Place,
    deployed::Wanted,
    local::{DATA, Folder},
    show,
};

mod ask;
mod check;
mod destinations;
mod dev;
mod dlq;
mod env;
mod events;
mod follow;
mod inbox;
mod listen;
mod providers;
mod quarantine;
mod reconcile;
mod records;
mod replay;
mod request_file;
mod route;
mod secrets;
mod send;
mod since;
mod stats;
mod stop;
mod verify;

/// A webhook gateway for your own AWS account, and all of it on one machine.
#[derive(Debug, Parser)]
#[command(name = "hookgate", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    dev: dev::Dev,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway here, with an embedded table and queue (the default)
    Dev(dev::Dev),
    /// Send a genuine, freshly signed sample to the gateway
    Send(send::Send),
    /// See what has happened to events
    #[command(subcommand)]
    Events(events::Events),
    /// Forward events, as they come, to a program on this machine
    Listen(listen::Listen),
    /// See what was refused and kept apart, and let it in
    #[command(subcommand)]
    Quarantine(quarantine::Quarantine),
    /// Run again what gave up
    Replay(replay::Replay),
    /// See how the places that actions reach stand, and switch them off and on
    #[command(subcommand)]
    Destinations(destinations::Destinations),
    /// See the messages that killed the worker, and send them again
    #[command(subcommand)]
    Dlq(dlq::Dlq),
    /// See how it goes: events by source, times, and what waits
    Stats(stats::Stats),
    /// See what `record` actions keep
    Records(records::Records),
    /// See what `count` actions have counted
    Counts(records::Counts),
    /// See what actions have sent to the local destinations
    Inbox(inbox::Inbox),
    /// Check hookgate.toml and say what it means
    Check(check::Check),
    /// List the senders that hookgate knows
    Providers(providers::Providers),
    /// Say why a request is verified, or which step fails and the likely cause
    Verify(verify::Verify),
    /// Show what an event would do, without doing it
    Route(route::Route),
    /// Ask GitHub or Stripe what it sent, and bring in what is missing
    Reconcile(reconcile::Reconcile),
    /// Print the variables with which the real functions, cargo-lambda and the AWS CLI run against the local stack
    Env(env::Env),
}

/// Where the local stack keeps its data.
#[derive(Clone, Debug, Args)]
struct DataArgs {
    /// Folder of the local stack's data
    #[arg(long, value_name = "DIR", default_value = DATA)]
    data: PathBuf,
}

impl DataArgs {
    fn folder(&self) -> Folder {
        Folder::new(&self.data)
    }
}

/// Which installation: the local stack, or a deployed one.
#[derive(Clone, Debug, Args)]
struct PlaceArgs {
    /// A deployed stack, by the name that CloudFormation knows it by; otherwise the local one
    #[arg(long, value_name = "NAME")]
    stack: Option<String>,
    /// Region of the deployed stack, where the environment or the profile does not say it
    #[arg(long, requires = "stack")]
    region: Option<String>,
    /// Profile of ~/.aws/config to reach the deployed stack with
    #[arg(long, requires = "stack")]
    profile: Option<String>,
    #[command(flatten)]
    data: DataArgs,
}

impl PlaceArgs {
    fn place(&self) -> Place {
        match &self.stack {
            None => Place::Local(self.data.folder()),
            Some(name) => Place::Deployed(Wanted {
                name: name.clone(),
                region: self.region.clone(),
                profile: self.profile.clone(),
            }),
        }
    }
}

/// Which configuration.
#[derive(Clone, Debug, Args)]
struct ConfigArgs {
    /// Configuration to use instead of ./hookgate.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs the program.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            show::note(&format!("hookgate: no threads could be started: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let done = runtime.block_on(async {
        match cli.command.unwrap_or(Command::Dev(cli.dev)) {
            Command::Dev(command) => command.run().await,
            Command::Send(command) => command.run().await,
            Command::Events(command) => command.run().await,
            Command::Listen(command) => command.run().await,
            Command::Quarantine(command) => command.run().await,
            Command::Replay(command) => command.run().await,
            Command::Destinations(command) => command.run().await,
            Command::Dlq(command) => command.run().await,
            Command::Stats(command) => command.run().await,
            Command::Records(command) => command.run().await,
            Command::Counts(command) => command.run().await,
            Command::Inbox(command) => command.run(),
            Command::Check(command) => command.run().await,
            Command::Providers(command) => command.run(),
            Command::Verify(command) => command.run().await,
            Command::Route(command) => command.run(),
            Command::Reconcile(command) => command.run().await,
            Command::Env(command) => command.run(),
        }
    });
    match done {
        Ok(code) => code,
        Err(error) => {
            show::note(&format!("hookgate: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
