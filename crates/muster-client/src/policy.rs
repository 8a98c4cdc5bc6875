//! The enrollment policy: which templates the caller may use, and which servers issue for them.
//!
//! A policy is kept on disk until the server's next update. Asked again after that, the client says when it asked
//! last, and the server may answer "not changed". Should no server answer then, the old policy still does: that the
//! policy servers are down is no reason not to renew.

use muster_proto::soap::DateTime;
use muster_proto::xcep::{CertificateEnrollmentPolicy, Client, GetPolicies, GetPoliciesResponse};

pub use cache::{Cache, CacheKey, Entry};
pub use template::{Template, TemplateError};

use crate::Endpoint;
use crate::failover::{Candidate, OnUnknown, Walk, order, walk};
use crate::session::{Answer, ServiceError, Session};

mod cache;
mod template;

/// A policy and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The policy server.
    pub source: Endpoint,
    /// Its answer.
    pub answer: GetPoliciesResponse,
    /// When the answer was asked for.
    pub last_update: DateTime,
    /// When to ask again.
    pub next_update: DateTime,
    /// Whether a server was asked.
    pub freshness: Freshness,
}

/// How new a policy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// A server answered just now.
    Fetched,
    /// A server said just now that it has not changed.
    NotChanged,
    /// From the cache, before its next update.
    Cached,
    /// From the cache, past its next update, since no server answered.
    Stale,
}

impl Freshness {
    /// For output that programs read.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fetched => "fetched",
            Self::NotChanged => "not_changed",
            Self::Cached => "cached",
            Self::Stale => "stale",
        }
    }
}

/// Windows' default where a server does not say.
const DEFAULT_UPDATE_HOURS: u32 = 8;
/// Longest time between updates, one week: more is taken for a mistake.
const MAX_UPDATE_HOURS: u32 = 168;
/// Seconds that clocks of client and server may differ. The client's own clock is what `lastUpdate` is taken from;
/// if it is ahead, a change at the server in between would never be noticed.
const CLOCK_SKEW: i64 = 300;

/// Gets the policy that one of the servers publishes. They are equals.
///
/// A cached policy that is not due is used without asking, unless `refresh`.
///
/// # Errors
/// [`ServiceError`] if a server refuses, or none answers and no policy is kept.
pub async fn fetch(
    session: Session<'_>,
    servers: &[Endpoint],
    cache: Option<&Cache>,
    refresh: bool,
) -> Result<Policy, ServiceError> {
    let candidate = |endpoint: &Endpoint| Candidate {
        endpoint: endpoint.clone(),
        authentication: session.credentials.for_url(endpoint),
        priority: None,
        renewal_only: false,
    };
    fetch_from(session, servers.iter().map(candidate), cache, refresh).await
}

