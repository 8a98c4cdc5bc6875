//! What clients look for in the configuration partition: planned first, shown, then written, and taken back.
//!
//! A plan is the difference between what there is and what there should be; planned again after it was applied, it is
//! empty. Objects that this program made carry a mark in adminDescription, and no others are ever deleted or have
//! anything replaced in them; to objects of others only values of our own are added.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use muster_core::Oid;
use muster_core::identity::Sid;
use muster_core::template::{AccessEffect, Template};

use crate::authority::EnrollmentServer;
use crate::descriptor::{self, Ace, Dacl, Descriptor, mask};
use crate::directory::Directory;
use crate::ldap::{Attribute, Entry, Filter, LdapError, Operation, Root, Search};
use crate::{dn, export, ldif, sid};

/// adminDescription of every object that this program makes.
pub const MARK: &str = "Published by muster";

/// `PKI_ENROLL` flags of a CA that authenticates by the directory and reads templates (MS-WCCE 2.2.2.11.2).
const CA_FLAGS: &str = "10";
const OID_ATTRIBUTE: &str = "msPKI-Cert-Template-OID";
/// What stands for an empty list of revoked certificates, where the schema demands one.
const NO_LIST: &[u8] = &[0];

/// A CA as it shall be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaPublication {
    /// Name of the CA: cn of its objects.
    pub name: String,
    /// Name for people.
    pub display_name: String,
    /// DNS name of the machine it runs on.
    pub dns_host_name: String,
    /// Its certificate, DER.
    pub certificate: Vec<u8>,
    /// Subject of its certificate, the most specific part first (RFC 4514).
    pub certificate_dn: String,
    /// Names of the templates that it offers.
    pub templates: Vec<String>,
    /// Where it can be asked.
    pub servers: Vec<EnrollmentServer>,
    /// Self-signed certificates (DER) that the forest shall trust, by the name of their CA; the CA's own if it is one.
    pub roots: Vec<(String, Vec<u8>)>,
    /// Also into NTAuthCertificates: this CA can then log on as anyone in the forest.
    pub nt_auth: bool,
}

/// Changes that lead from what there is to what there should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order in which they have to be made.
    pub changes: Vec<Change>,
    /// What is not done, and why.
    pub remarks: Vec<String>,
}

/// One change of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The object.
    pub dn: String,
    /// What for, in a few words.
    pub purpose: String,
    /// What is done to it.
    pub action: Action,
}

/// What is done to an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is made.
    Add(Vec<Attribute>),
    /// It is changed.
    Modify(Vec<(Operation, Attribute)>),
    /// It is deleted.
    Delete,
}

impl fmt::Display for Plan {
    /// LDIF (RFC 2849) that `ldapmodify` takes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for remark in &self.remarks {
            writeln!(f, "# {remark}")?;
        }
        self.changes.iter().try_for_each(|change| ldif::write(f, change))
    }
}

/// A plan stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{dn}: {error} ({done} changes were made before)")]
pub struct ApplyError {
    /// The object.
    pub dn: String,
    /// Why.
    pub error: LdapError,
    /// How many changes had been made.
    pub done: usize,
}

/// An object as it should be.
struct Desired {
    dn: String,
    purpose: String,
    /// Of a new object.
    attributes: Vec<Attribute>,
    /// Attributes whose values are added to those of others; all others are replaced, if the object is ours.
    shared: &'static [&'static str],
    /// Attributes that are only set when the object is made.
    once: &'static [&'static str],
}

impl Directory {
    /// What has to be changed so that clients find the CA.
    ///
    /// # Errors
    /// If the configuration partition cannot be read.
    pub async fn plan_ca(&self, ca: &CaPublication) -> Result<Plan, LdapError> {
        let session = self.client().session().await?;
        let services = session.root.public_key_services();
        let enroll = self.enrollment_descriptor(&session.root).await?;
        let mut plan = Plan::default();
        for desired in desired_for(ca, &services, enroll) {
            self.compare(desired, &mut plan).await?;
        }
        Ok(plan)
    }

