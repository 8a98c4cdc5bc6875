//! What must hold for every certificate that an authority answers with.

use der::{Decode, Encode};
use muster_adcs::{Expected, check_reply};
use x509_cert::Certificate;

/// The authority of the vectors, which has signed some of them.
const ISSUER: &[u8] = include_bytes!("../../vectors/ms-wstep/handmade-issuing-ca-sha256-certificate.der");

/// Nothing is taken for the certificate that was asked for without a signature of the authority over all of it.
pub fn authority_reply(input: &[u8]) {
    let _ = check_reply(input, &[ISSUER.to_vec()], &Expected::default());
    let Ok(certificate) = Certificate::from_der(input) else { return };
    let Ok(public_key) = certificate.tbs_certificate().subject_public_key_info().to_der() else { return };
    // So that what comes after the key is reached.
    let key = Expected { public_key, ..Expected::default() };
    let named = Expected {
        template: vec!["User".to_owned(), "1.3.6.1.4.1.311.21.8.1.1".to_owned()],
        sid: Some("S-1-5-21-1-2-3-1104".to_owned()),
        ..key.clone()
    };
    for issuer in [ISSUER, input] {
        let issuers = [b"no certificate".to_vec(), issuer.to_vec()];
        let _ = check_reply(input, &issuers, &named);
        if check_reply(input, &issuers, &key).is_err() {
            continue;
        }
        assert!(check_reply(input, &[], &key).is_err());
        assert!(check_reply(input, &issuers, &Expected::default()).is_err());
        let mut changed = input.to_vec();
        if let Some(octet) = changed.get_mut(input.len() / 3) {
            *octet ^= 1;
        }
        assert!(check_reply(&changed, &issuers, &key).is_err());
    }
}
