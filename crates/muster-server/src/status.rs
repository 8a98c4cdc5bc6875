//! What became of a request: the later half of [`Enrollment`], for callers that come back (MS-WSTEP 3.1.4.2.1.2).
//!
//! A request that an officer approved meanwhile is decided again, by today's policy, and takes the same steps from
//! there on as a new one in `enroll.rs`.

use muster_core::issuance::Opening;
use muster_core::policy::{self, Approval, Approved, Circumstances, Decision, FORK_CODE, Right};
use muster_core::request::{RequestForm, RequestId, Serial};
use muster_core::{Caller, Refusal, Template, UnixTime};
use muster_store::{Disposition, Request, StoreError};

use crate::config::Endpoint;
use crate::decode;
use crate::enroll::{Enrollment, Reply};
use crate::fault::ServiceError;
use crate::on_behalf::OnBehalf;
use crate::record::Record;
use crate::renewal::is_renewal;

impl Enrollment {
    /// What became of a request of this caller (MS-WSTEP 3.1.4.2.1.2). A request that an officer approved meanwhile is
    /// decided again, by today's policy, and issued now.
    ///
    /// # Errors
    /// [`ServiceError::NoSuchRequest`] for a foreign request as for an unknown one.
    pub async fn status(
        &self,
        caller: &Caller,
        endpoint: &Endpoint,
        id: RequestId,
        record: &mut Record,
    ) -> Result<Reply, ServiceError> {
        let unknown = || ServiceError::NoSuchRequest(id.to_string());
        let row = self.store.request(id).await?.ok_or_else(unknown)?;
        if !self.may_ask(caller, id, row.summary.owner()).await? {
            return Err(unknown());
        }
        record.request = Some(id);
        record.template.clone_from(&row.summary.template);
        match row.summary.disposition {
            Disposition::Pending
            | Disposition::Signing
            | Disposition::Submitting
            | Disposition::UnderSubmission => Ok(Reply::Pending { id }),
            Disposition::Approved => self.resume(caller, endpoint, row, record).await,
            Disposition::Issued => match row.certificate {
                Some((_, certificate)) => Ok(Reply::Issued { id, certificate }),
                None => Err(ServiceError::Internal(format!("request {id} is issued and has no certificate"))),
            },
            Disposition::Denied => {
                let summary = row.summary;
                // Policy leaves a code, an officer a comment.
                let refusal = match summary.code {
                    Some(_) => Refusal::DeniedBefore { id, sentence: summary.message.unwrap_or_default() },
                    None => {
                        let comment = summary.decision.and_then(|d| d.comment).unwrap_or_default();
                        Refusal::DeniedByOfficer { id, comment }
                    }
                };
                Err(ServiceError::Refused { id: Some(id), refusal, full_response: None })
            }
            Disposition::Failed | Disposition::Unknown => Err(ServiceError::RequestFailed(id)),
        }
    }

    /// The same, of the request that was answered with the certificate of this serial number.
    ///
    /// # Errors
    /// [`ServiceError::NoSuchRequest`] for a certificate of somebody else as for an unknown one.
    pub async fn status_by_serial(
        &self,
        caller: &Caller,
        endpoint: &Endpoint,
        serial: &str,
        record: &mut Record,
    ) -> Result<Reply, ServiceError> {
        let unknown = || ServiceError::NoSuchRequest(serial.to_owned());
        let number: Serial = serial.parse().map_err(|_| unknown())?;
        let found = self.store.certificate(number).await?.ok_or_else(unknown)?;
        match self.status(caller, endpoint, found.summary.id, record).await {
            Err(ServiceError::NoSuchRequest(_)) => Err(unknown()),
            outcome => outcome,
        }
    }

