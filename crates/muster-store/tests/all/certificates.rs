//! Look-up, revocation, blocked keys.

use muster_core::issuance::Ledger;
use muster_core::revocation::Reason;
use muster_core::{RequestId, Serial, UnixTime};
use muster_store::{CertificateFilter, Store, StoreError};
use rcgen::{CertificateParams, KeyPair, PublicKeyData, SerialNumber};

use crate::support::{DAY, NOW, Place, TEMPLATE_OID, enroll, intent, issued, name, officer, serial};

async fn blocked(store: &Store, spki: &[u8]) -> Result<bool, StoreError> {
    store.is_key_blocked(spki, store.generations().await?).await
}

#[tokio::test]
async fn certificate_is_known_octet_by_octet() {
    let place = Place::new();
    let store = place.open();
    let issued = enroll(&store, "alice").await;
    let known = store.known_certificate(issued.serial, &issued.certificate).await.unwrap().unwrap();
    assert_eq!(known.account, issued.account);
    assert_eq!(known.template.as_str(), TEMPLATE_OID);
    assert_eq!((known.not_before, known.not_after), (issued.not_before, issued.not_after));
    assert!(!known.revoked);

    let mut forged = issued.certificate.clone();
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(store.known_certificate(issued.serial, &forged).await, Ok(None));
    let other = serial(issued.id, 8);
    assert_eq!(store.known_certificate(other, &issued.certificate).await, Ok(None));
    assert_eq!(store.certificate(other).await, Ok(None));

    store.revoke(issued.serial, Reason::Superseded, officer(), NOW).await.unwrap();
    let known = store.known_certificate(issued.serial, &issued.certificate).await.unwrap().unwrap();
    assert!(known.revoked);
}

#[tokio::test]
async fn first_revocation_stands() {
    let place = Place::new();
    let store = place.open();
    let issued = enroll(&store, "alice").await;
    store.revoke(issued.serial, Reason::Superseded, officer(), NOW).await.unwrap();
    let again = store.revoke(issued.serial, Reason::KeyCompromise, officer(), NOW.plus(1)).await;
    let serial = issued.serial;
    assert_eq!(again, Err(StoreError::AlreadyRevoked { serial, reason: "superseded" }));
    let entries = store.revoked_entries(NOW, 0).await.unwrap();
    assert_eq!((entries[0].at, entries[0].reason), (NOW, Reason::Superseded));
    let release = store.release_hold(serial, officer(), NOW).await;
    assert_eq!(release, Err(StoreError::AlreadyRevoked { serial, reason: "superseded" }));
}

#[tokio::test]
async fn hold_is_released_or_made_final() {
    let place = Place::new();
    let store = place.open();
    let serial = enroll(&store, "alice").await.serial;
    let before = store.generations().await.unwrap();
    store.revoke(serial, Reason::CertificateHold, officer(), NOW).await.unwrap();
    assert!(store.revoke(serial, Reason::CertificateHold, officer(), NOW).await.is_err());
    store.release_hold(serial, officer(), NOW).await.unwrap();
    assert_eq!(store.revoked_entries(NOW, 0).await, Ok(vec![]));
    assert!(matches!(store.release_hold(serial, officer(), NOW).await, Err(StoreError::NotFound { .. })));
    store.revoke(serial, Reason::CertificateHold, officer(), NOW).await.unwrap();
    store.revoke(serial, Reason::PrivilegeWithdrawn, officer(), NOW.plus(1)).await.unwrap();
    assert_eq!(store.revoked_entries(NOW, 0).await.unwrap()[0].reason, Reason::PrivilegeWithdrawn);
    let after = store.generations().await.unwrap();
    assert_eq!(after.revocations, before.revocations + 4);
    assert_eq!(after.configuration, before.configuration);
}

