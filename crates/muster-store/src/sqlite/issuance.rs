//! The two writes of an enrollment, and what undoes the first when the second never comes.

use aws_lc_rs::digest::{SHA256, digest};
use muster_core::audit::{Action, Actor, AuditOutcome, Event};
use muster_core::issuance::{Intent, IssuedRecord, Opening};
use muster_core::revocation::Reason;
use muster_core::{RequestId, Serial, UnixTime};
use rusqlite::{Connection, params};

use super::hot::Hot;
use super::lines::{Descent, key_of};
use super::recent::Key;
use super::writer::Tx;
use super::{certificates, convert, der, instance, recent, requests, tokens};
use crate::Generations;
use crate::error::StoreError;
use crate::requests::{Abandoned, Disposition, Owner};

/// Names the octets in the audit record, so that the chain covers them.
pub(super) fn digest_name(octets: &[u8]) -> String {
    const METHOD: &str = "sha256:";
    let digest = digest(&SHA256, octets);
    let mut name = String::with_capacity(METHOD.len() + 2 * digest.as_ref().len());
    name.push_str(METHOD);
    for octet in digest.as_ref() {
        for nibble in [octet >> 4, octet & 15] {
            name.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
    }
    name
}

pub(crate) fn record_intent(
    id: RequestId,
    intent: Intent,
    node: String,
    window: i64,
    seen: Option<Generations>,
) -> impl FnMut(&Tx<'_>) -> Result<(), StoreError> + Send {
    // Hashing is done by the caller's thread, not by the only one that writes.
    let Intent { opening, actor, serial, tbs, at } = intent;
    let (key, template) = match &opening {
        Opening::New(record) => (
            Some(Key::new(Owner::of(record), record.template.as_deref(), &record.raw)),
            record.template.clone(),
        ),
        Opening::Approved(_) => (None, None),
    };
    let event = Event {
        object: Some(digest_name(&tbs)),
        template,
        request: Some(id),
        serial: Some(serial),
        ..Event::new(at, actor, Action::RecordIntent)
    };
    move |tx| {
        check_unchanged(tx, seen)?;
        match (&opening, key) {
            (Opening::New(record), Some(key)) => {
                let key = recent::enter(tx, key, record, window)?;
                tokens::count_use(tx, record, at)?;
                if let Some(with) = record.asked_with {
                    let (form, method, received) = (record.form, record.method, record.received);
                    let descent = Descent { with, form, method, received };
                    enter_line(tx, id, &descent, &tbs, false)?;
                }
                requests::insert_with(tx, record, Disposition::Signing, key, None, Some(&tbs))?;
            }
            (Opening::New(_) | Opening::Approved(_), _) => {
                requests::need(tx, id, Disposition::Approved)?;
                if let Some(known) = requests::descends(tx.conn, id)? {
                    let requests::Descends { with, form, method, received, fork_known } = known;
                    let descent = Descent { with, form: &form, method, received };
                    enter_line(tx, id, &descent, &tbs, fork_known)?;
                }
                requests::set_disposition(tx, id, Disposition::Signing)?;
                tx.conn
                    .prepare_cached("UPDATE request_bodies SET tbs = ?2 WHERE id = ?1")?
                    .execute(params![convert::id(id), tbs])?;
            }
        }
        tx.hot.run(Hot::Intent, params![convert::id(id), serial.as_bytes(), node, at.0])?;
        tx.audit(&event)
    }
}

/// Refuses what was decided on the strength of something that has changed since.
pub(super) fn check_unchanged(tx: &Tx<'_>, seen: Option<Generations>) -> Result<(), StoreError> {
    match seen {
        Some(seen) if instance::generations_in(tx)? != (seen.configuration, seen.revocations) => {
            // Another process changed it: whoever tries again is to see that.
            tx.watch.forget();
            Err(StoreError::Changed)
        }
        Some(_) | None => Ok(()),
    }
}

/// Enters what is about to be signed into its line, unless it is the second renewal of a certificate and nobody knows.
fn enter_line(
    tx: &Tx<'_>,
    id: RequestId,
    descent: &Descent<'_>,
    tbs: &[u8],
    fork_known: bool,
) -> Result<(), StoreError> {
    let key = der::spki_of_tbs(tbs).map(key_of);
    if !fork_known && let Some(other) = descent.fork(tx.conn, &key.unwrap_or_default())? {
        return Err(StoreError::Forked(other));
    }
    descent.enter(tx, id, key)
}

pub(crate) fn record_issued(issued: IssuedRecord) -> impl FnMut(&Tx<'_>) -> Result<(), StoreError> + Send {
    let (id, serial) = (issued.id, issued.serial);
    let event = Event {
        object: Some(digest_name(&issued.certificate)),
        template: Some(issued.template_oid.clone()),
        request: Some(id),
        serial: Some(serial),
        ..Event::new(issued.at, issued.actor.clone(), Action::Issue)
    };
    move |tx| {
        let Some((tbs, signature)) = der::split(&issued.certificate) else {
            return Err(StoreError::NotWhatWasRecorded(id));
        };
        // The intent goes if it is there, open, and the recorded octets were signed; one statement for all of that.
        let closed = tx.hot.run(Hot::CloseIntent, params![convert::id(id), serial.as_bytes(), tbs])?;
        if closed == 0 {
            return Err(not_closed(tx, id, serial)?);
        }
        certificates::insert(tx, &issued, signature)?;
        tx.audit(&event)
    }
}

/// Why there was no intent for a certificate.
fn not_closed(tx: &Tx<'_>, id: RequestId, serial: Serial) -> Result<StoreError, StoreError> {
    let open = tx
        .conn
        .prepare_cached("SELECT 1 FROM intents WHERE id = ?1 AND serial = ?2")?
        .exists(params![convert::id(id), serial.as_bytes()])?;
    Ok(if open { StoreError::NotWhatWasRecorded(id) } else { StoreError::NoIntent { id, serial } })
}

pub(crate) fn abandon(
    tx: &Tx<'_>,
    id: RequestId,
    serial: Serial,
    reason: &str,
    at: UnixTime,
) -> Result<(), StoreError> {
    let moved = tx
        .conn
        .prepare_cached(
            "INSERT INTO abandoned (id, serial, tbs, reason, at)
             SELECT id, serial, tbs, ?3, ?4 FROM intents JOIN request_bodies USING (id)
             WHERE id = ?1 AND serial = ?2",
        )?
        .execute(params![convert::id(id), serial.as_bytes(), reason, at.0])?;
    if moved == 0 {
        return Err(StoreError::NoIntent { id, serial });
    }
    tx.conn.prepare_cached("DELETE FROM intents WHERE id = ?1")?.execute([convert::id(id)])?;
    // Nobody got it, so it is no renewal of anything.
    tx.conn.prepare_cached("DELETE FROM lines WHERE id = ?1")?.execute([convert::id(id)])?;
    requests::set_disposition(tx, id, Disposition::Failed)?;
    requests::set_message(tx, id, None, reason)?;
    recent::forget(tx, id)?;
    tokens::give_back(tx, id)?;
    // How long a certificate with this number would have been valid is not known: it stays on every list.
    certificates::insert_revocation(tx, serial, Reason::CessationOfOperation, at, None)?;
    tx.audit(&Event {
        request: Some(id),
        serial: Some(serial),
        outcome: AuditOutcome::Failed(reason.to_owned()),
        ..Event::new(at, Actor::Service, Action::AbandonIntent)
    })
}

pub(crate) fn nodes_with_intents(conn: &Connection) -> Result<Vec<String>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT DISTINCT node FROM intents")?;
    let rows = statement.query_map([], |row| row.get(0))?;
    rows.map(|row| row.map_err(StoreError::from)).collect()
}

pub(crate) fn recover(
    tx: &Tx<'_>,
    ended: &[String],
    own: &str,
    own_before: UnixTime,
    at: UnixTime,
) -> Result<Vec<Abandoned>, StoreError> {
    let mut statement = tx.conn.prepare_cached("SELECT id, serial, node, at FROM intents ORDER BY id")?;
    let mut rows = statement.query([])?;
    let mut given_up = Vec::new();
    while let Some(row) = rows.next()? {
        let (node, recorded): (String, i64) = (row.get(2)?, row.get(3)?);
        let reason = if ended.contains(&node) {
            "the service ended between recording and committing"
        } else if node == own && recorded < own_before.0 {
            "the certificate was not committed in time"
        } else {
            continue;
        };
        given_up.push((
            Abandoned { id: convert::read_id(row, 0)?, serial: convert::read_serial(row, 1)? },
            reason,
        ));
    }
    drop(rows);
    for (Abandoned { id, serial }, reason) in &given_up {
        abandon(tx, *id, *serial, reason, at)?;
    }
    Ok(given_up.into_iter().map(|(abandoned, _)| abandoned).collect())
}
