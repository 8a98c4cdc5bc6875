//! What a policy answer says about a template of Active Directory: its attributes as the directory has them, which is
//! what clients of Microsoft's service are used to (MS-XCEP 3.1.4.1.3.1).

use muster_ca::OfferedTemplate;
use muster_core::Template;
use muster_core::template::Permission;
use muster_directory::WireTemplate;
use muster_directory::template::algorithms;
use muster_proto::xcep::{
    Attributes, CertificateEnrollmentPolicy, CertificateValidity, EnrollmentFlags, EnrollmentPermission,
    GeneralFlags, KeySpec, KeyUsageProperty, OidGroup, PrivateKeyAttributes, PrivateKeyFlags, RaRequirements,
    Revision, SubjectNameFlags,
};

use super::{Oids, extension_list, purpose_name};

/// Schema version from which templates name a key storage provider's algorithms.
const NEXT_GENERATION: u32 = 3;

/// One policy of the answer, without the CAs that issue by it.
pub(super) fn policy(
    template: &Template,
    wire: &WireTemplate,
    oid: &muster_core::Oid,
    permission: Permission,
    oids: &mut Oids,
) -> CertificateEnrollmentPolicy {
    let reference = oids.reference(oid.as_str(), OidGroup::ENROLLMENT_OBJECT, &template.display_name);
    let next_generation = wire.schema_version >= NEXT_GENERATION;
    let algorithm = wire.asymmetric_algorithm.as_deref().filter(|_| next_generation);
    let hash = wire.hash_algorithm.as_deref().filter(|_| next_generation);
    let key = PrivateKeyAttributes {
        minimal_key_length: wire.minimal_key_length,
        key_spec: wire.key_spec.map(KeySpec),
        key_usage_property: wire.key_usage_property.map(KeyUsageProperty),
        permissions: wire.key_permissions.clone(),
        algorithm_oid_reference: algorithm.and_then(|name| {
            let (_, value) = algorithms::public_key(name)?;
            Some(oids.reference(value, OidGroup::PUBLIC_KEY_ALGORITHM, name))
        }),
        crypto_providers: wire.crypto_providers.clone(),
    };
    let hash =
        hash.and_then(|name| Some(oids.reference(algorithms::hash(name)?, OidGroup::HASH_ALGORITHM, name)));
    let ra_requirements = (wire.ra_signatures > 0).then(|| RaRequirements {
        ra_signatures: wire.ra_signatures,
        ra_ekus: wire
            .ra_application_policies
            .iter()
            .map(|purpose| {
                oids.reference(purpose.as_str(), OidGroup::EXTENDED_KEY_USAGE, purpose_name(purpose.as_str()))
            })
            .collect(),
        ra_policies: wire
            .ra_policies
            .iter()
            .map(|policy| oids.reference(policy.as_str(), OidGroup::CERTIFICATE_POLICY, policy.as_str()))
            .collect(),
    });
    let version = (oid.clone(), template.major, template.minor);
    let offered = if wire.schema_version == 1 {
        OfferedTemplate::Name(&template.name)
    } else {
        OfferedTemplate::Version(&version)
    };
    let attributes = Attributes {
        common_name: template.name.clone(),
        policy_schema: wire.schema_version,
        certificate_validity: CertificateValidity {
            validity_period_seconds: wire.validity_seconds,
            renewal_period_seconds: wire.renewal_seconds,
        },
        permission: EnrollmentPermission { enroll: permission.enroll, auto_enroll: permission.auto_enroll },
        private_key_attributes: key,
        revision: Revision { major_revision: template.major, minor_revision: template.minor },
        superseded_policies: template.supersedes.clone(),
        private_key_flags: Some(PrivateKeyFlags(wire.private_key_flags)),
        subject_name_flags: Some(SubjectNameFlags(wire.subject_name_flags)),
        enrollment_flags: Some(EnrollmentFlags(wire.enrollment_flags)),
        general_flags: Some(GeneralFlags(wire.general_flags)),
        hash_algorithm_oid_reference: hash,
        ra_requirements,
        // A template that asks for the key to be archived is refused when it is read.
        key_archival_attributes: None,
        extensions: extension_list(template, offered, oids),
    };
    CertificateEnrollmentPolicy { policy_oid_reference: reference, ca_references: Vec::new(), attributes }
}
