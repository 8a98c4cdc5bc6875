//! One authority: requests and queries, each in somebody's name.

use std::sync::{Arc, OnceLock};

use muster_gss::{Credential, InitiateError};
use muster_rpc::client::RpcError;
use muster_rpc::status::HResult;
use muster_rpc::wcce::{CertReply, CertRequest, Disposition, RequestAttributes, RequestFlags};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::error::AdcsError;
use crate::pool::Pool;
use crate::reply::{self, Expected};
use crate::session::Session;
use crate::settings::Settings;
use crate::wire::CallError;

/// In whose name an authority is asked: the name that its connections are kept under, and a Kerberos credential.
#[derive(Clone)]
pub struct Identity {
    name: Arc<str>,
    source: Arc<Source>,
}

/// Where the credential comes from, and the credential once it was needed.
struct Source {
    make: Box<dyn Fn() -> Result<Credential, InitiateError> + Send + Sync>,
    made: OnceLock<Credential>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({})", self.name)
    }
}

impl Identity {
    /// `name` must be the principal of the credential, `alice@CORP.EXAMPLE`: connections are kept by it.
    #[must_use]
    pub fn new(name: &str, credential: Credential) -> Self {
        Self::on_demand(name, move || Ok(credential.clone()))
    }

    /// The same with a credential that takes the KDC to make. `make` is called where it may block, and only when a
    /// connection has to be opened: on one that is open nothing is asked of the KDC. Its error is an
    /// [`AdcsError::Ticket`].
    #[must_use]
    pub fn on_demand(
        name: &str,
        make: impl Fn() -> Result<Credential, InitiateError> + Send + Sync + 'static,
    ) -> Self {
        let source = Source { make: Box::new(make), made: OnceLock::new() };
        Self { name: name.into(), source: Arc::new(source) }
    }

    /// The principal.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Blocks on the KDC, perhaps.
    pub(crate) fn credential(&self) -> Result<Credential, InitiateError> {
        if let Some(made) = self.source.made.get() {
            return Ok(made.clone());
        }
        let made = (self.source.make)()?;
        Ok(self.source.made.get_or_init(|| made).clone())
    }
}

/// A request for a certificate.
#[derive(Clone, Debug)]
pub struct Submission {
    /// PKCS#10, CMS or CMC, as it came.
    pub request: Vec<u8>,
    /// How.
    pub flags: RequestFlags,
    /// What the request does not say itself.
    pub attributes: RequestAttributes,
    /// What the certificate must be like.
    pub expected: Expected,
}

/// A certificate that has been compared with the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The certificate (DER).
    pub certificate: Vec<u8>,
    /// The authority's CMC full PKI response, signed by it and with this certificate; empty if it sent no such one.
    pub response: Vec<u8>,
}

/// What an authority answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Here it is.
    Issued {
        /// The authority's number of the request.
        request_id: u32,
        /// The certificate.
        issued: Issued,
        /// The authority's words.
        message: String,
    },
    /// Somebody has to decide; [`Adcs::query`] asks again.
    Pending {
        /// The authority's number of the request.
        request_id: u32,
        /// The authority's CMC response, signed by it; empty if it sent no such one.
        response: Vec<u8>,
        /// The authority's words.
        message: String,
    },
    /// Somebody, or the authority's policy, said no.
    Denied {
        /// The authority's number of the request.
        request_id: u32,
        /// Why, if the authority gave a reason with a number.
        reason: Option<HResult>,
        /// The authority's CMC response, signed by it; empty if it sent no such one.
        response: Vec<u8>,
        /// The authority's words.
        message: String,
    },
    /// The certificate was issued once, and is revoked.
    Revoked {
        /// The authority's number of the request.
        request_id: u32,
    },
    /// The authority did not take the call: wrong name, no permission, an unknown request.
    Refused(HResult),
}

/// The connector to one authority.
#[derive(Debug)]
pub struct Adcs {
    settings: Settings,
    pool: Pool,
    connections: Semaphore,
}

