//! pKICertificateTemplate: from the attributes of an entry to a [`Template`] that policy can use, what a policy
//! answer needs beside it, and what cannot be followed (MS-CRTD 2).
//!
//! Rules and names come from the directory; what it may not decide here (MS-WCCE obeyed to the letter would let a
//! flag make a CA, or leave a certificate unrecorded) is refused by name.

use muster_core::identity::PrincipalKind;
use muster_core::template::{
    AccessEffect, AccessEntry, AccessRight, IssuanceRules, Permissions, RenewalKey, RenewalRules,
    SubjectSource, Template, ValidityRules,
};
use muster_core::{Oid, risk};
use serde::{Deserialize, Serialize};

use crate::descriptor::{Dacl, Descriptor};
use crate::entry::{AttributeError, AttributeProblem, RawEntry};
use crate::finding::{Effect, Finding};
use crate::flags::{self, Flag};
use crate::sid;

pub mod algorithms;
mod fingerprint;
pub(crate) mod keys;
mod names;
pub(crate) mod period;
pub(crate) mod triplets;

pub use fingerprint::Fingerprint;

/// A template of the directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryTemplate {
    /// Distinguished name of the object.
    pub dn: String,
    /// What policy uses.
    pub template: Template,
    /// What a policy answer needs beside it.
    pub wire: WireTemplate,
    /// What is refused, dangerous or without effect, in the order of the attributes.
    pub findings: Vec<Finding>,
    /// Of exactly this content: what an officer accepts.
    pub fingerprint: Fingerprint,
}

/// What a policy answer says of a template beside what policy uses (MS-XCEP 3.1.4.1.3.1), as the directory has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireTemplate {
    /// msPKI-Template-Schema-Version, 1 to 4; 1 if absent.
    pub schema_version: u32,
    /// pKIExpirationPeriod in seconds.
    pub validity_seconds: u64,
    /// pKIOverlapPeriod in seconds.
    pub renewal_seconds: u64,
    /// msPKI-Minimal-Key-Size in bits, raised to what is accepted here; never 0.
    pub minimal_key_length: u32,
    /// pKIDefaultKeySpec: 1 key exchange, 2 signature.
    pub key_spec: Option<u32>,
    /// msPKI-Key-Usage: what a key of a key storage provider may do.
    pub key_usage_property: Option<u32>,
    /// msPKI-Key-Security-Descriptor, SDDL.
    pub key_permissions: Option<String>,
    /// msPKI-Asymmetric-Algorithm by the name that CNG uses; see [`algorithms::public_key`].
    pub asymmetric_algorithm: Option<String>,
    /// msPKI-Hash-Algorithm by the name that CNG uses; see [`algorithms::hash`].
    pub hash_algorithm: Option<String>,
    /// msPKI-Symmetric-Algorithm by the name that CNG uses.
    pub symmetric_algorithm: Option<String>,
    /// msPKI-Symmetric-Key-Length in bits.
    pub symmetric_key_length: Option<u32>,
    /// pKIDefaultCSPs, the preferred one first, without numbers.
    pub crypto_providers: Vec<String>,
    /// `flags`.
    pub general_flags: u32,
    /// msPKI-Enrollment-Flag.
    pub enrollment_flags: u32,
    /// msPKI-Private-Key-Flag.
    pub private_key_flags: u32,
    /// msPKI-Certificate-Name-Flag.
    pub subject_name_flags: u32,
    /// msPKI-RA-Signature.
    pub ra_signatures: u32,
    /// Purposes that certificates of enrollment agents must have, from msPKI-RA-Application-Policies.
    pub ra_application_policies: Vec<Oid>,
    /// msPKI-RA-Policies.
    pub ra_policies: Vec<Oid>,
    /// pKICriticalExtensions.
    pub critical_extensions: Vec<Oid>,
    /// pKIExtendedKeyUsage.
    pub extended_key_usage: Vec<Oid>,
    /// msPKI-Certificate-Application-Policy.
    pub application_policies: Vec<Oid>,
    /// msPKI-Certificate-Policy.
    pub certificate_policies: Vec<Oid>,
    /// pKIMaxIssuingDepth; of interest for CAs alone.
    pub max_issuing_depth: Option<u32>,
}

