//! HTTPS by hand: every octet of a request is the test's, every octet of the answer is shown.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use muster_proto::soap::xml::Limits;
use muster_proto::soap::{Envelope, Fault, FaultKind};
use muster_proto::wstep::{CertificateEnrollmentWSDetail, RequestSecurityTokenResponse};
use muster_proto::xcep::GetPoliciesResponse;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::requests::Key;

/// Longest wait for anything; a server that takes longer hangs.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A certificate with its key, for the handshake.
#[derive(Clone, Debug)]
pub struct Identity {
    /// DER.
    pub certificate: Vec<u8>,
    /// Its key.
    pub key: Arc<Key>,
}

/// Trusts one CA.
#[derive(Clone, Debug)]
pub struct Https {
    roots: Arc<RootCertStore>,
}

impl Https {
    /// Trusts this CA certificate, DER.
    #[must_use]
    pub fn new(ca: &[u8]) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(ca.to_vec())).expect("the CA certificate is one");
        Self { roots: Arc::new(roots) }
    }

    /// A connection after its handshake, perhaps with a client certificate.
    pub async fn connect(&self, address: SocketAddr, identity: Option<&Identity>) -> Connection {
        let socket = TcpStream::connect(address).await.expect("somebody listens");
        socket.set_nodelay(true).unwrap();
        self.shake_hands(socket, identity).await.expect("a TLS handshake")
    }

    /// The same over a socket that is connected.
    ///
    /// # Errors
    /// What ended the handshake.
    pub async fn shake_hands(
        &self,
        socket: TcpStream,
        identity: Option<&Identity>,
    ) -> std::io::Result<Connection> {
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("TLS 1.2 and 1.3")
            .with_root_certificates(Arc::clone(&self.roots));
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = vec![CertificateDer::from(identity.certificate.clone())];
                let key = PrivatePkcs8KeyDer::from(identity.key.pkcs8());
                builder.with_client_auth_cert(chain, key.into()).expect("certificate and key fit")
            }
        };
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, socket).await?;
        Ok(Connection { stream, kept: Vec::new() })
    }
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    stream: TlsStream<TcpStream>,
    kept: Vec<u8>,
}

impl Connection {
    /// Sends octets as they are. What the other end has closed already takes no more, which is no surprise.
    pub async fn send(&mut self, octets: &[u8]) {
        let _ = self.stream.write_all(octets).await;
        let _ = self.stream.flush().await;
    }

    /// The next answer; `None` if the connection ends before one has arrived whole.
    ///
    /// # Panics
    /// If nothing happens for [`PATIENCE`].
    pub async fn answer(&mut self) -> Option<Answer> {
        tokio::time::timeout(PATIENCE, self.read()).await.expect("the server hangs")
    }

    async fn read(&mut self) -> Option<Answer> {
        let end = loop {
            if let Some(at) = self.kept.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            self.more().await?;
        };
        let head: Vec<u8> = self.kept.drain(..end).collect();
        let head = String::from_utf8(head).expect("headers are ASCII");
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length: usize = length.map_or(0, |(_, value)| value.parse().expect("a length"));
        while self.kept.len() < length {
            self.more().await?;
        }
        let body = self.kept.drain(..length).collect();
        Some(Answer { status, headers, body })
    }

    async fn more(&mut self) -> Option<()> {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer).await {
            Ok(0) | Err(_) => None,
            Ok(n) => {
                self.kept.extend(buffer.iter().take(n));
                Some(())
            }
        }
    }

    /// Whether the other end has closed, or does within a second.
    pub async fn is_closed(&mut self) -> bool {
        let closed = async { while self.more().await.is_some() {} };
        tokio::time::timeout(Duration::from_secs(1), closed).await.is_ok()
    }

    /// POSTs a SOAP message and waits for the answer.
    ///
    /// # Panics
    /// If there is no answer.
    pub async fn post(&mut self, path: &str, message: &str) -> Answer {
        self.post_with(path, "", message).await
    }

    /// The same with further header lines, each ended by CR LF.
    ///
    /// # Panics
    /// If there is no answer.
    pub async fn post_with(&mut self, path: &str, headers: &str, message: &str) -> Answer {
        self.send(post(path, headers, message.as_bytes()).as_slice()).await;
        self.answer().await.expect("an answer")
    }
}

