//! Tokens that are refused before the library sees them: other mechanisms, other messages, damaged ones.

#![expect(clippy::unwrap_used, reason = "tests stop here, at the first surprise")]

use muster_gss::{MAX_TOKEN, Refused, inspect_token};
use muster_testkit::tools::element;
use proptest::prelude::*;

const SPNEGO: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x02];
const KRB5: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02];
const MS_KRB5: &[u8] = &[0x2a, 0x86, 0x48, 0x82, 0xf7, 0x12, 0x01, 0x02, 0x02];
const USER_TO_USER: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02, 0x03];
const NTLM: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x02, 0x0a];
const NEGOEX: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x02, 0x1e];
const IAKERB: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x02, 0x05];
const PKU2U: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x02, 0x07];

/// RFC 2743, section 3.1.
fn framed(mechanism: &[u8], rest: &[u8]) -> Vec<u8> {
    element(0x60, &[&element(0x06, mechanism), rest].concat())
}

fn neg_token_init(mechanisms: &[&[u8]], token: Option<&[u8]>) -> Vec<u8> {
    let list: Vec<u8> = mechanisms.iter().flat_map(|mechanism| element(0x06, mechanism)).collect();
    let mut fields = element(0xa0, &element(0x30, &list));
    if let Some(token) = token {
        fields.extend(element(0xa2, &element(0x04, token)));
    }
    framed(SPNEGO, &element(0xa0, &element(0x30, &fields)))
}

fn encrypted(etype: u8) -> Vec<u8> {
    let fields = [
        element(0xa0, &element(0x02, &[etype])),
        element(0xa1, &element(0x02, &[3])),
        element(0xa2, &element(0x04, &[0; 40])),
    ];
    element(0x30, &fields.concat())
}

/// An AP-REQ (RFC 4120, section 5.5.1) with nothing inside of what is encrypted.
fn ap_req(options: u8) -> Vec<u8> {
    let name = element(0x30, &[element(0x1b, b"HTTP"), element(0x1b, b"pki.corp.test")].concat());
    let name = element(0x30, &[element(0xa0, &element(0x02, &[2])), element(0xa1, &name)].concat());
    let ticket = [
        element(0xa0, &element(0x02, &[5])),
        element(0xa1, &element(0x1b, b"CORP.TEST")),
        element(0xa2, &name),
        element(0xa3, &encrypted(18)),
    ];
    let ticket = element(0x61, &element(0x30, &ticket.concat()));
    let fields = [
        element(0xa0, &element(0x02, &[5])),
        element(0xa1, &element(0x02, &[14])),
        element(0xa2, &element(0x03, &[0, options, 0, 0, 0])),
        element(0xa3, &ticket),
        element(0xa4, &encrypted(17)),
    ];
    element(0x6e, &element(0x30, &fields.concat()))
}

fn kerberos() -> Vec<u8> {
    framed(KRB5, &[&[1, 0], &ap_req(0)[..]].concat())
}

fn refused(token: &[u8]) -> Refused {
    inspect_token(token).unwrap_err()
}

fn other(mechanism: &str) -> Refused {
    Refused::OtherMechanism(mechanism.to_owned())
}

#[test]
fn both_names_of_kerberos_are_taken() {
    for mechanisms in [&[KRB5][..], &[MS_KRB5], &[MS_KRB5, KRB5, NEGOEX, NTLM], &[KRB5, MS_KRB5]] {
        let seen = inspect_token(&neg_token_init(mechanisms, Some(&kerberos()))).unwrap();
        assert_eq!(seen.service, "HTTP/pki.corp.test@CORP.TEST");
        assert_eq!((seen.ticket.0, seen.session.0, seen.kvno), (18, 17, Some(3)));
        assert_eq!(seen.kerberos, kerberos());
    }
    // Without SPNEGO, and with the frame of the other name.
    assert!(inspect_token(&kerberos()).is_ok());
    let microsoft = framed(MS_KRB5, &[&[1, 0], &ap_req(0)[..]].concat());
    assert_eq!(inspect_token(&microsoft).unwrap().kerberos, kerberos());
}

