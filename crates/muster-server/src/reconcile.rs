//! Finding out what became of requests whose call broke: the CA is asked for requests with their key, of whoever sent them
//! and of their template, and what it has is written down. Nothing is ever sent again from here.
//!
//! It works where this service's account may read the CA's database (MS-CSRA); elsewhere somebody has to look, with
//! `muster adcs`.

use muster_core::audit::Actor;
use muster_core::forwarding::{Outcome, Settlement};
use muster_store::{Disposition, ForwardedFilter, ForwardedRequest, StoreError};

use crate::backend::Fate;
use crate::fault::ServiceError;
use crate::forward::{Forwarding, UNTRUSTED, alarm, unwritable};

/// Seconds after which the CA has written down whatever it got.
const SETTLING_SECONDS: i64 = 600;
/// Seconds by which clocks may differ, and a call may have taken.
const MARGIN: i64 = 900;

impl Forwarding {
    /// Looks for what is unknown at this CA.
    ///
    /// # Errors
    /// If the store cannot be read or written.
    pub(crate) async fn reconcile(&self) -> Result<(), ServiceError> {
        let now = self.clock.now();
        let mut unknown = Vec::new();
        loop {
            let filter = ForwardedFilter {
                disposition: Some(Disposition::Unknown),
                ca: Some(self.ca.to_string()),
                after: unknown.last().map(|last: &ForwardedRequest| last.summary.id),
                ..ForwardedFilter::default()
            };
            let page = self.store.forwarded(filter).await?;
            if page.is_empty() {
                break;
            }
            unknown.extend(page);
        }
        let short_names = self.identities.short_names();
        for request in unknown {
            let ForwardedRequest { summary, forwarding } = &request;
            // An answer that was not to be trusted is for a person to look at.
            let untrusted = summary.code.as_deref() == Some(UNTRUSTED);
            if untrusted || now.since(forwarding.sent) < SETTLING_SECONDS {
                continue;
            }
            let id = summary.id;
            let since = forwarding.sent.plus(-MARGIN);
            let outcome = match self.backend.fate(&request, since, &short_names).await {
                Fate::Known(outcome) => outcome,
                Fate::NotThere => {
                    Outcome::NotSubmitted { why: "the CA has no request with this key".to_owned() }
                }
                Fate::Unclear(why) => {
                    tracing::debug!(request.id = id.number(), "what became of it is still unknown: {why}");
                    continue;
                }
                // It would be the same for each.
                Fate::Blind(why) => {
                    tracing::debug!(ca = &*self.ca, "requests whose call broke cannot be looked for: {why}");
                    return Ok(());
                }
            };
            alarm(id, &outcome, "found later");
            let settlement = Settlement { id, actor: Actor::Service, outcome, at: now };
            match self.store.try_settle(settlement).await {
                Ok(()) => tracing::info!(request.id = id.number(), "what became of it was found at the CA"),
                // Another node was faster.
                Err(StoreError::WrongState { .. }) => {}
                // The others are looked for all the same.
                Err(StoreError::Conflict(why)) => {
                    tracing::warn!(request.id = id.number(), "what the CA has of it does not fit: {why}");
                }
                Err(error) => return Err(unwritable(error.into())),
            }
        }
        Ok(())
    }
}
