//! Attributes and flags of pKICertificateTemplate.

use muster_core::identity::PrincipalKind;
use muster_core::request::KeyAlgorithm;
use muster_core::template::{AltNameFrom, CommonNameFrom, KeyUsage, SubjectSource};
use muster_directory::{DirectoryTemplate, Effect};

use crate::support::*;

fn findings(template: &DirectoryTemplate, effect: Effect) -> Vec<&str> {
    template.findings.iter().filter(|f| f.effect == effect).map(|f| f.about.as_str()).collect()
}

/// One line for each template: what is refused, what needs acceptance, what does nothing.
#[test]
fn every_flag_that_is_not_followed_is_reported_by_name() {
    for (cn, refused, dangers, ignored) in [
        ("User", &[][..], &[][..], &["CT_FLAG_INCLUDE_SYMMETRIC_ALGORITHMS", "CT_FLAG_PUBLISH_TO_DS"][..]),
        ("Machine", &[], &[], &[]),
        ("WebServer", &[], &[], &["CT_FLAG_ENROLLEE_SUPPLIES_SUBJECT"]),
        ("DomainController", &[], &[], &["CT_FLAG_PUBLISH_TO_DS"]),
        ("EnrollmentAgent", &[], &["pKIExtendedKeyUsage"], &[]),
        (
            "SubCA",
            &["CT_FLAG_IS_CA", "cn", "pKIKeyUsage", "pKICertificateTemplate", "pKIExtendedKeyUsage"],
            &[],
            &["CT_FLAG_ENROLLEE_SUPPLIES_SUBJECT"],
        ),
        ("Workstation", &[], &[], &[]),
        ("KerberosAuthentication", &[], &["pKIExtendedKeyUsage"], &[]),
        ("UserPending", &[], &[], &["CT_FLAG_INCLUDE_SYMMETRIC_ALGORITHMS", "CT_FLAG_PUBLISH_TO_DS"]),
        ("SmartcardAgent", &[], &[], &[]),
        ("CorpServer", &[], &[], &["CT_FLAG_INCLUDE_BASIC_CONSTRAINTS_FOR_EE_CERTS"]),
        ("OfflineServer", &[], &[], &[]),
        ("Ephemeral", &[], &[], &[]),
        ("Mail.Signing (2)", &[], &[], &["CT_FLAG_INCLUDE_SYMMETRIC_ALGORITHMS"]),
        ("Esc1", &[], &["CT_FLAG_ENROLLEE_SUPPLIES_SUBJECT"], &["CT_FLAG_ENROLLEE_SUPPLIES_SUBJECT"]),
        ("Esc2", &["pKICertificateTemplate", "pKIExtendedKeyUsage"], &[], &[]),
        ("Esc2Any", &["pKIExtendedKeyUsage"], &[], &[]),
        ("Esc4", &[], &["nTSecurityDescriptor"], &[]),
        ("Esc9", &[], &[], &["CT_FLAG_NO_SECURITY_EXTENSION"]),
        ("NotRecorded", &["CT_FLAG_DONOTPERSISTINDB"], &[], &[]),
        ("CrossCertificate", &["CT_FLAG_IS_CROSS_CA"], &[], &[]),
        ("Archived", &["CT_FLAG_REQUIRE_PRIVATE_KEY_ARCHIVAL"], &[], &[]),
        ("Attested", &["CT_FLAG_ATTEST_REQUIRED"], &[], &["CT_FLAG_EK_VALIDATE_CERT"]),
        ("HugeKey", &["msPKI-Minimal-Key-Size"], &[], &[]),
        ("WeakKey", &[], &[], &["msPKI-Minimal-Key-Size"]),
        ("Dsa", &["msPKI-Asymmetric-Algorithm"], &[], &[]),
        ("TwoPurposes", &[], &[], &["msPKI-Certificate-Application-Policy"]),
    ] {
        let template = template(cn);
        assert_eq!(findings(&template, Effect::Refused), refused, "{cn}: {:?}", template.findings);
        assert_eq!(findings(&template, Effect::NeedsAcceptance), dangers, "{cn}: {:?}", template.findings);
        assert_eq!(findings(&template, Effect::Ignored), ignored, "{cn}: {:?}", template.findings);
        assert_eq!(template.is_usable(), refused.is_empty(), "{cn}");
        assert_eq!(template.is_offered(|_| false), refused.is_empty() && dangers.is_empty(), "{cn}");
        for finding in &template.findings {
            assert!(!finding.sentence.is_empty() && !finding.sentence.ends_with('.'), "{finding:?}");
        }
    }
}

