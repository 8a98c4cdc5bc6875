//! Calls for certificates: an authenticated caller, a request or the number of an earlier one, and what becomes of it.

use std::net::{IpAddr, SocketAddr};

use muster_core::request::RequestId;
use muster_core::{Caller, Method};
use muster_gss::{Pac, Principal};
use muster_proto::wcce::{ResponseStatus, build_certs_only};
use muster_rpc::Interface;
use muster_rpc::dcom::{
    ADD_REFERENCES, QUERY_INTERFACE, RELEASE, Version, add_references_response, parse_query_interface,
    parse_release, parse_this, query_interface_response, that,
};
use muster_rpc::ndr::{NdrError, Reader};
use muster_rpc::server::Call;
use muster_rpc::status::{FaultStatus, HResult};
use muster_rpc::wcce::{
    CERT_SERVER_REQUEST, CertReply, CertRequest, Disposition, GET_CA_CERT, GET_CA_PROPERTY,
    GET_CA_PROPERTY_INFO, PING, PING2, REQUEST, REQUEST2, attribute_lines,
};

use super::{Rpc, mapper, properties};
use crate::auth::serial_of;
use crate::config::Endpoint;
use crate::decode;
use crate::enroll::Reply;
use crate::fault::{CallError, ServiceError, Unavailable};
use crate::record::Record;
use crate::wstep::full_response;

/// Who is calling.
pub(super) struct Peer {
    /// From where.
    pub(super) address: SocketAddr,
    /// To which address of ours.
    pub(super) host: IpAddr,
    /// Whose ticket it was.
    pub(super) principal: Principal,
    /// What the directory says of them.
    pub(super) pac: Option<Pac>,
}

/// The results of a call.
pub(super) async fn answer(rpc: &Rpc, peer: &Peer, call: &Call) -> Result<Vec<u8>, FaultStatus> {
    let stub = call.stub.as_slice();
    if call.interface == Interface::CertPassage {
        return match (call.opnum, CertRequest::parse_passage(stub)) {
            (CERT_SERVER_REQUEST, Ok(request)) => {
                Ok(request_for(rpc, peer, &rpc.settings.passage, by_attributes(request)).await.to_passage())
            }
            // Attributes that do not end with NUL (MS-ICPR 3.2.4.1.1).
            (CERT_SERVER_REQUEST, Err(NdrError::Text(_))) => {
                Ok(failed(HResult::INVALID_ARGUMENT, 0, String::new()).to_passage())
            }
            (CERT_SERVER_REQUEST, Err(_)) => Err(FaultStatus::BAD_STUB_DATA),
            (_, _) => Err(FaultStatus::OP_RANGE),
        };
    }
    let version = parse_this(&mut Reader::new(stub)).map_err(|_| FaultStatus::BAD_STUB_DATA)?;
    if version.major != Version::NEWEST.major || version > Version::NEWEST {
        return Err(FaultStatus::VERSION_MISMATCH);
    }
    if !call.object.is_some_and(|object| rpc.object.has(call.interface, object)) {
        return Err(FaultStatus::INVALID_OBJECT);
    }
    let unreadable = |_: NdrError| FaultStatus::BAD_STUB_DATA;
    let endpoint = &rpc.settings.object;
    match (call.interface, call.opnum) {
        (Interface::CertRequest | Interface::CertRequest2, REQUEST) => {
            let request = by_attributes(CertRequest::parse_request(stub).map_err(unreadable)?);
            Ok(request_for(rpc, peer, endpoint, request).await.to_object())
        }
        (Interface::CertRequest2, REQUEST2) => {
            let request = CertRequest::parse_request2(stub).map_err(unreadable)?;
            Ok(request_for(rpc, peer, endpoint, request).await.to_object())
        }
        (Interface::CertRequest | Interface::CertRequest2, PING) | (Interface::CertRequest2, PING2) => {
            properties::ping(rpc, stub).map_err(unreadable)
        }
        (Interface::CertRequest | Interface::CertRequest2, GET_CA_CERT) => {
            properties::certificate(rpc, stub).map_err(unreadable)
        }
        (Interface::CertRequest2, GET_CA_PROPERTY) => {
            properties::property(rpc, peer, stub).await.map_err(unreadable)
        }
        (Interface::CertRequest2, GET_CA_PROPERTY_INFO) => {
            properties::property_info(rpc, stub).map_err(unreadable)
        }
        (Interface::RemUnknown, QUERY_INTERFACE) => {
            let (_, references, iids) = parse_query_interface(stub).map_err(unreadable)?;
            let host = peer.host;
            let found: Vec<_> =
                iids.into_iter().map(|iid| mapper::reference(rpc, host, iid, references)).collect();
            Ok(query_interface_response(&found))
        }
        // Its arguments are those of a release.
        (Interface::RemUnknown, ADD_REFERENCES) => {
            Ok(add_references_response(parse_release(stub).map_err(unreadable)?.len()))
        }
        (Interface::RemUnknown, RELEASE) => {
            parse_release(stub).map_err(unreadable)?;
            Ok(that(|writer| {
                writer.u32(HResult::OK.0);
            }))
        }
        (
            Interface::EndpointMapper
            | Interface::ObjectExporter
            | Interface::RemoteActivator
            | Interface::RemUnknown
            | Interface::CertPassage
            | Interface::CertRequest
            | Interface::CertRequest2
            | Interface::CertAdmin
            | Interface::CertAdmin2,
            _,
        ) => Err(FaultStatus::OP_RANGE),
    }
}

