//! The endpoint mapper (C706 appendix O): on which port an interface is served.
//!
//! What it says is not protected, and nothing depends on it but where the next connection goes, which proves itself.

use std::net::Ipv4Addr;

use crate::client::RpcError;
use crate::ndr::{NdrError, Reader, Writer};
use crate::uuid::{Interface, Syntax, Uuid};

/// The port of the endpoint mapper.
pub const PORT: u16 = 135;
/// `ept_map`.
pub const MAP: u16 = 3;
/// `EPT_S_NOT_REGISTERED`: nothing serves the interface.
pub const NOT_REGISTERED: u32 = 0x16c9_a0d6;

const MAX_TOWERS: u32 = 8;
const MAX_TOWER: u32 = 1_024;

/// Protocols of the floors of a tower (C706 appendix I).
const UUID_FLOOR: u8 = 0x0d;
const RPC_CONNECTION: u8 = 0x0b;
const TCP: u8 = 0x07;
const IP: u8 = 0x09;

/// An interface, its encoding, and where it is served over TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tower {
    /// The interface.
    pub interface: Syntax,
    /// The encoding.
    pub transfer: Syntax,
    /// The port.
    pub port: u16,
    /// The address that the server believes to have; clients go on with the one that they have dialled.
    pub address: Ipv4Addr,
}

impl Tower {
    /// Reads one. `None` for a tower of another protocol than TCP over IPv4.
    ///
    /// # Errors
    /// If its floors cannot be read.
    pub fn parse(octets: &[u8]) -> Result<Option<Self>, NdrError> {
        let mut reader = Reader::new(octets);
        let floors = plain_u16(&mut reader)?;
        if floors != 5 {
            return Ok(None);
        }
        let interface = uuid_floor(&mut reader)?;
        let transfer = uuid_floor(&mut reader)?;
        let (rpc, _) = floor(&mut reader)?;
        let (transport, port) = floor(&mut reader)?;
        let (network, address) = floor(&mut reader)?;
        if (rpc, transport, network) != (&[RPC_CONNECTION][..], &[TCP][..], &[IP][..]) {
            return Ok(None);
        }
        let port = port.try_into().map_err(|_| NdrError::Invalid("the port of a tower"))?;
        let address: [u8; 4] = address.try_into().map_err(|_| NdrError::Invalid("the address of a tower"))?;
        let (port, address) = (u16::from_be_bytes(port), address.into());
        Ok(Some(Self { interface, transfer, port, address }))
    }

    /// The octets.
    #[must_use]
    pub fn to_octets(&self) -> Vec<u8> {
        let mut octets = 5_u16.to_le_bytes().to_vec();
        for syntax in [self.interface, self.transfer] {
            let left = [&[UUID_FLOOR][..], &syntax.uuid.0, &syntax.major.to_le_bytes()].concat();
            push_floor(&mut octets, &left, &syntax.minor.to_le_bytes());
        }
        push_floor(&mut octets, &[RPC_CONNECTION], &[0, 0]);
        push_floor(&mut octets, &[TCP], &self.port.to_be_bytes());
        push_floor(&mut octets, &[IP], &self.address.octets());
        octets
    }
}

/// Towers are not aligned.
fn plain_u16(reader: &mut Reader<'_>) -> Result<u16, NdrError> {
    Ok(u16::from_le_bytes([reader.u8()?, reader.u8()?]))
}

fn floor<'a>(reader: &mut Reader<'a>) -> Result<(&'a [u8], &'a [u8]), NdrError> {
    let left = plain_u16(reader)?;
    let left = reader.octets(usize::from(left))?;
    let right = plain_u16(reader)?;
    Ok((left, reader.octets(usize::from(right))?))
}

fn uuid_floor(reader: &mut Reader<'_>) -> Result<Syntax, NdrError> {
    let bad = NdrError::Invalid("the interface of a tower");
    let (left, right) = floor(reader)?;
    let rest = left.strip_prefix(&[UUID_FLOOR]).ok_or(bad)?;
    let (uuid, major) = rest.split_first_chunk().ok_or(bad)?;
    let major = u16::from_le_bytes(major.try_into().map_err(|_| bad)?);
    let minor = u16::from_le_bytes(right.try_into().map_err(|_| bad)?);
    Ok(Syntax { uuid: Uuid(*uuid), major, minor })
}

fn push_floor(octets: &mut Vec<u8>, left: &[u8], right: &[u8]) {
    for part in [left, right] {
        octets.extend(crate::pdu::u16_of(part.len()).to_le_bytes());
        octets.extend_from_slice(part);
    }
}

