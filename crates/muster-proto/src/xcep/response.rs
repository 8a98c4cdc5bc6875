//! `GetPoliciesResponse` and everything in it.

use super::flags::{
    ClientAuthentication, EnrollmentFlags, GeneralFlags, KeySpec, KeyUsageProperty, OidGroup,
    PrivateKeyFlags, SubjectNameFlags,
};

/// `GetPoliciesResponse` (MS-XCEP 3.1.4.1.2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetPoliciesResponse {
    /// The policies.
    pub response: Response,
    /// CAs that the policies refer to.
    pub cas: Vec<Ca>,
    /// OIDs that everything refers to.
    pub oids: Vec<Oid>,
}

/// `Response` (3.1.4.1.3.23).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Stable identifier of this set of policies; clients keep their cache under it.
    pub policy_id: String,
    /// Name for people. Written as an empty element, not as nil, when empty: so do real servers.
    pub policy_friendly_name: String,
    /// When to ask again, in hours; more than 0.
    pub next_update_hours: Option<u32>,
    /// True in the short answer "nothing changed"; else `None` or false.
    pub policies_not_changed: Option<bool>,
    /// The templates.
    pub policies: Vec<CertificateEnrollmentPolicy>,
}

/// `CertificateEnrollmentPolicy` (3.1.4.1.3.7): one template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateEnrollmentPolicy {
    /// Refers to the template's OID in [`GetPoliciesResponse::oids`].
    pub policy_oid_reference: i32,
    /// Refers to the CAs that issue it.
    pub ca_references: Vec<i32>,
    /// All about the template.
    pub attributes: Attributes,
}

/// `Attributes` (3.1.4.1.3.1), in the order of the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// The template's `cn`; unique in the answer.
    pub common_name: String,
    /// Schema version of the template: 1 to 4.
    pub policy_schema: u32,
    /// How long certificates are good for.
    pub certificate_validity: CertificateValidity,
    /// What the caller may do.
    pub permission: EnrollmentPermission,
    /// How the key has to be made.
    pub private_key_attributes: PrivateKeyAttributes,
    /// Version of the template.
    pub revision: Revision,
    /// Common names of templates that this one replaces.
    pub superseded_policies: Vec<String>,
    /// `msPKI-Private-Key-Flag`.
    pub private_key_flags: Option<PrivateKeyFlags>,
    /// `msPKI-Certificate-Name-Flag`.
    pub subject_name_flags: Option<SubjectNameFlags>,
    /// `msPKI-Enrollment-Flag`.
    pub enrollment_flags: Option<EnrollmentFlags>,
    /// `flags`.
    pub general_flags: Option<GeneralFlags>,
    /// Refers to the hash algorithm for requests.
    pub hash_algorithm_oid_reference: Option<i32>,
    /// Signatures that a request needs beside its own.
    pub ra_requirements: Option<RaRequirements>,
    /// How to encrypt the key for archival.
    pub key_archival_attributes: Option<KeyArchivalAttributes>,
    /// Extensions that the request has to ask for.
    pub extensions: Vec<Extension>,
}

/// `CertificateValidity` (3.1.4.1.3.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CertificateValidity {
    /// Lifetime in seconds.
    pub validity_period_seconds: u64,
    /// How many seconds before the end renewal starts.
    pub renewal_period_seconds: u64,
}

/// `EnrollmentPermission` (3.1.4.1.3.11): of the authenticated caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnrollmentPermission {
    /// May enroll.
    pub enroll: bool,
    /// Is to enroll without being asked.
    pub auto_enroll: bool,
}

/// `PrivateKeyAttributes` (3.1.4.1.3.20).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivateKeyAttributes {
    /// In bits; more than 0.
    pub minimal_key_length: u32,
    /// Kind of key for a legacy provider; must be `None` for ECDSA.
    pub key_spec: Option<KeySpec>,
    /// What a CNG key may do; `None` for schema 1 and 2.
    pub key_usage_property: Option<KeyUsageProperty>,
    /// Security descriptor for the key, in SDDL.
    pub permissions: Option<String>,
    /// Refers to the key algorithm.
    pub algorithm_oid_reference: Option<i32>,
    /// Provider names, best first. Without any, Windows falls back to a provider with 1024 bits.
    pub crypto_providers: Vec<String>,
}

/// `Revision` (3.1.4.1.3.24).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revision {
    /// More than 0.
    pub major_revision: u32,
    /// Always written as a number; nil reads as 0.
    pub minor_revision: u32,
}

/// `RARequirements` (3.1.4.1.3.21).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaRequirements {
    /// How many signatures.
    pub ra_signatures: u32,
    /// Refers to the extended key usages that a signer needs.
    pub ra_ekus: Vec<i32>,
    /// Refers to the certificate policies that a signer needs.
    pub ra_policies: Vec<i32>,
}

/// `KeyArchivalAttributes` (3.1.4.1.3.15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyArchivalAttributes {
    /// Refers to the algorithm.
    pub symmetric_algorithm_oid_reference: i32,
    /// In bits; more than 0.
    pub symmetric_algorithm_key_length: u32,
}

/// `Extension` (3.1.4.1.3.12).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// Refers to the extension's OID.
    pub oid_reference: i32,
    /// Nil reads as false.
    pub critical: bool,
    /// DER of the extension's content, what stands inside of extnValue; `None` if the client has to make it.
    pub value: Option<Vec<u8>>,
}

/// `CA` (3.1.4.1.3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ca {
    /// Where to enroll. A CA without any must be left out of an answer.
    pub uris: Vec<CaUri>,
    /// The CA's signing certificate, DER; never empty.
    pub certificate: Vec<u8>,
    /// May the caller submit to this CA.
    pub enroll_permission: bool,
    /// What policies refer to.
    pub ca_reference_id: i32,
}

/// `CAURI` (3.1.4.1.3.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaUri {
    /// How callers prove who they are there.
    pub client_authentication: ClientAuthentication,
    /// Absolute HTTPS URL of the enrollment service.
    pub uri: String,
    /// Lower is better; equal numbers are equally good.
    pub priority: Option<u32>,
    /// Takes renewals only. Always written; nil reads as false.
    pub renewal_only: bool,
}

/// `OID` (3.1.4.1.3.16).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oid {
    /// Dotted decimal. Windows drops a template silently if an arc does not fit into 32 bits.
    pub value: String,
    /// What kind of thing it names.
    pub group: OidGroup,
    /// What everything refers to; unique in the answer.
    pub oid_reference_id: i32,
    /// Name for people; for a template its display name.
    pub default_name: String,
}

impl GetPoliciesResponse {
    /// The short answer to a client whose copy is still good (3.1.4.1.3.9).
    #[must_use]
    pub fn not_changed(policy_id: String, policy_friendly_name: String, next_update_hours: u32) -> Self {
        let response = Response {
            policy_id,
            policy_friendly_name,
            next_update_hours: Some(next_update_hours),
            policies_not_changed: Some(true),
            policies: Vec::new(),
        };
        Self { response, cas: Vec::new(), oids: Vec::new() }
    }

    /// The OID with this reference.
    #[must_use]
    pub fn oid(&self, reference: i32) -> Option<&Oid> {
        self.oids.iter().find(|oid| oid.oid_reference_id == reference)
    }

    /// The CA with this reference.
    #[must_use]
    pub fn ca(&self, reference: i32) -> Option<&Ca> {
        self.cas.iter().find(|ca| ca.ca_reference_id == reference)
    }
}
