//! T26: two holders of one key, and the revocation of lines, also under load and from another process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use muster_core::Clock;
use muster_core::revocation::Reason;
use muster_store::{Options, Store};
use muster_testkit::{Identity, Key, log};

use crate::world::{Ask, Form, Route, World, code, officer};

/// Two holders renew one certificate at the same moment, through two routes: one gets a certificate, the other waits,
/// and the officer reads of both. Every time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t26_two_holders_at_once_are_found_every_time() {
    let world = Arc::new(World::new().await);
    for _ in 0..20 {
        let alice = world.server.enroll("alice", "User").await;
        let renewals = [Route::KeyBased, Route::Password].map(|route| {
            let (world, alice) = (Arc::clone(&world), alice.clone());
            tokio::spawn(async move {
                let request = Ask::new("User", &Key::generate()).renewal(Form::Cms, &alice);
                world.send(route, "alice", &alice, &request).await
            })
        });
        let mut issued = 0;
        let mut waiting = Vec::new();
        for renewal in renewals {
            let answer = renewal.await.unwrap();
            let text = answer.text();
            if text.contains("Taken Under Submission") {
                waiting.push(answer.pending());
            } else if code(&answer) == "RENEW_TOO_EARLY" {
                // At the address for renewals the second one comes too early, before anybody has to look.
                waiting.push(String::new());
            } else {
                let _ = answer.issued();
                issued += 1;
            }
        }
        assert_eq!((issued, waiting.len()), (1, 1));
        let Some(id) = waiting.pop().filter(|id| !id.is_empty()) else { continue };
        let row = world.server.store.request(id.parse().unwrap()).await.unwrap().unwrap().summary;
        let why = row.message.unwrap();
        assert!(why.starts_with("two holders of one key? certificate 4d"), "{why}");
        assert_eq!(why.matches("caller:alice/").count(), 2, "{why}");
        assert!(log::text().contains(&why));
        let now = world.now();
        world.server.store.deny(id.parse().unwrap(), "officer".into(), "no".into(), now).await.unwrap();
    }
}

/// Approved by an officer, the second holder gets its certificate; the officer may also deny it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t26_officer_decides_about_the_second_holder() {
    let world = World::new().await;
    let alice = world.server.enroll("alice", "User").await;
    world.renew(Route::Certificate, "User", &alice).await;
    let ask = async || {
        let request = Ask::new("User", &Key::generate()).renewal(Form::Cmc, &alice);
        world.send(Route::Certificate, "alice", &alice, &request).await.pending()
    };
    let (one, two) = (ask().await, ask().await);
    world.approve(&one).await;
    let _ = world.query(Route::Certificate, &alice, &one).await.issued();
    let now = world.now();
    world.server.store.deny(two.parse().unwrap(), "officer".into(), "stolen".into(), now).await.unwrap();
    assert_eq!(code(&world.query(Route::Certificate, &alice, &two).await), "DENIED");
}

/// What an officer approved without knowing of another holder comes back to the officer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t26_approval_without_knowledge_of_the_other_is_asked_for_again() {
    let world = World::new().await;
    world.change("User", |template| template.issuance.approval = true).await;
    let key = Arc::new(Key::generate());
    let none = Identity { certificate: Vec::new(), key: Arc::clone(&key) };
    let first = Ask::new("User", &key).first();
    let id = world.send(Route::Password, "alice", &none, &first).await.pending();
    world.approve(&id).await;
    let certificate = world.send(Route::Password, "alice", &none, &first).await.issued().1;
    let alice = Identity { certificate, key };
    let mut ids = Vec::new();
    for _ in 0..2 {
        let request = Ask::new("User", &Key::generate()).renewal(Form::Cms, &alice);
        let id = world.send(Route::Certificate, "alice", &alice, &request).await.pending();
        world.approve(&id).await;
        ids.push(id);
    }
    let _ = world.query(Route::Certificate, &alice, &ids[0]).await.issued();
    assert_eq!(world.query(Route::Certificate, &alice, &ids[1]).await.pending(), ids[1]);
    let row = world.server.store.request(ids[1].parse().unwrap()).await.unwrap().unwrap().summary;
    assert_eq!(row.code.as_deref(), Some("RENEW_FORK"));
    world.approve(&ids[1]).await;
    let _ = world.query(Route::Certificate, &alice, &ids[1]).await.issued();
}

