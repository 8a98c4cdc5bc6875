//! Rows of lines: which certificate was had with which.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{SHA256, digest};
use muster_core::audit::{Action, Actor, Event};
use muster_core::policy::LinePlace;
use muster_core::request::RequestForm;
use muster_core::revocation::Reason;
use muster_core::{Method, RequestId, Serial, UnixTime};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::hot::Hot;
use super::writer::Tx;
use super::{certificates, convert, der, issuance, recent};
use crate::error::StoreError;
use crate::lines::{LineMember, LineRevoked};

/// SHA-256 of a SubjectPublicKeyInfo.
pub(crate) fn key_of(spki: &[u8]) -> [u8; 32] {
    let mut key = [0; 32];
    key.iter_mut().zip(digest(&SHA256, spki).as_ref()).for_each(|(to, from)| *to = *from);
    key
}

/// How a request came to its certificate.
pub(super) struct Descent<'a> {
    pub(super) with: Serial,
    pub(super) form: &'a str,
    pub(super) method: Method,
    pub(super) received: UnixTime,
}

impl Descent<'_> {
    fn is_renewal(&self) -> bool {
        self.form == RequestForm::RENEWAL
    }

    /// The renewal of the same certificate with another key than `key`, if there is one.
    pub(super) fn fork(&self, conn: &Connection, key: &[u8; 32]) -> Result<Option<RequestId>, StoreError> {
        let Some(parent) = self.with.request_id().filter(|_| self.is_renewal()) else { return Ok(None) };
        let other = |successor: &Successor| successor.key.as_ref() != Some(key);
        Ok(successors(conn, parent)?.into_iter().find(other).map(|successor| successor.id))
    }

    /// Enters the certificate that is about to be made. Nothing if what it was asked with is not a certificate of ours.
    pub(super) fn enter(&self, tx: &Tx<'_>, id: RequestId, key: Option<[u8; 32]>) -> Result<(), StoreError> {
        let Some(parent) = self.with.request_id() else { return Ok(()) };
        let by_certificate = matches!(self.method, Method::ClientCertificate);
        let values = params![
            convert::id(id),
            convert::id(parent),
            self.with.as_bytes(),
            self.is_renewal(),
            by_certificate,
            self.received.0,
            key.as_ref().map(<[u8; 32]>::as_slice)
        ];
        tx.hot.run(Hot::Line, values).map(drop)
    }
}

/// A renewal of a certificate.
struct Successor {
    id: RequestId,
    key: Option<[u8; 32]>,
    at: UnixTime,
}

fn successors(conn: &Connection, parent: RequestId) -> Result<Vec<Successor>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT lines.id, key, coalesce(issued, received), der, tbs
         FROM lines JOIN requests USING (id) LEFT JOIN certificates USING (id)
         LEFT JOIN certificate_bodies ON key IS NULL AND certificate_bodies.id = lines.id
         LEFT JOIN request_bodies ON key IS NULL AND request_bodies.id = lines.id
         WHERE parent = ?1 AND origin <> lines.id ORDER BY lines.id",
    )?;
    let rows = statement.query_map([convert::id(parent)], |row| {
        let read = |row: &Row<'_>| -> Result<Successor, StoreError> {
            let key = key(row.get(1)?, row.get(3)?, row.get(4)?);
            Ok(Successor { id: convert::read_id(row, 0)?, key, at: UnixTime(row.get(2)?) })
        };
        Ok(read(row))
    })?;
    rows.map(|row| row?).collect()
}

/// The key of a row, or that of its certificate.
/// The key of a certificate: as it was noted, or from the octets that were signed (inside of a whole certificate where
/// an earlier version stored it).
fn key(stored: Option<[u8; 32]>, certificate: Option<Vec<u8>>, tbs: Option<Vec<u8>>) -> Option<[u8; 32]> {
    let read = || match (&certificate, &tbs) {
        (Some(certificate), _) => der::spki(certificate),
        (None, Some(tbs)) => der::spki_of_tbs(tbs),
        (None, None) => None,
    };
    stored.or_else(|| read().map(key_of))
}

