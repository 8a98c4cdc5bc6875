//! Roots: made, read back, judged by OpenSSL, and refused when something is wrong with the files.

use std::fs;

use der::Decode;
use muster_ca::{
    Addresses, Authority, AuthorityError, CERTIFICATE_FILE, KEY_FILE, KeyFileError, Passphrase,
    RootParameters, SigningAlgorithm,
};

use x509_cert::Certificate;

use crate::support::{NOW, addresses, ca, ca_in_memory, openssl, openssl_ca, parameters, passphrase};

#[test]
fn every_algorithm_makes_a_root_that_openssl_accepts() {
    for algorithm in SigningAlgorithm::ALL {
        let (directory, authority) = ca(algorithm);
        assert_eq!(authority.algorithm(), algorithm);
        assert_eq!(authority.name(), "Example Issuing CA");
        assert_eq!(authority.not_before(), NOW.plus(-600));
        let path = directory.path().join(CERTIFICATE_FILE).display().to_string();
        let seconds = NOW.0.to_string();
        let verdict = openssl(&[
            "verify",
            "-x509_strict",
            "-check_ss_sig",
            "-attime",
            &seconds,
            "-CAfile",
            &path,
            &path,
        ]);
        assert!(verdict.contains(": OK"), "{verdict}");
        let text = openssl(&["x509", "-in", &path, "-noout", "-text"]);
        for expected in [
            "Subject: O = Example, CN = Example Issuing CA",
            "X509v3 Basic Constraints: critical\n                CA:TRUE\n",
            "X509v3 Key Usage: critical\n                Digital Signature, Certificate Sign, CRL Sign\n",
            "X509v3 Subject Key Identifier: \n",
            "Not Before: Nov 23 04:31:43 2026 GMT",
            "Not After : Nov 22 14:53:42 2036 GMT",
        ] {
            assert!(text.contains(expected), "{algorithm}: no {expected:?} in {text}");
        }
    }
}

#[test]
fn root_serial_numbers_are_random_positive_and_twenty_octets() {
    let mut serials = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let authority = ca_in_memory();
        let certificate = Certificate::from_der(authority.certificate()).unwrap();
        let serial = certificate.tbs_certificate().serial_number().as_bytes().to_vec();
        assert_eq!(serial.len(), 20);
        assert!((0x20..0x40).contains(&serial[0]), "positive, and not of the range for requests");
        assert!(serials.insert(serial));
    }
}

#[test]
fn reopened_root_is_the_same() {
    let (directory, made) = ca(SigningAlgorithm::P384);
    let opened = Authority::open(directory.path(), addresses(), &passphrase()).unwrap();
    assert_eq!(opened.certificate(), made.certificate());
    assert_eq!(opened.key_identifier(), made.key_identifier());
}

#[test]
fn ca_of_openssl_opens() {
    let directory = openssl_ca("/O=Elsewhere", "keyUsage=critical,keyCertSign,cRLSign");
    let authority = Authority::open(directory.path(), addresses(), &passphrase()).unwrap();
    assert_eq!(authority.name(), "O=Elsewhere");
}

#[test]
fn certificate_that_is_no_ca_is_refused() {
    for (extension, what) in [
        ("basicConstraints=critical,CA:FALSE", "its basic constraints do not say so"),
        ("basicConstraints=CA:TRUE", "its basic constraints do not say so"),
        ("subjectAltName=DNS:a.example", "it has no key usage"),
        ("keyUsage=critical,digitalSignature", "its key may not sign certificates and revocation lists"),
    ] {
        let directory = openssl_ca("/CN=x", extension);
        let path = directory.path().join(CERTIFICATE_FILE).display().to_string();
        let error = Authority::open(directory.path(), addresses(), &passphrase()).unwrap_err();
        assert_eq!(error, AuthorityError::NotACa { path, what });
    }
}

