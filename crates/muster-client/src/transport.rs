//! Carries one SOAP message over HTTPS and says what became of it.
//!
//! The answer that matters most is not the body but whether the server may have acted: a certificate may have been
//! issued although no answer came. [`Sent`] therefore keeps apart what certainly was not acted upon and what is
//! unknown, and errs towards unknown.
//!
//! | What happened | Outcome |
//! |---|---|
//! | name not resolved, no connection, TLS refused (also by an alert of the server on a client certificate), no Kerberos ticket | [`Sent::NotSent`] |
//! | whole HTTP answer without SOAP, status 3xx, 4xx, 500, 501, 503, 505 | [`Sent::TurnedAway`] |
//! | time-out or cut after the request was handed to the connection; 502, 504 (a gateway asked somebody) or any other answer without SOAP; a compressed answer, or one over the size limit; one to a Kerberos ticket without proof that the service could read it | [`Sent::Unknown`] |
//! | an XML body | [`Sent::Answered`] |
//!
//! A 500 without SOAP counts as turned away because these services answer every error that they meet while acting
//! with a SOAP fault; what comes without one was refused by the web server in front of them.
//! Redirects are not followed: the next server would not be the one that was configured.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub use failure::{NotSent, Unknown};

use crate::Endpoint;
use crate::kerberos::Kerberos;

mod failure;

/// How long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For name resolution, TCP and TLS together.
    pub connect: Duration,
    /// From the first octet of the request to the last of the answer.
    pub request: Duration,
}

impl Default for Timeouts {
    /// 15 s and 30 s, the defaults of Windows' web services library.
    fn default() -> Self {
        Self { connect: Duration::from_secs(15), request: Duration::from_secs(30) }
    }
}

/// What became of a message.
#[derive(Debug)]
#[must_use]
pub enum Sent {
    /// Nothing reached the service.
    NotSent(NotSent),
    /// The service's web server answered without SOAP and without acting.
    TurnedAway(TurnedAway),
    /// The service may have acted, its answer is not known.
    Unknown(Unknown),
    /// An XML body: a SOAP answer or fault.
    Answered {
        /// HTTP status.
        status: StatusCode,
        /// The body.
        body: Bytes,
    },
}

/// An answer that says that nothing was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnedAway {
    /// HTTP status.
    pub status: StatusCode,
    /// The first line of a plain text that came with it, printable and short; empty if there is none.
    pub text: String,
}

impl fmt::Display for TurnedAway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "turned away with HTTP status {}", self.status.as_u16())?;
        if self.text.is_empty() { Ok(()) } else { write!(f, ": {}", self.text) }
    }
}

/// Sends messages; keeps one idle connection per server.
pub struct Transport {
    tls: TlsConnector,
    timeouts: Timeouts,
    idle: Mutex<HashMap<(String, u16), Idle>>,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// What the server showed in the handshake.
    certificate: Option<CertificateDer<'static>>,
}

/// Idle connections older than this are not used again: servers close them, and a request on a connection that is
/// just being closed has an unknown outcome.
const MAX_IDLE: Duration = Duration::from_secs(5);

const SOAP_CONTENT_TYPE: &str = "application/soap+xml; charset=utf-8";

impl Transport {
    /// With [`crate::tls::client_config`].
    #[must_use]
    pub fn new(config: ClientConfig, timeouts: Timeouts) -> Self {
        Self { tls: TlsConnector::from(Arc::new(config)), timeouts, idle: Mutex::default() }
    }

    /// Posts a SOAP message and reads at most `max_answer` octets of the answer's body, so that a server cannot
    /// fill the client's memory.
    pub async fn post(&self, endpoint: &Endpoint, message: Bytes, max_answer: usize) -> Sent {
        self.post_as(None, endpoint, message, max_answer).await
    }

