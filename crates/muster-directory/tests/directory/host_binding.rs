//! T09: nobody gets a certificate with a host name that is not beyond doubt theirs (CVE-2022-26923, CVE-2026-25177).

use muster_core::directory::HostNameDoubt;
use muster_core::identity::Method;
use muster_core::names::AltName;
use muster_core::policy::{Approval, CertificateContents, Circumstances, decide};
use muster_core::request::{KeyAlgorithm, PublicKey, RequestForm, RequestedNames, RequestedTemplate};
use muster_core::{Decision, Refusal, Submission, Template};
use muster_directory::AccountFacts;
use muster_directory::guard::spn_host;

use crate::support::*;

fn ask(
    facts: &AccountFacts,
    template: &Template,
    names: RequestedNames,
) -> Result<CertificateContents, Refusal> {
    let key = match template.key.algorithms[0] {
        KeyAlgorithm::Rsa => PublicKey { spki: b"RSA".to_vec(), algorithm: KeyAlgorithm::Rsa, bits: 4096 },
        other @ (KeyAlgorithm::P256 | KeyAlgorithm::P384 | KeyAlgorithm::P521 | KeyAlgorithm::Ed25519) => {
            PublicKey { spki: b"EC".to_vec(), algorithm: other, bits: 256 }
        }
    };
    let submission = Submission {
        form: RequestForm::Pkcs10,
        template: RequestedTemplate::default(),
        key,
        names,
        sha1_signature: false,
        raw: b"the request".to_vec(),
    };
    let circumstances = Circumstances {
        method: Method::UsernamePassword,
        tls_certificate: None,
        renewal_only: false,
        key_based: false,
        renewed: None,
        agency: None,
        key_blocked: false,
        approval: Approval::NotGiven,
        ca_not_after: NOW.plus(3_650 * 86_400),
        now: NOW,
    };
    match decide(&facts.principal(), template, &submission, &circumstances) {
        Decision::Issue(approved) => Ok(approved.contents().clone()),
        Decision::Pend | Decision::Forked => panic!("pending"),
        Decision::Deny(refusal) => Err(refusal),
    }
}

#[test]
fn own_names_are_issued_with_the_own_identifier() {
    let contents = ask(&facts("PC1$"), &template("Machine").template, RequestedNames::default()).unwrap();
    assert_eq!(contents.subject.to_string(), "CN=pc1.corp.test");
    assert_eq!(contents.alternatives, [AltName::Dns("pc1.corp.test".to_owned())]);
    assert_eq!(contents.sid, Some(facts("PC1$").sid));
    let guid = ask(&facts("PC1$"), &template("GuidMachine").template, RequestedNames::default()).unwrap();
    assert_eq!(guid.alternatives, [AltName::Guid(facts("PC1$").object_guid.unwrap())]);
    let user = ask(&facts("alice"), &template("User").template, RequestedNames::default()).unwrap();
    assert_eq!(user.subject.to_string(), "E=alice@corp.test, CN=alice, CN=Users, DC=corp, DC=test");
    assert_eq!(
        user.alternatives,
        [AltName::Email("alice@corp.test".to_owned()), AltName::Upn("alice@corp.test".to_owned())]
    );
    assert_eq!(user.sid, Some(facts("alice").sid));
    // The flag that asks for no security identifier (ESC9) is reported and ignored.
    let esc9 = ask(&facts("alice"), &template("Esc9").template, RequestedNames::default()).unwrap();
    assert!(esc9.sid.is_some());
    // The name of the account in its domain is enough without service principal names.
    let bare = AccountFacts { service_principal_names: vec![], ..facts("PC1$") };
    assert!(ask(&bare, &template("Machine").template, RequestedNames::default()).is_ok());
}

