//! Revocation lists: numbers, fencing, what is on them.

use muster_core::UnixTime;
use muster_core::audit::Actor;
use muster_core::revocation::Reason;
use muster_store::{Crl, StoreError};

use crate::support::{DAY, NOW, Place, enroll, officer};

fn crl(number: u64) -> Crl {
    let der = number.to_be_bytes().to_vec();
    Crl { number, this_update: NOW, next_update: NOW.plus(7 * DAY), der }
}

#[tokio::test]
async fn numbers_rise_across_restarts_and_handles() {
    let place = Place::new();
    let store = place.open();
    let other = place.open();
    assert_eq!(store.latest_crl().await, Ok(None));
    assert_eq!(store.begin_crl(NOW, 0).await.unwrap().number, 1);
    assert_eq!(other.begin_crl(NOW, 0).await.unwrap().number, 2);
    drop((store, other));
    assert_eq!(place.open().begin_crl(NOW, 0).await.unwrap().number, 3);
}

#[tokio::test]
async fn older_list_never_replaces_a_newer_one() {
    let place = Place::new();
    let store = place.open();
    let first = store.begin_crl(NOW, 0).await.unwrap().number;
    let second = store.begin_crl(NOW, 0).await.unwrap().number;
    store.put_crl(crl(second), Actor::Service).await.unwrap();
    let late = store.put_crl(crl(first), Actor::Service).await;
    assert_eq!(late, Err(StoreError::StaleCrl { number: first, latest: second }));
    assert!(store.put_crl(crl(second), Actor::Service).await.is_err());
    // A number that nobody was given.
    assert!(store.put_crl(crl(second + 1), Actor::Service).await.is_err());
    assert_eq!(store.latest_crl().await, Ok(Some(crl(second))));
}

#[tokio::test]
async fn last_ten_lists_are_kept() {
    let place = Place::new();
    let store = place.open();
    for _ in 0..15 {
        let number = store.begin_crl(NOW, 0).await.unwrap().number;
        store.put_crl(crl(number), Actor::Service).await.unwrap();
    }
    assert_eq!(place.count("crls"), 10);
    assert_eq!(store.latest_crl().await.unwrap().unwrap().number, 15);
}

#[tokio::test]
async fn entries_leave_by_expiring_only() {
    let place = Place::new();
    let store = place.open();
    let issued = enroll(&store, "alice").await;
    store.revoke(issued.serial, Reason::Superseded, officer(), NOW).await.unwrap();
    let listed = |at: UnixTime, margin| {
        let store = store.clone();
        async move { !store.begin_crl(at, margin).await.unwrap().entries.is_empty() }
    };
    let end = issued.not_after;
    assert!(listed(end, 0).await);
    assert!(!listed(end.plus(1), 0).await);
    assert!(listed(end.plus(DAY), DAY).await);
    assert!(!listed(end.plus(DAY + 1), DAY).await);
}
