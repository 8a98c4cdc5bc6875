//! CMC full PKI responses as a Windows CA makes them (MS-WCCE 3.2.1.4.2.1.4.8.2), and certificates-only CMS.

use std::time::SystemTime;

use der::Encode;
use der::asn1::{GeneralizedTime, ObjectIdentifier};

use super::encode::{BuildError, Sid, attribute, signed_data, signer_info};
use super::oids;
use super::signature::{DigestAlgorithm, SignBytes};
use super::tlv::{self, Writer};
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

/// Room for a ResponseBody beside its text.
const USUAL_BODY: usize = 192;

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
    let (code, text) = match status {
        ResponseStatus::Issued { .. } => (SUCCESS, "Issued"),
        ResponseStatus::Pending { .. } => (PENDING, "Taken Under Submission"),
        ResponseStatus::Denied { reason } => (FAILED, reason),
    };
    let pending = match status {
        ResponseStatus::Pending { request_id, received } => {
            let time = GeneralizedTime::from_system_time(received).and_then(|time| time.to_der());
            Some((request_id.to_string(), time.map_err(|_| BuildError::Time)?))
        }
        ResponseStatus::Issued { .. } | ResponseStatus::Denied { .. } => None,
    };
    let mut body = Writer::with_capacity(USUAL_BODY + text.len());
    body.nested(tlv::SEQUENCE, |body| {
        body.nested(tlv::SEQUENCE, |controls| {
            control(controls, 1, &oids::ID_CMC_STATUS_INFO, |info| {
                info.small(code);
                body_list(info);
                info.element(tlv::UTF8_STRING, text.as_bytes());
                if let Some((number, time)) = &pending {
                    info.nested(tlv::SEQUENCE, |pending| {
                        pending.element(tlv::OCTET_STRING, number.as_bytes());
                        pending.raw(time);
                    });
                }
            });
            control(controls, 2, &oids::CMC_ADD_ATTRIBUTES, |added| {
                added.small(0);
                body_list(added);
                added.nested(tlv::SET, |attributes| {
                    if let ResponseStatus::Issued { certificate } = status {
                        let hash =
                            tlv::element(tlv::OCTET_STRING, &DigestAlgorithm::Sha1.digest(certificate));
                        attributes.raw(&attribute(&oids::ISSUED_CERT_HASH, &[&hash]));
                    }
                });
            });
        });
        // Neither cmsSequence nor otherMsgSequence.
        body.element(tlv::SEQUENCE, &[]);
        body.element(tlv::SEQUENCE, &[]);
    });
    Ok(body.finish())
}

/// A TaggedAttribute with one value, a SEQUENCE.
fn control(to: &mut Writer, id: u8, oid: &ObjectIdentifier, value: impl FnOnce(&mut Writer)) {
    to.nested(tlv::SEQUENCE, |control| {
        control.small(id);
        control.oid(oid);
        control.nested(tlv::SET, |values| values.nested(tlv::SEQUENCE, value));
    });
}

/// The list of the one body part that an answer is about.
fn body_list(to: &mut Writer) {
    to.nested(tlv::SEQUENCE, |list| list.small(1));
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
