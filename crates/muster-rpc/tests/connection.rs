//! Client and server ends against each other, with a provider that can be lied with: the ways down are all closed.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at the first surprise, in its helpers too"
)]

use muster_rpc::client::{Anonymous, Binding, Client, MAX_STUB, Progress, RpcError};
use muster_rpc::pdu::{self, Fault, Trailer};
use muster_rpc::security::{AuthType, Security, SecurityError, Step};
use muster_rpc::server::{Event, Server};
use muster_rpc::status::FaultStatus;
use muster_rpc::{Interface, Syntax, Uuid};
use proptest::prelude::*;

const TOKEN: usize = 20;

/// A cipher for a test: it turns every octet over, and sums header, arguments and trailer up.
#[derive(Clone, Debug)]
struct Toy {
    auth_type: AuthType,
    legs: Vec<Step>,
    sent: u64,
    received: u64,
}

impl Toy {
    fn client(auth_type: AuthType) -> Self {
        let legs = match auth_type {
            AuthType::Kerberos => {
                vec![Step::Continue(b"c1".to_vec()), Step::Done(Some(b"c2".to_vec()))]
            }
            AuthType::Negotiate => {
                vec![Step::Continue(b"c1".to_vec()), Step::Continue(b"c2".to_vec()), Step::Done(None)]
            }
        };
        Self { auth_type, legs, sent: 0, received: 0 }
    }

    fn server(auth_type: AuthType) -> Self {
        let last = match auth_type {
            AuthType::Kerberos => None,
            AuthType::Negotiate => Some(b"s2".to_vec()),
        };
        Self { auth_type, legs: vec![Step::Continue(b"s1".to_vec()), Step::Done(last)], sent: 0, received: 0 }
    }

    fn sum(number: u64, parts: [&[u8]; 3]) -> Vec<u8> {
        let mut sum = number.wrapping_add(99);
        for octet in parts.concat() {
            sum = sum.wrapping_mul(0x0100_0000_01b3).wrapping_add(u64::from(octet));
        }
        [&sum.to_le_bytes()[..], &[0; 12]].concat()
    }
}

impl Security for Toy {
    fn auth_type(&self) -> AuthType {
        self.auth_type
    }

    fn step(&mut self, token: Option<&[u8]>) -> Result<Step, SecurityError> {
        if token == Some(b"bad") || self.legs.is_empty() {
            return Err(SecurityError("out of order".to_owned()));
        }
        Ok(self.legs.remove(0))
    }

    fn token_length(&mut self, _: usize) -> Result<usize, SecurityError> {
        Ok(TOKEN)
    }

    fn seal(&mut self, header: &[u8], stub: &mut [u8], trailer: &[u8]) -> Result<Vec<u8>, SecurityError> {
        self.sent += 1;
        let token = Self::sum(self.sent, [header, stub, trailer]);
        stub.iter_mut().for_each(|octet| *octet = !*octet);
        Ok(token)
    }

    fn unseal(
        &mut self,
        header: &[u8],
        stub: &mut [u8],
        trailer: &[u8],
        token: &[u8],
    ) -> Result<(), SecurityError> {
        self.received += 1;
        stub.iter_mut().for_each(|octet| *octet = !*octet);
        if Self::sum(self.received, [header, stub, trailer]) == token {
            Ok(())
        } else {
            Err(SecurityError("the message was changed".to_owned()))
        }
    }
}

type ToyServer = Server<Toy, fn(AuthType) -> Option<Toy>>;

fn server() -> ToyServer {
    let provider: fn(AuthType) -> Option<Toy> = |auth_type| Some(Toy::server(auth_type));
    Server::new(&Interface::ALL, 49670, provider)
}

/// The messages in octets that were sent together.
fn messages(mut octets: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while let Some(length) = pdu::frame_length(octets).unwrap() {
        let (first, rest) = octets.split_at(length);
        found.push(first);
        octets = rest;
    }
    assert_eq!(octets, []);
    found
}

fn sent(event: Event) -> Vec<u8> {
    let Event::Send(octets) = event else { panic!("{event:?}") };
    octets
}

