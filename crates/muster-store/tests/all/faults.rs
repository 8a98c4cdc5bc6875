//! Full disks, damaged files, faults of our own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use muster_core::issuance::Ledger;
use muster_store::{FaultPoint, Options, Store, StoreError};

use crate::support::{NOW, Place, enroll, intent, name, officer, principal, record};

#[tokio::test]
async fn full_disk_is_told_and_loses_nothing() {
    let place = Place::new();
    let store = place.open_with(Options { max_pages: Some(200), ..Options::default() }).unwrap();
    let mut done = Vec::new();
    let refused = loop {
        let id = store.reserve_request_id().await.unwrap();
        match store.try_record_intent(intent(id, "alice")).await {
            Ok(()) => done.push(id),
            Err(error) => break error,
        }
        assert!(done.len() < 10_000);
    };
    assert_eq!(refused, StoreError::Full);
    assert!(done.len() > 50);
    // Reading goes on, and says the truth.
    for id in &done {
        assert!(store.request(*id).await.unwrap().is_some());
    }
    assert_eq!(store.audit_verify().await.unwrap().faults, []);
    drop(store);

    // With room again, nothing has to be repaired by hand.
    let store = place.open();
    store.health().await.unwrap();
    enroll(&store, "alice").await;
    assert_eq!(store.recover(NOW, 0).await.unwrap().len(), done.len());
    assert_eq!(store.audit_verify().await.unwrap().faults, []);
}

#[tokio::test]
async fn health_needs_a_store_that_can_be_written() {
    let place = Place::new();
    place.open().health().await.unwrap();
    let full = Arc::new(|point| match point {
        FaultPoint::Commit => Err(StoreError::Full),
        FaultPoint::Begin | FaultPoint::Job | FaultPoint::Answer => Ok(()),
    });
    let store = place.open_with(Options { faults: Some(full), ..Options::default() }).unwrap();
    assert_eq!(store.health().await, Err(StoreError::Full));
    drop(store);
    let reader = Store::open_read_only(&place.path()).unwrap();
    assert_eq!(reader.health().await, Err(StoreError::ReadOnly));
    assert_eq!(reader.account(&name("alice")).await, Ok(None));
}

#[test]
fn missing_database_is_named() {
    let place = Place::new();
    let options = Options { create: false, ..Options::default() };
    let missing = StoreError::Missing(place.path().display().to_string());
    assert_eq!(place.open_with(options).map(drop), Err(missing.clone()));
    assert_eq!(Store::open_read_only(&place.path()).map(drop), Err(missing));
    assert!(!place.path().exists());
}

#[tokio::test]
async fn file_that_is_no_database_is_refused_and_not_touched() {
    let place = Place::new();
    let text = "a letter to a friend\n".repeat(500);
    std::fs::write(place.path(), &text).unwrap();
    let refused = place.open_with(Options::default()).map(drop);
    assert!(matches!(refused, Err(StoreError::Damaged(_))), "{refused:?}");
    assert_eq!(std::fs::read_to_string(place.path()).unwrap(), text);
}

#[tokio::test]
async fn damaged_pages_are_told() {
    use std::io::{Seek, SeekFrom, Write};
    let place = Place::new();
    let store = place.open();
    let mut ids = Vec::new();
    for _ in 0..200 {
        ids.push(enroll(&store, "alice").await.id);
    }
    drop(store);
    // Everything after the first 40 pages, which hold the schema and the roots of the tables.
    let mut file = std::fs::OpenOptions::new().write(true).open(place.path()).unwrap();
    let length = file.metadata().unwrap().len();
    file.seek(SeekFrom::Start(40 * 4096)).unwrap();
    let rest = usize::try_from(length - 40 * 4096).unwrap();
    file.write_all(&vec![0xff; rest]).unwrap();
    drop(file);

    let store = place.open();
    let mut told = 0;
    for id in ids {
        match store.request(id).await {
            Ok(_) => {}
            Err(StoreError::Damaged(_)) => told += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(told > 100, "{told}");
    let mut refused = None;
    for _ in 0..200 {
        let Ok(id) = store.reserve_request_id().await else { break };
        if let Err(error) = store.try_record_intent(intent(id, "alice")).await {
            refused = Some(error);
            break;
        }
    }
    assert!(matches!(refused, Some(StoreError::Damaged(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn panic_in_the_writer_ends_every_call() {
    let place = Place::new();
    let jobs = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&jobs);
    let faults = Arc::new(move |point| {
        let nth = if point == FaultPoint::Job { counted.fetch_add(1, Ordering::SeqCst) } else { 0 };
        assert!(nth < 20, "provoked");
        Ok(())
    });
    let store = place.open_with(Options { faults: Some(faults), ..Options::default() }).unwrap();
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let id = store.reserve_request_id().await?;
                store.try_record_intent(intent(id, "alice")).await
            })
        })
        .collect();
    let mut stopped = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(()) => {}
            Err(StoreError::Stopped) => stopped += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(stopped >= 12, "{stopped}");
    assert_eq!(store.health().await, Err(StoreError::Stopped));
    assert_eq!(store.account(&name("alice")).await, Err(StoreError::Stopped));
    assert_eq!(store.generations().await, Err(StoreError::Stopped));
    assert_eq!(store.reserve_request_id().await, Err(StoreError::Stopped));
    drop(store);
    assert_eq!(place.open().audit_verify().await.unwrap().faults, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failing_write_does_not_undo_its_neighbours() {
    let place = Place::new();
    // The hook fails every third job after it has changed something.
    let jobs = AtomicU32::new(0);
    let faults = Arc::new(move |point| match point {
        FaultPoint::Job if jobs.fetch_add(1, Ordering::SeqCst) % 3 == 2 => {
            Err(StoreError::Other("provoked".to_owned()))
        }
        FaultPoint::Begin | FaultPoint::Job | FaultPoint::Commit | FaultPoint::Answer => Ok(()),
    });
    let store = place.open_with(Options { faults: Some(faults), ..Options::default() }).unwrap();
    let tasks: Vec<_> = (0..100)
        .map(|n| {
            let store = store.clone();
            let account = format!("account{n}");
            tokio::spawn(
                async move { (store.put_account(principal(&account), officer(), NOW).await, account) },
            )
        })
        .collect();
    let mut failed = 0;
    for task in tasks {
        let (result, account) = task.await.unwrap();
        let there = store.account(&name(&account)).await.unwrap().is_some();
        assert_eq!(there, result.is_ok());
        failed += u32::from(result.is_err());
    }
    assert!((1..100).contains(&failed), "{failed}");
    let report = store.audit_verify().await.unwrap();
    assert_eq!((report.records, report.faults), (u64::from(101 - failed), vec![]));
}

#[tokio::test]
async fn refused_write_answers_through_the_ledger_in_words() {
    let place = Place::new();
    let faults = Arc::new(|point| match point {
        FaultPoint::Begin => Err(StoreError::Full),
        FaultPoint::Job | FaultPoint::Commit | FaultPoint::Answer => Ok(()),
    });
    let store = place.open_with(Options { faults: Some(faults), ..Options::default() }).unwrap();
    let id = muster_core::RequestId::new(1).unwrap();
    let refused = store.record_intent(intent(id, "alice")).await.unwrap_err().to_string();
    assert!(refused.starts_with("the store cannot be written: the disk"), "{refused}");
    assert_eq!(store.record_pending(record(id, "alice"), String::new()).await, Err(StoreError::Full));
}
