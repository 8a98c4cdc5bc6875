//! PKCS#12 files as OpenSSL reads them.

use std::process::Command;

use muster_client::SystemRandom;
use muster_client::certificate::Certificate;
use muster_client::key::{KeyType, PrivateKey};
use muster_client::pkcs12::{Pkcs12Error, encode};

use crate::service::Issuer;

#[test]
fn openssl_reads_what_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let ca = Issuer::new("Issuing CA");
    let ca_certificate = Certificate::from_der(ca.certificate()).unwrap();
    let random = SystemRandom::new();
    for kind in [KeyType::Rsa2048, KeyType::P256, KeyType::P384, KeyType::Ed25519] {
        let key = PrivateKey::generate(kind).unwrap();
        let certificate = Certificate::from_der(&ca.issue(key.public().spki_der(), "host.test")).unwrap();
        let chain = std::slice::from_ref(&ca_certificate);
        let content = encode(&key, &certificate, chain, "pässword", &random).unwrap();
        let file = directory.path().join("out.p12");
        std::fs::write(&file, content).unwrap();
        let openssl = |arguments: &[&str], password: &str| {
            let mut command = Command::new("openssl");
            command.args(["pkcs12", "-in"]).arg(&file).args(arguments);
            command.args(["-passin", &format!("pass:{password}")]).output().unwrap()
        };

        let all = openssl(&["-nodes"], "pässword");
        assert!(all.status.success(), "{kind}: {}", String::from_utf8_lossy(&all.stderr));
        let text = String::from_utf8(all.stdout).unwrap();
        let block = |pem: &str| pem.lines().skip(1).take_while(|l| !l.starts_with("---")).collect::<String>();
        let blocks: Vec<String> = text.split("-----BEGIN ").skip(1).map(block).collect();
        assert!(blocks.contains(&block(&certificate.pem())), "{kind}");
        assert!(blocks.contains(&block(&ca_certificate.pem())), "{kind}");
        let key_file = directory.path().join(kind.name());
        key.write(&key_file, muster_client::files::Existing::Keep, &random).unwrap();
        assert!(blocks.contains(&block(&std::fs::read_to_string(key_file).unwrap())), "{kind}");

        assert!(!openssl(&["-noout"], "password").status.success(), "{kind}: wrong password");
    }
}

#[test]
fn password_outside_of_the_format_is_refused() {
    let ca = Issuer::new("Issuing CA");
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    let certificate = Certificate::from_der(&ca.issue(key.public().spki_der(), "host.test")).unwrap();
    let result = encode(&key, &certificate, &[], "🔑", &SystemRandom::new());
    assert_eq!(result, Err(Pkcs12Error::Password));
}
