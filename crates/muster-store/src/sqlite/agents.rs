//! Rows of agents' limits, and of the agents of requests.

use muster_core::agent::AgentLimit;
use muster_core::audit::{Action, Actor, Event};
use muster_core::identity::AccountName;
use muster_core::issuance::RequestRecord;
use muster_core::request::RequestForm;
use muster_core::template::Grantee;
use muster_core::{RequestId, UnixTime};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::writer::Tx;
use super::{convert, instance};
use crate::agents::StoredLimit;
use crate::error::StoreError;

fn told(limit: &AgentLimit) -> String {
    format!("{}: {} for {}", limit.agent, limit.template, String::from(limit.subjects.clone()))
}

pub(crate) fn allow(tx: &Tx<'_>, limit: &AgentLimit, officer: &str, at: UnixTime) -> Result<(), StoreError> {
    let template = limit.template.to_ascii_lowercase();
    let subjects = String::from(limit.subjects.clone());
    let there = tx
        .conn
        .prepare_cached("SELECT 1 FROM agent_limits WHERE agent = ?1 AND template = ?2 AND subjects = ?3")?
        .exists(params![limit.agent.as_str(), template, subjects])?;
    if there {
        return Err(StoreError::Conflict(format!("this is allowed already: {}", told(limit))));
    }
    instance::raise_configuration(tx)?;
    tx.conn
        .prepare_cached(
            "INSERT INTO agent_limits (agent, template, subjects, created, created_by) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![limit.agent.as_str(), template, subjects, at.0, officer])?;
    tx.audit(&Event {
        object: Some(told(limit)),
        template: Some(limit.template.clone()),
        ..Event::new(at, Actor::Officer(officer.to_owned()), Action::AllowAgent)
    })
}

pub(crate) fn forbid(
    tx: &Tx<'_>,
    agent: &AccountName,
    template: Option<&str>,
    actor: &Actor,
    at: UnixTime,
) -> Result<usize, StoreError> {
    let gone: Vec<AgentLimit> = limits(tx.conn, Some(agent))?
        .into_iter()
        .map(|stored| stored.limit)
        .filter(|limit| template.is_none_or(|template| limit.template.eq_ignore_ascii_case(template)))
        .collect();
    if gone.is_empty() {
        return Err(StoreError::not_found("limit of the agent", agent));
    }
    instance::raise_configuration(tx)?;
    let mut delete = tx
        .conn
        .prepare_cached("DELETE FROM agent_limits WHERE agent = ?1 AND template = ?2 AND subjects = ?3")?;
    for limit in &gone {
        delete.execute(params![agent.as_str(), limit.template, String::from(limit.subjects.clone())])?;
        tx.audit(&Event {
            object: Some(told(limit)),
            template: Some(limit.template.clone()),
            ..Event::new(at, actor.clone(), Action::ForbidAgent)
        })?;
    }
    Ok(gone.len())
}

fn read(row: &Row<'_>) -> Result<StoredLimit, StoreError> {
    let subjects = Grantee::try_from(row.get::<_, String>(2)?);
    Ok(StoredLimit {
        limit: AgentLimit {
            agent: convert::parse(&row.get::<_, String>(0)?, "account name")?,
            template: row.get(1)?,
            subjects: subjects.map_err(|_| StoreError::unreadable("limit of an agent"))?,
        },
        created: UnixTime(row.get(3)?),
        created_by: row.get(4)?,
    })
}

pub(crate) fn limits(conn: &Connection, of: Option<&AccountName>) -> Result<Vec<StoredLimit>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT agent, template, subjects, created, created_by FROM agent_limits
         WHERE ?1 IS NULL OR agent = ?1 ORDER BY agent, template, subjects",
    )?;
    let rows = statement.query_map([of.map(AccountName::as_str)], |row| Ok(read(row)))?;
    rows.map(|row| row?).collect()
}

/// Notes the agent of a request on behalf of somebody, in the transaction that takes the request.
pub(super) fn note(tx: &Tx<'_>, record: &RequestRecord) -> Result<(), StoreError> {
    let agent = match &record.actor {
        // A refused request stands under the agent's own name.
        Actor::Caller { account, .. }
            if record.form == RequestForm::ON_BEHALF_OF && *account != record.requester =>
        {
            account
        }
        Actor::Caller { .. } | Actor::Unauthenticated { .. } | Actor::Officer(_) | Actor::Service => {
            return Ok(());
        }
    };
    tx.conn
        .prepare_cached("INSERT INTO request_agents (id, agent) VALUES (?1, ?2)")?
        .execute(params![convert::id(record.id), agent.as_str()])?;
    tx.audit(&Event {
        object: Some(format!("for {}", record.requester)),
        template: record.template.clone(),
        request: Some(record.id),
        ..Event::new(record.received, record.actor.clone(), Action::EnrollForAnother)
    })
}

pub(crate) fn of_request(conn: &Connection, id: RequestId) -> Result<Option<AccountName>, StoreError> {
    let name: Option<String> = conn
        .prepare_cached("SELECT agent FROM request_agents WHERE id = ?1")?
        .query_row([convert::id(id)], |row| row.get(0))
        .optional()?;
    name.map(|name| convert::parse(&name, "account name")).transpose()
}
