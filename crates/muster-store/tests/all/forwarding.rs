//! Requests that are passed on to another CA: what is written down, what it becomes, and that nothing is sent twice.

use muster_core::RequestId;
use muster_core::audit::Actor;
use muster_core::forwarding::{
    Expected, ExpectedNames, ExpectedSid, ForwardLedger, IdentityMode, Outcome, Settlement,
};
use muster_store::{
    AuditFilter, Disposition, ForwardedFilter, ForwardedTo, Options, RequestFilter, Store, StoreError,
};

use crate::support::{
    DAY, NOW, Place, asked_names, caller, denied, enroll, issued_elsewhere, name, officer, principal, record,
    submission, under_submission,
};

fn unknown() -> Outcome {
    Outcome::Unknown { why: "no answer within 30 s".to_owned() }
}

fn withdrawn() -> Outcome {
    Outcome::NotSubmitted { why: "connection refused".to_owned() }
}

fn untrusted() -> Outcome {
    Outcome::Untrusted {
        backend_id: Some(11),
        why: "the certificate has another key than the request".to_owned(),
    }
}

async fn settle(store: &Store, id: RequestId, outcome: Outcome) -> Result<(), StoreError> {
    store.try_settle(Settlement { id, actor: caller("alice"), outcome, at: NOW.plus(1) }).await
}

/// A request that has become this, by way of these outcomes.
async fn after(store: &Store, outcomes: &[Outcome]) -> RequestId {
    let id = store.reserve_request_id().await.unwrap();
    store.record_submission(submission(id, "alice")).await.unwrap();
    for outcome in outcomes {
        settle(store, id, outcome.clone()).await.unwrap();
    }
    id
}

async fn disposition(store: &Store, id: RequestId) -> Disposition {
    let row = store.request(id).await.unwrap().unwrap().summary.disposition;
    let all = store.requests(RequestFilter { disposition: Some(row), ..RequestFilter::default() }).await;
    assert!(all.unwrap().iter().any(|summary| summary.id == id), "listed as {row}");
    row
}

/// The last audit record: action, object, outcome.
async fn last_event(store: &Store) -> (String, Option<String>, String) {
    let filter = AuditFilter { limit: 1, ..AuditFilter::default() };
    let record = store.audit_list(filter).await.unwrap().pop().unwrap();
    (record.action, record.object, record.outcome)
}

#[tokio::test]
async fn submission_is_written_down_before_it_is_sent() {
    let place = Place::new();
    let store = place.open();
    let id = after(&store, &[]).await;
    drop(store);
    let store = place.open();
    let request = store.request(id).await.unwrap().unwrap();
    assert_eq!(request.summary.disposition, Disposition::Submitting);
    assert_eq!((request.summary.code, request.summary.message), (None, None));
    assert_eq!(request.raw, record(id, "alice").raw);
    assert_eq!(request.certificate, None);
    let ca = "Corp Issuing CA".to_owned();
    let to = ForwardedTo { ca: ca.clone(), backend_request_id: None };
    assert_eq!(request.summary.forwarded_to, Some(to));
    let forwarding = request.forwarding.unwrap();
    assert_eq!((forwarding.ca, forwarding.identity), (ca, IdentityMode::Delegate));
    let expected = Expected {
        spki: b"a key".to_vec(),
        template_name: "User".to_owned(),
        template_oid: Some("1.3.6.1.4.1.311.21.8.1.2.3.4".parse().unwrap()),
        sid: ExpectedSid::Demanded("S-1-5-21-1-2-3-1104".to_owned()),
        names: asked_names(),
    };
    assert_eq!(forwarding.expected, expected);
    assert_eq!((forwarding.sent, forwarding.settled), (NOW, None));
    assert_eq!((forwarding.certificate, forwarding.response, forwarding.hresult), (None, None, None));
    let (action, object, outcome) = last_event(&store).await;
    assert_eq!((action.as_str(), outcome.as_str()), ("record_submission", "done"));
    assert!(object.unwrap().starts_with("Corp Issuing CA sha256:"));
}

