//! Which authority, and how it is asked.

use std::time::Duration;

use muster_gss::Framing;
use muster_rpc::wcce::AuthorityName;

/// How an authority is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Method {
    /// DCOM, `ICertRequestD2` (MS-WCCE): what the enrollment service of Windows does.
    #[default]
    Object,
    /// `ICertPassage` (MS-ICPR): one call and no object, but not every authority offers it.
    Passage,
}

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection: name, endpoint mapper, authentication, activation, all together.
    pub connect: Duration,
    /// For one call. The authority signs meanwhile, perhaps with a slow module.
    pub call: Duration,
    /// For an unused connection, before it is closed.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { connect: seconds(10), call: seconds(60), idle: seconds(60) }
    }
}

/// One authority.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its host, as in its service principal names: `ca01.corp.example`.
    pub host: String,
    /// The port of its endpoint mapper: 135.
    pub mapper_port: u16,
    /// Its name: the common name, or the sanitized one.
    pub authority: AuthorityName,
    /// Its certificates (DER): a certificate that it issues must be signed by the key of one of them.
    pub issuers: Vec<Vec<u8>>,
    /// How it is asked.
    pub method: Method,
    /// How the tokens of Kerberos are wrapped. Windows wants SPNEGO.
    pub framing: Framing,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// Connections at once, of all identities, those among them that are kept for later requests.
    pub max_connections: usize,
}

impl Settings {
    /// An authority with all else as usual: DCOM, SPNEGO, 64 connections.
    #[must_use]
    pub fn new(host: &str, authority: AuthorityName, issuers: Vec<Vec<u8>>) -> Self {
        Self {
            host: host.to_owned(),
            mapper_port: muster_rpc::epm::PORT,
            authority,
            issuers,
            method: Method::default(),
            framing: Framing::Negotiate,
            timeouts: Timeouts::default(),
            max_connections: 64,
        }
    }
}