/// An entry that is no template: what is wrong with it, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedEntry {
    /// Distinguished name of the object.
    pub dn: String,
    /// What is wrong.
    pub finding: Finding,
}

impl DirectoryTemplate {
    /// Reads an entry.
    ///
    /// # Errors
    /// [`DamagedEntry`] if an attribute that a template cannot do without is missing or damaged.
    pub fn from_entry(entry: &RawEntry) -> Result<Self, DamagedEntry> {
        Self::read(entry).map_err(|error| DamagedEntry {
            dn: entry.dn.clone(),
            finding: Finding::new(Effect::Refused, error.attribute, error.to_string()),
        })
    }

    /// Whether nothing about it is refused.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.findings.iter().all(|finding| finding.effect != Effect::Refused)
    }

    /// The dangers that an officer has to accept first, together with [`Self::fingerprint`].
    pub fn dangers(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.effect == Effect::NeedsAcceptance)
    }

    /// Whether requests may be decided by it, when `accepted` says which contents officers have accepted.
    #[must_use]
    pub fn is_offered(&self, accepted: impl Fn(&Fingerprint) -> bool) -> bool {
        self.is_usable() && (self.dangers().next().is_none() || accepted(&self.fingerprint))
    }

    /// Whether issued certificates are to be added to userCertificate of the account (CT_FLAG_PUBLISH_TO_DS).
    #[must_use]
    pub const fn publishes_to_account(&self) -> bool {
        self.wire.enrollment_flags & flags::enrollment::PUBLISH_TO_DS != 0
    }

    /// Adds a danger that was found by looking at other objects.
    pub(crate) fn add(&mut self, finding: Finding) {
        self.fingerprint = self.fingerprint.with(&finding);
        self.findings.push(finding);
    }

    fn read(entry: &RawEntry) -> Result<Self, AttributeError> {
        let missing = |attribute| AttributeError { attribute, problem: AttributeProblem::Missing };
        let name = entry.text("cn")?.ok_or_else(|| missing("cn"))?.to_owned();
        let mut findings = Vec::new();
        let schema_version = entry.number("msPKI-Template-Schema-Version")?.unwrap_or(1);
        if !(1..=4).contains(&schema_version) {
            let problem = AttributeProblem::Form(format!("{schema_version} is not 1 to 4"));
            return Err(AttributeError { attribute: "msPKI-Template-Schema-Version", problem });
        }
        let mut wire = WireTemplate {
            schema_version,
            general_flags: flag_word(entry, "flags", flags::general::ALL, None, &mut findings)?,
            enrollment_flags: flag_word(
                entry,
                "msPKI-Enrollment-Flag",
                flags::enrollment::ALL,
                Some(0),
                &mut findings,
            )?,
            private_key_flags: flag_word(
                entry,
                "msPKI-Private-Key-Flag",
                flags::private_key::ALL,
                Some(flags::private_key::VERSIONS),
                &mut findings,
            )?,
            subject_name_flags: flag_word(
                entry,
                "msPKI-Certificate-Name-Flag",
                flags::name::ALL,
                Some(0),
                &mut findings,
            )?,
            validity_seconds: period::read(entry, "pKIExpirationPeriod")?,
            renewal_seconds: period::read(entry, "pKIOverlapPeriod")?,
            max_issuing_depth: entry.number("pKIMaxIssuingDepth")?,
            critical_extensions: oids(entry, "pKICriticalExtensions")?,
            extended_key_usage: oids(entry, "pKIExtendedKeyUsage")?,
            application_policies: oids(entry, "msPKI-Certificate-Application-Policy")?,
            certificate_policies: oids(entry, "msPKI-Certificate-Policy")?,
            ra_policies: oids(entry, "msPKI-RA-Policies")?,
            ra_signatures: entry.number("msPKI-RA-Signature")?.unwrap_or(0),
            ..WireTemplate::default()
        };
        if ["ca", "subca", "crossca"].iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
            findings.push(Finding::new(
                Effect::Refused,
                "cn",
                "the names CA, SubCA and CrossCA make a CA certificate elsewhere; here no template does",
            ));
        }
        triplets::read(entry, &mut wire, &mut findings)?;
        let key = keys::rules(entry, &mut wire, &mut findings)?;
        let access = access(entry, &mut findings)?;
        let kind = if wire.general_flags & flags::general::MACHINE_TYPE == 0 {
            PrincipalKind::User
        } else {
            PrincipalKind::Computer
        };
        let approval = wire.enrollment_flags & flags::enrollment::PEND_ALL_REQUESTS != 0;
        let subject = names::rules(&wire, kind, approval, is_for_controllers(&access), &mut findings);
        let template = Template {
            display_name: entry.text("displayName")?.unwrap_or(&name).to_owned(),
            oid: Some(one_oid(entry, "msPKI-Cert-Template-OID")?),
            major: entry.number("revision")?.ok_or_else(|| missing("revision"))?,
            minor: entry.number("msPKI-Template-Minor-Revision")?.unwrap_or(0),
            kind,
            eku: purposes(&wire, &mut findings),
            policies: if wire.enrollment_flags & flags::enrollment::POLICIES_FROM_REQUEST == 0 {
                wire.certificate_policies.clone()
            } else {
                Vec::new()
            },
            supersedes: superseded(entry, &mut findings)?,
            issuance: issuance(&wire, approval),
            renewal: renewal(&wire, subject.source, &mut findings),
            subject,
            key,
            validity: validity(&wire)?,
            permissions: Permissions { access: Some(access), ..Permissions::default() },
            name,
        };
        judge(&template, &mut findings);
        let fingerprint = Fingerprint::of(entry, &template, &findings);
        Ok(Self { dn: entry.dn.clone(), template, wire, findings, fingerprint })
    }
}

