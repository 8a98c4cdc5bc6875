//! Names that a request asks for where the template takes them from there (ESC1, ESC6, ESC14, ESC17, Certifried).

use muster_core::names::{AltName, NameAttribute};
use muster_core::request::RequestedNames;
use muster_core::template::{AltNameFrom, CommonNameFrom, SubjectSource};
use muster_core::{Principal, Refusal, Submission, Template};

use crate::support::*;

/// A TLS server that may have names of the account and, after approval, of the laboratory.
fn laboratory() -> Template {
    changed("WebServer", |t| {
        t.issuance.approval = true;
        t.subject.allow_dns =
            ["own", ".lab.example", "shop.example.com", "*.apps.example.com"].map(str::to_owned).into();
        t.subject.allow_ip = ["10.1.0.0/16", "192.0.2.7", "2001:db8::/32"].map(str::to_owned).into();
    })
}

/// E-mail certificates by request.
fn mail() -> Template {
    changed("UserEmail", |t| {
        t.subject.source = SubjectSource::Request;
        t.subject.alternatives = [].into();
        t.subject.allow_own_email = true;
        t.subject.allow_attributes =
            [NameAttribute::Organization, NameAttribute::Country, NameAttribute::Email].into();
        t.subject.fixed = vec![(NameAttribute::OrganizationalUnit, "Laboratory".to_owned())];
    })
}

/// The names issued, or the name refused; a certificate that would wait for approval counts as issued.
fn asked(principal: &Principal, template: &Template, requested: RequestedNames) -> String {
    let given =
        muster_core::policy::Circumstances { approval: muster_core::policy::Approval::Given, ..good_day() };
    match outcome_in(principal, template, &asking(requested), &given) {
        Outcome::Issue(contents) => names(&contents),
        Outcome::Deny(Refusal::NameNotAllowed(name)) => format!("no: {name}"),
        Outcome::Deny(refusal) => refusal.code().to_owned(),
        Outcome::Pend | Outcome::Forked => panic!("approved, but pending"),
    }
}

#[track_caller]
fn check(principal: &Principal, template: &Template, table: Vec<(RequestedNames, &str)>) {
    for (requested, expected) in table {
        let found = asked(principal, template, requested.clone());
        assert_eq!(found, expected, "{requested:?}");
    }
}

fn join(a: RequestedNames, b: RequestedNames) -> RequestedNames {
    let mut joined = a;
    joined.subject.0.extend(b.subject.0);
    joined.alternatives.extend(b.alternatives);
    joined
}

#[test]
fn server_gets_names_of_its_account_only() {
    let (web01, server) = (web01(), template("WebServer"));
    let own = "web01.lab.example";
    check(
        &web01,
        &server,
        vec![
            (dns(&[own]), " | DNS:web01.lab.example"),
            (dns(&[own, "www.lab.example"]), " | DNS:web01.lab.example, DNS:www.lab.example"),
            (cn(own), "CN=web01.lab.example | DNS:web01.lab.example"),
            (cn("WEB01.Lab.example"), "CN=WEB01.Lab.example | DNS:web01.lab.example"),
            (join(cn(own), dns(&[own])), "CN=web01.lab.example | DNS:web01.lab.example"),
            (RequestedNames::default(), "NAME_MISSING"),
            // Somebody else's, in each place and beside names of the account.
            (dns(&["dc01.lab.example"]), "no: DNS:dc01.lab.example"),
            (dns(&[own, "dc01.lab.example"]), "no: DNS:dc01.lab.example"),
            (cn("dc01.lab.example"), "no: CN=dc01.lab.example"),
            (join(cn("dc01.lab.example"), dns(&[own])), "no: CN=dc01.lab.example"),
            (join(cn(own), dns(&["dc01.lab.example"])), "no: DNS:dc01.lab.example"),
            (join(cn(own), cn(own)), "no: CN=web01.lab.example"),
            (join(cn(own), cn("dc01.lab.example")), "no: CN=dc01.lab.example"),
            // Other kinds of names.
            (alternatives(vec![AltName::Ip("10.1.2.3".parse().unwrap())]), "no: IP:10.1.2.3"),
            (alternatives(vec![AltName::Email("a@lab.example".to_owned())]), "no: email:a@lab.example"),
            (alternatives(vec![AltName::Upn("a@lab.example".to_owned())]), "no: UPN:a@lab.example"),
            (
                alternatives(vec![AltName::Uri("https://web01.lab.example".to_owned())]),
                "no: URI:https://web01.lab.example",
            ),
            (
                alternatives(vec![AltName::Uri(format!("tag:microsoft.com,2022-09-14:sid:{OWN_SID}"))]),
                "no: URI:tag:microsoft.com,2022-09-14:sid:S-1-5-21-1-2-3-1104",
            ),
            (subject(&[(NameAttribute::Organization, "Example")]), "no: O=Example"),
            (subject(&[(NameAttribute::DomainComponent, "lab")]), "no: DC=lab"),
            (
                RequestedNames { unknown_alternatives: vec!["otherName 1.2.3".to_owned()], ..dns(&[own]) },
                "no: otherName 1.2.3",
            ),
            (
                RequestedNames { unknown_subject_attributes: vec!["2.5.4.72".to_owned()], ..dns(&[own]) },
                "no: 2.5.4.72",
            ),
        ],
    );
}

