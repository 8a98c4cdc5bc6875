//! Requests that are wrong in one place, and the traps that real clients set.

use muster_proto::wcce::{
    CertificateRequest, MAX_DEPTH, MAX_REQUEST_LEN, Malformed, ParsedRequest, Possession, RequestError,
    RequestForm, RequestedName, SignatureError,
};

use crate::message::{
    CERT_EXTENSIONS, EXTENSION_REQUEST, ID_DATA, NAME_VALUE, OS_VERSION, PKI_DATA, RENEWAL, attribute, bmp,
    by_key, by_serial, cmc, cms, control, extension, name, name_value, no_signature, null_pkcs10, pkcs10,
    pki_data, seq, set, signed_attributes, signer,
};
use crate::support::{Key, element, hex};

const TEMPLATE_NAME: &str = "06092b06010401823714 02";
const SAN: &str = "0603551d11";

fn parse(der: &[u8]) -> Result<ParsedRequest, RequestError> {
    CertificateRequest::parse(der)
}

/// A bare request with these extensions in the given attribute.
fn with_extensions(attribute_oid: &str, extensions: &[&[u8]]) -> Result<ParsedRequest, RequestError> {
    parse(&pkcs10(&Key::p256(), &name("x"), &[&attribute(attribute_oid, &[&seq(extensions)])]))
}

// Tampering

#[test]
fn changed_bytes_never_change_what_is_asked_for() {
    let (key, old_key) = (Key::p256(), Key::p384());
    let old = old_key.certificate("old", 7);
    let extensions = seq(&[&extension(TEMPLATE_NAME, &bmp("User"))]);
    let request = pkcs10(
        &key,
        &name("x"),
        &[&attribute(RENEWAL, &[&old]), &attribute(EXTENSION_REQUEST, &[&extensions])],
    );
    let data = pki_data(&[], &[&request]);
    let attributes = |key| signed_attributes(key, PKI_DATA, &data);
    let cmc = cms(
        PKI_DATA,
        &data,
        &[&old],
        &[
            &signer(&key, &by_key(&key), &data, Some(&attributes(&key)), &[]),
            &signer(&old_key, &by_serial("old", 7), &data, Some(&attributes(&old_key)), &[]),
        ],
    );
    let renewal =
        cms(ID_DATA, &request, &[&old], &[&signer(&old_key, &by_serial("old", 7), &request, None, &[])]);
    // Of the CMC message, the key identifier may be anything: it is the key that has to fit.
    for (message, expected) in [(&cmc, 20 * 2), (&renewal, 0)] {
        let good = parse(message).unwrap();
        assert!(good.form.renewed().is_some());
        let mut accepted = 0;
        for at in 0..message.len() {
            for bit in [0x01, 0x80] {
                let mut changed = message.clone();
                changed[at] ^= bit;
                if let Ok(read) = parse(&changed) {
                    accepted += 1;
                    assert_eq!(read, good, "octet {at}");
                }
            }
        }
        assert_eq!(accepted, expected);
    }
    let bare = pkcs10(&key, &name("x"), &[]);
    for at in 0..bare.len() {
        let mut changed = bare.clone();
        changed[at] ^= 1;
        assert!(parse(&changed).is_err(), "octet {at}");
    }
}

#[test]
fn truncated_messages_are_refused() {
    let message = cmc(&Key::p256(), &pki_data(&[], &[&pkcs10(&Key::p256(), &name("x"), &[])]));
    for len in 0..message.len() {
        assert!(parse(&message[..len]).is_err());
    }
    assert_eq!(parse(&[message, vec![0]].concat()), Err(Malformed("encoding: data after the end").into()));
}

#[test]
fn other_than_one_request_is_refused() {
    let key = Key::p256();
    let one = pkcs10(&key, &name("x"), &[]);
    for (requests, found) in [(vec![], 0), (vec![one.as_slice(); 2], 2), (vec![one.as_slice(); 5], 5)] {
        let error = parse(&cmc(&key, &pki_data(&[], &requests))).unwrap_err();
        assert_eq!(error, RequestError::NotOneRequest { found });
        assert_eq!(error.hresult(), 0x8007_000D);
    }
}

