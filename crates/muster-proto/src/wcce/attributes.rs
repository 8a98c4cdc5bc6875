//! Attributes and extensions of a request, as data: names, template identifiers, what the client tells of itself.
//!
//! Nothing here is trusted. Names and extensions are what the requester asks for; the client's description
//! of itself is for logs only.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use der::Decode;
use der::asn1::ObjectIdentifier;
use x509_cert::name::Name;

use super::error::{Malformed, RequestError};
use super::oids;
use super::tlv::{self, Cursor, Tlv};

/// Most extensions that a request may ask for.
pub const MAX_EXTENSIONS: usize = 64;
/// Most subject alternative names that a request may ask for.
pub const MAX_NAMES: usize = 100;
/// Longest text of one relative distinguished name, in characters.
pub const MAX_RDN_TEXT: usize = 256;
/// Most relative distinguished names of a subject.
pub const MAX_RDNS: usize = 64;
/// Most attributes, and most values of one attribute.
const MAX_ATTRIBUTES: usize = 64;
/// Longest text of a name-value pair or template name, in characters.
const MAX_TEXT: usize = 4096;

/// A subject as asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestedSubject {
    /// The DER Name as received.
    pub der: Vec<u8>,
    /// The same, decoded; its order is that of the encoding, most significant first.
    pub name: Name,
}

impl RequestedSubject {
    /// Whether no subject is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.name.is_empty()
    }

    pub(crate) fn read(name: &Tlv<'_>) -> Result<Self, RequestError> {
        check_name(name)?;
        let decoded = Name::from_der(name.raw).map_err(|_| Malformed("subject"))?;
        Ok(Self { der: name.raw.to_vec(), name: decoded })
    }
}

/// Enforces the limits of a Name.
fn check_name(name: &Tlv<'_>) -> Result<(), RequestError> {
    const WHAT: &str = "name";
    if name.tag != tlv::SEQUENCE {
        return Err(Malformed(WHAT).into());
    }
    let mut rdns = name.children();
    let mut count = 0;
    while !rdns.is_empty() {
        let mut rdn = rdns.expect(tlv::SET, WHAT)?.children();
        if rdn.is_empty() {
            return Err(Malformed(WHAT).into());
        }
        while !rdn.is_empty() {
            count += 1;
            if count > MAX_RDNS {
                return Err(RequestError::TooMany { what: "relative distinguished names", limit: MAX_RDNS });
            }
            let mut pair = rdn.expect(tlv::SEQUENCE, WHAT)?.children();
            pair.any(WHAT)?.oid(WHAT)?;
            let text = pair.any(WHAT)?.text().ok_or(Malformed("text of a name"))?;
            pair.finish(WHAT)?;
            if text.chars().count() > MAX_RDN_TEXT {
                return Err(RequestError::TooMany { what: "characters in a name", limit: MAX_RDN_TEXT });
            }
        }
    }
    Ok(())
}

/// An extension as asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestedExtension {
    /// Which extension.
    pub oid: ObjectIdentifier,
    /// Whether it is to be critical.
    pub critical: bool,
    /// Content of extnValue.
    pub value: Vec<u8>,
}

/// A subject alternative name as asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RequestedName {
    /// dNSName.
    Dns(String),
    /// rfc822Name.
    Email(String),
    /// iPAddress.
    Ip(IpAddr),
    /// uniformResourceIdentifier.
    Uri(String),
    /// otherName with a user principal name.
    Upn(String),
    /// otherName of another type; holds the DER of the value inside `[0]`.
    OtherName {
        /// type-id.
        oid: ObjectIdentifier,
        /// DER of the value.
        value: Vec<u8>,
    },
    /// directoryName, as DER.
    Directory(Vec<u8>),
    /// registeredID.
    RegisteredId(ObjectIdentifier),
    /// x400Address or ediPartyName, as DER with its tag.
    Unusual(Vec<u8>),
}

/// Reads the value of a subject alternative name extension.
///
/// # Errors
/// [`RequestError::Malformed`] also for an empty list, [`RequestError::TooMany`] beyond [`MAX_NAMES`].
pub fn parse_general_names(value: &[u8]) -> Result<Vec<RequestedName>, RequestError> {
    const WHAT: &str = "subject alternative name";
    tlv::check_der(value)?;
    let mut list = Cursor::new(value).only(tlv::SEQUENCE, WHAT)?.children();
    let mut names = Vec::new();
    while !list.is_empty() {
        if names.len() == MAX_NAMES {
            return Err(RequestError::TooMany { what: "subject alternative names", limit: MAX_NAMES });
        }
        names.push(general_name(&list.any(WHAT)?)?);
    }
    if names.is_empty() { Err(Malformed(WHAT).into()) } else { Ok(names) }
}

