//! From a template of ours to the attributes of a pKICertificateTemplate, so that it can be published in a directory.
//!
//! [`crate::DirectoryTemplate::from_entry`] reads back what is written here. What a directory cannot say is reported.

use std::collections::BTreeMap;

use muster_core::identity::{PrincipalKind, Sid};
use muster_core::names::NameAttribute;
use muster_core::request::KeyAlgorithm;
use muster_core::template::{
    AccessEffect, AccessEntry, AccessRight, AltNameFrom, CommonNameFrom, Grantee, KeyUsage, RenewalKey,
    RenewalRules, SubjectSource, Template,
};

use crate::descriptor::{AUTO_ENROLL, Ace, Dacl, Descriptor, ENROLL, mask};
use crate::entry::RawEntry;
use crate::flags::{enrollment, general, name, private_key};
use crate::sid::{AUTHENTICATED_USERS, is_domain_controllers};
use crate::template::{WireTemplate, algorithms, keys, period, triplets};

/// Attributes of a new pKICertificateTemplate, and what of the template they do not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// Values by attribute name, as the schema writes it.
    pub attributes: BTreeMap<&'static str, Vec<Vec<u8>>>,
    /// One sentence for each rule that a directory cannot hold.
    pub losses: Vec<String>,
}

/// Why a template cannot be published at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// It was never stored.
    #[error("the template has no identifier yet: add it to the store first")]
    NoIdentifier,
    /// Windows knows no name for its kind of key.
    #[error("a directory has no name for keys of the kind {0}: put another one first in key.algorithms")]
    KeyAlgorithm(&'static str),
}

impl Export {
    /// The attributes as an entry would return them.
    #[must_use]
    pub fn to_entry(&self, dn: impl Into<String>) -> RawEntry {
        RawEntry::new(dn, self.attributes.iter().map(|(name, values)| (*name, values.clone())))
    }
}

/// Writes `template`. `administrators` may change the object and do not enroll by that; the first of them owns it.
///
/// # Errors
/// [`ExportError`].
pub fn export(template: &Template, administrators: &[Sid]) -> Result<Export, ExportError> {
    let mut losses = Vec::new();
    let oid = template.oid.as_ref().ok_or(ExportError::NoIdentifier)?;
    let algorithm = template.key.algorithms.first().copied().unwrap_or(KeyAlgorithm::Rsa);
    let algorithm_name =
        algorithms::signing_name(algorithm).ok_or(ExportError::KeyAlgorithm(algorithm.as_str()))?;
    if template.key.algorithms.len() > 1 {
        losses.push(format!("key.algorithms: only {} is offered", algorithm.as_str()));
    }
    let wire = wire(template, algorithm, algorithm_name);
    let access = access(template, &mut losses);
    let automatic = access
        .iter()
        .any(|entry| entry.effect == AccessEffect::Allow && entry.right.covers(AccessRight::AutoEnroll));
    let bit = |condition: bool, bit: u32| if condition { bit } else { 0 };
    let machine = template.kind == PrincipalKind::Computer;
    let flags = general::IS_MODIFIED
        | general::ADD_TEMPLATE_NAME
        | bit(machine, general::MACHINE_TYPE)
        | bit(automatic, general::AUTO_ENROLLMENT);
    let enrollment_flags = bit(template.issuance.approval, enrollment::PEND_ALL_REQUESTS)
        | bit(template.issuance.renewal_without_approval, enrollment::PREVIOUS_APPROVAL)
        | bit(key_based(template, &mut losses), enrollment::KEY_BASED_RENEWAL)
        | bit(template.subject.without_sid, enrollment::NO_SECURITY_EXTENSION)
        | bit(automatic, enrollment::AUTO_ENROLLMENT);
    if template.subject.domain_controllers && !access.iter().any(|entry| is_domain_controllers(&entry.sid)) {
        losses.push("subject.domain_controllers: no domain controllers may enroll".to_owned());
    }

    let mut attributes: BTreeMap<&'static str, Vec<Vec<u8>>> = BTreeMap::new();
    let mut put = |attribute: &'static str, values: Vec<String>| {
        if !values.is_empty() {
            attributes.insert(attribute, values.into_iter().map(String::into_bytes).collect());
        }
    };
    let signed = |word: u32| vec![word.cast_signed().to_string()];
    let list = |oids: &[muster_core::Oid]| oids.iter().map(ToString::to_string).collect::<Vec<_>>();
    put("objectClass", vec!["top".to_owned(), "pKICertificateTemplate".to_owned()]);
    put("cn", vec![template.name.clone()]);
    put("displayName", vec![template.display_name.clone()]);
    put("flags", signed(flags));
    put("revision", vec![template.major.to_string()]);
    put("pKIDefaultKeySpec", wire.key_spec.iter().map(ToString::to_string).collect());
    put("pKIMaxIssuingDepth", vec!["0".to_owned()]);
    put("pKICriticalExtensions", vec!["2.5.29.15".to_owned()]);
    put("pKIExtendedKeyUsage", list(&template.eku));
    put("pKIDefaultCSPs", vec![format!("1,{}", provider(template, algorithm))]);
    put("msPKI-RA-Signature", vec![template.issuance.signatures.to_string()]);
    put("msPKI-RA-Policies", list(&template.issuance.signature_policies));
    put("msPKI-Enrollment-Flag", signed(enrollment_flags));
    let private_key_flags = bit(template.key.exportable, private_key::EXPORTABLE)
        | bit(template.renewal.key == RenewalKey::Same, private_key::SAME_KEY_RENEWAL);
    put("msPKI-Private-Key-Flag", signed(private_key_flags));
    put("msPKI-Certificate-Name-Flag", signed(subject_flags(template, &mut losses)));
    put("msPKI-Minimal-Key-Size", vec![wire.minimal_key_length.to_string()]);
    put("msPKI-Template-Schema-Version", vec![wire.schema_version.to_string()]);
    put("msPKI-Template-Minor-Revision", vec![template.minor.to_string()]);
    put("msPKI-Cert-Template-OID", vec![oid.to_string()]);
    put("msPKI-Supersede-Templates", template.supersedes.clone());
    put("msPKI-Certificate-Application-Policy", list(&template.eku));
    put("msPKI-Certificate-Policy", list(&template.policies));
    if triplets::has_properties(&wire) {
        put("msPKI-RA-Application-Policies", triplets::write(&wire).into_iter().collect());
    } else {
        put("msPKI-RA-Application-Policies", list(&wire.ra_application_policies));
    }
    attributes.insert("pKIKeyUsage", vec![vec![usage_bits(template), 0]]);
    attributes.insert("pKIExpirationPeriod", vec![period::to_octets(wire.validity_seconds).to_vec()]);
    attributes.insert("pKIOverlapPeriod", vec![period::to_octets(wire.renewal_seconds).to_vec()]);
    attributes.insert("nTSecurityDescriptor", vec![descriptor(&access, administrators).to_octets()]);
    Ok(Export { attributes, losses })
}

