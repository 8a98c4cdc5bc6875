//! The enrollment service: decodes the operation, has it done, encodes the answer (MS-WSTEP 3.1.4).

use muster_ca::Authority;
use muster_core::UnixTime;
use muster_core::request::RequestId;
use muster_proto::soap::ResponseHeader;
use muster_proto::wcce::{self, ResponseStatus};
use muster_proto::wstep::{
    DispositionMessage, Issued, Operation, Pending, RequestSecurityToken, RequestSecurityTokenResponse,
};

use crate::auth::Authenticated;
use crate::config::Endpoint;
use crate::decode;
use crate::desk::Desk;
use crate::enroll::{Enrollment, Reply};
use crate::fault::{AuthError, ServiceError, Unavailable};
use crate::forward::{Forwarded, Forwarding};
use crate::record::Record;

/// Answers one authenticated message.
///
/// # Errors
/// [`ServiceError`]; a refusal of the embedded CA carries the CMC full response with status *failed*.
pub(crate) async fn answer(
    desk: &Desk,
    endpoint: &Endpoint,
    message: &Authenticated<'_>,
    header: &ResponseHeader,
    record: &mut Record,
) -> Result<String, ServiceError> {
    let request = RequestSecurityToken::parse(message.action(), message.body())?;
    let caller = message.caller();
    let answer = match request.operation {
        // A RequestID in Issue belongs to key attestation, which is not offered; it is ignored, as the specification
        // says. AdditionalContext never decides anything.
        Operation::Issue { token, request_id: _ } => {
            record.operation = "issue";
            // Before the signatures in it are verified, which takes the most time: the writer waits for all that are
            // being verified, and commits them together. What goes to another CA is not waited for.
            let company = match desk {
                Desk::Embedded(enrollment) => Some(enrollment.store.expect_write()),
                Desk::Forwarding(_) => None,
            };
            let submission = decode::submission(&token.bytes)?;
            record.sha1 = submission.sha1_signature;
            match desk {
                Desk::Embedded(enrollment) => {
                    let reply = enrollment.submit(caller, endpoint, submission, record).await;
                    drop(company);
                    ours(reply, endpoint, enrollment)?
                }
                Desk::Forwarding(forwarding) => theirs(
                    forwarding.submit(message, endpoint, &submission, record).await?,
                    endpoint,
                    forwarding,
                )?,
            }
        }
        Operation::QueryTokenStatus { request_id } => {
            record.operation = "query_token_status";
            let number = request_id.number().and_then(|n| u32::try_from(n).ok()).and_then(RequestId::new);
            let Some(id) = number else {
                return Err(ServiceError::NoSuchRequest(request_id.as_str().to_owned()));
            };
            match desk {
                Desk::Embedded(enrollment) => {
                    ours(enrollment.status(caller, endpoint, id, record).await, endpoint, enrollment)?
                }
                Desk::Forwarding(forwarding) => {
                    theirs(forwarding.status(message, endpoint, id, record).await?, endpoint, forwarding)?
                }
            }
        }
        Operation::KeyExchangeToken => {
            record.operation = "key_exchange_token";
            if let Some(trouble) = caller.spent() {
                return Err(AuthError::Token(trouble).into());
            }
            let certificate = match desk {
                Desk::Embedded(enrollment) => enrollment.exchange.load_full().map(|der| der.to_vec()),
                Desk::Forwarding(forwarding) => Some(forwarding.exchange(message, endpoint).await?),
            };
            RequestSecurityTokenResponse::KeyExchangeToken(certificate.ok_or(ServiceError::NoKeyExchange)?)
        }
    };
    Ok(answer.to_envelope(header))
}

/// What the embedded CA did, with a CMC response that it signs.
fn ours(
    reply: Result<Reply, ServiceError>,
    endpoint: &Endpoint,
    enrollment: &Enrollment,
) -> Result<RequestSecurityTokenResponse, ServiceError> {
    let authority = &enrollment.authority;
    let reply = reply.map_err(|error| with_full_response(error, authority))?;
    encode(reply, endpoint, authority, enrollment.clock.now())
}

/// What another CA did, in its own words where it sent a CMC response.
fn theirs(
    forwarded: Forwarded,
    endpoint: &Endpoint,
    forwarding: &Forwarding,
) -> Result<RequestSecurityTokenResponse, ServiceError> {
    Ok(match forwarded {
        Forwarded::Issued { id, certificate, response } => {
            let full_response = match response.is_empty() {
                false => response,
                // Nobody but that CA could sign a CMC response; clients take the certificates alone as well.
                true => {
                    let issuers = forwarding.backend.issuers().iter().map(Vec::as_slice);
                    let certificates: Vec<&[u8]> = issuers.chain([certificate.as_slice()]).collect();
                    wcce::build_certs_only(&certificates)
                        .map_err(|error| ServiceError::Internal(format!("the certificates: {error}")))?
                }
            };
            RequestSecurityTokenResponse::Issued(Issued {
                disposition_message: DispositionMessage::english("Issued"),
                full_response,
                certificate,
                request_id: number(id),
            })
        }
        Forwarded::Pending { id, response } => RequestSecurityTokenResponse::Pending(Pending {
            disposition_message: DispositionMessage::english("Taken Under Submission"),
            full_response: response,
            reference_uri: endpoint.uri.clone(),
            request_id: number(id),
        }),
    })
}

/// Our number of a request, which is the only one that clients see.
fn number(id: RequestId) -> Option<muster_proto::wstep::RequestId> {
    muster_proto::wstep::RequestId::from_number(id.number().into())
}

fn encode(
    reply: Reply,
    endpoint: &Endpoint,
    authority: &Authority,
    now: UnixTime,
) -> Result<RequestSecurityTokenResponse, ServiceError> {
    Ok(match reply {
        Reply::Issued { id, certificate } => RequestSecurityTokenResponse::Issued(Issued {
            disposition_message: DispositionMessage::english("Issued"),
            full_response: full_response(ResponseStatus::Issued { certificate: &certificate }, authority)?,
            certificate,
            request_id: number(id),
        }),
        Reply::Pending { id } => {
            let seconds = u64::try_from(now.0).unwrap_or_default();
            let received = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            let status = ResponseStatus::Pending { request_id: id.number().into(), received };
            RequestSecurityTokenResponse::Pending(Pending {
                disposition_message: DispositionMessage::english("Taken Under Submission"),
                full_response: full_response(status, authority)?,
                reference_uri: endpoint.uri.clone(),
                request_id: number(id),
            })
        }
    })
}

pub(crate) fn full_response(
    status: ResponseStatus<'_>,
    authority: &Authority,
) -> Result<Vec<u8>, ServiceError> {
    wcce::build_response(status, &[authority.certificate()], authority.response_signer())
        .map_err(|error| Unavailable::Signer(format!("the CMC response cannot be built: {error}")).into())
}

/// Adds the signed CMC response to a refusal. If it cannot be made, the sentence is still there.
fn with_full_response(mut error: ServiceError, authority: &Authority) -> ServiceError {
    if let ServiceError::Refused { refusal, full_response, .. } = &mut error
        && full_response.is_none()
    {
        let reason = refusal.to_string();
        *full_response = self::full_response(ResponseStatus::Denied { reason: &reason }, authority).ok();
    }
    error
}
