//! A template as the policy describes it, and what follows from it for a request.

use der::asn1::ObjectIdentifier;
use muster_proto::wcce::{TemplateId, TemplateSelector};
use muster_proto::xcep::{Attributes, Ca, CertificateEnrollmentPolicy, PrivateKeyFlags, SubjectNameFlags};
use thiserror::Error;

use super::Policy;
use crate::failover::Candidate;
use crate::key::KeyType;

/// A template of a policy.
#[derive(Clone, Copy, Debug)]
pub struct Template<'a> {
    policy: &'a Policy,
    entry: &'a CertificateEnrollmentPolicy,
}

/// Why a template cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// The policy does not list it.
    #[error("the policy has no template {wanted:?} for you")]
    NotFound {
        /// What was asked for.
        wanted: String,
        /// Names that there are.
        available: Vec<String>,
    },
    /// The caller may not enroll.
    #[error("you may not enroll for template {0:?}")]
    NotPermitted(String),
    /// The policy's reference to the template's OID leads nowhere.
    #[error("the policy gives no OID for template {0:?}")]
    NoOid(String),
    /// No CA that the caller may use issues it.
    #[error("no certification authority that you may use issues template {0:?}")]
    NoCa(String),
    /// The private key must be archived at the CA.
    #[error(
        "template {0:?} requires the private key to be archived at the CA, which this client does not do"
    )]
    Archival(String),
    /// The key must be attested.
    #[error("template {0:?} requires key attestation, which this client does not do")]
    Attestation(String),
    /// Somebody else must sign first.
    #[error(
        "template {0:?} requires requests signed by a registration authority, which this client does not do"
    )]
    RaSignature(String),
    /// The template requires a key that cannot be made here.
    #[error("template {template:?} requires a key that this client does not make: {wanted}")]
    Key {
        /// The template.
        template: String,
        /// Algorithm and size.
        wanted: String,
    },
}

impl TemplateError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NotFound { available, .. } if available.is_empty() => {
                "the policy lists no templates at all: check your account's permissions".to_owned()
            }
            Self::NotFound { available, .. } => format!("there are: {}", available.join(", ")),
            Self::NotPermitted(_) => {
                "ask for the permission to enroll, or choose another template".to_owned()
            }
            Self::NoCa(_) => "ask for the permission to enroll at a CA that issues the template".to_owned(),
            Self::NoOid(_) => "the policy server is misconfigured".to_owned(),
            Self::Archival(_) | Self::Attestation(_) | Self::RaSignature(_) => {
                "choose another template".to_owned()
            }
            Self::Key { .. } => "give one that the template accepts with --key-type".to_owned(),
        }
    }
}

impl<'a> Template<'a> {
    pub(super) const fn new(policy: &'a Policy, entry: &'a CertificateEnrollmentPolicy) -> Self {
        Self { policy, entry }
    }

