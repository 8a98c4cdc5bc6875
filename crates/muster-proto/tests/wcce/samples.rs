//! The messages printed in MS-WSTEP section 4.1, which a Windows client and a Windows CA exchanged.

use der::{Decode, Encode};
use muster_proto::wcce::{
    CertificateRequest, CmcResponse, CmcStatus, KeyAlgorithm, Possession, RequestForm, RequestedName,
    ResponseError,
};

use crate::support::read_vector;

fn vector(name: &str) -> Vec<u8> {
    read_vector(&format!("ms-wstep/{name}"))
}

#[test]
fn trap_19_value_type_lies() {
    // Labelled #PKCS7 in the message, but a bare PKCS#10.
    let request = CertificateRequest::parse(&vector("spec-4.1.1.1-pkcs10.der")).unwrap();
    assert_eq!(request.form, RequestForm::Pkcs10);
    assert_eq!(request.possession, Possession::Pkcs10Signature);
    assert_eq!(request.public_key.algorithm(), KeyAlgorithm::Rsa { bits: 2048, exponent: 65537 });
    assert!(request.subject.is_empty());
    assert!(request.names.is_empty());
}

#[test]
fn trap_23_sha1_is_accepted_as_possession_and_reported() {
    assert!(CertificateRequest::parse(&vector("spec-4.1.1.1-pkcs10.der")).unwrap().sha1_signature);
}

#[test]
fn trap_24_template_name_is_a_bmp_string_and_client_info_is_utf8() {
    let request = CertificateRequest::parse(&vector("spec-4.1.1.1-pkcs10.der")).unwrap();
    assert_eq!(request.template.names, ["User"]);
    assert_eq!(request.template.id, None);
    assert_eq!(request.client.os_version.as_deref(), Some("6.1.7053.2"));
    let info = request.client.info.unwrap();
    assert_eq!(info.client_id, 5);
    assert_eq!(info.process, "CesTest.exe");
    assert_eq!(request.client.csp.unwrap().key_spec, 1);
    assert_eq!(request.extensions.len(), 5);
}

#[test]
fn renewal_sample_is_a_cms_renewal_signed_by_the_old_certificate() {
    let request = CertificateRequest::parse(&vector("spec-4.1.5.1-renewal.der")).unwrap();
    let RequestForm::CmsRenewal { renewed, others } = &request.form else { panic!("{:?}", request.form) };
    assert!(others.is_empty());
    assert!(renewed.by_issuer_and_serial && renewed.sha1_signature && request.sha1_signature);
    let old = x509_cert::Certificate::from_der(&renewed.certificate_der).unwrap();
    assert_eq!(old.tbs_certificate().subject(), &request.subject.name);
    assert_eq!(request.template.names, ["User"]);
    assert!(matches!(request.names.as_slice(), [RequestedName::Upn(_), RequestedName::Email(_)]));
    assert_eq!(request.possession, Possession::Pkcs10Signature);
}

#[test]
fn response_samples_verify_with_the_issuing_ca() {
    for (response, leaf) in [
        ("spec-4.1.1.2-response.der", "spec-4.1.1.2-certificate.der"),
        ("spec-4.1.5.2-response.der", "spec-4.1.5.2-certificate.der"),
    ] {
        let bytes = vector(response);
        let ca = ca_certificate(&bytes);
        let read = CmcResponse::parse(&bytes, &ca).unwrap();
        assert_eq!(read.status, CmcStatus::Issued { certificate: vector(leaf) }, "{response}");
        assert_eq!(read.status_string.as_deref(), Some("Issued"));
        assert_eq!(read.certificates.len(), 3);
        assert!(read.sha1_signature);
        assert_eq!(read.certificates[2], vector(leaf), "root, issuing CA, leaf");
        // The key of another certificate does not verify it.
        assert!(CmcResponse::parse(&bytes, &vector(leaf)).is_err());
    }
}

/// The second certificate of a response, found by decoding with the `cms` crate.
fn ca_certificate(response: &[u8]) -> Vec<u8> {
    let info = cms::content_info::ContentInfo::from_der(response).unwrap();
    let data = info.content.decode_as::<cms::signed_data::SignedData>().unwrap();
    let certificates = data.certificates.unwrap();
    let cms::cert::CertificateChoices::Certificate(ca) = &certificates.0.as_slice()[1] else {
        panic!("no certificate")
    };
    ca.to_der().unwrap()
}

#[test]
fn truncated_response_is_refused() {
    let bytes = vector("adcs-rs-truncated-response.der");
    let ca = ca_certificate(&vector("spec-4.1.5.2-response.der"));
    assert!(matches!(CmcResponse::parse(&bytes, &ca), Err(ResponseError::Malformed(_))));
}