fn connect<S: Security>(mut server: ToyServer, begun: (Binding<S>, Vec<u8>)) -> (Client<S>, ToyServer) {
    let (mut binding, mut octets) = begun;
    loop {
        let answer = sent(server.receive(&octets).unwrap());
        match binding.receive(&answer).unwrap() {
            Progress::Send(next, message) => (binding, octets) = (next, message),
            Progress::Bound(client, last) => {
                if let Some(last) = last {
                    assert_eq!(server.receive(&last), Ok(Event::Nothing));
                }
                return (client, server);
            }
        }
    }
}

fn sealed(auth_type: AuthType) -> (Client<Toy>, ToyServer) {
    connect(server(), Binding::sealed(Interface::CertPassage, Toy::client(auth_type)).unwrap())
}

/// One call, answered with its own arguments.
fn echo<S: Security>(
    client: &mut Client<S>,
    server: &mut ToyServer,
    object: Option<Uuid>,
    stub: &[u8],
) -> usize {
    let octets = client.call(7, object, stub).unwrap();
    let fragments = messages(&octets);
    let count = fragments.len();
    let mut call = None;
    for fragment in fragments {
        assert_eq!(call, None);
        let event = server.receive(fragment).unwrap();
        if event != Event::Nothing {
            let Event::Call(found) = event else { panic!("{event:?}") };
            call = Some(found);
        }
    }
    let call = call.unwrap();
    assert_eq!((call.opnum, call.object, call.stub.as_slice()), (7, object, stub));
    let answer = server.answer(&call, &call.stub).unwrap();
    let mut results = None;
    for fragment in messages(&answer) {
        assert_eq!(results, None);
        results = client.receive(fragment).unwrap();
    }
    assert_eq!(results.as_deref(), Some(stub));
    count
}

#[test]
fn calls_of_all_lengths_arrive_with_both_providers() {
    for auth_type in [AuthType::Kerberos, AuthType::Negotiate] {
        let (mut client, mut server) = sealed(auth_type);
        assert!(server.authenticated().is_some());
        for length in [0, 1, 15, 16, 17, 5_000, 5_776, 5_777, 11_553, 100_000, MAX_STUB] {
            let stub: Vec<u8> = (0..length).map(|place| u8::try_from(place % 251).unwrap()).collect();
            let object = (length % 2 == 1).then_some(Uuid::new(7));
            let fragments = echo(&mut client, &mut server, object, &stub);
            assert_eq!(fragments > 1, length > 5_776, "{length}");
        }
        assert_eq!(client.call(7, None, &vec![0; MAX_STUB + 1]), Err(RpcError::TooLong));
        assert!(client.is_ready());
    }
}

#[test]
fn nothing_of_a_sealed_call_is_readable() {
    let (mut client, _server) = sealed(AuthType::Kerberos);
    let stub = b"CertificateTemplate:User".repeat(40);
    let octets = client.call(0, None, &stub).unwrap();
    assert!(!octets.windows(12).any(|window| stub.windows(12).any(|secret| secret == window)));
}

#[test]
fn public_interface_needs_no_security_and_others_do() {
    let (mut client, mut server) = connect(server(), Binding::public(Interface::EndpointMapper).unwrap());
    echo(&mut client, &mut server, None, b"question");
    assert!(server.authenticated().is_none());
    for interface in Interface::ALL.into_iter().filter(|interface| !interface.is_public()) {
        assert_eq!(Binding::public(interface).unwrap_err(), RpcError::Unprotected(pdu::Kind::Bind));
    }
}

/// A client that asks for a secured interface without security is not heard.
#[test]
fn unsealed_calls_to_secured_interfaces_get_a_fault() {
    let (_, bind) = Binding::public(Interface::EndpointMapper).unwrap();
    let bind = replaced(&bind, &Interface::EndpointMapper.uuid().0, &Interface::CertPassage.uuid().0);
    // The version of the endpoint mapper is 3.
    let bind = replaced(&bind, &[0, 0x2b, 0x10, 0x48, 0x60, 3, 0], &[0, 0x2b, 0x10, 0x48, 0x60, 2, 0]);
    let mut bind = bind;
    let place = bind.windows(16).position(|window| window == Interface::CertPassage.uuid().0).unwrap();
    *bind.get_mut(place + 16).unwrap() = 0;
    let mut server = server();
    sent(server.receive(&bind).unwrap());
    let (mut client, _) = connect(self::server(), Binding::public(Interface::EndpointMapper).unwrap());
    let call = client.call(0, None, b"question").unwrap();
    let fault = sent(server.receive(&call).unwrap());
    let refused = Fault { status: FaultStatus::ACCESS_DENIED, did_not_execute: true };
    assert_eq!(client.receive(&fault), Err(RpcError::Fault(refused)));
    assert!(client.is_ready());
}

