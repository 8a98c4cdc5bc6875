//! Samba's RPC server at the other end: its endpoint mapper is asked in clear and sealed, by both providers, and believes no
//! message that was changed.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise, in its helpers too")]

use std::io::{Read, Write};
use std::net::TcpStream;

use muster_adcs::{Adcs, AdcsError, Expected, Identity, Kerberos, Method, Settings, Submission};
use muster_gss::{Credential, Framing, Gss, Login};
use muster_rpc::client::{Binding, Client, Progress, RpcError};
use muster_rpc::security::Security;
use muster_rpc::wcce::{RequestAttributes, RequestFlags};
use muster_rpc::{Interface, epm, pdu};
use muster_testkit::ad::Ad;

const DC: &str = "dc1.corp.test";

fn message(stream: &mut TcpStream) -> Vec<u8> {
    let mut octets = vec![0; pdu::HEADER];
    stream.read_exact(&mut octets).unwrap();
    let length = pdu::frame_length(&octets).unwrap().unwrap();
    octets.resize(length, 0);
    stream.read_exact(octets.get_mut(pdu::HEADER..).unwrap()).unwrap();
    octets
}

fn bind<S: Security>(begun: (Binding<S>, Vec<u8>)) -> (TcpStream, Client<S>) {
    let mut stream = TcpStream::connect((DC, epm::PORT)).unwrap();
    let (mut binding, mut octets) = begun;
    loop {
        stream.write_all(&octets).unwrap();
        match binding.receive(&message(&mut stream)).unwrap() {
            Progress::Send(next, message) => (binding, octets) = (next, message),
            Progress::Bound(client, last) => {
                stream.write_all(&last.unwrap_or_default()).unwrap();
                return (stream, client);
            }
        }
    }
}

fn ask<S: Security>(stream: &mut TcpStream, client: &mut Client<S>) -> Result<Vec<u8>, RpcError> {
    let call = client.call(epm::MAP, None, &epm::map_request(Interface::CertPassage)).unwrap();
    stream.write_all(&call).unwrap();
    loop {
        if let Some(results) = client.receive(&message(stream))? {
            return Ok(results);
        }
    }
}

fn alice() -> Credential {
    let principal = "alice@CORP.TEST".to_owned();
    let login = Login::Password { principal, password: Ad::password("alice").into() };
    Gss::load().unwrap().credential(&login).unwrap()
}

fn initiating(framing: Framing) -> Kerberos {
    Kerberos(alice().dce_initiator("HOST", DC, framing).unwrap())
}

/// Samba serves no authority, and says so, in clear and sealed.
#[test]
fn sambas_endpoint_mapper_answers_in_clear_and_sealed() {
    let Some(_ad) = Ad::or_not_run() else { return };
    let (mut stream, mut client) = bind(Binding::public(Interface::EndpointMapper).unwrap());
    let clear = ask(&mut stream, &mut client).unwrap();
    assert_eq!(epm::port(&clear, Interface::CertPassage), Ok(None));
    for framing in [Framing::Kerberos, Framing::Negotiate] {
        let begun = Binding::sealed(Interface::EndpointMapper, initiating(framing)).unwrap();
        let (mut stream, mut client) = bind(begun);
        for _ in 0..3 {
            let sealed = ask(&mut stream, &mut client);
            let sealed = sealed.unwrap_or_else(|error| panic!("{framing:?}: {error}"));
            assert_eq!(epm::port(&sealed, Interface::CertPassage), Ok(None), "{framing:?}");
            assert_eq!(sealed.len(), clear.len());
        }
    }
}

/// A call whose header was changed on the way is not answered with results.
#[test]
fn samba_refuses_a_call_whose_header_was_changed() {
    let Some(_ad) = Ad::or_not_run() else { return };
    let begun = Binding::sealed(Interface::EndpointMapper, initiating(Framing::Kerberos)).unwrap();
    let (mut stream, mut client) = bind(begun);
    let mut call = client.call(epm::MAP, None, &epm::map_request(Interface::CertPassage)).unwrap();
    // The hint of the length of the arguments, which nobody needs, but which is signed.
    *call.get_mut(16).unwrap() ^= 1;
    stream.write_all(&call).unwrap();
    let mut answer = Vec::new();
    let mut octets = [0; 512];
    match stream.read(&mut octets) {
        Ok(0) | Err(_) => {}
        Ok(length) => answer.extend(octets.iter().take(length)),
    }
    assert!(answer.is_empty() || client.receive(&answer).is_err(), "{answer:?}");
}

#[test]
fn domain_controller_without_an_authority_has_its_own_sentence() {
    let Some(_ad) = Ad::or_not_run() else { return };
    let alice = Identity::new("alice@CORP.TEST", alice());
    let mut settings = Settings::new(DC, "CORP-CA".parse().unwrap(), Vec::new());
    settings.method = Method::Passage;
    let submission = Submission {
        request: Vec::new(),
        flags: RequestFlags::default(),
        attributes: RequestAttributes::NONE,
        expected: Expected::default(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = runtime.block_on(Adcs::new(settings.clone()).submit(&alice, &submission)).unwrap_err();
    assert_eq!(error, AdcsError::NotServed { host: DC.to_owned() });
    // DCOM it does not speak at all.
    settings.method = Method::Object;
    let error = runtime.block_on(Adcs::new(settings).submit(&alice, &submission)).unwrap_err();
    let AdcsError::Connection { error: RpcError::InterfaceRefused { .. }, .. } = error else {
        panic!("{error:?}")
    };
}
