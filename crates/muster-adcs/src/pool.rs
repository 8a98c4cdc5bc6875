//! Connections that are kept for the next request of the same identity.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::session::Session;

/// Unused connections of one identity.
const KEPT: usize = 4;

type Idle = HashMap<String, Vec<(Session, Instant)>>;

/// The unused connections of all identities.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    idle: Mutex<Idle>,
}

impl Pool {
    /// A connection of this identity that still works. Those that are too old are closed on the way, of all identities.
    pub(crate) fn take(&self, identity: &str, limit: Duration) -> Option<Session> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        for sessions in idle.values_mut() {
            let old =
                sessions.extract_if(.., |(session, since)| since.elapsed() >= limit || !session.is_good());
            old.for_each(|(session, _)| close(session));
        }
        idle.retain(|_, sessions| !sessions.is_empty());
        idle.get_mut(identity)?.pop().map(|(session, _)| session)
    }

    /// Keeps a connection for the next request of this identity.
    pub(crate) fn put(&self, identity: &str, session: Session) {
        if !session.is_good() {
            return close(session);
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let sessions = idle.entry(identity.to_owned()).or_default();
        if sessions.len() < KEPT {
            sessions.push((session, Instant::now()));
        } else {
            close(session);
        }
    }

    /// All of them, to be closed.
    pub(crate) fn drain(&self) -> Vec<Session> {
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        idle.into_values().flatten().map(|(session, _)| session).collect()
    }
}

/// Orderly, while nobody waits.
fn close(session: Session) {
    tokio::spawn(session.close());
}
