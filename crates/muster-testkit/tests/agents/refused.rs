//! What agents may not do, and who is none: every form that can be parsed and must not be authorized.

use muster_testkit::messages;
use muster_testkit::site::{MovedClock, PASSWORD};
use muster_testkit::tools::Key;
use serde_json::json;

use crate::{Desk, Holder, assert_refused, base64, enroll, issued, signer};

const ACCESS: u32 = 0x8009_4009;
const REJECTED: u32 = 0x8009_480B;
const LIMITS: &str = "This enrollment agent may not enroll for this account with this template";

#[test]
fn agent_outside_her_limits() {
    let Some(desk) = Desk::or_not_run() else { return };
    let site = desk.site();
    let send = |template: &str, name: &str| desk.send(&desk.cms(template, &[(&desk.helen, name)]));
    // Another template; another agent, by her group; herself; an account outside the group.
    assert_refused(&send("Unsigned", "alice"), ACCESS, LIMITS);
    assert_refused(&send("Smartcard", "helen"), ACCESS, LIMITS);
    assert_refused(&send("Smartcard", "henry"), ACCESS, LIMITS);
    site.muster("account", &["set", "bob", "--group", "staff"]);
    // He may not enroll for the template himself then.
    assert_refused(&send("Smartcard", "bob"), 0x8009_4012, "You are not allowed to enroll for this template");
    site.muster("account", &["set", "bob", "--group", "helpdesk"]);
    assert_refused(&send("Smartcard", "bob"), ACCESS, LIMITS);
    site.muster("account", &["set", "bob", "--group", "users"]);
    issued(&send("Smartcard", "bob"));
    // He becomes an agent: from then on his group no longer covers him, and his name does.
    site.muster("agent", &["allow", "--agent", "bob", "--template", "Unsigned", "--for-account", "alice"]);
    assert_refused(&send("Smartcard", "bob"), ACCESS, LIMITS);
    site.muster("agent", &["allow", "--agent", "helen", "--template", "Smartcard", "--for-account", "bob"]);
    issued(&send("Smartcard", "bob"));
    // Nobody makes agents but an officer.
    let text = site.muster("template", &["show", "Agent"]);
    assert!(text.contains("approval = true"));
    let made = desk.send(&desk.cms("Agent", &[(&desk.helen, "alice")]));
    assert_refused(&made, ACCESS, "Certificates of enrollment agents are not issued on behalf of others");
    // All of it is taken away at once.
    site.muster("agent", &["forbid", "--agent", "helen"]);
    assert_refused(&send("Smartcard", "alice"), ACCESS, LIMITS);
    let denied = site.muster("audit", &["list", "--json"]);
    for word in ["refused:AGENT_LIMITS", "refused:AGENT_TEMPLATE", "allow_agent", "forbid_agent"] {
        assert!(denied.contains(word), "{word}");
    }
}

