//! What can go wrong between us and an authority, and whether it may hold a request nevertheless.

use std::time::Duration;

use muster_gss::InitiateError;
use muster_rpc::client::RpcError;
use muster_rpc::status::HResult;

use crate::reply::Problem;

/// A request that was not answered, or whose answer cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdcsError {
    /// The host has no address, or does not answer at a port.
    #[error("{host}, port {port}, cannot be reached: {why}")]
    Unreachable {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// The system's words.
        why: String,
    },
    /// The host did not answer in time; no request had been sent.
    #[error("{host} did not answer within {} s, before a request was sent", .limit.as_secs_f32())]
    ConnectTimedOut {
        /// The host.
        host: String,
        /// The limit.
        limit: Duration,
    },
    /// There is no ticket for the host in the caller's name.
    #[error("no ticket of {identity} for {service}: {error}")]
    Ticket {
        /// Who asks.
        identity: String,
        /// The service's name.
        service: String,
        /// Why.
        error: InitiateError,
    },
    /// The endpoint mapper knows no such interface: the authority does not run, or offers no calls of this kind.
    #[error("{host} does not serve the authority over MS-ICPR: its endpoint mapper knows no such interface")]
    NotServed {
        /// The host.
        host: String,
    },
    /// The connection was refused, or is not what was asked for; no request had been sent.
    #[error("{host} was connected, but not asked: {error}")]
    Connection {
        /// The host.
        host: String,
        /// Why.
        error: RpcError,
    },
    /// The object of the authority could not be had.
    #[error("{host} does not activate the authority's object: {result}")]
    Activation {
        /// The host.
        host: String,
        /// Why.
        result: HResult,
    },
    /// All connections are in use.
    #[error("{limit} connections to {host} are in use, and none came free in time")]
    Busy {
        /// The host.
        host: String,
        /// The limit.
        limit: usize,
    },
    /// The server said, in a message that it has signed, that it did not begin the call.
    #[error("{host} refused the call: {error}")]
    CallRefused {
        /// The host.
        host: String,
        /// Why.
        error: RpcError,
    },
    /// The request was sent, and then the connection broke, or the answer cannot be read.
    #[error("{host} was sent the request, and what became of it is unknown: {why}")]
    Unknown {
        /// The host.
        host: String,
        /// Why.
        why: String,
    },
    /// The way in which the authority is asked has no such call.
    #[error("{host} cannot be asked for {what}: {method} has no call for it")]
    NotOffered {
        /// The host.
        host: String,
        /// What was wanted.
        what: &'static str,
        /// The protocol that is spoken with it.
        method: &'static str,
    },
    /// The authority said no to a question about itself.
    #[error("{host} does not say {what}: {result}")]
    NotSaid {
        /// The host.
        host: String,
        /// What was asked.
        what: &'static str,
        /// What it returned.
        result: HResult,
    },
    /// The authority does not do what an officer would have it do.
    #[error("{host} does not {what}: {result}")]
    NotDone {
        /// The host.
        host: String,
        /// What was wanted.
        what: &'static str,
        /// What it returned.
        result: HResult,
    },
    /// What the authority shows as its own is not signed by it.
    #[error("{host} shows {what} that is not to be trusted: {problem}")]
    NotItsOwn {
        /// The host.
        host: String,
        /// What it shows.
        what: &'static str,
        /// What is wrong.
        problem: Problem,
    },
    /// The authority answered with something that is not what was asked for.
    #[error("{host} answered request {request_id} with something else than was asked for: {problem}")]
    Untrusted {
        /// The host.
        host: String,
        /// The authority's number of the request.
        request_id: u32,
        /// What is wrong.
        problem: Problem,
    },
}

impl AdcsError {
    /// Whether the authority may hold the request, or has even issued. Such a request must not be sent again, to this
    /// authority or another, before somebody has looked.
    #[must_use]
    pub const fn may_have_been_submitted(&self) -> bool {
        match self {
            Self::Unknown { .. } | Self::Untrusted { .. } => true,
            Self::Unreachable { .. }
            | Self::ConnectTimedOut { .. }
            | Self::Ticket { .. }
            | Self::NotServed { .. }
            | Self::Connection { .. }
            | Self::Activation { .. }
            | Self::Busy { .. }
            | Self::NotOffered { .. }
            | Self::NotSaid { .. }
            | Self::NotDone { .. }
            | Self::NotItsOwn { .. }
            | Self::CallRefused { .. } => false,
        }
    }
}
