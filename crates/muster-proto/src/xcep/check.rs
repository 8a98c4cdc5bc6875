//! What an answer must hold so that Windows takes it, beyond what the types say.
//!
//! Windows reports none of these: it drops the template or the whole answer, without a word.

use std::collections::HashSet;
use std::hash::Hash;

use thiserror::Error;

use super::flags::OidGroup;
use super::response::{Attributes, CertificateEnrollmentPolicy, GetPoliciesResponse};

/// Something in an answer that a client cannot use.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PolicyProblem {
    /// A reference to an OID that is not in the answer.
    #[error("OID reference {reference} refers to nothing")]
    UnknownOid {
        /// The reference.
        reference: i32,
    },
    /// A reference to a CA that is not in the answer.
    #[error("CA reference {reference} refers to nothing")]
    UnknownCa {
        /// The reference.
        reference: i32,
    },
    /// Two OIDs with one reference.
    #[error("OID reference {reference} is used twice")]
    DuplicateOid {
        /// The reference.
        reference: i32,
    },
    /// Two CAs with one reference.
    #[error("CA reference {reference} is used twice")]
    DuplicateCa {
        /// The reference.
        reference: i32,
    },
    /// Two templates with one common name.
    #[error("template {common_name} appears twice")]
    DuplicateTemplate {
        /// The name.
        common_name: String,
    },
    /// The OID is of another kind than its use: Windows then does not find the template by name.
    #[error("OID {value} is in group {} instead of {}", found.0, expected.0)]
    Group {
        /// The OID.
        value: String,
        /// Its group.
        found: OidGroup,
        /// The group that its use asks for.
        expected: OidGroup,
    },
    /// Not dotted decimal with arcs of at most 32 bits; Windows drops a template with a larger arc.
    #[error("{value} is not an OID with arcs of at most 32 bits")]
    OidValue {
        /// The OID.
        value: String,
    },
    /// A CA without URIs has to be left out (MS-XCEP 3.1.4.1.3.2).
    #[error("CA {reference} has no URI")]
    CaWithoutUri {
        /// The CA.
        reference: i32,
    },
    /// A CA without certificate.
    #[error("CA {reference} has no certificate")]
    CaWithoutCertificate {
        /// The CA.
        reference: i32,
    },
    /// Without a provider Windows falls back to one with keys of 1024 bits.
    #[error("template {common_name} names no cryptographic provider")]
    NoProvider {
        /// The template.
        common_name: String,
    },
    /// A number that must be more than 0.
    #[error("{element} is 0")]
    Zero {
        /// The element.
        element: &'static str,
    },
}

impl GetPoliciesResponse {
    /// Everything in the answer that a client could not use; empty for a good one.
    #[must_use]
    pub fn problems(&self) -> Vec<PolicyProblem> {
        let mut problems = Vec::new();
        zero(&mut problems, "nextUpdateHours", self.response.next_update_hours == Some(0));
        let names = self.response.policies.iter().map(|p| &p.attributes.common_name);
        problems.extend(
            duplicates(names)
                .map(|name| PolicyProblem::DuplicateTemplate { common_name: name.clone() })
                .chain(
                    duplicates(self.oids.iter().map(|oid| oid.oid_reference_id))
                        .map(|reference| PolicyProblem::DuplicateOid { reference }),
                )
                .chain(
                    duplicates(self.cas.iter().map(|ca| ca.ca_reference_id))
                        .map(|reference| PolicyProblem::DuplicateCa { reference }),
                ),
        );
        for oid in self.oids.iter().filter(|oid| !is_small_oid(&oid.value)) {
            problems.push(PolicyProblem::OidValue { value: oid.value.clone() });
        }
        for ca in &self.cas {
            let reference = ca.ca_reference_id;
            if ca.uris.is_empty() {
                problems.push(PolicyProblem::CaWithoutUri { reference });
            }
            if ca.certificate.is_empty() {
                problems.push(PolicyProblem::CaWithoutCertificate { reference });
            }
        }
        for policy in &self.response.policies {
            self.policy_problems(policy, &mut problems);
        }
        problems
    }

    fn policy_problems(&self, policy: &CertificateEnrollmentPolicy, problems: &mut Vec<PolicyProblem>) {
        for reference in policy.ca_references.iter().copied().filter(|r| self.ca(*r).is_none()) {
            problems.push(PolicyProblem::UnknownCa { reference });
        }
        for (reference, expected) in oid_references(policy) {
            match self.oid(reference) {
                None => problems.push(PolicyProblem::UnknownOid { reference }),
                Some(oid) if oid.group != expected => problems.push(PolicyProblem::Group {
                    value: oid.value.clone(),
                    found: oid.group,
                    expected,
                }),
                Some(_) => {}
            }
        }
        let Attributes { common_name, certificate_validity, private_key_attributes, revision, .. } =
            &policy.attributes;
        if private_key_attributes.crypto_providers.is_empty() {
            problems.push(PolicyProblem::NoProvider { common_name: common_name.clone() });
        }
        zero(problems, "validityPeriodSeconds", certificate_validity.validity_period_seconds == 0);
        zero(problems, "renewalPeriodSeconds", certificate_validity.renewal_period_seconds == 0);
        zero(problems, "minimalKeyLength", private_key_attributes.minimal_key_length == 0);
        zero(problems, "majorRevision", revision.major_revision == 0);
    }
}

/// Every reference to an OID, with the group that the OID has to be in.
fn oid_references(policy: &CertificateEnrollmentPolicy) -> impl Iterator<Item = (i32, OidGroup)> {
    let attributes = &policy.attributes;
    let key = attributes.private_key_attributes.algorithm_oid_reference;
    let ekus = attributes.ra_requirements.iter().flat_map(|ra| &ra.ra_ekus);
    let policies = attributes.ra_requirements.iter().flat_map(|ra| &ra.ra_policies);
    let archival = attributes.key_archival_attributes.map(|a| a.symmetric_algorithm_oid_reference);
    let extensions = attributes.extensions.iter().map(|e| e.oid_reference);
    std::iter::once((policy.policy_oid_reference, OidGroup::ENROLLMENT_OBJECT))
        .chain(key.map(|r| (r, OidGroup::PUBLIC_KEY_ALGORITHM)))
        .chain(attributes.hash_algorithm_oid_reference.map(|r| (r, OidGroup::HASH_ALGORITHM)))
        .chain(ekus.map(|r| (*r, OidGroup::EXTENDED_KEY_USAGE)))
        .chain(policies.map(|r| (*r, OidGroup::CERTIFICATE_POLICY)))
        .chain(archival.map(|r| (r, OidGroup::ENCRYPTION_ALGORITHM)))
        .chain(extensions.map(|r| (r, OidGroup::EXTENSION)))
}

fn duplicates<T: Eq + Hash + Copy>(items: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
    let mut seen = HashSet::new();
    items.filter(move |item| !seen.insert(*item))
}

fn zero(problems: &mut Vec<PolicyProblem>, element: &'static str, is_zero: bool) {
    if is_zero {
        problems.push(PolicyProblem::Zero { element });
    }
}

fn is_small_oid(value: &str) -> bool {
    let is_arc = |arc: &str| {
        arc.bytes().all(|b| b.is_ascii_digit())
            && (arc.len() == 1 || !arc.starts_with('0'))
            && arc.parse::<u32>().is_ok()
    };
    value.contains('.') && value.split('.').all(is_arc)
}