/// Whether key-based renewal can be written down, and what else about renewal cannot.
fn key_based(template: &Template, losses: &mut Vec<String>) -> bool {
    let rules = &template.renewal;
    let usual = RenewalRules { key_based: rules.key_based, key: rules.key, ..RenewalRules::default() };
    if rules.key == RenewalKey::Any {
        losses.push("renewal.key: it becomes new".to_owned());
    }
    if *rules != usual {
        losses.push("renewal: the limits become those that a new template has".to_owned());
    }
    let possible =
        template.subject.source == SubjectSource::Request && template.issuance.renewal_without_approval;
    if rules.key_based && !possible {
        losses.push(
            "renewal.key_based: a directory knows it only with names from the request and \
             issuance.renewal_without_approval"
                .to_owned(),
        );
    }
    rules.key_based && possible
}

/// Schema 2 where a legacy provider makes RSA keys, schema 3 where a key storage provider makes others.
fn wire(template: &Template, algorithm: KeyAlgorithm, algorithm_name: &str) -> WireTemplate {
    let rsa = algorithm == KeyAlgorithm::Rsa;
    let has = |usage| template.key.usage.contains(&usage);
    let decrypts = has(KeyUsage::KeyEncipherment) || has(KeyUsage::DataEncipherment);
    let signs = has(KeyUsage::DigitalSignature) || has(KeyUsage::NonRepudiation);
    let property = u32::from(decrypts) | u32::from(signs) << 1 | u32::from(has(KeyUsage::KeyAgreement)) << 2;
    WireTemplate {
        schema_version: if rsa { 2 } else { 3 },
        validity_seconds: template.validity.lifetime_seconds(),
        renewal_seconds: template.validity.renewal_seconds(),
        minimal_key_length: match algorithm {
            KeyAlgorithm::Rsa => template.key.minimum_rsa_bits,
            KeyAlgorithm::P256 | KeyAlgorithm::Ed25519 => 256,
            KeyAlgorithm::P384 => 384,
            KeyAlgorithm::P521 => 521,
        },
        key_spec: Some(if decrypts { 1 } else { 2 }),
        key_usage_property: (!rsa).then_some(property),
        asymmetric_algorithm: (!rsa).then(|| algorithm_name.to_owned()),
        hash_algorithm: (!rsa).then(|| "SHA256".to_owned()),
        ra_application_policies: template.issuance.signature_eku.clone(),
        ra_policies: template.issuance.signature_policies.clone(),
        ..WireTemplate::default()
    }
}

fn provider(template: &Template, algorithm: KeyAlgorithm) -> &'static str {
    match (algorithm, template.kind) {
        (KeyAlgorithm::Rsa, PrincipalKind::Computer) => "Microsoft RSA SChannel Cryptographic Provider",
        (KeyAlgorithm::Rsa, PrincipalKind::User) => "Microsoft Enhanced RSA and AES Cryptographic Provider",
        (KeyAlgorithm::P256 | KeyAlgorithm::P384 | KeyAlgorithm::P521 | KeyAlgorithm::Ed25519, _) => {
            "Microsoft Software Key Storage Provider"
        }
    }
}

