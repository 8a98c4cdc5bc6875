//! What may be passed on to a CA that is not ours: each refusal, and what the certificate must be like.

use muster_core::directory::{DirectoryNames, HostNameDoubt};
use muster_core::forwarding::{Expected, ExpectedSid, IdentityMode, OtherName};
use muster_core::identity::Method;
use muster_core::names::{AltName, NameAttribute};
use muster_core::policy::{ForeignCertificate, ForwardCircumstances, forward};
use muster_core::request::{RequestForm, RequestedNames};
use muster_core::template::{Grantee, RenewalKey};
use muster_core::token::TokenGrant;
use muster_core::{Principal, Refusal, Submission, Template};

use crate::support::*;

const OLD: &[u8] = b"the certificate to be renewed";

fn renewal() -> Submission {
    let form = RequestForm::Renewal { old_certificate: OLD.to_vec(), extra_signers: 0 };
    Submission { form, ..plain() }
}

/// Alice's certificate of the template User, by the other CA.
fn foreign() -> ForeignCertificate {
    ForeignCertificate {
        template_name: None,
        template_oid: template("User").oid,
        not_before: NOW.plus(-300 * DAY),
        not_after: NOW.plus(65 * DAY),
        names: RequestedNames::default(),
        sid: Some(OWN_SID.to_owned()),
        spki: b"the key of that certificate".to_vec(),
    }
}

/// At an ordinary endpoint, with a password.
fn delegated(renewed: Option<&ForeignCertificate>) -> ForwardCircumstances<'_> {
    ForwardCircumstances {
        identity: IdentityMode::Delegate,
        method: Method::UsernamePassword,
        tls_certificate: None,
        renewal_only: false,
        key_based: false,
        renewed,
        key_blocked: false,
        now: NOW,
    }
}

/// At an endpoint for renewals, with the certificate to be renewed.
fn on_behalf(renewed: Option<&ForeignCertificate>) -> ForwardCircumstances<'_> {
    ForwardCircumstances {
        identity: IdentityMode::RenewOnBehalf,
        method: Method::ClientCertificate,
        tls_certificate: Some(OLD),
        renewal_only: true,
        ..delegated(renewed)
    }
}

fn outcome(
    principal: &Principal,
    template: &Template,
    submission: &Submission,
    circumstances: &ForwardCircumstances<'_>,
) -> Result<(), Refusal> {
    forward(principal, template, submission, circumstances).map(|forwardable| {
        assert_eq!(*forwardable.requester(), principal.name);
        assert_eq!(forwardable.identity(), circumstances.identity);
        assert_eq!(forwardable.request(), submission.raw);
        assert_eq!(forwardable.expected().spki, submission.key.spki);
        assert_eq!(forwardable.expected().template_name, template.name);
        assert_eq!(forwardable.expected().template_oid, template.oid);
    })
}

fn code(outcome: Result<(), Refusal>) -> &'static str {
    outcome.map_or_else(|refusal| refusal.code(), |()| "forwarded")
}

/// A renewal of a certificate that was changed in one thing, in the caller's name and in the service's own.
#[track_caller]
fn denied(change: impl FnOnce(&mut ForeignCertificate), expected: &Refusal) {
    let mut renewed = foreign();
    change(&mut renewed);
    for circumstances in [delegated(Some(&renewed)), on_behalf(Some(&renewed))] {
        let outcome = outcome(&alice(), &template("User"), &renewal(), &circumstances);
        assert_eq!(outcome.as_ref(), Err(expected), "{}", circumstances.identity);
    }
}

#[test]
fn enrollment_with_the_right_is_passed_on() {
    for (principal, template, submission) in [
        (alice(), template("User"), plain()),
        (alice(), template("UserEmail"), Submission { form: RequestForm::CmcFull, ..plain() }),
        (web01(), template("Computer"), plain()),
        (web01(), template("WebServer"), asking(dns(&["www.lab.example"]))),
    ] {
        for identity in [IdentityMode::Delegate, IdentityMode::RegistrationAuthority] {
            let circumstances = ForwardCircumstances { identity, ..delegated(None) };
            assert_eq!(outcome(&principal, &template, &submission, &circumstances), Ok(()));
        }
    }
}