/// The octets of a POST.
#[must_use]
pub fn post(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/soap+xml; charset=utf-8\r\n\
         Content-Length: {}\r\n{headers}\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

/// An answer as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Headers in their order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether the body is SOAP.
    #[must_use]
    pub fn is_soap(&self) -> bool {
        self.header("content-type").is_some_and(|t| t.starts_with("application/soap+xml"))
    }

    fn with_body<T>(&self, read: impl FnOnce(&muster_proto::soap::xml::Element<'_>) -> T) -> T {
        let envelope = Envelope::parse(&self.body, &Limits::RESPONSE).expect("an envelope");
        read(&envelope.body)
    }

    /// The fault that it must be.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn fault(&self) -> Fault {
        self.with_body(Fault::from_body).unwrap_or_else(|| unreachable!("no fault: {}", self.text()))
    }

    /// The detail of the fault that it must be.
    ///
    /// # Panics
    /// If it is no fault of an issuer.
    #[must_use]
    pub fn detail(&self) -> CertificateEnrollmentWSDetail {
        let FaultKind::Enrollment(detail) = self.fault().kind else { unreachable!("{}", self.text()) };
        detail
    }

    /// SOAP code and subcode as they stand in the message, `s:Receiver` or `s:Sender f:FailedAuthentication`.
    #[must_use]
    pub fn codes(&self) -> String {
        let text = self.text();
        let code = text.split("<s:Code>").nth(1).and_then(|rest| rest.split("</s:Code>").next());
        let values = code.unwrap_or_default().split("</s:Value>").filter_map(|v| v.rsplit('>').next());
        values.filter(|v| v.contains(':')).collect::<Vec<_>>().join(" ")
    }

    /// The enrollment answer that it must be.
    ///
    /// # Panics
    /// If it is something else.
    #[must_use]
    pub fn enrollment(&self) -> RequestSecurityTokenResponse {
        assert_eq!(self.status, 200, "{}", self.text());
        self.with_body(RequestSecurityTokenResponse::parse).expect("an answer to an enrollment")
    }

    /// Number and certificate of the enrollment that must have succeeded.
    ///
    /// # Panics
    /// If it has not.
    #[must_use]
    pub fn issued(&self) -> (String, Vec<u8>) {
        let answer = self.enrollment();
        let RequestSecurityTokenResponse::Issued(issued) = answer else {
            unreachable!("not issued: {answer:?}")
        };
        (issued.request_id.expect("a request id").to_string(), issued.certificate)
    }

    /// Number of the request that must be pending.
    ///
    /// # Panics
    /// If it is not.
    #[must_use]
    pub fn pending(&self) -> String {
        let answer = self.enrollment();
        let RequestSecurityTokenResponse::Pending(pending) = answer else {
            unreachable!("not pending: {answer:?}")
        };
        pending.request_id.expect("a request id").to_string()
    }

    /// The policies that it must hold.
    ///
    /// # Panics
    /// If it does not.
    #[must_use]
    pub fn policies(&self) -> GetPoliciesResponse {
        assert_eq!(self.status, 200, "{}", self.text());
        self.with_body(GetPoliciesResponse::parse).expect("an answer to GetPolicies")
    }

    /// The reference in its sentence, 16 hexadecimal digits.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn reference(&self) -> String {
        let text = self.text();
        let reference = text.split("(reference ").nth(1).and_then(|rest| rest.get(..16));
        let reference = reference.unwrap_or_else(|| unreachable!("no reference: {text}"));
        assert!(reference.bytes().all(|b| b.is_ascii_hexdigit()), "{reference}");
        reference.to_owned()
    }

    /// The whole answer, without what differs from one run to the next: for comparison with what it was before.
    #[must_use]
    pub fn golden(&self) -> String {
        let mut text = self.text().replace(&self.reference(), "0000000000000000");
        if let Some((before, rest)) = text.split_once("<BinaryResponse>") {
            let (_, after) = rest.split_once("</BinaryResponse>").expect("it ends");
            text = format!("{before}<BinaryResponse>[CMC]</BinaryResponse>{after}");
        }
        let headers = self.headers.iter().filter(|(name, _)| name != "content-length");
        let headers: String = headers.map(|(name, value)| format!("{name}: {value}\n")).collect();
        format!("{}\n{headers}\n{}", self.status, text.replace("><", ">\n<"))
    }
}
