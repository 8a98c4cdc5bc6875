//! A certification authority and the answers of its services, written with the server side of the protocol crate.

use std::sync::Arc;

use muster_client::key::{KeyType, PrivateKey};
use muster_client::session::{CredentialSet, Session};
use muster_client::tls::client_config;
use muster_client::transport::{Timeouts, Transport};
use muster_client::{Clock, SystemRandom};
use muster_proto::soap::xml::Limits;
use muster_proto::soap::{DateTime, Envelope, Fault, FaultKind, Password, ResponseHeader, UsernameToken};
use muster_proto::wcce::{CertificateRequest, ParsedRequest, ResponseStatus, TemplateId, build_response};
use muster_proto::wstep::{
    CertificateEnrollmentWSDetail, DispositionMessage, Hresult, Issued, Operation, Pending, RequestId,
    RequestSecurityToken, RequestSecurityTokenResponse,
};
use muster_proto::xcep::{
    Attributes, Ca, CaUri, CertificateEnrollmentPolicy, CertificateValidity, ClientAuthentication,
    EnrollmentPermission, GetPoliciesResponse, Oid, OidGroup, PrivateKeyAttributes, Response, Revision,
    SubjectNameFlags,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, IsCa, KeyPair,
    SubjectPublicKeyInfo,
};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::server::{Received, Reply, TestCa};

pub(crate) const TEMPLATE_OID: &str = "1.3.6.1.4.1.99999.1.1";

/// An issuing CA.
pub(crate) struct Issuer {
    key: PrivateKey,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Issuer {
    pub(crate) fn new(name: &str) -> Arc<Self> {
        let key = PrivateKey::generate(KeyType::P256).unwrap();
        let pair = KeyPair::try_from(&PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.pkcs8()))).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Arc::new(Self { key, issuer: CertifiedIssuer::self_signed(params, pair).unwrap() })
    }

    pub(crate) fn certificate(&self) -> &[u8] {
        self.issuer.der()
    }

    /// Certifies a key for a host.
    pub(crate) fn issue(&self, spki: &[u8], host: &str) -> Vec<u8> {
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, host);
        let template = TemplateId { oid: TEMPLATE_OID.parse().unwrap(), major: Some(100), minor: Some(1) };
        params
            .custom_extensions
            .push(CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 311, 21, 7], template.to_der()));
        let key = SubjectPublicKeyInfo::from_der(spki).unwrap();
        params.signed_by(&key, &self.issuer).unwrap().der().to_vec()
    }

    /// CMC response that says "issued".
    pub(crate) fn respond(&self, certificate: &[u8]) -> Vec<u8> {
        build_response(ResponseStatus::Issued { certificate }, &[self.certificate()], &self.key).unwrap()
    }

    /// The whole answer with a certificate.
    pub(crate) fn issued(&self, certificate: Vec<u8>) -> RequestSecurityTokenResponse {
        RequestSecurityTokenResponse::Issued(Issued {
            disposition_message: DispositionMessage::english("Issued"),
            full_response: self.respond(&certificate),
            certificate,
            request_id: RequestId::new("7"),
        })
    }
}

pub(crate) fn pending(reference: &str) -> RequestSecurityTokenResponse {
    RequestSecurityTokenResponse::Pending(Pending {
        disposition_message: DispositionMessage::english("Taken Under Submission"),
        full_response: vec![0x30, 0],
        reference_uri: reference.to_owned(),
        request_id: RequestId::new("7"),
    })
}

pub(crate) fn denied() -> Fault {
    Fault {
        kind: FaultKind::Enrollment(CertificateEnrollmentWSDetail {
            binary_response: None,
            error_code: Some(Hresult::CERTSRV_E_TEMPLATE_DENIED),
            invalid_request: true,
            request_id: RequestId::new("8"),
        }),
        reason: "Denied by Policy Module".to_owned(),
    }
}

/// A request to an enrollment service, read and verified.
pub(crate) struct Asked {
    pub(crate) message_id: String,
    pub(crate) to: String,
    pub(crate) user: Option<String>,
    pub(crate) operation: Operation,
}

impl Asked {
    pub(crate) fn read(received: &Received) -> Self {
        let envelope = Envelope::parse(received.body.as_bytes(), &Limits::REQUEST).unwrap();
        let question = RequestSecurityToken::parse(envelope.action.as_deref(), &envelope.body).unwrap();
        let token = envelope.security.and_then(|security| security.username_token);
        Self {
            message_id: envelope.message_id.unwrap().into_owned(),
            to: envelope.to.unwrap().into_owned(),
            user: token.map(|token| format!("{}:{}", token.username, token.password.expose())),
            operation: question.operation,
        }
    }