/// An officer of that CA decides, and its lifetime ends when it ends.
#[test]
fn approval_is_left_to_the_other_ca() {
    let strict = changed("User", |t| t.issuance.approval = true);
    assert_eq!(outcome(&alice(), &strict, &plain(), &delegated(None)), Ok(()));
}

#[test]
fn caller_needs_the_permission() {
    let outcast = Principal { groups: [].into(), ..alice() };
    let refused = Err(Refusal::TemplateDenied);
    assert_eq!(outcome(&outcast, &template("User"), &plain(), &delegated(None)), refused);
    assert_eq!(outcome(&web01(), &template("User"), &plain(), &delegated(None)), refused, "of another kind");
    let renewed = foreign();
    assert_eq!(outcome(&outcast, &template("User"), &renewal(), &on_behalf(Some(&renewed))), refused);
}

#[test]
fn holder_of_a_token_is_refused() {
    let grant = TokenGrant { template: template("User").oid.unwrap(), names: Vec::new() };
    let holder = Principal { token: Some(Box::new(grant)), ..alice() };
    assert!(template("User").permission(&holder).enroll);
    let refused = Err(Refusal::TemplateDenied);
    assert_eq!(outcome(&holder, &template("User"), &plain(), &delegated(None)), refused);
    let renewed = foreign();
    assert_eq!(outcome(&holder, &template("User"), &renewal(), &on_behalf(Some(&renewed))), refused);
}

#[test]
fn addresses_for_renewals_take_nothing_else() {
    let agent = RequestForm::OnBehalfOf {
        requester: "bob".to_owned(),
        agents: vec![b"an agent".to_vec()],
        cosigners: Vec::new(),
    };
    let renewal_only = ForwardCircumstances { renewal_only: true, ..delegated(None) };
    let own_name = ForwardCircumstances { renewal_only: false, ..on_behalf(None) };
    for circumstances in [renewal_only, own_name] {
        for form in [RequestForm::Pkcs10, RequestForm::CmcFull, agent.clone()] {
            let submission = Submission { form, ..plain() };
            let outcome = outcome(&alice(), &template("User"), &submission, &circumstances);
            assert_eq!(outcome, Err(Refusal::RenewalOnly));
        }
    }
    let submission = Submission { form: agent, ..plain() };
    let outcome = outcome(&alice(), &template("User"), &submission, &delegated(None));
    assert_eq!(outcome, Err(Refusal::OnBehalfOf));
}

#[test]
fn template_with_signatures_is_refused() {
    let signed = changed("User", |t| t.issuance.signatures = 1);
    let twice = changed("User", |t| t.issuance.signatures = 2);
    for identity in IdentityMode::ALL {
        let renewed = foreign();
        let circumstances = ForwardCircumstances { identity, ..on_behalf(Some(&renewed)) };
        // A registration authority gives one signature itself.
        let one = match identity {
            IdentityMode::Delegate | IdentityMode::RenewOnBehalf => Err(Refusal::SignatureRequired),
            IdentityMode::RegistrationAuthority => Ok(()),
        };
        assert_eq!(outcome(&alice(), &signed, &renewal(), &circumstances), one);
        let two = outcome(&alice(), &twice, &renewal(), &circumstances);
        assert_eq!(two, Err(Refusal::SignatureRequired));
    }
    assert_eq!(outcome(&alice(), &signed, &plain(), &delegated(None)), Err(Refusal::SignatureRequired));
    // Where a renewal needs none, the first enrollment had them.
    let waived = changed("User", |t| {
        t.issuance.signatures = 1;
        t.issuance.renewal_without_approval = true;
    });
    let renewed = foreign();
    assert_eq!(outcome(&alice(), &waived, &renewal(), &on_behalf(Some(&renewed))), Ok(()));
    assert_eq!(outcome(&alice(), &waived, &plain(), &delegated(None)), Err(Refusal::SignatureRequired));
}

