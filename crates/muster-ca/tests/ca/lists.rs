//! Revocation lists: as OpenSSL reads them, and compared with the one before.

use muster_ca::crl::{CrlError, LIFETIME_SECONDS, Summary, missing_from};
use muster_ca::{CERTIFICATE_FILE, SigningAlgorithm};
use muster_core::issuance::Issuer;
use muster_core::revocation::Reason;
use muster_core::{RequestId, Serial};

use crate::support::{NOW, ca_in_memory, ca_with_certificate, contents, file, openssl, serial};

fn numbered(number: u32) -> Serial {
    Serial::compose(RequestId::new(number).unwrap(), [number.to_be_bytes()[3]; 15])
}

#[test]
fn every_algorithm_makes_lists_that_openssl_accepts() {
    for algorithm in SigningAlgorithm::ALL {
        let (directory, authority) = ca_with_certificate(algorithm);
        let root = directory.path().join(CERTIFICATE_FILE).display().to_string();
        let revoked =
            Reason::ALL.into_iter().zip(1..).map(|(reason, n)| (numbered(n), NOW.plus(-60), reason));
        let crl = authority.revocation_list(258, NOW, NOW.plus(LIFETIME_SECONDS), revoked).unwrap();
        let path = file(directory.path(), "ca.crl", &crl);
        let text = openssl(&["crl", "-inform", "DER", "-in", &path, "-CAfile", &root, "-noout", "-text"]);
        for expected in [
            "verify OK",
            "Version 2 (0x1)",
            "Issuer: O = Example, CN = Example Issuing CA",
            "Last Update: Nov 23 04:41:43 2026 GMT",
            "Next Update: Nov 30 04:41:43 2026 GMT",
            "X509v3 CRL Number: \n                258\n",
            "X509v3 Authority Key Identifier:",
            "Key Compromise",
            "CA Compromise",
            "Affiliation Changed",
            "Superseded",
            "Cessation Of Operation",
            "Certificate Hold",
            "Privilege Withdrawn",
        ] {
            assert!(text.contains(expected), "{algorithm}: no {expected:?} in {text}");
        }
        assert_eq!(text.matches("Serial Number:").count(), 8);
        assert_eq!(text.matches("X509v3 CRL Reason Code").count(), 7, "none for unspecified");
    }
}

#[test]
fn openssl_refuses_a_revoked_certificate_and_no_other() {
    let (directory, authority) = ca_with_certificate(SigningAlgorithm::P256);
    let contents = contents();
    let (bad, good) = (serial(1), serial(2));
    let root = directory.path().join(CERTIFICATE_FILE).display().to_string();
    let crl = authority
        .revocation_list(1, NOW, NOW.plus(LIFETIME_SECONDS), [(bad, NOW, Reason::KeyCompromise)])
        .unwrap();
    let der = file(directory.path(), "ca.crl", &crl);
    let pem = directory.path().join("crl.pem").display().to_string();
    openssl(&["crl", "-inform", "DER", "-in", &der, "-out", &pem]);
    for (serial, revoked) in [(bad, true), (good, false)] {
        let leaf = authority.sign(&authority.build(&contents, serial).unwrap()).unwrap();
        let der = file(directory.path(), "leaf.der", &leaf);
        let seconds = NOW.plus(60).0.to_string();
        let output = std::process::Command::new("openssl")
            .args(["verify", "-x509_strict", "-crl_check", "-attime", &seconds, "-CAfile", &root])
            .args(["-CRLfile", &pem, &der])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.success(), !revoked, "{text}");
        assert_eq!(text.contains("certificate revoked"), revoked, "{text}");
    }
}

#[test]
fn empty_list_has_no_entries_element() {
    let (directory, authority) = ca_with_certificate(SigningAlgorithm::P256);
    let crl = authority.revocation_list(0, NOW, NOW.plus(1), []).unwrap();
    let path = file(directory.path(), "ca.crl", &crl);
    let text = openssl(&["crl", "-inform", "DER", "-in", &path, "-noout", "-text"]);
    assert!(text.contains("No Revoked Certificates."), "{text}");
    let expected = Summary { number: 0, this_update: NOW, next_update: NOW.plus(1), serials: vec![] };
    assert_eq!(Summary::from_der(&crl), Ok(expected));
}

#[test]
fn entries_that_disappear_are_found() {
    let authority = ca_in_memory();
    let list = |number, range: std::ops::Range<u32>| {
        let revoked = range.rev().map(|n| (numbered(n), NOW, Reason::Superseded));
        authority.revocation_list(number, NOW, NOW.plus(1), revoked).unwrap()
    };
    let (old, new) = (list(u64::MAX - 1, 1..50), list(u64::MAX, 3..90));
    assert_eq!(missing_from(&old, &new), Ok(vec![numbered(1), numbered(2)]));
    assert_eq!(missing_from(&old, &old), Ok(vec![]));
    let summary = Summary::from_der(&new).unwrap();
    assert_eq!(summary.number, u64::MAX);
    assert_eq!(summary.serials.len(), 87);
    assert!(summary.serials.is_sorted());
}

#[test]
fn lists_that_contradict_themselves_are_not_made() {
    let authority = ca_in_memory();
    let twice = [(numbered(1), NOW, Reason::Superseded), (numbered(1), NOW, Reason::KeyCompromise)];
    assert_eq!(authority.revocation_list(1, NOW, NOW.plus(1), twice), Err(CrlError::Twice(numbered(1))));
    assert_eq!(
        authority.revocation_list(1, NOW, NOW, []),
        Err(CrlError::Order { this_update: NOW, next_update: NOW })
    );
}

#[test]
fn other_octets_are_not_a_list() {
    let authority = ca_in_memory();
    let crl =
        authority.revocation_list(1, NOW, NOW.plus(1), [(numbered(1), NOW, Reason::Superseded)]).unwrap();
    for octets in [
        &[][..],
        &[0x30, 0x80],
        authority.certificate(),
        &crl[..crl.len() - 1],
        &[crl.as_slice(), &[0]].concat(),
    ] {
        assert!(matches!(Summary::from_der(octets), Err(CrlError::NotAList(_))));
    }
}
