//! Certificates: for every kind of CA key, as OpenSSL and x509-cert read them.

use std::collections::HashSet;

use der::{Decode, Encode};
use muster_ca::{Authority, CERTIFICATE_FILE, RootParameters, SigningAlgorithm};
use muster_core::issuance::{Issuer, PrepareError, SignError};
use muster_core::names::{AltName, NameAttribute, SubjectName};
use muster_core::request::KeyAlgorithm;
use muster_core::template::KeyUsage;
use muster_core::{RequestId, UnixTime};
use x509_cert::Certificate;
use x509_cert::ext::pkix::BasicConstraints;

use crate::support::{
    NOW, addresses, ca_in_memory, ca_with_certificate, contents, file, openssl, parameters, serial,
};

#[test]
fn every_algorithm_issues_what_openssl_accepts() {
    for algorithm in SigningAlgorithm::ALL {
        let (directory, authority) = ca_with_certificate(algorithm);
        let contents = contents();
        let tbs = authority.build(&contents, serial(7)).unwrap();
        authority.lint(&contents, &tbs).unwrap();
        let certificate = authority.sign(&tbs).unwrap();
        let leaf = file(directory.path(), "leaf.der", &certificate);
        let pem = directory.path().join("leaf.pem").display().to_string();
        openssl(&["x509", "-inform", "DER", "-in", &leaf, "-out", &pem]);
        let root = directory.path().join(CERTIFICATE_FILE).display().to_string();
        let seconds = NOW.0.to_string();
        let verdict = openssl(&[
            "verify",
            "-x509_strict",
            "-purpose",
            "sslclient",
            "-attime",
            &seconds,
            "-CAfile",
            &root,
            &pem,
        ]);
        assert!(verdict.contains(": OK"), "{verdict}");
        let text = openssl(&["x509", "-in", &pem, "-noout", "-text"]);
        for expected in [
            "Version: 3 (0x2)",
            "Issuer: O = Example, CN = Example Issuing CA",
            "Subject: C = DE, O = B\\C3\\BCcher, CN = alice",
            "Not Before: Nov 23 04:31:43 2026 GMT",
            "Not After : Nov 23 04:41:42 2027 GMT",
            "X509v3 Key Usage: critical\n                Digital Signature, Key Agreement\n",
            "TLS Web Client Authentication, Microsoft Smartcard Login",
            "Policy: 1.3.6.1.4.1.99999.1.2",
            "email:alice@lab.example, DNS:alice.lab.example, IP Address:10.1.2.3, IP Address:2001:DB8:0:0:0:0:0:1",
            "Full Name:\n                  URI:http://pki.example/ca.crl",
            "CA Issuers - URI:http://pki.example/ca.crt",
        ] {
            assert!(text.contains(expected), "{algorithm}: no {expected:?} in {text}");
        }
    }
}