#[test]
fn nested_messages_in_pki_data_are_refused() {
    let key = Key::p256();
    let request = element(0xa0, &[&[2, 1, 1], pkcs10(&key, &name("x"), &[]).as_slice()].concat());
    let nested = seq(&[&[2, 1, 3], &cms(ID_DATA, b"", &[], &[])]);
    let data = seq(&[&[0x30, 0], &element(0x30, &request), &seq(&[&nested]), &[0x30, 0]]);
    assert_eq!(parse(&cmc(&key, &data)), Err(Malformed("PKIData with nested messages").into()));
}

#[test]
fn message_without_signer_is_refused() {
    let key = Key::p256();
    for error in [
        parse(&cms(PKI_DATA, &pki_data(&[], &[&pkcs10(&key, &name("x"), &[])]), &[], &[])),
        parse(&cms(ID_DATA, &pkcs10(&key, &name("x"), &[]), &[], &[])),
    ] {
        let error = error.unwrap_err();
        assert_eq!((error.hresult(), error), (0x8009_200E, RequestError::NoSigner));
    }
}

#[test]
fn foreign_signer_is_refused() {
    let (key, foreign) = (Key::p256(), Key::p256());
    let data = pki_data(&[], &[&pkcs10(&key, &name("x"), &[])]);
    let attributes = signed_attributes(&key, PKI_DATA, &data);
    // Another key under the new key's identifier, and under one of its own.
    for sid in [by_key(&key), by_key(&foreign)] {
        let message = cms(PKI_DATA, &data, &[], &[&signer(&foreign, &sid, &data, Some(&attributes), &[])]);
        assert_eq!(
            parse(&message),
            Err(RequestError::SignerSignature { index: 0, error: SignatureError::Wrong })
        );
    }
}

#[test]
fn extra_signer_must_verify_and_grants_nothing() {
    let (key, extra_key) = (Key::p256(), Key::ed25519());
    let extra = extra_key.certificate("extra", 1);
    let data = pki_data(&[], &[&pkcs10(&key, &name("x"), &[])]);
    let own = signer(&key, &by_key(&key), &data, Some(&signed_attributes(&key, PKI_DATA, &data)), &[]);
    let with = |certificates: &[&[u8]], signed_by: &Key| {
        let attributes = signed_attributes(&extra_key, PKI_DATA, &data);
        let info = signer(signed_by, &by_serial("extra", 1), &data, Some(&attributes), &[]);
        parse(&cms(PKI_DATA, &data, certificates, &[&own, &info]))
    };
    let good = with(&[&extra], &extra_key).unwrap();
    assert!(good.form.renewed().is_none());
    assert_eq!(good.form.cosigners()[0].certificate_der, extra);
    assert_eq!(
        with(&[&extra], &Key::ed25519()),
        Err(RequestError::SignerSignature { index: 1, error: SignatureError::Wrong })
    );
    assert_eq!(with(&[], &extra_key), Err(RequestError::SignerCertificateMissing { index: 1 }));
}

#[test]
fn signed_attributes_must_fit_the_content() {
    let key = Key::p256();
    let data = pki_data(&[], &[&pkcs10(&key, &name("x"), &[])]);
    let with = |attributes: Option<&[Vec<u8>]>| {
        parse(&cms(PKI_DATA, &data, &[], &[&signer(&key, &by_key(&key), &data, attributes, &[])]))
    };
    let good = signed_attributes(&key, PKI_DATA, &data);
    assert!(with(Some(&good)).is_ok());
    assert_eq!(with(None), Err(RequestError::SignedAttributesMissing { index: 0 }));
    assert_eq!(
        with(Some(&signed_attributes(&key, PKI_DATA, b"other"))),
        Err(RequestError::MessageDigest { index: 0 })
    );
    assert_eq!(
        with(Some(&signed_attributes(&key, ID_DATA, &data))),
        Err(RequestError::SignedContentType { index: 0 })
    );
    for (missing, oid) in [(0, "1.2.840.113549.1.9.3"), (1, "1.2.840.113549.1.9.4")] {
        let mut attributes = good.clone();
        attributes.remove(missing);
        let oid = der::asn1::ObjectIdentifier::new_unwrap(oid);
        assert_eq!(with(Some(&attributes)), Err(RequestError::NotOneValue(oid)));
        let twice = [good.clone(), vec![good[missing].clone()]].concat();
        assert_eq!(with(Some(&twice)), Err(RequestError::Duplicate(oid)));
    }
}

