//! Enrollment: from an authenticated caller and a submission to a certificate on disk. Read this file first.
//!
//! [`Enrollment::submit`] is the path of every request; docs/issuance.md says why its steps stand in this order. What
//! each step hands to the next can be made by that step alone: `decide` makes the `Approved`, `prepare` consumes it,
//! `record` makes the `RecordedIntent`, `sign` consumes it, `commit` makes the `Issued`, and only that is answered
//! with.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use muster_ca::Authority;
use muster_core::audit::Actor;
use muster_core::issuance::{
    self, Intent, Issued, IssuedRecord, Ledger, LedgerError, Opening, RequestRecord,
};
use muster_core::policy::{self, Approval, Approved, Circumstances, Decision, Right};
use muster_core::request::{RequestForm, RequestId, Serial};
use muster_core::{Caller, Clock, Refusal, Submission, UnixTime};
use muster_store::{Generations, Store, StoreError};

use crate::auth::serial_of;
use crate::catalog::Catalog;
use crate::config::Endpoint;
use crate::fault::{AuthError, ServiceError, Unavailable};
use crate::identities::Identities;
use crate::on_behalf::OnBehalf;
use crate::record::Record;
use crate::renewal::{asked_with, is_renewal};

/// Seconds for which the same octets of the same caller get the same answer.
pub(crate) const REPEAT_SECONDS: i64 = 86_400;

/// How often a request is decided if something changes meanwhile.
const ATTEMPTS: u32 = 3;

/// What became of a request, for the answer.
#[derive(Debug)]
pub enum Reply {
    /// The certificate is there.
    Issued {
        /// The request.
        id: RequestId,
        /// The certificate, DER.
        certificate: Vec<u8>,
    },
    /// An officer has to look at it.
    Pending {
        /// The request.
        id: RequestId,
    },
}

