//! Whatever text ends up in a message: it comes back as it was, and whatever bytes come in: nothing breaks.

use muster_proto::soap::xml::{Limits, parse};
use muster_proto::soap::{Credentials, DateTime, Envelope, Fault, FaultKind, RequestHeader, ResponseHeader};
use muster_proto::wstep::{
    BinarySecurityToken, CertificateEnrollmentWSDetail, ContextItem, DispositionMessage, Hresult, Issued,
    Operation, Pending, RequestId, RequestSecurityToken, RequestSecurityTokenResponse, ValueType,
};
use muster_proto::xcep::{
    CaUri, Client, ClientAuthentication, Extension, GetPolicies, GetPoliciesResponse, KeyArchivalAttributes,
    KeySpec, KeyUsageProperty, PrivateKeyFlags, RaRequirements, RequestFilter,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::support::{credentials, good_policies, vector};

/// Any text at all.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[<>&\"'\\]\\[!?/=:; \t\r\n\u{0}\u{7}\u{FFFE}a-z-]{0,40}"]
}

/// Text as it comes back: without the characters that XML cannot hold.
fn kept(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{10000}'.. => c,
            _ => '\u{FFFD}',
        })
        .collect()
}

/// Text that comes back unchanged where white space around it is dropped.
fn trimmed() -> impl Strategy<Value = String> {
    any_text().prop_map(|text| kept(&text).trim_matches([' ', '\t', '\r', '\n']).to_owned())
}

/// Text that comes back unchanged where all Unicode white space around it is dropped.
fn strictly_trimmed() -> impl Strategy<Value = String> {
    trimmed().prop_map(|text| text.trim().to_owned())
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 1..200)
}

fn request_id() -> impl Strategy<Value = Option<RequestId>> {
    any::<u64>().prop_map(RequestId::from_number)
}

fn message() -> impl Strategy<Value = DispositionMessage> {
    (trimmed(), trimmed()).prop_map(|(text, language)| DispositionMessage { text, language })
}

