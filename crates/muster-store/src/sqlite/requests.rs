//! Rows of the request table.

use muster_core::audit::{Action, Actor, AuditOutcome, Event};
use muster_core::identity::{Method, Sid};
use muster_core::issuance::RequestRecord;
use muster_core::policy::FORK_CODE;
use muster_core::{RequestId, Serial, UnixTime};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::hot::Hot;
use super::recent::Key;
use super::writer::Tx;
use super::{agents, certificates, convert, forwarding, lines, recent, templates, tokens};
use crate::error::StoreError;
use crate::forwarding::ForwardedTo;
use crate::requests::{
    Disposition, OfficerDecision, Owner, RecentRequest, Request, RequestFilter, RequestSummary,
};

/// Longest text kept of what others wrote: sentences, comments.
const LONGEST_TEXT: usize = 2_000;
/// Longest request that is kept although policy refused it, in octets; real ones are shorter.
const LONGEST_DENIED: usize = 8 * 1024;

/// A request that nothing is signed for yet.
pub(super) fn insert(
    tx: &Tx<'_>,
    record: &RequestRecord,
    disposition: Disposition,
    key: Option<Key>,
    refusal: Option<(&str, &str)>,
) -> Result<(), StoreError> {
    insert_with(tx, record, disposition, key, refusal, None)
}

/// A request and, where they are known already, the octets that are about to be signed for it.
pub(super) fn insert_with(
    tx: &Tx<'_>,
    record: &RequestRecord,
    disposition: Disposition,
    key: Option<Key>,
    refusal: Option<(&str, &str)>,
    tbs: Option<&[u8]>,
) -> Result<(), StoreError> {
    let id = convert::id(record.id);
    tx.hot.run(
        Hot::Request,
        params![
            id,
            record.received.0,
            record.requester.as_str(),
            record.method.as_str(),
            record.form,
            record.template,
            record.endpoint,
            record.asked_with.as_ref().map(Serial::as_bytes),
            disposition.as_str(),
            key.map(Key::stored),
            refusal.map(|(code, _)| code),
            refusal.map(|(_, sentence)| clip(sentence)),
            record.requester_sid.as_ref().map(Sid::as_str),
        ],
    )?;
    let kept = disposition != Disposition::Denied || record.raw.len() <= LONGEST_DENIED;
    let raw: &[u8] = if kept { &record.raw } else { &[] };
    tx.hot.run(Hot::RequestBody, params![id, record.actor.to_string(), raw, tbs])?;
    agents::note(tx, record)
}

pub(super) fn event(record: &RequestRecord, action: Action, outcome: AuditOutcome) -> Event {
    Event {
        template: record.template.clone(),
        request: Some(record.id),
        outcome,
        ..Event::new(record.received, record.actor.clone(), action)
    }
}

pub(crate) fn insert_pending(
    record: RequestRecord,
    revision: String,
    window: i64,
    most: u32,
) -> impl FnMut(&Tx<'_>) -> Result<(), StoreError> + Send {
    let key = Key::new(Owner::of(&record), record.template.as_deref(), &record.raw);
    move |tx| {
        pend(tx, &record, key, None, &revision, window, most)?;
        tx.audit(&event(&record, Action::Submit, AuditOutcome::Pending))
    }
}

fn pend(
    tx: &Tx<'_>,
    record: &RequestRecord,
    key: Key,
    why: Option<&str>,
    revision: &str,
    window: i64,
    most: u32,
) -> Result<(), StoreError> {
    let waiting: u32 = tx
        .conn
        .prepare_cached("SELECT count(*) FROM requests WHERE requester = ?1 AND disposition = 'pending'")?
        .query_row([record.requester.as_str()], |row| row.get(0))?;
    if waiting >= most {
        return Err(StoreError::TooManyPending(most));
    }
    let key = recent::enter(tx, key, record, window)?;
    tokens::count_use(tx, record, record.received)?;
    insert(tx, record, Disposition::Pending, key, why.map(|why| (FORK_CODE, why)))?;
    asks_for(tx, record.id, revision)
}

