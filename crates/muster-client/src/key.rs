//! Private keys: made here, kept as PKCS#8, used to sign requests.
//!
//! The key leaves this module as PKCS#8 only (for its file or a PKCS#12 file), and that memory is wiped.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use der::pem::LineEnding;
use muster_proto::wcce::{
    DigestAlgorithm, KeyAlgorithm, KeyError, PublicKey, SignBytes, SignError, SignatureAlgorithm,
};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::Random;
use crate::files::{self, Access, Existing, FileError};

/// Kinds of keys that can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// RSA with 2048 bits.
    Rsa2048,
    /// RSA with 3072 bits.
    Rsa3072,
    /// RSA with 4096 bits.
    Rsa4096,
    /// ECDSA on NIST P-256.
    P256,
    /// ECDSA on NIST P-384.
    P384,
    /// Ed25519.
    Ed25519,
}

/// No such kind of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a key type; use rsa2048, rsa3072, rsa4096, p256, p384 or ed25519")]
pub struct UnknownKeyType;

impl KeyType {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::Rsa2048, Self::Rsa3072, Self::Rsa4096, Self::P256, Self::P384, Self::Ed25519];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rsa2048 => "rsa2048",
            Self::Rsa3072 => "rsa3072",
            Self::Rsa4096 => "rsa4096",
            Self::P256 => "p256",
            Self::P384 => "p384",
            Self::Ed25519 => "ed25519",
        }
    }

    /// The smallest RSA key with at least so many bits.
    #[must_use]
    pub const fn rsa(bits: u32) -> Option<Self> {
        match bits {
            0..=2048 => Some(Self::Rsa2048),
            2049..=3072 => Some(Self::Rsa3072),
            3073..=4096 => Some(Self::Rsa4096),
            _ => None,
        }
    }
}

impl FromStr for KeyType {
    type Err = UnknownKeyType;

    fn from_str(text: &str) -> Result<Self, UnknownKeyType> {
        Self::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(text)).ok_or(UnknownKeyType)
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A private key.
pub struct PrivateKey {
    signer: Signer,
    public: PublicKey,
    pkcs8: Zeroizing<Vec<u8>>,
}

enum Signer {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// Why a private key cannot be made or used.
#[derive(Debug, Error)]
pub enum PrivateKeyError {
    /// The cryptographic library failed to make a key.
    #[error("the key cannot be generated")]
    Generate,
    /// The file is no PEM file with a private key.
    #[error("{file}: {error}")]
    Pem {
        /// The file.
        file: String,
        /// What the reader says.
        error: pem::Error,
    },
    /// The private key is not in PKCS#8 form, damaged, or of a kind that is not supported.
    #[error("the private key is not an RSA, P-256, P-384 or Ed25519 key in PKCS#8 form")]
    Unsupported,
    /// The public half cannot be encoded.
    #[error(transparent)]
    Public(#[from] KeyError),
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

impl PrivateKeyError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Generate | Self::Public(_) => "try another key type",
            Self::Pem { .. } | Self::Unsupported => "convert it with: openssl pkcs8 -topk8 -nocrypt",
            Self::File(error) => error.hint(),
        }
    }
}

impl PrivateKey {
    /// Makes a new key. RSA takes up to some seconds.
    ///
    /// # Errors
    /// [`PrivateKeyError::Generate`].
    pub fn generate(kind: KeyType) -> Result<Self, PrivateKeyError> {
        let failed = |_| PrivateKeyError::Generate;
        let rsa = |size| RsaKeyPair::generate(size).map(Signer::Rsa).map_err(failed);
        let signer = match kind {
            KeyType::Rsa2048 => rsa(KeySize::Rsa2048)?,
            KeyType::Rsa3072 => rsa(KeySize::Rsa3072)?,
            KeyType::Rsa4096 => rsa(KeySize::Rsa4096)?,
            KeyType::P256 => {
                Signer::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(failed)?)
            }
            KeyType::P384 => {
                Signer::P384(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_ASN1_SIGNING).map_err(failed)?)
            }
            KeyType::Ed25519 => Signer::Ed25519(Ed25519KeyPair::generate().map_err(failed)?),
        };
        Self::from_signer(signer)
    }

    /// Reads PKCS#8 (version 1 or 2).
    ///
    /// # Errors
    /// [`PrivateKeyError::Unsupported`].
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, PrivateKeyError> {
        let signer = if let Ok(key) = RsaKeyPair::from_pkcs8(pkcs8) {
            Signer::Rsa(key)
        } else if let Ok(key) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8) {
            Signer::P256(key)
        } else if let Ok(key) = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_ASN1_SIGNING, pkcs8) {
            Signer::P384(key)
        } else if let Ok(key) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8) {
            Signer::Ed25519(key)
        } else {
            return Err(PrivateKeyError::Unsupported);
        };
        Self::from_signer(signer)
    }

    /// Reads a PEM file.
    ///
    /// # Errors
    /// [`PrivateKeyError`].
    pub fn from_file(file: &Path) -> Result<Self, PrivateKeyError> {
        // 64 KiB: an RSA key of 16384 bits in PEM takes 13 KiB.
        let pem = Zeroizing::new(files::read(file, 64 << 10)?);
        let key = PrivateKeyDer::from_pem_slice(&pem)
            .map_err(|error| PrivateKeyError::Pem { file: file.display().to_string(), error })?;
        let PrivateKeyDer::Pkcs8(key) = key else { return Err(PrivateKeyError::Unsupported) };
        Self::from_pkcs8(key.secret_pkcs8_der())
    }

    fn from_signer(signer: Signer) -> Result<Self, PrivateKeyError> {
        let unsupported = |_| PrivateKeyError::Unsupported;
        let spki: PublicKeyX509Der<'_> = match &signer {
            Signer::Rsa(key) => key.public_key().as_der(),
            Signer::P256(key) | Signer::P384(key) => key.public_key().as_der(),
            Signer::Ed25519(key) => key.public_key().as_der(),
        }
        .map_err(unsupported)?;
        // Version 1 of PKCS#8, since OpenSSL 3.0 does not read Ed25519 keys of version 2.
        let pkcs8 = match &signer {
            Signer::Rsa(key) => {
                AsDer::<Pkcs8V1Der<'_>>::as_der(key).map(|der| Zeroizing::new(der.as_ref().to_vec()))
            }
            Signer::P256(key) | Signer::P384(key) => {
                key.to_pkcs8v1().map(|der| Zeroizing::new(der.as_ref().to_vec()))
            }
            Signer::Ed25519(key) => key.to_pkcs8v1().map(|der| Zeroizing::new(der.as_ref().to_vec())),
        }
        .map_err(unsupported)?;
        let public = PublicKey::from_spki_der(spki.as_ref())?;
        Ok(Self { signer, public, pkcs8 })
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// PKCS#8, version 1, not encrypted.
    #[must_use]
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// For TLS client authentication.
    #[must_use]
    pub fn to_tls(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.pkcs8.to_vec()).into()
    }

    /// A key of the same kind, for renewals; none for sizes that are not made here.
    #[must_use]
    pub fn kind(&self) -> Option<KeyType> {
        match self.public.algorithm() {
            KeyAlgorithm::Rsa { bits: 2048, .. } => Some(KeyType::Rsa2048),
            KeyAlgorithm::Rsa { bits: 3072, .. } => Some(KeyType::Rsa3072),
            KeyAlgorithm::Rsa { bits: 4096, .. } => Some(KeyType::Rsa4096),
            KeyAlgorithm::P256 => Some(KeyType::P256),
            KeyAlgorithm::P384 => Some(KeyType::P384),
            KeyAlgorithm::Ed25519 => Some(KeyType::Ed25519),
            KeyAlgorithm::Rsa { .. } | KeyAlgorithm::P521 => None,
        }
    }

    /// Writes PEM with mode 0600.
    ///
    /// # Errors
    /// [`PrivateKeyError::File`], also if the file exists and may not be replaced.
    pub fn write(&self, file: &Path, existing: Existing, random: &dyn Random) -> Result<(), PrivateKeyError> {
        let pem = der::pem::encode_string("PRIVATE KEY", LineEnding::LF, &self.pkcs8)
            .map_err(|_| PrivateKeyError::Unsupported)?;
        let pem = Zeroizing::new(pem);
        Ok(files::write(file, pem.as_bytes(), Access::Private, existing, random)?)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PrivateKey").field(&self.public.algorithm()).finish()
    }
}

