//! Rows of tokens, and the count of their uses.

use muster_core::audit::{Action, Actor, Event};
use muster_core::identity::PrincipalKind;
use muster_core::issuance::RequestRecord;
use muster_core::token::{TokenGrant, TokenId, TokenTrouble};
use muster_core::{Method, RequestId, UnixTime};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::writer::Tx;
use super::{convert, instance};
use crate::error::StoreError;
use crate::tokens::{Token, TokenVerifier};

const COLUMNS: &str =
    "id, verifier, template_oid, template, kind, names, uses, used, created, created_by, expires, revoked";

pub(crate) fn put(tx: &Tx<'_>, token: &Token, actor: &Actor, at: UnixTime) -> Result<(), StoreError> {
    if get(tx.conn, &token.id)?.is_some() {
        return Err(StoreError::Conflict(format!("there is a token '{}' already", token.id)));
    }
    let names = serde_json::to_string(&token.grant.names).map_err(|e| StoreError::Other(e.to_string()))?;
    let kind = serde_json::to_string(&token.kind).map_err(|e| StoreError::Other(e.to_string()))?;
    tx.conn
        .prepare_cached(&format!(
            "INSERT INTO tokens ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"
        ))?
        .execute(params![
            token.id.as_str(),
            token.verifier.0,
            token.grant.template.as_str(),
            token.template,
            kind,
            names,
            token.uses,
            token.used,
            token.created.0,
            token.created_by,
            token.expires.0,
            token.revoked.map(|at| at.0),
        ])?;
    let names: Vec<String> = token.grant.names.iter().map(ToString::to_string).collect();
    tx.audit(&Event {
        object: Some(format!(
            "{}: {}, {} of it, until {}",
            token.id,
            names.join(" "),
            match token.uses {
                1 => "one use".to_owned(),
                more => format!("{more} uses"),
            },
            token.expires
        )),
        template: Some(token.template.clone()),
        ..Event::new(at, actor.clone(), Action::PutToken)
    })
}

fn read(row: &Row<'_>) -> Result<Token, StoreError> {
    let unreadable = || StoreError::unreadable("token");
    let kind: PrincipalKind = serde_json::from_str(&row.get::<_, String>(4)?).map_err(|_| unreadable())?;
    let names = serde_json::from_str(&row.get::<_, String>(5)?).map_err(|_| unreadable())?;
    Ok(Token {
        id: convert::parse(&row.get::<_, String>(0)?, "token")?,
        verifier: TokenVerifier(row.get(1)?),
        grant: TokenGrant {
            template: convert::parse(&row.get::<_, String>(2)?, "object identifier")?,
            names,
        },
        template: row.get(3)?,
        kind,
        uses: row.get(6)?,
        used: row.get(7)?,
        created: UnixTime(row.get(8)?),
        created_by: row.get(9)?,
        expires: UnixTime(row.get(10)?),
        revoked: row.get::<_, Option<i64>>(11)?.map(UnixTime),
    })
}

pub(crate) fn get(conn: &Connection, id: &TokenId) -> Result<Option<Token>, StoreError> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM tokens WHERE id = ?1"))?
        .query_row([id.as_str()], |row| Ok(read(row)))
        .optional()?
        .transpose()
}

pub(crate) fn list(conn: &Connection) -> Result<Vec<Token>, StoreError> {
    let mut statement =
        conn.prepare_cached(&format!("SELECT {COLUMNS} FROM tokens ORDER BY created DESC, id"))?;
    let rows = statement.query_map([], |row| Ok(read(row)))?;
    rows.map(|row| row?).collect()
}

pub(crate) fn revoke(tx: &Tx<'_>, id: &TokenId, actor: &Actor, at: UnixTime) -> Result<(), StoreError> {
    let token = get(tx.conn, id)?.ok_or_else(|| StoreError::not_found("token", id))?;
    if let Some(before) = token.revoked {
        return Err(StoreError::Conflict(format!("token {id} was revoked before, at {before}")));
    }
    // Whatever was decided for its holder is decided again.
    instance::raise_configuration(tx)?;
    tx.conn
        .prepare_cached("UPDATE tokens SET revoked = ?2 WHERE id = ?1")?
        .execute(params![id.as_str(), at.0])?;
    tx.audit(&Event {
        object: Some(id.to_string()),
        template: Some(token.template),
        ..Event::new(at, actor.clone(), Action::RevokeToken)
    })
}

/// Counts the use of a token, if the request was sent with one, in the transaction that takes the request. So of
/// several requests with one token only as many are taken as it has uses, whichever nodes they came to.
pub(super) fn count_use(tx: &Tx<'_>, record: &RequestRecord, at: UnixTime) -> Result<(), StoreError> {
    // A renewal by a certificate that was issued on a token is no use of it.
    let id = match record.method {
        Method::UsernamePassword => record.requester.token_id(),
        Method::ClientCertificate | Method::Kerberos => None,
    };
    let Some(id) = id else { return Ok(()) };
    let token = get(tx.conn, &id)?.ok_or(StoreError::Token(TokenTrouble::Unknown))?;
    if let Some(trouble) = token.trouble(at) {
        return Err(StoreError::Token(trouble));
    }
    tx.conn.prepare_cached("UPDATE tokens SET used = used + 1 WHERE id = ?1")?.execute([id.as_str()])?;
    tx.audit(&Event {
        object: Some(format!("{id}: use {} of {}", token.used + 1, token.uses)),
        template: record.template.clone(),
        request: Some(record.id),
        ..Event::new(at, record.actor.clone(), Action::UseToken)
    })
}

/// Gives a use back, if the request that took it failed on our side.
pub(super) fn give_back(tx: &Tx<'_>, request: RequestId) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "UPDATE tokens SET used = used - 1 WHERE used > 0 AND id =
             (SELECT requester FROM requests WHERE id = ?1 AND method = 'username_password')",
        )?
        .execute([convert::id(request)])?;
    Ok(())
}