pub(crate) fn insert_forked(
    record: RequestRecord,
    wanted: [u8; 32],
    revision: String,
    window: i64,
    most: u32,
) -> impl FnMut(&Tx<'_>) -> Result<String, StoreError> + Send {
    let key = Key::new(Owner::of(&record), record.template.as_deref(), &record.raw);
    move |tx| {
        let with = record.asked_with.ok_or(StoreError::Changed)?;
        let (form, method, received) = (record.form, record.method, record.received);
        let descent = lines::Descent { with, form, method, received };
        let other = descent.fork(tx.conn, &wanted)?.ok_or(StoreError::Changed)?;
        let why = both_holders(tx.conn, with, other, &record.actor.to_string())?;
        pend(tx, &record, key, Some(&why), &revision, window, most)?;
        let pending = event(&record, Action::Submit, AuditOutcome::Pending);
        tx.audit(&Event { object: Some(why.clone()), serial: Some(with), ..pending })?;
        Ok(why)
    }
}

pub(crate) fn reopen_forked(
    tx: &Tx<'_>,
    id: RequestId,
    spki: &[u8],
    revision: &str,
    actor: &Actor,
    at: UnixTime,
) -> Result<String, StoreError> {
    need(tx, id, Disposition::Approved)?;
    let Descends { with, form, method, received, .. } = descends(tx.conn, id)?.ok_or(StoreError::Changed)?;
    let descent = lines::Descent { with, form: &form, method, received };
    let other = descent.fork(tx.conn, &lines::key_of(spki))?.ok_or(StoreError::Changed)?;
    let why = both_holders(tx.conn, with, other, &actor.to_string())?;
    reopen(tx, id, &why, revision, at)?;
    // The code stays when the officer approves: then both holders were known.
    set_message(tx, id, Some(FORK_CODE), &why)?;
    Ok(why)
}

/// The sentence for the officer: which certificate, who renewed it before, who asks now.
fn both_holders(conn: &Connection, old: Serial, other: RequestId, now: &str) -> Result<String, StoreError> {
    let before: String = conn
        .prepare_cached("SELECT submitted_by FROM request_bodies WHERE id = ?1")?
        .query_row([convert::id(other)], |row| row.get(0))?;
    Ok(format!(
        "two holders of one key? certificate {old} was renewed as request {other} by {before}; {now} asks again with \
         another key"
    ))
}

/// What a request was made with, for the line of its certificate.
pub(super) struct Descends {
    pub(super) with: Serial,
    pub(super) form: String,
    pub(super) method: Method,
    pub(super) received: UnixTime,
    /// An officer knew of the other renewal.
    pub(super) fork_known: bool,
}

/// For a request that was made with a certificate.
pub(super) fn descends(conn: &Connection, id: RequestId) -> Result<Option<Descends>, StoreError> {
    let row = conn
        .prepare_cached("SELECT renews, form, method, received, code FROM requests WHERE id = ?1")?
        .query_row([convert::id(id)], |row| {
            let with: Option<Vec<u8>> = row.get(0)?;
            Ok((with, row.get(1)?, row.get::<_, String>(2)?, row.get(3)?, row.get::<_, Option<String>>(4)?))
        })
        .optional()?;
    let Some((with, form, method, received, code)) = row else { return Ok(None) };
    let Some(with) = with.as_deref().and_then(Serial::from_bytes) else { return Ok(None) };
    let (method, received) = (read_method(&method)?, UnixTime(received));
    Ok(Some(Descends { with, form, method, received, fork_known: code.as_deref() == Some(FORK_CODE) }))
}

pub(crate) fn insert_denied(
    tx: &Tx<'_>,
    record: &RequestRecord,
    code: &'static str,
    sentence: &str,
) -> Result<(), StoreError> {
    insert(tx, record, Disposition::Denied, None, Some((code, sentence)))?;
    tx.audit(&event(record, Action::Submit, AuditOutcome::Refused(code)))
}