/// The arguments of `ept_map` for an interface over TCP.
#[must_use]
pub fn map_request(interface: Interface) -> Vec<u8> {
    let (interface, transfer) = (interface.syntax(), Syntax::NDR);
    let tower = Tower { interface, transfer, port: 0, address: Ipv4Addr::UNSPECIFIED }.to_octets();
    let mut writer = Writer::new();
    // Full pointers, whose numbers are 1 and 2: some servers take no others.
    writer.u32(1).uuid(Uuid::NIL);
    writer.u32(2).count(tower.len()).sized_octets(&tower).align(4);
    // No context handle yet; at most four towers.
    writer.octets(&[0; 20]).u32(4);
    writer.finish()
}

/// The interface that an `ept_map` asks for.
///
/// # Errors
/// If the arguments cannot be read.
pub fn parse_map_request(stub: &[u8]) -> Result<Syntax, NdrError> {
    parse_limited_map_request(stub).map(|(interface, _)| interface)
}

/// The same, and how many towers the client takes: its own decoder wants that number back.
///
/// # Errors
/// If the arguments cannot be read.
pub fn parse_limited_map_request(stub: &[u8]) -> Result<(Syntax, u32), NdrError> {
    let mut reader = Reader::new(stub);
    if reader.pointer()? {
        reader.uuid()?;
    }
    if !reader.pointer()? {
        return Err(NdrError::Null("the tower"));
    }
    let tower = read_tower(&mut reader)?;
    let mut floors = Reader::new(tower);
    plain_u16(&mut floors)?;
    let interface = uuid_floor(&mut floors)?;
    reader.align(4)?;
    // The handle of a search that goes on.
    reader.octets(20)?;
    Ok((interface, reader.u32()?))
}

/// A `twr_t`: the count, the length, the octets.
fn read_tower<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], NdrError> {
    let count = reader.count("a tower", MAX_TOWER)?;
    let length = reader.u32()?;
    if usize::try_from(length) != Ok(count) {
        return Err(NdrError::Invalid("the length of a tower"));
    }
    reader.octets(count)
}

/// The results of `ept_map`: where an interface is served, over TCP; none, if it is not.
///
/// # Errors
/// If they cannot be read.
pub fn parse_map_response(stub: &[u8]) -> Result<Vec<Tower>, RpcError> {
    let mut reader = Reader::new(stub);
    reader.octets(20)?;
    let count = reader.u32()?;
    reader.u32()?;
    reader.u32()?;
    let actual = reader.count("the list of towers", MAX_TOWERS)?;
    if usize::try_from(count) != Ok(actual) {
        return Err(NdrError::Invalid("the number of towers").into());
    }
    let present = (0..actual).map(|_| reader.pointer()).collect::<Result<Vec<_>, _>>()?;
    let mut towers = Vec::new();
    for _ in present.into_iter().filter(|present| *present) {
        towers.extend(Tower::parse(read_tower(&mut reader)?)?);
    }
    // The status says the same as the number of towers.
    reader.u32()?;
    Ok(towers)
}

/// The port of an interface among the results of `ept_map`.
///
/// # Errors
/// If they cannot be read.
pub fn port(stub: &[u8], interface: Interface) -> Result<Option<u16>, RpcError> {
    let towers = parse_map_response(stub)?;
    let asked = interface.syntax();
    let found = towers.iter().find(|tower| {
        tower.interface.uuid == asked.uuid
            && tower.interface.major == asked.major
            && tower.transfer == Syntax::NDR
            && tower.port != 0
    });
    Ok(found.map(|tower| tower.port))
}

/// The results of `ept_map` as octets.
#[must_use]
pub fn map_response(towers: &[Tower]) -> Vec<u8> {
    limited_map_response(towers, MAX_TOWERS)
}

/// The same for a client that takes `limit` towers at most.
#[must_use]
pub fn limited_map_response(towers: &[Tower], limit: u32) -> Vec<u8> {
    let room = usize::try_from(limit).unwrap_or(usize::MAX).min(towers.len());
    let towers = towers.get(..room).unwrap_or_default();
    let mut writer = Writer::new();
    writer.octets(&[0; 20]).count(towers.len()).u32(limit).u32(0).count(towers.len());
    for _ in towers {
        writer.pointer(true);
    }
    for tower in towers {
        let octets = tower.to_octets();
        writer.count(octets.len()).sized_octets(&octets).align(4);
    }
    writer.u32(if towers.is_empty() { NOT_REGISTERED } else { 0 });
    writer.finish()
}
