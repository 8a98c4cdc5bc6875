//! One enrollment from the finished request to the certificate, also across restarts.
//!
//! The request, its message id and the endpoints are put down in a state file before anything is sent. What happens
//! to the process, the network or the server after that, the file says what to do next:
//!
//! | Status | Known | Next |
//! |---|---|---|
//! | `prepared` | nothing was sent, or nobody knows | send the very same request |
//! | `unknown` | a server may have acted | send the very same request to the same server ([`crate::failover`]) |
//! | `pending` | the CA has the request | ask for its status |
//!
//! When the certificate is there, or the CA refused, the file goes. It holds no secret.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use muster_proto::soap::{DateTime, FaultKind};
use muster_proto::wcce::PublicKey;
use muster_proto::wstep::{
    BinarySecurityToken, Operation, Pending, RequestId, RequestSecurityToken, RequestSecurityTokenResponse,
    ValueType,
};
use muster_proto::xcep::ClientAuthentication;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::time::Instant;

use crate::answer::{self, AnswerError, IssuedCertificate};
use crate::failover::{Candidate, Failure, OnUnknown, Walk, walk};
use crate::files::{self, Access, Existing, FileError};
use crate::key::PrivateKey;
use crate::session::{Answer, ServiceError, Session};
use crate::transport::Unknown;
use crate::{Endpoint, Random};

/// An enrollment under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrollment {
    version: u32,
    /// How far it is.
    pub status: Status,
    /// Name of the template.
    pub template: String,
    /// When the request was made, `YYYY-MM-DDThh:mm:ssZ`.
    pub started: String,
    /// MessageID of the request, the same however often it is sent.
    pub message_id: String,
    /// URI of the token's type.
    token_type: TokenType,
    /// The request, base64.
    token: String,
    /// SubjectPublicKeyInfo of the key to be certified, base64.
    public_key: String,
    /// Endpoints in the order in which to ask.
    pub targets: Vec<Target>,
    /// Which of them acted or may have acted.
    pub asked: Option<usize>,
    /// The CA's number of the request.
    pub request_id: Option<String>,
    /// Where to ask for the status.
    pub reference: Option<String>,
    /// Last words of the CA.
    pub message: String,
    /// Where the results go.
    pub files: OutputFiles,
}

/// How far an enrollment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The request is made.
    Prepared,
    /// A server may have acted on it.
    Unknown,
    /// The CA has it and will decide.
    Pending,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum TokenType {
    Pkcs10,
    Pkcs7,
}

/// An endpoint to which the request may go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Its URL.
    pub url: String,
    /// How it authenticates, by the numbers of MS-XCEP.
    pub authentication: u32,
    /// Certificate of the CA behind it, base64 of DER.
    pub ca_certificate: String,
}

/// Where the results of an enrollment go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputFiles {
    /// The private key, finally.
    pub key: PathBuf,
    /// The private key until the certificate is there; none if the key is in its place already.
    pub new_key: Option<PathBuf>,
    /// The certificate.
    pub certificate: PathBuf,
    /// CA certificates from the issuer upwards.
    pub chain: Option<PathBuf>,
    /// The certificate followed by the CA certificates.
    pub full_chain: Option<PathBuf>,
}

/// What there is to know after a server was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The certificate is there.
    Issued(Box<IssuedCertificate>),
    /// Somebody has to decide first.
    Pending,
}

/// Why an enrollment does not go on.
#[derive(Debug, Error)]
pub enum EnrollmentError {
    /// A service refused, cannot be reached, or may have acted.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The answer is not believed.
    #[error("the answer cannot be trusted: {0}")]
    Answer(#[from] AnswerError),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The state file is damaged.
    #[error("{}: {what}", .file.display())]
    State {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The server gave no number to ask with.
    #[error("the server gave the request no number, so its status cannot be asked for")]
    NoRequestId,
}

impl EnrollmentError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Service(error) => error.hint(),
            Self::Answer(error) => error.hint().to_owned(),
            Self::File(error) => error.hint().to_owned(),
            Self::State { .. } => "remove the file and enroll anew".to_owned(),
            Self::NoRequestId => "ask those who run the service".to_owned(),
        }
    }

    /// Whether the request is done with: the service certainly did not, and will not, issue. Otherwise the state is to
    /// be kept, since a service that failed half-way may have issued.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Service(ServiceError::Refused { fault, .. }) => match fault.kind {
                FaultKind::Receiver | FaultKind::InternalServiceFault => false,
                FaultKind::Sender
                | FaultKind::DestinationUnreachable
                | FaultKind::ActionNotSupported
                | FaultKind::FailedAuthentication
                | FaultKind::InvalidSecurity
                | FaultKind::MustUnderstand(_)
                | FaultKind::VersionMismatch
                | FaultKind::Enrollment(_) => true,
            },
            Self::Service(ServiceError::Unreachable(_) | ServiceError::NoEndpoint) => true,
            Self::Service(ServiceError::OutcomeUnknown(_))
            | Self::Answer(_)
            | Self::File(_)
            | Self::State { .. }
            | Self::NoRequestId => false,
        }
    }
}

