//! The request table: what was asked, by whom, and what became of it.

use std::fmt;

use muster_core::audit::Actor;
use muster_core::identity::{AccountName, Method, Principal, Sid};
use muster_core::issuance::{Intent, IssuedRecord, Ledger, LedgerError, Opening, RequestRecord};
use muster_core::{RequestId, Serial, UnixTime};

use crate::error::StoreError;
use crate::forwarding::{ForwardedTo, Forwarding};
use crate::{Backend, Generations, Store, sqlite};

/// What became of a request. Revocation is a property of the certificate, see [`crate::Certificate`].
///
/// ```text
/// (new) ─┬─▶ Denied
///        ├─▶ Pending ─┬─▶ Denied
///        │            └─▶ Approved ─┬─▶ Denied (policy has changed meanwhile)
///        │                          ├─▶ Pending (the template has changed meanwhile)
///        └──────────────────────────┴─▶ Signing ─┬─▶ Issued
///                                                └─▶ Failed (serial number revoked)
/// ```
///
/// Where another CA decides, see [`muster_core::forwarding`]:
///
/// ```text
/// (new) ─▶ Submitting ─┬─▶ Issued
///                      ├─▶ UnderSubmission ─┬─▶ Issued, Denied
///                      │                    └─▶ Unknown (an untrusted answer)
///                      ├─▶ Denied
///                      ├─▶ Failed (it did not get there)
///                      └─▶ Unknown ─▶ Issued, UnderSubmission, Denied, Failed (by somebody who found out)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// Waits for an officer.
    Pending,
    /// An officer approved; the certificate is made when the requester asks next.
    Approved,
    /// An intent is recorded; the key is perhaps in use.
    Signing,
    /// The certificate is there.
    Issued,
    /// Refused by policy or by an officer.
    Denied,
    /// Given up after an intent was recorded; or it did not reach the CA that was to decide.
    Failed,
    /// Written down and on its way to another CA.
    Submitting,
    /// The other CA's officer has to decide, and no officer of ours.
    UnderSubmission,
    /// The other CA may have it, and nobody knows what it made of it; or its answer cannot be trusted. Never sent again by
    /// itself.
    Unknown,
}

impl Disposition {
    /// Every disposition.
    pub const ALL: [Self; 9] = [
        Self::Pending,
        Self::Approved,
        Self::Signing,
        Self::Issued,
        Self::Denied,
        Self::Failed,
        Self::Submitting,
        Self::UnderSubmission,
        Self::Unknown,
    ];

    /// The word stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Signing => "signing",
            Self::Issued => "issued",
            Self::Denied => "denied",
            Self::Failed => "failed",
            Self::Submitting => "submitting",
            Self::UnderSubmission => "under_submission",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Disposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not a disposition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not a disposition: use pending, approved, signing, issued, denied, failed, submitting, under_submission or unknown"
)]
pub struct UnknownDisposition(String);

impl std::str::FromStr for Disposition {
    type Err = UnknownDisposition;

    fn from_str(text: &str) -> Result<Self, UnknownDisposition> {
        let found = Self::ALL.into_iter().find(|d| d.as_str() == text);
        found.ok_or_else(|| UnknownDisposition(text.to_owned()))
    }
}

/// What an officer said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfficerDecision {
    /// Who.
    pub officer: String,
    /// When.
    pub at: UnixTime,
    /// Why, in the officer's words; for the requester to read when denied.
    pub comment: Option<String>,
    /// The template as it was approved for: [`muster_core::Template::revision`].
    pub approved_for: Option<String>,
}

