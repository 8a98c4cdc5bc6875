//! Kerberos: a ticket in the header of each message, bound to the TLS connection that the message came on.
//!
//! A ticket says who its holder is to whoever presents it; only the channel binding says that the presenter is the
//! holder and nobody in between. So a ticket without a binding is refused like one with a wrong binding. There is one
//! leg and no state: what a message does not carry itself is not there.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use muster_core::{Caller, Method};
use muster_gss::{
    Accepted, Acceptor, AcceptorSettings, ChannelBinding, Credential, Gss, InitiateError, Refused,
    ReplayCache,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::delegation::{Delegation, NoDelegation, Own};
use crate::config::{KerberosRealm, Settings};
use crate::fault::{AuthError, DelegationError, ServiceError, Unavailable};
use crate::http::Exchange;
use crate::identities::Identities;

/// Used tickets are remembered in this file of the data directory.
const REPLAY_CACHE: &str = "kerberos.rcache";

/// Tickets cannot be accepted with these settings.
#[derive(Debug, thiserror::Error)]
pub enum KerberosError {
    /// The library is not there.
    #[error(transparent)]
    Missing(#[from] muster_gss::Missing),
    /// A realm's settings are of no use.
    #[error("kerberos.\"{realm}\": {problem}")]
    Realm {
        /// The realm.
        realm: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The account that asks a CA for callers is of no use.
    #[error("ca.\"{ca}\".account: {account}: {problem}")]
    Account {
        /// The CA.
        ca: String,
        /// The account.
        account: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The keys for calls over RPC are of no use.
    #[error("rpc: {0}")]
    Rpc(String),
    /// A certificate of a proxy cannot be read.
    #[error("tls.proxy_certificates: {0}")]
    Proxy(String),
}

/// The realms in which this service has keys.
pub(super) struct Realms {
    acceptors: Vec<(String, Acceptor)>,
    proxies: Vec<ChannelBinding>,
}

/// Accepts tickets for this service.
pub(super) struct Tickets {
    realms: Arc<Realms>,
    identities: Arc<Identities>,
}

/// The caller that a ticket names.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(super) caller: Caller,
    pub(super) delegation: Delegation,
    /// For `WWW-Authenticate` in the answer: proves to the caller that it was us who could read the ticket.
    pub(crate) reply: Option<HeaderValue>,
}

impl Realms {
    /// One acceptor for each realm; none, and nothing loaded, without realms.
    pub(super) fn load(settings: &Settings) -> Result<Self, KerberosError> {
        if settings.kerberos.is_empty() {
            return Ok(Self { acceptors: Vec::new(), proxies: Vec::new() });
        }
        let gss = Gss::load()?;
        let acceptor = |realm: &KerberosRealm| {
            let wrong = |problem: String| KerberosError::Realm { realm: realm.name.clone(), problem };
            let service = |name: &String| format!("{name}@{}", realm.name).parse();
            let services: Result<Vec<_>, muster_gss::ServiceNameError> =
                realm.services.iter().map(service).collect();
            let acceptor = AcceptorSettings {
                keytab: realm.keytab.clone(),
                services: services.map_err(|e| wrong(e.to_string()))?,
                replay_cache: ReplayCache::File(settings.data_dir.join(REPLAY_CACHE)),
            };
            Ok((realm.name.clone(), gss.acceptor(&acceptor).map_err(|e| wrong(e.to_string()))?))
        };
        let binding = |path: &std::path::PathBuf| {
            let wrong = |problem: String| KerberosError::Proxy(format!("{}: {problem}", path.display()));
            let der = CertificateDer::from_pem_file(path).map_err(|e| wrong(e.to_string()))?;
            ChannelBinding::tls_server_end_point(&der).map_err(|e| wrong(e.to_string()))
        };
        Ok(Self {
            acceptors: settings.kerberos.iter().map(acceptor).collect::<Result<_, KerberosError>>()?,
            proxies: settings.proxy_certificates.iter().map(binding).collect::<Result<_, _>>()?,
        })
    }

    /// By the realm that the ticket is of. Only its keys open the ticket, so nothing depends on what the realm says.
    fn accept<T>(
        &self,
        token: &[u8],
        accept: impl Fn(&str, &Acceptor, &[u8]) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let mut outcome = Err(Refused::WrongService(String::new()));
        for (realm, acceptor) in &self.acceptors {
            outcome = accept(realm, acceptor, token);
            if !matches!(outcome, Err(Refused::WrongService(_))) {
                break;
            }
        }
        outcome
    }

    /// The acceptor of a realm.
    pub(super) fn acceptor(&self, realm: &str) -> Option<&Acceptor> {
        self.acceptors.iter().find(|(name, _)| name == realm).map(|(_, acceptor)| acceptor)
    }
}

impl Tickets {
    pub(super) const fn new(realms: Arc<Realms>, identities: Arc<Identities>) -> Self {
        Self { realms, identities }
    }

    /// Verifies the ticket of a message, and finds the account behind it; with the account that shall act for callers,
    /// also what it can do so by.
    pub(super) async fn verify(
        &self,
        exchange: &Exchange,
        acting: Option<&Arc<Own>>,
    ) -> Result<Ticket, ServiceError> {
        let token = token(exchange.authorization.as_ref())?;
        let own = exchange.connection.shown.as_ref().and_then(|shown| shown.certificate());
        let own = own.and_then(|der| ChannelBinding::tls_server_end_point(der).ok());
        let bindings: Vec<ChannelBinding> =
            own.into_iter().chain(self.realms.proxies.iter().cloned()).collect();
        let (accepted, evidence) = match acting {
            // Decrypting a ticket takes some 30 µs and a look into two files, less than handing it to another thread.
            None => {
                let accepted =
                    self.realms.accept(&token, |_, acceptor, token| acceptor.accept(token, &bindings));
                (accepted.map_err(refusal)?, None)
            }
            Some(acting) => {
                let (accepted, evidence) = self.accept_delegating(token, bindings, acting).await?;
                (accepted, Some(evidence))
            }
        };
        let principal = self.identities.of_ticket(&accepted.principal, accepted.pac.as_ref()).await?;
        let delegation = match evidence {
            None => Delegation::None(NoDelegation::NotAsked),
            Some(Err(refused)) => Delegation::refused(refused),
            Some(Ok(credential)) => {
                let account = self.identities.delegable(&principal).await?;
                Delegation::of_ticket(&accepted.principal, credential, account.as_ref())
            }
        };
        let reply = format!("Negotiate {}", STANDARD.encode(&accepted.reply));
        Ok(Ticket {
            caller: Caller::authenticated(principal, Method::Kerberos),
            delegation,
            reply: HeaderValue::try_from(reply).ok(),
        })
    }

    /// Asks the KDC for the account that acts, now and then, and so has a thread of its own.
    async fn accept_delegating(
        &self,
        token: Vec<u8>,
        bindings: Vec<ChannelBinding>,
        own: &Arc<Own>,
    ) -> Result<(Accepted, Evidence), ServiceError> {
        let (realms, own) = (Arc::clone(&self.realms), Arc::clone(own));
        let accept = move || {
            realms.accept(&token, |realm, acceptor, token| {
                if realm == own.realm {
                    let (accepted, credential) =
                        acceptor.accept_delegating(token, &bindings, &own.credential)?;
                    return Ok((accepted, Ok(credential)));
                }
                let refused = DelegationError::OtherRealm(own.realm.clone());
                Ok((acceptor.accept(token, &bindings)?, Err(refused)))
            })
        };
        let accepted = tokio::task::spawn_blocking(accept).await;
        accepted.map_err(|error| ServiceError::Internal(error.to_string()))?.map_err(refusal)
    }
}

/// What a ticket can be delegated by, if it is for the account that acts.
type Evidence = Result<Result<Credential, InitiateError>, DelegationError>;

/// Another node may have the key, or room on its disk.
fn refusal(refused: Refused) -> ServiceError {
    match refused {
        Refused::NoKey { .. } | Refused::ReplayCache(_) => Unavailable::Kerberos(refused.to_string()).into(),
        Refused::TooLong(_)
        | Refused::Malformed(_)
        | Refused::Ntlm
        | Refused::OtherMechanism(_)
        | Refused::AnotherLeg
        | Refused::NotAnApReq
        | Refused::WeakEncryption(_)
        | Refused::WrongService(_)
        | Refused::WrongKey { .. }
        | Refused::Expired
        | Refused::NotYetValid
        | Refused::ClockSkew
        | Refused::Replay
        | Refused::NoChannelBinding
        | Refused::WrongChannelBinding
        | Refused::PacNotVerified
        | Refused::Pac(_)
        | Refused::Library(_) => AuthError::Ticket(refused).into(),
    }
}

/// The token in `Authorization: Negotiate`.
fn token(authorization: Option<&HeaderValue>) -> Result<Vec<u8>, AuthError> {
    let text = authorization.and_then(|value| value.to_str().ok()).unwrap_or_default();
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("Negotiate") => STANDARD
            .decode(token.trim())
            .map_err(|_| AuthError::Ticket(Refused::Malformed("it is not base64".to_owned()))),
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("NTLM") => Err(AuthError::Ticket(Refused::Ntlm)),
        Some(_) | None => Err(AuthError::NegotiateMissing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_negotiate_carries_a_ticket() {
        let read = |text: &'static str| token(Some(&HeaderValue::from_static(text)));
        assert_eq!(read("negotiate AQI="), Ok(vec![1, 2]));
        assert_eq!(token(None), Err(AuthError::NegotiateMissing));
        assert_eq!(read("Basic YWxpY2U6eA=="), Err(AuthError::NegotiateMissing));
        assert_eq!(read("Negotiate"), Err(AuthError::NegotiateMissing));
        assert_eq!(read("NTLM TlRMTVNTUAABAAAA"), Err(AuthError::Ticket(Refused::Ntlm)));
        assert!(matches!(read("Negotiate ~~~"), Err(AuthError::Ticket(Refused::Malformed(_)))));
    }
}
