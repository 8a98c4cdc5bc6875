//! Connections and HTTP: from a socket to an [`Exchange`], from a reply to octets. Nothing here knows SOAP.
//!
//! Every bound that protects the service from a connection that misbehaves is applied here: handshakes, headers,
//! bodies and answers have deadlines, messages have a size; how many connections there may be, [`crate::admission`] says.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls_pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::admission::{Admission, Admitted, serve_admitted};
use crate::auth::LONGEST_CHAIN;
use crate::carried::Carried;
use crate::config::file::Limits;
use crate::deadline::WriteDeadline;
use crate::doors::Doors;
use crate::fault::HttpError;
use crate::linger::Lingering;
use crate::readiness::ReadySocket;
use crate::tls::{ServerCertificate, Shown};

/// Most octets of the head of a request.
const HEADERS: usize = 16 * 1024;
/// The same where the head carries a Kerberos ticket: Windows makes tickets of up to 48,000 octets (MaxTokenSize), a
/// third more in base64.
const HEADERS_WITH_TICKET: usize = 80 * 1024;

/// What is known of the connection that a message came on.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Name of the listener.
    pub listener: String,
    /// The other end.
    pub peer: SocketAddr,
    /// The certificate of the handshake, DER; its possession is proved, its acceptance is not decided.
    pub certificate: Option<CertificateDer<'static>>,
    /// The certificates that came with it, at most [`crate::auth::LONGEST_CHAIN`].
    pub chain: Vec<CertificateDer<'static>>,
    /// Our own certificate in the handshake; none if it was exchanged during the handshake.
    pub shown: Option<Shown>,
    /// Something was answered before it was read to its end; see [`crate::linger`].
    unread: Arc<AtomicBool>,
    admitted: Admitted,
}

impl Connection {
    /// Notes that a message on this connection was authenticated: it no longer counts against its address.
    pub(crate) fn mark_authenticated(&self) {
        self.admitted.signed_in();
    }
}

/// One HTTP request, its body read.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// Its connection.
    pub connection: Arc<Connection>,
    /// GET, HEAD or POST; others were refused.
    pub method: Method,
    /// The path as sent.
    pub path: String,
    /// The header `Authorization`; a secret until it was verified.
    pub authorization: Option<HeaderValue>,
    /// The body; empty for GET and HEAD.
    pub body: Bytes,
}

/// What the service makes of an exchange.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Answers one exchange, or one that could not be read.
    fn handle(
        &self,
        exchange: Result<Exchange, (Arc<Connection>, HttpError)>,
    ) -> impl Future<Output = Response<Full<Bytes>>> + Send;
}

/// Shared by all listeners.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    limits: Limits,
    header_bytes: usize,
    certificate: Arc<ServerCertificate>,
    admission: Admission,
}

impl Gate {
    /// A gate with these bounds. Tickets of callers in many groups make long headers, so `tickets` need room.
    #[must_use]
    pub(crate) fn new(limits: Limits, tickets: bool, certificate: Arc<ServerCertificate>) -> Self {
        let header_bytes = if tickets { HEADERS_WITH_TICKET } else { HEADERS };
        let admission = Admission::new("https", &limits);
        Self { limits, header_bytes, certificate, admission }
    }
}

/// Waits for the signal to stop; a sender that is gone counts as one.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stopping| *stopping).await;
}

/// Accepts TLS connections until `stop` turns true, then lets requests in progress finish.
pub(crate) async fn serve_tls<H: Handler>(
    socket: ReadySocket,
    doors: Doors,
    gate: Gate,
    handler: Arc<H>,
    stop: watch::Receiver<bool>,
) {
    let (name, doors) = (doors.label(), Arc::new(doors));
    let admission = gate.admission.clone();
    serve_admitted(socket, &admission, stop.clone(), |stream, peer, admitted| {
        let (doors, gate, handler, mut stop, name) =
            (Arc::clone(&doors), gate.clone(), Arc::clone(&handler), stop.clone(), name.clone());
        async move {
            let _ = stream.set_nodelay(true);
            let deadline = Duration::from_secs(gate.limits.handshake_seconds);
            let shown = gate.certificate.shown();
            let handshake = tokio::select! {
                handshake = tokio::time::timeout(deadline, doors.accept(stream)) => handshake,
                () = stopped(&mut stop) => return,
            };
            let (tls, listener) = match handshake {
                Ok(Ok(chosen)) => chosen,
                Ok(Err(error)) => {
                    tracing::debug!(listener = name, %peer, %error, "the TLS handshake failed");
                    return;
                }
                Err(_) => return,
            };
            let mut chain = tls.get_ref().1.peer_certificates().unwrap_or_default().iter().cloned();
            let certificate = chain.next().map(CertificateDer::into_owned);
            let chain: Vec<_> = chain.take(LONGEST_CHAIN).map(CertificateDer::into_owned).collect();
            let shown = Some(shown).filter(|before| *before == gate.certificate.shown());
            let unread = Arc::new(AtomicBool::new(false));
            let connection = Arc::new(Connection {
                listener: listener.to_owned(),
                peer,
                certificate,
                chain,
                shown,
                unread: Arc::clone(&unread),
                admitted,
            });
            let longest = Duration::from_secs(gate.limits.write_seconds);
            let io = TokioIo::new(Lingering::new(WriteDeadline::new(tls, longest), unread));
            serve_connection(io, connection, &gate, handler, stop).await;
        }
    })
    .await;
}

