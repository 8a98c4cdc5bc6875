//! One attack for each row of the public catalogue that can be seen at this level, and the plain refusals beside them.
//! Attacks on templates themselves (ESC1, ESC2, ESC3, ESC17) are in `templates`, those on names in `policy_names`.

use muster_core::identity::PrincipalKind;
use muster_core::names::AltName;
use muster_core::policy::{
    Approval, Circumstances, OWN_SERVICE_TEMPLATE, Right, approve_own_service, authorize,
};
use muster_core::request::{KeyAlgorithm, RequestForm, RequestedNames, RequestedTemplate};
use muster_core::{Oid, Principal, Refusal, Submission, Template};

use crate::support::*;

fn named(names: &[&str], identifiers: &[(&Oid, Option<u32>, Option<u32>)]) -> RequestedTemplate {
    RequestedTemplate {
        names: names.iter().map(|&name| name.to_owned()).collect(),
        identifiers: identifiers.iter().map(|&(oid, major, minor)| (oid.clone(), major, minor)).collect(),
    }
}

/// Names through every field that a request has, for templates that build names from the identity (ESC1, ESC6).
fn foreign_names() -> Vec<(&'static str, RequestedNames)> {
    let unknown = |text: &str| vec![text.to_owned()];
    vec![
        ("subject CN", cn("administrator")),
        ("SAN DNS", dns(&["dc01.lab.example"])),
        ("SAN UPN", alternatives(vec![AltName::Upn("administrator@corp.lab.example".to_owned())])),
        ("SAN e-mail", alternatives(vec![AltName::Email("ceo@lab.example".to_owned())])),
        ("SAN IP", alternatives(vec![AltName::Ip("10.0.0.1".parse().unwrap())])),
        ("SAN URI", alternatives(vec![AltName::Uri("https://dc01.lab.example/".to_owned())])),
        (
            "unknown SAN",
            RequestedNames { unknown_alternatives: unknown("otherName 1.2.3"), ..RequestedNames::default() },
        ),
        (
            "unknown attribute",
            RequestedNames { unknown_subject_attributes: unknown("2.5.4.72"), ..RequestedNames::default() },
        ),
    ]
}

#[test]
fn names_in_a_request_change_nothing_where_the_identity_names() {
    for (principal, template) in [
        (alice(), template("User")),
        (alice(), template("UserEmail")),
        (web01(), template("Computer")),
        (
            alice(),
            changed("User", |t| t.subject.alternatives = [muster_core::template::AltNameFrom::Upn].into()),
        ),
    ] {
        let expected = outcome(&principal, &template, &plain()).issued();
        for (channel, names) in foreign_names() {
            let contents = outcome(&principal, &template, &asking(names)).issued();
            assert_eq!(contents, expected, "{channel} on {}", template.name);
        }
    }
}

#[test]
fn names_of_the_identity_are_those_of_the_template() {
    let upn = changed("User", |t| t.subject.alternatives = [muster_core::template::AltNameFrom::Upn].into());
    for (principal, template, expected) in [
        (alice(), template("User"), "CN=Alice Example | "),
        (alice(), template("UserEmail"), "CN=Alice Example | email:alice@lab.example"),
        (alice(), upn, "CN=Alice Example | UPN:alice@corp.lab.example"),
        (web01(), template("Computer"), "CN=web01.lab.example | DNS:web01.lab.example, DNS:www.lab.example"),
    ] {
        assert_eq!(names(&outcome(&principal, &template, &plain()).issued()), expected);
    }
}

