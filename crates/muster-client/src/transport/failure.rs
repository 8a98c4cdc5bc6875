//! Why a message was not sent or its outcome is not known, in words that say what to do.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;
use muster_gss::{BindingError, InitiateError};
use rustls::{AlertDescription, CertificateError};
use thiserror::Error as ThisError;

use super::Sent;

/// Why nothing reached the service. Another endpoint may be tried.
#[derive(Debug, ThisError)]
pub enum NotSent {
    /// The host name cannot be resolved.
    #[error("host name {host} cannot be resolved: {error}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver says.
        error: io::Error,
    },
    /// The name has no address.
    #[error("host name {0} has no address")]
    NoAddress(String),
    /// The connection is refused or there is no route.
    #[error("no connection to {address}: {error}")]
    Connect {
        /// The last address that was tried.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// No connection within this time.
    #[error("no connection within {} s", .0.as_secs_f32())]
    ConnectTimeout(Duration),
    /// No TLS session within this time.
    #[error("the TLS handshake took more than {} s", .0.as_secs_f32())]
    TlsTimeout(Duration),
    /// The server's certificate is not accepted.
    #[error("the server's certificate {}", describe(.0))]
    ServerCertificate(CertificateError),
    /// The server refused the TLS session, often for want of a client certificate.
    #[error("the server refused the TLS session: {0:?}")]
    Alert(AlertDescription),
    /// TLS failed otherwise.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// The host cannot be checked against a certificate.
    #[error("{0} is not a name that a certificate can bear")]
    Name(String),
    /// The connection was closed before anything was sent.
    #[error("the connection was closed before the request was sent: {0}")]
    Closed(String),
    /// There is no Kerberos ticket for the service.
    #[error("no Kerberos ticket for HTTP/{host}: {error}")]
    Ticket {
        /// Host of the service.
        host: String,
        /// What is in the way.
        error: InitiateError,
    },
    /// The server's certificate cannot be bound to a ticket.
    #[error(transparent)]
    Binding(BindingError),
    /// The request cannot be written as HTTP.
    #[error("the request cannot be written: {0}")]
    Request(http::Error),
}

impl NotSent {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Resolve { .. } | Self::NoAddress(_) => {
                "check the host name in the URL and the DNS settings"
            }
            Self::Connect { .. } | Self::ConnectTimeout(_) => {
                "check that the service runs and that no firewall is between"
            }
            Self::TlsTimeout(_) | Self::Closed(_) => {
                "check that the port speaks TLS and that the service is well"
            }
            Self::ServerCertificate(error) => certificate_hint(error),
            Self::Alert(_) => {
                "if the endpoint asks for a client certificate, give one that the service accepts with --client-cert and --client-key"
            }
            Self::Tls(_) => "check that the port speaks TLS 1.2 or 1.3",
            Self::Ticket { error, .. } => ticket_hint(error),
            Self::Binding(_) => "have the server's certificate looked at",
            Self::Name(_) | Self::Request(_) => "check the URL",
        }
    }

    pub(super) fn from_tls(error: &io::Error) -> Self {
        match rustls_error(error) {
            Some(rustls::Error::InvalidCertificate(reason)) => Self::ServerCertificate(reason.clone()),
            Some(rustls::Error::AlertReceived(alert)) => Self::Alert(*alert),
            Some(other) => Self::Tls(other.to_string()),
            None => Self::Tls(error.to_string()),
        }
    }

    pub(super) fn from_hyper(error: &hyper::Error) -> Self {
        match refusal_of_handshake(error) {
            Some(alert) => Self::Alert(alert),
            None => Self::Closed(chain(error)),
        }
    }
}

/// Why it is not known whether the service acted.
#[derive(Debug, ThisError)]
pub enum Unknown {
    /// No complete answer within this time.
    #[error("no answer within {} s after the request was sent", .0.as_secs_f32())]
    Timeout(Duration),
    /// The connection broke after the request was sent.
    #[error("the connection broke after the request was sent: {0}")]
    Cut(String),
    /// An HTTP answer without SOAP that leaves open whether something happened.
    #[error("HTTP status {} without a SOAP message", .0.as_u16())]
    NoSoap(StatusCode),
    /// The service did not prove that it could read the Kerberos ticket.
    #[error("the answer bears no proof that the service could read the Kerberos ticket: {0}")]
    NotProven(InitiateError),
    /// The answer is longer than allowed.
    #[error("the answer is longer than {limit} octets")]
    TooLarge {
        /// The limit, in octets.
        limit: usize,
    },
    /// The answer is compressed, although nobody offered to read that.
    #[error("the answer is compressed, which was not asked for")]
    Coded,
    /// The answer is XML but no message that can be understood.
    #[error("the answer cannot be understood: {0}")]
    Nonsense(String),
}

