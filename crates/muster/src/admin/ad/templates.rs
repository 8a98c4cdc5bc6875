//! `muster ad templates …`: what of the directory's templates is in force and why, and the way between them and ours.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use clap::Subcommand;
use muster_core::Template;
use muster_core::identity::Sid;
use muster_core::template::{AccessEffect, AccessRight, Grantee, Permissions};
use muster_directory::ldap::{Filter, Search};
use muster_directory::{Directory, DirectoryTemplate, Effect, Snapshot, sid};
use muster_server::config::DirectoryDomain;
use muster_server::{Settings, templates_in_force};
use muster_store::Store;
use serde::Serialize;

use super::publish::Options;
use super::{carry_out, choose, connect, directory_failure, snapshot, typed};
use crate::admin::{Admin, now};
use crate::output::{Failure, Outcome, Output};

#[derive(Debug, Subcommand)]
pub(crate) enum Templates {
    /// List the templates that the directory names for this CA, each with its state.
    List {
        /// Also those that it does not name for this CA.
        #[arg(long)]
        all: bool,
    },
    /// Show one with everything there is to say about it.
    Show {
        /// Its name.
        name: String,
    },
    /// Use a dangerous template as it is now. A later change of it needs to be accepted again.
    Accept {
        /// Its name.
        name: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Write templates of the store into the directory.
    Export {
        /// Their names.
        #[arg(required = true)]
        names: Vec<String>,
        /// Account or group of the directory that may enroll, once for each; local groups mean nothing there.
        #[arg(long, value_name = "NAME")]
        enroll: Vec<String>,
        #[command(flatten)]
        how: Options,
    },
    /// Copy templates of the directory into the store, where later changes in the directory do not reach them.
    Import {
        /// Their names.
        #[arg(required = true)]
        names: Vec<String>,
    },
}

/// What becomes of a template here, and why.
pub(super) enum State {
    /// Used as it is.
    Offered,
    /// Changed into something dangerous; what it was before is used.
    FormerInForce(String),
    /// Dangerous, and never used before.
    Waiting(String),
    /// Never used like this.
    Refused(String),
    /// The store has one of this name or identifier.
    Hidden,
    /// The directory does not name it for this CA.
    NotPublished,
}

impl State {
    const fn word(&self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::FormerInForce(_) => "former content",
            Self::Waiting(_) => "waits",
            Self::Refused(_) => "refused",
            Self::Hidden => "hidden",
            Self::NotPublished => "not named",
        }
    }

    fn reason(&self) -> String {
        match self {
            Self::Offered => String::new(),
            Self::FormerInForce(reason) | Self::Waiting(reason) | Self::Refused(reason) => reason.clone(),
            Self::Hidden => "the store has a template of its name or identifier".to_owned(),
            Self::NotPublished => "name it with 'muster ad publish --template'".to_owned(),
        }
    }
}

/// Every template of the directory with its state; needs the store for what officers accepted.
pub(super) async fn states<'a>(
    settings: &Settings,
    configured: &DirectoryDomain,
    snapshot: &'a Snapshot,
) -> Outcome<Vec<(&'a DirectoryTemplate, State)>> {
    let path = muster_server::service::store_path(settings);
    let options = muster_store::Options { create: false, ..muster_store::Options::default() };
    let store = Store::open(&path, &options, now())?;
    states_in(settings, &store, configured, snapshot).await
}

async fn states_in<'a>(
    settings: &Settings,
    store: &Store,
    configured: &DirectoryDomain,
    snapshot: &'a Snapshot,
) -> Outcome<Vec<(&'a DirectoryTemplate, State)>> {
    let accepted = store.accepted_templates().await?;
    let own = store.catalog().await?;
    let authorities = settings.authorities.iter();
    let former: Vec<_> =
        authorities.clone().flat_map(|ca| templates_in_force(settings, &configured.domain, ca)).collect();
    let named: BTreeSet<&str> =
        authorities.flat_map(|ca| snapshot.published(&ca.name)).map(|t| t.template.name.as_str()).collect();
    let state = |template: &DirectoryTemplate| {
        let rules = &template.template;
        let reasons = |effect: Effect| {
            let of = template.findings.iter().filter(|finding| finding.effect == effect);
            of.map(|finding| finding.sentence.as_str()).collect::<Vec<_>>().join("; ")
        };
        if !named.contains(rules.name.as_str()) {
            State::NotPublished
        } else if own.iter().any(|own| own.oid == rules.oid || own.name.eq_ignore_ascii_case(&rules.name)) {
            State::Hidden
        } else if !template.is_usable() {
            State::Refused(reasons(Effect::Refused))
        } else if template.is_offered(|fingerprint| accepted.contains(fingerprint.as_str())) {
            State::Offered
        } else if former.iter().any(|former| former.template.oid == rules.oid) {
            State::FormerInForce(reasons(Effect::NeedsAcceptance))
        } else {
            State::Waiting(reasons(Effect::NeedsAcceptance))
        }
    };
    Ok(snapshot.templates.iter().map(|template| (template, state(template))).collect())
}