const VERSION: u32 = 1;
/// Octets of a state file: a request and some certificates in base64.
const MAX_FILE: u64 = 4 << 20;

impl Enrollment {
    /// A request that is to be sent to these endpoints, in this order, each with the DER certificate of its CA.
    #[must_use]
    pub fn new(
        token: &BinarySecurityToken,
        key: &PublicKey,
        template: &str,
        targets: &[(Candidate, &[u8])],
        files: OutputFiles,
        now: DateTime,
        random: &dyn Random,
    ) -> Self {
        let targets = targets.iter().map(|(candidate, ca)| Target {
            url: candidate.endpoint.as_str().to_owned(),
            authentication: candidate.authentication.0,
            ca_certificate: BASE64.encode(ca),
        });
        Self {
            version: VERSION,
            status: Status::Prepared,
            template: template.to_owned(),
            started: now.to_string(),
            message_id: random.message_id(),
            token_type: if token.value_type == ValueType::Pkcs10 {
                TokenType::Pkcs10
            } else {
                TokenType::Pkcs7
            },
            token: BASE64.encode(&token.bytes),
            public_key: BASE64.encode(key.spki_der()),
            targets: targets.collect(),
            asked: None,
            request_id: None,
            reference: None,
            message: String::new(),
            files,
        }
    }

    /// Reads a state file.
    ///
    /// # Errors
    /// [`EnrollmentError::File`] or [`EnrollmentError::State`].
    pub fn load(file: &Path) -> Result<Self, EnrollmentError> {
        let content = files::read(file, MAX_FILE)?;
        Self::parse(&content).map_err(|what| EnrollmentError::State { file: file.to_owned(), what })
    }

