//! Each kind of answer of an authority, as the caller sees it: with a password, which needs no right of delegation.

use muster_testkit::ad::Ad;
use muster_testkit::messages;
use muster_testkit::tools::Key;

use crate::bed::{Bed, Plan};

const TEMPLATES: &[&str] = &[
    "Plain",
    "Pending",
    "Denied",
    "Failed",
    "HResult",
    "WrongKey",
    "WrongIssuer",
    "OtherSigner",
    "WrongSid",
    "Garbage",
    "Empty",
];

const ENDPOINT: &str = r#"
[[enrollment_endpoint]]
ca = "CA"
authentication = "username_password"
listener = "password"
identity = "delegate"
"#;

fn bed(name: &str, protocol: &str) -> Option<Bed> {
    let ad = Ad::or_not_run()?;
    let arguments = ["alice", "bob"].map(|user| ["--sid-of".to_owned(), Bed::sid_of(&ad, user)]).concat();
    let mut bed = Bed::make(&Plan { name, templates: TEMPLATES, protocol, arguments, endpoints: ENDPOINT })?;
    bed.site.site.serve();
    Some(bed)
}

/// Issued, pending, denied and refused come through by both protocols, with the authority's numbers; and the authority
/// saw the caller.
fn answers(name: &str, protocol: &str) {
    let Some(bed) = bed(name, protocol) else { return };
    let issued = bed.by_password(name, "alice", &bed.request("Plain"));
    assert_eq!(issued.status, 200, "{}\n{}", issued.body, bed.site.site.log());
    let text = bed.read(messages::certificate(&issued.body).unwrap(), "plain");
    assert!(text.contains(&format!("Issuer: CN={name}")), "{text}");
    assert!(text.replace('\n', "").contains(&bed.ad().sid("alice")), "{text}");
    let seen = bed.authority.requests().concat();
    assert!(seen.contains("\"who\": \"alice@CORP.TEST\"") && seen.contains("privacy"), "{seen}");
    assert!(!seen.contains("svc-ces"), "{seen}");
    // Our number for the client, the authority's beside it for the administrator.
    let ours = messages::text(&issued.body, "RequestID").unwrap();
    let shown = bed.site.site.muster("request", &["show", ours, "--json"]);
    assert!(shown.contains(name) && shown.contains("11"), "{shown}");

    // The same octets: the same certificate, and the authority hears nothing of it.
    let request = bed.request("Plain");
    let first = bed.by_password(name, "alice", &request);
    let calls = bed.authority.requests().len();
    let again = bed.by_password(name, "alice", &request);
    assert_eq!(messages::certificate(&first.body), messages::certificate(&again.body), "{}", again.body);
    assert_eq!(bed.authority.requests().len(), calls);

    // Pending: polled by its owner alone, until the authority's officer has decided.
    let pending = bed.by_password(name, "alice", &bed.request("Pending"));
    assert_eq!(pending.status, 200, "{}", pending.body);
    assert!(messages::certificate(&pending.body).is_none(), "{}", pending.body);
    let id = messages::text(&pending.body, "RequestID").unwrap().to_owned();
    let foreign = bed.poll(name, "bob", &id);
    assert_eq!(messages::error_code(&foreign.body), Some(0x8009_4004), "{}", foreign.body);
    let wait = bed.poll(name, "alice", &id);
    assert!(messages::certificate(&wait.body).is_none(), "{}", wait.body);
    let done = bed.poll(name, "alice", &id);
    assert_eq!(done.status, 200, "{}", done.body);
    assert!(messages::certificate(&done.body).is_some(), "{}", done.body);
    let again = bed.poll(name, "alice", &id);
    assert_eq!(messages::certificate(&done.body), messages::certificate(&again.body));

    for (template, code, words) in [
        ("Denied", 0x8009_4014, "Denied by Policy Module"),
        ("Failed", 0x8009_4012, "do not allow the current user"),
        ("HResult", 0x8009_4011, "CERTSRV_E_ENROLL_DENIED"),
    ] {
        let refused = bed.by_password(name, "alice", &bed.request(template));
        assert_eq!(refused.status, 500, "{template}: {}", refused.body);
        assert_eq!(messages::error_code(&refused.body), Some(code), "{template}: {}", refused.body);
        assert_eq!(messages::text(&refused.body, "InvalidRequest"), Some("true"), "{template}");
        assert!(refused.body.contains(words), "{template}: {}", refused.body);
    }
}

#[test]
fn answers_come_through_over_dcom() {
    answers("Corp DCOM CA", "dcom");
}

#[test]
fn answers_come_through_over_rpc() {
    answers("Corp RPC CA", "rpc");
}