fn replaced(octets: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let Some(place) = octets.windows(from.len()).position(|window| window == from) else {
        return octets.to_vec();
    };
    let (before, rest) = octets.split_at(place);
    [before, to, rest.get(from.len()..).unwrap()].concat()
}

/// The server's answer to a bind, with one octet changed.
fn bind_answer(place: isize, value: u8) -> Result<Progress<Toy>, RpcError> {
    let (binding, bind) = Binding::sealed(Interface::CertPassage, Toy::client(AuthType::Kerberos)).unwrap();
    let mut answer = sent(server().receive(&bind).unwrap());
    let place =
        if place < 0 { answer.len().checked_add_signed(place).unwrap() } else { place.unsigned_abs() };
    *answer.get_mut(place).unwrap() = value;
    binding.receive(&answer)
}

/// T13: whatever the server offers that is lower, or was not asked for, is not taken.
#[test]
fn lower_offers_of_a_server_are_refused() {
    use pdu::{Kind, PduError};
    // From the end: two octets of the token, then the trailer of eight; before them the transfer syntax.
    for (place, value, error) in [
        (0, 4, RpcError::Pdu(PduError::Version { major: 4, minor: 0 })),
        (4, 0, RpcError::Pdu(PduError::Representation(0))),
        (2, 2, RpcError::Unexpected(Kind::Response)),
        (2, 15, RpcError::Unexpected(Kind::AlterContextResponse)),
        (3, 3, RpcError::NoHeaderSigning),
        (3, 5, RpcError::Fragments),
        (12, 9, RpcError::CallId { expected: 1, got: 9 }),
        (-10, 10, RpcError::AuthType(10)),
        (-10, 9, RpcError::AuthType(9)),
        (-9, 5, RpcError::AuthLevel(5)),
        (-9, 2, RpcError::AuthLevel(2)),
        (-6, 7, RpcError::AuthContext(7)),
        (-34, 2, RpcError::InterfaceRefused { result: 2, reason: 0 }),
        (-14, 1, RpcError::TransferSyntax(Syntax { major: 1, ..Syntax::NDR })),
        (-38, 0, RpcError::ResultCount(0)),
    ] {
        let got = bind_answer(place, value);
        assert_eq!(got.unwrap_err(), error, "octet {place} = {value}");
    }
    assert_eq!(bind_answer(19, 1).unwrap_err(), RpcError::FragmentSize(0x01d0));
}

#[test]
fn bind_answer_without_a_token_is_refused() {
    let (binding, bind) = Binding::sealed(Interface::CertPassage, Toy::client(AuthType::Kerberos)).unwrap();
    let mut answer = sent(server().receive(&bind).unwrap());
    answer.truncate(answer.len() - 10);
    let length = u8::try_from(answer.len()).unwrap();
    answer.splice(8..12, [length, 0, 0, 0]);
    assert_eq!(binding.receive(&answer).unwrap_err(), RpcError::Unprotected(pdu::Kind::BindAck));
}

#[test]
fn server_that_will_not_is_named() {
    let (binding, bind) = Binding::sealed(Interface::CertPassage, Toy::client(AuthType::Kerberos)).unwrap();
    let mut none: ToyServer = Server::new(&Interface::ALL, 1, |_| None);
    let Ok(Event::Refuse(nak, _)) = none.receive(&bind) else { panic!() };
    let error = binding.receive(&nak).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the server refuses the connection: authentication type not recognized (8)"
    );
    let (binding, bind) = Binding::sealed(Interface::CertPassage, Toy::client(AuthType::Kerberos)).unwrap();
    let provider: fn(AuthType) -> Option<Toy> = |auth_type| Some(Toy::server(auth_type));
    let answer = sent(Server::new(&[Interface::RemUnknown], 1, provider).receive(&bind).unwrap());
    let refused = RpcError::InterfaceRefused { result: 2, reason: 1 };
    assert_eq!(binding.receive(&answer).unwrap_err(), refused);
}

