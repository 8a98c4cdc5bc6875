//! What the counters `configuration` and `revocations` were a moment ago.
//!
//! Every exchange asks for them first, and what they say is looked at again in the transaction before anything is
//! signed. Reading them costs two locks of a file and a page, so under load one reading serves all exchanges that begin
//! within [`MOMENT`]. A change by this process is known at once; one by another process after that moment at the latest.

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::{instance, lock, reader};
use crate::error::StoreError;

/// How long a reading serves. Shorter than the commit of any change takes on a disk.
const MOMENT: Duration = Duration::from_micros(500);

/// The counters `configuration` and `revocations`.
type Counters = (u64, u64);

/// The counters as they were a moment ago.
#[derive(Default)]
pub(super) struct Watch(Mutex<State>);

#[derive(Default)]
struct State {
    /// For this question alone: what it read last is still in its memory if nothing was committed.
    conn: Option<Connection>,
    /// When it was asked last, and the answer.
    known: Option<(Instant, Counters)>,
}

impl Watch {
    /// The counters, read from the database at `path` unless they just were.
    pub(super) fn counters(&self, path: &Path) -> Result<Counters, StoreError> {
        let mut state = lock(&self.0);
        let State { conn, known } = &mut *state;
        if let Some((at, counters)) = known
            && at.elapsed() < MOMENT
        {
            return Ok(*counters);
        }
        let conn = match conn {
            Some(conn) => conn,
            None => conn.insert(reader(path)?),
        };
        // Before the reading, so that it never serves for longer.
        let at = Instant::now();
        let counters = instance::generations(conn)?;
        *known = Some((at, counters));
        Ok(counters)
    }

    /// To be called when a change of them was committed, before anybody learns of it (a reading that is under way ends
    /// first, and is forgotten with the others), and when they turn out to have changed.
    pub(super) fn forget(&self) {
        lock(&self.0).known = None;
    }
}