pub(super) fn present(conn: &Connection, id: RequestId) -> Result<Disposition, StoreError> {
    let word: Option<String> = conn
        .prepare_cached(&format!("SELECT {DISPOSITION} FROM requests WHERE id = ?1"))?
        .query_row([convert::id(id)], |row| row.get(0))
        .optional()?;
    convert::parse(&word.ok_or_else(|| StoreError::not_found("request", id))?, "disposition")
}

/// Refuses unless the request is in the state that the operation starts from.
pub(super) fn need(tx: &Tx<'_>, id: RequestId, needed: Disposition) -> Result<(), StoreError> {
    let present = present(tx.conn, id)?;
    if present == needed { Ok(()) } else { Err(StoreError::WrongState { id, present, needed }) }
}

pub(super) fn set_disposition(
    tx: &Tx<'_>,
    id: RequestId,
    disposition: Disposition,
) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached("UPDATE requests SET disposition = ?2 WHERE id = ?1")?
        .execute(params![convert::id(id), disposition.as_str()])?;
    Ok(())
}

pub(super) fn set_message(
    tx: &Tx<'_>,
    id: RequestId,
    code: Option<&str>,
    message: &str,
) -> Result<(), StoreError> {
    tx.conn.prepare_cached("UPDATE requests SET code = ?2, message = ?3 WHERE id = ?1")?.execute(params![
        convert::id(id),
        code,
        clip(message)
    ])?;
    Ok(())
}

pub(crate) fn deny_approved(
    tx: &Tx<'_>,
    id: RequestId,
    code: &'static str,
    sentence: &str,
    actor: &Actor,
    at: UnixTime,
) -> Result<(), StoreError> {
    need(tx, id, Disposition::Approved)?;
    set_disposition(tx, id, Disposition::Denied)?;
    set_message(tx, id, Some(code), sentence)?;
    recent::forget(tx, id)?;
    let event = Event::new(at, actor.clone(), Action::Submit);
    tx.audit(&Event { request: Some(id), outcome: AuditOutcome::Refused(code), ..event })
}

/// Approves, or denies if there is a comment. Returns what it was approved for.
pub(crate) fn decide(
    tx: &Tx<'_>,
    id: RequestId,
    officer: &str,
    denied: Option<&str>,
    at: UnixTime,
) -> Result<Option<String>, StoreError> {
    need(tx, id, Disposition::Pending)?;
    let (disposition, action) = match denied {
        Some(_) => (Disposition::Denied, Action::Deny),
        None => (Disposition::Approved, Action::Approve),
    };
    let approved_for = if denied.is_some() { None } else { revision_now(tx, id)? };
    tx.conn
        .prepare_cached(
            "UPDATE requests SET disposition = ?2, officer = ?3, decided = ?4, comment = ?5, approved_for = ?6,
             message = NULL, code = CASE WHEN ?2 = 'approved' THEN code END WHERE id = ?1",
        )?
        .execute(params![
            convert::id(id),
            disposition.as_str(),
            officer,
            at.0,
            denied.map(clip),
            approved_for
        ])?;
    if denied.is_some() {
        recent::forget(tx, id)?;
    }
    let event = Event::new(at, Actor::Officer(officer.to_owned()), action);
    let object = denied.map(|c| clip(c).to_owned()).or_else(|| approved_for.clone());
    tx.audit(&Event { object, request: Some(id), ..event })?;
    Ok(approved_for)
}

