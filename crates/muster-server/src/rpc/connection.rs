//! Sockets and connections: messages are read whole, each within its deadline, and answered one after the other.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use muster_adcs::Accepting;
use muster_rpc::pdu::{self, HEADER};
use muster_rpc::security::AuthType;
use muster_rpc::server::{Event, RpcError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::requests::Peer;
use super::{Connection, Door, Rpc, mapper, requests};
use crate::deadline::WriteDeadline;
use crate::fault::AuthError;
use crate::http::{AddressSlot, OpenGuard, stopped};
use crate::readiness::ReadySocket;
use crate::record::Record;

/// How long an authenticated connection may be silent between two calls.
const IDLE: Duration = Duration::from_secs(300);
/// How long an authenticated connection may be used. What its ticket said of the caller's groups is that old by then.
const LIFETIME: Duration = Duration::from_secs(3_600);

pub(super) async fn serve(
    rpc: Arc<Rpc>,
    door: Door,
    mut socket: ReadySocket,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            // Connections that have ended are let go of.
            Some(_) = connections.join_next() => continue,
            () = stopped(&mut stop) => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(?door, %error, "a connection of RPC could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let limits = &rpc.state.settings.limits;
        let (guard, open) = OpenGuard::take(&rpc.open);
        if open >= limits.connections {
            continue;
        }
        let limit = limits.unauthenticated_connections_per_address;
        let Some(slot) = rpc.addresses.take(peer.ip(), limit) else {
            tracing::debug!(?door, %peer, "too many connections of this address");
            continue;
        };
        let (rpc, stop) = (Arc::clone(&rpc), stop.clone());
        connections.spawn(async move {
            let _guard = guard;
            if let Err(error) = one(&rpc, door, stream, peer, slot, stop).await {
                tracing::debug!(?door, %peer, %error, "the connection of RPC ended");
            }
        });
    }
    drop(socket);
    while connections.join_next().await.is_some() {}
}

/// One connection, to its end.
async fn one(
    rpc: &Rpc,
    door: Door,
    stream: TcpStream,
    peer: SocketAddr,
    slot: AddressSlot,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let _ = stream.set_nodelay(true);
    let host = stream.local_addr()?.ip();
    let limits = &rpc.state.settings.limits;
    let mut stream = WriteDeadline::new(stream, Duration::from_secs(limits.write_seconds));
    let whole = Duration::from_secs(limits.body_seconds);
    let mut server = rpc.connection(door);
    let opened = Instant::now();
    let mut known = false;
    // When the call whose fragments are coming in has to be whole.
    let mut call_until = None;
    loop {
        let now = Instant::now();
        let silent_until = match (door, server.authenticated()) {
            (_, Some(_)) => (now + IDLE).min(opened + LIFETIME),
            // One that authenticates anew has been let in before.
            (Door::Requests, None) if known => now + Duration::from_secs(limits.handshake_seconds),
            (Door::Requests, None) => opened + Duration::from_secs(limits.handshake_seconds),
            (Door::Mapper, None) => now + Duration::from_secs(limits.header_seconds),
        };
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
            Ok(Event::Call(call)) => {
                let answer = match (door, caller(&server, peer, host)) {
                    (Door::Mapper, _) => mapper::answer(rpc, host, &call),
                    (Door::Requests, Some(peer)) => requests::answer(rpc, &peer, &call).await,
                    // None gets here: the state machine answers those itself.
                    (Door::Requests, None) => return Ok(()),
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
        if server.authenticated().is_some() {
            known = true;
            slot.release();
        }
        call_until = server.is_in_a_call().then(|| call_until.unwrap_or(Instant::now() + whole));
    }
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
