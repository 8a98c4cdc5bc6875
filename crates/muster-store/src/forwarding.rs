//! Requests that are passed on to a CA that is not ours: what was sent, and what came of it.

use muster_core::forwarding::{Expected, ForwardLedger, IdentityMode, Settlement, SubmissionRecord};
use muster_core::issuance::LedgerError;
use muster_core::{RequestId, UnixTime};

use crate::error::StoreError;
use crate::requests::{Disposition, RequestSummary};
use crate::{Backend, Generations, Store, sqlite};

/// Where a request was passed on to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardedTo {
    /// The CA, as the configuration calls it.
    pub ca: String,
    /// That CA's own number of the request, once it is known.
    pub backend_request_id: Option<u32>,
}

/// What was sent to a CA that is not ours, and what that CA made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarding {
    /// The CA, as the configuration calls it.
    pub ca: String,
    /// In whose name it was asked.
    pub identity: IdentityMode,
    /// What the certificate must be like.
    pub expected: Expected,
    /// When the request was written down to be sent.
    pub sent: UnixTime,
    /// That CA's own number of the request, once it is known.
    pub backend_request_id: Option<u32>,
    /// The certificate, DER, once it is issued.
    pub certificate: Option<Vec<u8>>,
    /// That CA's last CMS or CMC response, if it sent one.
    pub response: Option<Vec<u8>>,
    /// The number of the reason, if that CA gave one.
    pub hresult: Option<u32>,
    /// That CA's words, or ours about it: [`RequestSummary::message`].
    pub message: Option<String>,
    /// When [`Self::certificate`] and all else that came was written down.
    pub settled: Option<UnixTime>,
}

/// A request that was passed on, without its octets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardedRequest {
    /// The row.
    pub summary: RequestSummary,
    /// What came of it.
    pub forwarding: Forwarding,
}

/// Which requests to list that the CA has, or may have. Oldest first.
#[derive(Clone, Debug)]
pub struct ForwardedFilter {
    /// Only with this disposition; one of [`Disposition::Submitting`], [`Disposition::UnderSubmission`] and
    /// [`Disposition::Unknown`]: no other is listed. `None`: all three.
    pub disposition: Option<Disposition>,
    /// Only for this CA.
    pub ca: Option<String>,
    /// Only with greater identifiers: the next page.
    pub after: Option<RequestId>,
    /// At most so many.
    pub limit: u32,
}

impl Default for ForwardedFilter {
    fn default() -> Self {
        Self { disposition: None, ca: None, after: None, limit: 100 }
    }
}

impl Store {
    /// [`ForwardLedger::record_submission`] with the store's own error.
    ///
    /// # Errors
    /// [`StoreError::Duplicate`] if the same was received within [`crate::Options::duplicate_window`], or whenever, if a CA
    /// may still have it without having answered.
    pub async fn try_record_submission(&self, record: SubmissionRecord) -> Result<(), StoreError> {
        self.write_submission(record, None).await
    }

    /// The same, if [`Store::generations`] are still `seen`: see [`Store::record_intent_if_unchanged`].
    ///
    /// # Errors
    /// [`StoreError::Changed`], and as [`Store::try_record_submission`].
    pub async fn record_submission_if_unchanged(
        &self,
        record: SubmissionRecord,
        seen: Generations,
    ) -> Result<(), StoreError> {
        self.write_submission(record, Some(seen)).await
    }

    async fn write_submission(
        &self,
        record: SubmissionRecord,
        seen: Option<Generations>,
    ) -> Result<(), StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.recent();
        let (node, window) = (db.node_name(), db.duplicate_window());
        db.write(sqlite::forwarding::record(record, node, window, seen)).await
    }

    /// [`ForwardLedger::settle`] with the store's own error. What is learnt later is settled in the same way: when the CA
    /// is asked again about a request that is under submission, and when a reconciler or an administrator finds out what
    /// became of an unknown one.
    ///
    /// | present | may become |
    /// |---|---|
    /// | submitting | anything |
    /// | under submission | under submission, issued, denied; unknown, if the answer is untrusted |
    /// | unknown | anything |
    ///
    /// That nothing new was learnt is not written down.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::WrongState`] for everything that is not in the table above,
    /// [`StoreError::Conflict`] if the CA's number of the request is known and is another one.
    pub async fn try_settle(&self, settlement: Settlement) -> Result<(), StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.write(move |tx| sqlite::forwarding::settle(tx, &settlement)).await
    }

    /// Requests that the CA has, or may have, and has not decided. Reads only those.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn forwarded(&self, filter: ForwardedFilter) -> Result<Vec<ForwardedRequest>, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.read_long(move |conn| sqlite::forwarding::list(conn, &filter)).await
    }

    /// Gives up waiting for answers that nobody will write down: the requests become unknown. To be called before serving,
    /// and every minute, as [`Store::recover`].
    ///
    /// These are the submissions of processes that have ended, and those of this process that are older than
    /// `own_older_than` seconds: longer than a CA may take to answer. An answer that comes later still is settled.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn recover_submissions(
        &self,
        at: UnixTime,
        own_older_than: i64,
    ) -> Result<Vec<RequestId>, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        let nodes = db.read(sqlite::forwarding::nodes_that_submit)?;
        if nodes.is_empty() {
            return Ok(Vec::new());
        }
        let ended = db.ended_nodes(nodes)?;
        let (own, own_before) = (db.node_name(), at.plus(-own_older_than));
        db.write(move |tx| sqlite::forwarding::recover(tx, &ended, &own, own_before, at)).await
    }
}

impl ForwardLedger for Store {
    async fn record_submission(&self, record: SubmissionRecord) -> Result<(), LedgerError> {
        Ok(self.try_record_submission(record).await?)
    }

    async fn settle(&self, settlement: Settlement) -> Result<(), LedgerError> {
        Ok(self.try_settle(settlement).await?)
    }
}
