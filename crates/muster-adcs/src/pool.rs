//! Connections that are kept for the next request of the same identity.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::session::Session;

/// Unused connections of one identity.
const KEPT: usize = 4;

/// The unused connections of all identities.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    idle: Mutex<HashMap<String, Vec<(Session, Instant)>>>,
}

impl Pool {
    /// A connection of this identity that still works. Those that are too old are closed on the way, of all identities.
    pub(crate) fn take(&self, identity: &str, limit: Duration) -> Option<Session> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|_, sessions| {
            sessions.retain(|(session, since)| since.elapsed() < limit && session.is_good());
            !sessions.is_empty()
        });
        idle.get_mut(identity)?.pop().map(|(session, _)| session)
    }

    /// Keeps a connection for the next request of this identity.
    pub(crate) fn put(&self, identity: &str, session: Session) {
        if !session.is_good() {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let sessions = idle.entry(identity.to_owned()).or_default();
        if sessions.len() < KEPT {
            sessions.push((session, Instant::now()));
        }
    }
}
