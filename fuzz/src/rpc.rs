//! What must hold for every input of `muster-rpc`.

use muster_rpc::client::{Binding, Client, Progress};
use muster_rpc::csra;
use muster_rpc::dcom::activation::{self, Activation};
use muster_rpc::dcom::{self, ObjRef, Version};
use muster_rpc::epm::{self, Tower};
use muster_rpc::pdu::{self, Ack, Bind, Fault, Kind, Pdu, Request, Response};
use muster_rpc::security::{AuthType, Security, SecurityError, Step};
use muster_rpc::server::{Event, Server};
use muster_rpc::wcce::{self, CertReply, CertRequest};
use muster_rpc::{Interface, Uuid};

/// A provider that believes everything, so that what is behind it is reached.
struct Gullible(u8);

impl Security for Gullible {
    fn auth_type(&self) -> AuthType {
        AuthType::Kerberos
    }

    fn step(&mut self, _: Option<&[u8]>) -> Result<Step, SecurityError> {
        self.0 += 1;
        Ok(if self.0 == 1 { Step::Continue(vec![0; 16]) } else { Step::Done(None) })
    }

    fn token_length(&mut self, _: usize) -> Result<usize, SecurityError> {
        Ok(16)
    }

    fn seal(&mut self, _: &[u8], _: &mut [u8], _: &[u8]) -> Result<Vec<u8>, SecurityError> {
        Ok(vec![0; 16])
    }

    fn unseal(&mut self, _: &[u8], _: &mut [u8], _: &[u8], _: &[u8]) -> Result<(), SecurityError> {
        Ok(())
    }
}

/// The input is one message after the other, as they would be read from a socket.
fn frames(mut input: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while let Ok(Some(length)) = pdu::frame_length(input) {
        let Some((one, rest)) = input.split_at_checked(length) else { break };
        found.push(one);
        input = rest;
    }
    found
}

fn bound() -> Client<Gullible> {
    let (binding, bind) = Binding::sealed(Interface::CertPassage, Gullible(0)).expect("a bind");
    let mut server = Server::new(&Interface::ALL, 1, |_| Some(Gullible(0)));
    let Ok(Event::Send(answer)) = server.receive(&bind) else { panic!("no answer to a bind") };
    match binding.receive(&answer).expect("a server's answer") {
        Progress::Bound(client, _) => client,
        Progress::Send(..) => panic!("a third leg"),
    }
}

pub fn rpc_message(input: &[u8]) {
    if let Ok(pdu) = Pdu::parse(input) {
        match pdu.header.kind {
            Kind::Bind | Kind::AlterContext => {
                if let Ok(bind) = Bind::parse(pdu.body) {
                    assert_eq!(Bind::parse(&bind.to_octets()), Ok(bind));
                }
            }
            Kind::BindAck | Kind::AlterContextResponse => {
                if let Ok(ack) = Ack::parse(pdu.body) {
                    assert_eq!(Ack::parse(&ack.to_octets()), Ok(ack));
                }
            }
            Kind::Request => drop(Request::parse(&pdu)),
            Kind::Response => drop(Response::parse(&pdu)),
            Kind::Fault => drop(Fault::parse(&pdu)),
            Kind::BindNak | Kind::Auth3 | Kind::Shutdown | Kind::Cancel | Kind::Orphaned => {}
        }
    }
    let mut client = bound();
    let _ = client.call(0, None, b"x");
    let mut server = Server::new(&Interface::ALL, 1, |_| Some(Gullible(0)));
    for frame in frames(input) {
        if let Ok(Event::Call(call)) = server.receive(frame) {
            let _ = server.answer(&call, &call.stub);
        }
        if let Ok(Some(results)) = client.receive(frame) {
            assert!(results.len() <= input.len());
            let _ = client.call(0, Some(Uuid::NIL), b"x");
        }
    }
    let (binding, _) = Binding::sealed(Interface::CertPassage, Gullible(0)).expect("a bind");
    let _ = binding.receive(input);
}

/// What an authority says is not larger than what came, and fit for a log.
pub fn rpc_results(input: &[u8]) {
    for reply in [CertReply::parse_passage(input), CertReply::parse_object(input)].into_iter().flatten() {
        assert!(reply.response.len() + reply.certificate.len() <= input.len());
        assert!(!reply.message.contains(char::is_control));
        assert_eq!(CertReply::parse_passage(&reply.to_passage()), Ok(reply));
    }
    if let Ok(Ok(value)) = wcce::parse_octets(input) {
        assert!(value.len() <= input.len());
    }
    let _ = (wcce::parse_pong(input), dcom::parse_release_response(input));
    let _ = (csra::parse_done(input), csra::parse_resubmitted(input), csra::parse_roles(input));
    if let Ok(Ok(columns)) = csra::parse_columns(input) {
        assert!(columns.len() <= input.len());
        assert!(columns.iter().all(|column| !column.name.contains(char::is_control)));
    }
    if let Ok(Ok(found)) = csra::parse_rows(input) {
        assert!(found.rows.iter().map(|row| row.cells.len()).sum::<usize>() <= input.len());
    }
    if let Ok(alive) = dcom::parse_alive_response(input) {
        assert!(alive.bindings.strings.len() + alive.bindings.security.len() <= input.len());
    }
}

pub fn rpc_arguments(input: &[u8]) {
    if let Ok(request) = CertRequest::parse_passage(input) {
        // A number of flags is kept that are known; an empty text of attributes is written as none is read.
        assert_eq!(CertRequest::parse_passage(&request.to_passage()), Ok(request));
    }
    if let Ok(request) = CertRequest::parse_request2(input) {
        let again = CertRequest::parse_request2(&request.to_request2(Version::NEWEST, Uuid::NIL));
        assert_eq!(again, Ok(request));
    }
    if let Ok(request) = CertRequest::parse_request(input) {
        let again = CertRequest::parse_request(&request.to_request(Version::NEWEST, Uuid::NIL));
        assert_eq!(again, Ok(request));
    }
    let _ = (wcce::parse_ca_property(input), wcce::parse_ca_certificate(input), wcce::parse_ping(input));
    let _ = (dcom::parse_release(input), activation::parse_request(input), epm::parse_map_request(input));
}

pub fn object_reference(input: &[u8]) {
    if let Ok(reference) = ObjRef::parse(input) {
        assert_eq!(ObjRef::parse(&reference.to_octets()), Ok(reference));
    }
    let interface = Interface::CertRequest2.uuid();
    if let Ok(Activation::Done(done)) = activation::parse_response(input, interface) {
        assert_eq!(done.interface.iid, interface);
        let done = Activation::Done(done);
        assert_eq!(activation::parse_response(&activation::response(&done), interface), Ok(done));
    }
}

pub fn epm_tower(input: &[u8]) {
    if let Ok(Some(tower)) = Tower::parse(input) {
        assert_eq!(Tower::parse(&tower.to_octets()), Ok(Some(tower)));
    }
    if let Ok(towers) = epm::parse_map_response(input) {
        assert_eq!(epm::parse_map_response(&epm::map_response(&towers)), Ok(towers));
    }
}