    /// The same with a Kerberos ticket, bound to the connection that it is sent on.
    pub async fn post_as(
        &self,
        kerberos: Option<&Kerberos>,
        endpoint: &Endpoint,
        message: Bytes,
        max_answer: usize,
    ) -> Sent {
        if let Some(connection) = self.take_idle(endpoint) {
            match self.send(endpoint, connection, kerberos, &message, max_answer).await {
                Ok(Attempt::Done(sent)) => return sent,
                // The connection was closed before the request went out.
                Ok(Attempt::Returned(_)) => {}
                Err(error) => return Sent::NotSent(error),
            }
        }
        let connection = match self.connect(endpoint).await {
            Ok(connection) => connection,
            Err(error) => return Sent::NotSent(error),
        };
        match self.send(endpoint, connection, kerberos, &message, max_answer).await {
            Ok(Attempt::Done(sent)) => sent,
            Ok(Attempt::Returned(error)) => Sent::NotSent(NotSent::from_hyper(&error)),
            Err(error) => Sent::NotSent(error),
        }
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<Connection, NotSent> {
        let deadline = Instant::now() + self.timeouts.connect;
        let stream = timeout_at(deadline, connect_tcp(endpoint, deadline))
            .await
            .map_err(|_| NotSent::ConnectTimeout(self.timeouts.connect))??;
        let stream = timeout_at(deadline, self.handshake(endpoint, stream))
            .await
            .map_err(|_| NotSent::TlsTimeout(self.timeouts.connect))??;
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let certificate = shown.map(|certificate| certificate.clone().into_owned());
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| NotSent::from_hyper(&error))?;
        // Ends when the sender is dropped or the server closes; errors reach the sender.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Connection { sender, certificate })
    }

    async fn handshake(
        &self,
        endpoint: &Endpoint,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, NotSent> {
        let name = endpoint.server_name().ok_or_else(|| NotSent::Name(endpoint.host().to_owned()))?;
        self.tls.connect(name, stream).await.map_err(|error| NotSent::from_tls(&error))
    }

    async fn send(
        &self,
        endpoint: &Endpoint,
        mut connection: Connection,
        kerberos: Option<&Kerberos>,
        message: &Bytes,
        max_answer: usize,
    ) -> Result<Attempt, NotSent> {
        let proof = match kerberos {
            Some(kerberos) => {
                let certificate = connection.certificate.as_ref();
                Some(kerberos.prove(endpoint.host(), certificate, self.timeouts.connect).await?)
            }
            None => None,
        };
        let (token, proof) = proof.unzip();
        let request = request(endpoint, message.clone(), token).map_err(NotSent::Request)?;
        let exchange = async {
            let response = match connection.sender.try_send_request(request).await {
                Ok(response) => response,
                Err(mut error) => {
                    let returned = error.take_message().is_some();
                    let error = error.into_error();
                    return if returned {
                        Attempt::Returned(error)
                    } else {
                        Attempt::Done(failure::after_sending(&error))
                    };
                }
            };
            if let Some(Err(error)) = proof.map(|proof| proof.check(&response)) {
                return Attempt::Done(Sent::Unknown(Unknown::NotProven(error)));
            }
            Attempt::Done(read(response, max_answer).await)
        };
        Ok(match timeout(self.timeouts.request, exchange).await {
            Err(_) => Attempt::Done(Sent::Unknown(Unknown::Timeout(self.timeouts.request))),
            Ok(done @ Attempt::Done(Sent::Answered { .. })) => {
                self.keep(endpoint, connection);
                done
            }
            Ok(attempt) => attempt,
        })
    }

    fn take_idle(&self, endpoint: &Endpoint) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let found = idle.remove(&origin(endpoint))?;
        (found.since.elapsed() < MAX_IDLE && found.connection.sender.is_ready()).then_some(found.connection)
    }

    fn keep(&self, endpoint: &Endpoint, connection: Connection) {
        if !connection.sender.is_closed() {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.insert(origin(endpoint), Idle { connection, since: Instant::now() });
        }
    }
}

async fn read(response: Response<Incoming>, max_answer: usize) -> Sent {
    let status = response.status();
    let is_xml =
        response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(is_xml);
    if !is_xml {
        return match without_soap(status) {
            Sent::TurnedAway(away) => Sent::TurnedAway(TurnedAway { text: text(response).await, ..away }),
            other @ (Sent::NotSent(_) | Sent::Unknown(_) | Sent::Answered { .. }) => other,
        };
    }
    if is_coded(&response) {
        return Sent::Unknown(Unknown::Coded);
    }
    let mut incoming = response.into_body();
    let mut body = BytesMut::new();
    while let Some(frame) = incoming.frame().await {
        let data = match frame {
            Ok(frame) => frame.into_data().unwrap_or_default(),
            Err(error) => return failure::after_sending(&error),
        };
        if body.len().saturating_add(data.len()) > max_answer {
            return Sent::Unknown(Unknown::TooLarge { limit: max_answer });
        }
        body.extend_from_slice(&data);
    }
    if body.is_empty() { without_soap(status) } else { Sent::Answered { status, body: body.freeze() } }
}

