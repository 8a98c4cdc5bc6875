//! One message out, one typed answer back: headers, credentials, and reading what came.

use bytes::Bytes;
use muster_proto::soap::xml::Limits;
use muster_proto::soap::{
    Credentials, DateTime, Envelope, Fault, FaultKind, RequestHeader, Timestamp, UsernameToken,
};
use muster_proto::wstep::{RequestSecurityToken, RequestSecurityTokenResponse};
use muster_proto::xcep::{ClientAuthentication, GetPolicies, GetPoliciesResponse};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::failover::{Attempt, Failure};
use crate::kerberos::Kerberos;
use crate::transport::{Sent, Transport, Unknown};
use crate::{Clock, Endpoint, Random};

/// What the client can show to a service.
#[derive(Clone, Debug, Default)]
pub struct CredentialSet {
    /// User name and password.
    pub username: Option<UsernameToken>,
    /// Who the transport's TLS client certificate says that the client is (see
    /// [`ClientIdentity::name`](crate::tls::ClientIdentity::name)), if it has one.
    pub certificate: Option<String>,
    /// Kerberos tickets.
    pub kerberos: Option<Kerberos>,
}

impl CredentialSet {
    /// Whether an endpoint with this authentication can be asked.
    #[must_use]
    pub fn usable(&self, authentication: ClientAuthentication) -> bool {
        match authentication {
            ClientAuthentication::ANONYMOUS => true,
            ClientAuthentication::USERNAME_PASSWORD => self.username.is_some(),
            ClientAuthentication::CERTIFICATE => self.certificate.is_some(),
            ClientAuthentication::KERBEROS => self.kerberos.is_some(),
            _ => false,
        }
    }

    /// A name for the caller as an endpoint with this authentication sees it; empty if it sees nobody.
    #[must_use]
    pub fn caller(&self, authentication: ClientAuthentication) -> &str {
        match authentication {
            ClientAuthentication::USERNAME_PASSWORD => {
                self.username.as_ref().map_or("", |token| &token.username)
            }
            ClientAuthentication::CERTIFICATE => self.certificate.as_deref().unwrap_or_default(),
            ClientAuthentication::KERBEROS => self.kerberos.as_ref().map_or("", Kerberos::name),
            _ => "",
        }
    }

    /// How to authenticate to a policy server of which only the URL is known: as the path says that Windows' set-up
    /// writes (`…_CEP_UsernamePassword/…`), otherwise by password, certificate, Kerberos or nothing, whichever is there
    /// first.
    #[must_use]
    pub fn for_url(&self, endpoint: &Endpoint) -> ClientAuthentication {
        let path = endpoint.as_str().to_ascii_lowercase();
        if path.contains("_usernamepassword/") {
            ClientAuthentication::USERNAME_PASSWORD
        } else if path.contains("_certificate/") {
            ClientAuthentication::CERTIFICATE
        } else if path.contains("_kerberos/") {
            ClientAuthentication::KERBEROS
        } else if self.username.is_some() {
            ClientAuthentication::USERNAME_PASSWORD
        } else if self.certificate.is_some() {
            ClientAuthentication::CERTIFICATE
        } else if self.kerberos.is_some() {
            ClientAuthentication::KERBEROS
        } else {
            ClientAuthentication::ANONYMOUS
        }
    }
}

/// The kind of credential that an endpoint asks for, in a word.
#[must_use]
pub const fn authentication_name(authentication: ClientAuthentication) -> &'static str {
    match authentication {
        ClientAuthentication::ANONYMOUS => "anonymous",
        ClientAuthentication::KERBEROS => "kerberos",
        ClientAuthentication::USERNAME_PASSWORD => "password",
        ClientAuthentication::CERTIFICATE => "certificate",
        _ => "unknown",
    }
}

/// Everything that a conversation with services needs.
#[derive(Clone, Copy)]
pub struct Session<'a> {
    /// Carries the messages.
    pub transport: &'a Transport,
    /// What to show.
    pub credentials: &'a CredentialSet,
    /// The time.
    pub clock: &'a dyn Clock,
    /// Randomness for message ids and orders.
    pub random: &'a dyn Random,
}

/// What a service said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// What was asked for.
    Response(T),
    /// That it will not or cannot.
    Fault(Fault),
}