#[test]
fn microsoft_extensions_have_the_octets_of_the_specification() {
    let authority = ca_in_memory();
    let mut contents = contents();
    contents.template = ("1.3.6.1.4.1.311.21.8.1.2".parse().unwrap(), 100, 300);
    contents.alternatives = vec![AltName::Guid("0e10c968-78fb-11d2-90d4-00c04f79dc55".parse().unwrap())];
    let certificate = authority.sign(&authority.build(&contents, serial(1)).unwrap()).unwrap();
    let certificate = Certificate::from_der(&certificate).unwrap();
    let value = |oid: &str| {
        let extensions = certificate.tbs_certificate().extensions().unwrap();
        let found = extensions.iter().find(|e| e.extn_id.to_string() == oid).unwrap();
        assert!(!found.critical);
        found.extn_value.as_bytes().iter().map(|b| format!("{b:02x}")).collect::<String>()
    };
    // SEQUENCE { OID 1.3.6.1.4.1.311.21.8.1.2, INTEGER 100, INTEGER 300 }
    assert_eq!(value("1.3.6.1.4.1.311.21.7"), "3014060b2b060104018237150801020201640202012c");
    // SEQUENCE { SEQUENCE { clientAuth }, SEQUENCE { smartcardLogon } }
    assert_eq!(value("1.3.6.1.4.1.311.21.10"), "301a300a06082b06010505070302300c060a2b060104018237140202");
    // SEQUENCE { [0] { OID 1.3.6.1.4.1.311.25.1, [0] { OCTET STRING of the sixteen octets } } }
    let guid = "68c9100efb78d21190d400c04f79dc55";
    assert_eq!(value("2.5.29.17"), format!("3021a01f06092b0601040182371901a0120410{guid}"));
    // SEQUENCE { [0] { OID 1.3.6.1.4.1.311.25.2.1, [0] { OCTET STRING "S-1-5-21-1-2-3-1104" } } }
    let sid: String = "S-1-5-21-1-2-3-1104".bytes().map(|b| format!("{b:02x}")).collect();
    assert_eq!(value("1.3.6.1.4.1.311.25.2"), format!("3025a023060a2b060104018237190201a0150413{sid}"));
}

/// T05, T10: contents have no place for a CA bit, a path length or a key identifier; the output has none but ours.
#[test]
fn nothing_but_the_contents_gets_in() {
    let authority = ca_in_memory();
    let mut contents = contents();
    contents.policies.clear();
    contents.sid = None;
    let certificate = authority.sign(&authority.build(&contents, serial(1)).unwrap()).unwrap();
    let certificate = Certificate::from_der(&certificate).unwrap();
    let tbs = certificate.tbs_certificate();
    assert!(tbs.get_extension::<BasicConstraints>().unwrap().is_none());
    let identifiers: Vec<String> = tbs.extensions().unwrap().iter().map(|e| e.extn_id.to_string()).collect();
    assert_eq!(
        identifiers,
        [
            "2.5.29.35",
            "2.5.29.14",
            "2.5.29.15",
            "2.5.29.37",
            "1.3.6.1.4.1.311.21.7",
            "1.3.6.1.4.1.311.21.10",
            "2.5.29.17",
            "2.5.29.31",
            "1.3.6.1.5.5.7.1.1",
        ]
    );
    assert_eq!(tbs.subject_public_key_info().to_der().unwrap(), contents.spki);
}

#[test]
fn empty_subject_makes_the_alternative_names_critical() {
    let authority = ca_in_memory();
    let mut contents = contents();
    contents.subject = SubjectName::default();
    let tbs = authority.build(&contents, serial(1)).unwrap();
    authority.lint(&contents, &tbs).unwrap();
    let certificate = Certificate::from_der(&authority.sign(&tbs).unwrap()).unwrap();
    let names = certificate.tbs_certificate().extensions().unwrap();
    assert!(names.iter().any(|e| e.extn_id.to_string() == "2.5.29.17" && e.critical));
}

/// T43: the last second of 2049 and the first of 2050.
#[test]
fn validity_changes_its_form_in_2050() {
    let parameters = RootParameters { years: 40, ..parameters(SigningAlgorithm::P256) };
    let authority = Authority::in_memory(&parameters, addresses(), NOW).unwrap();
    for (not_after, form) in
        [(2_524_607_999, &b"\x17\x0d491231235959Z"[..]), (2_524_608_000, &b"\x18\x0f20500101000000Z"[..])]
    {
        let mut contents = contents();
        contents.not_after = UnixTime(not_after);
        let tbs = authority.build(&contents, serial(1)).unwrap();
        authority.lint(&contents, &tbs).unwrap();
        assert!(tbs.windows(form.len()).any(|window| window == form));
    }
}

