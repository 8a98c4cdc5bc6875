//! Which endpoint comes next, and when it may be asked.
//!
//! Order (MS-XCEP 3.1.4.1.3.6, and what Windows does): by priority, a missing priority last; among equal priorities
//! Kerberos, then anonymous, then the rest; what is equal then is shuffled, so that many clients spread over many
//! servers. Endpoints for which there is no credential, and endpoints for renewals only when something else is
//! asked, are left out.
//!
//! # When to go on to the next
//!
//! Windows goes on whenever a server does not respond. That may issue two certificates: a server that was cut off
//! or slow can have acted. So the rule here depends on what is asked and on what is known (see [`crate::transport`]):
//!
//! | Outcome | Asking again does no harm (policy, status) | Issue |
//! |---|---|---|
//! | not sent, turned away | next | next |
//! | unknown | next | **stop**, [`Walk::Unknown`]; next only by [`OnUnknown::GoOn`] |
//! | answer or fault | stop | stop |
//!
//! After an unknown outcome of Issue the caller keeps the very message, and may send *that* again later, to the same
//! endpoint or to another of the same CA: same MessageID, same body. A server that treats a repeated MessageID, or a
//! repeated request of one caller, as one request answers with the first outcome (Muster does for 24 hours).
//! Microsoft's does not and would issue a second certificate for the same key. Which kind a server is cannot be
//! seen from outside, so the client never does this of its own accord; a person or a script that prefers a possible
//! duplicate over no certificate says so. The loss of endpoints is survived all the same, because an endpoint that
//! is down, unreachable, without TLS, or behind a web server that turns requests away is certain not to have acted.

use std::cmp::Reverse;

use http::StatusCode;
use muster_proto::xcep::ClientAuthentication;
use thiserror::Error;

use crate::transport::{NotSent, TurnedAway, Unknown};
use crate::{Endpoint, Random};

/// An endpoint that may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its URL.
    pub endpoint: Endpoint,
    /// How it authenticates its callers.
    pub authentication: ClientAuthentication,
    /// Lower is preferred; none is last.
    pub priority: Option<u32>,
    /// Takes renewals only.
    pub renewal_only: bool,
}

/// Chooses the usable candidates and puts them in the order in which to ask.
pub fn order(
    candidates: impl IntoIterator<Item = Candidate>,
    usable: impl Fn(ClientAuthentication) -> bool,
    renewing: bool,
    random: &dyn Random,
) -> Vec<Candidate> {
    let mut chosen: Vec<Candidate> = candidates
        .into_iter()
        .filter(|c| renewing || !(c.renewal_only || c.authentication == ClientAuthentication::ANONYMOUS))
        .filter(|c| usable(c.authentication))
        .collect();
    shuffle(&mut chosen, random);
    // A stable sort keeps the shuffled order among equals.
    chosen.sort_by_key(|c| (c.priority.is_none(), c.priority, Reverse(preference(c.authentication))));
    chosen
}

/// Fisher and Yates.
fn shuffle<T>(items: &mut [T], random: &dyn Random) {
    for last in (1..items.len()).rev() {
        items.swap(last, random.below(last.saturating_add(1)));
    }
}

const fn preference(authentication: ClientAuthentication) -> u8 {
    match authentication {
        ClientAuthentication::KERBEROS => 2,
        ClientAuthentication::ANONYMOUS => 1,
        _ => 0,
    }
}

/// What to do when it is not known whether a server acted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUnknown {
    /// Stop: asking again could do something twice.
    Stop,
    /// Go on to the next endpoint: asking again does no harm, or is wanted all the same.
    GoOn,
}

/// What came of asking one endpoint after the other.
#[derive(Debug)]
#[must_use]
pub enum Walk<T> {
    /// A service answered.
    Answered {
        /// Position of the endpoint in the list.
        index: usize,
        /// Its answer or fault.
        answer: T,
        /// What the endpoints before it said.
        attempts: Vec<Attempt>,
    },
    /// No endpoint was reached; certainly none acted. Empty if there was none to ask.
    Unreachable(Vec<Attempt>),
    /// At least one endpoint may have acted.
    Unknown(Vec<Attempt>),
}

/// An endpoint that was asked without an answer.
#[derive(Debug, Error)]
#[error("{endpoint}: {failure}")]
pub struct Attempt {
    /// Which.
    pub endpoint: Endpoint,
    /// Why there is no answer.
    pub failure: Failure,
}

/// Why there is no answer from an endpoint.
#[derive(Debug, Error)]
pub enum Failure {
    /// Nothing was sent.
    #[error(transparent)]
    NotSent(NotSent),
    /// An HTTP answer that says that nothing was done.
    #[error("{0}")]
    TurnedAway(TurnedAway),
    /// It may have acted.
    #[error(transparent)]
    Unknown(Unknown),
}

impl Failure {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        let status = match self {
            Self::NotSent(error) => return error.hint(),
            Self::Unknown(_) => return "the service may have acted; look there before you ask again",
            Self::TurnedAway(away) => away.status,
        };
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                "the endpoint does not take this sign-in, or wants another kind; see what it says, and use the URL that fits what you have"
            }
            StatusCode::NOT_FOUND => "check the path of the URL",
            _ if status.is_redirection() => {
                "redirects are not followed; use the URL that it redirects to if you trust it"
            }
            _ => "try again later, or have the service looked at",
        }
    }
}

/// Asks one endpoint after the other by `send`.
pub async fn walk<T>(
    candidates: &[Candidate],
    on_unknown: OnUnknown,
    mut send: impl AsyncFnMut(&Candidate) -> Result<T, Failure>,
) -> Walk<T> {
    let mut attempts = Vec::new();
    let mut may_have_acted = false;
    for (index, candidate) in candidates.iter().enumerate() {
        let failure = match send(candidate).await {
            Ok(answer) => return Walk::Answered { index, answer, attempts },
            Err(failure) => failure,
        };
        let unknown = matches!(failure, Failure::Unknown(_));
        tracing::debug!(endpoint.url = %candidate.endpoint, %failure, "no answer from endpoint");
        attempts.push(Attempt { endpoint: candidate.endpoint.clone(), failure });
        may_have_acted |= unknown;
        if unknown && on_unknown == OnUnknown::Stop {
            break;
        }
    }
    if may_have_acted { Walk::Unknown(attempts) } else { Walk::Unreachable(attempts) }
}

#[cfg(test)]
mod tests;