/// What a web server says beside its status, as far as it is fit to be shown.
async fn text(response: Response<Incoming>) -> String {
    /// Octets that are read.
    const READ: usize = 4096;
    /// Characters that are shown.
    const SHOWN: usize = 400;

    let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !kind.trim_start().to_ascii_lowercase().starts_with("text/plain") {
        return String::new();
    }
    let mut incoming = response.into_body();
    let mut body = BytesMut::new();
    while let Some(Ok(frame)) = incoming.frame().await {
        body.extend_from_slice(&frame.into_data().unwrap_or_default());
        if body.len() > READ {
            break;
        }
    }
    let text = String::from_utf8_lossy(&body);
    let line = text.lines().next().unwrap_or_default().trim();
    line.chars().filter(|c| !c.is_control()).take(SHOWN).collect()
}

/// What became of a request on one connection.
enum Attempt {
    Done(Sent),
    /// Not one octet was written.
    Returned(hyper::Error),
}

fn origin(endpoint: &Endpoint) -> (String, u16) {
    (endpoint.host().to_ascii_lowercase(), endpoint.port())
}

fn request(
    endpoint: &Endpoint,
    message: Bytes,
    token: Option<HeaderValue>,
) -> Result<Request<Full<Bytes>>, http::Error> {
    let mut builder = Request::builder();
    if let Some(token) = token {
        builder = builder.header(AUTHORIZATION, token);
    }
    builder
        .method(Method::POST)
        .uri(endpoint.path())
        .header(HOST, endpoint.host_header())
        .header(USER_AGENT, concat!("muster/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "application/soap+xml")
        .header(CONTENT_TYPE, SOAP_CONTENT_TYPE)
        .body(Full::new(message))
}

fn is_xml(content_type: &str) -> bool {
    let media = content_type.split(';').next().unwrap_or_default().trim();
    ["application/soap+xml", "text/xml", "application/xml"].iter().any(|xml| media.eq_ignore_ascii_case(xml))
}

/// Whether the body is compressed, which was not asked for: a few octets could become any number.
fn is_coded<T>(response: &Response<T>) -> bool {
    response.headers().get_all(CONTENT_ENCODING).iter().any(|coding| coding != "identity")
}

/// Tells a refusal from an answer that leaves open what happened behind the web server.
fn without_soap(status: StatusCode) -> Sent {
    match status {
        StatusCode::INTERNAL_SERVER_ERROR
        | StatusCode::NOT_IMPLEMENTED
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::HTTP_VERSION_NOT_SUPPORTED => turned_away(status),
        _ if status.is_redirection() || status.is_client_error() => turned_away(status),
        _ => Sent::Unknown(Unknown::NoSoap(status)),
    }
}

const fn turned_away(status: StatusCode) -> Sent {
    Sent::TurnedAway(TurnedAway { status, text: String::new() })
}

/// Tries the addresses of the host one after the other; each gets its share of the time that is left, so that one
/// that swallows packets does not use up the time of the others.
async fn connect_tcp(endpoint: &Endpoint, deadline: Instant) -> Result<TcpStream, NotSent> {
    let addresses = tokio::net::lookup_host((endpoint.host(), endpoint.port()))
        .await
        .map_err(|error| NotSent::Resolve { host: endpoint.host().to_owned(), error })?;
    let addresses: Vec<_> = addresses.collect();
    let mut last = NotSent::NoAddress(endpoint.host().to_owned());
    for (tried, address) in addresses.iter().enumerate() {
        let remaining = u32::try_from(addresses.len().saturating_sub(tried)).unwrap_or(u32::MAX).max(1);
        let share = deadline.saturating_duration_since(Instant::now()) / remaining;
        last = match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // A lost Nagle race costs 40 ms; if it cannot be switched off, so be it.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => NotSent::Connect { address: *address, error },
            Err(_) => NotSent::ConnectTimeout(share),
        };
    }
    Err(last)
}
