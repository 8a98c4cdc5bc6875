//! The policy service: the templates and CAs that this caller may use (MS-XCEP 3.1.4.1).

mod answers;
mod from_directory;

use std::collections::BTreeMap;
use std::sync::Arc;

use muster_ca::OfferedTemplate;
use muster_core::identity::PrincipalKind;
use muster_core::request::KeyAlgorithm;
use muster_core::template::{
    AltNameFrom, CommonNameFrom, KeyUsage, Permission, RenewalKey, SubjectSource, Template, eku,
};
use muster_core::{Method, UnixTime};
use muster_proto::soap::ResponseHeader;
use muster_proto::xcep::{
    Attributes, Ca, CaUri, CertificateEnrollmentPolicy, CertificateValidity, ClientAuthentication,
    EnrollmentFlags, EnrollmentPermission, Extension, GeneralFlags, GetPolicies, GetPoliciesResponse,
    KeySpec, KeyUsageProperty, Oid, OidGroup, PrivateKeyAttributes, PrivateKeyFlags, RaRequirements,
    Response, Revision, SubjectNameFlags,
};

use muster_store::Generations;

use crate::auth::Authenticated;
use crate::catalog::{Catalog, Snapshot};
use crate::config::{Endpoint, Settings};
use crate::fault::ServiceError;

use self::answers::{Answers, Offered};

/// A client whose copy is older than this gets a whole answer, whatever it says; membership in groups may come from
/// elsewhere one day.
const LONGEST_UNCHANGED: i64 = 7 * 86_400;

/// A CA that is told of.
pub(crate) struct ToldCa {
    /// Its certificate, DER.
    pub(crate) certificate: Vec<u8>,
    uris: Vec<CaUri>,
    /// Those of them at which a certificate alone renews.
    key_based_uris: Vec<CaUri>,
}

impl ToldCa {
    /// A CA with its configured enrollment endpoints.
    #[must_use]
    pub(crate) fn new(settings: &Settings, name: &str, certificate: Vec<u8>) -> Self {
        let own = settings
            .enrollment_endpoints
            .iter()
            .map(|e| (&e.ca, e.uri.clone(), e.method, e.priority, e.renewal_only, e.key_based_renewal));
        let advertised = settings.advertised.iter();
        let other = advertised
            .map(|a| (&a.ca, a.uri.clone(), a.method, a.priority, a.renewal_only, a.key_based_renewal));
        let (mut uris, mut key_based_uris) = (Vec::new(), Vec::new());
        for (_, uri, method, priority, renewal_only, key_based) in
            own.chain(other).filter(|(ca, ..)| ***ca == *name)
        {
            let client_authentication = client_authentication(method);
            let uri = CaUri { client_authentication, uri, priority: Some(priority), renewal_only };
            if key_based {
                key_based_uris.push(uri.clone());
            }
            uris.push(uri);
        }
        Self { certificate, uris, key_based_uris }
    }

    /// Where it can be enrolled at.
    const fn uris(&self, key_based: bool) -> &Vec<CaUri> {
        if key_based { &self.key_based_uris } else { &self.uris }
    }
}

/// Answers GetPolicies.
pub(crate) struct PolicyService {
    settings: Arc<Settings>,
    policy_id: String,
    /// In the order of the catalogs that an answer is made from.
    cas: Vec<ToldCa>,
    answers: Answers,
}

impl PolicyService {
    /// A service that tells of these CAs.
    #[must_use]
    pub(crate) fn new(settings: Arc<Settings>, policy_id: String, cas: Vec<ToldCa>) -> Self {
        Self { settings, policy_id, cas, answers: Answers::default() }
    }

