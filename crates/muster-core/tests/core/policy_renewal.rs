//! Renewal: each of the thirteen checks broken once, each with a refusal of its own.

use muster_core::identity::{AccountName, Method};
use muster_core::names::{AltName, NameAttribute};
use muster_core::policy::{
    Approval, Circumstances, KnownCertificate, LEAST_INTERVAL, LinePlace, Renewed, Right, authorize,
};
use muster_core::request::{RequestForm, RequestedNames, RequestedTemplate};
use muster_core::template::{Grantee, RenewalKey};
use muster_core::{Principal, Refusal, Submission, Template, UnixTime};

use crate::support::*;

const OLD: &[u8] = b"the certificate to be renewed";
const OLD_KEY: &[u8] = b"the key of that certificate";

fn renewal() -> Submission {
    let form = RequestForm::Renewal { old_certificate: OLD.to_vec(), extra_signers: 0 };
    Submission { form, ..plain() }
}

fn known() -> KnownCertificate {
    KnownCertificate {
        account: alice().name,
        template: template("User").oid.unwrap(),
        not_before: NOW.plus(-300 * DAY),
        not_after: NOW.plus(65 * DAY),
        revoked: false,
        on_hold: false,
    }
}

fn renewed() -> Renewed {
    Renewed {
        known: known(),
        names: RequestedNames::default(),
        sid: Some(OWN_SID.to_owned()),
        spki: OLD_KEY.to_vec(),
        line: LinePlace {
            generation: 2,
            since: NOW.plus(-700 * DAY),
            approved: false,
            forked: false,
            renewed_at: None,
        },
    }
}

/// Over TLS with the certificate to be renewed, at an address for renewals only.
fn by_certificate(renewed: Option<&Renewed>) -> Circumstances<'_> {
    Circumstances {
        agency: None,
        method: Method::ClientCertificate,
        tls_certificate: Some(OLD),
        renewal_only: true,
        renewed,
        ..good_day()
    }
}

/// Over a connection with a password.
fn by_password(renewed: Option<&Renewed>) -> Circumstances<'_> {
    Circumstances { renewed, renewal_only: true, ..good_day() }
}

#[track_caller]
fn denied(change: impl FnOnce(&mut Renewed), expected: Refusal) {
    let mut renewed = renewed();
    change(&mut renewed);
    for circumstances in [by_certificate(Some(&renewed)), by_password(Some(&renewed))] {
        let outcome = outcome_in(&alice(), &template("User"), &renewal(), &circumstances);
        assert_eq!(outcome, Outcome::Deny(expected.clone()), "{:?}", circumstances.method);
    }
}

/// The outcome over TLS alone, where number and time of renewals are limited.
fn limited(template: &Template, change: impl FnOnce(&mut Renewed)) -> Outcome {
    let mut renewed = renewed();
    change(&mut renewed);
    outcome_in(&alice(), template, &renewal(), &by_certificate(Some(&renewed)))
}

#[test]
fn renewal_gets_todays_names_and_a_whole_lifetime() {
    let renewed = renewed();
    let circumstances = by_certificate(Some(&renewed));
    let contents = outcome_in(&alice(), &template("User"), &renewal(), &circumstances).issued();
    assert_eq!(names(&contents), "CN=Alice Example | ");
    assert_eq!(contents.not_after, NOW.plus(365 * DAY - 1));
    let married = Principal { common_name: Some("Alice Other".to_owned()), ..alice() };
    let contents = outcome_in(&married, &template("User"), &renewal(), &circumstances).issued();
    assert_eq!(names(&contents), "CN=Alice Other | ");
}

#[test]
fn check_1_connection_and_signer_are_the_same_certificate() {
    let renewed = renewed();
    for (connection, expected) in
        [(Some(OLD), "issued"), (Some(b"another of ours".as_slice()), "RENEW_SIGNER"), (None, "RENEW_SIGNER")]
    {
        let circumstances = Circumstances { tls_certificate: connection, ..by_certificate(Some(&renewed)) };
        let outcome = outcome_in(&alice(), &template("User"), &renewal(), &circumstances);
        assert_eq!(outcome.code(), expected);
    }
    let outcome = outcome_in(&alice(), &template("User"), &renewal(), &by_password(Some(&renewed)));
    assert_eq!(outcome.code(), "issued", "a password needs no certificate of the connection");
}

