//! The only order in which a request goes to a CA that is not ours: record, send, settle, answer. The sibling of
//! [`crate::issuance`].
//!
//! ```text
//! Forwardable ──record──▶ RecordedSubmission ──(a connector borrows it and sends)──▶ settle(Outcome) ──▶ Settled
//! policy                  on disk: submitting                                        on disk: what came
//! ```
//!
//! Every arrow consumes what is on its left, and no value on the right can be made in another way. So nothing is sent
//! that was not written down before, nothing is answered with that was not written down after, and after a crash the
//! store knows which requests the CA may have.
//!
//! Those are never sent again by themselves: a CA that got the same request twice issues two certificates. Only after
//! [`Outcome::NotSubmitted`] and [`Outcome::Denied`] may the same octets come again; after [`Outcome::Unknown`] and
//! [`Outcome::Untrusted`] somebody has to look, or ask the CA what it has.
//!
//! The compiler refuses every short cut. What policy allowed cannot be settled before it is recorded:
//!
//! ```compile_fail,E0599
//! # use muster_core::UnixTime;
//! # use muster_core::forwarding::{ForwardLedger, Forwardable, Outcome};
//! async fn hurry(forwardable: Forwardable, ledger: &impl ForwardLedger, outcome: Outcome, at: UnixTime) {
//!     let _ = forwardable.settle(ledger, outcome, at).await;
//! }
//! ```
//!
//! A recorded submission has one outcome, not two:
//!
//! ```compile_fail,E0382
//! # use muster_core::UnixTime;
//! # use muster_core::forwarding::{ForwardLedger, Outcome, RecordedSubmission};
//! async fn twice(sent: RecordedSubmission, ledger: &impl ForwardLedger, outcome: Outcome, at: UnixTime) {
//!     let _ = sent.settle(ledger, outcome.clone(), at).await;
//!     let _ = sent.settle(ledger, outcome, at).await;
//! }
//! ```
//!
//! and it cannot be copied, or made by hand, any more than the result can:
//!
//! ```compile_fail,E0277
//! # use muster_core::forwarding::RecordedSubmission;
//! fn copy(sent: &RecordedSubmission) -> RecordedSubmission {
//!     RecordedSubmission::clone(sent)
//! }
//! ```
//!
//! ```compile_fail,E0451
//! # use muster_core::RequestId;
//! # use muster_core::audit::Actor;
//! # use muster_core::forwarding::{Expected, IdentityMode, RecordedSubmission};
//! # use muster_core::identity::AccountName;
//! fn unrecorded(id: RequestId, requester: AccountName, request: Vec<u8>, expected: Expected) -> RecordedSubmission {
//!     let (actor, identity) = (Actor::Service, IdentityMode::Delegate);
//!     RecordedSubmission { id, ca: String::new(), actor, requester, identity, request, expected }
//! }
//! ```
//!
//! ```compile_fail,E0451
//! # use muster_core::RequestId;
//! # use muster_core::forwarding::{Outcome, Settled};
//! fn unsettled(id: RequestId, outcome: Outcome) -> Settled {
//!     Settled { id, outcome }
//! }
//! ```
//!
//! The right order compiles, so the examples above fail for the reason given:
//!
//! ```
//! # use muster_core::UnixTime;
//! # use muster_core::forwarding::{ForwardLedger, Forwardable, Outcome, Settled};
//! # use muster_core::issuance::{LedgerError, RequestRecord};
//! # async fn send(request: &[u8]) -> Outcome { Outcome::NotSubmitted { why: String::new() } }
//! async fn in_order(
//!     forwardable: Forwardable,
//!     ledger: &impl ForwardLedger,
//!     record: RequestRecord,
//!     at: UnixTime,
//! ) -> Result<Settled, LedgerError> {
//!     let recorded = forwardable.record(ledger, record, "Corp Issuing CA", at).await?;
//!     let outcome = send(recorded.request()).await;
//!     recorded.settle(ledger, outcome, at).await
//! }
//! ```

mod expected;

use std::fmt;
use std::future::Future;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::audit::Actor;
use crate::identity::AccountName;
use crate::issuance::{LedgerError, RequestRecord};
use crate::request::RequestId;
use crate::time::UnixTime;

pub use crate::policy::Forwardable;
pub use expected::{AccountNames, Expected, ExpectedNames, ExpectedSid, OtherName};

/// In whose name a CA that is not ours is asked. One for each endpoint; there is no default and no falling back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdentityMode {
    /// In the caller's, by delegation.
    Delegate,
    /// In the service's own, for renewals: the certificate that signs says whose the next one is (MS-WCCE
    /// 3.2.2.6.2.1.2.4).
    RenewOnBehalf,
    /// In the service's own, as a registration authority that names the requester in what it signs.
    RegistrationAuthority,
}

