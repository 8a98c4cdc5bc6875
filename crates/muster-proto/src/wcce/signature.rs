//! Signature algorithms: reading their identifiers, verifying, and the trait through which others sign.

use std::fmt;

use aws_lc_rs::{digest, signature};
use der::asn1::ObjectIdentifier;

use super::error::{Malformed, SignatureError};
use super::key::{KeyAlgorithm, PublicKey};
use super::oids;
use super::tlv::{self, Tlv, Writer};

/// Digests that occur in requests. SHA-1 is accepted as part of a proof of possession only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DigestAlgorithm {
    /// SHA-1, 20 octets.
    Sha1,
    /// SHA-256, 32 octets.
    Sha256,
    /// SHA-384, 48 octets.
    Sha384,
    /// SHA-512, 64 octets.
    Sha512,
}

impl DigestAlgorithm {
    /// The digest with this object identifier.
    #[must_use]
    pub fn from_oid(oid: &ObjectIdentifier) -> Option<Self> {
        match *oid {
            oids::SHA1 => Some(Self::Sha1),
            oids::SHA256 => Some(Self::Sha256),
            oids::SHA384 => Some(Self::Sha384),
            oids::SHA512 => Some(Self::Sha512),
            _ => None,
        }
    }

    /// Its object identifier.
    #[must_use]
    pub fn oid(self) -> ObjectIdentifier {
        match self {
            Self::Sha1 => oids::SHA1,
            Self::Sha256 => oids::SHA256,
            Self::Sha384 => oids::SHA384,
            Self::Sha512 => oids::SHA512,
        }
    }

    /// Digest of `message`.
    #[must_use]
    pub fn digest(self, message: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        };
        digest::digest(algorithm, message).as_ref().to_vec()
    }

    /// AlgorithmIdentifier without parameters (RFC 5754 section 2).
    pub(crate) fn identifier(self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(16);
        self.write(&mut writer);
        writer.finish()
    }

    /// Appends the same.
    pub(crate) fn write(self, to: &mut Writer) {
        to.nested(tlv::SEQUENCE, |identifier| identifier.oid(&self.oid()));
    }
}

/// Signature algorithms that are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureAlgorithm {
    /// RSASSA-PKCS1-v1_5.
    RsaPkcs1(DigestAlgorithm),
    /// RSASSA-PSS with MGF1 on the same digest and a salt as long as the digest.
    RsaPss(DigestAlgorithm),
    /// ECDSA; the signature is a DER SEQUENCE of r and s.
    Ecdsa(DigestAlgorithm),
    /// Ed25519 (RFC 8410).
    Ed25519,
}

impl SignatureAlgorithm {
    /// Whether SHA-1 is part of it.
    #[must_use]
    pub fn is_sha1(self) -> bool {
        match self {
            Self::RsaPkcs1(digest) | Self::RsaPss(digest) | Self::Ecdsa(digest) => {
                digest == DigestAlgorithm::Sha1
            }
            Self::Ed25519 => false,
        }
    }

    /// Digest that CMS names beside the signature; SHA-512 with Ed25519 (RFC 8419 section 3).
    #[must_use]
    pub fn digest(self) -> DigestAlgorithm {
        match self {
            Self::RsaPkcs1(digest) | Self::RsaPss(digest) | Self::Ecdsa(digest) => digest,
            Self::Ed25519 => DigestAlgorithm::Sha512,
        }
    }