impl SignBytes for PrivateKey {
    /// SHA-256 with RSA and P-256, SHA-384 with P-384.
    fn algorithm(&self) -> SignatureAlgorithm {
        match self.signer {
            Signer::Rsa(_) => SignatureAlgorithm::RsaPkcs1(DigestAlgorithm::Sha256),
            Signer::P256(_) => SignatureAlgorithm::Ecdsa(DigestAlgorithm::Sha256),
            Signer::P384(_) => SignatureAlgorithm::Ecdsa(DigestAlgorithm::Sha384),
            Signer::Ed25519(_) => SignatureAlgorithm::Ed25519,
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let failed = |_| SignError("the private key cannot sign".to_owned());
        let random = SystemRandom::new();
        match &self.signer {
            Signer::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
            Signer::P256(key) | Signer::P384(key) => {
                Ok(key.sign(&random, message).map_err(failed)?.as_ref().to_vec())
            }
            Signer::Ed25519(key) => Ok(key.sign(message).as_ref().to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_key_signs_and_survives_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let random = crate::SystemRandom::new();
        for kind in KeyType::ALL {
            let key = PrivateKey::generate(kind).unwrap();
            assert_eq!(key.kind(), Some(kind));
            let file = directory.path().join(kind.name());
            key.write(&file, Existing::Keep, &random).unwrap();
            let read = PrivateKey::from_file(&file).unwrap();
            assert_eq!(read.public(), key.public(), "{kind}");
            let signature = read.sign(b"message").unwrap();
            key.algorithm().verify(key.public(), b"message", &signature).unwrap();
            assert!(key.algorithm().verify(key.public(), b"massage", &signature).is_err(), "{kind}");
        }
    }

    #[test]
    fn debug_output_hides_the_key() {
        let key = PrivateKey::generate(KeyType::P256).unwrap();
        assert_eq!(format!("{key:?}"), "PrivateKey(P256)");
    }

    #[test]
    fn rsa_size_is_the_smallest_that_suffices() {
        assert_eq!(KeyType::rsa(1024), Some(KeyType::Rsa2048));
        assert_eq!(KeyType::rsa(2049), Some(KeyType::Rsa3072));
        assert_eq!(KeyType::rsa(4096), Some(KeyType::Rsa4096));
        assert_eq!(KeyType::rsa(8192), None);
    }

    #[test]
    fn file_without_private_key_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key");
        std::fs::write(&file, "no PEM here").unwrap();
        assert!(matches!(PrivateKey::from_file(&file), Err(PrivateKeyError::Pem { .. })));
        std::fs::write(&file, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
        assert!(matches!(PrivateKey::from_file(&file), Err(PrivateKeyError::Unsupported)));
    }
}
