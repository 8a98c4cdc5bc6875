//! A running node: sockets, endpoints, background work, and an orderly end.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method as HttpMethod, Response, StatusCode};
use http_body_util::Full;
use muster_core::{Clock, UnixTime};
use muster_proto::soap::ResponseHeader;
use muster_proto::soap::xml::Limits as XmlLimits;
use muster_store::{Options, Store, StoreError};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::accounts::Accounts;
use crate::auth::{Authenticator, KerberosError, Received};
use crate::backend::Backend as Connector;
use crate::catalog::{Catalog, Own};
use crate::config::{Backend, Endpoint, Listener, NoEmbeddedCa, Service, Settings, TlsSettings};
use crate::desk::{Desk, Desks};
use crate::doors::{Door, Doors};
use crate::embedded::Embedded;
use crate::fault::{self, AuthError, HttpError, ServiceError};
use crate::forest::Forest;
use crate::forward::{self, Forwarding};
use crate::http::{self as wire, Connection, Exchange, Gate, Handler};
use crate::identities::{self, Identities};
use crate::publish::PublishError;
use crate::readiness::Readiness;
use crate::record::Record;
use crate::refusals::Refusals;
use crate::rpc::{Offer, Rpc};
use crate::tls::{self, ServerCertificate};
use crate::wstep;
use crate::xcep::{PolicyService, ToldCa};

/// How often the background work looks whether there is something to do.
const TICK: Duration = Duration::from_secs(60);
/// Seconds after which an intent of this process that has no certificate is given up.
const STUCK_SECONDS: i64 = 300;
/// How long requests in progress may take after the signal to stop.
const GRACE: Duration = Duration::from_secs(30);

