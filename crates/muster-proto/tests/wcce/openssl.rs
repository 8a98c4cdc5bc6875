//! Against OpenSSL: what it makes we read, what we make it reads.

use std::io::Write;
use std::process::Command;
use std::time::SystemTime;

use muster_proto::wcce::{
    CertificateRequest, Cosigner, KeyAlgorithm, KeyError, KeyWeakness, Malformed, Pkcs10Builder,
    RequestError, RequestForm, RequestedName, ResponseStatus, SignatureError, build_certs_only, build_cmc,
    build_cms_renewal, build_response, check_public_key, oids, parse_certs_only,
};

use crate::support::{Key, read_vector};

fn pkcs10(case: &str) -> Vec<u8> {
    read_vector(&format!("pkcs10/openssl-{case}.der"))
}

fn cms(case: &str) -> Vec<u8> {
    read_vector(&format!("cms/openssl-{case}.der"))
}

#[test]
fn requests_of_every_supported_key_are_accepted() {
    for (case, algorithm, sha1) in [
        ("rsa2048-sha256", KeyAlgorithm::Rsa { bits: 2048, exponent: 65537 }, false),
        ("rsa2048-sha384", KeyAlgorithm::Rsa { bits: 2048, exponent: 65537 }, false),
        ("rsa2048-sha1", KeyAlgorithm::Rsa { bits: 2048, exponent: 65537 }, true),
        ("rsa2048-pss", KeyAlgorithm::Rsa { bits: 2048, exponent: 65537 }, false),
        ("p256", KeyAlgorithm::P256, false),
        ("p256-sha1", KeyAlgorithm::P256, true),
        ("p256-sha512", KeyAlgorithm::P256, false),
        ("p384", KeyAlgorithm::P384, false),
        ("p521", KeyAlgorithm::P521, false),
        ("ed25519", KeyAlgorithm::Ed25519, false),
    ] {
        let request = CertificateRequest::parse(&pkcs10(case)).expect(case);
        assert_eq!((request.public_key.algorithm(), request.sha1_signature), (algorithm, sha1), "{case}");
        assert_eq!(check_public_key(&request.public_key), Ok(()), "{case}");
        assert_eq!(request.subject.name.to_string(), "CN=host.example.com");
        assert_eq!(
            request.names,
            [
                RequestedName::Dns("host.example.com".into()),
                RequestedName::Email("a@example.com".into()),
                RequestedName::Ip([192, 0, 2, 1].into()),
                RequestedName::Ip("2001:db8::1".parse().unwrap()),
                RequestedName::Uri("https://example.com/".into()),
                RequestedName::Upn("user@example.com".into()),
            ]
        );
        let template = request.template.id.expect("template");
        assert_eq!((template.major, template.minor), (Some(100), Some(3)));
        assert_eq!(
            request.extensions.iter().map(|e| e.critical).collect::<Vec<_>>(),
            [false, false, true, false]
        );
    }
    let empty = CertificateRequest::parse(&pkcs10("empty")).unwrap();
    assert!(empty.subject.is_empty() && empty.names.is_empty() && empty.extensions.is_empty());
}

#[test]
fn unsupported_keys_and_algorithms_are_refused_by_name() {
    let refused = |case: &str| CertificateRequest::parse(&pkcs10(case)).expect_err(case);
    assert_eq!(
        refused("secp256k1"),
        RequestError::Key(KeyError::UnsupportedCurve(der::asn1::ObjectIdentifier::new_unwrap(
            "1.3.132.0.10"
        )))
    );
    assert_eq!(
        refused("ed448"),
        RequestError::Key(KeyError::UnsupportedAlgorithm(der::asn1::ObjectIdentifier::new_unwrap(
            "1.3.101.113"
        )))
    );
    assert_eq!(refused("p256-compressed"), RequestError::Key(KeyError::PointNotUncompressed));
    assert_eq!(
        refused("p256-explicit"),
        RequestError::Key(KeyError::Malformed(Malformed("elliptic curve name")))
    );
    assert_eq!(refused("rsa512"), RequestError::Key(KeyError::RsaSize { bits: 512 }));
    for case in ["rsa2048-md5", "rsa2048-pss-salt20"] {
        assert!(
            matches!(refused(case), RequestError::RequestSignature(SignatureError::UnsupportedAlgorithm(_))),
            "{case}"
        );
    }
}

#[test]
fn weak_keys_parse_and_are_refused_by_the_key_check() {
    let weakness =
        |case| check_public_key(&CertificateRequest::parse(&pkcs10(case)).unwrap().public_key).unwrap_err();
    assert_eq!(weakness("rsa1024"), KeyWeakness::RsaSize(1024));
    assert_eq!(weakness("rsa2048-e3"), KeyWeakness::RsaExponent(3));
}

#[test]
fn signed_messages_are_new_requests_with_a_signer() {
    for (case, by_issuer) in
        [("signed", true), ("signed-noattr", true), ("signed-keyid", false), ("signed-stream", true)]
    {
        let request = CertificateRequest::parse(&cms(case)).expect(case);
        let RequestForm::Cms { signers } = &request.form else { panic!("{case}: {:?}", request.form) };
        assert_eq!((signers.len(), signers[0].by_issuer_and_serial), (1, by_issuer), "{case}");
        assert_eq!(request.pkcs10_der, pkcs10("p256"));
        assert_eq!(signers[0].certificate_der, parse_certs_only(&cms("certs-only")).unwrap()[0]);
    }
}

