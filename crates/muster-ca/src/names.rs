//! Subject and alternative names as DER.
//!
//! Which names a certificate carries is decided by policy; here is decided only whether they can be written down
//! (RFC 5280 appendix A: types and upper bounds).

use std::net::IpAddr;

use muster_core::names::{AltName, NameAttribute, SubjectName};

use crate::encode::{
    Der, IA5_STRING, OCTET_STRING, OID, PRINTABLE_STRING, SET, UTF8_STRING, context, context_constructed,
};

/// 1.3.6.1.4.1.311.20.2.3, user principal name (MS-WCCE 2.2.2.7.5 names it NT_PRINCIPAL_NAME).
const UPN: &[u8] = &[0x2b, 6, 1, 4, 1, 0x82, 0x37, 20, 2, 3];
/// 1.3.6.1.4.1.311.25.1, identifier of a directory object (MS-WCCE 2.2.2.7.5 names it NTDS_REPLICATION).
const GUID: &[u8] = &[0x2b, 6, 1, 4, 1, 0x82, 0x37, 25, 1];
/// Longest URI, e-mail address or user principal name that is written.
pub(crate) const MAX_NAME: usize = 1_024;

/// How an attribute is written.
pub(crate) struct Syntax {
    /// Content octets of its object identifier.
    pub(crate) oid: &'static [u8],
    /// String type.
    pub(crate) tag: u8,
    /// Greatest number of characters.
    pub(crate) limit: usize,
}

pub(crate) const fn syntax(attribute: NameAttribute) -> Syntax {
    let (oid, tag, limit): (&'static [u8], u8, usize) = match attribute {
        NameAttribute::CommonName => (&[0x55, 4, 3], UTF8_STRING, 64),
        NameAttribute::Organization => (&[0x55, 4, 10], UTF8_STRING, 64),
        NameAttribute::OrganizationalUnit => (&[0x55, 4, 11], UTF8_STRING, 64),
        NameAttribute::Locality => (&[0x55, 4, 7], UTF8_STRING, 128),
        NameAttribute::State => (&[0x55, 4, 8], UTF8_STRING, 128),
        NameAttribute::Country => (&[0x55, 4, 6], PRINTABLE_STRING, 2),
        NameAttribute::SerialNumber => (&[0x55, 4, 5], PRINTABLE_STRING, 64),
        // 0.9.2342.19200300.100.1.25, RFC 4519 2.4
        NameAttribute::DomainComponent => {
            (&[9, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], IA5_STRING, 63)
        }
        // 1.2.840.113549.1.9.1
        NameAttribute::Email => (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 9, 1], IA5_STRING, 255),
    };
    Syntax { oid, tag, limit }
}

/// Finds what cannot be written down in a subject.
pub(crate) fn check_subject(subject: &SubjectName) -> Result<(), String> {
    for (attribute, value) in &subject.0 {
        let Syntax { tag, limit, .. } = syntax(*attribute);
        let characters = value.chars().count();
        let exact = *attribute == NameAttribute::Country && characters != limit;
        if characters == 0 || characters > limit || exact {
            return Err(format!("{} has {characters} characters; the limit is {limit}", attribute.short()));
        }
        let allowed = match tag {
            PRINTABLE_STRING => value.bytes().all(is_printable),
            IA5_STRING => value.bytes().all(|b| (0x20..0x7f).contains(&b)),
            _ => !value.chars().any(char::is_control),
        };
        if !allowed {
            return Err(format!("{} has characters that its string type does not have", attribute.short()));
        }
    }
    Ok(())
}

const fn is_printable(octet: u8) -> bool {
    octet.is_ascii_alphanumeric()
        || matches!(octet, b' ' | b'\'' | b'(' | b')' | b'+' | b',' | b'-' | b'.' | b'/' | b':' | b'=' | b'?')
}

/// Finds what cannot be written down among alternative names.
pub(crate) fn check_alternatives(alternatives: &[AltName]) -> Result<(), String> {
    let graphic = |text: &str| text.bytes().all(|b| (0x21..0x7f).contains(&b));
    for name in alternatives {
        let allowed = match name {
            AltName::Dns(host) => is_dns_name(host),
            AltName::Email(address) => address.len() <= MAX_NAME && graphic(address) && address.contains('@'),
            AltName::Uri(uri) => uri.len() <= MAX_NAME && graphic(uri) && uri.contains(':'),
            AltName::Upn(upn) => {
                (1..=MAX_NAME).contains(&upn.len())
                    && !upn.chars().any(|c| c.is_control() || c.is_whitespace())
            }
            AltName::Ip(_) | AltName::Guid(_) => true,
        };
        if !allowed {
            return Err(format!("'{name}' is not a name of its kind"));
        }
    }
    Ok(())
}

/// One label or more of letters, digits and inner hyphens, at most 253 octets; the first label may be `*`.
///
/// Wider than [`muster_core::names::is_host_name`], which judges requests: an account may own a name of one label.
fn is_dns_name(name: &str) -> bool {
    let rest = name.strip_prefix("*.").unwrap_or(name);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && rest.split('.').all(label)
}

/// Writes a Name of single-valued RDNs, most significant first. The subject was checked.
pub(crate) fn write_subject(der: &mut Der, subject: &SubjectName) {
    der.sequence(|der| {
        for (attribute, value) in &subject.0 {
            let Syntax { oid, tag, .. } = syntax(*attribute);
            der.nested(SET, |der| {
                der.sequence(|der| {
                    der.primitive(OID, oid);
                    der.primitive(tag, value.as_bytes());
                });
            });
        }
    });
}

/// Writes GeneralNames. The names were checked.
pub(crate) fn write_alternatives(der: &mut Der, alternatives: &[AltName]) {
    der.sequence(|der| {
        for name in alternatives {
            match name {
                AltName::Email(address) => der.primitive(context(1), address.as_bytes()),
                AltName::Dns(host) => der.primitive(context(2), host.as_bytes()),
                AltName::Uri(uri) => der.primitive(context(6), uri.as_bytes()),
                AltName::Ip(IpAddr::V4(address)) => der.primitive(context(7), &address.octets()),
                AltName::Ip(IpAddr::V6(address)) => der.primitive(context(7), &address.octets()),
                AltName::Upn(upn) => write_other_name(der, UPN, UTF8_STRING, upn.as_bytes()),
                AltName::Guid(guid) => write_other_name(der, GUID, OCTET_STRING, &guid.0),
            }
        }
    });
}

/// Writes an otherName (RFC 5280 4.2.1.6).
pub(crate) fn write_other_name(der: &mut Der, oid: &[u8], tag: u8, value: &[u8]) {
    der.nested(context_constructed(0), |der| {
        der.primitive(OID, oid);
        der.nested(context_constructed(0), |der| der.primitive(tag, value));
    });
}
