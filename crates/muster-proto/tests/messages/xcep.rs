//! MS-XCEP messages: what files parse to, and what is written parses back.

use muster_proto::soap::{DateTime, Envelope, FaultKind, ResponseHeader};
use muster_proto::xcep::{
    CaUri, Client, ClientAuthentication, EnrollmentFlags, GeneralFlags, GetPolicies, GetPoliciesResponse,
    KeyArchivalAttributes, OidGroup, PolicyProblem, PrivateKeyFlags, RaRequirements, RequestFilter,
    SubjectNameFlags, XcepError,
};

use crate::support::{envelope, good_policies, header, is_whole_der, oid, sparse_policies, vector};

const ACTION: &str = "http://schemas.microsoft.com/windows/pki/2009/01/enrollmentpolicy/IPolicy/GetPolicies";

fn request(envelope: &Envelope<'_>) -> Result<GetPolicies, XcepError> {
    GetPolicies::parse(envelope.action.as_deref(), &envelope.body)
}

#[test]
fn first_request_file() {
    let bytes = vector("ms-xcep/handmade-get-policies-first.xml");
    let client = Client { last_update: Some(DateTime::MIN), preferred_language: None };
    assert_eq!(request(&envelope(&bytes)).unwrap(), GetPolicies { client, request_filter: None });
}

#[test]
fn filter_request_file() {
    let bytes = vector("ms-xcep/handmade-get-policies-filter.xml");
    let request = request(&envelope(&bytes)).unwrap();
    assert_eq!(request.client.last_update.map(DateTime::unix), Some(1_774_697_321));
    assert_eq!(request.client.preferred_language.as_deref(), Some("de-DE"));
    let filter = RequestFilter {
        policy_oids: vec!["1.3.6.1.4.1.99999.1.1".to_owned(), "1.3.6.1.4.1.99999.1.2".to_owned()],
        client_version: Some(6),
        server_version: None,
    };
    assert_eq!(request.request_filter, Some(filter));
}

#[test]
fn response_file() {
    let bytes = vector("ms-xcep/handmade-get-policies-response.xml");
    let answer = GetPoliciesResponse::parse(&envelope(&bytes).body).unwrap();
    assert_eq!(answer.problems(), []);
    assert_eq!(answer.response.policy_id, "{9F1E0000-0000-4000-8000-000000000001}");
    assert_eq!(answer.response.policy_friendly_name, "");
    assert_eq!(answer.response.next_update_hours, Some(8));
    assert_eq!(answer.response.policies_not_changed, None);
    let [policy] = answer.response.policies.as_slice() else { panic!("{answer:?}") };
    assert_eq!((policy.policy_oid_reference, policy.ca_references.as_slice()), (13, [0].as_slice()));
    let attributes = &policy.attributes;
    assert_eq!((attributes.common_name.as_str(), attributes.policy_schema), ("ExampleMachine", 2));
    assert!(attributes.permission.enroll && !attributes.permission.auto_enroll);
    assert_eq!(
        attributes.private_key_attributes.crypto_providers,
        ["Microsoft RSA SChannel Cryptographic Provider", "Microsoft Enhanced Cryptographic Provider v1.0"]
    );
    assert_eq!(attributes.superseded_policies, ["Machine"]);
    assert_eq!(attributes.private_key_flags.map(|f| (f.client_version(), f.server_version())), Some((1, 4)));
    assert_eq!(attributes.subject_name_flags, Some(SubjectNameFlags::STOCK_COMPUTER));
    assert_eq!(attributes.enrollment_flags, Some(EnrollmentFlags::AUTO_ENROLLMENT));
    assert!(attributes.general_flags.unwrap().contains(GeneralFlags::MACHINE_TYPE));
    assert_eq!(attributes.hash_algorithm_oid_reference, Some(7));
    let ra = RaRequirements { ra_signatures: 1, ra_ekus: vec![14], ra_policies: Vec::new() };
    assert_eq!(attributes.ra_requirements, Some(ra));
    let archival =
        KeyArchivalAttributes { symmetric_algorithm_oid_reference: 8, symmetric_algorithm_key_length: 256 };
    assert_eq!(attributes.key_archival_attributes, Some(archival));
    let usage = attributes.extensions.iter().find(|e| e.critical).unwrap();
    assert_eq!(usage.value.as_deref(), Some([3, 2, 5, 160].as_slice()));
    let ca = answer.ca(0).unwrap();
    assert!(is_whole_der(&ca.certificate));
    let uri = CaUri {
        client_authentication: ClientAuthentication::CERTIFICATE,
        uri: "https://ces2.example.test/EXAMPLE-CA_CES_Certificate/service.svc/CES".to_owned(),
        priority: None,
        renewal_only: true,
    };
    assert_eq!(ca.uris.get(1), Some(&uri));
    assert_eq!(answer.oids.len(), 7);
    assert_eq!(answer.oid(13).map(|oid| oid.default_name.as_str()), Some("Example Machine"));
}