/// Spellings that some reader takes for another name than we do.
#[test]
fn misspelt_host_names_are_refused() {
    for name in [
        "*.lab.example",
        "web01",
        "lab.example",
        "WEB01.lab.example",
        "web01.lab.example.",
        ".web01.lab.example",
        "web01..lab.example",
        "web01.lab.example\0.evil.example",
        "web01.lab.example\n",
        " web01.lab.example",
        "web01.lab.example ",
        "wéb01.lab.example",
        "web01。lab.example",
        "web01.1ab.example",
        "xn--wb01-cpa.lab.example",
        "web01.lab.example:443",
        "web01.lab.example/x",
        "web01_.lab.example",
        "-web01.lab.example",
        "10.1.2.3",
        "",
        ".",
        "*",
        "*.",
    ] {
        for requested in [dns(&[name]), cn(name)] {
            let found = outcome(&web01(), &template("WebServer"), &asking(requested.clone()));
            let case_only = name == "WEB01.lab.example" && requested.alternatives.is_empty();
            let expected = if case_only { "issued" } else { "NAME_NOT_YOURS" };
            assert_eq!(found.code(), expected, "{requested:?}");
        }
    }
}

#[test]
fn patterns_allow_what_they_say() {
    let (web01, laboratory) = (web01(), laboratory());
    for (name, allowed) in [
        ("a.lab.example", true),
        ("a.b.lab.example", true),
        ("web01.lab.example", true),
        ("shop.example.com", true),
        ("*.apps.example.com", true),
        ("lab.example", false),
        ("evil-lab.example", false),
        ("evillab.example", false),
        (".lab.example", false),
        ("a..lab.example", false),
        ("*.lab.example", false),
        ("a.*.lab.example", false),
        ("a.lab.example.evil.example", false),
        ("a.lab.example.", false),
        ("www.shop.example.com", false),
        ("*.shop.example.com", false),
        ("xshop.example.com", false),
        ("www.apps.example.com", false),
        ("apps.example.com", false),
        ("*.www.apps.example.com", false),
        ("**.apps.example.com", false),
        ("own", false),
        (&format!("{}.lab.example", "a".repeat(63)), true),
        (&format!("{}.lab.example", "a".repeat(64)), false),
        (&format!("{}lab.example", "a.".repeat(121)), true),
        (&format!("{}lab.example", "a.".repeat(122)), false),
    ] {
        let found = asked(&web01, &laboratory, dns(&[name]));
        assert_eq!(!found.starts_with("no: "), allowed, "{name}: {found}");
    }
}

#[test]
fn addresses_are_compared_as_numbers() {
    let laboratory = laboratory();
    for (address, allowed) in [
        ("10.1.0.0", true),
        ("10.1.255.255", true),
        ("10.2.0.0", false),
        ("10.0.255.255", false),
        ("192.0.2.7", true),
        ("192.0.2.6", false),
        ("2001:db8::1", true),
        ("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", true),
        ("2001:db9::", false),
        ("::ffff:10.1.0.1", false),
        ("::10.1.0.1", false),
        ("::", false),
        ("0.0.0.0", false),
    ] {
        let requested = alternatives(vec![AltName::Ip(address.parse().unwrap())]);
        let found = asked(&web01(), &laboratory, requested);
        assert_eq!(!found.starts_with("no: "), allowed, "{address}: {found}");
        // As text in the common name: only beside the same address among the alternatives.
        assert_eq!(asked(&web01(), &laboratory, cn(address)), format!("no: CN={address}"));
    }
    let both = join(cn("10.1.0.9"), alternatives(vec![AltName::Ip("10.1.0.9".parse().unwrap())]));
    assert_eq!(asked(&web01(), &laboratory, both), "CN=10.1.0.9 | IP:10.1.0.9");
}

