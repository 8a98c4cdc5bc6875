//! CMC full PKI responses as a Windows CA makes them (MS-WCCE 3.2.1.4.2.1.4.8.2), and certificates-only CMS.

use std::time::SystemTime;

use der::Encode;
use der::asn1::GeneralizedTime;

use super::encode::{BuildError, Sid, attribute, signed_data, signer_info};
use super::oids;
use super::signature::{DigestAlgorithm, SignBytes};
use super::tlv;
use super::x509::CertificateView;

/// What happened to a request, as the response tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseStatus<'a> {
    /// The certificate is issued.
    Issued {
        /// DER of the certificate.
        certificate: &'a [u8],
    },
    /// An officer has to decide.
    Pending {
        /// Request id, greater than 0.
        request_id: u64,
        /// When the request came.
        received: SystemTime,
    },
    /// Denied, or failed.
    Denied {
        /// For the person at the client.
        reason: &'a str,
    },
}

const SUCCESS: u8 = 0;
const FAILED: u8 = 2;
const PENDING: u8 = 3;

/// Builds the CMC full response, signed by the CA.
///
/// `chain` holds the certificates from the root down to the signing CA, which comes last; an issued certificate
/// follows them in the message.
///
/// # Errors
/// [`BuildError`] when the chain is empty, a certificate cannot be read, or signing fails.
pub fn build_response(
    status: ResponseStatus<'_>,
    chain: &[&[u8]],
    ca: &dyn SignBytes,
) -> Result<Vec<u8>, BuildError> {
    let ca_certificate = chain.last().ok_or(BuildError::NoCaCertificate)?;
    let body = response_body(status)?;
    let mut certificates = chain.to_vec();
    if let ResponseStatus::Issued { certificate } = status {
        CertificateView::read(certificate)?;
        certificates.push(certificate);
    }
    let signer = signer_info(&Sid::Certificate(ca_certificate), &oids::ID_CCT_PKI_RESPONSE, &body, true, ca)?;
    Ok(signed_data(&oids::ID_CCT_PKI_RESPONSE, Some(&body), &certificates, &[signer]))
}

/// DER of ResponseBody: status and, for an issued certificate, its SHA-1.
pub(crate) fn response_body(status: ResponseStatus<'_>) -> Result<Vec<u8>, BuildError> {
    let (code, text, other_info, attributes) = match status {
        ResponseStatus::Issued { certificate } => {
            let hash = tlv::element(tlv::OCTET_STRING, &DigestAlgorithm::Sha1.digest(certificate));
            (SUCCESS, "Issued", Vec::new(), attribute(&oids::ISSUED_CERT_HASH, &[&hash]))
        }
        ResponseStatus::Pending { request_id, received } => {
            let time = GeneralizedTime::from_system_time(received).and_then(|time| time.to_der());
            let info = tlv::constructed(
                tlv::SEQUENCE,
                &[
                    &tlv::element(tlv::OCTET_STRING, request_id.to_string().as_bytes()),
                    &time.map_err(|_| BuildError::Time)?,
                ],
            );
            (PENDING, "Taken Under Submission", info, Vec::new())
        }
        ResponseStatus::Denied { reason } => (FAILED, reason, Vec::new(), Vec::new()),
    };
    let one = tlv::integer(&[1]);
    let body_list = tlv::element(tlv::SEQUENCE, &one);
    let status_info = tlv::constructed(
        tlv::SEQUENCE,
        &[&tlv::integer(&[code]), &body_list, &tlv::element(tlv::UTF8_STRING, text.as_bytes()), &other_info],
    );
    let added = tlv::constructed(
        tlv::SEQUENCE,
        &[&tlv::integer(&[0]), &body_list, &tlv::element(tlv::SET, &attributes)],
    );
    let control = |id: u8, oid, value: &[u8]| {
        tlv::constructed(
            tlv::SEQUENCE,
            &[&tlv::integer(&[id]), &tlv::oid(oid), &tlv::element(tlv::SET, value)],
        )
    };
    let controls = tlv::constructed(
        tlv::SEQUENCE,
        &[
            &control(1, &oids::ID_CMC_STATUS_INFO, &status_info),
            &control(2, &oids::CMC_ADD_ATTRIBUTES, &added),
        ],
    );
    let empty = tlv::element(tlv::SEQUENCE, &[]);
    Ok(tlv::constructed(tlv::SEQUENCE, &[&controls, &empty, &empty]))
}

/// Builds a CMS message that only carries certificates (what a CA sends when no full response is asked for).
///
/// # Errors
/// [`BuildError::Malformed`] when one of them is no certificate.
pub fn build_certs_only(certificates: &[&[u8]]) -> Result<Vec<u8>, BuildError> {
    for certificate in certificates {
        CertificateView::read(certificate)?;
    }
    Ok(signed_data(&oids::ID_DATA, None, certificates, &[]))
}