#[test]
fn signed_attributes_cannot_pass_as_content() {
    // What the old key once signed as attributes, shown as content without attributes.
    let key = Key::p256();
    let old = key.certificate("old", 1);
    let content = element(0x31, &signed_attributes(&key, ID_DATA, b"x").concat());
    let message =
        cms(ID_DATA, &content, &[&old], &[&signer(&key, &by_serial("old", 1), &content, None, &[])]);
    assert_eq!(parse(&message), Err(Malformed("PKCS#10").into()));
}

#[test]
fn unknown_content_types_are_refused() {
    let key = Key::p256();
    let other = "06082b06010505070c03";
    let request = pkcs10(&key, &name("x"), &[]);
    let attributes = signed_attributes(&key, other, &request);
    let message =
        cms(other, &request, &[], &[&signer(&key, &by_key(&key), &request, Some(&attributes), &[])]);
    for bytes in
        [message, seq(&[]), seq(&[&hex("06092a864886f70d010703")]), vec![2, 1, 0], seq(&[&[2, 1, 0]])]
    {
        let error = parse(&bytes).unwrap_err();
        assert_eq!((error.hresult(), error), (0x8009_1004, RequestError::UnknownFormat));
    }
}

// Renewal

#[test]
fn renewal_certificate_must_be_the_one_that_signed() {
    let (key, old_key, thief) = (Key::p256(), Key::p384(), Key::p384());
    let old = old_key.certificate("old", 7);
    // Same issuer and serial number, another key.
    let forged = thief.certificate("old", 7);
    let request = pkcs10(&key, &name("x"), &[&attribute(RENEWAL, &[&old])]);
    let with = |certificates: &[&[u8]], signed_by: &Key, sid: &[u8]| {
        parse(&cms(ID_DATA, &request, certificates, &[&signer(signed_by, sid, &request, None, &[])]))
    };
    let sid = by_serial("old", 7);
    assert!(with(&[&old], &old_key, &sid).unwrap().form.renewed().is_some());
    assert!(with(&[&forged, &old], &old_key, &sid).unwrap().form.renewed().is_some());
    assert_eq!(
        with(&[&forged, &forged, &old], &old_key, &sid),
        Err(RequestError::SignerSignature { index: 0, error: SignatureError::Wrong }),
        "no more than two certificates are tried"
    );
    let error = with(&[&forged, &old], &thief, &sid).unwrap_err();
    assert_eq!((error.hresult(), error), (0x8009_400E, RequestError::RenewalNotSigned));
    assert_eq!(
        with(&[&old], &thief, &sid),
        Err(RequestError::SignerSignature { index: 0, error: SignatureError::Wrong })
    );
    assert_eq!(with(&[], &old_key, &sid), Err(RequestError::SignerCertificateMissing { index: 0 }));
}

#[test]
fn renewal_signer_must_be_named_by_issuer_and_serial() {
    let (key, old_key) = (Key::p256(), Key::p384());
    let sid = by_key(&old_key);
    let old = old_key.certificate_with_identifier("old", 7, &sid[2..]);
    let request = pkcs10(&key, &name("x"), &[&attribute(RENEWAL, &[&old])]);
    let message = cms(ID_DATA, &request, &[&old], &[&signer(&old_key, &sid, &request, None, &[])]);
    assert_eq!(parse(&message), Err(RequestError::RenewalNotSigned));
}

#[test]
fn bare_request_with_renewal_certificate_is_refused() {
    let (key, old) = (Key::p256(), Key::p256().certificate("old", 1));
    let request = pkcs10(&key, &name("x"), &[&attribute(RENEWAL, &[&old])]);
    assert_eq!(parse(&request), Err(RequestError::RenewalNotSigned));
    let two = pkcs10(&key, &name("x"), &[&attribute(RENEWAL, &[&old, &old])]);
    assert_eq!(parse(&two).unwrap_err().hresult(), 0x8009_400E);
}

#[test]
fn trap_36_renewal_is_told_by_its_content() {
    // Signed by an old certificate but without the attribute: a new request.
    let (key, old_key) = (Key::p256(), Key::p384());
    let old = old_key.certificate("old", 7);
    let data = pki_data(&[], &[&pkcs10(&key, &name("x"), &[])]);
    let own = signer(&key, &by_key(&key), &data, Some(&signed_attributes(&key, PKI_DATA, &data)), &[]);
    let attributes = signed_attributes(&old_key, PKI_DATA, &data);
    let other = signer(&old_key, &by_serial("old", 7), &data, Some(&attributes), &[]);
    let request = parse(&cms(PKI_DATA, &data, &[&old], &[&own, &other])).unwrap();
    assert!(matches!(request.form, RequestForm::Cmc { signers } if signers.len() == 1));
}

