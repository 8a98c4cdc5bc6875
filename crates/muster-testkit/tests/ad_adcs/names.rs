//! Whose names a certificate of the authority has: nothing is delivered with a name that was not asked for, or that is not the
//! account's.

use muster_testkit::ad::Ad;
use muster_testkit::messages;
use muster_testkit::tools::Key;

use crate::bed::{Bed, Plan};

const ENDPOINT: &str = r#"
[[enrollment_endpoint]]
ca = "CA"
authentication = "username_password"
listener = "password"
identity = "delegate"
"#;

fn bed(name: &str, templates: &[&str]) -> Option<Bed> {
    let ad = Ad::or_not_run()?;
    let arguments = vec!["--sid-of".to_owned(), Bed::sid_of(&ad, "alice")];
    let mut bed = Bed::make(&Plan { name, templates, protocol: "dcom", arguments, endpoints: ENDPOINT })?;
    bed.site.site.serve();
    Some(bed)
}

/// What OpenSSL reads in the certificate that comes of it.
fn delivered(bed: &Bed, ca: &str, template: &str, extensions: &[&str]) -> String {
    let key = bed.openssl.key(Key::P256, template);
    let answer = bed.by_password(ca, "alice", &bed.openssl.request(&key, template, extensions));
    let certificate = messages::certificate(&answer.body);
    let certificate =
        certificate.unwrap_or_else(|| panic!("{template}: {}\n{}", answer.body, bed.site.site.log()));
    bed.read(certificate, template)
}

/// It is kept back, with an alarm that names the name, now and later, and the authority is not asked twice.
fn kept_back(bed: &Bed, ca: &str, template: &str, extensions: &[&str], name: &str) {
    let key = bed.openssl.key(Key::P256, template);
    let request = bed.openssl.request(&key, template, extensions);
    let answer = bed.by_password(ca, "alice", &request);
    assert_eq!(answer.status, 500, "{template}: {}", answer.body);
    assert!(answer.body.contains("something that was not asked for"), "{template}: {}", answer.body);
    assert!(messages::certificate(&answer.body).is_none(), "{template}: {}", answer.body);
    let log = bed.site.site.log();
    let alarm = log.lines().find(|line| line.contains("is not passed on") && line.contains(name));
    assert!(alarm.is_some_and(|line| line.contains("ERROR")), "{template}: {log}");
    let id = messages::text(&answer.body, "RequestID").unwrap();
    let shown = bed.site.site.muster("request", &["show", id, "--json"]);
    assert!(shown.contains("CA_UNTRUSTED"), "{template}: {shown}");
    let calls = bed.authority.requests().len();
    let again = bed.by_password(ca, "alice", &request);
    assert!(messages::certificate(&again.body).is_none(), "{template}: {}", again.body);
    assert!(messages::certificate(&bed.poll(ca, "alice", id).body).is_none(), "{template}");
    assert_eq!(bed.authority.requests().len(), calls, "{template}");
}

/// Where names come from the request, the authority may leave some out and may not add any.
#[test]
fn t14_names_that_nobody_asked_for_are_kept_back() {
    let ca = "Corp Adding CA";
    let templates = [
        "Asked",
        "AskedFewer",
        "AskedMore",
        "AskedOwnSid",
        "AskedDns",
        "AskedUpn",
        "AskedCn",
        "AskedOtherSid",
    ];
    let Some(bed) = bed(ca, &templates) else { return };
    let names = ["subjectAltName=DNS:A.lab.example,DNS:b.lab.example"];
    for (template, both) in
        [("Asked", true), ("AskedFewer", false), ("AskedMore", true), ("AskedOwnSid", true)]
    {
        let text = delivered(&bed, ca, template, &names);
        assert_eq!(text.contains("DNS:b.lab.example"), both, "{template}: {text}");
        assert!(text.to_ascii_lowercase().contains("dns:a.lab.example"), "{template}: {text}");
        let has_sid = text.replace('\n', "").contains(&bed.ad().sid("alice"));
        assert_eq!(has_sid, template == "AskedOwnSid", "{template}: {text}");
    }
    for (template, name) in [
        ("AskedDns", "DNS:dc1.corp.test, which was not asked for"),
        ("AskedUpn", "UPN:administrator@corp.test, which was not asked for"),
        ("AskedCn", "CN=dc1.corp.test, which was not asked for"),
        ("AskedOtherSid", "the security identifier S-1-5-21-1-2-3-500"),
    ] {
        kept_back(&bed, ca, template, &names, name);
    }
}

/// Where the authority builds names from the directory, they are those that the directory has for the caller.
#[test]
fn t14_names_of_another_account_are_kept_back() {
    let ca = "Corp Naming CA";
    let Some(bed) = bed(ca, &["Named", "NamedDns", "NamedUpn", "NamedMail", "NamedUri"]) else { return };
    assert!(delivered(&bed, ca, "Named", &[]).contains("X509v3 Subject Alternative Name"));
    for (template, name) in [
        ("NamedDns", "DNS:dc1.corp.test, which is not the account's"),
        ("NamedUpn", "UPN:administrator@corp.test, which is not the account's"),
        ("NamedMail", "email:boss@corp.test, which is not the account's"),
        ("NamedUri", "the security identifier S-1-5-21-1-2-3-500"),
    ] {
        kept_back(&bed, ca, template, &[], name);
    }
}
