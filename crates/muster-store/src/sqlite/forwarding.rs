//! The two writes of a request that is passed on, and what marks the first when the second never comes.

use muster_core::audit::{Action, Actor, AuditOutcome, Event};
use muster_core::forwarding::{Expected, ExpectedNames, ExpectedSid, Outcome, Settlement, SubmissionRecord};
use muster_core::{RequestId, UnixTime};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::issuance::{check_unchanged, digest_name};
use super::recent::Key;
use super::writer::Tx;
use super::{convert, recent, requests};
use crate::Generations;
use crate::error::StoreError;
use crate::forwarding::{ForwardedFilter, ForwardedRequest, Forwarding};
use crate::requests::{Disposition, Owner};

/// Word for word the condition of the partial index, so that it is used.
pub(super) const OPEN: &str = "state IN ('submitting', 'under_submission', 'unknown')";

/// The column `rules`, as JSON.
type Rules = (ExpectedSid, ExpectedNames);

pub(crate) fn record(
    record: SubmissionRecord,
    node: String,
    window: i64,
    seen: Option<Generations>,
) -> impl FnMut(&Tx<'_>) -> Result<(), StoreError> + Send {
    let SubmissionRecord { request, ca, identity, expected, at } = record;
    let Expected { spki, template_name, template_oid, sid, names } = expected;
    let sid_demanded = sid.demanded().map(str::to_owned);
    let rules = serde_json::to_string::<Rules>(&(sid, names)).unwrap_or_default();
    let key = Key::new(Owner::of(&request), request.template.as_deref(), &request.raw);
    let event = Event {
        object: Some(format!("{ca} {}", digest_name(&request.raw))),
        template: request.template.clone(),
        request: Some(request.id),
        ..Event::new(at, request.actor.clone(), Action::RecordSubmission)
    };
    move |tx| {
        check_unchanged(tx, seen)?;
        let entered = recent::enter(tx, key, &request, window)?;
        if let Some(other) = open(tx.conn, key, Owner::of(&request), &request.raw)? {
            return Err(StoreError::Duplicate(other));
        }
        requests::insert(tx, &request, Disposition::Signing, entered, None)?;
        tx.conn
            .prepare_cached(
                "INSERT INTO forwarding
                 (id, ca, identity, spki, template_name, template_oid, sid, node, sent, sent_key, rules, state)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 'submitting')",
            )?
            .execute(params![
                convert::id(request.id),
                ca,
                identity.as_str(),
                spki,
                template_name,
                template_oid.as_ref().map(ToString::to_string),
                sid_demanded,
                node,
                at.0,
                key.stored(),
                rules,
            ])?;
        tx.audit(&event)
    }
}