#[test]
fn check_2_certificate_is_ours_octet_by_octet() {
    for circumstances in [by_certificate(None), by_password(None)] {
        let outcome = outcome_in(&alice(), &template("User"), &renewal(), &circumstances);
        assert_eq!(outcome, Outcome::Deny(Refusal::RenewalUnknown));
    }
}

#[test]
fn check_3_nobody_else_signs() {
    let renewed = renewed();
    let form = RequestForm::Renewal { old_certificate: OLD.to_vec(), extra_signers: 1 };
    let submission = Submission { form, ..renewal() };
    for circumstances in [by_certificate(Some(&renewed)), by_password(Some(&renewed))] {
        let outcome = outcome_in(&alice(), &template("User"), &submission, &circumstances);
        assert_eq!(outcome, Outcome::Deny(Refusal::RenewalCosigned));
    }
}

#[test]
fn check_5_certificate_is_valid_now() {
    let (past, ahead) = (NOW.plus(-1), NOW.plus(1));
    denied(|r| r.known.not_after = past, Refusal::RenewalExpired(past));
    denied(|r| r.known.not_before = ahead, Refusal::RenewalNotYetValid(ahead));
    // The first and the last second count.
    let at_edge = limited(&template("User"), |r| {
        (r.known.not_before, r.known.not_after) = (NOW, NOW);
    });
    assert_eq!(at_edge.code(), "issued");
}

#[test]
fn check_6_certificate_is_not_revoked() {
    denied(|r| r.known.revoked = true, Refusal::RenewalRevoked);
    denied(|r| (r.known.revoked, r.known.on_hold) = (true, true), Refusal::RenewalOnHold);
}

#[test]
fn check_7_account_is_that_of_the_certificate_and_still_the_same() {
    let mallory: AccountName = "mallory".parse().unwrap();
    denied(|r| r.known.account = mallory, Refusal::RenewalForeign);
    denied(|r| r.sid = Some("S-1-5-21-1-2-3-9999".to_owned()), Refusal::RenewalReplaced);
    let renewed = renewed();
    let without = Principal { sid: None, ..alice() };
    let outcome = outcome_in(&without, &template("User"), &renewal(), &by_password(Some(&renewed)));
    assert_eq!(outcome, Outcome::Deny(Refusal::RenewalReplaced));
}

#[test]
fn check_8_template_is_that_of_the_certificate() {
    let other = template("UserEmail").oid.unwrap();
    denied(|r| r.known.template = other, Refusal::RenewalTemplate);
}

/// Holding an old certificate is no permission, except for key-based renewal; and that no longer than the template says.
#[test]
fn check_8_permission_or_key_based_renewal() {
    let outcast = Principal { groups: [].into(), ..alice() };
    let renewed = renewed();
    let ordinary = by_certificate(Some(&renewed));
    let key_based = Circumstances { key_based: true, ..by_certificate(Some(&renewed)) };
    let strict = template("User");
    let open = changed("User", |t| t.renewal.key_based = true);
    let closed = changed("User", |t| {
        t.renewal.key_based = true;
        t.permissions.deny = vec![Grantee::Account(alice().name)];
    });
    for (what, template, circumstances, expected) in [
        ("no permission", &open, &ordinary, "TEMPLATE_DENIED"),
        ("template does not allow it", &strict, &key_based, "RENEW_KEY_BASED"),
        ("both allow it", &open, &key_based, "issued"),
        ("expressly denied", &closed, &key_based, "TEMPLATE_DENIED"),
    ] {
        assert_eq!(outcome_in(&outcast, template, &renewal(), circumstances).code(), expected, "{what}");
    }
    let first = outcome_in(&outcast, &open, &plain(), &Circumstances { renewal_only: false, ..key_based });
    assert_eq!(first.code(), "TEMPLATE_DENIED", "a first enrollment always needs the permission");
    // What it is asked for by: the certificate opens nothing that a first enrollment could use.
    let named = RequestedTemplate { names: vec!["User".to_owned()], ..RequestedTemplate::default() };
    let catalog = [open];
    assert!(authorize(&outcast, &catalog, &named, Right::Certificate).is_ok());
    assert_eq!(authorize(&outcast, &catalog, &named, Right::Enroll), Err(Refusal::TemplateDenied));
    assert_eq!(Right::claimed(&plain().form, true), Right::Enroll);
    assert_eq!(Right::claimed(&renewal().form, true), Right::Certificate);
    assert_eq!(Right::claimed(&renewal().form, false), Right::Enroll);
}

