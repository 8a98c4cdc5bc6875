//! What impacket encodes is read here, and what is written here is the same octets, wherever the two have no choice.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise, in its helpers too")]

use std::path::Path;

use muster_rpc::client::RpcError;
use muster_rpc::dcom::activation::{self, Activation};
use muster_rpc::dcom::{self, ObjRef, ServerAlive, Version};
use muster_rpc::epm::{self, Tower};
use muster_rpc::pdu::{self, Ack, Bind, Fault, Kind, Pdu, Request, Response};
use muster_rpc::status::{FaultStatus, HResult};
use muster_rpc::wcce::{self, CertReply, CertRequest, Disposition, Form, PropertyId, RequestFlags};
use muster_rpc::{Interface, Syntax, Uuid};

const IPID: Uuid = Uuid::new(0x0000aa01_0002_0003_1111_222222222222);
const REM_UNKNOWN: Uuid = Uuid::new(0x0000aa00_0001_0000_1111_222222222222);
const CAUSALITY: Uuid = Uuid::new(0x11111111_2222_3333_4444_555555555555);

fn vector(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/ms-rpc");
    std::fs::read(folder.join(format!("impacket-{name}.bin"))).unwrap()
}

/// What the vectors of requests contain. Referents and padding have whatever values the writer likes, so where those occur
/// only lengths are compared.
fn request() -> CertRequest {
    CertRequest {
        authority: Some("CORP-CA".to_owned()),
        flags: RequestFlags { form: Form::Pkcs10, full_response: true, on_behalf: false },
        request_id: 0,
        serial: None,
        attributes: Some("CertificateTemplate:User".to_owned()),
        request: b"a request of some octets".to_vec(),
    }
}

#[test]
fn bind_with_a_token_is_read() {
    let octets = vector("bind");
    assert_eq!(pdu::frame_length(&octets), Ok(Some(octets.len())));
    assert_eq!(pdu::frame_length(octets.get(..15).unwrap()), Ok(None));
    let pdu = Pdu::parse(&octets).unwrap();
    assert_eq!((pdu.header.kind, pdu.header.call_id), (Kind::Bind, 1));
    assert!(pdu.header.has(pdu::HEADER_SIGNING));
    let verifier = pdu.verifier.unwrap();
    assert_eq!((verifier.auth_type, verifier.auth_level, verifier.context_id), (16, 6, 79231));
    assert_eq!(verifier.token, b"a token of impacket");
    let bind = Bind::parse(pdu.body).unwrap();
    let [context] = bind.contexts.as_slice() else { panic!("{bind:?}") };
    assert_eq!((context.id, context.interface), (0, Interface::CertPassage.syntax()));
    assert_eq!(context.transfer, [Syntax::NDR]);
    assert_eq!(bind.to_octets(), pdu.body);
}

#[test]
fn bind_ack_is_read() {
    let octets = vector("bind-ack");
    let pdu = Pdu::parse(&octets).unwrap();
    assert_eq!(pdu.header.kind, Kind::BindAck);
    assert_eq!(pdu.verifier.unwrap().token, b"the answer");
    let ack = Ack::parse(pdu.body).unwrap();
    assert_eq!((ack.max_transmit, ack.max_receive, ack.association), (5840, 5840, 0x12345));
    assert_eq!(ack.secondary_address, b"49670\0");
    assert_eq!(ack.results, [pdu::ContextResult::ACCEPTED]);
    assert_eq!(ack.to_octets(), pdu.body);
}

#[test]
fn calls_are_read() {
    let octets = vector("request-object");
    let pdu = Pdu::parse(&octets).unwrap();
    let request = Request::parse(&pdu).unwrap();
    assert_eq!((request.opnum, request.object, pdu.body), (6, Some(IPID), &b"arguments of a call."[..]));
    assert_eq!(pdu::request_header(pdu.header, &request), pdu.signed);
    let octets = vector("response");
    let pdu = Pdu::parse(&octets).unwrap();
    let response = Response::parse(&pdu).unwrap();
    assert_eq!((response.context, pdu.body), (0, &b"results."[..]));
    assert_eq!(pdu::response_header(pdu.header, &response), pdu.signed);
    let octets = vector("fault");
    let fault = Fault::parse(&Pdu::parse(&octets).unwrap()).unwrap();
    assert_eq!(fault, Fault { status: FaultStatus::ACCESS_DENIED, did_not_execute: true });
    assert_eq!(pdu::fault(2, 0, fault), octets);
}

