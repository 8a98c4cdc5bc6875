//! The requests of the last day, so that one sent twice is answered twice but served once.
//!
//! The table's key is the first 8 octets of a SHA-256 over account, template and request, so its writes are
//! scattered; it is kept small (at most about [`KEPT`] rows, 600 kB) so that all of it stays in memory.

use aws_lc_rs::digest::{Context, SHA256};
use muster_core::issuance::RequestRecord;
use muster_core::{RequestId, UnixTime};
use rusqlite::{Connection, OptionalExtension, params};

use super::convert;
use super::writer::Tx;
use crate::error::StoreError;

/// Rows kept, counted in request ids: older requests are forgotten even if they are of today.
const KEPT: i64 = 20_000;
/// Requests between two prunings.
const PRUNE_EVERY: i64 = 1_024;

/// What makes two requests the same.
pub(super) fn key(account: &str, template: Option<&str>, raw: &[u8]) -> i64 {
    let mut context = Context::new(&SHA256);
    context.update(account.as_bytes());
    context.update(&[0]);
    context.update(template.unwrap_or_default().to_ascii_lowercase().as_bytes());
    context.update(&[0]);
    context.update(raw);
    let digest = context.finish();
    let mut first = [0; 8];
    first.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    i64::from_be_bytes(first)
}

/// Enters a request, unless the same was entered in the `window` (seconds) before.
pub(super) fn enter(tx: &Tx<'_>, key: i64, record: &RequestRecord, window: i64) -> Result<(), StoreError> {
    if window <= 0 {
        return Ok(());
    }
    let (id, oldest) = (convert::id(record.id), record.received.plus(-window).0);
    let entered = tx
        .conn
        .prepare_cached(
            "INSERT INTO recent_requests (key, id, at) VALUES (?1, ?2, ?3)
             ON CONFLICT (key) DO UPDATE SET id = excluded.id, at = excluded.at WHERE at < ?4",
        )?
        .execute(params![key, id, record.received.0, oldest])?;
    if entered == 0 {
        let other = tx
            .conn
            .prepare_cached("SELECT id FROM recent_requests WHERE key = ?1")?
            .query_row([key], |row| Ok(convert::read_id(row, 0)))??;
        return Err(StoreError::Duplicate(other));
    }
    if id % PRUNE_EVERY == 0 {
        tx.conn
            .prepare_cached("DELETE FROM recent_requests WHERE id <= ?1 OR at < ?2")?
            .execute([id - KEPT, oldest])?;
    }
    Ok(())
}

/// Forgets a request that came to nothing, so that it may be sent again.
pub(super) fn forget(tx: &Tx<'_>, id: RequestId) -> Result<(), StoreError> {
    let key = tx
        .conn
        .prepare_cached(
            "SELECT requester, template, raw FROM requests JOIN request_bodies USING (id) WHERE id = ?1",
        )?
        .query_row([convert::id(id)], |row| {
            let template: Option<String> = row.get(1)?;
            Ok(key(&row.get::<_, String>(0)?, template.as_deref(), &row.get::<_, Vec<u8>>(2)?))
        })
        .optional()?;
    if let Some(key) = key {
        tx.conn
            .prepare_cached("DELETE FROM recent_requests WHERE key = ?1 AND id = ?2")?
            .execute([key, convert::id(id)])?;
    }
    Ok(())
}

pub(super) fn find(conn: &Connection, key: i64, since: UnixTime) -> Result<Option<RequestId>, StoreError> {
    conn.prepare_cached("SELECT id FROM recent_requests WHERE key = ?1 AND at >= ?2")?
        .query_row([key, since.0], |row| Ok(convert::read_id(row, 0)))
        .optional()?
        .transpose()
}
