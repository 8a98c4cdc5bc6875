//! Faults: each shape as it goes out, and what comes in from others.

use muster_proto::soap::xml::Element;
use muster_proto::soap::{Fault, FaultKind, HeaderName, ResponseHeader};
use muster_proto::wstep::{CertificateEnrollmentWSDetail, Hresult, RequestId};

use crate::support::{child_names, document, envelope, find};

fn header_name() -> HeaderName {
    HeaderName { namespace: "urn:example".to_owned(), local: "h".to_owned() }
}

fn written(kind: FaultKind) -> String {
    let fault = Fault { kind, reason: "a <reason> & more".to_owned() };
    fault.to_envelope(&ResponseHeader::relating_to(Some("urn:uuid:1")))
}

fn text<'e>(element: &'e Element<'_>) -> &'e str {
    element.trimmed().unwrap_or("children")
}

#[test]
fn every_kind_has_its_codes_and_action() {
    let addressing = "http://www.w3.org/2005/08/addressing/soap/fault";
    let generic = "http://schemas.microsoft.com/net/2005/12/windowscommunicationfoundation/dispatcher/fault";
    for (kind, code, subcode, action) in [
        (FaultKind::Sender, "s:Sender", None, generic),
        (FaultKind::Receiver, "s:Receiver", None, generic),
        (FaultKind::DestinationUnreachable, "s:Sender", Some("f:DestinationUnreachable"), addressing),
        (FaultKind::ActionNotSupported, "s:Sender", Some("f:ActionNotSupported"), addressing),
        (FaultKind::FailedAuthentication, "s:Sender", Some("f:FailedAuthentication"), generic),
        (FaultKind::InvalidSecurity, "s:Sender", Some("f:InvalidSecurity"), generic),
        (FaultKind::MustUnderstand(header_name()), "s:MustUnderstand", None, generic),
        (FaultKind::VersionMismatch, "s:VersionMismatch", None, generic),
        (FaultKind::InternalServiceFault, "s:Receiver", Some("f:InternalServiceFault"), generic),
    ] {
        let message = written(kind);
        let root = document(&message);
        assert_eq!(text(find(&root, "Action")), action);
        assert_eq!(text(find(&root, "RelatesTo")), "urn:uuid:1");
        assert_eq!(child_names(find(&root, "Fault")), ["Code", "Reason"]);
        let values = find(&root, "Code").children();
        assert_eq!(values.first().map(text), Some(code));
        assert_eq!(values.get(1).and_then(|s| s.children().first()).map(text), subcode);
        let reason = find(&root, "Text");
        assert_eq!(text(reason), "a <reason> & more");
        assert_eq!(reason.attribute("http://www.w3.org/XML/1998/namespace", "lang"), Some("en-US"));
    }
}

