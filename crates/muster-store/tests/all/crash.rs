//! Crash at every step of the writer, n = 1, 2, 3 … until none is reached any more (T45).
//!
//! The process that crashes is this test program, started again. It notes in a file, each line synchronized, what it
//! has signed before it commits, and what a client has received after. The invariants are those of a CA:
//! I1 what was received is stored, bit by bit; I3 what was signed has an intent; I4 no serial number twice;
//! I6 the audit chain verifies; I7 abandoned serial numbers are on the next list. Of what goes to another CA: F1 what
//! was sent is stored; F2 what was answered is stored, bit by bit; F3 what that CA may have is not forgotten.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use muster_core::forwarding::{Outcome, Settlement};
use muster_core::issuance::Ledger;
use muster_core::{RequestId, Serial};
use muster_store::{Disposition, Options, RequestFilter, Store, StoreError};

use crate::support::{
    NOW, Place, caller, denied, enroll, intent, issued, issued_elsewhere, record, serial, submission,
    under_submission,
};

const PATH: &str = "MUSTER_TEST_DATABASE";
const CRASH_AT: &str = "MUSTER_TEST_CRASH_AT";
const ENROLLMENTS: u32 = 4;
/// Steps of the writer that the workload passes at least.
const STEPS: u32 = 90;

/// Enrolls; notes `signed` before each commit and `received` after it.
async fn workload(store: &Store, notes: &mut File) -> Result<(), StoreError> {
    for n in 0..ENROLLMENTS {
        let id = store.reserve_request_id().await?;
        let mut intent = intent(id, "alice");
        if n == 2 {
            store.record_pending(record(id, "alice"), String::new()).await?;
            store.approve(id, "root".to_owned(), NOW).await?;
            intent.opening = muster_core::issuance::Opening::Approved(id);
        }
        store.try_record_intent(intent).await?;
        note(notes, "signed", serial(id, 7));
        if n == 3 {
            let reason = "the key does not answer".to_owned();
            let abandoned = store.abandon_intent(id, serial(id, 7), reason, NOW).await;
            abandoned.map_err(|e| StoreError::Other(e.0))?;
            continue;
        }
        store.record_issued(issued(id, "alice")).await.map_err(|e| StoreError::Other(e.0))?;
        note(notes, "received", serial(id, 7));
    }
    for (n, outcomes) in (0..).zip(outcomes()) {
        let id = store.reserve_request_id().await?;
        store.try_record_submission(submission(id, "alice")).await?;
        note(notes, "sent", format!("{id} {n}"));
        for outcome in outcomes {
            store.try_settle(Settlement { id, actor: caller("alice"), outcome, at: NOW }).await?;
        }
        note(notes, "answered", format!("{id} {n}"));
    }
    Ok(())
}

/// What another CA makes of the requests that it gets, one after the other.
fn outcomes() -> [Vec<Outcome>; 5] {
    let why = String::new;
    [
        vec![issued_elsewhere()],
        vec![under_submission(), issued_elsewhere()],
        vec![denied()],
        vec![Outcome::NotSubmitted { why: why() }],
        vec![Outcome::Unknown { why: why() }, issued_elsewhere()],
    ]
}

/// What a request may have become by them, if the last one was written down.
const LAST: [Disposition; 5] =
    [Disposition::Issued, Disposition::Issued, Disposition::Denied, Disposition::Failed, Disposition::Issued];

/// Every request that was sent is there, and is what was answered, or waits for somebody to find out.
async fn check_forwarded(store: &Store, noted: &str) {
    let pairs = |what: &str| -> BTreeSet<(RequestId, usize)> {
        let pair = |rest: &str| {
            let (id, n) = rest.split_once(' ')?;
            Some((id.parse().ok()?, n.parse().ok()?))
        };
        noted.lines().filter_map(|line| pair(line.strip_prefix(what)?)).collect()
    };
    let answered = pairs("answered ");
    for (id, n) in pairs("sent ") {
        let request = store.request(id).await.unwrap().expect("F1: sent, not stored");
        let forwarding = request.forwarding.expect("F1");
        let present = request.summary.disposition;
        let is_last = present == LAST[n];
        assert!(is_last || !answered.contains(&(id, n)), "F2: {present}");
        let open = [Disposition::UnderSubmission, Disposition::Unknown].contains(&present);
        assert!(is_last || open, "F3: {present}");
        let is_issued = present == Disposition::Issued;
        assert_eq!(forwarding.certificate, is_issued.then(|| b"a certificate".to_vec()), "F2");
        let mut again = submission(store.reserve_request_id().await.unwrap(), "alice");
        again.request.raw = request.raw;
        if open {
            assert_eq!(store.try_record_submission(again).await, Err(StoreError::Duplicate(id)), "F3");
        }
    }
}

