//! Sockets and connections: messages are read whole, each within its deadline, and answered one after the other.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use muster_adcs::Accepting;
use muster_rpc::pdu::{self, HEADER};
use muster_rpc::security::AuthType;
use muster_rpc::server::{Event, RpcError};
use muster_rpc::status::FaultStatus;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::requests::Peer;
use super::{Connection, Offer, Rpc, mapper, requests};
use crate::admission::{Admitted, Slot, serve_admitted};
use crate::config::file::Limits;
use crate::deadline::WriteDeadline;
use crate::fault::AuthError;
use crate::http::stopped;
use crate::readiness::ReadySocket;
use crate::record::Record;

pub(super) async fn serve(rpc: Arc<Rpc>, offer: Offer, socket: ReadySocket, stop: watch::Receiver<bool>) {
    serve_admitted(socket, rpc.admission(offer), stop.clone(), |stream, peer, admitted| {
        let (rpc, stop) = (Arc::clone(&rpc), stop.clone());
        async move {
            if let Err(error) = one(&rpc, offer, stream, peer, admitted, stop).await {
                tracing::debug!(?offer, %peer, %error, "the connection of RPC ended");
            }
        }
    })
    .await;
}

/// One connection, to its end.
async fn one(
    rpc: &Rpc,
    offer: Offer,
    stream: TcpStream,
    peer: SocketAddr,
    admitted: Admitted,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let _ = stream.set_nodelay(true);
    let host = stream.local_addr()?.ip();
    let limits = &rpc.state.settings.limits;
    let mut stream = WriteDeadline::new(stream, Duration::from_secs(limits.write_seconds));
    let whole = Duration::from_secs(limits.body_seconds);
    let mut server = rpc.connection(offer);
    let mut seat = Seat::none(offer);
    // When the call whose fragments are coming in has to be whole.
    let mut call_until = None;
    loop {
        let silent_until = seat.silent_until(limits);
        let until = call_until.unwrap_or(silent_until);
        let read = tokio::select! {
            read = message(&mut stream, until, whole) => read?,
            () = stopped(&mut stop) => return Ok(()),
        };
        let Some(octets) = read else { return Ok(()) };
        match server.receive(&octets) {
            Ok(Event::Nothing) => {}
            Ok(Event::Send(answer)) => send(&mut stream, &answer).await?,
            Ok(Event::Refuse(answer, error)) => {
                refused(rpc, peer, refusal(server.security(), &error)).await;
                return send(&mut stream, &answer).await;
            }
            Ok(Event::Call(call)) if seat.is_refused() => {
                return send(&mut stream, &call.not_begun(FaultStatus::TOO_BUSY)).await;
            }
            Ok(Event::Call(call)) => {
                let answer = match offer {
                    Offer::Mapper => mapper::answer(rpc, host, &call),
                    Offer::Requests => match caller(&server, peer, host) {
                        Some(peer) => requests::answer(rpc, &peer, &call).await,
                        // None gets here: the state machine answers those itself.
                        None => return Ok(()),
                    },
                };
                let octets = match answer {
                    Ok(results) => server.answer(&call, &results).map_err(io::Error::other)?,
                    Err(status) => call.fault(status),
                };
                send(&mut stream, &octets).await?;
            }
            Err(error) => {
                if matches!(error, RpcError::Security(_) | RpcError::AuthLevel(_) | RpcError::Unprotected(_))
                {
                    refused(rpc, peer, refusal(server.security(), &error)).await;
                }
                return Err(io::Error::other(error));
            }
        }
        seat.take(rpc, server.authenticated(), peer, &admitted);
        call_until = server.is_in_a_call().then(|| call_until.unwrap_or(Instant::now() + whole));
    }
}

/// For how long a connection may go on, and for whom it is counted.
struct Seat {
    offer: Offer,
    opened: Instant,
    /// The account that it is counted for: the last that signed in and was let in.
    slot: Option<Slot<String>>,
    state: SignIn,
    /// The end of the ticket that was signed in with.
    ticket_until: Instant,
}

/// What is known of who is at the other end now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SignIn {
    /// Nobody has signed in, or somebody signs in anew, since then.
    Awaited(Instant),
    /// An account that is let in.
    Done,
    /// An account that has too many connections; it is told so when it calls. Since then.
    Refused(Instant),
}

impl Seat {
    fn none(offer: Offer) -> Self {
        let opened = Instant::now();
        Self { offer, opened, slot: None, state: SignIn::Awaited(opened), ticket_until: opened }
    }

    const fn is_refused(&self) -> bool {
        matches!(self.state, SignIn::Refused(_))
    }

