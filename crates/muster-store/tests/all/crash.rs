//! Crash at every step of the writer, n = 1, 2, 3 … until none is reached any more (T45).
//!
//! The process that crashes is this test program, started again. It notes in a file, each line synchronized, what it
//! has signed before it commits, and what a client has received after. The invariants are those of a CA:
//! I1 what was received is stored, bit by bit; I3 what was signed has an intent; I4 no serial number twice;
//! I6 the audit chain verifies; I7 abandoned serial numbers are on the next list.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use muster_core::Serial;
use muster_core::issuance::Ledger;
use muster_store::{Disposition, Options, RequestFilter, Store, StoreError};

use crate::support::{NOW, Place, enroll, intent, issued, record, serial};

const PATH: &str = "MUSTER_TEST_DATABASE";
const CRASH_AT: &str = "MUSTER_TEST_CRASH_AT";
const ENROLLMENTS: u32 = 4;
/// Steps of the writer that the workload passes at least.
const STEPS: u32 = 40;

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
    Ok(())
}

fn note(notes: &mut File, what: &str, serial: Serial) {
    writeln!(notes, "{what} {serial}").unwrap();
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
    workload(&store, &mut notes(path.as_ref())).await.unwrap();
}

/// Opens what a crash has left, recovers, and checks every invariant.
async fn check(place: &Place) {
    let store = place.open();
    let given_up = store.recover(NOW.plus(1), 0).await.unwrap();
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
            Disposition::Pending | Disposition::Approved | Disposition::Signing | Disposition::Denied => {
                panic!("I3: {serial} was signed, its request is {}", request.summary.disposition)
            }
        }
    }
    assert!(given_up.iter().all(|a| listed.contains(&a.serial)), "I7");
    let all = RequestFilter { limit: u32::MAX, ..RequestFilter::default() };
    for row in store.requests(all).await.unwrap() {
        assert_ne!(row.disposition, Disposition::Signing, "recovered");
    }
    assert_eq!(place.count("intents"), 0);
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
