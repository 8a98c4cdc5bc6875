//! PKCS#10 (RFC 2986) over the received bytes.

use super::attributes::{Attribute, RequestedSubject, read_attributes};
use super::error::{Malformed, RequestError, SignatureError};
use super::key::PublicKey;
use super::signature::{DigestAlgorithm, SignatureAlgorithm};
use super::tlv::{self, Cursor, Tlv};

const WHAT: &str = "PKCS#10";

/// A PKCS#10 whose signature has not been looked at.
#[derive(Debug)]
pub(crate) struct Pkcs10<'a> {
    raw: &'a [u8],
    info: &'a [u8],
    pub(crate) subject: RequestedSubject,
    pub(crate) public_key: PublicKey,
    pub(crate) attributes: Vec<Attribute<'a>>,
    signature_algorithm: Tlv<'a>,
    signature: &'a [u8],
}

/// How the signature field of a PKCS#10 was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pkcs10Signature {
    /// Made by the new private key.
    Key { sha1: bool },
    /// A bare digest (MS-WCCE 2.2.2.6.5), which proves nothing.
    Null,
}

impl<'a> Pkcs10<'a> {
    /// Whether `outer` looks like a PKCS#10 rather than a ContentInfo.
    pub(crate) fn sniff(outer: &Tlv<'_>) -> bool {
        outer.tag == tlv::SEQUENCE && outer.value.first() == Some(&tlv::SEQUENCE)
    }

    /// Reads an element that has passed the depth check.
    pub(crate) fn read(outer: &Tlv<'a>) -> Result<Self, RequestError> {
        let mut parts = outer.children();
        let info = parts.expect(tlv::SEQUENCE, WHAT)?;
        let signature_algorithm = parts.expect(tlv::SEQUENCE, WHAT)?;
        let signature = parts.expect(tlv::BIT_STRING, WHAT)?.bit_string_octets(WHAT)?;
        parts.finish(WHAT)?;

        let mut fields = info.children();
        if fields.any(WHAT)?.small_integer(WHAT)? != 0 {
            return Err(Malformed("PKCS#10 version").into());
        }
        let subject = RequestedSubject::read(&fields.any(WHAT)?)?;
        let public_key = PublicKey::from_spki_der(fields.expect(tlv::SEQUENCE, WHAT)?.raw)?;
        let attributes = match fields.optional(tlv::CTX_0, WHAT)? {
            Some(set) => read_attributes(set.children())?,
            // Required by RFC 2986, left out by some producers.
            None => Vec::new(),
        };
        fields.finish(WHAT)?;
        Ok(Self {
            raw: outer.raw,
            info: info.raw,
            subject,
            public_key,
            attributes,
            signature_algorithm,
            signature,
        })
    }

    pub(crate) fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Verifies the signature by the key inside; a null signature counts only if `null_allowed`.
    pub(crate) fn verify(&self, null_allowed: bool) -> Result<Pkcs10Signature, RequestError> {
        let algorithm = match SignatureAlgorithm::read(&self.signature_algorithm)? {
            Ok(algorithm) => algorithm,
            Err(oid) => {
                return match DigestAlgorithm::from_oid(&oid).filter(|_| null_allowed) {
                    Some(digest) if digest.digest(self.info) == self.signature => Ok(Pkcs10Signature::Null),
                    Some(_) => Err(RequestError::RequestSignature(SignatureError::Wrong)),
                    None => Err(RequestError::RequestSignature(SignatureError::UnsupportedAlgorithm(oid))),
                };
            }
        };
        algorithm
            .verify(&self.public_key, self.info, self.signature)
            .map(|()| Pkcs10Signature::Key { sha1: algorithm.is_sha1() })
            .map_err(RequestError::RequestSignature)
    }
}

/// Reads one element that must be a PKCS#10 in DER.
pub(crate) fn only_pkcs10(der: &[u8]) -> Result<Pkcs10<'_>, RequestError> {
    tlv::check_der(der)?;
    Pkcs10::read(&Cursor::new(der).only(tlv::SEQUENCE, WHAT)?)
}