/// The server's end of T13: clients that ask for less are refused before their token is looked at.
#[test]
fn lower_offers_of_a_client_are_refused() {
    let (_, bind) = Binding::sealed(Interface::CertPassage, Toy::client(AuthType::Kerberos)).unwrap();
    for (from_end, value) in [(10, 10), (10, 14), (9, 5), (9, 1), (0, 3)] {
        let mut bind = bind.clone();
        let place = if from_end == 0 { 3 } else { bind.len() - from_end };
        *bind.get_mut(place).unwrap() = value;
        let event = server().receive(&bind);
        assert!(matches!(event, Ok(Event::Refuse(..))), "{from_end} {value}: {event:?}");
    }
}

#[test]
fn calls_before_the_last_token_get_a_fault() {
    let (binding, bind) = Binding::sealed(Interface::CertPassage, Toy::client(AuthType::Kerberos)).unwrap();
    let mut server = server();
    let answer = sent(server.receive(&bind).unwrap());
    let Progress::Bound(mut client, Some(_last)) = binding.receive(&answer).unwrap() else { panic!() };
    let call = client.call(0, None, b"x").unwrap();
    let fault = sent(server.receive(&call).unwrap());
    assert!(matches!(client.receive(&fault), Err(RpcError::UnverifiedFault(_))));
}

/// A sealed fault of the server, as the first message that it seals.
fn sealed_fault(call_id: u32, fault: Fault) -> Vec<u8> {
    let trailer = Trailer { auth_type: 16, auth_level: 6, pad_length: 0, context_id: 1 }.to_octets();
    let mut octets = pdu::fault(call_id, 0, fault);
    for (place, length) in [(8, octets.len() + trailer.len() + TOKEN), (10, TOKEN)] {
        let length = u16::try_from(length).unwrap().to_le_bytes();
        octets.get_mut(place..place + 2).unwrap().copy_from_slice(&length);
    }
    let token = Toy::sum(1, [&octets, &[], &trailer]);
    [octets, trailer.to_vec(), token].concat()
}

