//! pkilint looks at every kind of certificate and revocation list that is issued. What it may find is listed, with
//! reasons, in `tests/peers/pkilint-accepted.toml`.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise, in its helpers too"
)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use muster_testkit::bed::Bed;
use muster_testkit::peers::{self, Peer};
use muster_testkit::site::{MovedClock, SigningAlgorithm, Site};
use muster_testkit::tools::Key;

#[derive(serde::Deserialize)]
struct Accepted {
    #[serde(default)]
    accepted: Vec<Entry>,
}

/// One finding that is accepted.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// Which linter.
    linter: String,
    /// Its code for the finding.
    code: String,
    /// Accepted where the finding's message contains this.
    message: String,
    /// Why it is accepted.
    reason: String,
}

/// A name as a CA has it outside of tests: pkilint takes no URL whose host has no dot.
const HOST: &str = "pki.corp.example";

/// Names from the request, of every kind that a template can allow.
const EVERY_NAME: &str = r#"
name = "EveryName"
display_name = "Every name"
kind = "computer"
eku = ["1.3.6.1.5.5.7.3.1"]
policies = ["1.3.6.1.4.1.99999.1"]

[subject]
source = "request"
allow_dns = ["own", ".lab.example", "*.lab.example"]
allow_own_email = true
allow_ip = ["10.1.0.0/16", "2001:db8::/32"]
allow_attributes = ["organizational_unit", "locality"]
fixed = [["country", "DE"], ["organization", "Example Ä"]]

[key]
algorithms = ["p256", "rsa", "ed25519"]
usage = ["digital_signature"]

[validity]
days = 90
renew_before_days = 30

[issuance]
approval = true

[permissions]
enroll = ["group:computers"]
"#;

/// No subject, so that the alternative names are critical.
const NO_SUBJECT: &str = r#"
name = "NoSubject"
display_name = "No subject"
kind = "computer"
eku = ["1.3.6.1.5.5.7.3.2", "1.3.6.1.5.5.7.3.1"]

[subject]
source = "identity"
common_name = "none"
alternatives = ["dns_names"]

[key]
algorithms = ["p256"]
usage = ["digital_signature", "key_agreement"]

[validity]
days = 90
renew_before_days = 30

[permissions]
enroll = ["group:computers"]
"#;

/// A user principal name, which is an otherName.
const LOGON: &str = r#"
name = "Logon"
display_name = "Logon"
kind = "user"
eku = ["1.3.6.1.5.5.7.3.2", "1.3.6.1.4.1.311.20.2.2"]

[subject]
source = "identity"
common_name = "common_name"
alternatives = ["upn", "email"]

[key]
algorithms = ["p256", "rsa"]
usage = ["digital_signature", "key_encipherment"]

[validity]
days = 365
renew_before_days = 42

[permissions]
enroll = ["group:users"]
"#;

const NAMES: &str = "subjectAltName=DNS:web1.corp.example,DNS:a.lab.example,DNS:*.lab.example,IP:10.1.2.3,IP:2001:db8::1,email:web1@corp.example";

