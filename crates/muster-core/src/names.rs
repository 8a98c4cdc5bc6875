//! Names in certificates: the subject and its alternatives, as data that policy can compare.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::directory::ObjectGuid;

/// A subject attribute that templates know (RFC 5280 4.1.2.4 and appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NameAttribute {
    /// `CN`, at most 64 characters.
    CommonName,
    /// `O`.
    Organization,
    /// `OU`.
    OrganizationalUnit,
    /// `L`.
    Locality,
    /// `ST`.
    State,
    /// `C`, two letters.
    Country,
    /// `DC`.
    DomainComponent,
    /// `E`, PKCS#9 emailAddress.
    Email,
    /// `serialNumber` of a device.
    SerialNumber,
}

impl NameAttribute {
    /// The short name used in text forms of a name.
    #[must_use]
    pub const fn short(self) -> &'static str {
        match self {
            Self::CommonName => "CN",
            Self::Organization => "O",
            Self::OrganizationalUnit => "OU",
            Self::Locality => "L",
            Self::State => "ST",
            Self::Country => "C",
            Self::DomainComponent => "DC",
            Self::Email => "E",
            Self::SerialNumber => "serialNumber",
        }
    }
}

/// A distinguished name of single-valued RDNs, the most significant first (`DC=com` before `CN=`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubjectName(pub Vec<(NameAttribute, String)>);

impl SubjectName {
    /// A name with a common name alone.
    #[must_use]
    pub fn common_name(value: impl Into<String>) -> Self {
        Self(vec![(NameAttribute::CommonName, value.into())])
    }

    /// The values of one attribute.
    pub fn values(&self, attribute: NameAttribute) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(a, _)| *a == attribute).map(|(_, v)| v.as_str())
    }
}

impl fmt::Display for SubjectName {
    /// `CN=host, O=Example`, for people; nothing parses it back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (attribute, value)) in self.0.iter().rev().enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            write!(f, "{separator}{}={value}", attribute.short())?;
        }
        Ok(())
    }
}

/// One subject alternative name (RFC 5280 4.2.1.6, MS-WCCE 3.2.2.6.2.1.4.5.9).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AltName {
    /// dNSName, lower case A-labels.
    Dns(String),
    /// rfc822Name.
    Email(String),
    /// iPAddress.
    Ip(IpAddr),
    /// uniformResourceIdentifier.
    Uri(String),
    /// otherName 1.3.6.1.4.1.311.20.2.3, user principal name.
    Upn(String),
    /// otherName 1.3.6.1.4.1.311.25.1, objectGUID of the account.
    Guid(ObjectGuid),
}

impl fmt::Display for AltName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(v) => write!(f, "DNS:{v}"),
            Self::Email(v) => write!(f, "email:{v}"),
            Self::Ip(v) => write!(f, "IP:{v}"),
            Self::Uri(v) => write!(f, "URI:{v}"),
            Self::Upn(v) => write!(f, "UPN:{v}"),
            Self::Guid(v) => write!(f, "GUID:{v}"),
        }
    }
}

/// Whether `name` is a host name of at least two labels in ASCII letters, digits and hyphens (RFC 1123),
/// at most 253 characters. A first label `*` is allowed when `wildcard` says so.
#[must_use]
pub fn is_host_name(name: &str, wildcard: bool) -> bool {
    let rest = match name.strip_prefix("*.") {
        Some(rest) if wildcard => rest,
        Some(_) => return false,
        None => name,
    };
    let label_ok = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253
        && rest.split('.').count() >= 2
        && rest.split('.').all(label_ok)
        // An all-digit last label would be read as an IPv4 address by some.
        && rest.rsplit('.').next().is_some_and(|last| !last.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether `address` is a plain ASCII mailbox `local@host` of at most 254 characters (RFC 5321 4.1.2, without quoted
/// strings and address literals).
#[must_use]
pub fn is_email(address: &str) -> bool {
    let atom = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~-".contains(&b);
    address.len() <= 254
        && address.split_once('@').is_some_and(|(local, host)| {
            (1..=64).contains(&local.len())
                && local.split('.').all(|part| !part.is_empty() && part.bytes().all(atom))
                && is_host_name(&host.to_ascii_lowercase(), false)
        })
}

/// Whether `text` may be a user principal name: `name@suffix` in printable ASCII, at most 254 characters.
///
/// Not all that a directory allows: letters that look alike have been used to log in as somebody else.
#[must_use]
pub fn is_upn(text: &str) -> bool {
    text.len() <= 254
        && text.bytes().all(|b| b.is_ascii_graphic())
        && text
            .split_once('@')
            .is_some_and(|(name, suffix)| !name.is_empty() && !suffix.is_empty() && !suffix.contains('@'))
}

/// Whether `text` may stand in a subject: 1 to 64 characters that can be seen, no space at either end.
#[must_use]
pub fn is_subject_text(text: &str) -> bool {
    text.len() <= 256
        && (1..=64).contains(&text.chars().count())
        && !text.chars().any(|c| c.is_control() || is_invisible(c))
        && text.trim() == text
}

/// Whether `text` may be the value of `attribute`: [`is_subject_text`], and for some attributes less (RFC 5280
/// appendix A).
#[must_use]
pub fn is_attribute_value(attribute: NameAttribute, text: &str) -> bool {
    let printable = |b: u8| b.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&b);
    is_subject_text(text)
        && match attribute {
            NameAttribute::Country => text.len() == 2 && text.bytes().all(|b| b.is_ascii_uppercase()),
            NameAttribute::SerialNumber => text.bytes().all(printable),
            NameAttribute::DomainComponent => {
                text.len() <= 63 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            }
            NameAttribute::Email => is_email(text),
            NameAttribute::CommonName
            | NameAttribute::Organization
            | NameAttribute::OrganizationalUnit
            | NameAttribute::Locality
            | NameAttribute::State => true,
        }
}

/// Characters that change how a name looks without being seen: separators of lines, joiners, marks that turn the
/// direction of writing, tags (Unicode categories Cf, Zl, Zp and the fillers).
pub(crate) const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{600}'..='\u{605}'
            | '\u{61c}'
            | '\u{6dd}'
            | '\u{70f}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{ffff}'
            | '\u{e000}'..='\u{f8ff}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{10ffff}'
    )
}

/// For sentences that quote what somebody wrote: not more than a line of it, and nothing that would not be seen.
pub(crate) fn shorten(text: &str) -> String {
    let visible = |c: char| if c.is_control() || is_invisible(c) { '?' } else { c };
    let mut shown: String = text.chars().take(72).map(visible).collect();
    if text.chars().nth(72).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_refuse_what_is_not_one() {
        for name in ["host.example", "a-b.c1.example", "xn--bcher-kva.example"] {
            assert!(is_host_name(name, false), "{name}");
        }
        for name in [
            "",
            "host",
            "HOST.example",
            "a..b",
            ".a.b",
            "a.b.",
            "-a.b",
            "a-.b",
            "1.2.3.4",
            "*.example.com",
            "a.*.b",
            "ä.b",
            "a b.c",
        ] {
            assert!(!is_host_name(name, false), "{name}");
        }
        assert!(is_host_name("*.lab.example", true));
        assert!(!is_host_name("*.example", true), "a wildcard needs two labels below it");
    }

    #[test]
    fn name_prints_most_specific_first() {
        let name = SubjectName(vec![
            (NameAttribute::Country, "DE".into()),
            (NameAttribute::CommonName, "host".into()),
        ]);
        assert_eq!(name.to_string(), "CN=host, C=DE");
    }
}