// Possession

#[test]
fn trap_21_null_signature_needs_another_proof() {
    let (key, old_key) = (Key::p256(), Key::p384());
    let null = null_pkcs10(&key, &[]);
    assert!(matches!(
        parse(&null),
        Err(RequestError::RequestSignature(SignatureError::UnsupportedAlgorithm(_)))
    ));
    let old = old_key.certificate("old", 7);
    let by_other = signer(&old_key, &by_serial("old", 7), &null, None, &[]);
    assert_eq!(parse(&cms(ID_DATA, &null, &[&old], &[&by_other])), Err(RequestError::NoProofOfPossession));
    // Renewal with the same key: the old certificate's key is the new key.
    let same = key.certificate("same", 8);
    let null = null_pkcs10(&key, &[&attribute(RENEWAL, &[&same])]);
    let by_same = signer(&key, &by_serial("same", 8), &null, None, &[]);
    assert_eq!(
        parse(&cms(ID_DATA, &null, &[&same], &[&by_same])).unwrap().possession,
        Possession::SignerInfo
    );
    // The digest must be right even so.
    let mut wrong = null_pkcs10(&key, &[]);
    *wrong.last_mut().unwrap() ^= 1;
    assert_eq!(
        parse(&cmc(&key, &pki_data(&[], &[&wrong]))),
        Err(RequestError::RequestSignature(SignatureError::Wrong))
    );
}

#[test]
fn no_signature_mechanism_needs_a_signed_pkcs10() {
    let key = Key::p256();
    let with = |request: &[u8], digest_of: Option<&[u8]>| {
        let data = pki_data(&[], &[request]);
        parse(&cms(PKI_DATA, &data, &[], &[&no_signature(PKI_DATA, &data, digest_of)]))
    };
    let signed = pkcs10(&key, &name("x"), &[]);
    assert_eq!(with(&signed, None).unwrap().possession, Possession::Pkcs10Signature);
    assert_eq!(with(&null_pkcs10(&key, &[]), None), Err(RequestError::NoProofOfPossession));
    assert_eq!(
        with(&signed, Some(b"other")),
        Err(RequestError::SignerSignature { index: 0, error: SignatureError::Wrong })
    );
}

// Content

#[test]
fn trap_24_template_name_in_every_encoding() {
    for value in [
        bmp("Web Server"),
        element(0x0c, b"Web Server"),
        element(0x13, b"Web Server"),
        seq(&[&element(0x0c, b"Web Server")]),
        seq(&[&bmp("Web Server")]),
    ] {
        let request = with_extensions(EXTENSION_REQUEST, &[&extension(TEMPLATE_NAME, &value)]).unwrap();
        assert_eq!(request.template.names, ["Web Server"]);
    }
    for value in [vec![0x1e, 1, 0], bmp(""), vec![4, 1, 65], seq(&[&bmp("a"), &bmp("b")]), vec![]] {
        assert!(with_extensions(EXTENSION_REQUEST, &[&extension(TEMPLATE_NAME, &value)]).is_err());
    }
}

#[test]
fn trap_25_extensions_in_either_attribute() {
    let template = extension(TEMPLATE_NAME, &bmp("A"));
    for oid in [EXTENSION_REQUEST, CERT_EXTENSIONS] {
        assert_eq!(with_extensions(oid, &[&template]).unwrap().template.names, ["A"]);
    }
    let both = |second: &[u8]| {
        let key = Key::p256();
        let first = attribute(EXTENSION_REQUEST, &[&seq(&[&template])]);
        parse(&pkcs10(&key, &name("x"), &[&first, &attribute(CERT_EXTENSIONS, &[&seq(&[second])])]))
    };
    assert_eq!(both(&template).unwrap().extensions.len(), 1, "the same twice counts once");
    assert_eq!(both(&extension("0603551d0f", &[3, 2, 5, 0xa0])).unwrap().extensions.len(), 2);
    assert!(matches!(both(&extension(TEMPLATE_NAME, &bmp("B"))), Err(RequestError::Duplicate(_))));
}