/// The revision of the request's template now; of one that is not in this database, the one that was last seen.
fn revision_now(tx: &Tx<'_>, id: RequestId) -> Result<Option<String>, StoreError> {
    let (name, asked): (Option<String>, Option<String>) = tx
        .conn
        .prepare_cached("SELECT template, asked_for FROM requests WHERE id = ?1")?
        .query_row([convert::id(id)], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let own = match name {
        Some(name) => templates::get(tx.conn, &name)?.map(|stored| stored.template.revision()),
        None => None,
    };
    // Another template can have the same name.
    let oid = |revision: &String| revision.split(' ').next().map(str::to_owned);
    Ok(match (own, asked) {
        (Some(own), Some(asked)) if oid(&own) != oid(&asked) => Some(asked),
        (Some(own), _) => Some(own),
        (None, asked) => asked,
    })
}

fn asks_for(tx: &Tx<'_>, id: RequestId, revision: &str) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached("UPDATE requests SET asked_for = ?2 WHERE id = ?1")?
        .execute(params![convert::id(id), revision])?;
    Ok(())
}

pub(crate) fn reopen(
    tx: &Tx<'_>,
    id: RequestId,
    why: &str,
    revision: &str,
    at: UnixTime,
) -> Result<(), StoreError> {
    need(tx, id, Disposition::Approved)?;
    asks_for(tx, id, revision)?;
    tx.conn
        .prepare_cached(
            "UPDATE requests SET disposition = 'pending', officer = NULL, decided = NULL, comment = NULL,
             approved_for = NULL, message = ?2 WHERE id = ?1",
        )?
        .execute(params![convert::id(id), clip(why)])?;
    tx.audit(&Event {
        object: Some(clip(why).to_owned()),
        request: Some(id),
        outcome: AuditOutcome::Pending,
        ..Event::new(at, Actor::Service, Action::Reopen)
    })
}

/// What became of a request: nothing says "issued" but the certificate itself, or what another CA has answered.
const DISPOSITION: &str = "CASE WHEN disposition <> 'signing' THEN disposition
     WHEN EXISTS (SELECT 1 FROM certificates AS its WHERE its.id = requests.id) THEN 'issued'
     ELSE coalesce((SELECT state FROM forwarding AS its WHERE its.id = requests.id), 'signing') END";

/// The columns that [`summary`] reads, in its order.
fn columns() -> String {
    format!(
        "requests.id, received, requester, method, form, template, endpoint, renews, {DISPOSITION}, code, message,
         officer, decided, comment, approved_for, requester_sid,
         (SELECT ca FROM forwarding AS its WHERE its.id = requests.id),
         (SELECT backend_id FROM forwarding AS its WHERE its.id = requests.id)"
    )
}

fn summary(row: &Row<'_>) -> Result<RequestSummary, StoreError> {
    let renews: Option<Vec<u8>> = row.get(7)?;
    let officer: Option<String> = row.get(11)?;
    let decided: Option<i64> = row.get(12)?;
    let comment: Option<String> = row.get(13)?;
    let approved_for: Option<String> = row.get(14)?;
    let (ca, backend_request_id): (Option<String>, _) = (row.get(16)?, row.get(17)?);
    Ok(RequestSummary {
        id: convert::read_id(row, 0)?,
        received: UnixTime(row.get(1)?),
        requester: convert::parse(&row.get::<_, String>(2)?, "account name")?,
        requester_sid: row
            .get::<_, Option<String>>(15)?
            .map(|sid| convert::parse(&sid, "security identifier"))
            .transpose()?,
        method: read_method(&row.get::<_, String>(3)?)?,
        form: row.get(4)?,
        template: row.get(5)?,
        endpoint: row.get(6)?,
        asked_with: renews.as_deref().and_then(Serial::from_bytes),
        disposition: convert::parse(&row.get::<_, String>(8)?, "disposition")?,
        code: row.get(9)?,
        message: row.get(10)?,
        decision: officer.zip(decided).map(|(officer, at)| OfficerDecision {
            officer,
            at: UnixTime(at),
            comment,
            approved_for,
        }),
        forwarded_to: ca.map(|ca| ForwardedTo { ca, backend_request_id }),
    })
}

fn read_method(word: &str) -> Result<Method, StoreError> {
    Method::ALL
        .into_iter()
        .find(|method| method.as_str() == word)
        .ok_or_else(|| StoreError::unreadable("authentication method"))
}

pub(crate) fn get(conn: &Connection, id: RequestId) -> Result<Option<Request>, StoreError> {
    let sql = format!(
        "SELECT {}, submitted_by, raw, certificates.serial, der, tbs, signature
         FROM requests JOIN request_bodies USING (id)
         LEFT JOIN certificates USING (id) LEFT JOIN certificate_bodies USING (id)
         WHERE requests.id = ?1",
        columns()
    );
    let read = |row: &Row<'_>| -> Result<Request, StoreError> {
        let serial: Option<Vec<u8>> = row.get(20)?;
        let summary = summary(row)?;
        let forwarding = match summary.forwarded_to {
            Some(_) => forwarding::get(conn, id, summary.message.as_deref())?,
            None => None,
        };
        Ok(Request {
            summary,
            submitted_by: row.get(18)?,
            raw: row.get(19)?,
            certificate: serial.as_deref().and_then(Serial::from_bytes).zip(certificates::whole(row, 21)?),
            forwarding,
        })
    };
    conn.prepare_cached(&sql)?.query_row([convert::id(id)], |row| Ok(read(row))).optional()?.transpose()
}