/// A row of version 8 or before: its security identifier is demanded, and its names are not compared.
#[tokio::test]
async fn row_from_before_names_were_compared_is_read() {
    let place = Place::new();
    let store = place.open();
    let id = after(&store, &[]).await;
    for (sid, read) in [
        (Some("S-1-5-21-7"), ExpectedSid::Demanded("S-1-5-21-7".to_owned())),
        (None, ExpectedSid::NotCompared),
    ] {
        place.raw().execute("UPDATE forwarding SET rules = NULL, sid = ?1", [sid]).unwrap();
        let expected = store.request(id).await.unwrap().unwrap().forwarding.unwrap().expected;
        assert_eq!((expected.sid, expected.names), (read, ExpectedNames::NotCompared));
    }
    place.raw().execute("UPDATE forwarding SET rules = '[]'", []).unwrap();
    assert!(store.request(id).await.is_err(), "what cannot be read permits nothing");
}

#[tokio::test]
async fn answers_are_written_down_with_what_came() {
    let place = Place::new();
    let store = place.open();
    let denied_as = "refused:CA_DENIED";
    let key = "failed:the certificate has another key than the request";
    for (outcome, disposition_after, backend_id, code, action, audited) in [
        (issued_elsewhere(), Disposition::Issued, Some(11), None, "record_answer", "done"),
        (under_submission(), Disposition::UnderSubmission, Some(11), None, "record_answer", "pending"),
        (denied(), Disposition::Denied, Some(11), Some("CA_DENIED"), "record_answer", denied_as),
        (
            withdrawn(),
            Disposition::Failed,
            None,
            Some("CA_NOT_REACHED"),
            "withdraw_submission",
            "failed:connection refused",
        ),
        (
            unknown(),
            Disposition::Unknown,
            None,
            Some("CA_UNKNOWN"),
            "lose_submission",
            "failed:no answer within 30 s",
        ),
        (untrusted(), Disposition::Unknown, Some(11), Some("CA_UNTRUSTED"), "distrust_answer", key),
    ] {
        let id = after(&store, std::slice::from_ref(&outcome)).await;
        assert_eq!(disposition(&store, id).await, disposition_after, "{outcome:?}");
        let request = store.request(id).await.unwrap().unwrap();
        assert_eq!(request.summary.code.as_deref(), code);
        let forwarding = request.forwarding.unwrap();
        assert_eq!(forwarding.message, request.summary.message);
        assert_eq!((forwarding.backend_request_id, forwarding.settled), (backend_id, Some(NOW.plus(1))));
        let is_issued = disposition_after == Disposition::Issued;
        assert_eq!(forwarding.certificate, is_issued.then(|| b"a certificate".to_vec()));
        let (said, object, became) = last_event(&store).await;
        assert_eq!((said.as_str(), became.as_str()), (action, audited));
        let number = backend_id.map(|_| " request 11").unwrap_or_default();
        let object = object.unwrap();
        assert!(object.starts_with(&format!("Corp Issuing CA{number}")), "{object}");
        assert_eq!(object.contains("sha256:"), is_issued, "{object}");
    }
    let denied = after(&store, &[denied()]).await;
    let forwarding = store.request(denied).await.unwrap().unwrap().forwarding.unwrap();
    assert_eq!((forwarding.hresult, forwarding.response), (Some(0x8009_4012), Some(b"no".to_vec())));
    assert_eq!(forwarding.message.as_deref(), Some("Denied by Policy Module  [31m red"), "as one line");
    assert_eq!(store.audit_verify().await.unwrap().faults, []);
}

