//! A request for a CA that is not of this installation: from an authenticated caller and a submission to what that CA
//! answered, on disk. The sibling of `enroll.rs`.
//!
//! [`Forwarding::submit`] is the path: authorize, the same octets again, decide, record, send, settle. What each step
//! hands to the next can be made by that step alone: policy makes the `Forwardable`, `record` makes the
//! `RecordedSubmission`, only that can be sent, and `settle` consumes it. docs/adcs.md says what a failure at each of
//! them leaves.

use std::sync::{Arc, OnceLock};

use der::{Decode as _, Encode as _};
use muster_core::forwarding::{ForwardLedger, IdentityMode, Outcome, Settlement, SubmissionRecord};
use muster_core::issuance::{LedgerError, RequestRecord};
use muster_core::policy::{self, ForeignCertificate, ForwardCircumstances, Right};
use muster_core::request::{RequestForm, RequestId};
use muster_core::{Clock, Refusal, Submission, UnixTime};
use muster_proto::wcce::{CertificateTemplate, ParsedRequest, certificate_template};
use muster_store::{Disposition, Generations, Request, Store, StoreError};
use x509_cert::Certificate;

use crate::auth::{Authenticated, no_ticket};
use crate::backend::{Asker, Backend, NotSent};
use crate::catalog::Catalog;
use crate::config::Endpoint;
use crate::decode;
use crate::enroll::REPEAT_SECONDS;
use crate::fault::{CaError, RequestFault, ServiceError, Unavailable};
use crate::identities::Identities;
use crate::passable;
use crate::record::Record;
use crate::renewal::{asked_with, is_renewal};

/// How often a request is decided if something changes meanwhile.
const ATTEMPTS: u32 = 3;

/// What the CA made of a request, for the answer.
#[derive(Debug)]
pub(crate) enum Forwarded {
    /// The certificate is there.
    Issued {
        /// The request.
        id: RequestId,
        /// The certificate, DER.
        certificate: Vec<u8>,
        /// The CA's CMC full response; empty if it sent none.
        response: Vec<u8>,
    },
    /// Somebody at the CA has to decide.
    Pending {
        /// The request.
        id: RequestId,
        /// The CA's CMC full response; empty if it sent none.
        response: Vec<u8>,
    },
}

