//! What our code makes of the examples in Microsoft's specifications, which are not part of this repository.
//!
//! `cargo run -p muster-proto --example specification -- MS-WSTEP.md MS-XCEP.md`
//!
//! Takes the published documents as text or Markdown, in which each message begins with a line `<s:Envelope` and ends
//! with one that holds `</s:Envelope`. The CA that signed a
//! response is found by trying every certificate in it.
#![expect(clippy::print_stdout, reason = "a list on standard output is what it is for")]

use std::error::Error;

use muster_proto::soap::Envelope;
use muster_proto::soap::xml::Limits;
use muster_proto::wcce::{CertificateRequest, CmcResponse, CmcStatus};
use muster_proto::wstep::{Operation, RequestSecurityToken, RequestSecurityTokenResponse};
use muster_proto::xcep::{GetPolicies, GetPoliciesResponse};

fn main() -> Result<(), Box<dyn Error>> {
    for path in std::env::args().skip(1) {
        let text = std::fs::read_to_string(&path)?;
        let (mut section, mut message) = (String::new(), None::<String>);
        for line in text.lines() {
            if let Some((_, rest)) = line.split_once("\"Section_") {
                section = rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
            }
            if line.starts_with("<s:Envelope") {
                message = Some(String::new());
            }
            let Some(open) = &mut message else { continue };
            // The documents put an empty line after each line, and break long addresses after a slash.
            if !line.trim().is_empty() {
                open.push_str(line);
                open.push_str(if line.ends_with('/') { "" } else { "\n" });
            }
            if line.contains("</s:Envelope")
                && let Some(whole) = message.take()
            {
                println!(
                    "{section}: {}",
                    judge(whole.as_bytes()).unwrap_or_else(|why| format!("not read: {why}"))
                );
            }
        }
    }
    Ok(())
}

/// What a message is, in a few words.
fn judge(message: &[u8]) -> Result<String, Box<dyn Error>> {
    let envelope = Envelope::parse(message, &Limits::default())?;
    let action = envelope.action.as_deref();
    match envelope.body.local() {
        "RequestSecurityToken" => {
            let request = RequestSecurityToken::parse(action, &envelope.body)?;
            let Operation::Issue { token, .. } = request.operation else {
                return Ok(format!("request, {:?}", request.operation));
            };
            let parsed = CertificateRequest::parse(&token.bytes)?;
            let (possession, template) = (parsed.possession, parsed.template.names);
            Ok(format!("request to issue, possession shown by {possession:?}, template {template:?}"))
        }
        "RequestSecurityTokenResponseCollection" => {
            match RequestSecurityTokenResponse::parse(&envelope.body)? {
                RequestSecurityTokenResponse::Issued(issued) => response("issued", &issued.full_response),
                RequestSecurityTokenResponse::Pending(pending) => response("pending", &pending.full_response),
                RequestSecurityTokenResponse::KeyExchangeToken(certificate) => {
                    Ok(format!("key exchange token of {} octets", certificate.len()))
                }
            }
        }
        "GetPolicies" => Ok(format!("{:?}", GetPolicies::parse(action, &envelope.body)?)),
        "GetPoliciesResponse" => {
            let response = GetPoliciesResponse::parse(&envelope.body)?;
            Ok(format!("policies, {} object identifiers", response.oids.len()))
        }
        other => Ok(format!("a message with {other}")),
    }
}

/// The CMC response in an answer, verified by one of the certificates that came with it.
fn response(disposition: &str, octets: &[u8]) -> Result<String, Box<dyn Error>> {
    for signer in sequences(octets) {
        let Ok(read) = CmcResponse::parse(octets, signer) else { continue };
        let issued = match &read.status {
            CmcStatus::Issued { certificate } => format!("a certificate of {} octets", certificate.len()),
            CmcStatus::Pending { .. } => "no certificate yet".to_owned(),
            CmcStatus::Failed | CmcStatus::Other(_) => "no certificate".to_owned(),
        };
        let text = read.status_string.unwrap_or_default();
        return Ok(format!("{disposition}: signature of the response right, {text:?}, {issued}"));
    }
    Err(format!("{disposition}: none of the certificates in the response verifies it").into())
}

/// Every SEQUENCE with a length of two octets, as certificates have it.
fn sequences(octets: &[u8]) -> impl Iterator<Item = &[u8]> {
    (0..octets.len()).filter_map(|at| {
        let rest = octets.get(at..)?;
        let [0x30, 0x82, high, low, ..] = rest else { return None };
        rest.get(..4 + usize::from(u16::from_be_bytes([*high, *low])))
    })
}
