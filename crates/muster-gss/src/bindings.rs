//! `tls-server-end-point` (RFC 5929, section 4.1): what ties a Kerberos token to one TLS certificate.

use aws_lc_rs::digest::{Algorithm, SHA256, SHA384, SHA512, digest};
use der::asn1::ObjectIdentifier;
use der::{Decode, Header, Reader, SliceReader, Tag};

const PREFIX: &[u8] = b"tls-server-end-point:";

/// The channel that a token must have been made for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ChannelBinding(Vec<u8>);

/// A certificate or hash that no binding can be made of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindingError {
    /// The certificate cannot be read.
    #[error("the certificate for the channel binding cannot be read: {0}")]
    Certificate(String),
    /// A hash has 32, 48 or 64 octets.
    #[error("a hash for a channel binding has 32, 48 or 64 octets (SHA-256, SHA-384, SHA-512), not {0}")]
    Hash(usize),
}

impl ChannelBinding {
    /// The binding to the server certificate `certificate` (DER).
    ///
    /// The hash is that of the certificate's signature, SHA-256 in place of MD5 and SHA-1. RFC 5929 leaves the
    /// rest open: RSASSA-PSS is taken by the hash in its parameters, everything without a hash of its own, such as
    /// Ed25519 and ML-DSA, by SHA-256. Clients differ there: use ECDSA or RSA with SHA-256 for listeners with Kerberos.
    ///
    /// # Errors
    /// If `certificate` is not one.
    pub fn tls_server_end_point(certificate: &[u8]) -> Result<Self, BindingError> {
        let algorithm = signature_hash(certificate).map_err(|e| BindingError::Certificate(e.to_string()))?;
        Ok(Self([PREFIX, digest(algorithm, certificate).as_ref()].concat()))
    }

    /// The binding to a certificate of which only the hash is known, such as that of a proxy in front of the server
    /// that ends TLS: `openssl x509 -in proxy.pem -outform DER | sha256sum`, with the hash of its signature.
    ///
    /// # Errors
    /// If `hash` has another length than a hash.
    pub fn from_hash(hash: &[u8]) -> Result<Self, BindingError> {
        match hash.len() {
            32 | 48 | 64 => Ok(Self([PREFIX, hash].concat())),
            other => Err(BindingError::Hash(other)),
        }
    }

    /// `tls-server-end-point:` and the hash: the application data of `gss_channel_bindings_struct`.
    #[must_use]
    pub fn application_data(&self) -> &[u8] {
        &self.0
    }
}

/// The hash that the signature of a certificate names.
fn signature_hash(certificate: &[u8]) -> Result<&'static Algorithm, der::Error> {
    let mut outer = SliceReader::new(certificate)?;
    let header = Header::decode(&mut outer)?;
    header.tag().assert_eq(Tag::Sequence)?;
    let mut fields = SliceReader::new(outer.read_slice(header.length())?)?;
    outer.finish()?;
    // tbsCertificate
    fields.tlv_bytes()?;
    let header = Header::decode(&mut fields)?;
    header.tag().assert_eq(Tag::Sequence)?;
    let mut algorithm = SliceReader::new(fields.read_slice(header.length())?)?;
    let oid = <ObjectIdentifier>::decode(&mut algorithm)?;
    Ok(match oid.to_string().as_str() {
        // RSASSA-PSS: AlgorithmIdentifier of the hash in [0] of the parameters.
        "1.2.840.113549.1.1.10" => pss_hash(&mut algorithm).unwrap_or(&SHA256),
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => &SHA384,
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => &SHA512,
        _ => &SHA256,
    })
}

fn pss_hash(algorithm: &mut SliceReader<'_>) -> Option<&'static Algorithm> {
    let header = Header::decode(algorithm).ok()?;
    let mut parameters = SliceReader::new(algorithm.read_slice(header.length()).ok()?).ok()?;
    let header = Header::decode(&mut parameters).ok()?;
    header.tag().assert_eq(Tag::ContextSpecific { constructed: true, number: der::TagNumber(0) }).ok()?;
    let mut hash = SliceReader::new(parameters.read_slice(header.length()).ok()?).ok()?;
    let header = Header::decode(&mut hash).ok()?;
    let mut hash = SliceReader::new(hash.read_slice(header.length()).ok()?).ok()?;
    match <ObjectIdentifier>::decode(&mut hash).ok()?.to_string().as_str() {
        "2.16.840.1.101.3.4.2.2" => Some(&SHA384),
        "2.16.840.1.101.3.4.2.3" => Some(&SHA512),
        _ => Some(&SHA256),
    }
}