#[derive(Serialize)]
struct Row {
    name: String,
    state: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    revision: String,
    fingerprint: String,
}

#[derive(Serialize)]
struct Shown<'a> {
    dn: &'a str,
    state: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    fingerprint: &'a str,
    findings: &'a [muster_directory::Finding],
    template: &'a Template,
}

pub(super) async fn run(
    command: Templates,
    admin: &Admin,
    domain: Option<String>,
    output: Output,
) -> Outcome {
    let settings = &admin.settings;
    let configured = choose(settings, domain)?;
    match command {
        Templates::List { all } => {
            let live = snapshot(&connect(configured, false), false).await?;
            let listed = states_in(settings, &admin.store, configured, &live.snapshot).await?;
            let rows: Vec<Row> = listed
                .into_iter()
                .filter(|(_, state)| all || !matches!(state, State::NotPublished))
                .map(|(template, state)| Row {
                    name: template.template.name.clone(),
                    reason: state.reason(),
                    state: state.word(),
                    revision: format!("{}.{}", template.template.major, template.template.minor),
                    fingerprint: template.fingerprint.as_str().to_owned(),
                })
                .collect();
            if let Ok(own) = settings.embedded()
                && live.snapshot.authority(&own.name).is_none()
            {
                output.note(format_args!(
                    "note: the directory has no entry for {}: 'muster ad publish' makes one",
                    own.name
                ));
            }
            output.table(&rows, &["TEMPLATE", "REVISION", "STATE", "WHY"], |row| {
                vec![row.name.clone(), row.revision.clone(), row.state.to_owned(), row.reason.clone()]
            })
        }
        Templates::Show { name } => {
            let live = snapshot(&connect(configured, false), false).await?;
            let listed = states_in(settings, &admin.store, configured, &live.snapshot).await?;
            let (template, state) = listed
                .into_iter()
                .find(|(template, _)| template.template.name.eq_ignore_ascii_case(&name))
                .ok_or_else(|| unknown(&live.snapshot, &name))?;
            let shown = Shown {
                dn: &template.dn,
                state: state.word(),
                reason: state.reason(),
                fingerprint: template.fingerprint.as_str(),
                findings: &template.findings,
                template: &template.template,
            };
            let text = describe(&shown)?;
            output.value(&shown, || text)
        }
        Templates::Accept { name, yes } => {
            let live = snapshot(&connect(configured, false), false).await?;
            let template = find(&live.snapshot, &name)?;
            accept(template, yes, admin, output).await
        }
        Templates::Export { names, enroll, how } => {
            let directory = connect(configured, how.how().as_me);
            export_all(&names, &enroll, &directory, admin, &how, output).await
        }
        Templates::Import { names } => {
            let live = snapshot(&connect(configured, false), false).await?;
            for name in &names {
                let template = find(&live.snapshot, name)?;
                let stored = import(template, output)?;
                let stored = admin.store.put_template(stored, Vec::new(), admin.actor(), now()).await?;
                output.note(format_args!(
                    "template {} is in the store as {}.{} and no longer follows the directory",
                    stored.name, stored.major, stored.minor
                ));
            }
            Ok(())
        }
    }
}

fn describe(shown: &Shown<'_>) -> Outcome<String> {
    let mut text = format!("# {}\n# state: {}", shown.dn, shown.state);
    if !shown.reason.is_empty() {
        let _ = write!(text, ": {}", shown.reason);
    }
    let _ = writeln!(text, "\n# fingerprint: {}", shown.fingerprint);
    for finding in shown.findings {
        let effect = match finding.effect {
            Effect::Ignored => "without effect",
            Effect::NeedsAcceptance => "danger",
            Effect::Refused => "refused",
        };
        let _ = writeln!(text, "# {effect}: {}: {}", finding.about, finding.sentence);
    }
    text.push('\n');
    text.push_str(&shown.template.to_toml()?);
    Ok(text)
}

fn find<'a>(snapshot: &'a Snapshot, name: &str) -> Outcome<&'a DirectoryTemplate> {
    let found = snapshot.templates.iter().find(|known| known.template.name.eq_ignore_ascii_case(name));
    found.ok_or_else(|| unknown(snapshot, name))
}

fn unknown(snapshot: &Snapshot, name: &str) -> Failure {
    let prefix = format!("cn={},", name.to_ascii_lowercase());
    match snapshot.damaged.iter().find(|entry| entry.dn.to_ascii_lowercase().starts_with(&prefix)) {
        Some(entry) => {
            Failure::new(format_args!("the template '{name}' cannot be used: {}", entry.finding.sentence))
                .hint("repair it in the directory")
        }
        None => Failure::new(format_args!("the directory has no template '{name}'"))
            .hint("'muster ad templates list --all' shows all of them"),
    }
}