#[test]
fn trap_42_names_in_request_attributes_stay_mere_data() {
    let key = Key::p256();
    let pair = name_value("SAN", "upn=administrator@example.com");
    let request = pkcs10(&key, &name("x"), &[&attribute(NAME_VALUE, &[&pair])]);
    let san =
        seq(&[&[2, 1, 0], &[0x30, 0], &seq(&[&extension(SAN, &seq(&[&element(0x82, b"dc.example.com")]))])]);
    let controls = [
        control("06082b06010505070712", &element(4, b"SAN=dns=x&CertificateTemplate=T&rubbish")),
        control("06082b06010505070708", &san),
    ];
    let controls: Vec<&[u8]> = controls.iter().map(Vec::as_slice).collect();
    let read = parse(&cmc(&key, &pki_data(&controls, &[&request]))).unwrap();
    assert_eq!(read.names, []);
    assert_eq!(read.extensions, []);
    assert_eq!(read.control_extensions.len(), 1, "kept apart, for registration authorities only");
    let pairs: Vec<_> = read.pairs.iter().map(|pair| (pair.name.as_str(), pair.value.as_str())).collect();
    assert_eq!(
        pairs,
        [("SAN", "upn=administrator@example.com"), ("SAN", "dns=x"), ("CertificateTemplate", "T")]
    );
    assert_eq!(read.template.names, ["T"]);
}

#[test]
fn trap_42_security_identifier_is_only_an_extension_asked_for() {
    let value = muster_proto::wcce::sid_to_der("S-1-5-21-1-2-3-500");
    let request =
        with_extensions(EXTENSION_REQUEST, &[&extension("06092b06010401823719 02", &value)]).unwrap();
    assert_eq!(request.extensions[0].value, value);
    assert_eq!(request.names, []);
}

#[test]
fn trap_43_subject_keeps_its_order() {
    let rdn = |oid: &str, tag, text: &str| set(&[&seq(&[&hex(oid), &element(tag, text.as_bytes())])]);
    let subject = seq(&[
        &rdn("060a0992268993f22c640119", 0x16, "com"),
        &rdn("060a0992268993f22c640119", 0x16, "example"),
        &rdn("0603550403", 0x0c, "user"),
    ]);
    let request = parse(&pkcs10(&Key::p256(), &subject, &[])).unwrap();
    assert_eq!(request.subject.der, subject);
    let first = request.subject.name.iter_rdn().next().unwrap();
    assert_eq!(first.to_string(), "DC=com", "most significant first");
}

#[test]
fn requester_name_counts_in_signed_attributes_only() {
    let (key, agent_key) = (Key::p256(), Key::rsa());
    let agent = agent_key.certificate("agent", 3);
    let victim = attribute(NAME_VALUE, &[&name_value("requestername", "EXAMPLE\\victim")]);
    let request = pkcs10(&key, &name("x"), &[&victim]);
    let with = |signed: &[&[u8]], unsigned: &[&[u8]]| {
        let mut attributes = signed_attributes(&agent_key, ID_DATA, &request);
        attributes.extend(signed.iter().map(|attribute| attribute.to_vec()));
        let info = signer(&agent_key, &by_serial("agent", 3), &request, Some(&attributes), unsigned);
        parse(&cms(ID_DATA, &request, &[&agent], &[&info]))
    };
    assert_eq!(
        with(&[&victim], &[]).unwrap().form.cosigners()[0].requester_name.as_deref(),
        Some("EXAMPLE\\victim")
    );
    assert_eq!(with(&[], &[&victim]).unwrap().form.cosigners()[0].requester_name, None);
    assert!(with(&[&victim, &victim], &[]).is_err(), "two names");
}

/// The shape of an encrypted private key: EnvelopedData for a recipient with a name, which nests deep.
fn enveloped_key() -> Vec<u8> {
    let recipient = seq(&[&[2, 1, 0], &seq(&[&name("CA Exchange"), &[2, 1, 1]]), &[0x30, 0], &[4, 1, 0]]);
    let data = seq(&[&[2, 1, 0], &set(&[&recipient]), &seq(&[&hex(ID_DATA), &[0x30, 0], &[0x80, 1, 0]])]);
    seq(&[&hex("06092a864886f70d010703"), &element(0xa0, &data)])
}

