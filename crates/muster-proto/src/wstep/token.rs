//! The token and the request id, which requests and answers share.

use std::fmt;

use crate::soap::names::WSSE;
use crate::soap::xml::{Element, Writer, XmlError, without_spaces};

/// TokenType of every request and answer, and ValueType of a bare certificate.
pub(super) const X509_V3: &str =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-x509-token-profile-1.0#X509v3";
/// EncodingType that Windows writes and asks for; the standard spells it otherwise.
const ENCODING: &str =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd#base64binary";
const PKCS7: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd#PKCS7";
const PKCS10: &str = "http://schemas.microsoft.com/windows/pki/2009/01/enrollment#PKCS10";
const CHALLENGE_RESPONSE: &str =
    "http://schemas.microsoft.com/windows/pki/2009/01/enrollment#CHALLENGERESPONSE";

/// `wsse:BinarySecurityToken` (MS-WSTEP 3.1.4.1.3.3).
///
/// The EncodingType is not kept: base64 is the only encoding there is, and clients spell its URI in several ways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BinarySecurityToken {
    /// What the sender says the bytes are. Not to be trusted.
    pub value_type: ValueType,
    /// The decoded bytes; never empty when parsed.
    pub bytes: Vec<u8>,
}

/// ValueType of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueType {
    /// A PKCS#10 request.
    Pkcs10,
    /// CMS or CMC.
    Pkcs7,
    /// Answer to a key attestation challenge.
    ChallengeResponse,
    /// A certificate.
    X509v3,
    /// Another URI.
    Other(String),
    /// The attribute is missing.
    Absent,
}

/// The number that an issuer gave a request: text on the wire, a positive number in practice.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(String);

impl ValueType {
    fn read(uri: Option<&str>) -> Self {
        let uri = without_spaces(uri.unwrap_or_default());
        match uri.as_ref() {
            "" => Self::Absent,
            PKCS10 => Self::Pkcs10,
            PKCS7 => Self::Pkcs7,
            CHALLENGE_RESPONSE => Self::ChallengeResponse,
            X509_V3 => Self::X509v3,
            _ => Self::Other(uri.into_owned()),
        }
    }

    /// The URI; empty if absent.
    #[must_use]
    pub fn uri(&self) -> &str {
        match self {
            Self::Pkcs10 => PKCS10,
            Self::Pkcs7 => PKCS7,
            Self::ChallengeResponse => CHALLENGE_RESPONSE,
            Self::X509v3 => X509_V3,
            Self::Other(uri) => uri,
            Self::Absent => "",
        }
    }
}

impl BinarySecurityToken {
    pub(super) fn read(element: &Element<'_>) -> Result<Self, XmlError> {
        let value_type = ValueType::read(element.attribute("", "ValueType"));
        Ok(Self { value_type, bytes: element.base64()? })
    }

    pub(super) fn write(&self, w: &mut Writer) {
        write_token(w, &self.value_type, &self.bytes);
    }
}

pub(super) fn write_token(w: &mut Writer, value_type: &ValueType, bytes: &[u8]) {
    let all = [("xmlns", WSSE), ("EncodingType", ENCODING), ("ValueType", value_type.uri())];
    let used = if *value_type == ValueType::Absent { 2 } else { 3 };
    w.base64("BinarySecurityToken", all.get(..used).unwrap_or(&all), bytes);
}

impl RequestId {
    /// From text: not empty, at most 64 characters of printable ASCII, and not "0", which Windows reads as none.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        const MAX: usize = 64;
        let good = !text.is_empty() && text.len() <= MAX && text.bytes().all(|b| b.is_ascii_graphic());
        (good && text.bytes().any(|b| b != b'0')).then(|| Self(text.to_owned()))
    }

    /// From a number; zero is no id.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        (number != 0).then(|| Self(number.to_string()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The number, if it is one.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        self.0.parse().ok()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