    /// The certificate request, all signatures verified.
    pub(crate) fn request(&self) -> ParsedRequest {
        match &self.operation {
            Operation::Issue { token, .. } => CertificateRequest::parse(&token.bytes).unwrap(),
            Operation::QueryTokenStatus { .. } | Operation::KeyExchangeToken => panic!("no request"),
        }
    }

    pub(crate) fn answer(&self, answer: &RequestSecurityTokenResponse) -> Reply {
        Reply::Soap(200, answer.to_envelope(&ResponseHeader::relating_to(Some(&self.message_id))))
    }

    pub(crate) fn refuse(&self, fault: &Fault) -> Reply {
        Reply::Soap(500, fault.to_envelope(&ResponseHeader::relating_to(Some(&self.message_id))))
    }
}

pub(crate) fn message_id(received: &Received) -> String {
    let envelope = Envelope::parse(received.body.as_bytes(), &Limits::REQUEST).unwrap();
    envelope.message_id.unwrap().into_owned()
}

/// A policy with one template for computers and one CA with these endpoints.
pub(crate) fn policy(ca: &Issuer, schema: u32, uris: Vec<CaUri>) -> GetPoliciesResponse {
    let attributes = Attributes {
        common_name: "Machine".to_owned(),
        policy_schema: schema,
        certificate_validity: CertificateValidity {
            validity_period_seconds: 31_536_000,
            renewal_period_seconds: 3_628_800,
        },
        permission: EnrollmentPermission { enroll: true, auto_enroll: false },
        private_key_attributes: PrivateKeyAttributes {
            minimal_key_length: 256,
            key_spec: None,
            key_usage_property: None,
            permissions: None,
            algorithm_oid_reference: Some(2),
            crypto_providers: vec!["Microsoft Software Key Storage Provider".to_owned()],
        },
        revision: Revision { major_revision: 100, minor_revision: 1 },
        superseded_policies: Vec::new(),
        private_key_flags: None,
        subject_name_flags: Some(SubjectNameFlags::STOCK_COMPUTER),
        enrollment_flags: None,
        general_flags: None,
        hash_algorithm_oid_reference: None,
        ra_requirements: None,
        key_archival_attributes: None,
        extensions: Vec::new(),
    };
    let oid = |reference, value: &str, group, name: &str| Oid {
        value: value.to_owned(),
        group,
        oid_reference_id: reference,
        default_name: name.to_owned(),
    };
    GetPoliciesResponse {
        response: Response {
            policy_id: "{7d8f7a9e-0000-4000-8000-000000000001}".to_owned(),
            policy_friendly_name: "Test".to_owned(),
            next_update_hours: Some(8),
            policies_not_changed: None,
            policies: vec![CertificateEnrollmentPolicy {
                policy_oid_reference: 1,
                ca_references: vec![0],
                attributes,
            }],
        },
        cas: vec![Ca {
            uris,
            certificate: ca.certificate().to_vec(),
            enroll_permission: true,
            ca_reference_id: 0,
        }],
        oids: vec![
            oid(1, TEMPLATE_OID, OidGroup::ENROLLMENT_OBJECT, "Computer"),
            oid(2, "1.2.840.10045.3.1.7", OidGroup::PUBLIC_KEY_ALGORITHM, "ECDSA_P256"),
        ],
    }
}

pub(crate) fn uri(uri: &str, priority: u32) -> CaUri {
    CaUri {
        client_authentication: ClientAuthentication::USERNAME_PASSWORD,
        uri: uri.to_owned(),
        priority: Some(priority),
        renewal_only: false,
    }
}

/// A clock that stands where a test puts it.
pub(crate) struct At(pub(crate) i64);

impl Clock for At {
    fn now(&self) -> DateTime {
        DateTime::from_unix(self.0)
    }
}

/// Everything that a session borrows.
pub(crate) struct Fixture {
    pub(crate) transport: Transport,
    pub(crate) credentials: CredentialSet,
    pub(crate) clock: At,
    pub(crate) random: SystemRandom,
}

impl Fixture {
    /// A user with a password who trusts this CA's servers.
    pub(crate) fn new(ca: &TestCa, timeouts: Timeouts) -> Self {
        let token =
            UsernameToken { username: "alice".to_owned(), password: Password::new("secret".to_owned()) };
        Self {
            transport: Transport::new(client_config(&ca.trust(), None).unwrap(), timeouts),
            credentials: CredentialSet { username: Some(token), ..CredentialSet::default() },
            clock: At(1_800_000_000),
            random: SystemRandom::new(),
        }
    }

    pub(crate) fn session(&self) -> Session<'_> {
        Session {
            transport: &self.transport,
            credentials: &self.credentials,
            clock: &self.clock,
            random: &self.random,
        }
    }
}
