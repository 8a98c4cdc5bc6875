//! Templates of ours, written for a directory and read back.

use std::collections::BTreeSet;

use muster_core::identity::PrincipalKind;
use muster_core::names::NameAttribute;
use muster_core::request::KeyAlgorithm;
use muster_core::template::{
    AccessEffect, AccessEntry, AccessRight, AltNameFrom, CommonNameFrom, KeyUsage, Permissions, RenewalKey,
    SubjectSource, Template,
};
use muster_core::{Oid, defaults};
use muster_directory::DirectoryTemplate;
use muster_directory::export::{ExportError, export};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::support::*;

fn native(name: &str) -> Template {
    let mut template = defaults::templates().unwrap().into_iter().find(|t| t.name == name).unwrap();
    template.oid = Some("1.3.6.1.4.1.311.21.8.1.2.3".parse().unwrap());
    template
}

fn back(template: &Template) -> (DirectoryTemplate, Vec<String>) {
    let export = export(template, &[sid("S-1-5-21-1-2-3-519"), sid("S-1-5-21-1-2-3-512")]).unwrap();
    (DirectoryTemplate::from_entry(&export.to_entry("CN=t,DC=corp,DC=test")).unwrap(), export.losses)
}

#[test]
fn templates_of_the_directory_export_to_themselves() {
    for cn in [
        "User",
        "Machine",
        "Workstation",
        "OfflineServer",
        "DomainController",
        "UserPending",
        "GuidMachine",
        "Nested",
    ] {
        let original = template(cn).template;
        let (again, losses) = back(&original);
        assert_eq!(losses, [""; 0], "{cn}");
        assert_eq!(again.template, original, "{cn}");
        assert!(again.is_usable(), "{cn}: {:?}", again.findings);
    }
}

#[test]
fn what_a_directory_cannot_say_is_reported() {
    let mut template = native("WebServer");
    template.key.algorithms = vec![KeyAlgorithm::P256, KeyAlgorithm::Rsa];
    template.subject.allow_dns = vec!["own".to_owned(), ".lab.example".to_owned()];
    template.subject.fixed = vec![(NameAttribute::Country, "DE".to_owned())];
    template.permissions.enroll = vec!["group:web".to_owned().try_into().unwrap()];
    let (_, losses) = back(&template);
    let about: BTreeSet<&str> = losses.iter().filter_map(|l| l.split(':').next()).collect();
    for key in ["key.algorithms", "subject.allow_dns", "subject.fixed", "permissions"] {
        assert!(about.contains(key), "{key}: {losses:?}");
    }
    let refused = |t: &Template| export(t, &[]).unwrap_err();
    assert_eq!(refused(&Template { oid: None, ..template.clone() }), ExportError::NoIdentifier);
    template.key.algorithms = vec![KeyAlgorithm::Ed25519];
    assert_eq!(refused(&template), ExportError::KeyAlgorithm("ed25519"));
}

#[test]
fn grants_of_native_templates_become_entries() {
    let mut template = native("User");
    let grantee = |text: &str| text.to_owned().try_into().unwrap();
    template.permissions = Permissions {
        enroll: vec![grantee("authenticated"), grantee("sid:S-1-5-21-1-2-3-1104")],
        auto_enroll: vec![grantee("sid:S-1-5-21-1-2-3-1104")],
        deny: vec![grantee("sid:S-1-5-21-1-2-3-1105")],
        access: None,
    };
    let (again, losses) = back(&template);
    assert!(losses.iter().all(|loss| !loss.starts_with("permissions")), "{losses:?}");
    let list: Vec<String> = again
        .template
        .permissions
        .access
        .unwrap()
        .iter()
        .map(|e| format!("{:?} {:?} {}", e.effect, e.right, e.sid))
        .collect();
    assert_eq!(
        list,
        [
            "Deny Both S-1-5-21-1-2-3-1105",
            "Allow Enroll S-1-5-11",
            "Allow Enroll S-1-5-21-1-2-3-1104",
            "Allow AutoEnroll S-1-5-21-1-2-3-1104",
        ]
    );
}

prop_compose! {
    fn access_entry()(
        effect in select(vec![AccessEffect::Allow, AccessEffect::Deny]),
        right in select(vec![AccessRight::Enroll, AccessRight::AutoEnroll, AccessRight::Both]),
        rid in 1_000_u32..1_020,
    ) -> AccessEntry {
        AccessEntry { effect, right, sid: format!("S-1-5-21-1-2-3-{rid}").parse().unwrap() }
    }
}

