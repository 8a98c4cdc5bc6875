//! Issued certificates, their revocation, and keys that may never be used again.

use muster_core::audit::Actor;
use muster_core::identity::AccountName;
use muster_core::policy::KnownCertificate;
use muster_core::revocation::Reason;
use muster_core::{Oid, RequestId, Serial, UnixTime};

use crate::error::StoreError;
use crate::{Backend, Generations, Store, sqlite};

/// That and why a certificate is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// When.
    pub at: UnixTime,
    /// Why.
    pub reason: Reason,
}

/// A row of the certificate table, without the octets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateSummary {
    /// The request that it answers.
    pub id: RequestId,
    /// Its serial number.
    pub serial: Serial,
    /// The account that it was issued to.
    pub account: AccountName,
    /// Identifier of the template.
    pub template: Oid,
    /// The subject, for people.
    pub subject: String,
    /// Begin of validity.
    pub not_before: UnixTime,
    /// End of validity.
    pub not_after: UnixTime,
    /// When it was issued.
    pub issued: UnixTime,
    /// Set if it is revoked or on hold.
    pub revocation: Option<Revocation>,
}

/// A certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The row.
    pub summary: CertificateSummary,
    /// The certificate, DER.
    pub der: Vec<u8>,
}

/// Which certificates to list. Newest first. There is no index but the request's identifier, because every index
/// would make each enrollment dearer: a listing reads the table from its end until it has enough.
#[derive(Clone, Debug)]
pub struct CertificateFilter {
    /// Only of this account.
    pub account: Option<AccountName>,
    /// Only from the template with this identifier.
    pub template: Option<Oid>,
    /// Only valid and not revoked at this instant.
    pub valid_at: Option<UnixTime>,
    /// Only with an end of validity before this instant.
    pub expires_before: Option<UnixTime>,
    /// Only revoked ones, or only others.
    pub revoked: Option<bool>,
    /// Only of requests with smaller identifiers: the next page.
    pub before: Option<RequestId>,
    /// At most so many.
    pub limit: u32,
}

impl Default for CertificateFilter {
    fn default() -> Self {
        Self {
            account: None,
            template: None,
            valid_at: None,
            expires_before: None,
            revoked: None,
            before: None,
            limit: 100,
        }
    }
}

/// What a revocation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// The key is blocked for ever; so after keyCompromise, if there is a certificate to take it from.
    pub key_blocked: bool,
}

impl Store {
    /// The certificate with this serial number, compared in full.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn certificate(&self, serial: Serial) -> Result<Option<Certificate>, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.read(|conn| sqlite::certificates::get(conn, serial))
    }

    /// Lists certificates, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn certificates(
        &self,
        filter: CertificateFilter,
    ) -> Result<Vec<CertificateSummary>, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.read_long(move |conn| sqlite::certificates::list(conn, &filter)).await
    }

    /// What policy needs to know of the certificate `der`, if it was issued here: found by its serial number, equal
    /// octet by octet.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn known_certificate(
        &self,
        serial: Serial,
        der: &[u8],
    ) -> Result<Option<KnownCertificate>, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.read(|conn| sqlite::certificates::known(conn, serial, der))
    }

    /// Revokes a certificate. With [`Reason::KeyCompromise`] its key is blocked as well. From hold, another reason
    /// may follow.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::AlreadyRevoked`] with the reason that stands.
    pub async fn revoke(
        &self,
        serial: Serial,
        reason: Reason,
        actor: Actor,
        at: UnixTime,
    ) -> Result<Revoked, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.write(move |tx| sqlite::certificates::revoke(tx, serial, reason, &actor, at)).await
    }

    /// Takes a certificate off hold (removeFromCRL, RFC 5280 5.3.1).
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if it is not revoked at all, [`StoreError::AlreadyRevoked`] if for another reason.
    pub async fn release_hold(&self, serial: Serial, actor: Actor, at: UnixTime) -> Result<(), StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.write(move |tx| sqlite::certificates::release_hold(tx, serial, &actor, at)).await
    }

    /// Blocks a key: SHA-256 of its SubjectPublicKeyInfo, DER. No certificate is ever issued for it again.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn block_key(
        &self,
        spki_sha256: [u8; 32],
        actor: Actor,
        at: UnixTime,
    ) -> Result<(), StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.write(move |tx| sqlite::certificates::block_key(tx, spki_sha256, &actor, at)).await
    }

    /// Whether the key of this SubjectPublicKeyInfo (DER) was blocked when [`Store::generations`] was `seen`, or is
    /// now: blocking a key counts as a change of the configuration. Kept in memory until then, unless it is much.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn is_key_blocked(&self, spki: &[u8], seen: Generations) -> Result<bool, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.is_key_blocked(spki, seen.configuration)
    }
}
