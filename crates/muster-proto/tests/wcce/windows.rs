//! Messages of the shape that Windows clients and Windows CAs write; `make.py` beside the vectors makes them.

use cms::signed_data::SignedData;
use der::asn1::ObjectIdentifier;
use der::{Decode, Encode};
use muster_proto::wcce::{
    CertificateRequest, CertificateTemplate, CmcResponse, CmcStatus, KeyAlgorithm, Possession, RequestForm,
    RequestedName, ResponseError, ResponseStatus, TemplateId, application_policies_to_der, build_response,
    certificate_application_policies, certificate_key_usages, certificate_sid, certificate_template,
    parse_application_policies, parse_key_usages, parse_sid, sid_to_der, template_name_to_der, upn_to_der,
};

use crate::support::{Key, hex, read_vector};

fn vector(name: &str) -> Vec<u8> {
    read_vector(&format!("ms-wstep/{name}"))
}

#[test]
fn trap_19_value_type_lies() {
    // Windows labels this #PKCS7, but it is a bare PKCS#10.
    let request = CertificateRequest::parse(&vector("handmade-user-pkcs10.der")).unwrap();
    assert_eq!(request.form, RequestForm::Pkcs10);
    assert_eq!(request.possession, Possession::Pkcs10Signature);
    assert_eq!(request.public_key.algorithm(), KeyAlgorithm::Rsa { bits: 2048, exponent: 65537 });
    assert!(request.subject.is_empty());
    assert!(request.names.is_empty());
}

#[test]
fn trap_23_sha1_is_accepted_as_possession_and_reported() {
    assert!(CertificateRequest::parse(&vector("handmade-user-pkcs10.der")).unwrap().sha1_signature);
}

#[test]
fn trap_24_template_name_is_a_bmp_string_and_client_info_is_utf8() {
    let request = CertificateRequest::parse(&vector("handmade-user-pkcs10.der")).unwrap();
    assert_eq!(request.template.names, ["User"]);
    assert_eq!(request.template.id, None);
    assert_eq!(request.client.os_version.as_deref(), Some("10.0.26100.2"));
    let info = request.client.info.unwrap();
    assert_eq!(info.client_id, 5);
    assert_eq!(info.machine, "pc1.example.test");
    assert_eq!(info.user, "EXAMPLE\\alice");
    assert_eq!(info.process, "enroll.exe");
    let csp = request.client.csp.unwrap();
    assert_eq!((csp.key_spec, csp.name.as_str()), (1, "Example Cryptographic Provider"));
    assert_eq!(request.extensions.len(), 5);
}

#[test]
fn renewal_of_schema_1_is_a_cms_renewal_signed_by_the_old_certificate() {
    let request = CertificateRequest::parse(&vector("handmade-renewal.der")).unwrap();
    let RequestForm::CmsRenewal { renewed, others } = &request.form else { panic!("{:?}", request.form) };
    assert!(others.is_empty());
    assert!(renewed.by_issuer_and_serial && renewed.sha1_signature && request.sha1_signature);
    assert_eq!(renewed.certificate_der, vector("handmade-issued-sha1-certificate.der"));
    let old = x509_cert::Certificate::from_der(&renewed.certificate_der).unwrap();
    assert_eq!(old.tbs_certificate().subject(), &request.subject.name);
    assert_eq!(request.template.names, ["User"]);
    assert!(matches!(request.names.as_slice(), [RequestedName::Upn(_), RequestedName::Email(_)]));
    assert_eq!(request.possession, Possession::Pkcs10Signature);
}

#[test]
fn issued_responses_verify_with_the_issuing_ca() {
    for (digest, sha1) in [("sha1", true), ("sha256", false)] {
        let bytes = vector(&format!("handmade-issued-{digest}-response.der"));
        let leaf = vector(&format!("handmade-issued-{digest}-certificate.der"));
        let ca = ca_certificate(&bytes);
        let read = CmcResponse::parse(&bytes, &ca).unwrap();
        assert_eq!(read.status, CmcStatus::Issued { certificate: leaf.clone() }, "{digest}");
        assert_eq!(read.status_string.as_deref(), Some("Issued"));
        assert_eq!(read.certificates.len(), 3);
        assert_eq!(read.sha1_signature, sha1, "{digest}");
        assert_eq!(read.certificates[2], leaf, "root, issuing CA, leaf");
        // The key of another certificate does not verify it.
        assert!(CmcResponse::parse(&bytes, &leaf).is_err());
    }
}

#[test]
fn pending_responses_hold_the_token_and_no_leaf() {
    for (digest, sha1) in [("sha1", true), ("sha256", false)] {
        let bytes = vector(&format!("handmade-pending-{digest}-response.der"));
        let ca = ca_certificate(&bytes);
        let read = CmcResponse::parse(&bytes, &ca).unwrap();
        let pending = CmcStatus::Pending { token: b"4711".to_vec(), time: Some("20260301120000Z".into()) };
        assert_eq!(read.status, pending, "{digest}");
        assert_eq!(read.status_string.as_deref(), Some("Taken Under Submission"));
        assert_eq!((read.certificates.len(), read.certificates.last()), (2, Some(&ca)), "root, issuing CA");
        assert_eq!(read.sha1_signature, sha1, "{digest}");
    }
}

/// Decoded by the `cms` crate, to have a second opinion.
fn signed_data(message: &[u8]) -> SignedData {
    cms::content_info::ContentInfo::from_der(message).unwrap().content.decode_as().unwrap()
}

