//! The audit chain in SQLite: appending, reading, verifying.

use aws_lc_rs::digest::{SHA256, digest};
use muster_core::audit::Event;
use muster_core::{RequestId, Serial, UnixTime};
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params, params_from_iter};

use super::convert;
use super::hot::Hot;
use super::writer::Tx;
use crate::audit::{AuditFault, AuditFilter, AuditHead, AuditRecord, AuditReport};
use crate::error::StoreError;

/// Faults listed by one verification; more say nothing new.
const MOST_FAULTS: usize = 1_000;

/// Room for the octets of a usual record, as they are hashed.
const USUAL_LENGTH: usize = 512;

/// The last record of the chain.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    sequence: i64,
    hash: [u8; 32],
}

impl Head {
    pub(super) fn read(conn: &Connection) -> Result<Self, StoreError> {
        let mut statement = conn.prepare_cached("SELECT sequence, hash FROM audit_head WHERE one = 1")?;
        Ok(statement.query_row([], |row| Ok(Self { sequence: row.get(0)?, hash: row.get(1)? }))?)
    }

    pub(super) const fn sequence(&self) -> i64 {
        self.sequence
    }

    /// The chain before its first record.
    #[cfg(test)]
    pub(super) const fn before_all() -> Self {
        Self { sequence: 0, hash: [0; 32] }
    }

    /// Whether the chain contains this record.
    pub(super) fn is_in(&self, conn: &Connection) -> Result<bool, StoreError> {
        Ok(conn
            .prepare_cached("SELECT 1 FROM audit WHERE sequence = ?1 AND hash = ?2")?
            .exists(params![self.sequence, self.hash])?)
    }

    /// Whether there is no record yet.
    pub(super) const fn is_start(&self) -> bool {
        self.sequence == 0
    }

    pub(super) fn write_unless(self, before: Self, conn: &Connection) -> Result<(), StoreError> {
        if self != before {
            conn.prepare_cached("UPDATE audit_head SET sequence = ?1, hash = ?2 WHERE one = 1")?
                .execute(params![self.sequence, self.hash])?;
        }
        Ok(())
    }
}

/// The stored columns of one record, as they are hashed.
struct Columns<'a> {
    sequence: i64,
    at: i64,
    actor: &'a str,
    action: &'a str,
    object: Option<&'a str>,
    template: Option<&'a str>,
    request: Option<i64>,
    serial: Option<&'a [u8]>,
    outcome: &'a str,
}

impl Columns<'_> {
    /// SHA-256 over the hash before and every column: numbers as 8 octets, big endian; texts and octets behind a
    /// 1 and their length as 4 octets; an absent value as a 0. So no two different records have the same octets.
    fn hash(&self, before: &[u8; 32]) -> [u8; 32] {
        // One call for all of it: a record is some hundred octets in twenty pieces.
        let mut octets = Vec::with_capacity(USUAL_LENGTH);
        octets.extend_from_slice(before);
        octets.extend_from_slice(&self.sequence.to_be_bytes());
        octets.extend_from_slice(&self.at.to_be_bytes());
        let request = self.request.map(i64::to_be_bytes);
        let fields: [Option<&[u8]>; 7] = [
            Some(self.actor.as_bytes()),
            Some(self.action.as_bytes()),
            self.object.map(str::as_bytes),
            self.template.map(str::as_bytes),
            request.as_ref().map(<[u8; 8]>::as_slice),
            self.serial,
            Some(self.outcome.as_bytes()),
        ];
        for field in fields {
            match field {
                Some(field) => {
                    octets.push(1);
                    octets.extend_from_slice(&u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
                    octets.extend_from_slice(field);
                }
                None => octets.push(0),
            }
        }
        let mut hash = [0; 32];
        hash.iter_mut().zip(digest(&SHA256, &octets).as_ref()).for_each(|(to, from)| *to = *from);
        hash
    }
}

impl Tx<'_> {
    /// Appends one record to the chain.
    pub(crate) fn audit(&self, event: &Event) -> Result<(), StoreError> {
        let head = self.head.get();
        let sequence = head.sequence.saturating_add(1);
        let (actor, outcome) = (event.actor.to_string(), event.outcome.to_string());
        let columns = Columns {
            sequence,
            at: event.at.0,
            actor: &actor,
            action: event.action.as_str(),
            object: event.object.as_deref(),
            template: event.template.as_deref(),
            request: event.request.map(convert::id),
            serial: event.serial.as_ref().map(|s| s.as_bytes().as_slice()),
            outcome: &outcome,
        };
        let hash = columns.hash(&head.hash);
        self.hot.run(
            Hot::Audit,
            params![
                columns.sequence,
                columns.at,
                columns.actor,
                columns.action,
                columns.object,
                columns.template,
                columns.request,
                columns.serial,
                columns.outcome,
                hash
            ],
        )?;
        self.head.set(Head { sequence, hash });
        Ok(())
    }
}

