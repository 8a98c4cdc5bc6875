//! The certificate that the service's own TLS listener presents.
//!
//! It goes the way of every other certificate (lint, record, sign, commit); only its approval differs, because
//! there is no account behind it: [`muster_core::policy::approve_own_service`].

use std::fmt;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use der::pem::{self, LineEnding};
use muster_core::names::AltName;
use muster_core::policy::{self, Approved};
use muster_core::{Oid, Refusal, UnixTime};
use zeroize::Zeroizing;

use crate::authority::Authority;
use crate::key::KeyError;

/// The private key of the service's TLS certificate: P-256, PKCS#8, unencrypted. Erased when dropped.
pub struct ServerKey(Zeroizing<Vec<u8>>);

impl ServerKey {
    /// PKCS#8, DER.
    #[must_use]
    pub fn pkcs8(&self) -> &[u8] {
        &self.0
    }

    /// PKCS#8, PEM (`PRIVATE KEY`).
    ///
    /// # Errors
    /// [`KeyError::Encoding`], if memory is out.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, KeyError> {
        pem::encode_string("PRIVATE KEY", LineEnding::LF, &self.0)
            .map(Zeroizing::new)
            .map_err(|_| KeyError::Encoding)
    }
}

impl fmt::Debug for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerKey(…)")
    }
}

/// A certificate for the service cannot be prepared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerCertificateError {
    /// The names, or the CA's remaining life, do not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No key could be made.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Makes a P-256 key and the approved contents of a certificate for it, good for 90 days. `names` are host names and
/// addresses, the first of them becomes the common name.
///
/// # Errors
/// [`ServerCertificateError`].
pub fn approve(
    authority: &Authority,
    names: &[AltName],
    template: Oid,
    now: UnixTime,
) -> Result<(Approved, ServerKey), ServerCertificateError> {
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(|_| KeyError::Generation)?;
    let spki: PublicKeyX509Der<'_> = key.public_key().as_der().map_err(|_| KeyError::Encoding)?;
    let pkcs8 = key.to_pkcs8v1().map_err(|_| KeyError::Encoding)?;
    let approved =
        policy::approve_own_service(names, spki.as_ref().to_vec(), template, now, authority.not_after())?;
    Ok((approved, ServerKey(Zeroizing::new(pkcs8.as_ref().to_vec()))))
}