    /// Issues a request that an officer approved.
    async fn resume(
        &self,
        caller: &Caller,
        endpoint: &Endpoint,
        row: Request,
        record: &mut Record,
    ) -> Result<Reply, ServiceError> {
        let id = row.summary.id;
        let now = self.clock.now();
        let mut submission = decode::submission(&row.raw)?;
        // Over RPC the template may have been named beside the request.
        if let (true, Some(name)) = (submission.template.is_empty(), &row.summary.template) {
            decode::name_template(&mut submission.template, name);
        }
        if let RequestForm::OnBehalfOf { requester, agents, cosigners } = &submission.form
            && !endpoint.renewal_only
        {
            let on_behalf = OnBehalf { requester, agents, cosigners };
            return Box::pin(self.resume_on_behalf(row, &submission, on_behalf, record)).await;
        }
        let seen = self.seen(record).await?;
        let snapshot = self.catalog.snapshot(caller.principal(), seen).await?;
        let principal = caller.principal();
        let refused = |refusal| ServiceError::Refused { id: Some(id), refusal, full_response: None };
        // It goes on where it may begin.
        if endpoint.renewal_only && !is_renewal(&submission.form) {
            return Err(refused(Refusal::RenewalOnly));
        }
        let right = Right::claimed(&submission.form, endpoint.key_based_renewal);
        let template: &Template =
            policy::authorize(principal, snapshot.templates_for(principal), &submission.template, right)
                .map_err(refused)?;
        let revision = template.revision();
        if let Some(reply) = self.reopen_if_changed(&row, &revision, now).await? {
            return Ok(reply);
        }
        let renewed = self.renewed(&submission).await?;
        let circumstances = Circumstances {
            method: row.summary.method,
            tls_certificate: match &submission.form {
                // The connection that submitted it was checked then; it is gone.
                RequestForm::Renewal { old_certificate, .. } => Some(old_certificate),
                RequestForm::Pkcs10 | RequestForm::CmcFull | RequestForm::OnBehalfOf { .. } => None,
            },
            renewal_only: endpoint.renewal_only,
            key_based: endpoint.key_based_renewal,
            renewed: renewed.as_ref(),
            agency: None,
            key_blocked: self.store.is_key_blocked(&submission.key.spki, seen).await?,
            approval: Approval::Given,
            ca_not_after: self.authority.not_after(),
            now,
        };
        match policy::decide(principal, template, &submission, &circumstances) {
            // The officer may not have known of the other holder.
            Decision::Issue(_) | Decision::Forked
                if renewed.as_ref().is_some_and(|renewed| renewed.line.forked)
                    && row.summary.code.as_deref() != Some(FORK_CODE) =>
            {
                self.reopen_forked(id, &submission, revision, record).await
            }
            Decision::Issue(approved) => self.issue_approved(*approved, id, record).await,
            Decision::Pend | Decision::Forked => Ok(Reply::Pending { id }),
            Decision::Deny(refusal) => self.deny_approved(id, refusal, record).await,
        }
    }

    /// An officer approved what the template said then, and nothing else is issued on that word: if it says something
    /// else by now, the request waits again.
    pub(crate) async fn reopen_if_changed(
        &self,
        row: &Request,
        revision: &str,
        now: UnixTime,
    ) -> Result<Option<Reply>, ServiceError> {
        let id = row.summary.id;
        let approved_for =
            row.summary.decision.as_ref().and_then(|decision| decision.approved_for.as_deref());
        if approved_for == Some(revision) {
            return Ok(None);
        }
        let then = approved_for.unwrap_or("an unknown revision of the template");
        let why = format!("approved for {then}, but the template is {revision} by now; look at it again");
        match self.store.reopen(id, why, revision.to_owned(), now).await {
            // Another poll was faster.
            Ok(()) | Err(StoreError::WrongState { .. }) => Ok(Some(Reply::Pending { id })),
            Err(error) => Err(error.into()),
        }
    }

    /// Issues what an officer approved and policy allows today as well.
    pub(crate) async fn issue_approved(
        &self,
        approved: Approved,
        id: RequestId,
        record: &Record,
    ) -> Result<Reply, ServiceError> {
        let _company = self.store.expect_write();
        match self.issue(approved, id, Opening::Approved(id), record.actor(), record.seen).await {
            Ok(issued) => Ok(Reply::Issued { id, certificate: issued.into_certificate() }),
            // Another poll, perhaps on another node, was faster: its certificate is the answer to the next one.
            Err(error) => match self.store.request(id).await?.map(|row| row.summary.disposition) {
                Some(Disposition::Signing | Disposition::Issued) => Ok(Reply::Pending { id }),
                Some(
                    Disposition::Pending
                    | Disposition::Approved
                    | Disposition::Denied
                    | Disposition::Failed
                    | Disposition::Submitting
                    | Disposition::UnderSubmission
                    | Disposition::Unknown,
                )
                | None => Err(error),
            },
        }
    }

    /// What an officer approved, policy has ceased to allow: the request ends here.
    pub(crate) async fn deny_approved(
        &self,
        id: RequestId,
        refusal: Refusal,
        record: &mut Record,
    ) -> Result<Reply, ServiceError> {
        let (code, sentence) = (refusal.code(), refusal.to_string());
        self.store.deny_approved(id, code, sentence, record.actor(), self.clock.now()).await?;
        record.denied = true;
        Err(ServiceError::Refused { id: Some(id), refusal, full_response: None })
    }
}
