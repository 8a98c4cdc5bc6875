//! The only order in which a certificate can come into being: lint, record, sign, commit, answer.
//!
//! ```text
//! Approved ──prepare──▶ Prepared ──record──▶ RecordedIntent ──sign──▶ Signed ──commit──▶ Issued
//!          build, lint           serial number             the key               certificate
//!                                and octets on disk        is used               on disk
//! ```
//!
//! Every arrow consumes what is on its left, and no value on the right can be made in another way. So nothing is
//! signed that was not written down before, nothing is answered with that was not written down after, and after a
//! crash at any point the store knows which serial numbers may have been signed. Those are revoked, never signed
//! again: a second signature could make two different certificates with one serial number.
//!
//! The compiler refuses every short cut. What was prepared cannot be signed before it is recorded:
//!
//! ```compile_fail,E0599
//! # use muster_core::issuance::{Issuer, Prepared};
//! fn hurry(prepared: Prepared, issuer: &impl Issuer) {
//!     prepared.sign(issuer);
//! }
//! ```
//!
//! A recorded intent gives one signature, not two:
//!
//! ```compile_fail,E0382
//! # use muster_core::issuance::{Issuer, RecordedIntent};
//! fn twice(intent: RecordedIntent, issuer: &impl Issuer) {
//!     let _ = intent.sign(issuer);
//!     let _ = intent.sign(issuer);
//! }
//! ```
//!
//! and it cannot be copied, or made by hand, any more than the result can:
//!
//! ```compile_fail,E0277
//! # use muster_core::issuance::RecordedIntent;
//! fn copy(intent: &RecordedIntent) -> RecordedIntent {
//!     RecordedIntent::clone(intent)
//! }
//! ```
//!
//! ```compile_fail,E0451
//! # use muster_core::issuance::Prepared;
//! # use muster_core::{Approved, Serial};
//! fn unlinted(approved: Approved, serial: Serial) -> Prepared {
//!     Prepared { approved, serial, tbs: Vec::new() }
//! }
//! ```
//!
//! ```compile_fail,E0451
//! # use muster_core::audit::Actor;
//! # use muster_core::issuance::RecordedIntent;
//! # use muster_core::{Approved, RequestId, Serial};
//! fn unrecorded(id: RequestId, approved: Approved, serial: Serial) -> RecordedIntent {
//!     RecordedIntent { id, approved, serial, tbs: Vec::new(), actor: Actor::Service }
//! }
//! ```
//!
//! ```compile_fail,E0451
//! # use muster_core::issuance::Issued;
//! # use muster_core::{RequestId, Serial};
//! fn uncommitted(id: RequestId, serial: Serial) -> Issued {
//!     Issued { id, serial, certificate: Vec::new() }
//! }
//! ```
//!
//! The right order compiles, so the examples above fail for the reason given:
//!
//! ```
//! # use muster_core::UnixTime;
//! # use muster_core::audit::Actor;
//! # use muster_core::issuance::{Issued, Issuer, Ledger, LedgerError, Opening, Prepared};
//! async fn in_order(
//!     prepared: Prepared,
//!     issuer: &impl Issuer,
//!     ledger: &impl Ledger,
//!     opening: Opening,
//!     at: UnixTime,
//! ) -> Result<Issued, LedgerError> {
//!     let intent = prepared.record(ledger, opening, Actor::Service, at).await?;
//!     match intent.sign(issuer) {
//!         Ok(signed) => signed.commit(ledger, at).await,
//!         Err((intent, error)) => {
//!             intent.abandon(ledger, error.to_string(), at).await?;
//!             Err(LedgerError("nothing was issued".to_owned()))
//!         }
//!     }
//! }
//! ```

use std::future::Future;

use crate::audit::Actor;
use crate::identity::{AccountName, Method, Sid};
use crate::policy::{Approved, CertificateContents};
use crate::request::{RequestId, Serial};
use crate::time::UnixTime;

/// The part of a CA that prepares and signs. Implemented by `muster-ca`.
pub trait Issuer: Send + Sync {
    /// Builds the to-be-signed certificate (DER) for `contents`.
    ///
    /// # Errors
    /// [`PrepareError::Build`].
    fn build(&self, contents: &CertificateContents, serial: Serial) -> Result<Vec<u8>, PrepareError>;

