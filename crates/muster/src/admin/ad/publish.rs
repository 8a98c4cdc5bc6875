//! `muster ad publish` and `unpublish`: this CA in the directory, as clients look for it.

use clap::Args;
use muster_server::{Settings, directory_entry};

use super::{How, carry_out, choose, connect, directory_failure, snapshot, typed};
use crate::admin::Admin;
use crate::output::{Failure, Outcome, Output};

#[derive(Debug, Args)]
pub(crate) struct Publish {
    /// Offer this template of the directory too; once for each.
    #[arg(long = "template", value_name = "NAME")]
    templates: Vec<String>,
    /// Offer this template no longer; once for each.
    #[arg(long = "remove-template", value_name = "NAME")]
    removed: Vec<String>,
    /// Also let this CA log on as anybody in the forest (NTAuthCertificates). Asks first.
    #[arg(long)]
    nt_auth: bool,
    #[command(flatten)]
    how: Options,
}

#[derive(Debug, Args)]
pub(crate) struct Unpublish {
    /// Also delete the templates that 'templates export' wrote, unless another CA offers them.
    #[arg(long)]
    templates: bool,
    #[command(flatten)]
    how: Options,
}

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Print what would be written, as LDIF for ldapmodify, and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Write with your own ticket (kinit) instead of the service's account, which need not be able to.
    #[arg(long)]
    as_me: bool,
}

impl Options {
    pub(super) const fn how(&self) -> How {
        How { dry_run: self.dry_run, as_me: self.as_me }
    }
}

pub(super) async fn publish(
    publish: &Publish,
    settings: &Settings,
    domain: Option<String>,
    output: Output,
) -> Outcome {
    let configured = choose(settings, domain)?;
    let how = publish.how.how();
    let directory = connect(configured, how.as_me);
    let live = snapshot(&directory, how.as_me).await?;
    let name = &*settings.embedded()?.name;
    let mut templates =
        live.snapshot.authority(name).map(|entry| entry.templates.clone()).unwrap_or_default();
    let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
    for wanted in &publish.templates {
        let known = live.snapshot.templates.iter().find(|known| same(&known.template.name, wanted));
        let known = known.ok_or_else(|| {
            Failure::new(format_args!("the directory has no template '{wanted}' that could be offered"))
                .hint("'muster ad templates list --all' shows those that it has")
        })?;
        if !templates.iter().any(|there| same(there, wanted)) {
            templates.push(known.template.name.clone());
        }
    }
    for unwanted in &publish.removed {
        if !templates.iter().any(|there| same(there, unwanted)) {
            return Err(Failure::new(format_args!("{name} does not offer a template '{unwanted}'"))
                .hint("'muster ad templates list' shows those that it offers"));
        }
        templates.retain(|there| !same(there, unwanted));
    }
    let mut ca = directory_entry::ca_publication(settings, templates).map_err(Failure::new)?;
    ca.nt_auth = publish.nt_auth;
    let plan = directory.plan_ca(&ca).await.map_err(|error| directory_failure(&error, how.as_me))?;
    let adds = plan.changes.iter().any(|change| change.dn.starts_with("CN=NTAuthCertificates,"));
    if adds && !how.dry_run {
        typed(
            &format!(
                "NTAuthCertificates is the list of CAs that the domain controllers of the forest of {0} believe at log-on.\n\
                 With {name} in it, whoever has this CA's key, or can have it issue a certificate with a name of his choice,\n\
                 can log on to every computer of the forest as any of its accounts, administrators included.\n\
                 It is needed for log-on with certificates (smart cards, 802.1X by NPS) and for nothing else.",
                configured.domain
            ),
            &configured.domain,
        )?;
    }
    carry_out(&directory, &plan, how, output).await
}

pub(super) async fn unpublish(
    unpublish: &Unpublish,
    admin: &Admin,
    domain: Option<String>,
    output: Output,
) -> Outcome {
    let settings = &admin.settings;
    let configured = choose(settings, domain)?;
    let how = unpublish.how.how();
    let directory = connect(configured, how.as_me);
    let mut ca = directory_entry::ca_publication(settings, Vec::new()).map_err(Failure::new)?;
    ca.nt_auth = true;
    let failed = |error| directory_failure(&error, how.as_me);
    let mut plan = directory.plan_unpublish(&ca).await.map_err(failed)?;
    let live = snapshot(&directory, how.as_me).await?;
    let others = live
        .snapshot
        .authorities
        .iter()
        .filter(|other| settings.embedded().is_ok_and(|own| other.name != *own.name));
    let offered: Vec<&String> = others.flat_map(|other| &other.templates).collect();
    let catalog = admin.store.catalog().await?;
    let exported = catalog.into_iter().filter(|template| !offered.contains(&&template.name));
    let exported: Vec<_> = exported.collect();
    // What is not marked as written from here is not worth a word: names like User are in most directories.
    let written = directory.plan_unpublish_templates(&exported).await.map_err(failed)?.changes;
    if unpublish.templates {
        plan.changes.extend(written);
    } else if !written.is_empty() {
        let list = written.iter().map(|change| change.dn.as_str()).collect::<Vec<_>>().join("; ");
        plan.remarks.push(format!("exported templates stay, --templates deletes them: {list}"));
    }
    carry_out(&directory, &plan, how, output).await
}
