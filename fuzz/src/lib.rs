//! What must hold for every input. A target is one line that calls one of these.
//!
//! Nothing may panic or run for long; what was read can be written, and is then read as the same.

use std::path::Path;

use muster_client::group_policy::{GroupPolicy, registry_pol as pol};
use muster_core::Template;
use muster_proto::soap::xml::{Element, Limits};
use muster_proto::soap::{Envelope, Fault, RequestHeader, ResponseHeader};
use muster_proto::wcce::{
    CertificateRequest, CmcResponse, MAX_EXTENSIONS, MAX_NAMES, PublicKey, TemplateId,
    application_policies_to_der, check_public_key, general_names_to_der, parse_application_policies,
    parse_certs_only, parse_general_names, parse_key_usages, parse_sid, parse_template_name, sid_to_der,
    template_name_to_der,
};
use muster_proto::wstep::{RequestSecurityToken, RequestSecurityTokenResponse};
use muster_proto::xcep::{GetPolicies, GetPoliciesResponse};
use muster_server::Settings;

/// A message that is refused is answered with a fault, which a client can read.
pub fn soap_envelope(input: &[u8]) {
    match Envelope::parse(input, &Limits::REQUEST) {
        Ok(envelope) => drop(Fault::from_body(&envelope.body)),
        Err(refused) => {
            let header = ResponseHeader::relating_to(refused.message_id.as_deref());
            readable(&refused.error.to_fault(), &header);
        }
    }
}

pub fn get_policies(input: &[u8]) {
    let Ok(envelope) = Envelope::parse(input, &Limits::REQUEST) else { return };
    match GetPolicies::parse(envelope.action.as_deref(), &envelope.body) {
        Ok(question) => {
            let written = question.to_envelope(&request_header());
            let again = again(&written, |action, body| GetPolicies::parse(action, body));
            assert_eq!(again, Ok(question));
        }
        Err(error) => readable(&error.to_fault(), &ResponseHeader::default()),
    }
}

pub fn get_policies_response(input: &[u8]) {
    let Ok(envelope) = Envelope::parse(input, &Limits::RESPONSE) else { return };
    let Ok(answer) = GetPoliciesResponse::parse(&envelope.body) else { return };
    let _ = answer.problems();
    let written = answer.to_envelope(&ResponseHeader::default());
    let again = again(&written, |_, body| GetPoliciesResponse::parse(body));
    assert_eq!(again, Ok(answer));
}

pub fn rst(input: &[u8]) {
    let Ok(envelope) = Envelope::parse(input, &Limits::REQUEST) else { return };
    match RequestSecurityToken::parse(envelope.action.as_deref(), &envelope.body) {
        Ok(request) => {
            let written = request.to_envelope(&request_header());
            let again = again(&written, |action, body| RequestSecurityToken::parse(action, body));
            assert_eq!(again, Ok(request));
        }
        Err(error) => readable(&error.to_fault(), &ResponseHeader::default()),
    }
}

pub fn rstrc(input: &[u8]) {
    let Ok(envelope) = Envelope::parse(input, &Limits::RESPONSE) else { return };
    if let Some(fault) = Fault::from_body(&envelope.body) {
        readable(&fault, &ResponseHeader::default());
    }
    let Ok(answer) = RequestSecurityTokenResponse::parse(&envelope.body) else { return };
    let written = answer.to_envelope(&ResponseHeader::default());
    let again = again(&written, |_, body| RequestSecurityTokenResponse::parse(body));
    assert_eq!(again, Ok(answer));
}

/// Limits hold, and the PKCS#10 alone says the same where it may stand alone.
pub fn certificate_request(input: &[u8]) {
    let Ok(request) = CertificateRequest::parse(input) else { return };
    assert!(request.names.len() <= MAX_NAMES && request.extensions.len() <= MAX_EXTENSIONS);
    let _ = check_public_key(&request.public_key);
    if let Ok(bare) = CertificateRequest::parse(&request.pkcs10_der) {
        assert_eq!((bare.public_key, bare.names), (request.public_key, request.names));
    }
}

/// The input is the response, once also the CA's certificate.
pub fn cmc_response(input: &[u8]) {
    // The CA of some seeds, so that mutations beyond the signature's check are reached.
    let ca = include_bytes!("../../vectors/ms-wstep/handmade-issuing-ca-sha256-certificate.der");
    let _ = CmcResponse::parse(input, ca);
    let _ = CmcResponse::parse(input, input);
    let _ = parse_certs_only(input);
}

/// What is read is bounded, and every server of it can be asked.
pub fn registry_pol(input: &[u8]) {
    let Ok(values) = pol::parse(input) else { return };
    assert!(values.len() <= pol::MAX_VALUES);
    let policy = GroupPolicy::from_values(&values);
    let asked: usize = policy.policies(|_| true).iter().map(Vec::len).sum();
    assert_eq!(asked, policy.servers.len());
}

pub fn der_values(input: &[u8]) {
    if let Ok(key) = PublicKey::from_spki_der(input) {
        let _ = check_public_key(&key);
    }
    let _ = parse_key_usages(input);
    if let Ok(names) = parse_general_names(input) {
        let written = general_names_to_der(&names).expect("names that were read can be written");
        assert_eq!(parse_general_names(&written), Ok(names));
    }
    if let Ok(template) = TemplateId::from_der(input) {
        assert_eq!(TemplateId::from_der(&template.to_der()), Ok(template));
    }
    if let Ok(name) = parse_template_name(input) {
        assert_eq!(parse_template_name(&template_name_to_der(&name)), Ok(name));
    }
    if let Ok(sid) = parse_sid(input) {
        assert_eq!(parse_sid(&sid_to_der(&sid)), Ok(sid));
    }
    if let Ok(policies) = parse_application_policies(input) {
        assert_eq!(parse_application_policies(&application_policies_to_der(&policies)), Ok(policies));
    }
}

/// What is refused is refused with a sentence.
pub fn config(input: &str) {
    if let Err(error) = Settings::parse(Path::new("/etc/muster/muster.toml"), input) {
        assert!(!error.to_string().is_empty());
    }
}

pub fn template_toml(input: &str) {
    if let Ok(template) = Template::from_toml(input) {
        let written = template.to_toml().expect("a template that was read can be written");
        assert_eq!(Template::from_toml(&written), Ok(template));
    }
}

fn request_header() -> RequestHeader {
    RequestHeader {
        message_id: "urn:uuid:0".to_owned(),
        to: "https://localhost/".to_owned(),
        credentials: None,
    }
}

/// Reads a message that we wrote; limits are for what others write.
fn again<T>(written: &str, read: impl Fn(Option<&str>, &Element<'_>) -> T) -> T {
    let limits = Limits { bytes: usize::MAX, text: usize::MAX, ..Limits::RESPONSE };
    let envelope = Envelope::parse(written.as_bytes(), &limits).expect("a message that we wrote can be read");
    read(envelope.action.as_deref(), &envelope.body)
}

fn readable(fault: &Fault, header: &ResponseHeader) {
    let fault = again(&fault.to_envelope(header), |_, body| Fault::from_body(body));
    assert!(fault.is_some());
}