/// The second certificate of a response.
fn ca_certificate(response: &[u8]) -> Vec<u8> {
    let certificates = signed_data(response).certificates.unwrap();
    let cms::cert::CertificateChoices::Certificate(ca) = &certificates.0.as_slice()[1] else {
        panic!("no certificate")
    };
    ca.to_der().unwrap()
}

#[test]
fn truncated_response_is_refused() {
    let bytes = vector("handmade-truncated-response.der");
    let ca = ca_certificate(&vector("handmade-issued-sha256-response.der"));
    assert_eq!(ca, vector("handmade-issuing-ca-sha256-certificate.der"));
    assert!(matches!(CmcResponse::parse(&bytes, &ca), Err(ResponseError::Malformed(_))));
}

#[test]
fn trap_41_response_is_signed_in_the_name_of_the_ca_certificates_issuer() {
    use cms::signed_data::SignerIdentifier;
    let issued = vector("handmade-issued-sha1-response.der");
    let ca_der = ca_certificate(&issued);
    let ca = x509_cert::Certificate::from_der(&ca_der).unwrap();
    let signer = |response: &[u8]| {
        let infos = signed_data(response).signer_infos.0;
        assert_eq!(infos.len(), 1);
        let SignerIdentifier::IssuerAndSerialNumber(id) = infos.as_slice()[0].sid.clone() else {
            panic!("by key identifier")
        };
        id
    };
    let theirs = signer(&issued);
    assert_eq!(&theirs.issuer, ca.tbs_certificate().issuer());
    assert_ne!(&theirs.issuer, ca.tbs_certificate().subject());
    let ours = build_response(ResponseStatus::Denied { reason: "no" }, &[&ca_der], &Key::p256()).unwrap();
    assert_eq!(signer(&ours), theirs);
}

#[test]
fn our_response_has_the_content_of_the_independent_one() {
    let theirs = signed_data(&vector("handmade-issued-sha1-response.der"));
    let leaf = vector("handmade-issued-sha1-certificate.der");
    let ca = ca_certificate(&vector("handmade-issued-sha1-response.der"));
    let ours = build_response(ResponseStatus::Issued { certificate: &leaf }, &[&ca], &Key::p256()).unwrap();
    assert_eq!(signed_data(&ours).encap_content_info, theirs.encap_content_info);
    assert_eq!(signed_data(&ours).version, theirs.version);
    let attributes = |data: &SignedData| {
        let set = data.signer_infos.0.as_slice()[0].signed_attrs.clone().unwrap();
        set.iter().map(|attribute| attribute.oid).collect::<Vec<_>>()
    };
    assert_eq!(attributes(&signed_data(&ours)), attributes(&theirs));

    // 2026-03-01T12:00:00Z
    let received = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_772_366_400);
    let pending = ResponseStatus::Pending { request_id: 4711, received };
    let ours = build_response(pending, &[&ca], &Key::p256()).unwrap();
    let theirs = signed_data(&vector("handmade-pending-sha1-response.der"));
    assert_eq!(signed_data(&ours).encap_content_info, theirs.encap_content_info);
}

#[test]
fn trap_18_template_extension_of_the_issued_certificate_is_read() {
    let certificate =
        x509_cert::Certificate::from_der(&vector("handmade-issued-sha1-certificate.der")).unwrap();
    assert_eq!(certificate_template(&certificate).unwrap(), Some(CertificateTemplate::Name("User".into())));
    assert_eq!(template_name_to_der("Kiosk"), hex("1e0a004b0069006f0073006b"));
    assert_eq!(certificate_sid(&certificate).unwrap(), None);
    assert_eq!(certificate_application_policies(&certificate).unwrap(), None);
    let usages = certificate_key_usages(&certificate).unwrap().unwrap();
    let usages: Vec<_> = usages.iter().map(ToString::to_string).collect();
    assert_eq!(usages, ["1.3.6.1.4.1.311.10.3.4", "1.3.6.1.5.5.7.3.4", "1.3.6.1.5.5.7.3.2"]);
}

#[test]
fn extension_values_are_written_octet_for_octet() {
    let id = TemplateId {
        oid: ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.21.8.1"),
        major: Some(100),
        minor: Some(3),
    };
    let der = hex("3012 060a2b060104018237150801 020164 020103");
    assert_eq!(id.to_der(), der);
    assert_eq!(TemplateId::from_der(&der), Ok(id));

    let sid = hex("302ba029060a2b060104018237190201a01b0419")
        .into_iter()
        .chain(*b"S-1-5-21-1111111111-2222-")
        .collect::<Vec<_>>();
    assert_eq!(sid_to_der("S-1-5-21-1111111111-2222-"), sid);
    assert_eq!(parse_sid(&sid).as_deref(), Ok("S-1-5-21-1111111111-2222-"));
    assert!(parse_sid(&sid_to_der("S-1-5\n")).is_err());

    let usages = [ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2")];
    let policies = hex("300c300a06082b06010505070302");
    assert_eq!(application_policies_to_der(&usages), policies);
    assert_eq!(parse_application_policies(&policies), Ok(usages.to_vec()));
    assert!(parse_application_policies(&[0x30, 0]).is_err());
    assert!(parse_key_usages(&[0x30, 0]).is_err(), "an empty list");

    let upn = hex("a013060a2b060104018237140203a0050c03614062");
    assert_eq!(upn_to_der("a@b"), upn);
}
