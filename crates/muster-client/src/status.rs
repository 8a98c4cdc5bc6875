//! Asks for the status of a request of which only the number is known. What comes is shown, not installed: without the
//! policy there is no CA to check it against, and without the request no key.

use muster_proto::wstep::{Operation, RequestId, RequestSecurityToken, RequestSecurityTokenResponse};

use crate::Endpoint;
use crate::certificate::Certificate;
use crate::enrollment::EnrollmentError;
use crate::failover::{Attempt, Failure};
use crate::session::{Answer, ServiceError, Session};
use crate::transport::Unknown;

/// What a service says about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestStatus {
    /// Somebody has to decide.
    Pending {
        /// The CA's words.
        message: String,
    },
    /// There is a certificate.
    Issued {
        /// The CA's words.
        message: String,
        /// The certificate, not verified.
        certificate: Box<Certificate>,
    },
}

/// Asks one enrollment service once.
///
/// # Errors
/// [`EnrollmentError::Service`], also if the request was denied; [`EnrollmentError::NoRequestId`] if `request_id` is
/// none.
pub async fn request_status(
    session: Session<'_>,
    endpoint: &Endpoint,
    request_id: &str,
) -> Result<RequestStatus, EnrollmentError> {
    let authentication = session.credentials.for_url(endpoint);
    if !session.credentials.usable(authentication) {
        return Err(ServiceError::NoEndpoint.into());
    }
    let request_id = RequestId::new(request_id).ok_or(EnrollmentError::NoRequestId)?;
    let question = RequestSecurityToken {
        preferred_language: None,
        operation: Operation::QueryTokenStatus { request_id },
        additional_context: Vec::new(),
    };
    let unreachable = |failure| {
        let endpoint = endpoint.clone();
        EnrollmentError::from(ServiceError::Unreachable(vec![Attempt { endpoint, failure }]))
    };
    let nonsense = |what: String| unreachable(Failure::Unknown(Unknown::Nonsense(what)));
    let message_id = session.random.message_id();
    let answer = session
        .request_security_token(endpoint, authentication, &message_id, &question)
        .await
        .map_err(unreachable)?;
    match answer {
        Answer::Fault(fault) => {
            Err(ServiceError::Refused { endpoint: endpoint.clone(), authentication, fault: Box::new(fault) }
                .into())
        }
        Answer::Response(RequestSecurityTokenResponse::Pending(pending)) => {
            Ok(RequestStatus::Pending { message: pending.disposition_message.text })
        }
        Answer::Response(RequestSecurityTokenResponse::Issued(issued)) => {
            let certificate = Certificate::from_der(&issued.certificate)
                .map_err(|error| nonsense(format!("its certificate: {error}")))?;
            let message = issued.disposition_message.text;
            Ok(RequestStatus::Issued { message, certificate: Box::new(certificate) })
        }
        Answer::Response(RequestSecurityTokenResponse::KeyExchangeToken(_)) => {
            Err(nonsense("it holds a key exchange token".to_owned()))
        }
    }
}