/// What passing requests on to one CA needs.
pub(crate) struct Forwarding {
    pub(crate) ca: Arc<str>,
    pub(crate) store: Store,
    pub(crate) identities: Arc<Identities>,
    /// The templates that the CA issues from.
    pub(crate) catalog: Catalog,
    pub(crate) backend: Backend,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Forwarding {
    /// Passes a submission on, if policy says so.
    ///
    /// # Errors
    /// [`ServiceError::Refused`] by our policy, [`ServiceError::Ca`] by the CA's, [`ServiceError::Unavailable`] if the
    /// store fails or the CA certainly did not get the request.
    pub(crate) async fn submit(
        self: &Arc<Self>,
        message: &Authenticated<'_>,
        endpoint: &Endpoint,
        submission: &Submission,
        record: &mut Record,
    ) -> Result<Forwarded, ServiceError> {
        // Where there are renewals only, nothing else begins, and the CA hears of nothing.
        if endpoint.renewal_only && !is_renewal(&submission.form) {
            let refusal = Refusal::RenewalOnly;
            return Err(ServiceError::Refused { id: None, refusal, full_response: None });
        }
        // An agent enrolls for others; it cannot renew what they have.
        if mode(endpoint)? == IdentityMode::RegistrationAuthority && is_renewal(&submission.form) {
            return Err(RequestFault::RenewalOnBehalf.into());
        }
        let parsed = passable::check(&submission.raw)?;
        for _ in 1..ATTEMPTS {
            match self.attempt(message, endpoint, submission, &parsed, record).await {
                Err(ServiceError::Unavailable(Unavailable::Changed)) => {}
                outcome => return outcome,
            }
            record.seen = Some(self.store.generations().await?);
            let caller = message.caller();
            self.identities.check(caller.principal(), caller.method()).await?;
        }
        self.attempt(message, endpoint, submission, &parsed, record).await
    }

    async fn attempt(
        self: &Arc<Self>,
        message: &Authenticated<'_>,
        endpoint: &Endpoint,
        submission: &Submission,
        parsed: &ParsedRequest,
        record: &mut Record,
    ) -> Result<Forwarded, ServiceError> {
        let caller = message.caller();
        let principal = caller.principal();
        let now = self.clock.now();
        let seen = self.seen(record).await?;
        let snapshot = self.catalog.snapshot(principal, seen).await?;
        let id = self.store.reserve_request_id().await?;

        // 1. Which template, and may this caller enroll for it?
        let right = Right::claimed(&submission.form, endpoint.key_based_renewal);
        let template =
            policy::authorize(principal, snapshot.templates_for(principal), &submission.template, right);
        let template_name = template.as_ref().ok().map(|t| t.name.clone());
        record.template.clone_from(&template_name);
        let row = RequestRecord {
            id,
            received: now,
            actor: record.actor(),
            requester: principal.name.clone(),
            requester_sid: principal.sid.clone(),
            method: caller.method(),
            form: submission.form.as_str(),
            template: template_name,
            endpoint: endpoint.uri.clone(),
            asked_with: asked_with(&submission.form, caller),
            raw: submission.raw.clone(),
        };
        let template = match template {
            Ok(template) => template,
            Err(refusal) => return self.deny(row, refusal, record).await,
        };

        passable::check_uses(parsed, template)?;

        // 2. The same octets again, within a day: the same answer. The CA would issue a second certificate.
        let since = now.plus(-REPEAT_SECONDS);
        let earlier =
            self.store.find_recent_anywhere(principal, Some(&template.name), &submission.raw, since).await?;
        if let Some(earlier) = earlier {
            return self.status(message, endpoint, earlier.id, record).await;
        }

        // 3. Policy decides, and in whose name the CA is asked is settled.
        let identity = mode(endpoint)?;
        let renewed = self.renewed(submission);
        let circumstances = ForwardCircumstances {
            identity,
            method: caller.method(),
            tls_certificate: caller.certificate(),
            renewal_only: endpoint.renewal_only,
            key_based: endpoint.key_based_renewal,
            renewed: renewed.as_ref(),
            key_blocked: self.store.is_key_blocked(&submission.key.spki, seen).await?,
            now,
        };
        let forwardable = match policy::forward(principal, template, submission, &circumstances) {
            Ok(forwardable) => forwardable,
            Err(refusal) => return self.deny(row, refusal, record).await,
        };
        let asker = self.asker(message, identity).await?;
        record.request = Some(id);

        // 4. Record, send, settle.
        let ledger = IfUnchanged { store: &self.store, seen, refused: OnceLock::new() };
        let recorded = match forwardable.record(&ledger, row, &self.ca, now).await {
            Ok(recorded) => recorded,
            Err(error) => {
                return match ledger.refused.into_inner() {
                    Some(StoreError::Changed) => Err(Unavailable::Changed.into()),
                    // The same octets at the same moment: the store took one of them.
                    Some(StoreError::Duplicate(earlier)) => {
                        self.status(message, endpoint, earlier, record).await
                    }
                    Some(_) | None => Err(Unavailable::Store(error.to_string()).into()),
                };
            }
        };
        // The CA may have it as soon as it is sent: what it says is written down whatever becomes of the caller.
        let (desk, reference) = (Arc::clone(self), record.reference.clone());
        let task = tokio::spawn(async move {
            let sent = desk.backend.send(&asker, &recorded, desk.clock.now()).await;
            let outcome = match &sent {
                Ok(outcome) => outcome.clone(),
                Err(not_sent) => Outcome::NotSubmitted { why: not_sent.to_string() },
            };
            alarm(id, &outcome, &reference);
            let settled = recorded.settle(&desk.store, outcome, desk.clock.now()).await;
            (sent, settled)
        });
        let (sent, settled) = task.await.map_err(|error| ServiceError::Internal(error.to_string()))?;
        let settled = settled.map_err(unwritable)?;
        match sent {
            Err(error) => Err(not_sent(endpoint, error)),
            Ok(_) => reply(id, settled.into_outcome()),
        }
    }

    /// What became of a request of this caller. One that waits at the CA is asked for there, now.
    ///
    /// # Errors
    /// [`ServiceError::NoSuchRequest`] for a foreign request as for an unknown one, and as [`Self::submit`].
    pub(crate) async fn status(
        &self,
        message: &Authenticated<'_>,
        endpoint: &Endpoint,
        id: RequestId,
        record: &mut Record,
    ) -> Result<Forwarded, ServiceError> {
        let unknown = || ServiceError::NoSuchRequest(id.to_string());
        let row = self.store.request(id).await?.ok_or_else(unknown)?;
        let of_this_ca = row.forwarding.as_ref().is_none_or(|forwarding| forwarding.ca == *self.ca);
        if !of_this_ca || row.summary.owner() != message.caller().principal().into() {
            return Err(unknown());
        }
        record.request = Some(id);
        record.template.clone_from(&row.summary.template);
        match row.summary.disposition {
            Disposition::Submitting => Ok(Forwarded::Pending { id, response: Vec::new() }),
            Disposition::UnderSubmission => self.ask_again(message, endpoint, row, record).await,
            Disposition::Issued => match row.forwarding.and_then(|f| Some((f.certificate?, f.response))) {
                Some((certificate, response)) => {
                    Ok(Forwarded::Issued { id, certificate, response: response.unwrap_or_default() })
                }
                // Of the embedded CA, which has an address of its own.
                None => Err(unknown()),
            },
            Disposition::Unknown if row.summary.code.as_deref() == Some(UNTRUSTED) => {
                Err(CaError::Untrusted(id).into())
            }
            Disposition::Unknown => Err(CaError::Unknown(id).into()),
            Disposition::Denied => Err(match row.forwarding {
                Some(forwarding) => CaError::Denied {
                    id,
                    hresult: forwarding.hresult,
                    message: forwarding.message.unwrap_or_default().trim_end_matches('.').to_owned(),
                    full_response: forwarding.response,
                }
                .into(),
                None => {
                    let sentence = row.summary.message.unwrap_or_default();
                    let refusal = Refusal::DeniedBefore { id, sentence };
                    ServiceError::Refused { id: Some(id), refusal, full_response: None }
                }
            }),
            Disposition::Failed => Err(ServiceError::RequestFailed(id)),
            // Of the embedded CA, which has an address of its own.
            Disposition::Pending | Disposition::Approved | Disposition::Signing => Err(unknown()),
        }
    }

    /// Asks the CA what became of a request that it has.
    async fn ask_again(
        &self,
        message: &Authenticated<'_>,
        endpoint: &Endpoint,
        row: Request,
        record: &mut Record,
    ) -> Result<Forwarded, ServiceError> {
        let id = row.summary.id;
        let Some(forwarding) = row.forwarding else {
            return Err(ServiceError::Internal(format!("request {id} is at no CA")));
        };
        // It is asked for where it was sent from: the CA may tell somebody else nothing, or something else.
        if forwarding.identity != mode(endpoint)? {
            return Err(ServiceError::NoSuchRequest(id.to_string()));
        }
        let Some(backend_id) = forwarding.backend_request_id else {
            return Err(ServiceError::Internal(format!("request {id} has no number at the CA")));
        };
        let asker = self.asker(message, mode(endpoint)?).await?;
        let outcome = match self.backend.ask(&asker, backend_id, &forwarding.expected, self.clock.now()).await
        {
            Ok(outcome) => outcome,
            Err(error) => return Err(not_sent(endpoint, error)),
        };
        if let Outcome::UnderSubmission { response, .. } = outcome {
            return Ok(Forwarded::Pending { id, response });
        }
        alarm(id, &outcome, &record.reference);
        let settlement = Settlement { id, actor: record.actor(), outcome, at: self.clock.now() };
        let settled = settlement.commit(&self.store).await.map_err(unwritable)?;
        reply(id, settled.into_outcome())
    }

    /// The CA's key exchange certificate, DER.
    ///
    /// # Errors
    /// [`ServiceError::NoKeyExchange`] if it has none, or is asked in a way that knows no such question.
    pub(crate) async fn exchange(
        &self,
        message: &Authenticated<'_>,
        endpoint: &Endpoint,
    ) -> Result<Vec<u8>, ServiceError> {
        let asker = self.asker(message, mode(endpoint)?).await?;
        match self.backend.exchange(&asker, self.clock.now()).await {
            Ok(Some(certificate)) => Ok(certificate),
            Ok(None) => Err(ServiceError::NoKeyExchange),
            Err(error) => Err(not_sent(endpoint, error)),
        }
    }

    /// In whose name the CA is asked.
    async fn asker(&self, message: &Authenticated<'_>, mode: IdentityMode) -> Result<Asker, ServiceError> {
        self.backend.asker(mode, message.delegation()).await
    }

    /// What was true when the exchange began.
    async fn seen(&self, record: &Record) -> Result<Generations, ServiceError> {
        match record.seen {
            Some(seen) => Ok(seen),
            None => Ok(self.store.generations().await?),
        }
    }

    /// The certificate that a renewal presents, if this CA signed it. Whether it is revoked, the CA knows.
    fn renewed(&self, submission: &Submission) -> Option<ForeignCertificate> {
        match &submission.form {
            RequestForm::Renewal { old_certificate, .. } => foreign(old_certificate, self.backend.issuers()),
            RequestForm::Pkcs10 | RequestForm::CmcFull | RequestForm::OnBehalfOf { .. } => None,
        }
    }

    async fn deny(
        &self,
        row: RequestRecord,
        refusal: Refusal,
        record: &mut Record,
    ) -> Result<Forwarded, ServiceError> {
        let id = row.id;
        self.store.record_denied(row, refusal.code(), refusal.to_string()).await?;
        record.request = Some(id);
        record.denied = true;
        Err(ServiceError::Refused { id: Some(id), refusal, full_response: None })
    }
}

/// Seconds after which nobody of this process waits for an answer any more: connecting and calling take 300 each at most.
const STUCK_SECONDS: i64 = 900;

/// Writes down as unknown what processes that have ended were sending.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn recover(store: &Store, now: UnixTime) -> Result<(), StoreError> {
    for id in store.recover_submissions(now, STUCK_SECONDS).await? {
        tracing::warn!(
            request.id = id.number(),
            "a request was cut off on its way to the CA; what became of it is unknown"
        );
    }
    Ok(())
}