/// The account behind a caller's ticket, as it is now.
pub(super) async fn caller(rpc: &Rpc, peer: &Peer) -> Result<Caller, ServiceError> {
    let identities = &rpc.enrollment.identities;
    let principal = identities.of_ticket(&peer.principal, peer.pac.as_ref()).await?;
    Ok(Caller::authenticated(principal, Method::Kerberos))
}

fn failed(result: HResult, request_id: u32, message: String) -> CertReply {
    let (response, certificate) = (Vec::new(), Vec::new());
    let disposition = Disposition::Failed(result);
    CertReply { result, request_id, disposition, response, certificate, message }
}

/// Where a method has no argument for it, the serial number of a certificate is asked about in place of attributes
/// (MS-WCCE 3.2.1.4.2.1.3), and the number of the request does not count.
fn by_attributes(request: CertRequest) -> CertRequest {
    let serial = request.attributes.as_deref().map(str::trim);
    match serial.filter(|text| request.request.is_empty() && !text.is_empty() && !text.contains(':')) {
        Some(serial) => CertRequest { serial: Some(serial.to_owned()), request_id: 0, ..request },
        None => request,
    }
}

/// One request or query, with its event in the log and, if it is refused, its record in the audit log.
async fn request_for(rpc: &Rpc, peer: &Peer, endpoint: &Endpoint, mut request: CertRequest) -> CertReply {
    // Some clients say "none" so. What is shown of it later is no longer than any, and nothing but letters and digits.
    let readable = |text: String| text.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
    request.serial = request.serial.filter(|serial| !serial.is_empty()).map(readable);
    let mut record = Record::begin(peer.address, &endpoint.uri);
    let asks = request.request.is_empty();
    record.operation = if asks { "query_token_status" } else { "issue" };
    let full = request.flags.full_response;
    match decide(rpc, peer, endpoint, request, &mut record).await {
        Ok(reply) => {
            record.end(0, "ok", None);
            reply
        }
        Err(error) => {
            refused(rpc, &record, &error).await;
            let message = format!("{error} (reference {})", record.reference);
            refusal(rpc, &error, asks, full, message)
        }
    }
}

/// A refusal in the log and in the audit log.
pub(super) async fn refused(rpc: &Rpc, record: &Record, error: &ServiceError) {
    let state = &rpc.state;
    state.readiness.note(error);
    state.refusals.record(&state.store, record, error, state.clock.now()).await;
    let detail = error.detail().unwrap_or_else(|| error.to_string());
    record.end(0, error.code(), Some(&detail));
}

async fn decide(
    rpc: &Rpc,
    peer: &Peer,
    endpoint: &Endpoint,
    request: CertRequest,
    record: &mut Record,
) -> Result<CertReply, ServiceError> {
    let (enrollment, full) = (&rpc.enrollment, request.flags.full_response);
    // Before anybody is looked up: what is found then is true as long as this does not change.
    record.seen = Some(enrollment.store.generations().await?);
    let caller = caller(rpc, peer).await?;
    record.authenticated(&caller);
    if !rpc.is_called(request.authority.as_deref()) {
        return Err(CallError::OtherAuthority.into());
    }
    let most = rpc.state.settings.limits.body_bytes;
    if request.request.len() > most {
        return Err(CallError::TooLarge(most).into());
    }
    if request.request.is_empty() {
        // One of both says which request is meant (MS-WCCE 3.2.1.4.3.1.2).
        let reply = match (RequestId::new(request.request_id), request.serial) {
            (Some(id), None) => enrollment.status(&caller, endpoint, id, record).await?,
            (None, Some(serial)) => enrollment.status_by_serial(&caller, endpoint, &serial, record).await?,
            (Some(_), Some(_)) | (None, None) => return Err(CallError::NothingNamed.into()),
        };
        return match reply {
            Reply::Issued { id, certificate } if is_revoked(rpc, &certificate).await? => Ok(revoked(id)),
            reply @ (Reply::Issued { .. } | Reply::Pending { .. }) => encode(rpc, reply, full),
        };
    }
    let _company = enrollment.store.expect_write();
    let mut submission = decode::submission(&request.request)?;
    record.sha1 = submission.sha1_signature;
    let attributes = request.attributes.unwrap_or_default();
    let mut dropped = Vec::new();
    for (name, value) in attribute_lines(&attributes) {
        if name.eq_ignore_ascii_case("CertificateTemplate") {
            decode::name_template(&mut submission.template, value);
        } else {
            dropped.push(name);
        }
    }
    if !dropped.is_empty() {
        // None of them decides anything here, whoever sends it (ESC6, ESC7).
        let names: String = dropped.join(", ").chars().filter(|c| !c.is_control()).take(200).collect();
        tracing::info!(reference = record.reference, names, "attributes of a request are not used");
    }
    let reply = enrollment.submit(&caller, endpoint, submission, record).await?;
    encode(rpc, reply, full)
}