    /// Reads an AlgorithmIdentifier in which the digest is named.
    pub(crate) fn read(identifier: &Tlv<'_>) -> Result<Result<Self, ObjectIdentifier>, Malformed> {
        const WHAT: &str = "signature algorithm";
        let mut parts = identifier.children();
        let oid = parts.any(WHAT)?.oid(WHAT)?;
        let algorithm = match oid {
            oids::SHA1_WITH_RSA | oids::SHA1_WITH_RSA_OIW => Self::RsaPkcs1(DigestAlgorithm::Sha1),
            oids::SHA256_WITH_RSA => Self::RsaPkcs1(DigestAlgorithm::Sha256),
            oids::SHA384_WITH_RSA => Self::RsaPkcs1(DigestAlgorithm::Sha384),
            oids::SHA512_WITH_RSA => Self::RsaPkcs1(DigestAlgorithm::Sha512),
            oids::ECDSA_WITH_SHA1 => Self::Ecdsa(DigestAlgorithm::Sha1),
            oids::ECDSA_WITH_SHA256 => Self::Ecdsa(DigestAlgorithm::Sha256),
            oids::ECDSA_WITH_SHA384 => Self::Ecdsa(DigestAlgorithm::Sha384),
            oids::ECDSA_WITH_SHA512 => Self::Ecdsa(DigestAlgorithm::Sha512),
            oids::ED25519 => Self::Ed25519,
            oids::ECDSA_WITH_SPECIFIED => match digest_of(&parts.expect(tlv::SEQUENCE, WHAT)?)? {
                Some(digest) => Self::Ecdsa(digest),
                None => return Ok(Err(oid)),
            },
            oids::RSASSA_PSS => match pss_digest(&parts.expect(tlv::SEQUENCE, WHAT)?)? {
                Some(digest) => Self::RsaPss(digest),
                None => return Ok(Err(oid)),
            },
            other => return Ok(Err(other)),
        };
        end_of_identifier(parts, WHAT)?;
        Ok(Ok(algorithm))
    }

    /// Reads the signatureAlgorithm of a SignerInfo, which may name the key's algorithm only and leave the
    /// digest to `digest`; where it names a digest, both must agree.
    pub(crate) fn read_in_signer_info(
        identifier: &Tlv<'_>,
        digest: DigestAlgorithm,
    ) -> Result<Result<Self, ObjectIdentifier>, Malformed> {
        const WHAT: &str = "signature algorithm";
        let mut parts = identifier.children();
        let oid = parts.any(WHAT)?.oid(WHAT)?;
        let algorithm = match oid {
            oids::RSA_ENCRYPTION | oids::EC_PUBLIC_KEY => {
                end_of_identifier(parts, WHAT)?;
                if oid == oids::RSA_ENCRYPTION { Self::RsaPkcs1(digest) } else { Self::Ecdsa(digest) }
            }
            _ => match Self::read(identifier)? {
                // RFC 8419 asks for SHA-512; without signed attributes the digest is not used at all.
                Ok(Self::Ed25519) => Self::Ed25519,
                Ok(found) if found.digest() == digest => found,
                Ok(_) => return Ok(Err(oid)),
                Err(other) => return Ok(Err(other)),
            },
        };
        Ok(Ok(algorithm))
    }

    /// DER AlgorithmIdentifier for what is signed with this. `None` for RSA-PSS, which is only verified.
    pub(crate) fn identifier(self) -> Option<Vec<u8>> {
        let (oid, null): (_, &[u8]) = match self {
            Self::RsaPkcs1(DigestAlgorithm::Sha1) => (oids::SHA1_WITH_RSA, &[tlv::NULL, 0]),
            Self::RsaPkcs1(DigestAlgorithm::Sha256) => (oids::SHA256_WITH_RSA, &[tlv::NULL, 0]),
            Self::RsaPkcs1(DigestAlgorithm::Sha384) => (oids::SHA384_WITH_RSA, &[tlv::NULL, 0]),
            Self::RsaPkcs1(DigestAlgorithm::Sha512) => (oids::SHA512_WITH_RSA, &[tlv::NULL, 0]),
            Self::RsaPss(_) => return None,
            Self::Ecdsa(DigestAlgorithm::Sha1) => (oids::ECDSA_WITH_SHA1, &[]),
            Self::Ecdsa(DigestAlgorithm::Sha256) => (oids::ECDSA_WITH_SHA256, &[]),
            Self::Ecdsa(DigestAlgorithm::Sha384) => (oids::ECDSA_WITH_SHA384, &[]),
            Self::Ecdsa(DigestAlgorithm::Sha512) => (oids::ECDSA_WITH_SHA512, &[]),
            Self::Ed25519 => (oids::ED25519, &[]),
        };
        Some(tlv::constructed(tlv::SEQUENCE, &[&tlv::oid(&oid), null]))
    }

