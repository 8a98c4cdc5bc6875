//! What agents may do.

use muster_testkit::messages::{self, get_policies};
use muster_testkit::site::PASSWORD;
use serde_json::{Value, json};

use crate::{Desk, base64, enroll, issued, signer};

#[test]
fn agent_enrolls_an_account_within_her_limits() {
    let Some(desk) = Desk::or_not_run() else { return };
    let site = desk.site();
    let request = desk.cms("Smartcard", &[(&desk.helen, "alice")]);
    let answer = desk.send(&request);
    let der = issued(&answer);
    assert_eq!(desk.subject(&der), "subject=CN = Alice Example");
    assert_eq!(issued(&desk.send(&request)), der, "the same octets");
    let id = messages::text(&answer.body, "RequestID").unwrap();

    // The row has both: whose it is, and who sent it. Both may ask, nobody else.
    let row: Value = serde_json::from_str(&site.muster("request", &["show", id, "--json"])).unwrap();
    assert_eq!((&row["requester"], &row["form"]), (&"alice".into(), &"on_behalf_of".into()));
    assert!(row["submitted_by"].as_str().unwrap().starts_with("caller:helen/username_password"), "{row}");
    assert_eq!(issued(&desk.query("helen", id)), der);
    assert_eq!(issued(&desk.query("alice", id)), der);
    let unknown = desk.query("bob", id);
    assert!(unknown.body.contains(&format!("There is no request {id} for this account")), "{}", unknown.body);
    let audit = site.muster("audit", &["list", "--request", id, "--json"]);
    assert!(audit.contains("enroll_for_another") && audit.contains("for alice"), "{audit}");
    site.muster("audit", &["verify"]);

    // The certificate is hers: it signs in as alice.
    let key = desk.bed.openssl.path("of-requester.key.pem");
    let pem = desk.bed.openssl.pem("alice", &der);
    let url = site.cep_certificate();
    let answer = desk.bed.curl.post(&url, &get_policies(&url, None), &["--cert", &pem, "--key", &key]);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let log = site.log();
    assert!(log.lines().last().unwrap().contains("caller.account=\"alice\""), "{log}");
}

#[test]
fn cmc_is_taken_like_cms_and_names_the_requester_in_several_ways() {
    let Some(desk) = Desk::or_not_run() else { return };
    for (written, reg_info) in [
        ("alice", Value::Null),
        ("Alice", json!("CertificateTemplate=Smartcard")),
        ("bob", json!("requestername=bob&CertificateTemplate=Smartcard")),
    ] {
        let content = base64(&desk.pkcs10("Smartcard", "of-requester"));
        let request = json!({"form": "cmc", "content": content, "reg_info": reg_info, "signers": [signer(&desk.helen, &[written])]});
        let der = issued(&desk.send(&desk.encode(&request)));
        let expected = if written == "bob" { "subject=CN = bob" } else { "subject=CN = Alice Example" };
        assert_eq!(desk.subject(&der), expected, "{written}");
    }
}

#[test]
fn several_signatures_are_counted_by_account_purpose_and_policy() {
    let Some(desk) = Desk::or_not_run() else { return };
    let site = desk.site();
    let henry = enroll(&desk.bed, "henry", "Agent");
    let policied = enroll(&desk.bed, "helen", "OtherAgent");
    let plain = enroll(&desk.bed, "henry", "Unsigned");
    let again = enroll(&desk.bed, "helen", "Agent");
    for (agent, template) in [("helen", "TwoAgents"), ("helen", "Policied")] {
        site.muster("agent", &["allow", "--agent", agent, "--template", template, "--for-account", "alice"]);
    }
    const COUNT: u32 = 0x8009_480A;
    const REJECTED: u32 = 0x8009_480B;
    let two = |others: &[(&crate::Holder, &str)]| {
        let all: Vec<_> = std::iter::once((&desk.helen, "alice")).chain(others.iter().copied()).collect();
        desk.send(&desk.cms("TwoAgents", &all))
    };
    let have = |n: u32| {
        format!(
            "The request has {n} signatures of enrollment agents that may sign it, but the template needs 2"
        )
    };
    crate::assert_refused(&two(&[]), COUNT, &have(1));
    crate::assert_refused(&two(&[(&again, "alice")]), COUNT, &have(1));
    // henry is no agent for this template yet.
    crate::assert_refused(&two(&[(&henry, "alice")]), COUNT, &have(1));
    site.muster("agent", &["allow", "--agent", "henry", "--template", "TwoAgents", "--for-account", "alice"]);
    // Signers are a set: which of them comes first depends on their signatures.
    for _ in 0..4 {
        crate::assert_refused(&two(&[(&plain, "alice")]), REJECTED, "lack a purpose or a policy");
    }
    assert_eq!(desk.subject(&issued(&two(&[(&henry, "alice")]))), "subject=CN = Alice Example");

    let request = desk.cms("Policied", &[(&desk.helen, "alice")]);
    crate::assert_refused(&desk.send(&request), REJECTED, "lack a purpose or a policy");
    let request = desk.cms("Policied", &[(&policied, "alice")]);
    assert_eq!(desk.subject(&issued(&desk.send(&request))), "subject=CN = Alice Example");
}

#[test]
fn approved_request_is_fetched_by_whom_it_is_for_unless_the_limits_went() {
    let Some(desk) = Desk::or_not_run() else { return };
    let site = desk.site();
    let pend = |name: &str| {
        let answer = desk.send(&desk.cms("Approved", &[(&desk.helen, name)]));
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(messages::text(&answer.body, "DispositionMessage"), Some("Taken Under Submission"));
        messages::text(&answer.body, "RequestID").unwrap().to_owned()
    };
    let (first, second) = (pend("alice"), pend("bob"));
    for id in [&first, &second] {
        site.muster("request", &["approve", id]);
    }
    assert_eq!(desk.subject(&issued(&desk.query("alice", &first))), "subject=CN = Alice Example");
    site.muster("agent", &["forbid", "--agent", "helen", "--template", "approved"]);
    let gone = desk.query("helen", &second);
    crate::assert_refused(&gone, 0x8009_4009, "This enrollment agent may not enroll for this account");
    let row: Value = serde_json::from_str(&site.muster("request", &["show", &second, "--json"])).unwrap();
    assert_eq!((&row["disposition"], &row["code"]), (&"denied".into(), &"AGENT_LIMITS".into()));
}

#[test]
fn policy_says_which_signatures_a_template_needs() {
    let Some(desk) = Desk::or_not_run() else { return };
    let url = desk.site().cep();
    let answer = desk.bed.curl.post(&url, &get_policies(&url, Some(("alice", PASSWORD))), &[]).body;
    let policy = |name: &str| {
        let found = answer.split("<policy>").find(|p| p.contains(&format!("<commonName>{name}<")));
        found.unwrap().to_owned()
    };
    assert_eq!(messages::text(&policy("TwoAgents"), "rASignatures"), Some("2"));
    assert!(answer.contains(crate::AGENT_PURPOSE) && answer.contains("1.2.3.4"), "{answer}");
    assert!(policy("Unsigned").contains("rARequirements xsi:nil"), "{}", policy("Unsigned"));
}