#[test]
fn domain_controllers_enroll_for_their_own_templates_alone() {
    let mut controller = facts("DC1$");
    // The other holder of its name is the attacker of the vectors.
    controller.host_name_holders = 1;
    for (cn, expected) in [
        (
            "DomainController",
            Ok(vec!["DNS:dc1.corp.test".to_owned(), format!("GUID:{}", controller.object_guid.unwrap())]),
        ),
        ("KerberosAuthentication", Ok(vec!["DNS:dc1.corp.test".to_owned(), "DNS:corp.test".to_owned()])),
    ] {
        let names = ask(&controller, &template(cn).template, RequestedNames::default());
        let names = names.map(|c| c.alternatives.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(names, expected, "{cn}");
    }
    for cn in ["Machine", "Workstation", "CorpServer"] {
        let mut open = template(cn).template;
        open.permissions.access = template("KerberosAuthentication").template.permissions.access;
        assert_eq!(
            ask(&controller, &open, RequestedNames::default()).unwrap_err(),
            Refusal::DomainController,
            "{cn}"
        );
    }
    // A member that may enroll for the template of controllers gets the name of the domain neither.
    let mut open = template("KerberosAuthentication").template;
    open.permissions.access = template("Machine").template.permissions.access;
    assert_eq!(ask(&facts("PC1$"), &open, RequestedNames::default()).unwrap_err(), Refusal::DomainController);
}

/// Sixty ways to have somebody else's host name; every computer template of the vectors that names hosts.
#[test]
fn doubtful_host_names_are_not_issued() {
    use HostNameDoubt::{Foreign, Malformed, Shared};
    let own = || facts("PC1$");
    let host = |name: &str| AccountFacts { dns_host_name: Some(name.to_owned()), ..own() };
    let spn = |name: &str, spns: &[&str]| AccountFacts {
        dns_host_name: Some(name.to_owned()),
        service_principal_names: spns.iter().map(|s| (*s).to_owned()).collect(),
        ..own()
    };
    let cases = [
        // The attack as it was published: no service principal names, the controller's name.
        (facts("EVIL$"), Some(Shared)),
        (AccountFacts { host_name_holders: 1, ..facts("EVIL$") }, Some(Foreign)),
        (AccountFacts { host_name_holders: 2, ..own() }, Some(Shared)),
        (AccountFacts { host_name_holders: 0, ..own() }, Some(Shared)),
        (AccountFacts { dns_host_name: None, ..own() }, None),
        (AccountFacts { dns_host_name: Some(String::new()), ..own() }, None),
        (host("dc1.corp.test"), Some(Foreign)),
        (host("DC1.CORP.TEST"), Some(Foreign)),
        (host("pc1.other.test"), Some(Foreign)),
        (host("pc1.corp.test.evil.test"), Some(Foreign)),
        (host("xpc1.corp.test"), Some(Foreign)),
        (
            spn("dc1.corp.test", &["HOST/dc1", "HOST/pc1.corp.test", "dc1.corp.test", "/dc1.corp.test"]),
            Some(Foreign),
        ),
        (spn("dc1.corp.test", &["HOST/dc1.corp.test.evil.test", "HOST/xdc1.corp.test"]), Some(Foreign)),
        (host("*.corp.test"), Some(Malformed)),
        (host("pc1"), Some(Malformed)),
        (host("pc1.corp.test."), Some(Malformed)),
        (host("pc1 .corp.test"), Some(Malformed)),
        (host("pc1.corp.test\0"), Some(Malformed)),
        (host("\u{ff50}c1.corp.test"), Some(Malformed)),
        (host("p\u{441}1.corp.test"), Some(Malformed)),
    ];
    let mut refused = 0;
    for (facts, doubt) in cases {
        for cn in ["Machine", "Workstation", "CorpServer"] {
            let expected = doubt.map_or(Refusal::DnsNameMissing, Refusal::HostNameDoubtful);
            let answer = ask(&facts, &template(cn).template, RequestedNames::default());
            assert_eq!(answer.unwrap_err(), expected, "{cn} for {:?}", facts.dns_host_name);
            refused += 1;
        }
    }
    assert_eq!(refused, 60);
}

#[test]
fn requests_get_own_names_alone_unless_an_officer_looks() {
    let mut template = template("WebServer").template;
    template.permissions.access = crate::support::template("Machine").template.permissions.access;
    template.kind = muster_core::identity::PrincipalKind::Computer;
    let dns = |name: &str| RequestedNames {
        alternatives: vec![AltName::Dns(name.to_owned())],
        ..RequestedNames::default()
    };
    assert!(ask(&facts("PC1$"), &template, dns("pc1.corp.test")).is_ok());
    for other in ["dc1.corp.test", "www.corp.test", "*.corp.test", "corp.test"] {
        let refusal = ask(&facts("PC1$"), &template, dns(other)).unwrap_err();
        assert_eq!(refusal.code(), "NAME_NOT_YOURS", "{other}");
    }
}

/// Names that look like others, and what cannot stand in a certificate, are left out.
#[test]
fn look_alikes_are_no_names() {
    let alice = facts("alice").principal();
    assert_eq!(alice.upn.as_deref(), Some("alice@corp.test"));
    for upn in [
        "\u{430}dministrator@corp.test",
        "administrator\u{ff20}corp.test",
        "alice@corp.test\u{200b}",
        "alice",
    ] {
        let facts = AccountFacts { user_principal_name: Some(upn.to_owned()), ..facts("alice") };
        assert_eq!(facts.principal().upn, None, "{upn}");
    }
    for cn in ["\u{ff21}dministrator", "Administrator\u{200d}", "Jane\nDoe", "", "\u{1d400}dmin"] {
        let facts = AccountFacts { common_name: Some(cn.to_owned()), ..facts("alice") };
        assert_eq!(facts.principal().common_name, None, "{cn:?}");
    }
    let plain = AccountFacts { common_name: Some("Jürgen Groß".to_owned()), ..facts("alice") };
    assert_eq!(plain.principal().common_name.as_deref(), Some("Jürgen Groß"));
    let odd =
        AccountFacts { distinguished_name: "CN=\u{ff21}lice,DC=corp,DC=test".to_owned(), ..facts("alice") };
    let refusal = ask(&odd, &template("User").template, RequestedNames::default()).unwrap_err();
    assert_eq!(refusal, Refusal::DirectoryPathMissing);
    let nobody = AccountFacts { mail: None, ..facts("alice") };
    assert_eq!(
        ask(&nobody, &template("User").template, RequestedNames::default()).unwrap_err(),
        Refusal::EmailMissing
    );
    let nameless = AccountFacts { object_guid: None, ..facts("PC1$") };
    assert_eq!(
        ask(&nameless, &template("GuidMachine").template, RequestedNames::default()).unwrap_err(),
        Refusal::GuidMissing
    );
}

#[test]
fn hosts_of_service_principal_names() {
    for (name, host) in [
        ("HOST/pc1.corp.test", Some("pc1.corp.test")),
        ("MSSQLSvc/db.corp.test:1433", Some("db.corp.test")),
        ("ldap/dc1.corp.test/corp.test", Some("dc1.corp.test")),
        ("HOST", None),
        ("HOST/", None),
        ("/pc1", None),
        ("HOST/:80", None),
        ("HOST/\u{ff50}c1", None),
    ] {
        assert_eq!(spn_host(name), host, "{name}");
    }
}
