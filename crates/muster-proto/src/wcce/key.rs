//! Public keys as they arrive in requests and certificates: which kind, and their exact bytes.

use aws_lc_rs::digest;
use der::asn1::ObjectIdentifier;

use super::error::Malformed;
use super::oids;
use super::tlv::{self, Cursor};

/// Why a public key was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not a SubjectPublicKeyInfo, or its content does not fit its algorithm.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A kind of key that is not supported.
    #[error("public key algorithm {0} is not supported")]
    UnsupportedAlgorithm(ObjectIdentifier),
    /// An EC key on a curve that is not supported.
    #[error("elliptic curve {0} is not supported")]
    UnsupportedCurve(ObjectIdentifier),
    /// An RSA modulus too short or too long for its signatures to be verified at all.
    #[error("RSA key of {bits} bits is not supported")]
    RsaSize {
        /// Bits of the modulus.
        bits: u32,
    },
    /// An RSA public exponent of more than 64 bits.
    #[error("RSA public exponent has more than 64 bits")]
    ExponentTooLarge,
    /// An EC point in compressed or hybrid form.
    #[error("elliptic curve point is not in uncompressed form")]
    PointNotUncompressed,
}

/// The kinds of keys that can be certified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyAlgorithm {
    /// RSA.
    Rsa {
        /// Bits of the modulus.
        bits: u32,
        /// Public exponent.
        exponent: u64,
    },
    /// ECDSA on NIST P-256.
    P256,
    /// ECDSA on NIST P-384.
    P384,
    /// ECDSA on NIST P-521.
    P521,
    /// Ed25519.
    Ed25519,
}

impl KeyAlgorithm {
    /// Size of the key in bits, as templates state it.
    #[must_use]
    pub fn bits(self) -> u32 {
        match self {
            Self::Rsa { bits, .. } => bits,
            Self::P256 | Self::Ed25519 => 256,
            Self::P384 => 384,
            Self::P521 => 521,
        }
    }
}

/// A public key with the bytes that it arrived in. Whether it is strong enough is for
/// [`check_public_key`](super::check_public_key) to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    algorithm: KeyAlgorithm,
    spki_der: Box<[u8]>,
    subject_public_key: Box<[u8]>,
}

impl PublicKey {
    /// Reads a DER SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// [`KeyError`] when it is not one or holds an unsupported key.
    pub fn from_spki_der(spki_der: &[u8]) -> Result<Self, KeyError> {
        const WHAT: &str = "public key";
        let mut spki = Cursor::new(spki_der).only(tlv::SEQUENCE, WHAT)?.children();
        let mut identifier = spki.expect(tlv::SEQUENCE, WHAT)?.children();
        let oid = identifier.any(WHAT)?.oid(WHAT)?;
        let key = spki.expect(tlv::BIT_STRING, WHAT)?.bit_string_octets(WHAT)?;
        spki.finish(WHAT)?;
        let algorithm = match oid {
            oids::RSA_ENCRYPTION => {
                if let Some(null) = identifier.optional(tlv::NULL, WHAT)?
                    && !null.value.is_empty()
                {
                    return Err(Malformed(WHAT).into());
                }
                let (modulus, exponent) = rsa_parts(key)?;
                let bits = bit_length(modulus).ok_or(Malformed("RSA modulus"))?;
                if !(1024..=8192).contains(&bits) {
                    return Err(KeyError::RsaSize { bits });
                }
                if exponent.len() > 8 {
                    return Err(KeyError::ExponentTooLarge);
                }
                let exponent = exponent.iter().fold(0, |sum, octet| sum << 8 | u64::from(*octet));
                KeyAlgorithm::Rsa { bits, exponent }
            }
            oids::EC_PUBLIC_KEY => {
                // Explicit curve parameters are a SEQUENCE and fail here.
                let (algorithm, point_len) = match identifier.any(WHAT)?.oid("elliptic curve name")? {
                    oids::SECP256R1 => (KeyAlgorithm::P256, 65),
                    oids::SECP384R1 => (KeyAlgorithm::P384, 97),
                    oids::SECP521R1 => (KeyAlgorithm::P521, 133),
                    other => return Err(KeyError::UnsupportedCurve(other)),
                };
                match key {
                    [4, ..] if key.len() == point_len => algorithm,
                    [2 | 3 | 6 | 7, ..] => return Err(KeyError::PointNotUncompressed),
                    _ => return Err(Malformed("elliptic curve point").into()),
                }
            }
            oids::ED25519 if key.len() == 32 => KeyAlgorithm::Ed25519,
            oids::ED25519 => return Err(Malformed(WHAT).into()),
            other => return Err(KeyError::UnsupportedAlgorithm(other)),
        };
        identifier.finish(WHAT)?;
        Ok(Self { algorithm, spki_der: spki_der.into(), subject_public_key: key.into() })
    }

    /// Which kind of key this is.
    #[must_use]
    pub fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// The SubjectPublicKeyInfo as received.
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        &self.spki_der
    }

    /// The content of the subjectPublicKey BIT STRING.
    #[must_use]
    pub fn subject_public_key(&self) -> &[u8] {
        &self.subject_public_key
    }

    /// Key identifier of RFC 5280 section 4.2.1.2, method 1: SHA-1 of [`Self::subject_public_key`].
    #[must_use]
    pub fn key_identifier(&self) -> Vec<u8> {
        digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &self.subject_public_key).as_ref().to_vec()
    }

    /// Modulus of an RSA key, big endian without leading zeros.
    pub(crate) fn rsa_modulus(&self) -> Option<&[u8]> {
        match self.algorithm {
            KeyAlgorithm::Rsa { .. } => rsa_parts(&self.subject_public_key).ok().map(|(modulus, _)| modulus),
            KeyAlgorithm::P256 | KeyAlgorithm::P384 | KeyAlgorithm::P521 | KeyAlgorithm::Ed25519 => None,
        }
    }
}

/// Modulus and exponent of an RSAPublicKey.
fn rsa_parts(key: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    const WHAT: &str = "RSA public key";
    let mut parts = Cursor::new(key).only(tlv::SEQUENCE, WHAT)?.children();
    let modulus = parts.any(WHAT)?.unsigned_integer(WHAT)?;
    let exponent = parts.any(WHAT)?.unsigned_integer(WHAT)?;
    parts.finish(WHAT)?;
    Ok((modulus, exponent))
}

fn bit_length(magnitude: &[u8]) -> Option<u32> {
    let first = magnitude.first()?;
    let whole = u32::try_from(magnitude.len()).ok()?.checked_mul(8)?;
    Some(whole - first.leading_zeros())
}
