//! `muster account …`

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use muster_core::identity::{AccountName, Principal, PrincipalKind};
use muster_core::names;
use muster_store::{Account as Stored, CertificateFilter, PasswordHash};
use serde::Serialize;

use super::{Admin, now};
use crate::output::{Failure, Outcome, Output};

#[derive(Debug, Subcommand)]
pub(crate) enum Account {
    /// Add an account; the password is asked for, or read from a file, unless there is to be none.
    Add(Add),
    /// Change names and groups of an account; what is not named stays.
    Set(Set),
    /// Set a new password.
    Password {
        /// The account.
        name: AccountName,
        #[command(flatten)]
        password: PasswordSource,
    },
    /// Let a disabled account sign in again.
    Enable {
        /// The account.
        name: AccountName,
    },
    /// Stop an account at once; its certificates no longer authenticate either.
    Disable {
        /// The account.
        name: AccountName,
    },
    /// Remove an account.
    Remove {
        /// The account.
        name: AccountName,
    },
    /// List all accounts.
    List,
    /// Show one account.
    Show {
        /// The account.
        name: AccountName,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Add {
    /// Its name.
    #[arg(value_parser = local_name)]
    name: AccountName,
    /// Person or machine.
    #[arg(long, value_enum, default_value_t = Kind::User)]
    kind: Kind,
    #[command(flatten)]
    names: Names,
    #[command(flatten)]
    password: PasswordSource,
    /// No password: the account signs in with certificates only, until 'muster account password' sets one.
    #[arg(long, conflicts_with = "password_file")]
    no_password: bool,
}

/// The name of an account that the store may hold; those with a domain belong to a directory.
fn local_name(text: &str) -> Result<AccountName, String> {
    let name: AccountName = text.parse().map_err(|e: muster_core::identity::NameError| e.to_string())?;
    if name.is_local() {
        Ok(name)
    } else {
        Err(format!(
            "'{text}' is the name of an account of a directory, or of a token, which is kept elsewhere"
        ))
    }
}

#[derive(Debug, Args)]
pub(crate) struct Set {
    /// The account.
    name: AccountName,
    #[command(flatten)]
    names: Names,
}

#[derive(Debug, Args)]
struct Names {
    /// A group it is in; may be repeated [default for a new account: users or computers].
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<AccountName>,
    /// Common name for certificates [default: the account's name].
    #[arg(long)]
    common_name: Option<String>,
    /// E-mail address, verified by whoever adds the account.
    #[arg(long)]
    email: Option<String>,
    /// User principal name.
    #[arg(long)]
    upn: Option<String>,
    /// A host name that belongs to it; may be repeated, its own comes first.
    #[arg(long = "dns", value_name = "HOST")]
    dns_names: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PasswordSource {
    /// Read the password from the first line of this file instead of asking.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Kind {
    /// A person, or a service that acts for one.
    User,
    /// A machine.
    Computer,
}

#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    principal: Principal,
    enabled: bool,
    has_password: bool,
}

impl From<Stored> for Row {
    fn from(account: Stored) -> Self {
        Self {
            has_password: account.password_hash.is_some(),
            enabled: account.enabled,
            principal: account.principal,
        }
    }
}

pub(crate) async fn run(command: Account, admin: &Admin, output: Output) -> Outcome {
    let store = &admin.store;
    match command {
        Account::Add(add) if add.name.as_str().starts_with('$') => {
            return Err(Failure::new("account names that begin with $ stand for the service itself")
                .hint("choose another name"));
        }
        Account::Add(add) => {
            if store.account(&add.name).await?.is_some() {
                return Err(Failure::new(format_args!("there is an account '{}' already", add.name))
                    .hint("change it with 'muster account set'"));
            }
            refuse_inherited(admin, &add.name).await?;
            let (kind, group) = match add.kind {
                Kind::User => (PrincipalKind::User, "users"),
                Kind::Computer => (PrincipalKind::Computer, "computers"),
            };
            let mut principal = Principal {
                name: add.name.clone(),
                kind,
                groups: BTreeSet::from([group.parse()?]),
                common_name: None,
                email: None,
                upn: None,
                dns_names: Vec::new(),
                sid: None,
                sids: [].into(),
                directory: None,
                token: None,
            };
            add.names.apply(&mut principal)?;
            let hash = if add.no_password { None } else { Some(add.password.hash()?) };
            store.put_account(principal, admin.actor(), now()).await?;
            match hash {
                Some(hash) => {
                    store.set_password_hash(add.name.clone(), hash, admin.actor(), now()).await?;
                    output.note(format_args!("account {} added", add.name));
                }
                None => output.note(format_args!("account {} added, without a password", add.name)),
            }
        }
        Account::Set(set) => {
            let mut account = find(admin, &set.name).await?;
            set.names.apply(&mut account.principal)?;
            store.put_account(account.principal, admin.actor(), now()).await?;
            output.note(format_args!("account {} changed", set.name));
        }
        Account::Password { name, password } => {
            find(admin, &name).await?;
            store.set_password_hash(name.clone(), password.hash()?, admin.actor(), now()).await?;
            output.note(format_args!("the password of {name} is set"));
        }
        Account::Enable { name } => {
            store.set_enabled(name.clone(), true, admin.actor(), now()).await?;
            output.note(format_args!("account {name} may sign in again"));
        }
        Account::Disable { name } => {
            store.set_enabled(name.clone(), false, admin.actor(), now()).await?;
            output.note(format_args!("account {name} and its certificates no longer sign in"));
        }
        Account::Remove { name } => {
            store.remove_account(name.clone(), admin.actor(), now()).await?;
            output.note(format_args!("account {name} removed"));
        }
        Account::List => {
            let rows: Vec<Row> = store.accounts().await?.into_iter().map(Row::from).collect();
            output.table(&rows, &["ACCOUNT", "KIND", "ENABLED", "GROUPS", "HOST NAMES"], |row| {
                let groups: Vec<&str> = row.principal.groups.iter().map(AccountName::as_str).collect();
                vec![
                    row.principal.name.to_string(),
                    kind_word(row.principal.kind).to_owned(),
                    if row.enabled { "yes" } else { "no" }.to_owned(),
                    groups.join(","),
                    row.principal.dns_names.join(","),
                ]
            })?;
        }
        Account::Show { name } => {
            let row = Row::from(find(admin, &name).await?);
            output.value(&row, || toml::to_string(&row).unwrap_or_default())?;
        }
    }
    Ok(())
}

/// Certificates authenticate by the account's name: those of an account that was removed would sign in as the new one.
async fn refuse_inherited(admin: &Admin, name: &AccountName) -> Outcome {
    let valid = CertificateFilter {
        account: Some(name.clone()),
        valid_at: Some(now()),
        limit: 1,
        ..CertificateFilter::default()
    };
    match admin.store.certificates(valid).await?.first() {
        None => Ok(()),
        Some(certificate) => Err(Failure::new(format_args!(
            "certificate {} of an earlier account '{name}' is still valid and would sign in as the new one",
            certificate.serial
        ))
        .hint(format_args!("choose another name, or revoke what 'muster cert list --account {name}' shows"))),
    }
}

async fn find(admin: &Admin, name: &AccountName) -> Outcome<Stored> {
    admin.store.account(name).await?.ok_or_else(|| {
        Failure::new(format_args!("there is no account '{name}'"))
            .hint("'muster account list' shows all of them")
    })
}

const fn kind_word(kind: PrincipalKind) -> &'static str {
    match kind {
        PrincipalKind::User => "user",
        PrincipalKind::Computer => "computer",
    }
}

impl Names {
    fn apply(self, principal: &mut Principal) -> Outcome {
        if !self.groups.is_empty() {
            principal.groups = self.groups.into_iter().collect();
        }
        if let Some(name) = self.common_name {
            if !names::is_subject_text(&name) {
                return Err(Failure::new(format_args!("'{name}' cannot be a common name"))
                    .hint("use 1 to 64 printable characters without spaces at the ends"));
            }
            principal.common_name = Some(name);
        }
        if let Some(address) = self.email {
            if !names::is_email(&address) {
                return Err(Failure::new(format_args!("'{address}' is not an e-mail address")));
            }
            principal.email = Some(address);
        }
        if let Some(upn) = self.upn {
            if !names::is_email(&upn) {
                return Err(Failure::new(format_args!("'{upn}' is not a user principal name"))
                    .hint("it has the form name@domain"));
            }
            principal.upn = Some(upn);
        }
        if !self.dns_names.is_empty() {
            let lower: Vec<String> = self.dns_names.iter().map(|n| n.to_ascii_lowercase()).collect();
            if let Some(wrong) = lower.iter().find(|n| !names::is_host_name(n, false)) {
                return Err(Failure::new(format_args!("'{wrong}' is not a host name")).hint(
                    "use at least two labels of ASCII letters, digits and hyphens, such as host.example",
                ));
            }
            principal.dns_names = lower;
        }
        Ok(())
    }
}

impl PasswordSource {
    fn hash(&self) -> Outcome<PasswordHash> {
        let password = match &self.password_file {
            Some(path) => {
                crate::output::warn_if_readable(path);
                let text = std::fs::read_to_string(path)
                    .map_err(|e| Failure::new(format_args!("cannot read {}: {e}", path.display())))?;
                text.lines().next().unwrap_or_default().to_owned()
            }
            None if std::io::stdin().is_terminal() => dialoguer::Password::new()
                .with_prompt("Password")
                .with_confirmation("Again", "The two are not the same.")
                .interact()?,
            None => {
                return Err(Failure::new("there is no terminal to ask for the password")
                    .hint("put it into a file that only you can read and name it with --password-file"));
            }
        };
        muster_server::hash_password(&password).map(PasswordHash).map_err(Failure::new)
    }
}