#[test]
fn each_refused_or_ignored_bit_has_its_sentence() {
    for (attribute, bit, name, effect) in [
        ("flags", 0x80_u32, "CT_FLAG_IS_CA", Some(Effect::Refused)),
        ("flags", 0x800, "CT_FLAG_IS_CROSS_CA", Some(Effect::Refused)),
        ("flags", 0x1000, "CT_FLAG_DONOTPERSISTINDB", Some(Effect::Refused)),
        ("flags", 0x8, "an old bit", None),
        ("msPKI-Enrollment-Flag", 0x4, "CT_FLAG_PUBLISH_TO_KRA_CONTAINER", Some(Effect::Ignored)),
        ("msPKI-Enrollment-Flag", 0x800, "CT_FLAG_ALLOW_ENROLL_ON_BEHALF_OF", Some(Effect::Ignored)),
        ("msPKI-Enrollment-Flag", 0x1000, "CT_FLAG_ADD_OCSP_NOCHECK", Some(Effect::Ignored)),
        ("msPKI-Enrollment-Flag", 0x4000, "CT_FLAG_NOREVOCATIONINFOINISSUEDCERTS", Some(Effect::Ignored)),
        (
            "msPKI-Enrollment-Flag",
            0x1_0000,
            "CT_FLAG_ALLOW_PREVIOUS_APPROVAL_KEYBASEDRENEWAL_VALIDATE_REENROLLMENT",
            Some(Effect::Ignored),
        ),
        ("msPKI-Enrollment-Flag", 0x2_0000, "CT_FLAG_ISSUANCE_POLICIES_FROM_REQUEST", Some(Effect::Ignored)),
        ("msPKI-Enrollment-Flag", 0x8_0000, "CT_FLAG_NO_SECURITY_EXTENSION", Some(Effect::Ignored)),
        ("msPKI-Enrollment-Flag", 0x4000_0000, "msPKI-Enrollment-Flag", Some(Effect::Ignored)),
        ("msPKI-Enrollment-Flag", 0x400, "for clients", None),
        ("msPKI-Private-Key-Flag", 0x1, "CT_FLAG_REQUIRE_PRIVATE_KEY_ARCHIVAL", Some(Effect::Refused)),
        ("msPKI-Private-Key-Flag", 0x80, "CT_FLAG_REQUIRE_SAME_KEY_RENEWAL", None),
        ("msPKI-Private-Key-Flag", 0x2000, "CT_FLAG_ATTEST_REQUIRED", Some(Effect::Refused)),
        ("msPKI-Private-Key-Flag", 0x20_0000, "CT_FLAG_HELLO_LOGON_KEY", Some(Effect::Refused)),
        ("msPKI-Private-Key-Flag", 0x0f0f_0000, "versions", None),
        ("msPKI-Private-Key-Flag", 0x60, "for clients", None),
        (
            "msPKI-Certificate-Name-Flag",
            0x1_0000,
            "CT_FLAG_ENROLLEE_SUPPLIES_SUBJECT_ALT_NAME",
            Some(Effect::Ignored),
        ),
    ] {
        let before = template("Workstation");
        let entry = entry("Workstation");
        let word = entry.values(attribute).first().cloned().unwrap();
        let word: i32 = std::str::from_utf8(&word).unwrap().parse().unwrap();
        let word = (word.cast_unsigned() | bit).cast_signed().to_string();
        let after =
            DirectoryTemplate::from_entry(&with("Workstation", attribute, &[word.as_bytes()])).unwrap();
        let found: Vec<_> = after.findings.iter().map(|f| (f.about.as_str(), f.effect)).collect();
        let expected: Vec<_> = effect.map(|effect| (name, effect)).into_iter().collect();
        assert_eq!(found, expected, "{name}");
        assert_eq!(after.template.subject.without_sid, name == "CT_FLAG_NO_SECURITY_EXTENSION", "{name}");
        assert_ne!(before.fingerprint, after.fingerprint, "{name}");
    }
}

