//! Rows of certificates and revocations.

use std::collections::HashSet;

use aws_lc_rs::digest::{SHA256, digest};
use muster_core::audit::{Action, Actor, Event};
use muster_core::issuance::IssuedRecord;
use muster_core::policy::KnownCertificate;
use muster_core::revocation::Reason;
use muster_core::{Serial, UnixTime};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::hot::Hot;
use super::writer::Tx;
use super::{convert, der, instance, recent};
use crate::certificates::{Certificate, CertificateFilter, CertificateSummary, Revocation, Revoked};
use crate::error::StoreError;

/// The octets that were signed are there already, with the request.
pub(super) fn insert(tx: &Tx<'_>, issued: &IssuedRecord, signature: &[u8]) -> Result<(), StoreError> {
    let id = convert::id(issued.id);
    tx.hot.run(
        Hot::Certificate,
        params![
            id,
            issued.serial.as_bytes(),
            issued.account.as_str(),
            issued.template_oid,
            issued.subject,
            issued.not_before.0,
            issued.not_after.0,
            issued.at.0,
            signature
        ],
    )?;
    Ok(())
}

/// The columns that [`summary`] reads, in its order.
const SUMMARY: &str = "certificates.id, certificates.serial, account, template_oid, subject, not_before, \
                       certificates.not_after, issued, revocations.at, revocations.reason";
const TABLES: &str = "certificates LEFT JOIN revocations ON revocations.id = certificates.id";

fn summary(row: &Row<'_>) -> Result<CertificateSummary, StoreError> {
    let at: Option<i64> = row.get(8)?;
    let reason = row.get::<_, Option<u8>>(9)?.map(convert::read_reason).transpose()?;
    Ok(CertificateSummary {
        id: convert::read_id(row, 0)?,
        serial: convert::read_serial(row, 1)?,
        account: convert::parse(&row.get::<_, String>(2)?, "account name")?,
        template: convert::parse(&row.get::<_, String>(3)?, "object identifier")?,
        subject: row.get(4)?,
        not_before: UnixTime(row.get(5)?),
        not_after: UnixTime(row.get(6)?),
        issued: UnixTime(row.get(7)?),
        revocation: at.zip(reason).map(|(at, reason)| Revocation { at: UnixTime(at), reason }),
    })
}

/// The octets of a certificate from three columns, the first of them at `from`: whole, as earlier versions stored it,
/// or what was signed and what follows it. `None` where there is no certificate.
pub(super) fn whole(row: &Row<'_>, from: usize) -> Result<Option<Vec<u8>>, StoreError> {
    if let Some(der) = row.get(from)? {
        return Ok(Some(der));
    }
    let (tbs, signature) = (row.get_ref(from + 1)?, row.get_ref(from + 2)?);
    let unreadable = |_| StoreError::unreadable("certificate");
    let parts =
        tbs.as_blob_or_null().map_err(unreadable)?.zip(signature.as_blob_or_null().map_err(unreadable)?);
    Ok(parts.and_then(|(tbs, signature)| der::join(tbs, signature)))
}

pub(crate) fn get(conn: &Connection, serial: Serial) -> Result<Option<Certificate>, StoreError> {
    let Some(id) = serial.request_id() else { return Ok(None) };
    let sql = format!(
        "SELECT {SUMMARY}, der, tbs, signature FROM {TABLES}
         JOIN request_bodies ON request_bodies.id = certificates.id
         LEFT JOIN certificate_bodies ON certificate_bodies.id = certificates.id
         WHERE certificates.id = ?1 AND certificates.serial = ?2"
    );
    conn.prepare_cached(&sql)?
        .query_row(params![convert::id(id), serial.as_bytes()], |row| {
            let read = |row: &Row<'_>| -> Result<Certificate, StoreError> {
                let der = whole(row, 10)?.ok_or_else(|| StoreError::unreadable("certificate"))?;
                Ok(Certificate { summary: summary(row)?, der })
            };
            Ok(read(row))
        })
        .optional()?
        .transpose()
}

pub(crate) fn known(
    conn: &Connection,
    serial: Serial,
    der: &[u8],
) -> Result<Option<KnownCertificate>, StoreError> {
    let Some(Certificate { summary, der: stored }) = get(conn, serial)? else { return Ok(None) };
    Ok((stored == der).then_some(KnownCertificate {
        account: summary.account,
        template: summary.template,
        not_before: summary.not_before,
        not_after: summary.not_after,
        revoked: summary.revocation.is_some(),
        on_hold: summary.revocation.is_some_and(|r| r.reason == Reason::CertificateHold),
    }))
}

pub(crate) fn list(
    conn: &Connection,
    filter: &CertificateFilter,
) -> Result<Vec<CertificateSummary>, StoreError> {
    let mut sql = format!("SELECT {SUMMARY} FROM {TABLES} WHERE 1 = 1");
    let mut values: Vec<Value> = Vec::new();
    match (filter.valid_at, filter.revoked) {
        (Some(_), None) | (_, Some(false)) => sql.push_str(" AND revocations.id IS NULL"),
        (_, Some(true)) => sql.push_str(" AND revocations.id IS NOT NULL"),
        (None, None) => {}
    }
    let mut and = |condition: &str, value: Value| {
        sql.push_str(condition);
        values.push(value);
    };
    if let Some(account) = &filter.account {
        and(" AND account = ?", account.as_str().to_owned().into());
    }
    if let Some(template) = &filter.template {
        and(" AND template_oid = ?", template.as_str().to_owned().into());
    }
    if let Some(at) = filter.valid_at {
        and(" AND not_before <= ?", at.0.into());
        and(" AND certificates.not_after >= ?", at.0.into());
    }
    if let Some(at) = filter.expires_before {
        and(" AND certificates.not_after < ?", at.0.into());
    }
    if let Some(before) = filter.before {
        and(" AND certificates.id < ?", convert::id(before).into());
    }
    and(" ORDER BY certificates.id DESC LIMIT ?", i64::from(filter.limit).into());
    let mut statement = conn.prepare_cached(&sql)?;
    let rows = statement.query_map(params_from_iter(values), |row| Ok(summary(row)))?;
    rows.map(|row| row?).collect()
}