#[test]
fn response_file_is_read_as_written() {
    let bytes = vector("ms-xcep/handmade-get-policies-response.xml");
    let answer = GetPoliciesResponse::parse(&envelope(&bytes).body).unwrap();
    let text = answer.to_envelope(&ResponseHeader::default());
    assert_eq!(GetPoliciesResponse::parse(&envelope(text.as_bytes()).body).unwrap(), answer);
}

#[test]
fn not_changed_response_file() {
    let bytes = vector("ms-xcep/handmade-not-changed-response.xml");
    let answer = GetPoliciesResponse::parse(&envelope(&bytes).body).unwrap();
    let expected = GetPoliciesResponse::not_changed(
        "{9F1E0000-0000-4000-8000-000000000001}".to_owned(),
        "Example policy".to_owned(),
        8,
    );
    assert_eq!(answer, expected);
    assert_eq!(answer.problems(), []);
}

#[test]
fn not_changed_answer_has_everything_nil() {
    let text = GetPoliciesResponse::not_changed("p".to_owned(), "n".to_owned(), 8)
        .to_envelope(&ResponseHeader::default());
    assert!(text.contains(
        "<policiesNotChanged>true</policiesNotChanged><policies xsi:nil=\"true\"/></response>\
         <cAs xsi:nil=\"true\"/><oIDs xsi:nil=\"true\"/></GetPoliciesResponse>"
    ));
}

#[test]
fn requests_are_read_as_written() {
    let filter = RequestFilter {
        policy_oids: vec!["1.2.3".to_owned()],
        client_version: Some(6),
        server_version: Some(-1),
    };
    for message in [
        GetPolicies { client: Client::default(), request_filter: None },
        GetPolicies {
            client: Client {
                last_update: Some(DateTime::from_unix(1_767_225_600)),
                preferred_language: Some("de-DE".to_owned()),
            },
            request_filter: Some(filter),
        },
        GetPolicies { client: Client::default(), request_filter: Some(RequestFilter::default()) },
    ] {
        let text = message.to_envelope(&header());
        assert_eq!(request(&envelope(text.as_bytes())).unwrap(), message);
    }
}

/// The content of GetPolicies in an otherwise good envelope.
fn parse_content(content: &str) -> Result<GetPolicies, XcepError> {
    let text = format!(
        r#"<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body
           xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><GetPolicies
           xmlns="http://schemas.microsoft.com/windows/pki/2009/01/enrollmentpolicy"
           >{content}</GetPolicies></s:Body></s:Envelope>"#
    );
    GetPolicies::parse(Some(ACTION), &envelope(text.as_bytes()).body)
}

#[test]
fn request_that_cannot_be_answered() {
    let client = "<client><lastUpdate xsi:nil='true'/></client>";
    for (content, message) in [
        (String::new(), "element client is missing"),
        ("<client/>".to_owned(), "element client is nil or empty"),
        ("<client xsi:nil='true'/>".to_owned(), "element client is nil or empty"),
        (format!("{client}{client}"), "element client appears twice"),
        (
            "<client><lastUpdate>20260-04-17T01:02:03Z</lastUpdate></client>".to_owned(),
            "element lastUpdate does not hold a date and time",
        ),
        (
            format!("{client}<requestFilter><clientVersion>x</clientVersion></requestFilter>"),
            "element clientVersion does not hold an integer in range",
        ),
        (
            format!("{client}<requestFilter><policyOIDs/><policyOIDs/></requestFilter>"),
            "element policyOIDs appears twice",
        ),
    ] {
        let error = parse_content(&content).unwrap_err();
        assert_eq!(error.to_string(), message, "{content}");
        assert_eq!(error.to_fault().kind, FaultKind::Sender);
    }
    let bytes = vector("ms-xcep/handmade-not-changed-response.xml");
    let error = GetPolicies::parse(Some(ACTION), &envelope(&bytes).body).unwrap_err();
    assert_eq!(error.to_string(), "element GetPoliciesResponse appears where GetPolicies was expected");
    let error = GetPolicies::parse(None, &envelope(&bytes).body).unwrap_err();
    assert_eq!(error.to_fault().kind, FaultKind::ActionNotSupported);
}

#[test]
fn empty_filter_is_no_filter() {
    let client = "<client><lastUpdate xsi:nil='true'/></client>";
    for filter in ["", "<requestFilter/>", "<requestFilter xsi:nil='true'/>"] {
        assert_eq!(parse_content(&format!("{client}{filter}")).unwrap().request_filter, None);
    }
}

