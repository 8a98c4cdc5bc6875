//! Many rows at once, for measurements.

use muster_core::UnixTime;
use rusqlite::params;

use super::instance;
use super::writer::Tx;
use crate::error::StoreError;

pub(crate) fn fill(tx: &Tx<'_>, count: u32, now: UnixTime) -> Result<u32, StoreError> {
    let first = instance::reserve_ids(count)(tx)?;
    let end = first.saturating_add(count);
    let ids = "WITH RECURSIVE ids (id) AS (SELECT ?1 UNION ALL SELECT id + 1 FROM ids WHERE id + 1 < ?2)";
    let serial = "unhex(printf('4d%08x', id)) || randomblob(15)";
    for insert in [
        "INSERT INTO requests (id, received, requester, method, form, template, endpoint, disposition)
         SELECT id, ?3, 'filler', 'username_password', 'pkcs10', 'Filler', 'filler', 'signing' FROM ids",
        "INSERT INTO request_bodies (id, submitted_by, raw, tbs)
         SELECT id, 'caller:filler/username_password@127.0.0.1', randomblob(400 + 0 * ?3), randomblob(620) FROM ids",
        &format!(
            "INSERT INTO certificates
             (id, serial, account, template_oid, subject, not_before, not_after, issued, signature)
             SELECT id, CAST({serial} AS BLOB), 'filler', '1.3.6.1.4.1.311.21.8.1.2.3', 'CN=filler',
                    ?3 - 600, ?3 + 31535999, ?3, randomblob(85) FROM ids"
        ),
    ] {
        let (table, select) = insert.split_once("SELECT").unwrap_or_default();
        tx.conn.execute(&format!("{table} {ids} SELECT {select}"), params![first, end, now.0])?;
    }
    Ok(end.saturating_sub(1))
}