/// Every disposition and what it may become; all else is refused and leaves the row as it was.
#[tokio::test]
async fn outcomes_fit_what_is_present() {
    let place = Place::new();
    let store = place.open();
    let all = [issued_elsewhere(), under_submission(), denied(), withdrawn(), unknown(), untrusted()];
    for (begin, allowed) in [
        (vec![], [true; 6]),
        (vec![under_submission()], [true, true, true, false, false, true]),
        (vec![unknown()], [true; 6]),
        (vec![untrusted()], [true; 6]),
        (vec![under_submission(), untrusted()], [true; 6]),
        (vec![issued_elsewhere()], [false; 6]),
        (vec![denied()], [false; 6]),
        (vec![withdrawn()], [false; 6]),
    ] {
        for (outcome, allowed) in all.iter().zip(allowed) {
            let id = after(&store, &begin).await;
            let before = store.request(id).await.unwrap();
            let settled = settle(&store, id, outcome.clone()).await;
            assert_eq!(settled.is_ok(), allowed, "{begin:?} {outcome:?} {settled:?}");
            if !allowed {
                assert!(matches!(settled, Err(StoreError::WrongState { .. })), "{settled:?}");
                assert_eq!(store.request(id).await.unwrap(), before);
            }
            // What the CA may have is not sent again.
            settle(&store, id, denied()).await.ok();
        }
    }
    assert_eq!(store.audit_verify().await.unwrap().faults, []);
}

#[tokio::test]
async fn another_number_of_the_ca_is_refused() {
    let place = Place::new();
    let store = place.open();
    let id = after(&store, &[under_submission()]).await;
    let other = Outcome::Issued { backend_id: 12, certificate: b"x".to_vec(), response: Vec::new() };
    let refused = settle(&store, id, other).await.unwrap_err();
    let sentence = format!("request {id} is request 11 of Corp Issuing CA, and not 12");
    assert_eq!(refused, StoreError::Conflict(sentence));
    assert_eq!(disposition(&store, id).await, Disposition::UnderSubmission);
}

#[tokio::test]
async fn what_is_not_new_is_not_written_down_again() {
    let place = Place::new();
    let store = place.open();
    for outcome in [under_submission(), unknown(), untrusted()] {
        let id = after(&store, std::slice::from_ref(&outcome)).await;
        let head = store.audit_head().await.unwrap();
        settle(&store, id, outcome.clone()).await.unwrap();
        assert_eq!(store.audit_head().await.unwrap(), head, "{outcome:?}");
    }
    // Nor does an alarm end by asking in vain.
    let id = after(&store, &[untrusted(), unknown()]).await;
    let code = store.request(id).await.unwrap().unwrap().summary.code;
    assert_eq!(code.as_deref(), Some("CA_UNTRUSTED"));
}

/// The same octets again: only after an outcome that leaves nothing with the CA, however long ago it was and whatever
/// is remembered.
#[tokio::test]
async fn octets_that_the_ca_may_have_are_not_sent_again() {
    for window in [DAY, 0] {
        let place = Place::new();
        let store = place.open_with(Options { duplicate_window: window, ..Options::default() }).unwrap();
        for (outcomes, again) in [
            (vec![], false),
            (vec![under_submission()], false),
            (vec![unknown()], false),
            (vec![untrusted()], false),
            (vec![withdrawn()], true),
            (vec![unknown(), withdrawn()], true),
            (vec![denied()], true),
            (vec![under_submission(), denied()], true),
        ] {
            let first = after(&store, &outcomes).await;
            let repeated = |id: RequestId, days: i64| {
                let mut again = submission(id, "alice");
                again.request.raw = record(first, "alice").raw;
                again.request.received = NOW.plus(days * DAY);
                again
            };
            let id = store.reserve_request_id().await.unwrap();
            let sent = store.try_record_submission(repeated(id, 30)).await;
            let expected = if again { Ok(()) } else { Err(StoreError::Duplicate(first)) };
            assert_eq!(sent, expected, "{outcomes:?}");
            if !again {
                let mut other = repeated(id, 30);
                other.request.requester = name("bob");
                assert_eq!(store.try_record_submission(other).await, Ok(()), "of somebody else");
                let row = store.find_recent(&principal("alice"), Some("User"), b"other", NOW).await;
                assert_eq!(row, Ok(None));
            }
        }
    }
}