/// Code of an answer that is not what was asked for: [`Outcome::code`].
pub(crate) const UNTRUSTED: &str = "CA_UNTRUSTED";

/// In whose name the CA is asked at an endpoint.
fn mode(endpoint: &Endpoint) -> Result<IdentityMode, ServiceError> {
    endpoint
        .identity
        .ok_or_else(|| ServiceError::Internal(format!("{} does not say in whose name", endpoint.uri)))
}

/// Why the CA did not get what a caller at this endpoint wants to send.
fn not_sent(endpoint: &Endpoint, error: NotSent) -> ServiceError {
    match error {
        NotSent::Ticket { error, sentence } => match endpoint.identity {
            Some(IdentityMode::Delegate) => no_ticket(endpoint.method, &error),
            // Ours, or the way to the KDC: a node with other keys may fare better.
            Some(IdentityMode::RenewOnBehalf | IdentityMode::RegistrationAuthority) | None => {
                Unavailable::Kerberos(sentence).into()
            }
        },
        NotSent::Unreachable(why) => Unavailable::Ca(why).into(),
        NotSent::Identity(why) => CaError::Identity(why).into(),
    }
}

pub(crate) fn unwritable(error: LedgerError) -> ServiceError {
    Unavailable::Store(error.to_string()).into()
}

