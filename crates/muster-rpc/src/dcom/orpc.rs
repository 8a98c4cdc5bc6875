//! ORPC (MS-DCOM 2.2.13, 3.1.1.5): what stands before the arguments of calls to objects; ServerAlive2 and RemRelease.

use crate::client::RpcError;
use crate::dcom::{DualStringArray, StandardRef};
use crate::ndr::{NdrError, Reader, Writer};
use crate::status::HResult;
use crate::uuid::Uuid;

/// `IObjectExporter::ServerAlive2`, which has no arguments.
pub const ALIVE2: u16 = 5;
/// `IObjectExporter::SimplePing`.
pub const SIMPLE_PING: u16 = 1;
/// `IObjectExporter::ComplexPing`.
pub const COMPLEX_PING: u16 = 2;
/// `IObjectExporter::ServerAlive`, which has neither arguments nor results but its status.
pub const ALIVE: u16 = 3;
/// `IRemUnknown::RemQueryInterface`.
pub const QUERY_INTERFACE: u16 = 3;
/// `IRemUnknown::RemAddRef`.
pub const ADD_REFERENCES: u16 = 4;
/// `IRemUnknown::RemRelease`.
pub const RELEASE: u16 = 5;

/// Interfaces that are asked for, or referred to, in one call.
const MAX_INTERFACES: u32 = 64;

const MAX_EXTENSIONS: u32 = 16;
const MAX_EXTENSION: u32 = 1 << 16;

/// COMVERSION.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 5.
    pub major: u16,
    /// 7 today, 6 before.
    pub minor: u16,
}

impl Version {
    /// The newest.
    pub const NEWEST: Self = Self { major: 5, minor: 7 };

    /// What to speak with a server of this version: the lower one of both.
    ///
    /// # Errors
    /// [`NdrError::Invalid`], if its major version is another one.
    pub fn common(self) -> Result<Self, NdrError> {
        if self.major == Self::NEWEST.major {
            Ok(self.min(Self::NEWEST))
        } else {
            Err(NdrError::Invalid("the version of DCOM"))
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, NdrError> {
        Ok(Self { major: reader.u16()?, minor: reader.u16()? })
    }

    pub(crate) fn write(self, writer: &mut Writer) {
        writer.u16(self.major).u16(self.minor);
    }
}

fn write_this(writer: &mut Writer, version: Version, causality: Uuid) {
    version.write(writer);
    // Flags, reserved; no extensions.
    writer.u32(0).u32(0).uuid(causality).pointer(false);
}

/// ORPCTHIS and the arguments of a call to an object, written by `arguments`.
#[must_use]
pub fn this(version: Version, causality: Uuid, arguments: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::new();
    write_this(&mut writer, version, causality);
    arguments(&mut writer);
    writer.finish()
}

/// The version of a caller of an object; the reader goes on with the arguments.
///
/// # Errors
/// If it cannot be read.
pub fn parse_this(reader: &mut Reader<'_>) -> Result<Version, NdrError> {
    let version = Version::read(reader)?;
    reader.u32()?;
    reader.u32()?;
    reader.uuid()?;
    extensions(reader)?;
    Ok(version)
}

/// ORPCTHAT without extensions, and the results of a call, written by `results`.
#[must_use]
pub fn that(results: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.u32(0).pointer(false);
    results(&mut writer);
    writer.finish()
}

pub(crate) fn read_that(reader: &mut Reader<'_>) -> Result<(), NdrError> {
    reader.u32()?;
    extensions(reader)
}

/// Skips ORPC_EXTENT_ARRAY, which may carry words about an error that nobody needs.
fn extensions(reader: &mut Reader<'_>) -> Result<(), NdrError> {
    if !reader.pointer()? {
        return Ok(());
    }
    let _size = reader.u32()?;
    let _reserved = reader.u32()?;
    if !reader.pointer()? {
        return Ok(());
    }
    let count = reader.count("the extensions of a call", MAX_EXTENSIONS)?;
    let present = (0..count).map(|_| reader.pointer()).collect::<Result<Vec<_>, _>>()?;
    for _ in present.into_iter().filter(|present| *present) {
        let length = reader.count("an extension of a call", MAX_EXTENSION)?;
        reader.uuid()?;
        reader.u32()?;
        reader.octets(length)?;
    }
    Ok(())
}

/// What `ServerAlive2` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAlive {
    /// The server's version.
    pub version: Version,
    /// Its resolver's addresses.
    pub bindings: DualStringArray,
}

/// The results of `ServerAlive2`.
///
/// # Errors
/// If they cannot be read.
pub fn parse_alive_response(stub: &[u8]) -> Result<ServerAlive, RpcError> {
    let mut reader = Reader::new(stub);
    let version = Version::read(&mut reader)?;
    let bindings = if reader.pointer()? {
        DualStringArray::read_conformant(&mut reader)?
    } else {
        DualStringArray::default()
    };
    reader.u32()?;
    let status = reader.u32()?;
    if status != 0 {
        return Err(NdrError::Invalid("the status of ServerAlive2").into());
    }
    Ok(ServerAlive { version, bindings })
}

/// The results of `ServerAlive2` as octets.
#[must_use]
pub fn alive_response(alive: &ServerAlive) -> Vec<u8> {
    let mut writer = Writer::new();
    alive.version.write(&mut writer);
    writer.pointer(true);
    alive.bindings.write_conformant(&mut writer);
    writer.u32(0).u32(0);
    writer.finish()
}

/// The arguments of `RemRelease` for one interface of an object.
#[must_use]
pub fn release_request(version: Version, causality: Uuid, ipid: Uuid, references: u32) -> Vec<u8> {
    this(version, causality, |writer| {
        writer.u16(1).u32(1).uuid(ipid).u32(references).u32(0);
    })
}

/// What a `RemRelease` releases: interface and references.
///
/// # Errors
/// If the arguments cannot be read.
pub fn parse_release(stub: &[u8]) -> Result<Vec<(Uuid, u32)>, NdrError> {
    let mut reader = Reader::new(stub);
    parse_this(&mut reader)?;
    reader.u16()?;
    let count = reader.count("the references to release", MAX_INTERFACES)?;
    let one = |reader: &mut Reader<'_>| {
        let (ipid, public) = (reader.uuid()?, reader.u32()?);
        reader.u32()?;
        Ok((ipid, public))
    };
    (0..count).map(|_| one(&mut reader)).collect()
}

