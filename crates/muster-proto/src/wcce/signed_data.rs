//! CMS SignedData (RFC 5652 section 5) over the received bytes, and the check of its SignerInfos.
//!
//! `cms` types decode and re-encode, which sorts sets; verification needs what was received.

use der::asn1::ObjectIdentifier;

use super::attributes::{Attribute, read_attributes};
use super::error::{Malformed, RequestError, SignatureError};
use super::key::PublicKey;
use super::oids;
use super::signature::{DigestAlgorithm, SignatureAlgorithm, digest_of};
use super::tlv::{self, Cursor, Tlv};
use super::x509::CertificateView;

/// Most SignerInfos in a message.
pub(crate) const MAX_SIGNERS: usize = 8;
/// Most certificates in a message.
pub(crate) const MAX_CERTIFICATES: usize = 16;

const WHAT: &str = "CMS message";

/// A SignedData taken apart.
#[derive(Debug)]
pub(crate) struct SignedData<'a> {
    pub(crate) content_type: ObjectIdentifier,
    /// Content of the eContent OCTET STRING; `None` when there is none.
    pub(crate) content: Option<&'a [u8]>,
    pub(crate) certificates: Vec<CertificateView<'a>>,
    pub(crate) signers: Vec<SignerInfo<'a>>,
}

/// Who a SignerInfo says has signed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SignerId<'a> {
    /// DER of the issuer Name, content of the serial number INTEGER.
    IssuerAndSerial { issuer: &'a [u8], serial: &'a [u8] },
    /// Subject key identifier.
    KeyIdentifier(&'a [u8]),
}

/// A SignerInfo taken apart.
#[derive(Debug)]
pub(crate) struct SignerInfo<'a> {
    pub(crate) id: SignerId<'a>,
    digest: Result<DigestAlgorithm, ObjectIdentifier>,
    signed: Option<SignedAttributes<'a>>,
    algorithm: Tlv<'a>,
    signature: &'a [u8],
    pub(crate) unsigned: Vec<Attribute<'a>>,
}

#[derive(Debug)]
struct SignedAttributes<'a> {
    /// The attributes under the SET tag, which is what is signed.
    der: Vec<u8>,
    attributes: Vec<Attribute<'a>>,
}

impl<'a> SignedData<'a> {
    /// Whether `outer` is a ContentInfo of type signedData.
    pub(crate) fn sniff(outer: &Tlv<'_>) -> bool {
        outer.tag == tlv::SEQUENCE
            && outer.children().any(WHAT).is_ok_and(|first| first.oid(WHAT) == Ok(oids::ID_SIGNED_DATA))
    }

    /// Reads a ContentInfo that has passed [`tlv::to_der`].
    pub(crate) fn read(outer: &Tlv<'a>) -> Result<Self, RequestError> {
        let mut info = outer.children();
        info.expect(tlv::OID, WHAT)?;
        let signed_data = info.expect(tlv::CTX_0, WHAT)?.children().only(tlv::SEQUENCE, WHAT)?;
        info.finish(WHAT)?;

        let mut parts = signed_data.children();
        if !matches!(parts.any(WHAT)?.small_integer(WHAT)?, 1 | 3..=5) {
            return Err(Malformed("CMS version").into());
        }
        parts.expect(tlv::SET, WHAT)?;
        let mut encapsulated = parts.expect(tlv::SEQUENCE, WHAT)?.children();
        let content_type = encapsulated.any(WHAT)?.oid(WHAT)?;
        let content = match encapsulated.optional(tlv::CTX_0, WHAT)? {
            Some(wrapped) => Some(wrapped.children().only(tlv::OCTET_STRING, "CMS content")?.value),
            None => None,
        };
        encapsulated.finish(WHAT)?;
        let certificates = match parts.optional(tlv::CTX_0, WHAT)? {
            Some(set) => read_certificates(set.children())?,
            None => Vec::new(),
        };
        parts.optional(tlv::CTX_1, WHAT)?;
        let mut infos = parts.expect(tlv::SET, WHAT)?.children();
        parts.finish(WHAT)?;
        let mut signers = Vec::new();
        while !infos.is_empty() {
            if signers.len() == MAX_SIGNERS {
                return Err(RequestError::TooMany { what: "signers", limit: MAX_SIGNERS });
            }
            signers.push(SignerInfo::read(&infos.expect(tlv::SEQUENCE, "signer")?)?);
        }
        Ok(Self { content_type, content, certificates, signers })
    }
}

