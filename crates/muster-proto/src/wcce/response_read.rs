//! Reading responses, for the client.

use super::attributes::{read_attributes, read_values};
use super::error::{Malformed, RequestError};
use super::key::KeyError;
use super::oids;
use super::signature::DigestAlgorithm;
use super::signed_data::SignedData;
use super::tlv::{self, Cursor, Tlv};
use super::x509::CertificateView;

/// Longest response that is read, in octets of DER.
pub const MAX_RESPONSE_LEN: usize = 256 * 1024;

/// Why a response was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// More than [`MAX_RESPONSE_LEN`] octets.
    #[error("response has {len} octets, more than the limit")]
    TooLarge {
        /// Octets received.
        len: usize,
    },
    /// A part cannot be decoded.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The CMS message inside is not valid.
    #[error(transparent)]
    Message(#[from] RequestError),
    /// The key in the CA certificate cannot be used.
    #[error("CA certificate: {0}")]
    CaKey(#[from] KeyError),
    /// Not a CMC full response.
    #[error("not a CMC full response")]
    NotAResponse,
    /// Not a certificates-only message.
    #[error("not a certificates-only CMS message")]
    NotCertsOnly,
    /// There is not exactly one signer.
    #[error("{found} signers, not one")]
    NotOneSigner {
        /// Signers found.
        found: usize,
    },
    /// The response says that a certificate was issued, but the message does not contain it.
    #[error("the issued certificate is not in the response")]
    IssuedCertificateMissing,
}

/// A CMC full response whose signature has been verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CmcResponse {
    /// What happened.
    pub status: CmcStatus,
    /// The CA's text.
    pub status_string: Option<String>,
    /// All certificates of the message, in its order.
    pub certificates: Vec<Vec<u8>>,
    /// Whether SHA-1 took part in the signature.
    pub sha1_signature: bool,
}

/// cMCStatus of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CmcStatus {
    /// 0: issued.
    Issued {
        /// DER of the certificate, found by the hash in the response.
        certificate: Vec<u8>,
    },
    /// 3: an officer has to decide.
    Pending {
        /// pendToken; opaque.
        token: Vec<u8>,
        /// pendTime, as written (`YYYYMMDDhhmmssZ`).
        time: Option<String>,
    },
    /// 2: denied or failed.
    Failed,
    /// Any other number.
    Other(u32),
}

impl CmcResponse {
    /// Reads a CMC full response and verifies it with the key of the CA certificate.
    ///
    /// # Errors
    /// [`ResponseError`] for the first thing that is wrong.
    pub fn parse(input: &[u8], ca_certificate: &[u8]) -> Result<Self, ResponseError> {
        if input.len() > MAX_RESPONSE_LEN {
            return Err(ResponseError::TooLarge { len: input.len() });
        }
        tlv::check_der(ca_certificate)?;
        let ca_key = CertificateView::read(ca_certificate)?.public_key()?;
        let der = tlv::to_der(input)?;
        let message = open(&der, ResponseError::NotAResponse)?;
        let (oids::ID_CCT_PKI_RESPONSE, Some(content)) = (message.content_type, message.content) else {
            return Err(ResponseError::NotAResponse);
        };
        let [signer] = message.signers.as_slice() else {
            return Err(ResponseError::NotOneSigner { found: message.signers.len() });
        };
        let algorithm = signer.verify(0, &message.content_type, content, &ca_key)?;
        tlv::check_der(content)?;
        let body = ResponseBody::read(content)?;
        let certificates: Vec<Vec<u8>> = message.certificates.iter().map(|c| c.raw.to_vec()).collect();
        let status = match body.status {
            0 => {
                let certificate = certificates
                    .iter()
                    .find(|certificate| {
                        body.hash.as_deref() == Some(&DigestAlgorithm::Sha1.digest(certificate))
                    })
                    .ok_or(ResponseError::IssuedCertificateMissing)?;
                CmcStatus::Issued { certificate: certificate.clone() }
            }
            2 => CmcStatus::Failed,
            3 => {
                let (token, time) = body.pending.unwrap_or_default();
                CmcStatus::Pending { token, time }
            }
            other => CmcStatus::Other(other),
        };
        Ok(Self { status, status_string: body.text, certificates, sha1_signature: algorithm.is_sha1() })
    }
}