/// Why services did not do what was asked.
#[derive(Debug, Error)]
pub enum ServiceError {
    /// A service refused.
    #[error("the service refused: {}", describe(fault))]
    Refused {
        /// Which.
        endpoint: Endpoint,
        /// What it takes as evidence of who asks.
        authentication: ClientAuthentication,
        /// Its fault.
        fault: Box<Fault>,
    },
    /// Nobody could be asked.
    #[error("no endpoint could be reached")]
    Unreachable(Vec<Attempt>),
    /// Somebody may have acted, and did not say so.
    #[error("it is not known whether the request was processed")]
    OutcomeUnknown(Vec<Attempt>),
    /// There is no endpoint that may be asked.
    #[error("no endpoint fits the credentials")]
    NoEndpoint,
}

impl ServiceError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        let last =
            |attempts: &[Attempt]| attempts.last().map_or("", |attempt| attempt.failure.hint()).to_owned();
        match self {
            Self::Refused { fault, authentication, .. } => fault_hint(fault, *authentication).to_owned(),
            Self::Unreachable(attempts) => last(attempts),
            Self::OutcomeUnknown(_) => {
                "continue with --resume, which sends the very same request again, or look at the service".to_owned()
            }
            Self::NoEndpoint => {
                "give --kerberos for endpoints with Kerberos, --user for endpoints with user name and password, --client-cert and --client-key for endpoints with certificates".to_owned()
            }
        }
    }

    /// The endpoints that were asked in vain.
    #[must_use]
    pub fn attempts(&self) -> &[Attempt] {
        match self {
            Self::Unreachable(attempts) | Self::OutcomeUnknown(attempts) => attempts,
            Self::Refused { .. } | Self::NoEndpoint => &[],
        }
    }
}

/// A fault in one sentence.
#[must_use]
pub fn describe(fault: &Fault) -> String {
    let what = match &fault.kind {
        FaultKind::Enrollment(detail) => {
            let mut text = String::new();
            if let Some(code) = detail.error_code {
                text.push_str(&code.to_string());
            }
            if let Some(id) = &detail.request_id {
                let separator = if text.is_empty() { "" } else { ", " };
                text.push_str(&format!("{separator}request {}", id.as_str()));
            }
            text
        }
        FaultKind::FailedAuthentication => "authentication failed".to_owned(),
        FaultKind::InvalidSecurity => "the security header is not accepted".to_owned(),
        FaultKind::DestinationUnreachable => "the service is not at this address".to_owned(),
        FaultKind::ActionNotSupported => "the service does not know the operation".to_owned(),
        FaultKind::InternalServiceFault => "internal error of the service".to_owned(),
        FaultKind::MustUnderstand(_) | FaultKind::VersionMismatch => {
            "the service does not understand the message".to_owned()
        }
        FaultKind::Sender => "the service finds fault with the request".to_owned(),
        FaultKind::Receiver => "the service failed".to_owned(),
    };
    match (fault.reason.trim().trim_end_matches('.'), what.as_str()) {
        ("", what) => what.to_owned(),
        (reason, "") => reason.to_owned(),
        (reason, what) => format!("{reason} ({what})"),
    }
}

fn fault_hint(fault: &Fault, authentication: ClientAuthentication) -> &'static str {
    match &fault.kind {
        FaultKind::FailedAuthentication => match authentication {
            ClientAuthentication::USERNAME_PASSWORD => {
                "check user name and password; repeated failures may lock the account"
            }
            ClientAuthentication::CERTIFICATE => {
                "check the client certificate: whether this service issued it, its end, and its revocation; \
                 with a password, enroll for a new one"
            }
            _ => "check how this client signs in, and that the endpoint takes it",
        },
        FaultKind::InvalidSecurity => {
            "check the clock of this machine, and that the endpoint takes this kind of credential"
        }
        FaultKind::DestinationUnreachable => {
            "use the URL that the service itself has configured, host name included"
        }
        FaultKind::Enrollment(_) => "the code and the request number find the reason in the service's log",
        FaultKind::ActionNotSupported | FaultKind::VersionMismatch | FaultKind::MustUnderstand(_) => {
            "check that the URL is that of a policy (CEP) or enrollment (CES) service, whichever is asked"
        }
        FaultKind::Sender | FaultKind::Receiver | FaultKind::InternalServiceFault => {
            "look into the service's log for the time of the request"
        }
    }
}

