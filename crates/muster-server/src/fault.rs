//! The one map from errors to replies: HTTP status, SOAP code, HRESULT, sentence. Exhaustive, no default arm.
//!
//! What a peer reads is a sentence of ours and a reference; what happened inside stands in the log line with the same
//! reference. A node that cannot issue answers 503 without a SOAP body: to clients that is an endpoint that does not
//! respond, so they go on to the next one, whereas a fault would end their attempt.

mod authentication;
mod call;
mod delegation;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use muster_core::Refusal;
use muster_core::request::RequestId;
use muster_proto::soap::{BadEnvelope, EnvelopeError, Fault, FaultKind, ResponseHeader};
use muster_proto::wcce::{KeyWeakness, RequestError};
use muster_proto::wstep::{CertificateEnrollmentWSDetail, Hresult, WstepError};
use muster_proto::xcep::XcepError;

use crate::http as wire;

pub use authentication::AuthError;
pub use call::CallError;
pub use delegation::DelegationError;

/// A message that HTTP alone can refuse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// Neither GET, HEAD nor POST.
    #[error("This address takes POST requests of SOAP 1.2.")]
    MethodNotAllowed,
    /// No endpoint has this path.
    #[error("There is no enrollment service at this address; check the path of the URL.")]
    NotFound,
    /// Another media type, charset or coding.
    #[error("The message must be application/soap+xml in UTF-8, neither compressed nor in parts.")]
    ContentType,
    /// Above the bound, in bytes.
    #[error("The message is larger than {} KiB.", .0 / 1024)]
    TooLarge(usize),
    /// The body took too long.
    #[error("The message did not arrive in time.")]
    TooSlow,
    /// The header `Authorization` stands in it more than once.
    #[error("The message has more than one Authorization header; send one.")]
    AuthorizationTwice,
    /// The body ended early or was malformed.
    #[error("The message did not arrive whole.")]
    BrokenBody,
}

/// Why a request in a token cannot become a submission.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestFault {
    /// It cannot be parsed, or a signature is wrong.
    #[error("The request was refused: {0}; create a new request.")]
    Malformed(#[from] RequestError),
    /// The key is weak.
    #[error("The public key was refused: {0}; create a new key.")]
    WeakKey(#[from] KeyWeakness),
    /// It carries a private key for archival.
    #[error(
        "The request carries a private key for archival, which this service does not do; enroll without archival."
    )]
    KeyArchival,
    /// It names a requester where no agent signed for the name.
    #[error(
        "The request names a requester outside the signed attributes of an enrollment agent; have an agent sign the name."
    )]
    RequesterUnsigned,
    /// Two signers name two requesters.
    #[error("The signers of the request name different requesters; create a new request.")]
    RequesterTwice,
    /// The request inside names another requester than the agent that signed it.
    #[error(
        "The request inside names another requester than the agent that signed it; create a new request."
    )]
    RequesterDiffers,
    /// It brings an attribute along that can change what another CA issues.
    #[error(
        "The request has the attribute {0}, which is not passed on to the certification authority; create a request without it."
    )]
    Attribute(String),
    /// A renewal that names a requester.
    #[error(
        "A renewal cannot be made on behalf of somebody; renew with the certificate, or have an agent enroll anew."
    )]
    RenewalOnBehalf,
}

/// Why the service cannot do its part now. Another node may.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// Too many passwords are waiting to be verified, or too many failures of one address.
    #[error("too many sign-ins at the same time")]
    Busy,
    /// Accounts, templates or revocations kept changing while the request was decided.
    #[error("something changed while the request was decided")]
    Changed,
    /// The store cannot be read or written.
    #[error("{0}")]
    Store(String),
    /// The CA key cannot be used.
    #[error("{0}")]
    Signer(String),
    /// Keytab or replay cache cannot be used.
    #[error("{0}")]
    Kerberos(String),
    /// A directory does not answer.
    #[error("{0}")]
    Directory(String),
    /// A CA that is not of this installation cannot be reached.
    #[error("{0}")]
    Ca(String),
}