/// Somebody has to look soon.
pub(crate) fn alarm(id: RequestId, outcome: &Outcome, reference: &str) {
    match outcome {
        Outcome::Untrusted { backend_id, why } => {
            let (request, at_the_ca) = (id.number(), backend_id.unwrap_or_default());
            tracing::error!(
                request.id = request,
                at_the_ca,
                reference,
                "the CA's answer is not what was asked for and is not passed on: {why}"
            );
        }
        Outcome::Unknown { why } => {
            tracing::warn!(request.id = id.number(), reference, "{why}");
        }
        Outcome::Issued { .. }
        | Outcome::UnderSubmission { .. }
        | Outcome::Denied { .. }
        | Outcome::NotSubmitted { .. } => {}
    }
}

/// The answer to an outcome that is on disk.
fn reply(id: RequestId, outcome: Outcome) -> Result<Forwarded, ServiceError> {
    match outcome {
        Outcome::Issued { certificate, response, .. } => Ok(Forwarded::Issued { id, certificate, response }),
        Outcome::UnderSubmission { response, .. } => Ok(Forwarded::Pending { id, response }),
        Outcome::Denied { hresult, response, message, .. } => {
            let full_response = Some(response).filter(|octets| !octets.is_empty());
            let message = message.trim_end_matches('.').to_owned();
            Err(CaError::Denied { id, hresult, message, full_response }.into())
        }
        Outcome::NotSubmitted { .. } => Err(ServiceError::RequestFailed(id)),
        Outcome::Unknown { .. } => Err(CaError::Unknown(id).into()),
        Outcome::Untrusted { .. } => Err(CaError::Untrusted(id).into()),
    }
}

