//! The audit chain: what is recorded, and what tampering is found (T56).

use muster_core::audit::{Action, Actor, AuditOutcome, Event};
use muster_core::issuance::Ledger;
use muster_core::revocation::Reason;
use muster_store::{AuditFault, AuditFilter, Store};

use crate::support::{
    NOW, Place, caller, enroll, instance, intent, officer, principal, record, serial, template,
};

#[tokio::test]
async fn every_change_leaves_one_record() {
    let place = Place::new();
    let store = place.open();
    instance(&store).await;
    store.put_account(principal("alice"), officer(), NOW).await.unwrap();
    store.put_template(template("User2"), vec![1], officer(), NOW).await.unwrap();
    store.unpublish_template("User2".to_owned(), officer(), NOW).await.unwrap();
    let issued = enroll(&store, "alice").await;
    store.revoke(issued.serial, Reason::Superseded, officer(), NOW).await.unwrap();
    let pending = store.reserve_request_id().await.unwrap();
    store.record_pending(record(pending, "alice"), String::new()).await.unwrap();
    store.deny(pending, "root".to_owned(), "no".to_owned(), NOW).await.unwrap();
    let denied = store.reserve_request_id().await.unwrap();
    store.record_denied(record(denied, "alice"), "KEY_BLOCKED", String::new()).await.unwrap();
    let given_up = store.reserve_request_id().await.unwrap();
    store.record_intent(intent(given_up, "alice")).await.unwrap();
    store.abandon_intent(given_up, serial(given_up, 7), "no key".to_owned(), NOW).await.unwrap();
    store
        .audit(Event {
            outcome: AuditOutcome::Refused("BAD_PASSWORD"),
            ..Event::new(NOW, Actor::Unauthenticated { address: None }, Action::Authenticate)
        })
        .await
        .unwrap();
    store.remove_account("alice".parse().unwrap(), officer(), NOW).await.unwrap();

    let mut records = store.audit_list(AuditFilter::default()).await.unwrap();
    records.reverse();
    let told: Vec<_> = records.iter().map(|r| format!("{} {} {}", r.actor, r.action, r.outcome)).collect();
    let alice = caller("alice").to_string();
    assert_eq!(
        told,
        [
            "service initialize done".to_owned(),
            "officer:root put_account done".to_owned(),
            "officer:root put_template done".to_owned(),
            "officer:root remove_template done".to_owned(),
            format!("{alice} record_intent done"),
            format!("{alice} issue done"),
            "officer:root revoke done".to_owned(),
            format!("{alice} submit pending"),
            "officer:root deny done".to_owned(),
            format!("{alice} submit refused:KEY_BLOCKED"),
            format!("{alice} record_intent done"),
            "service abandon_intent failed:no key".to_owned(),
            "unauthenticated authenticate refused:BAD_PASSWORD".to_owned(),
            "officer:root remove_account done".to_owned(),
        ]
    );
    let issue = &records[5];
    assert_eq!((issue.request, issue.serial), (Some(issued.id), Some(issued.serial)));
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &issued.certificate);
    let hex = digest.as_ref().iter().fold("sha256:".to_owned(), |text, b| format!("{text}{b:02x}"));
    assert_eq!(issue.object, Some(hex));

    let report = store.audit_verify().await.unwrap();
    assert_eq!((report.records, report.faults), (14, vec![]));
}

#[tokio::test]
async fn listing_is_filtered() {
    let place = Place::new();
    let store = place.open();
    let one = enroll(&store, "alice").await;
    enroll(&store, "bob").await;
    let all = AuditFilter::default();
    let of_one = AuditFilter { request: Some(one.id), ..all };
    let actions: Vec<_> = store.audit_list(of_one).await.unwrap().into_iter().map(|r| r.action).collect();
    assert_eq!(actions, ["issue", "record_intent"]);
    let issues = AuditFilter { action: Some(Action::Issue), ..all };
    assert_eq!(store.audit_list(issues).await.unwrap().len(), 2);
    let page = AuditFilter { before: Some(3), limit: 1, ..all };
    assert_eq!(store.audit_list(page).await.unwrap()[0].sequence, 2);
    let later = AuditFilter { since: Some(NOW.plus(1)), ..all };
    assert_eq!(store.audit_list(later).await, Ok(vec![]));
}

#[tokio::test]
async fn records_cannot_be_changed_through_sql_by_accident() {
    let place = Place::new();
    enroll(&place.open(), "alice").await;
    for sql in ["UPDATE audit SET actor = 'x'", "DELETE FROM audit"] {
        let refused = place.raw().execute(sql, []).unwrap_err().to_string();
        assert!(refused.contains("audit records are never"), "{refused}");
    }
}

/// Length of the chain that the tamperers work on.
const LENGTH: u64 = 41;
const COLUMNS: &str = "at, actor, action, object, template, request, serial, outcome, hash";

async fn chain(place: &Place) -> Store {
    let store = place.open();
    for _ in 0..20 {
        enroll(&store, "alice").await;
    }
    place
        .raw()
        .execute_batch("DROP TRIGGER audit_is_never_changed; DROP TRIGGER audit_is_never_deleted;")
        .unwrap();
    let report = store.audit_verify().await.unwrap();
    assert_eq!((report.records, report.faults), (LENGTH, vec![]));
    store
}