/// The results of `RemRelease`.
///
/// # Errors
/// If they cannot be read.
pub fn parse_release_response(stub: &[u8]) -> Result<HResult, RpcError> {
    let mut reader = Reader::new(stub);
    read_that(&mut reader)?;
    Ok(HResult(reader.u32()?))
}

/// The status of `SimplePing` and `ServerAlive` as octets: success.
#[must_use]
pub fn status_response() -> Vec<u8> {
    vec![0; 4]
}

/// The results of `ComplexPing` as octets: the number of the set, and no wish for fewer pings.
#[must_use]
pub fn ping_response(set: u64) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.u64(set).u16(0).u32(0);
    writer.finish()
}

/// What a `RemQueryInterface` asks for: an interface of the object, how many references, and the other interfaces.
///
/// # Errors
/// If the arguments cannot be read.
pub fn parse_query_interface(stub: &[u8]) -> Result<(Uuid, u32, Vec<Uuid>), NdrError> {
    const WHAT: &str = "the interfaces";
    let mut reader = Reader::new(stub);
    parse_this(&mut reader)?;
    let (ipid, references, said) = (reader.uuid()?, reader.u32()?, reader.u16()?);
    let count = reader.count(WHAT, MAX_INTERFACES)?;
    if usize::from(said) != count {
        return Err(NdrError::Invalid(WHAT));
    }
    Ok((ipid, references, (0..count).map(|_| reader.uuid()).collect::<Result<_, _>>()?))
}

/// The results of `RemQueryInterface` as octets: for each interface a reference, or why there is none.
#[must_use]
pub fn query_interface_response(results: &[Result<StandardRef, HResult>]) -> Vec<u8> {
    that(|writer| {
        writer.pointer(true).count(results.len());
        for result in results {
            writer.align(8);
            match result {
                Ok(found) => {
                    writer.u32(HResult::OK.0).align(8).u32(0).u32(found.public_references);
                    writer.u64(found.oxid).u64(found.oid).uuid(found.ipid);
                }
                Err(result) => {
                    writer.u32(result.0).align(8).octets(&[0; 40]);
                }
            }
        }
        let first = results.iter().find_map(|result| result.as_ref().err());
        let none = results.iter().all(Result::is_err);
        // S_FALSE, if some are there and some are not.
        writer.u32(match first {
            None => HResult::OK.0,
            Some(_) if !none => 1,
            Some(result) => result.0,
        });
    })
}

/// The results of `RemAddRef` as octets, for so many references.
#[must_use]
pub fn add_references_response(count: usize) -> Vec<u8> {
    that(|writer| {
        writer.count(count);
        for _ in 0..count {
            writer.u32(HResult::OK.0);
        }
        writer.u32(HResult::OK.0);
    })
}
