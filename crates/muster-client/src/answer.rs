//! Judges an answer that says "issued": nothing in it is believed that has not been verified.
//!
//! | Checked | Why |
//! |---|---|
//! | the CMC response is signed by the CA of the policy | it is the CA that speaks, not the service in between |
//! | the certificate beside it is the one inside | clients differ in which they install |
//! | its key is ours | another key's certificate would be useless or worse |
//! | its signature is that CA's | so that it can be used |
//!
//! A server that sends no CMC response (the specification wants one), or a message with certificates in its place, is
//! judged by the certificate alone.

use muster_proto::wcce::{CmcResponse, CmcStatus, PublicKey, ResponseError, parse_certs_only};
use muster_proto::wstep::Issued;
use thiserror::Error;

use crate::certificate::{Certificate, CertificateError, chain};

/// A certificate that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedCertificate {
    /// The certificate.
    pub certificate: Certificate,
    /// CA certificates from the issuer upwards.
    pub chain: Vec<Certificate>,
    /// The CA's number of the request.
    pub request_id: Option<String>,
    /// The CA's words.
    pub message: String,
    /// Whether SHA-1 was part of a signature on the way.
    pub sha1: bool,
}

/// Why an answer is not believed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AnswerError {
    /// The CA certificate of the policy cannot be used.
    #[error("CA certificate in the policy: {0}")]
    CaCertificate(CertificateError),
    /// The CMC response is malformed or not signed by the CA.
    #[error("CMC response: {0}")]
    Response(ResponseError),
    /// The CMC response says that nothing was issued.
    #[error("the CMC response says that no certificate was issued: {0}")]
    NotIssued(String),
    /// Two different certificates.
    #[error("the certificate differs from the one in the CMC response")]
    TwoCertificates,
    /// The certificate cannot be read or does not come from the CA.
    #[error("certificate: {0}")]
    Certificate(CertificateError),
    /// The certificate is for another key.
    #[error("the certificate is for another key")]
    OtherKey,
}

impl AnswerError {
    /// What to do about it.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::CaCertificate(_) | Self::Response(_) | Self::Certificate(_) => {
                "if the CA's certificate was renewed, get the policy anew with --refresh and continue with --resume; otherwise have the server looked at"
            }
            Self::NotIssued(_) | Self::TwoCertificates | Self::OtherKey => {
                "nothing was installed; have the server looked at"
            }
        }
    }
}

/// Verifies an answer.
///
/// # Errors
/// [`AnswerError`] for the first thing that is wrong.
pub fn verify(
    issued: &Issued,
    ca_certificate: &[u8],
    our_key: &PublicKey,
) -> Result<IssuedCertificate, AnswerError> {
    let ca = Certificate::from_der(ca_certificate).map_err(AnswerError::CaCertificate)?;
    let mut others = Vec::new();
    let mut sha1 = false;
    if !issued.full_response.is_empty() {
        let certificates = match CmcResponse::parse(&issued.full_response, ca_certificate) {
            Ok(response) => {
                match &response.status {
                    CmcStatus::Issued { certificate } if *certificate == issued.certificate => {}
                    CmcStatus::Issued { .. } => return Err(AnswerError::TwoCertificates),
                    CmcStatus::Pending { .. } | CmcStatus::Failed | CmcStatus::Other(_) => {
                        return Err(AnswerError::NotIssued(response.status_string.unwrap_or_default()));
                    }
                }
                sha1 = response.sha1_signature;
                response.certificates
            }
            // A service in front of another CA has nothing else where that sent no response.
            Err(ResponseError::NotAResponse) => {
                let certificates = parse_certs_only(&issued.full_response).map_err(AnswerError::Response)?;
                if !certificates.contains(&issued.certificate) {
                    return Err(AnswerError::TwoCertificates);
                }
                certificates
            }
            Err(error) => return Err(AnswerError::Response(error)),
        };
        // Others that cannot be read are none that we need.
        others = certificates.iter().filter_map(|der| Certificate::from_der(der).ok()).collect();
    }
    let certificate = Certificate::from_der(&issued.certificate).map_err(AnswerError::Certificate)?;
    if !certificate.has_key(our_key) {
        return Err(AnswerError::OtherKey);
    }
    certificate.verify_issued_by(&ca).map_err(AnswerError::Certificate)?;
    sha1 |= certificate.is_sha1();
    Ok(IssuedCertificate {
        chain: chain(&ca, &others),
        certificate,
        request_id: issued.request_id.as_ref().map(|id| id.as_str().to_owned()),
        message: issued.disposition_message.text.clone(),
        sha1,
    })
}
