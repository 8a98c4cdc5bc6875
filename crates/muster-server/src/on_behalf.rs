//! Requests on behalf of somebody: an enrollment agent signed them and sends them (MS-WCCE 3.2.2.6.2.1.2).
//!
//! The path is that of [`Enrollment::submit`] with one step before it: who signed, and may that one enroll the account
//! that the request names? From there on everything is decided for that account, as if it had asked: its permissions,
//! its names, its directory. It is the requester in the request's row; the agent is noted beside it, and both may ask
//! what became of the request.

use der::Decode as _;
use muster_core::Caller;
use muster_core::agent::{Agency, Agent, Signer};
use muster_core::issuance::{Opening, RequestRecord};
use muster_core::policy::{self, Approval, Circumstances, Decision, Right};
use muster_core::{Method, Oid, Principal, Refusal, RequestId, Submission, Template, UnixTime};
use muster_store::{Generations, Owner, Request, StoreError};
use x509_cert::Certificate;
use x509_cert::ext::pkix::{CertificatePolicies, ExtendedKeyUsage};

use crate::auth::serial_of;
use crate::config::Endpoint;
use crate::decode;
use crate::enroll::{Enrollment, REPEAT_SECONDS, Reply};
use crate::fault::ServiceError;
use crate::record::Record;

/// What a request on behalf of somebody says of itself.
#[derive(Clone, Copy)]
pub(crate) struct OnBehalf<'a> {
    /// The account named, as it was written.
    pub(crate) requester: &'a str,
    /// The certificates that named it, in no order: what signed it is a set.
    pub(crate) agents: &'a [Vec<u8>],
    /// Those of all others who signed.
    pub(crate) cosigners: &'a [Vec<u8>],
}

/// What was found out about one.
struct Found {
    subject: Principal,
    agent: Signer,
    others: Vec<Signer>,
    subject_is_agent: bool,
}

/// A request as its repetition is looked for.
#[derive(Clone, Copy)]
struct Sent<'a> {
    caller: &'a Caller,
    endpoint: &'a Endpoint,
    subject: &'a Principal,
    template: &'a Template,
    raw: &'a [u8],
}

impl Enrollment {
    /// Decides a request on behalf of somebody and, if policy says so, issues.
    pub(crate) async fn attempt_on_behalf(
        &self,
        caller: &Caller,
        endpoint: &Endpoint,
        submission: &Submission,
        on_behalf: OnBehalf<'_>,
        record: &mut Record,
    ) -> Result<Reply, ServiceError> {
        let now = self.clock.now();
        let seen = self.seen(record).await?;
        let id = self.store.reserve_request_id().await?;
        record.request = Some(id);
        let actor = record.actor();
        let form = submission.form.as_str();
        let raw = submission.raw.clone();
        let row = |requester: &Principal, template: Option<String>| RequestRecord {
            id,
            received: now,
            actor: actor.clone(),
            requester: requester.name.clone(),
            requester_sid: requester.sid.clone(),
            method: caller.method(),
            form,
            template,
            endpoint: endpoint.uri.clone(),
            // The line of a certificate is that of its account, not of the agent's.
            asked_with: None,
            raw: raw.clone(),
        };
        let found = match self.look_up(caller, on_behalf).await? {
            Ok(found) => found,
            // There may be no account to write it down for.
            Err(refusal) => return self.deny(row(caller.principal(), None), refusal, record).await,
        };
        let subject = &found.subject;
        let snapshot = self.catalog.snapshot(subject, seen).await?;
        let template =
            policy::authorize(subject, snapshot.templates_for(subject), &submission.template, Right::Enroll);
        let template_name = template.as_ref().ok().map(|t| t.name.clone());
        record.template.clone_from(&template_name);
        let established =
            template.and_then(|template| Ok((template, found.establish(caller, template, now)?)));
        let (template, agency) = match established {
            Ok(established) => established,
            Err(refusal) => {
                return self.deny(row(caller.principal(), template_name), refusal, record).await;
            }
        };
        let sent = Sent { caller, endpoint, subject, template, raw: &raw };
        if let Some(reply) = self.repeated_on_behalf(sent, record).await? {
            return Ok(reply);
        }
        let circumstances = self
            .circumstances_on_behalf(caller.method(), &agency, submission, Approval::NotGiven, seen)
            .await?;
        match policy::decide(subject, template, submission, &circumstances) {
            Decision::Issue(approved) => {
                let opening = Opening::New(Box::new(row(subject, template_name)));
                match self.issue(*approved, id, opening, record.actor(), record.seen).await {
                    Ok(issued) => Ok(Reply::Issued { id, certificate: issued.into_certificate() }),
                    Err(error) => self.repeated_instead(error, sent, record).await,
                }
            }
            // A fork is of a renewal, which this is not; it waits all the same.
            Decision::Pend | Decision::Forked => {
                let waiting = row(subject, template_name);
                match self.store.record_pending(waiting, template.revision()).await {
                    Ok(()) => Ok(Reply::Pending { id }),
                    Err(StoreError::TooManyPending(most)) => {
                        record.request = None;
                        let refusal = Refusal::TooManyPending(most);
                        let error = ServiceError::Refused { id: None, refusal, full_response: None };
                        self.repeated_instead(error, sent, record).await
                    }
                    Err(error) => self.repeated_instead(error.into(), sent, record).await,
                }
            }
            Decision::Deny(refusal) => {
                self.deny(row(caller.principal(), template_name), refusal, record).await
            }
        }
    }

