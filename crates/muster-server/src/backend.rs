//! CAs that are not of this installation: sending what is recorded, asking what became of it, and what a failure means.
//!
//! What a CA answers is untrusted. A call that broke after the request may have arrived has the outcome
//! [`Outcome::Unknown`]; everything that fails before is a [`NotSent`], and only then may the client go elsewhere.

mod adcs;
mod judge;
mod relay;

pub use judge::{check_names, expected};

use std::path::PathBuf;

use muster_adcs::Identity;
use muster_core::UnixTime;
use muster_core::forwarding::{self, IdentityMode, Outcome, RecordedSubmission};
use muster_gss::InitiateError;
use muster_store::ForwardedRequest;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::auth::Delegation;
use crate::config::{self, CaSettings};
use crate::fault::{CaError, ServiceError};
use crate::service::StartError;

/// A CA, and who this service is there.
#[derive(Debug)]
pub(crate) enum Backend {
    /// An authority of AD CS.
    Adcs(Box<adcs::Connector>),
    /// Another enrollment service in front of it.
    Relay(Box<relay::Connector>),
}

/// In whose name a CA is asked.
#[derive(Clone, Debug)]
pub(crate) enum Asker {
    /// An authority of AD CS.
    Adcs(Identity),
    /// Another enrollment service.
    Relay(relay::Asker),
}

/// A request that the CA certainly did not get.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotSent {
    /// There is no ticket for the CA in this identity's name.
    #[error("{sentence}")]
    Ticket {
        /// What the KDC said.
        error: InitiateError,
        /// The same for people, with the names.
        sentence: String,
    },
    /// The CA's host does not let this identity in. Another node would fare no better.
    #[error("{0}")]
    Identity(String),
    /// It cannot be reached now. Another node may, or another CA.
    #[error("{0}")]
    Unreachable(String),
}

/// What a CA knows of a request whose call broke.
pub(crate) enum Fate {
    /// This.
    Known(Outcome),
    /// It never got there.
    NotThere,
    /// It cannot be told.
    Unclear(String),
    /// Nothing can be looked for now.
    Blind(String),
}

impl Backend {
    /// A connector; nothing is connected yet. `None` for the embedded CA.
    ///
    /// # Errors
    /// [`StartError::Backend`] if the CA's certificates or the own keys cannot be read.
    pub(crate) fn open(ca: &CaSettings) -> Result<Option<Self>, StartError> {
        let connector = match &ca.backend {
            config::Backend::Embedded(_) => return Ok(None),
            config::Backend::Adcs(settings) => {
                adcs::Connector::open(&ca.name, settings).map(|connector| Self::Adcs(Box::new(connector)))
            }
            config::Backend::Relay(settings) => {
                relay::Connector::open(settings).map(|connector| Self::Relay(Box::new(connector)))
            }
        };
        let wrong = |problem| StartError::Backend { name: ca.name.to_string(), problem };
        connector.map(Some).map_err(wrong)
    }

    /// The certificates that the CA signs with, DER; the first is told to clients.
    pub(crate) fn issuers(&self) -> &[Vec<u8>] {
        match self {
            Self::Adcs(connector) => connector.issuers(),
            Self::Relay(connector) => connector.issuers(),
        }
    }

    /// In whose name the CA is asked.
    ///
    /// # Errors
    /// [`CaError::Identity`], and what [`Delegation`] says.
    pub(crate) async fn asker(
        &self,
        mode: IdentityMode,
        delegation: &Delegation,
    ) -> Result<Asker, ServiceError> {
        let refused = |error: NotSent| CaError::Identity(error.to_string());
        let own = match mode {
            IdentityMode::RenewOnBehalf | IdentityMode::RegistrationAuthority => true,
            IdentityMode::Delegate => false,
        };
        Ok(match self {
            Self::Adcs(connector) if own => Asker::Adcs(connector.own().map_err(refused)?.clone()),
            Self::Adcs(_) => Asker::Adcs(delegation.identity()?),
            Self::Relay(connector) if own => Asker::Relay(connector.own().map_err(refused)?.clone()),
            Self::Relay(_) => Asker::Relay(delegation.upstream().await?.into()),
        })
    }

