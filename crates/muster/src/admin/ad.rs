//! `muster ad …`: what an administrator does between this installation and Active Directory.
//!
//! The commands talk to the directory themselves, whether the service runs or not. They read it with the service's
//! account; what they write is planned first, shown on request, and nobody else's objects are touched.

pub(in crate::admin) mod check;
mod publish;
mod setup;
mod templates;

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use muster_directory::ldap::{Access, LdapError, LdapSettings, Login, ResultCode, TlsBind};
use muster_directory::publish::{Action, Change};
use muster_directory::{Directory, DirectorySettings, LiveSnapshot, Plan};
use muster_server::config::DirectoryDomain;
use muster_server::{Settings, SystemClock};
use serde::Serialize;

use crate::output::{Failure, Outcome, Output};
use crate::serve::ConfigFile;

/// The directory has this long to show its templates.
const PATIENCE: Duration = Duration::from_secs(30);

/// The arguments that all of them have, and which one it is.
#[derive(Debug, Args)]
pub(crate) struct Ad {
    #[command(flatten)]
    file: ConfigFile,
    /// The domain, such as corp.example; needed where several are configured.
    #[arg(long, global = true, value_name = "DOMAIN")]
    domain: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the commands and the configuration that let this service into a domain.
    Setup(setup::Setup),
    /// Say what is wrong between this machine and the configured domains, each in a sentence.
    Check,
    /// Write this CA, its templates and its addresses into the directory, where clients look for them.
    Publish(publish::Publish),
    /// Take back what 'publish' wrote.
    Unpublish(publish::Unpublish),
    /// The directory's templates for this CA: state, acceptance of dangers, export and import.
    Templates {
        #[command(subcommand)]
        command: Option<templates::Templates>,
    },
}

pub(crate) async fn run(ad: Ad, output: Output) -> Outcome {
    let domain = ad.domain.map(|domain| domain.to_ascii_lowercase());
    match ad.command {
        Command::Setup(setup) => setup::run(&setup, domain, &ad.file, output),
        Command::Check => check::run(&ad.file.load()?, domain.as_deref(), output).await,
        Command::Publish(publish) => publish::publish(&publish, &ad.file.load()?, domain, output).await,
        Command::Unpublish(unpublish) => {
            let admin = super::Admin::open(&ad.file).await?;
            publish::unpublish(&unpublish, &admin, domain, output).await
        }
        Command::Templates { command } => {
            let admin = super::Admin::open(&ad.file).await?;
            templates::run(
                command.unwrap_or(templates::Templates::List { all: false }),
                &admin,
                domain,
                output,
            )
            .await
        }
    }
}

/// The configured domain of this name, or the only one.
fn choose(settings: &Settings, domain: Option<String>) -> Outcome<&DirectoryDomain> {
    let names =
        || settings.directories.iter().map(|known| known.domain.as_str()).collect::<Vec<_>>().join(", ");
    match (domain, settings.directories.as_slice()) {
        (_, []) => Err(Failure::new("no domain is configured")
            .hint("'muster ad setup --domain corp.example' prints what to do and what to write")),
        (None, [one]) => Ok(one),
        (None, _) => Err(Failure::new(format_args!("several domains are configured: {}", names()))
            .hint("name one with --domain")),
        (Some(name), known) => known.iter().find(|domain| domain.domain == name).ok_or_else(|| {
            Failure::new(format_args!("the domain {name} is not configured, but {}", names()))
        }),
    }
}

/// A connection to a domain: as the service, or with the tickets of whoever runs this.
pub(in crate::admin) fn connect(domain: &DirectoryDomain, as_me: bool) -> Arc<Directory> {
    let mut ldap = domain.ldap.clone();
    if as_me {
        with_own_tickets(&mut ldap);
    }
    Directory::start(DirectorySettings::new(ldap), Arc::new(SystemClock))
}

fn with_own_tickets(ldap: &mut LdapSettings) {
    let tickets = Login::Tickets(None);
    match &mut ldap.access {
        Access::Sealed(login) => *login = tickets,
        Access::Tls { bind, .. } => *bind = TlsBind::Kerberos(tickets),
    }
}

