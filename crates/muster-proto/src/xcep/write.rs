//! Writes `GetPoliciesResponse`. The order of the lines is the order of the schema, which Windows insists on.

use super::response::{
    Attributes, Ca, CertificateEnrollmentPolicy, Extension, GetPoliciesResponse, Oid, PrivateKeyAttributes,
    RaRequirements, Response,
};
use crate::soap::ResponseHeader;
use crate::soap::names::{ACTION_GET_POLICIES_RESPONSE, XCEP};
use crate::soap::xml::Writer;

impl GetPoliciesResponse {
    /// Writes the whole answer.
    #[must_use]
    pub fn to_envelope(&self, header: &ResponseHeader) -> String {
        self.write().to_envelope(header)
    }

    /// Writes everything but the headers, for as many answers as wanted.
    #[must_use]
    pub fn write(&self) -> WrittenPolicies {
        let mut w = Writer::new();
        w.element("GetPoliciesResponse", &[("xmlns", XCEP)], |w| {
            response(w, &self.response);
            collection(w, "cAs", &self.cas, ca);
            collection(w, "oIDs", &self.oids, oid);
        });
        WrittenPolicies(w.finish())
    }
}

/// A [`GetPoliciesResponse`] as it stands in a Body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenPolicies(String);

impl WrittenPolicies {
    /// The whole answer.
    #[must_use]
    pub fn to_envelope(&self, header: &ResponseHeader) -> String {
        header.write_around(ACTION_GET_POLICIES_RESPONSE, &self.0)
    }

    /// Its length in octets, without the headers.
    #[must_use]
    pub const fn octets(&self) -> usize {
        self.0.len()
    }
}

/// A list; nil if it is empty, since the schema has no empty lists.
fn collection<T>(w: &mut Writer, name: &str, items: &[T], write: impl Fn(&mut Writer, &T)) {
    if items.is_empty() {
        return w.nil(name);
    }
    w.element(name, &[], |w| {
        for item in items {
            write(w, item);
        }
    });
}

fn response(w: &mut Writer, response: &Response) {
    w.element("response", &[], |w| {
        w.leaf("policyID", &response.policy_id);
        w.leaf("policyFriendlyName", &response.policy_friendly_name);
        w.nillable("nextUpdateHours", response.next_update_hours);
        w.nillable("policiesNotChanged", response.policies_not_changed);
        collection(w, "policies", &response.policies, policy);
    });
}

fn policy(w: &mut Writer, policy: &CertificateEnrollmentPolicy) {
    w.element("policy", &[], |w| {
        w.value("policyOIDReference", policy.policy_oid_reference);
        collection(w, "cAs", &policy.ca_references, |w, reference| w.value("cAReference", reference));
        w.element("attributes", &[], |w| attributes(w, &policy.attributes));
    });
}

fn attributes(w: &mut Writer, attributes: &Attributes) {
    let (validity, permission) = (attributes.certificate_validity, attributes.permission);
    let revision = attributes.revision;
    w.leaf("commonName", &attributes.common_name);
    w.value("policySchema", attributes.policy_schema);
    w.element("certificateValidity", &[], |w| {
        w.value("validityPeriodSeconds", validity.validity_period_seconds);
        w.value("renewalPeriodSeconds", validity.renewal_period_seconds);
    });
    w.element("permission", &[], |w| {
        w.value("enroll", permission.enroll);
        w.value("autoEnroll", permission.auto_enroll);
    });
    w.element("privateKeyAttributes", &[], |w| private_key(w, &attributes.private_key_attributes));
    w.element("revision", &[], |w| {
        w.value("majorRevision", revision.major_revision);
        w.value("minorRevision", revision.minor_revision);
    });
    collection(w, "supersededPolicies", &attributes.superseded_policies, |w, name| {
        w.leaf("commonName", name);
    });
    w.nillable("privateKeyFlags", attributes.private_key_flags.map(|flags| flags.0));
    w.nillable("subjectNameFlags", attributes.subject_name_flags.map(|flags| flags.0));
    w.nillable("enrollmentFlags", attributes.enrollment_flags.map(|flags| flags.0));
    w.nillable("generalFlags", attributes.general_flags.map(|flags| flags.0));
    w.nillable("hashAlgorithmOIDReference", attributes.hash_algorithm_oid_reference);
    match &attributes.ra_requirements {
        Some(requirements) => w.element("rARequirements", &[], |w| ra_requirements(w, requirements)),
        None => w.nil("rARequirements"),
    }
    match attributes.key_archival_attributes {
        Some(archival) => w.element("keyArchivalAttributes", &[], |w| {
            w.value("symmetricAlgorithmOIDReference", archival.symmetric_algorithm_oid_reference);
            w.value("symmetricAlgorithmKeyLength", archival.symmetric_algorithm_key_length);
        }),
        None => w.nil("keyArchivalAttributes"),
    }
    collection(w, "extensions", &attributes.extensions, extension);
}

fn private_key(w: &mut Writer, key: &PrivateKeyAttributes) {
    w.value("minimalKeyLength", key.minimal_key_length);
    w.nillable("keySpec", key.key_spec.map(|spec| spec.0));
    w.nillable("keyUsageProperty", key.key_usage_property.map(|usage| usage.0));
    w.nillable("permissions", key.permissions.as_ref());
    w.nillable("algorithmOIDReference", key.algorithm_oid_reference);
    collection(w, "cryptoProviders", &key.crypto_providers, |w, name| w.leaf("provider", name));
}

fn ra_requirements(w: &mut Writer, requirements: &RaRequirements) {
    let reference = |w: &mut Writer, reference: &i32| w.value("oIDReference", reference);
    w.value("rASignatures", requirements.ra_signatures);
    collection(w, "rAEKUs", &requirements.ra_ekus, reference);
    collection(w, "rAPolicies", &requirements.ra_policies, reference);
}

fn extension(w: &mut Writer, extension: &Extension) {
    w.element("extension", &[], |w| {
        w.value("oIDReference", extension.oid_reference);
        w.value("critical", extension.critical);
        match &extension.value {
            Some(bytes) => w.base64("value", &[], bytes),
            None => w.nil("value"),
        }
    });
}

fn ca(w: &mut Writer, ca: &Ca) {
    w.element("cA", &[], |w| {
        w.element("uris", &[], |w| {
            for uri in &ca.uris {
                w.element("cAURI", &[], |w| {
                    w.value("clientAuthentication", uri.client_authentication.0);
                    w.leaf("uri", &uri.uri);
                    w.nillable("priority", uri.priority);
                    w.value("renewalOnly", uri.renewal_only);
                });
            }
        });
        w.base64("certificate", &[], &ca.certificate);
        w.value("enrollPermission", ca.enroll_permission);
        w.value("cAReferenceID", ca.ca_reference_id);
    });
}

fn oid(w: &mut Writer, oid: &Oid) {
    w.element("oID", &[], |w| {
        w.leaf("value", &oid.value);
        w.value("group", oid.group.0);
        w.value("oIDReferenceID", oid.oid_reference_id);
        w.leaf("defaultName", &oid.default_name);
    });
}