async fn accept(template: &DirectoryTemplate, yes: bool, admin: &Admin, output: Output) -> Outcome {
    let name = &template.template.name;
    if !template.is_usable() {
        let reasons = template.findings.iter().filter(|finding| finding.effect == Effect::Refused);
        let reasons: Vec<&str> = reasons.map(|finding| finding.sentence.as_str()).collect();
        return Err(Failure::new(format_args!("template {name} is refused: {}", reasons.join("; ")))
            .hint("that cannot be accepted; change it in the directory"));
    }
    let dangers: Vec<String> =
        template.dangers().map(|danger| format!("  {}: {}", danger.about, danger.sentence)).collect();
    if dangers.is_empty() {
        output.note(format_args!("template {name} has no danger that would have to be accepted"));
        return Ok(());
    }
    let fingerprint = template.fingerprint.as_str();
    let told = format!(
        "template {name} is dangerous:\n{}\nfingerprint {fingerprint}: exactly this content is accepted, in your name ({}).",
        dangers.join("\n"),
        admin.officer
    );
    if yes {
        output.note(told);
    } else {
        typed(&told, name)?;
    }
    admin.store.accept_template(fingerprint.to_owned(), name.clone(), admin.actor(), now()).await?;
    output.note(format_args!("template {name} is accepted as it is now"));
    Ok(())
}

async fn export_all(
    names: &[String],
    enroll: &[String],
    directory: &Directory,
    admin: &Admin,
    how: &Options,
    output: Output,
) -> Outcome {
    let as_me = how.how().as_me;
    let failed = |error| directory_failure(&error, as_me);
    let session = directory.client().session().await.map_err(failed)?;
    let mut grantees = Vec::new();
    for name in enroll {
        grantees.push(Grantee::Sid(sid_of(directory, &session.root.domain, name).await?));
    }
    let catalog = admin.store.catalog().await?;
    let mut templates = Vec::new();
    for name in names {
        let found = catalog.iter().find(|template| template.name.eq_ignore_ascii_case(name));
        let mut template = found.cloned().ok_or_else(|| {
            Failure::new(format_args!("there is no template '{name}' in the store"))
                .hint("'muster template list' shows all of them")
        })?;
        if !grantees.is_empty() {
            template.permissions.enroll.clone_from(&grantees);
            if !template.permissions.auto_enroll.is_empty() {
                template.permissions.auto_enroll.clone_from(&grantees);
            }
        }
        templates.push(template);
    }
    let plan = directory.plan_templates(&templates).await.map_err(failed)?;
    carry_out(directory, &plan, how.how(), output).await
}

async fn sid_of(directory: &Directory, domain: &str, name: &str) -> Outcome<Sid> {
    if let Ok(sid) = name.parse() {
        return Ok(sid);
    }
    let filter = Filter::text("sAMAccountName", name);
    let search = Search::below(domain, filter, &["objectSid"], 2);
    let found = directory.client().search(search).await.map_err(|error| directory_failure(&error, false))?;
    let sid = found.first().and_then(|entry| sid::from_octets(entry.value("objectSid")?).ok());
    sid.ok_or_else(|| {
        Failure::new(format_args!("the directory has no account or group '{name}'"))
            .hint("name it as in sAMAccountName, or by its security identifier")
    })
}

/// The template with permissions as the store holds them.
fn import(template: &DirectoryTemplate, output: Output) -> Outcome<Template> {
    let name = &template.template.name;
    if !template.is_usable() {
        let reasons = template.findings.iter().filter(|finding| finding.effect == Effect::Refused);
        let reasons: Vec<&str> = reasons.map(|finding| finding.sentence.as_str()).collect();
        return Err(Failure::new(format_args!("template {name} is refused: {}", reasons.join("; "))));
    }
    let mut imported = template.template.clone();
    let list = imported.permissions.access.take().unwrap_or_default();
    let with = |effect: AccessEffect, right: AccessRight| {
        let of = list.iter().filter(move |entry| entry.effect == effect && entry.right.covers(right));
        let sids: BTreeSet<&Sid> = of.map(|entry| &entry.sid).collect();
        sids.into_iter().map(|sid| Grantee::Sid(sid.clone())).collect::<Vec<_>>()
    };
    let mut deny = with(AccessEffect::Deny, AccessRight::Enroll);
    deny.extend(
        with(AccessEffect::Deny, AccessRight::AutoEnroll)
            .into_iter()
            .filter(|g| !deny.contains(g))
            .collect::<Vec<_>>(),
    );
    if !deny.is_empty() {
        output.note(format_args!("note: {name}: whoever is denied anything is denied everything here"));
    }
    imported.permissions = Permissions {
        enroll: with(AccessEffect::Allow, AccessRight::Enroll),
        auto_enroll: with(AccessEffect::Allow, AccessRight::AutoEnroll),
        deny,
        access: None,
    };
    for finding in template.findings.iter().filter(|finding| finding.effect == Effect::Ignored) {
        output.note(format_args!("note: {name}: {}: {}", finding.about, finding.sentence));
    }
    Ok(imported)
}