/// What issuing needs: store, CA, templates, time.
pub struct Enrollment {
    /// Requests, certificates, audit.
    pub store: Store,
    /// The embedded CA.
    pub authority: Arc<Authority>,
    /// The accounts.
    pub(crate) identities: Arc<Identities>,
    /// The templates offered.
    pub catalog: Catalog,
    /// The CA's key exchange certificate, DER, once there is one.
    pub exchange: ArcSwapOption<Vec<u8>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Enrollment {
    /// Decides a submission and, if policy says so, issues.
    ///
    /// If an account, a template or a revocation changed between the caller's authentication and the intent to sign,
    /// everything is looked at again: what an officer revoked or disabled a moment ago signs nothing any more.
    ///
    /// # Errors
    /// [`ServiceError::Refused`] with the request's identifier, [`ServiceError::Unavailable`] if store or key fail.
    pub async fn submit(
        &self,
        caller: &Caller,
        endpoint: &Endpoint,
        submission: Submission,
        record: &mut Record,
    ) -> Result<Reply, ServiceError> {
        // Where there are renewals only, nothing else begins: no number, no row, nothing is looked up.
        if endpoint.renewal_only && !is_renewal(&submission.form) {
            return Err(ServiceError::Refused {
                id: None,
                refusal: Refusal::RenewalOnly,
                full_response: None,
            });
        }
        if let Some(trouble) = caller.spent() {
            return match self.repeated_by_token(caller, endpoint, &submission.raw, record).await? {
                Some(reply) => Ok(reply),
                None => Err(AuthError::Token(trouble).into()),
            };
        }
        for _ in 1..ATTEMPTS {
            match self.attempt(caller, endpoint, &submission, record).await {
                Err(ServiceError::Unavailable(Unavailable::Changed)) => {}
                outcome => return outcome,
            }
            record.seen = Some(self.store.generations().await?);
            self.check_caller(caller).await?;
        }
        self.attempt(caller, endpoint, &submission, record).await
    }

    /// Whether the caller would still be authenticated: account and certificate are as they were.
    async fn check_caller(&self, caller: &Caller) -> Result<(), ServiceError> {
        self.identities.check(caller.principal(), caller.method()).await?;
        match caller.certificate() {
            None => Ok(()),
            Some(der) => match serial_of(der) {
                Some(serial) => match self.store.known_certificate(serial, der).await? {
                    Some(known) if known.on_hold => Err(AuthError::CertificateOnHold.into()),
                    Some(known) if known.revoked => Err(AuthError::CertificateRevoked.into()),
                    // Without a row it is of another CA, whose revocation list is not in the store.
                    Some(_) | None => Ok(()),
                },
                None => Ok(()),
            },
        }
    }

    /// What was true when the exchange began.
    pub(crate) async fn seen(&self, record: &Record) -> Result<Generations, ServiceError> {
        match record.seen {
            Some(seen) => Ok(seen),
            None => Ok(self.store.generations().await?),
        }
    }

    async fn attempt(
        &self,
        caller: &Caller,
        endpoint: &Endpoint,
        submission: &Submission,
        record: &mut Record,
    ) -> Result<Reply, ServiceError> {
        if let RequestForm::OnBehalfOf { requester, agents, cosigners } = &submission.form {
            let on_behalf = OnBehalf { requester, agents, cosigners };
            return Box::pin(self.attempt_on_behalf(caller, endpoint, submission, on_behalf, record)).await;
        }
        let now = self.clock.now();
        let seen = self.seen(record).await?;
        let snapshot = self.catalog.snapshot(caller.principal(), seen).await?;
        let principal = caller.principal();
        let id = self.store.reserve_request_id().await?;
        record.request = Some(id);

        // 1. Which template, and may this caller enroll for it?
        let right = Right::claimed(&submission.form, endpoint.key_based_renewal);
        let template =
            policy::authorize(principal, snapshot.templates_for(principal), &submission.template, right);
        let template_name = template.as_ref().ok().map(|t| t.name.clone());
        record.template.clone_from(&template_name);
        let actor = record.actor();
        let row = || RequestRecord {
            id,
            received: now,
            actor: actor.clone(),
            requester: principal.name.clone(),
            requester_sid: principal.sid.clone(),
            method: caller.method(),
            form: submission.form.as_str(),
            template: template_name.clone(),
            endpoint: endpoint.uri.clone(),
            asked_with: asked_with(&submission.form, caller),
            raw: submission.raw.clone(),
        };
        let template = match template {
            Ok(template) => template,
            Err(refusal) => return self.deny(row(), refusal, record).await,
        };

        // 2. The same octets again, within a day: the same answer, not a second certificate.
        if let Some(reply) = self.repeated(caller, endpoint, &template.name, &submission.raw, record).await? {
            return Ok(reply);
        }

        // 3. Policy decides.
        let renewed = self.renewed(submission).await?;
        let circumstances = Circumstances {
            method: caller.method(),
            tls_certificate: caller.certificate(),
            renewal_only: endpoint.renewal_only,
            key_based: endpoint.key_based_renewal,
            renewed: renewed.as_ref(),
            agency: None,
            key_blocked: self.store.is_key_blocked(&submission.key.spki, seen).await?,
            approval: Approval::NotGiven,
            ca_not_after: self.authority.not_after(),
            now,
        };
        let approved = match policy::decide(principal, template, submission, &circumstances) {
            Decision::Issue(approved) => approved,
            decision @ (Decision::Pend | Decision::Forked) => {
                let (raw, spki) = (&submission.raw, &submission.key.spki);
                let pending = row();
                let written = if matches!(decision, Decision::Forked) {
                    self.pend_forked(pending, spki, template.revision(), record).await
                } else {
                    self.store.record_pending(pending, template.revision()).await
                };
                return match written {
                    Ok(()) => Ok(Reply::Pending { id }),
                    Err(StoreError::Token(trouble)) => {
                        record.request = None;
                        let error = AuthError::Token(trouble).into();
                        self.repeated_or(error, caller, endpoint, &template.name, raw, record).await
                    }
                    Err(StoreError::Changed) => Err(Unavailable::Changed.into()),
                    Err(StoreError::TooManyPending(most)) => {
                        // One more row would be one more of what there are too many of.
                        record.request = None;
                        let refusal = Refusal::TooManyPending(most);
                        let error = ServiceError::Refused { id: None, refusal, full_response: None };
                        self.repeated_or(error, caller, endpoint, &template.name, raw, record).await
                    }
                    Err(error) => {
                        self.repeated_or(error.into(), caller, endpoint, &template.name, raw, record).await
                    }
                };
            }
            Decision::Deny(refusal) => {
                // A duplicate is refused by the writer, who knows what other nodes wrote. A denial has to ask it.
                if let Some(reply) =
                    self.repeated_anywhere(caller, endpoint, &template.name, &submission.raw, record).await?
                {
                    return Ok(reply);
                }
                return self.deny(row(), refusal, record).await;
            }
        };

        // 4. Prepare, record, sign, commit.
        let opening = Opening::New(Box::new(row()));
        match self.issue(*approved, id, opening, record.actor(), record.seen).await {
            Ok(issued) => Ok(Reply::Issued { id, certificate: issued.into_certificate() }),
            Err(error) => {
                self.repeated_or(error, caller, endpoint, &template.name, &submission.raw, record).await
            }
        }
    }

    /// The same octets at the same moment: the store took one of them, and its answer is for both. Otherwise `error`.
    async fn repeated_or(
        &self,
        error: ServiceError,
        caller: &Caller,
        endpoint: &Endpoint,
        template: &str,
        raw: &[u8],
        record: &mut Record,
    ) -> Result<Reply, ServiceError> {
        match self.repeated(caller, endpoint, template, raw, record).await {
            Ok(Some(reply)) => Ok(reply),
            Ok(None) | Err(_) => Err(error),
        }
    }

    /// What became of the same octets of this caller, if they came within the last day and were not refused. What
    /// another node has written since this one's last write is left to the writer, which refuses a duplicate.
    async fn repeated(
        &self,
        caller: &Caller,
        endpoint: &Endpoint,
        template: &str,
        raw: &[u8],
        record: &mut Record,
    ) -> Result<Option<Reply>, ServiceError> {
        let since = self.clock.now().plus(-REPEAT_SECONDS);
        match self.store.find_recent(caller.principal(), Some(template), raw, since).await? {
            Some(earlier) => self.status(caller, endpoint, earlier.id, record).await.map(Some),
            None => Ok(None),
        }
    }

    /// The same, whichever node answered.
    async fn repeated_anywhere(
        &self,
        caller: &Caller,
        endpoint: &Endpoint,
        template: &str,
        raw: &[u8],
        record: &mut Record,
    ) -> Result<Option<Reply>, ServiceError> {
        let since = self.clock.now().plus(-REPEAT_SECONDS);
        match self.store.find_recent_anywhere(caller.principal(), Some(template), raw, since).await? {
            Some(earlier) => self.status(caller, endpoint, earlier.id, record).await.map(Some),
            None => Ok(None),
        }
    }

    /// What the holder of a token that is spent got for the same octets.
    async fn repeated_by_token(
        &self,
        caller: &Caller,
        endpoint: &Endpoint,
        raw: &[u8],
        record: &mut Record,
    ) -> Result<Option<Reply>, ServiceError> {
        let seen = self.seen(record).await?;
        let principal = caller.principal();
        let snapshot = self.catalog.snapshot(principal, seen).await?;
        let mut templates = snapshot.templates_for(principal).iter();
        match templates.find(|template| template.permission(principal).enroll) {
            Some(template) => self.repeated_anywhere(caller, endpoint, &template.name, raw, record).await,
            None => Ok(None),
        }
    }

    /// The order that `muster_core::issuance` allows: lint, record, sign, commit. The intent is recorded only if nothing
    /// has changed since `seen`.
    pub(crate) async fn issue(
        &self,
        approved: Approved,
        id: RequestId,
        opening: Opening,
        actor: Actor,
        seen: Option<Generations>,
    ) -> Result<Issued, ServiceError> {
        let unwritable = |error: LedgerError| Unavailable::Store(error.to_string());
        let serial = muster_ca::serial::fresh(id).map_err(|e| Unavailable::Signer(e.to_string()))?;
        let prepared = issuance::prepare(&*self.authority, approved, serial)
            .map_err(|error| ServiceError::Internal(error.to_string()))?;
        let ledger = IfUnchanged { store: &self.store, seen, refused: OnceLock::new() };
        let recorded = match prepared.record(&ledger, opening, actor, self.clock.now()).await {
            Ok(recorded) => recorded,
            Err(error) => {
                return Err(match ledger.refused.into_inner() {
                    // Renewed with another key by somebody a moment ago: policy looks again, and sees it.
                    Some(StoreError::Changed | StoreError::Forked(_)) => Unavailable::Changed.into(),
                    Some(StoreError::Token(trouble)) => AuthError::Token(trouble).into(),
                    Some(_) | None => unwritable(error).into(),
                });
            }
        };
        let signed = match recorded.sign(&*self.authority) {
            Ok(signed) => signed,
            Err((intent, error)) => {
                intent.abandon(&self.store, error.to_string(), self.clock.now()).await.map_err(unwritable)?;
                return Err(Unavailable::Signer(error.to_string()).into());
            }
        };
        Ok(signed.commit(&self.store, self.clock.now()).await.map_err(unwritable)?)
    }

    pub(crate) async fn deny(
        &self,
        row: RequestRecord,
        refusal: Refusal,
        record: &mut Record,
    ) -> Result<Reply, ServiceError> {
        let id = row.id;
        self.store.record_denied(row, refusal.code(), refusal.to_string()).await?;
        record.denied = true;
        Err(ServiceError::Refused { id: Some(id), refusal, full_response: None })
    }
}

/// The store, which records an intent only if nothing has changed since it was decided.
struct IfUnchanged<'a> {
    store: &'a Store,
    seen: Option<Generations>,
    /// What the store said; the ledger's own error is a sentence.
    refused: OnceLock<StoreError>,
}

impl Ledger for IfUnchanged<'_> {
    async fn record_intent(&self, intent: Intent) -> Result<(), LedgerError> {
        let outcome = match self.seen {
            Some(seen) => self.store.record_intent_if_unchanged(intent, seen).await,
            None => self.store.try_record_intent(intent).await,
        };
        outcome.map_err(|error| {
            let sentence = error.clone().into();
            let _ = self.refused.set(error);
            sentence
        })
    }

    async fn record_issued(&self, issued: IssuedRecord) -> Result<(), LedgerError> {
        self.store.record_issued(issued).await
    }

    async fn abandon_intent(
        &self,
        id: RequestId,
        serial: Serial,
        reason: String,
        at: UnixTime,
    ) -> Result<(), LedgerError> {
        self.store.abandon_intent(id, serial, reason, at).await
    }
}
