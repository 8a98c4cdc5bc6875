//! Lines: who had what with which certificate, two holders of one key, and revoking all of it.

use muster_core::Method;
use muster_core::issuance::{Intent, Ledger, Opening, RequestRecord};
use muster_core::policy::{FORK_CODE, LinePlace};
use muster_core::revocation::Reason;
use muster_core::{RequestId, Serial, UnixTime};
use muster_store::{AuditFilter, Disposition, MIGRATIONS, Store, StoreError};

use crate::support::*;

/// A SubjectPublicKeyInfo, as far as the store looks.
fn spki(seed: u8) -> Vec<u8> {
    vec![0x30, 3, 0x04, 1, seed]
}

/// A tbsCertificate with a key in its place.
fn tbs_with(serial: Serial, seed: u8) -> Vec<u8> {
    let empty = [0x30, 0].as_slice();
    let fields =
        [&[0xa0, 0, 0x02, 20], &serial.as_bytes()[..], empty, empty, empty, empty, &spki(seed)].concat();
    let length = u8::try_from(fields.len()).unwrap();
    [&[0x30, length], &fields[..]].concat()
}

/// What is asked for: a renewal of a certificate, or an enrollment with it.
#[derive(Clone, Copy)]
struct Ask {
    with: Option<Serial>,
    form: &'static str,
    method: Method,
    key: u8,
    at: UnixTime,
}

fn first(key: u8) -> Ask {
    Ask { with: None, form: "pkcs10", method: Method::UsernamePassword, key, at: NOW }
}

fn renew(with: Serial, key: u8) -> Ask {
    Ask { with: Some(with), form: "renewal", method: Method::ClientCertificate, key, at: NOW.plus(DAY) }
}

fn row(id: RequestId, ask: Ask) -> RequestRecord {
    RequestRecord {
        form: ask.form,
        method: ask.method,
        asked_with: ask.with,
        received: ask.at,
        ..record(id, "alice")
    }
}

async fn intent_of(store: &Store, ask: Ask) -> Intent {
    let id = store.reserve_request_id().await.unwrap();
    let opening = Opening::New(Box::new(row(id, ask)));
    let serial = serial(id, 7);
    Intent { opening, actor: caller("alice"), serial, tbs: tbs_with(serial, ask.key), at: ask.at }
}

async fn make(store: &Store, ask: Ask) -> Result<Serial, StoreError> {
    let intent = intent_of(store, ask).await;
    let (serial, tbs) = (intent.serial, intent.tbs.clone());
    store.try_record_intent(intent).await?;
    commit(store, serial, &tbs, ask.at).await.unwrap();
    Ok(serial)
}

async fn commit(
    store: &Store,
    serial: Serial,
    tbs: &[u8],
    at: UnixTime,
) -> Result<(), muster_core::issuance::LedgerError> {
    let id = serial.request_id().unwrap();
    let record = muster_core::issuance::IssuedRecord {
        serial,
        certificate: certificate(tbs),
        at,
        ..issued(id, "alice")
    };
    store.record_issued(record).await
}

async fn place(store: &Store, serial: Serial, key: u8) -> LinePlace {
    store.line_place(serial, &spki(key)).await.unwrap()
}

#[tokio::test]
async fn generations_count_from_the_last_sign_in_with_something_else() {
    let store = Place::new();
    let store = store.open();
    let root = make(&store, first(1)).await.unwrap();
    let fresh = LinePlace { generation: 0, since: NOW, approved: false, forked: false, renewed_at: None };
    assert_eq!(place(&store, root, 2).await, fresh);
    let second = make(&store, renew(root, 2)).await.unwrap();
    let third = make(&store, renew(second, 3)).await.unwrap();
    assert_eq!(place(&store, third, 4).await, LinePlace { generation: 2, ..fresh });
    // With a password the count begins again, and the line goes on.
    let later = NOW.plus(9 * DAY);
    let password = Ask { method: Method::UsernamePassword, at: later, ..renew(third, 4) };
    let fourth = make(&store, password).await.unwrap();
    assert_eq!(place(&store, fourth, 5).await, LinePlace { generation: 0, since: later, ..fresh });
    // Another template, by signing in with the certificate: of the line, but no renewal.
    let beside = Ask { form: "pkcs10", ..renew(third, 5) };
    let beside = make(&store, beside).await.unwrap();
    assert_eq!(place(&store, beside, 6).await, LinePlace { generation: 3, ..fresh });
    let line = store.line(second).await.unwrap();
    let shape: Vec<_> = line.iter().map(|m| (m.parent, m.renewal, m.generation)).collect();
    let id = |serial: Serial| serial.request_id();
    assert_eq!(
        shape,
        [
            (None, false, 0),
            (id(root), true, 1),
            (id(second), true, 2),
            (id(third), true, 0),
            (id(third), false, 3),
        ]
    );
    assert!(line.iter().all(|member| member.key.is_some() && member.certificate.is_some()));
    // A certificate of somebody else begins nothing.
    let foreign = Ask { with: Some(serial(RequestId::new(9_999).unwrap(), 3)), ..renew(root, 8) };
    let alone = make(&store, Ask { form: "pkcs10", ..foreign }).await.unwrap();
    assert_eq!(store.line(alone).await.unwrap().len(), 1);
}

