//! Whatever a directory returns, nothing panics, and what could be read can be written.

use muster_directory::descriptor::Descriptor;
use muster_directory::{DirectoryTemplate, EnrollmentServer, EnrollmentService, RawEntry, Snapshot, dn, sid};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::support::*;

fn read_everything(entry: &RawEntry) {
    let list = std::slice::from_ref(entry);
    let snapshot = Snapshot::build(list, list, list, NOW);
    let text = serde_json::to_string(&snapshot).unwrap();
    assert_eq!(serde_json::from_str::<Snapshot>(&text).unwrap(), snapshot);
    let _ = EnrollmentService::from_entry(entry);
    if let Ok(template) = DirectoryTemplate::from_entry(entry) {
        assert!(template.wire.minimal_key_length > 0);
        let owner = [sid("S-1-5-32-544")];
        let _ = muster_directory::export::export(&template.template, &owner);
    }
}

proptest! {
    #[test]
    fn descriptors_of_any_octets(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Descriptor::parse(&octets);
    }

    #[test]
    fn damaged_descriptors(changes in proptest::collection::vec((any::<Index>(), any::<u8>()), 1..6)) {
        let mut octets = entry("Inherited").values("nTSecurityDescriptor")[0].clone();
        for (at, value) in changes {
            let at = at.index(octets.len());
            octets[at] = value;
        }
        if let Ok(descriptor) = Descriptor::parse(&octets) {
            let _ = descriptor.enrollment_access();
            let _ = descriptor.writers(|_| false).count();
            prop_assert!(Descriptor::parse(&descriptor.to_octets()).is_ok());
        }
    }

    #[test]
    fn identifiers_of_any_octets(octets in proptest::collection::vec(any::<u8>(), 0..80)) {
        if let Ok(found) = sid::from_octets(&octets) {
            prop_assert_eq!(sid::to_octets(&found), octets);
        }
    }

    #[test]
    fn names_of_any_text(text in any::<String>(), shaped in "(CN|OU|DC)=[^,]{0,8}(,(CN|OU|DC)=[a-z\\\\+,\"#;é]{0,6}){0,4}") {
        for text in [text, shaped] {
            let _ = dn::parse(&text);
            let _ = dn::subject(&text);
            let _ = dn::domain(&text);
            if let Ok(server) = text.parse::<EnrollmentServer>() {
                prop_assert_eq!(server.to_string().parse(), Ok(server));
            }
        }
    }

    #[test]
    fn damaged_entries(
        cn in select(vec!["User", "Dsa", "CorpServer", "Ephemeral", "Esc13"]),
        changes in proptest::collection::vec(
            (any::<Index>(), proptest::collection::vec(
                prop_oneof![
                    proptest::collection::vec(any::<u8>(), 0..40),
                    "-?[0-9]{0,11}".prop_map(String::into_bytes),
                    "([a-zA-Z-]{0,30}`(DWORD|PZPWSTR)`[0-9A-Z_]{0,9}`){0,3}".prop_map(String::into_bytes),
                    "([0-9]{1,3},)?[ -~]{0,20}".prop_map(String::into_bytes),
                ], 0..3)), 1..5),
    ) {
        let mut entry = entry(cn);
        for (at, values) in changes {
            let names: Vec<String> = entry.attributes.keys().cloned().collect();
            entry.attributes.insert(names[at.index(names.len())].clone(), values);
        }
        read_everything(&entry);
    }
}

#[test]
fn much_is_bounded() {
    let many = vec![b"1.2.3".to_vec(); 100_000];
    let mut entry = entry("User");
    for attribute in
        ["msPKI-Enrollment-Servers", "pKIDefaultCSPs", "msPKI-Supersede-Templates", "certificateTemplates"]
    {
        entry.attributes.insert(attribute.to_ascii_lowercase(), many.clone());
    }
    let started = std::time::Instant::now();
    read_everything(&entry);
    let long = "msPKI-Hash-Algorithm`PZPWSTR`a`".repeat(2_000);
    assert!(
        DirectoryTemplate::from_entry(&with("Dsa", "msPKI-RA-Application-Policies", &[long.as_bytes()]))
            .is_err()
    );
    let endless = vec![b'a'; 1 << 20];
    assert!(DirectoryTemplate::from_entry(&with("User", "displayName", &[&endless])).is_err());
    assert!(started.elapsed().as_secs() < 5);
}
