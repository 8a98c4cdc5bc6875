//! `muster template …`

use std::path::PathBuf;

use clap::Subcommand;
use muster_core::Template as Blueprint;

use super::{Admin, now};
use crate::output::{Failure, Outcome, Output};

#[derive(Debug, Subcommand)]
pub(crate) enum Template {
    /// List the templates that are offered.
    List,
    /// Print a template as TOML, as 'put' reads it.
    Show {
        /// Its name.
        name: String,
    },
    /// Add a template or a new revision of one, from a TOML file ('-' for standard input).
    Put {
        /// The file.
        file: PathBuf,
    },
    /// Check a TOML file and change nothing.
    Check {
        /// The file.
        file: PathBuf,
    },
    /// Offer a template no longer; its certificates stay valid.
    Remove {
        /// Its name.
        name: String,
    },
    /// List every revision of a template.
    History {
        /// Its name.
        name: String,
    },
}

#[derive(serde::Serialize)]
struct Revision {
    major: u32,
    minor: u32,
    changed: String,
    by: String,
}

impl From<muster_store::TemplateVersion> for Revision {
    fn from(version: muster_store::TemplateVersion) -> Self {
        let (major, minor) = (version.template.major, version.template.minor);
        Self { major, minor, changed: version.changed.to_string(), by: version.changed_by }
    }
}

pub(crate) async fn run(command: Template, admin: &Admin, output: Output) -> Outcome {
    let store = &admin.store;
    match command {
        Template::List => {
            let templates = store.catalog().await?;
            output.table(&templates, &["TEMPLATE", "KIND", "REVISION", "DAYS", "APPROVAL", "OID"], |t| {
                vec![
                    t.name.clone(),
                    format!("{:?}", t.kind).to_lowercase(),
                    format!("{}.{}", t.major, t.minor),
                    t.validity.days.to_string(),
                    if t.issuance.approval { "officer" } else { "no" }.to_owned(),
                    t.oid.as_ref().map(ToString::to_string).unwrap_or_default(),
                ]
            })
        }
        Template::Show { name } => {
            let template = store.catalog().await?.into_iter().find(|t| t.name.eq_ignore_ascii_case(&name));
            let template = template.ok_or_else(|| unknown(&name))?;
            let text = template.to_toml()?;
            output.value(&template, || text)
        }
        Template::Put { file } => {
            let template = read(&file)?;
            check_lifetime(&template, admin)?;
            let stored = store
                .put_template(template, muster_server::setup::random_arcs()?, admin.actor(), now())
                .await?;
            output.note(format_args!(
                "template {} is offered in revision {}.{}",
                stored.name, stored.major, stored.minor
            ));
            Ok(())
        }
        Template::Check { file } => {
            let template = read(&file)?;
            check_lifetime(&template, admin)?;
            output.note(format_args!("template {}: no fault found", template.name));
            Ok(())
        }
        Template::Remove { name } => {
            store.unpublish_template(name.clone(), admin.actor(), now()).await?;
            output.note(format_args!("template {name} is offered no longer"));
            Ok(())
        }
        Template::History { name } => {
            let versions = store.template_history(&name).await?;
            let revisions: Vec<Revision> = versions.into_iter().map(Revision::from).collect();
            if revisions.is_empty() {
                return Err(unknown(&name));
            }
            output.table(&revisions, &["REVISION", "CHANGED", "BY"], |r| {
                vec![format!("{}.{}", r.major, r.minor), r.changed.clone(), r.by.clone()]
            })
        }
    }
}

/// A template whose certificates the CA would outlive too shortly is refused now and not at the first enrollment.
fn check_lifetime(template: &Blueprint, admin: &Admin) -> Outcome {
    let end = muster_server::service::ca_not_after(&admin.settings).map_err(Failure::new)?;
    template
        .check_lifetime(now(), end)
        .map_err(|error| Failure::new(error).hint("shorten validity.days, or renew the CA"))
}

fn unknown(name: &str) -> Failure {
    Failure::new(format_args!("there is no template '{name}'"))
        .hint("'muster template list' shows all of them")
}

fn read(file: &std::path::Path) -> Outcome<Blueprint> {
    let text = if file.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin())?
    } else {
        std::fs::read_to_string(file)
            .map_err(|e| Failure::new(format_args!("cannot read {}: {e}", file.display())))?
    };
    Blueprint::from_toml(&text).map_err(|error| {
        Failure::new(format_args!("{}: {error}", file.display())).hint("docs/templates.md explains every key")
    })
}
