//! The matrix, cell by cell.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use muster_core::Method;
use muster_server::config::Service;
use muster_store::StoreError;
use muster_testkit::https::post;
use muster_testkit::server::{Fault, PASSWORD, path};
use muster_testkit::{Key, SignIn, TestServer, log};

use crate::cell::{Condition, Illness, Operation, World};

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

    /// The row of a store that is down, which only a new start mends.
    async fn row_without_store(&mut self, world: &mut World) {
        for operation in Operation::ALL {
            for method in METHODS {
                if let Some((kind, answer)) = world.check(operation, method, Condition::StoreDown).await {
                    self.0.entry(kind).or_insert(answer);
                    // The server notices that it has to be started again.
                    let failed = tokio::time::timeout(Duration::from_secs(10), world.server.failed());
                    failed.await.unwrap();
                    world.server.stop().await;
                    world.server.fault.set(None);
                    world.server.start_again().await.unwrap();
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

    world.illness = Illness::Fault(Fault::Error(StoreError::Full));
    goldens.row(&world, Condition::DiskFull).await;
    // Refused callers are refused, although nobody can write it down.
    goldens.row(&world, Condition::Anonymous).await;

    let path = muster_server::service::store_path(&world.server.settings);
    world.illness = Illness::Locked(rusqlite::Connection::open(&path).unwrap());
    goldens.row(&world, Condition::StoreLocked).await;
    world.illness = Illness::None;
    goldens.row(&world, Condition::Well).await;

    goldens.row_without_store(&mut world).await;
    goldens.compare();
}

/// A node that can issue nothing any more refuses connections, so that clients go on to the next one; what was on its
/// way is told so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doors_close_when_the_store_is_down() {
    let server = TestServer::start().await;
    let endpoint = server.endpoint(Service::Enrollment, Method::UsernamePassword);
    let messages = server.messages(endpoint, SignIn::Password("alice", PASSWORD));
    let request = post(&path(endpoint), "", messages.issue(&Key::generate().request("User")).as_bytes());
    let mut under_way = server.connect(endpoint, None).await;
    let mut idle = server.connect(endpoint, None).await;
    let (first, rest) = request.split_at(request.len() - 100);
    under_way.send(first).await;
    tokio::time::sleep(Duration::from_millis(100)).await;

    server.fault.set(Some(Fault::Panic));
    let mut last = server.connect(endpoint, None).await;
    last.send(&request).await;
    assert_eq!(last.answer().await.unwrap().status, 503);
    let begin = Instant::now();
    for listener in ["password", "certificate"] {
        while tokio::net::TcpStream::connect(server.address(listener)).await.is_ok() {
            assert!(begin.elapsed() < Duration::from_secs(2), "{listener} is open");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert!(idle.is_closed().await);
    under_way.send(rest).await;
    let answer = under_way.answer().await.expect("an answer to what was on its way");
    assert_eq!((answer.status, answer.is_soap()), (503, false));
    assert!(under_way.is_closed().await);
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