fn answer() -> impl Strategy<Value = RequestSecurityTokenResponse> {
    prop_oneof![
        (message(), bytes(), bytes(), request_id()).prop_map(
            |(m, full_response, certificate, request_id)| {
                let disposition_message = m;
                RequestSecurityTokenResponse::Issued(Issued {
                    disposition_message,
                    full_response,
                    certificate,
                    request_id,
                })
            }
        ),
        (message(), bytes(), strictly_trimmed(), request_id()).prop_map(
            |(m, full_response, reference_uri, request_id)| {
                let disposition_message = m;
                RequestSecurityTokenResponse::Pending(Pending {
                    disposition_message,
                    full_response,
                    reference_uri,
                    request_id,
                })
            }
        ),
        bytes().prop_map(RequestSecurityTokenResponse::KeyExchangeToken),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    let value_type = prop_oneof![
        Just(ValueType::Pkcs10),
        Just(ValueType::Pkcs7),
        Just(ValueType::ChallengeResponse),
        Just(ValueType::X509v3),
        Just(ValueType::Absent),
        "[a-z:#]{4}<&>".prop_map(ValueType::Other),
    ];
    prop_oneof![
        (value_type, bytes(), request_id()).prop_map(|(value_type, bytes, request_id)| {
            Operation::Issue { token: BinarySecurityToken { value_type, bytes }, request_id }
        }),
        (1..u64::MAX).prop_filter_map("not 0", |id| {
            Some(Operation::QueryTokenStatus { request_id: RequestId::from_number(id)? })
        }),
        Just(Operation::KeyExchangeToken),
    ]
}

proptest! {
    #[test]
    fn text_of_any_kind(text in any_text(), attribute in any_text()) {
        let mut w = muster_proto::soap::xml::Writer::new();
        w.leaf_with("a", &[("b", &attribute)], &text);
        let document = w.finish();
        let root = parse(document.as_bytes(), &Limits::RESPONSE).unwrap();
        prop_assert_eq!(root.text().unwrap(), kept(&text));
        let expected = kept(&attribute);
        prop_assert_eq!(root.attribute("", "b"), Some(expected.as_str()));
    }

    #[test]
    fn header_of_a_request(user in any_text(), password in any_text(), id in "[!-~]{1,512}", to in "[!-~]{0,99}") {
        let Credentials { token, timestamp } = credentials(&user, &password);
        let header = RequestHeader {
            message_id: id.clone(),
            to: to.clone(),
            credentials: Some(Credentials { token, timestamp }),
        };
        let text = GetPolicies { client: Client::default(), request_filter: None }.to_envelope(&header);
        let envelope = Envelope::parse(text.as_bytes(), &Limits::RESPONSE).unwrap();
        prop_assert_eq!(envelope.message_id.as_deref(), Some(id.as_str()));
        prop_assert_eq!(envelope.to.as_deref(), Some(to.as_str()));
        let token = envelope.security.unwrap().username_token.unwrap();
        prop_assert_eq!(token.username, kept(&user).trim().to_owned());
        prop_assert_eq!(token.password.expose(), kept(&password));
    }

    #[test]
    fn policy_request(
        seconds in any::<i64>(),
        language in strictly_trimmed(),
        policy_oids in vec("[0-9.]{1,20}", 0..4),
        client_version in option::of(any::<i32>()),
        server_version in option::of(any::<i32>()),
    ) {
        let request = GetPolicies {
            client: Client {
                last_update: Some(DateTime::from_unix(seconds)),
                preferred_language: Some(language).filter(|l| !l.is_empty()),
            },
            request_filter: Some(RequestFilter { policy_oids, client_version, server_version }),
        };
        let text = request.to_envelope(&crate::support::header());
        let envelope = Envelope::parse(text.as_bytes(), &Limits::RESPONSE).unwrap();
        prop_assert_eq!(GetPolicies::parse(envelope.action.as_deref(), &envelope.body).unwrap(), request);
    }

    #[test]
    fn policy_answer(
        texts in vec(trimmed(), 8),
        numbers in vec(any::<u32>(), 8),
        references in vec(any::<i32>(), 1..5),
        extension in option::of(bytes()),
        not_changed in option::of(any::<bool>()),
        seconds in any::<u64>(),
    ) {
        let mut answer = good_policies();
        answer.response.policy_id = texts[0].clone();
        answer.response.policy_friendly_name = texts[1].clone();
        answer.response.next_update_hours = Some(numbers[0]);
        answer.response.policies_not_changed = not_changed;
        let attributes = &mut answer.response.policies[0].attributes;
        attributes.common_name = texts[2].clone();
        attributes.certificate_validity.validity_period_seconds = seconds;
        attributes.private_key_attributes.key_spec = Some(KeySpec(numbers[1]));
        attributes.private_key_attributes.key_usage_property = Some(KeyUsageProperty(numbers[2]));
        attributes.private_key_attributes.permissions = Some(texts[3].clone());
        attributes.private_key_attributes.algorithm_oid_reference = references.first().copied();
        attributes.private_key_attributes.crypto_providers = texts.clone();
        attributes.superseded_policies = texts.clone();
        attributes.private_key_flags = Some(PrivateKeyFlags(numbers[3]));
        attributes.ra_requirements = Some(RaRequirements {
            ra_signatures: numbers[4],
            ra_ekus: references.clone(),
            ra_policies: references.clone(),
        });
        attributes.key_archival_attributes = Some(KeyArchivalAttributes {
            symmetric_algorithm_oid_reference: references[0],
            symmetric_algorithm_key_length: numbers[5],
        });
        attributes.extensions.push(Extension { oid_reference: references[0], critical: false, value: extension });
        answer.cas[0].uris.push(CaUri {
            client_authentication: ClientAuthentication(numbers[6]),
            uri: texts[4].clone(),
            priority: None,
            renewal_only: true,
        });
        answer.oids[0].value = texts[5].clone();
        answer.oids[0].default_name = texts[6].clone();
        let text = answer.to_envelope(&ResponseHeader::default());
        let envelope = Envelope::parse(text.as_bytes(), &Limits::RESPONSE).unwrap();
        prop_assert_eq!(GetPoliciesResponse::parse(&envelope.body).unwrap(), answer);
    }

    #[test]
    fn enrollment_request(
        operation in operation(),
        items in vec((strictly_trimmed(), trimmed()), 0..4),
        language in strictly_trimmed(),
    ) {
        let request = RequestSecurityToken {
            preferred_language: Some(language).filter(|l| !l.is_empty()),
            operation,
            additional_context: items.into_iter().map(|(name, value)| ContextItem { name, value }).collect(),
        };
        let text = request.to_envelope(&crate::support::header());
        let envelope = Envelope::parse(text.as_bytes(), &Limits::RESPONSE).unwrap();
        prop_assert_eq!(RequestSecurityToken::parse(envelope.action.as_deref(), &envelope.body).unwrap(), request);
    }

    #[test]
    fn enrollment_answer(answer in answer(), id in "[!-~]{0,99}") {
        let text = answer.to_envelope(&ResponseHeader::relating_to(Some(&id)));
        let envelope = Envelope::parse(text.as_bytes(), &Limits::RESPONSE).unwrap();
        prop_assert_eq!(envelope.relates_to.as_deref(), Some(id.as_str()));
        prop_assert_eq!(RequestSecurityTokenResponse::parse(&envelope.body).unwrap(), answer);
    }

    #[test]
    fn enrollment_fault(
        binary_response in option::of(bytes()),
        code in option::of(any::<u32>()),
        invalid_request in any::<bool>(),
        request_id in request_id(),
        reason in trimmed(),
    ) {
        let error_code = code.map(Hresult::from_code);
        let detail = CertificateEnrollmentWSDetail { binary_response, error_code, invalid_request, request_id };
        let fault = Fault { kind: FaultKind::Enrollment(detail), reason };
        let text = fault.to_envelope(&ResponseHeader::default());
        let envelope = Envelope::parse(text.as_bytes(), &Limits::RESPONSE).unwrap();
        prop_assert_eq!(Fault::from_body(&envelope.body), Some(fault));
    }

    #[test]
    fn bytes_of_any_kind(bytes in vec(any::<u8>(), 0..300)) {
        everything(&bytes);
    }

    #[test]
    fn markup_of_any_kind(text in "(<|</|>|/>|<!--|-->|<!\\[CDATA\\[|\\]\\]>|<\\?|&|;|#|xmlns|:|=|'|\"|a|b| |\n|é){0,60}") {
        everything(text.as_bytes());
    }

    #[test]
    fn changed_messages(file in 0..FILES.len(), changes in vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..6)) {
        let mut bytes = vector(FILES[file]);
        for (at, byte, how) in changes {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.drain(at..(at + usize::from(byte)).min(bytes.len()))),
            }
            if bytes.is_empty() {
                break;
            }
        }
        everything(&bytes);
    }
}

