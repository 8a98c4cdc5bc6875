//! An installation in a folder of its own, served in this process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use muster_ca::SigningAlgorithm;
use muster_core::audit::Actor;
use muster_core::identity::{Principal, PrincipalKind};
use muster_core::{Clock, Method, Template, UnixTime};
use muster_server::config::{Endpoint, Service};
use muster_server::service::StartError;
use muster_server::setup::{self, Plan};
use muster_server::{Node, Settings, SystemClock};
use muster_store::{Options, PasswordHash, Store, StoreError};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tempfile::TempDir;

use crate::https::{Answer, Connection, Https, Identity};
use crate::requests::{Key, Messages, SignIn};
use crate::{log, ports};

/// The password of every account.
pub const PASSWORD: &str = "correct horse battery";

/// A clock that stands still until a test moves it.
#[derive(Clone, Debug)]
pub struct MovableClock(Arc<AtomicI64>);

impl MovableClock {
    /// Begins at the present, so that TLS certificates are valid for whoever looks at the system's clock.
    #[must_use]
    pub fn at_present() -> Self {
        Self(Arc::new(AtomicI64::new(SystemClock.now().0)))
    }

    /// Moves it.
    pub fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for MovableClock {
    fn now(&self) -> UnixTime {
        UnixTime(self.0.load(Ordering::SeqCst))
    }
}

/// What befalls the store's writer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Every write fails like this.
    Error(StoreError),
    /// The next write ends the writer; then the store is down until the server is started again.
    Panic,
}

/// Sets faults of a running server's store.
#[derive(Clone, Debug, Default)]
pub struct StoreFault(Arc<Mutex<Option<Fault>>>);

impl StoreFault {
    /// From now on.
    pub fn set(&self, fault: Option<Fault>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    fn strike(&self) -> Result<(), StoreError> {
        let fault = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match fault {
            None => Ok(()),
            Some(Fault::Error(error)) => Err(error),
            Some(Fault::Panic) => unreachable!("a test wants the writer to end here"),
        }
    }
}

/// An installation and its server.
pub struct TestServer {
    /// The folder of the installation.
    pub directory: TempDir,
    /// Its settings.
    pub settings: Settings,
    /// Its clock.
    pub clock: MovableClock,
    /// Faults of its store.
    pub fault: StoreFault,
    /// Its store, opened a second time.
    pub store: Store,
    /// A client that trusts its CA.
    pub https: Https,
    node: Option<Node>,
}

impl TestServer {
    /// Accounts `alice` and `bob` (users), `host` (a computer), `dave` (disabled) and `nobody` (in no group), templates
    /// as after the installation and `Approved`, which an officer has to approve; endpoints as after the installation
    /// and one for renewals only at `/renewal` of either listener.
    pub async fn start() -> Self {
        Self::start_with(|config| config).await
    }

    /// The same with a changed configuration.
    pub async fn start_with(change: impl FnOnce(String) -> String) -> Self {
        log::keep();
        let clock = MovableClock::at_present();
        let directory = tempfile::tempdir().unwrap();
        let config = install(directory.path().join("data"), &clock).await;
        let text = change(std::fs::read_to_string(&config).unwrap() + RENEWAL_ONLY);
        std::fs::write(&config, text).unwrap();
        let settings = Settings::load(&config).unwrap();
        let ca = settings.embedded().unwrap().directory.join(muster_ca::CERTIFICATE_FILE);
        let ca = CertificateDer::from_pem_file(ca).unwrap();
        let path = muster_server::service::store_path(&settings);
        let store =
            Store::open(&path, &Options { create: false, ..Options::default() }, clock.now()).unwrap();
        populate(&store, &clock).await;
        let https = Https::new(&ca);
        let fault = StoreFault::default();
        let mut server = Self { directory, settings, clock, fault, store, https, node: None };
        server.start_again().await.unwrap();
        server
    }

    /// Starts the server after [`Self::stop`].
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start_again(&mut self) -> Result<(), StartError> {
        let fault = self.fault.clone();
        let options = Options {
            faults: Some(Arc::new(move |_| fault.strike())),
            busy_timeout: std::time::Duration::from_millis(200),
            ..Options::default()
        };
        let clock = Arc::new(self.clock.clone());
        self.node = Some(Node::start_with(self.settings.clone(), clock, options).await?);
        Ok(())
    }

    /// Stops the server in an orderly way.
    pub async fn stop(&mut self) {
        if let Some(node) = self.node.take() {
            node.stop().await;
        }
    }

    /// Waits until the server knows that its store is down for good.
    ///
    /// # Panics
    /// If the server does not run.
    pub async fn failed(&self) {
        self.node.as_ref().expect("the server runs").failed().await;
    }

    /// Where a listener listens.
    ///
    /// # Panics
    /// If there is no such listener or the server does not run.
    #[must_use]
    pub fn address(&self, listener: &str) -> SocketAddr {
        *self.node.as_ref().and_then(|node| node.addresses.get(listener)).expect("a listener")
    }

