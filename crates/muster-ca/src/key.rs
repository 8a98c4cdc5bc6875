//! Signing keys: the algorithms, and the one place through which a private key is used.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, ParsedPublicKey,
    VerificationAlgorithm,
};
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5912::{ID_EC_PUBLIC_KEY, RSA_ENCRYPTION, SECP_256_R_1, SECP_384_R_1};
use const_oid::db::rfc8410::ID_ED_25519;
use der::Decode;
use muster_proto::wcce::{DigestAlgorithm, SignBytes, SignError, SignatureAlgorithm};
use pkcs8::PrivateKeyInfoRef;
use zeroize::Zeroizing;

/// What a CA signs with. RSA is PKCS#1 v1.5 with SHA-256; ECDSA uses the digest of the curve's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SigningAlgorithm {
    /// RSA, 2048 bits, SHA-256.
    Rsa2048,
    /// RSA, 3072 bits, SHA-256.
    Rsa3072,
    /// RSA, 4096 bits, SHA-256.
    Rsa4096,
    /// ECDSA on P-256 with SHA-256.
    P256,
    /// ECDSA on P-384 with SHA-384.
    P384,
    /// Ed25519 (RFC 8410). Windows does not verify it.
    Ed25519,
}

impl SigningAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 6] =
        [Self::Rsa2048, Self::Rsa3072, Self::Rsa4096, Self::P256, Self::P384, Self::Ed25519];

    /// The word used on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rsa2048 => "rsa2048",
            Self::Rsa3072 => "rsa3072",
            Self::Rsa4096 => "rsa4096",
            Self::P256 => "p256",
            Self::P384 => "p384",
            Self::Ed25519 => "ed25519",
        }
    }

    /// AlgorithmIdentifier of the signature, DER (RFC 4055 5, RFC 5758 3.2, RFC 8410 3).
    #[must_use]
    pub const fn identifier(self) -> &'static [u8] {
        match self {
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 => {
                &[0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11, 5, 0]
            }
            Self::P256 => &[0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2],
            Self::P384 => &[0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3],
            Self::Ed25519 => &[0x30, 5, 6, 3, 0x2b, 0x65, 0x70],
        }
    }

    /// Whether verifying costs little beside signing. With RSA it is 4 to 7 %; with ECDSA and Ed25519 it is two to five
    /// times as much as signing (P-256: 13 µs to sign, 38 µs to verify with a key that is parsed already).
    pub(crate) const fn verifies_cheaply(self) -> bool {
        match self {
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 => true,
            Self::P256 | Self::P384 | Self::Ed25519 => false,
        }
    }

    fn verification(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Self::P256 => &signature::ECDSA_P256_SHA256_ASN1,
            Self::P384 => &signature::ECDSA_P384_SHA384_ASN1,
            Self::Ed25519 => &signature::ED25519,
        }
    }
}

impl fmt::Display for SigningAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not an algorithm that a CA can sign with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not an algorithm for a CA: use rsa2048, rsa3072, rsa4096, p256, p384 or ed25519")]
pub struct UnknownAlgorithm(String);

impl FromStr for SigningAlgorithm {
    type Err = UnknownAlgorithm;

    fn from_str(text: &str) -> Result<Self, UnknownAlgorithm> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str() == text)
            .ok_or_else(|| UnknownAlgorithm(text.chars().take(64).collect()))
    }
}

/// A key could not be made, read or used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The cryptographic module did not make a key.
    #[error("a key could not be generated")]
    Generation,
    /// What was decrypted is not a PKCS#8 private key, or a damaged one.
    #[error("this is not a private key in PKCS#8 form")]
    Malformed,
    /// A kind or size of key that a CA does not use.
    #[error("the private key is not one of rsa2048, rsa3072, rsa4096, p256, p384 and ed25519")]
    Unsupported,
    /// The cryptographic module did not hand out the public or private key.
    #[error("the key could not be encoded")]
    Encoding,
    /// The cryptographic module did not sign.
    #[error("the key could not be used to sign")]
    Signing,
}

/// A CA's private key, wherever it is held.
pub struct SigningKey {
    algorithm: SigningAlgorithm,
    spki: Vec<u8>,
    public: ParsedPublicKey,
    holder: Holder,
}

