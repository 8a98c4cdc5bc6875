//! The client subcommands: what is asked on the command line becomes calls of `muster-client`.
//!
//! Exit codes: 0 done, 1 failed on this machine, 2 wrong usage, 3 refused by the service, 4 pending, 5 no endpoint
//! could be reached, 6 it is not known whether the service acted. With `--json` each verb prints one object to stdout,
//! whose `status` says the same as the exit code.

use std::process::ExitCode;

use crate::output::Output;

mod autoenroll;
mod certmonger;
mod config;
mod enroll;
mod failure;
mod options;
mod policy;
mod renew;
mod report;
mod run;
mod servers;
mod sources;
mod status;

#[cfg(feature = "server")]
pub(crate) use enroll::{First, enroll_first};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Show which templates a policy server offers to you.
    Policy(Box<policy::Policy>),
    /// Make a key and get a certificate for it.
    Enroll(Box<enroll::Enroll>),
    /// Renew a certificate with its own key as proof.
    Renew(Box<renew::Renew>),
    /// Keep a folder of certificates as the policies want it: enroll, renew, fetch; made for timers.
    Autoenroll(Box<autoenroll::Autoenroll>),
    /// Helper of certmonger: asks in its name.
    CertmongerSubmit(Box<certmonger::CertmongerSubmit>),
    /// Ask what became of a request that was pending.
    Status(Box<status::Status>),
}

pub(crate) async fn run(command: Command, output: Output) -> ExitCode {
    let ending = match command {
        Command::Policy(arguments) => policy::run(*arguments, output).await,
        Command::Enroll(arguments) => enroll::run(*arguments, output).await,
        Command::Renew(arguments) => renew::run(*arguments, output).await,
        Command::Autoenroll(arguments) => autoenroll::run(*arguments, output).await,
        Command::CertmongerSubmit(arguments) => certmonger::run(*arguments, output).await,
        Command::Status(arguments) => status::run(*arguments, output).await,
    };
    match ending {
        Ok(code) => code,
        Err(failure) => failure.report(output),
    }
}