/// What the certificate says, if one of `issuers` signed it.
fn foreign(der: &[u8], issuers: &[Vec<u8>]) -> Option<ForeignCertificate> {
    if muster_adcs::check_issuer(der, issuers).is_err() {
        return None;
    }
    let certificate = Certificate::from_der(der).ok()?;
    let tbs = certificate.tbs_certificate();
    let seconds = |time: x509_cert::time::Time| {
        UnixTime(i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX))
    };
    let (template_name, template_oid) = match certificate_template(&certificate).ok()? {
        Some(CertificateTemplate::Name(name)) => (Some(name), None),
        Some(CertificateTemplate::Id(id)) => (None, Some(id.oid.to_string().parse().ok()?)),
        None => (None, None),
    };
    Some(ForeignCertificate {
        template_name,
        template_oid,
        not_before: seconds(tbs.validity().not_before),
        not_after: seconds(tbs.validity().not_after),
        names: decode::names_of(&certificate),
        sid: decode::sid_of(&certificate),
        spki: tbs.subject_public_key_info().to_der().ok()?,
    })
}

/// The store, which records a submission only if nothing has changed since it was decided.
struct IfUnchanged<'a> {
    store: &'a Store,
    seen: Generations,
    /// What the store said; the ledger's own error is a sentence.
    refused: OnceLock<StoreError>,
}

impl ForwardLedger for IfUnchanged<'_> {
    async fn record_submission(&self, record: SubmissionRecord) -> Result<(), LedgerError> {
        let written = self.store.record_submission_if_unchanged(record, self.seen).await;
        written.map_err(|error| {
            let sentence = error.clone().into();
            let _ = self.refused.set(error);
            sentence
        })
    }

    async fn settle(&self, settlement: Settlement) -> Result<(), LedgerError> {
        ForwardLedger::settle(self.store, settlement).await
    }
}