    /// Sends a request, once.
    ///
    /// # Errors
    /// [`NotSent`].
    pub(crate) async fn send(
        &self,
        asker: &Asker,
        recorded: &RecordedSubmission,
        now: UnixTime,
    ) -> Result<Outcome, NotSent> {
        let outcome = match (self, asker) {
            (Self::Adcs(connector), Asker::Adcs(identity)) => connector.send(identity, recorded).await?,
            (Self::Relay(connector), Asker::Relay(asker)) => connector.send(asker, recorded, now).await?,
            (Self::Adcs(_), Asker::Relay(_)) | (Self::Relay(_), Asker::Adcs(_)) => return Err(other_kind()),
        };
        Ok(judge::judged(outcome, recorded.expected()))
    }

    /// Asks what became of a request that the CA has.
    ///
    /// # Errors
    /// [`NotSent`], also if the answer was lost: asking can be repeated.
    pub(crate) async fn ask(
        &self,
        asker: &Asker,
        backend_id: u32,
        wanted: &forwarding::Expected,
        now: UnixTime,
    ) -> Result<Outcome, NotSent> {
        let outcome = match (self, asker) {
            (Self::Adcs(connector), Asker::Adcs(identity)) => {
                connector.ask(identity, backend_id, wanted).await?
            }
            (Self::Relay(connector), Asker::Relay(asker)) => {
                connector.ask(asker, backend_id, wanted, now).await?
            }
            (Self::Adcs(_), Asker::Relay(_)) | (Self::Relay(_), Asker::Adcs(_)) => return Err(other_kind()),
        };
        match judge::judged(outcome, wanted) {
            Outcome::Unknown { why } => Err(NotSent::Unreachable(why)),
            outcome @ (Outcome::Issued { .. }
            | Outcome::UnderSubmission { .. }
            | Outcome::Denied { .. }
            | Outcome::NotSubmitted { .. }
            | Outcome::Untrusted { .. }) => Ok(outcome),
        }
    }

    /// The CA's key exchange certificate, DER; `None` if it has none, or cannot be asked for it.
    ///
    /// # Errors
    /// [`NotSent`].
    pub(crate) async fn exchange(&self, asker: &Asker, now: UnixTime) -> Result<Option<Vec<u8>>, NotSent> {
        match (self, asker) {
            (Self::Adcs(connector), Asker::Adcs(identity)) => connector.exchange(identity).await,
            (Self::Relay(connector), Asker::Relay(asker)) => connector.exchange(asker, now).await,
            (Self::Adcs(_), Asker::Relay(_)) | (Self::Relay(_), Asker::Adcs(_)) => Err(other_kind()),
        }
    }

    /// What became of a request that was sent at `since` or later, as far as this service may look. `short_names`: DNS name
    /// and short name of domains, as a CA may write either.
    pub(crate) async fn fate(
        &self,
        request: &ForwardedRequest,
        since: UnixTime,
        short_names: &[(String, String)],
    ) -> Fate {
        let fate = match self {
            Self::Adcs(connector) => connector.fate(request, since, short_names).await,
            Self::Relay(_) => Fate::Blind("another enrollment service tells nothing of keys".to_owned()),
        };
        match fate {
            Fate::Known(outcome) => Fate::Known(judge::judged(outcome, &request.forwarding.expected)),
            fate @ (Fate::NotThere | Fate::Unclear(_) | Fate::Blind(_)) => fate,
        }
    }

    /// Gives back what the CA keeps for this service.
    pub(crate) async fn close(&self) {
        match self {
            Self::Adcs(connector) => connector.close().await,
            Self::Relay(_) => {}
        }
    }
}

/// No caller gets here: an asker is made by the backend that is asked.
fn other_kind() -> NotSent {
    NotSent::Identity("the CA is asked in another way".to_owned())
}

/// The certificates of a CA, DER, from PEM files.
fn issuers(files: &[PathBuf]) -> Result<Vec<Vec<u8>>, String> {
    let mut issuers = Vec::new();
    for file in files {
        let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let read = read.map_err(|error| format!("{}: {error}", file.display()))?;
        if read.is_empty() {
            return Err(format!("{} has no certificate", file.display()));
        }
        issuers.extend(read.into_iter().map(|der| der.to_vec()));
    }
    Ok(issuers)
}