impl IdentityMode {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::Delegate, Self::RenewOnBehalf, Self::RegistrationAuthority];

    /// The word in the configuration, in logs and in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delegate => "delegate",
            Self::RenewOnBehalf => "renew_on_behalf",
            Self::RegistrationAuthority => "registration_authority",
        }
    }
}

impl fmt::Display for IdentityMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not an identity mode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not an identity mode: use delegate, renew_on_behalf or registration_authority")]
pub struct UnknownIdentityMode(String);

impl FromStr for IdentityMode {
    type Err = UnknownIdentityMode;

    fn from_str(text: &str) -> Result<Self, UnknownIdentityMode> {
        let found = Self::ALL.into_iter().find(|mode| mode.as_str() == text);
        found.ok_or_else(|| UnknownIdentityMode(text.chars().take(64).collect()))
    }
}

/// What is committed before anything is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubmissionRecord {
    /// The request, which is not in the table yet.
    pub request: RequestRecord,
    /// The CA that it goes to, as the configuration calls it.
    pub ca: String,
    /// In whose name.
    pub identity: IdentityMode,
    /// What the certificate must be like.
    pub expected: Expected,
    /// The present instant.
    pub at: UnixTime,
}

/// What is committed before anyone is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The request.
    pub id: RequestId,
    /// Who caused it.
    pub actor: Actor,
    /// What became of it.
    pub outcome: Outcome,
    /// The present instant.
    pub at: UnixTime,
}

/// What came of sending a request, or of asking about it later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The certificate is there, and is what was expected.
    Issued {
        /// The CA's own number of the request.
        backend_id: u32,
        /// The certificate, DER.
        certificate: Vec<u8>,
        /// The CA's CMS or CMC response; empty if it sent none.
        response: Vec<u8>,
    },
    /// The CA's officer has to decide.
    UnderSubmission {
        /// The CA's own number of the request.
        backend_id: u32,
        /// The CA's CMC response; empty if it sent none.
        response: Vec<u8>,
        /// The CA's words.
        message: String,
    },
    /// The CA said no.
    Denied {
        /// The CA's own number of the request, if it got one.
        backend_id: Option<u32>,
        /// Why, if the CA gave a reason with a number.
        hresult: Option<u32>,
        /// The CA's CMC response; empty if it sent none.
        response: Vec<u8>,
        /// The CA's words.
        message: String,
    },
    /// The CA certainly does not have it: the same octets may be sent again, by another node as well.
    NotSubmitted {
        /// A sentence for the administrator.
        why: String,
    },
    /// The CA may have it, and nobody knows what it made of it.
    Unknown {
        /// A sentence for the administrator.
        why: String,
    },
    /// The CA answered with something else than was asked for. Nothing of it is handed out.
    Untrusted {
        /// The CA's own number of the request, if it gave one.
        backend_id: Option<u32>,
        /// What is wrong with it.
        why: String,
    },
}

impl Outcome {
    /// A stable word for logs, audit records and the request's row; none where there is nothing to explain.
    #[must_use]
    pub const fn code(&self) -> Option<&'static str> {
        match self {
            Self::Issued { .. } | Self::UnderSubmission { .. } => None,
            Self::Denied { .. } => Some("CA_DENIED"),
            Self::NotSubmitted { .. } => Some("CA_NOT_REACHED"),
            Self::Unknown { .. } => Some("CA_UNKNOWN"),
            Self::Untrusted { .. } => Some("CA_UNTRUSTED"),
        }
    }

    /// Whether the same octets may be sent again. Where the CA has the request, or may have it, they may not.
    #[must_use]
    pub const fn may_be_sent_again(&self) -> bool {
        match self {
            Self::Denied { .. } | Self::NotSubmitted { .. } => true,
            Self::Issued { .. }
            | Self::UnderSubmission { .. }
            | Self::Unknown { .. }
            | Self::Untrusted { .. } => false,
        }
    }
}

/// The part of the store that forwarding needs. Implemented by `muster-store`. Each call is one durable transaction that
/// includes its audit record.
pub trait ForwardLedger: Send + Sync {
    /// Writes the request and that it is about to be sent.
    fn record_submission(
        &self,
        record: SubmissionRecord,
    ) -> impl Future<Output = Result<(), LedgerError>> + Send;

    /// Writes what came of it.
    fn settle(&self, settlement: Settlement) -> impl Future<Output = Result<(), LedgerError>> + Send;
}

