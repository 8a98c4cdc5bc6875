//! Writing CMS SignedData: the order of certificates and signers is the caller's.
//!
//! The `cms` types sort every set; Windows clients are known to read root, issuing CA, leaf in this order.

use der::asn1::ObjectIdentifier;

use super::error::{Malformed, RequestError};
use super::oids;
use super::signature::{DigestAlgorithm, SignBytes, SignError, SignatureAlgorithm};
use super::tlv::{self, Writer};
use super::x509::CertificateView;

/// Room for a SignerInfo, and for what is around content, certificates and signers, so that a buffer hardly ever grows.
const USUAL_SIGNER: usize = 640;
const USUAL_FRAME: usize = 128;

/// Why a message could not be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The private key did not sign.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// Messages are not signed with this algorithm (SHA-1, RSA-PSS).
    #[error("messages are not signed with {0:?}")]
    Algorithm(SignatureAlgorithm),
    /// A part that was passed in cannot be read.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A name or extension that was passed in is not valid.
    #[error(transparent)]
    Content(#[from] RequestError),
    /// The certificate of the signing CA is missing.
    #[error("no CA certificate given")]
    NoCaCertificate,
    /// A time outside of the years 1970 to 9999.
    #[error("time cannot be encoded")]
    Time,
}

/// DER AlgorithmIdentifier of what `signer` makes, unless it is not good enough to sign with.
pub(crate) fn signing_identifier(algorithm: SignatureAlgorithm) -> Result<Vec<u8>, BuildError> {
    if algorithm.is_sha1() {
        return Err(BuildError::Algorithm(algorithm));
    }
    algorithm.identifier().ok_or(BuildError::Algorithm(algorithm))
}

/// A SignerInfo's identifier.
pub(crate) enum Sid<'a> {
    /// By the certificate that is given as DER.
    Certificate(&'a [u8]),
    /// By key identifier.
    KeyIdentifier(&'a [u8]),
}

/// Signs `content` and returns the SignerInfo and its digest algorithm. With `attributes` the signature covers
/// contentType and messageDigest, otherwise the content itself.
pub(crate) fn signer_info(
    sid: &Sid<'_>,
    content_type: &ObjectIdentifier,
    content: &[u8],
    attributes: bool,
    signer: &dyn SignBytes,
) -> Result<(Vec<u8>, DigestAlgorithm), BuildError> {
    signer_info_with(sid, content_type, content, attributes.then(Vec::new), signer)
}

/// The same; `attributes` are signed beside contentType and messageDigest, `None` has no signed attributes at all.
pub(crate) fn signer_info_with(
    sid: &Sid<'_>,
    content_type: &ObjectIdentifier,
    content: &[u8],
    attributes: Option<Vec<Vec<u8>>>,
    signer: &dyn SignBytes,
) -> Result<(Vec<u8>, DigestAlgorithm), BuildError> {
    let algorithm = signer.algorithm();
    let named = signing_identifier(algorithm)?;
    // PKCS#1 is named by the key's algorithm, as Windows does it; the digest stands beside it.
    let identifier = match algorithm {
        SignatureAlgorithm::RsaPkcs1(_) => {
            tlv::constructed(tlv::SEQUENCE, &[&tlv::oid(&oids::RSA_ENCRYPTION), &[tlv::NULL, 0]])
        }
        SignatureAlgorithm::RsaPss(_) | SignatureAlgorithm::Ecdsa(_) | SignatureAlgorithm::Ed25519 => named,
    };
    let digest = algorithm.digest();
    let (version, sid) = match sid {
        Sid::Certificate(der) => {
            let certificate = CertificateView::read(der)?;
            let serial = tlv::element(tlv::INTEGER, certificate.serial);
            (1, tlv::constructed(tlv::SEQUENCE, &[certificate.issuer, &serial]))
        }
        Sid::KeyIdentifier(identifier) => (3, tlv::element(tlv::CTX_0_PRIMITIVE, identifier)),
    };
    let (signed, signature) = if let Some(mut attributes) = attributes {
        attributes.push(attribute(&oids::CONTENT_TYPE, &[&tlv::oid(content_type)]));
        let hash = tlv::element(tlv::OCTET_STRING, &digest.digest(content));
        attributes.push(attribute(&oids::MESSAGE_DIGEST, &[&hash]));
        let set = tlv::set_of(tlv::SET, attributes);
        let signature = signer.sign(&set)?;
        // What is signed carries the SET tag, what is sent [0].
        let mut signed = set;
        if let Some(tag) = signed.first_mut() {
            *tag = tlv::CTX_0;
        }
        (signed, signature)
    } else {
        (Vec::new(), signer.sign(content)?)
    };
    let mut info = Writer::with_capacity(USUAL_SIGNER);
    info.nested(tlv::SEQUENCE, |info| {
        info.small(version);
        info.raw(&sid);
        digest.write(info);
        info.raw(&signed);
        info.raw(&identifier);
        info.element(tlv::OCTET_STRING, &signature);
    });
    Ok((info.finish(), digest))
}

/// ContentInfo of a SignedData; `content` is `None` for a message that only carries certificates.
pub(crate) fn signed_data(
    content_type: &ObjectIdentifier,
    content: Option<&[u8]>,
    certificates: &[&[u8]],
    signers: &[(Vec<u8>, DigestAlgorithm)],
) -> Vec<u8> {
    let mut digests: Vec<Vec<u8>> = signers.iter().map(|(_, digest)| digest.identifier()).collect();
    digests.sort();
    digests.dedup();
    // RFC 5652 section 5.1: 3 with another content than id-data or a signer by key identifier (which only
    // occurs with the former here), otherwise 1.
    let version = if *content_type == oids::ID_DATA { 1 } else { 3 };
    let size = certificates.iter().chain(&content).map(|part| part.len()).sum::<usize>();
    let mut message = Writer::with_capacity(size + signers.len() * USUAL_SIGNER + USUAL_FRAME);
    message.nested(tlv::SEQUENCE, |message| {
        message.oid(&oids::ID_SIGNED_DATA);
        message.nested(tlv::CTX_0, |message| {
            message.nested(tlv::SEQUENCE, |parts| {
                parts.small(version);
                parts.raw(&tlv::set_of(tlv::SET, digests));
                parts.nested(tlv::SEQUENCE, |encapsulated| {
                    encapsulated.oid(content_type);
                    if let Some(octets) = content {
                        encapsulated.nested(tlv::CTX_0, |content| content.element(tlv::OCTET_STRING, octets));
                    }
                });
                if !certificates.is_empty() {
                    parts.nested(tlv::CTX_0, |set| certificates.iter().for_each(|der| set.raw(der)));
                }
                parts.nested(tlv::SET, |infos| signers.iter().for_each(|(info, _)| infos.raw(info)));
            });
        });
    });
    message.finish()
}

/// An Attribute.
pub(crate) fn attribute(oid: &ObjectIdentifier, values: &[&[u8]]) -> Vec<u8> {
    let set = tlv::set_of(tlv::SET, values.iter().map(|value| value.to_vec()).collect());
    tlv::constructed(tlv::SEQUENCE, &[&tlv::oid(oid), &set])
}
