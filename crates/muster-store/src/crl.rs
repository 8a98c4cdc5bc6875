//! Certificate revocation lists: numbers that only rise, entries that only leave by expiring.

use muster_core::audit::Actor;
use muster_core::revocation::Reason;
use muster_core::{Serial, UnixTime};

use crate::error::StoreError;
use crate::{Backend, Store, sqlite};

/// One entry of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevokedEntry {
    /// The serial number.
    pub serial: Serial,
    /// When it was revoked.
    pub at: UnixTime,
    /// Why.
    pub reason: Reason,
}

/// What a new list says. Its number was handed out to nobody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrlDraft {
    /// The number.
    pub number: u64,
    /// Every serial number revoked when the number was handed out, and perhaps a few later ones.
    pub entries: Vec<RevokedEntry>,
}

/// A signed list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crl {
    /// The number in it.
    pub number: u64,
    /// thisUpdate.
    pub this_update: UnixTime,
    /// nextUpdate.
    pub next_update: UnixTime,
    /// DER.
    pub der: Vec<u8>,
}

impl Store {
    /// Serial numbers on the next list: revoked or abandoned, and not expired more than `margin` seconds ago.
    /// Abandoned serial numbers never leave. In the order of request identifiers.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn revoked_entries(&self, now: UnixTime, margin: i64) -> Result<Vec<RevokedEntry>, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.read_long(move |conn| sqlite::crl::entries(conn, now.plus(-margin))).await
    }

    /// Takes the next number, then reads the entries: in this order, so that a list with a higher number never lacks
    /// an entry that one with a lower number has.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn begin_crl(&self, now: UnixTime, margin: i64) -> Result<CrlDraft, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        let number = db.write(sqlite::crl::next_number).await?;
        Ok(CrlDraft { number, entries: self.revoked_entries(now, margin).await? })
    }

    /// Stores a signed list, if none with a higher number is stored: of two that sign at once, the later number
    /// wins. The last ten lists are kept.
    ///
    /// # Errors
    /// [`StoreError::StaleCrl`].
    pub async fn put_crl(&self, crl: Crl, actor: Actor) -> Result<(), StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.write(move |tx| sqlite::crl::put(tx, &crl, &actor)).await
    }

    /// The list with the highest number.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn latest_crl(&self) -> Result<Option<Crl>, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.read(sqlite::crl::latest)
    }
}
