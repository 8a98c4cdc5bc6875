//! The requests that wstep-rs and wcce-rs make, and what they understand of an answer. These crates share no
//! code with ours and bring no transport: the tests carry the bytes.
//!
//! ```text
//! issue URL KEY.pem TEMPLATE-OID MAJOR MINOR                        PKCS#10 called PKCS#7, as wstep-rs calls all
//! behalf URL KEY.pem AGENT-KEY.pem AGENT-CERTIFICATE.pem REQUESTER TEMPLATE-OID MAJOR MINOR     CMS by an enrollment agent
//! renew URL KEY.pem OLD-KEY.pem OLD-CERTIFICATE.pem TEMPLATE-OID MAJOR MINOR        CMS around the PKCS#10
//! query URL REQUEST-ID
//! key-exchange URL
//! ```
//! These write the envelope to standard output. With `MUSTER_USER` and `MUSTER_PASSWORD` in the environment it has
//! a UsernameToken, which wstep-rs itself does not know. Keys are PKCS#8.
//!
//! `read` reads an answer from standard input and writes one `name value` a line: `token` and `response` (base64),
//! `disposition`, `request-id`; or `fault`, `reason`, `error` and `invalid-request`. What wstep-rs cannot read is an error.

use std::error::Error;
use std::io::Read;
use std::process::ExitCode;
use std::{env, fs, io};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use wcce_rs::attributes::{EnrollmentNameValuePair, RenewalCertificate};
use wcce_rs::cms::CmsCertificateRequest;
use wcce_rs::extensions::CertificateTemplate;
use wcce_rs::pkcs10::{CertificateRequest, CertificateRequestBuilder, KeyUsage};
use wcce_rs::signing::{SigningCertificate, SigningKey};
use wstep_rs::request::WstepRequest;
use wstep_rs::response::WstepResponse;

type Answer<T> = Result<T, Box<dyn Error>>;