    /// Verifies `signature` over `message`.
    ///
    /// # Errors
    /// [`SignatureError`] when the algorithm does not belong to the key or the signature is wrong.
    pub fn verify(self, key: &PublicKey, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        use DigestAlgorithm::{Sha1, Sha256, Sha384, Sha512};
        let algorithm: &'static dyn signature::VerificationAlgorithm = match (self, key.algorithm()) {
            (Self::RsaPkcs1(Sha1), KeyAlgorithm::Rsa { .. }) => {
                &signature::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY
            }
            (Self::RsaPkcs1(Sha256), KeyAlgorithm::Rsa { .. }) => {
                &signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY
            }
            (Self::RsaPkcs1(Sha384), KeyAlgorithm::Rsa { .. }) => &signature::RSA_PKCS1_2048_8192_SHA384,
            (Self::RsaPkcs1(Sha512), KeyAlgorithm::Rsa { .. }) => {
                &signature::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY
            }
            (Self::RsaPss(Sha256), KeyAlgorithm::Rsa { .. }) => &signature::RSA_PSS_2048_8192_SHA256,
            (Self::RsaPss(Sha384), KeyAlgorithm::Rsa { .. }) => &signature::RSA_PSS_2048_8192_SHA384,
            (Self::RsaPss(Sha512), KeyAlgorithm::Rsa { .. }) => &signature::RSA_PSS_2048_8192_SHA512,
            (Self::Ecdsa(Sha1), KeyAlgorithm::P256) => &signature::ECDSA_P256_SHA1_ASN1,
            (Self::Ecdsa(Sha256), KeyAlgorithm::P256) => &signature::ECDSA_P256_SHA256_ASN1,
            (Self::Ecdsa(Sha384), KeyAlgorithm::P256) => &signature::ECDSA_P256_SHA384_ASN1,
            (Self::Ecdsa(Sha512), KeyAlgorithm::P256) => &signature::ECDSA_P256_SHA512_ASN1,
            (Self::Ecdsa(Sha256), KeyAlgorithm::P384) => &signature::ECDSA_P384_SHA256_ASN1,
            (Self::Ecdsa(Sha384), KeyAlgorithm::P384) => &signature::ECDSA_P384_SHA384_ASN1,
            (Self::Ecdsa(Sha512), KeyAlgorithm::P384) => &signature::ECDSA_P384_SHA512_ASN1,
            (Self::Ecdsa(Sha1), KeyAlgorithm::P521) => &signature::ECDSA_P521_SHA1_ASN1,
            (Self::Ecdsa(Sha256), KeyAlgorithm::P521) => &signature::ECDSA_P521_SHA256_ASN1,
            (Self::Ecdsa(Sha384), KeyAlgorithm::P521) => &signature::ECDSA_P521_SHA384_ASN1,
            (Self::Ecdsa(Sha512), KeyAlgorithm::P521) => &signature::ECDSA_P521_SHA512_ASN1,
            (Self::Ed25519, KeyAlgorithm::Ed25519) => &signature::ED25519,
            (Self::RsaPkcs1(_) | Self::RsaPss(_) | Self::Ecdsa(_) | Self::Ed25519, _) => {
                return Err(SignatureError::UnsupportedAlgorithm(self.oid()));
            }
        };
        signature::UnparsedPublicKey::new(algorithm, key.subject_public_key())
            .verify(message, signature)
            .map_err(|_| SignatureError::Wrong)
    }

    fn oid(self) -> ObjectIdentifier {
        match self {
            Self::RsaPkcs1(DigestAlgorithm::Sha1) => oids::SHA1_WITH_RSA,
            Self::RsaPkcs1(DigestAlgorithm::Sha256) => oids::SHA256_WITH_RSA,
            Self::RsaPkcs1(DigestAlgorithm::Sha384) => oids::SHA384_WITH_RSA,
            Self::RsaPkcs1(DigestAlgorithm::Sha512) => oids::SHA512_WITH_RSA,
            Self::RsaPss(_) => oids::RSASSA_PSS,
            Self::Ecdsa(DigestAlgorithm::Sha1) => oids::ECDSA_WITH_SHA1,
            Self::Ecdsa(DigestAlgorithm::Sha256) => oids::ECDSA_WITH_SHA256,
            Self::Ecdsa(DigestAlgorithm::Sha384) => oids::ECDSA_WITH_SHA384,
            Self::Ecdsa(DigestAlgorithm::Sha512) => oids::ECDSA_WITH_SHA512,
            Self::Ed25519 => oids::ED25519,
        }
    }
}

