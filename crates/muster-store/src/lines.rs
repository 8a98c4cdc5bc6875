//! Lines: the certificates that were had one with the other, by renewing it or by signing in with it.
//!
//! Whoever has the key of one can have the next, so what happens to one concerns all that came after it.

use muster_core::audit::Actor;
use muster_core::issuance::RequestRecord;
use muster_core::policy::LinePlace;
use muster_core::revocation::Reason;
use muster_core::{RequestId, Serial, UnixTime};

use crate::certificates::CertificateSummary;
use crate::error::StoreError;
use crate::{Backend, Store, sqlite};

/// One certificate of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineMember {
    /// The request that it answers.
    pub id: RequestId,
    /// The request whose certificate it was had with; none for the first of the line.
    pub parent: Option<RequestId>,
    /// It renews that certificate; otherwise it was had by signing in with it.
    pub renewal: bool,
    /// How many certificates ago somebody last signed in with something else.
    pub generation: u32,
    /// When that was.
    pub since: UnixTime,
    /// SHA-256 of its SubjectPublicKeyInfo, DER.
    pub key: Option<[u8; 32]>,
    /// The certificate; none while it is being made.
    pub certificate: Option<CertificateSummary>,
    /// Who asked for it and from where, as [`Actor`] displays it.
    pub submitted_by: String,
}

/// What revoking a line did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineRevoked {
    /// Certificates revoked now.
    pub revoked: Vec<Serial>,
    /// Certificates that were revoked before.
    pub before: Vec<Serial>,
    /// Requests whose certificate was being made, and is not.
    pub given_up: Vec<RequestId>,
    /// Keys that are never accepted again.
    pub keys: usize,
}

impl Store {
    /// The place of a certificate in its line, for a renewal with the key `spki` (SubjectPublicKeyInfo, DER).
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn line_place(&self, serial: Serial, spki: &[u8]) -> Result<LinePlace, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.read(|conn| sqlite::lines::place(conn, serial, spki))
    }

    /// Every certificate of the line of this one, the first one first.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn line(&self, serial: Serial) -> Result<Vec<LineMember>, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.read_long(move |conn| sqlite::lines::members(conn, serial)).await
    }

    /// Revokes every certificate of the line of this one, blocks all their keys for ever, and gives up what is being
    /// made of it at this moment, in one transaction: whoever renews at the same time, in whatever process, either
    /// was before, and is revoked as well, or finds its certificate revoked.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Conflict`] for [`Reason::CertificateHold`], which is not for good.
    pub async fn revoke_line(
        &self,
        serial: Serial,
        reason: Reason,
        actor: Actor,
        at: UnixTime,
    ) -> Result<LineRevoked, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.write(move |tx| sqlite::lines::revoke(tx, serial, reason, &actor, at)).await
    }

    /// Writes a renewal that waits for an officer because its certificate was renewed before with another key; `spki` is
    /// the key asked for, `revision` the template's now. What the officer reads names both holders, and is returned.
    ///
    /// # Errors
    /// [`StoreError::Changed`] if there is no such renewal any more, and as [`Store::record_pending`].
    pub async fn record_forked(
        &self,
        record: RequestRecord,
        spki: &[u8],
        revision: String,
    ) -> Result<String, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        let (window, most) = (db.duplicate_window(), db.pending_per_account());
        let insert =
            sqlite::requests::insert_forked(record, sqlite::lines::key_of(spki), revision, window, most);
        db.recent();
        db.write(insert).await
    }

    /// Puts an approved renewal back before an officer who did not know, when approving it, that the certificate was
    /// renewed with another key as well. What the officer reads is returned.
    ///
    /// # Errors
    /// [`StoreError::WrongState`] unless it is approved, [`StoreError::Changed`] as [`Store::record_forked`].
    pub async fn reopen_forked(
        &self,
        id: RequestId,
        spki: &[u8],
        revision: String,
        actor: Actor,
        at: UnixTime,
    ) -> Result<String, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        let spki = spki.to_vec();
        db.write(move |tx| sqlite::requests::reopen_forked(tx, id, &spki, &revision, &actor, at)).await
    }
}
