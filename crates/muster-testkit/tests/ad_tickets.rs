//! What is a ticket for this service and what is not: T15 to T18 of the threats, against a real directory's tickets
//! and with tokens made octet by octet by impacket. The clients are requests-gssapi and curl.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise, in its helpers too")]

use muster_testkit::ad::{Ad, Tickets};
use muster_testkit::ad_site::AdSite;
use muster_testkit::site::SigningAlgorithm;
use muster_testkit::tools::Answer;
use serde_json::{Value, json};

const SERVICE: &str = "HTTP/ces.corp.test";

/// An installation that knows alice, and her tickets.
fn bed() -> Option<(AdSite, Tickets)> {
    bed_with(SigningAlgorithm::P256)
}

fn bed_with(algorithm: SigningAlgorithm) -> Option<(AdSite, Tickets)> {
    let mut site = AdSite::make(algorithm)?;
    site.site.account("alice@corp.test", "user", &["--upn", "alice@corp.test"]);
    site.serve("http", &[SERVICE]);
    let tickets = site.ad.kinit("alice");
    Some((site, tickets))
}

fn asked(site: &AdSite, tickets: &Tickets, call: &Value) -> Answer {
    site.ask(&format!("Negotiate {}", site.token(tickets, call)))
}

/// A refusal says what is wrong in one sentence, is logged under `code`, and offers Negotiate without a token.
#[track_caller]
fn refused(site: &AdSite, what: &str, answer: &Answer, code: &str) {
    assert_eq!(answer.status, 401, "{what}: {}", answer.body);
    let (head, body) = answer.body.split_once("\r\n\r\n").unwrap();
    let offers: Vec<&str> =
        head.lines().filter(|line| line.to_ascii_lowercase().starts_with("www-authenticate:")).collect();
    assert_eq!(offers.len(), 1, "{what}: {head}");
    assert_eq!(offers.concat().to_ascii_lowercase(), "www-authenticate: negotiate", "{what}");
    assert!(!body.contains("GetPoliciesResponse"), "{what}");
    let (_, reference) = body.rsplit_once("(reference ").unwrap();
    let reference = reference.split(')').next().unwrap();
    let log = site.site.log();
    let line = log.lines().find(|line| line.contains(reference)).unwrap_or_default();
    assert!(line.contains(code), "{what}: {line}; the answer: {body}");
}

#[test]
fn t15_only_the_right_channel_binding_passes() {
    let Some((site, alice)) = bed() else { return };
    let good = asked(&site, &alice, &json!({}));
    assert_eq!(good.status, 200, "{}", good.body);
    assert!(good.body.contains("GetPoliciesResponse"));
    let mutual =
        good.body.lines().find(|line| line.to_ascii_lowercase().starts_with("www-authenticate: negotiate "));
    assert!(mutual.is_some(), "the server does not prove itself: {}", good.body);
    for (what, call) in [
        ("no binding", json!({"certificate": null})),
        ("a wrong binding", json!({"binding": "00112233445566778899aabbccddeeff"})),
        ("the binding of another node's certificate", json!({"certificate": site.ad.ca()})),
        ("no checksum", json!({"checksum": false})),
        ("a checksum that is cut off", json!({"checksum": "short"})),
    ] {
        refused(&site, what, &asked(&site, &alice, &call), "CHANNEL_BINDING");
    }
}

/// The binding's hash is the one of the certificate's signature.
#[test]
fn t15_binding_to_certificates_with_other_signatures() {
    for algorithm in [SigningAlgorithm::Rsa2048, SigningAlgorithm::P384] {
        let Some((site, alice)) = bed_with(algorithm) else { return };
        let good = asked(&site, &alice, &json!({}));
        assert_eq!(good.status, 200, "{algorithm:?}: {}", good.body);
        refused(&site, "none", &asked(&site, &alice, &json!({"certificate": null})), "CHANNEL_BINDING");
        assert!(site.client(&alice).call(&json!({"do": "policies"}))["id"].is_string(), "{algorithm:?}");
    }
}