#[test]
fn signer_who_is_no_agent() {
    let Some(desk) = Desk::or_not_run() else { return };
    let site = desk.site();
    let by = |holder: &Holder| desk.send(&desk.cms("Smartcard", &[(holder, "alice")]));
    // Another purpose; another account's agent; an account without limits.
    let plain = enroll(&desk.bed, "helen", "Unsigned");
    assert_refused(&by(&plain), REJECTED, "is not that of an enrollment agent");
    let henry = enroll(&desk.bed, "henry", "Agent");
    assert_refused(&by(&henry), ACCESS, "another account's agent than the one that signed in");
    let as_henry =
        |holder: &Holder| desk.bed.curl.issue(site, "henry", &desk.cms("Smartcard", &[(holder, "alice")]));
    assert_refused(&as_henry(&henry), ACCESS, LIMITS);
    assert_refused(&as_henry(&desk.helen), ACCESS, "another account's agent than the one that signed in");
    // A certificate that repeats issuer, subject and serial number.
    let (certificate, der, key) = desk.bed.openssl.forge(&desk.helen.certificate, "forged");
    let unknown = "certificate was not issued by this service";
    assert_refused(&by(&Holder { certificate, key, der }), REJECTED, unknown);
    // One that the requester made himself.
    let (certificate, key) = (desk.bed.openssl.path("own.pem"), desk.bed.openssl.key(Key::P256, "own"));
    let usage = format!("extendedKeyUsage={}", crate::AGENT_PURPOSE);
    let config = desk.bed.openssl.path("req.cnf");
    desk.bed.openssl.run(&[
        "req",
        "-x509",
        "-config",
        &config,
        "-key",
        &key,
        "-subj",
        "/CN=helen",
        "-addext",
        &usage,
        "-out",
        &certificate,
    ]);
    assert_refused(&by(&Holder { certificate, key, der: Vec::new() }), REJECTED, unknown);
    // On hold, released, revoked; then disabled.
    let serial = desk.bed.openssl.run(&["x509", "-in", &desk.helen.certificate, "-noout", "-serial"]);
    let serial = String::from_utf8(serial).unwrap().trim().replace("serial=", "");
    let revoked = "agent's certificate has been revoked";
    site.muster("cert", &["revoke", &serial, "--reason", "certificateHold"]);
    assert_refused(&by(&desk.helen), REJECTED, revoked);
    site.muster("cert", &["release", &serial]);
    issued(&by(&desk.helen));
    site.muster("cert", &["revoke", &serial]);
    assert_refused(&by(&desk.helen), REJECTED, revoked);
    site.muster("account", &["disable", "helen"]);
    let disabled = by(&desk.helen);
    assert!(disabled.body.contains("FailedAuthentication"), "{}", disabled.body);
}

#[test]
fn expired_agent() {
    let Some(mut desk) = Desk::or_not_run() else { return };
    let request = desk.cms("Smartcard", &[(&desk.helen, "alice")]);
    desk.bed.site.stop();
    let url = desk.site().ces();
    let message = messages::issue(&url, Some(("helen", PASSWORD)), &base64(&request));
    let at = |days: i64| {
        desk.site()
            .serve_at(MovedClock(days * 86_400), |_| desk.bed.curl.post(&url, &message, &["--insecure"]))
    };
    assert_refused(&at(366), REJECTED, "The enrollment agent's certificate is not valid now");
    issued(&at(360));
}

#[test]
fn requester_who_cannot_be_enrolled() {
    let Some(desk) = Desk::or_not_run() else { return };
    let site = desk.site();
    let send = |name: &str| desk.send(&desk.cms("Smartcard", &[(&desk.helen, name)]));
    let unknown = "There is no account of the name in the request, or it is disabled";
    for name in
        ["nobody-here", "", "CORP\\alice", "alice@corp.example", "token-abcdefghijklmnop", "a b", "$muster"]
    {
        assert_refused(&send(name), 0x8009_4011, unknown);
    }
    site.muster("account", &["disable", "alice"]);
    assert_refused(&send("alice"), 0x8009_4011, unknown);
    site.muster("account", &["enable", "alice"]);
    issued(&send("alice"));
    // A computer, and a template for users.
    assert_refused(&send("web1"), 0x8009_4012, "You are not allowed to enroll for this template");
    // Whoever is no agent does not learn who has an account.
    let asked = desk.bed.curl.issue(site, "bob", &desk.cms("Smartcard", &[(&desk.helen, "nobody-here")]));
    assert_refused(&asked, ACCESS, "another account's agent than the one that signed in");
}