/// ESC9, ESC10, ESC16: the SID is always that of the identity. ESC1 with a SID: it is never that of the request.
#[test]
fn security_identifiers_come_from_the_identity_alone() {
    let sids = |sids: &[&str]| {
        asking(RequestedNames {
            sids: sids.iter().map(|&s| s.to_owned()).collect(),
            ..RequestedNames::default()
        })
    };
    let stranger = Principal { sid: None, ..alice() };
    for (principal, asked, expected) in [
        (alice(), sids(&[]), "issued"),
        (alice(), sids(&[OWN_SID]), "issued"),
        (alice(), sids(&["S-1-5-21-1-2-3-500"]), "SID_IN_REQUEST"),
        (alice(), sids(&[OWN_SID, "S-1-5-21-1-2-3-500"]), "SID_IN_REQUEST"),
        (alice(), sids(&[""]), "SID_IN_REQUEST"),
        (alice(), sids(&["S-1-5-21-1-2-3-01104"]), "SID_IN_REQUEST"),
        (stranger.clone(), sids(&[]), "issued"),
        (stranger.clone(), sids(&[OWN_SID]), "SID_IN_REQUEST"),
        (stranger, sids(&[""]), "SID_IN_REQUEST"),
    ] {
        let outcome = outcome(&principal, &template("User"), &asked);
        assert_eq!(outcome.code(), expected, "{:?}", asked.names.sids);
        if let Outcome::Issue(contents) = outcome {
            assert_eq!(contents.sid, principal.sid);
        }
    }
}

/// T05: no request makes a CA, whichever way names are found.
#[test]
fn ca_bit_is_refused_for_every_template() {
    for (principal, template) in
        [(alice(), template("User")), (web01(), template("WebServer")), (alice(), template("UserEmail"))]
    {
        let names = RequestedNames { wants_ca: true, ..dns(&["web01.lab.example"]) };
        assert_eq!(outcome(&principal, &template, &asking(names)), Outcome::Deny(Refusal::CaRequested));
    }
}

/// ESC13, ESC15: purposes, policies, usage and revision are those of the template; a request has no field for them.
#[test]
fn purposes_and_policies_are_those_of_the_template() {
    let template = changed("User", |t| t.policies = vec![oid("1.3.6.1.4.1.99999.1")]);
    let contents = outcome(&alice(), &template, &asking(cn("any"))).issued();
    assert_eq!(contents.eku, template.eku);
    assert_eq!(contents.policies, template.policies);
    assert_eq!(contents.template, (template.oid.unwrap(), 100, 0));
    assert_eq!(contents.not_before, NOW.plus(-600));
    assert_eq!(contents.not_after, NOW.plus(365 * DAY - 1));
    assert_eq!(contents.spki, key().spki);
}

