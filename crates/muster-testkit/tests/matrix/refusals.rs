//! The matrix, cell by cell.

use std::collections::BTreeMap;

use muster_core::Method;
use muster_store::StoreError;
use muster_testkit::log;
use muster_testkit::server::{Fault, PASSWORD};

use crate::cell::{Condition, Operation, World};

const METHODS: [Method; 2] = [Method::UsernamePassword, Method::ClientCertificate];

/// Each kind of refusal as it came first: the whole answer, so that a change of it shows.
#[derive(Default)]
struct Goldens(BTreeMap<&'static str, String>);

impl Goldens {
    async fn row(&mut self, world: &World, condition: Condition) {
        for operation in Operation::ALL {
            for method in METHODS {
                if let Some((kind, answer)) = world.check(operation, method, condition).await {
                    self.0.entry(kind).or_insert(answer);
                }
            }
        }
    }

    fn compare(self) {
        for (kind, answer) in self.0 {
            insta::assert_snapshot!(kind.to_lowercase(), answer);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_under_every_condition() {
    let world = World::new().await;
    let mut goldens = Goldens::default();
    for condition in Condition::STORE_WELL {
        goldens.row(&world, condition).await;
    }
    goldens.compare();
    let report = world.server.store.audit_verify().await.unwrap();
    assert!(report.faults.is_empty(), "{:?}", report.faults);
    assert!(!log::text().contains(PASSWORD));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_while_the_store_is_ill() {
    let mut world = World::new().await;
    world.audited = false;
    let mut goldens = Goldens::default();

    world.server.fault.set(Some(Fault::Error(StoreError::Full)));
    goldens.row(&world, Condition::DiskFull).await;
    // Refused callers are refused, although nobody can write it down.
    goldens.row(&world, Condition::Anonymous).await;
    world.server.fault.set(None);
    goldens.row(&world, Condition::Well).await;

    let path = muster_server::service::store_path(&world.server.settings);
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    goldens.row(&world, Condition::StoreLocked).await;
    other.execute_batch("ROLLBACK").unwrap();
    goldens.row(&world, Condition::Well).await;

    world.server.fault.set(Some(Fault::Panic));
    let _ = world.check(Operation::Issue, Method::UsernamePassword, Condition::DiskFull).await;
    goldens.row(&world, Condition::StoreDown).await;
    goldens.compare();
    let failed = tokio::time::timeout(std::time::Duration::from_secs(10), world.server.failed());
    failed.await.expect("the server notices that it has to be started again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_after_the_store_was_down() {
    let mut world = World::new().await;
    world.audited = false;
    world.server.fault.set(Some(Fault::Panic));
    let mut goldens = Goldens::default();
    let _ = world.check(Operation::Issue, Method::UsernamePassword, Condition::DiskFull).await;
    world.server.stop().await;
    world.server.fault.set(None);
    world.server.start_again().await.unwrap();
    goldens.row(&world, Condition::Well).await;
    assert!(goldens.0.is_empty());
}
