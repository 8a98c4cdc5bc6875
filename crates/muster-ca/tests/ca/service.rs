//! The service's own TLS certificate goes the way of every other.

use der::Decode;
use muster_ca::server_certificate::{self, ServerCertificateError};
use muster_ca::{CERTIFICATE_FILE, SigningAlgorithm};
use muster_core::issuance::{Issuer, prepare};
use muster_core::names::AltName;
use muster_core::{Oid, Refusal};
use x509_cert::Certificate;

use crate::support::{NOW, ca_in_memory, ca_with_certificate, file, openssl, serial};

fn template() -> Oid {
    "1.3.6.1.4.1.99999.7".parse().unwrap()
}

fn dns(name: &str) -> AltName {
    AltName::Dns(name.to_owned())
}

#[test]
fn certificate_serves_tls_for_its_names_and_nothing_else() {
    let (directory, authority) = ca_with_certificate(SigningAlgorithm::P256);
    let names = [dns("ces.lab.example"), dns("localhost"), AltName::Ip("127.0.0.1".parse().unwrap())];
    let (approved, key) = server_certificate::approve(&authority, &names, template(), NOW).unwrap();
    let contents = approved.contents().clone();
    drop(prepare(&authority, approved, serial(1)).unwrap());
    let certificate = authority.sign(&authority.build(&contents, serial(1)).unwrap()).unwrap();

    let root = directory.path().join(CERTIFICATE_FILE).display().to_string();
    let leaf = file(directory.path(), "leaf.der", &certificate);
    let seconds = NOW.plus(89 * 86_400).0.to_string();
    for name in [
        ["-verify_hostname", "ces.lab.example"],
        ["-verify_hostname", "localhost"],
        ["-verify_ip", "127.0.0.1"],
    ] {
        openssl(&[
            "verify",
            "-x509_strict",
            "-purpose",
            "sslserver",
            name[0],
            name[1],
            "-attime",
            &seconds,
            "-CAfile",
            &root,
            &leaf,
        ]);
    }
    let pem = file(directory.path(), "server.key", key.to_pem().unwrap().as_bytes());
    let public = openssl(&["pkey", "-in", &pem, "-pubout"]);
    assert_eq!(public, openssl(&["x509", "-inform", "DER", "-in", &leaf, "-noout", "-pubkey"]));
    assert_eq!(format!("{key:?}"), "ServerKey(…)");
    let certificate = Certificate::from_der(&certificate).unwrap();
    assert_eq!(certificate.tbs_certificate().subject().to_string(), "CN=ces.lab.example");
}

#[test]
fn names_that_are_not_of_hosts_are_refused() {
    let authority = ca_in_memory();
    for name in [
        AltName::Upn("administrator@lab.example".to_owned()),
        AltName::Email("a@lab.example".to_owned()),
        AltName::Uri("http://lab.example".to_owned()),
        dns("*.lab.example"),
        dns("lab example"),
        dns("short"),
    ] {
        let error = server_certificate::approve(&authority, std::slice::from_ref(&name), template(), NOW)
            .unwrap_err();
        assert_eq!(error, ServerCertificateError::Refused(Refusal::NameNotAllowed(name.to_string())));
    }
    let error = server_certificate::approve(&authority, &[], template(), NOW).unwrap_err();
    assert_eq!(error, ServerCertificateError::Refused(Refusal::NameMissing));
}

#[test]
fn certificate_ends_with_the_ca() {
    let authority = ca_in_memory();
    let end = authority.not_after();
    let names = [dns("ces.lab.example")];
    let (approved, _) =
        server_certificate::approve(&authority, &names, template(), end.plus(-86_400)).unwrap();
    assert_eq!(approved.contents().not_after, end);
    drop(prepare(&authority, approved, serial(1)).unwrap());
    let error = server_certificate::approve(&authority, &names, template(), end).unwrap_err();
    assert_eq!(error, ServerCertificateError::Refused(Refusal::CaExpiring(end)));
}
