//! Whatever policy may approve can be built, passes the lints, and is told apart from everything else.

use std::sync::LazyLock;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{ECDSA_P521_SHA512_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use der::Decode;
use muster_ca::{Authority, RootParameters, SigningAlgorithm, SigningKey};
use muster_core::directory::ObjectGuid;
use muster_core::issuance::Issuer;
use muster_core::names::{AltName, NameAttribute, SubjectName};
use muster_core::policy::CertificateContents;
use muster_core::request::KeyAlgorithm;
use muster_core::template::KeyUsage;
use muster_core::{Oid, UnixTime};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use x509_cert::Certificate;

use crate::support::{NOW, addresses, parameters, serial};

static CA: LazyLock<Authority> = LazyLock::new(|| {
    let parameters = RootParameters { years: 40, ..parameters(SigningAlgorithm::Ed25519) };
    Authority::in_memory(&parameters, addresses(), NOW).unwrap()
});

static KEYS: LazyLock<Vec<(KeyAlgorithm, Vec<u8>)>> = LazyLock::new(|| {
    let key = |algorithm| SigningKey::generate(algorithm).unwrap().spki().to_vec();
    let p521 = EcdsaKeyPair::generate(&ECDSA_P521_SHA512_ASN1_SIGNING).unwrap();
    let p521: PublicKeyX509Der<'_> = p521.public_key().as_der().unwrap();
    vec![
        (KeyAlgorithm::Rsa, key(SigningAlgorithm::Rsa2048)),
        (KeyAlgorithm::P256, key(SigningAlgorithm::P256)),
        (KeyAlgorithm::P384, key(SigningAlgorithm::P384)),
        (KeyAlgorithm::P521, p521.as_ref().to_vec()),
        (KeyAlgorithm::Ed25519, key(SigningAlgorithm::Ed25519)),
    ]
});

fn oid() -> impl Strategy<Value = Oid> {
    (0_u32..=2, 0_u32..40, vec(any::<u32>(), 0..9)).prop_map(|(root, second, arcs)| {
        let text = arcs.iter().fold(format!("{root}.{second}"), |text, arc| format!("{text}.{arc}"));
        text.parse().unwrap()
    })
}

fn attribute() -> impl Strategy<Value = (NameAttribute, String)> {
    use NameAttribute::{
        CommonName, Country, DomainComponent, Email, Locality, Organization, OrganizationalUnit,
        SerialNumber, State,
    };
    prop_oneof![
        (select(vec![CommonName, Organization, OrganizationalUnit, Locality, State]), "\\PC{1,64}"),
        (Just(Country), "[A-Z]{2}"),
        (Just(SerialNumber), "[A-Za-z0-9 '()+,./:=?-]{1,64}"),
        (Just(DomainComponent), "[a-z0-9-]{1,63}"),
        (Just(Email), "[a-z.]{1,30}@[a-z]{1,30}\\.example"),
    ]
}

fn alternative() -> impl Strategy<Value = AltName> {
    prop_oneof![
        "(\\*\\.)?[a-z0-9]{1,63}(\\.[a-z0-9]{1,40}){0,3}".prop_map(AltName::Dns),
        "[!-?A-~]{1,64}@[a-z]{1,60}\\.example".prop_map(AltName::Email),
        any::<std::net::IpAddr>().prop_map(AltName::Ip),
        "[a-z]{1,8}:[!-~]{1,300}".prop_map(AltName::Uri),
        "[\\PC&&[^\\pZ]]{1,64}@[a-z.]{1,60}".prop_map(AltName::Upn),
        any::<[u8; 16]>().prop_map(|octets| AltName::Guid(ObjectGuid(octets))),
    ]
}

fn usage(algorithm: KeyAlgorithm) -> Vec<KeyUsage> {
    let mut usage = vec![KeyUsage::DigitalSignature, KeyUsage::NonRepudiation];
    match algorithm {
        KeyAlgorithm::Rsa => usage.extend([KeyUsage::KeyEncipherment, KeyUsage::DataEncipherment]),
        KeyAlgorithm::P256 | KeyAlgorithm::P384 | KeyAlgorithm::P521 => usage.push(KeyUsage::KeyAgreement),
        KeyAlgorithm::Ed25519 => {}
    }
    usage
}

prop_compose! {
    fn contents()(
        subject in vec(attribute(), 0..6),
        alternatives in vec(alternative(), 0..8),
        (key_algorithm, spki) in select(KEYS.as_slice()),
        begin in 0_i64..1_000_000_000,
        lifetime in 1_i64..250_000_000,
        eku in proptest::collection::btree_set(oid(), 1..5),
        policies in vec(oid(), 0..4),
        template in (oid(), any::<u32>(), any::<u32>()),
        sid in option::of(vec(any::<u32>(), 1..5)),
    )(
        usage in subsequence(usage(key_algorithm), 1..=usage(key_algorithm).len()),
        nameless in Just(subject.is_empty() && alternatives.is_empty()),
        (subject, alternatives, key_algorithm, spki, begin, lifetime, eku, policies, template, sid) in
            Just((subject, alternatives, key_algorithm, spki, begin, lifetime, eku, policies, template, sid)),
    ) -> CertificateContents {
        let not_before = NOW.plus(begin - 600);
        CertificateContents {
            subject: if nameless { SubjectName::common_name("x") } else { SubjectName(subject) },
            alternatives,
            not_before,
            not_after: UnixTime(not_before.0 + lifetime),
            spki,
            key_algorithm,
            usage,
            eku: eku.into_iter().collect(),
            policies,
            template,
            sid: sid.map(|arcs| {
                let text = arcs.iter().fold("S-1-5-21".to_owned(), |text, arc| format!("{text}-{arc}"));
                text.try_into().unwrap()
            }),
        }
    }
}

proptest! {
    #[test]
    fn approved_contents_pass_the_lints(contents in contents()) {
        let authority = &*CA;
        let tbs = authority.build(&contents, serial(1)).unwrap();
        prop_assert_eq!(authority.lint(&contents, &tbs), Ok(()));
        let certificate = authority.sign(&tbs).unwrap();
        let decoded = Certificate::from_der(&certificate).unwrap();
        let signature = decoded.signature().as_bytes().unwrap();
        let ca_key = Certificate::from_der(authority.certificate()).unwrap();
        let public = ca_key.tbs_certificate().subject_public_key_info().subject_public_key.as_bytes().unwrap();
        let public = aws_lc_rs::signature::UnparsedPublicKey::new(&aws_lc_rs::signature::ED25519, public);
        prop_assert!(public.verify(&tbs, signature).is_ok());
    }

    #[test]
    fn certificate_for_other_contents_is_found(one in contents(), other in contents()) {
        let tbs = CA.build(&one, serial(1)).unwrap();
        prop_assume!(one != other);
        prop_assert!(CA.lint(&other, &tbs).is_err());
    }

    #[test]
    fn arbitrary_octets_do_not_pass(octets in vec(any::<u8>(), 0..600), contents in contents()) {
        prop_assert!(CA.lint(&contents, &octets).is_err());
        prop_assert!(CA.sign(&octets).is_err() || octets.first() == Some(&0x30));
        prop_assert!(muster_ca::crl::Summary::from_der(&octets).is_err());
    }

    #[test]
    fn only_one_whole_sequence_is_signed(tag: u8, content in vec(any::<u8>(), 0..100), more in vec(any::<u8>(), 0..2)) {
        let mut octets = vec![tag, u8::try_from(content.len()).unwrap()];
        octets.extend(&content);
        octets.extend(&more);
        prop_assert_eq!(CA.sign(&octets).is_ok(), tag == 0x30 && more.is_empty());
    }
}