/// The same from servers whose authentication and preference are known, as group policy tells them.
///
/// # Errors
/// As [`fetch`].
pub async fn fetch_from(
    session: Session<'_>,
    servers: impl IntoIterator<Item = Candidate>,
    cache: Option<&Cache>,
    refresh: bool,
) -> Result<Policy, ServiceError> {
    let now = session.clock.now();
    // Policy servers may well be asked without credentials.
    let mut candidates = order(servers, |a| session.credentials.usable(a), true, session.random);
    if candidates.is_empty() {
        return Err(ServiceError::NoEndpoint);
    }
    let load = |candidate: &Candidate| cache?.load(key(session, candidate));
    // First the server whose policy is good for longest.
    candidates.sort_by_cached_key(|c| std::cmp::Reverse(load(c).map(|entry| entry.next_update)));
    let best = candidates.first().and_then(|c| Some((c.endpoint.clone(), load(c)?)));
    if let Some((source, entry)) = &best
        && !refresh
        && now < entry.next_update
        && entry.last_update <= now
    {
        return Ok(Policy::new(source, entry.clone(), Freshness::Cached));
    }

    let ask = async |candidate: &Candidate| {
        let kept = if refresh { None } else { load(candidate) };
        let last_update = kept.as_ref().map(|entry| minus(entry.last_update, CLOCK_SKEW));
        let (answer, message) = get(session, candidate, last_update).await?;
        let Answer::Response(response) = answer else { return Ok((answer, message, None)) };
        if response.response.policies_not_changed != Some(true) {
            return Ok((Answer::Response(response), message, None));
        }
        match kept {
            Some(entry) if entry.answer.response.policy_id == response.response.policy_id => {
                Ok((Answer::Response(response), message, Some(entry)))
            }
            // Not changed, but from what? Ask for everything.
            _ => {
                let (answer, message) = get(session, candidate, None).await?;
                Ok((answer, message, None))
            }
        }
    };
    let (index, (answer, message, kept)) = match walk(&candidates, OnUnknown::GoOn, ask).await {
        Walk::Answered { index, answer, .. } => (index, answer),
        Walk::Unreachable(attempts) | Walk::Unknown(attempts) => match best {
            Some((source, entry)) if !refresh => return Ok(Policy::new(&source, entry, Freshness::Stale)),
            Some(_) | None => return Err(ServiceError::Unreachable(attempts)),
        },
    };
    let Some(candidate) = candidates.get(index) else { return Err(ServiceError::NoEndpoint) };
    let response = match answer {
        Answer::Response(response) => response,
        Answer::Fault(fault) => {
            let Candidate { endpoint, authentication, .. } = candidate.clone();
            return Err(ServiceError::Refused { endpoint, authentication, fault: Box::new(fault) });
        }
    };
    let hours =
        response.response.next_update_hours.unwrap_or(DEFAULT_UPDATE_HOURS).clamp(1, MAX_UPDATE_HOURS);
    let next_update = minus(now, -3600 * i64::from(hours));
    let (entry, freshness) = match kept {
        Some(entry) => (Entry { last_update: now, next_update, ..entry }, Freshness::NotChanged),
        None => (Entry { answer: response, message, last_update: now, next_update }, Freshness::Fetched),
    };
    if let Some(cache) = cache
        && let Err(error) = cache.store(key(session, candidate), &entry, session.random)
    {
        tracing::warn!(%error, "the policy cannot be kept");
    }
    Ok(Policy::new(&candidate.endpoint, entry, freshness))
}

async fn get(
    session: Session<'_>,
    candidate: &Candidate,
    last_update: Option<DateTime>,
) -> Result<(Answer<GetPoliciesResponse>, String), crate::failover::Failure> {
    // No filter at all: real servers take a filter without versions for one that hides most templates.
    let client = Client { last_update: Some(last_update.unwrap_or(DateTime::MIN)), preferred_language: None };
    let question = GetPolicies { client, request_filter: None };
    let (answer, message) =
        session.get_policies(&candidate.endpoint, candidate.authentication, &question).await?;
    Ok((answer, String::from_utf8_lossy(&message).into_owned()))
}

fn key<'a>(session: Session<'a>, candidate: &'a Candidate) -> CacheKey<'a> {
    CacheKey {
        endpoint: &candidate.endpoint,
        authentication: candidate.authentication,
        caller: session.credentials.caller(candidate.authentication),
    }
}

const fn minus(time: DateTime, seconds: i64) -> DateTime {
    DateTime::from_unix(time.unix().saturating_sub(seconds))
}

impl Policy {
    fn new(source: &Endpoint, entry: Entry, freshness: Freshness) -> Self {
        let Entry { answer, last_update, next_update, .. } = entry;
        Self { source: source.clone(), answer, last_update, next_update, freshness }
    }

    /// All templates, in the server's order.
    pub fn templates(&self) -> impl Iterator<Item = Template<'_>> {
        self.answer
            .response
            .policies
            .iter()
            .map(|entry: &CertificateEnrollmentPolicy| Template::new(self, entry))
    }

    /// The template with this name, OID or display name, whichever fits first.
    ///
    /// # Errors
    /// [`TemplateError::NotFound`].
    pub fn template(&self, wanted: &str) -> Result<Template<'_>, TemplateError> {
        let wanted = wanted.trim();
        self.templates()
            .find(|t| t.name().eq_ignore_ascii_case(wanted))
            .or_else(|| self.templates().find(|t| t.oid() == Some(wanted)))
            .or_else(|| self.templates().find(|t| t.display_name().eq_ignore_ascii_case(wanted)))
            .ok_or_else(|| TemplateError::NotFound {
                wanted: wanted.to_owned(),
                available: self.templates().map(|t| t.name().to_owned()).collect(),
            })
    }
}