#[test]
fn names_of_requesters_that_do_not_count() {
    let Some(desk) = Desk::or_not_run() else { return };
    let content = base64(&desk.pkcs10("Smartcard", "of-requester"));
    let cms = |signers: serde_json::Value| {
        desk.encode(&json!({"form": "cms", "content": content, "signers": signers}))
    };
    let cmc = |reg_info: &str, signers: serde_json::Value| {
        desk.encode(&json!({"form": "cmc", "content": content, "reg_info": reg_info, "signers": signers}))
    };
    let mut unsigned = signer(&desk.helen, &[]);
    unsigned["unsigned"] = json!(["alice"]);
    let outside = "names a requester outside the signed attributes of an enrollment agent";
    const NEEDS_SIGNATURE: u32 = 0x8009_4809;
    assert_refused(&desk.send(&cms(json!([unsigned]))), NEEDS_SIGNATURE, outside);
    let request = cmc("requestername=alice", json!([signer(&desk.helen, &[])]));
    assert_refused(&desk.send(&request), NEEDS_SIGNATURE, outside);
    // Signed, but nobody is named: a request of her own, without the agent's signature that the template needs.
    let own = cms(json!([signer(&desk.helen, &[])]));
    assert_refused(
        &desk.send(&own),
        NEEDS_SIGNATURE,
        "This template needs the signature of an enrollment agent",
    );
    let bare = desk.pkcs10("Smartcard", "of-requester");
    let bare = desk.bed.curl.issue(desk.site(), "alice", &bare);
    assert_refused(&bare, NEEDS_SIGNATURE, "This template needs the signature of an enrollment agent");

    // Two names, in one signature and in two; another one inside.
    let twice = desk.send(&cms(json!([signer(&desk.helen, &["alice", "bob"])])));
    assert_eq!(twice.status, 500, "{}", twice.body);
    assert!(twice.body.contains("The request was refused: "), "{}", twice.body);
    let henry = enroll(&desk.bed, "henry", "Agent");
    let request = cms(json!([signer(&desk.helen, &["alice"]), signer(&henry, &["bob"])]));
    assert_refused(&desk.send(&request), 0x8009_4001, "The signers of the request name different requesters");
    let request = cmc("requestername=bob", json!([signer(&desk.helen, &["alice"])]));
    assert_refused(&desk.send(&request), 0x8009_4001, "The request inside names another requester");
    let mut both = signer(&desk.helen, &["alice"]);
    both["unsigned"] = json!(["bob"]);
    assert_refused(
        &desk.send(&cms(json!([both]))),
        0x8009_4001,
        "The request inside names another requester",
    );
}

#[test]
fn renewals_and_nested_messages() {
    let Some(desk) = Desk::or_not_run() else { return };
    let alice = enroll(&desk.bed, "alice", "User");
    let new_key = desk.bed.openssl.key(Key::P256, "renewed");
    let content = base64(&desk.bed.openssl.renewal_request(&new_key, "User", &[], &alice.der));
    for signers in [
        json!([signer(&alice, &[]), signer(&desk.helen, &["alice"])]),
        json!([signer(&alice, &["alice"])]),
        json!([signer(&alice, &["bob"])]),
    ] {
        for form in ["cms", "cmc"] {
            let request = desk.encode(&json!({"form": form, "content": content, "signers": signers}));
            assert_refused(
                &desk.send(&request),
                0x8009_400E,
                "A renewal cannot be made on behalf of somebody",
            );
        }
    }
    // The agent's message inside another agent's.
    let henry = enroll(&desk.bed, "henry", "Agent");
    let inner = base64(&desk.cms("Smartcard", &[(&desk.helen, "alice")]));
    let nested =
        desk.encode(&json!({"form": "cms", "content": inner, "signers": [signer(&henry, &["alice"])]}));
    let answer = desk.bed.curl.issue(desk.site(), "henry", &nested);
    assert_eq!(answer.status, 500, "{}", answer.body);
    assert!(answer.body.contains("The request was refused: "), "{}", answer.body);
    // A signature over other octets.
    let mut tampered = desk.cms("Smartcard", &[(&desk.helen, "alice")]);
    let name: Vec<u8> = "alice".bytes().flat_map(|octet| [0, octet]).collect();
    let at = tampered.windows(name.len()).rposition(|window| window == name).unwrap();
    tampered[at + 1] = b'b';
    let answer = desk.send(&tampered);
    assert_eq!(answer.status, 500, "{}", answer.body);
    assert!(answer.body.contains("The request was refused: "), "{}", answer.body);
}