/// T07, and step 3 to 5 of the order in MS-WCCE 3.2.2.6.2.1.
#[test]
fn templates_are_found_by_name_and_identifier_together() {
    let catalog = catalog();
    let id = |name: &str| catalog.iter().find(|t| t.name == name).unwrap().oid.clone().unwrap();
    let (user, email, computer) = (id("User"), id("UserEmail"), id("Computer"));
    let nobodys = oid("1.3.6.1.4.1.311.21.8.99");
    let any = |oid| (oid, None, None);
    for (requested, expected) in [
        (named(&["User"], &[]), Ok("User")),
        (named(&["uSER"], &[]), Ok("User")),
        (named(&["User", "user"], &[any(&user)]), Ok("User")),
        (named(&[], &[(&user, Some(100), Some(0))]), Ok("User")),
        (named(&[], &[(&user, Some(99), Some(7))]), Ok("User")),
        (named(&[], &[]), Err(Refusal::NoTemplate)),
        // Another template, whether it exists or not, whether it is allowed or not.
        (named(&["User", "UserEmail"], &[]), Err(Refusal::TemplateConflict)),
        (named(&["User"], &[any(&email)]), Err(Refusal::TemplateConflict)),
        (named(&[], &[any(&user), any(&email)]), Err(Refusal::TemplateConflict)),
        (named(&["User", "Computer"], &[]), Err(Refusal::TemplateConflict)),
        (named(&["Computer", "User"], &[]), Err(Refusal::TemplateConflict)),
        (named(&["User"], &[any(&computer)]), Err(Refusal::TemplateConflict)),
        (named(&["User", "Nothing"], &[]), Err(Refusal::TemplateConflict)),
        (named(&["User"], &[any(&nobodys)]), Err(Refusal::TemplateConflict)),
        // Forbidden and unknown look alike.
        (named(&["Computer"], &[]), Err(Refusal::TemplateDenied)),
        (named(&["Nothing"], &[]), Err(Refusal::TemplateDenied)),
        (named(&[], &[any(&computer)]), Err(Refusal::TemplateDenied)),
        (named(&[], &[any(&nobodys)]), Err(Refusal::TemplateDenied)),
        (named(&["Computer"], &[any(&nobodys)]), Err(Refusal::TemplateDenied)),
        (named(&["Computer", "WebServer"], &[]), Err(Refusal::TemplateDenied)),
        (named(&[""], &[]), Err(Refusal::TemplateDenied)),
        (named(&["User "], &[]), Err(Refusal::TemplateDenied)),
        (named(&["User\0"], &[]), Err(Refusal::TemplateDenied)),
        // Names that Windows gives a meaning, and the one that is in no catalog.
        (named(&["SubCA"], &[]), Err(Refusal::TemplateDenied)),
        (named(&["CA"], &[]), Err(Refusal::TemplateDenied)),
        (named(&[OWN_SERVICE_TEMPLATE], &[]), Err(Refusal::TemplateDenied)),
        // A later revision, of an allowed template only: a forbidden one does not tell its revision.
        (named(&[], &[(&user, Some(101), None)]), Err(Refusal::TemplateVersion)),
        (named(&[], &[(&user, Some(100), Some(1))]), Err(Refusal::TemplateVersion)),
        (named(&[], &[(&user, None, Some(1))]), Err(Refusal::TemplateVersion)),
        (named(&[], &[any(&user), (&user, Some(u32::MAX), Some(0))]), Err(Refusal::TemplateVersion)),
        (named(&[], &[(&computer, Some(101), None)]), Err(Refusal::TemplateDenied)),
    ] {
        let found = authorize(&alice(), &catalog, &requested, Right::Enroll).map(|t| t.name.as_str());
        assert_eq!(found, expected, "{requested:?}");
    }
}

/// ESC4 at this level: permissions are what the template says, and deny wins.
#[test]
fn permission_needs_kind_and_grant_and_no_denial() {
    let with = |enroll: &[&str], auto: &[&str], deny: &[&str]| {
        let list = |grantees: &[&str]| {
            grantees
                .iter()
                .map(|&g| muster_core::template::Grantee::try_from(g.to_owned()).unwrap())
                .collect()
        };
        changed("User", |t| {
            t.permissions.enroll = list(enroll);
            t.permissions.auto_enroll = list(auto);
            t.permissions.deny = list(deny);
        })
    };
    let computer = Principal { kind: PrincipalKind::Computer, ..alice() };
    for (who, principal, template, expected) in [
        ("group", alice(), with(&["group:users"], &[], &[]), (true, false)),
        ("group in capitals", alice(), with(&["group:USERS"], &[], &[]), (true, false)),
        ("account", alice(), with(&["account:Alice"], &[], &[]), (true, false)),
        ("everybody", alice(), with(&["authenticated"], &[], &[]), (true, false)),
        ("nobody", alice(), with(&[], &[], &[]), (false, false)),
        ("another group", alice(), with(&["group:admins"], &[], &[]), (false, false)),
        (
            "an account that is a group",
            alice(),
            with(&["group:alice", "account:users"], &[], &[]),
            (false, false),
        ),
        ("unattended", alice(), with(&["group:users"], &["group:users"], &[]), (true, true)),
        ("unattended without enroll", alice(), with(&[], &["group:users"], &[]), (false, false)),
        (
            "denied account",
            alice(),
            with(&["group:users"], &["group:users"], &["account:alice"]),
            (false, false),
        ),
        ("denied group", alice(), with(&["account:alice"], &[], &["group:users"]), (false, false)),
        ("everybody denied", alice(), with(&["account:alice"], &[], &["authenticated"]), (false, false)),
        ("wrong kind", computer, with(&["authenticated"], &["authenticated"], &[]), (false, false)),
    ] {
        let permission = template.permission(&principal);
        assert_eq!((permission.enroll, permission.auto_enroll), expected, "{who}");
        // Deciding without asking for authorization first does not help.
        let outcome = outcome(&principal, &template, &plain());
        assert_eq!(outcome.code(), if expected.0 { "issued" } else { "TEMPLATE_DENIED" }, "{who}");
    }
}

