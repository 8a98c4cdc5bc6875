//! A decoded request before and after it has an identifier.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::names::{AltName, SubjectName};
use crate::oid::Oid;

/// Number of a row of the request table; what MS-WSTEP 3.1.4.1.3.3 carries as `RequestID`. Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(std::num::NonZeroU32);

impl RequestId {
    /// The identifier with this number, unless it is 0: clients read 0 as "no identifier".
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        match std::num::NonZeroU32::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for RequestId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// A certificate's serial number, 20 octets: a marker, the request's identifier, 120 random bits.
///
/// The identifier in front makes serial numbers grow with time, so that a look-up by serial number is a look-up
/// by primary key; uniqueness rests on the identifier, unpredictability on the random bits (RFC 5280 4.1.2.2,
/// CA/Browser baseline 7.1 asks for 64).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial([u8; 20]);

impl Serial {
    /// First octet of every serial number of ours: positive, and never a leading zero.
    const MARKER: u8 = 0x4d;

    /// The serial number for `id` with 120 bits from a cryptographic generator.
    #[must_use]
    pub fn compose(id: RequestId, random: [u8; 15]) -> Self {
        let mut bytes = [Self::MARKER; 20];
        for (to, from) in bytes.iter_mut().skip(1).zip(id.number().to_be_bytes().into_iter().chain(random)) {
            *to = from;
        }
        Self(bytes)
    }

    /// Reads the 20 octets of a serial number of ours; `None` if it is somebody else's.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; 20] = bytes.try_into().ok()?;
        let serial = Self(bytes);
        (bytes.first() == Some(&Self::MARKER)).then_some(serial)?.request_id().map(|_| serial)
    }

    /// The octets, big endian, without a sign octet: the first is below 0x80.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// The request that this serial number was made for.
    #[must_use]
    pub fn request_id(&self) -> Option<RequestId> {
        let [_, a, b, c, d, ..] = self.0;
        RequestId::new(u32::from_be_bytes([a, b, c, d]))
    }
}

impl fmt::Display for Serial {
    /// 40 lower-case hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Serial({self})")
    }
}

impl std::str::FromStr for Serial {
    type Err = NotASerial;

    /// Reads hexadecimal digits, as certificate viewers print them, with or without colons.
    fn from_str(text: &str) -> Result<Self, NotASerial> {
        let digits: Option<Vec<u8>> = text
            .chars()
            .filter(|c| *c != ':')
            .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
            .collect();
        let bytes: Option<Vec<u8>> = digits.map(|d| {
            d.chunks(2).map(|pair| pair.iter().fold(0u8, |acc, digit| acc.wrapping_shl(4) | digit)).collect()
        });
        // A digit lost in copying must not become another certificate's number.
        let bytes = bytes.filter(|_| text.bytes().filter(|b| *b != b':').count() == 40);
        bytes.as_deref().and_then(Self::from_bytes).ok_or(NotASerial)
    }
}

/// The text is not a serial number that this software gave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not a serial number of a certificate issued here: 40 hexadecimal digits that begin with 4d")]
pub struct NotASerial;

/// A public-key algorithm that we certify.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyAlgorithm {
    /// RSA; the size is beside it.
    Rsa,
    /// ECDSA or ECDH on P-256.
    P256,
    /// ECDSA or ECDH on P-384.
    P384,
    /// ECDSA or ECDH on P-521.
    P521,
    /// Ed25519 (RFC 8410).
    Ed25519,
}

impl KeyAlgorithm {
    /// The word used in templates, on the command line and in refusals.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rsa => "rsa",
            Self::P256 => "p256",
            Self::P384 => "p384",
            Self::P521 => "p521",
            Self::Ed25519 => "ed25519",
        }
    }
}

/// A public key whose possession the requester has proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// SubjectPublicKeyInfo, DER.
    pub spki: Vec<u8>,
    /// Its algorithm.
    pub algorithm: KeyAlgorithm,
    /// Size in bits: the modulus for RSA, the curve's order otherwise.
    pub bits: u32,
}

