//! Enrollment agents: whom a limit covers, and that approval is for one account and one template.

use muster_core::agent::{Agency, Agent, AgentLimit, Signer, is_privileged};
use muster_core::identity::{Caller, Method, PrincipalKind, Sid};
use muster_core::policy::{Circumstances, KnownCertificate};
use muster_core::request::RequestForm;
use muster_core::template::{Grantee, eku};
use muster_core::token::{TokenGrant, TokenId};
use muster_core::{Principal, Refusal, Submission, Template};

use crate::support::*;

fn sid(text: &str) -> Sid {
    text.parse().unwrap()
}

fn helen() -> Caller {
    let name = "helen".parse().unwrap();
    Caller::authenticated(Principal::named(name, PrincipalKind::User), Method::UsernamePassword)
}

/// helen's certificate, and that she may enroll these with `User`.
fn signer(subjects: &str) -> Signer {
    Signer {
        known: Some(KnownCertificate {
            account: "helen".parse().unwrap(),
            template: oid("1.2.3"),
            not_before: NOW.plus(-DAY),
            not_after: NOW.plus(DAY),
            revoked: false,
            on_hold: false,
        }),
        enabled: true,
        purposes: vec![oid(eku::ENROLLMENT_AGENT)],
        policies: Vec::new(),
        limits: vec![AgentLimit {
            agent: "helen".parse().unwrap(),
            template: "user".to_owned(),
            subjects: Grantee::try_from(subjects.to_owned()).unwrap(),
        }],
    }
}

fn establish(signer: &Signer, subject: &Principal, is_agent: bool, of: &Template) -> Result<Agency, Refusal> {
    let agent = Agent::check(&helen(), signer, NOW)?;
    Agency::establish(&agent, &[], subject, is_agent, of, NOW)
}

#[test]
fn groups_cover_neither_agents_nor_rulers() {
    let user = template("User");
    let ruler = Principal { sids: [sid("S-1-5-21-1-2-3-512")].into(), ..alice() };
    let member = Principal { sids: [sid("S-1-5-21-1-2-3-4000")].into(), ..alice() };
    for (subjects, subject, is_agent, covered) in [
        ("group:users", &alice(), false, true),
        ("group:users", &alice(), true, false),
        ("group:users", &ruler, false, false),
        ("group:staff", &alice(), false, false),
        ("account:alice", &alice(), true, true),
        ("account:alice", &ruler, false, true),
        ("account:bob", &alice(), false, false),
        (&format!("sid:{OWN_SID}"), &ruler, true, true),
        ("sid:S-1-5-21-1-2-3-4000", &member, false, true),
        ("sid:S-1-5-21-1-2-3-4000", &member, true, false),
        ("sid:S-1-5-21-1-2-3-512", &ruler, false, false),
        ("authenticated", &alice(), false, false),
    ] {
        let outcome = establish(&signer(subjects), subject, is_agent, &user);
        assert_eq!(outcome.is_ok(), covered, "{subjects} {is_agent}: {outcome:?}");
        assert!(covered || outcome.is_err_and(|refusal| refusal == Refusal::AgentLimits));
    }
    assert!(is_privileged(&Principal { sid: Some(sid("S-1-5-21-1-2-3-500")), ..alice() }));
    assert!(!is_privileged(&alice()));
}

#[test]
fn agency_is_for_one_account_and_one_template() {
    let (user, other) = (template("User"), template("UserEmail"));
    let agency = establish(&signer("group:users"), &alice(), false, &user).unwrap();
    assert_eq!(agency.agent().as_str(), "helen");
    let form =
        RequestForm::OnBehalfOf { requester: "alice".to_owned(), agents: Vec::new(), cosigners: Vec::new() };
    let submission = Submission { form, ..plain() };
    let bob = Principal { name: "bob".parse().unwrap(), ..alice() };
    let circumstances = || Circumstances { agency: Some(&agency), ..good_day() };
    for (subject, template, code) in
        [(&alice(), &user, "issued"), (&alice(), &other, "ON_BEHALF_OF"), (&bob, &user, "ON_BEHALF_OF")]
    {
        assert_eq!(outcome_in(subject, template, &submission, &circumstances()).code(), code);
    }
    let renewals = Circumstances { renewal_only: true, ..circumstances() };
    assert_eq!(outcome_in(&alice(), &user, &submission, &renewals).code(), "RENEWAL_ONLY");
}

#[test]
fn holders_of_tokens_are_neither_agents_nor_enrolled_by_them() {
    let grant = TokenGrant { template: oid("1.2.3"), names: Vec::new() };
    let holder = grant.principal(&TokenId::from_random([0; 16]), PrincipalKind::User);
    let caller = Caller::authenticated(holder.clone(), Method::ClientCertificate);
    let signer = signer("group:users");
    assert_eq!(Agent::check(&caller, &signer, NOW).map(drop), Err(Refusal::TokenForm));
    assert_eq!(establish(&signer, &holder, false, &template("User")).map(drop), Err(Refusal::AgentLimits));
}