#[test]
fn check_9_names_are_kept_and_still_allowed() {
    let web = template("WebServer");
    let old_names = RequestedNames { subject: cn("www.lab.example").subject, ..dns(&["www.lab.example"]) };
    let renewed = Renewed {
        known: KnownCertificate { account: web01().name, template: web.oid.clone().unwrap(), ..known() },
        names: old_names.clone(),
        sid: None,
        ..renewed()
    };
    let ask = |template: &Template, names: RequestedNames| {
        outcome_in(&web01(), template, &Submission { names, ..renewal() }, &by_password(Some(&renewed)))
    };
    let kept = "CN=www.lab.example | DNS:www.lab.example";
    for asked in [RequestedNames::default(), old_names.clone(), dns(&["www.lab.example"])] {
        assert_eq!(names(&ask(&web, asked).issued()), kept);
    }
    let unknown = RequestedNames {
        unknown_alternatives: vec!["directoryName".to_owned()],
        ..RequestedNames::default()
    };
    let title = RequestedNames {
        unknown_subject_attributes: vec!["2.5.4.12".to_owned()],
        ..RequestedNames::default()
    };
    for (asked, shown) in [
        // Allowed in a first enrollment, both.
        (dns(&["web01.lab.example"]), "DNS:web01.lab.example"),
        (dns(&["www.lab.example", "web01.lab.example"]), "DNS:web01.lab.example"),
        (cn("web01.lab.example"), "CN=web01.lab.example"),
        (subject(&[(NameAttribute::Organization, "Evil")]), "O=Evil"),
        (
            alternatives(vec![AltName::Upn("administrator@lab.example".to_owned())]),
            "UPN:administrator@lab.example",
        ),
        (unknown, "directoryName"),
        (title, "2.5.4.12"),
    ] {
        assert_eq!(ask(&web, asked), Outcome::Deny(Refusal::RenewalNames(shown.to_owned())));
    }
    // Today's rules count, not those of the day of the first enrollment.
    let mut narrow = web.clone();
    narrow.subject.allow_dns = vec!["web01.lab.example".to_owned()];
    let outcome = ask(&narrow, RequestedNames::default());
    assert_eq!(outcome, Outcome::Deny(Refusal::NameNotAllowed("DNS:www.lab.example".to_owned())));
    let moved = Principal { dns_names: vec!["web02.lab.example".to_owned()], ..web01() };
    let outcome = outcome_in(&moved, &web, &renewal(), &by_password(Some(&renewed)));
    assert_eq!(outcome, Outcome::Deny(Refusal::NameNotAllowed("DNS:www.lab.example".to_owned())));
}

#[test]
fn check_9_fewer_names_are_other_names() {
    let web = template("WebServer");
    let both = dns(&["www.lab.example", "web01.lab.example"]);
    let renewed = Renewed {
        known: KnownCertificate { account: web01().name, template: web.oid.clone().unwrap(), ..known() },
        names: both.clone(),
        sid: None,
        ..renewed()
    };
    let ask = |names: RequestedNames| {
        outcome_in(&web01(), &web, &Submission { names, ..renewal() }, &by_password(Some(&renewed)))
    };
    assert_eq!(ask(both).code(), "issued");
    let fewer = ask(dns(&["www.lab.example"]));
    assert_eq!(fewer, Outcome::Deny(Refusal::RenewalNames("without DNS:web01.lab.example".to_owned())));
}

