//! The requests of the last day, so that one sent twice is answered twice but served once.
//!
//! On disk a request's row holds the key by which it is recognized, and nothing is indexed by it: an index by hash
//! would dirty a page of its own for nearly every request. The look-up table is in memory, of the last [`KEPT`]
//! requests, and belongs to the writer. It is exact wherever it decides:
//!
//! * It is read and changed under the lock that `BEGIN IMMEDIATE` takes, so nobody else can commit meanwhile.
//! * What a transaction adds or takes away is kept apart ([`super::writer::Tx::changes`]) and gets into the table
//!   only when the transaction is committed.
//! * Every change of a request's row is recorded in the audit chain in the same transaction. So the end of the chain
//!   up to which the table is in step tells whether another process has written since, and the records after it tell
//!   which requests are to be read again.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::digest::{Context, SHA256};
use muster_core::issuance::RequestRecord;
use muster_core::{RequestId, UnixTime};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::audit::Head;
use super::writer::Tx;
use super::{convert, lock};
use crate::error::StoreError;
use crate::requests::Owner;

/// Requests kept: older ones are forgotten even if they are of today.
const KEPT: usize = 20_000;

/// What makes two requests the same: 8 octets of a hash, so whoever finds something compares the octets themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key(i64);

impl Key {
    pub(crate) fn new(owner: Owner<'_>, template: Option<&str>, raw: &[u8]) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(owner.name.as_str().as_bytes());
        context.update(&[0]);
        if let Some(sid) = owner.sid {
            context.update(sid.as_str().as_bytes());
            context.update(&[0]);
        }
        context.update(template.unwrap_or_default().to_ascii_lowercase().as_bytes());
        context.update(&[0]);
        context.update(raw);
        let digest = context.finish();
        let mut first = [0; 8];
        first.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
        Self(i64::from_be_bytes(first))
    }

    /// As the request's row has it.
    pub(super) const fn stored(self) -> i64 {
        self.0
    }
}

/// The table, shared by the writer and those who only look.
#[derive(Clone, Default)]
pub(crate) struct Recent(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// Somebody needs the table: a process that never enters a request does not read it.
    wanted: AtomicBool,
    index: Mutex<Option<Index>>,
}

struct Index {
    entries: HashMap<Key, Entry>,
    /// In the order in which they were entered; may name some that were forgotten.
    order: VecDeque<(RequestId, Key)>,
    /// The end of the audit chain with which the table is in step.
    head: Head,
}

#[derive(Clone, Copy)]
struct Entry {
    id: RequestId,
    received: i64,
}

/// What a transaction does to the table.
#[derive(Clone, Copy)]
pub(super) enum Change {
    Enter(Key, RequestId, i64),
    Forget(Key, RequestId),
}

impl Index {
    fn apply(&mut self, change: Change) {
        match change {
            Change::Enter(key, id, received) => {
                self.entries.insert(key, Entry { id, received });
                self.order.push_back((id, key));
                while self.order.len() > KEPT
                    && let Some((id, key)) = self.order.pop_front()
                {
                    self.remove(key, id);
                }
            }
            Change::Forget(key, id) => self.remove(key, id),
        }
    }

    fn remove(&mut self, key: Key, id: RequestId) {
        if self.entries.get(&key).is_some_and(|entry| entry.id == id) {
            self.entries.remove(&key);
        }
    }

    fn load(conn: &Connection, head: Head) -> Result<Self, StoreError> {
        let mut index = Self { entries: HashMap::new(), order: VecDeque::new(), head };
        let mut statement = conn.prepare_cached(
            "SELECT id, repeat_key, received, forgotten FROM requests ORDER BY id DESC LIMIT ?1",
        )?;
        let rows = statement.query_map([i64::try_from(KEPT).unwrap_or(i64::MAX)], |row| Ok(change(row)))?;
        let changes: Vec<Option<Change>> = rows.map(|row| row?).collect::<Result<_, StoreError>>()?;
        changes.into_iter().rev().flatten().for_each(|change| index.apply(change));
        Ok(index)
    }

    /// Reads again what others have written. `false` if this chain does not continue the one known.
    fn catch_up(&mut self, conn: &Connection, head: Head) -> Result<bool, StoreError> {
        let known = self.head.sequence();
        if head.sequence() <= known || !self.head.is_in(conn)? {
            return Ok(false);
        }
        let mut statement = conn.prepare_cached(
            "SELECT id, repeat_key, received, forgotten FROM requests
             WHERE id IN (SELECT request FROM audit WHERE sequence > ?1) ORDER BY id",
        )?;
        let rows = statement.query_map([known], |row| Ok(change(row)))?;
        for row in rows {
            match row?? {
                // Also when it is only issued now: its place in the order stays the first that it had.
                Some(Change::Enter(key, id, _)) if self.entries.get(&key).is_some_and(|e| e.id == id) => {}
                Some(change) => self.apply(change),
                None => {}
            }
        }
        self.head = head;
        Ok(true)
    }
}

