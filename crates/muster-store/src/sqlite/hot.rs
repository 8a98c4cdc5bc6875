//! The statements of an enrollment, compiled once for the writer: finding them by their text at each use would cost
//! about a quarter of what running them does.

use std::cell::RefCell;

use rusqlite::{Connection, Statement, ToSql};

use crate::error::StoreError;

/// A statement of an enrollment.
#[derive(Clone, Copy, Debug)]
pub(super) enum Hot {
    Request,
    RequestBody,
    Intent,
    CloseIntent,
    Certificate,
    Audit,
    Line,
}

impl Hot {
    const fn sql(self) -> &'static str {
        match self {
            Self::Request => {
                "INSERT INTO requests
                 (id, received, requester, method, form, template, endpoint, renews, disposition, repeat_key, code,
                  message, requester_sid)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"
            }
            Self::RequestBody => "INSERT INTO request_bodies (id, submitted_by, raw, tbs) VALUES (?1, ?2, ?3, ?4)",
            Self::Intent => "INSERT INTO intents (id, serial, node, at) VALUES (?1, ?2, ?3, ?4)",
            Self::CloseIntent => {
                "DELETE FROM intents WHERE id = ?1 AND serial = ?2
                 AND EXISTS (SELECT 1 FROM request_bodies WHERE id = ?1 AND tbs = ?3)"
            }
            Self::Certificate => {
                "INSERT INTO certificates
                 (id, serial, account, template_oid, subject, not_before, not_after, issued, signature)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
            }
            Self::Audit => {
                "INSERT INTO audit (sequence, at, actor, action, object, template, request, serial, outcome, hash)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
            }
            // Only where a certificate vouches for the next one.
            Self::Line => {
                "INSERT INTO lines (id, parent, line, origin, generation, since, key)
                 SELECT ?1, certificates.id, coalesce(line, certificates.id),
                        CASE WHEN ?4 THEN coalesce(origin, certificates.id) ELSE ?1 END,
                        CASE WHEN ?5 THEN coalesce(generation, 0) + 1 ELSE 0 END,
                        CASE WHEN ?5 THEN coalesce(since, issued) ELSE ?6 END, ?7
                 FROM certificates LEFT JOIN lines ON lines.id = certificates.id
                 WHERE certificates.id = ?2 AND serial = ?3"
            }
        }
    }
}

/// What a transaction sees of the statements.
pub(super) trait Run {
    /// Runs a statement; returns the number of rows changed.
    fn run(&self, statement: Hot, values: &[&dyn ToSql]) -> Result<usize, StoreError>;
}

/// The statements of one connection, each compiled when it is first used.
pub(super) struct Prepared<'c> {
    conn: &'c Connection,
    statements: [RefCell<Option<Statement<'c>>>; 7],
}

impl<'c> Prepared<'c> {
    pub(super) fn new(conn: &'c Connection) -> Self {
        Self { conn, statements: Default::default() }
    }

    const fn slot(&self, statement: Hot) -> &RefCell<Option<Statement<'c>>> {
        let [request, request_body, intent, close_intent, certificate, audit, line] = &self.statements;
        match statement {
            Hot::Request => request,
            Hot::RequestBody => request_body,
            Hot::Intent => intent,
            Hot::CloseIntent => close_intent,
            Hot::Certificate => certificate,
            Hot::Audit => audit,
            Hot::Line => line,
        }
    }
}

impl Run for Prepared<'_> {
    fn run(&self, statement: Hot, values: &[&dyn ToSql]) -> Result<usize, StoreError> {
        let mut slot = self.slot(statement).borrow_mut();
        let prepared = match &mut *slot {
            Some(prepared) => prepared,
            None => slot.insert(self.conn.prepare(statement.sql())?),
        };
        Ok(prepared.execute(values)?)
    }
}