fn general_name(name: &Tlv<'_>) -> Result<RequestedName, RequestError> {
    const WHAT: &str = "subject alternative name";
    let ascii = || {
        let text = std::str::from_utf8(name.value).ok().filter(|text| text.is_ascii());
        text.map(str::to_owned).ok_or(Malformed(WHAT))
    };
    Ok(match name.tag {
        tlv::CTX_0 => {
            let mut parts = name.children();
            let oid = parts.any(WHAT)?.oid(WHAT)?;
            let mut wrapped = parts.expect(tlv::CTX_0, WHAT)?.children();
            parts.finish(WHAT)?;
            let value = wrapped.any(WHAT)?;
            wrapped.finish(WHAT)?;
            if oid == oids::NT_PRINCIPAL_NAME {
                RequestedName::Upn(value.text().ok_or(Malformed("user principal name"))?)
            } else {
                RequestedName::OtherName { oid, value: value.raw.to_vec() }
            }
        }
        0x81 => RequestedName::Email(ascii()?),
        0x82 => RequestedName::Dns(ascii()?),
        0xa4 => {
            let inner = name.children().only(tlv::SEQUENCE, WHAT)?;
            check_name(&inner)?;
            RequestedName::Directory(inner.raw.to_vec())
        }
        0x86 => RequestedName::Uri(ascii()?),
        0x87 => match name.value.len() {
            4 => {
                <[u8; 4]>::try_from(name.value).map(|octets| RequestedName::Ip(Ipv4Addr::from(octets).into()))
            }
            _ => <[u8; 16]>::try_from(name.value)
                .map(|octets| RequestedName::Ip(Ipv6Addr::from(octets).into())),
        }
        .map_err(|_| Malformed("IP address"))?,
        0x88 => RequestedName::RegisteredId(
            ObjectIdentifier::from_bytes(name.value).map_err(|_| Malformed(WHAT))?,
        ),
        tlv::CTX_3 | 0xa5 => RequestedName::Unusual(name.raw.to_vec()),
        _ => return Err(Malformed(WHAT).into()),
    })
}

/// Reads an Extensions sequence into `extensions`; an identical repetition is dropped.
pub(crate) fn read_extensions(
    sequence: &Tlv<'_>,
    extensions: &mut Vec<RequestedExtension>,
) -> Result<(), RequestError> {
    const WHAT: &str = "extension";
    let mut list = sequence.children();
    while !list.is_empty() {
        let mut parts = list.expect(tlv::SEQUENCE, WHAT)?.children();
        let oid = parts.any(WHAT)?.oid(WHAT)?;
        // A critical flag of FALSE should be left out in DER; clients send it nevertheless.
        let critical = match parts.optional(0x01, WHAT)?.map(|flag| flag.value) {
            None | Some([0]) => false,
            Some([0xff]) => true,
            Some(_) => return Err(Malformed(WHAT).into()),
        };
        let value = parts.expect(tlv::OCTET_STRING, WHAT)?.value.to_vec();
        parts.finish(WHAT)?;
        let extension = RequestedExtension { oid, critical, value };
        match extensions.iter().find(|known| known.oid == oid) {
            Some(known) if *known == extension => continue,
            Some(_) => return Err(RequestError::Duplicate(oid)),
            None => {}
        }
        if extensions.len() == MAX_EXTENSIONS {
            return Err(RequestError::TooMany { what: "extensions", limit: MAX_EXTENSIONS });
        }
        extensions.push(extension);
    }
    Ok(())
}

/// Template OID and version of the extension 1.3.6.1.4.1.311.21.7 (MS-WCCE 2.2.2.7.7.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateId {
    /// OID of the template.
    pub oid: ObjectIdentifier,
    /// Major version (revision).
    pub major: Option<u32>,
    /// Minor version.
    pub minor: Option<u32>,
}

