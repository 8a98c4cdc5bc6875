//! TLS servers on the loopback address whose behaviour a test decides request by request.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use muster_client::Endpoint;
use muster_client::tls::{ClientIdentity, Trust};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A certification authority for the TLS of one test.
pub(crate) struct TestCa {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl TestCa {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }

    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// A leaf for these names.
    pub(crate) fn leaf(&self, names: &[&str]) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        (vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
    }

    pub(crate) fn identity(&self, name: &str) -> ClientIdentity {
        let (chain, key) = self.leaf(&[name]);
        ClientIdentity::new(chain, key)
    }

    /// Trust in this CA and in nobody else.
    pub(crate) fn trust(&self) -> Trust {
        Trust { certificates: vec![self.certificate()], only: true, ..Trust::default() }
    }

    pub(crate) fn server_config(&self) -> ServerConfig {
        let (chain, key) = self.leaf(&["localhost", "127.0.0.1"]);
        provider_config().with_no_client_auth().with_single_cert(chain, key).unwrap()
    }

    /// Asks for a client certificate that this CA issued.
    pub(crate) fn strict_server_config(&self) -> ServerConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let (chain, key) = self.leaf(&["localhost", "127.0.0.1"]);
        provider_config().with_client_cert_verifier(verifier).with_single_cert(chain, key).unwrap()
    }
}

fn provider_config() -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
}

/// What the server does with a request.
#[derive(Clone)]
pub(crate) enum Reply {
    /// Status, content type and body.
    Http(u16, &'static str, Vec<u8>),
    /// A SOAP answer.
    Soap(u16, String),
    /// Nothing, for ever.
    Stall,
    /// Closes the connection after the request was read.
    Cut,
    /// Half an answer, then closes.
    CutInAnswer,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) head: String,
    pub(crate) body: String,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) connections: Arc<AtomicUsize>,
    pub(crate) received: Arc<Mutex<Vec<Received>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Serves with `behave`, which gets the number of the request (from 0) and the request.
    pub(crate) async fn start(
        config: ServerConfig,
        behave: impl Fn(usize, &Received) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let received = Arc::new(Mutex::new(Vec::new()));
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let behave = Arc::new(behave);
        let (counter, log) = (Arc::clone(&connections), Arc::clone(&received));
        let task = tokio::spawn(async move {
            // Ends its tasks when it is dropped, which is when the server is.
            let mut serving = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, behave) = (acceptor.clone(), Arc::clone(&behave));
                let (counter, log) = (Arc::clone(&counter), Arc::clone(&log));
                serving.spawn(async move {
                    counter.fetch_add(1, Ordering::SeqCst);
                    let _ = serve(acceptor, stream, &*behave, &log).await;
                });
            }
        });
        Self { address, connections, received, task }
    }

    pub(crate) fn endpoint(&self, path: &str) -> Endpoint {
        format!("https://localhost:{}{path}", self.address.port()).parse().unwrap()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

async fn serve(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    behave: &(dyn Fn(usize, &Received) -> Reply + Send + Sync),
    log: &Mutex<Vec<Received>>,
) -> std::io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let mut buffer = Vec::new();
    loop {
        let Some(received) = read_request(&mut stream, &mut buffer).await? else { return Ok(()) };
        let number = {
            let mut log = log.lock().unwrap();
            log.push(received.clone());
            log.len() - 1
        };
        let (status, content_type, body) = match behave(number, &received) {
            Reply::Http(status, content_type, body) => (status, content_type, body),
            Reply::Soap(status, body) => (status, "application/soap+xml; charset=utf-8", body.into_bytes()),
            Reply::Stall => std::future::pending().await,
            Reply::Cut => return Ok(()),
            Reply::CutInAnswer => {
                let head =
                    "HTTP/1.1 200 OK\r\ncontent-type: application/soap+xml\r\ncontent-length: 99\r\n\r\n<s:";
                stream.write_all(head.as_bytes()).await?;
                return stream.flush().await;
            }
        };
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&body).await?;
        stream.flush().await?;
    }
}

async fn read_request(
    stream: &mut (impl AsyncReadExt + Unpin),
    buffer: &mut Vec<u8>,
) -> std::io::Result<Option<Received>> {
    loop {
        if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            let length: usize = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:").map(str::to_owned))
                .map_or(0, |value| value.trim().parse().unwrap());
            let total = end + 4 + length;
            if buffer.len() >= total {
                let body = String::from_utf8_lossy(&buffer[end + 4..total]).into_owned();
                buffer.drain(..total);
                return Ok(Some(Received { head, body }));
            }
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}
