//! Reads `GetPoliciesResponse`. More generous than the schema: any order, and what may be nil may also be absent.

use std::str::FromStr;

use super::flags::{
    ClientAuthentication, EnrollmentFlags, GeneralFlags, KeySpec, KeyUsageProperty, OidGroup,
    PrivateKeyFlags, SubjectNameFlags,
};
use super::request::XcepError;
use super::response::{
    Attributes, Ca, CaUri, CertificateEnrollmentPolicy, CertificateValidity, EnrollmentPermission, Extension,
    GetPoliciesResponse, KeyArchivalAttributes, Oid, PrivateKeyAttributes, RaRequirements, Response,
    Revision,
};
use crate::soap::names::XCEP;
use crate::soap::xml::{Element, XmlError};

impl GetPoliciesResponse {
    /// Reads the body of an answer that is no fault.
    ///
    /// References are not checked, see [`GetPoliciesResponse::problems`].
    ///
    /// # Errors
    /// [`XcepError::Xml`] if it is not an answer of this protocol.
    pub fn parse(body: &Element<'_>) -> Result<Self, XcepError> {
        if !body.is(XCEP, "GetPoliciesResponse") {
            return Err(XmlError::unexpected(body.local(), "GetPoliciesResponse").into());
        }
        Ok(Self {
            response: response(body.required(XCEP, "response")?)?,
            cas: collection(body, "cAs", "cA", ca)?,
            oids: collection(body, "oIDs", "oID", oid)?,
        })
    }
}

type Read<T> = Result<T, XmlError>;

/// The items of a list that may be nil or absent.
fn collection<'a, T>(
    parent: &Element<'a>,
    name: &str,
    item: &str,
    read: impl Fn(&Element<'a>) -> Read<T>,
) -> Read<Vec<T>> {
    match parent.non_nil(XCEP, name)? {
        Some(list) => list.children().iter().filter(|c| c.is(XCEP, item)).map(read).collect(),
        None => Ok(Vec::new()),
    }
}

fn text(parent: &Element<'_>, name: &'static str) -> Read<String> {
    parent.required(XCEP, name)?.trimmed().map(str::to_owned)
}

fn integer<T: FromStr>(parent: &Element<'_>, name: &'static str) -> Read<T> {
    parent.required(XCEP, name)?.integer()
}

fn boolean(parent: &Element<'_>, name: &'static str) -> Read<bool> {
    parent.required(XCEP, name)?.boolean()
}

fn text_or_nil(parent: &Element<'_>, name: &str) -> Read<Option<String>> {
    parent.non_nil(XCEP, name)?.map(|e| e.trimmed().map(str::to_owned)).transpose()
}

fn integer_or_nil<T: FromStr>(parent: &Element<'_>, name: &str) -> Read<Option<T>> {
    parent.non_nil(XCEP, name)?.map(Element::integer).transpose()
}

fn boolean_or_nil(parent: &Element<'_>, name: &str) -> Read<Option<bool>> {
    parent.non_nil(XCEP, name)?.map(Element::boolean).transpose()
}

fn response(e: &Element<'_>) -> Read<Response> {
    Ok(Response {
        policy_id: text(e, "policyID")?,
        policy_friendly_name: text_or_nil(e, "policyFriendlyName")?.unwrap_or_default(),
        next_update_hours: integer_or_nil(e, "nextUpdateHours")?,
        policies_not_changed: boolean_or_nil(e, "policiesNotChanged")?,
        policies: collection(e, "policies", "policy", policy)?,
    })
}

fn policy(e: &Element<'_>) -> Read<CertificateEnrollmentPolicy> {
    Ok(CertificateEnrollmentPolicy {
        policy_oid_reference: integer(e, "policyOIDReference")?,
        ca_references: collection(e, "cAs", "cAReference", Element::integer)?,
        attributes: attributes(e.required(XCEP, "attributes")?)?,
    })
}

