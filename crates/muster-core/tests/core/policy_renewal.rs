//! Renewal: each check broken once, each with a refusal of its own.

use muster_core::identity::{AccountName, Method};
use muster_core::policy::{Approval, Circumstances, KnownCertificate};
use muster_core::request::RequestForm;
use muster_core::{Principal, Refusal, Submission, Template, UnixTime};

use crate::support::*;

const OLD: &[u8] = b"the certificate to be renewed";

fn renewal() -> Submission {
    Submission { form: RequestForm::Renewal { old_certificate: OLD.to_vec() }, ..plain() }
}

fn known() -> KnownCertificate {
    KnownCertificate {
        account: alice().name,
        template: template("User").oid.unwrap(),
        not_before: NOW.plus(-300 * DAY),
        not_after: NOW.plus(65 * DAY),
        revoked: false,
    }
}

/// Over TLS with the certificate to be renewed, at an address for renewals only.
fn by_certificate(known: Option<&KnownCertificate>) -> Circumstances<'_> {
    Circumstances {
        method: Method::ClientCertificate,
        tls_certificate: Some(OLD),
        renewal_only: true,
        renewed: known,
        ..good_day()
    }
}

fn renew(known: Option<&KnownCertificate>) -> Outcome {
    outcome_in(&alice(), &template("User"), &renewal(), &by_certificate(known))
}

#[test]
fn renewal_gets_todays_names_and_a_whole_lifetime() {
    let contents = renew(Some(&known())).issued();
    assert_eq!(names(&contents), "CN=Alice Example | ");
    assert_eq!(contents.not_after, NOW.plus(365 * DAY - 1));
    let married = Principal { common_name: Some("Alice Other".to_owned()), ..alice() };
    let contents =
        outcome_in(&married, &template("User"), &renewal(), &by_certificate(Some(&known()))).issued();
    assert_eq!(names(&contents), "CN=Alice Other | ");
}

#[test]
fn renewal_with_password_needs_no_connection_certificate() {
    let known = known();
    let circumstances = Circumstances {
        method: Method::UsernamePassword,
        tls_certificate: None,
        ..by_certificate(Some(&known))
    };
    assert_eq!(outcome_in(&alice(), &template("User"), &renewal(), &circumstances).code(), "issued");
}

#[test]
fn each_broken_check_has_its_own_refusal() {
    let account: AccountName = "mallory".parse().unwrap();
    let other = template("UserEmail").oid.unwrap();
    let past = NOW.plus(-1);
    for (broken, known, expected) in [
        ("not ours, or not equal octet by octet", None, Refusal::RenewalUnknown),
        ("of another account", Some(KnownCertificate { account, ..known() }), Refusal::RenewalForeign),
        ("revoked or on hold", Some(KnownCertificate { revoked: true, ..known() }), Refusal::RenewalRevoked),
        ("expired", Some(KnownCertificate { not_after: past, ..known() }), Refusal::RenewalExpired(past)),
        (
            "not yet valid",
            Some(KnownCertificate { not_before: NOW.plus(1), ..known() }),
            Refusal::RenewalExpired(known().not_after),
        ),
        (
            "of another template",
            Some(KnownCertificate { template: other, ..known() }),
            Refusal::RenewalTemplate,
        ),
    ] {
        assert_eq!(renew(known.as_ref()), Outcome::Deny(expected), "{broken}");
    }
}

#[test]
fn signer_and_connection_are_the_same_certificate() {
    let known = known();
    for (connection, expected) in
        [(Some(OLD), "issued"), (Some(b"another of ours".as_slice()), "RENEW_SIGNER"), (None, "RENEW_SIGNER")]
    {
        let circumstances = Circumstances { tls_certificate: connection, ..by_certificate(Some(&known)) };
        assert_eq!(outcome_in(&alice(), &template("User"), &renewal(), &circumstances).code(), expected);
    }
}

#[test]
fn validity_includes_its_first_and_last_second() {
    let at = |not_before: UnixTime, not_after: UnixTime| {
        renew(Some(&KnownCertificate { not_before, not_after, ..known() })).code()
    };
    assert_eq!(at(NOW, NOW), "issued");
    assert_eq!(at(NOW, NOW.plus(-1)), "RENEW_EXPIRED");
    assert_eq!(at(NOW.plus(1), NOW.plus(1)), "RENEW_EXPIRED");
}

/// Holding an old certificate is no permission: today's template decides.
#[test]
fn renewal_needs_todays_permission() {
    let outcast = Principal { groups: [].into(), ..alice() };
    let known = known();
    let outcome = outcome_in(&outcast, &template("User"), &renewal(), &by_certificate(Some(&known)));
    assert_eq!(outcome, Outcome::Deny(Refusal::TemplateDenied));
}

#[test]
fn renewal_skips_approval_only_where_the_identity_names() {
    let approval = |template: &mut Template| {
        template.issuance.approval = true;
        template.issuance.renewal_without_approval = true;
    };
    let identity = changed("User", approval);
    let strict = changed("User", |t| t.issuance.approval = true);
    // Risky, so that it must have come in by other means than Template::check.
    let mut request = template("WebServer");
    approval(&mut request);
    for (who, principal, template, expected) in [
        ("names of the identity", alice(), identity, "issued"),
        ("not waived", alice(), strict, "pending"),
        ("names of the request", web01(), request, "pending"),
    ] {
        let submission = Submission { names: dns(&["www.lab.example"]), ..renewal() };
        let known = KnownCertificate {
            account: principal.name.clone(),
            template: template.oid.clone().unwrap(),
            ..known()
        };
        let circumstances = by_certificate(Some(&known));
        let outcome = outcome_in(&principal, &template, &submission, &circumstances);
        assert_eq!(outcome.code(), expected, "{who}");
        let given = Circumstances { approval: Approval::Given, ..circumstances };
        assert_eq!(outcome_in(&principal, &template, &submission, &given).code(), "issued", "{who}");
    }
}