    /// Answers one authenticated message from the catalogs of the CAs.
    ///
    /// # Errors
    /// [`ServiceError::Policy`] if it is no GetPolicies, [`ServiceError::Unavailable`] if the store cannot be read.
    pub(crate) async fn answer(
        &self,
        message: &Authenticated<'_>,
        endpoint: &Endpoint,
        catalogs: impl Iterator<Item = &Catalog>,
        seen: Generations,
        header: &ResponseHeader,
        now: UnixTime,
    ) -> Result<String, ServiceError> {
        let request = GetPolicies::parse(message.action(), message.body())?;
        let principal = message.caller().principal();
        let mut snapshots = Vec::with_capacity(self.cas.len());
        for catalog in catalogs {
            snapshots.push(catalog.snapshot(principal, seen).await?);
        }
        let loaded = snapshots.iter().map(|snapshot| snapshot.loaded.0).max().unwrap_or(i64::MAX);
        // The second in which it changed counts as before the change.
        let fresh = |last: i64| last > loaded && now.0 - last < LONGEST_UNCHANGED && last <= now.0;
        // Groups of a directory change without a change here.
        let may_be_fresh = principal.directory.is_none();
        if may_be_fresh && request.client.last_update.is_some_and(|last| fresh(last.unix())) {
            let answer = GetPoliciesResponse::not_changed(
                self.policy_id.clone(),
                self.settings.policy_name.clone(),
                self.settings.next_update_hours,
            );
            return Ok(answer.to_envelope(header));
        }
        // What the caller may have is worked out for each message; only writing it down is spared.
        let key_based = endpoint.key_based_renewal;
        let mut offered = Offered { key_based, templates: Vec::new() };
        for (ca, (told, snapshot)) in self.cas.iter().zip(&snapshots).enumerate() {
            // A CA without an address could not be asked; then there is nothing to offer.
            let reachable = !told.uris(key_based).is_empty();
            let templates = snapshot.templates_for(principal).iter().enumerate();
            for (at, template) in templates.filter(|_| reachable) {
                let permission = if key_based {
                    // Whoever has a certificate may renew it, and need not be asked.
                    let renews = template.renewal.key_based && template.may_renew(principal);
                    Permission { enroll: renews, auto_enroll: renews }
                } else {
                    template.permission(principal)
                };
                let Some(oid) = template.oid.as_ref().filter(|_| permission.enroll) else { continue };
                let wire = snapshot.wire.get(oid);
                let key_flags = wire
                    .map_or_else(|| private_key_flags(template), |w| PrivateKeyFlags(w.private_key_flags));
                if request.request_filter.as_ref().is_none_or(|f| f.keeps(oid.as_str(), key_flags)) {
                    offered.templates.push((ca, at, permission));
                }
            }
        }
        let answer = self.answers.get(&snapshots, offered, |offered| self.offer(&snapshots, offered).write());
        Ok(answer.to_envelope(header))
    }

    /// The answer that offers these templates of the snapshots. A template that several CAs issue from is one policy.
    fn offer(&self, snapshots: &[Arc<Snapshot>], offered: &Offered) -> GetPoliciesResponse {
        let mut oids = Oids::default();
        let mut policies: Vec<CertificateEnrollmentPolicy> = Vec::with_capacity(offered.templates.len());
        let mut positions: BTreeMap<&str, usize> = BTreeMap::new();
        for (ca, at, permission) in &offered.templates {
            let Some(snapshot) = snapshots.get(*ca) else { continue };
            let Some(template) = snapshot.templates.get(*at) else { continue };
            let Some(oid) = &template.oid else { continue };
            if let Some(known) = positions.get(oid.as_str()).and_then(|position| policies.get_mut(*position))
            {
                known.ca_references.push(reference(*ca));
                continue;
            }
            positions.insert(oid.as_str(), policies.len());
            let mut policy = match snapshot.wire.get(oid) {
                Some(wire) => from_directory::policy(template, wire, oid, *permission, &mut oids),
                None => policy(template, oid, *permission, &mut oids),
            };
            policy.ca_references.push(reference(*ca));
            policies.push(policy);
        }
        let told = self.cas.iter().enumerate().filter(|(ca, _)| {
            let reference = reference(*ca);
            policies.iter().any(|policy| policy.ca_references.contains(&reference))
        });
        let cas = told
            .map(|(ca, told)| Ca {
                uris: told.uris(offered.key_based).clone(),
                certificate: told.certificate.clone(),
                enroll_permission: true,
                ca_reference_id: reference(ca),
            })
            .collect();
        GetPoliciesResponse {
            response: Response {
                policy_id: self.policy_id.clone(),
                policy_friendly_name: self.settings.policy_name.clone(),
                next_update_hours: Some(self.settings.next_update_hours),
                policies_not_changed: None,
                policies,
            },
            cas,
            oids: oids.list,
        }
    }
}