/// Renews a line onward, again and again, each certificate with the one before, until something is refused.
async fn onward(world: Arc<World>, first: Identity, stop: Arc<AtomicBool>) -> usize {
    let (mut current, mut renewals) = (first, 0);
    while !stop.load(Ordering::SeqCst) {
        let key = Arc::new(Key::generate());
        let request = Ask::new("User", &key).renewal(Form::Cms, &current);
        let answer = world.send(Route::Certificate, "alice", &current, &request).await;
        if answer.status == 200 {
            current = Identity { certificate: answer.issued().1, key };
            renewals += 1;
        } else if answer.status == 500 {
            assert!(answer.text().contains("revoked"), "{}", answer.text());
            return renewals;
        }
    }
    renewals
}

/// T26, AC-6.3: a line is revoked through a second handle of the store, as another process has it, while it is renewed
/// onward: afterwards no certificate of it lives, and none is renewed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t26_line_revoked_during_renewals_leaves_no_living_certificate() {
    let world = Arc::new(World::new().await);
    let path = muster_server::service::store_path(&world.server.settings);
    let options = Options { create: false, ..Options::default() };
    let other = Store::open(&path, &options, world.server.clock.now()).unwrap();
    let mut renewals = 0;
    for round in 0..10u64 {
        let alice = world.server.enroll("alice", "User").await;
        let serial = world.serial(&alice).await;
        let stop = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(onward(Arc::clone(&world), alice.clone(), Arc::clone(&stop)));
        tokio::time::sleep(Duration::from_millis(20 + 13 * round)).await;
        let now = world.now();
        other.revoke_line(serial, Reason::KeyCompromise, officer(), now).await.unwrap();
        // Begun after the command: refused.
        let late = Ask::new("User", &Key::generate()).renewal(Form::Cms, &alice);
        assert_eq!(code(&world.send(Route::Password, "alice", &alice, &late).await), "RENEW_REVOKED");
        tokio::time::sleep(Duration::from_millis(50)).await;
        stop.store(true, Ordering::SeqCst);
        renewals += task.await.unwrap();
        let line = world.server.store.line(serial).await.unwrap();
        for member in &line {
            let certificate = member.certificate.as_ref().unwrap();
            assert!(certificate.revocation.is_some(), "round {round}: {} lives", certificate.serial);
        }
        // The keys are good for nothing any more, not even for a first enrollment.
        let again = Ask::new("User", &alice.key).first();
        assert_eq!(code(&world.send(Route::Password, "alice", &alice, &again).await), "KEY_BLOCKED");
    }
    assert!(renewals > 10, "the race took place: {renewals}");
}

/// What was enrolled for by signing in with a certificate is of its line, too: a thief gains nothing by a first
/// enrollment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t26_what_was_had_by_signing_in_goes_with_the_line() {
    let world = World::new().await;
    let alice = world.server.enroll("alice", "User").await;
    let key = Arc::new(Key::generate());
    let first = Ask::new("User", &key).first();
    let (_, certificate) = world.send(Route::Certificate, "thief", &alice, &first).await.issued();
    let thief = Identity { certificate, key };
    let stolen = world.renew(Route::Certificate, "User", &thief).await;
    let (serial, now) = (world.serial(&alice).await, world.now());
    let done = world.server.store.revoke_line(serial, Reason::KeyCompromise, officer(), now).await.unwrap();
    assert_eq!(done.revoked.len(), 3);
    let request = Ask::new("User", &Key::generate()).renewal(Form::Cms, &stolen);
    assert_eq!(code(&world.send(Route::KeyBased, "alice", &stolen, &request).await), "CERT_REVOKED");
}