/// A row of the request table, without the octets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestSummary {
    /// Its identifier.
    pub id: RequestId,
    /// When it was received.
    pub received: UnixTime,
    /// The account that it is for, and the only one that may ask about it.
    pub requester: AccountName,
    /// Its security identifier at that time, if a directory vouched for one.
    pub requester_sid: Option<Sid>,
    /// How the caller authenticated.
    pub method: Method,
    /// [`muster_core::request::RequestForm::as_str`].
    pub form: String,
    /// Name of the template.
    pub template: Option<String>,
    /// Name of the endpoint that received it.
    pub endpoint: String,
    /// Serial number of the certificate that it was made with: the one that a renewal renews, or the one that a first
    /// enrollment signed in with.
    pub asked_with: Option<Serial>,
    /// What became of it.
    pub disposition: Disposition,
    /// The code of a refusal.
    pub code: Option<String>,
    /// The sentence of a refusal or of a failure; what another CA said.
    pub message: Option<String>,
    /// What an officer said.
    pub decision: Option<OfficerDecision>,
    /// The CA that it was passed on to, if that is not ours.
    pub forwarded_to: Option<ForwardedTo>,
}

impl RequestSummary {
    /// Whose it is. An account that was made anew under the same name is another one.
    #[must_use]
    pub fn owner(&self) -> Owner<'_> {
        Owner { name: &self.requester, sid: self.requester_sid.as_ref() }
    }
}

/// Whose a request is: an account's name and, where a directory vouches for one, its security identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner<'a> {
    /// The name.
    pub name: &'a AccountName,
    /// The identifier.
    pub sid: Option<&'a Sid>,
}

impl<'a> Owner<'a> {
    pub(crate) fn of(record: &'a RequestRecord) -> Self {
        Self { name: &record.requester, sid: record.requester_sid.as_ref() }
    }
}

impl<'a> From<&'a Principal> for Owner<'a> {
    fn from(principal: &'a Principal) -> Self {
        Self { name: &principal.name, sid: principal.sid.as_ref() }
    }
}

/// An account without such an identifier.
impl<'a> From<&'a AccountName> for Owner<'a> {
    fn from(name: &'a AccountName) -> Self {
        Self { name, sid: None }
    }
}

/// A request with everything that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The row.
    pub summary: RequestSummary,
    /// Who sent it and from where, as [`Actor`] displays it.
    pub submitted_by: String,
    /// The request as received.
    pub raw: Vec<u8>,
    /// The certificate of our CA: serial number and DER.
    pub certificate: Option<(Serial, Vec<u8>)>,
    /// What was sent to a CA that is not ours, and what came of it; its certificate is here.
    pub forwarding: Option<Forwarding>,
}

/// Which requests to list. Newest first.
#[derive(Clone, Debug)]
pub struct RequestFilter {
    /// Only with this disposition. Those that wait for something are indexed.
    pub disposition: Option<Disposition>,
    /// Only of this account.
    pub requester: Option<AccountName>,
    /// Only with smaller identifiers: the next page.
    pub before: Option<RequestId>,
    /// At most so many.
    pub limit: u32,
}

impl Default for RequestFilter {
    fn default() -> Self {
        Self { disposition: None, requester: None, before: None, limit: 100 }
    }
}

/// A request received before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecentRequest {
    /// Its identifier.
    pub id: RequestId,
    /// What became of it.
    pub disposition: Disposition,
}

/// An intent that was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abandoned {
    /// The request, which has failed.
    pub id: RequestId,
    /// The serial number, which is revoked.
    pub serial: Serial,
}

