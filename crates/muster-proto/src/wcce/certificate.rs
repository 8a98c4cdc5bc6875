//! Extensions of certificates that enrollment reads and writes: template, security identifier, key usages, names.

use der::asn1::ObjectIdentifier;
use x509_cert::Certificate;

use super::attributes::{RequestedName, TemplateId, parse_template_name};
use super::encode::BuildError;
use super::error::Malformed;
use super::oids;
use super::tlv::{self, Cursor};

/// The template that a certificate says it was issued from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateTemplate {
    /// Extension 21.7: schema 2 and later.
    Id(TemplateId),
    /// Extension 20.2: schema 1.
    Name(String),
}

/// Value of the extension `oid`; `None` when the certificate lacks it.
///
/// # Errors
/// [`Malformed`] when it has the extension twice.
fn extension_value<'a>(
    certificate: &'a Certificate,
    oid: &ObjectIdentifier,
) -> Result<Option<&'a [u8]>, Malformed> {
    let extensions = certificate.tbs_certificate().extensions().into_iter().flatten();
    let mut found = extensions.filter(|extension| extension.extn_id == *oid);
    let first = found.next().map(|extension| extension.extn_value.as_bytes());
    if found.next().is_some() { Err(Malformed("certificate: extension appears twice")) } else { Ok(first) }
}

/// Reads the template extension, 21.7 before 20.2.
///
/// # Errors
/// [`Malformed`] when an extension cannot be read or appears twice.
pub fn certificate_template(certificate: &Certificate) -> Result<Option<CertificateTemplate>, Malformed> {
    if let Some(value) = extension_value(certificate, &oids::CERTIFICATE_TEMPLATE)? {
        return TemplateId::from_der(value).map(|id| Some(CertificateTemplate::Id(id)));
    }
    match extension_value(certificate, &oids::ENROLL_CERTTYPE)? {
        Some(value) => parse_template_name(value).map(|name| Some(CertificateTemplate::Name(name))),
        None => Ok(None),
    }
}

/// Reads the security identifier (extension 25.2), such as `S-1-5-21-1-2-3-1104`.
///
/// # Errors
/// [`Malformed`] when the extension cannot be read or appears twice.
pub fn certificate_sid(certificate: &Certificate) -> Result<Option<String>, Malformed> {
    extension_value(certificate, &oids::NTDS_CA_SECURITY_EXT)?.map(parse_sid).transpose()
}

/// Reads the value of extension 25.2 (MS-WCCE 2.2.2.7.7.4).
///
/// # Errors
/// [`Malformed`] when it is not one.
pub fn parse_sid(value: &[u8]) -> Result<String, Malformed> {
    const WHAT: &str = "security identifier extension";
    let mut other_name =
        Cursor::new(value).only(tlv::SEQUENCE, WHAT)?.children().only(tlv::CTX_0, WHAT)?.children();
    if other_name.any(WHAT)?.oid(WHAT)? != oids::NTDS_OBJECTSID {
        return Err(Malformed(WHAT));
    }
    let sid = other_name.expect(tlv::CTX_0, WHAT)?.children().only(tlv::OCTET_STRING, WHAT)?.value;
    other_name.finish(WHAT)?;
    let text = std::str::from_utf8(sid).map_err(|_| Malformed(WHAT))?;
    let plain =
        text.starts_with("S-") && text.bytes().all(|octet| octet.is_ascii_digit() || b"S-".contains(&octet));
    if plain { Ok(text.to_owned()) } else { Err(Malformed(WHAT)) }
}

/// Value of extension 25.2 for a security identifier in text form.
#[must_use]
pub fn sid_to_der(sid: &str) -> Vec<u8> {
    let octets = tlv::element(tlv::OCTET_STRING, sid.as_bytes());
    let other_name =
        tlv::constructed(tlv::CTX_0, &[&tlv::oid(&oids::NTDS_OBJECTSID), &tlv::element(tlv::CTX_0, &octets)]);
    tlv::element(tlv::SEQUENCE, &other_name)
}

/// Value of extension 20.2: a BMPString, as on the wire.
#[must_use]
pub fn template_name_to_der(name: &str) -> Vec<u8> {
    tlv::bmp_string(name)
}

