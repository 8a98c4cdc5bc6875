//! One TCP connection with the state machine of `muster-rpc` on it.

use muster_rpc::client::{Anonymous, Binding, Client, Progress, RpcError};
use muster_rpc::pdu::Fault;
use muster_rpc::security::Security;
use muster_rpc::{Interface, Uuid, pdu};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::error::AdcsError;

/// A bound connection.
#[derive(Debug)]
pub(crate) struct Wire<S> {
    stream: TcpStream,
    client: Client<S>,
}

/// A call that failed.
#[derive(Debug)]
pub(crate) enum CallError {
    /// The server cannot have got the whole call, or said, and proved that it was the one to say it, that it did not begin
    /// it.
    NotBegun(RpcError),
    /// The whole call was sent.
    Lost(String),
    /// The whole call was sent, and a fault came that somebody else may have made.
    Unproven(Fault),
}

/// Connects to a host.
pub(crate) async fn connect(host: &str, port: u16) -> Result<TcpStream, AdcsError> {
    let unreachable =
        |why: std::io::Error| AdcsError::Unreachable { host: host.to_owned(), port, why: why.to_string() };
    let stream = TcpStream::connect((host, port)).await.map_err(unreachable)?;
    stream.set_nodelay(true).map_err(unreachable)?;
    Ok(stream)
}

/// One whole message.
async fn receive(stream: &mut TcpStream) -> Result<Vec<u8>, String> {
    let mut octets = vec![0; pdu::HEADER];
    let broken = |error: std::io::Error| {
        if error.kind() == std::io::ErrorKind::UnexpectedEof {
            return "the server closed the connection".to_owned();
        }
        error.to_string()
    };
    stream.read_exact(&mut octets).await.map_err(broken)?;
    let length = pdu::frame_length(&octets).map_err(|error| error.to_string())?.unwrap_or(pdu::HEADER);
    octets.resize(length, 0);
    let rest = octets.get_mut(pdu::HEADER..).unwrap_or_default();
    stream.read_exact(rest).await.map_err(broken)?;
    Ok(octets)
}

impl Wire<Anonymous> {
    /// A connection without security, for the public interfaces.
    pub(crate) async fn public(host: &str, port: u16, interface: Interface) -> Result<Self, AdcsError> {
        let begun = Binding::public(interface).map_err(|error| connection(host, error))?;
        Self::bind(host, port, begun).await
    }
}

impl<S: Security> Wire<S> {
    /// A connection with packet privacy.
    pub(crate) async fn sealed(
        host: &str,
        port: u16,
        interface: Interface,
        security: S,
    ) -> Result<Self, AdcsError> {
        let begun = Binding::sealed(interface, security).map_err(|error| connection(host, error))?;
        Self::bind(host, port, begun).await
    }

    async fn bind(host: &str, port: u16, begun: (Binding<S>, Vec<u8>)) -> Result<Self, AdcsError> {
        let mut stream = connect(host, port).await?;
        let broken = |why: String| AdcsError::Unreachable { host: host.to_owned(), port, why };
        let (mut binding, mut octets) = begun;
        loop {
            stream.write_all(&octets).await.map_err(|error| broken(error.to_string()))?;
            let answer = receive(&mut stream).await.map_err(broken)?;
            match binding.receive(&answer).map_err(|error| connection(host, error))? {
                Progress::Send(next, message) => (binding, octets) = (next, message),
                Progress::Bound(client, last) => {
                    if let Some(last) = last {
                        stream.write_all(&last).await.map_err(|error| broken(error.to_string()))?;
                    }
                    return Ok(Self { stream, client });
                }
            }
        }
    }

    /// Whether another call can be made: nothing has gone wrong, and the server has not closed the connection, nor said
    /// anything that it was not asked for.
    pub(crate) fn is_good(&self) -> bool {
        let mut one = [0];
        let silent = self.stream.try_read(&mut one);
        self.client.is_ready() && silent.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }

    /// Another interface, for the calls after this one.
    pub(crate) async fn alter(&mut self, interface: Interface) -> Result<(), CallError> {
        let octets = self.client.alter(interface).map_err(CallError::NotBegun)?;
        let broken = |error: std::io::Error| CallError::Lost(error.to_string());
        self.stream.write_all(&octets).await.map_err(broken)?;
        let answer = receive(&mut self.stream).await.map_err(CallError::Lost)?;
        self.client.altered(&answer).map_err(CallError::NotBegun)
    }

    /// One call.
    pub(crate) async fn call(
        &mut self,
        opnum: u16,
        object: Option<Uuid>,
        stub: &[u8],
    ) -> Result<Vec<u8>, CallError> {
        let octets = self.client.call(opnum, object, stub).map_err(CallError::NotBegun)?;
        // An error here means that not all of it left: a call without its last octet is none.
        self.stream.write_all(&octets).await.map_err(|_| CallError::NotBegun(RpcError::NotReady))?;
        loop {
            let answer = receive(&mut self.stream).await.map_err(CallError::Lost)?;
            match self.client.receive(&answer) {
                Ok(Some(results)) => return Ok(results),
                Ok(None) => {}
                Err(RpcError::Fault(fault)) if fault.was_not_begun() => {
                    return Err(CallError::NotBegun(RpcError::Fault(fault)));
                }
                Err(RpcError::UnverifiedFault(fault)) => return Err(CallError::Unproven(fault)),
                Err(error) => return Err(CallError::Lost(error.to_string())),
            }
        }
    }
}

pub(crate) fn connection(host: &str, error: RpcError) -> AdcsError {
    AdcsError::Connection { host: host.to_owned(), error }
}