#[test]
fn keys_are_those_of_the_template() {
    let ask = |key| outcome(&alice(), &template("User"), &Submission { key, ..plain() }, &delegated(None));
    assert_eq!(ask(rsa(1024)), Err(Refusal::KeyTooShort { bits: 1024, minimum: 2048 }));
    assert_eq!(ask(rsa(2048)), Ok(()));
    let only_rsa = changed("User", |t| t.key.algorithms = vec![rsa(2048).algorithm]);
    let ecdsa = outcome(&alice(), &only_rsa, &plain(), &delegated(None));
    assert_eq!(ecdsa, Err(Refusal::KeyAlgorithm("p256")));
    let blocked = ForwardCircumstances { key_blocked: true, ..delegated(None) };
    assert_eq!(outcome(&alice(), &template("User"), &plain(), &blocked), Err(Refusal::KeyBlocked));
}

#[test]
fn request_for_a_ca_certificate_or_a_foreign_sid_is_refused() {
    let ask = |names| outcome(&alice(), &template("User"), &asking(names), &delegated(None));
    let ca = RequestedNames { wants_ca: true, ..RequestedNames::default() };
    assert_eq!(ask(ca), Err(Refusal::CaRequested));
    for (sid, expected) in [
        (OWN_SID, Ok(())),
        ("S-1-5-21-1-2-3-500", Err(Refusal::SidInRequest)),
        ("", Err(Refusal::SidInRequest)),
    ] {
        let names = RequestedNames { sids: vec![sid.to_owned()], ..RequestedNames::default() };
        assert_eq!(ask(names), expected, "{sid:?}");
    }
}

/// What the CA takes from the request is looked at; what it builds itself is its own business.
#[test]
fn names_from_the_request_are_those_that_the_template_allows() {
    let web = template("WebServer");
    let ask = |names| outcome(&web01(), &web, &asking(names), &delegated(None));
    assert_eq!(ask(RequestedNames::default()), Err(Refusal::NameMissing));
    assert_eq!(
        ask(dns(&["dc01.lab.example"])),
        Err(Refusal::NameNotAllowed("DNS:dc01.lab.example".to_owned()))
    );
    let upn = alternatives(vec![AltName::Upn("administrator@lab.example".to_owned())]);
    assert_eq!(ask(upn), Err(Refusal::NameNotAllowed("UPN:administrator@lab.example".to_owned())));
    let nameless = Principal { dns_names: Vec::new(), ..web01() };
    assert_eq!(outcome(&nameless, &template("Computer"), &plain(), &delegated(None)), Ok(()));
}

#[test]
fn renewal_is_passed_on_in_either_name() {
    let renewed = foreign();
    for circumstances in [delegated(Some(&renewed)), on_behalf(Some(&renewed))] {
        assert_eq!(outcome(&alice(), &template("User"), &renewal(), &circumstances), Ok(()));
    }
}

#[test]
fn certificate_that_the_ca_did_not_sign_is_not_renewed() {
    for circumstances in [delegated(None), on_behalf(None)] {
        let outcome = outcome(&alice(), &template("User"), &renewal(), &circumstances);
        assert_eq!(outcome, Err(Refusal::RenewalUnknown));
    }
}

#[test]
fn nobody_else_signs_a_renewal() {
    let form = RequestForm::Renewal { old_certificate: OLD.to_vec(), extra_signers: 1 };
    let submission = Submission { form, ..renewal() };
    let renewed = foreign();
    for circumstances in [delegated(Some(&renewed)), on_behalf(Some(&renewed))] {
        let outcome = outcome(&alice(), &template("User"), &submission, &circumstances);
        assert_eq!(outcome, Err(Refusal::RenewalCosigned));
    }
}

#[test]
fn certificate_to_be_renewed_is_valid_now() {
    let (past, ahead) = (NOW.plus(-1), NOW.plus(1));
    denied(|old| old.not_after = past, &Refusal::RenewalExpired(past));
    denied(|old| old.not_before = ahead, &Refusal::RenewalNotYetValid(ahead));
    let edge = ForeignCertificate { not_before: NOW, not_after: NOW, ..foreign() };
    assert_eq!(outcome(&alice(), &template("User"), &renewal(), &on_behalf(Some(&edge))), Ok(()));
}

#[test]
fn certificate_to_be_renewed_is_of_the_template() {
    let other = template("UserEmail");
    denied(|old| old.template_oid.clone_from(&other.oid), &Refusal::RenewalTemplate);
    denied(|old| old.template_oid = None, &Refusal::RenewalTemplate);
    denied(|old| old.template_name = Some("UserEmail".to_owned()), &Refusal::RenewalTemplate);
    let by_name =
        ForeignCertificate { template_name: Some("USER".to_owned()), template_oid: None, ..foreign() };
    assert_eq!(outcome(&alice(), &template("User"), &renewal(), &on_behalf(Some(&by_name))), Ok(()));
}