#[test]
fn t15_foreign_clients_pass_with_a_binding_and_fail_without() {
    let Some((site, alice)) = bed() else { return };
    let mut client = site.client(&alice);
    assert!(client.call(&json!({"do": "policies"}))["id"].is_string());
    // curl of Debian 12 sends none.
    let url = site.cep();
    let trust = site.site.ca();
    let options =
        ["--cacert", trust.to_str().unwrap(), "--negotiate", "--user", ":", "--silent", "--include"];
    let mut arguments = options.to_vec();
    let message = muster_testkit::messages::get_policies(&url, None);
    arguments.extend(["--header", "Content-Type: application/soap+xml", "--data-binary", &message, &url]);
    let ran = alice.run("curl", &arguments);
    assert!(!ran.text().contains("GetPoliciesResponse"), "{}", ran.all());
    assert!(ran.text().contains("401"), "{}", ran.all());
    assert!(site.site.log().contains("CHANNEL_BINDING"), "{}", ran.all());
}

#[test]
fn both_names_of_kerberos_and_no_spnego_at_all_are_taken_in_one_leg() {
    let Some((site, alice)) = bed() else { return };
    for frame in ["spnego", "microsoft", "kerberos"] {
        let answer = asked(&site, &alice, &json!({"frame": frame}));
        assert_eq!(answer.status, 200, "{frame}: {}", answer.body);
    }
}

#[test]
fn t16_ntlm_and_its_kin_get_no_challenge() {
    let Some((site, alice)) = bed() else { return };
    for frame in ["ntlm-first", "iakerb", "negoex", "pku2u"] {
        let code = if frame == "ntlm-first" { "NTLM_REFUSED" } else { "TICKET_MALFORMED" };
        refused(&site, frame, &asked(&site, &alice, &json!({"frame": frame})), code);
    }
    for token in ["ntlm", "spnego-ntlm"] {
        let token = site.token(&alice, &json!({"token": token}));
        refused(&site, "NTLM", &site.ask(&format!("Negotiate {token}")), "NTLM_REFUSED");
        refused(&site, "NTLM", &site.ask(&format!("NTLM {token}")), "NTLM_REFUSED");
    }
    refused(&site, "Basic", &site.ask("Basic YWxpY2U6UGFzc3cwcmQhYWxpY2U="), "NEGOTIATE_MISSING");
    refused(&site, "nothing", &site.ask("Negotiate"), "NEGOTIATE_MISSING");
    refused(&site, "no base64", &site.ask("Negotiate ~~~"), "TICKET_MALFORMED");
}

#[test]
fn t17_tickets_for_another_service_are_refused_although_the_key_fits() {
    let Some(mut site) = AdSite::or_not_run() else { return };
    site.site.account("alice@corp.test", "user", &[]);
    // The keytab has these names, too; the configuration has not.
    site.serve("all", &[SERVICE]);
    let alice = site.ad.kinit("alice");
    assert_eq!(asked(&site, &alice, &json!({})).status, 200);
    for service in [
        "HOST/ces.corp.test",
        "cifs/ces.corp.test",
        "RestrictedKrbHost/ces.corp.test",
        "HTTP/alias.corp.test",
    ] {
        refused(&site, service, &asked(&site, &alice, &json!({"service": service})), "TICKET_SERVICE");
    }
    let another = asked(&site, &alice, &json!({"service": "HTTP/old.corp.test"}));
    refused(&site, "another account's", &another, "TICKET_");
}

#[test]
fn t18_a_token_is_taken_once() {
    let Some((site, alice)) = bed() else { return };
    let token = format!("Negotiate {}", site.token(&alice, &json!({})));
    assert_eq!(site.ask(&token).status, 200);
    refused(&site, "replay", &site.ask(&token), "TICKET_REPLAY");
    refused(&site, "replay at the other service", &site.ask_at(&site.ces(), &token), "TICKET_REPLAY");
}