#[test]
fn endpoint_mapper_is_asked_and_understood() {
    let mut padded = vector("ept-map-request");
    padded.splice(107..108, [0]);
    assert_eq!(epm::map_request(Interface::CertPassage), padded);
    let asked = epm::parse_map_request(&vector("ept-map-request"));
    assert_eq!(asked, Ok(Interface::CertPassage.syntax()));
    let tower = Tower {
        interface: Interface::CertPassage.syntax(),
        transfer: Syntax::NDR,
        port: 49670,
        address: [192, 0, 2, 7].into(),
    };
    assert_eq!(tower.to_octets(), vector("tower"));
    assert_eq!(Tower::parse(&vector("tower")), Ok(Some(tower)));
    assert_eq!(epm::parse_map_response(&vector("ept-map-response")), Ok(vec![tower]));
    assert_eq!(epm::parse_map_response(&epm::map_response(&[tower])), Ok(vec![tower]));
    assert_eq!(epm::port(&vector("ept-map-response"), Interface::CertPassage), Ok(Some(49670)));
    assert_eq!(epm::port(&vector("ept-map-response"), Interface::CertRequest), Ok(None));
    assert_eq!(epm::port(&epm::map_response(&[]), Interface::CertPassage), Ok(None));
}

#[test]
fn cert_server_request_is_what_impacket_sends() {
    assert_eq!(CertRequest::parse_passage(&vector("cert-server-request")), Ok(request()));
    assert_eq!(request().to_passage().len(), vector("cert-server-request").len());
    assert_eq!(CertRequest::parse_passage(&request().to_passage()), Ok(request()));
    let reply = CertReply::parse_passage(&vector("cert-server-response")).unwrap();
    assert_eq!((reply.result, reply.request_id, reply.disposition), (HResult::OK, 11, Disposition::Issued));
    assert_eq!(
        (reply.response.as_slice(), reply.certificate.as_slice()),
        (&b"a chain"[..], &b"a certificate"[..])
    );
    assert_eq!(reply.message, "Issued");
    assert_eq!(CertReply::parse_passage(&reply.to_passage()), Ok(reply));
    let reply = CertReply::parse_passage(&vector("cert-server-refused")).unwrap();
    assert_eq!(reply.disposition, Disposition::Failed(HResult::UNSUPPORTED_CERT_TYPE));
    assert_eq!((reply.certificate, reply.message.as_str()), (Vec::new(), "Denied by Policy Module"));
}

#[test]
fn calls_to_the_object_are_what_the_specification_says() {
    assert_eq!(CertRequest::parse_request(&vector("request")), Ok(request()));
    assert_eq!(CertRequest::parse_request2(&vector("request2")), Ok(request()));
    let (version, request) = (Version::NEWEST, request());
    assert_eq!(CertRequest::parse_request(&request.to_request(version, CAUSALITY)), Ok(request.clone()));
    assert_eq!(CertRequest::parse_request2(&request.to_request2(version, CAUSALITY)), Ok(request.clone()));
    assert_eq!(request.to_request2(version, CAUSALITY).len(), vector("request2").len());
    assert_eq!(request.to_request(version, CAUSALITY).len(), vector("request").len());
    let reply = CertReply::parse_object(&vector("request2-response")).unwrap();
    assert_eq!((reply.request_id, reply.disposition), (11, Disposition::Pending));
    assert_eq!(reply.response, b"a full response");
    assert_eq!(reply.message, "Taken Under Submission");
    assert_eq!(CertReply::parse_object(&reply.to_object()), Ok(reply));
}

#[test]
fn properties_are_asked_for_and_read() {
    let asked = wcce::parse_ca_property(&vector("get-ca-property"));
    assert_eq!(asked, Ok((Some("CORP-CA".to_owned()), 0x1d, 0, 4)));
    let ours = wcce::ca_property(Version::NEWEST, CAUSALITY, "CORP-CA", PropertyId::Templates, 0);
    assert_eq!(ours.len(), vector("get-ca-property").len());
    assert_eq!(wcce::parse_ca_property(&ours), asked);
    let value = wcce::parse_octets(&vector("get-ca-property-response")).unwrap().unwrap();
    assert_eq!(wcce::property_text(&value), "User 1.3.6.1.4.1.311.21.8.1.1");
    assert_eq!(wcce::property_lines(&value), ["User", "1.3.6.1.4.1.311.21.8.1.1"]);
    assert_eq!(wcce::parse_octets(&wcce::property_response(HResult::OK, &value)), Ok(Ok(value)));
    assert_eq!(wcce::parse_ping(&vector("ping2")), Ok(Some("CORP-CA".to_owned())));
    let ours = wcce::ping(Version::NEWEST, CAUSALITY, "CORP-CA");
    assert_eq!(wcce::parse_ping(&ours), Ok(Some("CORP-CA".to_owned())));
    assert_eq!(wcce::parse_pong(&wcce::ping_response(HResult::OK)), Ok(HResult::OK));
}

