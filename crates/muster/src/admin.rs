//! Administration: accounts, templates, tokens, agents, requests, certificates, audit, directories. Works on the store of an installation, whether
//! its service runs or not; who may read the installation's files may administer it.

mod account;
mod ad;
mod adcs;
mod agent;
mod audit;
mod certificate;
mod request;
mod template;
mod token;

use std::os::unix::fs::MetadataExt;

use clap::{Args, Subcommand};
use muster_core::audit::Actor;
use muster_core::{Clock, UnixTime};
use muster_server::{Settings, SystemClock};
use muster_store::{Options, Store};

use crate::output::{Failure, Outcome, Output};
use crate::serve::ConfigFile;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Accounts that sign in with a password.
    Account(With<account::Account>),
    /// Templates: what certificates there are and who may have them.
    Template(With<template::Template>),
    /// One-time tokens: a user name and a password for one certificate.
    Token(With<token::Token>),
    /// Enrollment agents: who may enroll for others.
    Agent(With<agent::Agent>),
    /// Requests, and the decision on those that wait for an officer.
    Request(With<request::Request>),
    /// Issued certificates and their revocation.
    Cert(With<certificate::Certificate>),
    /// The record of every change and every refusal.
    Audit(With<audit::Audit>),
    /// Active Directory: setting up, checking, publishing, templates.
    Ad(ad::Ad),
    /// The authorities of AD CS behind this service: checking, requests, decisions, revocation.
    Adcs(adcs::Adcs),
}

/// A group of subcommands with the configuration that they work on.
#[derive(Debug, Args)]
pub(crate) struct With<T: Subcommand> {
    #[command(flatten)]
    file: ConfigFile,
    #[command(subcommand)]
    command: T,
}

pub(crate) async fn run(command: Command, output: Output) -> Outcome {
    match command {
        Command::Account(with) => account::run(with.command, &Admin::open(&with.file).await?, output).await,
        Command::Template(with) => template::run(with.command, &Admin::open(&with.file).await?, output).await,
        Command::Token(with) => token::run(with.command, &Admin::open(&with.file).await?, output).await,
        Command::Agent(with) => agent::run(with.command, &Admin::open(&with.file).await?, output).await,
        Command::Request(with) => request::run(with.command, &Admin::open(&with.file).await?, output).await,
        Command::Cert(with) => certificate::run(with.command, &Admin::open(&with.file).await?, output).await,
        Command::Audit(with) => audit::run(with.command, &Admin::open(&with.file).await?, output).await,
        Command::Ad(ad) => ad::run(ad, output).await,
        Command::Adcs(adcs) => adcs::run(adcs, output).await,
    }
}

/// An installation opened by somebody at this machine.
pub(crate) struct Admin {
    pub(crate) settings: Settings,
    pub(crate) store: Store,
    /// The operating system's name for that person.
    pub(crate) officer: String,
}

impl Admin {
    async fn open(file: &ConfigFile) -> Outcome<Self> {
        let settings = file.load()?;
        let path = muster_server::service::store_path(&settings);
        if !path.exists() {
            return Err(Failure::new(format_args!("there is no store at {}", path.display())).hint(
                "check data_dir in the configuration, or make an installation with 'muster quickstart'",
            ));
        }
        let options = Options { create: false, ..Options::default() };
        let store = Store::open(&path, &options, now())?;
        Ok(Self { settings, store, officer: officer() })
    }

    pub(crate) fn actor(&self) -> Actor {
        Actor::Officer(self.officer.clone())
    }
}

pub(crate) fn now() -> UnixTime {
    SystemClock.now()
}

/// The name of whoever runs this, by the user id of the process; never by what the environment says.
fn officer() -> String {
    let Ok(metadata) = std::fs::metadata("/proc/self") else { return "unknown".to_owned() };
    let uid = metadata.uid().to_string();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| format!("uid-{uid}"))
}