pub(crate) fn place(conn: &Connection, serial: Serial, spki: &[u8]) -> Result<LinePlace, StoreError> {
    let missing = || StoreError::not_found("certificate", serial);
    let id = serial.request_id().ok_or_else(missing)?;
    let place = conn
        .prepare_cached(
            "SELECT coalesce(generation, 0), coalesce(since, issued),
                    EXISTS (SELECT 1 FROM requests WHERE requests.id = coalesce(origin, certificates.id)
                            AND officer IS NOT NULL)
             FROM certificates LEFT JOIN lines ON lines.id = certificates.id
             WHERE certificates.id = ?1 AND serial = ?2",
        )?
        .query_row(params![convert::id(id), serial.as_bytes()], |row| {
            Ok((row.get::<_, u32>(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    let (generation, since, approved) = place.ok_or_else(missing)?;
    let (wanted, successors) = (key_of(spki), successors(conn, id)?);
    Ok(LinePlace {
        generation,
        since: UnixTime(since),
        approved,
        forked: successors.iter().any(|successor| successor.key != Some(wanted)),
        renewed_at: successors.iter().map(|successor| successor.at).max(),
    })
}

/// The first request of the line of a certificate.
fn line_of(conn: &Connection, serial: Serial) -> Result<i64, StoreError> {
    let missing = || StoreError::not_found("certificate", serial);
    let id = serial.request_id().ok_or_else(missing)?;
    let line: Option<i64> = conn
        .prepare_cached(
            "SELECT coalesce(line, certificates.id)
             FROM certificates LEFT JOIN lines ON lines.id = certificates.id
             WHERE certificates.id = ?1 AND serial = ?2",
        )?
        .query_row(params![convert::id(id), serial.as_bytes()], |row| row.get(0))
        .optional()?;
    line.ok_or_else(missing)
}

pub(crate) fn members(conn: &Connection, serial: Serial) -> Result<Vec<LineMember>, StoreError> {
    let line = line_of(conn, serial)?;
    let mut statement = conn.prepare_cached(
        "WITH members (id) AS (SELECT ?1 UNION SELECT id FROM lines WHERE line = ?1)
         SELECT members.id, parent, origin, generation, since, key, der, issued, submitted_by, serial, tbs
         FROM members LEFT JOIN lines USING (id) LEFT JOIN certificates USING (id)
         LEFT JOIN certificate_bodies USING (id) LEFT JOIN request_bodies USING (id) ORDER BY members.id",
    )?;
    let mut rows = statement.query([line])?;
    let mut members = Vec::new();
    while let Some(row) = rows.next()? {
        let id = convert::read_id(row, 0)?;
        let (parent, origin): (Option<u32>, Option<u32>) = (row.get(1)?, row.get(2)?);
        let since: Option<i64> = row.get(4)?;
        let issued: Option<i64> = row.get(7)?;
        let serial: Option<Vec<u8>> = row.get(9)?;
        let certificate = match serial.as_deref().and_then(Serial::from_bytes) {
            Some(serial) => certificates::get(conn, serial)?.map(|certificate| certificate.summary),
            None => None,
        };
        members.push(LineMember {
            id,
            parent: parent.and_then(RequestId::new),
            renewal: origin.is_some_and(|origin| origin != id.number()),
            generation: row.get::<_, Option<u32>>(3)?.unwrap_or(0),
            since: UnixTime(since.or(issued).unwrap_or_default()),
            key: key(row.get(5)?, row.get(6)?, row.get(10)?),
            certificate,
            submitted_by: row.get::<_, Option<String>>(8)?.unwrap_or_default(),
        });
    }
    Ok(members)
}

pub(crate) fn revoke(
    tx: &Tx<'_>,
    serial: Serial,
    reason: Reason,
    actor: &Actor,
    at: UnixTime,
) -> Result<LineRevoked, StoreError> {
    if reason == Reason::CertificateHold {
        return Err(StoreError::Conflict(
            "a line is revoked for good; put single certificates on hold, or name another reason".to_owned(),
        ));
    }
    let mut done = LineRevoked::default();
    let mut keys = BTreeSet::new();
    for member in members(tx.conn, serial)? {
        keys.extend(member.key);
        let Some(certificate) = &member.certificate else {
            // Recorded and perhaps signed; what comes of it is never committed, and its serial number is revoked.
            if let Some(open) = open_intent(tx.conn, member.id)? {
                issuance::abandon(tx, member.id, open, "its line was revoked", at)?;
                done.given_up.push(member.id);
            }
            continue;
        };
        let standing = certificate.revocation.map(|revocation| revocation.reason);
        if standing.is_some_and(|standing| standing != Reason::CertificateHold) {
            done.before.push(certificate.serial);
            continue;
        }
        certificates::insert_revocation(tx, certificate.serial, reason, at, Some(certificate.not_after))?;
        recent::forget(tx, member.id)?;
        tx.audit(&Event {
            object: Some(format!("{reason} (line of {serial})")),
            request: Some(member.id),
            serial: Some(certificate.serial),
            ..Event::new(at, actor.clone(), Action::Revoke)
        })?;
        done.revoked.push(certificate.serial);
    }
    for key in &keys {
        certificates::insert_blocked(tx, key, at)?;
    }
    done.keys = keys.len();
    Ok(done)
}

fn open_intent(conn: &Connection, id: RequestId) -> Result<Option<Serial>, StoreError> {
    let serial = conn
        .prepare_cached("SELECT serial FROM intents WHERE id = ?1")?
        .query_row([convert::id(id)], |row| Ok(convert::read_serial(row, 0)))
        .optional()?;
    serial.transpose()
}
