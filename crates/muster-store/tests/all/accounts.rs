//! Accounts, and the generation that tells of their changes.

use muster_store::{PasswordHash, Store, StoreError};

use crate::support::{NOW, Place, enroll, intent, name, officer, principal};

#[tokio::test]
async fn account_is_kept_across_restarts() {
    let place = Place::new();
    let store = place.open();
    assert_eq!(store.account(&name("alice")).await, Ok(None));
    store.put_account(principal("alice"), officer(), NOW).await.unwrap();
    let hash = PasswordHash("$argon2id$secret".to_owned());
    store.set_password_hash(name("alice"), hash.clone(), officer(), NOW.plus(1)).await.unwrap();
    drop(store);

    let account = place.open().account(&name("Alice")).await.unwrap().unwrap();
    assert_eq!(account.principal, principal("alice"));
    assert_eq!(account.password_hash, Some(hash));
    assert!(account.enabled);
    assert_eq!(account.changed, NOW.plus(1));
    assert!(!format!("{account:?}").contains("secret"));
}

#[tokio::test]
async fn changing_who_an_account_is_keeps_password_and_state() {
    let place = Place::new();
    let store = place.open();
    store.put_account(principal("alice"), officer(), NOW).await.unwrap();
    let hash = PasswordHash("$argon2id$x".to_owned());
    store.set_password_hash(name("alice"), hash.clone(), officer(), NOW).await.unwrap();
    store.set_enabled(name("alice"), false, officer(), NOW).await.unwrap();
    let mut changed = principal("alice");
    changed.email = None;
    store.put_account(changed.clone(), officer(), NOW).await.unwrap();
    let account = store.account(&name("alice")).await.unwrap().unwrap();
    assert_eq!((account.principal, account.password_hash), (changed, Some(hash)));
    assert!(!account.enabled);
}

#[tokio::test]
async fn version_differs_after_removal_and_return() {
    let place = Place::new();
    let store = place.open();
    let first = store.put_account(principal("alice"), officer(), NOW).await.unwrap();
    store.remove_account(name("alice"), officer(), NOW).await.unwrap();
    assert_eq!(store.accounts().await, Ok(vec![]));
    let second = store.put_account(principal("alice"), officer(), NOW).await.unwrap();
    assert!(second > first);
    assert_eq!(store.accounts().await.unwrap().len(), 1);
}

#[tokio::test]
async fn unknown_account_is_named() {
    let place = Place::new();
    let store = place.open();
    let missing = Err(StoreError::NotFound { kind: "account", name: "bob".to_owned() });
    assert_eq!(store.remove_account(name("bob"), officer(), NOW).await, missing);
    let hash = PasswordHash(String::new());
    assert!(store.set_password_hash(name("bob"), hash, officer(), NOW).await.is_err());
    assert!(store.set_enabled(name("bob"), true, officer(), NOW).await.is_err());
    // A refused change is no change.
    assert_eq!(store.generations().await.unwrap().configuration, 1);
    assert_eq!(store.audit_head().await.unwrap().sequence, 1);
}

#[tokio::test]
async fn generation_rises_with_accounts_and_not_with_enrollments() {
    let place = Place::new();
    let store = place.open();
    let before = store.generations().await.unwrap();
    enroll(&store, "alice").await;
    assert_eq!(store.generations().await.unwrap(), before);
    store.put_account(principal("alice"), officer(), NOW).await.unwrap();
    let after = store.generations().await.unwrap();
    assert_eq!(after.configuration, before.configuration + 1);
    assert_eq!(after.revocations, before.revocations);
    // The same from another process's point of view.
    assert_eq!(place.open().generations().await.unwrap(), after);
}

#[tokio::test]
async fn change_beside_is_seen_after_a_moment_and_by_whoever_it_surprised() {
    async fn add(store: &Store, account: &str) {
        store.put_account(principal(account), officer(), NOW).await.unwrap();
    }
    let place = Place::new();
    let (store, beside) = (place.open(), place.open());
    for round in 0..20 {
        let seen = store.generations().await.unwrap();
        add(&beside, &format!("beside{round}")).await;
        if round % 2 == 0 {
            // Longer than a reading serves.
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        } else {
            let id = store.reserve_request_id().await.unwrap();
            let refused = store.record_intent_if_unchanged(intent(id, "alice"), seen).await;
            assert_eq!(refused, Err(StoreError::Changed));
        }
        assert_eq!(store.generations().await.unwrap().configuration, seen.configuration + 1, "{round}");
        // A change of one's own is seen at once.
        add(&store, &format!("own{round}")).await;
        assert_eq!(store.generations().await.unwrap().configuration, seen.configuration + 2, "{round}");
    }
}
