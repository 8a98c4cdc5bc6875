//! `IRemoteSCMActivator::RemoteCreateInstance` (MS-DCOM 3.1.2.5.2.3.3): from the class of an object to an interface of it.
//!
//! Arguments and results are lists of properties, each encoded by itself (MS-DCOM 2.2.22), inside of an OBJREF.

use crate::client::RpcError;
use crate::dcom::{CustomRef, DualStringArray, ObjRef, StandardRef, TCP, Version, orpc};
use crate::ndr::{NdrError, Reader, Writer};
use crate::status::HResult;
use crate::uuid::Uuid;

/// The method.
pub const CREATE_INSTANCE: u16 = 4;

/// The names of the standard's classes and interfaces end alike.
const fn standard(first: u32) -> Uuid {
    let [a, b, c, d] = first.to_le_bytes();
    Uuid([a, b, c, d, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46])
}

const PROPERTIES_IN: Uuid = standard(0x338);
const PROPERTIES_OUT: Uuid = standard(0x339);
const IID_PROPERTIES_IN: Uuid = standard(0x1a2);
const IID_PROPERTIES_OUT: Uuid = standard(0x1a3);
const LOCATION: Uuid = standard(0x1a4);
const CONTEXT: Uuid = standard(0x1a5);
const SCM_REQUEST: Uuid = standard(0x1aa);
const INSTANTIATION: Uuid = standard(0x1ab);
const SCM_REPLY: Uuid = standard(0x1b6);

/// Properties of one activation.
const MAX_PROPERTIES: u32 = 16;
/// Interfaces of one activation.
const MAX_INTERFACES: u32 = 16;

/// An object that was activated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activated {
    /// The interface that was asked for.
    pub interface: StandardRef,
    /// Where its exporter is.
    pub bindings: DualStringArray,
    /// The exporter's `IRemUnknown`.
    pub rem_unknown: Uuid,
    /// The version to speak with it.
    pub version: Version,
}

/// What came of an activation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Activation {
    /// The object is there.
    Done(Box<Activated>),
    /// There is no such class, no such interface, or it could not be started.
    Failed(HResult),
}

/// `Type Serialization 1` (MS-RPCE 2.2.6): one value with two headers before it, padded to eight octets.
fn serialized(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::new();
    write(&mut writer);
    writer.align(8);
    let body = writer.finish();
    let mut framed = Writer::new();
    framed.octets(&[1, 0x10, 8, 0, 0xcc, 0xcc, 0xcc, 0xcc]).count(body.len()).u32(0).octets(&body);
    framed.finish()
}

/// A reader of the value behind the two headers, in octets that begin with them.
fn deserialized(octets: &[u8]) -> Result<Reader<'_>, NdrError> {
    let mut reader = Reader::new(octets);
    let header = [reader.u8()?, reader.u8()?, reader.u8()?];
    if header != [1, 0x10, 8] {
        return Err(NdrError::Invalid("the encoding of a property"));
    }
    reader.octets(5)?;
    let length = reader.count("a property", u32::MAX)?;
    reader.u32()?;
    Ok(Reader::new(reader.octets(length)?))
}

/// The list of properties with its header (MS-DCOM 2.2.22.1, `CustomHeader`).
fn blob(properties: &[(Uuid, Vec<u8>)]) -> Vec<u8> {
    let total: usize = properties.iter().map(|(_, octets)| octets.len()).sum();
    let header = |length: usize| {
        serialized(|writer| {
            writer.count(length + total).count(length).u32(0).u32(2).count(properties.len()).uuid(Uuid::NIL);
            writer.pointer(true).pointer(true).pointer(false);
            writer.count(properties.len());
            for (class, _) in properties {
                writer.uuid(*class);
            }
            writer.count(properties.len());
            for (_, octets) in properties {
                writer.count(octets.len());
            }
        })
    };
    let header = header(header(0).len());
    let mut writer = Writer::new();
    writer.count(header.len() + total).u32(0).octets(&header);
    for (_, octets) in properties {
        writer.octets(octets);
    }
    writer.finish()
}

/// The properties of a list, each still encoded.
fn properties(blob: &[u8]) -> Result<Vec<(Uuid, &[u8])>, NdrError> {
    const WHAT: &str = "the list of properties";
    let mut reader = Reader::new(blob);
    reader.u32()?;
    reader.u32()?;
    let rest = reader.rest();
    let mut header = deserialized(rest)?;
    let _total = header.u32()?;
    let length = header.count(WHAT, u32::MAX)?;
    let (_reserved, _context) = (header.u32()?, header.u32()?);
    let count = header.count(WHAT, MAX_PROPERTIES)?;
    header.uuid()?;
    let (classes, sizes) = (header.pointer()?, header.pointer()?);
    header.pointer()?;
    if !classes || !sizes || header.count(WHAT, MAX_PROPERTIES)? != count {
        return Err(NdrError::Invalid(WHAT));
    }
    let classes = (0..count).map(|_| header.uuid()).collect::<Result<Vec<_>, _>>()?;
    if header.count(WHAT, MAX_PROPERTIES)? != count {
        return Err(NdrError::Invalid(WHAT));
    }
    let mut found = Vec::new();
    let mut octets = Reader::new(rest);
    octets.octets(length)?;
    for class in classes {
        let size = header.count("a property", u32::MAX)?;
        found.push((class, octets.octets(size)?));
    }
    Ok(found)
}

