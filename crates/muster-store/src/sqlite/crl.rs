//! Rows of revocation lists.

use muster_core::UnixTime;
use muster_core::audit::{Action, Actor, Event};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::writer::Tx;
use super::{convert, instance};
use crate::crl::{Crl, RevokedEntry};
use crate::error::StoreError;

/// Lists kept for looking back.
const KEPT: i64 = 10;

pub(crate) fn next_number(tx: &Tx<'_>) -> Result<u64, StoreError> {
    instance::raise_crl_number(tx)
}

pub(crate) fn entries(conn: &Connection, ended_before: UnixTime) -> Result<Vec<RevokedEntry>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT serial, at, reason FROM revocations WHERE not_after IS NULL OR not_after >= ?1 ORDER BY id",
    )?;
    let read = |row: &Row<'_>| -> Result<RevokedEntry, StoreError> {
        Ok(RevokedEntry {
            serial: convert::read_serial(row, 0)?,
            at: UnixTime(row.get(1)?),
            reason: convert::read_reason(row.get(2)?)?,
        })
    };
    let rows = statement.query_map([ended_before.0], |row| Ok(read(row)))?;
    rows.map(|row| row?).collect()
}

pub(crate) fn put(tx: &Tx<'_>, crl: &Crl, actor: &Actor) -> Result<(), StoreError> {
    let latest: i64 = tx.conn.query_row("SELECT coalesce(max(number), 0) FROM crls", [], |row| row.get(0))?;
    let number = convert::counter(crl.number);
    if number <= latest || crl.number > instance::counter(tx.conn, "crl_number")? {
        return Err(StoreError::StaleCrl { number: crl.number, latest: latest.unsigned_abs() });
    }
    tx.conn
        .prepare_cached("INSERT INTO crls (number, this_update, next_update, der) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![number, crl.this_update.0, crl.next_update.0, crl.der])?;
    tx.conn.prepare_cached("DELETE FROM crls WHERE number <= ?1")?.execute([number - KEPT])?;
    tx.audit(&Event {
        object: Some(format!("crl:{number}")),
        ..Event::new(crl.this_update, actor.clone(), Action::PublishCrl)
    })
}

pub(crate) fn latest(conn: &Connection) -> Result<Option<Crl>, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT number, this_update, next_update, der FROM crls ORDER BY number DESC LIMIT 1",
        )?
        .query_row([], |row| {
            Ok(Crl {
                number: row.get::<_, i64>(0)?.unsigned_abs(),
                this_update: UnixTime(row.get(1)?),
                next_update: UnixTime(row.get(2)?),
                der: row.get(3)?,
            })
        })
        .optional()?)
}
