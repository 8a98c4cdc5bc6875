//! What only a directory knows of an account: its place, its identifier, and how far its host name can be trusted.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::names::SubjectName;

/// What a directory says about an account beside the names of a [`crate::Principal`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectoryNames {
    /// The distinguished name, the most significant RDN first (`DC=test`, `DC=corp`, `CN=Users`, `CN=alice`); absent
    /// if it has attributes that cannot stand in a subject.
    #[serde(default)]
    pub distinguished_name: Option<SubjectName>,
    /// objectGUID.
    #[serde(default)]
    pub object_guid: Option<ObjectGuid>,
    /// DNS name of the account's domain, lower case.
    #[serde(default)]
    pub domain_dns: Option<String>,
    /// servicePrincipalName, as written.
    #[serde(default)]
    pub service_principal_names: Vec<String>,
    /// Whether the account is a domain controller; its names are for templates made for such alone.
    #[serde(default)]
    pub domain_controller: bool,
    /// Why the account's dNSHostName is not among [`crate::Principal::dns_names`].
    #[serde(default)]
    pub host_name_doubt: Option<HostNameDoubt>,
}

/// Why a host name that the directory has for an account is not used. Whoever may create computers may write
/// any name into dNSHostName (CVE-2022-26923).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum HostNameDoubt {
    /// More than one object has it.
    #[error("it is not unique")]
    Shared,
    /// It is neither the host of a service principal name nor the account's name in the domain.
    #[error("it fits neither a service principal name nor the account's name")]
    Foreign,
    /// It is not a host name of two labels or more in plain ASCII.
    #[error("it is not a host name in ASCII")]
    Malformed,
}

/// The sixteen octets of an objectGUID, in the order in which a directory stores them (MS-DTYP 2.3.4.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectGuid(pub [u8; 16]);

/// The text is not a GUID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a GUID such as 0e10c968-78fb-11d2-90d4-00c04f79dc55")]
pub struct GuidError(String);

/// Where the octet that is stored at each place stands in the text: the first three fields are little endian.
const TEXT_ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];

impl fmt::Display for ObjectGuid {
    /// `0e10c968-78fb-11d2-90d4-00c04f79dc55`, lower case, without braces (MS-DTYP 2.3.4.3).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, stored) in TEXT_ORDER.into_iter().enumerate() {
            if matches!(position, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{:02x}", self.0.get(stored).copied().unwrap_or_default())?;
        }
        Ok(())
    }
}

impl fmt::Debug for ObjectGuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectGuid({self})")
    }
}

impl FromStr for ObjectGuid {
    type Err = GuidError;

    /// Reads the text form, of either case, with or without braces.
    fn from_str(text: &str) -> Result<Self, GuidError> {
        let refuse = || GuidError(text.chars().take(64).collect());
        let inner = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')).unwrap_or(text);
        let shape: Vec<usize> = inner.split('-').map(str::len).collect();
        if shape != [8, 4, 4, 4, 12] {
            return Err(refuse());
        }
        let digits: Option<Vec<u8>> = inner
            .chars()
            .filter(|c| *c != '-')
            .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect();
        let digits = digits.ok_or_else(refuse)?;
        let mut octets = [0; 16];
        for (stored, pair) in TEXT_ORDER.into_iter().zip(digits.chunks(2)) {
            if let Some(octet) = octets.get_mut(stored) {
                *octet = pair.iter().fold(0, |value, digit| value << 4 | digit);
            }
        }
        Ok(Self(octets))
    }
}

impl TryFrom<String> for ObjectGuid {
    type Error = GuidError;

    fn try_from(text: String) -> Result<Self, GuidError> {
        text.parse()
    }
}

impl From<ObjectGuid> for String {
    fn from(guid: ObjectGuid) -> Self {
        guid.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guid_text_is_mixed_endian_and_reads_back() {
        // The example of MS-DTYP 2.3.4.3 stored as 2.3.4.2 says.
        let octets =
            [0x68, 0xc9, 0x10, 0x0e, 0xfb, 0x78, 0xd2, 0x11, 0x90, 0xd4, 0x00, 0xc0, 0x4f, 0x79, 0xdc, 0x55];
        let text = "0e10c968-78fb-11d2-90d4-00c04f79dc55";
        assert_eq!(ObjectGuid(octets).to_string(), text);
        assert_eq!(text.parse(), Ok(ObjectGuid(octets)));
        assert_eq!(format!("{{{}}}", text.to_uppercase()).parse(), Ok(ObjectGuid(octets)));
        for wrong in [
            "",
            "0e10c968",
            "0e10c968-78fb-11d2-90d4-00c04f79dc5",
            &text.replace('e', "g"),
            &text.replace('-', ""),
        ] {
            assert!(wrong.parse::<ObjectGuid>().is_err(), "{wrong}");
        }
    }
}