impl Store {
    /// An identifier that nobody else has or will get, restarts included. Cheap: identifiers are taken from the
    /// database in blocks; those left when the process ends are never used.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn reserve_request_id(&self) -> Result<RequestId, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.reserve_request_id().await
    }

    /// Writes a request that waits for an officer; `revision` is the template's now ([`muster_core::Template::revision`]).
    ///
    /// # Errors
    /// [`StoreError::Duplicate`] if the same was received within [`crate::Options::duplicate_window`],
    /// [`StoreError::TooManyPending`] if [`crate::Options::pending_per_account`] wait already.
    pub async fn record_pending(&self, record: RequestRecord, revision: String) -> Result<(), StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        let (window, most) = (db.duplicate_window(), db.pending_per_account());
        let insert = sqlite::requests::insert_pending(record, revision, window, most);
        db.recent();
        db.write(insert).await
    }

    /// Writes a request that policy refused, with the refusal's code and the sentence that the requester reads. Of a
    /// request above 8 KiB the octets are not kept: nobody needs them, and anybody with an account can send them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn record_denied(
        &self,
        record: RequestRecord,
        code: &'static str,
        sentence: String,
    ) -> Result<(), StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.write(move |tx| sqlite::requests::insert_denied(tx, &record, code, &sentence)).await
    }

    /// Refuses a request that an officer approved, because policy no longer allows it.
    ///
    /// # Errors
    /// [`StoreError::WrongState`] unless it is approved, [`StoreError::NotFound`].
    pub async fn deny_approved(
        &self,
        id: RequestId,
        code: &'static str,
        sentence: String,
        actor: Actor,
        at: UnixTime,
    ) -> Result<(), StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.write(move |tx| sqlite::requests::deny_approved(tx, id, code, &sentence, &actor, at)).await
    }

    /// The request with this identifier. Who may see it is for the caller to decide: compare
    /// [`RequestSummary::requester`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn request(&self, id: RequestId) -> Result<Option<Request>, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.read(|conn| sqlite::requests::get(conn, id))
    }

    /// Lists requests, newest first. Without an indexed disposition it may read the whole table.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn requests(&self, filter: RequestFilter) -> Result<Vec<RequestSummary>, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.read_long(move |conn| sqlite::requests::list(conn, &filter)).await
    }

    /// An officer approves a pending request, for the template as it is at this moment; its revision is returned,
    /// `None` if there is no such template any more.
    ///
    /// # Errors
    /// [`StoreError::WrongState`] unless it is pending, [`StoreError::NotFound`].
    pub async fn approve(
        &self,
        id: RequestId,
        officer: String,
        at: UnixTime,
    ) -> Result<Option<String>, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.write(move |tx| sqlite::requests::decide(tx, id, &officer, None, at)).await
    }

    /// Puts an approved request back before an officer, because what was approved is not what would be issued, which is
    /// `revision`; `why` is for the officer to read.
    ///
    /// # Errors
    /// [`StoreError::WrongState`] unless it is approved, [`StoreError::NotFound`].
    pub async fn reopen(
        &self,
        id: RequestId,
        why: String,
        revision: String,
        at: UnixTime,
    ) -> Result<(), StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.write(move |tx| sqlite::requests::reopen(tx, id, &why, &revision, at)).await
    }

    /// An officer denies a pending request; the requester reads `comment`.
    ///
    /// # Errors
    /// [`StoreError::WrongState`] unless it is pending, [`StoreError::NotFound`].
    pub async fn deny(
        &self,
        id: RequestId,
        officer: String,
        comment: String,
        at: UnixTime,
    ) -> Result<(), StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.write(move |tx| sqlite::requests::decide(tx, id, &officer, Some(&comment), at).map(drop)).await
    }

    /// The same octets from the same account for the same template, received at `since` or later and not denied,
    /// failed or revoked meanwhile. Remembered are at most [`crate::Options::duplicate_window`] seconds and some
    /// 20,000 requests. A table in memory is asked; the octets themselves are compared.
    ///
    /// What another process wrote since the last write of this one is not found: see
    /// [`Store::find_recent_anywhere`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_recent(
        &self,
        owner: impl Into<Owner<'_>>,
        template: Option<&str>,
        raw: &[u8],
        since: UnixTime,
    ) -> Result<Option<RecentRequest>, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        let owner = owner.into();
        let key = sqlite::recent::Key::new(owner, template, raw);
        let found = match db.recent().find(key, since) {
            Some(found) => found,
            None => db.write(move |tx| sqlite::recent::find(tx, key, since)).await?,
        };
        let Some(id) = found else { return Ok(None) };
        db.read(|conn| sqlite::requests::compare_recent(conn, id, owner, raw))
    }

    /// The same, whichever process wrote it. Waits for the writer, as every write does.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_recent_anywhere(
        &self,
        owner: impl Into<Owner<'_>>,
        template: Option<&str>,
        raw: &[u8],
        since: UnixTime,
    ) -> Result<Option<RecentRequest>, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        let owner = owner.into();
        let key = sqlite::recent::Key::new(owner, template, raw);
        db.recent();
        let found = db.write(move |tx| sqlite::recent::find(tx, key, since)).await?;
        let Some(id) = found else { return Ok(None) };
        db.read(|conn| sqlite::requests::compare_recent(conn, id, owner, raw))
    }

    /// Gives up the intents that nobody will finish: their requests have failed, their serial numbers are revoked
    /// with cessationOfOperation. To be called before serving, and every minute.
    ///
    /// These are the intents of processes that have ended, and those of this process that are older than
    /// `own_older_than` seconds (a task that was cancelled between recording and committing leaves one). Intents of
    /// other running processes are left alone. A signature that comes later than that is refused by
    /// [`Ledger::record_issued`], so nothing that was given up can still be issued.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn recover(&self, at: UnixTime, own_older_than: i64) -> Result<Vec<Abandoned>, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        let ended = db.ended_nodes(db.read(sqlite::issuance::nodes_with_intents)?)?;
        let (own, own_before) = (db.node_name(), at.plus(-own_older_than));
        db.write(move |tx| sqlite::issuance::recover(tx, &ended, &own, own_before, at)).await
    }
}

