//! `muster adcs …`: the authorities of AD CS behind this service, as an administrator sees them.
//!
//! The commands ask an authority themselves, whether the service runs or not: with the service's own account, or with the
//! ticket of whoever runs them. What that account may do there, the authority decides.

mod check;
mod delegation;
mod requests;
mod settle;

use clap::{Args, Subcommand};
use muster_adcs::{AdcsError, HResult, Identity};
use muster_gss::{Credential, Gss, InitiateError, Login};
use muster_server::Settings;
use muster_server::config::{AdcsSettings, Backend, OwnAccount};

use crate::output::{Failure, Outcome, Output};
use crate::serve::ConfigFile;

/// The arguments that all of them have, and which one it is.
#[derive(Debug, Args)]
pub(crate) struct Adcs {
    #[command(flatten)]
    file: ConfigFile,
    /// The authority, as the configuration names it; needed where several are configured.
    #[arg(long, global = true, value_name = "NAME")]
    ca: Option<String>,
    /// Ask with your own Kerberos ticket (kinit) instead of the service's account.
    #[arg(long, global = true)]
    as_me: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what is wrong between this machine and the configured authorities, each in a sentence.
    Check(check::Check),
    /// List the templates that the authority issues from.
    Templates,
    /// List the authority's requests, newest first; or with --unknown those of ours whose call broke.
    Requests(requests::Requests),
    /// Approve a request that waits at the authority; needs "Issue and Manage Certificates" there.
    Approve {
        /// The authority's number of the request.
        id: u32,
    },
    /// Deny a request that waits at the authority; needs "Issue and Manage Certificates" there.
    Deny {
        /// The authority's number of the request.
        id: u32,
    },
    /// Revoke a certificate of the authority's; needs "Issue and Manage Certificates" there.
    Revoke(requests::Revoke),
    /// Write down what became of a request of ours whose call broke.
    Settle(settle::Settle),
}

pub(crate) async fn run(adcs: Adcs, output: Output) -> Outcome {
    let Adcs { file, ca, as_me, command } = adcs;
    let one = |settings: &Settings| choose(settings, ca.as_deref()).and_then(|ca| Authority::of(ca, as_me));
    match command {
        Command::Check(check) => check::run(&check, &file.load()?, ca.as_deref(), output).await,
        Command::Templates => requests::templates(&one(&file.load()?)?, output).await,
        Command::Requests(requests) if requests.unknown => {
            let admin = super::Admin::open(&file).await?;
            settle::unknown(&admin, ca.as_deref(), as_me, output).await
        }
        Command::Requests(requests) => requests::list(&requests, &one(&file.load()?)?, output).await,
        Command::Approve { id } => requests::approve(id, &one(&file.load()?)?, output).await,
        Command::Deny { id } => requests::deny(id, &one(&file.load()?)?, output).await,
        Command::Revoke(revoke) => requests::revoke(&revoke, &one(&file.load()?)?, output).await,
        Command::Settle(settle) => {
            let admin = super::Admin::open(&file).await?;
            settle::run(&settle, &admin, as_me, output).await
        }
    }
}

/// An authority, and in whose name it is asked.
struct Authority {
    name: String,
    connector: muster_adcs::Adcs,
    /// The certificates that it signs with, DER.
    issuers: Vec<Vec<u8>>,
    identity: Identity,
    as_me: bool,
}

impl Authority {
    fn of((name, settings): (&str, &AdcsSettings), as_me: bool) -> Outcome<Self> {
        let connector = settings.connector(name).map_err(Failure::new)?;
        let issuers = connector.issuers.clone();
        let identity = if as_me { own_ticket()? } else { service(settings)? };
        let connector = muster_adcs::Adcs::new(connector);
        Ok(Self { name: name.to_owned(), connector, issuers, identity, as_me })
    }

    /// A failure with what to do about it.
    fn failure(&self, error: &AdcsError) -> Failure {
        let who = if self.as_me { "the owner of the ticket that klist shows" } else { self.identity.name() };
        let failure = Failure::new(error);
        if !matches!(error, AdcsError::NotDone { result: HResult::ACCESS_DENIED, .. }) {
            return failure.hint(advice(error));
        }
        if self.as_me {
            return failure.hint(format_args!(
                "{who} needs \"Issue and Manage Certificates\", for lists \"Read\", on the authority (certsrv.msc, \
                 properties, security)"
            ));
        }
        failure.hint(format_args!(
            "{who} may not, and need not be able to: get a ticket of somebody who may (kinit) and add --as-me"
        ))
    }
}

