//! OpenSSL judges whatever is issued, with each kind of CA key, and makes renewals that we have to take or refuse.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise, in its helpers too"
)]

use muster_testkit::bed::Bed;
use muster_testkit::messages::{self, certificate, error_code, full_response};
use muster_testkit::site::{MovedClock, PASSWORD, SigningAlgorithm, Site};
use muster_testkit::tools::{Answer, Key, OpenSsl, base64, content, element, elements, from_base64};

/// Template, account, key, extensions of the request, purpose for OpenSSL, words that `-text` has to show.
type Case = (&'static str, &'static str, Key, &'static [&'static str], &'static str, &'static [&'static str]);

const WEB_NAMES: &[&str] = &["subjectAltName=DNS:web1.corp.example,DNS:www.corp.example"];
const USER: &[&str] =
    &["Subject: CN = Alice Example", "TLS Web Client Authentication", "Digital Signature\n"];
const MAIL: &[&str] = &["email:alice@corp.example", "E-mail Protection", "Digital Signature, Key "];
const COMPUTER: &[&str] = &[
    "Subject: CN = web1.corp.example",
    "DNS:web1.corp.example, DNS:www.corp.example",
    "TLS Web Client Authentication, TLS Web Server Authentication",
];
const WEB: &[&str] = &["DNS:web1.corp.example, DNS:www.corp.example", "TLS Web Server Authentication\n"];
const CODE: &[&str] = &["Subject: CN = Alice Example", "Code Signing\n"];

const CASES: &[Case] = &[
    ("User", "alice", Key::P256, &[], "sslclient", USER),
    ("User", "alice", Key::Rsa2048, &[], "sslclient", USER),
    ("User", "alice", Key::P384, &[], "sslclient", USER),
    ("User", "alice", Key::Ed25519, &[], "sslclient", USER),
    ("UserEmail", "alice", Key::Rsa2048, &[], "smimesign", MAIL),
    ("UserEmail", "alice", Key::P256, &[], "smimesign", MAIL),
    ("UserEmail", "alice", Key::P384, &[], "smimesign", MAIL),
    ("Computer", "web1", Key::Rsa2048, &[], "sslserver", COMPUTER),
    ("Computer", "web1", Key::P256, &[], "sslclient", COMPUTER),
    ("Computer", "web1", Key::P384, &[], "sslserver", COMPUTER),
    ("WebServer", "web1", Key::P256, WEB_NAMES, "sslserver", WEB),
    ("WebServer", "web1", Key::Rsa2048, WEB_NAMES, "sslserver", WEB),
    ("WebServer", "web1", Key::P384, WEB_NAMES, "sslserver", WEB),
    ("CodeSigning", "alice", Key::Rsa3072, &[], "any", CODE),
    ("CodeSigning", "alice", Key::P384, &[], "any", CODE),
];

/// Everything that a CA with this algorithm issues verifies, strictly, until it is revoked.
fn judge(algorithm: SigningAlgorithm, signature: &str) {
    let Some(bed) = Bed::or_not_run(|| Site::start(algorithm)) else { return };
    let Bed { site, openssl, .. } = &bed;
    let ca = site.ca();
    let ca = ca.to_str().unwrap();
    let root = openssl.try_run(&["verify", "-x509_strict", "-check_ss_sig", "-CAfile", ca, ca], b"").all();
    assert!(root.ends_with("OK\n"), "{root}");

    for (number, (template, account, key, extensions, purpose, words)) in CASES.iter().enumerate() {
        let case = format!("{template} {key:?}");
        let key = openssl.key(*key, &format!("case{number}"));
        let (der, answer) = bed.enroll(account, template, &key, extensions);
        let pem = openssl.pem(&format!("case{number}"), &der);
        let verdict = bed.verify(&pem, purpose);
        assert!(verdict.ends_with(": OK\n"), "{case}: {verdict}");

        let text = openssl.run(&["x509", "-in", &pem, "-noout", "-text"]);
        let text = String::from_utf8(text).unwrap();
        let addresses = [site.published("ca.crt"), site.published("ca.crl")];
        let everywhere = [
            "Version: 3 (0x2)",
            "Issuer: CN = Peer Test CA",
            &format!("CA Issuers - URI:{}", addresses[0]),
            &format!("URI:{}", addresses[1]),
            "X509v3 Key Usage: critical",
            "1.3.6.1.4.1.311.21.7",
            "1.3.6.1.4.1.311.21.10",
            "X509v3 Authority Key Identifier",
            "X509v3 Subject Key Identifier",
            &format!("Signature Algorithm: {signature}"),
        ];
        for word in everywhere.iter().chain(*words) {
            assert!(text.contains(word), "{case}: no '{word}' in\n{text}");
        }
        assert!(!text.contains("CA:TRUE"), "{case}: {text}");

        // The key in the certificate is the one of the request.
        let ours = openssl.run(&["pkey", "-in", &key, "-pubout"]);
        assert_eq!(openssl.run(&["x509", "-in", &pem, "-noout", "-pubkey"]), ours, "{case}");

        // The CMC full response: signed by the CA, and the certificate is in it.
        let response = openssl.write("response.der", from_base64(full_response(&answer.body).unwrap()));
        let inside = openssl.path("response.content");
        let cms = ["cms", "-verify", "-inform", "DER", "-in", &response, "-CAfile", ca];
        if algorithm == SigningAlgorithm::Ed25519 {
            // OpenSSL before 3.2 verifies no Ed25519 in CMS (RFC 8419): it gets the pieces one by one.
            openssl.run(&[&cms[..], &["-noverify", "-nosigs", "-out", &inside]].concat());
            verify_ed25519_response(openssl, &std::fs::read(&response).unwrap(), ca, &inside);
        } else {
            openssl.run(&[&cms[..], &["-purpose", "any", "-out", &inside]].concat());
        }
        let inside = std::fs::read(&inside).unwrap();
        assert!(inside.windows(6).any(|w| w == b"Issued"), "{case}");
        let shown = openssl.run(&["cms", "-cmsout", "-print", "-noout", "-inform", "DER", "-in", &response]);
        let shown = String::from_utf8(shown).unwrap();
        assert!(shown.contains("eContentType: id-cct-PKIResponse (1.3.6.1.5.5.7.12.3)"), "{case}: {shown}");
        assert_eq!(shown.matches("d.certificate:").count(), 2, "{case}: {shown}");
        assert_eq!(shown.matches("d.issuerAndSerialNumber:").count(), 1, "{case}: {shown}");
    }

    // Revocation: the list verifies before and after, and then names the serial number with its reason.
    let pem = openssl.path("case0.pem");
    let serial = String::from_utf8(openssl.run(&["x509", "-in", &pem, "-noout", "-serial"])).unwrap();
    let serial = serial.trim().trim_start_matches("serial=").to_owned();
    let before = list_text(&bed);
    assert!(!before.contains(&serial), "{before}");
    site.muster("cert", &["revoke", &serial, "--reason", "superseded"]);
    let after = list_text(&bed);
    assert!(after.contains(&serial) && after.contains("Superseded"), "{after}");
    let verdict = bed.verify(&pem, "sslclient");
    assert!(verdict.contains("certificate revoked"), "{verdict}");
    let other = bed.verify(&openssl.path("case1.pem"), "sslclient");
    assert!(other.ends_with(": OK\n"), "{other}");
}

/// The one signature of a CMC full response, verified over the signed attributes, and the digest in them.
fn verify_ed25519_response(openssl: &OpenSsl, response: &[u8], ca: &str, signed: &str) {
    let signed_data = content(content(elements(content(response))[1]));
    let signers = *elements(signed_data).last().unwrap();
    let signer = elements(content(content(signers)));
    let [_version, _sid, _digest, attributes, _algorithm, signature] = &signer[..] else {
        panic!("{signer:?}");
    };
    // RFC 5652 5.4: signed with the tag of a SET.
    let attributes = openssl.write("attributes.der", element(0x31, content(attributes)));
    let digest = openssl.run(&["dgst", "-sha512", "-binary", signed]);
    let attributes_octets = std::fs::read(&attributes).unwrap();
    assert!(
        attributes_octets.windows(digest.len()).any(|w| w == digest),
        "the digest is that of the content"
    );
    let signature = openssl.write("signature", content(signature));
    let verify =
        ["pkeyutl", "-verify", "-rawin", "-certin", "-inkey", ca, "-in", &attributes, "-sigfile", &signature];
    openssl.run(&verify);
}

/// The revocation list as text, after OpenSSL has verified it.
fn list_text(bed: &Bed) -> String {
    let list = bed.openssl.revocation_list(&bed.curl, &bed.site);
    let ca = bed.site.ca();
    let ran = bed
        .openssl
        .try_run(&["crl", "-in", &list, "-verify", "-CAfile", ca.to_str().unwrap(), "-noout", "-text"], b"");
    assert!(ran.ok && ran.errors.contains("verify OK"), "{}", ran.all());
    let text = ran.text();
    for word in ["Version 2 (0x1)", "X509v3 CRL Number", "X509v3 Authority Key Identifier"] {
        assert!(text.contains(word), "no '{word}' in\n{text}");
    }
    text
}

#[test]
fn everything_issued_by_p256_verifies_until_revoked() {
    judge(SigningAlgorithm::P256, "ecdsa-with-SHA256");
}

#[test]
fn everything_issued_by_p384_verifies_until_revoked() {
    judge(SigningAlgorithm::P384, "ecdsa-with-SHA384");
}

#[test]
fn everything_issued_by_rsa_2048_verifies_until_revoked() {
    judge(SigningAlgorithm::Rsa2048, "sha256WithRSAEncryption");
}

#[test]
fn everything_issued_by_ed25519_verifies_until_revoked() {
    judge(SigningAlgorithm::Ed25519, "ED25519");
}

#[test]
fn s_client_connects_with_both_versions_and_with_and_without_certificate() {
    let Some(bed) = Bed::or_not_run(|| Site::start(SigningAlgorithm::P256)) else { return };
    let Bed { site, openssl, .. } = &bed;
    let key = openssl.key(Key::P256, "alice");
    let (der, _) = bed.enroll("alice", "User", &key, &[]);
    let pem = openssl.pem("alice", &der);
    let ca = site.ca();
    let connect = |port: u16, options: &[&str]| {
        let to = format!("localhost:{port}");
        let mut arguments =
            vec!["s_client", "-connect", &to, "-servername", "localhost", "-CAfile", ca.to_str().unwrap()];
        arguments.extend(["-verify_return_error", "-verify_hostname", "localhost", "-x509_strict"]);
        arguments.extend(options);
        openssl.try_run(&arguments, b"HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").all()
    };
    let (password, certificate) = (site.port(), site.port() + 1);
    for (option, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        for port in [password, certificate] {
            let shown = connect(port, &[option, "-ign_eof"]);
            assert!(shown.contains(&format!("New, {version}, Cipher is")), "{shown}");
            assert!(shown.contains("Verify return code: 0 (ok)"), "{shown}");
            assert!(shown.contains("HTTP/1.1 404"), "a request without certificate is answered: {shown}");
            let asked = shown.contains("Client Certificate Types")
                || shown.contains("Requested Signature Algorithms");
            assert_eq!(asked, port == certificate, "{shown}");
        }
        let shown = connect(certificate, &[option, "-ign_eof", "-cert", &pem, "-key", &key]);
        assert!(shown.contains("HTTP/1.1 404"), "{shown}");
    }
    for old in ["-tls1", "-tls1_1"] {
        let shown = connect(password, &[old, "-cipher", "DEFAULT:@SECLEVEL=0"]);
        assert!(shown.contains("Cipher is (NONE)"), "{old}: {shown}");
    }
    let shown = connect(password, &["-alpn", "h2,http/1.1"]);
    assert!(shown.contains("ALPN protocol: http/1.1"), "{shown}");
    let shown = connect(password, &["-alpn", "h2"]);
    assert!(!shown.contains("ALPN protocol: h2"), "{shown}");
}

/// A renewal by `account` at the address for passwords.
fn renew(bed: &Bed, account: &str, cms: &[u8]) -> Answer {
    bed.curl.issue(&bed.site, account, cms)
}

/// The same at the address for certificates, over a connection with this certificate.
fn renew_with(bed: &Bed, pem: &str, key: &str, cms: &[u8]) -> Answer {
    let url = bed.site.ces_certificate();
    bed.curl.post(&url, &messages::issue(&url, None, &base64(cms)), &["--cert", pem, "--key", key])
}

#[track_caller]
fn assert_issued(bed: &Bed, answer: &Answer) {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let pem = bed.openssl.pem("renewed", &from_base64(certificate(&answer.body).unwrap()));
    let verdict = bed.verify(&pem, "sslclient");
    assert!(verdict.ends_with(": OK\n"), "{verdict}");
}

#[track_caller]
fn assert_refused(answer: &Answer, code: u32, word: &str) {
    assert_eq!(answer.status, 500, "{}", answer.body);
    assert_eq!(
        error_code(&answer.body).map(|c| format!("{c:#x}")),
        Some(format!("{code:#x}")),
        "{}",
        answer.body
    );
    assert!(answer.body.contains(word), "no '{word}' in {}", answer.body);
    assert!(certificate(&answer.body).is_none(), "{}", answer.body);
}

const BAD_RENEWAL: u32 = 0x8009_400e;
const ACCESS_DENIED: u32 = 0x8007_0005;

#[test]
fn renewals_signed_by_openssl_are_taken() {
    let Some(bed) = Bed::or_not_run(|| Site::start(SigningAlgorithm::P256)) else { return };
    let openssl = &bed.openssl;
    for (number, kind) in [Key::P256, Key::Rsa2048, Key::P384].into_iter().enumerate() {
        let old_key = openssl.key(kind, &format!("old{number}"));
        let (old, _) = bed.enroll("alice", "User", &old_key, &[]);
        let pem = openssl.pem(&format!("old{number}"), &old);
        // One new key: several would be several holders.
        let key = openssl.key(Key::P256, &format!("new{number}"));
        for options in [&[][..], &["-noattr"]] {
            let request = openssl.renewal_request(&key, "User", &[], &old);
            let cms = openssl.cms(&request, &pem, &old_key, options);
            assert_issued(&bed, &renew(&bed, "alice", &cms));
            let request = openssl.renewal_request(&key, "User", &[], &old);
            let cms = openssl.cms(&request, &pem, &old_key, options);
            assert_issued(&bed, &renew_with(&bed, &pem, &old_key, &cms));
        }
    }
}

#[test]
fn renewal_with_an_ed25519_key_in_the_request_is_taken() {
    let Some(bed) = Bed::or_not_run(|| Site::start(SigningAlgorithm::P256)) else { return };
    let openssl = &bed.openssl;
    let old_key = openssl.key(Key::P256, "old");
    let (old, _) = bed.enroll("alice", "User", &old_key, &[]);
    let pem = openssl.pem("old", &old);
    let key = openssl.key(Key::Ed25519, "new");
    let cms = openssl.cms(&openssl.renewal_request(&key, "User", &[], &old), &pem, &old_key, &[]);
    assert_issued(&bed, &renew(&bed, "alice", &cms));
}

/// T25: old clients sign with SHA-1. It proves that they have the key; nothing that the CA signs has it, and the log
/// says so of the request.
#[test]
fn t25_renewal_signed_with_sha1_is_taken_and_logged() {
    let Some(bed) = Bed::or_not_run(|| Site::start(SigningAlgorithm::P256)) else { return };
    let openssl = &bed.openssl;
    let logged = || bed.site.log().matches("sha1=true").count();
    for (number, kind) in [Key::P256, Key::Rsa2048].into_iter().enumerate() {
        let old_key = openssl.key(kind, &format!("old{number}"));
        let (old, _) = bed.enroll("alice", "User", &old_key, &[]);
        let pem = openssl.pem(&format!("old{number}"), &old);
        let key = openssl.key(Key::P256, &format!("new{number}"));
        let before = logged();
        for options in [&["-md", "sha1"][..], &["-md", "sha1", "-noattr"]] {
            let request = openssl.renewal_request(&key, "User", &[], &old);
            let cms = openssl.cms(&request, &pem, &old_key, options);
            // 1.3.14.3.2.26
            let sha1 = [0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a];
            assert!(cms.windows(sha1.len()).any(|octets| octets == sha1), "SHA-1 is in it");
            let answer = renew(&bed, "alice", &cms);
            assert_issued(&bed, &answer);
            let issued = openssl.path("renewed.pem");
            let text = String::from_utf8(openssl.run(&["x509", "-in", &issued, "-noout", "-text"])).unwrap();
            assert!(
                text.contains("ecdsa-with-SHA256") && !text.to_lowercase().contains("withsha1"),
                "{text}"
            );
            let response = from_base64(full_response(&answer.body).unwrap());
            assert!(!response.windows(sha1.len()).any(|octets| octets == sha1), "SHA-1 in the answer");
            // It proves no less for that: another key's signature is refused.
            let forged = openssl.forge(&pem, &format!("forged{number}"));
            let cms = openssl.cms(&request, &forged.0, &forged.2, options);
            let answer = renew(&bed, "alice", &cms);
            assert_eq!(answer.status, 500, "{}", answer.body);
            assert!(certificate(&answer.body).is_none(), "{}", answer.body);
        }
        assert!(logged() >= before + 2, "{}", bed.site.log());
    }
}

#[test]
fn renewals_that_prove_nothing_are_refused() {
    let Some(bed) = Bed::or_not_run(|| Site::start(SigningAlgorithm::P256)) else { return };
    let Bed { site, openssl, .. } = &bed;
    let (old_key, new_key) = (openssl.key(Key::P256, "old"), openssl.key(Key::P256, "new"));
    let (old, _) = bed.enroll("alice", "User", &old_key, &[]);
    let pem = openssl.pem("old", &old);
    let request = openssl.renewal_request(&new_key, "User", &[], &old);
    let cms = openssl.cms(&request, &pem, &old_key, &[]);

    // Tampered: the new key, the signature, and the certificate inside the attribute.
    for (what, at) in [("request", 120), ("end of the signature", 1)] {
        let mut bad = cms.clone();
        let at = bad.len() - at;
        bad[at] ^= 1;
        let answer = renew(&bed, "alice", &bad);
        assert_eq!(answer.status, 500, "{what}: {}", answer.body);
        assert!(certificate(&answer.body).is_none(), "{what}: {}", answer.body);
    }
    for at in (20..cms.len()).step_by(37) {
        let mut bad = cms.clone();
        bad[at] ^= 0x40;
        let answer = renew(&bed, "alice", &bad);
        assert_eq!(answer.status, 500, "octet {at} of {}: {}", cms.len(), answer.body);
        assert!(certificate(&answer.body).is_none(), "octet {at}: {}", answer.body);
    }

    // The signer must be named by issuer and serial number, as MS-WCCE says, not by a key identifier.
    let keyid = openssl.cms(&request, &pem, &old_key, &["-keyid"]);
    assert_refused(&renew(&bed, "alice", &keyid), BAD_RENEWAL, "did not sign");

    // Another account, with the right password of its own.
    assert_refused(&renew(&bed, "bob", &cms), ACCESS_DENIED, "another account");

    // Over a connection with another certificate of the same account: the two must be one.
    let second_key = openssl.key(Key::P256, "second");
    let (second, _) = bed.enroll("alice", "User", &second_key, &[]);
    let second_pem = openssl.pem("second", &second);
    assert_refused(&renew_with(&bed, &second_pem, &second_key, &cms), BAD_RENEWAL, "not the one that signed");
    // And of another account.
    let bob_key = openssl.key(Key::P256, "bob");
    let (bob, _) = bed.enroll("bob", "User", &bob_key, &[]);
    let bob_pem = openssl.pem("bob", &bob);
    assert_refused(&renew_with(&bed, &bob_pem, &bob_key, &cms), BAD_RENEWAL, "not the one that signed");

    // The attribute names alice's certificate, bob's key signs: neither bob nor alice gets anything.
    let mixed = openssl.cms(&request, &bob_pem, &bob_key, &[]);
    for account in ["alice", "bob"] {
        let answer = renew(&bed, account, &mixed);
        assert_eq!(answer.status, 500, "{}", answer.body);
        assert!(certificate(&answer.body).is_none(), "{}", answer.body);
    }

    // A self-made certificate with the same issuer, serial number and subject, on a key of one's own.
    let forged = openssl.forge(&pem, "forged");
    let request = openssl.renewal_request(&new_key, "User", &[], &forged.1);
    let answer = renew(&bed, "alice", &openssl.cms(&request, &forged.0, &forged.2, &[]));
    assert_refused(&answer, BAD_RENEWAL, "not issued by this service");
    // The attribute holds the real certificate, the forged one signs.
    let request = openssl.renewal_request(&new_key, "User", &[], &old);
    let answer = renew(&bed, "alice", &openssl.cms(&request, &forged.0, &forged.2, &[]));
    assert_eq!(answer.status, 500, "{}", answer.body);
    assert!(certificate(&answer.body).is_none(), "{}", answer.body);

    // Another template than the certificate has.
    let request = openssl.renewal_request(&new_key, "UserEmail", &[], &old);
    let answer = renew(&bed, "alice", &openssl.cms(&request, &pem, &old_key, &[]));
    assert_refused(&answer, BAD_RENEWAL, "another template");

    // Revoked.
    let id = messages::text(&renew(&bed, "alice", &cms).body, "RequestID").map(str::to_owned);
    assert!(id.is_some(), "untouched, it is a good renewal");
    let serial = String::from_utf8(openssl.run(&["x509", "-in", &pem, "-noout", "-serial"])).unwrap();
    site.muster("cert", &["revoke", serial.trim().trim_start_matches("serial=")]);
    let third = openssl.key(Key::P256, "third");
    let cms = openssl.cms(&openssl.renewal_request(&third, "User", &[], &old), &pem, &old_key, &[]);
    assert_refused(&renew(&bed, "alice", &cms), BAD_RENEWAL, "has been revoked");
    let answer = renew_with(&bed, &pem, &old_key, &cms);
    assert_eq!(answer.status, 500, "{}", answer.body);
    assert!(
        answer.body.contains("FailedAuthentication") && answer.body.contains("has been revoked"),
        "{}",
        answer.body
    );
}

#[test]
fn expired_certificate_neither_renews_nor_signs_in() {
    const YEAR: i64 = -400 * 86_400;
    let Some(mut bed) = Bed::or_not_run(|| Site::make(SigningAlgorithm::P256, &MovedClock(YEAR))) else {
        return;
    };
    let old_key = bed.openssl.key(Key::P256, "old");
    // At that time the certificate of the service has run out for curl, which lives now.
    let request = bed.openssl.request(&old_key, "User", &[]);
    let message = messages::issue(&bed.site.ces(), Some(("alice", PASSWORD)), &base64(&request));
    let answer =
        bed.site.serve_at(MovedClock(YEAR), |site| bed.curl.post(&site.ces(), &message, &["--insecure"]));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let old = from_base64(certificate(&answer.body).unwrap());
    let pem = bed.openssl.pem("old", &old);

    bed.site.serve();
    let verdict = bed.verify(&pem, "sslclient");
    assert!(verdict.contains("certificate has expired"), "{verdict}");
    let key = bed.openssl.key(Key::P256, "new");
    let request = bed.openssl.renewal_request(&key, "User", &[], &old);
    let cms = bed.openssl.cms(&request, &pem, &old_key, &[]);
    assert_refused(&renew(&bed, "alice", &cms), BAD_RENEWAL, "expired on");
    let answer = renew_with(&bed, &pem, &old_key, &cms);
    assert_eq!(answer.status, 500, "{}", answer.body);
    assert!(answer.body.contains("FailedAuthentication"), "{}", answer.body);
    // The same account still enrolls with its password, so it is the certificate that was refused.
    let (der, _) = bed.enroll("alice", "User", &bed.openssl.key(Key::P256, "fresh"), &[]);
    let verdict = bed.verify(&bed.openssl.pem("fresh", &der), "sslclient");
    assert!(verdict.ends_with(": OK\n"), "{verdict}");
}