/// Reads the extended key usages; `None` when the certificate lacks the extension.
///
/// # Errors
/// [`Malformed`] when the extension cannot be read, is empty, or appears twice.
pub fn certificate_key_usages(certificate: &Certificate) -> Result<Option<Vec<ObjectIdentifier>>, Malformed> {
    extension_value(certificate, &oids::EXT_KEY_USAGE)?.map(parse_key_usages).transpose()
}

/// Reads the value of an extended key usage extension.
///
/// # Errors
/// [`Malformed`] when it cannot be read or is empty.
pub fn parse_key_usages(value: &[u8]) -> Result<Vec<ObjectIdentifier>, Malformed> {
    const WHAT: &str = "extended key usage";
    let list = Cursor::new(value).only(tlv::SEQUENCE, WHAT)?.children().all(tlv::OID, WHAT)?;
    if list.is_empty() {
        return Err(Malformed(WHAT));
    }
    list.iter().map(|usage| usage.oid(WHAT)).collect()
}

/// Reads the application policies (extension 21.10); `None` when the certificate lacks the extension.
///
/// # Errors
/// [`Malformed`] when the extension cannot be read, is empty, or appears twice.
pub fn certificate_application_policies(
    certificate: &Certificate,
) -> Result<Option<Vec<ObjectIdentifier>>, Malformed> {
    extension_value(certificate, &oids::APPLICATION_CERT_POLICIES)?
        .map(parse_application_policies)
        .transpose()
}

/// Reads the value of extension 21.10: policies, their qualifiers passed over.
///
/// # Errors
/// [`Malformed`] when it cannot be read or is empty.
pub fn parse_application_policies(value: &[u8]) -> Result<Vec<ObjectIdentifier>, Malformed> {
    const WHAT: &str = "application policies";
    let list = Cursor::new(value).only(tlv::SEQUENCE, WHAT)?.children().all(tlv::SEQUENCE, WHAT)?;
    if list.is_empty() {
        return Err(Malformed(WHAT));
    }
    list.iter().map(|policy| policy.children().any(WHAT)?.oid(WHAT)).collect()
}

/// Value of extension 21.10 that mirrors extended key usages.
#[must_use]
pub fn application_policies_to_der(policies: &[ObjectIdentifier]) -> Vec<u8> {
    let list: Vec<u8> =
        policies.iter().flat_map(|policy| tlv::element(tlv::SEQUENCE, &tlv::oid(policy))).collect();
    tlv::element(tlv::SEQUENCE, &list)
}

/// otherName with a user principal name, as a GeneralName.
#[must_use]
pub fn upn_to_der(upn: &str) -> Vec<u8> {
    let text = tlv::element(tlv::UTF8_STRING, upn.as_bytes());
    tlv::constructed(tlv::CTX_0, &[&tlv::oid(&oids::NT_PRINCIPAL_NAME), &tlv::element(tlv::CTX_0, &text)])
}

/// Value of a subject alternative name extension.
///
/// # Errors
/// [`BuildError`] for text that is not ASCII where only that is allowed, or an empty list.
pub fn general_names_to_der(names: &[RequestedName]) -> Result<Vec<u8>, BuildError> {
    const WHAT: &str = "subject alternative name";
    if names.is_empty() {
        return Err(Malformed(WHAT).into());
    }
    let ascii = |tag, text: &str| {
        if text.is_ascii() { Ok(tlv::element(tag, text.as_bytes())) } else { Err(Malformed(WHAT)) }
    };
    let mut list = Vec::new();
    for name in names {
        list.extend(match name {
            RequestedName::Email(text) => ascii(0x81, text)?,
            RequestedName::Dns(text) => ascii(0x82, text)?,
            RequestedName::Uri(text) => ascii(0x86, text)?,
            RequestedName::Ip(std::net::IpAddr::V4(address)) => tlv::element(0x87, &address.octets()),
            RequestedName::Ip(std::net::IpAddr::V6(address)) => tlv::element(0x87, &address.octets()),
            RequestedName::Upn(upn) => upn_to_der(upn),
            RequestedName::OtherName { oid, value } => {
                tlv::constructed(tlv::CTX_0, &[&tlv::oid(oid), &tlv::element(tlv::CTX_0, value)])
            }
            RequestedName::Directory(name) => tlv::element(0xa4, name),
            RequestedName::RegisteredId(oid) => tlv::element(0x88, oid.as_bytes()),
            RequestedName::Unusual(der) => der.clone(),
        });
    }
    Ok(tlv::element(tlv::SEQUENCE, &list))
}
