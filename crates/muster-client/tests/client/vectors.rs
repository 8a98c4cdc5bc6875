//! Answers of the shape that a Windows CA writes.

use muster_client::answer::{AnswerError, verify};
use muster_client::certificate::Certificate;
use muster_client::key::{KeyType, PrivateKey};
use muster_proto::wcce::parse_certs_only;
use muster_proto::wstep::{DispositionMessage, Issued, RequestId};

fn read(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/../../vectors/ms-wstep/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn issued(digest: &str) -> Issued {
    Issued {
        disposition_message: DispositionMessage::english("Issued"),
        full_response: read(&format!("handmade-issued-{digest}-response.der")),
        certificate: read(&format!("handmade-issued-{digest}-certificate.der")),
        request_id: RequestId::new("1"),
    }
}

/// The CA certificates inside of a response: whatever is a certificate and signed the leaf.
fn issuer_in(response: &[u8], leaf: &Certificate) -> Certificate {
    assert!(parse_certs_only(response).is_err(), "a full response, not only certificates");
    let starts = response.windows(2).enumerate().filter(|(_, w)| *w == [0x30, 0x82]).map(|(at, _)| at);
    let found = starts.filter_map(|at| {
        let length = 4 + usize::from(response[at + 2]) * 256 + usize::from(response[at + 3]);
        Certificate::from_der(response.get(at..at + length)?).ok()
    });
    found.into_iter().find(|certificate| leaf.verify_issued_by(certificate).is_ok()).unwrap()
}

#[test]
fn windows_answer_is_believed_with_its_own_ca_and_key() {
    for digest in ["sha1", "sha256"] {
        let issued = issued(digest);
        let leaf = Certificate::from_der(&issued.certificate).unwrap();
        let ca = issuer_in(&issued.full_response, &leaf);
        let answer = verify(&issued, ca.der(), leaf.public_key()).unwrap();
        assert_eq!(answer.certificate, leaf, "{digest}");
        assert_eq!(answer.sha1, digest == "sha1");
        assert_eq!(answer.chain[0], ca, "{digest}");
        assert!(answer.chain.last().unwrap().is_self_issued(), "{digest}: up to the root");

        let other = PrivateKey::generate(KeyType::P256).unwrap();
        assert_eq!(verify(&issued, ca.der(), other.public()), Err(AnswerError::OtherKey), "{digest}");
        let wrong = verify(&issued, leaf.der(), leaf.public_key()).unwrap_err();
        assert!(matches!(wrong, AnswerError::Response(_)), "{digest}: {wrong}");
    }
}

#[test]
fn answers_of_two_requests_are_not_mixed() {
    let (first, second) = (issued("sha1"), issued("sha256"));
    let leaf = Certificate::from_der(&first.certificate).unwrap();
    let ca = issuer_in(&first.full_response, &leaf);
    let mixed = Issued { full_response: second.full_response, ..first };
    let error = verify(&mixed, ca.der(), leaf.public_key()).unwrap_err();
    assert!(matches!(error, AnswerError::TwoCertificates | AnswerError::Response(_)), "{error}");
}