fn find<'a>(
    properties: &[(Uuid, &'a [u8])],
    class: Uuid,
    what: &'static str,
) -> Result<Reader<'a>, NdrError> {
    let found = properties.iter().find(|(found, _)| *found == class).ok_or(NdrError::Null(what))?;
    deserialized(found.1)
}

/// A pointer to an `MInterfacePointer` with an OBJREF in it.
fn write_interface(writer: &mut Writer, reference: &ObjRef) {
    let octets = reference.to_octets();
    writer.count(octets.len()).sized_octets(&octets).align(4);
}

/// `MInterfacePointer`: the count, the length, the octets.
fn read_interface(reader: &mut Reader<'_>) -> Result<ObjRef, NdrError> {
    let count = reader.u32()?;
    let length = reader.u32()?;
    if count != length {
        return Err(NdrError::Invalid("the length of an interface pointer"));
    }
    let length =
        usize::try_from(length).map_err(|_| NdrError::Invalid("the length of an interface pointer"))?;
    ObjRef::parse(reader.octets(length)?)
}

/// The arguments that ask for one interface of a class. `causality` is new for every call.
#[must_use]
pub fn request(class: Uuid, interface: Uuid, version: Version, causality: Uuid) -> Vec<u8> {
    let instantiation = |size: usize| {
        serialized(|writer| {
            // Any context, no surrogate, one interface.
            writer.uuid(class).u32(0x10).u32(0).u32(0).u32(1).u32(0).pointer(true).count(size);
            version.write(writer);
            writer.u32(1).uuid(interface);
        })
    };
    let instantiation = instantiation(instantiation(0).len());
    // No context of the client's to be in.
    let client = serialized(|writer| {
        writer.u32(0).u32(0).u32(0).u32(0).pointer(false).pointer(false);
    });
    let location = serialized(|writer| {
        writer.pointer(false).u32(0).u32(0).u32(0);
    });
    let scm = serialized(|writer| {
        // Impersonation level "identify", one protocol.
        writer.pointer(false).pointer(true).u32(2).u16(1).pointer(true).u32(1).u16(TCP);
    });
    let data =
        blob(&[(INSTANTIATION, instantiation), (CONTEXT, client), (LOCATION, location), (SCM_REQUEST, scm)]);
    let reference = ObjRef::Custom(CustomRef { iid: IID_PROPERTIES_IN, clsid: PROPERTIES_IN, data });
    orpc::this(version, causality, |writer| {
        writer.pointer(false).pointer(true);
        write_interface(writer, &reference);
    })
}

/// Class and interfaces that an activation asks for.
///
/// # Errors
/// If the arguments cannot be read.
pub fn parse_request(stub: &[u8]) -> Result<(Uuid, Vec<Uuid>), NdrError> {
    let mut reader = Reader::new(stub);
    orpc::parse_this(&mut reader)?;
    if reader.pointer()? {
        return Err(NdrError::Invalid("an outer object"));
    }
    if !reader.pointer()? {
        return Err(NdrError::Null("the list of properties"));
    }
    let ObjRef::Custom(custom) = read_interface(&mut reader)? else {
        return Err(NdrError::Invalid("the list of properties"));
    };
    let properties = properties(&custom.data)?;
    let mut info = find(&properties, INSTANTIATION, "the class")?;
    let class = info.uuid()?;
    info.octets(12)?;
    let count = info.count("the interfaces", MAX_INTERFACES)?;
    info.u32()?;
    let present = info.pointer()?;
    info.u32()?;
    Version::read(&mut info)?;
    if !present || info.count("the interfaces", MAX_INTERFACES)? != count {
        return Err(NdrError::Invalid("the interfaces"));
    }
    Ok((class, (0..count).map(|_| info.uuid()).collect::<Result<_, _>>()?))
}

