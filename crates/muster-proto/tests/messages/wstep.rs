//! MS-WSTEP messages: what files parse to, and what is written parses back.

use muster_proto::soap::{Envelope, Fault, FaultKind, RequestHeader, ResponseHeader};
use muster_proto::wstep::{
    BinarySecurityToken, CertificateEnrollmentWSDetail, ContextItem, DispositionMessage, Hresult, Issued,
    Operation, Pending, RequestId, RequestSecurityToken, RequestSecurityTokenResponse, ValueType, WstepError,
};

use crate::support::{envelope, is_whole_der, vector};

fn request(envelope: &Envelope<'_>) -> Result<RequestSecurityToken, WstepError> {
    RequestSecurityToken::parse(envelope.action.as_deref(), &envelope.body)
}

fn header() -> RequestHeader {
    RequestHeader {
        message_id: "urn:uuid:aaaaaaaa-0000-4000-8000-000000000001".to_owned(),
        to: "https://ces1.example.test/EXAMPLE-CA_CES_Kerberos/service.svc/CES".to_owned(),
        credentials: None,
    }
}

#[track_caller]
fn issue(file: &str) -> (BinarySecurityToken, RequestSecurityToken) {
    let bytes = vector(file);
    let request = request(&envelope(&bytes)).expect(file);
    let Operation::Issue { token, request_id: None } = request.operation.clone() else {
        unreachable!("not an issue request: {request:?}")
    };
    assert!(is_whole_der(&token.bytes));
    (token, request)
}

#[test]
fn issue_request_file() {
    let (token, request) = issue("ms-wstep/messages/handmade-issue-request.xml");
    assert_eq!(token.value_type, ValueType::Pkcs10);
    assert_eq!(request.preferred_language.as_deref(), Some("en-US"));
    let item = |name: &str| ContextItem { name: name.to_owned(), value: "pc1.example.test".to_owned() };
    assert_eq!(request.additional_context, [item("rmd"), item("ccm")]);
}

#[test]
fn renewal_request_file() {
    let (token, _) = issue("ms-wstep/messages/handmade-renewal-request.xml");
    assert_eq!(token.value_type, ValueType::Pkcs7);
}

#[test]
fn query_request_file() {
    let bytes = vector("ms-wstep/messages/handmade-query-request.xml");
    let request_id = RequestId::from_number(4711).unwrap();
    assert_eq!(request(&envelope(&bytes)).unwrap().operation, Operation::QueryTokenStatus { request_id });
}

#[test]
fn key_exchange_request_file() {
    let bytes = vector("ms-wstep/messages/handmade-ket-request.xml");
    assert_eq!(request(&envelope(&bytes)).unwrap().operation, Operation::KeyExchangeToken);
}

#[test]
fn issued_response_file() {
    let bytes = vector("ms-wstep/messages/handmade-issued-response.xml");
    let answer = RequestSecurityTokenResponse::parse(&envelope(&bytes).body).unwrap();
    let RequestSecurityTokenResponse::Issued(issued) = answer else { panic!("{answer:?}") };
    assert_eq!(issued.disposition_message, DispositionMessage::english("Issued"));
    assert!(is_whole_der(&issued.full_response));
    assert!(is_whole_der(&issued.certificate));
    assert_ne!(issued.full_response, issued.certificate);
    assert_eq!(issued.request_id, RequestId::from_number(4711));
}

#[test]
fn pending_response_file() {
    let bytes = vector("ms-wstep/messages/handmade-pending-response.xml");
    let answer = RequestSecurityTokenResponse::parse(&envelope(&bytes).body).unwrap();
    let RequestSecurityTokenResponse::Pending(pending) = answer else { panic!("{answer:?}") };
    assert_eq!(pending.disposition_message.text, "Taken Under Submission");
    assert_eq!(pending.reference_uri, "https://ces1.example.test/EXAMPLE-CA_CES_Kerberos/service.svc/CES");
    assert_eq!(pending.request_id.and_then(|id| id.number()), Some(4711));
}

#[test]
fn denied_fault_file() {
    let bytes = vector("ms-wstep/messages/handmade-denied-fault.xml");
    let fault = Fault::from_body(&envelope(&bytes).body).unwrap();
    assert_eq!(fault.reason, "Denied by Policy Module");
    let FaultKind::Enrollment(detail) = fault.kind else { panic!("{fault:?}") };
    assert_eq!(detail.error_code, Some(Hresult::CERTSRV_E_TEMPLATE_DENIED));
    assert!(detail.invalid_request);
    assert!(is_whole_der(&detail.binary_response.unwrap()));
    assert_eq!(detail.request_id, RequestId::from_number(4712));
}