/// An account that is called like somebody else's host, or whose directory entry is.
#[test]
fn account_called_like_a_host_does_not_own_it() {
    let victim = "dc01.lab.example";
    let server = template("WebServer");
    let called = Principal { name: victim.parse().unwrap(), ..web01() };
    let shown = Principal { common_name: Some(victim.to_owned()), ..web01() };
    let short =
        Principal { name: "mail".parse().unwrap(), common_name: Some("intranet".to_owned()), ..web01() };
    for principal in [&called, &shown] {
        check(
            principal,
            &server,
            vec![
                (cn(victim), "no: CN=dc01.lab.example"),
                (cn("DC01.lab.example"), "no: CN=DC01.lab.example"),
                (join(cn(victim), dns(&["web01.lab.example"])), "no: CN=dc01.lab.example"),
            ],
        );
    }
    check(
        &short,
        &server,
        vec![
            (cn("mail"), "no: CN=mail"),
            (cn("intranet"), "no: CN=intranet"),
            // With a host name among the alternatives, TLS clients do not look at the common name.
            (join(cn("mail"), dns(&["web01.lab.example"])), "CN=mail | DNS:web01.lab.example"),
            (join(cn("intranet"), dns(&["web01.lab.example"])), "CN=intranet | DNS:web01.lab.example"),
            (join(cn("other"), dns(&["web01.lab.example"])), "no: CN=other"),
        ],
    );
    let address = Principal { name: "10.1.2.3".parse().unwrap(), ..alice() };
    check(&address, &mail(), vec![(cn("10.1.2.3"), "no: CN=10.1.2.3")]);
}

#[test]
fn mail_address_is_the_accounts_own() {
    let email = |address: &str| alternatives(vec![AltName::Email(address.to_owned())]);
    let attribute = |a, value| subject(&[(a, value)]);
    let own = "alice@lab.example";
    check(
        &alice(),
        &mail(),
        vec![
            (email(own), "OU=Laboratory | email:alice@lab.example"),
            (join(cn(own), email(own)), "CN=alice@lab.example, OU=Laboratory | email:alice@lab.example"),
            (cn("Alice Example"), "CN=Alice Example, OU=Laboratory | "),
            (cn("alice"), "CN=alice, OU=Laboratory | "),
            (
                join(attribute(NameAttribute::Email, own), cn("alice")),
                "CN=alice, E=alice@lab.example, OU=Laboratory | ",
            ),
            (email("ceo@lab.example"), "no: email:ceo@lab.example"),
            (email("alice@lab.example\0@evil.example"), "no: email:alice@lab.example?@evil.example"),
            (email("Alice@lab.example"), "no: email:Alice@lab.example"),
            (cn("ceo@lab.example"), "no: CN=ceo@lab.example"),
            (cn("administrator"), "no: CN=administrator"),
            (cn("alice "), "no: CN=alice "),
            (cn("Alice\u{200b} Example"), "no: CN=Alice? Example"),
            (join(attribute(NameAttribute::Email, "ceo@lab.example"), cn("alice")), "no: E=ceo@lab.example"),
        ],
    );
    let nobody = Principal { email: None, ..alice() };
    assert_eq!(asked(&nobody, &mail(), email(own)), "no: email:alice@lab.example");
    let odd = Principal { email: Some("no address".to_owned()), ..alice() };
    assert_eq!(asked(&odd, &mail(), email("no address")), "no: email:no address");
}

#[test]
fn attributes_are_copied_if_allowed_and_fixed_ones_stay() {
    let with = |attribute, value: &str| join(subject(&[(attribute, value)]), cn("alice"));
    let long = "x".repeat(65);
    check(
        &alice(),
        &mail(),
        vec![
            (with(NameAttribute::Organization, "Example"), "CN=alice, O=Example, OU=Laboratory | "),
            (with(NameAttribute::Country, "DE"), "CN=alice, C=DE, OU=Laboratory | "),
            (with(NameAttribute::OrganizationalUnit, "Laboratory"), "CN=alice, OU=Laboratory | "),
            (with(NameAttribute::OrganizationalUnit, "Board"), "no: OU=Board"),
            (with(NameAttribute::Country, "de"), "no: C=de"),
            (with(NameAttribute::Country, "DEU"), "no: C=DEU"),
            (with(NameAttribute::Locality, "Berlin"), "no: L=Berlin"),
            (with(NameAttribute::State, "Berlin"), "no: ST=Berlin"),
            (with(NameAttribute::SerialNumber, "7"), "no: serialNumber=7"),
            (with(NameAttribute::Organization, ""), "no: O="),
            (with(NameAttribute::Organization, "a\nb"), "no: O=a?b"),
            (with(NameAttribute::Organization, "a\u{202e}b"), "no: O=a?b"),
            (with(NameAttribute::Organization, &long), &format!("no: O={long}")),
            // An attribute alone names nobody.
            (subject(&[(NameAttribute::Organization, "Example")]), "NAME_MISSING"),
        ],
    );
    let overridden = changed("UserEmail", |t| {
        t.subject = mail().subject;
        t.subject.fixed = vec![(NameAttribute::Organization, "Example".to_owned())];
    });
    let found = asked(&alice(), &overridden, with(NameAttribute::Organization, "Evil"));
    assert_eq!(found, "CN=alice, O=Example | ", "the fixed value stays");
}