#[tokio::test]
async fn issued_request_is_answered_again_for_a_day() {
    let place = Place::new();
    let store = place.open();
    let first = after(&store, &[issued_elsewhere()]).await;
    let raw = record(first, "alice").raw;
    let found = store.find_recent(&name("alice"), Some("User"), &raw, NOW).await.unwrap().unwrap();
    assert_eq!((found.id, found.disposition), (first, Disposition::Issued));
    let id = store.reserve_request_id().await.unwrap();
    let mut again = submission(id, "alice");
    again.request.raw = raw;
    assert_eq!(store.try_record_submission(again).await, Err(StoreError::Duplicate(first)));
    // Another process on the same database knows of it, too.
    let other = place.open();
    let id = other.reserve_request_id().await.unwrap();
    let mut again = submission(id, "alice");
    again.request.raw = record(first, "alice").raw;
    assert_eq!(other.try_record_submission(again).await, Err(StoreError::Duplicate(first)));
}

#[tokio::test]
async fn nothing_is_recorded_on_the_strength_of_what_has_changed() {
    let place = Place::new();
    let store = place.open();
    let seen = store.generations().await.unwrap();
    let id = store.reserve_request_id().await.unwrap();
    store.put_account(principal("bob"), officer(), NOW).await.unwrap();
    let refused = store.record_submission_if_unchanged(submission(id, "alice"), seen).await;
    assert_eq!(refused, Err(StoreError::Changed));
    assert_eq!(store.request(id).await, Ok(None));
    let seen = store.generations().await.unwrap();
    store.record_submission_if_unchanged(submission(id, "alice"), seen).await.unwrap();
}

/// Officers decide what waits for them, and nothing that another CA has.
#[tokio::test]
async fn officers_decide_nothing_that_another_ca_has() {
    let place = Place::new();
    let store = place.open();
    for outcomes in
        [vec![], vec![under_submission()], vec![unknown()], vec![issued_elsewhere()], vec![denied()]]
    {
        let id = after(&store, &outcomes).await;
        let present = disposition(&store, id).await;
        let refused = StoreError::WrongState { id, present, needed: Disposition::Pending };
        assert_eq!(store.approve(id, "root".to_owned(), NOW).await, Err(refused.clone()));
        assert_eq!(store.deny(id, "root".to_owned(), "no".to_owned(), NOW).await, Err(refused));
        assert_eq!(disposition(&store, id).await, present);
    }
}

/// And what is ours cannot be settled as if another CA had answered.
#[tokio::test]
async fn what_was_not_passed_on_cannot_be_settled() {
    let place = Place::new();
    let store = place.open();
    let ours = enroll(&store, "alice").await.id;
    let pending = store.reserve_request_id().await.unwrap();
    store.record_pending(record(pending, "alice"), String::new()).await.unwrap();
    for (id, present) in [(ours, Disposition::Issued), (pending, Disposition::Pending)] {
        let refused = StoreError::WrongState { id, present, needed: Disposition::Unknown };
        assert_eq!(settle(&store, id, issued_elsewhere()).await, Err(refused));
    }
    let nobody = store.reserve_request_id().await.unwrap();
    assert!(matches!(settle(&store, nobody, denied()).await, Err(StoreError::NotFound { .. })));
}

