//! What must hold for every input. A target is one line that calls one of these.
//!
//! Nothing may panic or run for long; what was read can be written, and is then read as the same.

mod authority;
mod rpc;

use std::path::Path;

use muster_client::group_policy::{GroupPolicy, registry_pol as pol};
use muster_core::{Template, UnixTime};
use muster_directory::ldap::dns as dns_answers;
use muster_directory::ldap::message::{Message, Response};
use muster_directory::{AccountFacts, Descriptor, RawEntry, Snapshot, dn, export, sid};
use muster_gss::{Pac, ServiceName, inspect_token, parse_keytab};
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

pub use authority::authority_reply;
pub use rpc::{epm_tower, object_reference, rpc_arguments, rpc_message, rpc_results};

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

pub fn security_descriptor(input: &[u8]) {
    if let Ok(descriptor) = Descriptor::parse(input) {
        let again = Descriptor::parse(&descriptor.to_octets()).expect("what was read can be written");
        // Conditional entries are left out, and they never allow.
        assert!(again.enrollment_access().len() <= descriptor.enrollment_access().len());
    }
    if let Ok(found) = sid::from_octets(input) {
        assert_eq!(sid::to_octets(&found), input);
    }
}

/// What is read is not larger than what came, and the server's words are fit for a log.
pub fn directory_message(input: &[u8]) {
    let Ok(message) = Message::decode(input) else { return };
    match message.response {
        Response::Entry(entry) => {
            let values = entry
                .attributes
                .iter()
                .map(|(name, values)| name.len() + values.iter().map(Vec::len).sum::<usize>());
            assert!(entry.dn.len() + values.sum::<usize>() <= input.len());
        }
        Response::Bind { outcome, .. }
        | Response::Done { outcome, .. }
        | Response::Changed(outcome)
        | Response::Extended { outcome, .. } => {
            assert!(outcome.message.chars().count() <= 200 && !outcome.message.contains(char::is_control));
            assert!(outcome.referrals.len() <= 16);
        }
        Response::Reference(uris) => assert!(uris.len() <= input.len()),
    }
}

/// Names are short, and there are not more of them than fit.
pub fn dns_answer(input: &[u8]) {
    let Some(id) = input.first_chunk::<2>() else { return };
    let Ok(found) = dns_answers::parse(input, *id) else { return };
    assert!(found.len() * 12 <= input.len());
    assert!(found.iter().all(|srv| srv.target.len() <= 253 && srv.target.is_ascii()));
}

/// The same entry as a template, an enrollment service and an identifier; its name as that of an account.
pub fn directory_entry(input: &str) {
    let Some(entry) = entry(input) else { return };
    let _ = (dn::subject(&entry.dn), dn::domain(&entry.dn));
    let entries = std::slice::from_ref(&entry);
    let snapshot = Snapshot::build(entries, entries, entries, UnixTime(0));
    assert_eq!(snapshot.changes(&snapshot), []);
    for found in &snapshot.templates {
        assert!(found.wire.minimal_key_length > 0);
        if !found.is_usable() {
            continue;
        }
        let exported =
            export::export(&found.template, &[]).expect("a template of a directory can be exported");
        let again = muster_directory::DirectoryTemplate::from_entry(&exported.to_entry("CN=t"));
        assert!(again.is_ok_and(|again| again.template == found.template || !exported.losses.is_empty()));
    }
    for server in snapshot.authorities.iter().flat_map(|authority| &authority.servers) {
        assert_eq!(server.to_string().parse().as_ref(), Ok(server));
    }
    let text = |name| entry.text(name).ok().flatten().map(str::to_owned);
    let facts = AccountFacts {
        name: "a".parse().expect("a name"),
        kind: muster_core::identity::PrincipalKind::Computer,
        distinguished_name: entry.dn.clone(),
        object_guid: None,
        sid: "S-1-5-18".parse().expect("an identifier"),
        groups: [].into(),
        sam_account_name: text("cn").unwrap_or_default(),
        user_principal_name: text("cn"),
        common_name: text("cn"),
        mail: text("displayName"),
        dns_host_name: text("dNSHostName"),
        host_name_holders: 1,
        service_principal_names: entry
            .texts("certificateTemplates")
            .unwrap_or_default()
            .into_iter()
            .map(str::to_owned)
            .collect(),
        user_account_control: 0x1000,
        domain_dns: dn::domain(&entry.dn).unwrap_or_default(),
    };
    let principal = facts.principal();
    assert!(principal.dns_names.iter().all(|name| name.is_ascii()));
}

/// The first record of an LDIF file.
fn entry(input: &str) -> Option<RawEntry> {
    let unfolded = input.replace("\n ", "");
    let record = unfolded.split("\n\n").next()?;
    let mut entry = RawEntry::default();
    for line in record.lines() {
        let (name, value) = line.split_once(':')?;
        let value = match value.strip_prefix(':') {
            Some(encoded) => base64(encoded.trim()),
            None => value.trim_start().as_bytes().to_vec(),
        };
        if name == "dn" {
            entry.dn = String::from_utf8(value).ok()?;
        } else {
            entry.attributes.entry(name.to_ascii_lowercase()).or_default().push(value);
        }
    }
    Some(entry)
}

/// Octets of base64; what is none of its letters is skipped.
fn base64(text: &str) -> Vec<u8> {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.bytes().filter_map(|b| letters.iter().position(|letter| *letter == b));
    let mut octets = Vec::new();
    let (mut bits, mut held) = (0_usize, 0_u32);
    for digit in digits {
        bits = bits << 6 & 0xffff | digit;
        held += 6;
        if held >= 8 {
            held -= 8;
            octets.push((bits >> held & 0xff) as u8);
        }
    }
    octets
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

/// Groups are told apart from the account; nothing is read that is longer than what there is.
pub fn pac(input: &[u8]) {
    if let Ok(pac) = Pac::parse(input) {
        assert!(!pac.group_sids.contains(&pac.user_sid));
        assert!(pac.group_sids.len() <= input.len() / 8 + 1);
    }
}

pub fn keytab(input: &[u8]) {
    if let Ok(entries) = parse_keytab(input) {
        assert!(entries.len() <= input.len() / 4);
    }
}

/// Whatever is taken for an AP-REQ is framed for the library as the octets that it was.
pub fn kerberos_token(input: &[u8]) {
    if let Ok(seen) = inspect_token(input) {
        assert_eq!(inspect_token(&seen.kerberos).as_ref().map(|again| &again.service), Ok(&seen.service));
    }
    let _ = std::str::from_utf8(input).map(str::parse::<ServiceName>);
}