    /// What has to be changed so that the directory has these templates, each with its identifier. What a directory
    /// cannot say of them is among the remarks.
    ///
    /// # Errors
    /// If the configuration partition cannot be read.
    pub async fn plan_templates(&self, templates: &[Template]) -> Result<Plan, LdapError> {
        let session = self.client().session().await?;
        let services = session.root.public_key_services();
        let administrators = self.administrators(&session.root).await?;
        let mut plan = Plan::default();
        for template in templates {
            let export = match export::export(template, &administrators) {
                Ok(export) => export,
                Err(error) => {
                    plan.remarks.push(format!("{}: {error}", template.name));
                    continue;
                }
            };
            plan.remarks.extend(export.losses.iter().map(|loss| format!("{}: {loss}", template.name)));
            let mut attributes: Vec<Attribute> = Vec::new();
            for (name, values) in export.attributes {
                // An object's classes come first, and its name goes without saying.
                match name {
                    "objectClass" => attributes.insert(0, (name.to_owned(), values)),
                    "cn" => {}
                    _ => attributes.push((name.to_owned(), values)),
                }
            }
            attributes.push(mark());
            let desired = Desired {
                dn: template_dn(&template.name, &services),
                purpose: "template".to_owned(),
                attributes,
                shared: &[],
                once: &["objectClass", "nTSecurityDescriptor"],
            };
            self.compare(desired, &mut plan).await?;
            if let Some(oid) = &template.oid {
                self.identifier(oid, &template.display_name, &services, &mut plan).await?;
            }
        }
        Ok(plan)
    }

    /// An object that says what an identifier stands for, unless there is one.
    async fn identifier(
        &self,
        oid: &Oid,
        display_name: &str,
        services: &str,
        plan: &mut Plan,
    ) -> Result<(), LdapError> {
        let base = format!("CN=OID,{services}");
        let oid = oid.to_string();
        let known = Search::below(base.clone(), Filter::text(OID_ATTRIBUTE, &oid), &["displayName"], 16);
        if !self.client().search(known).await?.is_empty() {
            return Ok(());
        }
        let attributes = vec![
            text("objectClass", ["top", "msPKI-Enterprise-Oid"]),
            text("displayName", [display_name]),
            // A template's.
            text("flags", ["1"]),
            text(OID_ATTRIBUTE, [oid.as_str()]),
            mark(),
        ];
        plan.changes.push(Change {
            dn: format!("CN={},{base}", identifier_name(&oid)),
            purpose: "identifier of the template".to_owned(),
            action: Action::Add(attributes),
        });
        Ok(())
    }

    /// What has to be changed so that the directory no longer has these templates. Those of others stay.
    ///
    /// # Errors
    /// If the configuration partition cannot be read.
    pub async fn plan_unpublish_templates(&self, templates: &[Template]) -> Result<Plan, LdapError> {
        let session = self.client().session().await?;
        let services = session.root.public_key_services();
        let mut plan = Plan::default();
        for template in templates {
            let identifier = template.oid.as_ref().map(|oid| identifier_name(&oid.to_string()));
            let identifier = identifier.map(|name| format!("CN={name},CN=OID,{services}"));
            for dn in [Some(template_dn(&template.name, &services)), identifier].into_iter().flatten() {
                let Some(found) = self.client().object(Search::object(dn, &["adminDescription"])).await?
                else {
                    continue;
                };
                if is_marked(&found) {
                    let purpose = "template and its identifier".to_owned();
                    plan.changes.push(Change { dn: found.dn, purpose, action: Action::Delete });
                } else {
                    plan.remarks.push(foreign(&found.dn));
                }
            }
        }
        Ok(plan)
    }

    /// What has to be changed so that clients no longer find the CA. Objects of others only lose its certificate.
    ///
    /// # Errors
    /// If the configuration partition cannot be read.
    pub async fn plan_unpublish(&self, ca: &CaPublication) -> Result<Plan, LdapError> {
        let session = self.client().session().await?;
        let services = session.root.public_key_services();
        let mut plan = Plan::default();
        for desired in desired_for(ca, &services, Vec::new()) {
            let Some(found) = self.read(&desired).await? else { continue };
            let ours: Vec<&[u8]> = desired
                .attributes
                .iter()
                .filter(|(name, _)| name == "cACertificate")
                .flat_map(|(_, values)| values.iter().map(Vec::as_slice))
                .collect();
            let has: Vec<&[u8]> = found.values("cACertificate").filter(|v| ours.contains(v)).collect();
            let others = found.values("cACertificate").filter(|value| is_other(value, &ours)).count();
            let action = if is_marked(&found) && others == 0 {
                Action::Delete
            } else if has.is_empty() {
                continue;
            } else if others > 0 && desired.shared.contains(&"cACertificate") {
                let values = has.into_iter().map(<[u8]>::to_vec).collect();
                Action::Modify(vec![(Operation::Delete, ("cACertificate".to_owned(), values))])
            } else {
                plan.remarks.push(foreign(&found.dn));
                continue;
            };
            plan.changes.push(Change { dn: found.dn.clone(), purpose: desired.purpose, action });
        }
        Ok(plan)
    }

