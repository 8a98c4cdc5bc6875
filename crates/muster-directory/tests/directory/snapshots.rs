//! Snapshots: one forest at one instant.

use muster_directory::{Change, DirectoryTemplate, Effect, Snapshot};

use crate::support::*;

#[test]
fn damaged_entries_do_not_affect_the_others() {
    let snapshot = snapshot();
    let damaged: Vec<&str> = snapshot.damaged.iter().map(|d| d.finding.about.as_str()).collect();
    assert_eq!(
        damaged,
        [
            "msPKI-Cert-Template-OID",
            "pKIExpirationPeriod",
            "msPKI-RA-Application-Policies",
            "msPKI-Template-Schema-Version",
            "pKIKeyUsage"
        ]
    );
    assert_eq!(snapshot.templates.len() + damaged.len(), ldif(TEMPLATES).len());
    let published: Vec<&str> = snapshot.published("corp-ca").map(|t| t.template.name.as_str()).collect();
    assert_eq!(published.len(), snapshot.templates.len());
    assert_eq!(snapshot.published("other-ca").count(), 0);
    let user: muster_core::Oid =
        "1.3.6.1.4.1.311.21.8.1111111.2222222.3333333.4444444.5555555.100.1.1".parse().unwrap();
    assert_eq!(snapshot.oid_name(&user), Some("User"));
}

#[test]
fn policies_that_are_linked_to_groups_need_acceptance() {
    let snapshot = snapshot();
    let alone = template("Esc13");
    assert_eq!(alone.dangers().count(), 0);
    let found = snapshot.templates.iter().find(|t| t.template.name == "Esc13").unwrap();
    let sentence = &found.dangers().next().unwrap().sentence;
    assert!(sentence.contains("CN=HighAssurance,CN=Users,DC=corp,DC=test (ESC13)"), "{sentence}");
    assert_ne!(found.fingerprint, alone.fingerprint);
    assert!(!found.is_offered(|accepted| *accepted == alone.fingerprint));
    assert!(found.is_offered(|accepted| *accepted == found.fingerprint));
}

#[test]
fn templates_that_share_an_identifier_or_name_are_refused() {
    let mut entries = ldif(TEMPLATES);
    let oid = entry("User").values("msPKI-Cert-Template-OID").to_vec();
    for entry in &mut entries {
        if entry.text("cn").unwrap() == Some("Machine") {
            entry.attributes.insert("mspki-cert-template-oid".to_owned(), oid.clone());
        }
        if entry.text("cn").unwrap() == Some("WebServer") {
            entry.attributes.insert("cn".to_owned(), vec![b"esc9".to_vec()]);
        }
    }
    let snapshot = Snapshot::build(&entries, &[], &[], NOW);
    let refused = |name: &str| {
        let found: Vec<&DirectoryTemplate> =
            snapshot.templates.iter().filter(|t| t.template.name.eq_ignore_ascii_case(name)).collect();
        found.iter().all(|t| {
            t.findings.iter().any(|f| f.effect == Effect::Refused && f.sentence.contains("another template"))
        })
    };
    assert!(refused("User") && refused("Machine") && refused("Esc9"));
    assert!(!refused("Workstation"));
}

#[test]
fn snapshots_survive_the_disk() {
    let snapshot = snapshot();
    let text = serde_json::to_string(&snapshot).unwrap();
    assert_eq!(serde_json::from_str::<Snapshot>(&text).unwrap(), snapshot);
}

#[test]
fn changes_are_lines_for_the_audit() {
    let before = snapshot();
    assert_eq!(before.changes(&before), []);
    let entries: Vec<_> = ldif(TEMPLATES)
        .into_iter()
        .filter(|entry| entry.text("cn").unwrap() != Some("Ephemeral"))
        .map(|entry| match entry.text("cn").unwrap() {
            Some("User") => with("User", "msPKI-Certificate-Name-Flag", &[b"1"]),
            Some("Machine") => with("Machine", "pKIOverlapPeriod", &[b"\0"]),
            Some("Workstation") => with("Workstation", "cn", &[b"Workstation2"]),
            _ => entry,
        })
        .collect();
    let mut authorities = ldif(AUTHORITIES);
    authorities[0].attributes.remove("certificatetemplates");
    let after = Snapshot::build(&entries, &authorities, &ldif(OIDS), NOW.plus(60));
    let lines: Vec<String> = before.changes(&after).iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "template User was changed and is now dangerous: enrollees choose the name in a certificate that can log in \
         (ESC1); let the directory supply it, or set CT_FLAG_PEND_ALL_REQUESTS",
            "template Workstation2 was added",
            "template Ephemeral was removed",
            "template Machine was removed",
            "template Workstation was removed",
            "enrollment service CORP-CA was changed",
            "CN=Machine,CN=Certificate Templates,CN=Public Key Services,CN=Services,CN=Configuration,DC=corp,DC=test \
         cannot be used: pKIOverlapPeriod has 1 octets, which cannot be right",
        ]
    );
    assert!(matches!(after.changes(&before).first(), Some(Change::TemplateAdded(_))));
}