#[tokio::test]
async fn submissions_without_an_answer_become_unknown() {
    let place = Place::new();
    let store = place.open();
    let kept = after(&store, &[under_submission()]).await;
    let id = after(&store, &[]).await;
    assert_eq!(store.recover_submissions(NOW.plus(300), 300).await, Ok(vec![]));
    assert_eq!(store.recover_submissions(NOW.plus(301), 300).await, Ok(vec![id]));
    assert_eq!(disposition(&store, id).await, Disposition::Unknown);
    let message = store.request(id).await.unwrap().unwrap().summary.message;
    assert_eq!(message.as_deref(), Some("what the CA answered was not written down in time"));
    assert_eq!(store.recover_submissions(NOW.plus(302), 300).await, Ok(vec![]));
    // The answer that comes late is worth more than none.
    settle(&store, id, issued_elsewhere()).await.unwrap();
    assert_eq!(disposition(&store, id).await, Disposition::Issued);

    let cut_off = after(&store, &[]).await;
    let other = place.open();
    assert_eq!(other.recover_submissions(NOW.plus(DAY), 300).await, Ok(vec![]), "its process runs");
    drop(store);
    assert_eq!(other.recover_submissions(NOW, 300).await, Ok(vec![cut_off]));
    let message = other.request(cut_off).await.unwrap().unwrap().summary.message;
    assert_eq!(message.as_deref(), Some("the service ended while the CA was asked"));
    let (action, _, _) = last_event(&other).await;
    assert_eq!(action, "lose_submission");
    assert_eq!(disposition(&other, kept).await, Disposition::UnderSubmission);
}

#[tokio::test]
async fn open_submissions_are_listed_oldest_first() {
    let place = Place::new();
    let store = place.open();
    let begun = after(&store, &[]).await;
    let waiting = after(&store, &[under_submission()]).await;
    let lost = after(&store, &[unknown()]).await;
    for outcome in [issued_elsewhere(), denied(), withdrawn()] {
        after(&store, &[outcome]).await;
    }
    enroll(&store, "alice").await;
    let ids = async |filter| -> Vec<RequestId> {
        store.forwarded(filter).await.unwrap().into_iter().map(|row| row.summary.id).collect()
    };
    let all = ForwardedFilter::default;
    assert_eq!(ids(all()).await, [begun, waiting, lost]);
    assert_eq!(ids(ForwardedFilter { limit: 1, after: Some(begun), ..all() }).await, [waiting]);
    for (disposition, expected) in [
        (Disposition::Submitting, vec![begun]),
        (Disposition::UnderSubmission, vec![waiting]),
        (Disposition::Unknown, vec![lost]),
        (Disposition::Issued, vec![]),
    ] {
        assert_eq!(ids(ForwardedFilter { disposition: Some(disposition), ..all() }).await, expected);
    }
    let of = |ca: &str| ForwardedFilter { ca: Some(ca.to_owned()), ..all() };
    assert_eq!(ids(of("Corp Issuing CA")).await.len(), 3);
    assert_eq!(ids(of("Another CA")).await, []);
    let row = store.forwarded(of("Corp Issuing CA")).await.unwrap().remove(1);
    assert_eq!(row.forwarding.message.as_deref(), Some("Taken Under Submission"));
    assert_eq!(row.summary.message, row.forwarding.message);
    assert_eq!(row.forwarding.backend_request_id, Some(11));
}

#[tokio::test]
async fn administrator_settles_what_is_unknown() {
    let place = Place::new();
    let store = place.open();
    let id = after(&store, &[unknown()]).await;
    let actor = officer();
    let settlement = Settlement { id, actor, outcome: issued_elsewhere(), at: NOW.plus(DAY) };
    settlement.commit(&store).await.unwrap();
    let request = store.request(id).await.unwrap().unwrap();
    assert_eq!(request.summary.disposition, Disposition::Issued);
    assert_eq!((request.summary.code, request.summary.message), (None, None));
    assert_eq!(request.forwarding.unwrap().certificate, Some(b"a certificate".to_vec()));
    let filter = AuditFilter { limit: 1, ..AuditFilter::default() };
    let event = store.audit_list(filter).await.unwrap().pop().unwrap();
    assert_eq!((event.actor.as_str(), event.action.as_str()), ("officer:root", "record_answer"));
    let refused = Settlement { id, actor: Actor::Service, outcome: withdrawn(), at: NOW }.commit(&store);
    assert_eq!(refused.await.unwrap_err().0, format!("request {id} is issued, not unknown"));
}
