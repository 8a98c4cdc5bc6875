//! The server's end of `muster-rpc` with `muster-gss`, driven by a client that shares no code with either.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise, in its helpers too")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;

use muster_adcs::Accepting;
use muster_gss::{Credential, Framing, Gss};
use muster_rpc::client::RpcError;
use muster_rpc::security::AuthType;
use muster_rpc::server::{Event, Server};
use muster_rpc::status::HResult;
use muster_rpc::wcce::{CertReply, CertRequest, Disposition};
use muster_rpc::{Interface, pdu};
use muster_testkit::kdc::{self, Kdc};
use muster_testkit::peers::Peer;
use muster_testkit::tools::Ran;

/// What the server saw of one connection.
#[derive(Debug, Default)]
struct Seen {
    calls: Vec<(String, CertRequest)>,
    refused: Option<RpcError>,
}

fn message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut octets = vec![0; pdu::HEADER];
    stream.read_exact(&mut octets).ok()?;
    let length = pdu::frame_length(&octets).unwrap().unwrap();
    octets.resize(length, 0);
    stream.read_exact(octets.get_mut(pdu::HEADER..).unwrap()).ok()?;
    Some(octets)
}

/// Serves one connection to its end. The certificate is the request; the chain is as long as that and a fragment more.
fn serve(listener: &TcpListener, key: &Credential) -> Seen {
    let (mut stream, _) = listener.accept().unwrap();
    let provider = |auth_type| {
        let framing = match auth_type {
            AuthType::Negotiate => Framing::Negotiate,
            AuthType::Kerberos => Framing::Kerberos,
        };
        Some(Accepting(key.dce_acceptor(framing)))
    };
    let mut server = Server::new(&[Interface::CertPassage], 1, provider);
    let mut seen = Seen::default();
    while let Some(octets) = message(&mut stream) {
        match server.receive(&octets).unwrap() {
            Event::Nothing => {}
            Event::Send(answer) => stream.write_all(&answer).unwrap(),
            Event::Refuse(answer, error) => {
                stream.write_all(&answer).unwrap();
                seen.refused = Some(error);
                break;
            }
            Event::Call(call) => {
                let request = CertRequest::parse_passage(&call.stub).unwrap();
                let reply = CertReply {
                    result: HResult::OK,
                    request_id: 7,
                    disposition: Disposition::Issued,
                    response: vec![1; request.request.len() + 6_000],
                    certificate: request.request.clone(),
                    message: "Issued".to_owned(),
                };
                let client = server.authenticated().unwrap().0.client().unwrap().to_string();
                seen.calls.push((client, request));
                let answer = server.answer(&call, &reply.to_passage()).unwrap();
                stream.write_all(&answer).unwrap();
            }
        }
    }
    seen
}

/// The client against the server: what it printed, and what the server saw.
fn ask(kdc: &Kdc, arguments: &[&str], length: usize) -> Option<(Ran, Seen)> {
    let python = Peer::KerberosPython.or_not_run()?;
    let key = Gss::load().unwrap().service_key(&kdc.path("keytab"), "HOST/localhost@CORP.TEST").unwrap();
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    std::fs::write(kdc.path("request"), vec![0x30; length]).unwrap();
    let server = std::thread::spawn(move || serve(&listener, &key));
    let cache = kdc.kinit("alice", "alice-pw", &[]);
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/beds/adcs/client.py");
    let (script, request) = (script.display().to_string(), kdc.path("request").display().to_string());
    let mut all = vec![format!("KRB5CCNAME={cache}"), python.display().to_string(), script, port];
    all.extend(["CORP-CA".to_owned(), request]);
    all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    let ran = kdc.try_run("env", &all, b"");
    Some((ran, server.join().unwrap()))
}

fn prepare(kdc: &Kdc) {
    kdc.add_user("alice", "alice-pw");
    kdc.add_service("HOST/localhost", "keytab");
}

#[test]
fn foreign_client_is_served_with_both_providers() {
    kdc::within("", |kdc| {
        prepare(kdc);
        for (arguments, length) in [
            (&["--auth", "kerberos"][..], 500),
            (&["--auth", "spnego"], 500),
            (&["--auth", "kerberos", "--frag", "1432"], 20_000),
            (&["--auth", "spnego", "--frag", "1432"], 20_000),
        ] {
            let Some((ran, seen)) = ask(kdc, arguments, length) else { return };
            assert!(ran.ok, "{arguments:?}: {}", ran.all());
            let said = ran.text();
            let wanted = format!(
                "request 7 disposition 0x3 hresult 0x0 chain {} cert {length} Issued",
                length + 6_000
            );
            assert!(said.starts_with(&wanted), "{said}");
            assert!(said.contains("privacy header signing"), "{said}");
            let [(client, request)] = seen.calls.as_slice() else { panic!("{seen:?}") };
            assert_eq!(client, "alice@CORP.TEST");
            assert_eq!(request.authority.as_deref(), Some("CORP-CA"));
            assert_eq!(request.attributes.as_deref(), Some("CertificateTemplate:User"));
            assert_eq!(request.request.len(), length);
        }
    });
}

/// T13 from the other side: no call arrives from a client that wants less.
#[test]
fn foreign_client_with_less_protection_is_refused() {
    kdc::within("", |kdc| {
        prepare(kdc);
        for (arguments, refused) in [
            (&["--level", "integrity"][..], RpcError::AuthLevel(5)),
            (&["--no-hdr"], RpcError::NoHeaderSigning),
        ] {
            let Some((ran, seen)) = ask(kdc, arguments, 500) else { return };
            assert!(!ran.ok && ran.all().contains("bind refused: pdu 13"), "{}", ran.all());
            assert_eq!(seen.refused, Some(refused));
            assert!(seen.calls.is_empty());
        }
    });
}
