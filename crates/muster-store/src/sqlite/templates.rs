//! Rows of templates. A template is stored as JSON and read back without [`Template::check`]: what an earlier
//! version accepted must stay readable when a later one is stricter.

use std::collections::BTreeSet;

use muster_core::audit::{Action, Actor, Event};
use muster_core::{Template, UnixTime};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::instance;
use super::writer::Tx;
use crate::error::StoreError;
use crate::templates::{StoredTemplate, TemplateVersion};

pub(crate) fn put(
    tx: &Tx<'_>,
    template: &Template,
    arcs: &[u32],
    actor: &Actor,
    at: UnixTime,
) -> Result<Template, StoreError> {
    let before = get(tx.conn, &template.name)?;
    let mut template = template.clone();
    match &before {
        Some(StoredTemplate { template: old, published, .. }) => {
            if template.oid.is_some() && template.oid != old.oid {
                return Err(StoreError::Conflict(format!(
                    "template '{}' has another identifier already; leave oid out",
                    old.name
                )));
            }
            template.oid.clone_from(&old.oid);
            let raised = template.major > old.major;
            let (major, minor) = (template.major, template.minor);
            (template.major, template.minor) = (old.major, old.minor);
            if template == *old && *published && !raised {
                return Ok(template);
            }
            (template.major, template.minor) =
                if raised { (major, minor) } else { (old.major, old.minor.saturating_add(1)) };
        }
        None if template.oid.is_none() => {
            let instance = instance::get(tx.conn)?.ok_or_else(|| {
                StoreError::Conflict("the installation has no identifier for templates yet".to_owned())
            })?;
            template.oid = Some(instance.oid_root.child(arcs));
        }
        None => {}
    }
    let oid = template.oid.as_ref().map(muster_core::Oid::as_str).unwrap_or_default();
    let taken: Option<String> = tx
        .conn
        .prepare_cached("SELECT name_key FROM templates WHERE oid = ?1 AND name_key <> ?2")?
        .query_row(params![oid, name_key(&template.name)], |row| row.get(0))
        .optional()?;
    if let Some(other) = taken {
        return Err(StoreError::Conflict(format!("the identifier {oid} belongs to template '{other}'")));
    }
    let body = serde_json::to_string(&template).map_err(|e| StoreError::Other(e.to_string()))?;
    let id: i64 = tx
        .conn
        .prepare_cached(
            "INSERT INTO templates (name_key, oid, published, body, changed) VALUES (?1, ?2, 1, ?3, ?4)
             ON CONFLICT (name_key) DO UPDATE
             SET published = 1, body = excluded.body, changed = excluded.changed
             RETURNING id",
        )?
        .query_row(params![name_key(&template.name), oid, body, at.0], |row| row.get(0))?;
    tx.conn
        .prepare_cached(
            "INSERT INTO template_versions (template, major, minor, body, changed, changed_by)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![id, template.major, template.minor, body, at.0, actor.to_string()])?;
    changed(tx, &template.name, Action::PutTemplate, actor, at)?;
    Ok(template)
}

fn changed(tx: &Tx<'_>, name: &str, action: Action, actor: &Actor, at: UnixTime) -> Result<(), StoreError> {
    instance::raise_configuration(tx)?;
    tx.audit(&Event { template: Some(name.to_owned()), ..Event::new(at, actor.clone(), action) })
}

/// Names are compared without regard to ASCII case.
fn name_key(name: &str) -> String {
    name.to_ascii_lowercase()
}

fn parse(body: &str) -> Result<Template, StoreError> {
    serde_json::from_str(body).map_err(|_| StoreError::unreadable("template"))
}

fn read(row: &Row<'_>) -> Result<StoredTemplate, StoreError> {
    Ok(StoredTemplate {
        template: parse(&row.get::<_, String>(0)?)?,
        published: row.get(1)?,
        changed: UnixTime(row.get(2)?),
    })
}

pub(crate) fn get(conn: &Connection, name: &str) -> Result<Option<StoredTemplate>, StoreError> {
    conn.prepare_cached("SELECT body, published, changed FROM templates WHERE name_key = ?1")?
        .query_row([name_key(name)], |row| Ok(read(row)))
        .optional()?
        .transpose()
}

pub(crate) fn list(conn: &Connection) -> Result<Vec<StoredTemplate>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT body, published, changed FROM templates ORDER BY id")?;
    let rows = statement.query_map([], |row| Ok(read(row)))?;
    rows.map(|row| row?).collect()
}

pub(crate) fn unpublish(tx: &Tx<'_>, name: &str, actor: &Actor, at: UnixTime) -> Result<(), StoreError> {
    let removed = tx
        .conn
        .prepare_cached(
            "UPDATE templates SET published = 0, changed = ?2 WHERE name_key = ?1 AND published = 1",
        )?
        .execute(params![name_key(name), at.0])?;
    if removed == 0 {
        return Err(StoreError::not_found("template in the catalog", name));
    }
    changed(tx, name, Action::RemoveTemplate, actor, at)
}

pub(crate) fn history(conn: &Connection, name: &str) -> Result<Vec<TemplateVersion>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT v.body, v.changed, v.changed_by
         FROM template_versions AS v JOIN templates ON templates.id = v.template
         WHERE name_key = ?1 ORDER BY v.major, v.minor",
    )?;
    let read = |row: &Row<'_>| -> Result<TemplateVersion, StoreError> {
        Ok(TemplateVersion {
            template: parse(&row.get::<_, String>(0)?)?,
            changed: UnixTime(row.get(1)?),
            changed_by: row.get(2)?,
        })
    };
    let rows = statement.query_map([name_key(name)], |row| Ok(read(row)))?;
    rows.map(|row| row?).collect()
}

pub(crate) fn accept(
    tx: &Tx<'_>,
    fingerprint: &str,
    name: &str,
    actor: &Actor,
    at: UnixTime,
) -> Result<(), StoreError> {
    let added = tx
        .conn
        .prepare_cached(
            "INSERT INTO accepted_templates (fingerprint, name, officer, at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (fingerprint) DO NOTHING",
        )?
        .execute(params![fingerprint, name, actor.to_string(), at.0])?;
    if added == 0 { Ok(()) } else { changed(tx, name, Action::AcceptTemplate, actor, at) }
}

pub(crate) fn accepted(conn: &Connection) -> Result<BTreeSet<String>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT fingerprint FROM accepted_templates")?;
    let rows = statement.query_map([], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
