//! The schema's version: checked before anything else is read, raised by migrations.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::error::StoreError;

/// Every migration, the first one first. Its number is its position, from 1.
pub const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/sqlite/0001_initial.sql"),
    include_str!("../../migrations/sqlite/0002_approvals.sql"),
    include_str!("../../migrations/sqlite/0003_tokens.sql"),
    include_str!("../../migrations/sqlite/0004_lines.sql"),
    include_str!("../../migrations/sqlite/0005_agents.sql"),
    include_str!("../../migrations/sqlite/0006_requester_sid.sql"),
    include_str!("../../migrations/sqlite/0007_forwarding.sql"),
    include_str!("../../migrations/sqlite/0008_signed_octets_once.sql"),
    include_str!("../../migrations/sqlite/0009_expected_names.sql"),
];

/// `PRAGMA application_id`: "Mstr".
const APPLICATION: i64 = 0x4d73_7472;

fn pragma(conn: &Connection, name: &str) -> Result<i64, StoreError> {
    Ok(conn.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))?)
}

fn version(conn: &Connection) -> Result<u32, StoreError> {
    u32::try_from(pragma(conn, "user_version")?).map_err(|_| StoreError::unreadable("schema version"))
}

fn known(migrations: &[&str]) -> u32 {
    u32::try_from(migrations.len()).unwrap_or(u32::MAX)
}

/// Refuses files of other programs and of newer versions, before anything is changed in them.
pub(super) fn check(conn: &Connection) -> Result<(), StoreError> {
    let application = pragma(conn, "application_id")?;
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != APPLICATION && (application != 0 || tables != 0) {
        return Err(StoreError::Other("the file is a database of another program".to_owned()));
    }
    refuse_newer(version(conn)?, known(MIGRATIONS))
}

/// The same for a reader, who cannot migrate.
pub(super) fn check_current(conn: &Connection) -> Result<(), StoreError> {
    check(conn)?;
    let found = version(conn)?;
    if found < known(MIGRATIONS) {
        return Err(StoreError::Other(format!(
            "the database has schema version {found}; start the service once to migrate it"
        )));
    }
    Ok(())
}

const fn refuse_newer(found: u32, known: u32) -> Result<(), StoreError> {
    if found > known { Err(StoreError::NewerSchema { found, known }) } else { Ok(()) }
}

/// Brings the database to the last version.
///
/// `others_live` tells whether another process uses the database; then an existing schema is left as it is.
pub(super) fn migrate(
    conn: &mut Connection,
    migrations: &[&str],
    others_live: impl FnOnce() -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    let last = known(migrations);
    refuse_newer(version(conn)?, last)?;
    if version(conn)? == last {
        return Ok(());
    }
    let transaction = Transaction::new(conn, TransactionBehavior::Immediate)?;
    // Again under the lock: another process may have been faster.
    let found = version(&transaction)?;
    refuse_newer(found, last)?;
    if found == last {
        return Ok(());
    }
    if found > 0 && others_live()? {
        return Err(StoreError::InUse { found, known: last });
    }
    for (number, sql) in (1u32..).zip(migrations).filter(|(number, _)| *number > found) {
        transaction.execute_batch(sql)?;
        transaction.execute_batch(&format!("PRAGMA user_version = {number}"))?;
    }
    transaction.execute_batch(&format!("PRAGMA application_id = {APPLICATION}"))?;
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEXT: &str = "ALTER TABLE instance ADD COLUMN note TEXT";

    fn database(migrations: &[&str]) -> (tempfile::TempDir, Connection) {
        let dir = tempfile::tempdir().unwrap();
        let mut conn = Connection::open(dir.path().join("test.db")).unwrap();
        assert_eq!(migrate(&mut conn, migrations, || Ok(true)), Ok(()));
        (dir, conn)
    }

    #[test]
    fn every_version_migrates_to_the_next_with_its_data() {
        let all: Vec<&str> = MIGRATIONS.iter().copied().chain([NEXT]).collect();
        for from in 1..all.len() {
            let (_dir, mut conn) = database(&all[..from]);
            conn.execute(
                "INSERT INTO instance (one, policy_id, oid_root, created_at) VALUES (1, 'p', '1.2', 3)",
                [],
            )
            .unwrap();
            assert_eq!(migrate(&mut conn, &all, || Ok(false)), Ok(()));
            assert_eq!(version(&conn), Ok(known(&all)));
            let kept: String =
                conn.query_row("SELECT policy_id FROM instance", [], |row| row.get(0)).unwrap();
            assert_eq!(kept, "p");
        }
    }

    #[test]
    fn existing_schema_in_use_is_not_migrated() {
        let (_dir, mut conn) = database(MIGRATIONS);
        let all: Vec<&str> = MIGRATIONS.iter().copied().chain([NEXT]).collect();
        let (found, known) = (known(MIGRATIONS), known(&all));
        assert_eq!(migrate(&mut conn, &all, || Ok(true)), Err(StoreError::InUse { found, known }));
        assert_eq!(version(&conn), Ok(found));
    }

    #[test]
    fn failing_migration_leaves_the_version_before() {
        let (_dir, mut conn) = database(MIGRATIONS);
        let all: Vec<&str> =
            MIGRATIONS.iter().copied().chain(["CREATE TABLE x (a); CREATE TABLE x (a)"]).collect();
        assert!(migrate(&mut conn, &all, || Ok(false)).is_err());
        assert_eq!(version(&conn), Ok(known(MIGRATIONS)));
        let tables: i64 = conn
            .query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'x'", [], |row| row.get(0))
            .unwrap();
        assert_eq!(tables, 0);
    }
}
