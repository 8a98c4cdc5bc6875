//! Whether a certificate is the one that was asked for. Whoever has made the authority say otherwise shall not reach a
//! caller through us.

use const_oid::ObjectIdentifier;
use der::asn1::BitStringRef;
use der::{Decode, Encode, Header, Reader, SliceReader, Tag};
use muster_proto::wcce::{
    CertificateTemplate, CmcResponse, CmcStatus, DigestAlgorithm, PublicKey, SignatureAlgorithm,
    certificate_sid, certificate_template,
};
use x509_cert::Certificate;

/// What a certificate must be like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// The key of the request, SubjectPublicKeyInfo (DER).
    pub public_key: Vec<u8>,
    /// The names that the template goes by, its name and its object identifier: where the certificate names a template, it
    /// must be one of them. Empty: any.
    pub template: Vec<String>,
    /// The security identifier of the requester: where the certificate has one, it must be this, and it must have one.
    /// `None`: not looked at.
    pub sid: Option<String>,
}

/// Why a certificate is not the one that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// There is none, or it cannot be read.
    #[error("the certificate cannot be read: {0}")]
    Malformed(String),
    /// It has another key than the request.
    #[error("the certificate has another key than the request")]
    OtherKey,
    /// Its issuer is none of the configured certificates of the authority.
    #[error("the certificate's issuer, {0}, is not this authority")]
    OtherIssuer(String),
    /// It is not signed by the authority.
    #[error("the certificate is not signed by a key of this authority")]
    Signature,
    /// It is of another template, or names none.
    #[error("the certificate is of the template {found}, not of {expected}")]
    OtherTemplate {
        /// What it says.
        found: String,
        /// What was asked for.
        expected: String,
    },
    /// It has another security identifier than the requester, or none.
    #[error("the certificate has the security identifier {found}, the requester has {expected}")]
    OtherSid {
        /// What it says.
        found: String,
        /// Whose it should be.
        expected: String,
    },
}

fn malformed(error: impl ToString) -> Problem {
    Problem::Malformed(error.to_string())
}

/// Whether a certificate that an authority answered with is the one that was asked for, and signed by one of its
/// certificates (DER).
///
/// # Errors
/// See [`Problem`]. Such a certificate is not handed out.
pub fn check_reply(certificate: &[u8], issuers: &[Vec<u8>], expected: &Expected) -> Result<(), Problem> {
    let decoded = Certificate::from_der(certificate).map_err(malformed)?;
    let body = decoded.tbs_certificate();
    let key = body.subject_public_key_info().to_der().map_err(malformed)?;
    if key != expected.public_key {
        return Err(Problem::OtherKey);
    }
    is_issued_by(certificate, &decoded, issuers)?;
    if let Some(expected) = &expected.sid {
        let found = certificate_sid(&decoded).map_err(malformed)?;
        if found.as_ref() != Some(expected) {
            let found = found.unwrap_or_else(|| "none".to_owned());
            return Err(Problem::OtherSid { found, expected: expected.clone() });
        }
    }
    if expected.template.is_empty() {
        return Ok(());
    }
    let found = match certificate_template(&decoded).map_err(malformed)? {
        Some(CertificateTemplate::Id(id)) => id.oid.to_string(),
        Some(CertificateTemplate::Name(name)) => name,
        None => "none".to_owned(),
    };
    if expected.template.iter().any(|name| name.eq_ignore_ascii_case(&found)) {
        return Ok(());
    }
    Err(Problem::OtherTemplate { found, expected: expected.template.join(" or ") })
}

/// Whether the authority has signed a certificate of whatever kind.
pub fn check_issuer(certificate: &[u8], issuers: &[Vec<u8>]) -> Result<(), Problem> {
    is_issued_by(certificate, &Certificate::from_der(certificate).map_err(malformed)?, issuers)
}

