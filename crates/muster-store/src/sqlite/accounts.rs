//! Rows of accounts.

use muster_core::UnixTime;
use muster_core::audit::{Action, Actor, Event};
use muster_core::identity::{AccountName, Principal};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::writer::Tx;
use super::{convert, instance};
use crate::accounts::{Account, PasswordHash};
use crate::error::StoreError;

pub(crate) fn put(
    tx: &Tx<'_>,
    principal: &Principal,
    actor: &Actor,
    at: UnixTime,
) -> Result<u64, StoreError> {
    let body = serde_json::to_string(principal).map_err(|e| StoreError::Other(e.to_string()))?;
    let version = instance::raise_configuration(tx)?;
    tx.conn
        .prepare_cached(
            "INSERT INTO accounts (name, principal, enabled, version, changed) VALUES (?1, ?2, 1, ?3, ?4)
             ON CONFLICT (name) DO UPDATE
             SET principal = excluded.principal, version = excluded.version, changed = excluded.changed",
        )?
        .execute(params![principal.name.as_str(), body, convert::counter(version), at.0])?;
    audit(tx, &principal.name, None, Action::PutAccount, actor, at)?;
    Ok(version)
}

fn audit(
    tx: &Tx<'_>,
    name: &AccountName,
    what: Option<&str>,
    action: Action,
    actor: &Actor,
    at: UnixTime,
) -> Result<(), StoreError> {
    let object = match what {
        Some(what) => format!("{name}: {what}"),
        None => name.to_string(),
    };
    tx.audit(&Event { object: Some(object), ..Event::new(at, actor.clone(), action) })
}

const COLUMNS: &str = "principal, password_hash, enabled, version, changed";

fn read(row: &Row<'_>) -> Result<Account, StoreError> {
    let body: String = row.get(0)?;
    Ok(Account {
        principal: serde_json::from_str(&body).map_err(|_| StoreError::unreadable("account"))?,
        password_hash: row.get::<_, Option<String>>(1)?.map(PasswordHash),
        enabled: row.get(2)?,
        version: row.get::<_, i64>(3)?.unsigned_abs(),
        changed: UnixTime(row.get(4)?),
    })
}

pub(crate) fn get(conn: &Connection, name: &AccountName) -> Result<Option<Account>, StoreError> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM accounts WHERE name = ?1"))?
        .query_row([name.as_str()], |row| Ok(read(row)))
        .optional()?
        .transpose()
}

pub(crate) fn list(conn: &Connection) -> Result<Vec<Account>, StoreError> {
    let mut statement = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM accounts ORDER BY name"))?;
    let rows = statement.query_map([], |row| Ok(read(row)))?;
    rows.map(|row| row?).collect()
}

pub(crate) fn remove(tx: &Tx<'_>, name: &AccountName, actor: &Actor, at: UnixTime) -> Result<(), StoreError> {
    let removed = tx.conn.prepare_cached("DELETE FROM accounts WHERE name = ?1")?.execute([name.as_str()])?;
    if removed == 0 {
        return Err(StoreError::not_found("account", name));
    }
    instance::raise_configuration(tx)?;
    audit(tx, name, None, Action::RemoveAccount, actor, at)
}

pub(crate) fn set_password_hash(
    tx: &Tx<'_>,
    name: &AccountName,
    hash: &PasswordHash,
    actor: &Actor,
    at: UnixTime,
) -> Result<u64, StoreError> {
    let version = instance::raise_configuration(tx)?;
    let changed = tx
        .conn
        .prepare_cached("UPDATE accounts SET password_hash = ?2, version = ?3, changed = ?4 WHERE name = ?1")?
        .execute(params![name.as_str(), hash.0, convert::counter(version), at.0])?;
    if changed == 0 {
        return Err(StoreError::not_found("account", name));
    }
    audit(tx, name, None, Action::SetPassword, actor, at)?;
    Ok(version)
}

pub(crate) fn set_enabled(
    tx: &Tx<'_>,
    name: &AccountName,
    enabled: bool,
    actor: &Actor,
    at: UnixTime,
) -> Result<u64, StoreError> {
    let version = instance::raise_configuration(tx)?;
    let changed = tx
        .conn
        .prepare_cached("UPDATE accounts SET enabled = ?2, version = ?3, changed = ?4 WHERE name = ?1")?
        .execute(params![name.as_str(), enabled, convert::counter(version), at.0])?;
    if changed == 0 {
        return Err(StoreError::not_found("account", name));
    }
    let what = if enabled { "enabled" } else { "disabled" };
    audit(tx, name, Some(what), Action::PutAccount, actor, at)?;
    Ok(version)
}