    /// Issues a request on behalf of somebody that an officer approved, as [`Enrollment::status`] does with others.
    /// Agent, limits and requester are looked at again; whoever asks decides nothing.
    pub(crate) async fn resume_on_behalf(
        &self,
        row: Request,
        submission: &Submission,
        on_behalf: OnBehalf<'_>,
        record: &mut Record,
    ) -> Result<Reply, ServiceError> {
        let id = row.summary.id;
        let now = self.clock.now();
        let seen = self.seen(record).await?;
        let found = match self.agent_of(&row).await? {
            Some(agent) => {
                let found = self.look_up(&agent, on_behalf).await?;
                found.map(|found| (agent, found))
            }
            None => Err(Refusal::AgentLimits),
        };
        let (agent, found) = match found {
            Ok(found) => found,
            Err(refusal) => return self.deny_approved(id, refusal, record).await,
        };
        let subject = &found.subject;
        let snapshot = self.catalog.snapshot(subject, seen).await?;
        let established =
            policy::authorize(subject, snapshot.templates_for(subject), &submission.template, Right::Enroll)
                .and_then(|template| Ok((template, found.establish(&agent, template, now)?)));
        let (template, agency) = match established {
            Ok(established) => established,
            Err(refusal) => return self.deny_approved(id, refusal, record).await,
        };
        if let Some(reply) = self.reopen_if_changed(&row, &template.revision(), now).await? {
            return Ok(reply);
        }
        let method = row.summary.method;
        let circumstances =
            self.circumstances_on_behalf(method, &agency, submission, Approval::Given, seen).await?;
        match policy::decide(subject, template, submission, &circumstances) {
            Decision::Issue(approved) => self.issue_approved(*approved, id, record).await,
            Decision::Pend | Decision::Forked => Ok(Reply::Pending { id }),
            Decision::Deny(refusal) => self.deny_approved(id, refusal, record).await,
        }
    }

    /// The agent that sent a request, as it is now.
    async fn agent_of(&self, row: &Request) -> Result<Option<Caller>, ServiceError> {
        let Some(name) = self.store.request_agent(row.summary.id).await? else { return Ok(None) };
        let principal = self.identities.named(&name, None).await?;
        Ok(principal.map(|principal| Caller::authenticated(principal, row.summary.method)))
    }