impl Forwardable {
    /// Commits that the request is about to be sent to `ca`.
    ///
    /// # Errors
    /// [`LedgerError`]; nothing may be sent then. The same if `request` is not what policy has seen.
    pub async fn record(
        self,
        ledger: &impl ForwardLedger,
        request: RequestRecord,
        ca: &str,
        at: UnixTime,
    ) -> Result<RecordedSubmission, LedgerError> {
        let (octets, requester, identity, expected) = self.into_parts();
        let (id, actor) = (request.id, request.actor.clone());
        let template = request.template.as_deref();
        let same = request.requester == requester
            && request.raw == octets
            && template.is_some_and(|name| name.eq_ignore_ascii_case(&expected.template_name));
        if !same {
            return Err(LedgerError(format!("request {id} is not the one that policy has seen")));
        }
        let record =
            SubmissionRecord { request, ca: ca.to_owned(), identity, expected: expected.clone(), at };
        ledger.record_submission(record).await?;
        let ca = ca.to_owned();
        Ok(RecordedSubmission { id, ca, actor, requester, identity, request: octets, expected })
    }
}

/// What may be sent: it is on disk. A connector borrows it, sends it once, and says what came of it.
#[derive(Debug)]
#[must_use = "what is recorded has to be sent and settled"]
pub struct RecordedSubmission {
    id: RequestId,
    ca: String,
    actor: Actor,
    requester: AccountName,
    identity: IdentityMode,
    request: Vec<u8>,
    expected: Expected,
}

impl RecordedSubmission {
    /// The request's identifier here.
    #[must_use]
    pub const fn id(&self) -> RequestId {
        self.id
    }

    /// The CA that it goes to, as the configuration calls it.
    #[must_use]
    pub fn ca(&self) -> &str {
        &self.ca
    }

    /// The account that the certificate is for.
    #[must_use]
    pub const fn requester(&self) -> &AccountName {
        &self.requester
    }

    /// In whose name.
    #[must_use]
    pub const fn identity(&self) -> IdentityMode {
        self.identity
    }

    /// The request as received.
    #[must_use]
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// What the certificate must be like.
    #[must_use]
    pub const fn expected(&self) -> &Expected {
        &self.expected
    }

    /// Commits what came of it.
    ///
    /// # Errors
    /// [`LedgerError`]; what came is dropped, and recovery writes the request down as unknown unless the commit did take
    /// place.
    pub async fn settle(
        self,
        ledger: &impl ForwardLedger,
        outcome: Outcome,
        at: UnixTime,
    ) -> Result<Settled, LedgerError> {
        let Self { id, actor, .. } = self;
        ledger.settle(Settlement { id, actor, outcome: outcome.clone(), at }).await?;
        Ok(Settled { id, outcome })
    }
}

/// An outcome that is on disk and may be answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    id: RequestId,
    outcome: Outcome,
}

impl Settled {
    /// The request's identifier here.
    #[must_use]
    pub const fn id(&self) -> RequestId {
        self.id
    }

    /// What came of it.
    #[must_use]
    pub const fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// What came of it, to be handed out.
    #[must_use]
    pub fn into_outcome(self) -> Outcome {
        self.outcome
    }
}

impl Settlement {
    /// Commits what was learnt later of a request that is on disk: by asking the CA again, or by an administrator.
    ///
    /// # Errors
    /// [`LedgerError`]; the row is as it was.
    pub async fn commit(self, ledger: &impl ForwardLedger) -> Result<Settled, LedgerError> {
        let (id, outcome) = (self.id, self.outcome.clone());
        ledger.settle(self).await?;
        Ok(Settled { id, outcome })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_modes_are_written_and_read_by_their_words() {
        for mode in IdentityMode::ALL {
            assert_eq!(mode.as_str().parse(), Ok(mode));
            assert_eq!(serde_json::to_string(&mode).ok(), Some(format!("\"{mode}\"")));
        }
        for text in ["", "Delegate", "renew-on-behalf", "none"] {
            assert_eq!(text.parse::<IdentityMode>(), Err(UnknownIdentityMode(text.to_owned())));
        }
    }

    #[test]
    fn octets_that_the_ca_may_have_are_not_sent_again() {
        let (why, message, response) = (String::new, String::new, Vec::new);
        let certificate = Vec::new();
        for (outcome, again) in [
            (Outcome::Issued { backend_id: 1, certificate, response: response() }, false),
            (Outcome::UnderSubmission { backend_id: 1, response: response(), message: message() }, false),
            (
                Outcome::Denied { backend_id: None, hresult: None, response: response(), message: message() },
                true,
            ),
            (Outcome::NotSubmitted { why: why() }, true),
            (Outcome::Unknown { why: why() }, false),
            (Outcome::Untrusted { backend_id: None, why: why() }, false),
        ] {
            assert_eq!(outcome.may_be_sent_again(), again, "{outcome:?}");
        }
    }
}