/// Octets of a policy answer: some directories hold hundreds of templates of 4 KB each.
const MAX_POLICY_ANSWER: usize = 8 << 20;
/// Octets of any other answer, the size of which is that of a certificate chain.
const MAX_ANSWER: usize = 1 << 20;
/// Seconds that a message is good for; Windows writes five minutes.
const MESSAGE_LIFETIME: i64 = 300;

impl Session<'_> {
    /// Asks a policy server. The second part of the answer is the message as it came, for a cache.
    ///
    /// # Errors
    /// [`Failure`] if there is no answer.
    pub async fn get_policies(
        &self,
        endpoint: &Endpoint,
        authentication: ClientAuthentication,
        question: &GetPolicies,
    ) -> Result<(Answer<GetPoliciesResponse>, Bytes), Failure> {
        let header = self.header(endpoint, authentication, self.random.message_id());
        let message = question.to_envelope(&header);
        let body = self.post(endpoint, authentication, message, MAX_POLICY_ANSWER).await?;
        let answer = read(&body, &header.message_id, |envelope| {
            GetPoliciesResponse::parse(&envelope.body).map_err(|error| error.to_string())
        })?;
        Ok((answer, body))
    }

    /// Asks an enrollment server, with a message id that the caller keeps if it may have to repeat the message.
    ///
    /// # Errors
    /// [`Failure`] if there is no answer.
    pub async fn request_security_token(
        &self,
        endpoint: &Endpoint,
        authentication: ClientAuthentication,
        message_id: &str,
        question: &RequestSecurityToken,
    ) -> Result<Answer<RequestSecurityTokenResponse>, Failure> {
        let header = self.header(endpoint, authentication, message_id.to_owned());
        let message = question.to_envelope(&header);
        let body = self.post(endpoint, authentication, message, MAX_ANSWER).await?;
        read(&body, message_id, |envelope| {
            RequestSecurityTokenResponse::parse(&envelope.body).map_err(|error| error.to_string())
        })
    }

    fn header(
        &self,
        endpoint: &Endpoint,
        authentication: ClientAuthentication,
        message_id: String,
    ) -> RequestHeader {
        let token = self
            .credentials
            .username
            .as_ref()
            .filter(|_| authentication == ClientAuthentication::USERNAME_PASSWORD);
        let credentials = token.map(|token| {
            let now = self.clock.now();
            let expires = DateTime::from_unix(now.unix().saturating_add(MESSAGE_LIFETIME));
            let timestamp = Timestamp { created: Some(now), expires: Some(expires) };
            Credentials { token: token.clone(), timestamp }
        });
        RequestHeader { message_id, to: endpoint.as_str().to_owned(), credentials }
    }

    async fn post(
        &self,
        endpoint: &Endpoint,
        authentication: ClientAuthentication,
        message: String,
        max_answer: usize,
    ) -> Result<Bytes, Failure> {
        let kerberos =
            self.credentials.kerberos.as_ref().filter(|_| authentication == ClientAuthentication::KERBEROS);
        // It may hold a password.
        let message = Bytes::from_owner(Zeroizing::new(message.into_bytes()));
        match self.transport.post_as(kerberos, endpoint, message, max_answer).await {
            Sent::Answered { body, .. } => Ok(body),
            Sent::NotSent(error) => Err(Failure::NotSent(error)),
            Sent::TurnedAway(away) => Err(Failure::TurnedAway(away)),
            Sent::Unknown(error) => Err(Failure::Unknown(error)),
        }
    }
}

/// Reads an answer. What cannot be understood leaves open whether the service acted.
fn read<T>(
    body: &[u8],
    message_id: &str,
    response: impl FnOnce(&Envelope<'_>) -> Result<T, String>,
) -> Result<Answer<T>, Failure> {
    let nonsense = |text: String| Failure::Unknown(Unknown::Nonsense(text));
    let envelope = Envelope::parse(body, &Limits::RESPONSE).map_err(|error| nonsense(error.to_string()))?;
    if envelope.relates_to.as_deref().is_some_and(|answered| answered != message_id) {
        return Err(nonsense("it answers another message".to_owned()));
    }
    if let Some(fault) = Fault::from_body(&envelope.body) {
        return Ok(Answer::Fault(fault));
    }
    response(&envelope).map(Answer::Response).map_err(nonsense)
}