#[test]
fn other_fault_files() {
    for (file, kind, reason) in [
        ("handmade-internal-fault.xml", FaultKind::InternalServiceFault, "An error."),
        (
            "handmade-wrong-address-fault.xml",
            FaultKind::DestinationUnreachable,
            "Nobody here has that address.",
        ),
    ] {
        let bytes = vector(&format!("ms-wstep/messages/{file}"));
        let fault = Fault::from_body(&envelope(&bytes).body).unwrap();
        assert_eq!(fault, Fault { kind, reason: reason.to_owned() });
    }
}

#[test]
fn every_operation_is_read_as_written() {
    let token = BinarySecurityToken { value_type: ValueType::Pkcs10, bytes: vec![0x30, 0x00, 0xFF] };
    let id = RequestId::from_number(7).unwrap();
    for operation in [
        Operation::Issue { token: token.clone(), request_id: None },
        Operation::Issue { token, request_id: Some(id.clone()) },
        Operation::QueryTokenStatus { request_id: id },
        Operation::KeyExchangeToken,
    ] {
        let message = RequestSecurityToken {
            preferred_language: Some("de-DE".to_owned()),
            operation,
            additional_context: vec![ContextItem { name: "rmd<\"&".to_owned(), value: "a & b".to_owned() }],
        };
        let text = message.to_envelope(&header());
        assert_eq!(request(&envelope(text.as_bytes())).unwrap(), message);
    }
}

#[test]
fn every_answer_is_read_as_written() {
    let disposition_message = DispositionMessage::english("Issued & fine");
    let request_id = RequestId::from_number(u64::MAX);
    for answer in [
        RequestSecurityTokenResponse::Issued(Issued {
            disposition_message: disposition_message.clone(),
            full_response: vec![1, 2, 3],
            certificate: vec![4, 5],
            request_id: request_id.clone(),
        }),
        RequestSecurityTokenResponse::Pending(Pending {
            disposition_message,
            full_response: vec![1, 2, 3],
            reference_uri: "https://ces.example.test/a?b=c&d=\"e\"".to_owned(),
            request_id,
        }),
        RequestSecurityTokenResponse::KeyExchangeToken(vec![9]),
    ] {
        let text = answer.to_envelope(&ResponseHeader::relating_to(Some("urn:uuid:1")));
        let envelope = envelope(text.as_bytes());
        assert_eq!(envelope.relates_to.as_deref(), Some("urn:uuid:1"));
        assert_eq!(RequestSecurityTokenResponse::parse(&envelope.body).unwrap(), answer);
    }
}

#[test]
fn every_fault_detail_is_read_as_written() {
    let full = CertificateEnrollmentWSDetail {
        binary_response: Some(vec![1, 2]),
        error_code: Some(Hresult::CERTSRV_E_KEY_LENGTH),
        invalid_request: true,
        request_id: RequestId::from_number(1),
    };
    let empty = CertificateEnrollmentWSDetail {
        binary_response: None,
        error_code: None,
        invalid_request: false,
        request_id: None,
    };
    for detail in [full, empty] {
        let fault = Fault { kind: FaultKind::Enrollment(detail), reason: "no".to_owned() };
        let text = fault.to_envelope(&ResponseHeader::default());
        assert_eq!(Fault::from_body(&envelope(text.as_bytes()).body), Some(fault));
    }
}

/// A request body in the given place of an otherwise good envelope.
fn parse_body(action: &str, body: &str) -> Result<RequestSecurityToken, WstepError> {
    let text = format!(
        r#"<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body
           xmlns:t="http://docs.oasis-open.org/ws-sx/ws-trust/200512"
           xmlns:o="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
           xmlns:e="http://schemas.microsoft.com/windows/pki/2009/01/enrollment"
           xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
           ><t:RequestSecurityToken>{body}</t:RequestSecurityToken></s:Body></s:Envelope>"#
    );
    RequestSecurityToken::parse(Some(action), &envelope(text.as_bytes()).body)
}

