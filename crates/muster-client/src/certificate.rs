//! Certificates as the client has to judge them: whose key, who signed, which chain.
//!
//! This is no path validation. The trust in the issuing CA comes from the policy, which came over authenticated TLS;
//! what remains to be seen is that the certificate is the one that was asked for and really comes from that CA.

use std::fmt;
use std::path::Path;

use der::asn1::{BitStringRef, ObjectIdentifier};
use der::pem::LineEnding;
use der::{Decode as _, Encode as _, Reader as _, SliceReader};
use muster_proto::soap::DateTime;
use muster_proto::wcce::{
    CertificateTemplate, DigestAlgorithm, KeyError, PublicKey, SignatureAlgorithm, certificate_template, oids,
};
use rustls_pki_types::CertificateDer;
use thiserror::Error;

use crate::tls::{self, TlsError};

/// A certificate: the bytes, and what was read from them.
#[derive(Clone)]
pub struct Certificate {
    der: Vec<u8>,
    decoded: x509_cert::Certificate,
    public_key: PublicKey,
}

/// Why a certificate is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CertificateError {
    /// Not a certificate.
    #[error("not a certificate: {0}")]
    Malformed(String),
    /// Its key is of a kind that is not supported.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The issuer name is not the subject name of the CA.
    #[error("issued by {found}, not by {expected}")]
    OtherIssuer {
        /// Issuer in the certificate.
        found: String,
        /// Subject of the CA.
        expected: String,
    },
    /// The signature algorithm is unknown.
    #[error("signature algorithm {0} is not supported")]
    Algorithm(ObjectIdentifier),
    /// The CA did not sign it.
    #[error("the signature is not that of {0}")]
    Signature(String),
}

