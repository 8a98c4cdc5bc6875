//! Many tasks at once on one handle.

use std::collections::BTreeSet;

use muster_store::CertificateFilter;

use crate::support::{Place, enroll};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn enrollments_of_many_tasks_are_all_there_once() {
    const TASKS: usize = 64;
    const EACH: usize = 50;
    let place = Place::new();
    let store = place.open();
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                let account = format!("account{task}");
                let mut issued = Vec::new();
                for _ in 0..EACH {
                    let _expected = store.expect_write();
                    issued.push(enroll(&store, &account).await);
                }
                issued
            })
        })
        .collect();
    let mut received = Vec::new();
    for task in tasks {
        received.extend(task.await.unwrap());
    }
    let ids: BTreeSet<_> = received.iter().map(|r| r.id).collect();
    let serials: BTreeSet<_> = received.iter().map(|r| r.serial).collect();
    assert_eq!((ids.len(), serials.len()), (TASKS * EACH, TASKS * EACH));
    drop(store);

    let store = place.open();
    for issued in &received {
        let stored = store.certificate(issued.serial).await.unwrap().unwrap();
        assert_eq!((stored.summary.id, &stored.der), (issued.id, &issued.certificate));
        assert_eq!(stored.summary.account, issued.account);
    }
    let all = CertificateFilter { limit: u32::MAX, ..CertificateFilter::default() };
    assert_eq!(store.certificates(all).await.unwrap().len(), TASKS * EACH);
    let report = store.audit_verify().await.unwrap();
    assert_eq!((report.records, report.faults), (2 * 3_200 + 1, vec![]));
}

#[tokio::test]
async fn cancelled_reservation_loses_nothing() {
    let place = Place::new();
    let store = place.open();
    let mut ids = BTreeSet::new();
    for _ in 0..2_000 {
        // Polled once, then dropped.
        tokio::select! {
            biased;
            id = store.reserve_request_id() => assert!(ids.insert(id.unwrap())),
            () = std::future::ready(()) => {}
        }
        assert!(ids.insert(store.reserve_request_id().await.unwrap()));
    }
    let numbers: Vec<_> = ids.iter().map(|id| id.number()).collect();
    assert_eq!(*numbers.last().unwrap() as usize, numbers.len());
}