impl Ledger for Store {
    async fn record_intent(&self, intent: Intent) -> Result<(), LedgerError> {
        Ok(self.try_record_intent(intent).await?)
    }

    async fn record_issued(&self, issued: IssuedRecord) -> Result<(), LedgerError> {
        let Backend::Sqlite(db) = &self.backend;
        Ok(db.write(sqlite::issuance::record_issued(issued)).await?)
    }

    async fn abandon_intent(
        &self,
        id: RequestId,
        serial: Serial,
        reason: String,
        at: UnixTime,
    ) -> Result<(), LedgerError> {
        let Backend::Sqlite(db) = &self.backend;
        Ok(db.write(move |tx| sqlite::issuance::abandon(tx, id, serial, &reason, at)).await?)
    }
}

impl Store {
    /// [`Ledger::record_intent`] with the store's own error, which tells a duplicate from a full disk.
    ///
    /// # Errors
    /// [`StoreError::Duplicate`], [`StoreError::Forked`] if it renews a certificate that was renewed before with another
    /// key, and no officer has said that this is right, [`StoreError::WrongState`] if an [`Opening::Approved`] request is
    /// not approved.
    pub async fn try_record_intent(&self, intent: Intent) -> Result<(), StoreError> {
        self.write_intent(intent, None).await
    }

    /// The same, if [`Store::generations`] are still `seen`: what was read after them was still true when the intent
    /// was committed. So nothing is signed for an account that was disabled, or on the strength of a certificate that
    /// was revoked, between decision and intent.
    ///
    /// # Errors
    /// [`StoreError::Changed`], and as [`Store::try_record_intent`].
    pub async fn record_intent_if_unchanged(
        &self,
        intent: Intent,
        seen: Generations,
    ) -> Result<(), StoreError> {
        self.write_intent(intent, Some(seen)).await
    }

    async fn write_intent(&self, intent: Intent, seen: Option<Generations>) -> Result<(), StoreError> {
        let serial_id = intent.serial.request_id();
        let id = match &intent.opening {
            Opening::New(record) => record.id,
            Opening::Approved(id) => *id,
        };
        if serial_id != Some(id) {
            return Err(StoreError::Conflict(format!(
                "serial number {} was not made for request {id}",
                intent.serial
            )));
        }
        let Backend::Sqlite(db) = &self.backend;
        db.recent();
        db.write(sqlite::issuance::record_intent(id, intent, db.node_name(), db.duplicate_window(), seen))
            .await
    }
}
