//! What is remembered, for how long, and what makes it forgotten.

use std::collections::BTreeSet;

use muster_core::directory::ObjectGuid;
use muster_core::identity::PrincipalKind;

use super::*;
use crate::account_names::AccountFacts;

const AWAY: Duration = Duration::from_mins(1);

fn account(rid: u8) -> Arc<DirectoryAccount> {
    let facts = AccountFacts {
        name: format!("u{rid}@corp.test").parse().unwrap(),
        kind: PrincipalKind::User,
        distinguished_name: format!("CN=u{rid},DC=corp,DC=test"),
        object_guid: Some(ObjectGuid([rid; 16])),
        sid: format!("S-1-5-21-1-2-3-{rid}").parse().unwrap(),
        groups: BTreeSet::new(),
        sam_account_name: format!("u{rid}"),
        user_principal_name: None,
        common_name: None,
        mail: None,
        dns_host_name: None,
        host_name_holders: 0,
        service_principal_names: Vec::new(),
        user_account_control: 512,
        domain_dns: "corp.test".to_owned(),
    };
    Arc::new(DirectoryAccount { facts, expires: None, locked: false, password_set: None })
}

fn key(rid: u8) -> AccountKey {
    AccountKey::Upn(format!("u{rid}@corp.test"))
}

/// A cache whose watcher sees deletions and has seen everything up to change 100, with accounts 1 and 2.
fn filled(now: Instant) -> Cache {
    let mut cache = Cache::new(16, AWAY);
    cache.set_sees_deletions(true);
    cache.clear(100, now);
    for rid in [1, 2] {
        let mark = cache.mark();
        cache.insert(&key(rid), &account(rid), mark, now);
    }
    cache
}

#[test]
fn account_is_found_by_the_name_it_was_asked_by_and_by_its_identifier() {
    let now = Instant::now();
    let mut cache = filled(now);
    assert_eq!(cache.warm(&key(1), now), Some(account(1)));
    assert_eq!(cache.warm(&AccountKey::Sid(account(1).facts.sid.clone()), now), Some(account(1)));
    assert_eq!(cache.warm(&key(3), now), None);
}

#[test]
fn changed_account_is_forgotten_by_identifier_or_guid_and_others_stay() {
    let now = Instant::now();
    let mut cache = filled(now);
    cache.changed([(None, Some(&[1_u8; 16][..]))], 101, now);
    assert_eq!((cache.warm(&key(1), now), cache.warm(&key(2), now)), (None, Some(account(2))));
    cache.changed([(Some(account(2).facts.sid.clone()), None)], 102, now);
    assert_eq!((cache.warm(&key(2), now), cache.len()), (None, 0));
}

#[test]
fn where_deletions_cannot_be_seen_every_change_asks_again() {
    let now = Instant::now();
    let mut cache = filled(now);
    cache.set_sees_deletions(false);
    assert_eq!(cache.warm(&key(1), now), Some(account(1)));
    cache.changed([], 101, now);
    assert_eq!(cache.warm(&key(1), now), None);
    let mark = cache.mark();
    cache.insert(&key(1), &account(1), mark, now);
    assert_eq!(cache.warm(&key(1), now), Some(account(1)));
}

#[test]
fn confirmed_account_is_warm_until_the_next_change() {
    let now = Instant::now();
    let mut cache = filled(now);
    cache.set_sees_deletions(false);
    cache.changed([(None, Some(&[2_u8; 16][..]))], 101, now);
    assert_eq!((cache.warm(&key(1), now), cache.unconfirmed(&key(1), now)), (None, Some(account(1))));
    assert_eq!(cache.unconfirmed(&key(2), now), None, "a change that was seen");
    let sid = account(1).facts.sid.clone();
    let early = cache.mark();
    cache.confirm(&sid, early);
    assert_eq!(cache.warm(&key(1), now), Some(account(1)));
    cache.changed([], 102, now);
    cache.confirm(&sid, early);
    assert_eq!(cache.warm(&key(1), now), None, "confirmed before the change");
    assert_eq!(cache.unconfirmed(&key(1), now + MAX_AGE + Duration::from_millis(1)), None);
    cache.set_sees_deletions(true);
    assert_eq!(cache.unconfirmed(&key(1), now), None);
}

#[test]
fn answer_that_was_under_way_during_a_change_is_not_kept() {
    let now = Instant::now();
    let mut cache = filled(now);
    let mark = cache.mark();
    cache.changed([], 101, now);
    cache.insert(&key(3), &account(3), mark, now);
    assert_eq!(cache.warm(&key(3), now), None);
}

#[test]
fn silence_of_the_directory_ends_the_use_of_what_is_known() {
    let now = Instant::now();
    let mut cache = filled(now);
    assert!(cache.warm(&key(1), now + AWAY).is_some());
    assert!(cache.recent(&key(1), now + AWAY).is_some());
    let late = now + AWAY + Duration::from_millis(1);
    assert!(cache.warm(&key(1), late).is_none());
    assert!(cache.recent(&key(1), late).is_none());
    cache.unchanged(late);
    assert!(cache.warm(&key(1), late).is_some());
}

#[test]
fn lockout_is_asked_again_soon() {
    let now = Instant::now();
    let mut cache = filled(now);
    let mark = cache.mark();
    let locked = Arc::new(DirectoryAccount { locked: true, ..account(1).as_ref().clone() });
    cache.insert(&key(1), &locked, mark, now);
    assert!(cache.warm(&key(1), now + MAX_AGE_LOCKED).is_some());
    assert!(cache.warm(&key(1), now + MAX_AGE_LOCKED + Duration::from_millis(1)).is_none());
}

#[test]
fn memory_is_bounded_and_the_least_used_go() {
    let now = Instant::now();
    let mut cache = filled(now);
    for rid in 3..=200 {
        assert!(cache.warm(&key(1), now).is_some(), "used all the time");
        let mark = cache.mark();
        cache.insert(&key(rid), &account(rid), mark, now);
        assert!(cache.len() <= 16, "{}", cache.len());
    }
    assert!(cache.warm(&key(200), now).is_some());
    assert!(cache.warm(&key(2), now).is_none());
    assert!(cache.names.len() <= 16 && cache.guids.len() <= 16);
}

#[test]
fn names_of_one_account_are_bounded() {
    let now = Instant::now();
    let mut cache = filled(now);
    for number in 0..100 {
        let mark = cache.mark();
        cache.insert(&AccountKey::DnsName(format!("a{number}")), &account(1), mark, now);
    }
    assert!(cache.names.len() <= 16, "{}", cache.names.len());
}
