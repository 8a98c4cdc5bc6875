//! Client certificates: what the handshake proved possession of, compared with what the store knows now.
//!
//! A certificate of ours is accepted if it equals, octet by octet, the one in the store under its serial number.
//! Issuer, subject or serial number alone prove nothing: anybody can make a certificate that repeats them. Any other
//! certificate is shown to the CAs that the configuration trusts, see [`super::trust`].

use std::sync::Arc;

use der::{Decode, Encode};
use muster_core::identity::Principal;
use muster_core::request::Serial;
use muster_core::template::eku::CLIENT_AUTHENTICATION;
use muster_core::{Caller, Method, UnixTime};
use muster_store::Store;
use rustls_pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::ext::pkix::ExtendedKeyUsage;

use super::trust::{Mapped, Trusted};
use crate::decode;
use crate::fault::{AuthError, ServiceError};
use crate::identities::Identities;

pub(super) struct Certificates {
    store: Store,
    identities: Arc<Identities>,
    trusted: Vec<Trusted>,
}

impl Certificates {
    pub(super) const fn new(store: Store, identities: Arc<Identities>, trusted: Vec<Trusted>) -> Self {
        Self { store, identities, trusted }
    }

    pub(super) async fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Caller, ServiceError> {
        let parsed = Certificate::from_der(certificate).map_err(|_| AuthError::CertificateUnknown)?;
        let known = match serial_in(&parsed) {
            Some(serial) => self.store.known_certificate(serial, certificate).await?,
            None => None,
        };
        let Some(known) = known else {
            let mapped = self.trusted.iter().find_map(|ca| ca.account(certificate, chain, now));
            let mapped = mapped.ok_or(AuthError::CertificateUnknown)?;
            // The verifier takes a certificate without any purpose for one with every purpose.
            if !is_for_clients(&parsed) {
                return Err(AuthError::CertificatePurpose.into());
            }
            let principal = match mapped {
                Mapped::Local(name) => self.identities.local(&name).await?,
                Mapped::Directory { domain, key } => self.identities.mapped(&domain, &key).await?,
            };
            return caller(principal, certificate);
        };
        if !is_for_clients(&parsed) {
            return Err(AuthError::CertificatePurpose.into());
        }
        if known.on_hold {
            return Err(AuthError::CertificateOnHold.into());
        }
        if known.revoked {
            return Err(AuthError::CertificateRevoked.into());
        }
        if now < known.not_before {
            return Err(AuthError::CertificateNotYetValid(known.not_before).into());
        }
        if now > known.not_after {
            return Err(AuthError::CertificateExpired(known.not_after).into());
        }
        let sid = decode::sid_of(&parsed)
            .map(|sid| sid.parse())
            .transpose()
            .map_err(|_| AuthError::CertificateUnknown)?;
        caller(self.identities.named(&known.account, sid.as_ref()).await?, certificate)
    }
}

fn caller(principal: Option<Principal>, certificate: &CertificateDer<'_>) -> Result<Caller, ServiceError> {
    let principal = principal.ok_or(AuthError::CertificateUnknown)?;
    Ok(Caller::authenticated(principal, Method::ClientCertificate).with_certificate(certificate.to_vec()))
}

/// Whether the certificate names the purpose client authentication. Its octets are those that an accepted CA signed.
fn is_for_clients(certificate: &Certificate) -> bool {
    let purposes = certificate.tbs_certificate().get_extension::<ExtendedKeyUsage>();
    matches!(purposes, Ok(Some((_, purposes))) if purposes.0.iter().any(|p| p.to_string() == CLIENT_AUTHENTICATION))
}

/// The serial number of a certificate, if it has the form of ours.
pub(crate) fn serial_of(certificate: &[u8]) -> Option<Serial> {
    serial_in(&Certificate::from_der(certificate).ok()?)
}

fn serial_in(certificate: &Certificate) -> Option<Serial> {
    let octets = certificate.tbs_certificate().serial_number().to_der().ok()?;
    // INTEGER, 20 octets.
    Serial::from_bytes(octets.get(2..)?)
}