    /// Reads what a state file holds.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(content: &[u8]) -> Result<Self, String> {
        let read: Self = serde_json::from_slice(content).map_err(|error| error.to_string())?;
        if read.version != VERSION {
            return Err(format!("version {} is not known", read.version));
        }
        // Everything that is decoded later is decoded once now, so that damage shows here.
        read.token().ok_or("the request is damaged")?;
        read.key().ok_or("the public key is damaged")?;
        if read.targets.iter().any(|t| t.candidate().is_none() || t.ca().is_none()) {
            return Err("an endpoint is damaged".to_owned());
        }
        Ok(read)
    }

    /// Writes the state file.
    ///
    /// # Errors
    /// [`EnrollmentError::File`].
    pub fn save(&self, file: &Path, random: &dyn Random) -> Result<(), EnrollmentError> {
        let content = serde_json::to_vec_pretty(self)
            .map_err(|error| FileError::Io { file: file.to_owned(), error: error.into() })?;
        Ok(files::write(file, &content, Access::Private, Existing::Replace, random)?)
    }

    /// Sends the request: to the endpoint that may have acted already, or to one after the other.
    ///
    /// Changes the state, which is to be saved afterwards, whatever the result.
    ///
    /// # Errors
    /// [`EnrollmentError`].
    pub async fn submit(
        &mut self,
        session: Session<'_>,
        on_unknown: OnUnknown,
    ) -> Result<Progress, EnrollmentError> {
        let Some(token) = self.token() else { return Err(self.damaged()) };
        let question = RequestSecurityToken {
            preferred_language: None,
            operation: Operation::Issue { token, request_id: None },
            additional_context: Vec::new(),
        };
        let positions = self.positions(on_unknown);
        let candidates: Vec<Candidate> =
            positions.iter().filter_map(|at| self.targets.get(*at)?.candidate()).collect();
        let message_id = self.message_id.clone();
        let outcome = walk(&candidates, on_unknown, async |candidate| {
            let Candidate { endpoint, authentication, .. } = candidate;
            usable(session.request_security_token(endpoint, *authentication, &message_id, &question).await?)
        })
        .await;
        match outcome {
            Walk::Answered { index, answer, .. } => {
                self.asked = positions.get(index).copied();
                self.take(answer)
            }
            Walk::Unreachable(_) if candidates.is_empty() => Err(ServiceError::NoEndpoint.into()),
            // What may have acted before is not undone by being unreachable now.
            Walk::Unreachable(attempts) | Walk::Unknown(attempts)
                if self.status == Status::Unknown || attempts.iter().any(is_unknown) =>
            {
                self.status = Status::Unknown;
                let first = attempts.iter().position(is_unknown).and_then(|at| positions.get(at).copied());
                self.asked = self.asked.or(first);
                Err(ServiceError::OutcomeUnknown(attempts).into())
            }
            Walk::Unreachable(attempts) | Walk::Unknown(attempts) => {
                Err(ServiceError::Unreachable(attempts).into())
            }
        }
    }

    /// Targets to ask, by position.
    fn positions(&self, on_unknown: OnUnknown) -> Vec<usize> {
        let first = self.asked.filter(|_| self.status == Status::Unknown);
        let others = (0..self.targets.len()).filter(|at| Some(*at) != first);
        match (first, on_unknown) {
            (Some(first), OnUnknown::Stop) => vec![first],
            (first, _) => first.into_iter().chain(others).collect(),
        }
    }

    /// Asks once what became of a pending request, where the server said to ask or where it was sent.
    ///
    /// # Errors
    /// [`EnrollmentError`].
    pub async fn query(&mut self, session: Session<'_>) -> Result<Progress, EnrollmentError> {
        let request_id =
            self.request_id.as_deref().and_then(RequestId::new).ok_or(EnrollmentError::NoRequestId)?;
        let question = RequestSecurityToken {
            preferred_language: None,
            operation: Operation::QueryTokenStatus { request_id },
            additional_context: Vec::new(),
        };
        let Some(sent_to) = self.target().and_then(Target::candidate) else { return Err(self.damaged()) };
        let reference: Option<Endpoint> = self.reference.as_ref().and_then(|uri| uri.parse().ok());
        let mut candidates = Vec::new();
        if let Some(endpoint) = reference.filter(|endpoint| *endpoint != sent_to.endpoint) {
            candidates.push(Candidate { endpoint, ..sent_to.clone() });
        }
        candidates.push(sent_to);
        let outcome = walk(&candidates, OnUnknown::GoOn, async |candidate| {
            let Candidate { endpoint, authentication, .. } = candidate;
            let message_id = session.random.message_id();
            usable(session.request_security_token(endpoint, *authentication, &message_id, &question).await?)
        })
        .await;
        match outcome {
            Walk::Answered { answer, .. } => self.take(answer),
            Walk::Unreachable(attempts) | Walk::Unknown(attempts) => {
                Err(ServiceError::Unreachable(attempts).into())
            }
        }
    }

    /// Asks again and again until there is a decision or the time is over. That the server cannot be reached does
    /// not end it.
    ///
    /// # Errors
    /// [`EnrollmentError`], of the last question if the time is over.
    pub async fn wait(
        &mut self,
        session: Session<'_>,
        patience: Patience,
    ) -> Result<Progress, EnrollmentError> {
        let end = Instant::now() + patience.total;
        let mut pause = patience.first;
        let mut last = Ok(Progress::Pending);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return last;
            }
            tokio::time::sleep(pause.min(left)).await;
            pause = pause.saturating_mul(3).checked_div(2).unwrap_or(pause).min(patience.longest);
            last = self.query(session).await;
            match &last {
                Ok(Progress::Pending) | Err(EnrollmentError::Service(ServiceError::Unreachable(_))) => {}
                Ok(Progress::Issued(_)) | Err(_) => return last,
            }
        }
    }

    fn take(&mut self, answer: Answer<Outcome>) -> Result<Progress, EnrollmentError> {
        let candidate = self.target().and_then(Target::candidate);
        let (Some(Candidate { endpoint, authentication, .. }), Some(ca), Some(key)) =
            (candidate, self.target().and_then(Target::ca), self.key())
        else {
            return Err(self.damaged());
        };
        match answer {
            Answer::Fault(fault) => {
                Err(ServiceError::Refused { endpoint, authentication, fault: Box::new(fault) }.into())
            }
            Answer::Response(Outcome::Pending(pending)) => {
                self.status = Status::Pending;
                self.message = pending.disposition_message.text;
                self.request_id =
                    pending.request_id.map(|id| id.as_str().to_owned()).or(self.request_id.take());
                if !pending.reference_uri.is_empty() {
                    self.reference = Some(pending.reference_uri);
                }
                Ok(Progress::Pending)
            }
            Answer::Response(Outcome::Issued(issued)) => {
                // Should the answer not be believed, it can be asked for again.
                if let Some(id) = &issued.request_id {
                    self.status = Status::Pending;
                    self.request_id = Some(id.as_str().to_owned());
                }
                self.message.clone_from(&issued.disposition_message.text);
                Ok(Progress::Issued(Box::new(answer::verify(&issued, &ca, &key)?)))
            }
        }
    }

    /// The endpoint that acted or may have acted.
    #[must_use]
    pub fn target(&self) -> Option<&Target> {
        self.targets.get(self.asked?)
    }

    /// The key to be certified.
    #[must_use]
    pub fn key(&self) -> Option<PublicKey> {
        PublicKey::from_spki_der(&BASE64.decode(&self.public_key).ok()?).ok()
    }

    fn token(&self) -> Option<BinarySecurityToken> {
        let bytes = BASE64.decode(&self.token).ok()?;
        let value_type = match self.token_type {
            TokenType::Pkcs10 => ValueType::Pkcs10,
            TokenType::Pkcs7 => ValueType::Pkcs7,
        };
        (!bytes.is_empty()).then_some(BinarySecurityToken { value_type, bytes })
    }

    fn damaged(&self) -> EnrollmentError {
        EnrollmentError::State {
            file: PathBuf::from("state"),
            what: format!("{} is damaged", self.message_id),
        }
    }
}