/// The results of an activation that asked for `interface`.
///
/// # Errors
/// If they cannot be read.
pub fn parse_response(stub: &[u8], interface: Uuid) -> Result<Activation, RpcError> {
    let mut reader = Reader::new(stub);
    orpc::read_that(&mut reader)?;
    let reference = if reader.pointer()? { Some(read_interface(&mut reader)?) } else { None };
    let result = HResult(reader.u32()?);
    if !result.is_success() {
        return Ok(Activation::Failed(result));
    }
    let Some(ObjRef::Custom(custom)) = reference else {
        return Err(NdrError::Null("the list of properties").into());
    };
    let properties = properties(&custom.data)?;
    let mut out = find(&properties, PROPERTIES_OUT, "the interfaces")?;
    let found = match interfaces(&mut out, interface)? {
        Ok(found) => found,
        Err(result) => return Ok(Activation::Failed(result)),
    };
    let mut reply = find(&properties, SCM_REPLY, "the exporter")?;
    let _reserved = reply.pointer()?;
    if !reply.pointer()? {
        return Err(NdrError::Null("the exporter").into());
    }
    let _oxid = reply.u64()?;
    let has_bindings = reply.pointer()?;
    let rem_unknown = reply.uuid()?;
    let _hint = reply.u32()?;
    let version = Version::read(&mut reply)?.common()?;
    if !has_bindings {
        return Err(NdrError::Null("the exporter's addresses").into());
    }
    let bindings = DualStringArray::read_conformant(&mut reply)?;
    Ok(Activation::Done(Box::new(Activated { interface: found, bindings, rem_unknown, version })))
}

/// `PropsOutInfo`: the interface that was asked for, or why it is not there.
fn interfaces(out: &mut Reader<'_>, wanted: Uuid) -> Result<Result<StandardRef, HResult>, NdrError> {
    const WHAT: &str = "the interfaces";
    let count = out.count(WHAT, MAX_INTERFACES)?;
    let pointers = [out.pointer()?, out.pointer()?, out.pointer()?];
    if pointers != [true; 3] {
        return Err(NdrError::Null(WHAT));
    }
    if out.count(WHAT, MAX_INTERFACES)? != count {
        return Err(NdrError::Invalid(WHAT));
    }
    let iids = (0..count).map(|_| out.uuid()).collect::<Result<Vec<_>, _>>()?;
    if out.count(WHAT, MAX_INTERFACES)? != count {
        return Err(NdrError::Invalid(WHAT));
    }
    let results = (0..count).map(|_| out.u32().map(HResult)).collect::<Result<Vec<_>, _>>()?;
    if out.count(WHAT, MAX_INTERFACES)? != count {
        return Err(NdrError::Invalid(WHAT));
    }
    let present = (0..count).map(|_| out.pointer()).collect::<Result<Vec<_>, _>>()?;
    for ((iid, result), present) in iids.into_iter().zip(results).zip(present) {
        let reference = if present { Some(read_interface(out)?) } else { None };
        if iid != wanted {
            continue;
        }
        if !result.is_success() {
            return Ok(Err(result));
        }
        return match reference {
            Some(ObjRef::Standard(found)) if found.iid == wanted => Ok(Ok(found)),
            Some(ObjRef::Standard(_) | ObjRef::Custom(_)) | None => Err(NdrError::Invalid(WHAT)),
        };
    }
    Err(NdrError::Null(WHAT))
}

/// The results of an activation as octets.
#[must_use]
pub fn response(activation: &Activation) -> Vec<u8> {
    match activation {
        Activation::Failed(result) => orpc::that(|writer| {
            writer.pointer(false).u32(result.0);
        }),
        Activation::Done(done) => {
            let interface = (done.interface.iid, Ok(done.interface.clone()));
            created(&[interface], &done.bindings, done.rem_unknown, done.version)
        }
    }
}

/// The results of an activation that asked for several interfaces, as octets: for each a reference, or why there is none.
#[must_use]
pub fn created(
    interfaces: &[(Uuid, Result<StandardRef, HResult>)],
    bindings: &DualStringArray,
    rem_unknown: Uuid,
    version: Version,
) -> Vec<u8> {
    let found = || interfaces.iter().filter_map(|(_, result)| result.as_ref().ok());
    let Some(first) = found().next() else {
        return response(&Activation::Failed(HResult::NO_INTERFACE));
    };
    let out = serialized(|writer| {
        writer.count(interfaces.len()).pointer(true).pointer(true).pointer(true).count(interfaces.len());
        for (iid, _) in interfaces {
            writer.uuid(*iid);
        }
        writer.count(interfaces.len());
        for (_, result) in interfaces {
            writer.u32(result.as_ref().err().map_or(HResult::OK.0, |result| result.0));
        }
        writer.count(interfaces.len());
        for (_, result) in interfaces {
            writer.pointer(result.is_ok());
        }
        for interface in found() {
            write_interface(writer, &ObjRef::Standard(interface.clone()));
        }
    });
    let reply = serialized(|writer| {
        writer.pointer(false).pointer(true);
        writer.u64(first.oxid).pointer(true).uuid(rem_unknown).u32(6);
        version.write(writer);
        bindings.write_conformant(writer);
    });
    let data = blob(&[(PROPERTIES_OUT, out), (SCM_REPLY, reply)]);
    let reference = ObjRef::Custom(CustomRef { iid: IID_PROPERTIES_OUT, clsid: PROPERTIES_OUT, data });
    let all = found().count() == interfaces.len();
    orpc::that(|writer| {
        writer.pointer(true);
        write_interface(writer, &reference);
        // CO_S_NOTALLINTERFACES.
        writer.u32(if all { HResult::OK.0 } else { 0x0008_0012 });
    })
}