fn change(row: &Row<'_>) -> Result<Option<Change>, StoreError> {
    let (id, key): (_, Option<i64>) = (convert::read_id(row, 0)?, row.get(1)?);
    let forgotten: Option<i64> = row.get(3)?;
    Ok(match (key.map(Key), forgotten) {
        (None, _) => None,
        (Some(key), None) => Some(Change::Enter(key, id, row.get(2)?)),
        (Some(key), Some(_)) => Some(Change::Forget(key, id)),
    })
}

impl Recent {
    /// From the next transaction on the table is there.
    pub(super) fn want(&self) {
        self.0.wanted.store(true, Ordering::Relaxed);
    }

    /// At the beginning of a transaction: brings the table in step with the end of the chain.
    pub(super) fn catch_up(&self, conn: &Connection, head: Head) -> Result<(), StoreError> {
        if !self.0.wanted.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut index = lock(&self.0.index);
        let in_step = match &mut *index {
            Some(index) => index.head == head || index.catch_up(conn, head)?,
            None => false,
        };
        if !in_step {
            *index = Some(Index::load(conn, head)?);
        }
        Ok(())
    }

    /// After a commit: what the transaction changed counts from now on.
    pub(super) fn committed(&self, begin: Head, end: Head, changes: Vec<Change>) {
        if let Some(index) = &mut *lock(&self.0.index)
            && index.head == begin
        {
            changes.into_iter().for_each(|change| index.apply(change));
            index.head = end;
        }
    }

    /// What this process knows: its own requests and, up to its last write, those of others. `None` if the table was
    /// not read yet.
    pub(crate) fn find(&self, key: Key, since: UnixTime) -> Option<Option<RequestId>> {
        let index = lock(&self.0.index);
        let found = index.as_ref()?.entries.get(&key);
        Some(found.filter(|entry| entry.received >= since.0).map(|entry| entry.id))
    }
}

/// The request with this key that was received at `since` or later, exactly.
pub(crate) fn find(tx: &Tx<'_>, key: Key, since: UnixTime) -> Result<Option<RequestId>, StoreError> {
    // At most some hundred, those of one group of writes.
    for change in tx.changes.borrow().iter().rev() {
        match change {
            Change::Enter(other, id, received) if *other == key => {
                return Ok((*received >= since.0).then_some(*id));
            }
            Change::Forget(other, _) if *other == key => return Ok(None),
            Change::Enter(..) | Change::Forget(..) => {}
        }
    }
    let known = tx.recent.find(key, since);
    known.ok_or_else(|| StoreError::Other("the recent requests were not read".to_owned()))
}

/// Enters a request, unless the same was entered in the `window` (seconds) before. Returns what goes into its row.
pub(super) fn enter(
    tx: &Tx<'_>,
    key: Key,
    record: &RequestRecord,
    window: i64,
) -> Result<Option<Key>, StoreError> {
    if window <= 0 {
        return Ok(None);
    }
    if let Some(other) = find(tx, key, record.received.plus(-window))? {
        return Err(StoreError::Duplicate(other));
    }
    tx.changes.borrow_mut().push(Change::Enter(key, record.id, record.received.0));
    Ok(Some(key))
}

/// Forgets a request that came to nothing, so that it may be sent again. The audit record is the caller's.
pub(super) fn forget(tx: &Tx<'_>, id: RequestId) -> Result<(), StoreError> {
    let key: Option<Option<i64>> = tx
        .conn
        .prepare_cached("UPDATE requests SET forgotten = 1 WHERE id = ?1 RETURNING repeat_key")?
        .query_row(params![convert::id(id)], |row| row.get(0))
        .optional()?;
    if let Some(key) = key.flatten() {
        tx.changes.borrow_mut().push(Change::Forget(Key(key), id));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oldest_are_forgotten_first() {
        let mut index = Index { entries: HashMap::new(), order: VecDeque::new(), head: Head::before_all() };
        let id = |number: usize| RequestId::new(u32::try_from(number).unwrap()).unwrap();
        let key = |number: usize| Key(i64::try_from(number).unwrap());
        for number in 1..=KEPT + 2 {
            index.apply(Change::Enter(key(number), id(number), 0));
        }
        assert_eq!(index.entries.len(), KEPT);
        assert!(!index.entries.contains_key(&key(2)) && index.entries.contains_key(&key(3)));
        // Entered anew, it is as young as its last request.
        index.apply(Change::Enter(key(3), id(KEPT + 3), 0));
        index.apply(Change::Enter(key(KEPT + 4), id(KEPT + 4), 0));
        assert!(index.entries.contains_key(&key(3)));
        index.apply(Change::Forget(key(3), id(3)));
        assert!(index.entries.contains_key(&key(3)), "another request of the same octets");
        index.apply(Change::Forget(key(3), id(KEPT + 3)));
        assert!(!index.entries.contains_key(&key(3)));
    }
}