/// How an answer refers to a CA: by its position.
fn reference(ca: usize) -> i32 {
    i32::try_from(ca).unwrap_or(i32::MAX)
}

const fn client_authentication(method: Method) -> ClientAuthentication {
    match method {
        Method::UsernamePassword => ClientAuthentication::USERNAME_PASSWORD,
        Method::ClientCertificate => ClientAuthentication::CERTIFICATE,
        Method::Kerberos => ClientAuthentication::KERBEROS,
    }
}

/// The identifiers that an answer refers to, each once.
#[derive(Default)]
struct Oids {
    list: Vec<Oid>,
    index: BTreeMap<(String, u32), i32>,
}

impl Oids {
    fn reference(&mut self, value: &str, group: OidGroup, name: &str) -> i32 {
        *self.index.entry((value.to_owned(), group.0)).or_insert_with(|| {
            let reference = i32::try_from(self.list.len()).unwrap_or(i32::MAX);
            self.list.push(Oid {
                value: value.to_owned(),
                group,
                oid_reference_id: reference,
                default_name: name.to_owned(),
            });
            reference
        })
    }
}

/// One policy of the answer, without the CAs that issue by it.
fn policy(
    template: &Template,
    oid: &muster_core::Oid,
    permission: Permission,
    oids: &mut Oids,
) -> CertificateEnrollmentPolicy {
    let policy_oid_reference =
        oids.reference(oid.as_str(), OidGroup::ENROLLMENT_OBJECT, &template.display_name);
    let next_generation = next_generation(template);
    let version = (oid.clone(), template.major, template.minor);
    let key = PrivateKeyAttributes {
        minimal_key_length: minimal_key_length(template),
        // A legacy provider needs to know what kind of key to make; a key storage provider must not be told.
        key_spec: (!next_generation).then_some(if encrypts(template) {
            KeySpec::KEY_EXCHANGE
        } else {
            KeySpec::SIGNATURE
        }),
        key_usage_property: next_generation.then(|| key_usage_property(template)),
        permissions: None,
        algorithm_oid_reference: next_generation.then(|| {
            let (value, name) = algorithm_oid(first_algorithm(template));
            oids.reference(value, OidGroup::PUBLIC_KEY_ALGORITHM, name)
        }),
        // Without a provider Windows makes a key of 1024 bits.
        crypto_providers: vec![provider(template).to_owned()],
    };
    let hash_algorithm_oid_reference =
        next_generation.then(|| oids.reference("2.16.840.1.101.3.4.2.1", OidGroup::HASH_ALGORITHM, "sha256"));
    let attributes = Attributes {
        common_name: template.name.clone(),
        policy_schema: if next_generation { 3 } else { 2 },
        certificate_validity: CertificateValidity {
            validity_period_seconds: template.validity.lifetime_seconds(),
            renewal_period_seconds: template.validity.renewal_seconds(),
        },
        permission: EnrollmentPermission { enroll: permission.enroll, auto_enroll: permission.auto_enroll },
        private_key_attributes: key,
        revision: Revision { major_revision: template.major, minor_revision: template.minor },
        superseded_policies: template.supersedes.clone(),
        private_key_flags: Some(private_key_flags(template)),
        subject_name_flags: Some(subject_name_flags(template)),
        enrollment_flags: Some(enrollment_flags(template, permission)),
        general_flags: Some(general_flags(template, permission)),
        hash_algorithm_oid_reference,
        ra_requirements: ra_requirements(template, oids),
        key_archival_attributes: None,
        extensions: extension_list(template, OfferedTemplate::Version(&version), oids),
    };
    CertificateEnrollmentPolicy { policy_oid_reference, ca_references: Vec::new(), attributes }
}

/// The signatures of enrollment agents that the template asks for.
fn ra_requirements(template: &Template, oids: &mut Oids) -> Option<RaRequirements> {
    let rules = &template.issuance;
    (rules.signatures > 0).then(|| RaRequirements {
        ra_signatures: rules.signatures,
        ra_ekus: rules
            .signature_eku
            .iter()
            .map(|purpose| {
                oids.reference(purpose.as_str(), OidGroup::EXTENDED_KEY_USAGE, purpose_name(purpose.as_str()))
            })
            .collect(),
        ra_policies: rules
            .signature_policies
            .iter()
            .map(|policy| oids.reference(policy.as_str(), OidGroup::CERTIFICATE_POLICY, policy.as_str()))
            .collect(),
    })
}

