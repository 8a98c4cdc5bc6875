//! Everything of one forest that enrollment needs, as it was at one instant.

use std::collections::BTreeMap;

use muster_core::{Oid, UnixTime};
use serde::{Deserialize, Serialize};

use crate::authority::EnrollmentService;
use crate::entry::{AttributeError, AttributeProblem, RawEntry};
use crate::finding::{Effect, Finding};
use crate::template::{DamagedEntry, DirectoryTemplate};

/// Templates, authorities and identifiers of a forest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Templates by name, those that are refused included.
    pub templates: Vec<DirectoryTemplate>,
    /// CAs by name.
    pub authorities: Vec<EnrollmentService>,
    /// Identifiers with names for people.
    pub oids: Vec<EnterpriseOid>,
    /// Entries that could not be read at all.
    pub damaged: Vec<DamagedEntry>,
    /// When it was read.
    pub read_at: UnixTime,
}

/// msPKI-Enterprise-Oid: an identifier of the forest and its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnterpriseOid {
    /// msPKI-Cert-Template-OID.
    pub oid: Oid,
    /// displayName.
    pub display_name: Option<String>,
    /// flags: 1 a template, 2 an issuance policy, 3 an application policy.
    pub kind: u32,
    /// msDS-OIDToGroupLink: the group whose member everybody becomes who logs in with a certificate of this policy.
    pub linked_group: Option<String>,
}

impl EnterpriseOid {
    const ATTRIBUTE: &str = "msPKI-Cert-Template-OID";

    /// Reads an entry.
    ///
    /// # Errors
    /// The attribute that is missing or damaged.
    pub fn from_entry(entry: &RawEntry) -> Result<Self, AttributeError> {
        let error = |problem| AttributeError { attribute: Self::ATTRIBUTE, problem };
        let text = entry.text(Self::ATTRIBUTE)?.ok_or_else(|| error(AttributeProblem::Missing))?;
        let oid = text
            .parse()
            .map_err(|e: muster_core::oid::OidError| error(AttributeProblem::Form(e.to_string())))?;
        Ok(Self {
            oid,
            display_name: entry.text("displayName")?.map(str::to_owned),
            kind: entry.number("flags")?.unwrap_or(0),
            linked_group: entry.text("msDS-OIDToGroupLink")?.map(str::to_owned),
        })
    }
}

impl Snapshot {
    /// Builds it from the entries of `CN=Certificate Templates`, `CN=Enrollment Services` and `CN=OID`. Entries
    /// that cannot be read are reported and do not affect the others.
    #[must_use]
    pub fn build(
        templates: &[RawEntry],
        authorities: &[RawEntry],
        oids: &[RawEntry],
        read_at: UnixTime,
    ) -> Self {
        let mut damaged = Vec::new();
        let mut report = |entry: &RawEntry, error: &AttributeError| {
            let finding = Finding::new(Effect::Refused, error.attribute, error.to_string());
            damaged.push(DamagedEntry { dn: entry.dn.clone(), finding });
        };
        let mut oids: Vec<EnterpriseOid> = oids
            .iter()
            // The container is of the same class and has no identifier.
            .filter(|entry| !entry.values(EnterpriseOid::ATTRIBUTE).is_empty())
            .filter_map(|entry| EnterpriseOid::from_entry(entry).map_err(|e| report(entry, &e)).ok())
            .collect();
        let mut authorities: Vec<EnrollmentService> = authorities
            .iter()
            .filter_map(|entry| EnrollmentService::from_entry(entry).map_err(|e| report(entry, &e)).ok())
            .collect();
        let mut templates: Vec<DirectoryTemplate> = templates
            .iter()
            .filter_map(|entry| DirectoryTemplate::from_entry(entry).map_err(|d| damaged.push(d)).ok())
            .collect();
        oids.sort_by(|a, b| a.oid.cmp(&b.oid));
        authorities.sort_by(|a, b| a.name.cmp(&b.name));
        templates.sort_by(|a, b| a.template.name.cmp(&b.template.name));
        damaged.sort_by(|a, b| a.dn.cmp(&b.dn));
        refuse_twins(&mut templates);
        report_linked_policies(&mut templates, &oids);
        Self { templates, authorities, oids, damaged, read_at }
    }

    /// The CA with this name, compared without regard to case.
    #[must_use]
    pub fn authority(&self, name: &str) -> Option<&EnrollmentService> {
        self.authorities.iter().find(|authority| authority.name.eq_ignore_ascii_case(name))
    }

    /// The templates that the CA with this name offers, in the order of their names; none if there is no such CA.
    pub fn published<'a>(&'a self, authority: &str) -> impl Iterator<Item = &'a DirectoryTemplate> {
        let names = self.authority(authority).map(|found| found.templates.as_slice()).unwrap_or_default();
        self.templates
            .iter()
            .filter(move |t| names.iter().any(|name| name.eq_ignore_ascii_case(&t.template.name)))
    }

    /// The name for people of an identifier.
    #[must_use]
    pub fn oid_name(&self, oid: &Oid) -> Option<&str> {
        let at = self.oids.binary_search_by(|known| known.oid.cmp(oid)).ok()?;
        self.oids.get(at)?.display_name.as_deref()
    }
}

