//! The request table and the two writes of an enrollment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use muster_core::UnixTime;
use muster_core::issuance::{Ledger, Opening};
use muster_core::revocation::Reason;
use muster_store::{Disposition, FaultPoint, Options, RequestFilter, StoreError};

use crate::support::{
    DAY, NOW, Place, caller, certificate, enroll, instance, intent, issued, name, officer, principal, record,
    serial, tbs,
};

#[tokio::test]
async fn enrollment_is_kept_across_restarts() {
    let place = Place::new();
    let store = place.open();
    let issued = enroll(&store, "alice").await;
    drop(store);
    let request = place.open().request(issued.id).await.unwrap().unwrap();
    let sent = record(issued.id, "alice");
    assert_eq!(request.summary.disposition, Disposition::Issued);
    assert_eq!(request.summary.requester, sent.requester);
    assert_eq!(request.summary.method, sent.method);
    assert_eq!(request.summary.form, sent.form);
    assert_eq!(request.summary.template, sent.template);
    assert_eq!(request.summary.endpoint, sent.endpoint);
    assert_eq!(request.summary.received, NOW);
    assert_eq!(request.raw, sent.raw);
    assert_eq!(request.submitted_by, "caller:alice/username_password@127.0.0.1");
    assert_eq!(request.certificate, Some((issued.serial, issued.certificate)));
}

#[tokio::test]
async fn intent_leaves_with_the_certificate() {
    let place = Place::new();
    let store = place.open();
    let id = store.reserve_request_id().await.unwrap();
    store.record_intent(intent(id, "alice")).await.unwrap();
    assert_eq!(place.count("intents"), 1);
    let summary = store.request(id).await.unwrap().unwrap().summary;
    assert_eq!(summary.disposition, Disposition::Signing);
    store.record_issued(issued(id, "alice")).await.unwrap();
    assert_eq!(place.count("intents"), 0);
}

#[tokio::test]
async fn certificate_without_intent_is_refused() {
    let place = Place::new();
    let store = place.open();
    let id = store.reserve_request_id().await.unwrap();
    assert!(store.record_issued(issued(id, "alice")).await.is_err());
    store.record_intent(intent(id, "alice")).await.unwrap();
    store.record_issued(issued(id, "alice")).await.unwrap();
    let twice = store.record_issued(issued(id, "alice")).await.unwrap_err();
    assert!(twice.0.contains("has no open intent"), "{twice}");
}

#[tokio::test]
async fn certificate_must_contain_what_was_recorded() {
    let place = Place::new();
    let store = place.open();
    let id = store.reserve_request_id().await.unwrap();
    store.record_intent(intent(id, "alice")).await.unwrap();
    let mut other = issued(id, "alice");
    other.certificate = certificate(&tbs(serial(id, 8)));
    let refused = store.record_issued(other).await.unwrap_err();
    assert!(refused.0.contains("does not contain the octets"), "{refused}");
    let mut other_serial = issued(id, "alice");
    other_serial.serial = serial(id, 8);
    assert!(store.record_issued(other_serial).await.is_err());
    assert_eq!(store.request(id).await.unwrap().unwrap().summary.disposition, Disposition::Signing);
}

#[tokio::test]
async fn serial_of_another_request_is_refused() {
    let place = Place::new();
    let store = place.open();
    let (one, two) = (store.reserve_request_id().await.unwrap(), store.reserve_request_id().await.unwrap());
    let mut wrong = intent(one, "alice");
    wrong.serial = serial(two, 7);
    assert!(matches!(store.try_record_intent(wrong).await, Err(StoreError::Conflict(_))));
}