async fn is_revoked(rpc: &Rpc, certificate: &[u8]) -> Result<bool, ServiceError> {
    let Some(serial) = serial_of(certificate) else { return Ok(false) };
    let found = rpc.enrollment.store.certificate(serial).await?;
    Ok(found.is_some_and(|certificate| certificate.summary.revocation.is_some()))
}

/// That is all that is said of it (MS-WCCE 3.2.1.4.3.1.2).
fn revoked(id: RequestId) -> CertReply {
    CertReply {
        result: HResult::OK,
        disposition: Disposition::Revoked,
        ..failed(HResult::OK, id.number(), "Revoked".to_owned())
    }
}

fn encode(rpc: &Rpc, reply: Reply, full: bool) -> Result<CertReply, ServiceError> {
    let authority = &rpc.enrollment.authority;
    let seconds = u64::try_from(rpc.state.clock.now().0).unwrap_or_default();
    let received = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    let unbuilt = |error| Unavailable::Signer(format!("the response cannot be built: {error}"));
    Ok(match reply {
        Reply::Issued { id, certificate } => CertReply {
            result: HResult::OK,
            request_id: id.number(),
            disposition: Disposition::Issued,
            response: if full {
                full_response(ResponseStatus::Issued { certificate: &certificate }, authority)?
            } else {
                build_certs_only(&[&certificate, authority.certificate()]).map_err(unbuilt)?
            },
            certificate,
            message: "Issued".to_owned(),
        },
        Reply::Pending { id } => {
            let status = ResponseStatus::Pending { request_id: id.number().into(), received };
            CertReply {
                result: HResult::OK,
                request_id: id.number(),
                disposition: Disposition::Pending,
                response: if full { full_response(status, authority)? } else { Vec::new() },
                certificate: Vec::new(),
                message: "Taken Under Submission".to_owned(),
            }
        }
    })
}

/// What a caller is told who does not get a certificate. What policy or the request itself is the reason for is a
/// disposition of a call that succeeded; all else is a call that failed.
fn refusal(rpc: &Rpc, error: &ServiceError, asks: bool, full: bool, message: String) -> CertReply {
    let result = HResult(error.hresult().code());
    let (decided, id) = match error {
        ServiceError::Refused { id, .. } => (true, *id),
        ServiceError::Request(_) => (true, None),
        ServiceError::RequestFailed(id) => (false, Some(*id)),
        ServiceError::Http(_)
        | ServiceError::Envelope(_)
        | ServiceError::Destination(_)
        | ServiceError::Enrollment(_)
        | ServiceError::Policy(_)
        | ServiceError::Authentication(_)
        | ServiceError::Delegation(_)
        // Of other CAs, which are not asked over RPC.
        | ServiceError::Ca(_)
        | ServiceError::Call(_)
        | ServiceError::NoSuchRequest(_)
        | ServiceError::NoKeyExchange
        | ServiceError::Unavailable(_)
        | ServiceError::Internal(_) => (false, None),
    };
    let denied = ResponseStatus::Denied { reason: &message };
    let response = if full && decided {
        full_response(denied, &rpc.enrollment.authority).unwrap_or_default()
    } else {
        Vec::new()
    };
    let request_id = id.map_or(0, RequestId::number);
    let reply = CertReply { response, ..failed(result, request_id, message) };
    match (decided, asks) {
        (true, false) => CertReply { result: HResult::OK, ..reply },
        // Of an earlier request the method itself says why it was denied (MS-WCCE 3.2.1.4.3.1.2).
        (true, true) => CertReply { disposition: Disposition::Denied, ..reply },
        (false, _) => reply,
    }
}
