//! What a forest offers: the templates that it publishes for this CA, as far as they may be used.
//!
//! A template whose content is dangerous is used only after an officer accepted exactly that content. Until then the
//! last content that could be used stays in force, also over a restart: so nobody who may write templates in a
//! directory can make this CA less careful, and no such change takes the template away from its users.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use muster_core::Template;
use muster_core::template::AccessEntry;
use muster_directory::finding::Effect;
use muster_directory::{Directory, DirectoryTemplate, Snapshot, WireTemplate};

use crate::config::{Backend, CaSettings, Settings, encode_path};
use crate::identities::Domain;

/// What may be used of a forest now.
#[derive(Debug, Default)]
pub(crate) struct Offer {
    /// Templates, and what clients are told about them.
    pub(crate) templates: Vec<(Template, WireTemplate)>,
    /// Who may enroll at this CA at all; `None` where the forest has no entry for it.
    pub(crate) access: Option<Vec<AccessEntry>>,
}

/// A forest whose templates are offered.
pub(crate) struct Forest {
    directory: Arc<Directory>,
    /// Domains whose accounts get this forest's templates.
    domains: Vec<String>,
    ca_name: Arc<str>,
    in_force: Mutex<InForce>,
}

/// The contents in force, and the file that keeps them.
struct InForce {
    file: PathBuf,
    templates: Vec<DirectoryTemplate>,
    reported: BTreeSet<String>,
}

impl Forest {
    /// The forests that the settings let offer templates, as far as they publish them for this CA.
    #[must_use]
    pub(crate) fn all(settings: &Settings, domains: &[Domain], ca: &CaSettings) -> Vec<Self> {
        let offering = domains.iter().filter(|domain| domain.settings.templates);
        offering.map(|domain| Self::new(settings, domain, ca)).collect()
    }

    fn new(settings: &Settings, domain: &Domain, ca: &CaSettings) -> Self {
        let name = &domain.settings.domain;
        let members = settings.directories.iter().filter(|other| other.forest == *name);
        let file = kept_file(settings, name, ca);
        let templates = load(&file);
        Self {
            directory: Arc::clone(&domain.directory),
            domains: members.map(|member| member.domain.clone()).collect(),
            ca_name: Arc::clone(&ca.name),
            in_force: Mutex::new(InForce { file, templates, reported: BTreeSet::new() }),
        }
    }

    /// Whether accounts of this domain get the templates.
    #[must_use]
    pub(crate) fn has(&self, domain: &str) -> bool {
        self.domains.iter().any(|member| member == domain)
    }

    /// Changes with the content of the forest.
    #[must_use]
    pub(crate) fn revision(&self) -> u64 {
        self.directory.live().current().map_or(0, |live| live.revision)
    }

    /// What may be used now, if officers accepted these fingerprints.
    #[must_use]
    pub(crate) fn offer(&self, accepted: &BTreeSet<String>) -> Arc<Offer> {
        let Some(live) = self.directory.live().current() else { return Arc::default() };
        let mut in_force = self.in_force.lock().unwrap_or_else(PoisonError::into_inner);
        let usable = in_force.choose(&live.snapshot, &self.ca_name, accepted);
        let templates = usable.iter().map(|t| (t.template.clone(), t.wire.clone())).collect();
        in_force.keep(usable);
        let access = live.snapshot.authority(&self.ca_name).map(|authority| authority.access.clone());
        Arc::new(Offer { templates, access })
    }
}

/// The contents of a forest's templates that this installation used last for a CA, for the administrator's commands.
#[must_use]
pub fn templates_in_force(settings: &Settings, domain: &str, ca: &CaSettings) -> Vec<DirectoryTemplate> {
    load(&kept_file(settings, domain, ca))
}

fn kept_file(settings: &Settings, domain: &str, ca: &CaSettings) -> PathBuf {
    let file = match &ca.backend {
        Backend::Embedded(_) => format!("templates-{domain}.json"),
        Backend::Adcs(_) | Backend::Relay(_) => format!("templates-{domain}-{}.json", encode_path(&ca.name)),
    };
    settings.data_dir.join(file)
}

impl InForce {
    /// For each published template its content of now, or the last one that could be used.
    fn choose(
        &mut self,
        snapshot: &Snapshot,
        ca_name: &str,
        accepted: &BTreeSet<String>,
    ) -> Vec<DirectoryTemplate> {
        let mut usable = Vec::new();
        for template in snapshot.published(ca_name) {
            if template.is_offered(|fingerprint| accepted.contains(fingerprint.as_str())) {
                usable.push(template.clone());
                continue;
            }
            let before = self.templates.iter().find(|kept| kept.template.oid == template.template.oid);
            self.reported.insert(template.fingerprint.as_str().to_owned()).then(|| report(template, before));
            // What is refused now was withdrawn in this form; only a danger leaves the former content in force.
            if template.is_usable() {
                usable.extend(before.cloned());
            }
        }
        usable
    }

    fn keep(&mut self, templates: Vec<DirectoryTemplate>) {
        if self.templates == templates {
            return;
        }
        if let Err(error) = store(&self.file, &templates) {
            tracing::warn!(%error, file = %self.file.display(), "the templates in force cannot be kept");
        }
        self.templates = templates;
    }
}

fn report(template: &DirectoryTemplate, before: Option<&DirectoryTemplate>) {
    let name = &template.template.name;
    for finding in template.findings.iter().filter(|finding| finding.effect != Effect::Ignored) {
        let stays = before.is_some() && template.is_usable();
        tracing::warn!(
            template = name,
            about = finding.about,
            former_content_stays = stays,
            "a template of the directory is not used as it is: {}",
            finding.sentence
        );
    }
}

fn load(file: &Path) -> Vec<DirectoryTemplate> {
    let Ok(octets) = fs::read(file) else { return Vec::new() };
    serde_json::from_slice(&octets).unwrap_or_else(|error| {
        tracing::warn!(%error, file = %file.display(), "the templates that were in force cannot be read");
        Vec::new()
    })
}

/// Replaces the file so that a crash leaves either the old or the new one.
fn store(file: &Path, templates: &[DirectoryTemplate]) -> std::io::Result<()> {
    let fresh = file.with_extension("new");
    fs::write(&fresh, serde_json::to_vec(templates)?)?;
    fs::File::open(&fresh)?.sync_all()?;
    fs::rename(&fresh, file)
}