/// Reads a flag word and reports its bits. `others`: bits beside the listed ones that are no flags; with `None` any
/// bit may be left over.
fn flag_word(
    entry: &RawEntry,
    attribute: &'static str,
    known: &[Flag],
    others: Option<u32>,
    findings: &mut Vec<Finding>,
) -> Result<u32, AttributeError> {
    let word = entry.number(attribute)?.unwrap_or(0);
    for flag in known.iter().filter(|flag| word & flag.bit != 0) {
        if let Some((effect, sentence)) = flag.remark {
            findings.push(Finding::new(effect, flag.name, sentence));
        }
    }
    let listed = known.iter().fold(0, |bits, flag| bits | flag.bit);
    let unknown = others.map_or(0, |others| word & !(listed | others));
    if unknown != 0 {
        findings.push(Finding::new(
            Effect::Ignored,
            attribute,
            format!("the bits {unknown:#x} are not known here and do nothing"),
        ));
    }
    Ok(word)
}

fn oid(attribute: &'static str, text: &str) -> Result<Oid, AttributeError> {
    let problem = |e: muster_core::oid::OidError| AttributeProblem::Form(e.to_string());
    text.parse().map_err(|e| AttributeError { attribute, problem: problem(e) })
}

fn oids(entry: &RawEntry, attribute: &'static str) -> Result<Vec<Oid>, AttributeError> {
    entry.texts(attribute)?.into_iter().map(|text| oid(attribute, text.trim())).collect()
}

fn one_oid(entry: &RawEntry, attribute: &'static str) -> Result<Oid, AttributeError> {
    let text = entry.text(attribute)?;
    oid(attribute, text.ok_or(AttributeError { attribute, problem: AttributeProblem::Missing })?)
}

