//! Reading and verifying what was recorded of every change and every refusal.
//!
//! Each record carries the SHA-256 of itself and of the record before. [`Store::audit_verify`] therefore finds a
//! record that was changed, deleted, exchanged or inserted, and records cut off at the end as long as the head row
//! was not cut back with them.
//!
//! What it cannot find: somebody who may write the file and recomputes the whole chain from some record on, or who
//! puts back an older copy of the whole file. Against both helps a copy of [`Store::audit_head`] kept elsewhere,
//! such as in the journal of another machine: a chain that was rewritten no longer contains it.

use muster_core::audit::{Action, Event};
use muster_core::{RequestId, Serial, UnixTime};

use crate::error::StoreError;
use crate::{Backend, Store, sqlite};

/// One stored record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// 1 for the first record, one more for each further.
    pub sequence: u64,
    /// When.
    pub at: UnixTime,
    /// Who, as [`muster_core::audit::Actor`] displays it.
    pub actor: String,
    /// [`Action::as_str`].
    pub action: String,
    /// The thing that it was done to; for an intent or a certificate the SHA-256 of its octets.
    pub object: Option<String>,
    /// The template's name or identifier.
    pub template: Option<String>,
    /// The request.
    pub request: Option<RequestId>,
    /// The certificate.
    pub serial: Option<Serial>,
    /// As [`muster_core::audit::AuditOutcome`] displays it.
    pub outcome: String,
}

/// Which records to list. Newest first.
#[derive(Clone, Copy, Debug)]
pub struct AuditFilter {
    /// Only this action.
    pub action: Option<Action>,
    /// Only about this request.
    pub request: Option<RequestId>,
    /// Not before this instant.
    pub since: Option<UnixTime>,
    /// Only records before this sequence number: the next page.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: u32,
}

impl Default for AuditFilter {
    fn default() -> Self {
        Self { action: None, request: None, since: None, before: None, limit: 100 }
    }
}

/// The end of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditHead {
    /// Number of the last record; 0 if there is none.
    pub sequence: u64,
    /// Its hash, SHA-256.
    pub hash: [u8; 32],
}

/// A break of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuditFault {
    /// The record, or the one before it, is not what was written.
    #[error("record {0} or the one before it was changed")]
    Changed(u64),
    /// Records are gone.
    #[error("records {first} to {last} are missing")]
    Missing {
        /// First number missing.
        first: u64,
        /// Last number missing.
        last: u64,
    },
    /// A record stands where none can be.
    #[error("record {0} was inserted")]
    Inserted(i64),
    /// The last record is not the one that was written last.
    #[error("the last record is not the one that was written last")]
    HeadDiffers,
}

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditReport {
    /// Records read.
    pub records: u64,
    /// The end of the chain.
    pub head: AuditHead,
    /// Breaks, the first 1,000.
    pub faults: Vec<AuditFault>,
}

impl Store {
    /// Records something that changes nothing else, such as a refusal before there was a request.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn audit(&self, event: Event) -> Result<(), StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.write(move |tx| tx.audit(&event)).await
    }

    /// Lists records, newest first. Reads outside the async threads: a filter may make it look at every record.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn audit_list(&self, filter: AuditFilter) -> Result<Vec<AuditRecord>, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.read_long(move |conn| sqlite::audit::list(conn, &filter)).await
    }

    /// The end of the chain, to be noted elsewhere.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn audit_head(&self) -> Result<AuditHead, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.read(sqlite::audit::head)
    }

    /// Reads the whole chain and reports every break. About 1 s for a million records.
    ///
    /// # Errors
    /// [`StoreError`]; a broken chain is not an error but a report.
    pub async fn audit_verify(&self) -> Result<AuditReport, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.read_long(sqlite::audit::verify).await
    }
}
