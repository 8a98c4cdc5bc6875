//! The vectors of `vectors/ms-crtd` as entries.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use muster_core::UnixTime;
use muster_core::identity::{PrincipalKind, Sid};
use muster_directory::{AccountFacts, DirectoryTemplate, RawEntry, Snapshot, dn, sid};

pub(crate) const NOW: UnixTime = UnixTime(1_795_408_903);
pub(crate) const TEMPLATES: &str = include_str!("../../../../vectors/ms-crtd/samba-templates.ldif");
pub(crate) const AUTHORITIES: &str = include_str!("../../../../vectors/ms-crtd/samba-authorities.ldif");
pub(crate) const OIDS: &str = include_str!("../../../../vectors/ms-crtd/samba-oids.ldif");
pub(crate) const ACCOUNTS: &str = include_str!("../../../../vectors/ms-crtd/samba-accounts.ldif");

/// Reads LDIF content records (RFC 2849).
pub(crate) fn ldif(text: &str) -> Vec<RawEntry> {
    let unfolded = text.replace("\n ", "");
    let records = unfolded.split("\n\n").map(str::trim).filter(|record| !record.is_empty());
    records
        .map(|record| {
            let mut attributes: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
            for line in record.lines() {
                let (name, value) = line.split_once(':').unwrap();
                let value = match value.strip_prefix(':') {
                    Some(base64) => base64_octets(base64.trim()),
                    None => value.trim_start().as_bytes().to_vec(),
                };
                attributes.entry(name.to_owned()).or_default().push(value);
            }
            let dn = String::from_utf8(attributes.remove("dn").unwrap().remove(0)).unwrap();
            RawEntry::new(dn, attributes)
        })
        .collect()
}

pub(crate) fn base64_octets(text: &str) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

pub(crate) fn snapshot() -> Snapshot {
    Snapshot::build(&ldif(TEMPLATES), &ldif(AUTHORITIES), &ldif(OIDS), NOW)
}

pub(crate) fn entry(cn: &str) -> RawEntry {
    ldif(TEMPLATES).into_iter().find(|entry| entry.text("cn").unwrap() == Some(cn)).unwrap()
}

pub(crate) fn template(cn: &str) -> DirectoryTemplate {
    DirectoryTemplate::from_entry(&entry(cn)).unwrap()
}

/// An entry after a change of one attribute.
pub(crate) fn with(cn: &str, attribute: &str, values: &[&[u8]]) -> RawEntry {
    let mut entry = entry(cn);
    let values = values.iter().map(|value| value.to_vec()).collect();
    entry.attributes.insert(attribute.to_ascii_lowercase(), values);
    entry
}

pub(crate) fn sid(text: &str) -> Sid {
    text.parse().unwrap()
}

/// An account of the vectors, with the token that its directory computed, and one object for each host name.
pub(crate) fn facts(account: &str) -> AccountFacts {
    let entries = ldif(ACCOUNTS);
    let one = |attribute: &'static str, entry: &RawEntry| entry.text(attribute).unwrap().map(str::to_owned);
    let entry = entries.iter().find(|e| one("sAMAccountName", e).as_deref() == Some(account)).unwrap();
    let judged: serde_json::Value =
        serde_json::from_str(include_str!("../../../../vectors/ms-crtd/samba-access.json")).unwrap();
    let groups: BTreeSet<Sid> = judged
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["account"] == account)
        .map(|row| {
            row["groups"].as_array().unwrap().iter().map(|group| sid(group.as_str().unwrap())).collect()
        })
        .unwrap();
    let classes = entry.texts("objectClass").unwrap();
    let host = one("dNSHostName", entry);
    let holders = entries.iter().filter(|e| host.is_some() && one("dNSHostName", e) == host).count();
    AccountFacts {
        name: account.parse().unwrap(),
        kind: if classes.contains(&"computer") { PrincipalKind::Computer } else { PrincipalKind::User },
        distinguished_name: entry.dn.clone(),
        object_guid: entry.octets("objectGUID").unwrap().map(|o| sid::ObjectGuid(o.try_into().unwrap())),
        sid: sid::from_octets(entry.octets("objectSid").unwrap().unwrap()).unwrap(),
        groups,
        sam_account_name: account.to_owned(),
        user_principal_name: one("userPrincipalName", entry),
        common_name: one("cn", entry),
        mail: one("mail", entry),
        dns_host_name: host,
        host_name_holders: holders,
        service_principal_names: entry
            .texts("servicePrincipalName")
            .unwrap()
            .into_iter()
            .map(str::to_owned)
            .collect(),
        user_account_control: entry.number("userAccountControl").unwrap().unwrap(),
        domain_dns: dn::domain(&entry.dn).unwrap(),
    }
}
