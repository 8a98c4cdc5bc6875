//! Bind with Kerberos: SASL GSSAPI (RFC 4752), sealed or inside TLS.
//!
//! The ticket is for `ldap/HOST/DOMAIN`. Any computer may call itself `ldap/HOST` (validated write of its own SPN), but
//! only a domain controller may have the domain behind it (MS-ADTS 3.1.1.5.3.1.1.4): so a host that DNS, or whoever
//! answers in its place, calls a controller is one.
//!
//! Tickets come from a keytab by `muster-gss`, without `kinit` and without a look at the environment. Its calls block
//! on files and on the KDC, so they run on a thread for such; sealing a message does not and runs where it is needed.

use muster_gss::{
    Channel, ChannelBinding, Framing, Gss, InitiateError, Initiator, InitiatorSettings, Protection, Step,
};
use rustls_pki_types::CertificateDer;

use super::connect::Connection;
use super::error::LdapError;
use super::message::{Request, Response, ResultCode};
use super::settings::{LdapSettings, Login, Server};
use super::wire::{MAX_FRAME, Seal};

/// What protects the connection after the bind.
pub(crate) enum Layer {
    /// The Kerberos key.
    Sealed,
    /// TLS, to whose certificate the ticket is bound.
    Tls { binding: Option<CertificateDer<'static>> },
}

/// The layers of RFC 4752 3.3.
const NO_LAYER: u8 = 1;
const CONFIDENTIALITY: u8 = 4;
/// More legs than Kerberos has.
const MAX_LEGS: usize = 4;

pub(crate) async fn bind(
    connection: &mut Connection,
    settings: &LdapSettings,
    server: &Server,
    login: &Login,
    layer: Layer,
) -> Result<(), LdapError> {
    let service = format!("{}/{}", server.host, settings.domain);
    let (initiator, mut step) = begin(server, service, login, &layer).await?;
    let mut initiator = Some(initiator);
    for _ in 0..MAX_LEGS {
        let (token, done) = match step {
            Step::Continue(token) => (token, false),
            Step::Done(token) => (token.unwrap_or_default(), true),
        };
        let answer = leg(connection, token).await?.ok_or_else(|| connection.out_of_place())?;
        let Some(mut going) = initiator.take() else { break };
        if done {
            let channel = going.into_channel().map_err(|cause| failed(server, cause))?;
            return agree(connection, server, channel, &layer, &answer).await;
        }
        let went = blocking(server, move || going.step(Some(&answer)).map(|step| (going, step))).await?;
        let (going, next) = went.map_err(|cause| failed(server, cause))?;
        (initiator, step) = (Some(going), next);
    }
    Err(connection.out_of_place())
}

async fn begin(
    server: &Server,
    service: String,
    login: &Login,
    layer: &Layer,
) -> Result<(Initiator, Step), LdapError> {
    let binding = match layer {
        Layer::Sealed | Layer::Tls { binding: None } => None,
        Layer::Tls { binding: Some(certificate) } => {
            let binding = ChannelBinding::tls_server_end_point(certificate);
            Some(binding.map_err(|e| LdapError::Tls { server: server.to_string(), cause: e.to_string() })?)
        }
    };
    let login = match login {
        Login::Keytab { file, principal } => {
            muster_gss::Login::Keytab { keytab: file.clone(), principal: principal.clone() }
        }
        Login::Tickets(None) => muster_gss::Login::DefaultCache,
        Login::Tickets(Some(cache)) => muster_gss::Login::Cache(cache.clone()),
    };
    let settings = InitiatorSettings {
        class: "ldap".to_owned(),
        host: service,
        binding,
        mutual: true,
        sealing: matches!(layer, Layer::Sealed),
        framing: Framing::Kerberos,
    };
    let gss = Gss::load().map_err(|missing| LdapError::KerberosMissing(missing.to_string()))?;
    let begun = blocking(server, move || -> Result<(Initiator, Step), InitiateError> {
        let mut initiator = gss.credential(&login)?.initiator(settings)?;
        let step = initiator.step(None)?;
        Ok((initiator, step))
    });
    begun.await?.map_err(|cause| failed(server, cause))
}

fn failed(server: &Server, cause: InitiateError) -> LdapError {
    LdapError::Kerberos { server: server.to_string(), cause }
}

async fn blocking<T: Send + 'static>(
    server: &Server,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, LdapError> {
    let done = tokio::task::spawn_blocking(work).await;
    // The runtime is shutting down.
    done.map_err(|_| LdapError::Closed { server: server.to_string() })
}

/// Sends a token; the server's token, or `None` if the bind is done.
async fn leg(connection: &mut Connection, token: Vec<u8>) -> Result<Option<Vec<u8>>, LdapError> {
    match connection.exchange(&Request::Sasl { mechanism: "GSSAPI", token }).await? {
        Response::Bind { outcome, token } if outcome.code == ResultCode::SASL_BIND_IN_PROGRESS => {
            Ok(Some(token.unwrap_or_default()))
        }
        Response::Bind { outcome, .. } if outcome.code == ResultCode::SUCCESS => Ok(None),
        Response::Bind { outcome, .. } => Err(connection.bind_refused(outcome)),
        Response::Entry(_)
        | Response::Reference(_)
        | Response::Done { .. }
        | Response::Changed(_)
        | Response::Extended { .. } => Err(connection.out_of_place()),
    }
}

/// The layer that the server offers and the one that we take (RFC 4752 3.1): four octets each, signed.
async fn agree(
    connection: &mut Connection,
    server: &Server,
    mut channel: Channel,
    layer: &Layer,
    offer: &[u8],
) -> Result<(), LdapError> {
    let failed = |cause| failed(server, cause);
    let offer = channel.unwrap(offer, Protection::Integrity).map_err(failed)?;
    let [offered, size @ ..] =
        <[u8; 4]>::try_from(offer.as_slice()).map_err(|_| connection.out_of_place())?;
    let [a, b, c] = size;
    let peer_limit = u32::from_be_bytes([0, a, b, c]);
    let (chosen, frame) = match layer {
        Layer::Sealed if offered & CONFIDENTIALITY == 0 || !channel.can_seal() => {
            return Err(LdapError::NoSealing { server: server.to_string() });
        }
        Layer::Sealed => (CONFIDENTIALITY, MAX_FRAME),
        Layer::Tls { .. } => (NO_LAYER, 0),
    };
    let [_, x, y, z] = frame.to_be_bytes();
    let choice = channel.wrap(&[chosen, x, y, z], Protection::Integrity).map_err(failed)?;
    if leg(connection, choice).await?.is_some() {
        return Err(connection.out_of_place());
    }
    if matches!(layer, Layer::Sealed) {
        let limit = channel.max_message_size(peer_limit.min(MAX_FRAME), Protection::Confidentiality);
        let limit = usize::try_from(limit.map_err(failed)?).unwrap_or(usize::MAX);
        connection.wire.seal_with(Box::new(KerberosSeal { channel, limit }));
    }
    Ok(())
}

/// The Kerberos key of one connection.
struct KerberosSeal {
    channel: Channel,
    limit: usize,
}

impl Seal for KerberosSeal {
    fn seal(&mut self, clear: &[u8]) -> Result<Vec<u8>, InitiateError> {
        self.channel.wrap(clear, Protection::Confidentiality)
    }

    fn unseal(&mut self, sealed: &[u8]) -> Result<Vec<u8>, InitiateError> {
        self.channel.unwrap(sealed, Protection::Confidentiality)
    }

    fn limit(&self) -> usize {
        self.limit
    }
}