    /// Looks for faults in what is about to be signed.
    ///
    /// # Errors
    /// [`PrepareError::Lint`] with the first finding.
    fn lint(&self, contents: &CertificateContents, tbs: &[u8]) -> Result<(), PrepareError>;

    /// Signs `tbs` and returns the certificate (DER), whose signature it has verified.
    ///
    /// # Errors
    /// [`SignError`].
    fn sign(&self, tbs: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// The part of the store that issuance needs. Implemented by `muster-store`. Each call is one durable transaction
/// that includes its audit record.
pub trait Ledger: Send + Sync {
    /// Writes the request, if it is new, and the intent to sign.
    fn record_intent(&self, intent: Intent) -> impl Future<Output = Result<(), LedgerError>> + Send;

    /// Writes the certificate and sets the request's disposition to issued.
    fn record_issued(&self, issued: IssuedRecord) -> impl Future<Output = Result<(), LedgerError>> + Send;

    /// Gives up an intent: the serial number goes on the next revocation list, the request has failed.
    fn abandon_intent(
        &self,
        id: RequestId,
        serial: Serial,
        reason: String,
        at: UnixTime,
    ) -> impl Future<Output = Result<(), LedgerError>> + Send;
}

/// A certificate could not be prepared. Nothing was recorded and nothing signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrepareError {
    /// The contents do not fit a certificate.
    #[error("the certificate cannot be built: {0}")]
    Build(String),
    /// A lint objects.
    #[error("the certificate would be faulty: {0}")]
    Lint(String),
}

/// The key could not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the CA key cannot sign: {0}")]
pub struct SignError(pub String);

/// The store did not take what it was given; what was to be written is not known to be there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store cannot be written: {0}")]
pub struct LedgerError(pub String);

/// A request as it goes into the request table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRecord {
    /// Its identifier, reserved before.
    pub id: RequestId,
    /// When it was received.
    pub received: UnixTime,
    /// Who sent it and from where.
    pub actor: Actor,
    /// The account that it is for.
    pub requester: AccountName,
    /// Its security identifier, if a directory vouched for one.
    pub requester_sid: Option<Sid>,
    /// How the caller authenticated.
    pub method: Method,
    /// [`crate::request::RequestForm::as_str`].
    pub form: &'static str,
    /// Name of the template, as far as it could be told.
    pub template: Option<String>,
    /// Name of the endpoint that received it.
    pub endpoint: String,
    /// The request as received.
    pub raw: Vec<u8>,
    /// Serial number of the certificate that it was made with, if one of this CA: the one that a renewal renews, or the
    /// one that a first enrollment signed in with.
    pub asked_with: Option<Serial>,
}

/// Whether the intent opens a request or continues one that an officer approved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// A request that is not in the table yet.
    New(Box<RequestRecord>),
    /// A request that was pending and is approved.
    Approved(RequestId),
}

impl Opening {
    const fn id(&self) -> RequestId {
        match self {
            Self::New(record) => record.id,
            Self::Approved(id) => *id,
        }
    }
}

/// What is committed before the key is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The request.
    pub opening: Opening,
    /// Who caused it.
    pub actor: Actor,
    /// The serial number.
    pub serial: Serial,
    /// The octets about to be signed, DER.
    pub tbs: Vec<u8>,
    /// The present instant.
    pub at: UnixTime,
}

/// What is committed before anyone sees the certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedRecord {
    /// The request.
    pub id: RequestId,
    /// Who caused it.
    pub actor: Actor,
    /// The serial number.
    pub serial: Serial,
    /// The certificate, DER.
    pub certificate: Vec<u8>,
    /// The account that it was issued to.
    pub account: AccountName,
    /// Identifier of the template.
    pub template_oid: String,
    /// The subject, for people.
    pub subject: String,
    /// Begin of validity.
    pub not_before: UnixTime,
    /// End of validity.
    pub not_after: UnixTime,
    /// The present instant.
    pub at: UnixTime,
}

/// A certificate that is built and linted, not recorded.
#[derive(Debug)]
#[must_use = "a certificate that is not recorded is never issued"]
pub struct Prepared {
    approved: Approved,
    serial: Serial,
    tbs: Vec<u8>,
}