#[test]
fn check_10_window_is_a_fifth_of_life_or_the_overlap() {
    // 365 days: a fifth are 73. The template's own overlap is less than that.
    let not_before = NOW.plus(-292 * DAY);
    let not_after = not_before.plus(365 * DAY);
    let at = |template: &Template, shift: i64| {
        limited(template, |r| {
            r.known.not_before = not_before.plus(shift);
            r.known.not_after = not_after.plus(shift);
        })
    };
    let user = template("User");
    assert_eq!(at(&user, 0).code(), "issued");
    assert_eq!(at(&user, 1), Outcome::Deny(Refusal::RenewalTooEarly(NOW.plus(1))));
    let overlap = changed("User", |t| t.validity.renew_before_days = 100);
    assert_eq!(at(&overlap, 27 * DAY).code(), "issued");
    assert_eq!(at(&overlap, 27 * DAY + 1).code(), "RENEW_TOO_EARLY");
    let always = changed("User", |t| t.renewal.window_percent = 100);
    assert_eq!(at(&always, 292 * DAY).code(), "issued");
    // Whoever signs in with something else could enroll anew as well.
    let mut fresh = renewed();
    fresh.known.not_after = NOW.plus(364 * DAY);
    let outcome = outcome_in(&alice(), &user, &renewal(), &by_password(Some(&fresh)));
    assert_eq!(outcome.code(), "issued");
    let elsewhere = Circumstances { renewal_only: false, ..by_certificate(Some(&fresh)) };
    assert_eq!(outcome_in(&alice(), &user, &renewal(), &elsewhere).code(), "issued");
}

#[test]
fn check_10_least_interval_between_renewals() {
    let user = template("User");
    let last = NOW.plus(-LEAST_INTERVAL);
    assert_eq!(limited(&user, |r| r.line.renewed_at = Some(last)).code(), "issued");
    let outcome = limited(&user, |r| r.line.renewed_at = Some(last.plus(1)));
    assert_eq!(outcome, Outcome::Deny(Refusal::RenewalTooEarly(NOW.plus(1))));
}

#[test]
fn check_11_generations_and_age_are_limited() {
    let user = template("User");
    assert_eq!(limited(&user, |r| r.line.generation = 7).code(), "issued");
    assert_eq!(limited(&user, |r| r.line.generation = 8), Outcome::Deny(Refusal::RenewalLimit(8)));
    let oldest = NOW.plus(-3 * 365 * DAY);
    assert_eq!(limited(&user, |r| r.line.since = oldest).code(), "issued");
    let before = oldest.plus(-1);
    assert_eq!(limited(&user, |r| r.line.since = before), Outcome::Deny(Refusal::RenewalAge(before)));
    let endless = changed("User", |t| (t.renewal.max_generations, t.renewal.max_age_days) = (0, 0));
    let old = limited(&endless, |r| (r.line.generation, r.line.since) = (1_000, UnixTime(0)));
    assert_eq!(old.code(), "issued");
}

#[test]
fn check_12_second_holder_waits_for_an_officer() {
    let mut renewed = renewed();
    renewed.line.forked = true;
    for circumstances in [by_certificate(Some(&renewed)), by_password(Some(&renewed))] {
        let outcome = outcome_in(&alice(), &template("User"), &renewal(), &circumstances);
        assert_eq!(outcome, Outcome::Forked);
        let given = Circumstances { approval: Approval::Given, ..circumstances };
        assert_eq!(outcome_in(&alice(), &template("User"), &renewal(), &given).code(), "issued");
    }
    // Nobody has to look at what is refused anyway.
    renewed.known.revoked = true;
    let outcome = outcome_in(&alice(), &template("User"), &renewal(), &by_password(Some(&renewed)));
    assert_eq!(outcome, Outcome::Deny(Refusal::RenewalRevoked));
}