/// Who holds the private half. A PKCS#11 token will be one more variant.
enum Holder {
    Rsa(Box<rsa::KeyPair>),
    Ecdsa(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

impl SigningKey {
    /// Makes a key in this process's memory. RSA-4096 takes about a second.
    ///
    /// # Errors
    /// [`KeyError::Generation`] and [`KeyError::Encoding`].
    pub fn generate(algorithm: SigningAlgorithm) -> Result<Self, KeyError> {
        let rsa = |size| rsa::KeyPair::generate(size).map(|key| Holder::Rsa(Box::new(key)));
        let ecdsa = |curve| EcdsaKeyPair::generate(curve).map(|key| Holder::Ecdsa(Box::new(key)));
        let holder = match algorithm {
            SigningAlgorithm::Rsa2048 => rsa(KeySize::Rsa2048),
            SigningAlgorithm::Rsa3072 => rsa(KeySize::Rsa3072),
            SigningAlgorithm::Rsa4096 => rsa(KeySize::Rsa4096),
            SigningAlgorithm::P256 => ecdsa(&signature::ECDSA_P256_SHA256_ASN1_SIGNING),
            SigningAlgorithm::P384 => ecdsa(&signature::ECDSA_P384_SHA384_ASN1_SIGNING),
            SigningAlgorithm::Ed25519 => Ed25519KeyPair::generate().map(|key| Holder::Ed25519(Box::new(key))),
        };
        Self::new(algorithm, holder.map_err(|_| KeyError::Generation)?)
    }

    /// Reads an unencrypted PKCS#8 private key, DER.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] and [`KeyError::Unsupported`].
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let info = PrivateKeyInfoRef::from_der(der).map_err(|_| KeyError::Malformed)?;
        let curve = || info.algorithm.parameters_oid().map_err(|_| KeyError::Unsupported);
        match info.algorithm.oid {
            RSA_ENCRYPTION => {
                let key = rsa::KeyPair::from_pkcs8(der).map_err(|_| KeyError::Malformed)?;
                let algorithm = match key.public_modulus_len() {
                    256 => SigningAlgorithm::Rsa2048,
                    384 => SigningAlgorithm::Rsa3072,
                    512 => SigningAlgorithm::Rsa4096,
                    _ => return Err(KeyError::Unsupported),
                };
                Self::new(algorithm, Holder::Rsa(Box::new(key)))
            }
            ID_EC_PUBLIC_KEY => Self::from_ec(der, curve()?),
            ID_ED_25519 => {
                let key = Ed25519KeyPair::from_pkcs8(der).map_err(|_| KeyError::Malformed)?;
                Self::new(SigningAlgorithm::Ed25519, Holder::Ed25519(Box::new(key)))
            }
            _ => Err(KeyError::Unsupported),
        }
    }

    fn from_ec(der: &[u8], curve: ObjectIdentifier) -> Result<Self, KeyError> {
        let (algorithm, signing): (_, &'static EcdsaSigningAlgorithm) = match curve {
            SECP_256_R_1 => (SigningAlgorithm::P256, &signature::ECDSA_P256_SHA256_ASN1_SIGNING),
            SECP_384_R_1 => (SigningAlgorithm::P384, &signature::ECDSA_P384_SHA384_ASN1_SIGNING),
            _ => return Err(KeyError::Unsupported),
        };
        let key = EcdsaKeyPair::from_pkcs8(signing, der).map_err(|_| KeyError::Malformed)?;
        Self::new(algorithm, Holder::Ecdsa(Box::new(key)))
    }

    fn new(algorithm: SigningAlgorithm, holder: Holder) -> Result<Self, KeyError> {
        let der = |key: Result<PublicKeyX509Der<'static>, _>| {
            key.map(|der| der.as_ref().to_vec())
                .map_err(|_: aws_lc_rs::error::Unspecified| KeyError::Encoding)
        };
        let parse =
            |raw: &[u8]| ParsedPublicKey::new(algorithm.verification(), raw).map_err(|_| KeyError::Encoding);
        let (spki, public) = match &holder {
            Holder::Rsa(key) => (der(key.public_key().as_der())?, parse(key.public_key().as_ref())?),
            Holder::Ecdsa(key) => (der(key.public_key().as_der())?, parse(key.public_key().as_ref())?),
            Holder::Ed25519(key) => (der(key.public_key().as_der())?, parse(key.public_key().as_ref())?),
        };
        Ok(Self { algorithm, spki, public, holder })
    }

    /// The algorithm.
    #[must_use]
    pub const fn algorithm(&self) -> SigningAlgorithm {
        self.algorithm
    }

    /// SubjectPublicKeyInfo, DER.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// Signs `message` (not its digest). The encoding is that of X.509: ECDSA as a DER SEQUENCE of r and s.
    ///
    /// # Errors
    /// [`KeyError::Signing`].
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        match &self.holder {
            Holder::Rsa(key) => {
                let mut octets = vec![0; key.public_modulus_len()];
                key.sign(&signature::RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut octets)
                    .map_err(|_| KeyError::Signing)?;
                Ok(octets)
            }
            Holder::Ecdsa(key) => key
                .sign(&SystemRandom::new(), message)
                .map(|s| s.as_ref().to_vec())
                .map_err(|_| KeyError::Signing),
            Holder::Ed25519(key) => {
                key.try_sign(message).map(|s| s.as_ref().to_vec()).map_err(|_| KeyError::Signing)
            }
        }
    }

    /// Whether `signature` is this key's over `message`.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.public.verify_sig(message, signature).is_ok()
    }

    /// The private key as PKCS#8 version 1, DER: the version that every tool reads.
    pub(crate) fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let octets = match &self.holder {
            Holder::Rsa(key) => {
                let der: Result<Pkcs8V1Der<'_>, _> = key.as_der();
                der.map(|der| der.as_ref().to_vec())
            }
            Holder::Ecdsa(key) => key.to_pkcs8v1().map(|der| der.as_ref().to_vec()),
            Holder::Ed25519(key) => key.to_pkcs8v1().map(|der| der.as_ref().to_vec()),
        };
        octets.map(Zeroizing::new).map_err(|_| KeyError::Encoding)
    }
}

/// For CMC responses, which the CA's key signs (MS-WCCE 3.2.1.4.2.1.4.8.2).
impl SignBytes for SigningKey {
    fn algorithm(&self) -> SignatureAlgorithm {
        match self.algorithm {
            SigningAlgorithm::Rsa2048 | SigningAlgorithm::Rsa3072 | SigningAlgorithm::Rsa4096 => {
                SignatureAlgorithm::RsaPkcs1(DigestAlgorithm::Sha256)
            }
            SigningAlgorithm::P256 => SignatureAlgorithm::Ecdsa(DigestAlgorithm::Sha256),
            SigningAlgorithm::P384 => SignatureAlgorithm::Ecdsa(DigestAlgorithm::Sha384),
            SigningAlgorithm::Ed25519 => SignatureAlgorithm::Ed25519,
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        Self::sign(self, message).map_err(|e| SignError(e.to_string()))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}