/// The values of the stock template "Machine" as a policy service of Windows shows them (MS-XCEP 3.1.4.1.3.1).
#[test]
fn policy_answer_has_what_it_needs() {
    let DirectoryTemplate { template, wire, .. } = template("Machine");
    assert_eq!((template.name.as_str(), template.display_name.as_str()), ("Machine", "Computer"));
    assert_eq!(
        template.oid.unwrap().as_str(),
        "1.3.6.1.4.1.311.21.8.1111111.2222222.3333333.4444444.5555555.100.1.2"
    );
    assert_eq!((wire.schema_version, template.major, template.minor), (1, 5, 1));
    assert_eq!((wire.validity_seconds, wire.renewal_seconds), (31_536_000, 3_628_800));
    assert_eq!((wire.minimal_key_length, wire.key_spec), (2048, Some(1)));
    assert_eq!((wire.key_usage_property, wire.key_permissions.as_ref()), (None, None));
    assert_eq!((wire.asymmetric_algorithm.as_ref(), wire.hash_algorithm.as_ref()), (None, None));
    assert_eq!(wire.crypto_providers, ["Microsoft RSA SChannel Cryptographic Provider"]);
    assert_eq!((wire.private_key_flags, wire.subject_name_flags), (0, 402_653_184));
    assert_eq!((wire.enrollment_flags, wire.general_flags), (0, 66_144));
    assert_eq!((wire.ra_signatures, wire.ra_application_policies.len()), (0, 0));
    assert_eq!(template.supersedes, [""; 0]);
    assert_eq!(
        wire.extended_key_usage.iter().map(|o| o.as_str()).collect::<Vec<_>>(),
        ["1.3.6.1.5.5.7.3.2", "1.3.6.1.5.5.7.3.1"]
    );
    assert_eq!(template.key.usage, [KeyUsage::DigitalSignature, KeyUsage::KeyEncipherment].into());
    assert_eq!(wire.critical_extensions.iter().map(|o| o.as_str()).collect::<Vec<_>>(), ["2.5.29.15"]);
}

#[test]
fn names_follow_the_flags() {
    use AltNameFrom::{DnsNames, DomainDns, Email, Guid, Upn};
    for (cn, common_name, alternatives, email) in [
        ("User", CommonNameFrom::DirectoryPath, &[Email, Upn][..], true),
        ("Machine", CommonNameFrom::DnsName, &[DnsNames], false),
        ("Workstation", CommonNameFrom::None, &[DnsNames], false),
        ("KerberosAuthentication", CommonNameFrom::None, &[DnsNames, DomainDns], false),
        ("GuidMachine", CommonNameFrom::DnsName, &[Guid], false),
        ("Mail.Signing (2)", CommonNameFrom::CommonName, &[Email], true),
        ("Esc9", CommonNameFrom::CommonName, &[Upn], false),
    ] {
        let rules = template(cn).template.subject;
        assert_eq!(rules.source, SubjectSource::Identity, "{cn}");
        assert_eq!((rules.common_name, rules.email), (common_name, email), "{cn}");
        assert_eq!(rules.alternatives, alternatives.iter().copied().collect(), "{cn}");
    }
    // The flag for service principal names means the user principal name (MS-CRTD 2.28).
    let spn = with("Esc9", "msPKI-Certificate-Name-Flag", &[b"8388608"]);
    assert_eq!(DirectoryTemplate::from_entry(&spn).unwrap().template.subject.alternatives, [Upn].into());
    for (cn, hosts) in [("WebServer", "own"), ("OfflineServer", "any")] {
        let rules = template(cn).template.subject;
        assert_eq!((rules.source, rules.allow_dns), (SubjectSource::Request, vec![hosts.to_owned()]), "{cn}");
    }
    for (cn, expected) in [("DomainController", true), ("KerberosAuthentication", true), ("Machine", false)] {
        assert_eq!(template(cn).template.subject.domain_controllers, expected, "{cn}");
    }
}