/// Builds and lints the certificate for an approved request.
///
/// # Errors
/// [`PrepareError`]; nothing has happened then.
pub fn prepare(issuer: &impl Issuer, approved: Approved, serial: Serial) -> Result<Prepared, PrepareError> {
    let tbs = issuer.build(approved.contents(), serial)?;
    issuer.lint(approved.contents(), &tbs)?;
    Ok(Prepared { approved, serial, tbs })
}

impl Prepared {
    /// Commits what is about to be signed.
    ///
    /// # Errors
    /// [`LedgerError`]; nothing was signed then, and the serial number is not used again. The same if `opening` is not
    /// the request that the serial number and the approval were made for.
    pub async fn record(
        self,
        ledger: &impl Ledger,
        opening: Opening,
        actor: Actor,
        at: UnixTime,
    ) -> Result<RecordedIntent, LedgerError> {
        let id = opening.id();
        let Self { approved, serial, tbs } = self;
        let same_requester = match &opening {
            Opening::New(request) => request.requester == *approved.requester(),
            Opening::Approved(_) => true,
        };
        if serial.request_id() != Some(id) || !same_requester {
            return Err(LedgerError(format!("what is about to be signed was not prepared for request {id}")));
        }
        let intent = Intent { opening, actor: actor.clone(), serial, tbs: tbs.clone(), at };
        ledger.record_intent(intent).await?;
        Ok(RecordedIntent { id, approved, serial, tbs, actor })
    }
}

/// What may be signed: it is on disk. Exactly one signature can be made from it.
#[derive(Debug)]
#[must_use = "what is recorded has to be signed or abandoned"]
pub struct RecordedIntent {
    id: RequestId,
    approved: Approved,
    serial: Serial,
    tbs: Vec<u8>,
    actor: Actor,
}

impl RecordedIntent {
    /// Uses the key. On failure the intent is handed back to be abandoned.
    ///
    /// # Errors
    /// The intent and [`SignError`].
    pub fn sign(self, issuer: &impl Issuer) -> Result<Signed, (Box<Self>, SignError)> {
        match issuer.sign(&self.tbs) {
            Ok(certificate) => Ok(Signed { intent: self, certificate }),
            Err(error) => Err((Box::new(self), error)),
        }
    }

    /// Gives the intent up: its serial number will be on the next revocation list.
    ///
    /// # Errors
    /// [`LedgerError`]; recovery at the next start then gives it up.
    pub async fn abandon(
        self,
        ledger: &impl Ledger,
        reason: String,
        at: UnixTime,
    ) -> Result<(), LedgerError> {
        ledger.abandon_intent(self.id, self.serial, reason, at).await
    }
}

/// A signed certificate that nobody has seen.
#[derive(Debug)]
#[must_use = "a certificate that is not committed is lost, and revoked at the next start"]
pub struct Signed {
    intent: RecordedIntent,
    certificate: Vec<u8>,
}

impl Signed {
    /// Commits the certificate.
    ///
    /// # Errors
    /// [`LedgerError`]; the certificate is dropped, and recovery at the next start revokes its serial number unless
    /// the commit did take place.
    pub async fn commit(self, ledger: &impl Ledger, at: UnixTime) -> Result<Issued, LedgerError> {
        let Self { intent: RecordedIntent { id, approved, serial, actor, .. }, certificate } = self;
        let contents = approved.contents();
        let record = IssuedRecord {
            id,
            actor,
            serial,
            certificate: certificate.clone(),
            account: approved.requester().clone(),
            template_oid: contents.template.0.to_string(),
            subject: contents.subject.to_string(),
            not_before: contents.not_before,
            not_after: contents.not_after,
            at,
        };
        ledger.record_issued(record).await?;
        Ok(Issued { id, serial, certificate })
    }
}

/// A certificate that is on disk and may be handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    id: RequestId,
    serial: Serial,
    certificate: Vec<u8>,
}

impl Issued {
    /// The request.
    #[must_use]
    pub const fn id(&self) -> RequestId {
        self.id
    }

    /// The serial number.
    #[must_use]
    pub const fn serial(&self) -> Serial {
        self.serial
    }

    /// The certificate, DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// The certificate, DER, to be handed out.
    #[must_use]
    pub fn into_certificate(self) -> Vec<u8> {
        self.certificate
    }
}
