//! What an authority says of itself: `GetCAProperty`, `GetCAPropertyInfo`, `GetCACert`, `Ping` and `Ping2`.

use crate::client::RpcError;
use crate::dcom::{Version, parse_this, read_that, that, this};
use crate::ndr::{NdrError, Reader, Writer, wide};
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

    /// Whether an authority may have several values of it, by index.
    #[must_use]
    pub const fn is_indexed(self) -> bool {
        match self {
            Self::SigningCertificate | Self::Chain | Self::ExchangeCertificate => true,
            Self::Name
            | Self::SanitizedName
            | Self::Kind
            | Self::DnsName
            | Self::Templates
            | Self::SigningCertificateCount
            | Self::ExchangeCertificateCount
            | Self::SanitizedShortName => false,
        }
    }

    /// What people call it: the headings of MS-WCCE 3.2.1.4.3.2.
    #[must_use]
    pub const fn display_name(self) -> &'static str {
        match self {
            Self::Name => "Certification Authority Name",
            Self::SanitizedName => "Sanitized CA Name",
            Self::Kind => "CA Type",
            Self::SigningCertificate => "CA Signature Certificate",
            Self::Chain => "CA Signing Certificate Chain",
            Self::ExchangeCertificate => "CA Exchange Certificate",
            Self::DnsName => "CA Fully Qualified DNS",
            Self::Templates => "Configured Certificate Templates",
            Self::SigningCertificateCount => "CA Signature Certificate Count",
            Self::ExchangeCertificateCount => "CA Exchange Certificate Count",
            Self::SanitizedShortName => "CA Sanitized Short Name",
        }
    }
}

/// What an authority says of itself in numbers (MS-WCCE 2.2.2.4): the value of its type and of every count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CaInfo {
    /// 0 enterprise root, 1 enterprise subordinate, 3 standalone root, 4 standalone subordinate.
    pub kind: u32,
    /// Signing certificates.
    pub signing_certificates: u32,
    /// Exchange certificates.
    pub exchange_certificates: u32,
}

impl CaInfo {
    /// `CAINFO`, 40 octets: no exit modules, no separation of roles, no recovery agents.
    #[must_use]
    pub fn to_octets(self) -> Vec<u8> {
        let largest =
            PropertyId::ALL.into_iter().map(|property| property.codes().0).max().unwrap_or_default();
        let mut writer = Writer::new();
        writer.u32(40).u32(self.kind).u32(self.signing_certificates).u32(self.exchange_certificates);
        writer.u32(0).u32(largest).u32(0).u32(0).u32(0).u32(0);
        writer.finish()
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

/// The results of `GetCAPropertyInfo`, as octets: number, encoding and name of each property (MS-WCCE 2.2.2.3.1).
#[must_use]
pub fn property_info_response(result: HResult, properties: &[PropertyId]) -> Vec<u8> {
    const ENTRY: usize = 12;
    let (mut entries, mut names) = (Writer::new(), Writer::new());
    for property in properties {
        let (id, encoding) = property.codes();
        let [encoding, ..] = encoding.code().to_le_bytes();
        entries.u32(id).u8(encoding).u8(0).u16(property.is_indexed().into());
        // From the first entry on, at a multiple of four.
        entries.count(properties.len() * ENTRY + names.position());
        names.octets(&wide(property.display_name())).align(4);
    }
    that(|writer| {
        writer.count(properties.len());
        write_blob(writer, &[entries.finish(), names.finish()].concat());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_listed_with_names_behind_them() {
        let listed = property_info_response(HResult::OK, &[PropertyId::Kind, PropertyId::Chain]);
        let mut reader = Reader::new(&listed);
        read_that(&mut reader).unwrap();
        assert_eq!(reader.u32(), Ok(2));
        let blob = read_blob(&mut reader, "the properties").unwrap();
        // CATRANSPROP twice: number, type, 0, flags, where the name is.
        let entries = [10, 0, 0, 0, 1, 0, 0, 0, 24, 0, 0, 0, 13, 0, 0, 0, 3, 0, 1, 0, 40, 0, 0, 0];
        assert_eq!(blob.get(..24), Some(&entries[..]));
        assert_eq!(words(blob.get(24..40).unwrap()), "CA Type");
        assert_eq!(words(blob.get(40..).unwrap()), "CA Signing Certificate Chain");
        assert_eq!((reader.u32(), reader.rest().len()), (Ok(0), 0));

        let none = property_info_response(HResult::INVALID_ARGUMENT, &[]);
        let mut reader = Reader::new(&none);
        read_that(&mut reader).unwrap();
        assert_eq!([reader.u32(), reader.u32(), reader.u32()], [Ok(0), Ok(0), Ok(0)]);
        assert_eq!(reader.u32(), Ok(HResult::INVALID_ARGUMENT.0));
    }

    #[test]
    fn numbers_of_an_authority_are_one_structure() {
        let info = CaInfo { kind: 1, signing_certificates: 2, exchange_certificates: 3 }.to_octets();
        let (numbers, rest) = info.as_chunks::<4>();
        let numbers: Vec<u32> = numbers.iter().copied().map(u32::from_le_bytes).collect();
        assert_eq!((numbers, rest), (vec![40, 1, 2, 3, 0, 0x28, 0, 0, 0, 0], &[][..]));
    }
}
