//! What can go wrong between us and an upstream, and whether it may hold a request nevertheless.

use muster_adcs::Problem;
use muster_client::tls::TlsError;
use muster_client::transport::{NotSent, TurnedAway, Unknown};
use muster_proto::wcce::ResponseError;
use thiserror::Error;

/// A message that was not answered, or whose answer cannot be used.
#[derive(Debug, Error)]
pub enum RelayError {
    /// The certificate to sign in with cannot be read, or does not fit its key.
    #[error("{0}")]
    Identity(TlsError),
    /// All connections are in use.
    #[error("{limit} connections to the upstream are in use, and none came free in time")]
    Busy {
        /// The limit.
        limit: usize,
    },
    /// This process is about to end.
    #[error("stopped: {0}")]
    Stopped(String),
    /// Nothing reached the upstream.
    #[error("{0}")]
    NotSent(NotSent),
    /// The upstream's web server did not let the message pass: a redirect, which is not followed, a wrong path, a server
    /// that is under maintenance.
    #[error("{0}")]
    TurnedAway(TurnedAway),
    /// The upstream does not accept who asks.
    #[error("the upstream refuses the sign-in: {why}")]
    SignIn {
        /// Its words.
        why: String,
    },
    /// The upstream refused the message, before it came to what is in it.
    #[error("the upstream refuses the message: {why}")]
    Refused {
        /// Its words.
        why: String,
    },
    /// The upstream has no connection to its authority.
    #[error("the upstream cannot reach its authority: {why}")]
    NoAuthority {
        /// Its words.
        why: String,
    },
    /// The message was sent, and no answer came that can be used.
    #[error("what became of the message is unknown: {0}")]
    Unknown(Unknown),
    /// The upstream failed, and does not say whether it acted before.
    #[error("the upstream failed, and what became of the message is unknown: {why}")]
    Failed {
        /// Its words.
        why: String,
    },
    /// The upstream answered with something that is not what was asked for.
    #[error("the upstream answered with something else than was asked for: {problem}")]
    Untrusted {
        /// The upstream's number of the request, if it gave a usable one.
        request_id: Option<u32>,
        /// What is wrong.
        problem: Distrust,
    },
}

impl RelayError {
    /// Whether the upstream may hold the request, or has even issued. Such a request must not be sent again, to this
    /// upstream or another, before somebody has looked.
    #[must_use]
    pub const fn may_have_been_submitted(&self) -> bool {
        match self {
            Self::Unknown(_) | Self::Failed { .. } | Self::Untrusted { .. } => true,
            Self::Identity(_)
            | Self::Busy { .. }
            | Self::Stopped(_)
            | Self::NotSent(_)
            | Self::TurnedAway(_)
            | Self::SignIn { .. }
            | Self::Refused { .. }
            | Self::NoAuthority { .. } => false,
        }
    }
}

/// Why an answer is not believed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Distrust {
    /// The certificate is not the one that was asked for.
    #[error(transparent)]
    Certificate(Problem),
    /// The CMC response cannot be read, or is not signed by the authority.
    #[error("the CMC response: {0}")]
    Response(ResponseError),
    /// The CMC response has another certificate than the one beside it, or none: clients differ in which they install.
    #[error("the certificate is not the one in the CMC response")]
    TwoCertificates,
    /// The request has no number, so nobody could ask for it or find it.
    #[error("the request has no usable number")]
    NoNumber,
    /// A question about one request, and an answer about another.
    #[error("the answer is about request {found}, not {asked}")]
    OtherRequest {
        /// The number in the answer.
        found: u32,
        /// The number that was asked for.
        asked: u32,
    },
    /// A certificate, or its absence, where something else was asked for.
    #[error("the answer is to another question")]
    OtherQuestion,
}
