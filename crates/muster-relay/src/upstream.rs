//! One upstream: requests, queries and its key exchange certificate, each in somebody's name.

use http::StatusCode;
use muster_adcs::{Expected, check_issuer};
use muster_client::failover::Failure;
use muster_client::session::{Answer as Said, Session};
use muster_client::tls::{self, ClientIdentity, TlsError, Trust};
use muster_client::transport::{Timeouts, Transport, Unknown};
use muster_client::{Clock, DateTime, Endpoint, Random as _, SystemRandom};
use muster_proto::wstep::{
    BinarySecurityToken, Operation, RequestId, RequestSecurityToken, RequestSecurityTokenResponse, ValueType,
};
use rustls::ClientConfig;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::answer::{Answer, Asked, Question, judge, judge_fault};
use crate::error::{Distrust, RelayError};
use crate::identity::UpstreamIdentity;

/// Which upstream, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The address of the enrollment service, exactly as it is configured there.
    pub url: Endpoint,
    /// Who may have issued the certificate of its web server.
    pub trust: Trust,
    /// The certificates of the authority behind it (DER): what it issues must be signed by one of them.
    pub issuers: Vec<Vec<u8>>,
    /// How long things may take. Waiting for one of `max_connections` takes `connect` at most.
    pub timeouts: Timeouts,
    /// Connections at once, of all identities.
    pub max_connections: usize,
}

impl Settings {
    /// An upstream with all else as usual: trust in the system's certification authorities, the client's time-outs, 64
    /// connections.
    #[must_use]
    pub fn new(url: Endpoint, issuers: Vec<Vec<u8>>) -> Self {
        Self { url, trust: Trust::default(), issuers, timeouts: Timeouts::default(), max_connections: 64 }
    }
}

/// A request for a certificate.
#[derive(Clone, Debug)]
pub struct Submission {
    /// PKCS#10, CMS or CMC, as it came.
    pub request: Vec<u8>,
    /// What the certificate must be like.
    pub expected: Expected,
}

/// The connector to one upstream.
#[derive(Debug)]
pub struct Upstream {
    settings: Settings,
    /// Without a client certificate.
    tls: ClientConfig,
    random: SystemRandom,
    connections: Semaphore,
}

impl Upstream {
    /// Reads what to trust, once and for all. Nothing is connected yet.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn new(settings: Settings) -> Result<Self, TlsError> {
        let tls = tls::client_config(&settings.trust, None)?;
        let connections = Semaphore::new(settings.max_connections.max(1));
        Ok(Self { settings, tls, random: SystemRandom::new(), connections })
    }

    /// The address.
    #[must_use]
    pub const fn url(&self) -> &Endpoint {
        &self.settings.url
    }

    /// Asks for a certificate in the name of `identity`; `now` stands in the message. The request is sent once at most,
    /// its octets as they came, and nothing of the caller's context beside them.
    ///
    /// # Errors
    /// See [`RelayError`], and above all [`RelayError::may_have_been_submitted`]. Whoever drops the future must take the
    /// request for one that may have been submitted.
    pub async fn submit(
        &self,
        identity: &UpstreamIdentity,
        submission: &Submission,
        now: DateTime,
    ) -> Result<Answer, RelayError> {
        let bytes = submission.request.clone();
        let token = BinarySecurityToken { value_type: value_type(&bytes), bytes };
        let operation = Operation::Issue { token, request_id: None };
        let said = self.ask(identity, operation, now).await?;
        self.answer(Question::Submit(&submission.expected), said)
    }

    /// Asks what became of a request.
    ///
    /// # Errors
    /// See [`RelayError`]; a query can always be repeated.
    pub async fn query(
        &self,
        identity: &UpstreamIdentity,
        request_id: u32,
        expected: &Expected,
        now: DateTime,
    ) -> Result<Answer, RelayError> {
        let id = RequestId::from_number(request_id.into());
        let id = id.ok_or(RelayError::Untrusted { request_id: None, problem: Distrust::NoNumber })?;
        let said = self.ask(identity, Operation::QueryTokenStatus { request_id: id }, now).await?;
        self.answer(Question::Query(request_id, expected), said)
    }

    /// Asks for the authority's certificate for encrypting keys to it (DER), signed by the authority.
    ///
    /// # Errors
    /// See [`RelayError`]; this can always be repeated.
    pub async fn exchange_certificate(
        &self,
        identity: &UpstreamIdentity,
        now: DateTime,
    ) -> Result<Vec<u8>, RelayError> {
        let other = RelayError::Untrusted { request_id: None, problem: Distrust::OtherQuestion };
        match self.ask(identity, Operation::KeyExchangeToken, now).await? {
            Said::Response(RequestSecurityTokenResponse::KeyExchangeToken(certificate)) => {
                match check_issuer(&certificate, &self.settings.issuers) {
                    Ok(()) => Ok(certificate),
                    Err(problem) => Err(RelayError::Untrusted {
                        request_id: None,
                        problem: Distrust::Certificate(problem),
                    }),
                }
            }
            Said::Response(
                RequestSecurityTokenResponse::Issued(_) | RequestSecurityTokenResponse::Pending(_),
            ) => Err(other),
            Said::Fault(fault) => match judge_fault(&fault, Asked::Exchange)? {
                Answer::Denied { message: why, .. } | Answer::NotTaken { message: why, .. } => {
                    Err(RelayError::Refused { why })
                }
                Answer::Issued { .. } | Answer::UnderSubmission { .. } => Err(other),
            },
        }
    }

    fn answer(
        &self,
        question: Question<'_>,
        said: Said<RequestSecurityTokenResponse>,
    ) -> Result<Answer, RelayError> {
        match said {
            Said::Response(response) => judge(question, response, &self.settings.issuers),
            Said::Fault(fault) => judge_fault(&fault, question.asked()),
        }
    }

    /// One message on a connection of its own.
    async fn ask(
        &self,
        identity: &UpstreamIdentity,
        operation: Operation,
        now: DateTime,
    ) -> Result<Said<RequestSecurityTokenResponse>, RelayError> {
        let Settings { url, timeouts, max_connections, .. } = &self.settings;
        let permit = timeout(timeouts.connect, self.connections.acquire()).await;
        let Ok(Ok(_permit)) = permit else {
            return Err(RelayError::Busy { limit: *max_connections });
        };
        let transport = self.transport(identity.certificate().await?)?;
        let (authentication, credentials) = identity.credentials();
        let clock = At(now);
        let session =
            Session { transport: &transport, credentials: &credentials, clock: &clock, random: &self.random };
        let question =
            RequestSecurityToken { preferred_language: None, operation, additional_context: Vec::new() };
        let message_id = self.random.message_id();
        let said = session.request_security_token(url, authentication, &message_id, &question).await;
        tracing::debug!(
            identity = identity.name(),
            upstream = url.as_str(),
            message_id,
            answered = said.is_ok(),
            "the upstream was asked"
        );
        said.map_err(failure)
    }

    fn transport(&self, identity: Option<ClientIdentity>) -> Result<Transport, RelayError> {
        let config = match identity {
            Some(identity) => tls::with_identity(self.tls.clone(), identity).map_err(RelayError::Identity)?,
            None => self.tls.clone(),
        };
        Ok(Transport::new(config, self.settings.timeouts))
    }
}