#[test]
fn check_13_key_is_new_or_the_same_as_the_template_says() {
    let rule = |key| changed("User", |t| t.renewal.key = key);
    let same = |r: &mut Renewed| r.spki = key().spki;
    for (rule, with_new, with_same) in [
        (rule(RenewalKey::New), "issued", "RENEW_NEW_KEY"),
        (rule(RenewalKey::Same), "RENEW_KEY", "issued"),
        (rule(RenewalKey::Any), "issued", "issued"),
    ] {
        assert_eq!(limited(&rule, |_| {}).code(), with_new, "{:?}", rule.renewal.key);
        assert_eq!(limited(&rule, same).code(), with_same, "{:?}", rule.renewal.key);
    }
    let renewed = renewed();
    let blocked = Circumstances { key_blocked: true, ..by_password(Some(&renewed)) };
    let outcome = outcome_in(&alice(), &template("User"), &renewal(), &blocked);
    assert_eq!(outcome, Outcome::Deny(Refusal::KeyBlocked));
}

#[test]
fn checks_come_in_their_order() {
    // Everything is wrong at once; each cure shows the next.
    let mut renewed = renewed();
    renewed.known = KnownCertificate {
        account: "mallory".parse().unwrap(),
        template: template("UserEmail").oid.unwrap(),
        not_before: NOW.plus(-10 * DAY),
        not_after: NOW.plus(-1),
        revoked: true,
        on_hold: false,
    };
    renewed.spki = key().spki;
    renewed.line.generation = 8;
    let mut submission = renewal();
    submission.form = RequestForm::Renewal { old_certificate: OLD.to_vec(), extra_signers: 2 };
    let mut seen = Vec::new();
    let mut tls: &[u8] = b"another";
    for _ in 0..9 {
        let circumstances = Circumstances { tls_certificate: Some(tls), ..by_certificate(Some(&renewed)) };
        let code = outcome_in(&alice(), &template("User"), &submission, &circumstances).code();
        seen.push(code);
        match code {
            "RENEW_SIGNER" => tls = OLD,
            "RENEW_COSIGNED" => submission.form = renewal().form,
            "RENEW_EXPIRED" => renewed.known.not_after = NOW.plus(355 * DAY),
            "RENEW_REVOKED" => renewed.known.revoked = false,
            "RENEW_FOREIGN" => renewed.known.account = alice().name,
            "RENEW_TEMPLATE" => renewed.known.template = template("User").oid.unwrap(),
            "RENEW_TOO_EARLY" => renewed.known.not_after = NOW.plus(DAY),
            "RENEW_LIMIT" => renewed.line.generation = 0,
            _ => break,
        }
    }
    assert_eq!(
        seen,
        [
            "RENEW_SIGNER",
            "RENEW_COSIGNED",
            "RENEW_EXPIRED",
            "RENEW_REVOKED",
            "RENEW_FOREIGN",
            "RENEW_TEMPLATE",
            "RENEW_TOO_EARLY",
            "RENEW_LIMIT",
            "RENEW_NEW_KEY",
        ]
    );
}

#[test]
fn renewal_skips_approval_where_the_names_were_approved() {
    let approval = |template: &mut Template| {
        template.issuance.approval = true;
        template.issuance.renewal_without_approval = true;
    };
    let identity = changed("User", approval);
    let strict = changed("User", |t| t.issuance.approval = true);
    let request = changed("WebServer", approval);
    for (who, principal, template, line_approved, expected) in [
        ("names of the identity", alice(), &identity, false, "issued"),
        ("not waived", alice(), &strict, true, "pending"),
        ("names of the request, approved then", web01(), &request, true, "issued"),
        ("names of the request, never approved", web01(), &request, false, "pending"),
    ] {
        let mut renewed = Renewed {
            known: KnownCertificate {
                account: principal.name.clone(),
                template: template.oid.clone().unwrap(),
                ..known()
            },
            names: dns(&["www.lab.example"]),
            sid: None,
            ..renewed()
        };
        renewed.line.approved = line_approved;
        let circumstances = by_certificate(Some(&renewed));
        let outcome = outcome_in(&principal, template, &renewal(), &circumstances);
        assert_eq!(outcome.code(), expected, "{who}");
        let given = Circumstances { approval: Approval::Given, ..circumstances };
        assert_eq!(outcome_in(&principal, template, &renewal(), &given).code(), "issued", "{who}");
    }
}