/// What the CA with this algorithm issues: a line for the script, and what it is.
fn documents(algorithm: SigningAlgorithm, all: bool) -> Option<(Bed, Vec<(String, String)>)> {
    let bed = Bed::or_not_run(|| {
        let mut site = Site::make_for(HOST, algorithm, &MovedClock(0));
        site.serve();
        site
    })?;
    let Bed { site, openssl, curl } = &bed;
    site.muster("account", &["set", "web1", "--email", "web1@corp.example"]);
    for template in [EVERY_NAME, NO_SUBJECT, LOGON] {
        site.template(template);
    }
    let ca = openssl.path("ca.der");
    openssl.run(&["x509", "-in", site.ca().to_str().unwrap(), "-outform", "DER", "-out", &ca]);
    let mut documents = vec![(format!("certificate\t{ca}"), "CA certificate".to_owned())];
    let mut add = |path: &str, what: &str| {
        documents.push((format!("certificate\t{path}"), what.to_owned()));
        documents.push((format!("chain\t{ca}\t{path}"), format!("{what} and its issuer")));
    };
    for (number, (file, what)) in
        [("tls/server.pem", "the service's own"), ("ca/exchange.pem", "CA exchange")].iter().enumerate()
    {
        // The first certificate of the file; behind it may come the CA's.
        let one = openssl.path(&format!("own{number}.pem"));
        openssl.run(&["x509", "-in", site.installed(file).to_str().unwrap(), "-out", &one]);
        add(&one, what);
    }
    let names: &[&str] = &[NAMES];
    let web: &[&str] = &["subjectAltName=DNS:web1.corp.example"];
    let mut cases = vec![
        ("User", "alice", Key::P256, &[][..]),
        ("EveryName", "web1", Key::P256, names),
        ("NoSubject", "web1", Key::P256, &[]),
    ];
    if all {
        cases.extend([
            ("User", "alice", Key::Rsa2048, &[][..]),
            ("User", "alice", Key::P384, &[]),
            ("User", "alice", Key::Ed25519, &[]),
            ("UserEmail", "alice", Key::Rsa2048, &[]),
            ("UserEmail", "alice", Key::P256, &[]),
            ("Computer", "web1", Key::Rsa2048, &[]),
            ("Computer", "web1", Key::P384, &[]),
            ("WebServer", "web1", Key::Rsa2048, web),
            ("WebServer", "web1", Key::P256, web),
            ("CodeSigning", "alice", Key::Rsa3072, &[]),
            ("CodeSigning", "alice", Key::P384, &[]),
            ("Logon", "alice", Key::Rsa2048, &[]),
            ("EveryName", "web1", Key::Rsa2048, names),
            ("EveryName", "web1", Key::Ed25519, names),
        ]);
    }
    let mut serials = Vec::new();
    for (number, (template, account, kind, extensions)) in cases.into_iter().enumerate() {
        let key = openssl.key(kind, &format!("key{number}"));
        let (der, _) = bed.enroll(account, template, &key, extensions);
        let pem = openssl.pem(&format!("issued{number}"), &der);
        let serial = String::from_utf8(openssl.run(&["x509", "-in", &pem, "-noout", "-serial"])).unwrap();
        serials.push(serial.trim().trim_start_matches("serial=").to_owned());
        add(&pem, &format!("{template} with a key of the kind {kind:?}"));
    }
    // Revocation lists: empty, with every reason, after a hold was released.
    let reasons = [
        "unspecified",
        "keyCompromise",
        "affiliationChanged",
        "superseded",
        "cessationOfOperation",
        "certificateHold",
        "privilegeWithdrawn",
    ];
    let mut list = |name: &str| {
        let ran = curl.run(&[&site.published("ca.crl")], b"");
        let path = openssl.write(&format!("{name}.crl"), &ran.output);
        documents.push((format!("crl\t{path}"), format!("revocation list, {name}")));
        let text = openssl.run(&["crl", "-inform", "DER", "-in", &path, "-noout", "-text"]);
        String::from_utf8(text).unwrap()
    };
    assert!(list("empty").contains("No Revoked Certificates"));
    let reasons = if all { &reasons[..] } else { &reasons[..1] };
    for (serial, reason) in serials.iter().zip(reasons) {
        site.muster("cert", &["revoke", serial, "--reason", reason]);
    }
    let text = list("filled");
    assert_eq!(text.matches("Serial Number:").count(), reasons.len(), "{text}");
    if all {
        site.muster("cert", &["release", &serials[5]]);
        let text = list("released");
        assert_eq!(text.matches("Serial Number:").count(), reasons.len() - 1, "{text}");
    }
    Some((bed, documents))
}

#[test]
fn nothing_issued_has_findings_that_are_not_accepted() {
    let Some(python) = Peer::Python.or_not_run() else { return };
    let accepted: Accepted =
        toml::from_str(&fs::read_to_string(peers::script("pkilint-accepted.toml")).unwrap()).unwrap();
    assert!(accepted.accepted.iter().all(|entry| entry.reason.len() > 20), "every entry says why");
    let mut child = Command::new(python)
        .arg(peers::script("pkilint_judge.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut input, mut output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    let (mut used, mut faults, mut judged) = (BTreeSet::new(), Vec::new(), 0);
    for (algorithm, all) in [
        (SigningAlgorithm::P256, true),
        (SigningAlgorithm::Rsa2048, false),
        (SigningAlgorithm::P384, false),
        (SigningAlgorithm::Ed25519, false),
    ] {
        let Some((_bed, documents)) = documents(algorithm, all) else {
            child.kill().unwrap();
            child.wait().unwrap();
            return;
        };
        for (line, what) in documents {
            writeln!(input, "{line}").unwrap();
            let mut answer = String::new();
            output.read_line(&mut answer).unwrap();
            let report: serde_json::Value = serde_json::from_str(&answer).unwrap();
            judged += 1;
            for finding in report["findings"].as_array().unwrap() {
                let field = |name: &str| finding[name].as_str().unwrap_or_default().to_owned();
                let entry = accepted.accepted.iter().position(|entry| {
                    report["linter"] == entry.linter.as_str()
                        && field("code") == entry.code
                        && field("message").contains(&entry.message)
                });
                match entry {
                    Some(entry) => {
                        used.insert(entry);
                    }
                    None => faults.push(format!("{algorithm}: {what}: {} {finding}", report["linter"])),
                }
            }
        }
    }
    drop(input);
    assert!(child.wait().unwrap().success());
    assert!(faults.is_empty(), "{} findings:\n{}", faults.len(), faults.join("\n"));
    assert!(judged > 60, "{judged} documents");
    for (number, entry) in accepted.accepted.iter().enumerate() {
        assert!(
            used.contains(&number),
            "no longer found, remove it: {} {} {}",
            entry.linter,
            entry.code,
            entry.message
        );
    }
}
