//! What our writers make, our readers read; every kind of key, every form.

use std::time::{Duration, SystemTime};

use der::asn1::ObjectIdentifier;
use muster_proto::wcce::{
    CertificateRequest, ClientInfo, CmcResponse, CmcStatus, Cosigner, CspProvider, DigestAlgorithm,
    NameValuePair, Pkcs10Builder, Possession, RequestForm, RequestedName, ResponseStatus, SignBytes,
    TemplateId, TemplateSelector, build_certs_only, build_cmc, build_cms_renewal, build_response,
    parse_certs_only,
};

use crate::support::Key;

#[test]
fn pkcs10_of_every_key_comes_back_as_it_was_asked_for() {
    for key in Key::all() {
        let spki = key.spki();
        let template = TemplateSelector::Id(TemplateId {
            oid: ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.21.8.1.2.3.4.5.6.7"),
            major: Some(100),
            minor: Some(3),
        });
        let names = [
            RequestedName::Dns("host.example.com".into()),
            RequestedName::Upn("user@example.com".into()),
            RequestedName::Email("mail@example.com".into()),
            RequestedName::Uri("https://example.com/".into()),
            RequestedName::Ip([192, 0, 2, 1].into()),
            RequestedName::Ip("2001:db8::1".parse().unwrap()),
            RequestedName::RegisteredId(ObjectIdentifier::new_unwrap("1.2.3")),
            RequestedName::OtherName { oid: ObjectIdentifier::new_unwrap("1.2.3.4"), value: vec![4, 1, 7] },
        ];
        let info =
            ClientInfo { client_id: 9, machine: "pc".into(), user: "D\\ü".into(), process: "x".into() };
        let csp = CspProvider { key_spec: 1, name: "Software".into() };
        let der = Pkcs10Builder {
            template: Some(&template),
            names: &names,
            os_version: Some("10.0.22631.2"),
            client_info: Some(&info),
            csp: Some(&csp),
            ..Pkcs10Builder::new(&spki)
        }
        .build(&key)
        .unwrap();
        let request = CertificateRequest::parse(&der).unwrap();
        assert_eq!(request.form, RequestForm::Pkcs10);
        assert_eq!(request.possession, Possession::Pkcs10Signature);
        assert!(!request.sha1_signature);
        assert_eq!(request.public_key.spki_der(), spki);
        assert_eq!(request.names, names);
        assert_eq!(request.template.id.map(TemplateSelector::Id), Some(template));
        assert_eq!(request.client.info, Some(info));
        assert_eq!(request.client.csp, Some(csp));
        assert_eq!(request.client.os_version.as_deref(), Some("10.0.22631.2"));
        assert!(request.extensions.iter().any(|e| e.critical && e.oid.to_string() == "2.5.29.17"));
        assert_eq!(request.pkcs10_der, der);
    }
}

#[test]
fn trap_22_cmc_first_request_is_verified_with_the_new_key() {
    for key in Key::all() {
        let spki = key.spki();
        let template = TemplateSelector::Name("WebServer".into());
        let builder = Pkcs10Builder { template: Some(&template), ..Pkcs10Builder::new(&spki) };
        let pair = NameValuePair { name: "rmd".into(), value: "pc.example.com".into() };
        let cmc =
            build_cmc(&builder.build(&key).unwrap(), &spki, &key, std::slice::from_ref(&pair), &[]).unwrap();
        let request = CertificateRequest::parse(&cmc).unwrap();
        assert_eq!(request.form, RequestForm::Cmc { signers: vec![] });
        assert_eq!(request.possession, Possession::Both);
        assert_eq!(request.template.names, ["WebServer"]);
        assert_eq!(request.pairs, [pair]);
    }
}

#[test]
fn trap_21_null_signature_counts_inside_of_cmc_only() {
    let key = Key::p256();
    let spki = key.spki();
    for digest in
        [DigestAlgorithm::Sha1, DigestAlgorithm::Sha256, DigestAlgorithm::Sha384, DigestAlgorithm::Sha512]
    {
        let pkcs10 = Pkcs10Builder::new(&spki).build_null_signed(digest).unwrap();
        assert!(CertificateRequest::parse(&pkcs10).is_err(), "bare");
        let cmc = build_cmc(&pkcs10, &spki, &key, &[], &[]).unwrap();
        assert_eq!(CertificateRequest::parse(&cmc).unwrap().possession, Possession::SignerInfo);
    }
}