#[test]
fn ntlm_is_refused_in_every_wrapping() {
    let negotiate = b"NTLMSSP\0\x01\0\0\0\x97\x82\x08\xe2";
    assert_eq!(refused(negotiate), Refused::Ntlm);
    assert_eq!(refused(&neg_token_init(&[NTLM], Some(negotiate))), Refused::Ntlm);
    assert_eq!(refused(&neg_token_init(&[NTLM, KRB5], None)), Refused::Ntlm);
    // Kerberos is promised, and NTLM comes.
    assert_eq!(refused(&neg_token_init(&[KRB5, NTLM], Some(negotiate))), Refused::Ntlm);
    assert_eq!(refused(&framed(NTLM, negotiate)), Refused::Ntlm);
    assert_eq!(refused(&neg_token_init(&[KRB5], Some(&framed(NTLM, negotiate)))), Refused::Ntlm);
}

#[test]
fn other_mechanisms_are_refused_by_name() {
    let nego_ex = neg_token_init(&[NEGOEX, MS_KRB5, KRB5], Some(b"NEGOEXTS\0\0\0\0"));
    assert_eq!(refused(&nego_ex), other("1.3.6.1.4.1.311.2.2.30"));
    let iakerb = framed(IAKERB, &[5, 1, 0x30, 0]);
    assert_eq!(refused(&iakerb), other("1.3.6.1.5.2.5"));
    assert_eq!(refused(&neg_token_init(&[IAKERB], Some(&iakerb))), other("1.3.6.1.5.2.5"));
    assert_eq!(refused(&neg_token_init(&[KRB5], Some(&iakerb))), other("1.3.6.1.5.2.5"));
    assert_eq!(refused(&framed(PKU2U, &[1, 0])), other("1.3.6.1.5.2.7"));
    assert_eq!(refused(&framed(USER_TO_USER, &[4, 0])), other("1.2.840.113554.1.2.2.3"));
    // SPNEGO inside of SPNEGO.
    let inner = neg_token_init(&[KRB5], Some(&kerberos()));
    assert_eq!(refused(&neg_token_init(&[KRB5], Some(&inner))), other("1.3.6.1.5.5.2"));
}

#[test]
fn negotiation_in_several_messages_is_refused() {
    assert_eq!(refused(&neg_token_init(&[KRB5], None)), Refused::AnotherLeg);
    let response = element(0xa1, &element(0x30, &element(0xa0, &element(0x0a, &[1]))));
    assert_eq!(refused(&response), Refused::AnotherLeg);
}

#[test]
fn other_messages_of_kerberos_are_refused() {
    // An AP-REP, a KRB-ERROR, something that is not an AP-REQ behind the right number.
    assert_eq!(refused(&framed(KRB5, &[2, 0, 0x6f, 0])), Refused::NotAnApReq);
    assert_eq!(refused(&framed(KRB5, &[3, 0, 0x7e, 0])), Refused::NotAnApReq);
    assert_eq!(refused(&framed(KRB5, &[1, 0, 0x6f, 0])), Refused::NotAnApReq);
    // The ticket is encrypted with the session key of another: user to user.
    assert_eq!(refused(&framed(KRB5, &[&[1, 0], &ap_req(0x40)[..]].concat())), Refused::NotAnApReq);
    // DCE style: an AP-REQ without a frame.
    assert!(matches!(refused(&ap_req(0)), Refused::Malformed(_)));
}

#[test]
fn tokens_are_bounded() {
    assert_eq!(refused(&vec![0x60; MAX_TOKEN + 1]), Refused::TooLong(MAX_TOKEN + 1));
    assert!(matches!(refused(&[]), Refused::Malformed(_)));
}

#[test]
fn anything_behind_the_token_is_refused() {
    for token in [neg_token_init(&[KRB5], Some(&kerberos())), kerberos()] {
        let longer = [&token[..], &[0]].concat();
        assert!(matches!(refused(&longer), Refused::Malformed(_)));
        for length in 0..token.len() {
            assert!(inspect_token(token.get(..length).unwrap()).is_err(), "{length}");
        }
    }
}

proptest! {
    #[test]
    fn any_octets_are_read_or_refused(octets in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = inspect_token(&octets);
    }

    #[test]
    fn damaged_tokens_are_read_or_refused(
        damages in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut token = neg_token_init(&[MS_KRB5, KRB5, NTLM], Some(&kerberos()));
        for (at, octet) in damages {
            let at = at.index(token.len());
            *token.get_mut(at).unwrap() = octet;
        }
        if let Ok(seen) = inspect_token(&token) {
            // What the library gets has the frame of krb5, whatever the damage.
            prop_assert!(inspect_token(&seen.kerberos).is_ok());
        }
    }
}