#[test]
fn keys_and_periods_follow_the_attributes() {
    let ec = template("CorpServer");
    assert_eq!(ec.template.key.algorithms, [KeyAlgorithm::P256]);
    assert_eq!((ec.wire.minimal_key_length, ec.wire.key_usage_property), (256, Some(0xff_ffff)));
    assert_eq!(ec.wire.hash_algorithm.as_deref(), Some("SHA256"));
    assert_eq!(ec.wire.private_key_flags, 0x0605_0010);
    assert!(ec.template.key.exportable);
    let shift = template("Ephemeral");
    assert_eq!((shift.wire.validity_seconds, shift.wire.renewal_seconds), (36_000, 7_200));
    assert_eq!(shift.template.validity.lifetime_seconds(), 36_000);
    assert_eq!((shift.template.key.minimum_rsa_bits, shift.wire.key_usage_property), (3072, Some(2)));
    assert!(shift.wire.key_permissions.unwrap().starts_with("D:P(A;;FA;;;BA)"));
    assert_eq!(shift.wire.ra_application_policies.len(), 1);
    let user = template("User");
    assert_eq!(
        user.wire.crypto_providers,
        ["Microsoft Enhanced Cryptographic Provider v1.0", "Microsoft Base Cryptographic Provider v1.0"]
    );
    assert_eq!(user.wire.subject_name_flags, 0xA600_0000, "the sign does not matter");
    assert_eq!(user.template.kind, PrincipalKind::User);
    assert_eq!(template("WeakKey").wire.minimal_key_length, 2048);
    assert!(template("UserPending").template.issuance.approval);
    assert!(template("Mail.Signing (2)").template.issuance.renewal_without_approval);
    assert_eq!(template("SmartcardAgent").template.issuance.signatures, 1);
    assert_eq!(template("Workstation").template.supersedes, ["Machine"]);
    assert_eq!(template("TwoPurposes").template.eku.len(), 1, "what is in both lists");
}

#[test]
fn damaged_attributes_are_named() {
    for (entry, about) in [
        (entry("DamagedPeriod"), "pKIExpirationPeriod"),
        (entry("DamagedIdentifier"), "msPKI-Cert-Template-OID"),
        (entry("DamagedProperties"), "msPKI-RA-Application-Policies"),
        (entry("DamagedSchema"), "msPKI-Template-Schema-Version"),
        (entry("DamagedUsage"), "pKIKeyUsage"),
        (with("User", "flags", &[b"4294967296"]), "flags"),
        (with("User", "flags", &[b"1", b"2"]), "flags"),
        (with("User", "cn", &[]), "cn"),
        (with("User", "cn", &[b"\xff"]), "cn"),
        (with("User", "revision", &[]), "revision"),
        (with("User", "nTSecurityDescriptor", &[]), "nTSecurityDescriptor"),
        (with("User", "nTSecurityDescriptor", &[b"\x01\x00"]), "nTSecurityDescriptor"),
        (with("User", "pKIExtendedKeyUsage", &[b"1.2.x"]), "pKIExtendedKeyUsage"),
        (
            with("Dsa", "msPKI-RA-Application-Policies", &[b"msPKI-Key-Usage`DWORD`-1`"]),
            "msPKI-RA-Application-Policies",
        ),
        (
            with("Dsa", "msPKI-RA-Application-Policies", &[b"msPKI-Key-Usage`PZPWSTR`1`"]),
            "msPKI-RA-Application-Policies",
        ),
    ] {
        let damaged = DirectoryTemplate::from_entry(&entry).unwrap_err();
        assert_eq!((damaged.finding.about.as_str(), damaged.finding.effect), (about, Effect::Refused));
        assert!(damaged.finding.sentence.contains(about), "{}", damaged.finding.sentence);
    }
    for (entry, about) in [
        (with("User", "cn", &[b"a;b"]), "pKICertificateTemplate"),
        (with("User", "revision", &[b"0"]), "pKICertificateTemplate"),
        (with("User", "pKIKeyUsage", &[]), "pKICertificateTemplate"),
        (with("User", "cn", &[b"CrossCA"]), "cn"),
    ] {
        let template = DirectoryTemplate::from_entry(&entry).unwrap();
        assert!(findings(&template, Effect::Refused).contains(&about), "{:?}", template.findings);
    }
}

#[test]
fn fingerprint_covers_content_and_permissions_but_not_order() {
    let first = template("User").fingerprint;
    let mut shuffled = entry("User");
    shuffled.attributes.get_mut("pkiextendedkeyusage").unwrap().reverse();
    shuffled.attributes.insert("whenchanged".to_owned(), vec![b"20260101000000.0Z".to_vec()]);
    let again = DirectoryTemplate::from_entry(&shuffled).unwrap();
    assert_eq!(again.fingerprint, first);
    let mut granted = entry("User");
    granted.attributes.insert(
        "ntsecuritydescriptor".to_owned(),
        entry("UserPending").values("nTSecurityDescriptor").to_vec(),
    );
    assert_ne!(DirectoryTemplate::from_entry(&granted).unwrap().fingerprint, first);
    let risky = template("Esc1");
    assert!(risky.is_offered(|accepted| *accepted == risky.fingerprint));
}