pub(super) fn get_summary(conn: &Connection, id: RequestId) -> Result<Option<RequestSummary>, StoreError> {
    let sql = format!("SELECT {} FROM requests WHERE requests.id = ?1", columns());
    conn.prepare_cached(&sql)?.query_row([convert::id(id)], |row| Ok(summary(row))).optional()?.transpose()
}

pub(crate) fn list(conn: &Connection, filter: &RequestFilter) -> Result<Vec<RequestSummary>, StoreError> {
    let mut sql = format!("SELECT {} FROM requests WHERE 1 = 1", columns());
    let mut values: Vec<Value> = Vec::new();
    match filter.disposition {
        // Word for word the condition of the partial index, so that it is used.
        Some(Disposition::Pending | Disposition::Approved) => {
            sql.push_str(" AND disposition IN ('pending', 'approved')");
        }
        Some(Disposition::Submitting | Disposition::UnderSubmission | Disposition::Unknown) => {
            sql.push_str(" AND id IN (SELECT id FROM forwarding INDEXED BY forwarding_open WHERE ");
            sql.push_str(forwarding::OPEN);
            sql.push(')');
        }
        Some(Disposition::Signing | Disposition::Issued | Disposition::Denied | Disposition::Failed)
        | None => {}
    }
    let mut and = |condition: &str, value: Value| {
        sql.push_str(condition);
        values.push(value);
    };
    if let Some(disposition) = filter.disposition {
        and(&format!(" AND {DISPOSITION} = ?"), disposition.as_str().to_owned().into());
    }
    if let Some(requester) = &filter.requester {
        and(" AND requester = ?", requester.as_str().to_owned().into());
    }
    if let Some(before) = filter.before {
        and(" AND id < ?", convert::id(before).into());
    }
    and(" ORDER BY id DESC LIMIT ?", i64::from(filter.limit).into());
    let mut statement = conn.prepare_cached(&sql)?;
    let rows = statement.query_map(params_from_iter(values), |row| Ok(summary(row)))?;
    rows.map(|row| row?).collect()
}

/// The request that [`recent`] has found, if its octets are the same.
pub(crate) fn compare_recent(
    conn: &Connection,
    id: RequestId,
    owner: Owner<'_>,
    raw: &[u8],
) -> Result<Option<RecentRequest>, StoreError> {
    let row = conn
        .prepare_cached(&format!(
            "SELECT requester, raw, {DISPOSITION}, requester_sid FROM requests JOIN request_bodies USING (id) WHERE id = ?1"
        ))?
        .query_row([convert::id(id)], |row| {
            let sid: Option<String> = row.get(3)?;
            Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, String>(2)?, sid))
        })
        .optional()?;
    match row {
        Some((account, octets, word, sid))
            if account == owner.name.as_str()
                && sid.as_deref() == owner.sid.map(Sid::as_str)
                && octets == raw =>
        {
            Ok(Some(RecentRequest { id, disposition: convert::parse(&word, "disposition")? }))
        }
        Some(_) | None => Ok(None),
    }
}

pub(super) fn clip(text: &str) -> &str {
    let end = text.char_indices().nth(LONGEST_TEXT).map_or(text.len(), |(at, _)| at);
    text.get(..end).unwrap_or(text)
}
