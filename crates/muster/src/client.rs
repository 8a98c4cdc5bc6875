//! The client subcommands.

use std::path::Path;
use std::process::ExitCode;

use crate::output::{Failure, Outcome, Output};

/// What the first enrollment of an installation needs.
#[cfg(feature = "server")]
pub(crate) struct First<'a> {
    /// The policy service.
    pub(crate) policy_url: &'a str,
    /// PEM of the CA that the service's certificate comes from.
    pub(crate) ca_file: &'a Path,
    /// The account.
    pub(crate) user: &'a str,
    /// The file with its password.
    pub(crate) password_file: &'a Path,
    /// The template's name.
    pub(crate) template: &'a str,
    /// Where the certificate goes.
    pub(crate) certificate: &'a Path,
    /// Where the private key goes.
    pub(crate) key: &'a Path,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {}

pub(crate) async fn run(command: Command, _: Output) -> ExitCode {
    match command {}
}

/// Enrolls the first certificate of an installation.
#[cfg(feature = "server")]
pub(crate) async fn enroll_first(first: First<'_>, _: Output) -> Outcome {
    let _ = (
        first.policy_url,
        first.ca_file,
        first.user,
        first.password_file,
        first.template,
        first.certificate,
        first.key,
    );
    Err(Failure::new("the client subcommands are not there yet"))
}
