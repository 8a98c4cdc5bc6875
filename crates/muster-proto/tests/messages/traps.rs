//! Each trap of interoperability that the shape of messages decides; numbers as in the protocol notes.

use muster_proto::soap::xml::Element;
use muster_proto::soap::{DateTime, Fault, FaultKind, ResponseHeader};
use muster_proto::wstep::{
    CertificateEnrollmentWSDetail, DispositionMessage, Hresult, Issued, Operation, Pending, RequestId,
    RequestSecurityToken, RequestSecurityTokenResponse, ValueType,
};
use muster_proto::xcep::{
    GetPolicies, GetPoliciesResponse, OidGroup, PolicyProblem, PrivateKeyFlags, RequestFilter,
};

use crate::support::{
    child_names, credentials, document, envelope, find, good_policies, header, is_whole_der, oid,
    sparse_policies, vector,
};

fn issued() -> RequestSecurityTokenResponse {
    RequestSecurityTokenResponse::Issued(Issued {
        disposition_message: DispositionMessage { text: String::new(), language: String::new() },
        full_response: vec![1; 200],
        certificate: vec![2; 200],
        request_id: RequestId::from_number(1),
    })
}

fn pending() -> RequestSecurityTokenResponse {
    RequestSecurityTokenResponse::Pending(Pending {
        disposition_message: DispositionMessage::english("Taken Under Submission"),
        full_response: vec![1; 200],
        reference_uri: "https://ces1.example.test/CES".to_owned(),
        request_id: RequestId::from_number(1),
    })
}

fn response(answer: &RequestSecurityTokenResponse) -> String {
    answer.to_envelope(&ResponseHeader::relating_to(Some("urn:uuid:1")))
}

fn request_file(file: &str) -> RequestSecurityToken {
    let bytes = vector(&format!("ms-wstep/messages/{file}"));
    let envelope = envelope(&bytes);
    RequestSecurityToken::parse(envelope.action.as_deref(), &envelope.body).expect(file)
}

#[test]
fn trap_01_every_nillable_present() {
    let text = sparse_policies().to_envelope(&ResponseHeader::default());
    let root = document(&text);
    for name in [
        "nextUpdateHours",
        "policiesNotChanged",
        "keySpec",
        "keyUsageProperty",
        "permissions",
        "algorithmOIDReference",
        "cryptoProviders",
        "supersededPolicies",
        "privateKeyFlags",
        "subjectNameFlags",
        "enrollmentFlags",
        "generalFlags",
        "hashAlgorithmOIDReference",
        "rARequirements",
        "keyArchivalAttributes",
        "extensions",
        "cAs",
    ] {
        assert_eq!(find(&root, name).is_nil(), Ok(true), "{name}");
    }
    let request = GetPolicies { client: Default::default(), request_filter: Some(RequestFilter::default()) };
    let text = request.to_envelope(&header());
    let root = document(&text);
    for name in ["lastUpdate", "preferredLanguage", "policyOIDs", "clientVersion", "serverVersion"] {
        assert_eq!(find(&root, name).is_nil(), Ok(true), "{name}");
    }
}

#[test]
fn trap_02_sequence_order() {
    let text = good_policies().to_envelope(&ResponseHeader::default());
    let root = document(&text);
    for (parent, children) in [
        ("GetPoliciesResponse", "response cAs oIDs"),
        ("response", "policyID policyFriendlyName nextUpdateHours policiesNotChanged policies"),
        ("policy", "policyOIDReference cAs attributes"),
        (
            "attributes",
            "commonName policySchema certificateValidity permission privateKeyAttributes revision \
             supersededPolicies privateKeyFlags subjectNameFlags enrollmentFlags generalFlags \
             hashAlgorithmOIDReference rARequirements keyArchivalAttributes extensions",
        ),
        ("certificateValidity", "validityPeriodSeconds renewalPeriodSeconds"),
        ("permission", "enroll autoEnroll"),
        (
            "privateKeyAttributes",
            "minimalKeyLength keySpec keyUsageProperty permissions algorithmOIDReference cryptoProviders",
        ),
        ("revision", "majorRevision minorRevision"),
        ("extension", "oIDReference critical value"),
        ("cA", "uris certificate enrollPermission cAReferenceID"),
        ("cAURI", "clientAuthentication uri priority renewalOnly"),
        ("oID", "value group oIDReferenceID defaultName"),
    ] {
        assert_eq!(child_names(find(&root, parent)).join(" "), children);
    }
    let order = "TokenType DispositionMessage BinarySecurityToken RequestedSecurityToken RequestID";
    for answer in [issued(), pending()] {
        let text = response(&answer);
        let root = document(&text);
        assert_eq!(child_names(find(&root, "RequestSecurityTokenResponse")).join(" "), order);
    }
}

