//! What can be wrong with a request, and which HRESULT says so to a Windows client.

use der::asn1::ObjectIdentifier;

use super::key::KeyError;

/// A structure that could not be read; holds the name of the part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed {0}")]
pub struct Malformed(pub &'static str);

/// Why a signature was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The algorithm is unknown, outdated, or not one for this key.
    #[error("signature algorithm {0} is not accepted with this key")]
    UnsupportedAlgorithm(ObjectIdentifier),
    /// The signature does not fit the key and the bytes.
    #[error("signature is wrong")]
    Wrong,
}

/// Why a certificate request was not accepted. [`RequestError::hresult`] maps each variant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// More than [`MAX_REQUEST_LEN`](super::MAX_REQUEST_LEN) octets. ERROR_INVALID_DATA.
    #[error("request has {len} octets, more than the limit")]
    TooLarge {
        /// Octets received.
        len: usize,
    },
    /// Neither PKCS#10 nor CMS signedData, or an unknown content type inside. CRYPT_E_INVALID_MSG_TYPE.
    #[error("not a PKCS#10, CMS or CMC request")]
    UnknownFormat,
    /// A part cannot be decoded. ERROR_INVALID_DATA.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// More elements than the limit allows. ERROR_INVALID_DATA.
    #[error("more than {limit} {what}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The public key is of an unsupported kind or cannot be read. CERTSRV_E_KEY_LENGTH.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A CMC request without exactly one TaggedRequest. ERROR_INVALID_DATA.
    #[error("{found} requests in the CMC message, not one")]
    NotOneRequest {
        /// Requests found.
        found: usize,
    },
    /// An attribute with other than one value where one is allowed. ERROR_INVALID_DATA.
    #[error("attribute {0} must have one value")]
    NotOneValue(ObjectIdentifier),
    /// The same attribute or extension twice with different content. ERROR_INVALID_DATA.
    #[error("{0} appears twice")]
    Duplicate(ObjectIdentifier),
    /// A CMS message without SignerInfo. CRYPT_E_NO_SIGNER.
    #[error("message has no signer")]
    NoSigner,
    /// The signature of the PKCS#10 is not accepted. NTE_BAD_SIGNATURE.
    #[error("request signature: {0}")]
    RequestSignature(SignatureError),
    /// The signature of a SignerInfo is not accepted. NTE_BAD_SIGNATURE.
    #[error("signer {index}: {error}")]
    SignerSignature {
        /// Position of the SignerInfo, from 0.
        index: usize,
        /// What is wrong.
        error: SignatureError,
    },
    /// The key in the certificate of a SignerInfo cannot be used. NTE_BAD_SIGNATURE.
    #[error("signer {index}: {error}")]
    SignerKey {
        /// Position of the SignerInfo, from 0.
        index: usize,
        /// What is wrong.
        error: KeyError,
    },
    /// The certificate that a SignerInfo names is not in the message. CRYPT_E_NO_SIGNER.
    #[error("signer {index}: its certificate is not in the message")]
    SignerCertificateMissing {
        /// Position of the SignerInfo, from 0.
        index: usize,
    },
    /// Signed attributes missing where they are required. CRYPT_E_AUTH_ATTR_MISSING.
    #[error("signer {index}: signed attributes are missing")]
    SignedAttributesMissing {
        /// Position of the SignerInfo, from 0.
        index: usize,
    },
    /// The signed content type is not that of the content. CRYPT_E_INVALID_MSG_TYPE.
    #[error("signer {index}: signed content type is another")]
    SignedContentType {
        /// Position of the SignerInfo, from 0.
        index: usize,
    },
    /// The signed message digest is not that of the content. CRYPT_E_HASH_VALUE.
    #[error("signer {index}: message digest is wrong")]
    MessageDigest {
        /// Position of the SignerInfo, from 0.
        index: usize,
    },
    /// Nothing proves possession of the new private key. NTE_BAD_SIGNATURE.
    #[error("nothing proves possession of the new private key")]
    NoProofOfPossession,
    /// A renewal certificate attribute whose certificate did not sign. CERTSRV_E_BAD_RENEWAL_CERT_ATTRIBUTE.
    #[error("the certificate to be renewed did not sign the request")]
    RenewalNotSigned,
}

impl RequestError {
    /// The HRESULT that tells a client best what is wrong.
    #[must_use]
    pub fn hresult(&self) -> u32 {
        match self {
            Self::TooLarge { .. }
            | Self::Malformed(_)
            | Self::TooMany { .. }
            | Self::NotOneRequest { .. }
            | Self::NotOneValue(_)
            | Self::Duplicate(_) => 0x8007_000D,
            Self::UnknownFormat | Self::SignedContentType { .. } => 0x8009_1004,
            Self::Key(_) => 0x8009_4811,
            Self::NoSigner | Self::SignerCertificateMissing { .. } => 0x8009_200E,
            Self::RequestSignature(_)
            | Self::SignerSignature { .. }
            | Self::SignerKey { .. }
            | Self::NoProofOfPossession => 0x8009_0006,
            Self::SignedAttributesMissing { .. } => 0x8009_1006,
            Self::MessageDigest { .. } => 0x8009_1007,
            Self::RenewalNotSigned => 0x8009_400E,
        }
    }
}