    /// Until when a message has to come.
    fn silent_until(&self, limits: &Limits) -> Instant {
        let now = Instant::now();
        let idle = Duration::from_secs(limits.rpc_idle_seconds);
        let until = match (self.state, self.offer) {
            (SignIn::Done, _) => (now + idle).min(self.ticket_until),
            // Nobody needs to sign in there; whoever does not, need not stay.
            (SignIn::Awaited(_), Offer::Mapper) => {
                (now + Duration::from_secs(limits.header_seconds)).min(self.opened + idle)
            }
            (SignIn::Awaited(since) | SignIn::Refused(since), _) => {
                since + Duration::from_secs(limits.handshake_seconds)
            }
        };
        until.min(self.opened + Duration::from_secs(limits.rpc_lifetime_seconds))
    }

    /// Counts the connection for the account that is signed in now, if one is.
    fn take(&mut self, rpc: &Rpc, signed_in: Option<&Accepting>, peer: SocketAddr, admitted: &Admitted) {
        let now = Instant::now();
        let Some((account, Accepting(end))) = signed_in.and_then(|end| Some((account(end)?, end))) else {
            if self.state == SignIn::Done {
                self.state = SignIn::Awaited(now);
            }
            return;
        };
        // For each sign-in there are several messages, and in between nobody is signed in.
        if self.state != SignIn::Done {
            self.ticket_until = now + end.remaining();
        }
        if self.slot.as_ref().is_some_and(|slot| *slot.key() == account) {
            self.state = SignIn::Done;
            return;
        }
        if self.is_refused() {
            return;
        }
        let limit = rpc.state.settings.limits.rpc_connections_per_account;
        match rpc.admission(self.offer).admit_account(&account, limit, peer) {
            Some(slot) => {
                self.slot = Some(slot);
                self.state = SignIn::Done;
                admitted.signed_in();
            }
            // Until it ends it counts as it did before: for its address, or for who was signed in.
            None => self.state = SignIn::Refused(now),
        }
    }
}

/// Whose connection it is, once somebody has signed in. By the identifier where there is one: in a ticket an account can
/// have several names.
fn account(Accepting(end): &Accepting) -> Option<String> {
    Some(match end.pac() {
        Some(pac) => pac.user_sid.clone(),
        None => end.client()?.to_string().to_lowercase(),
    })
}

/// Why a connection was given up, for the audit log.
fn refusal(security: Option<&Accepting>, error: &RpcError) -> AuthError {
    match security.and_then(|Accepting(end)| end.refused()) {
        Some(refused) => AuthError::Ticket(refused.clone()),
        None => AuthError::Rpc(error.to_string()),
    }
}

/// Who is calling, as far as the connection proves it.
fn caller<F: FnMut(AuthType) -> Option<Accepting>>(
    server: &Connection<F>,
    address: SocketAddr,
    host: IpAddr,
) -> Option<Peer> {
    let Accepting(end) = server.authenticated()?;
    Some(Peer { address, host, principal: end.client()?.clone(), pac: end.pac().cloned() })
}

/// One message; `None` if the peer has hung up or is silent for too long, or if it is none.
async fn message(
    stream: &mut WriteDeadline<TcpStream>,
    silent_until: Instant,
    whole: Duration,
) -> io::Result<Option<Vec<u8>>> {
    let mut octets = vec![0; HEADER];
    let begun = match timeout_at(silent_until, stream.read(&mut octets)).await {
        Ok(begun) => begun?,
        Err(_) => return Ok(None),
    };
    let Some(rest) = octets.get_mut(begun..).filter(|_| begun > 0) else { return Ok(None) };
    let until = Instant::now() + whole;
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    timeout_at(until, stream.read_exact(rest)).await.map_err(late)??;
    let length = pdu::frame_length(&octets).map_err(io::Error::other)?.unwrap_or(HEADER);
    octets.resize(length, 0);
    let body = octets.get_mut(HEADER..).unwrap_or_default();
    timeout_at(until, stream.read_exact(body)).await.map_err(late)??;
    Ok(Some(octets))
}

async fn send(stream: &mut WriteDeadline<TcpStream>, octets: &[u8]) -> io::Result<()> {
    stream.write_all(octets).await?;
    stream.flush().await
}

/// Records that somebody was not let in.
async fn refused(rpc: &Rpc, peer: SocketAddr, error: AuthError) {
    let mut record = Record::begin(peer, "rpc");
    record.operation = "bind";
    let state = &rpc.state;
    let (sentence, error) = (error.to_string(), error.into());
    state.refusals.record(&state.store, &record, &error, state.clock.now()).await;
    record.end(0, error.code(), Some(&sentence));
}
