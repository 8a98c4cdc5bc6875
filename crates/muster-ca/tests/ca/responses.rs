//! CMC responses signed with the CA's key, as OpenSSL and our own reader see them.

use muster_ca::{CERTIFICATE_FILE, SigningAlgorithm};
use muster_core::issuance::Issuer;
use muster_proto::wcce::{CmcResponse, ResponseStatus, build_response};

use crate::support::{NOW, ca_with_certificate, contents, file, openssl, serial};

#[test]
fn every_algorithm_signs_responses() {
    for algorithm in SigningAlgorithm::ALL {
        let (directory, authority) = ca_with_certificate(algorithm);
        let certificate = authority.sign(&authority.build(&contents(), serial(1)).unwrap()).unwrap();
        let status = ResponseStatus::Issued { certificate: &certificate };
        let response =
            build_response(status, &[authority.certificate()], authority.response_signer()).unwrap();
        let path = file(directory.path(), "response.der", &response);
        let root = directory.path().join(CERTIFICATE_FILE).display().to_string();
        let seconds = NOW.0.to_string();
        let out = directory.path().join("content.der").display().to_string();
        // OpenSSL 3.0 does not verify Ed25519 in CMS with signed attributes.
        if algorithm != SigningAlgorithm::Ed25519 {
            openssl(&[
                "cms", "-verify", "-binary", "-inform", "DER", "-in", &path, "-purpose", "any", "-attime",
                &seconds, "-CAfile", &root, "-out", &out,
            ]);
        }
        let read = CmcResponse::parse(&response, authority.certificate()).unwrap();
        assert_eq!(read.certificates.last().unwrap(), &certificate);
    }
}
