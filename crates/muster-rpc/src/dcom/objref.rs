//! OBJREF (MS-DCOM 2.2.18): a reference to an object, or data in the form of one.

use crate::dcom::DualStringArray;
use crate::ndr::{NdrError, Reader, Writer};
use crate::uuid::Uuid;

const SIGNATURE: &[u8; 4] = b"MEOW";
const STANDARD: u32 = 1;
const CUSTOM: u32 = 4;

/// STDOBJREF and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandardRef {
    /// The interface.
    pub iid: Uuid,
    /// References that are held for us, and are released at the end.
    pub public_references: u32,
    /// The exporter of the object.
    pub oxid: u64,
    /// The object.
    pub oid: u64,
    /// The interface of the object: what calls are made to.
    pub ipid: Uuid,
    /// The resolver of the exporter.
    pub resolver: DualStringArray,
}

/// Data of a class that has its own form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomRef {
    /// The interface.
    pub iid: Uuid,
    /// The class that understands the data.
    pub clsid: Uuid,
    /// The data.
    pub data: Vec<u8>,
}

/// The two kinds that occur.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjRef {
    /// `OBJREF_STANDARD`.
    Standard(StandardRef),
    /// `OBJREF_CUSTOM`.
    Custom(CustomRef),
}

impl ObjRef {
    /// Reads one.
    ///
    /// # Errors
    /// If it is none, or of another kind.
    pub fn parse(octets: &[u8]) -> Result<Self, NdrError> {
        let mut reader = Reader::new(octets);
        if reader.octets(4)? != SIGNATURE {
            return Err(NdrError::Invalid("the signature of an object reference"));
        }
        let kind = reader.u32()?;
        let iid = reader.uuid()?;
        match kind {
            STANDARD => {
                let _flags = reader.u32()?;
                let public_references = reader.u32()?;
                let (oxid, oid, ipid) = (reader.u64()?, reader.u64()?, reader.uuid()?);
                let resolver = DualStringArray::read(&mut reader)?;
                Ok(Self::Standard(StandardRef { iid, public_references, oxid, oid, ipid, resolver }))
            }
            CUSTOM => {
                let clsid = reader.uuid()?;
                let extension = reader.u32()?;
                // The size of the rest; implementations count differently, and it ends with the octets anyway.
                let _size = reader.u32()?;
                if extension != 0 {
                    return Err(NdrError::Invalid("the extension of an object reference"));
                }
                Ok(Self::Custom(CustomRef { iid, clsid, data: reader.rest().to_vec() }))
            }
            _ => Err(NdrError::Invalid("the kind of an object reference")),
        }
    }

    /// The octets.
    #[must_use]
    pub fn to_octets(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.octets(SIGNATURE);
        match self {
            Self::Standard(one) => {
                writer.u32(STANDARD).uuid(one.iid).u32(0).u32(one.public_references);
                writer.u64(one.oxid).u64(one.oid).uuid(one.ipid);
                one.resolver.write(&mut writer);
            }
            Self::Custom(one) => {
                writer.u32(CUSTOM).uuid(one.iid).uuid(one.clsid).u32(0);
                writer.count(one.data.len() + 8).octets(&one.data);
            }
        }
        writer.finish()
    }
}