impl Certificate {
    /// Reads DER.
    ///
    /// # Errors
    /// [`CertificateError::Malformed`] or [`CertificateError::Key`].
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let malformed = |error: der::Error| CertificateError::Malformed(error.to_string());
        let decoded = x509_cert::Certificate::from_der(der).map_err(malformed)?;
        let spki = decoded.tbs_certificate().subject_public_key_info().to_der().map_err(malformed)?;
        Ok(Self { der: der.to_vec(), public_key: PublicKey::from_spki_der(&spki)?, decoded })
    }

    /// Reads the first certificate of a PEM file.
    ///
    /// # Errors
    /// [`TlsError`] for the file, [`CertificateError`] in the inner result for what is in it.
    pub fn from_file(file: &Path) -> Result<Result<Self, CertificateError>, TlsError> {
        let found = tls::certificates(file)?;
        let first = found.first().ok_or_else(|| TlsError::NoCertificate(file.to_owned()))?;
        Ok(Self::from_der(first))
    }

    /// The bytes.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        // Base64 of a byte slice cannot fail.
        der::pem::encode_string("CERTIFICATE", LineEnding::LF, &self.der).unwrap_or_default()
    }

    /// For TLS.
    #[must_use]
    pub fn to_tls(&self) -> CertificateDer<'static> {
        CertificateDer::from(self.der.clone())
    }

    /// The decoded form.
    #[must_use]
    pub const fn decoded(&self) -> &x509_cert::Certificate {
        &self.decoded
    }

    /// The certified key.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// Whether the certified key is this one.
    #[must_use]
    pub fn has_key(&self, key: &PublicKey) -> bool {
        self.public_key.algorithm() == key.algorithm()
            && self.public_key.subject_public_key() == key.subject_public_key()
    }

    /// Subject, RFC 4514.
    #[must_use]
    pub fn subject(&self) -> String {
        self.decoded.tbs_certificate().subject().to_string()
    }

    /// Issuer, RFC 4514.
    #[must_use]
    pub fn issuer(&self) -> String {
        self.decoded.tbs_certificate().issuer().to_string()
    }

    /// Serial number in hexadecimal.
    #[must_use]
    pub fn serial(&self) -> String {
        let serial = self.decoded.tbs_certificate().serial_number().as_bytes();
        serial.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// First instant of validity.
    #[must_use]
    pub fn not_before(&self) -> DateTime {
        time(self.decoded.tbs_certificate().validity().not_before)
    }

    /// Last instant of validity.
    #[must_use]
    pub fn not_after(&self) -> DateTime {
        time(self.decoded.tbs_certificate().validity().not_after)
    }

    /// The template that it names.
    ///
    /// # Errors
    /// [`CertificateError::Malformed`] if the extension cannot be read.
    pub fn template(&self) -> Result<Option<CertificateTemplate>, CertificateError> {
        certificate_template(&self.decoded).map_err(|error| CertificateError::Malformed(error.to_string()))
    }

    /// Content of the subject alternative name extension.
    #[must_use]
    pub fn subject_alt_name(&self) -> Option<&[u8]> {
        let mut extensions = self.decoded.tbs_certificate().extensions().into_iter().flatten();
        extensions.find(|e| e.extn_id == oids::SUBJECT_ALT_NAME).map(|e| e.extn_value.as_bytes())
    }

    /// Whether subject and issuer are the same.
    #[must_use]
    pub fn is_self_issued(&self) -> bool {
        let tbs = self.decoded.tbs_certificate();
        tbs.subject() == tbs.issuer()
    }

    /// Whether SHA-1 is part of its signature.
    #[must_use]
    pub fn is_sha1(&self) -> bool {
        let oid = self.decoded.signature_algorithm().oid;
        oid == oids::SHA1_WITH_RSA || oid == oids::SHA1_WITH_RSA_OIW || oid == oids::ECDSA_WITH_SHA1
    }

    /// Checks that `issuer` signed this certificate.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn verify_issued_by(&self, issuer: &Self) -> Result<(), CertificateError> {
        if self.decoded.tbs_certificate().issuer() != issuer.decoded.tbs_certificate().subject() {
            return Err(CertificateError::OtherIssuer { found: self.issuer(), expected: issuer.subject() });
        }
        let (signed, signature) =
            signed_parts(&self.der).map_err(|error| CertificateError::Malformed(error.to_string()))?;
        let oid = self.decoded.signature_algorithm().oid;
        let algorithms = algorithms(oid);
        if algorithms.is_empty() {
            return Err(CertificateError::Algorithm(oid));
        }
        let fits = |a: &SignatureAlgorithm| a.verify(&issuer.public_key, signed, signature).is_ok();
        if algorithms.iter().any(fits) { Ok(()) } else { Err(CertificateError::Signature(issuer.subject())) }
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("subject", &self.subject())
            .field("serial", &self.serial())
            .finish()
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for Certificate {}

/// Puts the CA certificates that came with a certificate in order: from its issuer up to the root, as far as they
/// are there. Each one's signature has been verified with the next one's key.
#[must_use]
pub fn chain(issuer: &Certificate, others: &[Certificate]) -> Vec<Certificate> {
    let mut chain = vec![issuer.clone()];
    // Each round adds one that is not in the chain yet.
    while let Some(last) = chain.last()
        && !last.is_self_issued()
    {
        let above =
            others.iter().find(|other| !chain.contains(other) && last.verify_issued_by(other).is_ok());
        match above {
            Some(above) => chain.push(above.clone()),
            None => break,
        }
    }
    chain
}

/// The signed part as it arrived, and the signature. (The decoder's own encoding might differ.)
fn signed_parts(der: &[u8]) -> Result<(&[u8], &[u8]), der::Error> {
    let mut reader = SliceReader::new(der)?;
    reader.sequence(|fields| {
        let signed = fields.tlv_bytes()?;
        fields.tlv_bytes()?;
        let signature = BitStringRef::decode(fields)?;
        let signature = signature.as_bytes().ok_or_else(|| der::Tag::BitString.value_error())?;
        Ok::<_, der::Error>((signed, signature))
    })
}

/// What the identifier may stand for. The digest of RSA-PSS stands in parameters; a signature fits one only.
fn algorithms(oid: ObjectIdentifier) -> Vec<SignatureAlgorithm> {
    use DigestAlgorithm::{Sha1, Sha256, Sha384, Sha512};
    use SignatureAlgorithm::{Ecdsa, Ed25519, RsaPkcs1, RsaPss};

    match oid {
        oids::SHA1_WITH_RSA | oids::SHA1_WITH_RSA_OIW => vec![RsaPkcs1(Sha1)],
        oids::SHA256_WITH_RSA => vec![RsaPkcs1(Sha256)],
        oids::SHA384_WITH_RSA => vec![RsaPkcs1(Sha384)],
        oids::SHA512_WITH_RSA => vec![RsaPkcs1(Sha512)],
        oids::RSASSA_PSS => vec![RsaPss(Sha256), RsaPss(Sha384), RsaPss(Sha512)],
        oids::ECDSA_WITH_SHA1 => vec![Ecdsa(Sha1)],
        oids::ECDSA_WITH_SHA256 => vec![Ecdsa(Sha256)],
        oids::ECDSA_WITH_SHA384 => vec![Ecdsa(Sha384)],
        oids::ECDSA_WITH_SHA512 => vec![Ecdsa(Sha512)],
        oids::ED25519 => vec![Ed25519],
        _ => Vec::new(),
    }
}

fn time(time: x509_cert::time::Time) -> DateTime {
    DateTime::from_unix(i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX))
}