    async fn circumstances_on_behalf<'a>(
        &self,
        method: Method,
        agency: &'a Agency,
        submission: &Submission,
        approval: Approval,
        seen: Generations,
    ) -> Result<Circumstances<'a>, ServiceError> {
        Ok(Circumstances {
            method,
            // Of the connection, which is the agent's; what the requester's is not asked for.
            tls_certificate: None,
            renewal_only: false,
            key_based: false,
            renewed: None,
            agency: Some(agency),
            key_blocked: self.store.is_key_blocked(&submission.key.spki, seen).await?,
            approval,
            ca_not_after: self.authority.not_after(),
            now: self.clock.now(),
        })
    }

    /// The signers, then the account that the agent named: in this order, so that only agents learn who has an account.
    async fn look_up(
        &self,
        caller: &Caller,
        on_behalf: OnBehalf<'_>,
    ) -> Result<Result<Found, Refusal>, ServiceError> {
        let mut others = Vec::with_capacity(on_behalf.agents.len() + on_behalf.cosigners.len());
        for certificate in on_behalf.agents {
            others.push(self.signer(certificate).await?);
        }
        let now = self.clock.now();
        let agent = match others.iter().position(|signer| Agent::check(caller, signer, now).is_ok()) {
            Some(at) => others.swap_remove(at),
            None => {
                // None of them will do: the caller's own certificate tells best why.
                let own = |signer: &&Signer| {
                    signer.known.as_ref().is_some_and(|known| known.account == caller.principal().name)
                };
                let signer = others.iter().find(own).or_else(|| others.first());
                let refusal = signer.and_then(|signer| Agent::check(caller, signer, now).err());
                return Ok(Err(refusal.unwrap_or(Refusal::OnBehalfOf)));
            }
        };
        for certificate in on_behalf.cosigners {
            others.push(self.signer(certificate).await?);
        }
        let Some(subject) = self.identities.requester(on_behalf.requester).await? else {
            return Ok(Err(Refusal::RequesterUnknown));
        };
        let subject_is_agent = !self.store.agent_limits_of(&subject.name).await?.is_empty();
        Ok(Ok(Found { subject, agent, others, subject_is_agent }))
    }

    /// What is known of a certificate that signed, now.
    async fn signer(&self, certificate: &[u8]) -> Result<Signer, ServiceError> {
        let known = match serial_of(certificate) {
            Some(serial) => self.store.known_certificate(serial, certificate).await?,
            None => None,
        };
        let (mut enabled, mut limits) = (false, Vec::new());
        if let Some(known) = &known {
            let sid = Certificate::from_der(certificate).ok().and_then(|c| decode::sid_of(&c));
            let sid = sid.and_then(|sid| sid.parse().ok());
            enabled = self.identities.named(&known.account, sid.as_ref()).await?.is_some();
            limits = self.store.agent_limits_of(&known.account).await?;
        }
        let (purposes, policies) = uses(certificate);
        Ok(Signer { known, enabled, purposes, policies, limits })
    }

    /// What became of the same octets for the same account, within a day.
    async fn repeated_on_behalf(
        &self,
        sent: Sent<'_>,
        record: &mut Record,
    ) -> Result<Option<Reply>, ServiceError> {
        let Sent { caller, endpoint, subject, template, raw } = sent;
        let since = self.clock.now().plus(-REPEAT_SECONDS);
        match self.store.find_recent(subject, Some(&template.name), raw, since).await? {
            // Another agent's request is not this one's.
            Some(earlier) if self.may_ask(caller, earlier.id, subject.into()).await? => {
                Box::pin(self.status(caller, endpoint, earlier.id, record)).await.map(Some)
            }
            Some(_) | None => Ok(None),
        }
    }

    async fn repeated_instead(
        &self,
        error: ServiceError,
        sent: Sent<'_>,
        record: &mut Record,
    ) -> Result<Reply, ServiceError> {
        match self.repeated_on_behalf(sent, record).await {
            Ok(Some(reply)) => Ok(reply),
            Ok(None) | Err(_) => Err(error),
        }
    }

    /// Whether the caller may ask about a request: its requester, or the agent that sent it.
    pub(crate) async fn may_ask(
        &self,
        caller: &Caller,
        id: RequestId,
        requester: Owner<'_>,
    ) -> Result<bool, ServiceError> {
        let name = &caller.principal().name;
        Ok(requester == caller.principal().into()
            || self.store.request_agent(id).await?.as_ref() == Some(name))
    }
}

impl Found {
    fn establish(&self, caller: &Caller, template: &Template, now: UnixTime) -> Result<Agency, Refusal> {
        let agent = Agent::check(caller, &self.agent, now)?;
        Agency::establish(&agent, &self.others, &self.subject, self.subject_is_agent, template, now)
    }
}

/// Purposes and policies of a certificate; none of one that cannot be read.
fn uses(certificate: &[u8]) -> (Vec<Oid>, Vec<Oid>) {
    let Ok(certificate) = Certificate::from_der(certificate) else { return (Vec::new(), Vec::new()) };
    let tbs = certificate.tbs_certificate();
    let purposes = match tbs.get_extension::<ExtendedKeyUsage>() {
        Ok(Some((_, purposes))) => purposes.0.iter().filter_map(|p| p.to_string().parse().ok()).collect(),
        Ok(None) | Err(_) => Vec::new(),
    };
    let policies = match tbs.get_extension::<CertificatePolicies>() {
        Ok(Some((_, list))) => {
            list.0.iter().filter_map(|p| p.policy_identifier.to_string().parse().ok()).collect()
        }
        Ok(None) | Err(_) => Vec::new(),
    };
    (purposes, policies)
}