#[test]
fn certificate_to_be_renewed_belongs_to_the_account() {
    denied(|old| old.sid = Some("S-1-5-21-1-2-3-500".to_owned()), &Refusal::RenewalForeign);
    let renewed = foreign();
    let without = Principal { sid: None, ..alice() };
    let ask = |circumstances| outcome(&without, &template("User"), &renewal(), &circumstances);
    assert_eq!(ask(delegated(Some(&renewed))), Err(Refusal::RenewalForeign));
    let old = ForeignCertificate { sid: None, ..foreign() };
    assert_eq!(ask(delegated(Some(&old))), Ok(()), "it does not say whose it is");
}

/// Whoever signed in with one certificate does not renew another where certificates are all that counts.
#[test]
fn connection_and_signer_are_the_same_certificate() {
    let renewed = foreign();
    let ordinary = ForwardCircumstances { method: Method::ClientCertificate, ..delegated(Some(&renewed)) };
    for (renewal_only, key_based, tls, expected) in [
        (true, false, Some(OLD), "forwarded"),
        (true, false, Some(b"another".as_slice()), "RENEW_SIGNER"),
        (true, false, None, "RENEW_SIGNER"),
        (false, true, Some(b"another".as_slice()), "RENEW_SIGNER"),
        (false, false, Some(b"another".as_slice()), "forwarded"),
    ] {
        let circumstances =
            ForwardCircumstances { renewal_only, key_based, tls_certificate: tls, ..ordinary };
        let open = changed("User", |t| t.renewal.key_based = true);
        let outcome = outcome(&alice(), &open, &renewal(), &circumstances);
        assert_eq!(code(outcome), expected, "{renewal_only} {key_based} {tls:?}");
    }
}

#[test]
fn key_based_renewal_needs_a_template_that_allows_it() {
    let outcast = Principal { groups: [].into(), ..alice() };
    let renewed = foreign();
    let ordinary = on_behalf(Some(&renewed));
    let key_based = ForwardCircumstances { key_based: true, ..ordinary };
    let strict = template("User");
    let open = changed("User", |t| t.renewal.key_based = true);
    let closed = changed("User", |t| {
        t.renewal.key_based = true;
        t.permissions.deny = vec![Grantee::Account(alice().name)];
    });
    for (what, template, circumstances, expected) in [
        ("no permission", &open, &ordinary, "TEMPLATE_DENIED"),
        ("template does not allow it", &strict, &key_based, "RENEW_KEY_BASED"),
        ("both allow it", &open, &key_based, "forwarded"),
        ("expressly denied", &closed, &key_based, "TEMPLATE_DENIED"),
    ] {
        assert_eq!(code(outcome(&outcast, template, &renewal(), circumstances)), expected, "{what}");
    }
    // There the certificate alone says whose it is.
    let stranger = Principal { sid: None, ..alice() };
    assert_eq!(code(outcome(&stranger, &open, &renewal(), &key_based)), "forwarded");
    assert_eq!(code(outcome(&stranger, &open, &renewal(), &ordinary)), "RENEW_FOREIGN");
}

#[test]
fn renewal_keeps_the_names_and_they_are_still_allowed() {
    let web = template("WebServer");
    let names = RequestedNames { subject: cn("www.lab.example").subject, ..dns(&["www.lab.example"]) };
    let renewed =
        ForeignCertificate { template_oid: web.oid.clone(), names: names.clone(), sid: None, ..foreign() };
    let ask = |principal: &Principal, names| {
        outcome(principal, &web, &Submission { names, ..renewal() }, &on_behalf(Some(&renewed)))
    };
    for asked in [RequestedNames::default(), names] {
        assert_eq!(ask(&web01(), asked), Ok(()));
    }
    for (asked, shown) in [
        (dns(&["web01.lab.example"]), "DNS:web01.lab.example"),
        (subject(&[(NameAttribute::Organization, "Evil")]), "O=Evil"),
    ] {
        assert_eq!(ask(&web01(), asked), Err(Refusal::RenewalNames(shown.to_owned())));
    }
    let moved = Principal { dns_names: vec!["web02.lab.example".to_owned()], ..web01() };
    let gone = Refusal::NameNotAllowed("DNS:www.lab.example".to_owned());
    assert_eq!(ask(&moved, RequestedNames::default()), Err(gone));
}