prop_compose! {
    /// A template that a directory can hold.
    fn representable()(
        name in "[A-Za-z0-9]([A-Za-z0-9_. ()-]{0,20}[A-Za-z0-9])?",
        display_name in "[A-Za-z0-9äöü]([A-Za-z0-9äöü ]{0,20}[A-Za-z0-9])?",
        (major, minor) in (1_u32..1_000, 0_u32..1_000),
        computer in any::<bool>(),
        algorithm in select(vec![KeyAlgorithm::Rsa, KeyAlgorithm::P256, KeyAlgorithm::P384, KeyAlgorithm::P521]),
        rsa_bits in select(vec![2048_u32, 3072, 4096]),
        exportable in any::<bool>(),
        more_usage in subsequence(vec![KeyUsage::NonRepudiation, KeyUsage::KeyEncipherment, KeyUsage::DataEncipherment, KeyUsage::KeyAgreement], 0..4),
        path in any::<bool>(),
        alternatives in subsequence(vec![AltNameFrom::DnsNames, AltNameFrom::Email, AltNameFrom::Upn, AltNameFrom::Guid, AltNameFrom::DomainDns], 1..5),
        email in any::<bool>(),
        requested in any::<bool>(),
        (approval, waived, key_based, same_key) in any::<(bool, bool, bool, bool)>(),
        (days, hours) in (1_u32..3_000, 0_u32..24),
        renew_hours in 1_u32..24,
        policies in subsequence(vec!["1.2.3.4", "1.2.3.5.6"], 0..3),
        eku in subsequence(vec!["1.3.6.1.5.5.7.3.4", "1.3.6.1.4.1.311.10.3.4", "1.3.6.1.5.5.7.3.3"], 1..4),
        access in proptest::collection::vec(access_entry(), 0..6),
    ) -> Template {
        let mut template = native("User");
        let oids = |list: Vec<&str>| list.into_iter().map(|text| text.parse().unwrap()).collect::<Vec<Oid>>();
        (template.name, template.display_name, template.major, template.minor) = (name, display_name, major, minor);
        template.kind = if computer { PrincipalKind::Computer } else { PrincipalKind::User };
        template.key.algorithms = vec![algorithm];
        template.key.minimum_rsa_bits = if algorithm == KeyAlgorithm::Rsa { rsa_bits } else { 2048 };
        template.key.exportable = exportable;
        template.key.usage = [KeyUsage::DigitalSignature].into_iter().chain(more_usage).collect();
        let rules = &mut template.subject;
        if requested {
            rules.source = SubjectSource::Request;
            rules.common_name = CommonNameFrom::CommonName;
            rules.alternatives = [].into();
            rules.allow_dns = vec![if approval { "any" } else { "own" }.to_owned()];
            rules.allow_own_email = true;
            rules.allow_attributes = [
                NameAttribute::Organization, NameAttribute::OrganizationalUnit, NameAttribute::Locality,
                NameAttribute::State, NameAttribute::Country,
            ].into();
        } else {
            rules.common_name = if path { CommonNameFrom::DirectoryPath }
                else if computer { CommonNameFrom::DnsName } else { CommonNameFrom::CommonName };
            rules.alternatives = alternatives.into_iter().collect();
            rules.email = email;
        }
        template.issuance.approval = approval;
        template.issuance.renewal_without_approval = waived;
        template.renewal.key_based = key_based && waived && requested;
        template.renewal.key = if same_key { RenewalKey::Same } else { RenewalKey::New };
        template.validity.days = days;
        template.validity.hours = hours;
        template.validity.renew_before_days = 0;
        template.validity.renew_before_hours = renew_hours;
        template.policies = oids(policies);
        template.eku = oids(eku);
        template.permissions = Permissions { access: Some(access), ..Permissions::default() };
        template
    }
}

proptest! {
    #[test]
    fn representable_templates_survive_the_directory(template in representable()) {
        let reserved = ["ca", "subca", "crossca"].iter().any(|name| template.name.eq_ignore_ascii_case(name));
        prop_assume!(!reserved);
        let (again, losses) = back(&template);
        prop_assert_eq!(losses, Vec::<String>::new());
        prop_assert_eq!(&again.template, &template);
        prop_assert!(again.is_usable(), "{:?}", again.findings);
    }
}