fn open<'a>(der: &'a [u8], otherwise: ResponseError) -> Result<SignedData<'a>, ResponseError> {
    let outer = Cursor::new(der).any("response")?;
    if !SignedData::sniff(&outer) {
        return Err(otherwise);
    }
    Ok(SignedData::read(&outer)?)
}

/// The certificates of a CMS message without signers, in its order.
///
/// # Errors
/// [`ResponseError`] when the message is something else.
pub fn parse_certs_only(input: &[u8]) -> Result<Vec<Vec<u8>>, ResponseError> {
    if input.len() > MAX_RESPONSE_LEN {
        return Err(ResponseError::TooLarge { len: input.len() });
    }
    let der = tlv::to_der(input)?;
    let message = open(&der, ResponseError::NotCertsOnly)?;
    if message.content_type != oids::ID_DATA || !message.signers.is_empty() {
        return Err(ResponseError::NotCertsOnly);
    }
    Ok(message.certificates.iter().map(|certificate| certificate.raw.to_vec()).collect())
}

#[derive(Debug, Default)]
struct ResponseBody {
    status: u32,
    text: Option<String>,
    pending: Option<(Vec<u8>, Option<String>)>,
    hash: Option<Vec<u8>>,
}

impl ResponseBody {
    fn read(content: &[u8]) -> Result<Self, ResponseError> {
        const WHAT: &str = "CMC response";
        let mut parts = Cursor::new(content).only(tlv::SEQUENCE, WHAT)?.children();
        let mut controls = parts.expect(tlv::SEQUENCE, WHAT)?.children();
        let mut result = Self::default();
        let mut status_seen = false;
        while !controls.is_empty() {
            let mut control = controls.expect(tlv::SEQUENCE, WHAT)?.children();
            control.expect(tlv::INTEGER, WHAT)?;
            let oid = control.any(WHAT)?.oid(WHAT)?;
            let values = read_values(control.expect(tlv::SET, WHAT)?)?;
            match (oid, values.as_slice()) {
                (oids::ID_CMC_STATUS_INFO, [value]) if !status_seen => {
                    status_seen = true;
                    result.read_status(value)?;
                }
                (oids::ID_CMC_STATUS_INFO, _) => return Err(Malformed("CMC status").into()),
                (oids::CMC_ADD_ATTRIBUTES, values) => {
                    for value in values {
                        result.read_added(value)?;
                    }
                }
                _ => {}
            }
        }
        if status_seen { Ok(result) } else { Err(Malformed("CMC status").into()) }
    }

    fn read_status(&mut self, value: &Tlv<'_>) -> Result<(), Malformed> {
        const WHAT: &str = "CMC status";
        let mut parts = value.children();
        self.status = parts.any(WHAT)?.small_integer(WHAT)?;
        parts.expect(tlv::SEQUENCE, WHAT)?;
        self.text = parts.optional(tlv::UTF8_STRING, WHAT)?.and_then(|text| text.text());
        // pendInfo is the only SEQUENCE that may follow; failInfo is an INTEGER.
        if let Some(pending) = parts.optional(tlv::SEQUENCE, WHAT)? {
            let mut fields = pending.children();
            let token = fields.expect(tlv::OCTET_STRING, WHAT)?.value.to_vec();
            let time = fields.optional(tlv::GENERALIZED_TIME, WHAT)?;
            let time = time.and_then(|time| String::from_utf8(time.value.to_vec()).ok());
            self.pending = Some((token, time));
        }
        Ok(())
    }

    fn read_added(&mut self, value: &Tlv<'_>) -> Result<(), ResponseError> {
        const WHAT: &str = "CMC added attributes";
        let mut parts = value.children();
        parts.expect(tlv::INTEGER, WHAT)?;
        parts.expect(tlv::SEQUENCE, WHAT)?;
        for attribute in read_attributes(parts.expect(tlv::SET, WHAT)?.children())? {
            if attribute.oid == oids::ISSUED_CERT_HASH {
                self.hash = Some(attribute.single()?.value.to_vec());
            }
        }
        Ok(())
    }
}
