//! Accounts from entries, whole and damaged.

use super::*;
use crate::ldap::Attribute;

fn pc1() -> Vec<Attribute> {
    let text = |name: &str, values: &[&str]| -> Attribute {
        (name.to_owned(), values.iter().map(|value| value.as_bytes().to_vec()).collect())
    };
    let sid = |text: &str| sid::to_octets(&text.parse().unwrap());
    vec![
        text("objectClass", &["top", "person", "user", "computer"]),
        ("objectGUID".to_owned(), vec![(0..16).collect()]),
        ("objectSid".to_owned(), vec![sid("S-1-5-21-1-2-3-1104")]),
        text("sAMAccountName", &["PC1$"]),
        text("cn", &["PC1"]),
        text("dNSHostName", &["pc1.corp.test"]),
        text("servicePrincipalName", &["HOST/pc1.corp.test", "HOST/PC1"]),
        text("userAccountControl", &["4096"]),
        text("accountExpires", &["9223372036854775807"]),
        text("msDS-User-Account-Control-Computed", &["0"]),
        ("tokenGroups".to_owned(), vec![sid("S-1-5-21-1-2-3-515"), sid("S-1-5-32-545")]),
    ]
}

fn read(attributes: Vec<Attribute>) -> Result<Option<DirectoryAccount>, LdapError> {
    parse(&Entry { dn: "CN=PC1,CN=Computers,DC=corp,DC=test".to_owned(), attributes }, "corp.test")
}

fn with(name: &str, values: &[&[u8]]) -> Vec<Attribute> {
    let mut attributes = pc1();
    attributes.retain(|(found, _)| found != name);
    attributes.push((name.to_owned(), values.iter().map(|value| value.to_vec()).collect()));
    attributes
}

#[test]
fn computer_is_read() {
    let account = read(pc1()).unwrap().unwrap();
    assert_eq!(account.facts.name.as_str(), "corp.test\\pc1$");
    assert_eq!(account.facts.kind, PrincipalKind::Computer);
    assert_eq!(account.facts.sid.as_str(), "S-1-5-21-1-2-3-1104");
    assert_eq!(account.facts.groups.len(), 2);
    assert_eq!(account.usable(UnixTime(i64::MAX)), Ok(()));
    assert!(!account.is_domain_controller());
}

#[test]
fn account_that_may_not_log_on_says_why() {
    let now = UnixTime(1_795_408_903);
    let disabled = read(with("userAccountControl", &[b"4098"])).unwrap().unwrap();
    assert_eq!(disabled.usable(now), Err(NotUsable::Disabled));
    // 2026-11-23T04:41:43Z in 100 ns since 1601.
    let expired = read(with("accountExpires", &[b"134398825030000000"])).unwrap().unwrap();
    assert_eq!(expired.usable(now), Err(NotUsable::Expired(now)));
    assert_eq!(expired.usable(now.plus(-1)), Ok(()));
    let locked = read(with("msDS-User-Account-Control-Computed", &[b"16"])).unwrap().unwrap();
    assert_eq!(locked.usable(now), Err(NotUsable::Locked));
    assert!(read(with("userAccountControl", &[b"532480"])).unwrap().unwrap().is_domain_controller());
}

#[test]
fn damaged_or_unreadable_attribute_is_an_error_and_not_an_account_without_it() {
    for (name, values) in [
        ("objectSid", &[&b"S-1-5-21"[..]][..]),
        ("objectSid", &[]),
        ("objectGUID", &[b"short"]),
        ("userAccountControl", &[b"many"]),
        ("userAccountControl", &[]),
        ("sAMAccountName", &[]),
        ("sAMAccountName", &[&[0xff, 0xfe]]),
        ("tokenGroups", &[]),
        ("tokenGroups", &[&[1, 2, 3]]),
    ] {
        let error = read(with(name, values)).unwrap_err();
        assert!(
            matches!(error, LdapError::Attribute { attribute, .. } if attribute == name),
            "{name}: {error}"
        );
    }
}

#[test]
fn object_that_is_no_account_is_none() {
    assert_eq!(read(with("objectClass", &[b"top", b"group"])), Ok(None));
}

#[test]
fn names_of_any_script_are_kept() {
    let account = read(with("sAMAccountName", &["Jörg Müller".as_bytes()])).unwrap().unwrap();
    assert_eq!(account.facts.name.as_str(), r"corp.test\j%c3%b6rg%20m%c3%bcller");
}

#[test]
fn keys_are_compared_without_regard_to_case() {
    let key = |name: &str, domain: &str| {
        AccountKey::SamAccount { name: name.to_owned(), domain: domain.to_owned() }.folded()
    };
    assert_eq!(key("Alice", "CORP"), key("ALICE", "corp"));
    assert_eq!(AccountKey::Upn("Ä@B".to_owned()).folded(), AccountKey::Upn("ä@b".to_owned()));
}