impl Target {
    fn candidate(&self) -> Option<Candidate> {
        Some(Candidate {
            endpoint: self.url.parse().ok()?,
            authentication: ClientAuthentication(self.authentication),
            priority: None,
            renewal_only: false,
        })
    }

    fn ca(&self) -> Option<Vec<u8>> {
        BASE64.decode(&self.ca_certificate).ok()
    }
}

impl OutputFiles {
    /// Where the private key is now.
    #[must_use]
    pub fn current_key(&self) -> &Path {
        match &self.new_key {
            Some(new) if new.exists() => new,
            Some(_) | None => &self.key,
        }
    }

    /// Puts the results in their places: first the key, then certificate and chain, so that what was interrupted can
    /// be repeated.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn install(&self, issued: &IssuedCertificate, random: &dyn Random) -> Result<(), FileError> {
        if let Some(new) = &self.new_key
            && new.exists()
        {
            std::fs::rename(new, &self.key)
                .map_err(|error| FileError::Io { file: self.key.clone(), error })?;
        }
        let chain: String = issued.chain.iter().map(crate::certificate::Certificate::pem).collect();
        let certificate = issued.certificate.pem();
        let write = |file: &Path, pem: &str| {
            files::write(file, pem.as_bytes(), Access::Public, Existing::Replace, random)
        };
        if let Some(file) = &self.chain {
            write(file, &chain)?;
        }
        if let Some(file) = &self.full_chain {
            write(file, &format!("{certificate}{chain}"))?;
        }
        write(&self.certificate, &certificate)
    }

    /// Removes a key that no certificate will be for.
    pub fn discard(&self) {
        if let Some(new) = &self.new_key {
            // If it is not there, all is well.
            let _ = std::fs::remove_file(new);
        }
    }

    /// Whether this key is the one in the key file.
    #[must_use]
    pub fn holds(&self, key: &PublicKey) -> bool {
        PrivateKey::from_file(self.current_key()).is_ok_and(|found| found.public() == key)
    }
}

/// How long to ask for a pending request, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Altogether.
    pub total: Duration,
    /// Pause before the first question; each further one is half as long again.
    pub first: Duration,
    /// Longest pause.
    pub longest: Duration,
}

impl Patience {
    /// First after 2 s, then ever less often, at last once a minute.
    #[must_use]
    pub const fn new(total: Duration) -> Self {
        Self { total, first: Duration::from_secs(2), longest: Duration::from_secs(60) }
    }
}

enum Outcome {
    Issued(muster_proto::wstep::Issued),
    Pending(Pending),
}

/// An answer to another question says nothing about ours.
fn usable(answer: Answer<RequestSecurityTokenResponse>) -> Result<Answer<Outcome>, Failure> {
    match answer {
        Answer::Fault(fault) => Ok(Answer::Fault(fault)),
        Answer::Response(RequestSecurityTokenResponse::Issued(issued)) => {
            Ok(Answer::Response(Outcome::Issued(issued)))
        }
        Answer::Response(RequestSecurityTokenResponse::Pending(pending)) => {
            Ok(Answer::Response(Outcome::Pending(pending)))
        }
        Answer::Response(RequestSecurityTokenResponse::KeyExchangeToken(_)) => {
            Err(Failure::Unknown(Unknown::Nonsense("it holds a key exchange token".to_owned())))
        }
    }
}

const fn is_unknown(attempt: &crate::failover::Attempt) -> bool {
    matches!(attempt.failure, Failure::Unknown(_))
}