#[tokio::test]
async fn abandoned_intent_revokes_its_serial_and_cannot_be_issued() {
    let place = Place::new();
    let store = place.open();
    let id = store.reserve_request_id().await.unwrap();
    store.record_intent(intent(id, "alice")).await.unwrap();
    store.abandon_intent(id, serial(id, 7), "the key is gone".to_owned(), NOW).await.unwrap();
    let summary = store.request(id).await.unwrap().unwrap().summary;
    assert_eq!(summary.disposition, Disposition::Failed);
    assert_eq!(summary.message.as_deref(), Some("the key is gone"));
    let far = UnixTime(NOW.0 + 50 * 365 * DAY);
    let entries = store.revoked_entries(far, 0).await.unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].serial, serial(id, 7));
    assert_eq!(entries[0].reason.as_str(), "cessationOfOperation");
    assert!(store.record_issued(issued(id, "alice")).await.is_err());
    assert!(store.abandon_intent(id, serial(id, 7), String::new(), NOW).await.is_err());
}

#[tokio::test]
async fn pending_request_is_approved_then_issued() {
    let place = Place::new();
    let store = place.open();
    let id = store.reserve_request_id().await.unwrap();
    store.record_pending(record(id, "alice"), String::new()).await.unwrap();
    let early = store.try_record_intent(continued(id)).await;
    let (present, needed) = (Disposition::Pending, Disposition::Approved);
    assert_eq!(early, Err(StoreError::WrongState { id, present, needed }));

    store.approve(id, "root".to_owned(), NOW.plus(9)).await.unwrap();
    let summary = store.request(id).await.unwrap().unwrap().summary;
    assert_eq!(summary.disposition, Disposition::Approved);
    assert_eq!(summary.decision.unwrap().at, NOW.plus(9));
    store.try_record_intent(continued(id)).await.unwrap();
    store.record_issued(issued(id, "alice")).await.unwrap();
    assert_eq!(store.request(id).await.unwrap().unwrap().summary.disposition, Disposition::Issued);

    let late = store.deny(id, "root".to_owned(), "no".to_owned(), NOW).await.unwrap_err();
    assert_eq!(late.to_string(), format!("request {id} is issued, not pending"));
}

fn continued(id: muster_core::RequestId) -> muster_core::issuance::Intent {
    let mut continued = intent(id, "alice");
    continued.opening = Opening::Approved(id);
    continued
}

#[tokio::test]
async fn denied_request_keeps_who_and_why() {
    let place = Place::new();
    let store = place.open();
    let id = store.reserve_request_id().await.unwrap();
    store.record_pending(record(id, "alice"), String::new()).await.unwrap();
    store.deny(id, "root".to_owned(), "ask your manager".to_owned(), NOW).await.unwrap();
    let summary = store.request(id).await.unwrap().unwrap().summary;
    assert_eq!(summary.disposition, Disposition::Denied);
    let decision = summary.decision.unwrap();
    assert_eq!((decision.officer.as_str(), decision.comment.as_deref()), ("root", Some("ask your manager")));
    assert!(store.approve(id, "root".to_owned(), NOW).await.is_err());

    let by_policy = store.reserve_request_id().await.unwrap();
    store
        .record_denied(record(by_policy, "alice"), "KEY_BLOCKED", "This key is blocked.".to_owned())
        .await
        .unwrap();
    let summary = store.request(by_policy).await.unwrap().unwrap().summary;
    assert_eq!(summary.code.as_deref(), Some("KEY_BLOCKED"));
    assert_eq!(summary.message.as_deref(), Some("This key is blocked."));
}

#[tokio::test]
async fn approved_request_can_still_be_denied_by_policy() {
    let place = Place::new();
    let store = place.open();
    let id = store.reserve_request_id().await.unwrap();
    store.record_pending(record(id, "alice"), String::new()).await.unwrap();
    let deny = |at| store.deny_approved(id, "CA_EXPIRY", "Too late.".to_owned(), caller("alice"), at);
    assert!(matches!(deny(NOW).await, Err(StoreError::WrongState { .. })));
    store.approve(id, "root".to_owned(), NOW).await.unwrap();
    deny(NOW).await.unwrap();
    assert_eq!(store.request(id).await.unwrap().unwrap().summary.disposition, Disposition::Denied);
}

#[tokio::test]
async fn officer_cannot_decide_about_nothing() {
    let place = Place::new();
    let store = place.open();
    let id = muster_core::RequestId::new(77).unwrap();
    let missing = StoreError::NotFound { kind: "request", name: "77".to_owned() };
    assert_eq!(store.approve(id, "root".to_owned(), NOW).await, Err(missing));
    assert_eq!(store.request(id).await, Ok(None));
}