    /// Makes the changes one by one; returns how many.
    ///
    /// # Errors
    /// The first change that the directory refused.
    pub async fn apply(&self, plan: &Plan) -> Result<usize, ApplyError> {
        for (done, change) in plan.changes.iter().enumerate() {
            let dn = change.dn.clone();
            let result = match &change.action {
                Action::Add(attributes) => self.client().add(dn, attributes.clone()).await,
                Action::Modify(changes) => self.client().modify(dn, changes.clone()).await,
                Action::Delete => self.client().delete(dn).await,
            };
            result.map_err(|error| ApplyError { dn: change.dn.clone(), error, done })?;
            tracing::info!(object = %change.dn, purpose = %change.purpose, "directory changed");
        }
        Ok(plan.changes.len())
    }

    async fn read(&self, desired: &Desired) -> Result<Option<Entry>, LdapError> {
        self.client().object(Search::object(desired.dn.clone(), &["*"])).await
    }

    async fn compare(&self, desired: Desired, plan: &mut Plan) -> Result<(), LdapError> {
        let Some(found) = self.read(&desired).await? else {
            let mut attributes = desired.attributes;
            // An attribute without values cannot be written into a new object.
            attributes.retain(|(_, values)| !values.is_empty());
            let action = Action::Add(attributes);
            plan.changes.push(Change { dn: desired.dn, purpose: desired.purpose, action });
            return Ok(());
        };
        let marked = is_marked(&found);
        let mut changes = Vec::new();
        let mut left = Vec::new();
        for (name, wanted) in &desired.attributes {
            let is = |list: &[&str]| list.iter().any(|entry| entry.eq_ignore_ascii_case(name));
            if is(desired.once) || name == "adminDescription" {
                continue;
            }
            let missing: Vec<Vec<u8>> =
                wanted.iter().filter(|value| !found.values(name).any(|has| has == *value)).cloned().collect();
            let surplus = found.values(name).any(|has| !wanted.iter().any(|value| value == has));
            if is(desired.shared) {
                if !missing.is_empty() {
                    changes.push((Operation::Add, (name.clone(), missing)));
                }
            } else if !missing.is_empty() || surplus {
                if marked {
                    changes.push((Operation::Replace, (name.clone(), wanted.clone())));
                } else {
                    left.push(name.as_str());
                }
            }
        }
        if !left.is_empty() {
            plan.remarks.push(format!(
                "{} was not made by this program; its {} would have to be different, and is left as it is",
                found.dn,
                left.join(", ")
            ));
        }
        if !changes.is_empty() {
            let action = Action::Modify(changes);
            plan.changes.push(Change { dn: found.dn, purpose: desired.purpose, action });
        }
        Ok(())
    }

    /// Full control for the administrators of domain and forest; Authenticated Users may read it and enroll.
    async fn enrollment_descriptor(&self, root: &Root) -> Result<Vec<u8>, LdapError> {
        let allow = |mask, object_type, sid| Ace::new(AccessEffect::Allow, mask, object_type, sid);
        let mut aces: Vec<Ace> = self
            .administrators(root)
            .await?
            .into_iter()
            .map(|sid| allow(mask::FULL_CONTROL, None, sid))
            .collect();
        if let Ok(sid) = sid::AUTHENTICATED_USERS.parse::<Sid>() {
            aces.push(allow(mask::CONTROL_ACCESS, Some(descriptor::ENROLL), sid.clone()));
            aces.push(allow(mask::READ, None, sid));
        }
        Ok(Descriptor { owner: None, group: None, dacl: Dacl::List(aces) }.to_octets())
    }

