//! Several processes on one database. The others are this test program, started again.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use muster_core::issuance::Ledger;
use muster_store::{Disposition, RequestFilter, Store, StoreError};

use crate::support::{DAY, NOW, Place, enroll, intent, issued, officer, principal, record};

const PATH: &str = "MUSTER_TEST_DATABASE";

/// Starts this program again with one test that is a part for another process to play.
fn start(place: &Place, part: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", part, "--nocapture"])
        .env(PATH, place.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

fn shared() -> Store {
    let path = std::env::var_os(PATH).expect("started by another test");
    Store::open(path.as_ref(), &muster_store::Options::default(), NOW).unwrap()
}

#[tokio::test]
#[ignore = "a part for another process, started by second_process_writes_beside"]
async fn part_of_a_writer() {
    let store = shared();
    for _ in 0..200 {
        enroll(&store, "other").await;
    }
    store.put_account(principal("other"), officer(), NOW).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_process_writes_beside() {
    let place = Place::new();
    let store = place.open();
    let before = store.generations().await.unwrap();
    let mut other = start(&place, "processes::part_of_a_writer");
    for _ in 0..200 {
        enroll(&store, "alice").await;
    }
    assert!(other.wait().unwrap().success());
    assert_eq!(place.count("certificates"), 400);
    assert_eq!(store.generations().await.unwrap().configuration, before.configuration + 1);
    let report = store.audit_verify().await.unwrap();
    assert_eq!((report.records, report.faults), (802, vec![]));
    let all = RequestFilter { limit: u32::MAX, ..RequestFilter::default() };
    let rows = store.requests(all).await.unwrap();
    assert!(rows.iter().all(|row| row.disposition == Disposition::Issued));
}

#[tokio::test]
#[ignore = "a part for another process, started by intents_of_a_running_process_are_left_alone"]
async fn part_of_a_signer() {
    let store = shared();
    let id = store.reserve_request_id().await.unwrap();
    store.record_intent(intent(id, "other")).await.unwrap();
    println!("\nrecorded {id}");
    std::io::stdout().flush().unwrap();
    // Until the other side closes the pipe; the end is like a kill.
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    if line == "commit\n" {
        store.record_issued(issued(id, "other")).await.unwrap();
    }
    std::process::abort();
}

fn recorded(child: &mut Child) -> muster_core::RequestId {
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let line = lines.map(Result::unwrap).find(|line| line.starts_with("recorded ")).unwrap();
    line.strip_prefix("recorded ").unwrap().parse().unwrap()
}

#[tokio::test]
async fn intents_of_a_running_process_are_left_alone() {
    let place = Place::new();
    let store = place.open();
    let mut finishing = start(&place, "processes::part_of_a_signer");
    let mut dying = start(&place, "processes::part_of_a_signer");
    let (finished, died) = (recorded(&mut finishing), recorded(&mut dying));
    assert_ne!(finished, died);
    assert_eq!(store.recover(NOW.plus(DAY), 600).await, Ok(vec![]));

    finishing.stdin.take().unwrap().write_all(b"commit\n").unwrap();
    drop(dying.stdin.take());
    finishing.wait().unwrap();
    dying.wait().unwrap();
    let given_up = store.recover(NOW.plus(DAY), 600).await.unwrap();
    assert_eq!(given_up.iter().map(|a| a.id).collect::<Vec<_>>(), [died]);
    let summary = |id| async move { store.request(id).await.unwrap().unwrap().summary };
    let (finished, died) = (summary.clone()(finished).await, summary(died).await);
    assert_eq!((finished.disposition, died.disposition), (Disposition::Issued, Disposition::Failed));
}

#[tokio::test]
async fn own_intent_is_given_up_when_it_is_old() {
    let place = Place::new();
    let store = place.open();
    let id = store.reserve_request_id().await.unwrap();
    store.record_intent(intent(id, "alice")).await.unwrap();
    assert_eq!(store.recover(NOW.plus(600), 600).await, Ok(vec![]));
    let given_up = store.recover(NOW.plus(601), 600).await.unwrap();
    assert_eq!(given_up.len(), 1);
    assert!(store.record_issued(issued(id, "alice")).await.is_err());
    assert_eq!(store.recover(NOW.plus(602), 600).await, Ok(vec![]));
    // What came to nothing may be tried again.
    let again = store.reserve_request_id().await.unwrap();
    let again = muster_core::issuance::RequestRecord { id: again, ..record(id, "alice") };
    store.record_pending(again, String::new()).await.unwrap();
}

#[tokio::test]
async fn clean_end_leaves_no_files_behind() {
    let place = Place::new();
    let store = place.open();
    enroll(&store, "alice").await;
    drop(store);
    let folder = place.path().parent().unwrap().to_owned();
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files, ["muster.db"]);
}

#[tokio::test]
async fn lock_held_by_somebody_else_is_waited_for_and_then_told() {
    let place = Place::new();
    let busy_timeout = std::time::Duration::from_millis(50);
    let options = muster_store::Options { busy_timeout, ..Default::default() };
    let store = place.open_with(options).unwrap();
    let raw = place.raw();
    raw.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(store.put_account(principal("alice"), officer(), NOW).await, Err(StoreError::Busy));
    raw.execute_batch("ROLLBACK").unwrap();
    store.put_account(principal("alice"), officer(), NOW).await.unwrap();
}
