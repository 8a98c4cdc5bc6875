//! Why the store did not do what it was asked: one enum for every backend, each variant with another remedy.

use muster_core::issuance::LedgerError;
use muster_core::token::TokenTrouble;
use muster_core::{RequestId, Serial};

use crate::requests::Disposition;

/// The store did not do it. Unless a variant says otherwise, nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another process held the write lock for longer than the time-out.
    #[error("the database is locked by another process; try again, or end the process that holds it")]
    Busy,
    /// No room on the disk.
    #[error("the disk that holds the database is full; free some space, nothing was lost")]
    Full,
    /// The file is not a database, or its contents contradict each other.
    #[error("the database is damaged ({0}); stop the service and restore a backup")]
    Damaged(String),
    /// The schema has to be migrated, but another process uses the database.
    #[error(
        "the database has to be migrated to version {known}, but another process uses it with version {found}; \
         stop that process first"
    )]
    InUse {
        /// Version of the schema in the file.
        found: u32,
        /// Version that this program needs.
        known: u32,
    },
    /// A newer program wrote the file.
    #[error(
        "the database has schema version {found}, but this program knows only {known}; \
         install the newer program again"
    )]
    NewerSchema {
        /// Version of the schema in the file.
        found: u32,
        /// Last version that this program knows.
        known: u32,
    },
    /// The store was opened for reading, or the file cannot be written.
    #[error("the database was opened for reading or its files are not writable")]
    ReadOnly,
    /// There is no database at this path, and none was to be created.
    #[error("there is no database at {0}; create it with 'muster quickstart' or correct the path")]
    Missing(String),
    /// What was asked for is not there.
    #[error("there is no {kind} '{name}'")]
    NotFound {
        /// account, template, request, certificate.
        kind: &'static str,
        /// What it was called.
        name: String,
    },
    /// The request is in another state than the operation needs.
    #[error("request {id} is {present}, not {needed}")]
    WrongState {
        /// The request.
        id: RequestId,
        /// Its disposition now.
        present: Disposition,
        /// The disposition that the operation starts from.
        needed: Disposition,
    },
    /// There is no such intent: it was abandoned, or belongs to another serial number, or never was.
    #[error("request {id} has no open intent for serial number {serial}")]
    NoIntent {
        /// The request.
        id: RequestId,
        /// The serial number.
        serial: Serial,
    },
    /// The certificate is not the one that was recorded before it was signed.
    #[error("the certificate for request {0} does not contain the octets that were recorded before signing")]
    NotWhatWasRecorded(RequestId),
    /// Already revoked; the first revocation stands.
    #[error("certificate {serial} was revoked before ({reason})")]
    AlreadyRevoked {
        /// The certificate.
        serial: Serial,
        /// The reason that stands.
        reason: &'static str,
    },
    /// The same octets of the same account for the same template, a moment ago.
    #[error("the same request is already there as request {0}")]
    Duplicate(RequestId),
    /// As many requests of the account wait for an officer as may.
    #[error("the account has {0} requests that wait for an officer, which is the most it may have")]
    TooManyPending(u32),
    /// The request was sent with a token that is good for no further enrollment.
    #[error("{0}")]
    Token(TokenTrouble),
    /// A newer revocation list is stored already, or this number was never handed out.
    #[error("revocation list {number} cannot be stored: {latest} is the latest")]
    StaleCrl {
        /// The number of the list offered.
        number: u64,
        /// The number of the list stored.
        latest: u64,
    },
    /// The certificate that is to be renewed was renewed before with another key.
    #[error("the certificate was renewed before, with another key, as request {0}")]
    Forked(RequestId),
    /// Accounts, templates or revocations have changed since what was to be written was decided.
    #[error("something changed while the request was decided; send it again")]
    Changed,
    /// A value contradicts one that is stored and may not change.
    #[error("{0}")]
    Conflict(String),
    /// The writer has ended, after a fault or because the service stops. Nothing can be written any more; whether
    /// the last write is there is not known.
    #[error("the store has stopped after an internal fault; restart the service")]
    Stopped,
    /// Something else, in the words of the database.
    #[error("the database says: {0}")]
    Other(String),
}

impl StoreError {
    pub(crate) fn not_found(kind: &'static str, name: impl ToString) -> Self {
        Self::NotFound { kind, name: name.to_string() }
    }

    /// A row that this program cannot have written.
    pub(crate) fn unreadable(what: &'static str) -> Self {
        Self::Damaged(format!("unreadable {what}"))
    }
}

impl From<StoreError> for LedgerError {
    fn from(error: StoreError) -> Self {
        Self(error.to_string())
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        // The index of the write-ahead log cannot grow: SQLite does not call that a full disk, although it is one.
        const SHM_SIZE: i32 = rusqlite::ffi::SQLITE_IOERR_SHMSIZE;
        if error.sqlite_error().is_some_and(|e| e.extended_code == SHM_SIZE) {
            return Self::Full;
        }
        match error.sqlite_error_code() {
            Some(Code::DatabaseBusy | Code::DatabaseLocked) => Self::Busy,
            Some(Code::DiskFull) => Self::Full,
            Some(Code::DatabaseCorrupt | Code::NotADatabase) => Self::Damaged(error.to_string()),
            Some(Code::ReadOnly) => Self::ReadOnly,
            Some(_) | None => Self::Other(error.to_string()),
        }
    }
}
