//! docs/errors.md has a row for every refusal, with the code, status, SOAP code, HRESULT and sentence of the program.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise, in its helpers too")]

use http_body_util::BodyExt;
use muster_core::directory::HostNameDoubt;
use muster_core::request::RequestId;
use muster_core::token::TokenTrouble;
use muster_core::{Refusal, UnixTime};
use muster_gss::{EncryptionType, PacError, Refused, Status};
use muster_proto::soap::{BadEnvelope, EnvelopeError, ResponseHeader};
use muster_proto::wcce::{KeyWeakness, RequestError};
use muster_proto::wstep::{Hresult, WstepError};
use muster_proto::xcep::XcepError;
use muster_server::fault::{
    AuthError, CaError, CallError, DelegationError, HttpError, RequestFault, ServiceError, Unavailable,
};

const PAGE: &str = include_str!("../../../docs/errors.md");
const SOURCES: [&str; 3] = [
    include_str!("../src/fault.rs"),
    include_str!("../src/fault/delegation.rs"),
    include_str!("../../muster-core/src/refusal.rs"),
];
const DAY: UnixTime = UnixTime(1_800_000_000);

/// One of each, with values that the page shows as examples.
fn all() -> Vec<ServiceError> {
    let id = RequestId::new(259).unwrap();
    let refusals = [
        Refusal::NoTemplate,
        Refusal::TemplateConflict,
        Refusal::TemplateDenied,
        Refusal::TemplateVersion,
        Refusal::KeyAlgorithm("rsa"),
        Refusal::KeyTooShort { bits: 2048, minimum: 3072 },
        Refusal::KeyBlocked,
        Refusal::DnsNameMissing,
        Refusal::EmailMissing,
        Refusal::UpnMissing,
        Refusal::HostNameDoubtful(HostNameDoubt::Shared),
        Refusal::DomainController,
        Refusal::DirectoryPathMissing,
        Refusal::GuidMissing,
        Refusal::SignatureRequired,
        Refusal::NameNotAllowed("DNS:bank.example".to_owned()),
        Refusal::NameMissing,
        Refusal::SidInRequest,
        Refusal::CaRequested,
        Refusal::OnBehalfOf,
        Refusal::RenewalOnly,
        Refusal::RenewalUnknown,
        Refusal::RenewalForeign,
        Refusal::RenewalExpired(DAY),
        Refusal::RenewalCosigned,
        Refusal::RenewalNotYetValid(DAY),
        Refusal::RenewalOnHold,
        Refusal::RenewalReplaced,
        Refusal::RenewalKeyBased,
        Refusal::RenewalNames("CN=host.example".to_owned()),
        Refusal::RenewalTooEarly(DAY),
        Refusal::RenewalLimit(8),
        Refusal::RenewalAge(DAY),
        Refusal::RenewalNewKey,
        Refusal::RenewalSameKey,
        Refusal::RenewalRevoked,
        Refusal::RenewalTemplate,
        Refusal::RenewalSigner,
        Refusal::SignatureRejected,
        Refusal::AgentUnknown,
        Refusal::AgentRevoked,
        Refusal::AgentPurpose,
        Refusal::AgentNotCaller,
        Refusal::AgentLimits,
        Refusal::AgentTemplate,
        Refusal::RequesterUnknown,
        Refusal::SignatureCount { have: 1, needed: 2 },
        Refusal::AgentExpired(DAY),
        Refusal::TokenForm,
        Refusal::TokenName("DNS:bank.example".to_owned()),
        Refusal::TokenTemplate,
        Refusal::TooManyPending(100),
        Refusal::DeniedByOfficer { id, comment: "not yet".to_owned() },
        Refusal::DeniedBefore { id, sentence: "…".to_owned() },
        Refusal::CaExpiring(DAY),
    ];
    let mut all: Vec<ServiceError> = vec![
        HttpError::MethodNotAllowed.into(),
        HttpError::NotFound.into(),
        HttpError::ContentType.into(),
        HttpError::TooLarge(64 * 1024).into(),
        HttpError::TooSlow.into(),
        HttpError::BrokenBody.into(),
        HttpError::AuthorizationTwice.into(),
        ServiceError::Envelope(BadEnvelope { error: EnvelopeError::EmptyBody, message_id: None }),
        ServiceError::Envelope(BadEnvelope { error: EnvelopeError::PasswordDigest, message_id: None }),
        ServiceError::Envelope(BadEnvelope { error: EnvelopeError::VersionMismatch, message_id: None }),
        ServiceError::Destination("https://other/".to_owned()),
        WstepError::NoRequestId.into(),
        XcepError::NoClient.into(),
        AuthError::PasswordMissing.into(),
        AuthError::BadCredentials.into(),
        AuthError::Token(TokenTrouble::Unknown).into(),
        AuthError::Token(TokenTrouble::Secret).into(),
        AuthError::Token(TokenTrouble::Revoked).into(),
        AuthError::Token(TokenTrouble::Expired).into(),
        AuthError::Token(TokenTrouble::Used).into(),
        AuthError::Timestamp.into(),
        AuthError::CertificateMissing.into(),
        AuthError::NegotiateMissing.into(),
        AuthError::TicketAccount("alice@CORP.EXAMPLE".to_owned()).into(),
        AuthError::Rpc("the peer uses the protection level 5 instead of packet privacy (6)".to_owned())
            .into(),
        AuthError::CertificateUnknown.into(),
        AuthError::CertificatePurpose.into(),
        AuthError::CertificateNotYetValid(DAY).into(),
        AuthError::CertificateExpired(DAY).into(),
        AuthError::CertificateOnHold.into(),
        AuthError::CertificateRevoked.into(),
        RequestFault::from(RequestError::UnknownFormat).into(),
        RequestFault::from(KeyWeakness::Roca).into(),
        RequestFault::KeyArchival.into(),
        RequestFault::RequesterUnsigned.into(),
        RequestFault::RequesterTwice.into(),
        RequestFault::RequesterDiffers.into(),
        RequestFault::RenewalOnBehalf.into(),
        RequestFault::Attribute("SAN".to_owned()).into(),
        CallError::OtherAuthority.into(),
        CallError::TooLarge(65_536).into(),
        CallError::NothingNamed.into(),
        ServiceError::NoSuchRequest("259".to_owned()),
        ServiceError::RequestFailed(id),
        DelegationError::Local.into(),
        DelegationError::Sensitive.into(),
        DelegationError::Protected.into(),
        DelegationError::OtherRealm("CORP.EXAMPLE".to_owned()).into(),
        DelegationError::NotPermitted("KDC can't fulfill requested option".to_owned()).into(),
        DelegationError::NoTicket("the KDC does not know the account".to_owned()).into(),
        CaError::Denied {
            id,
            hresult: Some(0x8009_4012),
            message: "The permissions do not allow the current user to enroll".to_owned(),
            full_response: None,
        }
        .into(),
        CaError::Unknown(id).into(),
        CaError::Untrusted(id).into(),
        CaError::Identity("no ticket".to_owned()).into(),
        ServiceError::NoKeyExchange,
        Unavailable::Busy.into(),
        Unavailable::Store("the disk is full".to_owned()).into(),
        Unavailable::Signer("the key is gone".to_owned()).into(),
        Unavailable::Kerberos("the keytab has no key".to_owned()).into(),
        Unavailable::Directory("no domain controller answers".to_owned()).into(),
        Unavailable::Ca("ca01.corp.example does not answer".to_owned()).into(),
        ServiceError::Internal("a fault of ours".to_owned()),
    ];
    let tickets = [
        Refused::Ntlm,
        Refused::TooLong(70_000),
        Refused::Malformed("it is not base64".to_owned()),
        Refused::OtherMechanism("1.3.6.1.5.2.5".to_owned()),
        Refused::AnotherLeg,
        Refused::NotAnApReq,
        Refused::WeakEncryption(EncryptionType(23)),
        Refused::WrongService("HOST/pki.corp.example@CORP.EXAMPLE".to_owned()),
        Refused::WrongKey {
            service: "HTTP/pki.corp.example".to_owned(),
            kvno: "3".to_owned(),
            etype: EncryptionType(18),
        },
        Refused::Expired,
        Refused::NotYetValid,
        Refused::ClockSkew,
        Refused::Replay,
        Refused::NoChannelBinding,
        Refused::WrongChannelBinding,
        Refused::PacNotVerified,
        Refused::Pac(PacError::NoLogonInfo),
        Refused::Library(Status { major: 0xd_0000, minor: 7, message: "something else".to_owned() }),
    ];
    all.extend(tickets.map(|refused| AuthError::Ticket(refused).into()));
    all.extend(refusals.map(|refusal| ServiceError::Refused { id: Some(id), refusal, full_response: None }));
    all
}