fn usage_bits(template: &Template) -> u8 {
    let set = keys::USAGES.into_iter().filter(|(_, usage)| template.key.usage.contains(usage));
    set.fold(0, |bits, (bit, _)| bits | bit)
}

fn subject_flags(template: &Template, losses: &mut Vec<String>) -> u32 {
    let rules = &template.subject;
    let mut lose = |key: &str, what: &str| losses.push(format!("subject.{key}: {what}"));
    if !rules.fixed.is_empty() {
        lose("fixed", "a directory has no fixed attributes");
    }
    if rules.source == SubjectSource::Request {
        let hosts = if template.issuance.approval { "any" } else { "own" };
        if rules.allow_dns != [hosts] {
            lose("allow_dns", &format!("it becomes {hosts}"));
        }
        if !rules.allow_ip.is_empty() {
            lose("allow_ip", "no addresses may be asked for");
        }
        let expected = [
            NameAttribute::Organization,
            NameAttribute::OrganizationalUnit,
            NameAttribute::Locality,
            NameAttribute::State,
            NameAttribute::Country,
        ];
        if !rules.allow_own_email || rules.allow_attributes != expected.into() {
            lose(
                "allow_attributes",
                "they become organization, unit, locality, state, country and own e-mail",
            );
        }
        let kept = if template.renewal.key_based { name::OLD_CERTIFICATE_SUPPLIES_SUBJECT } else { 0 };
        return name::ENROLLEE_SUPPLIES_SUBJECT | kept;
    }
    let subject = match (rules.common_name, template.kind) {
        (CommonNameFrom::DirectoryPath, _) => name::DIRECTORY_PATH,
        (CommonNameFrom::None, _) => 0,
        (CommonNameFrom::DnsName, PrincipalKind::Computer) => name::DNS_AS_CN,
        (CommonNameFrom::CommonName, PrincipalKind::User) => name::COMMON_NAME,
        (CommonNameFrom::CommonName, PrincipalKind::Computer) => {
            lose("common_name", "computers get their host name");
            name::DNS_AS_CN
        }
        (CommonNameFrom::DnsName, PrincipalKind::User) => {
            lose("common_name", "users get their common name");
            name::COMMON_NAME
        }
    };
    let email = if rules.email { name::EMAIL } else { 0 };
    rules.alternatives.iter().fold(subject | email, |flags, from| {
        flags
            | match from {
                AltNameFrom::DnsNames => name::ALT_DNS,
                AltNameFrom::Email => name::ALT_EMAIL,
                AltNameFrom::Upn => name::ALT_UPN,
                AltNameFrom::Guid => name::ALT_GUID,
                AltNameFrom::DomainDns => name::ALT_DOMAIN_DNS,
            }
    })
}

/// The access list; a local account or group has no security identifier that a directory would know.
fn access(template: &Template, losses: &mut Vec<String>) -> Vec<AccessEntry> {
    let permissions = &template.permissions;
    if let Some(list) = &permissions.access {
        return list.clone();
    }
    let mut list = Vec::new();
    let mut add = |grantees: &[Grantee], effect, right| {
        for grantee in grantees {
            let sid = match grantee {
                Grantee::Sid(sid) => Some(sid.clone()),
                Grantee::Authenticated => AUTHENTICATED_USERS.parse().ok(),
                Grantee::Group(_) | Grantee::Account(_) => None,
            };
            match sid {
                Some(sid) => list.push(AccessEntry { effect, right, sid }),
                None => losses.push(format!(
                    "permissions: {} is not known to the directory",
                    String::from(grantee.clone())
                )),
            }
        }
    };
    add(&permissions.deny, AccessEffect::Deny, AccessRight::Both);
    add(&permissions.enroll, AccessEffect::Allow, AccessRight::Enroll);
    add(&permissions.auto_enroll, AccessEffect::Allow, AccessRight::AutoEnroll);
    list
}

fn descriptor(access: &[AccessEntry], administrators: &[Sid]) -> Descriptor {
    let entry = |entry: &AccessEntry| {
        let right = match entry.right {
            AccessRight::Enroll => Some(ENROLL),
            AccessRight::AutoEnroll => Some(AUTO_ENROLL),
            AccessRight::Both => None,
        };
        Ace::new(entry.effect, mask::CONTROL_ACCESS, right, entry.sid.clone())
    };
    let readers = AUTHENTICATED_USERS.parse().ok();
    let administer =
        administrators.iter().map(|sid| Ace::new(AccessEffect::Allow, mask::ADMINISTER, None, sid.clone()));
    let read = readers.map(|sid| Ace::new(AccessEffect::Allow, mask::READ, None, sid));
    Descriptor {
        owner: administrators.first().cloned(),
        group: administrators.first().cloned(),
        dacl: Dacl::List(access.iter().map(entry).chain(administer).chain(read).collect()),
    }
}
