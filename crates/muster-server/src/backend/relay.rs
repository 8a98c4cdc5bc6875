//! Another enrollment service (CES) as the way to a CA: at each of its addresses one kind of sign-in is taken.

use muster_core::UnixTime;
use muster_core::forwarding::{self, Outcome, RecordedSubmission};
use muster_gss::Gss;
use muster_relay::{
    Answer, DateTime, Endpoint, RelayError, Settings, Submission, Timeouts, Trust, Upstream, UpstreamIdentity,
};

use super::NotSent;
use crate::config::RelaySettings;
use crate::private;

/// The upstream's addresses, and who this service is there.
#[derive(Debug)]
pub(crate) struct Connector {
    /// For callers with passwords.
    password: Option<Upstream>,
    /// For tickets.
    kerberos: Option<Upstream>,
    /// For this service's own certificate.
    certificate: Option<Upstream>,
    issuers: Vec<Vec<u8>>,
    own: Option<Asker>,
}

/// In whose name the upstream is asked.
#[derive(Clone, Debug)]
pub(crate) struct Asker(UpstreamIdentity);

impl From<UpstreamIdentity> for Asker {
    fn from(identity: UpstreamIdentity) -> Self {
        Self(identity)
    }
}

impl Connector {
    /// Nothing is connected yet.
    ///
    /// # Errors
    /// What cannot be read.
    pub(super) fn open(settings: &RelaySettings) -> Result<Self, String> {
        let issuers = super::issuers(&settings.certificates)?;
        let upstream = |url: &Option<Endpoint>| {
            let Some(url) = url else { return Ok(None) };
            let mut upstream = Settings::new(url.clone(), issuers.clone());
            if let Some(file) = &settings.ca_file {
                upstream.trust = Trust { files: vec![file.clone()], only: true, ..Trust::default() };
            }
            upstream.timeouts = Timeouts { connect: settings.connect, request: settings.call };
            upstream.max_connections = settings.max_connections;
            Upstream::new(upstream).map(Some).map_err(|error| error.to_string())
        };
        Ok(Self {
            password: upstream(&settings.password_url)?,
            kerberos: upstream(&settings.kerberos_url)?,
            certificate: upstream(&settings.certificate_url)?,
            own: own(settings)?.map(Asker),
            issuers,
        })
    }

    pub(super) fn issuers(&self) -> &[Vec<u8>] {
        &self.issuers
    }

    /// This service itself.
    ///
    /// # Errors
    /// [`NotSent::Identity`] without one; the configuration lets no endpoint need it then.
    pub(super) fn own(&self) -> Result<&Asker, NotSent> {
        let own = self.own.as_ref();
        own.ok_or_else(|| NotSent::Identity("no account is configured for the upstream".to_owned()))
    }

    pub(super) async fn send(
        &self,
        Asker(identity): &Asker,
        recorded: &RecordedSubmission,
        now: UnixTime,
    ) -> Result<Outcome, NotSent> {
        let expected = super::expected(recorded.expected());
        let submission = Submission { request: recorded.request().to_vec(), expected };
        match self.at(identity)?.submit(identity, &submission, DateTime::from_unix(now.0)).await {
            Ok(Answer::NotTaken { hresult, message }) => Ok(Outcome::Denied {
                backend_id: None,
                hresult: Some(hresult),
                response: Vec::new(),
                message,
            }),
            Ok(answer) => decided(answer),
            Err(error) => failure(error),
        }
    }

    pub(super) async fn ask(
        &self,
        Asker(identity): &Asker,
        backend_id: u32,
        wanted: &forwarding::Expected,
        now: UnixTime,
    ) -> Result<Outcome, NotSent> {
        let (expected, now) = (super::expected(wanted), DateTime::from_unix(now.0));
        match self.at(identity)?.query(identity, backend_id, &expected, now).await {
            Ok(answer) => decided(answer),
            Err(error) => failure(error),
        }
    }

