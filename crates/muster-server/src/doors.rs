//! Which listener a connection is for, where several share a socket: decided by the name that the client asks for in
//! the handshake (SNI, RFC 6066 3), before any certificate is asked for or shown.
//!
//! The choice belongs to the connection and nothing can change it afterwards: routes are looked up by the listener's
//! name, and neither the Host header nor `a:To` is. So what was reached without a client certificate stays without.

use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::Acceptor;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};

/// One listener of a socket.
pub(crate) struct Door {
    /// The listener's name in the configuration.
    pub listener: String,
    /// The names that lead to it; none if it takes what the others do not.
    pub server_names: Vec<String>,
    /// Its TLS settings.
    pub tls: Arc<ServerConfig>,
}

/// All listeners of a socket.
pub(crate) struct Doors {
    doors: Vec<Door>,
    /// For names that lead nowhere: a handshake that ends with an alert.
    closed: Arc<ServerConfig>,
}

impl Doors {
    /// `closed` has to be without a certificate.
    pub(crate) const fn new(doors: Vec<Door>, closed: Arc<ServerConfig>) -> Self {
        Self { doors, closed }
    }

    /// The listeners' names, for the log.
    pub(crate) fn label(&self) -> String {
        self.doors.iter().map(|door| door.listener.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Shakes hands, and tells with which listener.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<(TlsStream<TcpStream>, &str)> {
        if let [Door { listener, server_names, tls }] = self.doors.as_slice()
            && server_names.is_empty()
        {
            return Ok((TlsAcceptor::from(Arc::clone(tls)).accept(stream).await?, listener));
        }
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        match self.choose(start.client_hello().server_name()) {
            Some(Door { listener, tls, .. }) => Ok((start.into_stream(Arc::clone(tls)).await?, listener)),
            None => {
                start.into_stream(Arc::clone(&self.closed)).await?;
                Err(io::Error::other("no listener has this server name"))
            }
        }
    }

    fn choose(&self, asked: Option<&str>) -> Option<&Door> {
        let named = self
            .doors
            .iter()
            .find(|door| asked.is_some_and(|a| door.server_names.iter().any(|n| n.eq_ignore_ascii_case(a))));
        named.or_else(|| self.doors.iter().find(|door| door.server_names.is_empty()))
    }
}