fn note(notes: &mut File, what: &str, about: impl std::fmt::Display) {
    writeln!(notes, "{what} {about}").unwrap();
    notes.sync_data().unwrap();
}

fn notes(place: &Path) -> File {
    File::options().create(true).append(true).open(place.with_extension("notes")).unwrap()
}

#[tokio::test]
#[ignore = "a part for another process, started by crash_at_each_step_keeps_the_promises"]
async fn part_that_crashes() {
    let path = std::env::var_os(PATH).expect("started by another test");
    let at: u32 = std::env::var(CRASH_AT).unwrap().parse().unwrap();
    let steps = AtomicU32::new(0);
    let faults = Arc::new(move |_| {
        if steps.fetch_add(1, Ordering::SeqCst) + 1 == at {
            std::process::abort();
        }
        Ok(())
    });
    let store =
        Store::open(path.as_ref(), &Options { faults: Some(faults), ..Options::default() }, NOW).unwrap();
    store.recover(NOW, 0).await.unwrap();
    store.recover_submissions(NOW, 0).await.unwrap();
    workload(&store, &mut notes(path.as_ref())).await.unwrap();
}

/// Opens what a crash has left, recovers, and checks every invariant.
async fn check(place: &Place) {
    let store = place.open();
    let given_up = store.recover(NOW.plus(1), 0).await.unwrap();
    store.recover_submissions(NOW.plus(1), 0).await.unwrap();
    let noted = std::fs::read_to_string(place.path().with_extension("notes")).unwrap_or_default();
    let serials = |what: &str| -> Vec<Serial> {
        noted.lines().filter_map(|line| line.strip_prefix(what)?.trim().parse().ok()).collect()
    };
    for received in serials("received ") {
        let stored = store.certificate(received).await.unwrap().expect("I1: received, not stored");
        let id = received.request_id().unwrap();
        assert_eq!(stored.der, issued(id, "alice").certificate, "I1");
    }
    let signed = serials("signed ");
    assert_eq!(signed.iter().collect::<BTreeSet<_>>().len(), signed.len(), "I4");
    let listed: BTreeSet<_> =
        store.begin_crl(NOW.plus(1), 0).await.unwrap().entries.into_iter().map(|e| e.serial).collect();
    for serial in signed {
        let id = serial.request_id().unwrap();
        let request = store.request(id).await.unwrap().expect("I3: signed, no request");
        match request.summary.disposition {
            Disposition::Issued => assert!(!listed.contains(&serial)),
            Disposition::Failed => assert!(listed.contains(&serial), "I7"),
            Disposition::Pending
            | Disposition::Approved
            | Disposition::Signing
            | Disposition::Denied
            | Disposition::Submitting
            | Disposition::UnderSubmission
            | Disposition::Unknown => {
                panic!("I3: {serial} was signed, its request is {}", request.summary.disposition)
            }
        }
    }
    assert!(given_up.iter().all(|a| listed.contains(&a.serial)), "I7");
    let all = RequestFilter { limit: u32::MAX, ..RequestFilter::default() };
    for row in store.requests(all).await.unwrap() {
        assert_ne!(row.disposition, Disposition::Signing, "recovered");
        assert_ne!(row.disposition, Disposition::Submitting, "recovered");
    }
    assert_eq!(place.count("intents"), 0);
    check_forwarded(&store, &noted).await;
    let twice = place
        .raw()
        .query_row(
            "SELECT count(*) - count(DISTINCT serial) FROM
             (SELECT serial FROM certificates UNION ALL SELECT serial FROM abandoned)",
            [],
            |row| row.get::<_, i64>(0),
        )
        .unwrap();
    assert_eq!(twice, 0, "I4");
    assert_eq!(store.audit_verify().await.unwrap().faults, [], "I6");
    // And goes on.
    enroll(&store, "bob").await;
}

#[tokio::test]
async fn crash_at_each_step_keeps_the_promises() {
    let place = Place::new();
    for at in 1.. {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "crash::part_that_crashes"])
            .env(PATH, place.path())
            .env(CRASH_AT, at.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        check(&place).await;
        if child.success() {
            assert!(at > STEPS, "{at}");
            return;
        }
    }
}

/// The same with errors in the place of crashes: the caller is told, and the process goes on.
#[tokio::test]
async fn error_at_each_step_keeps_the_promises() {
    let place = Place::new();
    for at in 1.. {
        let steps = AtomicU32::new(0);
        let faults = Arc::new(move |_| {
            if steps.fetch_add(1, Ordering::SeqCst) + 1 == at { Err(StoreError::Full) } else { Ok(()) }
        });
        let store = place.open_with(Options { faults: Some(faults), ..Options::default() }).unwrap();
        let result = workload(&store, &mut notes(&place.path())).await;
        drop(store);
        check(&place).await;
        if result.is_ok() && at > STEPS {
            return;
        }
    }
}
