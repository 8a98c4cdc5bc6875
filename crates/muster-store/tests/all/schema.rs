//! The schema's version, and the file's mode. Migrations with data are tested beside them.

use aws_lc_rs::digest::{SHA256, digest};
use muster_core::RequestId;
use muster_core::issuance::Intent;
use muster_store::{MIGRATIONS, Options, Store, StoreError};

use crate::support::{NOW, Place, instance, intent, issued};

/// SHA-256 of every migration that was released; such a file is never changed, a new one is added.
const RELEASED: &[&str] = &[];

#[test]
fn released_migrations_are_unchanged() {
    assert!(RELEASED.len() <= MIGRATIONS.len());
    for (sql, released) in MIGRATIONS.iter().zip(RELEASED) {
        let hex: String =
            digest(&SHA256, sql.as_bytes()).as_ref().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, *released);
    }
}

#[tokio::test]
async fn empty_file_gets_every_version() {
    let place = Place::new();
    let store = place.open();
    instance(&store).await;
    let version: u32 = place.raw().query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(u32::try_from(MIGRATIONS.len()), Ok(version));
    drop(store);
    // Opened again, it is left as it is.
    let store = Store::open(&place.path(), &Options::default(), NOW.plus(9)).unwrap();
    assert_eq!(store.audit_head().await.unwrap().sequence, 1);
}

#[tokio::test]
async fn chain_cut_before_its_first_record_is_begun_at_the_next_start() {
    let place = Place::new();
    drop(place.open());
    // What a crash between making the tables and the first record leaves.
    place
        .raw()
        .execute_batch(
            "DROP TRIGGER audit_is_never_deleted; DELETE FROM audit;
             UPDATE audit_head SET sequence = 0, hash = zeroblob(32);",
        )
        .unwrap();
    let report = place.open().audit_verify().await.unwrap();
    assert_eq!((report.records, report.faults), (1, vec![]));
}

#[test]
fn newer_schema_is_refused_and_left_alone() {
    let place = Place::new();
    drop(place.open());
    let known = u32::try_from(MIGRATIONS.len()).unwrap();
    let found = known + 1;
    place.raw().execute_batch(&format!("PRAGMA user_version = {found}")).unwrap();
    let refused = place.open_with(Options::default()).map(drop);
    assert_eq!(refused, Err(StoreError::NewerSchema { found, known }));
    let sentence = refused.unwrap_err().to_string();
    assert_eq!(
        sentence,
        format!(
            "the database has schema version {found}, but this program knows only {known}; install the newer program again"
        )
    );
    assert_eq!(Store::open_read_only(&place.path()).map(drop).unwrap_err().to_string(), sentence);
    let version: u32 = place.raw().query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, found);
}

#[test]
fn database_of_another_program_is_refused() {
    let place = Place::new();
    place.raw().execute_batch("CREATE TABLE bookmarks (url TEXT)").unwrap();
    let refused = place.open_with(Options::default()).map(drop).unwrap_err();
    assert_eq!(refused.to_string(), "the database says: the file is a database of another program");
    assert_eq!(place.count("sqlite_schema"), 1);
}

#[cfg(unix)]
#[test]
fn files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let _store = place.open();
    for entry in std::fs::read_dir(place.path().parent().unwrap()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        let file = entry.file_name().into_string().unwrap();
        if !file.contains("-node-") {
            assert_eq!(mode, 0o600, "{file}");
        }
    }
}

#[tokio::test]
async fn database_has_a_write_ahead_log() {
    let place = Place::new();
    let _store = place.open();
    let mode: String = place.raw().query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
}

#[tokio::test]
async fn certificates_and_intents_of_version_7_are_kept() {
    use muster_core::issuance::Ledger;

    let place = Place::new();
    drop(place.open());
    std::fs::remove_file(place.path()).unwrap();
    let raw = place.raw();
    for sql in &MIGRATIONS[..7] {
        raw.execute_batch(sql).unwrap();
    }
    let [had, open, given_up] = [1, 2, 3].map(|number| RequestId::new(number).unwrap());
    raw.execute_batch("PRAGMA application_id = 1299412082; PRAGMA user_version = 7;").unwrap();
    raw.execute_batch("UPDATE counters SET value = 10 WHERE name = 'next_request'").unwrap();
    for id in [had, open, given_up] {
        raw.execute(
            "INSERT INTO requests (id, received, requester, method, form, template, endpoint, disposition)
             VALUES (?1, 0, 'alice', 'username_password', 'pkcs10', 'User', 'password', 'signing')",
            [id.number()],
        )
        .unwrap();
        raw.execute(
            "INSERT INTO request_bodies (id, submitted_by, raw) VALUES (?1, 'x', x'5a')",
            [id.number()],
        )
        .unwrap();
    }
    let before = issued(had, "alice");
    raw.execute(
        "INSERT INTO certificates (id, serial, account, template_oid, subject, not_before, not_after, issued)
         VALUES (?1, ?2, 'alice', ?3, 'CN=Alice Example', 0, 99, 0)",
        rusqlite::params![had.number(), before.serial.as_bytes(), before.template_oid],
    )
    .unwrap();
    raw.execute(
        "INSERT INTO certificate_bodies (id, der) VALUES (?1, ?2)",
        rusqlite::params![had.number(), before.certificate],
    )
    .unwrap();
    for id in [open, given_up] {
        let Intent { serial, tbs, .. } = intent(id, "alice");
        raw.execute(
            "INSERT INTO intents (id, serial, node, tbs, at) VALUES (?1, ?2, 'ended', ?3, 0)",
            rusqlite::params![id.number(), serial.as_bytes(), tbs],
        )
        .unwrap();
    }
    drop(raw);

    let store = place.open();
    let known = store.known_certificate(before.serial, &before.certificate).await.unwrap();
    assert!(known.is_some());
    let row = store.request(had).await.unwrap().unwrap();
    assert_eq!(row.certificate, Some((before.serial, before.certificate)));
    // The open intents hold what may have been signed: that alone is taken, and that alone is kept.
    let after = issued(open, "alice");
    store.record_issued(after.clone()).await.unwrap();
    let row = store.request(open).await.unwrap().unwrap();
    assert_eq!(row.certificate, Some((after.serial, after.certificate)));
    store.recover(NOW, 0).await.unwrap();
    let kept: Vec<u8> =
        place.raw().query_row("SELECT tbs FROM abandoned WHERE id = 3", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, intent(given_up, "alice").tbs);
}