#[test]
fn refusals_quote_at_most_a_line() {
    for name in ["x".repeat(100_000), "\u{10ffff}".repeat(10_000), "\r\n".repeat(500)] {
        let Outcome::Deny(refusal) = outcome(&web01(), &template("WebServer"), &asking(cn(&name))) else {
            panic!("issued");
        };
        let sentence = refusal.to_string();
        assert!(sentence.chars().count() <= 200, "{}: {sentence}", sentence.chars().count());
        assert!(!sentence.contains(char::is_control), "{sentence}");
    }
}

/// What an account lacks, or has in a form that cannot stand in a certificate.
#[test]
fn accounts_need_the_names_that_a_template_builds_from() {
    let long = format!("{}.lab.example", "a".repeat(60));
    let user = |alternative| changed("User", |t| t.subject.alternatives = [alternative].into());
    let (email, upn) = (user(AltNameFrom::Email), user(AltNameFrom::Upn));
    let only_dns = changed("Computer", |t| t.subject.common_name = CommonNameFrom::None);
    let hosts =
        |hosts: &[&str]| Principal { dns_names: hosts.iter().map(|&h| h.to_owned()).collect(), ..web01() };
    let with_email = |address: &str| Principal { email: Some(address.to_owned()), ..alice() };
    let with_upn = |text: &str| Principal { upn: Some(text.to_owned()), ..alice() };
    let shown = |text: &str| Principal { common_name: Some(text.to_owned()), ..alice() };
    for (principal, template, expected) in [
        (hosts(&[]), template("Computer"), "DNS_REQUIRED"),
        (hosts(&[]), only_dns.clone(), "DNS_REQUIRED"),
        (hosts(&["a.lab.example"]), only_dns, " | DNS:a.lab.example"),
        (hosts(&["A.lab.example"]), template("Computer"), "DNS_REQUIRED"),
        (hosts(&["a"]), template("Computer"), "DNS_REQUIRED"),
        (hosts(&["a.lab.example", "*.lab.example"]), template("Computer"), "DNS_REQUIRED"),
        (hosts(&[&long]), template("Computer"), &format!(" | DNS:{long}")),
        (Principal { email: None, ..alice() }, email.clone(), "EMAIL_REQUIRED"),
        (with_email("Alice <alice@lab.example>"), email.clone(), "EMAIL_REQUIRED"),
        (with_email("alice@lab"), email.clone(), "EMAIL_REQUIRED"),
        (with_email("a@b@lab.example"), email.clone(), "EMAIL_REQUIRED"),
        (with_email(".alice@lab.example"), email, "EMAIL_REQUIRED"),
        (Principal { upn: None, ..alice() }, upn.clone(), "UPN_REQUIRED"),
        (with_upn("alice"), upn.clone(), "UPN_REQUIRED"),
        (with_upn("аlice@corp.lab.example"), upn, "UPN_REQUIRED"),
        // A common name that cannot stand in a subject: the account's name, which always can.
        (Principal { common_name: None, ..alice() }, template("User"), "CN=alice | "),
        (shown(&"x".repeat(65)), template("User"), "CN=alice | "),
        (shown("Alice\nroot"), template("User"), "CN=alice | "),
        (shown("ecilA\u{202e}"), template("User"), "CN=alice | "),
        (shown(""), template("User"), "CN=alice | "),
        (shown("Jürgen Große"), template("User"), "CN=Jürgen Große | "),
    ] {
        let found = match outcome(&principal, &template, &Submission { ..plain() }) {
            Outcome::Issue(contents) => names(&contents),
            Outcome::Deny(refusal) => refusal.code().to_owned(),
            Outcome::Pend | Outcome::Forked => "pending".to_owned(),
        };
        assert_eq!(found, expected);
    }
}