/// Who may enroll, from nTSecurityDescriptor.
fn access(entry: &RawEntry, findings: &mut Vec<Finding>) -> Result<Vec<AccessEntry>, AttributeError> {
    const ATTRIBUTE: &str = "nTSecurityDescriptor";
    let missing = AttributeError { attribute: ATTRIBUTE, problem: AttributeProblem::Missing };
    let octets = entry.octets(ATTRIBUTE)?.ok_or(missing)?;
    let descriptor = Descriptor::parse(octets).map_err(|error| AttributeError {
        attribute: ATTRIBUTE,
        problem: AttributeProblem::Form(error.to_string()),
    })?;
    match &descriptor.dacl {
        Dacl::Absent | Dacl::Null => findings.push(Finding::new(
            Effect::Refused,
            ATTRIBUTE,
            "there is no access list, so everybody may change the template; give it one",
        )),
        Dacl::List(_) => {}
    }
    let broad = |sid: &muster_core::identity::Sid| muster_core::template::access::is_everybody(sid);
    if let Some(writer) = descriptor.writers(|sid| !broad(sid)).next() {
        findings.push(Finding::new(
            Effect::NeedsAcceptance,
            ATTRIBUTE,
            format!("everybody may change the template ({writer}, ESC4): take write rights away"),
        ));
    }
    Ok(descriptor.enrollment_access())
}

/// Whether the template is meant for domain controllers: such are named among those who may enroll.
fn is_for_controllers(access: &[AccessEntry]) -> bool {
    access.iter().any(|entry| {
        entry.effect == AccessEffect::Allow
            && entry.right.covers(AccessRight::Enroll)
            && sid::is_domain_controllers(&entry.sid)
    })
}

/// The purposes: from schema 2 on the application policies, as Windows prefers them; where both lists are there and
/// differ, what is in both.
fn purposes(wire: &WireTemplate, findings: &mut Vec<Finding>) -> Vec<Oid> {
    let (usages, policies) = (&wire.extended_key_usage, &wire.application_policies);
    if wire.schema_version == 1 || policies.is_empty() {
        return usages.clone();
    }
    if usages.is_empty() {
        return policies.clone();
    }
    let both: Vec<Oid> = policies.iter().filter(|policy| usages.contains(policy)).cloned().collect();
    if both.len() != policies.len() || usages.iter().any(|usage| !policies.contains(usage)) {
        findings.push(Finding::new(
            Effect::Ignored,
            "msPKI-Certificate-Application-Policy",
            "it differs from pKIExtendedKeyUsage; only purposes that stand in both are issued",
        ));
    }
    both
}

fn superseded(entry: &RawEntry, findings: &mut Vec<Finding>) -> Result<Vec<String>, AttributeError> {
    const ATTRIBUTE: &str = "msPKI-Supersede-Templates";
    let names = entry.texts(ATTRIBUTE)?;
    let plain = |name: &str| {
        (1..=64).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.() ".contains(&b))
            && name.trim() == name
    };
    if names.iter().any(|name| !plain(name)) {
        findings.push(Finding::new(
            Effect::Ignored,
            ATTRIBUTE,
            "a name in it has characters that no template here has; it is left out",
        ));
    }
    Ok(names.into_iter().filter(|name| plain(name)).map(str::to_owned).collect())
}

fn issuance(wire: &WireTemplate, approval: bool) -> IssuanceRules {
    IssuanceRules {
        approval,
        renewal_without_approval: wire.enrollment_flags & flags::enrollment::PREVIOUS_APPROVAL != 0,
        signatures: wire.ra_signatures,
        signature_eku: wire.ra_application_policies.clone(),
        signature_policies: wire.ra_policies.clone(),
    }
}