#[test]
fn messages_without_content_signer_or_certificate_are_refused() {
    let refused = |case: &str| CertificateRequest::parse(&cms(case)).expect_err(case);
    assert_eq!(refused("signed-nocerts"), RequestError::SignerCertificateMissing { index: 0 });
    assert_eq!(refused("detached"), RequestError::Malformed(Malformed("CMS content")));
    assert_eq!(refused("certs-only"), RequestError::Malformed(Malformed("CMS content")));
}

/// Runs `openssl` with `input` as a file in place of `IN`; returns its output after it succeeded.
fn openssl(arguments: &[&str], files: &[(&str, &[u8])]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::File::create(folder.path().join(name)).unwrap().write_all(content).unwrap();
    }
    let output = Command::new("openssl").args(arguments).current_dir(folder.path()).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments:?}: {message}");
    [output.stdout, output.stderr].concat()
}

fn pem(certificates: &[&[u8]]) -> Vec<u8> {
    let mut text = Vec::new();
    for certificate in certificates {
        text.extend(openssl(&["x509", "-inform", "DER", "-in", "c"], &[("c", certificate)]));
    }
    text
}

#[test]
fn our_pkcs10_verifies_in_openssl() {
    for key in Key::all() {
        let spki = key.spki();
        let names =
            [RequestedName::Dns("host.example.com".into()), RequestedName::Upn("user@example.com".into())];
        let der = Pkcs10Builder { names: &names, os_version: Some("10.0"), ..Pkcs10Builder::new(&spki) }
            .build(&key)
            .unwrap();
        let text =
            openssl(&["req", "-inform", "DER", "-in", "r", "-verify", "-text", "-noout"], &[("r", &der)]);
        let text = String::from_utf8_lossy(&text);
        assert!(text.contains("verify OK"), "{text}");
        assert!(text.contains("DNS:host.example.com") && text.contains("UPN"), "{text}");
    }
}

/// OpenSSL 3.0 has no Ed25519 in CMS.
fn keys_for_cms() -> [Key; 3] {
    [Key::rsa(), Key::p256(), Key::p384()]
}

#[test]
fn our_messages_verify_in_openssl() {
    for key in keys_for_cms() {
        let old = key.certificate("old", 5);
        let new_key = Key::p256();
        let spki = new_key.spki();
        let pkcs10 = Pkcs10Builder { renewal_certificate: Some(&old), ..Pkcs10Builder::new(&spki) }
            .build(&new_key)
            .unwrap();
        let cosigner = Cosigner { certificate: &old, key: &key };
        let verify = |message: &[u8]| {
            let arguments =
                ["cms", "-verify", "-inform", "DER", "-in", "m", "-noverify", "-binary", "-certfile", "c"];
            openssl(&[&arguments[..], &["-out", "o"]].concat(), &[("m", message), ("c", &pem(&[&old]))]);
        };
        verify(&build_cms_renewal(&pkcs10, cosigner).unwrap());
        let chain = [old.as_slice()];
        for status in [
            ResponseStatus::Issued { certificate: &Key::p256().certificate("leaf", 6) },
            ResponseStatus::Pending { request_id: 1, received: SystemTime::UNIX_EPOCH },
            ResponseStatus::Denied { reason: "no" },
        ] {
            verify(&build_response(status, &chain, &key).unwrap());
        }
    }
}

#[test]
fn our_cmc_verifies_in_openssl() {
    for key in keys_for_cms() {
        // OpenSSL needs a certificate for each signer; give it one whose key identifier is the new key's.
        let spki = key.spki();
        let pkcs10 = Pkcs10Builder::new(&spki).build(&key).unwrap();
        let message = build_cmc(&pkcs10, &spki, &key, &[], &[]).unwrap();
        let identifier = CertificateRequest::parse(&message).unwrap().public_key.key_identifier();
        let certificate = key.certificate_with_identifier("new", 1, &identifier);
        openssl(
            &[
                "cms",
                "-verify",
                "-inform",
                "DER",
                "-in",
                "m",
                "-noverify",
                "-binary",
                "-certfile",
                "c",
                "-out",
                "o",
            ],
            &[("m", &message), ("c", &pem(&[&certificate]))],
        );
    }
}

#[test]
fn our_certs_only_message_is_read_by_openssl() {
    let (one, two) = (Key::p256().certificate("one", 1), Key::p256().certificate("two", 2));
    let message = build_certs_only(&[&one, &two]).unwrap();
    let text =
        openssl(&["pkcs7", "-inform", "DER", "-in", "m", "-print_certs", "-noout"], &[("m", &message)]);
    let text = String::from_utf8_lossy(&text);
    assert!(text.contains("CN = one") && text.contains("CN = two"), "{text}");
}

#[test]
fn exchange_certificate_has_its_key_usage() {
    use der::Decode;
    let der = read_vector("ms-wstep/handmade-exchange-certificate.der");
    let certificate = x509_cert::Certificate::from_der(&der).unwrap();
    let usages = muster_proto::wcce::certificate_key_usages(&certificate).unwrap().unwrap();
    assert_eq!(usages, [oids::CA_EXCHANGE]);
}