fn is_issued_by(der: &[u8], certificate: &Certificate, issuers: &[Vec<u8>]) -> Result<(), Problem> {
    let name = certificate.tbs_certificate().issuer();
    let mut named = false;
    for issuer in issuers {
        let Ok(issuer) = Certificate::from_der(issuer) else { continue };
        if issuer.tbs_certificate().subject() != name {
            continue;
        }
        named = true;
        if is_signed_by(der, certificate, &issuer)? {
            return Ok(());
        }
    }
    Err(if named { Problem::Signature } else { Problem::OtherIssuer(name.to_string()) })
}

fn is_signed_by(der: &[u8], certificate: &Certificate, issuer: &Certificate) -> Result<bool, Problem> {
    let key = issuer.tbs_certificate().subject_public_key_info().to_der().map_err(malformed)?;
    let Ok(key) = PublicKey::from_spki_der(&key) else { return Ok(false) };
    let (body, signature) = signed_parts(der).map_err(malformed)?;
    let candidates = algorithms(&certificate.signature_algorithm().oid);
    Ok(candidates.iter().any(|algorithm| algorithm.verify(&key, body, signature).is_ok()))
}

/// The octets that are signed, and the signature.
fn signed_parts(der: &[u8]) -> Result<(&[u8], &[u8]), der::Error> {
    let mut outer = SliceReader::new(der)?;
    let header = Header::decode(&mut outer)?;
    header.tag().assert_eq(Tag::Sequence)?;
    let mut fields = SliceReader::new(outer.read_slice(header.length())?)?;
    let body = fields.tlv_bytes()?;
    fields.tlv_bytes()?;
    let signature = BitStringRef::decode(&mut fields)?;
    fields.finish()?;
    let octets = signature.as_bytes().ok_or_else(|| der::Error::from(Tag::BitString.value_error()))?;
    Ok((body, octets))
}

/// What a signature can be by its algorithm. Authorities that still sign with SHA-1 are not trusted.
fn algorithms(oid: &ObjectIdentifier) -> Vec<SignatureAlgorithm> {
    use DigestAlgorithm::{Sha256, Sha384, Sha512};
    match oid.to_string().as_str() {
        "1.2.840.113549.1.1.11" => vec![SignatureAlgorithm::RsaPkcs1(Sha256)],
        "1.2.840.113549.1.1.12" => vec![SignatureAlgorithm::RsaPkcs1(Sha384)],
        "1.2.840.113549.1.1.13" => vec![SignatureAlgorithm::RsaPkcs1(Sha512)],
        "1.2.840.113549.1.1.10" => [Sha256, Sha384, Sha512].map(SignatureAlgorithm::RsaPss).to_vec(),
        "1.2.840.10045.4.3.2" => vec![SignatureAlgorithm::Ecdsa(Sha256)],
        "1.2.840.10045.4.3.3" => vec![SignatureAlgorithm::Ecdsa(Sha384)],
        "1.2.840.10045.4.3.4" => vec![SignatureAlgorithm::Ecdsa(Sha512)],
        "1.3.101.112" => vec![SignatureAlgorithm::Ed25519],
        _ => Vec::new(),
    }
}

/// A CMC full PKI response that the authority has signed and that says what the reply says: that `certificate` was issued,
/// or that nothing was. Anything else, a chain for one, becomes empty: clients may install what stands in it.
pub(crate) fn verified_response(
    response: Vec<u8>,
    certificate: Option<&[u8]>,
    issuers: &[Vec<u8>],
) -> Vec<u8> {
    let fits = issuers.iter().filter_map(|issuer| CmcResponse::parse(&response, issuer).ok()).any(|parsed| {
        match (parsed.status, certificate) {
            (CmcStatus::Issued { certificate: inside }, Some(expected)) => inside == *expected,
            (CmcStatus::Pending { .. } | CmcStatus::Failed | CmcStatus::Other(_), None) => true,
            (CmcStatus::Issued { .. }, None)
            | (CmcStatus::Pending { .. } | CmcStatus::Failed | CmcStatus::Other(_), Some(_)) => false,
        }
    });
    if fits { response } else { Vec::new() }
}