pub(super) fn insert_revocation(
    tx: &Tx<'_>,
    serial: Serial,
    reason: Reason,
    at: UnixTime,
    not_after: Option<UnixTime>,
) -> Result<(), StoreError> {
    let id = serial.request_id().ok_or_else(|| StoreError::not_found("certificate", serial))?;
    tx.conn
        .prepare_cached(
            "INSERT INTO revocations (id, serial, reason, at, not_after) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (id) DO UPDATE SET reason = excluded.reason, at = excluded.at",
        )?
        .execute(params![
            convert::id(id),
            serial.as_bytes(),
            reason.code(),
            at.0,
            not_after.map(|end| end.0)
        ])?;
    instance::raise_revocations(tx)
}

/// The reason for which a serial number is revoked now.
fn revoked_for(conn: &Connection, serial: Serial) -> Result<Option<Reason>, StoreError> {
    let Some(id) = serial.request_id() else { return Ok(None) };
    let code: Option<u8> = conn
        .prepare_cached("SELECT reason FROM revocations WHERE id = ?1 AND serial = ?2")?
        .query_row(params![convert::id(id), serial.as_bytes()], |row| row.get(0))
        .optional()?;
    code.map(convert::read_reason).transpose()
}

pub(crate) fn revoke(
    tx: &Tx<'_>,
    serial: Serial,
    reason: Reason,
    actor: &Actor,
    at: UnixTime,
) -> Result<Revoked, StoreError> {
    match revoked_for(tx.conn, serial)? {
        Some(standing) if standing != Reason::CertificateHold || reason == Reason::CertificateHold => {
            return Err(StoreError::AlreadyRevoked { serial, reason: standing.as_str() });
        }
        Some(_) | None => {}
    }
    let certificate = get(tx.conn, serial)?.ok_or_else(|| StoreError::not_found("certificate", serial))?;
    insert_revocation(tx, serial, reason, at, Some(certificate.summary.not_after))?;
    recent::forget(tx, certificate.summary.id)?;
    let mut key_blocked = false;
    if reason == Reason::KeyCompromise
        && let Some(spki) = der::spki(&certificate.der)
    {
        insert_blocked(tx, digest(&SHA256, spki).as_ref(), at)?;
        key_blocked = true;
    }
    tx.audit(&revocation_event(certificate.summary.id, serial, reason.as_str(), actor, at))?;
    Ok(Revoked { key_blocked })
}

pub(crate) fn release_hold(
    tx: &Tx<'_>,
    serial: Serial,
    actor: &Actor,
    at: UnixTime,
) -> Result<(), StoreError> {
    let standing = revoked_for(tx.conn, serial)?;
    let (Some(reason), Some(id)) = (standing, serial.request_id()) else {
        return Err(StoreError::not_found("revoked certificate", serial));
    };
    if reason != Reason::CertificateHold {
        return Err(StoreError::AlreadyRevoked { serial, reason: reason.as_str() });
    }
    tx.conn.prepare_cached("DELETE FROM revocations WHERE id = ?1")?.execute([convert::id(id)])?;
    instance::raise_revocations(tx)?;
    tx.audit(&revocation_event(id, serial, "removeFromCRL", actor, at))
}

fn revocation_event(
    id: muster_core::RequestId,
    serial: Serial,
    reason: &str,
    actor: &Actor,
    at: UnixTime,
) -> Event {
    Event {
        object: Some(reason.to_owned()),
        request: Some(id),
        serial: Some(serial),
        ..Event::new(at, actor.clone(), Action::Revoke)
    }
}

pub(super) fn insert_blocked(tx: &Tx<'_>, spki_sha256: &[u8], at: UnixTime) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached("INSERT INTO blocked_keys (spki_sha256, at) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
        .execute(params![spki_sha256, at.0])?;
    instance::raise_configuration(tx).map(drop)
}

pub(crate) fn block_key(
    tx: &Tx<'_>,
    spki_sha256: [u8; 32],
    actor: &Actor,
    at: UnixTime,
) -> Result<(), StoreError> {
    insert_blocked(tx, &spki_sha256, at)?;
    let object = spki_sha256.iter().fold("key:".to_owned(), |text, b| format!("{text}{b:02x}"));
    tx.audit(&Event { object: Some(object), ..Event::new(at, actor.clone(), Action::Revoke) })
}

pub(crate) fn is_key_blocked(conn: &Connection, spki_sha256: [u8; 32]) -> Result<bool, StoreError> {
    Ok(conn.prepare_cached("SELECT 1 FROM blocked_keys WHERE spki_sha256 = ?1")?.exists([spki_sha256])?)
}

/// Every blocked key, if there are at most so many.
pub(crate) fn blocked_keys(conn: &Connection, most: usize) -> Result<Option<HashSet<[u8; 32]>>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT spki_sha256 FROM blocked_keys")?;
    let mut rows = statement.query([])?;
    let mut keys = HashSet::new();
    while let Some(row) = rows.next()? {
        if keys.len() >= most {
            return Ok(None);
        }
        keys.insert(row.get(0)?);
    }
    Ok(Some(keys))
}