#[tokio::test]
async fn listing_is_filtered_and_newest_first() {
    let place = Place::new();
    let store = place.open();
    let mut pending = Vec::new();
    for n in 0..6 {
        let account = if n % 2 == 0 { "alice" } else { "bob" };
        enroll(&store, account).await;
        let id = store.reserve_request_id().await.unwrap();
        store.record_pending(record(id, account), String::new()).await.unwrap();
        pending.insert(0, id);
    }
    let ids = |filter| async {
        let rows = store.requests(filter).await.unwrap();
        rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    let waiting = RequestFilter { disposition: Some(Disposition::Pending), ..RequestFilter::default() };
    assert_eq!(ids(waiting.clone()).await, pending);
    let bobs = RequestFilter { requester: Some(name("bob")), ..waiting.clone() };
    assert_eq!(ids(bobs).await, [pending[0], pending[2], pending[4]]);
    let page = RequestFilter { before: Some(pending[1]), limit: 2, ..waiting };
    assert_eq!(ids(page).await, pending[2..4]);
    assert_eq!(ids(RequestFilter::default()).await.len(), 12);
}

#[tokio::test]
async fn same_request_is_found_and_not_written_twice() {
    let place = Place::new();
    let store = place.open();
    let first = enroll(&store, "alice").await;
    let sent = record(first.id, "alice");
    let find = |account: &'static str, template: &'static str, at: UnixTime| {
        let raw = sent.raw.clone();
        let store = store.clone();
        async move { store.find_recent(&name(account), Some(template), &raw, at).await.unwrap() }
    };
    let found = find("alice", "user", NOW).await.unwrap();
    assert_eq!((found.id, found.disposition), (first.id, Disposition::Issued));
    assert_eq!(find("bob", "User", NOW).await, None);
    assert_eq!(find("alice", "Computer", NOW).await, None);
    assert_eq!(find("alice", "User", NOW.plus(1)).await, None);

    let id = store.reserve_request_id().await.unwrap();
    let mut again = intent(id, "alice");
    again.opening = Opening::New(Box::new(muster_core::issuance::RequestRecord { id, ..sent.clone() }));
    assert_eq!(store.try_record_intent(again.clone()).await, Err(StoreError::Duplicate(first.id)));
    // A day later it is another request.
    if let Opening::New(record) = &mut again.opening {
        record.received = NOW.plus(DAY + 1);
    }
    store.try_record_intent(again).await.unwrap();
}

#[tokio::test]
async fn request_that_came_to_nothing_may_be_sent_again() {
    let place = Place::new();
    let store = place.open();
    let first = store.reserve_request_id().await.unwrap();
    store.record_pending(record(first, "alice"), String::new()).await.unwrap();
    store.deny(first, "root".to_owned(), "not today".to_owned(), NOW).await.unwrap();
    let second = store.reserve_request_id().await.unwrap();
    let again = muster_core::issuance::RequestRecord { id: second, ..record(first, "alice") };
    assert_eq!(store.find_recent(&name("alice"), Some("User"), &again.raw, NOW).await, Ok(None));
    store.record_pending(again, String::new()).await.unwrap();
}

#[tokio::test]
async fn duplicates_are_accepted_where_the_window_is_zero() {
    let place = Place::new();
    let store = place.open_with(Options { duplicate_window: 0, ..Options::default() }).unwrap();
    let first = enroll(&store, "alice").await;
    let id = store.reserve_request_id().await.unwrap();
    let again = muster_core::issuance::RequestRecord { id, ..record(first.id, "alice") };
    store.record_pending(again, String::new()).await.unwrap();
    assert_eq!(
        store.find_recent(&name("alice"), Some("User"), &record(first.id, "alice").raw, NOW).await,
        Ok(None)
    );
}

/// Everything about recent requests that only shows when a process begins with what others have left.
#[tokio::test]
async fn recent_requests_are_known_after_a_restart() {
    let place = Place::new();
    let store = place.open();
    let issued = enroll(&store, "alice").await;
    let revoked = enroll(&store, "bob").await;
    store.revoke(revoked.serial, Reason::Superseded, caller("bob"), NOW).await.unwrap();
    drop(store);
    let store = place.open();
    let find = async |id, account| {
        let raw = record(id, account).raw;
        store.find_recent(&name(account), Some("User"), &raw, NOW).await.unwrap().map(|found| found.id)
    };
    assert_eq!(find(issued.id, "alice").await, Some(issued.id));
    assert_eq!(find(revoked.id, "bob").await, None);
    let id = store.reserve_request_id().await.unwrap();
    let again = muster_core::issuance::RequestRecord { id, ..record(issued.id, "alice") };
    assert_eq!(store.record_pending(again, String::new()).await, Err(StoreError::Duplicate(issued.id)));
}

/// Two stores on one database stand for two processes: they share nothing but the file.
#[tokio::test]
async fn requests_of_another_process_are_recognized() {
    let place = Place::new();
    let (here, there) = (place.open(), place.open());
    enroll(&here, "carol").await;
    let (issued, denied) = (enroll(&there, "alice").await.id, there.reserve_request_id().await.unwrap());
    there.record_pending(record(denied, "bob"), String::new()).await.unwrap();

    let again = async |first, account| {
        let id = here.reserve_request_id().await.unwrap();
        here.record_pending(
            muster_core::issuance::RequestRecord { id, ..record(first, account) },
            String::new(),
        )
        .await
    };
    let anywhere = async |first, account: &str| {
        let raw = record(first, account).raw;
        let found = here.find_recent_anywhere(&name(account), Some("User"), &raw, NOW).await;
        found.unwrap().map(|found| found.id)
    };
    assert_eq!(anywhere(issued, "alice").await, Some(issued));
    assert_eq!(again(issued, "alice").await, Err(StoreError::Duplicate(issued)));
    assert_eq!(again(denied, "bob").await, Err(StoreError::Duplicate(denied)));
    // The other process lets go of it, and this one knows at its next write.
    there.deny(denied, "root".to_owned(), "no".to_owned(), NOW).await.unwrap();
    assert_eq!(anywhere(denied, "bob").await, None);
    assert_eq!(again(denied, "bob").await, Ok(()));
    assert_eq!(anywhere(issued, "alice").await, Some(issued));
}

/// One group of writes that is rolled back and run again must leave no trace of the first time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_of_a_write_that_failed_may_be_sent_again() {
    let place = Place::new();
    let fail = Arc::new(AtomicBool::new(false));
    let failing = Arc::clone(&fail);
    let faults = Arc::new(move |point| {
        let due = point == FaultPoint::Commit && failing.swap(false, Ordering::SeqCst);
        if due { Err(StoreError::Full) } else { Ok(()) }
    });
    let store = place.open_with(Options { faults: Some(faults), ..Options::default() }).unwrap();
    let id = store.reserve_request_id().await.unwrap();
    fail.store(true, Ordering::SeqCst);
    assert_eq!(store.record_pending(record(id, "alice"), String::new()).await, Err(StoreError::Full));
    let found = store.find_recent(&name("alice"), Some("User"), &record(id, "alice").raw, NOW).await;
    assert_eq!(found, Ok(None));
    store.record_pending(record(id, "alice"), String::new()).await.unwrap();
    // What cannot be told (a fault after the commit) counts as written.
    let id = store.reserve_request_id().await.unwrap();
    store.record_pending(record(id, "bob"), String::new()).await.unwrap();
    let again = store.reserve_request_id().await.unwrap();
    let again = muster_core::issuance::RequestRecord { id: again, ..record(id, "bob") };
    assert_eq!(store.record_pending(again, String::new()).await, Err(StoreError::Duplicate(id)));
}