impl TemplateId {
    /// Reads the extension value.
    ///
    /// # Errors
    /// [`Malformed`] when it is not one.
    pub fn from_der(value: &[u8]) -> Result<Self, Malformed> {
        const WHAT: &str = "template extension";
        let mut parts = Cursor::new(value).only(tlv::SEQUENCE, WHAT)?.children();
        let oid = parts.any(WHAT)?.oid(WHAT)?;
        let number = |parts: &mut Cursor<'_>| {
            parts.optional(tlv::INTEGER, WHAT)?.map(|number| number.small_integer(WHAT)).transpose()
        };
        let major = number(&mut parts)?;
        let minor = number(&mut parts)?;
        parts.finish(WHAT)?;
        Ok(Self { oid, major, minor })
    }

    /// The extension value.
    #[must_use]
    pub fn to_der(&self) -> Vec<u8> {
        let number =
            |value: Option<u32>| value.map(|value| tlv::integer(&value.to_be_bytes())).unwrap_or_default();
        tlv::constructed(tlv::SEQUENCE, &[&tlv::oid(&self.oid), &number(self.major), &number(self.minor)])
    }
}

/// Reads the template name of extension 1.3.6.1.4.1.311.20.2: a string of any type, bare as clients send it
/// or in a SEQUENCE as MS-WCCE 2.2.2.7.7.1 writes it.
///
/// # Errors
/// [`Malformed`] when it is neither.
pub fn parse_template_name(value: &[u8]) -> Result<String, Malformed> {
    const WHAT: &str = "template name";
    let mut cursor = Cursor::new(value);
    let mut outer = cursor.any(WHAT)?;
    cursor.finish(WHAT)?;
    if outer.tag == tlv::SEQUENCE {
        let mut inner = outer.children();
        outer = inner.any(WHAT)?;
        inner.finish(WHAT)?;
    }
    outer.text().filter(|name| !name.is_empty() && name.chars().count() <= MAX_TEXT).ok_or(Malformed(WHAT))
}

/// Everything in a request that names a template. All must mean the same one (MS-WCCE 3.2.2.6.2.1.4.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TemplateIdentifiers {
    /// Names: extension 20.2, name-value pairs `CertificateTemplate` of the PKCS#10 and of regInfo.
    pub names: Vec<String>,
    /// Extension 21.7.
    pub id: Option<TemplateId>,
}

/// A name-value pair (MS-WCCE 2.2.2.7.10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameValuePair {
    /// Name; compare without regard to case.
    pub name: String,
    /// Value.
    pub value: String,
}

/// Client information (MS-WCCE 2.2.2.7.4), for logs; the client writes what it likes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientInfo {
    /// Which program, by the numbers of MS-WCCE.
    pub client_id: u32,
    /// Machine name.
    pub machine: String,
    /// Account name.
    pub user: String,
    /// Process name.
    pub process: String,
}

/// Cryptographic provider of the client (MS-WCCE 2.2.2.7.2), for logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CspProvider {
    /// Key specification: 1 exchange, 2 signature.
    pub key_spec: u32,
    /// Name of the provider.
    pub name: String,
}

/// What the client tells of itself, for logs only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientDescription {
    /// Attribute 21.20.
    pub info: Option<ClientInfo>,
    /// Attribute 13.2.3.
    pub os_version: Option<String>,
    /// Attribute 13.2.2.
    pub csp: Option<CspProvider>,
}

/// An attribute: type and values.
#[derive(Clone, Debug)]
pub(crate) struct Attribute<'a> {
    pub(crate) oid: ObjectIdentifier,
    pub(crate) values: Vec<Tlv<'a>>,
}

impl<'a> Attribute<'a> {
    pub(crate) fn single(&self) -> Result<Tlv<'a>, RequestError> {
        match *self.values.as_slice() {
            [value] => Ok(value),
            _ => Err(RequestError::NotOneValue(self.oid)),
        }
    }
}

