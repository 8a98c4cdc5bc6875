//! What an authority says of itself: `GetCAProperty`, `GetCACert`, `Ping` and `Ping2`.

use crate::client::RpcError;
use crate::dcom::{Version, parse_this, read_that, that, this};
use crate::ndr::{NdrError, Reader};
use crate::status::HResult;
use crate::uuid::Uuid;
use crate::wcce::{MAX_TEXT, read_blob, words, write_blob};

/// Properties that are asked for here (MS-WCCE 3.2.1.4.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PropertyId {
    /// The name.
    Name,
    /// The sanitized name.
    SanitizedName,
    /// Standalone or enterprise, root or subordinate.
    Kind,
    /// The signing certificate; index `u32::MAX` is the newest.
    SigningCertificate,
    /// Its chain.
    Chain,
    /// The certificate to encrypt keys for the authority with.
    ExchangeCertificate,
    /// The host name.
    DnsName,
    /// The templates: names and object identifiers, a line each.
    Templates,
    /// How many signing certificates there are.
    SigningCertificateCount,
    /// How many exchange certificates there are.
    ExchangeCertificateCount,
    /// The sanitized name in its short form.
    SanitizedShortName,
}

/// How a property is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PropertyType {
    /// A number.
    Long,
    /// Octets.
    Binary,
    /// A text.
    Text,
}

impl PropertyId {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Name,
        Self::SanitizedName,
        Self::Kind,
        Self::SigningCertificate,
        Self::Chain,
        Self::ExchangeCertificate,
        Self::DnsName,
        Self::Templates,
        Self::SigningCertificateCount,
        Self::ExchangeCertificateCount,
        Self::SanitizedShortName,
    ];

    /// The property with this number.
    #[must_use]
    pub fn of(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|property| property.codes().0 == number)
    }

    /// Number and encoding.
    #[must_use]
    pub const fn codes(self) -> (u32, PropertyType) {
        match self {
            Self::Name => (0x06, PropertyType::Text),
            Self::SanitizedName => (0x07, PropertyType::Text),
            Self::Kind => (0x0a, PropertyType::Long),
            Self::SigningCertificate => (0x0c, PropertyType::Binary),
            Self::Chain => (0x0d, PropertyType::Binary),
            Self::ExchangeCertificate => (0x0f, PropertyType::Binary),
            Self::DnsName => (0x16, PropertyType::Text),
            Self::Templates => (0x1d, PropertyType::Text),
            Self::SigningCertificateCount => (0x0b, PropertyType::Long),
            Self::ExchangeCertificateCount => (0x0e, PropertyType::Long),
            Self::SanitizedShortName => (0x28, PropertyType::Text),
        }
    }
}

impl PropertyType {
    /// The number of the encoding.
    #[must_use]
    pub const fn code(self) -> u32 {
        match self {
            Self::Long => 1,
            Self::Binary => 3,
            Self::Text => 4,
        }
    }
}

/// The arguments of `GetCAProperty`.
#[must_use]
pub fn ca_property(
    version: Version,
    causality: Uuid,
    authority: &str,
    property: PropertyId,
    index: u32,
) -> Vec<u8> {
    let (id, encoding) = property.codes();
    this(version, causality, |writer| {
        writer.optional_string(Some(authority)).u32(id).u32(index).u32(encoding.code());
    })
}

/// Authority, property, index and type that a `GetCAProperty` asks for.
///
/// # Errors
/// If the arguments cannot be read.
pub fn parse_ca_property(stub: &[u8]) -> Result<(Option<String>, u32, u32, u32), NdrError> {
    let mut reader = Reader::new(stub);
    parse_this(&mut reader)?;
    let authority = reader.optional_string("the authority", MAX_TEXT)?;
    Ok((authority, reader.u32()?, reader.u32()?, reader.u32()?))
}

/// The arguments of `GetCACert`; `which` as in MS-WCCE 3.2.1.4.2.2: 0 the signing certificate, 1 that for exchange.
#[must_use]
pub fn ca_certificate(version: Version, causality: Uuid, authority: &str, which: u32) -> Vec<u8> {
    this(version, causality, |writer| {
        writer.u32(which).optional_string(Some(authority));
    })
}

/// What a `GetCACert` asks for, and of which authority.
///
/// # Errors
/// If the arguments cannot be read.
pub fn parse_ca_certificate(stub: &[u8]) -> Result<(u32, Option<String>), NdrError> {
    let mut reader = Reader::new(stub);
    parse_this(&mut reader)?;
    Ok((reader.u32()?, reader.optional_string("the authority", MAX_TEXT)?))
}

/// The arguments of `Ping` and `Ping2`.
#[must_use]
pub fn ping(version: Version, causality: Uuid, authority: &str) -> Vec<u8> {
    this(version, causality, |writer| {
        writer.optional_string(Some(authority));
    })
}

/// The authority that a ping is to.
///
/// # Errors
/// If the arguments cannot be read.
pub fn parse_ping(stub: &[u8]) -> Result<Option<String>, NdrError> {
    let mut reader = Reader::new(stub);
    parse_this(&mut reader)?;
    reader.optional_string("the authority", MAX_TEXT)
}

/// The result of a ping.
///
/// # Errors
/// If it cannot be read.
pub fn parse_pong(stub: &[u8]) -> Result<HResult, RpcError> {
    let mut reader = Reader::new(stub);
    read_that(&mut reader)?;
    Ok(HResult(reader.u32()?))
}

/// The result of a ping, as octets.
#[must_use]
pub fn ping_response(result: HResult) -> Vec<u8> {
    that(|writer| {
        writer.u32(result.0);
    })
}

/// The results of `GetCAProperty` and `GetCACert`, as octets.
#[must_use]
pub fn property_response(result: HResult, value: &[u8]) -> Vec<u8> {
    that(|writer| {
        write_blob(writer, value);
        writer.u32(result.0);
    })
}

/// The results of `GetCAProperty` and `GetCACert`.
///
/// # Errors
/// If they cannot be read.
pub fn parse_octets(stub: &[u8]) -> Result<Result<Vec<u8>, HResult>, RpcError> {
    let mut reader = Reader::new(stub);
    read_that(&mut reader)?;
    let value = read_blob(&mut reader, "the value")?.to_vec();
    let result = HResult(reader.u32()?);
    Ok(if result.is_success() { Ok(value) } else { Err(result) })
}

/// The text in the value of a property.
#[must_use]
pub fn property_text(value: &[u8]) -> String {
    words(value)
}

/// The lines of the text in the value of a property, without empty ones at the end. At most 4 096.
#[must_use]
pub fn property_lines(value: &[u8]) -> Vec<String> {
    let (pairs, _) = value.as_chunks::<2>();
    let units: Vec<u16> =
        pairs.iter().copied().map(u16::from_le_bytes).take_while(|unit| *unit != 0).collect();
    let line = |units: &[u16]| words(&units.iter().flat_map(|unit| unit.to_le_bytes()).collect::<Vec<u8>>());
    let mut lines: Vec<String> = units.split(|unit| *unit == 10).take(4_096).map(line).collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}
