//! What the authority says of itself (MS-WCCE 3.2.1.4.2.2, 3.2.1.4.3.2). Certificates and names are public; which templates
//! there are depends on the caller.

use der::Decode;
use muster_proto::wcce::build_certs_only;
use muster_rpc::ndr::NdrError;
use muster_rpc::status::HResult;
use muster_rpc::wcce::{
    CaInfo, PropertyId, parse_ca_certificate, parse_ca_property, parse_ping, ping_response,
    property_info_response, property_response,
};

use x509_cert::Certificate;

use super::Rpc;
use super::requests::{Peer, caller, refused};
use crate::fault::ServiceError;
use crate::record::Record;

/// The newest certificate, as an index.
const NEWEST: u32 = u32::MAX;
/// `CATYPE`: what issues by templates to accounts is an enterprise authority to clients, root or subordinate.
const ENTERPRISE_ROOT: u32 = 0;
const ENTERPRISE_SUBORDINATE: u32 = 1;

fn answer(value: Result<Vec<u8>, HResult>) -> Vec<u8> {
    match value {
        Ok(value) => property_response(HResult::OK, &value),
        Err(result) => property_response(result, &[]),
    }
}

/// UTF-16 with its NUL.
fn text(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

/// `Ping` and `Ping2`.
pub(super) fn ping(rpc: &Rpc, stub: &[u8]) -> Result<Vec<u8>, NdrError> {
    let authority = parse_ping(stub)?;
    // Who pings may leave the name out (MS-WCCE 3.2.1.4.2.3).
    let authority = authority.filter(|name| !name.is_empty());
    let known = authority.is_none() || rpc.is_called(authority.as_deref());
    Ok(ping_response(if known { HResult::OK } else { HResult::INVALID_ARGUMENT }))
}

/// `GetCACert`.
pub(super) fn certificate(rpc: &Rpc, stub: &[u8]) -> Result<Vec<u8>, NdrError> {
    // GETCERT_CASIGCERT, GETCERT_CACERTBYINDEX of the first, GETCERT_CAXCHGCERT, and words.
    const SIGNING: u32 = 0;
    const FIRST: u32 = 0x6374_0000;
    const EXCHANGE: u32 = 1;
    const NAME: u32 = 0x6e61_6d65;
    const SANITIZED: u32 = 0x7361_6e69;
    const TYPE: u32 = 0x7479_7065;
    const INFO: u32 = 0x696e_666f;
    let (which, authority) = parse_ca_certificate(stub)?;
    let [name, sanitized, _] = &rpc.names;
    // Who asks for the name does not know it.
    if !matches!(which, NAME | SANITIZED) && !rpc.is_called(authority.as_deref()) {
        return Ok(answer(Err(HResult::INVALID_ARGUMENT)));
    }
    Ok(answer(match which {
        SIGNING | FIRST => Ok(signing(rpc)),
        EXCHANGE => exchange(rpc),
        NAME => Ok(text(name)),
        SANITIZED => Ok(text(sanitized)),
        TYPE => Ok(kind(rpc).to_le_bytes().to_vec()),
        INFO => Ok(info(rpc)),
        _ => Err(HResult::INVALID_ARGUMENT),
    }))
}

/// `GetCAPropertyInfo`: what [`property`] answers.
pub(super) fn property_info(rpc: &Rpc, stub: &[u8]) -> Result<Vec<u8>, NdrError> {
    // Its only argument is that of a ping.
    let known = rpc.is_called(parse_ping(stub)?.as_deref());
    Ok(if known {
        property_info_response(HResult::OK, &PropertyId::ALL)
    } else {
        property_info_response(HResult::INVALID_ARGUMENT, &[])
    })
}

/// `GetCAProperty`.
pub(super) async fn property(rpc: &Rpc, peer: &Peer, stub: &[u8]) -> Result<Vec<u8>, NdrError> {
    let (authority, number, index, encoding) = parse_ca_property(stub)?;
    let known = PropertyId::of(number).filter(|property| property.codes().1.code() == encoding);
    let property = match known {
        Some(property) if rpc.is_called(authority.as_deref()) => property,
        Some(_) | None => return Ok(answer(Err(HResult::INVALID_ARGUMENT))),
    };
    let [name, sanitized, short] = &rpc.names;
    let first = |value: Result<Vec<u8>, HResult>| {
        if index == 0 || index == NEWEST { value } else { Err(HResult::PROPERTY_EMPTY) }
    };
    Ok(answer(match property {
        PropertyId::Name => Ok(text(name)),
        PropertyId::SanitizedName => Ok(text(sanitized)),
        PropertyId::SanitizedShortName => Ok(text(short)),
        // Each is one number of the same structure (MS-WCCE 3.2.1.4.3.2.10, .11, .14).
        PropertyId::Kind | PropertyId::SigningCertificateCount | PropertyId::ExchangeCertificateCount => {
            Ok(info(rpc))
        }
        PropertyId::SigningCertificate => first(Ok(signing(rpc))),
        PropertyId::Chain => first(build_certs_only(&[&signing(rpc)]).map_err(|_| HResult::FAIL)),
        PropertyId::ExchangeCertificate => first(exchange(rpc)),
        PropertyId::DnsName => Ok(text(&rpc.settings.host)),
        PropertyId::Templates => templates(rpc, peer).await,
    }))
}

fn signing(rpc: &Rpc) -> Vec<u8> {
    rpc.enrollment.authority.certificate().to_vec()
}

fn exchange(rpc: &Rpc) -> Result<Vec<u8>, HResult> {
    let certificate = rpc.enrollment.exchange.load_full();
    certificate.map(|certificate| certificate.to_vec()).ok_or(HResult::PROPERTY_EMPTY)
}

fn info(rpc: &Rpc) -> Vec<u8> {
    CaInfo { kind: kind(rpc), signing_certificates: 1, exchange_certificates: 1 }.to_octets()
}

fn kind(rpc: &Rpc) -> u32 {
    let own = Certificate::from_der(rpc.enrollment.authority.certificate());
    let root = own.is_ok_and(|own| own.tbs_certificate().subject() == own.tbs_certificate().issuer());
    if root { ENTERPRISE_ROOT } else { ENTERPRISE_SUBORDINATE }
}

/// The templates that this caller may enroll for: the name, then the identifier if there is one, a line each. It is what
/// the policy service tells, and is logged as that.
async fn templates(rpc: &Rpc, peer: &Peer) -> Result<Vec<u8>, HResult> {
    let enrollment = &rpc.enrollment;
    let mut record = Record::begin(peer.address, &rpc.settings.object.uri);
    record.operation = "get_policies";
    let lines = async {
        let seen = enrollment.store.generations().await?;
        let caller = caller(rpc, peer).await?;
        record.authenticated(&caller);
        let principal = caller.principal();
        let snapshot = enrollment.catalog.snapshot(principal, seen).await?;
        let mut lines = String::new();
        for template in snapshot.templates_for(principal) {
            if template.permission(principal).enroll {
                let oid = template.oid.as_ref().map(ToString::to_string).unwrap_or_default();
                lines.push_str(&format!("{}\n{oid}\n", template.name));
            }
        }
        Ok::<_, ServiceError>(lines)
    };
    let lines = lines.await;
    match lines {
        Ok(lines) => {
            record.end(0, "ok", None);
            Ok(text(&lines))
        }
        Err(error) => {
            refused(rpc, &record, &error).await;
            Err(HResult(error.hresult().code()))
        }
    }
}