/// Digest of an AlgorithmIdentifier.
pub(crate) fn digest_of(identifier: &Tlv<'_>) -> Result<Option<DigestAlgorithm>, Malformed> {
    const WHAT: &str = "digest algorithm";
    let mut parts = identifier.children();
    let oid = parts.any(WHAT)?.oid(WHAT)?;
    end_of_identifier(parts, WHAT)?;
    Ok(DigestAlgorithm::from_oid(&oid))
}

/// Parameters that say nothing: none, or NULL.
fn end_of_identifier(mut rest: tlv::Cursor<'_>, what: &'static str) -> Result<(), Malformed> {
    match rest.optional(tlv::NULL, what)? {
        Some(null) if !null.value.is_empty() => Err(Malformed(what)),
        Some(_) | None => rest.finish(what),
    }
}

/// Digest of RSASSA-PSS parameters, if mask digest and salt length go with it (RFC 4055 section 3.1).
fn pss_digest(parameters: &Tlv<'_>) -> Result<Option<DigestAlgorithm>, Malformed> {
    const WHAT: &str = "RSASSA-PSS parameters";
    let mut parts = parameters.children();
    // The default digest is SHA-1, which is not accepted here.
    let Some(hash) = parts.optional(tlv::CTX_0, WHAT)? else { return Ok(None) };
    let Some(mask) = parts.optional(tlv::CTX_1, WHAT)? else { return Ok(None) };
    let Some(salt) = parts.optional(0xa2, WHAT)? else { return Ok(None) };
    let digest = digest_of(&hash.children().only(tlv::SEQUENCE, WHAT)?)?;
    let mut mask = mask.children().only(tlv::SEQUENCE, WHAT)?.children();
    let mask_function = mask.any(WHAT)?.oid(WHAT)?;
    let mask_digest = digest_of(&mask.expect(tlv::SEQUENCE, WHAT)?)?;
    mask.finish(WHAT)?;
    let salt = salt.children().only(tlv::INTEGER, WHAT)?.small_integer(WHAT)?;
    if let Some(trailer) = parts.optional(tlv::CTX_3, WHAT)?
        && trailer.children().only(tlv::INTEGER, WHAT)?.small_integer(WHAT)? != 1
    {
        return Err(Malformed(WHAT));
    }
    parts.finish(WHAT)?;
    Ok(digest.filter(|digest| {
        let length = match digest {
            DigestAlgorithm::Sha1 => return false,
            DigestAlgorithm::Sha256 => 32,
            DigestAlgorithm::Sha384 => 48,
            DigestAlgorithm::Sha512 => 64,
        };
        mask_function == oids::MGF1 && mask_digest == Some(*digest) && salt == length
    }))
}

/// Signing failed in whatever holds the key; carries its message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("signing failed: {0}")]
pub struct SignError(pub String);

/// A private key that signs. Implemented where keys live; this crate holds none.
pub trait SignBytes {
    /// What [`Self::sign`] produces.
    fn algorithm(&self) -> SignatureAlgorithm;

    /// Signature over `message`, in the encoding that X.509 uses (ECDSA: DER).
    ///
    /// # Errors
    /// [`SignError`] when the key cannot be used.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;
}

impl fmt::Debug for dyn SignBytes + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignBytes").field("algorithm", &self.algorithm()).finish_non_exhaustive()
    }
}
