//! The executable: server, administrator and client subcommands.
//!
//! Exit codes: 0 done, 1 failed on this machine, 2 wrong usage; the client subcommands add 3 refused by the service,
//! 4 pending, 5 no endpoint reached, 6 outcome unknown.

#[cfg(feature = "server")]
mod admin;
mod client;
mod output;
#[cfg(feature = "server")]
mod quickstart;
#[cfg(feature = "server")]
mod serve;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::output::Output;

/// An enrollment allocates some hundred times; docs/benchmarks.md says what this saves in time and memory.
#[cfg(feature = "server")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Certificate enrollment over HTTPS: the services CES and CEP, a certification authority, and a client.
#[derive(Debug, Parser)]
#[command(name = "muster", version, propagate_version = true)]
struct Arguments {
    /// Print results as JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[cfg(feature = "server")]
    #[command(flatten)]
    Server(serve::Command),
    #[cfg(feature = "server")]
    #[command(flatten)]
    Admin(admin::Command),
    #[command(flatten)]
    Client(Box<client::Command>),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let output = Output { json: arguments.json };
    // A second provider in the dependency graph would otherwise make the choice ambiguous.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        return output::Failure::new("the TLS provider was chosen twice").report();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output::Failure::from(error).report(),
    };
    runtime.block_on(run(arguments.command, output))
}

async fn run(command: Command, output: Output) -> ExitCode {
    let outcome: output::Outcome = match command {
        #[cfg(feature = "server")]
        Command::Server(command) => serve::run(command, output).await,
        #[cfg(feature = "server")]
        Command::Admin(command) => admin::run(command, output).await,
        Command::Client(command) => return client::run(*command, output).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "muster", &mut script);
            output.line(String::from_utf8_lossy(&script).trim_end())
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
