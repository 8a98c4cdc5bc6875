//! Who may enroll, compared with what Samba's own access check says.

use muster_core::template::access::is_granted;
use muster_core::template::{AccessEffect, AccessRight};
use muster_directory::descriptor::{Ace, Dacl, Descriptor, DescriptorError, ENROLL, mask};
use serde_json::Value;

use crate::support::*;

fn flags(list: &Value) -> Vec<bool> {
    list.as_array().unwrap().iter().map(|value| value.as_bool().unwrap()).collect()
}

#[test]
fn accounts_have_the_rights_that_the_directory_gives_them() {
    let judged: Value =
        serde_json::from_str(include_str!("../../../../vectors/ms-crtd/samba-access.json")).unwrap();
    let entries = [ldif(TEMPLATES), ldif(AUTHORITIES)].concat();
    let mut compared = 0;
    for row in judged.as_array().unwrap() {
        let account = row["account"].as_str().unwrap();
        let principal = facts(account).principal();
        for entry in &entries {
            let cn = entry.text("cn").unwrap().unwrap();
            let list = Descriptor::parse(entry.octets("nTSecurityDescriptor").unwrap().unwrap()).unwrap();
            let list = list.enrollment_access();
            let granted =
                [AccessRight::Enroll, AccessRight::AutoEnroll].map(|r| is_granted(&list, r, &principal.sids));
            assert_eq!(granted.to_vec(), flags(&row["rights"][cn]), "{account} and {cn}");
            compared += 1;
        }
    }
    assert!(compared >= 7 * 40, "{compared}");
}

#[test]
fn drawn_descriptors_mean_what_samba_says() {
    let judged: Value =
        serde_json::from_str(include_str!("../../../../vectors/ms-crtd/samba-descriptors.json")).unwrap();
    let tokens: Vec<_> = judged["tokens"]
        .as_array()
        .unwrap()
        .iter()
        .map(|token| token.as_array().unwrap().iter().map(|s| sid(s.as_str().unwrap())).collect())
        .collect();
    let mut granted = 0;
    for row in judged["descriptors"].as_array().unwrap() {
        let sddl = row["sddl"].as_str().unwrap();
        let descriptor = Descriptor::parse(&base64_octets(row["octets"].as_str().unwrap())).unwrap();
        let list = descriptor.enrollment_access();
        for (right, key) in [(AccessRight::Enroll, "enroll"), (AccessRight::AutoEnroll, "auto_enroll")] {
            let ours: Vec<bool> = tokens.iter().map(|token| is_granted(&list, right, token)).collect();
            assert_eq!(ours, flags(&row[key]), "{key} of {sddl}");
            granted += ours.iter().filter(|granted| **granted).count();
        }
        let Dacl::List(_) = descriptor.dacl else { panic!("{sddl}") };
        assert_eq!(Descriptor::parse(&descriptor.to_octets()), Ok(descriptor), "{sddl}");
    }
    assert!(granted > 200, "{granted}");
}

/// A descriptor with one access list of raw entries.
fn with_entries(entries: &[Vec<u8>]) -> Vec<u8> {
    let body = entries.concat();
    let size = u16::try_from(body.len() + 8).unwrap();
    let mut octets = vec![1, 0, 0x04, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, 4, 0];
    octets.extend(size.to_le_bytes());
    octets.extend(u16::try_from(entries.len()).unwrap().to_le_bytes());
    octets.extend([0, 0]);
    [octets, body].concat()
}

fn raw_entry(kind: u8, mask: u32, behind: &[u8]) -> Vec<u8> {
    let sid = [1, 1, 0, 0, 0, 0, 0, 5, 11, 0, 0, 0];
    let size = u16::try_from(4 + 4 + sid.len() + behind.len()).unwrap();
    let mut entry = vec![kind, 0];
    entry.extend(size.to_le_bytes());
    entry.extend(mask.to_le_bytes());
    entry.extend(sid);
    entry.extend(behind);
    entry
}

fn granted(octets: &[u8]) -> bool {
    let list = Descriptor::parse(octets).unwrap().enrollment_access();
    is_granted(&list, AccessRight::Enroll, &[sid("S-1-5-11")].into())
}

