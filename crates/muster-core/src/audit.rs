//! What is written down for every change and every refusal: who, what, which template, with which outcome.
//!
//! The store writes the record in the same transaction as the change that it describes. A record that cannot name
//! an actor is a bug: [`Actor`] has no default.

use std::fmt;
use std::net::IpAddr;

use crate::identity::{AccountName, Method};
use crate::request::{RequestId, Serial};
use crate::time::UnixTime;

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// An authenticated caller of a service.
    Caller {
        /// The account.
        account: AccountName,
        /// How it authenticated.
        method: Method,
        /// Where the connection came from.
        address: Option<IpAddr>,
    },
    /// Somebody who could not be authenticated.
    Unauthenticated {
        /// Where the connection came from.
        address: Option<IpAddr>,
    },
    /// A person at the command line of this machine, by the operating system's name for the account.
    Officer(String),
    /// The service itself.
    Service,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Caller { account, method, address: Some(address) } => {
                write!(f, "caller:{account}/{}@{address}", method.as_str())
            }
            Self::Caller { account, method, address: None } => {
                write!(f, "caller:{account}/{}", method.as_str())
            }
            Self::Unauthenticated { address: Some(address) } => write!(f, "unauthenticated@{address}"),
            Self::Unauthenticated { address: None } => f.write_str("unauthenticated"),
            Self::Officer(name) => write!(f, "officer:{name}"),
            Self::Service => f.write_str("service"),
        }
    }
}

/// What was done or tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The store was created.
    Initialize,
    /// A message came that is no operation, or none that was understood.
    Receive,
    /// A caller presented credentials that were refused.
    Authenticate,
    /// A caller asked for the enrollment policy.
    GetPolicies,
    /// A caller asked what became of a request.
    QueryTokenStatus,
    /// A caller asked for the key exchange certificate.
    KeyExchangeToken,
    /// A caller asked for a certificate.
    Submit,
    /// A serial number and the octets to be signed were committed.
    RecordIntent,
    /// A certificate was signed and committed.
    Issue,
    /// A recorded intent was given up; its serial number is revoked and never used again.
    AbandonIntent,
    /// An officer approved a pending request.
    Approve,
    /// An approved request waits for an officer again.
    Reopen,
    /// An officer denied a pending request.
    Deny,
    /// A certificate was revoked.
    Revoke,
    /// A certificate revocation list was made.
    PublishCrl,
    /// A template was added or changed.
    PutTemplate,
    /// A template was removed from the catalog.
    RemoveTemplate,
    /// An officer accepted a template of a directory in spite of its dangers.
    AcceptTemplate,
    /// An account was added or changed.
    PutAccount,
    /// An account was removed.
    RemoveAccount,
    /// A password was set.
    SetPassword,
    /// A one-time token was made.
    PutToken,
    /// A one-time token was used for an enrollment.
    UseToken,
    /// A one-time token was revoked, and the identity that it stands for.
    RevokeToken,
    /// An account was allowed to enroll for others.
    AllowAgent,
    /// An account was forbidden to enroll for others.
    ForbidAgent,
    /// An agent enrolled for another account.
    EnrollForAnother,
    /// A request was written down before it was sent to a CA that is not ours.
    RecordSubmission,
    /// What such a CA answered was written down.
    RecordAnswer,
    /// Such a CA answered with something else than was asked for: the CA, or what is between, cannot be trusted.
    DistrustAnswer,
    /// Such a CA may have a request, and nobody knows what it made of it.
    LoseSubmission,
    /// A request did not reach such a CA, and may be sent again.
    WithdrawSubmission,
}

impl Action {
    /// Every action, for readers of the log.
    pub const ALL: [Self; 32] = [
        Self::Initialize,
        Self::Receive,
        Self::Authenticate,
        Self::GetPolicies,
        Self::QueryTokenStatus,
        Self::KeyExchangeToken,
        Self::Submit,
        Self::RecordIntent,
        Self::Issue,
        Self::AbandonIntent,
        Self::Approve,
        Self::Reopen,
        Self::Deny,
        Self::Revoke,
        Self::PublishCrl,
        Self::PutTemplate,
        Self::RemoveTemplate,
        Self::AcceptTemplate,
        Self::PutAccount,
        Self::RemoveAccount,
        Self::SetPassword,
        Self::PutToken,
        Self::UseToken,
        Self::RevokeToken,
        Self::AllowAgent,
        Self::ForbidAgent,
        Self::EnrollForAnother,
        Self::RecordSubmission,
        Self::RecordAnswer,
        Self::DistrustAnswer,
        Self::LoseSubmission,
        Self::WithdrawSubmission,
    ];

    /// The word stored; never changed once released.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::Receive => "receive",
            Self::Authenticate => "authenticate",
            Self::GetPolicies => "get_policies",
            Self::QueryTokenStatus => "query_token_status",
            Self::KeyExchangeToken => "key_exchange_token",
            Self::Submit => "submit",
            Self::RecordIntent => "record_intent",
            Self::Issue => "issue",
            Self::AbandonIntent => "abandon_intent",
            Self::Approve => "approve",
            Self::Reopen => "reopen",
            Self::Deny => "deny",
            Self::Revoke => "revoke",
            Self::PublishCrl => "publish_crl",
            Self::PutTemplate => "put_template",
            Self::RemoveTemplate => "remove_template",
            Self::AcceptTemplate => "accept_template",
            Self::PutAccount => "put_account",
            Self::RemoveAccount => "remove_account",
            Self::SetPassword => "set_password",
            Self::PutToken => "put_token",
            Self::UseToken => "use_token",
            Self::RevokeToken => "revoke_token",
            Self::AllowAgent => "allow_agent",
            Self::ForbidAgent => "forbid_agent",
            Self::EnrollForAnother => "enroll_for_another",
            Self::RecordSubmission => "record_submission",
            Self::RecordAnswer => "record_answer",
            Self::DistrustAnswer => "distrust_answer",
            Self::LoseSubmission => "lose_submission",
            Self::WithdrawSubmission => "withdraw_submission",
        }
    }
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditOutcome {
    /// Done.
    Done,
    /// Waits for an officer.
    Pending,
    /// Refused, with the stable code of the reason.
    Refused(&'static str),
    /// Failed on our side, with a sentence.
    Failed(String),
}

impl fmt::Display for AuditOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Pending => f.write_str("pending"),
            Self::Refused(code) => write!(f, "refused:{code}"),
            Self::Failed(why) => write!(f, "failed:{why}"),
        }
    }
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: UnixTime,
    /// Who.
    pub actor: Actor,
    /// What.
    pub action: Action,
    /// The account, template or other thing that it was done to, where that is not in the fields below.
    pub object: Option<String>,
    /// The template's name.
    pub template: Option<String>,
    /// The request.
    pub request: Option<RequestId>,
    /// The certificate.
    pub serial: Option<Serial>,
    /// The outcome.
    pub outcome: AuditOutcome,
}

impl Event {
    /// A record of something done, about nothing in particular yet.
    #[must_use]
    pub const fn new(at: UnixTime, actor: Actor, action: Action) -> Self {
        Self {
            at,
            actor,
            action,
            object: None,
            template: None,
            request: None,
            serial: None,
            outcome: AuditOutcome::Done,
        }
    }
}
