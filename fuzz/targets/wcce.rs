//! Requests, responses, keys and extensions in DER: read or refused, and limits hold.
#![no_main]

use libfuzzer_sys::fuzz_target;
use muster_proto::wcce::{
    CertificateRequest, CmcResponse, MAX_EXTENSIONS, MAX_NAMES, PublicKey, check_public_key,
    general_names_to_der, parse_application_policies, parse_certs_only, parse_general_names, parse_key_usages,
    parse_sid, parse_template_name,
};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = CertificateRequest::parse(bytes) {
        assert!(request.names.len() <= MAX_NAMES && request.extensions.len() <= MAX_EXTENSIONS);
        let _ = check_public_key(&request.public_key);
        // The PKCS#10 alone says the same, where it may stand alone.
        if let Ok(bare) = CertificateRequest::parse(&request.pkcs10_der) {
            assert_eq!((bare.public_key, bare.names), (request.public_key, request.names));
        }
    }
    if let Ok(names) = parse_general_names(bytes) {
        let written = general_names_to_der(&names).expect("names that were read can be written");
        assert_eq!(parse_general_names(&written), Ok(names));
    }
    if let Ok(key) = PublicKey::from_spki_der(bytes) {
        let _ = check_public_key(&key);
    }
    let _ = CmcResponse::parse(bytes, bytes);
    let _ = parse_certs_only(bytes);
    let _ = parse_key_usages(bytes);
    let _ = parse_application_policies(bytes);
    let _ = parse_sid(bytes);
    let _ = parse_template_name(bytes);
});