/// Reads SEQUENCEs of type and SET of values until the end.
pub(crate) fn read_attributes(mut list: Cursor<'_>) -> Result<Vec<Attribute<'_>>, RequestError> {
    const WHAT: &str = "attribute";
    let mut attributes = Vec::new();
    while !list.is_empty() {
        let mut parts = list.expect(tlv::SEQUENCE, WHAT)?.children();
        let oid = parts.any(WHAT)?.oid(WHAT)?;
        let values = read_values(parts.expect(tlv::SET, WHAT)?)?;
        parts.finish(WHAT)?;
        if attributes.len() == MAX_ATTRIBUTES {
            return Err(RequestError::TooMany { what: "attributes", limit: MAX_ATTRIBUTES });
        }
        attributes.push(Attribute { oid, values });
    }
    Ok(attributes)
}

pub(crate) fn read_values(set: Tlv<'_>) -> Result<Vec<Tlv<'_>>, RequestError> {
    let mut members = set.children();
    let mut values = Vec::new();
    while !members.is_empty() {
        if values.len() == MAX_ATTRIBUTES {
            return Err(RequestError::TooMany { what: "values of an attribute", limit: MAX_ATTRIBUTES });
        }
        values.push(members.any("attribute value")?);
    }
    Ok(values)
}

/// What the attributes of a PKCS#10 hold.
#[derive(Debug, Default)]
pub(crate) struct RequestAttributes<'a> {
    pub(crate) extensions: Vec<RequestedExtension>,
    pub(crate) client: ClientDescription,
    pub(crate) pairs: Vec<NameValuePair>,
    pub(crate) renewal_certificate: Option<&'a [u8]>,
    pub(crate) encrypted_key_hash: bool,
    pub(crate) attestation: Vec<ObjectIdentifier>,
}

impl<'a> RequestAttributes<'a> {
    pub(crate) fn read(&mut self, attributes: &[Attribute<'a>]) -> Result<(), RequestError> {
        let mut seen: Vec<ObjectIdentifier> = Vec::new();
        for attribute in attributes {
            let oid = attribute.oid;
            if oid != oids::ENROLLMENT_NAME_VALUE_PAIR {
                if seen.contains(&oid) {
                    return Err(RequestError::Duplicate(oid));
                }
                seen.push(oid);
            }
            match oid {
                oids::EXTENSION_REQUEST | oids::CERT_EXTENSIONS => {
                    let value = attribute.single()?;
                    if value.tag != tlv::SEQUENCE {
                        return Err(Malformed("extension request").into());
                    }
                    read_extensions(&value, &mut self.extensions)?;
                }
                oids::OS_VERSION => self.client.os_version = attribute.single()?.text().map(clip),
                oids::REQUEST_CLIENT_INFO => self.client.info = client_info(&attribute.single()?).ok(),
                oids::ENROLLMENT_CSP_PROVIDER => self.client.csp = csp_provider(&attribute.single()?).ok(),
                oids::RENEWAL_CERTIFICATE => {
                    let value = attribute.single().map_err(|_| RequestError::RenewalNotSigned)?;
                    self.renewal_certificate = Some(value.raw);
                }
                oids::ENROLLMENT_NAME_VALUE_PAIR => {
                    for value in &attribute.values {
                        self.pairs.push(name_value_pair(value)?);
                    }
                }
                oids::ENCRYPTED_KEY_HASH | oids::ARCHIVED_KEY_ATTR => self.encrypted_key_hash = true,
                oids::EK_INFO
                | oids::AIK_INFO
                | oids::ATTESTATION_STATEMENT
                | oids::ENROLL_ATTESTATION_CHALLENGE
                | oids::ENROLL_CAXCHGCERT_HASH
                | oids::ENROLL_ENCRYPTION_ALGORITHM => self.attestation.push(oid),
                // Other attributes carry nothing that is acted upon.
                _ => {}
            }
        }
        Ok(())
    }
}

/// Shortens text that is only logged.
fn clip(text: String) -> String {
    if text.chars().count() <= MAX_RDN_TEXT { text } else { text.chars().take(MAX_RDN_TEXT).collect() }
}

fn client_info(value: &Tlv<'_>) -> Result<ClientInfo, Malformed> {
    const WHAT: &str = "client info";
    let mut parts = value.children();
    let client_id = parts.any(WHAT)?.small_integer(WHAT)?;
    let mut text = || parts.any(WHAT)?.text().map(clip).ok_or(Malformed(WHAT));
    Ok(ClientInfo { client_id, machine: text()?, user: text()?, process: text()? })
}

fn csp_provider(value: &Tlv<'_>) -> Result<CspProvider, Malformed> {
    const WHAT: &str = "CSP provider";
    let mut parts = value.children();
    let key_spec = parts.any(WHAT)?.small_integer(WHAT)?;
    let name = parts.any(WHAT)?.text().map(clip).ok_or(Malformed(WHAT))?;
    Ok(CspProvider { key_spec, name })
}

/// Reads SEQUENCE { name, value }.
pub(crate) fn name_value_pair(value: &Tlv<'_>) -> Result<NameValuePair, Malformed> {
    const WHAT: &str = "name-value pair";
    if value.tag != tlv::SEQUENCE {
        return Err(Malformed(WHAT));
    }
    let mut parts = value.children();
    let mut text = || {
        let text = parts.any(WHAT)?.text().ok_or(Malformed(WHAT))?;
        if text.chars().count() <= MAX_TEXT { Ok(text) } else { Err(Malformed(WHAT)) }
    };
    let pair = NameValuePair { name: text()?, value: text()? };
    parts.finish(WHAT)?;
    Ok(pair)
}
