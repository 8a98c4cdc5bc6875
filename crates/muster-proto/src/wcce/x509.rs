//! The few fields of a certificate that identify a signer, as received bytes.
//!
//! The full decoder refuses certificates with unusual fields (long serial numbers, odd times); to find out
//! who signed, those do not matter.

use super::attributes::{RequestedExtension, read_extensions};
use super::error::{Malformed, RequestError};
use super::key::PublicKey;
use super::oids;
use super::tlv::{self, Cursor};

const WHAT: &str = "certificate";

/// A certificate that has been taken apart, not verified.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CertificateView<'a> {
    pub(crate) raw: &'a [u8],
    /// Content of the serialNumber INTEGER.
    pub(crate) serial: &'a [u8],
    /// DER of the issuer Name.
    pub(crate) issuer: &'a [u8],
    spki: &'a [u8],
    extensions: Option<tlv::Tlv<'a>>,
}

impl<'a> CertificateView<'a> {
    /// Reads bytes that have passed the depth check.
    pub(crate) fn read(raw: &'a [u8]) -> Result<Self, Malformed> {
        let mut parts = Cursor::new(raw).only(tlv::SEQUENCE, WHAT)?.children();
        let mut fields = parts.expect(tlv::SEQUENCE, WHAT)?.children();
        parts.expect(tlv::SEQUENCE, WHAT)?;
        parts.expect(tlv::BIT_STRING, WHAT)?;
        parts.finish(WHAT)?;
        fields.optional(tlv::CTX_0, WHAT)?;
        let serial = fields.expect(tlv::INTEGER, WHAT)?.value;
        fields.expect(tlv::SEQUENCE, WHAT)?;
        let issuer = fields.expect(tlv::SEQUENCE, WHAT)?.raw;
        fields.expect(tlv::SEQUENCE, WHAT)?;
        fields.expect(tlv::SEQUENCE, WHAT)?;
        let spki = fields.expect(tlv::SEQUENCE, WHAT)?.raw;
        fields.optional(0x81, WHAT)?;
        fields.optional(0x82, WHAT)?;
        let extensions = match fields.optional(tlv::CTX_3, WHAT)? {
            Some(wrapped) => Some(wrapped.children().only(tlv::SEQUENCE, WHAT)?),
            None => None,
        };
        fields.finish(WHAT)?;
        Ok(Self { raw, serial, issuer, spki, extensions })
    }

    pub(crate) fn public_key(&self) -> Result<PublicKey, super::key::KeyError> {
        PublicKey::from_spki_der(self.spki)
    }

    pub(crate) fn extensions(&self) -> Result<Vec<RequestedExtension>, RequestError> {
        let mut extensions = Vec::new();
        if let Some(sequence) = &self.extensions {
            read_extensions(sequence, &mut extensions)?;
        }
        Ok(extensions)
    }

    /// Whether the certificate's subject key identifier extension is `identifier`.
    pub(crate) fn has_key_identifier(&self, identifier: &[u8]) -> bool {
        let Ok(extensions) = self.extensions() else { return false };
        extensions.iter().filter(|extension| extension.oid == oids::SUBJECT_KEY_IDENTIFIER).any(|extension| {
            Cursor::new(&extension.value)
                .only(tlv::OCTET_STRING, WHAT)
                .is_ok_and(|octets| octets.value == identifier)
        })
    }
}