/// What hinders, for people. Where a right is missing, the way to one that has it.
fn directory_failure(error: &LdapError, as_me: bool) -> Failure {
    let failure = Failure::new(error);
    let refused = ResultCode::INSUFFICIENT_ACCESS;
    let unwritable = matches!(error, LdapError::Refused(outcome) if outcome.code == refused);
    failure.hint(match (unwritable, as_me) {
        (true, false) => {
            "the service's account may not write there: get a ticket as an enterprise administrator (kinit) and add \
             --as-me, or apply what --dry-run prints with ldapmodify"
        }
        (true, true) => "whoever holds the ticket that klist shows has to be a member of Enterprise Admins",
        (false, true) => "'klist' shows whose ticket is used; 'kinit Administrator@REALM' gets one",
        (false, false) => "'muster ad check' says what is wrong and what to do",
    })
}

/// Templates and CAs as they are now.
async fn snapshot(directory: &Directory, as_me: bool) -> Outcome<Arc<LiveSnapshot>> {
    let mut changes = directory.live().subscribe();
    // The connection says why there is none; the reader of templates would only not come.
    directory.client().session().await.map_err(|error| directory_failure(&error, as_me))?;
    let wait = async {
        loop {
            if let Some(live) = changes.borrow_and_update().clone() {
                return Some(live);
            }
            changes.changed().await.ok()?;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.ok().flatten().ok_or_else(|| {
        Failure::new("the directory did not show its templates").hint("'muster ad check' says what is wrong")
    })
}

/// Shows a question with its consequences and goes on only if `word` was typed, or piped in.
fn typed(consequences: &str, word: &str) -> Outcome {
    let mut err = std::io::stderr().lock();
    let prompt =
        if std::io::stdin().is_terminal() { format!("Type {word} to go on: ") } else { String::new() };
    // Where stderr is closed nobody reads, and nobody will answer.
    let _ = write!(err, "{consequences}\n{prompt}");
    let _ = err.flush();
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    if answer.trim() == word {
        return Ok(());
    }
    Err(Failure::new(format_args!("nothing was changed: '{word}' was not typed")))
}

/// A change as JSON has it.
#[derive(Serialize)]
struct ChangeRow {
    dn: String,
    purpose: String,
    action: &'static str,
}

#[derive(Serialize)]
struct Applied<'a> {
    applied: bool,
    changes: Vec<ChangeRow>,
    remarks: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    ldif: Option<String>,
}

/// Prints a plan as LDIF, or applies it and says what was done.
async fn carry_out(directory: &Directory, plan: &Plan, how: How, output: Output) -> Outcome {
    if !how.dry_run {
        directory.apply(plan).await.map_err(|error| {
            let (_, hint) = directory_failure(&error.error, how.as_me).into_parts();
            let failure = Failure::new(&error);
            match hint {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        })?;
    }
    if output.json {
        let row = |change: &Change| {
            let action = match change.action {
                Action::Add(_) => "add",
                Action::Modify(_) => "modify",
                Action::Delete => "delete",
            };
            ChangeRow { dn: change.dn.clone(), purpose: change.purpose.clone(), action }
        };
        let result = Applied {
            applied: !how.dry_run,
            changes: plan.changes.iter().map(row).collect(),
            remarks: &plan.remarks,
            ldif: how.dry_run.then(|| plan.to_string()),
        };
        return output.value(&result, String::new);
    }
    if how.dry_run {
        return match plan.changes.as_slice() {
            [] => {
                plan.remarks.iter().for_each(|remark| output.note(format_args!("note: {remark}")));
                output.note("nothing is to be changed");
                Ok(())
            }
            _ => output.line(plan.to_string().trim_end()),
        };
    }
    plan.remarks.iter().for_each(|remark| output.note(format_args!("note: {remark}")));
    for change in &plan.changes {
        let did = match change.action {
            Action::Add(_) => "added",
            Action::Modify(_) => "changed",
            Action::Delete => "deleted",
        };
        output.line(format_args!("{did}  {} ({})", change.dn, change.purpose))?;
    }
    match plan.changes.len() {
        0 => output.note("nothing was to be changed"),
        1 => output.note("1 object changed"),
        count => output.note(format_args!("{count} objects changed")),
    }
    Ok(())
}

/// How a plan is carried out.
#[derive(Clone, Copy, Debug)]
struct How {
    dry_run: bool,
    as_me: bool,
}
