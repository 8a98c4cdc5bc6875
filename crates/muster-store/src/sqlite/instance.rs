//! The installation's identity, the counters, and the write that proves health.

use muster_core::UnixTime;
use rusqlite::{Connection, OptionalExtension, params};

use super::convert;
use super::writer::Tx;
use crate::Instance;
use crate::error::StoreError;

pub(crate) fn get(conn: &Connection) -> Result<Option<Instance>, StoreError> {
    let row = conn
        .prepare_cached("SELECT policy_id, oid_root, created_at FROM instance WHERE one = 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?, row.get(2)?)))
        .optional()?;
    row.map(|(policy_id, oid_root, created_at)| {
        let oid_root = convert::parse(&oid_root, "object identifier")?;
        Ok(Instance { policy_id, oid_root, created_at: UnixTime(created_at) })
    })
    .transpose()
}

pub(crate) fn put(tx: &Tx<'_>, instance: &Instance) -> Result<Instance, StoreError> {
    tx.conn
        .prepare_cached(
            "INSERT INTO instance (one, policy_id, oid_root, created_at) VALUES (1, ?1, ?2, ?3)
             ON CONFLICT (one) DO NOTHING",
        )?
        .execute(params![instance.policy_id, instance.oid_root.as_str(), instance.created_at.0])?;
    get(tx.conn)?.ok_or_else(|| StoreError::unreadable("instance"))
}

/// A job that takes a block of request ids; returns the first.
pub(crate) fn reserve_ids(block: u32) -> impl FnMut(&Tx<'_>) -> Result<u32, StoreError> + Send {
    move |tx| {
        let first = raise(tx, "next_request", block)? - i64::from(block);
        // Ids are 32 bits on the wire; the last block is never handed out.
        match u32::try_from(first) {
            Ok(first) if first <= u32::MAX - block => Ok(first),
            Ok(_) | Err(_) => Err(StoreError::Other("every request id is used up".to_owned())),
        }
    }
}

fn raise(tx: &Tx<'_>, counter: &str, by: u32) -> Result<i64, StoreError> {
    tx.generations.set(None);
    tx.raised.set(true);
    Ok(tx
        .conn
        .prepare_cached("UPDATE counters SET value = value + ?2 WHERE name = ?1 RETURNING value")?
        .query_row(params![counter, by], |row| row.get(0))?)
}

/// Says that accounts or templates have changed. Returns the new generation.
pub(super) fn raise_configuration(tx: &Tx<'_>) -> Result<u64, StoreError> {
    raise(tx, "configuration", 1).map(i64::unsigned_abs)
}

/// Says that the set of revoked serial numbers has changed.
pub(super) fn raise_revocations(tx: &Tx<'_>) -> Result<(), StoreError> {
    raise(tx, "revocations", 1).map(drop)
}

pub(super) fn raise_crl_number(tx: &Tx<'_>) -> Result<u64, StoreError> {
    raise(tx, "crl_number", 1).map(i64::unsigned_abs)
}

pub(super) fn counter(conn: &Connection, name: &str) -> Result<u64, StoreError> {
    let value: i64 = conn
        .prepare_cached("SELECT value FROM counters WHERE name = ?1")?
        .query_row([name], |row| row.get(0))?;
    Ok(value.unsigned_abs())
}

/// The counters `configuration` and `revocations`.
pub(crate) fn generations(conn: &Connection) -> Result<(u64, u64), StoreError> {
    let (configuration, revocations): (i64, i64) = conn
        .prepare_cached(
            "SELECT (SELECT value FROM counters WHERE name = 'configuration'),
                    (SELECT value FROM counters WHERE name = 'revocations')",
        )?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok((configuration.unsigned_abs(), revocations.unsigned_abs()))
}

/// The same inside a transaction, which reads them once for all of its jobs.
pub(super) fn generations_in(tx: &Tx<'_>) -> Result<(u64, u64), StoreError> {
    if let Some(known) = tx.generations.get() {
        return Ok(known);
    }
    let read = generations(tx.conn)?;
    tx.generations.set(Some(read));
    Ok(read)
}

/// A write that is committed: one that is rolled back would never reach the disk and so would not notice a full one.
pub(crate) fn prove_health(tx: &Tx<'_>) -> Result<(), StoreError> {
    raise(tx, "health", 1).map(drop)
}