#[test]
fn contents_that_do_not_fit_are_not_built() {
    let authority = ca_in_memory();
    let refusal = |change: fn(&mut muster_core::policy::CertificateContents)| {
        let mut contents = contents();
        change(&mut contents);
        match authority.build(&contents, serial(1)) {
            Err(PrepareError::Build(sentence)) => sentence,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refusal(|c| c.eku.clear()), "there is no extended key usage");
    assert_eq!(refusal(|c| c.usage.clear()), "no key usage of the template fits this kind of key");
    assert_eq!(refusal(|c| c.spki.truncate(40)), "the public key is not a SubjectPublicKeyInfo");
    assert_eq!(refusal(|c| c.spki.push(0)), "the public key is not a SubjectPublicKeyInfo");
    assert_eq!(
        refusal(|c| c.not_before = UnixTime(-1)),
        "1969-12-31T23:59:59Z is outside the years 1970 to 9999"
    );
    assert_eq!(
        refusal(|c| {
            c.subject.0.clear();
            c.alternatives.clear();
        }),
        "there is neither a subject nor an alternative name"
    );
    assert_eq!(
        refusal(|c| c.subject = SubjectName::common_name("x".repeat(65))),
        "CN has 65 characters; the limit is 64"
    );
    assert_eq!(
        refusal(|c| c.subject.0 = vec![(NameAttribute::Country, "D".to_owned())]),
        "C has 1 characters; the limit is 2"
    );
    assert_eq!(
        refusal(|c| c.subject.0 = vec![(NameAttribute::Email, "ä@b.example".to_owned())]),
        "E has characters that its string type does not have"
    );
    for name in [
        AltName::Dns("a_b.example".to_owned()),
        AltName::Dns("a..example".to_owned()),
        AltName::Dns(format!("{}.example", "x".repeat(64))),
        AltName::Email("a b@c.example".to_owned()),
        AltName::Upn(String::new()),
        AltName::Upn("a\0b@c".to_owned()),
        AltName::Uri("no-scheme".to_owned()),
    ] {
        let mut contents = contents();
        contents.alternatives = vec![name.clone()];
        let built = authority.build(&contents, serial(1));
        assert!(matches!(built, Err(PrepareError::Build(_))), "{name}: {built:?}");
    }
}

#[test]
fn octets_that_are_not_one_sequence_are_not_signed() {
    let authority = ca_in_memory();
    let mut tbs = authority.build(&contents(), serial(1)).unwrap();
    tbs.push(0);
    let expected = SignError("the octets to be signed are not one DER sequence".to_owned());
    assert_eq!(authority.sign(&tbs), Err(expected.clone()));
    tbs.truncate(20);
    assert_eq!(authority.sign(&tbs), Err(expected.clone()));
    assert_eq!(authority.sign(&[]), Err(expected));
}

/// T41: 20,000 serial numbers for one request differ, and the random bits are not stuck.
#[test]
fn serial_numbers_differ() {
    let mut seen = HashSet::new();
    let mut ones = 0;
    for _ in 0..20_000 {
        let serial = muster_ca::serial::fresh(RequestId::new(1).unwrap()).unwrap();
        ones += serial.as_bytes()[5..].iter().map(|b| b.count_ones()).sum::<u32>();
        assert!(seen.insert(serial));
    }
    // 2,400,000 fair bits: mean 1,200,000, standard deviation 775; nine of those on either side.
    assert!((1_193_025..1_206_975).contains(&ones), "{ones}");
}

#[test]
fn rsa_keys_keep_their_usage() {
    let authority = ca_in_memory();
    let rsa = muster_ca::SigningKey::generate(SigningAlgorithm::Rsa2048).unwrap();
    let mut contents = contents();
    contents.spki = rsa.spki().to_vec();
    contents.key_algorithm = KeyAlgorithm::Rsa;
    contents.usage = vec![KeyUsage::DigitalSignature, KeyUsage::KeyEncipherment];
    let tbs = authority.build(&contents, serial(1)).unwrap();
    authority.lint(&contents, &tbs).unwrap();
}
