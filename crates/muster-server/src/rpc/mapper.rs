//! What anybody may ask: on which port the authority takes calls, and by which object. Activation needs a ticket, and gives
//! nothing that the endpoint mapper would not tell.

use std::net::{IpAddr, Ipv4Addr};

use muster_rpc::dcom::activation::{self, Activation};
use muster_rpc::dcom::{
    ALIVE, ALIVE2, COMPLEX_PING, DualStringArray, SIMPLE_PING, SecurityBinding, ServerAlive, StandardRef,
    StringBinding, TCP, Version, alive_response, ping_response, status_response,
};
use muster_rpc::epm::{self, Tower};
use muster_rpc::security::AuthType;
use muster_rpc::server::Call;
use muster_rpc::status::{FaultStatus, HResult};
use muster_rpc::wcce::CLASS;
use muster_rpc::{Interface, Syntax, Uuid};

use super::Rpc;

/// References to the object that an activation hands out; they are not counted.
const REFERENCES: u32 = 5;

/// The results of a call; `host` is the address that the caller has connected to.
pub(super) fn answer(rpc: &Rpc, host: IpAddr, call: &Call) -> Result<Vec<u8>, FaultStatus> {
    match (call.interface, call.opnum) {
        (Interface::EndpointMapper, epm::MAP) => map(rpc, host, &call.stub),
        (Interface::ObjectExporter, ALIVE2) => {
            let bindings = bindings(rpc, host, None);
            Ok(alive_response(&ServerAlive { version: Version::NEWEST, bindings }))
        }
        // The object lives without pings.
        (Interface::ObjectExporter, ALIVE | SIMPLE_PING) => Ok(status_response()),
        (Interface::ObjectExporter, COMPLEX_PING) => Ok(ping_response(rpc.object.exporter)),
        (Interface::RemoteActivator, activation::CREATE_INSTANCE) => activate(rpc, host, &call.stub),
        (
            Interface::EndpointMapper
            | Interface::ObjectExporter
            | Interface::RemoteActivator
            | Interface::RemUnknown
            | Interface::CertPassage
            | Interface::CertRequest
            | Interface::CertRequest2
            | Interface::CertAdmin
            | Interface::CertAdmin2,
            _,
        ) => Err(FaultStatus::OP_RANGE),
    }
}

fn map(rpc: &Rpc, host: IpAddr, stub: &[u8]) -> Result<Vec<u8>, FaultStatus> {
    let (asked, limit) = epm::parse_limited_map_request(stub).map_err(|_| FaultStatus::BAD_STUB_DATA)?;
    let port = |interface| match interface {
        Interface::CertPassage => Some(rpc.ports.requests),
        Interface::RemoteActivator | Interface::ObjectExporter => Some(rpc.ports.mapper),
        // What belongs to an object is reached by its activation.
        Interface::EndpointMapper
        | Interface::RemUnknown
        | Interface::CertRequest
        | Interface::CertRequest2
        | Interface::CertAdmin
        | Interface::CertAdmin2 => None,
    };
    let found = Interface::ALL.into_iter().find(|interface| {
        let syntax = interface.syntax();
        syntax.uuid == asked.uuid && syntax.major == asked.major
    });
    // Clients go on with the address that they have dialled; of IPv6 a tower cannot tell.
    let address = match host.to_canonical() {
        IpAddr::V4(address) => address,
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    };
    let tower = found.and_then(|interface| {
        let (interface, port) = (interface.syntax(), port(interface)?);
        Some(Tower { interface, transfer: Syntax::NDR, port, address })
    });
    Ok(epm::limited_map_response(tower.as_slice(), limit))
}

/// The addresses of this node, with the port of the object's exporter where it is one's.
fn bindings(rpc: &Rpc, host: IpAddr, port: Option<u16>) -> DualStringArray {
    let names = [rpc.settings.host.clone(), host.to_canonical().to_string()];
    let binding = |name: String| {
        let address = port.map_or_else(|| name.clone(), |port| format!("{name}[{port}]"));
        StringBinding { tower: TCP, address }
    };
    let security = [AuthType::Negotiate, AuthType::Kerberos].map(|provider| SecurityBinding {
        auth_type: provider.code().into(),
        // None: the usual name of the host's service.
        principal: String::new(),
    });
    DualStringArray { strings: names.map(binding).to_vec(), security: security.to_vec() }
}

fn activate(rpc: &Rpc, host: IpAddr, stub: &[u8]) -> Result<Vec<u8>, FaultStatus> {
    let (class, interfaces) = activation::parse_request(stub).map_err(|_| FaultStatus::BAD_STUB_DATA)?;
    if class != CLASS {
        return Ok(activation::response(&Activation::Failed(HResult::CLASS_NOT_REGISTERED)));
    }
    let found: Vec<_> =
        interfaces.into_iter().map(|iid| (iid, reference(rpc, host, iid, REFERENCES))).collect();
    let exporter = bindings(rpc, host, Some(rpc.ports.requests));
    Ok(activation::created(&found, &exporter, rpc.object.rem_unknown, Version::NEWEST))
}

/// A reference to an interface of the object.
pub(super) fn reference(
    rpc: &Rpc,
    host: IpAddr,
    iid: Uuid,
    public_references: u32,
) -> Result<StandardRef, HResult> {
    let ipid = rpc.object.interface(iid).ok_or(HResult::NO_INTERFACE)?;
    let (oxid, oid) = (rpc.object.exporter, rpc.object.object);
    Ok(StandardRef { iid, public_references, oxid, oid, ipid, resolver: bindings(rpc, host, None) })
}