/// What is different in a later [`Snapshot`]; its text is a line for the log and the audit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Change {
    /// A template is new.
    #[error("template {0} was added")]
    TemplateAdded(String),
    /// A template is gone.
    #[error("template {0} was removed")]
    TemplateRemoved(String),
    /// A template says something else; its revision may or may not say so.
    #[error("template {name} was changed{}", list(" and is now dangerous", dangers))]
    TemplateChanged {
        /// Its name.
        name: String,
        /// Dangers that were not there before.
        dangers: Vec<String>,
    },
    /// A CA is new.
    #[error("enrollment service {0} was added")]
    AuthorityAdded(String),
    /// A CA is gone.
    #[error("enrollment service {0} was removed")]
    AuthorityRemoved(String),
    /// A CA has other templates, addresses, permissions or another certificate.
    #[error("enrollment service {0} was changed")]
    AuthorityChanged(String),
    /// An entry cannot be read any more.
    #[error("{dn} cannot be used: {sentence}")]
    Damaged {
        /// Its distinguished name.
        dn: String,
        /// Why.
        sentence: String,
    },
}

fn list(title: &str, sentences: &[String]) -> String {
    if sentences.is_empty() { String::new() } else { format!("{title}: {}", sentences.join("; ")) }
}

impl Snapshot {
    /// What is different in `newer`. When it was read does not count.
    #[must_use]
    pub fn changes(&self, newer: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        let old: BTreeMap<&str, &DirectoryTemplate> = self.by_name().collect();
        let new: BTreeMap<&str, &DirectoryTemplate> = newer.by_name().collect();
        for (name, template) in &new {
            match old.get(name) {
                None => changes.push(Change::TemplateAdded((*name).to_owned())),
                Some(before) if before == template => {}
                Some(before) => {
                    let known: Vec<&str> = before.dangers().map(|danger| danger.sentence.as_str()).collect();
                    let fresh =
                        template.dangers().filter(|danger| !known.contains(&danger.sentence.as_str()));
                    let dangers = fresh.map(|danger| danger.sentence.clone()).collect();
                    changes.push(Change::TemplateChanged { name: (*name).to_owned(), dangers });
                }
            }
        }
        let gone = old.keys().filter(|name| !new.contains_key(*name));
        changes.extend(gone.map(|name| Change::TemplateRemoved((*name).to_owned())));
        for authority in &newer.authorities {
            match self.authority(&authority.name) {
                None => changes.push(Change::AuthorityAdded(authority.name.clone())),
                Some(before) if before == authority => {}
                Some(_) => changes.push(Change::AuthorityChanged(authority.name.clone())),
            }
        }
        let gone = self.authorities.iter().filter(|authority| newer.authority(&authority.name).is_none());
        changes.extend(gone.map(|authority| Change::AuthorityRemoved(authority.name.clone())));
        let fresh = newer.damaged.iter().filter(|entry| !self.damaged.contains(entry));
        changes.extend(
            fresh.map(|entry| Change::Damaged {
                dn: entry.dn.clone(),
                sentence: entry.finding.sentence.clone(),
            }),
        );
        changes
    }

    fn by_name(&self) -> impl Iterator<Item = (&str, &DirectoryTemplate)> {
        self.templates.iter().map(|template| (template.template.name.as_str(), template))
    }
}

/// Requests name templates by name and by identifier: neither may mean two.
fn refuse_twins(templates: &mut [DirectoryTemplate]) {
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    let mut oids: BTreeMap<String, usize> = BTreeMap::new();
    let oid = |t: &DirectoryTemplate| t.template.oid.as_ref().map(Oid::to_string).unwrap_or_default();
    for template in templates.iter() {
        *names.entry(template.template.name.to_ascii_lowercase()).or_default() += 1;
        *oids.entry(oid(template)).or_default() += 1;
    }
    for template in templates {
        let twice = |count: Option<&usize>| count.is_some_and(|count| *count > 1);
        if twice(names.get(&template.template.name.to_ascii_lowercase())) {
            template.add(Finding::new(Effect::Refused, "cn", "another template has the same name"));
        }
        if twice(oids.get(&oid(template))) {
            let about = "msPKI-Cert-Template-OID";
            template.add(Finding::new(Effect::Refused, about, "another template has the same identifier"));
        }
    }
}

/// A policy that is linked to a group makes every holder a member (ESC13).
fn report_linked_policies(templates: &mut [DirectoryTemplate], oids: &[EnterpriseOid]) {
    for template in templates {
        let linked = oids.iter().find_map(|known| {
            known.linked_group.as_ref().filter(|_| template.template.policies.contains(&known.oid))
        });
        if let Some(group) = linked {
            let sentence = format!("its certificate policy makes every holder a member of {group} (ESC13)");
            template.add(Finding::new(Effect::NeedsAcceptance, "msPKI-Certificate-Policy", sentence));
        }
    }
}
