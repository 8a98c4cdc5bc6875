//! Key files: who can read them, and with what.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use muster_ca::{Authority, AuthorityError, KEY_FILE, KeyError, KeyFileError, Passphrase, SigningAlgorithm};

use crate::support::{PASSPHRASE, addresses, ca, encrypt_key, openssl, openssl_ca, passphrase};

#[test]
fn key_file_is_for_its_owner_alone() {
    let (directory, _) = ca(SigningAlgorithm::P256);
    let key = directory.path().join(KEY_FILE);
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let names: Vec<String> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names.len(), 2, "nothing is left lying about: {names:?}");
    for mode in [0o640, 0o604, 0o666] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let error = Authority::open(directory.path(), addresses(), &passphrase()).unwrap_err();
        let path = key.display().to_string();
        assert_eq!(error, AuthorityError::KeyFile(KeyFileError::Exposed { path, mode }));
    }
}

#[test]
fn openssl_reads_every_kind_of_key_file() {
    for algorithm in SigningAlgorithm::ALL {
        let (directory, authority) = ca(algorithm);
        let key = directory.path().join(KEY_FILE).display().to_string();
        let text = fs::read_to_string(&key).unwrap();
        assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
        let public = openssl(&["pkey", "-in", &key, "-passin", PASSPHRASE, "-pubout"]);
        let certificate = directory.path().join("ca.pem").display().to_string();
        assert_eq!(public, openssl(&["x509", "-in", &certificate, "-noout", "-pubkey"]));
        let structure = openssl(&["asn1parse", "-in", &key]);
        for part in ["PBES2", "scrypt", "aes-256-cbc"] {
            assert!(structure.contains(part), "{part} in {structure}");
        }
        drop(authority);
    }
}

#[test]
fn key_file_rewritten_by_openssl_opens() {
    let (directory, authority) = ca(SigningAlgorithm::Rsa2048);
    let key = directory.path().join(KEY_FILE).display().to_string();
    let plain = directory.path().join("plain.pem").display().to_string();
    openssl(&["pkey", "-in", &key, "-passin", PASSPHRASE, "-out", &plain]);
    for how in [&["-scrypt"][..], &["-v2", "aes256"], &["-v2", "aes-128-cbc", "-iter", "1000"]] {
        encrypt_key(&plain, &key, how);
        let opened = Authority::open(directory.path(), addresses(), &passphrase()).unwrap();
        assert_eq!(opened.certificate(), authority.certificate());
    }
    encrypt_key(&plain, &key, &["-v2", "des3"]);
    let error = Authority::open(directory.path(), addresses(), &passphrase()).unwrap_err();
    assert_eq!(error, AuthorityError::KeyFile(KeyFileError::Encryption));
    fs::copy(&plain, &key).unwrap();
    let error = Authority::open(directory.path(), addresses(), &passphrase()).unwrap_err();
    assert_eq!(error, AuthorityError::KeyFile(KeyFileError::NotAKeyFile), "a key that is not encrypted");
}

#[test]
fn key_of_another_kind_is_refused() {
    let directory = openssl_ca("/CN=x", "keyUsage=critical,keyCertSign,cRLSign");
    let key = directory.path().join(KEY_FILE).display().to_string();
    let plain = directory.path().join("plain.pem").display().to_string();
    for how in [&["-algorithm", "X25519"][..], &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"]] {
        openssl(&[&["genpkey", "-out", &plain], how].concat());
        encrypt_key(&plain, &key, &["-scrypt"]);
        let error = Authority::open(directory.path(), addresses(), &passphrase()).unwrap_err();
        assert_eq!(error, AuthorityError::KeyFile(KeyFileError::Key(KeyError::Unsupported)));
    }
}

#[test]
fn secrets_do_not_print() {
    let (_directory, authority) = ca(SigningAlgorithm::Ed25519);
    assert_eq!(format!("{:?}", passphrase()), "Passphrase(…)");
    assert!(!format!("{authority:?}").contains("seed"));
    assert!(Passphrase::new(String::new()).is_none());
}