/// What a CA that is not of this installation made of a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaError {
    /// It said no.
    #[error("The certification authority denied request {id}: {message}.")]
    Denied {
        /// The request.
        id: RequestId,
        /// Its reason, if it gave one with a number.
        hresult: Option<u32>,
        /// Its words.
        message: String,
        /// Its CMC full response, if it sent one.
        full_response: Option<Vec<u8>>,
    },
    /// The connection broke when the request may have arrived.
    #[error(
        "It is not known whether the certification authority got request {0}, and it is not sent twice; ask for it later, or ask your administrator."
    )]
    Unknown(RequestId),
    /// It answered with something else than was asked for.
    #[error(
        "The certification authority answered request {0} with something that was not asked for, and it is not passed on; ask your administrator."
    )]
    Untrusted(RequestId),
    /// It cannot be asked in the caller's name. The text is for the log.
    #[error(
        "The certification authority cannot be asked in your name; ask your administrator to look into the log."
    )]
    Identity(String),
}

/// Everything that can go wrong between a message and its answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// HTTP alone refuses.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// Not an envelope that we can process.
    #[error("The message was refused: {0}.")]
    Envelope(#[from] BadEnvelope),
    /// `a:To` names another address.
    #[error("The message is addressed to {0}, which is not this address; use one URL for both.")]
    Destination(String),
    /// Not an enrollment operation.
    #[error("The message was refused: {0}.")]
    Enrollment(#[from] WstepError),
    /// Not a policy operation.
    #[error("The message was refused: {0}.")]
    Policy(#[from] XcepError),
    /// The caller is not authenticated.
    #[error(transparent)]
    Authentication(#[from] AuthError),
    /// The request in the token is no good.
    #[error(transparent)]
    Request(#[from] RequestFault),
    /// Policy refused, or an officer did.
    #[error("{refusal}")]
    Refused {
        /// The request, if it has a row.
        id: Option<RequestId>,
        /// Why.
        refusal: Refusal,
        /// CMC full response with status *failed*, signed by the CA.
        full_response: Option<Vec<u8>>,
    },
    /// The arguments of a call over RPC are no good.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A query for a request that does not exist or belongs to somebody else.
    #[error("There is no request {0} for this account.")]
    NoSuchRequest(String),
    /// The request failed on our side earlier and will not be continued.
    #[error("Request {0} failed on the server; enroll again.")]
    RequestFailed(RequestId),
    /// Another CA cannot be asked in the caller's name.
    #[error(transparent)]
    Delegation(#[from] DelegationError),
    /// A CA that is not of this installation said no, or something else than was asked for.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// No CA exchange certificate could be made.
    #[error("This service has no key exchange certificate at the moment; ask again later.")]
    NoKeyExchange,
    /// The service cannot do its part.
    #[error("The service cannot issue certificates at the moment; the client should try the next server.")]
    Unavailable(#[from] Unavailable),
    /// A fault of ours. The text is for the log.
    #[error("The server failed to handle this request.")]
    Internal(String),
}

impl ServiceError {
    /// What the log line says beyond the sentence.
    #[must_use]
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::Unavailable(cause) => Some(cause.to_string()),
            Self::Internal(cause) | Self::Ca(CaError::Identity(cause)) => Some(cause.clone()),
            Self::Delegation(error) => error.detail(),
            Self::Http(_)
            | Self::Envelope(_)
            | Self::Destination(_)
            | Self::Enrollment(_)
            | Self::Policy(_)
            | Self::Authentication(_)
            | Self::Request(_)
            | Self::Call(_)
            | Self::Refused { .. }
            | Self::NoSuchRequest(_)
            | Self::RequestFailed(_)
            | Self::Ca(CaError::Denied { .. } | CaError::Unknown(_) | CaError::Untrusted(_))
            | Self::NoKeyExchange => None,
        }
    }

    /// A stable word for logs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Http(_) => "HTTP",
            Self::Envelope(_) => "XML_REFUSED",
            Self::Destination(_) => "DESTINATION",
            Self::Enrollment(_) | Self::Policy(_) => "OPERATION",
            Self::Authentication(error) => error.code(),
            Self::Request(RequestFault::Malformed(_)) => "REQUEST_MALFORMED",
            Self::Request(RequestFault::WeakKey(_)) => "KEY_WEAK",
            Self::Request(RequestFault::KeyArchival) => "KEY_ARCHIVAL",
            Self::Request(RequestFault::RequesterUnsigned) => "REQUESTER_UNSIGNED",
            Self::Request(RequestFault::RequesterTwice) => "REQUESTER_TWICE",
            Self::Request(RequestFault::RequesterDiffers) => "REQUESTER_DIFFERS",
            Self::Request(RequestFault::RenewalOnBehalf) => "RENEWAL_ON_BEHALF",
            Self::Request(RequestFault::Attribute(_)) => "REQUEST_ATTRIBUTE",
            Self::Refused { refusal, .. } => refusal.code(),
            Self::Call(_) => "RPC_ARGUMENT",
            Self::NoSuchRequest(_) => "REQUEST_UNKNOWN",
            Self::RequestFailed(_) => "REQUEST_FAILED",
            Self::Delegation(error) => error.code(),
            Self::Ca(CaError::Denied { .. }) => "CA_DENIED",
            Self::Ca(CaError::Unknown(_)) => "CA_UNKNOWN",
            Self::Ca(CaError::Untrusted(_)) => "CA_UNTRUSTED",
            Self::Ca(CaError::Identity(_)) => "CA_IDENTITY",
            Self::NoKeyExchange => "NO_KEY_EXCHANGE",
            Self::Unavailable(Unavailable::Busy | Unavailable::Changed) => "BUSY",
            Self::Unavailable(Unavailable::Store(_)) => "STORE",
            Self::Unavailable(Unavailable::Signer(_)) => "SIGNER",
            Self::Unavailable(Unavailable::Kerberos(_)) => "KERBEROS",
            Self::Unavailable(Unavailable::Directory(_)) => "DIRECTORY",
            Self::Unavailable(Unavailable::Ca(_)) => "CA_NOT_REACHED",
            Self::Internal(_) => "INTERNAL",
        }
    }

    /// The HRESULT: in the detail of a fault where MS-WSTEP has one, and over RPC, where there is nothing else. What makes
    /// clients go on to the next server is there what an authority that is down looks like.
    #[must_use]
    pub fn hresult(&self) -> Hresult {
        match self {
            Self::Request(error) => match error {
                RequestFault::Malformed(malformed) => Hresult::from_code(malformed.hresult()),
                RequestFault::WeakKey(_) => Hresult::CERTSRV_E_KEY_LENGTH,
                RequestFault::KeyArchival => Hresult::CERTSRV_E_KEY_ARCHIVAL_NOT_CONFIGURED,
                RequestFault::RequesterUnsigned => Hresult::CERTSRV_E_SIGNATURE_POLICY_REQUIRED,
                RequestFault::Attribute(_) => Hresult::E_INVALIDARG,
                RequestFault::RequesterTwice | RequestFault::RequesterDiffers => {
                    Hresult::CERTSRV_E_BAD_REQUESTSUBJECT
                }
                RequestFault::RenewalOnBehalf => Hresult::CERTSRV_E_BAD_RENEWAL_CERT_ATTRIBUTE,
            },
            Self::Refused { refusal, .. } => hresult(refusal),
            Self::Call(error) => error.hresult(),
            Self::NoSuchRequest(_) => Hresult::CERTSRV_E_PROPERTY_EMPTY,
            Self::RequestFailed(_) => Hresult::CERTSRV_E_BAD_REQUESTSTATUS,
            Self::Ca(CaError::Denied { hresult, .. }) => {
                hresult.map_or(Hresult::CERTSRV_E_ADMIN_DENIED_REQUEST, Hresult::from_code)
            }
            Self::Ca(CaError::Unknown(_) | CaError::Untrusted(_)) => Hresult::CERTSRV_E_BAD_REQUESTSTATUS,
            Self::NoKeyExchange => Hresult::E_NOTIMPL,
            Self::Authentication(_) | Self::Delegation(_) | Self::Ca(CaError::Identity(_)) => {
                Hresult::E_ACCESSDENIED
            }
            Self::Unavailable(_) => Hresult::RPC_S_SERVER_UNAVAILABLE,
            Self::Http(_)
            | Self::Envelope(_)
            | Self::Destination(_)
            | Self::Enrollment(_)
            | Self::Policy(_) => Hresult::ERROR_INVALID_DATA,
            Self::Internal(_) => Hresult::E_FAIL,
        }
    }

    /// The reply. `reference` finds the log line.
    #[must_use]
    pub fn reply(self, header: &ResponseHeader, reference: &str) -> Response<Full<Bytes>> {
        let sentence = format!("{self} (reference {reference})");
        let fault = |kind| soap_fault(header, kind, sentence.clone());
        match self {
            Self::Http(error) => {
                let status = match error {
                    HttpError::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
                    HttpError::NotFound => StatusCode::NOT_FOUND,
                    HttpError::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    HttpError::BrokenBody | HttpError::AuthorizationTwice => StatusCode::BAD_REQUEST,
                    HttpError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
                    HttpError::TooSlow => StatusCode::REQUEST_TIMEOUT,
                };
                let mut response = wire::text(status, format!("{sentence}\n"));
                let headers = response.headers_mut();
                if status == StatusCode::METHOD_NOT_ALLOWED {
                    headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
                }
                // What is left of a message that was not read must not be taken for the next one.
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
                response
            }
            Self::Envelope(bad) => {
                let Fault { kind, .. } = bad.error.to_fault();
                fault(kind)
            }
            Self::Destination(_) => fault(FaultKind::DestinationUnreachable),
            Self::Enrollment(error) => fault(error.to_fault().kind),
            Self::Policy(error) => fault(error.to_fault().kind),
            Self::Authentication(error) => match error {
                AuthError::Timestamp => fault(FaultKind::InvalidSecurity),
                AuthError::NegotiateMissing | AuthError::Ticket(_) => challenge(&sentence),
                AuthError::PasswordMissing
                | AuthError::BadCredentials
                | AuthError::Token(_)
                | AuthError::Rpc(_)
                | AuthError::CertificateMissing
                | AuthError::CertificateUnknown
                | AuthError::TicketAccount(_)
                | AuthError::CertificatePurpose
                | AuthError::CertificateNotYetValid(_)
                | AuthError::CertificateExpired(_)
                | AuthError::CertificateOnHold
                | AuthError::CertificateRevoked => fault(FaultKind::FailedAuthentication),
            },
            Self::Request(_) | Self::Call(_) | Self::NoSuchRequest(_) => {
                fault(detail(self.hresult(), true, None, None))
            }
            Self::Refused { id, ref full_response, .. } => {
                fault(detail(self.hresult(), true, id, full_response.clone()))
            }
            Self::RequestFailed(id) => fault(detail(self.hresult(), true, Some(id), None)),
            Self::Ca(CaError::Denied { id, ref full_response, .. }) => {
                fault(detail(self.hresult(), true, Some(id), full_response.clone()))
            }
            // Whether it was right or wrong is not known.
            Self::Ca(CaError::Unknown(id) | CaError::Untrusted(id)) => {
                fault(detail(self.hresult(), false, Some(id), None))
            }
            Self::Ca(CaError::Identity(_)) | Self::Delegation(_) | Self::NoKeyExchange => {
                fault(detail(self.hresult(), false, None, None))
            }
            Self::Unavailable(_) => {
                let mut response = wire::text(StatusCode::SERVICE_UNAVAILABLE, format!("{sentence}\n"));
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("30"));
                response
            }
            Self::Internal(_) => fault(FaultKind::InternalServiceFault),
        }
    }
}

/// Asks for a ticket. Never for anything else, and never with a token: one message authenticates, or does not.
fn challenge(sentence: &str) -> Response<Full<Bytes>> {
    let mut response = wire::text(StatusCode::UNAUTHORIZED, format!("{sentence}\n"));
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Negotiate"));
    response
}

/// The message that an unreadable one carried, as far as it could be read.
#[must_use]
pub fn message_id(error: &ServiceError) -> Option<&str> {
    match error {
        ServiceError::Envelope(BadEnvelope { message_id, .. }) => message_id.as_deref(),
        ServiceError::Http(_)
        | ServiceError::Destination(_)
        | ServiceError::Enrollment(_)
        | ServiceError::Policy(_)
        | ServiceError::Authentication(_)
        | ServiceError::Request(_)
        | ServiceError::Call(_)
        | ServiceError::Refused { .. }
        | ServiceError::NoSuchRequest(_)
        | ServiceError::RequestFailed(_)
        | ServiceError::Delegation(_)
        | ServiceError::Ca(_)
        | ServiceError::NoKeyExchange
        | ServiceError::Unavailable(_)
        | ServiceError::Internal(_) => None,
    }
}

/// Whether a refused envelope was refused for what its Security header says.
#[must_use]
pub const fn is_credential_error(error: &EnvelopeError) -> bool {
    matches!(error, EnvelopeError::PasswordDigest | EnvelopeError::PasswordType)
}

fn detail(
    error_code: Hresult,
    invalid_request: bool,
    id: Option<RequestId>,
    binary_response: Option<Vec<u8>>,
) -> FaultKind {
    FaultKind::Enrollment(CertificateEnrollmentWSDetail {
        binary_response,
        error_code: Some(error_code),
        invalid_request,
        request_id: id.and_then(|id| muster_proto::wstep::RequestId::from_number(id.number().into())),
    })
}

fn soap_fault(header: &ResponseHeader, kind: FaultKind, reason: String) -> Response<Full<Bytes>> {
    wire::soap(StatusCode::INTERNAL_SERVER_ERROR, Fault { kind, reason }.to_envelope(header))
}

/// The HRESULT for each refusal (MS-WCCE 2.2.4, 3.2.2.6.2.1; names in MS-ERREF 2.1).
#[must_use]
pub const fn hresult(refusal: &Refusal) -> Hresult {
    match refusal {
        Refusal::NoTemplate => Hresult::CERTSRV_E_NO_CERT_TYPE,
        Refusal::TemplateConflict => Hresult::CERTSRV_E_TEMPLATE_CONFLICT,
        Refusal::TemplateDenied | Refusal::RenewalKeyBased => Hresult::CERTSRV_E_TEMPLATE_DENIED,
        Refusal::TemplateVersion => Hresult::CERTSRV_E_BAD_TEMPLATE_VERSION,
        Refusal::KeyAlgorithm(_) | Refusal::KeyTooShort { .. } | Refusal::KeyBlocked => {
            Hresult::CERTSRV_E_KEY_LENGTH
        }
        Refusal::DnsNameMissing | Refusal::HostNameDoubtful(_) | Refusal::DomainController => {
            Hresult::CERTSRV_E_SUBJECT_DNS_REQUIRED
        }
        Refusal::EmailMissing => Hresult::CERTSRV_E_SUBJECT_EMAIL_REQUIRED,
        Refusal::UpnMissing => Hresult::CERTSRV_E_SUBJECT_UPN_REQUIRED,
        Refusal::GuidMissing => Hresult::CERTSRV_E_SUBJECT_DIRECTORY_GUID_REQUIRED,
        Refusal::SignatureRequired => Hresult::CERTSRV_E_SIGNATURE_POLICY_REQUIRED,
        Refusal::SignatureCount { .. } => Hresult::CERTSRV_E_SIGNATURE_COUNT,
        Refusal::SignatureRejected
        | Refusal::AgentUnknown
        | Refusal::AgentExpired(_)
        | Refusal::AgentRevoked
        | Refusal::AgentPurpose => Hresult::CERTSRV_E_SIGNATURE_REJECTED,
        Refusal::AgentNotCaller | Refusal::AgentLimits | Refusal::AgentTemplate => {
            Hresult::CERTSRV_E_RESTRICTEDOFFICER
        }
        Refusal::RequesterUnknown => Hresult::CERTSRV_E_ENROLL_DENIED,
        Refusal::NameNotAllowed(_)
        | Refusal::NameMissing
        | Refusal::DirectoryPathMissing
        | Refusal::SidInRequest
        | Refusal::CaRequested
        | Refusal::TokenName(_)
        | Refusal::TokenTemplate => Hresult::CERTSRV_E_BAD_REQUESTSUBJECT,
        Refusal::OnBehalfOf
        | Refusal::RenewalOnly
        | Refusal::RenewalForeign
        | Refusal::TokenForm
        | Refusal::RenewalReplaced
        | Refusal::RenewalLimit(_)
        | Refusal::RenewalAge(_) => Hresult::E_ACCESSDENIED,
        Refusal::RenewalNames(_) => Hresult::CERTSRV_E_BAD_RENEWAL_SUBJECT,
        Refusal::RenewalNewKey | Refusal::RenewalSameKey => Hresult::CERTSRV_E_RENEWAL_BAD_PUBLIC_KEY,
        Refusal::RenewalUnknown
        | Refusal::RenewalCosigned
        | Refusal::RenewalNotYetValid(_)
        | Refusal::RenewalExpired(_)
        | Refusal::RenewalOnHold
        | Refusal::RenewalRevoked
        | Refusal::RenewalTooEarly(_)
        | Refusal::RenewalTemplate
        | Refusal::RenewalSigner => Hresult::CERTSRV_E_BAD_RENEWAL_CERT_ATTRIBUTE,
        Refusal::TooManyPending(_) => Hresult::ERROR_NOT_ENOUGH_QUOTA,
        Refusal::DeniedByOfficer { .. } => Hresult::CERTSRV_E_ADMIN_DENIED_REQUEST,
        Refusal::DeniedBefore { .. } => Hresult::CERTSRV_E_BAD_REQUESTSTATUS,
        Refusal::CaExpiring(_) => Hresult::CERTSRV_E_PROPERTY_EMPTY,
    }
}
