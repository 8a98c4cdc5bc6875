//! A CA in a directory of its own, contents for a certificate, and the `openssl` program.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use der::pem::{self, LineEnding};
use muster_ca::{
    Addresses, Authority, CERTIFICATE_FILE, KEY_FILE, Passphrase, RootParameters, SigningAlgorithm,
};
use muster_core::names::{AltName, NameAttribute, SubjectName};
use muster_core::policy::CertificateContents;
use muster_core::request::KeyAlgorithm;
use muster_core::template::KeyUsage;
use muster_core::{RequestId, Serial, UnixTime};
use tempfile::TempDir;

/// 2026-11-23T04:41:43Z.
pub(crate) const NOW: UnixTime = UnixTime(1_795_408_903);
pub(crate) const CLIENT_AUTHENTICATION: &str = "1.3.6.1.5.5.7.3.2";

/// The passphrase as `openssl` takes it.
pub(crate) const PASSPHRASE: &str = "pass:correct horse battery staple";

pub(crate) fn passphrase() -> Passphrase {
    Passphrase::new(PASSPHRASE.strip_prefix("pass:").unwrap().to_owned()).unwrap()
}

pub(crate) fn addresses() -> Addresses {
    Addresses::new("http://pki.example/ca.crl", "http://pki.example/ca.crt").unwrap()
}

pub(crate) fn parameters(algorithm: SigningAlgorithm) -> RootParameters {
    RootParameters {
        common_name: "Example Issuing CA".to_owned(),
        organization: Some("Example".to_owned()),
        algorithm,
        years: 10,
    }
}

/// A fresh root in a directory that goes away with the first value.
pub(crate) fn ca(algorithm: SigningAlgorithm) -> (TempDir, Authority) {
    let directory = TempDir::new().unwrap();
    let parameters = parameters(algorithm);
    let authority =
        Authority::create(&parameters, addresses(), directory.path(), &passphrase(), NOW).unwrap();
    (directory, authority)
}

/// A fresh root without a key file; its certificate alone is in the directory.
pub(crate) fn ca_with_certificate(algorithm: SigningAlgorithm) -> (TempDir, Authority) {
    let directory = TempDir::new().unwrap();
    let authority = Authority::in_memory(&parameters(algorithm), addresses(), NOW).unwrap();
    let pem = pem::encode_string("CERTIFICATE", LineEnding::LF, authority.certificate()).unwrap();
    file(directory.path(), CERTIFICATE_FILE, pem.as_bytes());
    (directory, authority)
}

/// A fresh root without files.
pub(crate) fn ca_in_memory() -> Authority {
    Authority::in_memory(&parameters(SigningAlgorithm::P256), addresses(), NOW).unwrap()
}

pub(crate) fn spki() -> Vec<u8> {
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let der: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
    der.as_ref().to_vec()
}

pub(crate) fn contents() -> CertificateContents {
    CertificateContents {
        subject: SubjectName(vec![
            (NameAttribute::Country, "DE".to_owned()),
            (NameAttribute::Organization, "Bücher".to_owned()),
            (NameAttribute::CommonName, "alice".to_owned()),
        ]),
        alternatives: vec![
            AltName::Upn("alice@lab.example".to_owned()),
            AltName::Email("alice@lab.example".to_owned()),
            AltName::Dns("alice.lab.example".to_owned()),
            AltName::Ip("10.1.2.3".parse().unwrap()),
            AltName::Ip("2001:db8::1".parse().unwrap()),
            AltName::Guid("0e10c968-78fb-11d2-90d4-00c04f79dc55".parse().unwrap()),
        ],
        not_before: NOW.plus(-600),
        not_after: NOW.plus(365 * 86_400 - 1),
        spki: spki(),
        key_algorithm: KeyAlgorithm::P256,
        usage: vec![KeyUsage::DigitalSignature, KeyUsage::KeyAgreement],
        eku: vec![CLIENT_AUTHENTICATION.parse().unwrap(), "1.3.6.1.4.1.311.20.2.2".parse().unwrap()],
        policies: vec!["1.3.6.1.4.1.99999.1.2".parse().unwrap()],
        template: ("1.3.6.1.4.1.311.21.8.1.2.4294967295.7".parse().unwrap(), 100, 300),
        sid: Some("S-1-5-21-1-2-3-1104".to_owned().try_into().unwrap()),
    }
}

pub(crate) fn serial(number: u32) -> Serial {
    muster_ca::serial::fresh(RequestId::new(number).unwrap()).unwrap()
}

/// A file in `directory`, by its full name.
pub(crate) fn file(directory: &Path, name: &str, octets: &[u8]) -> String {
    let path = directory.join(name);
    std::fs::write(&path, octets).unwrap();
    path.display().to_string()
}

/// Runs `openssl` and gives what it wrote; fails with that if OpenSSL does.
#[track_caller]
pub(crate) fn openssl(arguments: &[&str]) -> String {
    let output = Command::new("openssl").args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "openssl {arguments:?}: {text}");
    text
}

/// A CA that OpenSSL made, its key file rewritten as ours are; `extension` goes into the certificate.
pub(crate) fn openssl_ca(subject: &str, extension: &str) -> TempDir {
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (plain, key, certificate) = (path("plain.pem"), path(KEY_FILE), path(CERTIFICATE_FILE));
    openssl(&[
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-keyout",
        &plain,
        "-out",
        &certificate,
        "-subj",
        subject,
        "-addext",
        extension,
    ]);
    encrypt_key(&plain, &key, &["-scrypt"]);
    directory
}

/// Encrypts a private key with OpenSSL, under [`passphrase`].
pub(crate) fn encrypt_key(plain: &str, encrypted: &str, how: &[&str]) {
    let fixed = ["pkcs8", "-topk8", "-in", plain, "-out", encrypted, "-passout", PASSPHRASE];
    openssl(&[&fixed, how].concat());
    std::fs::set_permissions(encrypted, std::fs::Permissions::from_mode(0o600)).unwrap();
}