/// The same request, if a CA may have it and has not decided, however long ago it came.
fn open(conn: &Connection, key: Key, owner: Owner<'_>, raw: &[u8]) -> Result<Option<RequestId>, StoreError> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT id FROM forwarding INDEXED BY forwarding_open WHERE sent_key = ?1 AND {OPEN}"
    ))?;
    let mut rows = statement.query([key.stored()])?;
    while let Some(row) = rows.next()? {
        let id = convert::read_id(row, 0)?;
        if requests::compare_recent(conn, id, owner, raw)?.is_some() {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

/// What is written down of an outcome.
struct Written<'a> {
    state: Disposition,
    action: Action,
    outcome: AuditOutcome,
    backend_id: Option<u32>,
    certificate: Option<&'a [u8]>,
    response: &'a [u8],
    hresult: Option<u32>,
    message: Option<String>,
}

impl<'a> Written<'a> {
    fn of(outcome: &'a Outcome) -> Self {
        let plain = |state, action, outcome| Self {
            state,
            action,
            outcome,
            backend_id: None,
            certificate: None,
            response: &[],
            hresult: None,
            message: None,
        };
        let failed = |state, action, why: &str| Self {
            message: Some(clean(why)),
            ..plain(state, action, AuditOutcome::Failed(clean(why)))
        };
        match outcome {
            Outcome::Issued { backend_id, certificate, response } => Self {
                backend_id: Some(*backend_id),
                certificate: Some(certificate),
                response,
                ..plain(Disposition::Issued, Action::RecordAnswer, AuditOutcome::Done)
            },
            Outcome::UnderSubmission { backend_id, response, message } => Self {
                backend_id: Some(*backend_id),
                response,
                message: Some(clean(message)),
                ..plain(Disposition::UnderSubmission, Action::RecordAnswer, AuditOutcome::Pending)
            },
            Outcome::Denied { backend_id, hresult, response, message } => {
                let refused = AuditOutcome::Refused(outcome.code().unwrap_or_default());
                Self {
                    backend_id: *backend_id,
                    response,
                    hresult: *hresult,
                    message: Some(clean(message)),
                    ..plain(Disposition::Denied, Action::RecordAnswer, refused)
                }
            }
            Outcome::NotSubmitted { why } => failed(Disposition::Failed, Action::WithdrawSubmission, why),
            Outcome::Unknown { why } => failed(Disposition::Unknown, Action::LoseSubmission, why),
            Outcome::Untrusted { backend_id, why } => {
                Self { backend_id: *backend_id, ..failed(Disposition::Unknown, Action::DistrustAnswer, why) }
            }
        }
    }
}

/// Words of others as one line: what a terminal would act on is taken out.
fn clean(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    requests::clip(line.trim()).to_owned()
}

/// A row as it is before something is written into it.
struct Present {
    ca: String,
    state: Disposition,
    backend_id: Option<u32>,
    message: Option<String>,
}

fn present(tx: &Tx<'_>, id: RequestId) -> Result<Present, StoreError> {
    let row = tx
        .conn
        .prepare_cached(
            "SELECT ca, state, backend_id, message FROM forwarding JOIN requests USING (id) WHERE id = ?1",
        )?
        .query_row([convert::id(id)], |row| {
            Ok((row.get(0)?, row.get::<_, String>(1)?, row.get(2)?, row.get(3)?))
        })
        .optional()?;
    match row {
        Some((ca, state, backend_id, message)) => {
            Ok(Present { ca, state: convert::parse(&state, "state")?, backend_id, message })
        }
        // It is ours, or is not there.
        None => {
            let present = requests::present(tx.conn, id)?;
            Err(StoreError::WrongState { id, present, needed: Disposition::Unknown })
        }
    }
}

pub(crate) fn settle(tx: &Tx<'_>, settlement: &Settlement) -> Result<(), StoreError> {
    let Settlement { id, actor, outcome, at } = settlement;
    let present = present(tx, *id)?;
    let written = Written::of(outcome);
    if !is_news(*id, &present, outcome)? {
        return Ok(());
    }
    if let (Some(known), Some(other)) = (present.backend_id, written.backend_id)
        && known != other
    {
        return Err(StoreError::Conflict(format!(
            "request {id} is request {known} of {}, and not {other}",
            present.ca
        )));
    }
    let stored = convert::id(*id);
    tx.conn
        .prepare_cached(
            "UPDATE forwarding SET state = ?2, backend_id = coalesce(?3, backend_id), certificate = ?4,
             response = ?5, hresult = ?6, settled = ?7 WHERE id = ?1",
        )?
        .execute(params![
            stored,
            written.state.as_str(),
            written.backend_id,
            written.certificate,
            Some(written.response).filter(|response| !response.is_empty()),
            written.hresult,
            at.0,
        ])?;
    tx.conn.prepare_cached("UPDATE requests SET code = ?2, message = ?3 WHERE id = ?1")?.execute(params![
        stored,
        outcome.code(),
        written.message
    ])?;
    if outcome.may_be_sent_again() {
        recent::forget(tx, *id)?;
    }
    let number = written.backend_id.or(present.backend_id);
    let mut object = present.ca;
    if let Some(number) = number {
        object.push_str(&format!(" request {number}"));
    }
    if let Some(certificate) = written.certificate {
        object.push_str(&format!(" {}", digest_name(certificate)));
    }
    tx.audit(&Event {
        object: Some(object),
        request: Some(*id),
        outcome: written.outcome,
        ..Event::new(*at, actor.clone(), written.action)
    })
}

/// Whether something was learnt that is to be written down.
fn is_news(id: RequestId, present: &Present, outcome: &Outcome) -> Result<bool, StoreError> {
    let differs = |said: &str| present.message.as_deref() != Some(clean(said).as_str());
    let refuse = |needed| Err(StoreError::WrongState { id, present: present.state, needed });
    match (present.state, outcome) {
        (Disposition::Submitting, _) => Ok(true),
        (Disposition::UnderSubmission, Outcome::UnderSubmission { message, .. }) => Ok(differs(message)),
        (
            Disposition::UnderSubmission,
            Outcome::Issued { .. } | Outcome::Denied { .. } | Outcome::Untrusted { .. },
        ) => Ok(true),
        (Disposition::UnderSubmission, Outcome::NotSubmitted { .. } | Outcome::Unknown { .. }) => {
            refuse(Disposition::Submitting)
        }
        // Why it is unknown was written down when it became so.
        (Disposition::Unknown, Outcome::Unknown { .. }) => Ok(false),
        (Disposition::Unknown, Outcome::Untrusted { why, .. }) => Ok(differs(why)),
        (
            Disposition::Unknown,
            Outcome::Issued { .. }
            | Outcome::UnderSubmission { .. }
            | Outcome::Denied { .. }
            | Outcome::NotSubmitted { .. },
        ) => Ok(true),
        (
            Disposition::Pending
            | Disposition::Approved
            | Disposition::Signing
            | Disposition::Issued
            | Disposition::Denied
            | Disposition::Failed,
            _,
        ) => refuse(Disposition::Unknown),
    }
}

pub(crate) fn nodes_that_submit(conn: &Connection) -> Result<Vec<String>, StoreError> {
    let sql = format!(
        "SELECT DISTINCT node FROM forwarding INDEXED BY forwarding_open WHERE {OPEN} AND state = 'submitting'"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let rows = statement.query_map([], |row| row.get(0))?;
    rows.map(|row| row.map_err(StoreError::from)).collect()
}

pub(crate) fn recover(
    tx: &Tx<'_>,
    ended: &[String],
    own: &str,
    own_before: UnixTime,
    at: UnixTime,
) -> Result<Vec<RequestId>, StoreError> {
    let sql = format!(
        "SELECT id, node, sent FROM forwarding INDEXED BY forwarding_open WHERE {OPEN} AND state = 'submitting' ORDER BY id"
    );
    let mut statement = tx.conn.prepare_cached(&sql)?;
    let mut rows = statement.query([])?;
    let mut lost = Vec::new();
    while let Some(row) = rows.next()? {
        let (node, sent): (String, i64) = (row.get(1)?, row.get(2)?);
        let why = if ended.contains(&node) {
            "the service ended while the CA was asked"
        } else if node == own && sent < own_before.0 {
            "what the CA answered was not written down in time"
        } else {
            continue;
        };
        lost.push((convert::read_id(row, 0)?, why));
    }
    drop(rows);
    for (id, why) in &lost {
        let outcome = Outcome::Unknown { why: (*why).to_owned() };
        settle(tx, &Settlement { id: *id, actor: Actor::Service, outcome, at })?;
    }
    Ok(lost.into_iter().map(|(id, _)| id).collect())
}

/// The columns that [`read`] reads, in its order.
const COLUMNS: &str = "ca, identity, spki, template_name, template_oid, sid, sent, backend_id, certificate,
     response, hresult, settled, rules";

/// What was sent and what came of it, from the column `first` on.
fn read(row: &Row<'_>, first: usize, message: Option<&str>) -> Result<Forwarding, StoreError> {
    let oid: Option<String> = row.get(first + 4)?;
    let demanded: Option<String> = row.get(first + 5)?;
    let rules: Option<String> = row.get(first + 12)?;
    let (sid, names): Rules = match rules {
        Some(rules) => serde_json::from_str(&rules).map_err(|_| StoreError::unreadable("expected names"))?,
        None => {
            (demanded.map_or(ExpectedSid::NotCompared, ExpectedSid::Demanded), ExpectedNames::NotCompared)
        }
    };
    Ok(Forwarding {
        ca: row.get(first)?,
        identity: convert::parse(&row.get::<_, String>(first + 1)?, "identity mode")?,
        expected: Expected {
            spki: row.get(first + 2)?,
            template_name: row.get(first + 3)?,
            template_oid: oid.map(|oid| convert::parse(&oid, "object identifier")).transpose()?,
            sid,
            names,
        },
        sent: UnixTime(row.get(first + 6)?),
        backend_request_id: row.get(first + 7)?,
        certificate: row.get(first + 8)?,
        response: row.get(first + 9)?,
        hresult: row.get(first + 10)?,
        message: message.map(str::to_owned),
        settled: row.get::<_, Option<i64>>(first + 11)?.map(UnixTime),
    })
}

pub(crate) fn get(
    conn: &Connection,
    id: RequestId,
    message: Option<&str>,
) -> Result<Option<Forwarding>, StoreError> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM forwarding WHERE id = ?1"))?
        .query_row([convert::id(id)], |row| Ok(read(row, 0, message)))
        .optional()?
        .transpose()
}

pub(crate) fn list(conn: &Connection, filter: &ForwardedFilter) -> Result<Vec<ForwardedRequest>, StoreError> {
    let mut sql = format!("SELECT id FROM forwarding INDEXED BY forwarding_open WHERE {OPEN}");
    let mut values: Vec<Value> = Vec::new();
    let mut and = |condition: &str, value: Value| {
        sql.push_str(condition);
        values.push(value);
    };
    if let Some(disposition) = filter.disposition {
        and(" AND state = ?", disposition.as_str().to_owned().into());
    }
    if let Some(ca) = &filter.ca {
        and(" AND ca = ?", ca.clone().into());
    }
    if let Some(after) = filter.after {
        and(" AND id > ?", convert::id(after).into());
    }
    and(" ORDER BY id LIMIT ?", i64::from(filter.limit).into());
    let mut statement = conn.prepare_cached(&sql)?;
    let rows = statement.query_map(params_from_iter(values), |row| Ok(convert::read_id(row, 0)))?;
    let ids: Vec<RequestId> = rows.map(|row| row?).collect::<Result<_, StoreError>>()?;
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        let summary = requests::get_summary(conn, id)?.ok_or_else(|| StoreError::not_found("request", id))?;
        let forwarding = get(conn, id, summary.message.as_deref())?;
        // Read one after the other, so it may have gone on meanwhile.
        if let Some(forwarding) = forwarding {
            found.push(ForwardedRequest { summary, forwarding });
        }
    }
    Ok(found)
}