#[test]
fn filter_by_version() {
    let flags = PrivateKeyFlags(0x0503_0010);
    for (client_version, server_version, keeps) in [
        (None, None, true),
        (Some(0), Some(0), true),
        (Some(5), Some(3), true),
        (Some(6), Some(6), true),
        (Some(5), None, true),
        (None, Some(3), true),
        (Some(4), Some(3), false),
        (Some(5), Some(2), false),
        (Some(0), Some(2), false),
        (Some(i32::MAX), Some(i32::MAX), true),
        (Some(i32::MIN), Some(-1), true),
    ] {
        let filter = RequestFilter { policy_oids: Vec::new(), client_version, server_version };
        assert_eq!(filter.keeps("1.2.3", flags), keeps, "{client_version:?} {server_version:?}");
    }
    let filter =
        RequestFilter { client_version: Some(1), server_version: Some(1), ..RequestFilter::default() };
    assert!(filter.keeps("1.2.3", PrivateKeyFlags(0xF0F0_FFFF)));
}

#[test]
fn filter_by_oid() {
    let mut filter = RequestFilter { policy_oids: vec!["1.2.3".to_owned()], ..RequestFilter::default() };
    assert!(filter.keeps("1.2.3", PrivateKeyFlags(0)));
    assert!(!filter.keeps("1.2.34", PrivateKeyFlags(0)));
    filter.policy_oids.clear();
    assert!(filter.keeps("1.2.34", PrivateKeyFlags(0)));
}

#[test]
fn flags_of_a_directory_are_signed() {
    assert_eq!(SubjectNameFlags::from_signed(-1_509_949_440), SubjectNameFlags::STOCK_USER);
    assert_eq!(
        SubjectNameFlags::STOCK_USER,
        SubjectNameFlags::SUBJECT_REQUIRE_DIRECTORY_PATH
            | SubjectNameFlags::SUBJECT_REQUIRE_EMAIL
            | SubjectNameFlags::SUBJECT_ALT_REQUIRE_EMAIL
            | SubjectNameFlags::SUBJECT_ALT_REQUIRE_UPN
    );
}

#[test]
fn response_with_gaps_is_read() {
    let text = sparse_policies().to_envelope(&ResponseHeader::default());
    // What may be nil may as well be missing, and vendor elements may stand anywhere.
    let text = text
        .replace("<keySpec xsi:nil=\"true\"/>", "")
        .replace("<minorRevision>2</minorRevision>", "<minorRevision xsi:nil=\"true\"/>")
        .replace("<policySchema>", "<v:x xmlns:v=\"urn:example\"/><policySchema>");
    let mut expected = sparse_policies();
    expected.response.policies[0].attributes.revision.minor_revision = 0;
    assert_eq!(GetPoliciesResponse::parse(&envelope(text.as_bytes()).body).unwrap(), expected);
}

#[test]
fn response_without_what_is_needed() {
    let text = good_policies().to_envelope(&ResponseHeader::default());
    for element in ["policyID", "commonName", "minimalKeyLength", "certificate", "oIDReferenceID", "uri"] {
        let (before, rest) = text.split_once(&format!("<{element}>")).unwrap();
        let (_, after) = rest.split_once(&format!("</{element}>")).unwrap();
        let text = format!("{before}{after}");
        let error = GetPoliciesResponse::parse(&envelope(text.as_bytes()).body).unwrap_err();
        assert_eq!(error.to_string(), format!("element {element} is missing"));
    }
}

#[test]
fn problems_of_an_answer() {
    let check = |change: fn(&mut GetPoliciesResponse), expected: &[PolicyProblem]| {
        let mut answer = good_policies();
        change(&mut answer);
        assert_eq!(answer.problems(), expected);
    };
    check(|_| {}, &[]);
    check(|a| a.oids.truncate(1), &[PolicyProblem::UnknownOid { reference: 2 }]);
    check(|a| a.cas.clear(), &[PolicyProblem::UnknownCa { reference: 0 }]);
    check(|a| a.oids.push(oid(1, OidGroup::RDN, "2.5.4.3")), &[PolicyProblem::DuplicateOid { reference: 1 }]);
    check(|a| a.cas.extend(a.cas.clone()), &[PolicyProblem::DuplicateCa { reference: 0 }]);
    check(
        |a| a.response.policies.extend(a.response.policies.clone()),
        &[PolicyProblem::DuplicateTemplate { common_name: "ExampleMachine".to_owned() }],
    );
    check(|a| a.cas[0].uris.clear(), &[PolicyProblem::CaWithoutUri { reference: 0 }]);
    check(|a| a.cas[0].certificate.clear(), &[PolicyProblem::CaWithoutCertificate { reference: 0 }]);
    check(
        |a| a.response.policies[0].attributes.private_key_attributes.minimal_key_length = 0,
        &[PolicyProblem::Zero { element: "minimalKeyLength" }],
    );
    check(|a| a.response.next_update_hours = Some(0), &[PolicyProblem::Zero { element: "nextUpdateHours" }]);
}
