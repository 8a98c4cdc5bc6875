//! The durable store: requests, certificates, templates, accounts, audit. The only crate with SQL.
//!
//! [`Store`] is one handle to be cloned. Its methods are named after what the service does; each that changes
//! something is one durable transaction that includes its audit record, and returns only when both are on disk. The
//! store decides nothing: it refuses only what contradicts what it holds.
//!
//! Several processes may open one database: the command line approves, revokes and changes templates while the
//! service runs. [`Store::generations`] is the cheap question that keeps caches exact.
//!
//! SQLite is the only backend now; another one becomes a second variant of the enum inside, and callers stay as they
//! are. How writes are grouped is told in `sqlite/writer.rs`, what is indexed and what is not in
//! `migrations/sqlite/0001_initial.sql`.
//!
//! # Rows that grow
//! An enrollment writes two transactions. Every row that it adds has the request's identifier, which grows with time,
//! as its only key, so the work does not depend on how much is stored. A serial number begins with the request's
//! identifier; looking one up is a look-up by primary key and a comparison.

mod accounts;
mod agents;
mod audit;
mod certificates;
mod crl;
mod error;
mod forwarding;
mod lines;
mod requests;
mod sqlite;
mod templates;
mod tokens;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use muster_core::{Oid, UnixTime};

pub use crate::accounts::{Account, PasswordHash};
pub use crate::agents::StoredLimit;
pub use crate::audit::{AuditFault, AuditFilter, AuditHead, AuditRecord, AuditReport};
pub use crate::certificates::{Certificate, CertificateFilter, CertificateSummary, Revocation, Revoked};
pub use crate::crl::{Crl, CrlDraft, RevokedEntry};
pub use crate::error::StoreError;
pub use crate::forwarding::{ForwardedFilter, ForwardedRequest, ForwardedTo, Forwarding};
pub use crate::lines::{LineMember, LineRevoked};
pub use crate::requests::{
    Abandoned, Disposition, OfficerDecision, Owner, RecentRequest, Request, RequestFilter, RequestSummary,
    UnknownDisposition,
};
pub use crate::templates::{StoredTemplate, TemplateVersion};
pub use crate::tokens::{Token, TokenVerifier};

use crate::sqlite::Sqlite;

/// The migrations of SQLite, the first one first, for tests that hold them to what was released.
#[doc(hidden)]
pub use crate::sqlite::MIGRATIONS;

/// The store. Clones share one writer and its connections; the database is closed when the last one goes.
#[derive(Clone)]
pub struct Store {
    backend: Backend,
}

#[derive(Clone)]
enum Backend {
    Sqlite(Arc<Sqlite>),
}

/// How to open a store.
#[derive(Clone)]
pub struct Options {
    /// Create the database if there is none.
    pub create: bool,
    /// How long to wait for the lock that another process holds.
    pub busy_timeout: Duration,
    /// The same request of the same account is refused for so many seconds; 0 to accept it.
    pub duplicate_window: i64,
    /// Requests of one account that may wait for an officer at the same time.
    pub pending_per_account: u32,
    /// Most pages of 4 KiB in the database, to provoke a full disk.
    #[doc(hidden)]
    pub max_pages: Option<u32>,
    /// Called at each step of the writer, to provoke faults.
    #[doc(hidden)]
    pub faults: Option<FaultHook>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            create: true,
            busy_timeout: Duration::from_secs(5),
            duplicate_window: 86_400,
            pending_per_account: 100,
            max_pages: None,
            faults: None,
        }
    }
}

/// A step of the writer at which a test may provoke a fault: by an error, a panic, or the end of the process.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultPoint {
    /// Before the transaction begins.
    Begin,
    /// After a job ran in it.
    Job,
    /// Before the commit.
    Commit,
    /// After the commit, before anybody is answered.
    Answer,
}

#[doc(hidden)]
pub type FaultHook = Arc<dyn Fn(FaultPoint) -> Result<(), StoreError> + Send + Sync>;

/// What identifies an installation; set once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// The `policyID` of MS-XCEP 3.1.4.1.3.19.
    pub policy_id: String,
    /// Under it, templates get their identifiers.
    pub oid_root: Oid,
    /// When it was made.
    pub created_at: UnixTime,
}

/// Numbers that rise with every change, in the transaction of the change, whichever process makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generations {
    /// Accounts and templates.
    pub configuration: u64,
    /// The set of revoked serial numbers.
    pub revocations: u64,
}

/// Says that a write is on its way for as long as it lives; see [`Store::expect_write`].
#[must_use = "it announces a write for as long as it lives"]
pub struct ExpectedWrite {
    lower: Box<dyn Fn() + Send + Sync>,
}

impl Drop for ExpectedWrite {
    fn drop(&mut self) {
        (self.lower)();
    }
}

impl Store {
    /// Opens a database, creates it if need be, and migrates it to the schema of this program. Blocks for a few
    /// milliseconds. Call [`Store::recover`] before serving.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::NewerSchema`], [`StoreError::InUse`], [`StoreError::Damaged`],
    /// [`StoreError::Busy`], [`StoreError::Full`].
    pub fn open(path: &Path, options: &Options, now: UnixTime) -> Result<Self, StoreError> {
        Ok(Self { backend: Backend::Sqlite(Arc::new(Sqlite::open(path, options, now)?)) })
    }

    /// Opens an existing database for reading; every change then fails with [`StoreError::ReadOnly`].
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_read_only(path: &Path) -> Result<Self, StoreError> {
        let options = Options { create: false, ..Options::default() };
        Ok(Self { backend: Backend::Sqlite(Arc::new(Sqlite::open_read_only(path, &options)?)) })
    }

    /// Announces that a write is on its way: the writer waits up to 3 ms for company while more guards live than
    /// writes wait. Hold it from the moment the caller is authenticated (not while a password is hashed) until its
    /// last write was answered.
    pub fn expect_write(&self) -> ExpectedWrite {
        let Backend::Sqlite(db) = &self.backend;
        let queue = Arc::clone(db.queue());
        queue.raise();
        ExpectedWrite { lower: Box::new(move || queue.lower()) }
    }

    /// What identifies this installation, once it is set.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn instance(&self) -> Result<Option<Instance>, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.read(sqlite::instance::get)
    }

    /// Sets what identifies this installation, unless it is set. Returns what is stored.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn set_instance(&self, instance: Instance) -> Result<Instance, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.write(move |tx| sqlite::instance::put(tx, &instance)).await
    }

    /// How often configuration and revocations have changed. About a microsecond if nothing was committed since the
    /// last call; a read by primary key otherwise. A value cached under a generation that is still the same is
    /// exact.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn generations(&self) -> Result<Generations, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        let (configuration, revocations) = db.generations()?;
        Ok(Generations { configuration, revocations })
    }

    /// Whether the store can be written: commits one small change, because one that is rolled back would never reach
    /// the disk.
    ///
    /// # Errors
    /// [`StoreError`]: what an enrollment would meet.
    pub async fn health(&self) -> Result<(), StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.write(sqlite::instance::prove_health).await
    }

    /// Fills the tables with `count` finished enrollments, for measurements of a large store. Their certificates are
    /// not certificates, and there are no audit records. Returns the last identifier.
    ///
    /// # Errors
    /// [`StoreError`].
    #[doc(hidden)]
    pub async fn fill(&self, count: u32, now: UnixTime) -> Result<u32, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        let mut last = 0;
        let mut left = count;
        while left > 0 {
            let block = left.min(10_000);
            last = db.write(move |tx| sqlite::fill::fill(tx, block, now)).await?;
            left -= block;
        }
        Ok(last)
    }
}