#[tokio::test]
async fn second_renewal_with_another_key_is_refused_by_the_writer() {
    let place_ = Place::new();
    let (one, two) = (place_.open(), place_.open());
    let root = make(&one, first(1)).await.unwrap();
    let successor = make(&one, renew(root, 2)).await.unwrap();
    // Of another process, whose policy saw nothing of it.
    let other = successor.request_id().unwrap();
    assert_eq!(make(&two, renew(root, 3)).await, Err(StoreError::Forked(other)));
    assert!(place(&two, root, 3).await.forked);
    // The same key again is the same holder; signing in with it is no renewal.
    assert!(!place(&two, root, 2).await.forked);
    assert_eq!(place(&two, root, 2).await.renewed_at, Some(NOW.plus(DAY)));
    make(&two, renew(root, 2)).await.unwrap();
    make(&two, Ask { form: "pkcs10", ..renew(root, 4) }).await.unwrap();
    // One that was given up was nobody's renewal.
    let second = make(&one, first(5)).await.unwrap();
    let intent = intent_of(&one, renew(second, 6)).await;
    let (id, given_up) = (intent.serial.request_id().unwrap(), intent.serial);
    one.record_intent(intent).await.unwrap();
    assert_eq!(make(&two, renew(second, 7)).await, Err(StoreError::Forked(id)));
    one.abandon_intent(id, given_up, "no key".to_owned(), NOW).await.unwrap();
    make(&two, renew(second, 7)).await.unwrap();
}

#[tokio::test]
async fn fork_waits_for_an_officer_who_learns_of_both() {
    let place_ = Place::new();
    let store = place_.open();
    let root = make(&store, first(1)).await.unwrap();
    let ask = renew(root, 3);
    let id = store.reserve_request_id().await.unwrap();
    let forked = store.record_forked(row(id, ask), &spki(3), "1.2 100.0".to_owned()).await;
    assert_eq!(forked, Err(StoreError::Changed), "nobody renewed it yet");
    let successor = make(&store, renew(root, 2)).await.unwrap();
    let why = store.record_forked(row(id, ask), &spki(3), "1.2 100.0".to_owned()).await.unwrap();
    for part in [root.to_string(), successor.request_id().unwrap().to_string(), caller("alice").to_string()] {
        assert!(why.contains(&part), "{why}");
    }
    let request = store.request(id).await.unwrap().unwrap().summary;
    assert_eq!((request.disposition, request.code.as_deref()), (Disposition::Pending, Some(FORK_CODE)));
    assert_eq!(request.message.as_ref(), Some(&why));
    let audit = store.audit_list(AuditFilter { limit: 1, ..AuditFilter::default() }).await.unwrap();
    assert_eq!(audit[0].object.as_ref(), Some(&why));
    // Approved in full knowledge, it is issued.
    store.approve(id, "root".to_owned(), NOW).await.unwrap();
    let intent = Intent { opening: Opening::Approved(id), ..approved_intent(id, 3) };
    store.try_record_intent(intent).await.unwrap();
    // Denied, the code is the officer's.
    let id = store.reserve_request_id().await.unwrap();
    store.record_forked(row(id, renew(root, 4)), &spki(4), "1.2 100.0".to_owned()).await.unwrap();
    store.deny(id, "root".to_owned(), "not ours".to_owned(), NOW).await.unwrap();
    assert_eq!(store.request(id).await.unwrap().unwrap().summary.code, None);
}

fn approved_intent(id: RequestId, key: u8) -> Intent {
    let serial = serial(id, 7);
    Intent { tbs: tbs_with(serial, key), ..intent(id, "alice") }
}