#[test]
fn existing_ca_is_never_overwritten() {
    let (directory, authority) = ca(SigningAlgorithm::P256);
    let parameters = parameters(SigningAlgorithm::P256);
    let create =
        || Authority::create(&parameters, addresses(), directory.path(), &passphrase(), NOW).unwrap_err();
    assert!(matches!(create(), AuthorityError::Exists(path) if path.ends_with("ca.pem")));
    fs::remove_file(directory.path().join(CERTIFICATE_FILE)).unwrap();
    let before = fs::read(directory.path().join(KEY_FILE)).unwrap();
    assert!(matches!(create(), AuthorityError::Exists(path) if path.ends_with("ca.key.pem")));
    assert_eq!(fs::read(directory.path().join(KEY_FILE)).unwrap(), before);
    drop(authority);
}

#[test]
fn wrong_passphrase_is_told_apart_from_a_broken_file() {
    let (directory, _) = ca(SigningAlgorithm::Rsa2048);
    let wrong = Passphrase::new("wrong".to_owned()).unwrap();
    let error = Authority::open(directory.path(), addresses(), &wrong).unwrap_err();
    assert_eq!(error, AuthorityError::KeyFile(KeyFileError::Passphrase));
    assert_eq!(error.to_string(), "the passphrase is wrong, or the key file is damaged");

    let key = directory.path().join(KEY_FILE);
    let whole = fs::read(&key).unwrap();
    for length in [0, 1, 30, whole.len() / 2, whole.len() - 30] {
        fs::write(&key, &whole[..length]).unwrap();
        let error = Authority::open(directory.path(), addresses(), &passphrase()).unwrap_err();
        assert_eq!(error, AuthorityError::KeyFile(KeyFileError::NotAKeyFile), "{length} octets");
    }
    fs::remove_file(&key).unwrap();
    let error = Authority::open(directory.path(), addresses(), &passphrase()).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot read {}: entity not found", key.display()));
}

#[test]
fn swapped_certificate_is_refused() {
    let (directory, _) = ca(SigningAlgorithm::P256);
    let (other, _) = ca(SigningAlgorithm::P256);
    let certificate = directory.path().join(CERTIFICATE_FILE);
    fs::copy(other.path().join(CERTIFICATE_FILE), &certificate).unwrap();
    let error = Authority::open(directory.path(), addresses(), &passphrase()).unwrap_err();
    assert!(matches!(error, AuthorityError::KeyMismatch { .. }), "{error}");

    let text = fs::read_to_string(&certificate).unwrap();
    for damaged in [
        String::new(),
        text[..200].to_owned(),
        text.replace("CERTIFICATE", "CRL"),
        text.replace("MII", "MIJ"),
    ] {
        fs::write(&certificate, damaged).unwrap();
        let error = Authority::open(directory.path(), addresses(), &passphrase()).unwrap_err();
        assert!(matches!(error, AuthorityError::NotACertificate { .. }), "{error}");
    }
}

#[test]
fn parameters_out_of_range_are_refused_before_anything_is_written() {
    let directory = tempfile::TempDir::new().unwrap();
    let good = parameters(SigningAlgorithm::P256);
    for (bad, sentence) in [
        (RootParameters { years: 0, ..good.clone() }, "it cannot live 0 years; choose 1 to 40"),
        (RootParameters { years: 41, ..good.clone() }, "it cannot live 41 years; choose 1 to 40"),
        (
            RootParameters { common_name: String::new(), ..good.clone() },
            "CN has 0 characters; the limit is 64",
        ),
        (
            RootParameters { organization: Some("x".repeat(65)), ..good },
            "O has 65 characters; the limit is 64",
        ),
    ] {
        let target = directory.path().join("ca");
        let error = Authority::create(&bad, addresses(), &target, &passphrase(), NOW).unwrap_err();
        assert_eq!(error, AuthorityError::Parameters(sentence.to_owned()));
        assert!(!target.exists());
    }
}

#[test]
fn addresses_other_than_plain_http_are_refused() {
    for url in
        ["", "https://a.example/x", "http://", "http:///x", "ldap://a", "http://a b", "http://ä.example"]
    {
        assert!(Addresses::new(url, "http://pki.example/ca.crt").is_err(), "{url}");
        assert!(Addresses::new("http://pki.example/ca.crl", url).is_err(), "{url}");
    }
}