#[test]
fn trap_03_oid_with_a_large_arc() {
    for (value, good) in [
        ("1.3.6.1.4.1.4294967295", true),
        ("1.3.6.1.4.1.4294967296", false),
        ("2.25.340282366920938463463374607431768211455", false),
        ("1.3.06", false),
        ("1..3", false),
        ("1", false),
        ("", false),
        ("1.3.x", false),
    ] {
        let mut answer = good_policies();
        answer.oids.push(oid(3, OidGroup::EXTENDED_KEY_USAGE, value));
        let problem = PolicyProblem::OidValue { value: value.to_owned() };
        assert_eq!(answer.problems(), if good { vec![] } else { vec![problem] });
    }
}

#[test]
fn trap_05_oid_in_the_wrong_group() {
    let mut answer = good_policies();
    answer.oids[0].group = OidGroup::EXTENSION;
    let problem = PolicyProblem::Group {
        value: "1.3.6.1.4.1.99999.1.1".to_owned(),
        found: OidGroup::EXTENSION,
        expected: OidGroup::ENROLLMENT_OBJECT,
    };
    assert_eq!(problem.to_string(), "OID 1.3.6.1.4.1.99999.1.1 is in group 6 instead of 9");
    assert_eq!(answer.problems(), [problem]);
}

#[test]
fn trap_06_nil_version_in_a_present_filter() {
    let filter = RequestFilter { policy_oids: vec!["1.2".to_owned()], ..RequestFilter::default() };
    assert!(filter.keeps("1.2", PrivateKeyFlags(0x0F0F_0000)));
    // Our client sends no filter, or one with numbers.
    let request = GetPolicies { client: Default::default(), request_filter: None };
    let text = request.to_envelope(&header());
    assert_eq!(find(&document(&text), "requestFilter").is_nil(), Ok(true));
}

#[test]
fn trap_08_template_without_provider() {
    let mut answer = good_policies();
    answer.response.policies[0].attributes.private_key_attributes.crypto_providers.clear();
    assert_eq!(answer.problems(), [PolicyProblem::NoProvider { common_name: "ExampleMachine".to_owned() }]);
}

#[test]
fn trap_14_ca_without_certificate_or_uri() {
    let mut answer = good_policies();
    answer.cas[0].certificate.clear();
    answer.cas[0].uris.clear();
    assert_eq!(
        answer.problems(),
        [PolicyProblem::CaWithoutUri { reference: 0 }, PolicyProblem::CaWithoutCertificate { reference: 0 }]
    );
}

#[test]
fn trap_15_disposition_message_always_present() {
    for answer in [issued(), pending()] {
        let text = response(&answer);
        assert_eq!(find(&document(&text), "DispositionMessage").is_nil(), Ok(false));
    }
}

#[test]
fn trap_16_both_tokens_of_an_issued_answer() {
    let text = response(&issued());
    let root = document(&text);
    let answer = find(&root, "RequestSecurityTokenResponse");
    let value_type = |e: &Element<'_>| e.attribute("", "ValueType").map(str::to_owned);
    let tokens: Vec<_> =
        answer.children().iter().filter(|c| c.local() == "BinarySecurityToken").map(value_type).collect();
    let base = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss";
    assert_eq!(tokens, [Some(format!("{base}-wssecurity-secext-1.0.xsd#PKCS7"))]);
    let certificate = find(find(answer, "RequestedSecurityToken"), "BinarySecurityToken");
    assert_eq!(value_type(certificate), Some(format!("{base}-x509-token-profile-1.0#X509v3")));
}

#[test]
fn trap_17_request_id_0_is_none() {
    assert_eq!(RequestId::from_number(0), None);
    assert_eq!(RequestId::new("0"), None);
    let RequestSecurityTokenResponse::Issued(mut answer) = issued() else { unreachable!() };
    answer.request_id = None;
    assert!(!response(&RequestSecurityTokenResponse::Issued(answer)).contains("RequestID"));
}

