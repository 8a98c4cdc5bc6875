//! The one place where a refusal of either service becomes an audit record.
//!
//! Whoever has signed in answers for what was refused: each such refusal is recorded. Anybody else can be refused
//! as often as the line carries, at no cost, and the audit log is kept for ever; so only so many a minute are recorded,
//! and how many were not.

use std::sync::{Mutex, PoisonError};

use muster_core::UnixTime;
use muster_core::audit::{Action, Actor, AuditOutcome, Event};
use muster_store::Store;

use crate::fault::{ServiceError, Unavailable};
use crate::record::Record;

/// Refusals without a caller that are recorded within a minute.
const PER_MINUTE: u32 = 120;
/// Of these, at most so many that are no sign-ins: whoever looks for addresses must not hide a guess at a password.
const OTHERS_PER_MINUTE: u32 = 60;

/// Records refusals.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<Minute>);

/// What was recorded within the minute, and what was not since the last record.
#[derive(Debug, Default)]
struct Minute {
    minute: i64,
    sign_ins: u32,
    others: u32,
    omitted: u64,
}

impl Minute {
    /// Whether one more may be recorded, and how many were not since the last that was.
    fn admit(&mut self, now: UnixTime, sign_in: bool) -> Option<u64> {
        let minute = now.0.div_euclid(60);
        if self.minute != minute {
            (self.minute, self.sign_ins, self.others) = (minute, 0, 0);
        }
        let full = self.sign_ins.saturating_add(self.others) >= PER_MINUTE;
        if full || (!sign_in && self.others >= OTHERS_PER_MINUTE) {
            self.omitted = self.omitted.saturating_add(1);
            return None;
        }
        let count = if sign_in { &mut self.sign_ins } else { &mut self.others };
        *count = count.saturating_add(1);
        Some(std::mem::take(&mut self.omitted))
    }
}

impl Refusals {
    /// Records why an exchange got no answer, unless its request was recorded as denied already.
    ///
    /// A store that cannot be written takes no record of that either; then the log has it alone.
    pub(crate) async fn record(&self, store: &Store, record: &Record, error: &ServiceError, now: UnixTime) {
        if record.denied || matches!(error, ServiceError::Unavailable(Unavailable::Store(_))) {
            return;
        }
        let action = action(record, error);
        let omitted = if record.is_authenticated() {
            0
        } else {
            let admitted = self.lock().admit(now, action == Action::Authenticate);
            let Some(omitted) = admitted else { return };
            omitted
        };
        let mut event = Event::new(now, record.actor(), action);
        event.template.clone_from(&record.template);
        event.object = object(record, error, omitted);
        event.outcome = match error {
            ServiceError::Internal(_)
            | ServiceError::Unavailable(
                Unavailable::Signer(_)
                | Unavailable::Kerberos(_)
                | Unavailable::Directory(_)
                | Unavailable::Ca(_),
            ) => AuditOutcome::Failed(error.code().to_owned()),
            ServiceError::Http(_)
            | ServiceError::Envelope(_)
            | ServiceError::Destination(_)
            | ServiceError::Enrollment(_)
            | ServiceError::Policy(_)
            | ServiceError::Authentication(_)
            | ServiceError::Request(_)
            | ServiceError::Call(_)
            | ServiceError::Refused { .. }
            | ServiceError::NoSuchRequest(_)
            | ServiceError::RequestFailed(_)
            | ServiceError::Delegation(_)
            | ServiceError::Ca(_)
            | ServiceError::NoKeyExchange
            | ServiceError::Unavailable(Unavailable::Busy | Unavailable::Changed | Unavailable::Store(_)) => {
                AuditOutcome::Refused(error.code())
            }
        };
        // Of a request that does not exist, or is not the caller's, only its number was asked for.
        if !matches!(error, ServiceError::NoSuchRequest(_)) {
            event.request = record.request;
        }
        write(store, event).await;
    }

    /// Records how many refusals were not recorded, so that the number does not wait for the next one.
    pub(crate) async fn flush(&self, store: &Store, now: UnixTime) {
        let omitted = std::mem::take(&mut self.lock().omitted);
        if omitted > 0 {
            let mut event = Event::new(now, Actor::Service, Action::Receive);
            event.object = Some(not_recorded(omitted));
            write(store, event).await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Minute> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn write(store: &Store, event: Event) {
    if let Err(error) = store.audit(event).await {
        tracing::error!(%error, "a refusal could not be written to the audit log");
    }
}

fn not_recorded(omitted: u64) -> String {
    format!("{omitted} refused before, not recorded")
}

/// What was tried, as far as it was understood.
fn action(record: &Record, error: &ServiceError) -> Action {
    if matches!(error, ServiceError::Authentication(_)) && !record.is_authenticated() {
        return Action::Authenticate;
    }
    match record.operation {
        "get_policies" => Action::GetPolicies,
        "issue" => Action::Submit,
        "query_token_status" => Action::QueryTokenStatus,
        "key_exchange_token" => Action::KeyExchangeToken,
        // Too many sign-ins at once come before the operation is read.
        _ if matches!(error, ServiceError::Unavailable(_)) && !record.is_authenticated() => {
            Action::Authenticate
        }
        _ => Action::Receive,
    }
}

/// The path that does not exist, the request that was asked for; the reference that finds the log line.
fn object(record: &Record, error: &ServiceError, omitted: u64) -> Option<String> {
    let mut parts = Vec::new();
    match error {
        ServiceError::NoSuchRequest(id) => {
            parts.push(format!("request {}", id.chars().take(40).collect::<String>()));
        }
        ServiceError::Http(_) if !record.path().is_empty() => parts.push(record.path().to_owned()),
        ServiceError::Http(_)
        | ServiceError::Envelope(_)
        | ServiceError::Destination(_)
        | ServiceError::Enrollment(_)
        | ServiceError::Policy(_)
        | ServiceError::Authentication(_)
        | ServiceError::Request(_)
        | ServiceError::Call(_)
        | ServiceError::Refused { .. }
        | ServiceError::RequestFailed(_)
        | ServiceError::Delegation(_)
        | ServiceError::NoKeyExchange
        | ServiceError::Ca(_)
        | ServiceError::Unavailable(_)
        | ServiceError::Internal(_) => {}
    }
    parts.push(format!("reference {}", record.reference));
    if omitted > 0 {
        parts.push(not_recorded(omitted));
    }
    Some(parts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_without_a_caller_fill_the_audit_log_slowly() {
        let mut minute = Minute::default();
        for _ in 0..PER_MINUTE {
            assert_eq!(minute.admit(UnixTime(600), true), Some(0));
        }
        assert_eq!(minute.admit(UnixTime(601), true), None);
        assert_eq!(minute.admit(UnixTime(659), false), None);
        assert_eq!(minute.admit(UnixTime(660), true), Some(2), "the next record tells how many are missing");
        assert_eq!(minute.admit(UnixTime(660), true), Some(0));
    }

    #[test]
    fn other_refusals_leave_room_for_sign_ins() {
        let mut minute = Minute::default();
        for _ in 0..OTHERS_PER_MINUTE {
            assert_eq!(minute.admit(UnixTime(600), false), Some(0));
        }
        assert_eq!(minute.admit(UnixTime(600), false), None);
        assert_eq!(minute.admit(UnixTime(600), true), Some(1));
        for _ in 1..PER_MINUTE - OTHERS_PER_MINUTE {
            assert_eq!(minute.admit(UnixTime(600), true), Some(0));
        }
        assert_eq!(minute.admit(UnixTime(600), true), None);
    }
}
