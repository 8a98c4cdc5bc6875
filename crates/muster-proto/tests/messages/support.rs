//! What the tests of this crate share.

use muster_proto::soap::xml::{Element, Limits, parse};
use muster_proto::soap::{
    Credentials, DateTime, Envelope, Password, RequestHeader, Timestamp, UsernameToken,
};
use muster_proto::xcep::{
    Attributes, Ca, CaUri, CertificateEnrollmentPolicy, CertificateValidity, ClientAuthentication,
    EnrollmentFlags, EnrollmentPermission, Extension, GeneralFlags, GetPoliciesResponse, KeySpec, Oid,
    OidGroup, PrivateKeyAttributes, PrivateKeyFlags, Response, Revision, SubjectNameFlags,
};

/// A file of the vectors.
pub(crate) fn vector(path: &str) -> Vec<u8> {
    std::fs::read(format!("{}/../../vectors/{path}", env!("CARGO_MANIFEST_DIR"))).expect(path)
}

/// An envelope that has to parse under the limits for requests.
#[track_caller]
pub(crate) fn envelope(bytes: &[u8]) -> Envelope<'_> {
    Envelope::parse(bytes, &Limits::REQUEST).expect("an envelope")
}

/// A document that has to parse.
#[track_caller]
pub(crate) fn document(text: &str) -> Element<'_> {
    parse(text.as_bytes(), &Limits::RESPONSE).expect("a document")
}

/// The first element with this local name, in document order.
#[track_caller]
pub(crate) fn find<'e, 'a>(root: &'e Element<'a>, local: &str) -> &'e Element<'a> {
    fn search<'e, 'a>(element: &'e Element<'a>, local: &str) -> Option<&'e Element<'a>> {
        if element.local() == local {
            return Some(element);
        }
        element.children().iter().find_map(|child| search(child, local))
    }
    search(root, local).expect(local)
}

/// Local names of the children, in order.
pub(crate) fn child_names<'a>(element: &Element<'a>) -> Vec<&'a str> {
    element.children().iter().map(Element::local).collect()
}

/// Are the bytes exactly one DER value with a two byte length, so that nothing was lost on the way?
pub(crate) fn is_whole_der(bytes: &[u8]) -> bool {
    match bytes {
        [0x30, 0x81, length, rest @ ..] => usize::from(*length) == rest.len(),
        [0x30, 0x82, high, low, rest @ ..] => usize::from(u16::from_be_bytes([*high, *low])) == rest.len(),
        _ => false,
    }
}

/// Headers of a request.
pub(crate) fn header() -> RequestHeader {
    RequestHeader {
        message_id: "urn:uuid:aaaaaaaa-0000-4000-8000-000000000001".to_owned(),
        to: "https://ces1.example.test/EXAMPLE-CA_CES_Kerberos/service.svc/CES".to_owned(),
        credentials: None,
    }
}

/// A user name and a password, good for five minutes.
pub(crate) fn credentials(username: &str, password: &str) -> Credentials {
    let created = DateTime::from_unix(1_767_225_600);
    Credentials {
        token: UsernameToken { username: username.to_owned(), password: Password::new(password.to_owned()) },
        timestamp: Timestamp {
            created: Some(created),
            expires: Some(DateTime::from_unix(created.unix() + 300)),
        },
    }
}

/// A policy answer with one template in which everything that may be nil is nil.
pub(crate) fn sparse_policies() -> GetPoliciesResponse {
    let attributes = Attributes {
        common_name: "ExampleMachine".to_owned(),
        policy_schema: 2,
        certificate_validity: CertificateValidity {
            validity_period_seconds: 31_536_000,
            renewal_period_seconds: 3_628_800,
        },
        permission: EnrollmentPermission { enroll: true, auto_enroll: false },
        private_key_attributes: PrivateKeyAttributes {
            minimal_key_length: 2048,
            key_spec: None,
            key_usage_property: None,
            permissions: None,
            algorithm_oid_reference: None,
            crypto_providers: Vec::new(),
        },
        revision: Revision { major_revision: 100, minor_revision: 2 },
        superseded_policies: Vec::new(),
        private_key_flags: None,
        subject_name_flags: None,
        enrollment_flags: None,
        general_flags: None,
        hash_algorithm_oid_reference: None,
        ra_requirements: None,
        key_archival_attributes: None,
        extensions: Vec::new(),
    };
    GetPoliciesResponse {
        response: Response {
            policy_id: "{9F1E0000-0000-4000-8000-000000000001}".to_owned(),
            policy_friendly_name: String::new(),
            next_update_hours: None,
            policies_not_changed: None,
            policies: vec![CertificateEnrollmentPolicy {
                policy_oid_reference: 1,
                ca_references: Vec::new(),
                attributes,
            }],
        },
        cas: Vec::new(),
        oids: vec![oid(1, OidGroup::ENROLLMENT_OBJECT, "1.3.6.1.4.1.99999.1.1")],
    }
}

/// An answer without problems.
pub(crate) fn good_policies() -> GetPoliciesResponse {
    let mut answer = sparse_policies();
    answer.response.next_update_hours = Some(8);
    for policy in &mut answer.response.policies {
        policy.ca_references = vec![0];
        let attributes = &mut policy.attributes;
        attributes.private_key_attributes.key_spec = Some(KeySpec::KEY_EXCHANGE);
        attributes.private_key_attributes.crypto_providers =
            vec!["Microsoft RSA SChannel Cryptographic Provider".to_owned()];
        attributes.private_key_flags = Some(PrivateKeyFlags::EXPORTABLE_KEY);
        attributes.subject_name_flags = Some(SubjectNameFlags::STOCK_COMPUTER);
        attributes.enrollment_flags = Some(EnrollmentFlags::AUTO_ENROLLMENT);
        attributes.general_flags = Some(GeneralFlags::MACHINE_TYPE | GeneralFlags::IS_MODIFIED);
        attributes.extensions =
            vec![Extension { oid_reference: 2, critical: true, value: Some(vec![3, 2, 5, 160]) }];
    }
    let uri = CaUri {
        client_authentication: ClientAuthentication::KERBEROS,
        uri: "https://ces1.example.test/EXAMPLE-CA_CES_Kerberos/service.svc/CES".to_owned(),
        priority: Some(1),
        renewal_only: false,
    };
    answer.cas =
        vec![Ca { uris: vec![uri], certificate: vec![0x30, 0], enroll_permission: true, ca_reference_id: 0 }];
    answer.oids.push(oid(2, OidGroup::EXTENSION, "2.5.29.15"));
    answer
}

/// An OID with a name.
pub(crate) fn oid(reference: i32, group: OidGroup, value: &str) -> Oid {
    Oid {
        value: value.to_owned(),
        group,
        oid_reference_id: reference,
        default_name: format!("OID {reference}"),
    }
}