/// The configured authority of this name, or the only one.
fn choose<'a>(settings: &'a Settings, name: Option<&str>) -> Outcome<(&'a str, &'a AdcsSettings)> {
    let known = authorities(settings);
    let names = || known.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    match (name, known.as_slice()) {
        (_, []) => Err(Failure::new("no authority of AD CS is configured")
            .hint("[ca.\"NAME\"] with backend = \"adcs\" configures one: see docs/adcs.md")),
        (None, [one]) => Ok(*one),
        (None, _) => Err(Failure::new(format_args!("several authorities are configured: {}", names()))
            .hint("name one with --ca")),
        (Some(name), known) => known.iter().find(|(known, _)| *known == name).copied().ok_or_else(|| {
            Failure::new(format_args!("the authority {name} is not configured, but {}", names()))
        }),
    }
}

fn authorities(settings: &Settings) -> Vec<(&str, &AdcsSettings)> {
    settings
        .authorities
        .iter()
        .filter_map(|ca| match &ca.backend {
            Backend::Adcs(adcs) => Some((&*ca.name, adcs)),
            Backend::Embedded(_) | Backend::Relay(_) => None,
        })
        .collect()
}

/// The service's account at an authority.
fn account(settings: &AdcsSettings) -> Outcome<&OwnAccount> {
    settings.account.as_ref().ok_or_else(|| {
        Failure::new("no account of the service is configured for this authority")
            .hint("set account and keytab of [ca.\"NAME\"], or ask with your own ticket: kinit, then --as-me")
    })
}

fn library() -> Outcome<Gss> {
    Gss::load().map_err(|missing| {
        Failure::new(missing).hint("install MIT's Kerberos library (Debian: libgssapi-krb5-2)")
    })
}

/// The service's account, able to act for callers too.
fn credential(account: &OwnAccount) -> Outcome<Credential> {
    let made = library()?.service(&account.keytab, &account.principal);
    made.map_err(|error| {
        Failure::new(format_args!("{}: {error}", account.principal))
            .hint(muster_directory::check::kerberos_advice(&error))
    })
}

fn service(settings: &AdcsSettings) -> Outcome<Identity> {
    let account = account(settings)?;
    Ok(Identity::new(&account.principal, credential(account)?))
}

fn own_ticket() -> Outcome<Identity> {
    let made = library()?.credential(&Login::DefaultCache);
    let credential =
        made.map_err(|error| Failure::new(error).hint("'klist' shows tickets; 'kinit NAME@REALM' gets one"))?;
    Ok(Identity::new("the owner of the ticket", credential))
}

/// What to do about what hinders.
fn advice(error: &AdcsError) -> String {
    match error {
        AdcsError::Unreachable { .. } | AdcsError::ConnectTimedOut { .. } => {
            "see whether the host runs and is the right one, and whether ports 135 and 49152 to 65535 (or the one fixed \
             for the authority) are open from here"
                .to_owned()
        }
        AdcsError::Ticket { error, .. } => ticket_advice(error),
        AdcsError::NotServed { .. } => "see whether the service certsvc runs there, and whether its interface is switched \
             off (certutil -getreg CA\\InterfaceFlags); protocol = \"dcom\" asks by the other one"
            .to_owned(),
        AdcsError::Activation { result: HResult::ACCESS_DENIED, .. } => DCOM_ACCESS.to_owned(),
        AdcsError::Activation { .. } => {
            "see whether an authority is installed there, and whether its service certsvc runs".to_owned()
        }
        AdcsError::Connection { error, .. } | AdcsError::CallRefused { error, .. }
            if error.to_string().contains("ACCESS") =>
        {
            DCOM_ACCESS.to_owned()
        }
        AdcsError::Connection { .. } | AdcsError::CallRefused { .. } => {
            "see whether the host is an authority of AD CS that speaks Kerberos with packet privacy".to_owned()
        }
        AdcsError::NotOffered { .. } => "ask an authority of Windows Server 2003 or newer, over DCOM".to_owned(),
        AdcsError::NotDone { .. } | AdcsError::NotSaid { .. } => {
            "'muster adcs requests' shows what the authority has; its event log says more".to_owned()
        }
        AdcsError::NotItsOwn { .. } | AdcsError::Untrusted { .. } => {
            "see whether 'certificates' has the authority's present certificate; if it has, somebody else answers".to_owned()
        }
        AdcsError::Busy { .. } => "raise max_connections".to_owned(),
        AdcsError::Unknown { .. } => "look whether it was done before it is done again".to_owned(),
    }
}

const DCOM_ACCESS: &str = "put the account into the group Certificate Service DCOM Access on the authority's host, and give it \
     \"Read\" (and, to request, \"Request Certificates\") on the authority";

fn ticket_advice(error: &InitiateError) -> String {
    let ours = if matches!(error, InitiateError::UnknownService(_)) {
        "'server' must be a name of the authority's host that the directory knows: 'setspn -L HOST' lists them"
    } else {
        muster_directory::check::kerberos_advice(error)
    };
    ours.to_owned()
}