fn attributes(e: &Element<'_>) -> Read<Attributes> {
    let validity = e.required(XCEP, "certificateValidity")?;
    let permission = e.required(XCEP, "permission")?;
    let revision = e.required(XCEP, "revision")?;
    let ra_requirements = e.non_nil(XCEP, "rARequirements")?.map(ra_requirements).transpose()?;
    let archival = e.non_nil(XCEP, "keyArchivalAttributes")?.map(key_archival).transpose()?;
    Ok(Attributes {
        common_name: text(e, "commonName")?,
        policy_schema: integer(e, "policySchema")?,
        certificate_validity: CertificateValidity {
            validity_period_seconds: integer(validity, "validityPeriodSeconds")?,
            renewal_period_seconds: integer(validity, "renewalPeriodSeconds")?,
        },
        permission: EnrollmentPermission {
            enroll: boolean(permission, "enroll")?,
            auto_enroll: boolean(permission, "autoEnroll")?,
        },
        private_key_attributes: private_key(e.required(XCEP, "privateKeyAttributes")?)?,
        revision: Revision {
            major_revision: integer(revision, "majorRevision")?,
            minor_revision: integer_or_nil(revision, "minorRevision")?.unwrap_or(0),
        },
        superseded_policies: collection(e, "supersededPolicies", "commonName", owned_text)?,
        private_key_flags: integer_or_nil(e, "privateKeyFlags")?.map(PrivateKeyFlags),
        subject_name_flags: integer_or_nil(e, "subjectNameFlags")?.map(SubjectNameFlags),
        enrollment_flags: integer_or_nil(e, "enrollmentFlags")?.map(EnrollmentFlags),
        general_flags: integer_or_nil(e, "generalFlags")?.map(GeneralFlags),
        hash_algorithm_oid_reference: integer_or_nil(e, "hashAlgorithmOIDReference")?,
        ra_requirements,
        key_archival_attributes: archival,
        extensions: collection(e, "extensions", "extension", extension)?,
    })
}

fn owned_text(e: &Element<'_>) -> Read<String> {
    e.trimmed().map(str::to_owned)
}

fn private_key(e: &Element<'_>) -> Read<PrivateKeyAttributes> {
    Ok(PrivateKeyAttributes {
        minimal_key_length: integer(e, "minimalKeyLength")?,
        key_spec: integer_or_nil(e, "keySpec")?.map(KeySpec),
        key_usage_property: integer_or_nil(e, "keyUsageProperty")?.map(KeyUsageProperty),
        permissions: text_or_nil(e, "permissions")?,
        algorithm_oid_reference: integer_or_nil(e, "algorithmOIDReference")?,
        crypto_providers: collection(e, "cryptoProviders", "provider", owned_text)?,
    })
}

fn ra_requirements(e: &Element<'_>) -> Read<RaRequirements> {
    Ok(RaRequirements {
        ra_signatures: integer(e, "rASignatures")?,
        ra_ekus: collection(e, "rAEKUs", "oIDReference", Element::integer)?,
        ra_policies: collection(e, "rAPolicies", "oIDReference", Element::integer)?,
    })
}

fn key_archival(e: &Element<'_>) -> Read<KeyArchivalAttributes> {
    Ok(KeyArchivalAttributes {
        symmetric_algorithm_oid_reference: integer(e, "symmetricAlgorithmOIDReference")?,
        symmetric_algorithm_key_length: integer(e, "symmetricAlgorithmKeyLength")?,
    })
}

fn extension(e: &Element<'_>) -> Read<Extension> {
    Ok(Extension {
        oid_reference: integer(e, "oIDReference")?,
        critical: boolean_or_nil(e, "critical")?.unwrap_or(false),
        value: e.non_nil(XCEP, "value")?.map(Element::base64).transpose()?,
    })
}

fn ca(e: &Element<'_>) -> Read<Ca> {
    Ok(Ca {
        uris: collection(e, "uris", "cAURI", ca_uri)?,
        certificate: e.required(XCEP, "certificate")?.base64()?,
        enroll_permission: boolean(e, "enrollPermission")?,
        ca_reference_id: integer(e, "cAReferenceID")?,
    })
}

fn ca_uri(e: &Element<'_>) -> Read<CaUri> {
    Ok(CaUri {
        client_authentication: ClientAuthentication(integer(e, "clientAuthentication")?),
        uri: text(e, "uri")?,
        priority: integer_or_nil(e, "priority")?,
        renewal_only: boolean_or_nil(e, "renewalOnly")?.unwrap_or(false),
    })
}

fn oid(e: &Element<'_>) -> Read<Oid> {
    Ok(Oid {
        value: text(e, "value")?,
        group: OidGroup(integer(e, "group")?),
        oid_reference_id: integer(e, "oIDReferenceID")?,
        default_name: text_or_nil(e, "defaultName")?.unwrap_or_default(),
    })
}