    /// The authority's key exchange certificate, if the upstream gives one that the authority has signed.
    pub(super) async fn exchange(
        &self,
        Asker(identity): &Asker,
        now: UnixTime,
    ) -> Result<Option<Vec<u8>>, NotSent> {
        match self.at(identity)?.exchange_certificate(identity, DateTime::from_unix(now.0)).await {
            Ok(certificate) => Ok(Some(certificate)),
            Err(error @ (RelayError::Refused { .. } | RelayError::Untrusted { .. })) => {
                tracing::warn!(%error, "no key exchange certificate");
                Ok(None)
            }
            Err(error) => match failure(error) {
                Ok(_) => Err(NotSent::Unreachable("no answer".to_owned())),
                Err(not_sent) => Err(not_sent),
            },
        }
    }

    /// The address that takes such a sign-in.
    fn at(&self, identity: &UpstreamIdentity) -> Result<&Upstream, NotSent> {
        let (upstream, key) = match identity {
            UpstreamIdentity::Password { .. } => (&self.password, "password_url"),
            UpstreamIdentity::Kerberos { .. } => (&self.kerberos, "kerberos_url"),
            UpstreamIdentity::ClientCertificate { .. } => (&self.certificate, "certificate_url"),
        };
        upstream.as_ref().ok_or_else(|| NotSent::Identity(format!("no {key} is configured")))
    }
}

/// The own certificate where there is an address for it, otherwise the own account.
fn own(settings: &RelaySettings) -> Result<Option<UpstreamIdentity>, String> {
    if let Some((certificate, key)) = &settings.client {
        if let Some(mode) = private::open_to_all(key) {
            let file = key.display();
            return Err(format!("{file}: everybody here can read it (mode {mode:o}): run chmod 600 on it"));
        }
        return Ok(Some(UpstreamIdentity::ClientCertificate {
            certificate: certificate.clone(),
            key: key.clone(),
        }));
    }
    let Some(account) = &settings.account else { return Ok(None) };
    let gss = Gss::load().map_err(|error| error.to_string())?;
    let credential = gss.service(&account.keytab, &account.principal);
    let credential = credential.map_err(|error| format!("{}: {error}", account.principal))?;
    Ok(Some(UpstreamIdentity::Kerberos { name: account.principal.clone(), credential }))
}

fn decided(answer: Answer) -> Result<Outcome, NotSent> {
    Ok(match answer {
        Answer::Issued { request_id, certificate, full_response, message: _ } => {
            Outcome::Issued { backend_id: request_id, certificate, response: full_response }
        }
        Answer::UnderSubmission { request_id, full_response, message } => {
            Outcome::UnderSubmission { backend_id: request_id, response: full_response, message }
        }
        Answer::Denied { hresult, request_id, full_response, message } => {
            Outcome::Denied { backend_id: request_id, hresult, response: full_response, message }
        }
        // It decides nothing about a request that waits there.
        Answer::NotTaken { hresult, message } => {
            return Err(NotSent::Unreachable(format!(
                "the upstream does not tell of the request: 0x{hresult:08X} {message}"
            )));
        }
    })
}

/// What a failed exchange means for the request.
fn failure(error: RelayError) -> Result<Outcome, NotSent> {
    let sentence = error.to_string();
    match error {
        RelayError::Unknown(_) | RelayError::Failed { .. } => Ok(Outcome::Unknown { why: sentence }),
        RelayError::Untrusted { request_id, .. } => {
            Ok(Outcome::Untrusted { backend_id: request_id, why: sentence })
        }
        RelayError::NotSent(muster_relay::NotSent::Ticket { error, .. }) => {
            Err(NotSent::Ticket { error, sentence })
        }
        RelayError::NotSent(muster_relay::NotSent::Alert(_))
        | RelayError::SignIn { .. }
        | RelayError::Identity(_) => Err(NotSent::Identity(sentence)),
        RelayError::NotSent(_)
        | RelayError::Busy { .. }
        | RelayError::Stopped(_)
        | RelayError::TurnedAway(_)
        | RelayError::Refused { .. }
        | RelayError::NoAuthority { .. } => Err(NotSent::Unreachable(sentence)),
    }
}