/// ESC3, and the lesson of parsers that knew a form which authorization did not: one row for each form.
#[test]
fn every_form_is_authorized_on_its_own() {
    let old_certificate = b"old".to_vec();
    for form in [
        RequestForm::Pkcs10,
        RequestForm::CmcFull,
        RequestForm::Renewal { old_certificate: old_certificate.clone(), extra_signers: 0 },
        RequestForm::OnBehalfOf {
            requester: "alice".to_owned(),
            agents: vec![old_certificate],
            cosigners: Vec::new(),
        },
    ] {
        // A new form does not compile before it has its row here, and an entry in the list above.
        let (elsewhere, renewal_only) = match form {
            RequestForm::Pkcs10 | RequestForm::CmcFull => ("issued", "RENEWAL_ONLY"),
            RequestForm::Renewal { .. } => ("RENEW_UNKNOWN", "RENEW_UNKNOWN"),
            RequestForm::OnBehalfOf { .. } => ("ON_BEHALF_OF", "RENEWAL_ONLY"),
        };
        let submission = Submission { form, ..plain() };
        for (renewal_only, expected) in [(false, elsewhere), (true, renewal_only)] {
            for approval in [Approval::NotGiven, Approval::Given] {
                let circumstances = Circumstances { renewal_only, approval, ..good_day() };
                let outcome = outcome_in(&alice(), &template("User"), &submission, &circumstances);
                assert_eq!(outcome.code(), expected, "{} {renewal_only}", submission.form.as_str());
            }
        }
    }
}

#[test]
fn keys_outside_the_rules_are_refused() {
    let of = |algorithm, bits| muster_core::request::PublicKey { algorithm, bits, ..key() };
    let strict = changed("User", |t| {
        t.key.algorithms = vec![KeyAlgorithm::Rsa];
        t.key.minimum_rsa_bits = 4096;
    });
    for (template, key, expected) in [
        (template("User"), rsa(2048), None),
        (template("User"), rsa(2047), Some(Refusal::KeyTooShort { bits: 2047, minimum: 2048 })),
        (template("User"), rsa(0), Some(Refusal::KeyTooShort { bits: 0, minimum: 2048 })),
        (template("User"), of(KeyAlgorithm::Ed25519, 256), None),
        (template("User"), of(KeyAlgorithm::P521, 521), Some(Refusal::KeyAlgorithm("p521"))),
        (template("UserEmail"), of(KeyAlgorithm::Ed25519, 256), Some(Refusal::KeyAlgorithm("ed25519"))),
        (strict.clone(), rsa(3072), Some(Refusal::KeyTooShort { bits: 3072, minimum: 4096 })),
        (strict, key(), Some(Refusal::KeyAlgorithm("p256"))),
    ] {
        let outcome = outcome(&alice(), &template, &Submission { key: key.clone(), ..plain() });
        match expected {
            None => assert_eq!(outcome.code(), "issued", "{key:?}"),
            Some(refusal) => assert_eq!(outcome, Outcome::Deny(refusal), "{key:?}"),
        }
    }
}

#[test]
fn blocked_key_is_refused_even_when_approved() {
    for approval in [Approval::NotGiven, Approval::Given] {
        let circumstances = Circumstances { key_blocked: true, approval, ..good_day() };
        let outcome = outcome_in(&alice(), &template("User"), &plain(), &circumstances);
        assert_eq!(outcome, Outcome::Deny(Refusal::KeyBlocked));
    }
}

#[test]
fn usage_bits_fit_the_key() {
    let usage = |key| {
        let contents = outcome(&alice(), &template("UserEmail"), &Submission { key, ..plain() }).issued();
        format!("{:?}", contents.usage)
    };
    assert_eq!(usage(rsa(2048)), "[DigitalSignature, KeyEncipherment]");
    assert_eq!(usage(key()), "[DigitalSignature, KeyAgreement]");
}