#[test]
fn renewals_name_the_holder_of_the_old_certificate() {
    for (old_key, new_key) in Key::all().into_iter().zip(Key::all().into_iter().rev()) {
        let old = old_key.certificate("old", 7);
        let spki = new_key.spki();
        let pkcs10 = Pkcs10Builder { renewal_certificate: Some(&old), ..Pkcs10Builder::new(&spki) }
            .build(&new_key)
            .unwrap();
        let cosigner = Cosigner { certificate: &old, key: &old_key };
        let cms = CertificateRequest::parse(&build_cms_renewal(&pkcs10, cosigner).unwrap()).unwrap();
        let RequestForm::CmsRenewal { renewed, others } = &cms.form else { panic!("{:?}", cms.form) };
        assert_eq!(
            (&renewed.certificate_der, others.len(), cms.possession),
            (&old, 0, Possession::Pkcs10Signature)
        );

        let agent_key = Key::p256();
        let agent = agent_key.certificate("agent", 9);
        let agent_signer = Cosigner { certificate: &agent, key: &agent_key };
        let cmc = build_cmc(&pkcs10, &spki, &new_key, &[], &[agent_signer, cosigner]).unwrap();
        let cmc = CertificateRequest::parse(&cmc).unwrap();
        let RequestForm::CmcRenewal { renewed, others } = &cmc.form else { panic!("{:?}", cmc.form) };
        assert_eq!((&renewed.certificate_der, cmc.possession), (&old, Possession::Both));
        assert_eq!(others.iter().map(|s| &s.certificate_der).collect::<Vec<_>>(), [&agent]);
    }
}

#[test]
fn signed_message_without_renewal_attribute_is_a_new_request() {
    let (key, agent_key) = (Key::p256(), Key::rsa());
    let agent = agent_key.certificate("agent", 1);
    let pkcs10 = Pkcs10Builder::new(&key.spki()).build(&key).unwrap();
    let cms = build_cms_renewal(&pkcs10, Cosigner { certificate: &agent, key: &agent_key }).unwrap();
    let request = CertificateRequest::parse(&cms).unwrap();
    assert!(matches!(&request.form, RequestForm::Cms { signers } if signers[0].certificate_der == agent));
    assert!(request.form.renewed().is_none());
}

#[test]
fn responses_tell_what_happened() {
    for ca_key in Key::all() {
        let root = Key::p384().certificate("root", 1);
        let ca = ca_key.certificate("ca", 2);
        let leaf = Key::p256().certificate("leaf", 3);
        let parse = |status| {
            let der = build_response(status, &[&root, &ca], &ca_key).unwrap();
            (CmcResponse::parse(&der, &ca).unwrap(), CmcResponse::parse(&der, &root))
        };
        let (issued, foreign) = parse(ResponseStatus::Issued { certificate: &leaf });
        assert_eq!(issued.status, CmcStatus::Issued { certificate: leaf.clone() });
        assert_eq!(issued.certificates, [root.clone(), ca.clone(), leaf.clone()]);
        assert_eq!(issued.status_string.as_deref(), Some("Issued"));
        assert!(foreign.is_err(), "verifies with the key of another CA");

        let received = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_408_496);
        let (pending, _) = parse(ResponseStatus::Pending { request_id: 4711, received });
        let time = Some("20261123043456Z".into());
        assert_eq!(pending.status, CmcStatus::Pending { token: b"4711".to_vec(), time });
        assert_eq!(pending.certificates, [root.clone(), ca.clone()]);

        let (denied, _) = parse(ResponseStatus::Denied { reason: "Denied by policy module" });
        assert_eq!(denied.status, CmcStatus::Failed);
        assert_eq!(denied.status_string.as_deref(), Some("Denied by policy module"));
    }
}

#[test]
fn certs_only_keeps_the_order() {
    let certificates: Vec<Vec<u8>> =
        (1..4).rev().map(|serial| Key::p256().certificate("c", serial)).collect();
    let slices: Vec<&[u8]> = certificates.iter().map(Vec::as_slice).collect();
    assert_eq!(parse_certs_only(&build_certs_only(&slices).unwrap()).unwrap(), certificates);
}

#[test]
fn signatures_cover_the_received_bytes_not_a_re_encoding() {
    // A SET OF attributes in unsorted order is not DER, but that is what was signed.
    let key = Key::ed25519();
    let spki = key.spki();
    let sorted = Pkcs10Builder {
        os_version: Some("10.0"),
        csp: Some(&CspProvider { key_spec: 1, name: "a".into() }),
        ..Pkcs10Builder::new(&spki)
    };
    let der = sorted.build(&key).unwrap();
    // Swap the two attributes inside of the CertificationRequestInfo and sign again.
    let at = |needle: &[u8]| der.windows(needle.len()).position(|window| window == needle).unwrap();
    let first = at(&crate::support::hex("060a2b0601040182370d0203")) - 2;
    let second = at(&crate::support::hex("060a2b0601040182370d0202")) - 2;
    assert!(first < second, "sorted by length first");
    let length = |start: usize| usize::from(der[start + 1]) + 2;
    let (a, b) = (&der[first..first + length(first)], &der[second..second + length(second)]);
    let info_end = second + length(second);
    let info_start = 2 + usize::from(der[1] == 0x81) + usize::from(der[1] == 0x82) * 2;
    let info = [&der[info_start..first], b, a].concat();
    assert_eq!(info.len(), info_end - info_start);
    let signature = key.sign(&info).unwrap();
    let tail = &der[info_end..der.len() - 64];
    let unsorted = [&der[..info_start], &info, tail, &signature].concat();
    assert_eq!(CertificateRequest::parse(&unsorted).unwrap().client.os_version.as_deref(), Some("10.0"));
}