#[test]
fn subcode_prefixes_are_declared_where_they_are_used() {
    for (kind, declaration) in [
        (FaultKind::DestinationUnreachable, r#"xmlns:f="http://www.w3.org/2005/08/addressing""#),
        (
            FaultKind::FailedAuthentication,
            r#"xmlns:f="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd""#,
        ),
        (
            FaultKind::InternalServiceFault,
            r#"xmlns:f="http://schemas.microsoft.com/net/2005/12/windowscommunicationfoundation/dispatcher""#,
        ),
    ] {
        assert!(written(kind).contains(&format!("<s:Value {declaration}>f:")));
    }
}

#[test]
fn not_understood_names_the_header() {
    let message = written(FaultKind::MustUnderstand(header_name()));
    assert!(message.contains(r#"<s:NotUnderstood qname="n:h" xmlns:n="urn:example"/>"#));
    for namespace in ["urn:a\nb", "http://www.w3.org/XML/1998/namespace", "http://www.w3.org/2000/xmlns/"] {
        let name = HeaderName { namespace: namespace.to_owned(), local: "h".to_owned() };
        let message = written(FaultKind::MustUnderstand(name));
        assert!(!message.contains("NotUnderstood"));
        envelope(message.as_bytes());
    }
    let without = HeaderName { namespace: String::new(), local: "h".to_owned() };
    assert!(written(FaultKind::MustUnderstand(without)).contains(r#"<s:NotUnderstood qname="h"/>"#));
}

#[test]
fn version_mismatch_names_the_version() {
    let message = written(FaultKind::VersionMismatch);
    assert!(message.contains(r#"<s:Upgrade><s:SupportedEnvelope qname="s:Envelope"/></s:Upgrade>"#));
}

#[test]
fn every_kind_is_read_as_written() {
    for kind in [
        FaultKind::Sender,
        FaultKind::Receiver,
        FaultKind::DestinationUnreachable,
        FaultKind::ActionNotSupported,
        FaultKind::FailedAuthentication,
        FaultKind::InvalidSecurity,
        FaultKind::VersionMismatch,
        FaultKind::InternalServiceFault,
        FaultKind::Enrollment(CertificateEnrollmentWSDetail {
            binary_response: None,
            error_code: Some(Hresult::E_ACCESSDENIED),
            invalid_request: false,
            request_id: RequestId::from_number(3),
        }),
    ] {
        let message = written(kind.clone());
        let fault = Fault::from_body(&envelope(message.as_bytes()).body).unwrap();
        assert_eq!(fault, Fault { kind, reason: "a <reason> & more".to_owned() });
    }
    // The name of the header is not in the Body.
    let message = written(FaultKind::MustUnderstand(header_name()));
    let fault = Fault::from_body(&envelope(message.as_bytes()).body).unwrap();
    assert!(matches!(fault.kind, FaultKind::MustUnderstand(_)));
}

#[test]
fn faults_of_others() {
    let soap = "xmlns:s='http://www.w3.org/2003/05/soap-envelope'";
    for (body, kind, reason) in [
        (format!("<s:Fault {soap}/>"), FaultKind::Receiver, ""),
        (
            format!("<s:Fault {soap}><s:Code><s:Value>x:Sender</s:Value></s:Code></s:Fault>"),
            FaultKind::Sender,
            "",
        ),
        (
            format!(
                "<s:Fault {soap}><s:Code><s:Value>s:Sender</s:Value><s:Subcode><s:Value>w:BadRequest</s:Value>
                 </s:Subcode></s:Code><s:Reason><s:Text>no</s:Text></s:Reason></s:Fault>"
            ),
            FaultKind::Sender,
            "no",
        ),
        (
            format!(
                "<s:Fault {soap}><s:Code><s:Value>s:DataEncodingUnknown</s:Value></s:Code>
                 <s:Reason><s:Text xml:lang='de'>nein</s:Text></s:Reason></s:Fault>"
            ),
            FaultKind::Receiver,
            "nein",
        ),
        (
            "<e:Fault xmlns:e='http://schemas.xmlsoap.org/soap/envelope/'><faultcode>e:Client</faultcode>
             <faultstring>old</faultstring></e:Fault>"
                .to_owned(),
            FaultKind::Sender,
            "old",
        ),
    ] {
        let fault = Fault::from_body(&document(&body)).unwrap();
        assert_eq!(fault, Fault { kind, reason: reason.to_owned() }, "{body}");
    }
    assert_eq!(Fault::from_body(&document("<Fault/>")), None);
}

#[test]
fn malformed_detail_counts_as_absent() {
    let body = "<s:Fault xmlns:s='http://www.w3.org/2003/05/soap-envelope'><s:Detail>
        <CertificateEnrollmentWSDetail xmlns='http://schemas.microsoft.com/windows/pki/2009/01/enrollment'>
        <BinaryResponse>%</BinaryResponse><ErrorCode>0x80070005</ErrorCode><InvalidRequest>?</InvalidRequest>
        <RequestID>0</RequestID></CertificateEnrollmentWSDetail></s:Detail></s:Fault>";
    let detail = CertificateEnrollmentWSDetail {
        binary_response: None,
        error_code: None,
        invalid_request: false,
        request_id: None,
    };
    let fault = Fault::from_body(&document(body)).unwrap();
    assert_eq!(fault.kind, FaultKind::Enrollment(detail));
}