fn failure(failure: Failure) -> RelayError {
    match failure {
        Failure::NotSent(error) => RelayError::NotSent(error),
        Failure::Unknown(error) => RelayError::Unknown(error),
        Failure::TurnedAway(away) => match away.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => RelayError::SignIn { why: away.to_string() },
            // Whatever ended it may have come after the request was passed on. For a client, which only wants its
            // certificate, that is unlikely enough; an authority's books are to be right.
            StatusCode::INTERNAL_SERVER_ERROR => RelayError::Unknown(Unknown::NoSoap(away.status)),
            _ => RelayError::TurnedAway(away),
        },
    }
}

/// A CMS message begins with its type, a PKCS#10 request with its body.
fn value_type(request: &[u8]) -> ValueType {
    const OBJECT_IDENTIFIER: u8 = 0x06;
    const LONG: u8 = 0x80;

    // Tag, length in the short or the long form, and then the first tag inside.
    let octets_of_length = request.get(1).map_or(0, |first| if *first > LONG { first & !LONG } else { 0 });
    match request.get(2_usize.saturating_add(octets_of_length.into())) {
        Some(&OBJECT_IDENTIFIER) => ValueType::Pkcs7,
        Some(_) | None => ValueType::Pkcs10,
    }
}

/// The time of one message.
struct At(DateTime);

impl Clock for At {
    fn now(&self) -> DateTime {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_of_request_is_seen_in_its_first_octets() {
        for (request, expected) in [
            (&[0x30, 0x03, 0x06, 0x01, 0x2A][..], ValueType::Pkcs7),
            (&[0x30, 0x82, 0x01, 0x00, 0x06, 0x09], ValueType::Pkcs7),
            // Indefinite length.
            (&[0x30, 0x80, 0x06, 0x09], ValueType::Pkcs7),
            (&[0x30, 0x81, 0x90, 0x30, 0x82], ValueType::Pkcs10),
            (&[0x30, 0x82, 0x01, 0x00, 0x30, 0x82], ValueType::Pkcs10),
            (&[0x30, 0xFF], ValueType::Pkcs10),
            (&[], ValueType::Pkcs10),
        ] {
            assert_eq!(value_type(request), expected, "{request:x?}");
        }
    }
}