fn first_algorithm(template: &Template) -> KeyAlgorithm {
    template.key.algorithms.first().copied().unwrap_or(KeyAlgorithm::Rsa)
}

/// Whether the key that clients should prefer needs a key storage provider (CNG) instead of a legacy one.
fn next_generation(template: &Template) -> bool {
    match first_algorithm(template) {
        KeyAlgorithm::Rsa => false,
        KeyAlgorithm::P256 | KeyAlgorithm::P384 | KeyAlgorithm::P521 | KeyAlgorithm::Ed25519 => true,
    }
}

fn minimal_key_length(template: &Template) -> u32 {
    match first_algorithm(template) {
        KeyAlgorithm::Rsa => template.key.minimum_rsa_bits,
        KeyAlgorithm::P256 | KeyAlgorithm::Ed25519 => 256,
        KeyAlgorithm::P384 => 384,
        KeyAlgorithm::P521 => 521,
    }
}

/// Names as CNG spells them; certenroll looks algorithms up by them.
const fn algorithm_oid(algorithm: KeyAlgorithm) -> (&'static str, &'static str) {
    match algorithm {
        KeyAlgorithm::Rsa => ("1.2.840.113549.1.1.1", "RSA"),
        KeyAlgorithm::P256 => ("1.2.840.10045.3.1.7", "ECDSA_P256"),
        KeyAlgorithm::P384 => ("1.3.132.0.34", "ECDSA_P384"),
        KeyAlgorithm::P521 => ("1.3.132.0.35", "ECDSA_P521"),
        KeyAlgorithm::Ed25519 => ("1.3.101.112", "Ed25519"),
    }
}

fn provider(template: &Template) -> &'static str {
    match (next_generation(template), template.kind) {
        (true, _) => "Microsoft Software Key Storage Provider",
        (false, PrincipalKind::Computer) => "Microsoft RSA SChannel Cryptographic Provider",
        (false, PrincipalKind::User) => "Microsoft Enhanced RSA and AES Cryptographic Provider",
    }
}

fn encrypts(template: &Template) -> bool {
    template.key.usage.contains(&KeyUsage::KeyEncipherment)
        || template.key.usage.contains(&KeyUsage::DataEncipherment)
}

fn key_usage_property(template: &Template) -> KeyUsageProperty {
    template.key.usage.iter().fold(KeyUsageProperty(0), |all, usage| {
        all | match usage {
            KeyUsage::DigitalSignature | KeyUsage::NonRepudiation => KeyUsageProperty::SIGN,
            KeyUsage::KeyEncipherment | KeyUsage::DataEncipherment => KeyUsageProperty::DECRYPT,
            KeyUsage::KeyAgreement => KeyUsageProperty::KEY_AGREEMENT,
        }
    })
}

fn private_key_flags(template: &Template) -> PrivateKeyFlags {
    let flags = if template.key.exportable { PrivateKeyFlags::EXPORTABLE_KEY } else { PrivateKeyFlags(0) };
    match template.renewal.key {
        RenewalKey::Same => flags | PrivateKeyFlags::REQUIRE_SAME_KEY_RENEWAL,
        RenewalKey::New | RenewalKey::Any => flags,
    }
}