#[test]
fn renewal_brings_the_key_that_the_template_says() {
    let rule = |key| changed("User", |t| t.renewal.key = key);
    let (new, same) = (foreign(), ForeignCertificate { spki: key().spki, ..foreign() });
    for (rule, with_new, with_same) in [
        (rule(RenewalKey::New), "forwarded", "RENEW_NEW_KEY"),
        (rule(RenewalKey::Same), "RENEW_KEY", "forwarded"),
        (rule(RenewalKey::Any), "forwarded", "forwarded"),
    ] {
        let ask = |old| code(outcome(&alice(), &rule, &renewal(), &on_behalf(Some(old))));
        assert_eq!((ask(&new), ask(&same)), (with_new, with_same), "{:?}", rule.renewal.key);
    }
    let blocked = ForwardCircumstances { key_blocked: true, ..on_behalf(Some(&new)) };
    assert_eq!(outcome(&alice(), &template("User"), &renewal(), &blocked), Err(Refusal::KeyBlocked));
}

fn sid(
    principal: &Principal,
    template: &Template,
    submission: &Submission,
    circumstances: &ForwardCircumstances<'_>,
) -> ExpectedSid {
    forward(principal, template, submission, circumstances).unwrap().expected().sid.clone()
}

#[test]
fn certificate_built_from_an_account_must_have_its_sid() {
    let own = ExpectedSid::Demanded(OWN_SID.to_owned());
    let if_any = ExpectedSid::IfAny(OWN_SID.to_owned());
    let renewed = foreign();
    let open = changed("User", |t| t.renewal.key_based = true);
    assert_eq!(sid(&alice(), &template("User"), &plain(), &delegated(None)), own);
    assert_eq!(sid(&alice(), &template("User"), &renewal(), &on_behalf(Some(&renewed))), own);
    let stranger = Principal { sid: None, ..alice() };
    assert_eq!(
        sid(&stranger, &template("User"), &plain(), &delegated(None)),
        ExpectedSid::NotCompared,
        "no directory"
    );
    let key_based = ForwardCircumstances { key_based: true, ..on_behalf(Some(&renewed)) };
    assert_eq!(sid(&stranger, &open, &renewal(), &key_based), own, "that of the certificate");
    let mut without = template("User");
    without.subject.without_sid = true;
    assert_eq!(sid(&alice(), &without, &plain(), &delegated(None)), if_any);
    // A CA of Active Directory does not put it into what takes its names from the request, and nobody else's either.
    let known = Principal { sid: alice().sid, ..web01() };
    let asked = asking(dns(&["www.lab.example"]));
    assert_eq!(sid(&known, &template("WebServer"), &asked, &delegated(None)), if_any);
}

fn expected(principal: &Principal, template: &Template, submission: &Submission) -> Expected {
    let forwardable = forward(principal, template, submission, &delegated(None));
    forwardable.unwrap().expected().clone()
}

fn with(alternatives: Vec<AltName>) -> RequestedNames {
    RequestedNames { alternatives, ..RequestedNames::default() }
}

