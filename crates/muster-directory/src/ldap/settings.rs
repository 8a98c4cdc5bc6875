//! Which servers, how they are reached, and who we are to them. There is no way in without encryption.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// One directory server: `dc1.corp.example`, `dc1.corp.example:3389`. A name rather than an address: it is what the
/// ticket is asked for and what the certificate must have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    /// Host name.
    pub host: String,
    /// Port, unless it is the usual one.
    pub port: Option<u16>,
}

/// The text names no server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not a server: write a host name such as dc1.corp.example, with a port after a colon if need be"
)]
pub struct ServerError(String);

impl FromStr for Server {
    type Err = ServerError;

    fn from_str(text: &str) -> Result<Self, ServerError> {
        let wrong = || ServerError(text.chars().take(100).collect());
        let (host, port) = match text.split_once(':') {
            None => (text, None),
            Some((host, port)) => (host, Some(port.parse().map_err(|_| wrong())?)),
        };
        let label = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        let name = host.len() <= 253 && host.split('.').all(label);
        if name && port != Some(0) {
            Ok(Self { host: host.to_ascii_lowercase(), port })
        } else {
            Err(wrong())
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            None => f.write_str(&self.host),
            Some(port) => write!(f, "{}:{port}", self.host),
        }
    }
}

/// How a connection is protected and who we are on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// LDAP on port 389; Kerberos (SASL GSSAPI, RFC 4752) with everything after the bind encrypted by it.
    Sealed(Login),
    /// TLS, the server's certificate issued by a configured CA.
    Tls {
        /// From the first octet (port 636) or after a request (port 389).
        start: TlsStart,
        /// PEM file of the CA certificates that are trusted.
        ca_file: PathBuf,
        /// Who we are.
        bind: TlsBind,
    },
}

/// When TLS begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsStart {
    /// With the connection: LDAPS, port 636.
    AtOnce,
    /// After the request StartTLS (RFC 4511 4.14), port 389.
    OnRequest,
}

/// Who we are inside TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsBind {
    /// A name (user principal name or distinguished name) and the password that is the first line of a file.
    Password {
        /// The name.
        name: String,
        /// The file.
        file: PathBuf,
    },
    /// Kerberos without a layer of its own.
    Kerberos(Login),
}

/// As whom we ask for tickets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// The service account's keys. Tickets are got and renewed when they are needed.
    Keytab {
        /// The keytab file.
        file: PathBuf,
        /// The account, `svc-ces@CORP.EXAMPLE`.
        principal: String,
    },
    /// Tickets that somebody got with `kinit`: in this cache, or in the system's default one. For administrators.
    Tickets(Option<String>),
}

impl Access {
    /// The port where this access is expected.
    #[must_use]
    pub const fn port(&self) -> u16 {
        match self {
            Self::Tls { start: TlsStart::AtOnce, .. } => 636,
            Self::Tls { start: TlsStart::OnRequest, .. } | Self::Sealed(_) => 389,
        }
    }
}

/// A directory: one Active Directory domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LdapSettings {
    /// DNS name of the domain, `corp.example`.
    pub domain: String,
    /// Domain controllers in the order of preference; empty: those that DNS names.
    pub servers: Vec<Server>,
    /// How they are reached.
    pub access: Access,
    /// Longest wait for a connection with one server, bind included.
    pub connect_timeout: Duration,
    /// Longest wait for an answer. A server that takes longer is left for the next one.
    pub answer_timeout: Duration,
}

impl LdapSettings {
    /// Five seconds for a connection, ten for an answer.
    #[must_use]
    pub fn new(domain: impl Into<String>, servers: Vec<Server>, access: Access) -> Self {
        Self {
            domain: domain.into(),
            servers,
            access,
            connect_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(10),
        }
    }

    /// `DC=corp,DC=example`.
    #[must_use]
    pub fn base(&self) -> String {
        let parts: Vec<String> = self.domain.split('.').map(|label| format!("DC={label}")).collect();
        parts.join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_is_a_name_with_or_without_port() {
        let server: Server = "DC1.corp.example:3389".parse().unwrap();
        assert_eq!(server, Server { host: "dc1.corp.example".to_owned(), port: Some(3389) });
        assert_eq!(server.to_string(), "dc1.corp.example:3389");
        for wrong in ["", "a..b", "dc1:0", "dc1:x", "ldap://dc1", "dc 1", "dc1:70000", "a:1:2"] {
            assert!(wrong.parse::<Server>().is_err(), "{wrong}");
        }
    }
}
