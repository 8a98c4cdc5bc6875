//! Names in certificates: the subject and its alternatives, as data that policy can compare.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

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
}

impl fmt::Display for AltName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(v) => write!(f, "DNS:{v}"),
            Self::Email(v) => write!(f, "email:{v}"),
            Self::Ip(v) => write!(f, "IP:{v}"),
            Self::Uri(v) => write!(f, "URI:{v}"),
            Self::Upn(v) => write!(f, "UPN:{v}"),
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

/// Whether `address` is a plain ASCII mailbox `local@host`.
#[must_use]
pub fn is_email(address: &str) -> bool {
    let local_ok = |b: u8| b.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&b);
    address.split_once('@').is_some_and(|(local, host)| {
        (1..=64).contains(&local.len())
            && local.bytes().all(local_ok)
            && is_host_name(&host.to_ascii_lowercase(), false)
    })
}

/// Whether `text` may stand in a subject: 1 to 64 characters, none of them a control character.
#[must_use]
pub fn is_subject_text(text: &str) -> bool {
    let count = text.chars().count();
    (1..=64).contains(&count) && !text.chars().any(char::is_control) && text.trim() == text
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