/// Two renewals wait for approval as the template says; the officer approves both without knowing.
#[tokio::test]
async fn approval_without_knowledge_of_the_fork_is_not_enough() {
    let place_ = Place::new();
    let store = place_.open();
    let root = make(&store, first(1)).await.unwrap();
    let mut ids = Vec::new();
    for key in [2, 3] {
        let id = store.reserve_request_id().await.unwrap();
        store.record_pending(row(id, renew(root, key)), "1.2 100.0".to_owned()).await.unwrap();
        store.approve(id, "root".to_owned(), NOW).await.unwrap();
        ids.push(id);
    }
    let issue = async |id: RequestId, key| {
        store.try_record_intent(Intent { opening: Opening::Approved(id), ..approved_intent(id, key) }).await
    };
    issue(ids[0], 2).await.unwrap();
    assert_eq!(issue(ids[1], 3).await, Err(StoreError::Forked(ids[0])));
    let revision = "1.2 100.0".to_owned();
    store.reopen_forked(ids[1], &spki(3), revision, caller("alice"), NOW).await.unwrap();
    let request = store.request(ids[1]).await.unwrap().unwrap().summary;
    assert_eq!((request.disposition, request.code.as_deref()), (Disposition::Pending, Some(FORK_CODE)));
    store.approve(ids[1], "root".to_owned(), NOW).await.unwrap();
    issue(ids[1], 3).await.unwrap();
}

#[tokio::test]
async fn line_is_revoked_with_its_keys_and_what_is_under_way() {
    let place_ = Place::new();
    let (store, other) = (place_.open(), place_.open());
    let root = make(&store, first(1)).await.unwrap();
    let second = make(&store, renew(root, 2)).await.unwrap();
    let third = make(&store, renew(second, 3)).await.unwrap();
    let stranger = make(&store, first(9)).await.unwrap();
    store.revoke(second, Reason::Superseded, officer(), NOW).await.unwrap();
    // Signed by another process, not committed yet.
    let under_way = intent_of(&other, renew(third, 4)).await;
    let (late, tbs) = (under_way.serial, under_way.tbs.clone());
    other.record_intent(under_way).await.unwrap();

    let hold = store.revoke_line(second, Reason::CertificateHold, officer(), NOW).await;
    assert!(matches!(hold, Err(StoreError::Conflict(_))), "{hold:?}");
    let done = store.revoke_line(second, Reason::KeyCompromise, officer(), NOW).await.unwrap();
    assert_eq!(done.revoked, [root, third]);
    assert_eq!(done.before, [second]);
    assert_eq!(done.given_up, [late.request_id().unwrap()]);
    assert_eq!(done.keys, 4);
    assert!(commit(&other, late, &tbs, NOW).await.is_err(), "too late");
    assert_eq!(store.certificate(late).await.unwrap(), None);

    let seen = store.generations().await.unwrap();
    for key in 1..=4 {
        assert!(store.is_key_blocked(&spki(key), seen).await.unwrap(), "{key}");
    }
    assert!(!store.is_key_blocked(&spki(9), seen).await.unwrap());
    let listed = store.begin_crl(NOW, DAY).await.unwrap().entries;
    for serial in [root, second, third, late] {
        assert!(listed.iter().any(|entry| entry.serial == serial), "{serial}");
    }
    assert!(store.certificate(stranger).await.unwrap().unwrap().summary.revocation.is_none());
    let report = store.audit_verify().await.unwrap();
    assert!(report.faults.is_empty(), "{:?}", report.faults);
    let missing = store.revoke_line(late, Reason::KeyCompromise, officer(), NOW).await;
    assert!(matches!(missing, Err(StoreError::NotFound { .. })), "{missing:?}");
}

/// Renewals of an earlier version have no rows of lines.
#[tokio::test]
async fn migration_fills_the_lines_that_there_are() {
    let place_ = Place::new();
    let store = place_.open();
    let root = make(&store, first(1)).await.unwrap();
    let second = make(&store, renew(root, 2)).await.unwrap();
    let third = make(&store, Ask { method: Method::UsernamePassword, ..renew(second, 3) }).await.unwrap();
    let fourth = make(&store, renew(third, 4)).await.unwrap();
    let pending = store.reserve_request_id().await.unwrap();
    store.record_pending(row(pending, renew(fourth, 5)), "1.2 100.0".to_owned()).await.unwrap();
    let expected = store.line(root).await.unwrap();
    let raw = place_.raw();
    raw.execute_batch("DROP TABLE lines").unwrap();
    let lines = MIGRATIONS.iter().find(|sql| sql.contains("CREATE TABLE lines")).unwrap();
    raw.execute_batch(lines).unwrap();
    let line = store.line(root).await.unwrap();
    // The keys are read from the certificates.
    assert_eq!(line, expected);
    assert_eq!(line.len(), 4);
    assert!(place(&store, root, 9).await.forked && !place(&store, root, 2).await.forked);
    assert_eq!(make(&store, renew(root, 9)).await, Err(StoreError::Forked(second.request_id().unwrap())));
}