/// What stands between two texts.
fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(start)?;
    rest.split_once(end).map(|(inside, _)| inside)
}

/// The part of a row that the program decides.
async fn row(error: ServiceError) -> String {
    let (code, sentence) = (error.code(), error.to_string());
    let reply = error.reply(&ResponseHeader::default(), "0123456789abcdef");
    let status = reply.status().as_u16();
    let body = reply.into_body().collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    assert!(body.contains("0123456789abcdef"), "no reference in {body}");
    let value = |text: &str| text.rsplit([':', '>']).next().unwrap_or_default().to_owned();
    let soap = match between(&body, "<s:Subcode>", "</s:Value>") {
        Some(subcode) => value(subcode),
        None => between(&body, "<s:Code>", "</s:Value>").map(value).unwrap_or_default(),
    };
    let hresult = between(&body, "<ErrorCode>", "</ErrorCode>").and_then(Hresult::from_decimal);
    let hresult = hresult.map(|code| code.to_string()).unwrap_or_default();
    format!("| `{code}` | {status} | {soap} | {hresult} | {sentence} |")
        .replace("|  |", "| |")
        .replace("|  |", "| |")
}

#[tokio::test]
async fn page_has_what_the_program_says() {
    let mut missing = Vec::new();
    let count = all().len();
    for error in all() {
        let row = row(error).await;
        if !PAGE.lines().any(|line| line.starts_with(&row)) {
            missing.push(row);
        }
    }
    assert!(missing.is_empty(), "docs/errors.md lacks\n{}", missing.join("\n"));
    let rows = PAGE.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, count, "docs/errors.md has rows of errors that there are not");
}

/// A code that was added to the program and not to [`all`] shows here.
#[test]
fn every_code_of_the_sources_is_on_the_page() {
    for line in SOURCES.iter().flat_map(|source| source.lines()) {
        let Some(code) = between(line, "=> \"", "\",") else { continue };
        if code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_') {
            assert!(PAGE.contains(&format!("| `{code}` |")), "docs/errors.md has no row for {code}");
        }
    }
}