#[test]
fn trap_19_value_type_is_kept_and_not_believed() {
    let request = request_file("handmade-lying-value-type-request.xml");
    let Operation::Issue { token, .. } = request.operation else { panic!("{request:?}") };
    assert_eq!(token.value_type, ValueType::Pkcs7);
    // A PKCS#10: the second SEQUENCE starts with the version, INTEGER 0.
    assert!(is_whole_der(&token.bytes));
    assert_eq!(token.bytes[3], 0x30);
    assert_eq!(token.bytes[5..8], [2, 1, 0]);
}

#[test]
fn trap_20_encoding_type() {
    let uri =
        "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd#base64binary";
    let attribute = format!("EncodingType=\"{uri}\"");
    assert_eq!(response(&issued()).matches(&attribute).count(), 2);
    // On input the spelling does not matter, as long as the content is base64.
    let bytes = vector("ms-wstep/messages/handmade-issue-request.xml");
    let text = String::from_utf8(bytes).unwrap();
    for other in ["", "EncodingType=''", "EncodingType='urn:example#Base64Binary'"] {
        assert!(text.contains(&attribute));
        let text = text.replace(&attribute, other);
        let envelope = envelope(text.as_bytes());
        let request = RequestSecurityToken::parse(envelope.action.as_deref(), &envelope.body).unwrap();
        assert!(matches!(request.operation, Operation::Issue { .. }));
    }
}

#[test]
fn trap_26_carriage_returns_in_base64() {
    let bytes = vector("ms-wstep/messages/handmade-issued-response.xml");
    assert!(String::from_utf8_lossy(&bytes).contains("&#xD;\n"));
    let answer = RequestSecurityTokenResponse::parse(&envelope(&bytes).body).unwrap();
    let RequestSecurityTokenResponse::Issued(issued) = answer else { panic!("{answer:?}") };
    assert!(is_whole_der(&issued.certificate));
    // Ours is on one line.
    let text = response(&RequestSecurityTokenResponse::Issued(issued));
    assert!(!text.contains(['\r', '\n']) && !text.contains("&#x"));
}

#[test]
fn trap_29_to_is_the_exact_url() {
    let mut header = header();
    header.to =
        "https://CES1.example.test/Example%20CA_CES_UsernamePassword/service.svc/CES?a=1&b".to_owned();
    header.credentials = Some(credentials("a", "b"));
    let request = request_file("handmade-ket-request.xml");
    let text = request.to_envelope(&header);
    assert_eq!(envelope(text.as_bytes()).to.as_deref(), Some(header.to.as_str()));
}

#[test]
fn trap_30_action_and_relates_to_are_returned() {
    let soap = "http://www.w3.org/2003/05/soap-envelope";
    let fault = Fault { kind: FaultKind::Sender, reason: String::new() };
    let related = ResponseHeader::relating_to(Some("urn:uuid:1"));
    for text in [response(&issued()), good_policies().to_envelope(&related), fault.to_envelope(&related)] {
        let root = document(&text);
        assert_eq!(find(&root, "Action").attribute(soap, "mustUnderstand"), Some("1"));
        assert_eq!(find(&root, "RelatesTo").text(), Ok("urn:uuid:1"));
    }
}

#[test]
fn trap_30_white_space_in_uris() {
    let bytes = vector("ms-wstep/messages/handmade-query-request.xml");
    let text = String::from_utf8(bytes).unwrap();
    let wrapped = text
        .replace("enrollment/RST/wstep<", "enrollment/\r\n   RST/wstep\t<")
        .replace("enrollment/QueryTokenStatus", "\nenrollment/QueryTokenStatus\n")
        .replace("service.svc/CES<", "service.svc/\nCES<");
    let (text, wrapped) = (envelope(text.as_bytes()), envelope(wrapped.as_bytes()));
    assert_eq!((&wrapped.action, &wrapped.to), (&text.action, &text.to));
    assert!(RequestSecurityToken::parse(wrapped.action.as_deref(), &wrapped.body).is_ok());
}