#[test]
fn approval_is_needed_and_replaces_no_other_check() {
    let template = changed("User", |t| t.issuance.approval = true);
    let given = Circumstances { approval: Approval::Given, ..good_day() };
    assert_eq!(outcome(&alice(), &template, &plain()), Outcome::Pend);
    assert_eq!(outcome_in(&alice(), &template, &plain(), &given).code(), "issued");
    let ca = asking(RequestedNames { wants_ca: true, ..RequestedNames::default() });
    assert_eq!(
        outcome(&alice(), &template, &ca),
        Outcome::Deny(Refusal::CaRequested),
        "not worth an officer's time"
    );
    assert_eq!(outcome_in(&alice(), &template, &ca, &given), Outcome::Deny(Refusal::CaRequested));
    // The account lost its permission while the request waited.
    let outcast = Principal { groups: [].into(), ..alice() };
    assert_eq!(outcome_in(&outcast, &template, &plain(), &given), Outcome::Deny(Refusal::TemplateDenied));
}

/// Certificates end with the CA; when so little is left that clients would renew at once, there are none.
#[test]
fn certificates_never_outlive_the_ca() {
    let template = template("User");
    let (full, last) = (365 * DAY - 1, 42 * DAY);
    for (ca_end, expected) in [
        (full + 1, Some(full)),
        (full, Some(full)),
        (full - 1, Some(full - 1)),
        (last + 1, Some(last + 1)),
        (last, None),
        (0, None),
        (-1, None),
    ] {
        let ca_not_after = NOW.plus(ca_end);
        let circumstances = Circumstances { ca_not_after, ..good_day() };
        match (outcome_in(&alice(), &template, &plain(), &circumstances), expected) {
            (Outcome::Issue(contents), Some(end)) => assert_eq!(contents.not_after, NOW.plus(end)),
            (outcome, Some(_)) => panic!("{ca_end}: {outcome:?}"),
            (outcome, None) => assert_eq!(outcome, Outcome::Deny(Refusal::CaExpiring(ca_not_after))),
        }
    }
}

#[test]
fn template_without_identifier_issues_nothing() {
    let template = Template { oid: None, ..template("User") };
    assert_eq!(outcome(&alice(), &template, &plain()), Outcome::Deny(Refusal::TemplateDenied));
}

/// The one approval that needs no account can name hosts and addresses, and nothing else.
#[test]
fn own_service_certificate_is_for_tls_only() {
    let approve = |names: &[AltName], ca_days| {
        let template = oid("1.3.6.1.4.1.311.21.8.1.0");
        approve_own_service(names, key().spki, template, NOW, NOW.plus(ca_days * DAY))
    };
    let host = |name: &str| AltName::Dns(name.to_owned());
    let approved = approve(&[host("ca.lab.example"), AltName::Ip("::1".parse().unwrap())], 3_650).unwrap();
    let contents = approved.contents();
    assert_eq!(names(contents), "CN=ca.lab.example | DNS:ca.lab.example, IP:::1");
    assert_eq!(contents.eku, [oid("1.3.6.1.5.5.7.3.1")]);
    assert_eq!((contents.sid.as_ref(), contents.policies.len()), (None, 0));
    assert_eq!(contents.not_after, NOW.plus(90 * DAY - 1));
    assert_eq!(approve(&[host("localhost")], 10).unwrap().contents().not_after, NOW.plus(10 * DAY));
    assert_eq!(approve(&[], 10).unwrap_err(), Refusal::NameMissing);
    assert_eq!(approve(&[host("localhost")], 0).unwrap_err(), Refusal::CaExpiring(NOW));
    for name in [
        host("*.lab.example"),
        host("web"),
        AltName::Email("a@lab.example".to_owned()),
        AltName::Uri("https://a.example/".to_owned()),
        AltName::Upn("administrator@lab.example".to_owned()),
    ] {
        let refusal = approve(&[host("ca.lab.example"), name.clone()], 10).unwrap_err();
        assert_eq!(refusal, Refusal::NameNotAllowed(name.to_string()));
    }
}
