//! Authentication: from evidence in the connection or the message to a [`Caller`].
//!
//! An envelope that arrives is wrapped in [`Received`], which shows nothing of its body. Only [`Authenticator`]
//! opens it, by turning it into an [`Authenticated`] that holds the caller and the body together; so a handler that
//! forgot to authenticate would have nothing to handle.

mod certificate;
mod delegation;
mod directory_password;
mod hashing;
mod kerberos;
mod password;
mod throttle;
mod token;
mod trust;

use std::borrow::Cow;
use std::sync::Arc;

use muster_core::{Caller, Clock, Method};
use muster_proto::soap::xml::{Element, Limits};
use muster_proto::soap::{BadEnvelope, Envelope, Security};
use muster_store::{Generations, Store};

use crate::accounts::Accounts;
use crate::config::{Endpoint, Settings};
use crate::fault::{AuthError, DelegationError, ServiceError, Unavailable};
use crate::http::Exchange;
use crate::identities::Identities;
use crate::service::StartError;
use delegation::NoDelegation;

pub(crate) use certificate::serial_of;
pub(crate) use delegation::Delegation;
pub(crate) use delegation::no_ticket;
pub use hashing::hash_password;
pub use kerberos::KerberosError;
pub(crate) use kerberos::Ticket;
pub use token::NewToken;
pub(crate) use trust::LONGEST_CHAIN;

/// Seconds by which a message's Timestamp may be off.
const CLOCK_SKEW: i64 = 300;

/// A message that was read and not authenticated.
#[derive(Debug)]
pub(crate) struct Received<'a>(Envelope<'a>);

impl<'a> Received<'a> {
    /// Parses the body of an exchange.
    ///
    /// # Errors
    /// [`BadEnvelope`].
    pub(crate) fn parse(body: &'a [u8], limits: &Limits) -> Result<Self, BadEnvelope> {
        Envelope::parse(body, limits).map(Self)
    }

    /// The message's identifier, for the answer's RelatesTo.
    #[must_use]
    pub(crate) fn message_id(&self) -> Option<&str> {
        self.0.message_id.as_deref()
    }

    /// Where the sender believes to send it.
    #[must_use]
    pub(crate) fn to(&self) -> Option<&str> {
        self.0.to.as_deref()
    }
}

/// A message together with its authenticated caller.
#[derive(Debug)]
pub(crate) struct Authenticated<'a> {
    caller: Caller,
    delegation: Delegation,
    action: Option<Cow<'a, str>>,
    body: Element<'a>,
}

impl<'a> Authenticated<'a> {
    /// Who sent it.
    #[must_use]
    pub(crate) const fn caller(&self) -> &Caller {
        &self.caller
    }

    /// What a CA that is not of this installation can be asked by in the caller's name.
    #[must_use]
    pub(crate) const fn delegation(&self) -> &Delegation {
        &self.delegation
    }

    /// Its action.
    #[must_use]
    pub(crate) fn action(&self) -> Option<&str> {
        self.action.as_deref()
    }

    /// Its body.
    #[must_use]
    pub(crate) const fn body(&self) -> &Element<'a> {
        &self.body
    }
}

/// Verifies evidence, by the one method of the endpoint.
pub(crate) struct Authenticator {
    passwords: password::Passwords,
    directory_passwords: directory_password::DirectoryPasswords,
    certificates: certificate::Certificates,
    tickets: kerberos::Tickets,
    identities: Arc<Identities>,
    owns: delegation::Owns,
    clock: Arc<dyn Clock>,
}

impl Authenticator {
    /// An authenticator over the accounts of a store.
    ///
    /// # Errors
    /// [`StartError::Config`] if a trusted CA or its revocation list cannot be read, [`StartError::Kerberos`] if tickets
    /// cannot be accepted.
    pub(crate) fn new(
        store: Store,
        accounts: Arc<Accounts>,
        identities: Arc<Identities>,
        settings: &Settings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let trusted = settings.client_trust.iter().map(trust::Trusted::load).collect::<Result<_, _>>()?;
        let realms = Arc::new(kerberos::Realms::load(settings)?);
        Ok(Self {
            passwords: password::Passwords::new(accounts, &settings.limits),
            directory_passwords: directory_password::DirectoryPasswords::new(
                Arc::clone(&identities),
                Arc::clone(&realms),
                &settings.limits,
            ),
            tickets: kerberos::Tickets::new(realms, Arc::clone(&identities)),
            identities: Arc::clone(&identities),
            owns: delegation::Owns::load(settings)?,
            certificates: certificate::Certificates::new(store, identities, trusted),
            clock,
        })
    }