#[test]
fn object_reference_is_read_and_written_as_impacket_does() {
    let octets = vector("objref-standard");
    let reference = ObjRef::parse(&octets).unwrap();
    let ObjRef::Standard(standard) = &reference else { panic!("{reference:?}") };
    assert_eq!((standard.iid, standard.ipid), (Interface::CertRequest2.uuid(), IPID));
    assert_eq!((standard.oxid, standard.oid), (0x1122_3344_5566_7788, 0x99aa_bbcc_ddee_ff00));
    assert_eq!(standard.public_references, 5);
    assert_eq!(standard.resolver.tcp_port(), Some(135));
    assert_eq!(standard.resolver.security.len(), 3);
    assert_eq!(reference.to_octets(), octets);
    let ObjRef::Custom(custom) = ObjRef::parse(&vector("objref-custom")).unwrap() else { panic!() };
    assert_eq!(custom.clsid.to_string(), "00000339-0000-0000-c000-000000000046");
}

#[test]
fn server_says_which_version_it_speaks() {
    let alive = dcom::parse_alive_response(&vector("server-alive2-response")).unwrap();
    assert_eq!(alive.version.common(), Ok(Version::NEWEST));
    let [first, second] = alive.bindings.strings.as_slice() else { panic!("{alive:?}") };
    assert_eq!(first.host_and_port(), Some(("ca1.corp.test", 135)));
    assert_eq!(second.address, "192.0.2.7[135]");
    assert_eq!(dcom::parse_alive_response(&dcom::alive_response(&alive)), Ok(alive.clone()));
    let old = ServerAlive { version: Version { major: 5, minor: 6 }, ..alive };
    assert_eq!(old.version.common(), Ok(old.version));
    assert!(Version { major: 6, minor: 0 }.common().is_err());
}

#[test]
fn object_is_activated_and_released() {
    let interface = Interface::CertRequest2.uuid();
    assert_eq!(
        activation::parse_request(&vector("remote-create-instance")),
        Ok((wcce::CLASS, vec![interface]))
    );
    let ours = activation::request(wcce::CLASS, interface, Version::NEWEST, CAUSALITY);
    assert_eq!(activation::parse_request(&ours), Ok((wcce::CLASS, vec![interface])));
    let answer = activation::parse_response(&vector("remote-create-instance-response"), interface).unwrap();
    let Activation::Done(done) = &answer else { panic!("{answer:?}") };
    assert_eq!((done.interface.ipid, done.rem_unknown), (IPID, REM_UNKNOWN));
    assert_eq!((done.bindings.tcp_port(), done.version), (Some(49670), Version::NEWEST));
    assert_eq!(activation::parse_response(&activation::response(&answer), interface), Ok(answer.clone()));
    assert!(matches!(
        activation::parse_response(&activation::response(&answer), Interface::CertRequest.uuid()),
        Err(RpcError::Results(_))
    ));
    let failed = Activation::Failed(HResult::CLASS_NOT_REGISTERED);
    assert_eq!(activation::parse_response(&activation::response(&failed), interface), Ok(failed));
    assert_eq!(dcom::parse_release(&vector("rem-release")), Ok(vec![(IPID, 5)]));
    let ours = dcom::release_request(Version::NEWEST, CAUSALITY, IPID, 5);
    let mut padded = vector("rem-release");
    padded.splice(34..36, [0, 0]);
    assert_eq!(ours, padded);
}

/// Every prefix and every octet that is changed is read or refused, and nothing panics.
#[test]
fn damaged_messages_are_refused_without_a_panic() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/ms-rpc");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "bin") {
            continue;
        }
        seen += 1;
        let octets = std::fs::read(&path).unwrap();
        for place in 0..octets.len() {
            read_as_everything(octets.get(..place).unwrap());
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bad = octets.clone();
                *bad.get_mut(place).unwrap() = value;
                read_as_everything(&bad);
            }
        }
    }
    assert!(seen > 20, "only {seen} vectors");
}

fn read_as_everything(octets: &[u8]) {
    if let Ok(pdu) = Pdu::parse(octets) {
        let _ = (Bind::parse(pdu.body), Ack::parse(pdu.body), Fault::parse(&pdu));
        let _ = (Request::parse(&pdu), Response::parse(&pdu));
    }
    let interface = Interface::CertRequest2.uuid();
    let _ = (epm::parse_map_response(octets), epm::parse_map_request(octets), Tower::parse(octets));
    let _ = (CertReply::parse_passage(octets), CertReply::parse_object(octets));
    let _ = (CertRequest::parse_passage(octets), CertRequest::parse_request(octets));
    let _ = (CertRequest::parse_request2(octets), wcce::parse_octets(octets), ObjRef::parse(octets));
    let _ = (dcom::parse_alive_response(octets), activation::parse_response(octets, interface));
    let _ = (activation::parse_request(octets), dcom::parse_release(octets));
}
