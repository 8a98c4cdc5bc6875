//! The calls for certificates: `ICertRequestD` and `ICertRequestD2` (MS-WCCE 3.2.1.4) as methods of an object, and
//! `ICertPassage` (MS-ICPR) as a plain interface with one method.

mod attributes;
mod property;
mod request;

pub use attributes::{
    AttributeError, AuthorityName, RequestAttributes, TemplateName, attribute_lines, sanitized,
    sanitized_short,
};
pub use property::{
    CaInfo, PropertyId, PropertyType, ca_certificate, ca_property, parse_ca_certificate, parse_ca_property,
    parse_octets, parse_ping, parse_pong, ping, ping_response, property_info_response, property_lines,
    property_response, property_text,
};
pub use request::{CertReply, CertRequest, Disposition, Form, RequestFlags};

use crate::ndr::{NdrError, Reader, Writer};
use crate::uuid::Uuid;

/// The class of the authority's object, `CCertRequestD`.
pub const CLASS: Uuid = Uuid::new(0xd99e6e74_fc88_11d0_b498_00a0c90312f3);

/// `ICertPassage::CertServerRequest`.
pub const CERT_SERVER_REQUEST: u16 = 0;
/// `ICertRequestD::Request`.
pub const REQUEST: u16 = 3;
/// `ICertRequestD::GetCACert`.
pub const GET_CA_CERT: u16 = 4;
/// `ICertRequestD::Ping`.
pub const PING: u16 = 5;
/// `ICertRequestD2::Request2`.
pub const REQUEST2: u16 = 6;
/// `ICertRequestD2::GetCAProperty`.
pub const GET_CA_PROPERTY: u16 = 7;
/// `ICertRequestD2::GetCAPropertyInfo`.
pub const GET_CA_PROPERTY_INFO: u16 = 8;
/// `ICertRequestD2::Ping2`.
pub const PING2: u16 = 9;

/// `[range(1, 1536)]` of texts, with their NUL.
const MAX_TEXT: u32 = 1_536;
/// `[range(1, 64)]` of serial numbers, with their NUL.
const MAX_SERIAL: u32 = 64;

/// An inline `CERTTRANSBLOB` (MS-WCCE 2.2.2.2); empty is a null pointer.
fn write_blob(writer: &mut Writer, octets: &[u8]) {
    writer.count(octets.len()).pointer(!octets.is_empty());
    if !octets.is_empty() {
        writer.sized_octets(octets).align(4);
    }
}

pub(crate) fn read_blob<'a>(reader: &mut Reader<'a>, what: &'static str) -> Result<&'a [u8], NdrError> {
    let length = reader.u32()?;
    if !reader.pointer()? {
        return if length == 0 { Ok(&[]) } else { Err(NdrError::Null(what)) };
    }
    reader.sized_octets(what, length)
}

/// Texts in blobs are UTF-16 that ends with NUL. An authority's words are for people: what is no character, or controls a
/// terminal, is replaced.
pub(crate) fn words(octets: &[u8]) -> String {
    let (pairs, _) = octets.as_chunks::<2>();
    let units = pairs.iter().copied().map(u16::from_le_bytes).take_while(|unit| *unit != 0);
    let text = char::decode_utf16(units).map(|character| character.unwrap_or(char::REPLACEMENT_CHARACTER));
    let text = text.map(|character| if character.is_control() { ' ' } else { character });
    text.take(2_048).collect::<String>().trim().to_owned()
}