#[test]
fn what_fuzzing_found() {
    everything(&vector("fuzz/messages-header-in-xml-namespace.xml"));
}

const FILES: &[&str] = &[
    "ms-xcep/handmade-get-policies-first.xml",
    "ms-xcep/handmade-get-policies-filter.xml",
    "ms-xcep/handmade-get-policies-response.xml",
    "ms-wstep/messages/handmade-issue-request.xml",
    "ms-wstep/messages/handmade-cepces-style-query-request.xml",
    "ms-wstep/messages/handmade-issued-response.xml",
    "ms-wstep/messages/handmade-pending-response.xml",
    "ms-wstep/messages/handmade-ket-response.xml",
    "ms-wstep/messages/handmade-denied-fault.xml",
];

/// Whatever can be done with bytes from a peer. A refusal has to say why.
fn everything(bytes: &[u8]) {
    match Envelope::parse(bytes, &Limits::REQUEST) {
        Ok(envelope) => {
            let action = envelope.action.as_deref();
            for result in [
                RequestSecurityToken::parse(action, &envelope.body).map(drop).map_err(|e| e.to_fault()),
                GetPolicies::parse(action, &envelope.body).map(drop).map_err(|e| e.to_fault()),
            ] {
                if let Err(fault) = result {
                    assert!(!fault.reason.is_empty());
                }
            }
            drop(RequestSecurityTokenResponse::parse(&envelope.body));
            if let Ok(answer) = GetPoliciesResponse::parse(&envelope.body) {
                drop(answer.problems());
            }
            drop(Fault::from_body(&envelope.body));
        }
        Err(refusal) => {
            let header = ResponseHeader::relating_to(refusal.message_id.as_deref());
            let text = refusal.error.to_fault().to_envelope(&header);
            let answer = Envelope::parse(text.as_bytes(), &Limits::RESPONSE).expect("our own fault parses");
            let reason = Fault::from_body(&answer.body).expect("a fault").reason;
            assert!(!reason.is_empty());
        }
    }
}