#[test]
fn certificate_with_names_of_the_request_has_no_others() {
    let web =
        changed("WebServer", |t| t.subject.fixed = vec![(NameAttribute::Organization, "Lab".to_owned())]);
    let known = Principal { sid: alice().sid, ..web01() };
    let asked =
        asking(RequestedNames { subject: cn("web01.lab.example").subject, ..dns(&["www.lab.example"]) });
    let expected = expected(&known, &web, &asked);
    let check = |found: RequestedNames| expected.check_names(&found, None).map_err(|other| other.to_string());
    for fine in [
        RequestedNames::default(),
        dns(&["www.lab.example"]),
        // Where TLS looks for it.
        dns(&["www.lab.example", "web01.lab.example"]),
        cn("web01.lab.example"),
        subject(&[(NameAttribute::Organization, "Corp"), (NameAttribute::Country, "DE")]),
    ] {
        assert_eq!(check(fine.clone()), Ok(()), "{fine:?}");
    }
    let unknown = RequestedNames { unknown_alternatives: vec!["otherName 1.2.3".to_owned()], ..dns(&[]) };
    let unreadable = RequestedNames {
        unknown_subject_attributes: vec!["2.5.4.3".to_owned()],
        ..RequestedNames::default()
    };
    for (found, name) in [
        (dns(&["www.lab.example", "dc1.lab.example"]), "DNS:dc1.lab.example"),
        (cn("dc1.lab.example"), "CN=dc1.lab.example"),
        (cn("WWW.lab.example"), "CN=WWW.lab.example"),
        (subject(&[(NameAttribute::Email, "a@lab.example")]), "E=a@lab.example"),
        (with(vec![AltName::Upn("www.lab.example".to_owned())]), "UPN:www.lab.example"),
        (with(vec![AltName::Email("www.lab.example".to_owned())]), "email:www.lab.example"),
        (with(vec![AltName::Ip("192.0.2.1".parse().unwrap())]), "IP:192.0.2.1"),
        (unknown, "otherName 1.2.3"),
        (unreadable, "CN, which cannot be read"),
    ] {
        let sentence = format!("the certificate has the name {name}, which was not asked for");
        assert_eq!(check(found), Err(sentence));
    }
    // A security identifier may be missing, and is nobody else's, wherever it stands.
    let sids = |sid: &str| RequestedNames { sids: vec![sid.to_owned()], ..RequestedNames::default() };
    let none = RequestedNames::default();
    assert_eq!(expected.check_names(&none, Some(OWN_SID)), Ok(()));
    assert_eq!(expected.check_names(&sids(OWN_SID), None), Ok(()));
    let other = "S-1-5-21-1-2-3-500".to_owned();
    let refused = Err(OtherName::Sid { found: other.clone(), expected: OWN_SID.to_owned() });
    assert_eq!(expected.check_names(&none, Some(&other)), refused);
    assert_eq!(expected.check_names(&sids(&other), Some(OWN_SID)), refused);
}

#[test]
fn certificate_built_from_an_account_has_the_accounts_names() {
    let directory = || Some(Box::new(DirectoryNames::default()));
    let known = Principal { name: "corp.test\\alice".parse().unwrap(), directory: directory(), ..alice() };
    let user = template("User");
    let check = |principal: &Principal, name: AltName| {
        let expected = expected(principal, &user, &plain());
        expected.check_names(&with(vec![name]), Some(OWN_SID)).is_ok()
    };
    let upn = |text: &str| AltName::Upn(text.to_owned());
    let email = |text: &str| AltName::Email(text.to_owned());
    let host = |text: &str| AltName::Dns(text.to_owned());
    for own in [upn("Alice@corp.LAB.example"), upn("alice@CORP.TEST"), email("alice@Lab.example")] {
        assert!(check(&known, own.clone()), "{own}");
    }
    for other in
        [upn("administrator@corp.test"), upn("ålice@corp"), email("boss@lab.example"), host("dc1.corp.test")]
    {
        assert!(!check(&known, other.clone()), "{other}");
        // Of an account of no directory nothing is known.
        assert!(check(&alice(), other.clone()), "{other}");
    }
    // What the directory has and cannot stand in our certificates is not known either; what could is.
    let odd = Principal { upn: None, email: None, ..known.clone() };
    assert!(check(&odd, upn("ålice@corp.test")) && check(&odd, email("ålice@corp.test")));
    assert!(!check(&odd, upn("administrator@corp.test")) && !check(&odd, email("boss@lab.example")));
    let in_subject = subject(&[(NameAttribute::Email, "boss@lab.example")]);
    assert!(expected(&known, &user, &plain()).check_names(&in_subject, Some(OWN_SID)).is_err());
    // A host name that the directory gives to two is not this account's (CVE-2022-26923).
    let doubt = Some(HostNameDoubt::Shared);
    let shared = Some(Box::new(DirectoryNames { host_name_doubt: doubt, ..DirectoryNames::default() }));
    assert!(!check(&Principal { directory: shared, ..known.clone() }, host("dc1.corp.test")));
    let sid = expected(&known, &user, &plain()).check_names(&RequestedNames::default(), None);
    assert!(matches!(sid, Err(OtherName::Sid { .. })), "{sid:?}");
}