impl Adcs {
    /// Nothing is connected yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let connections = Semaphore::new(settings.max_connections.max(1));
        Self { settings, pool: Pool::default(), connections }
    }

    pub(crate) const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Asks for a certificate in the name of `identity`. The request is sent once at most.
    ///
    /// # Errors
    /// See [`AdcsError`], and above all [`AdcsError::may_have_been_submitted`].
    pub async fn submit(&self, identity: &Identity, submission: &Submission) -> Result<Answer, AdcsError> {
        let request = CertRequest {
            authority: Some(self.settings.authority.as_str().to_owned()),
            flags: submission.flags,
            request_id: 0,
            serial: None,
            attributes: submission.attributes.text(),
            request: submission.request.clone(),
        };
        self.ask(identity, &request, &submission.expected).await
    }

    /// Asks what became of a request.
    ///
    /// # Errors
    /// See [`AdcsError`]; a query can always be repeated.
    pub async fn query(
        &self,
        identity: &Identity,
        request_id: u32,
        full_response: bool,
        expected: &Expected,
    ) -> Result<Answer, AdcsError> {
        let request = CertRequest {
            authority: Some(self.settings.authority.as_str().to_owned()),
            flags: RequestFlags { full_response, ..RequestFlags::default() },
            request_id,
            ..CertRequest::default()
        };
        self.ask(identity, &request, expected).await
    }

    /// Says to the authority that nothing is wanted of it any more, on all connections that are not in use.
    pub async fn close(&self) {
        let mut closing = tokio::task::JoinSet::new();
        for session in self.pool.drain() {
            closing.spawn(session.close());
        }
        closing.join_all().await;
    }

    /// A connection in the name of `identity`, and the permission to have one, which counts as long as it is used.
    pub(crate) async fn session(
        &self,
        identity: &Identity,
    ) -> Result<(SemaphorePermit<'_>, Session), AdcsError> {
        let Settings { host, timeouts, max_connections, .. } = &self.settings;
        let permit = timeout(timeouts.connect, self.connections.acquire()).await;
        let Ok(Ok(permit)) = permit else {
            return Err(AdcsError::Busy { host: host.clone(), limit: *max_connections });
        };
        if let Some(session) = self.pool.take(identity.name(), timeouts.idle) {
            return Ok((permit, session));
        }
        // Connections that nobody uses count, too: those of others go first.
        let in_use = max_connections.saturating_sub(self.connections.available_permits());
        self.pool.shrink(max_connections.saturating_sub(in_use));
        let opened = timeout(timeouts.connect, Session::open(&self.settings, identity)).await;
        let late = |_| AdcsError::ConnectTimedOut { host: host.clone(), limit: timeouts.connect };
        Ok((permit, opened.map_err(late)??))
    }

    /// Keeps a connection for the next call of the same identity.
    pub(crate) fn keep(&self, identity: &Identity, session: Session) {
        self.pool.put(identity.name(), session);
    }

    async fn ask(
        &self,
        identity: &Identity,
        request: &CertRequest,
        expected: &Expected,
    ) -> Result<Answer, AdcsError> {
        let Settings { host, timeouts, .. } = &self.settings;
        let (permit, mut session) = self.session(identity).await?;
        let unknown = |why: String| AdcsError::Unknown { host: host.clone(), why };
        let reply = match timeout(timeouts.call, session.request(request)).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(CallError::NotBegun(error))) => {
                return Err(AdcsError::CallRefused { host: host.clone(), error });
            }
            Ok(Err(CallError::Lost(why))) => return Err(unknown(why)),
            Ok(Err(CallError::Unproven(fault))) => {
                return Err(unknown(RpcError::UnverifiedFault(fault).to_string()));
            }
            Err(_) => {
                return Err(unknown(format!("no answer within {} s", timeouts.call.as_secs_f32())));
            }
        };
        self.keep(identity, session);
        drop(permit);
        tracing::debug!(
            identity = identity.name(),
            %host,
            request_id = reply.request_id,
            result = %reply.result,
            disposition = ?reply.disposition,
            "the authority answered"
        );
        self.judge(reply, expected)
    }

    fn judge(&self, reply: CertReply, expected: &Expected) -> Result<Answer, AdcsError> {
        if !reply.result.is_success() {
            return Ok(Answer::Refused(reply.result));
        }
        let CertReply { request_id, response, message, certificate, .. } = reply;
        match reply.disposition {
            Disposition::Issued => {
                reply::check_reply(&certificate, &self.settings.issuers, expected).map_err(|problem| {
                    AdcsError::Untrusted { host: self.settings.host.clone(), request_id, problem }
                })?;
                let response = reply::verified_response(response, Some(&certificate), &self.settings.issuers);
                Ok(Answer::Issued { request_id, issued: Issued { certificate, response }, message })
            }
            Disposition::Pending => {
                let response = reply::verified_response(response, None, &self.settings.issuers);
                Ok(Answer::Pending { request_id, response, message })
            }
            Disposition::Denied => {
                let response = reply::verified_response(response, None, &self.settings.issuers);
                Ok(Answer::Denied { request_id, reason: None, response, message })
            }
            Disposition::Revoked => Ok(Answer::Revoked { request_id }),
            // A certificate of another authority's is not what was asked for.
            Disposition::Foreign => Ok(Answer::Refused(HResult::FAIL)),
            Disposition::Failed(reason) => {
                let response = reply::verified_response(response, None, &self.settings.issuers);
                Ok(Answer::Denied { request_id, reason: Some(reason), response, message })
            }
        }
    }
}