/// Key-based renewal needs three flags (MS-WCCE 3.2.2.6.2.1.4.5.6); limits are not a directory's.
fn renewal(wire: &WireTemplate, source: SubjectSource, findings: &mut Vec<Finding>) -> RenewalRules {
    let flag = |bit| wire.enrollment_flags & bit != 0;
    let wanted = flag(flags::enrollment::KEY_BASED_RENEWAL);
    let key_based = wanted && flag(flags::enrollment::PREVIOUS_APPROVAL) && source == SubjectSource::Request;
    if wanted && !key_based {
        findings.push(Finding::new(
            Effect::Ignored,
            flags::enrollment::KEY_BASED_RENEWAL_NAME,
            "key-based renewal needs CT_FLAG_ENROLLEE_SUPPLIES_SUBJECT and \
             CT_FLAG_PREVIOUS_APPROVAL_VALIDATE_REENROLLMENT as well",
        ));
    }
    let same = wire.private_key_flags & flags::private_key::SAME_KEY_RENEWAL != 0;
    RenewalRules {
        key_based,
        key: if same { RenewalKey::Same } else { RenewalKey::New },
        ..RenewalRules::default()
    }
}

/// Lifetimes in whole hours, rounded down; a certificate never lives longer than the directory says.
fn validity(wire: &WireTemplate) -> Result<ValidityRules, AttributeError> {
    let split = |attribute, seconds: u64| {
        let days = u32::try_from(seconds / 86_400).map_err(|_| AttributeError {
            attribute,
            problem: AttributeProblem::Form("it is longer than ten thousand years".to_owned()),
        })?;
        Ok((days, u32::try_from(seconds % 86_400 / 3_600).unwrap_or_default()))
    };
    let (days, hours) = split("pKIExpirationPeriod", wire.validity_seconds)?;
    let (renew_before_days, renew_before_hours) = split("pKIOverlapPeriod", wire.renewal_seconds)?;
    Ok(ValidityRules { days, hours, renew_before_days, renew_before_hours })
}

/// Values out of range, and dangers.
fn judge(template: &Template, findings: &mut Vec<Finding>) {
    if let Err(error) = template.check_values() {
        findings.push(Finding::new(Effect::Refused, "pKICertificateTemplate", error.to_string()));
    }
    let Err(risk) = risk::check(template) else { return };
    let (effect, about, sentence): (_, _, String) = match risk {
        // The CA does not sign such a certificate, whatever an officer says.
        risk::Risk::AnyPurpose(_) => (
            Effect::Refused,
            "pKIExtendedKeyUsage",
            "certificates without a named purpose are good for any (ESC2); name the purposes".to_owned(),
        ),
        risk::Risk::ChosenLogonName(_) => (
            Effect::NeedsAcceptance,
            "CT_FLAG_ENROLLEE_SUPPLIES_SUBJECT",
            "enrollees choose the name in a certificate that can log in (ESC1); let the directory supply it, or set \
             CT_FLAG_PEND_ALL_REQUESTS"
                .to_owned(),
        ),
        risk::Risk::EnrollmentAgent(_) => (
            Effect::NeedsAcceptance,
            "pKIExtendedKeyUsage",
            "it makes enrollment agents, who can act for anybody at other CAs of the forest (ESC3); set \
             CT_FLAG_PEND_ALL_REQUESTS".to_owned(),
        ),
        risk::Risk::CaPurpose { purpose, oid, .. } => (
            Effect::NeedsAcceptance,
            "pKIExtendedKeyUsage",
            format!("certificates with the purpose {purpose} ({oid}) speak for an authority, not for an account"),
        ),
        risk::Risk::ChosenServerName { .. } => (
            Effect::NeedsAcceptance,
            "CT_FLAG_ENROLLEE_SUPPLIES_SUBJECT",
            "enrollees choose server names beyond their own (ESC17); set CT_FLAG_PEND_ALL_REQUESTS".to_owned(),
        ),
        risk::Risk::OpenToAll(_) => (
            Effect::NeedsAcceptance,
            "nTSecurityDescriptor",
            "names come from the request, and nearly everybody may enroll; grant Enroll to a group".to_owned(),
        ),
    };
    findings.push(Finding::new(effect, about, sentence));
}