/// Tampers at each position, and undoes it by a copy of the table.
async fn tamper(kind: &str, last: u64, sql: impl Fn(u64) -> String) -> Vec<Vec<AuditFault>> {
    let place = Place::new();
    let store = chain(&place).await;
    let raw = place.raw();
    raw.execute_batch(
        "CREATE TABLE kept AS SELECT * FROM audit; CREATE TABLE kept_head AS SELECT * FROM audit_head",
    )
    .unwrap();
    let mut found = Vec::new();
    for position in 1..=last {
        raw.execute_batch(&sql(position)).unwrap();
        let faults = store.audit_verify().await.unwrap().faults;
        assert_ne!(faults, [], "{kind} at {position} was not found");
        found.push(faults);
        raw.execute_batch(
            "DELETE FROM audit; INSERT INTO audit SELECT * FROM kept;
             DELETE FROM audit_head; INSERT INTO audit_head SELECT * FROM kept_head;",
        )
        .unwrap();
        assert_eq!(store.audit_verify().await.unwrap().faults, []);
    }
    found
}

#[tokio::test]
async fn changed_record_is_found() {
    for column in ["at = at + 1", "actor = 'officer:mallory'", "outcome = 'refused'", "object = NULL"] {
        let sql = |position| format!("UPDATE audit SET {column} WHERE sequence = {position}");
        // The first record has no object to take away.
        if column == "object = NULL" {
            let sql = |position: u64| sql(position + 1);
            tamper(column, LENGTH - 1, sql).await;
        } else {
            for (position, faults) in (1..).zip(tamper(column, LENGTH, sql).await) {
                assert_eq!(faults, [AuditFault::Changed(position)]);
            }
        }
    }
}

#[tokio::test]
async fn changed_hash_is_found() {
    let sql = |position| format!("UPDATE audit SET hash = randomblob(32) WHERE sequence = {position}");
    tamper("another hash", LENGTH, sql).await;
}

#[tokio::test]
async fn deleted_record_is_found() {
    let sql = |position| format!("DELETE FROM audit WHERE sequence = {position}");
    for (position, faults) in (1..).zip(tamper("a deletion", LENGTH, sql).await) {
        assert_eq!(faults[0], AuditFault::Missing { first: position, last: position });
    }
    // With the gap closed.
    let sql = |position| {
        format!(
            "DELETE FROM audit WHERE sequence = {position};
             UPDATE audit SET sequence = -sequence WHERE sequence > {position};
             UPDATE audit SET sequence = -sequence - 1 WHERE sequence < 0;"
        )
    };
    tamper("a deletion with the gap closed", LENGTH, sql).await;
}

#[tokio::test]
async fn inserted_record_is_found() {
    let sql = |position| {
        format!(
            "UPDATE audit SET sequence = -sequence WHERE sequence >= {position};
             UPDATE audit SET sequence = -sequence + 1 WHERE sequence < 0;
             INSERT INTO audit (sequence, {COLUMNS})
             SELECT {position}, {COLUMNS} FROM audit WHERE sequence = {};",
            if position == 1 { 3 } else { 1 }
        )
    };
    tamper("an insertion", LENGTH + 1, sql).await;
    let before_the_first = |_| {
        format!("INSERT INTO audit (sequence, {COLUMNS}) SELECT 0, {COLUMNS} FROM audit WHERE sequence = 1")
    };
    let faults = tamper("an insertion before the first", 1, before_the_first).await;
    assert_eq!(faults, [[AuditFault::Inserted(0)]]);
}

#[tokio::test]
async fn exchanged_records_are_found() {
    let sql = |position| {
        format!(
            "UPDATE audit SET sequence = -1 WHERE sequence = {position};
             UPDATE audit SET sequence = {position} WHERE sequence = {position} + 1;
             UPDATE audit SET sequence = {position} + 1 WHERE sequence = -1;"
        )
    };
    tamper("an exchange", LENGTH - 1, sql).await;
}

#[tokio::test]
async fn records_cut_off_at_the_end_are_found() {
    let sql = |position| format!("DELETE FROM audit WHERE sequence >= {position}");
    for (position, faults) in (1..).zip(tamper("a cut", LENGTH, sql).await) {
        assert_eq!(faults, [AuditFault::Missing { first: position, last: LENGTH }]);
    }
}

/// What the chain alone cannot tell, said here so that nobody relies on it; a head noted elsewhere can.
#[tokio::test]
async fn cut_with_the_head_cut_back_is_seen_by_a_noted_head_only() {
    let place = Place::new();
    let store = chain(&place).await;
    let noted = store.audit_head().await.unwrap();
    place
        .raw()
        .execute_batch(
            "DELETE FROM audit WHERE sequence > 10;
             UPDATE audit_head SET sequence = 10, hash = (SELECT hash FROM audit WHERE sequence = 10);",
        )
        .unwrap();
    let report = store.audit_verify().await.unwrap();
    assert_eq!(report.faults, []);
    assert!(report.head.sequence < noted.sequence);
}