    /// Enterprise Admins and Domain Admins.
    async fn administrators(&self, root: &Root) -> Result<Vec<Sid>, LdapError> {
        let mut found = Vec::new();
        for (domain, administrators) in [(&root.forest_root, 519), (&root.domain, 512)] {
            let object = self.client().object(Search::object(domain.clone(), &["objectSid"])).await?;
            let own = object.as_ref().and_then(|entry| sid::from_octets(entry.value("objectSid")?).ok());
            // The root of the forest may be a domain that this server does not have.
            found.extend(own.and_then(|own| format!("{own}-{administrators}").parse::<Sid>().ok()));
        }
        Ok(found)
    }
}

fn foreign(dn: &str) -> String {
    format!("{dn} was not made by this program and is left as it is: delete it yourself if it shall go")
}

fn template_dn(name: &str, services: &str) -> String {
    format!("CN={},CN=Certificate Templates,{services}", dn::escape(name))
}

/// Name of the object of an identifier: its last number and 32 hexadecimal digits, as AD CS makes them; always the same
/// for the same identifier.
fn identifier_name(oid: &str) -> String {
    let hash = digest(&SHA256, oid.as_bytes());
    let digits: String = hash.as_ref().iter().take(16).map(|octet| format!("{octet:02X}")).collect();
    format!("{}.{digits}", oid.rsplit('.').next().unwrap_or_default())
}

fn is_other(value: &[u8], ours: &[&[u8]]) -> bool {
    // A single octet stands for no certificate in objects that must have one.
    value.len() > 2 && !ours.contains(&value)
}

fn is_marked(entry: &Entry) -> bool {
    entry.texts("adminDescription").any(|text| text == MARK)
}

fn mark() -> Attribute {
    text("adminDescription", [MARK])
}

fn text<'a>(name: &str, values: impl IntoIterator<Item = &'a str>) -> Attribute {
    (name.to_owned(), values.into_iter().map(|value| value.as_bytes().to_vec()).collect())
}

fn desired_for(ca: &CaPublication, services: &str, descriptor: Vec<u8>) -> Vec<Desired> {
    let mut all = Vec::new();
    let authority = |container: &str, name: &str, certificate: &[u8], purpose: &str| Desired {
        dn: if container.is_empty() {
            format!("CN={},{services}", dn::escape(name))
        } else {
            format!("CN={},CN={container},{services}", dn::escape(name))
        },
        purpose: purpose.to_owned(),
        attributes: vec![
            text("objectClass", ["top", "certificationAuthority"]),
            ("cACertificate".to_owned(), vec![certificate.to_vec()]),
            ("certificateRevocationList".to_owned(), vec![NO_LIST.to_vec()]),
            ("authorityRevocationList".to_owned(), vec![NO_LIST.to_vec()]),
            mark(),
        ],
        shared: &["cACertificate"],
        once: &["objectClass", "certificateRevocationList", "authorityRevocationList"],
    };
    for (name, certificate) in &ca.roots {
        all.push(authority(
            "Certification Authorities",
            name,
            certificate,
            "members of the forest trust this CA",
        ));
    }
    all.push(authority("AIA", &ca.name, &ca.certificate, "issuer of certificates, to complete chains"));
    if ca.nt_auth {
        let purpose = "CAs whose certificates log on: this one can log on as anyone";
        all.push(authority("", "NTAuthCertificates", &ca.certificate, purpose));
    }
    let servers: Vec<String> = ca.servers.iter().map(ToString::to_string).collect();
    let attributes = vec![
        text("objectClass", ["top", "pKIEnrollmentService"]),
        text("displayName", [ca.display_name.as_str()]),
        text("dNSHostName", [ca.dns_host_name.as_str()]),
        text("flags", [CA_FLAGS]),
        ("cACertificate".to_owned(), vec![ca.certificate.clone()]),
        text("cACertificateDN", [ca.certificate_dn.as_str()]),
        text("certificateTemplates", ca.templates.iter().map(String::as_str)),
        text("msPKI-Enrollment-Servers", servers.iter().map(String::as_str)),
        ("nTSecurityDescriptor".to_owned(), vec![descriptor]),
        mark(),
    ];
    all.push(Desired {
        dn: format!("CN={},CN=Enrollment Services,{services}", dn::escape(&ca.name)),
        purpose: "the CA, its templates and addresses".to_owned(),
        attributes,
        shared: &[],
        once: &["objectClass", "nTSecurityDescriptor"],
    });
    all
}
