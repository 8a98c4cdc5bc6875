//! PACs that Samba made, read as Samba reads them; and damaged ones.

#![expect(clippy::unwrap_used, reason = "tests stop here, at the first surprise")]

use std::fs;
use std::path::PathBuf;

use muster_gss::{Pac, PacError};
use proptest::prelude::*;
use serde_json::Value;

fn vector(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../vectors/ms-pac");
    fs::read(folder.join(name)).unwrap()
}

/// Our reading in the words of `decode.py`.
fn told(pac: &Pac) -> Vec<(&'static str, Value)> {
    vec![
        ("account_name", pac.account_name.clone().into()),
        ("full_name", pac.full_name.clone().into()),
        ("logon_domain", pac.logon_domain.clone().into()),
        ("logon_server", pac.logon_server.clone().into()),
        ("user_sid", pac.user_sid.clone().into()),
        ("primary_group_sid", pac.primary_group_sid.clone().into()),
        ("group_sids", pac.group_sids.iter().cloned().collect::<Vec<_>>().into()),
        ("user_account_control", pac.user_account_control.into()),
        ("upn", pac.upn.clone().into()),
        ("upn_constructed", pac.upn_constructed.into()),
        ("dns_domain", pac.dns_domain.clone().into()),
        ("client_name", pac.client_name.clone().into()),
        ("requestor_sid", pac.requestor_sid.clone().into()),
    ]
}

#[test]
fn every_vector_is_read_as_samba_reads_it() {
    for name in ["samba-alice", "samba-bob", "samba-pc1", "samba-encoded"] {
        let pac = Pac::parse(&vector(&format!("{name}.pac"))).unwrap();
        let expected: Value = serde_json::from_slice(&vector(&format!("{name}.json"))).unwrap();
        for (field, value) in told(&pac) {
            assert_eq!(Some(&value), expected.get(field), "{name}: {field}");
        }
    }
}

#[test]
fn resource_groups_and_sids_of_other_domains_are_groups() {
    let pac = Pac::parse(&vector("samba-encoded.pac")).unwrap();
    for sid in ["S-1-5-21-7-8-9-1201", "S-1-5-21-7-8-9-1202", "S-1-5-21-1-2-3-1601", "S-1-18-1"] {
        assert!(pac.group_sids.contains(sid), "{sid}");
    }
    assert!(!pac.group_sids.contains("S-1-5-21-1-2-3-1602"), "a group that is not enabled");
}

#[test]
fn every_truncation_is_an_error() {
    for name in ["samba-alice.pac", "samba-encoded.pac"] {
        let pac = vector(name);
        let signatures = Pac::parse(&pac).unwrap();
        for length in 0..pac.len() {
            // What is cut off at the end may be a signature, which nobody reads here; but its place is.
            let cut = Pac::parse(pac.get(..length).unwrap());
            assert!(cut.is_err() || cut.as_ref() == Ok(&signatures), "{name}, {length} octets: {cut:?}");
        }
        assert!(Pac::parse(pac.get(..pac.len() / 2).unwrap()).is_err());
    }
}

/// Where the little-endian number `value` is, `skip` occurrences on.
fn find(pac: &[u8], wanted: &[u8], skip: usize) -> usize {
    (0..pac.len()).filter(|at| pac.get(*at..).unwrap().starts_with(wanted)).nth(skip).unwrap()
}

fn put(pac: &mut [u8], at: usize, octets: &[u8]) {
    pac.get_mut(at..at + octets.len()).unwrap().copy_from_slice(octets);
}

#[test]
fn requestor_other_than_the_account_is_refused() {
    let mut pac = vector("samba-encoded.pac");
    // The SID is at the very end of the last buffer, its relative identifier last.
    let requestor = pac.len() - find(&pac.iter().rev().copied().collect::<Vec<_>>(), &[0, 0, 4, 0x4f], 0) - 4;
    put(&mut pac, requestor, &1104u32.to_le_bytes());
    assert_eq!(Pac::parse(&pac), Err(PacError::TwoAccounts("requestor")));
}

#[test]
fn group_for_denying_only_is_refused() {
    let mut pac = vector("samba-alice.pac");
    let group = find(&pac, &[0x51, 4, 0, 0, 7, 0, 0, 0], 0);
    put(&mut pac, group + 4, &0x10u32.to_le_bytes());
    assert_eq!(Pac::parse(&pac), Err(PacError::DenyOnly));
}

#[test]
fn buffer_that_is_there_twice_is_refused() {
    let mut pac = vector("samba-alice.pac");
    // The type of the second buffer becomes that of the first.
    let first: [u8; 4] = pac.get(8..12).unwrap().try_into().unwrap();
    put(&mut pac, 24, &first);
    assert_eq!(Pac::parse(&pac), Err(PacError::Twice(u32::from_le_bytes(first))));
}

#[test]
fn signatures_alone_say_nothing() {
    assert_eq!(Pac::parse(&[0; 8]), Err(PacError::NoLogonInfo));
}

#[test]
fn more_groups_than_octets_are_refused_without_allocating() {
    let mut pac = vector("samba-alice.pac");
    let groups = find(&pac, &1105u32.to_le_bytes(), 0);
    // The count in front of the array does not agree with the one in the fixed part.
    put(&mut pac, groups - 4, &u32::MAX.to_le_bytes());
    assert!(Pac::parse(&pac).is_err());
}

proptest! {
    #[test]
    fn any_octets_are_read_or_refused(octets in proptest::collection::vec(any::<u8>(), 0..2048)) {
        let _ = Pac::parse(&octets);
    }

    #[test]
    fn damaged_pacs_are_read_or_refused(
        damages in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut pac = vector("samba-encoded.pac");
        for (at, octet) in damages {
            let at = at.index(pac.len());
            put(&mut pac, at, &[octet]);
        }
        if let Ok(pac) = Pac::parse(&pac) {
            prop_assert!(pac.user_sid.starts_with("S-1-"));
            prop_assert!(pac.group_sids.contains(&pac.primary_group_sid) || pac.user_sid == pac.primary_group_sid);
        }
    }
}