const RST: &str = "http://schemas.microsoft.com/windows/pki/2009/01/enrollment/RST/wstep";
const KET: &str = "http://docs.oasis-open.org/ws-sx/ws-trust/200512/RST/KET";
const ISSUE: &str = "<t:RequestType>http://docs.oasis-open.org/ws-sx/ws-trust/200512/Issue</t:RequestType>";
const QUERY: &str = "<t:RequestType>http://schemas.microsoft.com/windows/pki/2009/01/enrollment/QueryTokenStatus</t:RequestType>";
const EXCHANGE: &str = "<t:RequestType>http://docs.oasis-open.org/ws-sx/ws-trust/200512/KET</t:RequestType>";
const TOKEN: &str = "<o:BinarySecurityToken>MAA=</o:BinarySecurityToken>";

#[test]
fn request_that_cannot_be_acted_on() {
    let id = "<e:RequestID>5</e:RequestID>";
    for (action, body, message) in [
        ("", "", "action  is not supported"),
        ("urn:example/Renew", ISSUE, "action Renew is not supported"),
        (RST, "", "element RequestType is missing"),
        (RST, "<t:RequestType/>", "request type  is not supported"),
        (RST, r#"<t:RequestType xsi:nil="true"/>"#, "request type  is not supported"),
        (RST, "<t:RequestType>urn:example/Renew</t:RequestType>", "request type Renew is not supported"),
        (RST, EXCHANGE, "the request type does not fit the action"),
        (KET, &format!("{ISSUE}{TOKEN}"), "the request type does not fit the action"),
        (KET, &format!("{QUERY}{id}"), "the request type does not fit the action"),
        (KET, EXCHANGE, "element RequestKET is missing"),
        (RST, ISSUE, "element BinarySecurityToken is missing"),
        (
            RST,
            &format!("{ISSUE}<o:BinarySecurityToken> </o:BinarySecurityToken>"),
            "element BinarySecurityToken is empty",
        ),
        (
            RST,
            &format!("{ISSUE}<o:BinarySecurityToken>MAA</o:BinarySecurityToken>"),
            "element BinarySecurityToken does not hold a base64 value",
        ),
        (RST, QUERY, "element RequestID is missing, empty or not a request id"),
        (
            RST,
            &format!("{QUERY}<e:RequestID xsi:nil=\"true\"/>"),
            "element RequestID is missing, empty or not a request id",
        ),
        (
            RST,
            &format!("{QUERY}<e:RequestID> </e:RequestID>"),
            "element RequestID is missing, empty or not a request id",
        ),
        (RST, &format!("{ISSUE}{ISSUE}{TOKEN}"), "element RequestType appears twice"),
        (RST, &format!("{ISSUE}{TOKEN}{TOKEN}"), "element BinarySecurityToken appears twice"),
        (RST, &format!("{QUERY}{TOKEN}{TOKEN}{id}"), "element BinarySecurityToken appears twice"),
        (RST, &format!("{QUERY}{id}{id}"), "element RequestID appears twice"),
    ] {
        let error = parse_body(action, body).unwrap_err();
        assert_eq!(error.to_string(), message, "{body}");
    }
}

#[test]
fn request_with_unknown_elements_in_another_order() {
    let body = format!("<x:y xmlns:x='urn:example'><x:z/></x:y>{TOKEN}<t:Lifetime/>{ISSUE}");
    let operation = parse_body(RST, &body).unwrap().operation;
    let token = BinarySecurityToken { value_type: ValueType::Absent, bytes: vec![0x30, 0] };
    assert_eq!(operation, Operation::Issue { token, request_id: None });
}

#[test]
fn request_id_text() {
    for (text, accepted) in [
        ("1", true),
        ("0", false),
        ("000", false),
        ("", false),
        ("abc-1", true),
        ("1 2", false),
        ("é", false),
    ] {
        assert_eq!(RequestId::new(text).is_some(), accepted, "{text}");
    }
    assert_eq!(RequestId::new(&"1".repeat(64)).map(|id| id.as_str().len()), Some(64));
    assert_eq!(RequestId::new(&"1".repeat(65)), None);
}

#[test]
fn result_code_text() {
    let denied = Hresult::from_code(0x8009_4012);
    assert_eq!(denied.to_string(), "0x80094012 CERTSRV_E_TEMPLATE_DENIED");
    assert_eq!(denied.decimal(), -2_146_877_422);
    assert_eq!(Hresult::from_decimal("-2146877422"), Some(denied));
    assert_eq!(Hresult::from_decimal("2148089874"), Some(denied));
    assert_eq!(Hresult::from_decimal("99999999999"), None);
    assert_eq!(Hresult::from_code(0x8000_FFFF).to_string(), "0x8000FFFF");
}