/// T14: what is not exactly what was asked for is not passed on, and somebody is told.
#[test]
fn t14_untrusted_answers_are_kept_back_with_an_alarm() {
    let name = "Corp Lying CA";
    let Some(bed) = bed(name, "dcom") else { return };
    for template in ["WrongKey", "WrongIssuer", "OtherSigner", "WrongSid", "Garbage", "Empty"] {
        let request = bed.request(template);
        let refused = bed.by_password(name, "alice", &request);
        assert_eq!(refused.status, 500, "{template}: {}", refused.body);
        assert!(messages::certificate(&refused.body).is_none(), "{template}: {}", refused.body);
        assert!(refused.body.contains("something that was not asked for"), "{template}: {}", refused.body);
        let id = messages::text(&refused.body, "RequestID").unwrap().to_owned();
        let log = bed.site.site.log();
        assert!(log.contains("is not what was asked for and is not passed on"), "{template}: {log}");
        // Nor later, nor for the same octets, and the authority is not asked again.
        let calls = bed.authority.requests().len();
        assert!(messages::certificate(&bed.poll(name, "alice", &id).body).is_none(), "{template}");
        assert!(
            messages::certificate(&bed.by_password(name, "alice", &request).body).is_none(),
            "{template}"
        );
        assert_eq!(bed.authority.requests().len(), calls, "{template}");
    }
    let audit = bed.site.site.muster("audit", &["list", "--json"]);
    assert!(audit.contains("CA_UNTRUSTED"), "{audit}");
}

/// T12: a pair in the request goes to the authority with it, and some of them would change what it issues. They are not
/// passed on; others are.
#[test]
fn t12_pairs_that_change_what_is_issued_do_not_reach_the_authority() {
    let name = "Corp Open CA";
    let Some(bed) = bed(name, "dcom") else { return };
    let key = bed.openssl.key(Key::P256, "pairs");
    for (pair, value) in [
        ("SAN", "upn=administrator@corp.test"),
        ("san", "dns=dc1.corp.test"),
        ("CertificateUsage", "1.3.6.1.4.1.311.20.2.1"),
        ("ValidityPeriodUnits", "30"),
        ("ExpirationDate", "Mon, 30 Nov 2099 00:00:00 GMT"),
        ("certfile", r"c:\windows\system32\x"),
        ("CertType", "SubCA"),
        ("Anything", "else"),
    ] {
        let request = bed.openssl.request_with_pair(&key, "Plain", pair, value);
        let refused = bed.by_password(name, "alice", &request);
        assert_eq!(refused.status, 500, "{pair}: {}", refused.body);
        assert_eq!(messages::error_code(&refused.body), Some(0x8007_0057), "{pair}: {}", refused.body);
        assert!(refused.body.contains(&format!("the attribute {pair}")), "{pair}: {}", refused.body);
    }
    // A CA that ends names at NUL, or decodes them, reads SAN.
    for pair in ["SAN\0", "S%41N"] {
        let request = bed.openssl.request_with_pair(&key, "Plain", pair, "upn=administrator@corp.test");
        let refused = bed.by_password(name, "alice", &request);
        assert_eq!(refused.status, 500, "{pair:?}: {}", refused.body);
        assert!(messages::certificate(&refused.body).is_none(), "{pair:?}: {}", refused.body);
    }
    // ESC15: purposes are the template's.
    for uses in [
        "extendedKeyUsage=1.3.6.1.4.1.311.20.2.1",
        "1.3.6.1.4.1.311.21.10=DER:300e300c060a2b0601040182371402 01",
        "certificatePolicies=1.2.3.4",
    ] {
        let request = bed.openssl.request(&key, "Plain", &[&uses.replace(' ', "")]);
        let refused = bed.by_password(name, "alice", &request);
        assert_eq!(messages::error_code(&refused.body), Some(0x8007_0057), "{uses}: {}", refused.body);
        assert!(refused.body.contains("which the template has not"), "{uses}: {}", refused.body);
    }
    assert_eq!(bed.authority.requests(), Vec::<String>::new());
    let request = bed.openssl.request(&key, "Plain", &["extendedKeyUsage=clientAuth"]);
    assert_eq!(bed.by_password(name, "alice", &request).status, 200);
    let request = bed.openssl.request_with_pair(&key, "Plain", "CertificateTemplate", "Plain");
    let issued = bed.by_password(name, "alice", &request);
    assert_eq!(issued.status, 200, "{}", issued.body);
    // Nothing is said beside the request.
    let seen = bed.authority.requests().concat();
    assert!(seen.contains("\"attributes\": null") || seen.contains("\"attributes\": \"\""), "{seen}");
}