#[test]
fn t18_a_token_is_taken_once_even_by_a_server_that_started_anew() {
    let Some((mut site, alice)) = bed() else { return };
    let token = format!("Negotiate {}", site.token(&alice, &json!({})));
    assert_eq!(site.ask(&token).status, 200);
    site.site.stop();
    site.site.serve();
    refused(&site, "replay", &site.ask(&token), "TICKET_REPLAY");
}

#[test]
fn t18_clocks_may_differ_by_less_than_five_minutes() {
    let Some((site, alice)) = bed() else { return };
    for skew in [-240, 240] {
        let answer = asked(&site, &alice, &json!({"skew": skew}));
        assert_eq!(answer.status, 200, "{skew}: {}", answer.body);
    }
    for skew in [-360, 360] {
        refused(&site, "skew", &asked(&site, &alice, &json!({"skew": skew})), "TICKET_TIME");
    }
}

#[test]
fn t18_weak_encryption_is_refused() {
    let Some(mut site) = AdSite::or_not_run() else { return };
    site.site.account("alice@corp.test", "user", &[]);
    site.configure("rc4", &["HTTP/rc4.corp.test"]);
    // With RC4 alone in the keytab it may refuse to start, which is as good.
    let served = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| site.site.serve()));
    if served.is_ok() {
        let alice = site.ad.kinit("alice");
        refused(
            &site,
            "RC4",
            &asked(&site, &alice, &json!({"service": "HTTP/rc4.corp.test"})),
            "TICKET_WEAK",
        );
    } else {
        assert!(site.site.log().contains("AES"), "{}", site.site.log());
    }
}

#[test]
fn forged_tickets_of_one_who_has_the_service_key_but_not_the_directory_s() {
    let Some((site, alice)) = bed() else { return };
    for (change, code) in [
        ("pac-signature", "TICKET_PAC"),
        ("pac-user", "TICKET_PAC"),
        ("ended", "TICKET_TIME"),
        ("future", "TICKET_TIME"),
    ] {
        refused(&site, change, &asked(&site, &alice, &json!({"change": change})), code);
    }
}

#[test]
fn keytab_with_an_old_key_says_so_and_a_new_key_is_taken_while_running() {
    let Some(mut site) = AdSite::or_not_run() else { return };
    site.site.account("alice@corp.test", "user", &[]);
    site.serve("stale", &["HTTP/old.corp.test"]);
    let alice = site.ad.kinit("alice");
    let old = json!({"service": "HTTP/old.corp.test"});
    let answer = asked(&site, &alice, &old);
    refused(&site, "an old key", &answer, "TICKET_KEY");
    assert!(answer.body.contains("keytab"), "{}", answer.body);
    drop(site.private_keytab("old"));
    assert_eq!(asked(&site, &alice, &old).status, 200);
}

#[test]
fn large_ticket_of_a_user_in_five_hundred_groups_passes() {
    let Some(mut site) = AdSite::or_not_run() else { return };
    site.site.account("dave@corp.test", "user", &[]);
    site.serve("http", &[SERVICE]);
    let dave = site.ad.kinit("dave");
    assert!(site.token(&dave, &json!({})).len() > 4_000);
    assert_eq!(asked(&site, &dave, &json!({})).status, 200);
}

#[test]
fn stranger_with_a_good_ticket_is_told_so_without_an_account() {
    let Some((site, _alice)) = bed() else { return };
    let user = site.ad.user(&[]);
    let answer = asked(&site, &site.ad.kinit(&user), &json!({}));
    assert_ne!(answer.status, 200, "{}", answer.body);
    assert!(!answer.body.contains("GetPoliciesResponse"));
    let unused: &dyn Fn(&str) -> String = &Ad::password;
    assert!(!site.site.log().contains(&unused(&user)));
}
