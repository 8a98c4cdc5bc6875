//! Arbitrary and mutated bytes: nothing panics, nothing wrong is accepted.

use muster_proto::wcce::{
    CertificateRequest, CmcResponse, PublicKey, parse_application_policies, parse_certs_only,
    parse_general_names, parse_key_usages, parse_sid, parse_template_name,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::read_vector;

const REQUESTS: [&str; 8] = [
    "ms-wstep/handmade-user-pkcs10.der",
    "ms-wstep/handmade-renewal.der",
    "cms/openssl-signed.der",
    "cms/openssl-signed-keyid.der",
    "cms/openssl-signed-stream.der",
    "pkcs10/openssl-p256.der",
    "pkcs10/openssl-ed25519.der",
    "pkcs10/openssl-rsa2048-pss.der",
];

/// Everything that reads bytes from a peer.
fn read_all(bytes: &[u8]) {
    let _ = CertificateRequest::parse(bytes);
    let _ = CmcResponse::parse(bytes, bytes);
    let _ = parse_certs_only(bytes);
    let _ = PublicKey::from_spki_der(bytes);
    let _ = parse_general_names(bytes);
    let _ = parse_key_usages(bytes);
    let _ = parse_application_policies(bytes);
    let _ = parse_sid(bytes);
    let _ = parse_template_name(bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_bytes_are_refused_without_panic(bytes in vec(any::<u8>(), 0..300)) {
        prop_assert!(CertificateRequest::parse(&bytes).is_err());
        read_all(&bytes);
    }

    #[test]
    fn mutated_requests_keep_their_meaning_or_are_refused(
        which in 0..REQUESTS.len(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let original = read_vector(REQUESTS[which]);
        let good = CertificateRequest::parse(&original).unwrap();
        let mut bytes = original;
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        read_all(&bytes);
        if let Ok(read) = CertificateRequest::parse(&bytes) {
            // Fields of a signer's certificate other than its key are not checked here, only handed on.
            prop_assert_eq!(read.pkcs10_der, good.pkcs10_der);
            prop_assert_eq!(read.public_key, good.public_key);
            prop_assert_eq!(read.subject, good.subject);
            prop_assert_eq!(read.names, good.names);
            prop_assert_eq!(read.extensions, good.extensions);
            prop_assert_eq!(read.template, good.template);
        }
    }

    #[test]
    fn spliced_requests_do_not_panic(
        one in 0..REQUESTS.len(),
        two in 0..REQUESTS.len(),
        from in any::<prop::sample::Index>(),
        to in any::<prop::sample::Index>(),
    ) {
        let (one, two) = (read_vector(REQUESTS[one]), read_vector(REQUESTS[two]));
        let bytes = [&one[..from.index(one.len())], &two[to.index(two.len())..]].concat();
        read_all(&bytes);
    }
}