fn subject_name_flags(template: &Template) -> SubjectNameFlags {
    let subject = &template.subject;
    if subject.source == SubjectSource::Request {
        // With both flags clients take the names of a renewal from the certificate.
        let flags = SubjectNameFlags::ENROLLEE_SUPPLIES_SUBJECT;
        return if template.renewal.key_based {
            flags | SubjectNameFlags::OLD_CERT_SUPPLIES_SUBJECT_AND_ALT_NAME
        } else {
            flags
        };
    }
    let name = match subject.common_name {
        CommonNameFrom::CommonName => SubjectNameFlags::SUBJECT_REQUIRE_COMMON_NAME,
        CommonNameFrom::DnsName => SubjectNameFlags::SUBJECT_REQUIRE_DNS_AS_CN,
        CommonNameFrom::DirectoryPath => SubjectNameFlags::SUBJECT_REQUIRE_DIRECTORY_PATH,
        CommonNameFrom::None => SubjectNameFlags(0),
    };
    let name = if subject.email { name | SubjectNameFlags::SUBJECT_REQUIRE_EMAIL } else { name };
    subject.alternatives.iter().fold(name, |all, from| {
        all | match from {
            AltNameFrom::DnsNames => SubjectNameFlags::SUBJECT_ALT_REQUIRE_DNS,
            AltNameFrom::Email => SubjectNameFlags::SUBJECT_ALT_REQUIRE_EMAIL,
            AltNameFrom::Upn => SubjectNameFlags::SUBJECT_ALT_REQUIRE_UPN,
            AltNameFrom::Guid => SubjectNameFlags::SUBJECT_ALT_REQUIRE_DIRECTORY_GUID,
            AltNameFrom::DomainDns => SubjectNameFlags::SUBJECT_ALT_REQUIRE_DOMAIN_DNS,
        }
    })
}

fn enrollment_flags(template: &Template, permission: Permission) -> EnrollmentFlags {
    let mut flags = EnrollmentFlags(0);
    if permission.auto_enroll {
        flags = flags | EnrollmentFlags::AUTO_ENROLLMENT;
    }
    if template.issuance.approval {
        flags = flags | EnrollmentFlags::PEND_ALL_REQUESTS;
    }
    if template.issuance.renewal_without_approval {
        flags = flags | EnrollmentFlags::PREVIOUS_APPROVAL_VALIDATE_REENROLLMENT;
    }
    if template.renewal.key_based {
        flags = flags | EnrollmentFlags::ALLOW_PREVIOUS_APPROVAL_KEYBASEDRENEWAL_VALIDATE_REENROLLMENT;
    }
    flags
}

fn general_flags(template: &Template, permission: Permission) -> GeneralFlags {
    let mut flags = GeneralFlags::IS_MODIFIED;
    if template.kind == PrincipalKind::Computer {
        flags = flags | GeneralFlags::MACHINE_TYPE;
    }
    if permission.auto_enroll {
        flags = flags | GeneralFlags::AUTO_ENROLLMENT;
    }
    flags
}

/// The extensions that a client copies into its request, as a Windows server sends them.
fn extension_list(template: &Template, offered: OfferedTemplate<'_>, oids: &mut Oids) -> Vec<Extension> {
    let usage: Vec<KeyUsage> = template.key.usage.iter().copied().collect();
    let list = muster_ca::offered_extensions(offered, &template.eku, &usage)
        .into_iter()
        .map(|extension| Extension {
            oid_reference: oids.reference(extension.oid, OidGroup::EXTENSION, extension_name(extension.oid)),
            critical: extension.critical,
            value: Some(extension.value),
        })
        .collect();
    // Windows lists the purposes, too, although nothing refers to them; clients show their names.
    for purpose in &template.eku {
        oids.reference(purpose.as_str(), OidGroup::EXTENDED_KEY_USAGE, purpose_name(purpose.as_str()));
    }
    list
}

fn extension_name(oid: &str) -> &str {
    match oid {
        "1.3.6.1.4.1.311.21.7" => "Certificate Template Information",
        "1.3.6.1.4.1.311.20.2" => "Certificate Template Name",
        "2.5.29.37" => "Enhanced Key Usage",
        "2.5.29.15" => "Key Usage",
        "1.3.6.1.4.1.311.21.10" => "Application Policies",
        other => other,
    }
}

fn purpose_name(oid: &str) -> &str {
    match oid {
        eku::CLIENT_AUTHENTICATION => "Client Authentication",
        eku::SERVER_AUTHENTICATION => "Server Authentication",
        eku::CODE_SIGNING => "Code Signing",
        eku::EMAIL_PROTECTION => "Secure Email",
        eku::IPSEC_IKE => "IP security IKE intermediate",
        eku::SMARTCARD_LOGON => "Smart Card Logon",
        eku::FILE_ENCRYPTION => "Encrypting File System",
        other => other,
    }
}