/// The forms in which a request arrives (MS-WCCE 2.2.2.6). Each is authorized on its own; there is no default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestForm {
    /// A bare PKCS#10: a first enrollment.
    Pkcs10,
    /// A CMC full PKI request without a renewal attribute: a first enrollment.
    CmcFull,
    /// CMS around a PKCS#10, or CMC, signed with the certificate to be renewed.
    Renewal {
        /// The certificate that signed, DER; the signature was verified over the received octets.
        old_certificate: Vec<u8>,
        /// How many signed besides the old and the new key.
        extra_signers: usize,
    },
    /// A request for somebody else: its signed attributes name another requester (MS-WCCE 2.2.2.7.10).
    OnBehalfOf {
        /// The account named, as it was written.
        requester: String,
        /// The certificates of those who named it, DER, in no order; the signatures were verified over the received
        /// octets. One of them is the agent.
        agents: Vec<Vec<u8>>,
        /// The certificates of all others who signed, DER.
        cosigners: Vec<Vec<u8>>,
    },
}

impl RequestForm {
    /// The word for a renewal.
    pub const RENEWAL: &'static str = "renewal";
    /// The word for a request on behalf of somebody.
    pub const ON_BEHALF_OF: &'static str = "on_behalf_of";

    /// A word for logs and audit records.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Pkcs10 => "pkcs10",
            Self::CmcFull => "cmc_full",
            Self::Renewal { .. } => Self::RENEWAL,
            Self::OnBehalfOf { .. } => Self::ON_BEHALF_OF,
        }
    }
}

/// What a request says about the template it wants, from every place that can say it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestedTemplate {
    /// Names, from 1.3.6.1.4.1.311.20.2 and from name-value pairs.
    pub names: Vec<String>,
    /// Identifier and version from 1.3.6.1.4.1.311.21.7.
    pub identifiers: Vec<(Oid, Option<u32>, Option<u32>)>,
}

impl RequestedTemplate {
    /// Whether none is named.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.names.is_empty() && self.identifiers.is_empty()
    }
}

/// What a request asks to be called. It is data to be compared, and copied only where a template says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestedNames {
    /// The subject, as far as its attributes are known to us.
    pub subject: SubjectName,
    /// Subject attributes that [`crate::names::NameAttribute`] does not list, dotted.
    pub unknown_subject_attributes: Vec<String>,
    /// Alternative names.
    pub alternatives: Vec<AltName>,
    /// Alternative names of a kind that we do not issue, described.
    pub unknown_alternatives: Vec<String>,
    /// Security identifiers named by 1.3.6.1.4.1.311.25.2 or by a `tag:microsoft.com,2022-09-14:sid:` URI.
    pub sids: Vec<String>,
    /// basicConstraints with cA=TRUE, or keyCertSign, was asked for.
    pub wants_ca: bool,
}

/// One decoded `Issue` body before it has an identifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// Its form.
    pub form: RequestForm,
    /// The template asked for.
    pub template: RequestedTemplate,
    /// The key to be certified.
    pub key: PublicKey,
    /// The names asked for.
    pub names: RequestedNames,
    /// Whether a signature in the request uses SHA-1: good enough to prove possession, worth a log line.
    pub sha1_signature: bool,
    /// The request as received, DER or BER.
    pub raw: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_carries_its_request() {
        let id = RequestId::new(0x0102_0304).unwrap();
        let serial = Serial::compose(id, [0xff; 15]);
        assert_eq!(serial.to_string(), format!("4d01020304{}", "ff".repeat(15)));
        assert_eq!(serial.request_id(), Some(id));
        assert_eq!(serial.to_string().parse(), Ok(serial));
        assert_eq!(Serial::from_bytes(serial.as_bytes()), Some(serial));
    }

    #[test]
    fn foreign_serials_are_not_ours() {
        assert_eq!(Serial::from_bytes(&[0x4d; 19]), None);
        assert_eq!(Serial::from_bytes(&[0x01; 20]), None);
        let mut zero = [0u8; 20];
        zero[0] = 0x4d;
        assert_eq!(Serial::from_bytes(&zero), None);
        assert_eq!("4d".parse::<Serial>(), Err(NotASerial));
        let full = format!("4d01020304{}", "0a".repeat(15));
        assert!(full.parse::<Serial>().is_ok());
        assert_eq!(full.strip_suffix('a').unwrap().parse::<Serial>(), Err(NotASerial), "one digit lost");
    }
}