#[tokio::test]
async fn intent_is_refused_after_a_change() {
    let place = Place::new();
    let store = place.open();
    let seen = store.generations().await.unwrap();
    // As the command line does it: by another handle.
    place.open().put_account(principal("mallory"), officer(), NOW).await.unwrap();
    let id = store.reserve_request_id().await.unwrap();
    let refused = store.record_intent_if_unchanged(intent(id, "alice"), seen).await;
    assert_eq!(refused, Err(StoreError::Changed));
    assert_eq!(store.request(id).await.unwrap(), None, "nothing was written");

    let seen = store.generations().await.unwrap();
    let revoked = enroll(&store, "alice").await.serial;
    assert_eq!(store.generations().await.unwrap(), seen, "issuing changes nothing that is decided by");
    store.revoke(revoked, Reason::Unspecified, officer(), NOW).await.unwrap();
    let refused = store.record_intent_if_unchanged(intent(id, "alice"), seen).await;
    assert_eq!(refused, Err(StoreError::Changed));

    let seen = store.generations().await.unwrap();
    store.record_intent_if_unchanged(intent(id, "alice"), seen).await.unwrap();
}

#[tokio::test]
async fn requests_that_wait_are_bounded_by_account() {
    let place = Place::new();
    let store = place.open_with(Options { pending_per_account: 2, ..Options::default() }).unwrap();
    let mut ids = Vec::new();
    for account in ["alice", "alice", "bob"] {
        let id = store.reserve_request_id().await.unwrap();
        store.record_pending(record(id, account), String::new()).await.unwrap();
        ids.push(id);
    }
    let id = store.reserve_request_id().await.unwrap();
    let third = async || store.record_pending(record(id, "alice"), String::new()).await;
    assert_eq!(third().await, Err(StoreError::TooManyPending(2)));
    assert_eq!(store.request(id).await.unwrap(), None);
    // What is decided waits no more.
    store.approve(ids[0], "root".to_owned(), NOW).await.unwrap();
    third().await.unwrap();
    assert_eq!(place.count("requests"), 4);
}

