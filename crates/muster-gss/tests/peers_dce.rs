//! Both ends of DCE-style Kerberos against each other, in a realm of MIT's KDC; other implementations at the other end are
//! in the tests of `muster-adcs`.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at the first surprise, in its helpers too"
)]

use muster_gss::{DceAcceptor, DceInitiator, Framing, Gss, InitiateError, Login, Step};
use muster_testkit::kdc::{self, Kdc};

const HOST: &str = "ca1.corp.test";

fn ends(kdc: &Kdc, framing: Framing) -> (DceInitiator, DceAcceptor) {
    kdc.add_user("alice", "alice-pw");
    let keytab = kdc.add_service(&format!("HOST/{HOST}"), "keytab");
    let gss = Gss::load().unwrap();
    let principal = "alice@CORP.TEST".to_owned();
    let login = Login::Password { principal, password: "alice-pw".to_owned().into() };
    let client = gss.credential(&login).unwrap();
    let service = gss.service_key(&keytab, &format!("HOST/{HOST}@CORP.TEST")).unwrap();
    (client.dce_initiator("HOST", HOST, framing).unwrap(), service.dce_acceptor(framing))
}

fn token(step: Step) -> Vec<u8> {
    match step {
        Step::Continue(token) | Step::Done(Some(token)) => token,
        Step::Done(None) => Vec::new(),
    }
}

fn establish(client: &mut DceInitiator, server: &mut DceAcceptor, framing: Framing) {
    let first = token(client.step(None).unwrap());
    let answer = token(server.step(&first).unwrap());
    let third = client.step(Some(&answer)).unwrap();
    match framing {
        Framing::Kerberos => {
            let Step::Done(Some(third)) = third else { panic!("{third:?}") };
            assert_eq!(server.step(&third), Ok(Step::Done(None)));
        }
        Framing::Negotiate => {
            let Step::Continue(third) = third else { panic!("{third:?}") };
            let last = token(server.step(&third).unwrap());
            assert_eq!(client.step(Some(&last)), Ok(Step::Done(None)));
        }
    }
}

fn seals_in_both_directions(framing: Framing) {
    kdc::within("", |kdc| {
        let (mut client, mut server) = ends(kdc, framing);
        assert_eq!(client.token_length(16), Err(InitiateError::OutOfOrder));
        establish(&mut client, &mut server, framing);
        assert_eq!(server.client().unwrap().to_string(), "alice@CORP.TEST");
        for length in [0, 16, 5_760] {
            let plain = vec![0x55; length];
            let mut stub = plain.clone();
            let token = client.seal(b"header", &mut stub, b"trailer").unwrap();
            assert_eq!(token.len(), client.token_length(length).unwrap());
            assert!(length == 0 || stub != plain);
            server.unseal(b"header", &mut stub, b"trailer", &token).unwrap();
            assert_eq!(stub, plain);
            let token = server.seal(b"header", &mut stub, b"trailer").unwrap();
            client.unseal(b"header", &mut stub, b"trailer", &token).unwrap();
            assert_eq!(stub, plain);
        }
    });
}

#[test]
fn messages_are_sealed_in_both_directions_with_kerberos() {
    seals_in_both_directions(Framing::Kerberos);
}

#[test]
fn messages_are_sealed_in_both_directions_with_spnego() {
    seals_in_both_directions(Framing::Negotiate);
}

#[test]
fn changed_or_repeated_messages_are_refused() {
    kdc::within("", |kdc| {
        let (mut client, mut server) = ends(kdc, Framing::Kerberos);
        establish(&mut client, &mut server, Framing::Kerberos);
        let mut stub = vec![7; 32];
        let token = client.seal(b"header", &mut stub, b"trailer").unwrap();
        let mut opened = stub.clone();
        server.unseal(b"header", &mut opened, b"trailer", &token).unwrap();
        // Once more; and then each part of the next one changed.
        assert!(server.unseal(b"header", &mut stub.clone(), b"trailer", &token).is_err());
        let mut stub = vec![7; 32];
        let token = client.seal(b"header", &mut stub, b"trailer").unwrap();
        assert!(server.unseal(b"Header", &mut stub.clone(), b"trailer", &token).is_err());
        assert!(server.unseal(b"header", &mut stub.clone(), b"Trailer", &token).is_err());
        let mut changed = stub.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert!(server.unseal(b"header", &mut changed, b"trailer", &token).is_err());
        for place in 0..token.len() {
            let mut token = token.clone();
            *token.get_mut(place).unwrap() ^= 1;
            assert!(server.unseal(b"header", &mut stub.clone(), b"trailer", &token).is_err(), "{place}");
        }
        assert!(server.unseal(b"header", &mut stub, b"trailer", token.get(..20).unwrap()).is_err());
    });
}

#[test]
fn service_that_does_not_prove_itself_is_refused() {
    kdc::within("", |kdc| {
        let (mut client, mut server) = ends(kdc, Framing::Kerberos);
        let first = token(client.step(None).unwrap());
        let mut answer = token(server.step(&first).unwrap());
        *answer.last_mut().unwrap() ^= 1;
        assert!(client.step(Some(&answer)).is_err());
        assert_eq!(client.step(Some(&answer)), Err(InitiateError::OutOfOrder));
        // NTLM, and nothing at all.
        let gss = Gss::load().unwrap();
        let service = gss.service_key(&kdc.path("keytab"), &format!("HOST/{HOST}@CORP.TEST")).unwrap();
        for bad in [&b"NTLMSSP\0\x01\0\0\0"[..], b"", b"\x60\x03\x06\x01\x2a"] {
            for framing in [Framing::Kerberos, Framing::Negotiate] {
                let refused = service.dce_acceptor(framing).step(bad);
                assert!(matches!(refused, Err(InitiateError::Malformed(_))), "{refused:?}");
            }
        }
    });
}