#[tokio::test]
async fn foreign_serial_cannot_be_revoked() {
    let place = Place::new();
    let store = place.open();
    let issued = enroll(&store, "alice").await;
    for unknown in [serial(issued.id, 8), serial(RequestId::new(9_999).unwrap(), 7)] {
        let refused = store.revoke(unknown, Reason::Unspecified, officer(), NOW).await;
        assert!(matches!(refused, Err(StoreError::NotFound { .. })), "{refused:?}");
    }
    assert_eq!(store.revoked_entries(NOW, 0).await, Ok(vec![]));
}

/// An issued certificate with a real key: the key and the serial number.
async fn enroll_with_key(store: &Store) -> (KeyPair, Serial) {
    let id = store.reserve_request_id().await.unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["host.example".to_owned()]).unwrap();
    params.serial_number = Some(SerialNumber::from_slice(serial(id, 7).as_bytes()));
    let der = params.self_signed(&key).unwrap().der().to_vec();
    // The outer header and that of tbsCertificate have four octets each.
    let length = usize::from(u16::from_be_bytes([der[6], der[7]])) + 4;
    let mut with_key = intent(id, "alice");
    with_key.tbs = der[4..4 + length].to_vec();
    store.record_intent(with_key).await.unwrap();
    let mut record = issued(id, "alice");
    record.certificate = der;
    store.record_issued(record).await.unwrap();
    (key, serial(id, 7))
}

#[tokio::test]
async fn compromised_key_is_blocked_for_ever() {
    let place = Place::new();
    let store = place.open();
    let (key, serial) = enroll_with_key(&store).await;
    let spki = key.subject_public_key_info();
    store.revoke(serial, Reason::CertificateHold, officer(), NOW).await.unwrap();
    assert_eq!(blocked(&store, &spki).await, Ok(false));
    let revoked = store.revoke(serial, Reason::KeyCompromise, officer(), NOW).await.unwrap();
    assert!(revoked.key_blocked);
    assert_eq!(blocked(&store, &spki).await, Ok(true));
    drop(store);
    assert_eq!(blocked(&place.open(), &spki).await, Ok(true));
}

#[tokio::test]
async fn key_can_be_blocked_by_its_hash() {
    let place = Place::new();
    let store = place.open();
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"a key");
    for _ in 0..2 {
        store.block_key(hash.as_ref().try_into().unwrap(), officer(), NOW).await.unwrap();
    }
    assert_eq!(blocked(&store, b"a key").await, Ok(true));
    assert_eq!(blocked(&store, b"another key").await, Ok(false));
}

#[tokio::test]
async fn listing_is_filtered_and_newest_first() {
    let place = Place::new();
    let store = place.open();
    let mut serials = Vec::new();
    for account in ["alice", "bob", "alice", "bob"] {
        serials.insert(0, enroll(&store, account).await.serial);
    }
    store.revoke(serials[0], Reason::Superseded, officer(), NOW).await.unwrap();
    let list = |filter| async {
        let rows = store.certificates(filter).await.unwrap();
        rows.into_iter().map(|row| row.serial).collect::<Vec<_>>()
    };
    let all = CertificateFilter::default();
    assert_eq!(list(all.clone()).await, serials);
    let alices = CertificateFilter { account: Some(name("alice")), ..all.clone() };
    assert_eq!(list(alices).await, [serials[1], serials[3]]);
    let valid = CertificateFilter { valid_at: Some(NOW), ..all.clone() };
    assert_eq!(list(valid).await, serials[1..]);
    let later = CertificateFilter { valid_at: Some(NOW.plus(366 * DAY)), ..all.clone() };
    assert_eq!(list(later).await, []);
    let revoked = CertificateFilter { revoked: Some(true), ..all.clone() };
    assert_eq!(list(revoked).await, serials[..1]);
    let expiring = CertificateFilter { expires_before: Some(NOW.plus(400 * DAY)), limit: 2, ..all.clone() };
    assert_eq!(list(expiring).await, serials[..2]);
    let not_yet = CertificateFilter { expires_before: Some(UnixTime(NOW.0 + DAY)), ..all.clone() };
    assert_eq!(list(not_yet).await, []);
    let other = CertificateFilter { template: Some("1.2.3".parse().unwrap()), ..all };
    assert_eq!(list(other).await, []);
}