#[test]
fn trap_32_error_code_is_signed_decimal() {
    let detail = CertificateEnrollmentWSDetail {
        binary_response: None,
        error_code: Some(Hresult::CERTSRV_E_BAD_TEMPLATE_VERSION),
        invalid_request: true,
        request_id: None,
    };
    let fault = Fault { kind: FaultKind::Enrollment(detail), reason: String::new() };
    let text = fault.to_envelope(&ResponseHeader::default());
    let root = document(&text);
    assert_eq!(find(&root, "ErrorCode").text(), Ok("-2146875385"));
    let order = ["BinaryResponse", "ErrorCode", "InvalidRequest", "RequestID"];
    assert_eq!(child_names(find(&root, "CertificateEnrollmentWSDetail")), order);
}

#[test]
fn trap_33_pending_names_where_to_ask() {
    let text = response(&pending());
    let root = document(&text);
    let reference = find(find(&root, "SecurityTokenReference"), "Reference");
    assert_eq!(reference.attribute("", "URI"), Some("https://ces1.example.test/CES"));
    // A server that leaves it out does not stop our client.
    let text = text.replace("<Reference URI=\"https://ces1.example.test/CES\"/>", "");
    let answer = RequestSecurityTokenResponse::parse(&envelope(text.as_bytes()).body).unwrap();
    let RequestSecurityTokenResponse::Pending(pending) = answer else { panic!("{answer:?}") };
    assert_eq!(pending.reference_uri, "");
}

#[test]
fn trap_34_requests_of_cepces() {
    let request = request_file("handmade-cepces-style-query-request.xml");
    let request_id = RequestId::from_number(4711).unwrap();
    assert_eq!(request.operation, Operation::QueryTokenStatus { request_id });
    // Its Issue has no RequestID element.
    let bytes = vector("ms-wstep/messages/handmade-renewal-request.xml");
    let text = String::from_utf8(bytes).unwrap();
    let nil =
        "<RequestID xsi:nil=\"true\" xmlns=\"http://schemas.microsoft.com/windows/pki/2009/01/enrollment\"/>";
    assert!(text.contains(nil));
    let text = text.replace(nil, "");
    let envelope = envelope(text.as_bytes());
    let request = RequestSecurityToken::parse(envelope.action.as_deref(), &envelope.body).unwrap();
    assert!(matches!(request.operation, Operation::Issue { request_id: None, .. }));
}

#[test]
fn trap_36_renewal_is_an_issue() {
    let request = request_file("handmade-renewal-request.xml");
    let Operation::Issue { token, .. } = request.operation else { panic!("{request:?}") };
    assert_eq!(token.value_type, ValueType::Pkcs7);
}

#[test]
fn trap_37_last_update_in_year_1_without_zone() {
    let bytes = vector("ms-xcep/handmade-get-policies-first.xml");
    assert!(String::from_utf8_lossy(&bytes).contains("<lastUpdate>0001-01-01T00:00:00</lastUpdate>"));
    let envelope = envelope(&bytes);
    let request = GetPolicies::parse(envelope.action.as_deref(), &envelope.body).unwrap();
    assert_eq!(request.client.last_update, Some(DateTime::MIN));
}

#[test]
fn trap_44_nesting_of_the_key_exchange_token() {
    let [sample, prose] = ["handmade-ket-response.xml", "handmade-ket-response-as-prose.xml"].map(|file| {
        let bytes = vector(&format!("ms-wstep/messages/{file}"));
        RequestSecurityTokenResponse::parse(&envelope(&bytes).body).unwrap()
    });
    assert_eq!(sample, prose);
    let RequestSecurityTokenResponse::KeyExchangeToken(certificate) = &sample else { panic!("{sample:?}") };
    assert!(is_whole_der(certificate));
    // Ours is that of the sample, and carries nothing else.
    let text = response(&sample);
    let root = document(&text);
    let answer = find(&root, "RequestSecurityTokenResponse");
    assert_eq!(child_names(answer), ["TokenType", "RequestedSecurityToken"]);
    assert_eq!(child_names(find(answer, "RequestedSecurityToken")), ["KeyExchangeToken"]);
}

#[test]
fn trap_empty_policies_are_nil() {
    let mut answer = good_policies();
    answer.response.policies.clear();
    let text = answer.to_envelope(&ResponseHeader::default());
    assert_eq!(find(&document(&text), "policies").is_nil(), Ok(true));
    assert_eq!(GetPoliciesResponse::parse(&envelope(text.as_bytes()).body).unwrap(), answer);
}