#[test]
fn conditional_entries_deny_but_never_allow() {
    let (allow, conditional_allow) = (raw_entry(0, 0x100, &[]), raw_entry(9, 0x100, b"artx\0\0\0\0"));
    let conditional_deny = raw_entry(10, 0x100, b"artx\0\0\0\0");
    assert!(granted(&with_entries(std::slice::from_ref(&allow))));
    assert!(!granted(&with_entries(std::slice::from_ref(&conditional_allow))));
    assert!(granted(&with_entries(&[conditional_allow, allow.clone()])));
    assert!(!granted(&with_entries(&[conditional_deny, allow.clone()])));
    // Auditing and entries that nobody has defined say nothing.
    assert!(granted(&with_entries(&[raw_entry(2, 0x100, &[]), raw_entry(0x77, 0x100, &[]), allow])));
}

#[test]
fn generic_rights_that_were_left_unmapped_deny_but_never_allow() {
    assert!(!granted(&with_entries(&[raw_entry(0, mask::GENERIC_ALL, &[])])));
    assert!(!granted(&with_entries(&[raw_entry(1, mask::GENERIC_ALL, &[]), raw_entry(0, 0x100, &[])])));
}

#[test]
fn absent_null_and_empty_lists_grant_nobody() {
    let header = |control: u16, dacl: u32| {
        let mut octets = vec![1, 0];
        octets.extend((control | 0x8000).to_le_bytes());
        octets.extend([0; 12]);
        octets.extend(dacl.to_le_bytes());
        octets
    };
    let absent = Descriptor::parse(&header(0, 0)).unwrap();
    let null = Descriptor::parse(&header(4, 0)).unwrap();
    let empty = Descriptor::parse(&with_entries(&[])).unwrap();
    assert_eq!((&absent.dacl, &null.dacl, &empty.dacl), (&Dacl::Absent, &Dacl::Null, &Dacl::List(vec![])));
    for descriptor in [absent, null, empty] {
        assert_eq!(descriptor.enrollment_access(), []);
        assert_eq!(Descriptor::parse(&descriptor.to_octets()), Ok(descriptor));
    }
}

#[test]
fn cut_and_crooked_descriptors_are_refused() {
    let good = with_entries(&[raw_entry(0, 0x100, &[]), raw_entry(1, 0x100, &[])]);
    assert!(Descriptor::parse(&good).is_ok());
    for length in 0..good.len() {
        assert!(Descriptor::parse(&good[..length]).is_err(), "cut at {length}");
    }
    let changed = |at: usize, value: u8| {
        let mut octets = good.clone();
        octets[at] = value;
        Descriptor::parse(&octets)
    };
    assert_eq!(changed(0, 2), Err(DescriptorError::Form), "revision");
    assert_eq!(changed(3, 0), Err(DescriptorError::Form), "absolute");
    assert_eq!(changed(4, 250), Err(DescriptorError::Cut), "owner outside");
    assert_eq!(changed(4, 21), Err(DescriptorError::Sid), "owner is no identifier");
    assert_eq!(changed(20, 9), Err(DescriptorError::Form), "revision of the list");
    assert_eq!(changed(22, 7), Err(DescriptorError::Cut), "list shorter than its head");
    assert_eq!(changed(24, 3), Err(DescriptorError::Entry(3)), "more entries than there are");
    assert_eq!(changed(30, 3), Err(DescriptorError::Entry(1)), "entry shorter than its head");
    assert_eq!(changed(36, 3), Err(DescriptorError::Entry(1)), "identifier of another revision");
    assert_eq!(Descriptor::parse(&vec![1; 1 << 20]), Err(DescriptorError::TooLarge));
}

#[test]
fn local_accounts_have_no_rights_on_templates_of_a_directory() {
    let template = template("Esc9").template;
    let member = facts("alice").principal();
    assert!(template.permission(&member).enroll);
    let mut stranger = member;
    stranger.sids.clear();
    assert!(!template.permission(&stranger).enroll);
}

#[test]
fn order_of_entries_decides() {
    let ace = |effect| Ace::new(effect, mask::CONTROL_ACCESS, Some(ENROLL), sid("S-1-5-11"));
    let list = |entries| Descriptor { owner: None, group: None, dacl: Dacl::List(entries) };
    let first = list(vec![ace(AccessEffect::Allow), ace(AccessEffect::Deny)]);
    let last = list(vec![ace(AccessEffect::Deny), ace(AccessEffect::Allow)]);
    assert!(granted(&first.to_octets()));
    assert!(!granted(&last.to_octets()));
}