/// What a fault says is the server's word only if the server has sealed it.
#[test]
fn faults_on_sealed_connections_are_the_servers_only_with_a_verifier() {
    let said = Fault { status: FaultStatus::ACCESS_DENIED, did_not_execute: true };
    let call = || {
        let (mut client, _) = sealed(AuthType::Kerberos);
        client.call(0, None, b"x").unwrap();
        client
    };
    let mut client = call();
    assert_eq!(client.receive(&pdu::fault(2, 0, said)), Err(RpcError::UnverifiedFault(said)));
    assert!(!client.is_ready());
    let mut client = call();
    assert_eq!(client.receive(&sealed_fault(2, said)), Err(RpcError::Fault(said)));
    assert!(client.is_ready());
    for place in [3, 24, 28, 33, 45] {
        let mut changed = sealed_fault(2, said);
        *changed.get_mut(place).unwrap() ^= 1;
        let mut client = call();
        let got = client.receive(&changed);
        assert!(matches!(got, Err(RpcError::Security(_) | RpcError::AuthLevel(_))), "{place}: {got:?}");
        assert!(!client.is_ready());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever octet of a sealed answer is changed, it is refused, or is one that means nothing.
    #[test]
    fn changed_answers_are_refused(place in 0_usize..200, value: u8, length in 1_usize..100) {
        let (mut client, mut server) = sealed(AuthType::Kerberos);
        let stub = vec![0x55; length];
        let call = client.call(1, None, &stub).unwrap();
        let Event::Call(call) = server.receive(&call).unwrap() else { panic!() };
        let mut answer = server.answer(&call, &stub).unwrap();
        let place = place % answer.len();
        let octet = answer.get_mut(place).unwrap();
        prop_assume!(*octet != value);
        *octet = value;
        let got = client.receive(&answer);
        prop_assert!(got.is_err(), "{:?}", got);
        prop_assert!(!client.is_ready());
    }

    /// Both ends take any octets at any time without a panic.
    #[test]
    fn noise_is_refused(noise in proptest::collection::vec(any::<u8>(), 0..80), kind in 0_u8..20, tail in 0_u8..32) {
        let mut message = vec![5, 0, kind, 3, 0x10, 0, 0, 0];
        let length = u16::try_from(16 + noise.len()).unwrap();
        message.extend(length.to_le_bytes());
        message.extend([tail, 0, 2, 0, 0, 0]);
        message.extend(&noise);
        let (mut client, mut server) = sealed(AuthType::Negotiate);
        let _ = server.receive(&message);
        let _ = client.call(0, None, b"x");
        let _ = client.receive(&message);
        let (binding, _) = Binding::sealed(Interface::CertPassage, Toy::client(AuthType::Kerberos)).unwrap();
        prop_assert!(binding.receive(&message).is_err());
        let (binding, _): (Binding<Anonymous>, _) = Binding::public(Interface::ObjectExporter).unwrap();
        let _ = binding.receive(&message);
        let _ = self::server().receive(&message);
    }
}

/// The context and the call in a verification trailer of Samba's making, which says what `call` says.
fn trailer(call_id: u32, opnum: u16) -> Vec<u8> {
    let mut octets = std::fs::read(
        std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../vectors/ms-rpc/samba-verification-trailer.bin"),
    )
    .unwrap();
    let length = octets.len();
    // The last command is rpc_sec_vt_header2: its last eight octets are the call, the context and the method.
    octets.splice(length - 8..length - 4, call_id.to_le_bytes());
    octets.splice(length - 2..length, opnum.to_le_bytes());
    octets
}

#[test]
fn verification_trailer_is_compared_with_the_call_and_is_no_argument() {
    for (call_id, opnum, taken) in [(2, 7, true), (3, 7, false), (2, 8, false), (2, 7, true)] {
        let (mut client, mut server) = sealed(AuthType::Kerberos);
        let stub = [b"arguments---".to_vec(), trailer(call_id, opnum)].concat();
        let call = client.call(7, None, &stub).unwrap();
        match server.receive(&call).unwrap() {
            Event::Call(call) => {
                assert!(taken, "call {call_id}, method {opnum}");
                assert_eq!(call.stub, b"arguments---");
                let answer = server.answer(&call, b"results").unwrap();
                assert_eq!(client.receive(&answer).unwrap().as_deref(), Some(&b"results"[..]));
            }
            Event::Send(fault) => {
                assert!(!taken, "call {call_id}, method {opnum}");
                let refused = Fault { status: FaultStatus::ACCESS_DENIED, did_not_execute: true };
                assert_eq!(client.receive(&fault), Err(RpcError::UnverifiedFault(refused)));
            }
            event @ (Event::Nothing | Event::Refuse(..)) => panic!("{event:?}"),
        }
    }
    // For another interface.
    let other = Binding::sealed(Interface::CertRequest2, Toy::client(AuthType::Kerberos)).unwrap();
    let (mut client, mut server) = connect(server(), other);
    let call = client.call(7, None, &trailer(2, 7)).unwrap();
    let fault = sent(server.receive(&call).unwrap());
    assert!(matches!(client.receive(&fault), Err(RpcError::UnverifiedFault(_))));
}

/// One connection, two interfaces, one security context.
#[test]
fn second_interface_is_had_on_the_same_connection() {
    for auth_type in [AuthType::Kerberos, AuthType::Negotiate] {
        let (mut client, mut server) = sealed(auth_type);
        echo(&mut client, &mut server, None, b"first");
        let asked = client.alter(Interface::RemUnknown).unwrap();
        assert!(!client.is_ready());
        let answer = sent(server.receive(&asked).unwrap());
        client.altered(&answer).unwrap();
        let octets = client.call(5, Some(Uuid::new(9)), b"second").unwrap();
        let Event::Call(call) = server.receive(&octets).unwrap() else { panic!() };
        assert_eq!((call.interface, call.opnum), (Interface::RemUnknown, 5));
        let answer = server.answer(&call, b"done").unwrap();
        assert_eq!(client.receive(&answer).unwrap().as_deref(), Some(&b"done"[..]));
        // The answer to a call of the first interface is not one to a call of the second.
        let _ = client.call(5, None, b"third").unwrap();
        let mut answer = answer;
        *answer.get_mut(20).unwrap() ^= 1;
        assert!(client.receive(&answer).is_err());
    }
    let (mut client, mut server) = connect(server(), Binding::public(Interface::EndpointMapper).unwrap());
    assert!(matches!(client.alter(Interface::RemUnknown), Err(RpcError::Unprotected(_))));
    let asked = client.alter(Interface::ObjectExporter).unwrap();
    let mut answer = sent(server.receive(&asked).unwrap());
    // The result of the one context: refused by the provider.
    let place = answer.len() - 24;
    *answer.get_mut(place).unwrap() = 2;
    assert_eq!(client.altered(&answer), Err(RpcError::InterfaceRefused { result: 2, reason: 0 }));
    assert!(!client.is_ready());
}
