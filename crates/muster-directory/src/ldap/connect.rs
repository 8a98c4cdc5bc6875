//! From a server's name to a protected connection on which we are known.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use super::error::LdapError;
use super::message::{Message, Outcome, Request, Response, ResultCode};
use super::sasl;
use super::settings::{Access, LdapSettings, Server, TlsBind, TlsStart};
use super::wire::{Io, Wire};

/// A connection after the bind; messages are numbered from `next`.
pub(crate) struct Connection {
    pub(crate) wire: Wire,
    pub(crate) next: i32,
}

impl Connection {
    /// Connects, protects the connection, binds. Takes at most the configured time.
    pub(crate) async fn open(settings: &LdapSettings, server: &Server) -> Result<Self, LdapError> {
        match tokio::time::timeout(settings.connect_timeout, open(settings, server)).await {
            Ok(result) => result,
            Err(_elapsed) => Err(LdapError::TimedOut {
                server: server.to_string(),
                seconds: settings.connect_timeout.as_secs(),
            }),
        }
    }

    /// One question and its answer, before there is a task that takes several.
    pub(crate) async fn exchange(&mut self, request: &Request) -> Result<Response, LdapError> {
        let id = self.next;
        self.next += 1;
        self.wire.send(id, request).await?;
        let Message { id: answered, response } = self.wire.receive().await?;
        if answered == id {
            return Ok(response);
        }
        match response {
            // Unsolicited (RFC 4511 4.4).
            Response::Extended { outcome, .. } if answered == 0 => {
                Err(LdapError::Disconnected { server: self.wire.server().to_owned(), outcome })
            }
            Response::Extended { .. }
            | Response::Bind { .. }
            | Response::Entry(_)
            | Response::Reference(_)
            | Response::Done { .. }
            | Response::Changed(_) => Err(self.out_of_place()),
        }
    }

    pub(crate) fn out_of_place(&self) -> LdapError {
        LdapError::OutOfPlace { server: self.wire.server().to_owned() }
    }

    pub(crate) fn bind_refused(&self, outcome: Outcome) -> LdapError {
        LdapError::Bind { server: self.wire.server().to_owned(), outcome }
    }
}

async fn open(settings: &LdapSettings, server: &Server) -> Result<Connection, LdapError> {
    let port = server.port.unwrap_or_else(|| settings.access.port());
    let stream = TcpStream::connect((server.host.as_str(), port))
        .await
        .map_err(|error| LdapError::Connect { server: server.to_string(), cause: error.to_string() })?;
    // Requests are small and waited for; failing is not worth a connection.
    let _unset = stream.set_nodelay(true);
    let plain = Wire::new(server.to_string(), Box::new(stream));
    match &settings.access {
        Access::Sealed(login) => {
            let mut connection = Connection { wire: plain, next: 1 };
            sasl::bind(&mut connection, settings, server, login, sasl::Layer::Sealed).await?;
            Ok(connection)
        }
        Access::Tls { start, ca_file, bind } => {
            let config = tls_config(server, ca_file)?;
            let plain = match start {
                TlsStart::AtOnce => plain,
                TlsStart::OnRequest => start_tls(plain).await?,
            };
            let stream =
                plain.into_stream().ok_or_else(|| LdapError::OutOfPlace { server: server.to_string() })?;
            let (stream, binding) = handshake(server, config, stream).await?;
            let mut connection = Connection { wire: Wire::new(server.to_string(), stream), next: 1 };
            match bind {
                TlsBind::Password { name, file } => simple(&mut connection, name, file).await?,
                TlsBind::Kerberos(login) => {
                    sasl::bind(&mut connection, settings, server, login, sasl::Layer::Tls { binding })
                        .await?;
                }
            }
            Ok(connection)
        }
    }
}

async fn start_tls(plain: Wire) -> Result<Wire, LdapError> {
    let mut connection = Connection { wire: plain, next: 1 };
    match connection.exchange(&Request::StartTls).await? {
        Response::Extended { outcome, .. } if outcome.code == ResultCode::SUCCESS => Ok(connection.wire),
        Response::Extended { outcome, .. } => Err(LdapError::Tls {
            server: connection.wire.server().to_owned(),
            cause: format!("StartTLS: {} ({})", outcome.code, outcome.message),
        }),
        Response::Bind { .. }
        | Response::Entry(_)
        | Response::Reference(_)
        | Response::Done { .. }
        | Response::Changed(_) => Err(connection.out_of_place()),
    }
}

fn file_error(file: &Path, cause: impl ToString) -> LdapError {
    LdapError::File { file: file.display().to_string(), cause: cause.to_string() }
}

/// TLS 1.2 and 1.3, the configured CAs and no others.
fn tls_config(server: &Server, ca_file: &Path) -> Result<ClientConfig, LdapError> {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(ca_file).map_err(|e| file_error(ca_file, e))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| file_error(ca_file, error))?;
        roots.add(certificate).map_err(|error| file_error(ca_file, error))?;
    }
    if roots.is_empty() {
        return Err(file_error(ca_file, "holds no certificate"));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| LdapError::Tls { server: server.to_string(), cause: error.to_string() })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

/// The protected stream, and the server's certificate for the channel binding.
async fn handshake(
    server: &Server,
    config: ClientConfig,
    stream: Box<dyn Io>,
) -> Result<(Box<dyn Io>, Option<CertificateDer<'static>>), LdapError> {
    let failed = |cause: String| LdapError::Tls { server: server.to_string(), cause };
    let name = ServerName::try_from(server.host.clone()).map_err(|error| failed(error.to_string()))?;
    let stream = tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .map_err(|error| failed(error.to_string()))?;
    let certificate =
        stream.get_ref().1.peer_certificates().and_then(<[_]>::first).map(|c| c.clone().into_owned());
    Ok((Box::new(stream), certificate))
}

async fn simple(connection: &mut Connection, name: &str, file: &Path) -> Result<(), LdapError> {
    let contents = std::fs::read(file).map_err(|error| file_error(file, error))?;
    let contents = Zeroizing::new(contents);
    let line = contents.split(|octet| *octet == b'\n').next().unwrap_or_default();
    let password = Zeroizing::new(line.strip_suffix(b"\r").unwrap_or(line).to_vec());
    if password.is_empty() || name.is_empty() {
        // A bind without name or password is an anonymous one and succeeds (RFC 4513 5.1.2).
        return Err(file_error(file, "holds no password in its first line"));
    }
    match connection.exchange(&Request::Simple { name: name.to_owned(), password }).await? {
        Response::Bind { outcome, .. } if outcome.code == ResultCode::SUCCESS => Ok(()),
        Response::Bind { outcome, .. } => Err(connection.bind_refused(outcome)),
        Response::Entry(_)
        | Response::Reference(_)
        | Response::Done { .. }
        | Response::Changed(_)
        | Response::Extended { .. } => Err(connection.out_of_place()),
    }
}