    /// Where the revocation list is served.
    ///
    /// # Panics
    /// If the server does not run.
    #[must_use]
    pub fn publication(&self) -> SocketAddr {
        self.node.as_ref().expect("the server runs").publication.unwrap()
    }

    /// The endpoint of a service with an authentication.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn endpoint(&self, service: Service, method: Method) -> &Endpoint {
        let fits = |e: &&Arc<Endpoint>| e.service == service && e.method == method && !e.renewal_only;
        self.settings.endpoints().find(fits).expect("an endpoint")
    }

    /// The renewal-only endpoint.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn renewal_only(&self, method: Method) -> &Endpoint {
        self.settings.endpoints().find(|e| e.renewal_only && e.method == method).expect("an endpoint")
    }

    /// A connection to the listener of an endpoint.
    pub async fn connect(&self, endpoint: &Endpoint, identity: Option<&Identity>) -> Connection {
        self.https.connect(self.address(&endpoint.listener), identity).await
    }

    /// Messages for an endpoint, now.
    #[must_use]
    pub fn messages(&self, endpoint: &Endpoint, sign_in: SignIn<'_>) -> Messages {
        Messages::new(&endpoint.uri, sign_in, self.clock.now())
    }

    /// One message on a connection of its own.
    pub async fn post(&self, endpoint: &Endpoint, identity: Option<&Identity>, message: &str) -> Answer {
        self.connect(endpoint, identity).await.post(&path(endpoint), message).await
    }

    /// Enrolls with a password.
    ///
    /// # Panics
    /// If that fails.
    pub async fn enroll(&self, account: &str, template: &str) -> Identity {
        let key = Arc::new(Key::generate());
        let endpoint = self.endpoint(Service::Enrollment, Method::UsernamePassword);
        let messages = self.messages(endpoint, SignIn::Password(account, PASSWORD));
        let answer = self.post(endpoint, None, &messages.issue(&key.request(template))).await;
        let (_, certificate) = answer.issued();
        Identity { certificate, key }
    }
}

/// The path of an endpoint as it stands in a request.
#[must_use]
pub fn path(endpoint: &Endpoint) -> String {
    let rest = endpoint.uri.split_once("://").map_or("", |(_, rest)| rest);
    rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/").to_owned()
}

const RENEWAL_ONLY: &str = r#"
[[enrollment_endpoint]]
authentication = "username_password"
listener = "password"
path = "/renewal"
renewal_only = true

[[enrollment_endpoint]]
authentication = "client_certificate"
listener = "certificate"
path = "/renewal"
renewal_only = true
"#;

/// Makes an installation and returns the path of its configuration.
///
/// # Panics
/// If that fails.
pub async fn install(directory: PathBuf, clock: &dyn Clock) -> PathBuf {
    let plan = Plan {
        directory,
        listen: SocketAddr::from(([127, 0, 0, 1], ports::three())),
        host: "localhost".to_owned(),
        ca_name: "Test CA".to_owned(),
        algorithm: SigningAlgorithm::P256,
        ca_years: 10,
    };
    setup::create(&plan, clock).await.unwrap()
}

/// Adds accounts and templates.
///
/// # Panics
/// If that fails.
pub async fn populate(store: &Store, clock: &dyn Clock) {
    let actor = || Actor::Officer("tests".to_owned());
    // Hashing takes longer than everything else here together.
    let hash = PasswordHash(muster_server::hash_password(PASSWORD).unwrap());
    for (name, kind, group) in [
        ("alice", PrincipalKind::User, Some("users")),
        ("bob", PrincipalKind::User, Some("users")),
        ("dave", PrincipalKind::User, Some("users")),
        ("nobody", PrincipalKind::User, None),
        ("host", PrincipalKind::Computer, Some("computers")),
    ] {
        let principal = Principal {
            name: name.parse().unwrap(),
            kind,
            groups: group.map(|g| g.parse().unwrap()).into_iter().collect(),
            common_name: None,
            email: (kind == PrincipalKind::User).then(|| format!("{name}@example.test")),
            upn: None,
            dns_names: if kind == PrincipalKind::Computer {
                vec!["host.example.test".to_owned()]
            } else {
                vec![]
            },
            sid: None,
            sids: [].into(),
            directory: None,
            token: None,
        };
        store.put_account(principal, actor(), clock.now()).await.unwrap();
        store.set_password_hash(name.parse().unwrap(), hash.clone(), actor(), clock.now()).await.unwrap();
    }
    store.set_enabled("dave".parse().unwrap(), false, actor(), clock.now()).await.unwrap();
    let arcs = setup::random_arcs().unwrap();
    let approved = Template::from_toml(APPROVED).unwrap();
    store.put_template(approved, arcs, actor(), clock.now()).await.unwrap();
}

const APPROVED: &str = r#"
name = "Approved"
display_name = "Approved by an officer"
kind = "user"
eku = ["1.3.6.1.5.5.7.3.2"]

[subject]
source = "identity"

[key]
algorithms = ["p256"]
usage = ["digital_signature"]

[validity]
days = 30
renew_before_days = 5

[issuance]
approval = true

[permissions]
enroll = ["group:users"]
"#;