    /// Verifies the ticket of an exchange, where the endpoint asks for one. It stands in the head of the message, so it
    /// comes before anything in the body is looked at.
    ///
    /// # Errors
    /// As [`Self::authenticate`].
    pub(crate) async fn ticket(
        &self,
        endpoint: &Endpoint,
        exchange: &Exchange,
    ) -> Result<Option<Ticket>, ServiceError> {
        match endpoint.method {
            Method::UsernamePassword | Method::ClientCertificate => Ok(None),
            Method::Kerberos => {
                let own = self.owns.of(&endpoint.ca).filter(|_| delegation::is_delegating(endpoint));
                let ticket = self.tickets.verify(exchange, own).await?;
                exchange.connection.mark_authenticated();
                Ok(Some(ticket))
            }
        }
    }

    /// Authenticates a message by the method of its endpoint, and by no other, against the accounts as they were when
    /// `seen` was read, or later.
    ///
    /// # Errors
    /// [`ServiceError::Authentication`] if the evidence is missing or wrong, [`ServiceError::Unavailable`] if it cannot
    /// be verified now.
    pub(crate) async fn authenticate<'a>(
        &self,
        endpoint: &Endpoint,
        exchange: &Exchange,
        ticket: Option<Ticket>,
        received: Received<'a>,
        seen: Generations,
    ) -> Result<Authenticated<'a>, ServiceError> {
        let Envelope { action, security, body, .. } = received.0;
        let now = self.clock.now();
        if let Some(timestamp) = security.as_ref().and_then(|s| s.timestamp) {
            let late = timestamp.expires.is_some_and(|t| now.0 > t.unix() + CLOCK_SKEW);
            let early = timestamp.created.is_some_and(|t| now.0 < t.unix() - CLOCK_SKEW);
            if late || early {
                return Err(AuthError::Timestamp.into());
            }
        }
        let peer = crate::admission::site(exchange.connection.peer.ip());
        let keeps = delegation::is_delegating(endpoint);
        let mut delegation = Delegation::None(NoDelegation::NotAsked);
        let caller = match endpoint.method {
            Method::UsernamePassword => {
                let token = security.and_then(|Security { username_token, .. }| username_token);
                let token = token.ok_or(AuthError::PasswordMissing)?;
                match self.directory_passwords.domain_of(&token.username) {
                    Some((domain, name)) => {
                        let password = token.password.expose();
                        let (caller, principal) =
                            self.directory_passwords.verify(domain, name, password, now).await?;
                        if keeps {
                            delegation = Delegation::of_password(&principal, password);
                        }
                        caller
                    }
                    None => {
                        let caller = self.passwords.verify(&token, peer, now, seen).await?;
                        if keeps && self.owns.passes_on(&endpoint.ca) {
                            let password = token.password.expose();
                            delegation = Delegation::of_own_password(caller.principal(), password);
                        } else if keeps {
                            delegation = Delegation::refused(DelegationError::Local);
                        }
                        caller
                    }
                }
            }
            Method::ClientCertificate => {
                let certificate =
                    exchange.connection.certificate.as_ref().ok_or(AuthError::CertificateMissing)?;
                let caller = self.certificates.verify(certificate, &exchange.connection.chain, now).await?;
                if let Some(own) = self.owns.of(&endpoint.ca).filter(|_| keeps) {
                    let account = self.identities.delegable(caller.principal()).await?;
                    delegation = Delegation::of_certificate(account, own);
                }
                caller
            }
            Method::Kerberos => {
                let ticket = ticket.ok_or(AuthError::NegotiateMissing)?;
                delegation = ticket.delegation;
                ticket.caller
            }
        };
        exchange.connection.mark_authenticated();
        Ok(Authenticated { caller, delegation, action, body })
    }
}

impl From<muster_store::StoreError> for ServiceError {
    fn from(error: muster_store::StoreError) -> Self {
        Self::Unavailable(Unavailable::Store(error.to_string()))
    }
}