#[test]
fn archived_keys_and_attestation_are_told() {
    let key = Key::p256();
    let plain = pkcs10(&key, &name("x"), &[]);
    assert!(!parse(&plain).unwrap().archived_key);
    let hash = attribute("06092b06010401823715 15", &[&element(4, &[0; 20])]);
    assert!(parse(&pkcs10(&key, &name("x"), &[&hash])).unwrap().archived_key);
    let data = pki_data(&[], &[&plain]);
    let archived = attribute("06092b06010401823715 0d", &[&enveloped_key()]);
    let info =
        signer(&key, &by_key(&key), &data, Some(&signed_attributes(&key, PKI_DATA, &data)), &[&archived]);
    assert!(parse(&cms(PKI_DATA, &data, &[], &[&info])).unwrap().archived_key);
    let statement = attribute("06092b06010401823715 21", &[&element(4, b"x")]);
    assert_eq!(parse(&pkcs10(&key, &name("x"), &[&statement])).unwrap().attestation.len(), 1);
}

#[test]
fn informative_attributes_have_one_value() {
    let key = Key::p256();
    let version = element(0x16, b"10.0");
    assert!(parse(&pkcs10(&key, &name("x"), &[&attribute(OS_VERSION, &[&version])])).is_ok());
    for values in [vec![], vec![version.as_slice(), &version]] {
        let error = parse(&pkcs10(&key, &name("x"), &[&attribute(OS_VERSION, &values)])).unwrap_err();
        assert!(matches!(error, RequestError::NotOneValue(_)));
        assert_eq!(error.hresult(), 0x8007_000D);
    }
}

#[test]
fn names_with_odd_content_are_refused() {
    for value in [
        seq(&[]),
        seq(&[&element(0x82, &[0xff])]),
        seq(&[&element(0x87, &[1, 2, 3])]),
        seq(&[&element(0x89, b"x")]),
        seq(&[&element(0xa0, &hex("060a2b060104018237140203"))]),
        vec![0x30, 5, 0x82, 9],
        vec![],
        [seq(&[&element(0x82, b"a")]), vec![0]].concat(),
    ] {
        assert!(with_extensions(EXTENSION_REQUEST, &[&extension(SAN, &value)]).is_err(), "{value:02x?}");
    }
    let critical = seq(&[&hex(SAN), &[1, 1, 7], &element(4, &seq(&[&element(0x82, b"a")]))]);
    assert!(with_extensions(EXTENSION_REQUEST, &[&critical]).is_err(), "a flag of neither 0 nor 255");
    let dns =
        with_extensions(EXTENSION_REQUEST, &[&extension(SAN, &seq(&[&element(0x82, b"a\nb")]))]).unwrap();
    assert_eq!(dns.names, [RequestedName::Dns("a\nb".into())], "what a name may be is for policy to say");
}

// Limits

#[test]
fn limits_hold() {
    assert_eq!(
        parse(&vec![0x30; MAX_REQUEST_LEN + 1]),
        Err(RequestError::TooLarge { len: MAX_REQUEST_LEN + 1 })
    );
    let deep = (0..=MAX_DEPTH).fold(vec![], |inner, _| element(0x30, &inner));
    assert_eq!(parse(&deep), Err(Malformed("encoding: nested too deep").into()));
    assert!(parse(&[0x30, 0x80].repeat(MAX_REQUEST_LEN / 2)).is_err());

    let many = |count: u8| (0..count).map(|n| extension(&format!("06022a{n:02x}"), &[])).collect::<Vec<_>>();
    let refer = |list: &[Vec<u8>]| {
        with_extensions(EXTENSION_REQUEST, &list.iter().map(Vec::as_slice).collect::<Vec<_>>())
    };
    assert!(refer(&many(64)).is_ok());
    assert_eq!(refer(&many(65)), Err(RequestError::TooMany { what: "extensions", limit: 64 }));

    let names = |count| {
        with_extensions(
            EXTENSION_REQUEST,
            &[&extension(SAN, &element(0x30, &element(0x82, b"a").repeat(count)))],
        )
    };
    assert_eq!(names(100).unwrap().names.len(), 100);
    assert_eq!(names(101), Err(RequestError::TooMany { what: "subject alternative names", limit: 100 }));

    let subject = |length| parse(&pkcs10(&Key::p256(), &name(&"ä".repeat(length)), &[]));
    assert!(subject(256).is_ok());
    assert_eq!(subject(257), Err(RequestError::TooMany { what: "characters in a name", limit: 256 }));
}

#[test]
fn bare_request_in_ber_is_refused() {
    let request = pkcs10(&Key::p256(), &name("x"), &[]);
    let header = if request[1] == 0x81 { 3 } else { 4 };
    let ber = [&[0x30, 0x80], &request[header..], &[0, 0]].concat();
    assert_eq!(parse(&ber), Err(RequestError::UnknownFormat));
}