async fn serve_connection<H: Handler>(
    io: TokioIo<Lingering<WriteDeadline<tokio_rustls::server::TlsStream<TcpStream>>>>,
    connection: Arc<Connection>,
    gate: &Gate,
    handler: Arc<H>,
    mut stop: watch::Receiver<bool>,
) {
    let limits = &gate.limits;
    let service = service_fn(|request: Request<Incoming>| {
        let (connection, handler) = (Arc::clone(&connection), Arc::clone(&handler));
        async move {
            let exchange = read(request, &connection, limits).await;
            if exchange.is_err() {
                connection.unread.store(true, Ordering::Relaxed);
            }
            let exchange = exchange.map_err(|error| (connection, error));
            let answer = Carried::new(async move { handler.handle(exchange).await }).await;
            Ok::<_, Infallible>(answer.unwrap_or_else(|_| {
                // What it panicked with, the panic has said.
                tracing::error!("a request ended early");
                text(StatusCode::INTERNAL_SERVER_ERROR, "The server failed to handle this request.\n")
            }))
        }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(limits.header_seconds))
        .max_buf_size(gate.header_bytes)
        .max_headers(64)
        .auto_date_header(false)
        .half_close(false);
    let mut serving = std::pin::pin!(builder.serve_connection(io, service));
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stopped(&mut stop) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(peer = %connection.peer, %error, "the connection broke");
    }
}

async fn read(
    request: Request<Incoming>,
    connection: &Arc<Connection>,
    limits: &Limits,
) -> Result<Exchange, HttpError> {
    let (head, body) = request.into_parts();
    let headers = &head.headers;
    // One message, one length: hyper refuses two that differ, and where there is a transfer coding as well it heeds the
    // coding alone and closes the connection after the answer (RFC 9112 6.3).
    let path = head.uri.path().to_owned();
    let mut authorizations = headers.get_all(header::AUTHORIZATION).iter().cloned();
    let authorization = authorizations.next().map(|mut value| {
        value.set_sensitive(true);
        value
    });
    if authorizations.next().is_some() {
        return Err(HttpError::AuthorizationTwice);
    }
    let connection = Arc::clone(connection);
    let exchange = |body| Exchange { connection, method: head.method.clone(), path, authorization, body };
    match head.method {
        Method::GET | Method::HEAD => return Ok(exchange(Bytes::new())),
        Method::POST => {}
        _ => return Err(HttpError::MethodNotAllowed),
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if !is_soap(content_type) {
        return Err(HttpError::ContentType);
    }
    let encoding = headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes);
    if encoding.is_some_and(|e| !e.eq_ignore_ascii_case(b"identity")) {
        return Err(HttpError::ContentType);
    }
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|n| {
        usize::try_from(n).is_ok_and(|n| n > limits.body_bytes) || usize::try_from(n).is_err()
    }) {
        return Err(HttpError::TooLarge(limits.body_bytes));
    }
    let reading = Limited::new(body, limits.body_bytes).collect();
    match tokio::time::timeout(Duration::from_secs(limits.body_seconds), reading).await {
        Err(_) => Err(HttpError::TooSlow),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            Err(HttpError::TooLarge(limits.body_bytes))
        }
        Ok(Err(_)) => Err(HttpError::BrokenBody),
        Ok(Ok(body)) => Ok(exchange(body.to_bytes())),
    }
}

/// `application/soap+xml` in UTF-8; an `action` parameter is allowed and ignored.
fn is_soap(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let soap = parts.next().is_some_and(|t| t.eq_ignore_ascii_case("application/soap+xml"));
    let charset_ok = parts.all(|p| match p.split_once('=') {
        Some((key, value)) if key.trim().eq_ignore_ascii_case("charset") => {
            value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    });
    soap && charset_ok
}

/// An answer in the media type of SOAP 1.2.
#[must_use]
pub(crate) fn soap(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    respond(status, "application/soap+xml; charset=utf-8", body)
}

/// An answer in plain text.
#[must_use]
pub(crate) fn text(status: StatusCode, body: impl Into<String>) -> Response<Full<Bytes>> {
    respond(status, "text/plain; charset=utf-8", body.into())
}

/// An answer of octets.
#[must_use]
pub(crate) fn respond(
    status: StatusCode,
    media_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_type_tolerates_action_and_refuses_other_charsets() {
        assert!(is_soap("application/soap+xml; charset=utf-8"));
        assert!(is_soap("Application/SOAP+xml;charset=\"UTF-8\";action=\"urn:x\""));
        assert!(!is_soap("text/xml; charset=utf-8"));
        assert!(!is_soap("application/soap+xml; charset=utf-16"));
        assert!(!is_soap("multipart/related; type=\"application/xop+xml\""));
    }
}