/// A node could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A socket is taken, or not ours.
    #[error("cannot listen on {address} for {what}: {source}")]
    Listen {
        /// Which socket.
        what: String,
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The CA certificate has ended or does not begin yet.
    #[error("the CA certificate of '{name}' is not valid now (it ends on {not_after}): renew the CA")]
    CaExpired {
        /// The CA.
        name: String,
        /// Its end.
        not_after: UnixTime,
    },
    /// The name in the CA certificate is not the configured one.
    #[error(
        "the CA certificate is for '{found}', the configuration names '{configured}': write [ca.\"{found}\"]"
    )]
    CaName {
        /// In the certificate.
        found: String,
        /// In the configuration.
        configured: String,
    },
    /// The passphrase file cannot be read, or is open to others.
    #[error("cannot use {} as passphrase file: {problem}", path.display())]
    Passphrase {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A CA that is not of this installation cannot be asked.
    #[error("ca.\"{name}\": {problem}")]
    Backend {
        /// The CA.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// There is no CA of this installation.
    #[error(transparent)]
    NoEmbeddedCa(#[from] NoEmbeddedCa),
    /// CA certificate or key cannot be used.
    #[error("the CA cannot be opened: {0}")]
    Ca(#[from] muster_ca::AuthorityError),
    /// The address of the revocation list cannot stand in certificates.
    #[error(transparent)]
    Publication(#[from] muster_ca::UnusableUrl),
    /// No revocation list.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The store cannot be used.
    #[error("the store cannot be opened: {0}")]
    Store(#[from] StoreError),
    /// The services' own certificate cannot be had.
    #[error("the services' own certificate: {0}")]
    OwnCertificate(String),
    /// The store was never set up.
    #[error("the store belongs to no installation: make one with 'muster quickstart'")]
    NoInstance,
    /// A trusted CA.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// Kerberos.
    #[error(transparent)]
    Kerberos(#[from] KerberosError),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
}

/// The store's file in a data directory.
#[must_use]
pub fn store_path(settings: &Settings) -> PathBuf {
    settings.data_dir.join("muster.sqlite")
}

pub use crate::embedded::{ca_not_after, open_authority};

/// A node that is running.
pub struct Node {
    /// Where each listener listens; of use where the port was 0.
    pub addresses: HashMap<String, SocketAddr>,
    /// Where revocation list and certificate of the embedded CA are served, if there is one.
    pub publication: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    failed: watch::Receiver<bool>,
    tasks: JoinSet<()>,
}

pub(crate) struct State {
    pub(crate) settings: Arc<Settings>,
    endpoints: HashMap<(String, String), Arc<Endpoint>>,
    authenticator: Authenticator,
    pub(crate) store: Store,
    embedded: Option<Embedded>,
    desks: Desks,
    policy: PolicyService,
    certificate: Arc<ServerCertificate>,
    xml_limits: XmlLimits,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) refusals: Refusals,
    pub(crate) readiness: Readiness,
}

impl Node {
    /// Opens everything, makes what is due (certificate, revocation list), and starts to listen.
    ///
    /// # Errors
    /// [`StartError`]; nothing keeps running then.
    pub async fn start(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        Self::start_with(settings, clock, Options::default()).await
    }

    /// The same with other options of the store, through which tests provoke faults.
    ///
    /// # Errors
    /// [`StartError`].
    #[doc(hidden)]
    pub async fn start_with(
        settings: Settings,
        clock: Arc<dyn Clock>,
        options: Options,
    ) -> Result<Self, StartError> {
        let settings = Arc::new(settings);
        if let Some(mode) = crate::private::open_to_all(&settings.data_dir) {
            let folder = settings.data_dir.display();
            tracing::warn!("others can get into the folder {folder} (mode {mode:o}): run chmod 700 on it");
        }
        let pending_per_account = settings.limits.waiting_requests_per_account;
        let options = Options { create: false, pending_per_account, ..options };
        let store = Store::open(&store_path(&settings), &options, clock.now())?;
        for abandoned in store.recover(clock.now(), STUCK_SECONDS).await? {
            tracing::warn!(
                request.id = abandoned.id.number(),
                "a request was cut off between intent and certificate; its serial number is revoked"
            );
        }
        forward::recover(&store, clock.now()).await?;
        let domains = identities::connect(&settings, &clock);
        let accounts = Arc::new(Accounts::new(store.clone()));
        let identities =
            Arc::new(Identities::new(Arc::clone(&accounts), domains.clone(), Arc::clone(&clock)));
        let (mut embedded, mut desks, mut told) = (None, Desks::default(), Vec::new());
        for ca in &settings.authorities {
            let forests = Forest::all(&settings, &domains, ca);
            let catalog = |own| Catalog::new(store.clone(), own, forests, Arc::clone(&clock));
            let certificate = match &ca.backend {
                Backend::Embedded(settings) => {
                    let catalog = catalog(Own::All);
                    let opened = Embedded::start(settings, &store, &identities, catalog, &clock).await?;
                    let certificate = opened.enrollment.authority.certificate().to_vec();
                    desks.add(&ca.name, Desk::Embedded(Arc::clone(&opened.enrollment)));
                    embedded = Some(opened);
                    certificate
                }
                Backend::Adcs(_) | Backend::Relay(_) => {
                    let Some(backend) = Connector::open(ca)? else { continue };
                    let forwarding = Forwarding {
                        ca: Arc::clone(&ca.name),
                        store: store.clone(),
                        identities: Arc::clone(&identities),
                        catalog: catalog(Own::Named(ca.backend.templates().to_vec())),
                        backend,
                        clock: Arc::clone(&clock),
                    };
                    let certificate = forwarding.backend.issuers().first().cloned().unwrap_or_default();
                    desks.add(&ca.name, Desk::Forwarding(Arc::new(forwarding)));
                    certificate
                }
            };
            told.push(ToldCa::new(&settings, &ca.name, certificate));
        }
        let (certificate_file, key_file) = match (&settings.tls, &embedded) {
            (TlsSettings::Files { certificate, key }, _) => (certificate.clone(), key.clone()),
            (TlsSettings::Embedded { names }, Some(embedded)) => {
                embedded.own_certificate(&settings.data_dir, names).await?
            }
            (TlsSettings::Embedded { .. }, None) => return Err(NoEmbeddedCa.into()),
        };
        let certificate = ServerCertificate::load(&certificate_file, &key_file)?;
        let policy_id = match &settings.policy_id {
            Some(id) => id.clone(),
            None => store.instance().await?.map(|i| i.policy_id).ok_or(StartError::NoInstance)?,
        };
        let authenticator = Authenticator::new(
            store.clone(),
            accounts,
            Arc::clone(&identities),
            &settings,
            Arc::clone(&clock),
        )?;
        let state = Arc::new(State {
            endpoints: settings
                .endpoints()
                .map(|e| ((e.listener.clone(), e.path.to_ascii_lowercase()), Arc::clone(e)))
                .collect(),
            authenticator,
            policy: PolicyService::new(Arc::clone(&settings), policy_id, told),
            store,
            embedded,
            desks,
            certificate: Arc::clone(&certificate),
            xml_limits: XmlLimits::request_with_bytes(settings.limits.body_bytes),
            clock,
            refusals: Refusals::default(),
            readiness: Readiness::default(),
            settings: Arc::clone(&settings),
        });
        Self::listen(state, certificate_file, key_file).await
    }

    async fn listen(state: Arc<State>, certificate: PathBuf, key: PathBuf) -> Result<Self, StartError> {
        let settings = Arc::clone(&state.settings);
        let (stop, stopping) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let mut addresses = HashMap::new();
        let certificate_shown = Arc::clone(&state.certificate);
        let gate = Gate::new(settings.limits.clone(), !settings.kerberos.is_empty(), certificate_shown);
        let closed = tls::closed_config()?;
        for (address, listeners) in sockets(&settings) {
            let names: Vec<String> = listeners.iter().map(|l| format!("listener.{}", l.name)).collect();
            let (socket, address) = bind(address, &names.join(" and ")).await?;
            let mut doors = Vec::new();
            for listener in listeners {
                addresses.insert(listener.name.clone(), address);
                doors.push(Door {
                    listener: listener.name.clone(),
                    server_names: listener.server_names.clone(),
                    tls: tls::listener_config(
                        Arc::<ServerCertificate>::clone(&state.certificate),
                        listener.client_certificate,
                    )?,
                });
            }
            let doors = Doors::new(doors, Arc::clone(&closed));
            let socket = state.readiness.socket(socket, address);
            let (gate, state, stopping) = (gate.clone(), Arc::clone(&state), stopping.clone());
            tasks.spawn(wire::serve_tls(socket, doors, gate, state, stopping));
        }
        for (offer, rpc, socket, name, address) in rpc(&state).await? {
            addresses.insert(name.to_owned(), address);
            tasks.spawn(rpc.serve(offer, state.readiness.socket(socket, address), stopping.clone()));
        }
        let mut publication = None;
        if let (Ok(ca), Some(embedded)) = (settings.embedded(), &state.embedded) {
            let (socket, address) = bind(ca.publication.address, "publication").await?;
            publication = Some(address);
            tasks.spawn(Arc::clone(&embedded.publisher).serve(socket, stopping.clone()));
        }
        tasks.spawn(reconcile(Arc::clone(&state), stopping.clone()));
        tasks.spawn(background(Arc::clone(&state), certificate, key, stopping));
        let (fail, failed) = watch::channel(false);
        let (watching, store, stop_all) = (Arc::clone(&state), state.store.clone(), stop.clone());
        tasks.spawn(async move { watching.readiness.watch(store, fail, stop_all).await });
        Ok(Self { addresses, publication, stop, failed, tasks })
    }

    /// Waits until the store has stopped for good, which only a new start mends. By then the node takes no connections
    /// any more, and answers what was on its way with 503. The process should end, so that whoever watches over it
    /// starts it again.
    pub async fn failed(&self) {
        wire::stopped(&mut self.failed.clone()).await;
    }

    /// Stops accepting, lets requests in progress finish for half a minute, closes the store.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, all).await.is_err() {
            tracing::warn!("some requests did not finish in time");
        }
    }
}

/// The addresses to listen at, each with the listeners that share it.
fn sockets(settings: &Settings) -> Vec<(SocketAddr, Vec<&Listener>)> {
    let mut sockets: Vec<(SocketAddr, Vec<&Listener>)> = Vec::new();
    for listener in settings.listeners.values() {
        // Each port 0 becomes another port.
        let shared =
            sockets.iter_mut().find(|(address, _)| *address == listener.address && address.port() != 0);
        match shared {
            Some((_, listeners)) => listeners.push(listener),
            None => sockets.push((listener.address, vec![listener])),
        }
    }
    sockets
}

async fn bind(address: SocketAddr, what: &str) -> Result<(TcpListener, SocketAddr), StartError> {
    let wrong = |source| StartError::Listen { what: what.to_owned(), address, source };
    let socket = TcpListener::bind(address).await.map_err(wrong)?;
    let bound = socket.local_addr().map_err(wrong)?;
    Ok((socket, bound))
}

/// The two sockets of RPC, if it is on.
async fn rpc(
    state: &Arc<State>,
) -> Result<Vec<(Offer, Arc<Rpc>, TcpListener, &'static str, SocketAddr)>, StartError> {
    let (Some(settings), Some(embedded)) = (&state.settings.rpc, &state.embedded) else {
        return Ok(Vec::new());
    };
    let (mapper, calls) = ("rpc.address", "rpc.request_address");
    let (mapper_socket, mapper_address) = bind(settings.address, mapper).await?;
    let (socket, address) = bind(settings.request_address, calls).await?;
    let ports = [mapper_address.port(), address.port()];
    let enrollment = Arc::clone(&embedded.enrollment);
    let rpc = Rpc::new(Arc::clone(state), enrollment, settings.clone(), ports)?;
    Ok(vec![
        (Offer::Mapper, Arc::clone(&rpc), mapper_socket, mapper, mapper_address),
        (Offer::Requests, rpc, socket, calls, address),
    ])
}

/// Looks for requests whose call to another CA broke, apart from all other work: that CA may be slow.
async fn reconcile(state: Arc<State>, mut stop: watch::Receiver<bool>) {
    let round = async {
        loop {
            state.desks.reconcile().await;
            tokio::time::sleep(TICK).await;
        }
    };
    tokio::select! {
        () = round => {}
        () = wire::stopped(&mut stop) => {}
    }
}

/// Keeps certificate and revocation list fresh; takes files that were exchanged.
async fn background(state: Arc<State>, certificate: PathBuf, key: PathBuf, mut stop: watch::Receiver<bool>) {
    let modified = |path: &Path| std::fs::metadata(path).and_then(|m| m.modified()).ok();
    let mut seen = (modified(&certificate), modified(&key));
    loop {
        tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            () = wire::stopped(&mut stop) => break,
        }
        state.refusals.flush(&state.store, state.clock.now()).await;
        match state.store.recover(state.clock.now(), STUCK_SECONDS).await {
            Ok(abandoned) => {
                for a in abandoned {
                    tracing::warn!(
                        request.id = a.id.number(),
                        "a request stuck between intent and certificate; its serial number is revoked"
                    );
                }
            }
            Err(error) => tracing::error!(%error, "unfinished requests cannot be looked for"),
        }
        if let Err(error) = forward::recover(&state.store, state.clock.now()).await {
            tracing::error!(%error, "requests without an answer cannot be looked for");
        }
        if let Some(embedded) = &state.embedded {
            embedded.refresh(&state.settings).await;
        }
        let now = (modified(&certificate), modified(&key));
        if now != seen {
            match state.certificate.reload(&certificate, &key) {
                Ok(()) => tracing::info!("the services' certificate was exchanged"),
                Err(error) => {
                    tracing::error!(%error, "the services' new certificate cannot be used; the old one stays")
                }
            }
            seen = now;
        }
    }
    state.refusals.flush(&state.store, state.clock.now()).await;
    state.desks.close().await;
}

impl Handler for State {
    async fn handle(
        &self,
        exchange: Result<Exchange, (Arc<Connection>, HttpError)>,
    ) -> Response<Full<Bytes>> {
        let exchange = match exchange {
            Ok(exchange) => exchange,
            Err((connection, error)) => {
                let (record, error) = (Record::begin(connection.peer, ""), error.into());
                self.refusals.record(&self.store, &record, &error, self.clock.now()).await;
                return finish(&record, Err(error), Relation::default());
            }
        };
        let mut record = Record::begin(exchange.connection.peer, &exchange.path);
        let mut relation = Relation::default();
        let answer = self.dispatch(&exchange, &mut record, &mut relation).await;
        if let Err(error) = &answer {
            self.readiness.note(error);
            self.refusals.record(&self.store, &record, error, self.clock.now()).await;
        }
        finish(&record, answer, relation)
    }
}

/// What ties an answer to its message.
#[derive(Default)]
struct Relation {
    header: ResponseHeader,
    /// For a caller with a ticket, whatever else the answer is.
    negotiate: Option<HeaderValue>,
}

fn finish(
    record: &Record,
    answer: Result<Response<Full<Bytes>>, ServiceError>,
    relation: Relation,
) -> Response<Full<Bytes>> {
    let Relation { header, negotiate } = relation;
    let mut response = match answer {
        Ok(response) => {
            record.end(response.status().as_u16(), "ok", None);
            response
        }
        Err(error) => {
            let (code, detail) = (error.code(), error.detail());
            let detail = detail.or_else(|| Some(error.to_string()));
            let from_error = fault::message_id(&error).map(|id| ResponseHeader::relating_to(Some(id)));
            let response = error.reply(from_error.as_ref().unwrap_or(&header), &record.reference);
            record.end(response.status().as_u16(), code, detail.as_deref());
            response
        }
    };
    if let Some(token) = negotiate {
        response.headers_mut().insert(http::header::WWW_AUTHENTICATE, token);
    }
    response
}

impl State {
    /// The path of one exchange, top to bottom: route, parse, authenticate, answer.
    async fn dispatch(
        &self,
        exchange: &Exchange,
        record: &mut Record,
        relation: &mut Relation,
    ) -> Result<Response<Full<Bytes>>, ServiceError> {
        let endpoint = self.route(exchange)?;
        if exchange.method != HttpMethod::POST {
            // Windows looks whether somebody is there; a challenge or an error would make it give up.
            record.operation = "probe";
            return Ok(wire::text(
                StatusCode::OK,
                "This is a certificate enrollment service; it takes SOAP 1.2.\n",
            ));
        }
        // Before anybody is looked up: what is found then is true as long as this does not change.
        let seen = self.store.generations().await?;
        record.seen = Some(seen);
        let ticket = self.authenticator.ticket(endpoint, exchange).await?;
        if let Some(ticket) = &ticket {
            relation.negotiate.clone_from(&ticket.reply);
            if exchange.body.is_empty() {
                // Some clients send the message itself only once they know that their ticket is good.
                record.operation = "probe";
                return Ok(wire::text(StatusCode::OK, "The ticket is good.\n"));
            }
        }
        let received = Received::parse(&exchange.body, &self.xml_limits)?;
        relation.header = ResponseHeader::relating_to(received.message_id());
        check_destination(received.to(), endpoint)?;
        let message = self.authenticator.authenticate(endpoint, exchange, ticket, received, seen).await?;
        record.authenticated(message.caller());
        let body = match endpoint.service {
            Service::Policy => {
                record.operation = "get_policies";
                if let Some(trouble) = message.caller().spent() {
                    return Err(AuthError::Token(trouble).into());
                }
                let now = self.clock.now();
                let catalogs = self.desks.catalogs();
                self.policy.answer(&message, endpoint, catalogs, seen, &relation.header, now).await?
            }
            Service::Enrollment => {
                let desk = self.desks.at(&endpoint.ca)?;
                wstep::answer(desk, endpoint, &message, &relation.header, record).await?
            }
        };
        Ok(wire::soap(StatusCode::OK, body))
    }

    /// One URL is one service with one authentication; what listener and path do not name does not exist.
    fn route(&self, exchange: &Exchange) -> Result<&Endpoint, HttpError> {
        let path = percent_decode(&exchange.path).ok_or(HttpError::NotFound)?;
        let key = (exchange.connection.listener.clone(), path.to_ascii_lowercase());
        self.endpoints.get(&key).map(|e| &**e).ok_or(HttpError::NotFound)
    }
}

/// `a:To` must name this endpoint's path. Its host may differ: a node can have several names.
fn check_destination(to: Option<&str>, endpoint: &Endpoint) -> Result<(), ServiceError> {
    let Some(to) = to else { return Ok(()) };
    let path = to.split_once("://").and_then(|(_, rest)| rest.find('/').and_then(|at| rest.get(at..)));
    let path = path.and_then(|p| p.split(['?', '#']).next()).and_then(percent_decode);
    if path.is_some_and(|path| path.eq_ignore_ascii_case(&endpoint.path)) {
        Ok(())
    } else {
        let shown = to.chars().filter(|c| !c.is_control()).take(200).collect();
        Err(ServiceError::Destination(shown))
    }
}

fn percent_decode(path: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'%' => {
                let digit = |b: Option<u8>| char::from(b?).to_digit(16).and_then(|d| u8::try_from(d).ok());
                digit(rest.next())?.wrapping_shl(4) | digit(rest.next())?
            }
            other => other,
        });
    }
    String::from_utf8(octets).ok().filter(|path| !path.chars().any(char::is_control))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_decoded_once() {
        assert_eq!(percent_decode("/Corp%20CA_CES"), Some("/Corp CA_CES".to_owned()));
        assert_eq!(percent_decode("/%2541"), Some("/%41".to_owned()));
        for bad in ["/%", "/%4", "/%zz", "/%00", "/%ff"] {
            assert_eq!(percent_decode(bad), None, "{bad}");
        }
    }
}
