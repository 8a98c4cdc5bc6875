//! Connections that are kept for the next request of the same identity.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::session::Session;

/// A connection that nobody uses.
#[derive(Debug)]
struct Unused {
    identity: String,
    session: Session,
    since: Instant,
}

/// The unused connections of all identities, the one first that was used longest ago. Whoever opens another one makes room
/// for it before, so there are no more of them than connections are permitted.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    unused: Mutex<VecDeque<Unused>>,
}

impl Pool {
    /// A connection of this identity that still works. Those that are too old are closed on the way, of all identities.
    pub(crate) fn take(&self, identity: &str, limit: Duration) -> Option<Session> {
        let mut unused = self.unused.lock().unwrap_or_else(PoisonError::into_inner);
        while unused.front().is_some_and(|first| first.since.elapsed() >= limit) {
            unused.pop_front().into_iter().for_each(close);
        }
        while let Some(at) = unused.iter().rposition(|one| one.identity == identity) {
            let found = unused.remove(at)?;
            if found.session.is_good() {
                return Some(found.session);
            }
            close(found);
        }
        None
    }

    /// Keeps a connection for the next request of this identity.
    pub(crate) fn put(&self, identity: &str, session: Session) {
        let one = Unused { identity: identity.to_owned(), session, since: Instant::now() };
        if one.session.is_good() {
            self.unused.lock().unwrap_or_else(PoisonError::into_inner).push_back(one);
        } else {
            close(one);
        }
    }

    /// Closes those that were used longest ago, until there are no more than `most`.
    pub(crate) fn shrink(&self, most: usize) {
        let mut unused = self.unused.lock().unwrap_or_else(PoisonError::into_inner);
        let surplus = unused.len().saturating_sub(most);
        unused.drain(..surplus).for_each(close);
    }

    /// All of them, to be closed.
    pub(crate) fn drain(&self) -> Vec<Session> {
        let unused = std::mem::take(&mut *self.unused.lock().unwrap_or_else(PoisonError::into_inner));
        unused.into_iter().map(|one| one.session).collect()
    }
}

/// Orderly, while nobody waits.
fn close(one: Unused) {
    tokio::spawn(one.session.close());
}
