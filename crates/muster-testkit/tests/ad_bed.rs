//! The Active Directory of the bed is what the other tests in `ad_*.rs` take it for; in a list of failures these come
//! first. Nothing of ours takes part.

use muster_testkit::ad::{Ad, Forest, SERVICES, Tickets, template_dn};

/// The encryption types of the ticket for `service` in a cache, as `klist -e` prints them.
fn encryption(tickets: &Tickets, service: &str) -> String {
    let list = tickets.run("klist", &["-e"]).text();
    let after = list.split(service).nth(1).unwrap_or_default();
    after
        .split("Etype (skey, tkt): ")
        .nth(1)
        .unwrap_or_default()
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn users_and_computers_get_tickets_for_the_service_with_aes() {
    let Some(ad) = Ad::or_not_run() else { return };
    for tickets in [ad.kinit("alice"), ad.kinit("dave"), ad.machine("pc1", "PC1$")] {
        let ran = tickets.run("kvno", &["HTTP/ces.corp.test"]);
        assert!(ran.ok, "{}", ran.all());
        let expected = "aes256-cts-hmac-sha1-96, aes256-cts-hmac-sha1-96";
        assert!(encryption(&tickets, "HTTP/ces.corp.test").starts_with(expected));
    }
}

#[test]
fn keytab_decrypts_what_the_directory_issues() {
    let Some(ad) = Ad::or_not_run() else { return };
    let tickets = ad.kinit("alice");
    for (keytab, service, good) in [
        ("http", "HTTP/ces.corp.test", true),
        ("all", "HOST/ces.corp.test", true),
        ("rc4", "HTTP/rc4.corp.test", true),
        ("old", "HTTP/old.corp.test", true),
        ("stale", "HTTP/old.corp.test", false),
    ] {
        let ran = tickets.run("kvno", &["-k", ad.keytab(keytab).to_str().unwrap(), service]);
        assert_eq!(ran.ok, good, "{keytab}: {}", ran.all());
    }
    assert!(encryption(&tickets, "HTTP/rc4.corp.test").contains("arcfour"));
}

#[test]
fn disabled_expired_and_unchanged_accounts_get_no_ticket() {
    let Some(ad) = Ad::or_not_run() else { return };
    let refused = |user: &str| ad.kinit_refused(user, &Ad::password(user));
    assert!(refused("frank").contains("revoked"), "{}", refused("frank"));
    assert!(refused("erin").contains("revoked"), "{}", refused("erin"));
    assert!(refused("gina").contains("expired"), "{}", refused("gina"));
    let user = ad.user(&[]);
    ad.kinit(&user);
    ad.disable(&user);
    assert!(refused(&user).contains("revoked"), "{}", refused(&user));
}

#[test]
fn five_wrong_passwords_lock_an_account() {
    let Some(ad) = Ad::or_not_run() else { return };
    let user = ad.user(&[]);
    for _ in 0..5 {
        ad.kinit_refused(&user, "wrong");
    }
    let said = ad.kinit_refused(&user, &Ad::password(&user));
    assert!(said.contains("revoked"), "{said}");
}

#[test]
fn templates_are_read_with_their_descriptors_unless_the_descriptor_forbids_it() {
    let Some(ad) = Ad::or_not_run() else { return };
    let container = format!("CN=Certificate Templates,{SERVICES}");
    // An unprivileged reader gets no SACL, so it must not ask for it: flags 7 are owner, group and DACL.
    let ran = ad.machine("svc-ces", "svc-ces").run(
        "ldapsearch",
        &[
            "-LLL",
            "-Q",
            "-Y",
            "GSSAPI",
            "-o",
            "ldif-wrap=no",
            "-E",
            "1.2.840.113556.1.4.801=::MAMCAQc=",
            "-H",
        ]
        .into_iter()
        .chain([
            "ldap://dc1.corp.test",
            "-b",
            &container,
            "-s",
            "one",
            "(objectClass=pKICertificateTemplate)",
        ])
        .chain(["cn", "nTSecurityDescriptor"])
        .collect::<Vec<_>>(),
    );
    assert!(ran.ok, "{}", ran.all());
    let text = ran.text();
    let count = |what: &str| text.lines().filter(|line| line.starts_with(what)).count();
    assert!(count("cn: ") >= 31, "{text}");
    assert_eq!(count("cn: "), count("nTSecurityDescriptor:: "));
    assert!(text.contains("cn: EnrollersUser\n") && !text.contains("cn: Unreadable\n"));
}

#[test]
fn ldaps_shows_a_certificate_of_the_ca_of_the_bed() {
    let Some(ad) = Ad::or_not_run() else { return };
    let ran = Tickets::empty().run(
        "ldapsearch",
        &[
            "-LLL",
            "-x",
            "-H",
            "ldaps://dc1.corp.test",
            "-D",
            "alice@corp.test",
            "-w",
            &Ad::password("alice"),
            "-b",
        ]
        .into_iter()
        .chain(["DC=corp,DC=test", "(sAMAccountName=alice)", "mail"])
        .collect::<Vec<_>>(),
    );
    assert!(ran.ok && ran.text().contains("mail: alice@corp.test"), "{}", ran.all());
    let plain = Tickets::empty().run(
        "ldapsearch",
        &["-LLL", "-x", "-H", "ldap://dc1.corp.test", "-D", "alice@corp.test", "-w", &Ad::password("alice")],
    );
    assert!(!plain.ok, "a simple bind without TLS was taken");
    assert!(ad.ca().is_file());
}

#[test]
fn tickets_cross_the_trust_and_stop_without_one() {
    let Some(ad) = Ad::or_not_run() else { return };
    for (user, service, reached) in [
        ("petra@PARTNER.TEST", "HTTP/ces.corp.test@PARTNER.TEST", true),
        ("alice@CORP.TEST", "HTTP/ces.partner.test@CORP.TEST", true),
        ("alice@CORP.TEST", "ldap/pdc1.partner.test@CORP.TEST", true),
        ("oscar@OTHER.TEST", "HTTP/ces.corp.test@OTHER.TEST", false),
        ("alice@CORP.TEST", "HTTP/ces.other.test@CORP.TEST", false),
    ] {
        let ran = ad.kinit(user).run("kvno", &[service]);
        assert_eq!(ran.ok, reached, "{user}, {service}: {}", ran.all());
    }
}

#[test]
fn directory_of_the_other_forest_is_read_across_the_trust() {
    let Some(ad) = Ad::or_not_run() else { return };
    let service = ad.machine("svc-ces", "svc-ces");
    let ran = service.ldapsearch(Forest::Partner, Forest::Partner.base(), "sub", "(cn=petra)", &["mail"]);
    assert!(ran.text().contains("mail: petra@partner.test"), "{}", ran.all());
    let ran = service.ldapsearch(Forest::Other, Forest::Other.base(), "sub", "(cn=oscar)", &["mail"]);
    assert!(!ran.ok, "{}", ran.all());
}

#[test]
fn groups_of_a_caller_from_beyond_the_trust_include_local_ones() {
    let Some(ad) = Ad::or_not_run() else { return };
    let groups = |user: &str, forest| {
        let ran = ad.kinit(user).ldapsearch(forest, "", "base", "(objectClass=*)", &["tokenGroups"]);
        assert!(ran.ok, "{}", ran.all());
        ran.text()
            .lines()
            .filter(|line| line.starts_with("tokenGroups"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    // PartnerEnrollers is a domain local group of CORP.TEST.
    let [here, at_home] =
        [Forest::Corp, Forest::Partner].map(|forest| groups("petra@PARTNER.TEST", forest).len());
    assert!(here > 0 && at_home > 0);
    let paul = groups("paul@PARTNER.TEST", Forest::Corp).len();
    assert!(here > paul, "petra {here}, paul {paul}");
    assert!(groups("dave", Forest::Corp).len() > 500);
}

#[test]
fn domain_controller_judges_permissions() {
    let Some(ad) = Ad::or_not_run() else { return };
    let users = ["alice", "bob", "carol", "PC1$"];
    let expected = [
        ("EnrollersUser", [true, false, false, false]),
        ("NestedUser", [false, false, true, false]),
        ("DenyContractors", [true, false, true, true]),
        ("AllowFirst", [true, true, true, true]),
        ("DenyPlain", [true, false, true, true]),
        ("AnyRight", [true, false, false, false]),
        ("OtherRight", [false, false, false, false]),
        ("InheritOnly", [false, false, false, false]),
        ("Inherited", [true, false, false, false]),
        ("Machine", [false, false, false, true]),
    ];
    let (templates, expected): (Vec<&str>, Vec<[bool; 4]>) = expected.into_iter().unzip();
    assert_eq!(ad.judge_all(&templates, &users), expected);
}

#[test]
fn template_of_a_test_is_published_and_its_permissions_change() {
    let Some(ad) = Ad::or_not_run() else { return };
    let template = ad.template("EnrollersUser", &["(OA;;CR;ENROLL;;{Contractors})"]);
    assert_eq!(ad.judge(&template, &["alice", "bob"]), [false, true]);
    let dn = template_dn(&template);
    let before = ad.directory(Forest::Corp, &["descriptor", &dn]).concat();
    let after = before.replace(&ad.sid("Contractors"), &ad.sid("CertEnrollers"));
    ad.directory(Forest::Corp, &["descriptor", &dn, &after]);
    assert_eq!(ad.judge(&template, &["alice", "bob"]), [true, false]);
    ad.delete(&dn);
}
