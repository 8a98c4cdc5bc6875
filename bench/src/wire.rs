//! HTTP/1.1 over TLS by hand: as little as a load generator needs, so that it takes little from the server's cores.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The name in every server's certificate here.
const HOST: &str = "localhost";
/// Larger answers are a fault of ours.
const LARGEST: usize = 8 << 20;

/// A server.
#[derive(Clone)]
pub(crate) struct Target {
    address: SocketAddr,
    tls: TlsConnector,
}

impl Target {
    /// A server whose certificate comes from the CA in this PEM file. Every connection is a whole handshake.
    pub(crate) fn new(address: SocketAddr, ca: &Path) -> Result<Self> {
        Self::build(address, ca, None)
    }

    /// The same, and the client shows a certificate, DER.
    pub(crate) fn showing(
        address: SocketAddr,
        ca: &Path,
        certificate: Vec<u8>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self> {
        Self::build(address, ca, Some((vec![CertificateDer::from(certificate)], key)))
    }

    fn build(
        address: SocketAddr,
        ca: &Path,
        identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    ) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(ca).with_context(|| ca.display().to_string())? {
            roots.add(certificate?)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let mut config = match identity {
            Some((chain, key)) => config.with_client_auth_cert(chain, key)?,
            None => config.with_no_client_auth(),
        };
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { address, tls: TlsConnector::from(Arc::new(config)) })
    }

    /// Connects and shakes hands.
    pub(crate) async fn connect(&self) -> Result<Connection> {
        let tcp = TcpStream::connect(self.address).await?;
        tcp.set_nodelay(true)?;
        let stream = self.tls.connect(ServerName::try_from(HOST)?, tcp).await?;
        Ok(Connection { stream, buffer: vec![0; 16 << 10] })
    }
}

/// A whole request: head and body.
pub(crate) fn request(
    method: &str,
    path: &str,
    content_type: &str,
    authorization: Option<&str>,
    body: &str,
) -> Vec<u8> {
    let length = body.len();
    let authorization = authorization.map(|value| format!("authorization: {value}\r\n")).unwrap_or_default();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: {content_type}\r\n{authorization}\
         content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A connection that is open.
pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

impl Connection {
    /// Sends a request and returns the body of an answer with status 200.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<&[u8]> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        let mut filled = 0;
        let (head, length) = loop {
            filled += self.read(filled).await?;
            let text = self.buffer.get(..filled).unwrap_or_default();
            if let Some(end) = text.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(text.get(..end).unwrap_or_default());
                if !head.starts_with("HTTP/1.1 200 ") {
                    let body = String::from_utf8_lossy(text.get(end..).unwrap_or_default());
                    bail!("the server answers: {head}{body}");
                }
                break (end + 4, content_length(&head)?);
            }
        };
        while filled < head + length {
            filled += self.read(filled).await?;
        }
        self.buffer.get(head..head + length).context("an answer ends early")
    }

    async fn read(&mut self, filled: usize) -> Result<usize> {
        if filled == self.buffer.len() {
            if filled > LARGEST {
                bail!("an answer is longer than {LARGEST} bytes");
            }
            self.buffer.resize(2 * filled, 0);
        }
        let room = self.buffer.get_mut(filled..).unwrap_or_default();
        match self.stream.read(room).await? {
            0 => bail!("the server closed the connection"),
            more => Ok(more),
        }
    }
}

fn content_length(head: &str) -> Result<usize> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let mut values = lines.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let (_, value) = values.next().context("an answer without content-length")?;
    Ok(value.trim().parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_is_found_in_any_case() {
        assert_eq!(content_length("HTTP/1.1 200 OK\r\nContent-Length: 12\r\nx: y").unwrap(), 12);
        assert!(content_length("HTTP/1.1 200 OK\r\nx: y").is_err());
    }
}