const MESSAGE_ID: &str = "urn:uuid:b5d1a601-5091-4a7d-b34b-5204c18b5919";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = match arguments.as_slice() {
        ["--version"] => Ok("wstep-rs 0.1.3, wcce-rs 0.1.3\n".to_owned()),
        ["issue", url, key, template @ ..] => issue(url, key, template),
        ["renew", url, key, old_key, old_certificate, template @ ..] => {
            renew(url, key, old_key, old_certificate, template)
        }
        ["behalf", url, key, agent_key, agent, requester, template @ ..] => {
            behalf(url, key, agent_key, agent, requester, template)
        }
        ["query", _url, id] => {
            envelope(&WstepRequest::new_query_token_status(id, MESSAGE_ID, WstepRequest::REPLY_TO_ANONYMOUS))
        }
        ["key-exchange", _url] => {
            envelope(&WstepRequest::new_key_exchange_token(MESSAGE_ID, WstepRequest::REPLY_TO_ANONYMOUS))
        }
        ["read"] => read(),
        _ => Err("unknown arguments; they are described at the head of the source".into()),
    };
    match output {
        Ok(output) => {
            print!("{output}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn issue(url: &str, key: &str, template: &[&str]) -> Answer<String> {
    let key = SigningKey::from_pem(&fs::read_to_string(key)?)?;
    let request = pkcs10(template)?.build(&key)?;
    submit(url, &STANDARD.encode(request.as_der()))
}

fn renew(url: &str, key: &str, old_key: &str, old_certificate: &str, template: &[&str]) -> Answer<String> {
    let key = SigningKey::from_pem(&fs::read_to_string(key)?)?;
    let old_key = SigningKey::from_pem(&fs::read_to_string(old_key)?)?;
    let pem = fs::read_to_string(old_certificate)?;
    let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let certificate = STANDARD.decode(base64)?;
    let renewal = RenewalCertificate { certificate: &certificate };
    let request = pkcs10(template)?.add_attribute(&renewal).build(&key)?;
    let signer = SigningCertificate::from_pem(&pem)?;
    submit(url, &CmsCertificateRequest::builder().build(&request, &old_key, &signer)?)
}

fn behalf(
    url: &str,
    key: &str,
    agent_key: &str,
    agent: &str,
    requester: &str,
    template: &[&str],
) -> Answer<String> {
    let key = SigningKey::from_pem(&fs::read_to_string(key)?)?;
    let agent_key = SigningKey::from_pem(&fs::read_to_string(agent_key)?)?;
    let signer = SigningCertificate::from_pem(&fs::read_to_string(agent)?)?;
    let request = pkcs10(template)?.build(&key)?;
    let name = EnrollmentNameValuePair::RequesterName { domain_account: requester };
    let builder = CmsCertificateRequest::builder().add_signed_name_value_pair(name);
    submit(url, &builder.build(&request, &agent_key, &signer)?)
}

/// A request for a template, given as OID, major and minor version.
fn pkcs10(template: &[&str]) -> Answer<CertificateRequestBuilder> {
    let [oid, major, minor] = template else { return Err("a template is an OID and two versions".into()) };
    let oid: Vec<u64> = oid.split('.').map(str::parse).collect::<Result<_, _>>()?;
    let (major_version, minor_version) = (Some(major.parse()?), Some(minor.parse()?));
    let template = CertificateTemplate { template_oid: &oid, major_version, minor_version };
    Ok(CertificateRequest::builder().add_key_usage(KeyUsage::DigitalSignature).add_extension(&template))
}

fn submit(url: &str, base64: &str) -> Answer<String> {
    envelope(&WstepRequest::new_issue_x509v3(
        base64,
        MESSAGE_ID,
        Some(url),
        Some(WstepRequest::REPLY_TO_ANONYMOUS),
    ))
}

fn envelope(request: &WstepRequest<'_>) -> Answer<String> {
    let envelope = request.serialize_request()?;
    let (Ok(user), Ok(password)) = (env::var("MUSTER_USER"), env::var("MUSTER_PASSWORD")) else {
        return Ok(envelope);
    };
    let wsse = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd";
    let text =
        "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordText";
    let token = format!(
        "<o:Security s:mustUnderstand=\"1\" xmlns:o=\"{wsse}\"><o:UsernameToken><o:Username>{user}</o:Username>\
         <o:Password Type=\"{text}\">{password}</o:Password></o:UsernameToken></o:Security></s:Header>"
    );
    if !envelope.contains("</s:Header>") {
        return Err("wstep-rs wrote no header".into());
    }
    Ok(envelope.replacen("</s:Header>", &token, 1))
}

fn read() -> Answer<String> {
    let mut answer = String::new();
    io::stdin().read_to_string(&mut answer)?;
    let answer = WstepResponse::new_from_soap_xml_str(&answer)?;
    Ok(match answer.requested_token_collection() {
        Ok(collection) => {
            let response = &collection.request_security_token_response;
            let unwrapped = |base64: &str| base64.split_whitespace().collect::<String>();
            let token = unwrapped(response.requested_security_token.binary_security_token_value());
            let mut lines = format!("token {token}\n");
            if let Some(whole) = &response.binary_security_token {
                lines += &format!("response {}\n", unwrapped(&whole.value));
            }
            if let Some(message) = &response.disposition_message {
                lines += &format!("disposition {}\n", message.value);
            }
            if let Some(id) = response.request_id.as_ref().and_then(|id| id.value.as_ref()) {
                lines += &format!("request-id {id}\n");
            }
            lines
        }
        Err(fault) => {
            let subcode = fault.code.subcode.as_ref().map(|subcode| subcode.value.value.as_ref());
            let mut lines = format!("fault {} {}\n", fault.code.value.value, subcode.unwrap_or_default());
            lines += &format!("reason {}\n", fault.reason.text.value.as_deref().unwrap_or_default());
            if let Some(detail) = &fault.detail {
                let detail = &detail.certificate_enrollment_ws_detail;
                lines += &format!("error {:?}\n", detail.error_code);
                lines += &format!("invalid-request {}\n", detail.invalid_request.value);
            }
            lines
        }
    })
}