fn read_certificates(mut set: Cursor<'_>) -> Result<Vec<CertificateView<'_>>, RequestError> {
    let mut certificates = Vec::new();
    while !set.is_empty() {
        if certificates.len() == MAX_CERTIFICATES {
            return Err(RequestError::TooMany { what: "certificates", limit: MAX_CERTIFICATES });
        }
        let choice = set.any(WHAT)?;
        // Attribute certificates and other formats are of no use here.
        if choice.tag == tlv::SEQUENCE {
            certificates.push(CertificateView::read(choice.raw)?);
        }
    }
    Ok(certificates)
}

impl<'a> SignerInfo<'a> {
    fn read(outer: &Tlv<'a>) -> Result<Self, RequestError> {
        const WHAT: &str = "signer";
        let mut parts = outer.children();
        if !matches!(parts.any(WHAT)?.small_integer(WHAT)?, 1 | 3) {
            return Err(Malformed("signer version").into());
        }
        let sid = parts.any(WHAT)?;
        let id = match sid.tag {
            tlv::SEQUENCE => {
                let mut fields = sid.children();
                let issuer = fields.expect(tlv::SEQUENCE, WHAT)?.raw;
                let serial = fields.expect(tlv::INTEGER, WHAT)?.value;
                fields.finish(WHAT)?;
                SignerId::IssuerAndSerial { issuer, serial }
            }
            tlv::CTX_0_PRIMITIVE => SignerId::KeyIdentifier(sid.value),
            _ => return Err(Malformed(WHAT).into()),
        };
        let digest_identifier = parts.expect(tlv::SEQUENCE, WHAT)?;
        let digest = match digest_of(&digest_identifier)? {
            Some(digest) => Ok(digest),
            None => Err(digest_identifier.children().any(WHAT)?.oid(WHAT)?),
        };
        let signed = match parts.optional(tlv::CTX_0, WHAT)? {
            Some(set) => Some(SignedAttributes {
                der: tlv::element(tlv::SET, set.value),
                attributes: read_attributes(set.children())?,
            }),
            None => None,
        };
        let algorithm = parts.expect(tlv::SEQUENCE, WHAT)?;
        let signature = parts.expect(tlv::OCTET_STRING, WHAT)?.value;
        let unsigned = match parts.optional(tlv::CTX_1, WHAT)? {
            Some(set) => read_attributes(set.children())?,
            None => Vec::new(),
        };
        parts.finish(WHAT)?;
        Ok(Self { id, digest, signed, algorithm, signature, unsigned })
    }

    /// Signed attributes; empty when there are none.
    pub(crate) fn signed_attributes(&self) -> &[Attribute<'a>] {
        self.signed.as_ref().map_or(&[], |signed| &signed.attributes)
    }

    /// Whether this is the no-signature mechanism of RFC 5272 section 4.2.1.
    pub(crate) fn is_no_signature(&self) -> bool {
        self.algorithm
            .children()
            .any(WHAT)
            .is_ok_and(|first| first.oid(WHAT) == Ok(oids::ID_ALG_NO_SIGNATURE))
    }

    /// What the signature covers, after contentType and messageDigest have been compared with the content.
    fn covered<'b>(
        &'b self,
        index: usize,
        content_type: &ObjectIdentifier,
        content: &'b [u8],
    ) -> Result<(DigestAlgorithm, &'b [u8]), RequestError> {
        let digest = self.digest.map_err(|oid| RequestError::SignerSignature {
            index,
            error: SignatureError::UnsupportedAlgorithm(oid),
        })?;
        let Some(signed) = &self.signed else {
            // RFC 5652 section 5.3: only id-data may go without.
            if *content_type != oids::ID_DATA {
                return Err(RequestError::SignedAttributesMissing { index });
            }
            return Ok((digest, content));
        };
        if exactly_one(&signed.attributes, oids::CONTENT_TYPE)?.oid("content type")? != *content_type {
            return Err(RequestError::SignedContentType { index });
        }
        let stated = exactly_one(&signed.attributes, oids::MESSAGE_DIGEST)?;
        if stated.tag != tlv::OCTET_STRING || stated.value != digest.digest(content) {
            return Err(RequestError::MessageDigest { index });
        }
        Ok((digest, &signed.der))
    }

    /// Verifies this SignerInfo with `key`; tells which algorithm it uses.
    pub(crate) fn verify(
        &self,
        index: usize,
        content_type: &ObjectIdentifier,
        content: &[u8],
        key: &PublicKey,
    ) -> Result<SignatureAlgorithm, RequestError> {
        let (digest, message) = self.covered(index, content_type, content)?;
        let signer_error = |error| RequestError::SignerSignature { index, error };
        let algorithm = SignatureAlgorithm::read_in_signer_info(&self.algorithm, digest)?
            .map_err(|oid| signer_error(SignatureError::UnsupportedAlgorithm(oid)))?;
        algorithm.verify(key, message, self.signature).map_err(signer_error)?;
        Ok(algorithm)
    }

    /// Checks the digest that the no-signature mechanism puts in place of a signature.
    pub(crate) fn verify_no_signature(
        &self,
        index: usize,
        content_type: &ObjectIdentifier,
        content: &[u8],
    ) -> Result<(), RequestError> {
        let (digest, message) = self.covered(index, content_type, content)?;
        if digest.digest(message) == self.signature {
            Ok(())
        } else {
            Err(RequestError::SignerSignature { index, error: SignatureError::Wrong })
        }
    }

    /// The certificates that the identifier of this signer fits.
    pub(crate) fn candidates<'c>(
        &self,
        certificates: &'c [CertificateView<'a>],
    ) -> impl Iterator<Item = &'c CertificateView<'a>> {
        certificates.iter().filter(|certificate| match self.id {
            SignerId::IssuerAndSerial { issuer, serial } => {
                certificate.issuer == issuer && certificate.serial == serial
            }
            SignerId::KeyIdentifier(identifier) => certificate.has_key_identifier(identifier),
        })
    }
}

/// The single value of an attribute that must be there once.
fn exactly_one<'a>(attributes: &[Attribute<'a>], oid: ObjectIdentifier) -> Result<Tlv<'a>, RequestError> {
    let mut found = attributes.iter().filter(|attribute| attribute.oid == oid);
    let attribute = found.next().ok_or(RequestError::NotOneValue(oid))?;
    if found.next().is_some() {
        return Err(RequestError::Duplicate(oid));
    }
    attribute.single()
}
