//! Requests that enrollment agents sign, made by pyasn1: who named the requester, and where the name stands.

use muster_proto::wcce::{CertificateRequest, ParsedRequest, RequestError, RequestForm, oids};

use crate::support::read_vector;

fn parse(case: &str) -> Result<ParsedRequest, RequestError> {
    CertificateRequest::parse(&read_vector(&format!("cms/pyasn1-on-behalf{case}.der")))
}

fn named_elsewhere(request: &ParsedRequest) -> Vec<&str> {
    let pairs = request.pairs.iter().filter(|pair| pair.name.eq_ignore_ascii_case("requestername"));
    pairs.map(|pair| pair.value.as_str()).collect()
}

#[test]
fn agent_names_the_requester_in_cms_and_in_cmc() {
    for (case, is_cmc) in [("", false), ("-cmc", true)] {
        let request = parse(case).unwrap();
        assert_eq!(matches!(request.form, RequestForm::Cmc { .. }), is_cmc, "{case}");
        assert!(request.form.renewed().is_none());
        let signers = request.form.cosigners();
        let names: Vec<_> = signers.iter().map(|signer| signer.requester_name.as_deref()).collect();
        assert_eq!(names, [Some("CORP\\alice")]);
        assert!(named_elsewhere(&request).is_empty());
        assert_eq!(request.pkcs10_der, read_vector("pkcs10/openssl-p256.der"));
    }
}

#[test]
fn two_names_in_one_signature_are_refused() {
    assert_eq!(parse("-twice"), Err(RequestError::NotOneValue(oids::ENROLLMENT_NAME_VALUE_PAIR)));
}

#[test]
fn names_that_no_agent_signed_for_are_kept_apart() {
    for case in ["-unsigned", "-reginfo"] {
        let request = parse(case).unwrap();
        assert!(request.form.cosigners().iter().all(|signer| signer.requester_name.is_none()), "{case}");
        assert_eq!(named_elsewhere(&request), ["alice"], "{case}");
    }
}