    /// Everything that the policy says about it.
    #[must_use]
    pub const fn attributes(&self) -> &'a Attributes {
        &self.entry.attributes
    }

    /// Its common name, by which requests and people name it.
    #[must_use]
    pub fn name(&self) -> &'a str {
        &self.entry.attributes.common_name
    }

    /// Its name for people; the common name if there is no other.
    #[must_use]
    pub fn display_name(&self) -> &'a str {
        let oid = self.policy.answer.oid(self.entry.policy_oid_reference);
        oid.map(|oid| oid.default_name.as_str())
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| self.name())
    }

    /// Its OID, dotted.
    #[must_use]
    pub fn oid(&self) -> Option<&'a str> {
        self.policy.answer.oid(self.entry.policy_oid_reference).map(|oid| oid.value.as_str())
    }

    /// Whether requests are sent as CMC (schema 2 and later) or as bare PKCS#10 (MS-WCCE 3.1.2.4.2.1).
    #[must_use]
    pub const fn uses_cmc(&self) -> bool {
        self.entry.attributes.policy_schema >= 2
    }

    /// Whether the subject is taken from the request.
    #[must_use]
    pub fn subject_from_request(&self) -> bool {
        let flags = self.entry.attributes.subject_name_flags.unwrap_or_default();
        flags.contains(SubjectNameFlags::ENROLLEE_SUPPLIES_SUBJECT)
    }

    /// Whether a renewal must keep its key.
    #[must_use]
    pub fn renewal_keeps_key(&self) -> bool {
        self.private_key_flags().contains(PrivateKeyFlags::REQUIRE_SAME_KEY_RENEWAL)
    }

    fn private_key_flags(&self) -> PrivateKeyFlags {
        self.entry.attributes.private_key_flags.unwrap_or_default()
    }

    /// Certification authorities that issue it and that the caller may use.
    pub fn cas(&self) -> impl Iterator<Item = &'a Ca> {
        let policy = self.policy;
        self.entry
            .ca_references
            .iter()
            .filter_map(move |reference| policy.answer.ca(*reference))
            .filter(|ca| ca.enroll_permission)
    }

    /// Whether there is an address that takes first enrollments; a policy for key-based renewal names none.
    #[must_use]
    pub fn takes_first_enrollments(&self) -> bool {
        self.cas().any(|ca| ca.uris.iter().any(|uri| !uri.renewal_only))
    }

    /// Fails if a request of this client cannot succeed.
    ///
    /// # Errors
    /// [`TemplateError`].
    pub fn check(&self, renewing: bool) -> Result<(), TemplateError> {
        let name = || self.name().to_owned();
        // A renewal may be allowed by the certificate alone; the server decides.
        if !renewing && !self.entry.attributes.permission.enroll {
            return Err(TemplateError::NotPermitted(name()));
        }
        let flags = self.private_key_flags();
        if flags.contains(PrivateKeyFlags::REQUIRE_PRIVATE_KEY_ARCHIVAL) {
            return Err(TemplateError::Archival(name()));
        }
        if flags.contains(PrivateKeyFlags::ATTEST_REQUIRED) {
            return Err(TemplateError::Attestation(name()));
        }
        let signatures = self.entry.attributes.ra_requirements.as_ref().map_or(0, |ra| ra.ra_signatures);
        if !renewing && signatures > 0 {
            return Err(TemplateError::RaSignature(name()));
        }
        if self.cas().next().is_none() { Err(TemplateError::NoCa(name())) } else { Ok(()) }
    }

    /// How a request names the template: by name in schema 1, by OID and version later.
    ///
    /// # Errors
    /// [`TemplateError::NoOid`].
    pub fn selector(&self) -> Result<TemplateSelector, TemplateError> {
        if !self.uses_cmc() {
            return Ok(TemplateSelector::Name(self.name().to_owned()));
        }
        let oid = self.oid().and_then(|oid| ObjectIdentifier::new(oid).ok());
        let oid = oid.ok_or_else(|| TemplateError::NoOid(self.name().to_owned()))?;
        let revision = self.entry.attributes.revision;
        let (major, minor) = (Some(revision.major_revision), Some(revision.minor_revision));
        Ok(TemplateSelector::Id(TemplateId { oid, major, minor }))
    }

    /// The key that the template asks for.
    ///
    /// # Errors
    /// [`TemplateError::Key`].
    pub fn key_type(&self) -> Result<KeyType, TemplateError> {
        let key = &self.entry.attributes.private_key_attributes;
        let bits = key.minimal_key_length;
        let algorithm = key.algorithm_oid_reference.and_then(|reference| self.policy.answer.oid(reference));
        let kind = match algorithm.map(|oid| oid.value.as_str()) {
            // Legacy providers know RSA only.
            None | Some(RSA) => KeyType::rsa(bits),
            Some(P256) => Some(KeyType::P256),
            Some(P384) => Some(KeyType::P384),
            Some(EC) if bits <= 256 => Some(KeyType::P256),
            Some(EC) if bits <= 384 => Some(KeyType::P384),
            Some(ED25519) => Some(KeyType::Ed25519),
            Some(_) => None,
        };
        kind.ok_or_else(|| {
            let algorithm = algorithm.map_or("RSA", |oid| {
                if oid.default_name.is_empty() { oid.value.as_str() } else { oid.default_name.as_str() }
            });
            TemplateError::Key {
                template: self.name().to_owned(),
                wanted: format!("{algorithm}, {bits} bits"),
            }
        })
    }

    /// Where to send a request, with the DER certificate of the CA behind it. URLs that cannot be used are left out.
    pub fn candidates(&self) -> impl Iterator<Item = (Candidate, &'a [u8])> {
        self.cas().flat_map(|ca| {
            ca.uris.iter().filter_map(|uri| {
                let endpoint = uri
                    .uri
                    .parse()
                    .inspect_err(|error| tracing::warn!(%error, "the policy names a URL that cannot be used"))
                    .ok()?;
                let candidate = Candidate {
                    endpoint,
                    authentication: uri.client_authentication,
                    priority: uri.priority,
                    renewal_only: uri.renewal_only,
                };
                Some((candidate, ca.certificate.as_slice()))
            })
        })
    }
}

const RSA: &str = "1.2.840.113549.1.1.1";
const EC: &str = "1.2.840.10045.2.1";
const P256: &str = "1.2.840.10045.3.1.7";
const P384: &str = "1.3.132.0.34";
const ED25519: &str = "1.3.101.112";