/// The last record as the head row says.
pub(crate) fn head(conn: &Connection) -> Result<AuditHead, StoreError> {
    let head = Head::read(conn)?;
    Ok(AuditHead { sequence: head.sequence.unsigned_abs(), hash: head.hash })
}

/// Newest first.
pub(crate) fn list(conn: &Connection, filter: &AuditFilter) -> Result<Vec<AuditRecord>, StoreError> {
    let mut sql = String::from(
        "SELECT sequence, at, actor, action, object, template, request, serial, outcome FROM audit WHERE 1 = 1",
    );
    let mut values: Vec<Value> = Vec::new();
    let mut and = |condition: &str, value: Value| {
        sql.push_str(condition);
        values.push(value);
    };
    if let Some(before) = filter.before {
        and(" AND sequence < ?", convert::counter(before).into());
    }
    if let Some(since) = filter.since {
        and(" AND at >= ?", since.0.into());
    }
    if let Some(action) = filter.action {
        and(" AND action = ?", action.as_str().to_owned().into());
    }
    if let Some(request) = filter.request {
        and(" AND request = ?", convert::id(request).into());
    }
    and(" ORDER BY sequence DESC LIMIT ?", i64::from(filter.limit).into());
    let mut statement = conn.prepare_cached(&sql)?;
    let rows = statement.query_map(params_from_iter(values), |row| Ok(record(row)))?;
    rows.map(|row| row?).collect()
}

fn record(row: &Row<'_>) -> Result<AuditRecord, StoreError> {
    Ok(AuditRecord {
        sequence: row.get::<_, i64>(0)?.unsigned_abs(),
        at: UnixTime(row.get(1)?),
        actor: row.get(2)?,
        action: row.get(3)?,
        object: row.get(4)?,
        template: row.get(5)?,
        request: row.get::<_, Option<u32>>(6)?.and_then(RequestId::new),
        serial: row.get::<_, Option<Vec<u8>>>(7)?.as_deref().and_then(Serial::from_bytes),
        outcome: row.get(8)?,
    })
}

/// Reads the whole chain in one snapshot.
pub(crate) fn verify(conn: &Connection) -> Result<AuditReport, StoreError> {
    let snapshot = conn.unchecked_transaction()?;
    let head = Head::read(&snapshot)?;
    let mut report = AuditReport { records: 0, head: self::head(&snapshot)?, faults: Vec::new() };
    let mut statement = snapshot.prepare(
        "SELECT sequence, at, actor, action, object, template, request, serial, outcome, hash
         FROM audit ORDER BY sequence",
    )?;
    let mut rows = statement.query([])?;
    let mut last = Head { sequence: 0, hash: [0; 32] };
    while let Some(row) = rows.next()? {
        if report.faults.len() >= MOST_FAULTS {
            return Ok(report);
        }
        let text = |index: usize| row.get_ref(index).map_err(StoreError::from);
        let unreadable = |_| StoreError::unreadable("audit record");
        let columns = Columns {
            sequence: row.get(0)?,
            at: row.get(1)?,
            actor: text(2)?.as_str().map_err(unreadable)?,
            action: text(3)?.as_str().map_err(unreadable)?,
            object: text(4)?.as_str_or_null().map_err(unreadable)?,
            template: text(5)?.as_str_or_null().map_err(unreadable)?,
            request: row.get(6)?,
            serial: text(7)?.as_blob_or_null().map_err(unreadable)?,
            outcome: text(8)?.as_str().map_err(unreadable)?,
        };
        let stored: [u8; 32] = row.get(9)?;
        let next = last.sequence.saturating_add(1);
        if columns.sequence < next {
            // Numbers below 1 do not follow the number before the first.
            report.faults.push(AuditFault::Inserted(columns.sequence));
            continue;
        }
        if columns.sequence > next {
            report.faults.push(AuditFault::Missing {
                first: next.unsigned_abs(),
                last: columns.sequence.saturating_sub(1).unsigned_abs(),
            });
        }
        if columns.hash(&last.hash) != stored {
            report.faults.push(AuditFault::Changed(columns.sequence.unsigned_abs()));
        }
        last = Head { sequence: columns.sequence, hash: stored };
        report.records = report.records.saturating_add(1);
    }
    if last.sequence < head.sequence {
        report.faults.push(AuditFault::Missing {
            first: last.sequence.saturating_add(1).unsigned_abs(),
            last: head.sequence.unsigned_abs(),
        });
    } else if last != head {
        report.faults.push(AuditFault::HeadDiffers);
    }
    Ok(report)
}