#[tokio::test]
async fn approval_names_the_revision_of_the_template() {
    let place = Place::new();
    let store = place.open();
    instance(&store).await;
    let put = async |days: u32| {
        let mut template = crate::support::template("User");
        template.validity.days = days;
        store.put_template(template, vec![7], officer(), NOW).await.unwrap()
    };
    let first = put(300).await;
    let id = store.reserve_request_id().await.unwrap();
    store.record_pending(record(id, "alice"), first.revision()).await.unwrap();
    let approved = store.approve(id, "root".to_owned(), NOW).await.unwrap();
    assert_eq!(approved, Some(first.revision()));
    let decision = async || store.request(id).await.unwrap().unwrap().summary.decision;
    assert_eq!(decision().await.unwrap().approved_for, Some(first.revision()));

    let second = put(301).await;
    assert_ne!(first.revision(), second.revision());
    store.reopen(id, "look again".to_owned(), second.revision(), NOW.plus(1)).await.unwrap();
    let summary = store.request(id).await.unwrap().unwrap().summary;
    assert_eq!((summary.disposition, summary.decision), (Disposition::Pending, None));
    assert_eq!(summary.message.as_deref(), Some("look again"));
    let (present, needed) = (Disposition::Pending, Disposition::Approved);
    let again = store.reopen(id, String::new(), String::new(), NOW).await;
    assert_eq!(again, Err(StoreError::WrongState { id, present, needed }));

    let approved = store.approve(id, "root".to_owned(), NOW).await.unwrap();
    assert_eq!(approved, Some(second.revision()));
    assert_eq!(store.request(id).await.unwrap().unwrap().summary.message, None);
}

#[tokio::test]
async fn octets_of_long_refused_requests_are_not_kept() {
    let place = Place::new();
    let store = place.open();
    for (length, kept) in [(8 * 1024, 8 * 1024), (8 * 1024 + 1, 0)] {
        let id = store.reserve_request_id().await.unwrap();
        let record = muster_core::issuance::RequestRecord { raw: vec![7; length], ..record(id, "alice") };
        store.record_denied(record, "KEY_BLOCKED", "No.".to_owned()).await.unwrap();
        assert_eq!(store.request(id).await.unwrap().unwrap().raw.len(), kept);
    }
}