fn ticket_hint(error: &InitiateError) -> &'static str {
    match error {
        InitiateError::NoCredential(_) | InitiateError::Expired => {
            "get a ticket with kinit, or name a keytab with --keytab and --principal"
        }
        InitiateError::WrongKey => "the keytab is older than the account's password: write a new one",
        InitiateError::UnknownAccount | InitiateError::AccountRefused(_) => {
            "check the principal, and the account in the directory"
        }
        InitiateError::UnknownService(_) => {
            "use the host name for which the service is registered (setspn -Q HTTP/HOST), not an address or another name"
        }
        InitiateError::KdcUnreachable(_) => "check /etc/krb5.conf, DNS and the way to the domain controllers",
        InitiateError::ClockSkew => "set the clock of this machine",
        InitiateError::NotProven(_)
        | InitiateError::Rejected
        | InitiateError::NotDelegated(_)
        | InitiateError::OtherMechanism
        | InitiateError::Malformed(_)
        | InitiateError::OutOfOrder
        | InitiateError::NotSealed
        | InitiateError::Library(_) => "KRB5_TRACE=/dev/stderr tells more",
    }
}

/// What an error means once the request was handed to the connection.
pub(super) fn after_sending(error: &hyper::Error) -> Sent {
    // In TLS 1.3 the client has finished, and may send, before the server looks at the client's certificate. A server
    // that refuses the handshake never gets to the request (RFC 8446, appendix E.1.2).
    match refusal_of_handshake(error) {
        Some(alert) => Sent::NotSent(NotSent::Alert(alert)),
        None => Sent::Unknown(Unknown::Cut(chain(error))),
    }
}

/// The alert, if it is one that only a handshake ends with.
fn refusal_of_handshake(error: &hyper::Error) -> Option<AlertDescription> {
    use AlertDescription::{
        AccessDenied, BadCertificate, CertificateExpired, CertificateRequired, CertificateRevoked,
        CertificateUnknown, DecryptError, HandshakeFailure, UnknownCA, UnsupportedCertificate,
    };

    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::AlertReceived(alert)) =
            error.downcast_ref::<io::Error>().and_then(rustls_error)
        {
            let ends_handshake = matches!(
                alert,
                AccessDenied
                    | BadCertificate
                    | CertificateExpired
                    | CertificateRequired
                    | CertificateRevoked
                    | CertificateUnknown
                    | DecryptError
                    | HandshakeFailure
                    | UnknownCA
                    | UnsupportedCertificate
            );
            return ends_handshake.then_some(*alert);
        }
        next = error.source();
    }
    None
}

fn rustls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn describe(error: &CertificateError) -> String {
    use CertificateError::{
        Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet, NotValidYetContext,
        UnknownIssuer,
    };

    if matches!(error, UnknownIssuer) {
        "comes from a certification authority that is not trusted here".to_owned()
    } else if let NotValidForNameContext { expected, presented } = error {
        let names = if presented.is_empty() { "no name".to_owned() } else { presented.join(", ") };
        format!("is not for {}; it bears {names}", expected.to_str())
    } else if matches!(error, NotValidForName) {
        "is for another host".to_owned()
    } else if matches!(error, Expired | ExpiredContext { .. }) {
        "has expired".to_owned()
    } else if matches!(error, NotValidYet | NotValidYetContext { .. }) {
        "is not valid yet".to_owned()
    } else {
        format!("is not accepted: {error}")
    }
}

fn certificate_hint(error: &CertificateError) -> &'static str {
    use CertificateError::{
        Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet, NotValidYetContext,
        UnknownIssuer,
    };

    if matches!(error, UnknownIssuer) {
        "if you trust the server's CA, name its certificate with --ca-file"
    } else if matches!(error, NotValidForName | NotValidForNameContext { .. }) {
        "use the host name that the server's certificate bears"
    } else if matches!(error, Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. }) {
        "check the clock of this machine, and have the server's certificate renewed"
    } else {
        "have the server's certificate looked at: openssl s_client -connect HOST:443"
    }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let part = error.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        next = error.source();
    }
    text
}
