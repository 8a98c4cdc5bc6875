//! An installation made for the run, by the code that makes real ones.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use muster_ca::SigningAlgorithm;
use muster_core::audit::Actor;
use muster_core::{Clock, Method, Principal, Template, defaults};
use muster_server::clock::SystemClock;
use muster_server::config::{Endpoint, Settings};
use muster_server::setup::{self, Plan};
use muster_store::{Options, Store};

use crate::message::{Login, Service};

/// The template that the requests name.
pub(crate) const TEMPLATE: &str = "User";
const ACCOUNT: &str = "bench";
/// The head of the last table of the configuration.
const RPC: &str = "\n[rpc]\n";
/// The common name of the CA.
pub(crate) const CA_NAME: &str = "Bench";

/// Where an installation is and how to reach it.
pub(crate) struct Installation {
    /// Configuration file.
    pub(crate) config: PathBuf,
    /// Its folder.
    pub(crate) directory: PathBuf,
    /// Where the services listen.
    pub(crate) address: SocketAddr,
    /// GetPolicies.
    pub(crate) policy: Service,
    /// Enrollment.
    pub(crate) enrollment: Service,
}

impl Installation {
    /// Makes one with an account and room for many connections of one address; everything else is as it always is.
    pub(crate) async fn create(directory: &Path, algorithm: SigningAlgorithm) -> Result<Self> {
        let address = free_ports()?;
        let plan = Plan {
            directory: directory.to_owned(),
            listen: address,
            host: "localhost".to_owned(),
            ca_name: CA_NAME.to_owned(),
            algorithm,
            ca_years: 10,
        };
        let config = setup::create(&plan, &SystemClock).await?;
        let mut text = fs::read_to_string(&config)?;
        text.push_str("\n[limits]\nunauthenticated_connections_per_address = 1024\nrpc_connections_per_account = 1024\n");
        fs::write(&config, text)?;
        let store = open(directory)?;
        let password_file = directory.join("bench.password");
        setup::first_account(&store, &ACCOUNT.parse()?, &password_file, &SystemClock).await?;
        let settings = Settings::load(&config)?;
        let password = fs::read_to_string(password_file)?.trim_end().to_owned();
        let (policy, enrollment) = services(
            &settings,
            Method::UsernamePassword,
            Login::Password { user: ACCOUNT.to_owned(), password },
        )?;
        Ok(Self { policy, enrollment, config, directory: directory.to_owned(), address })
    }

    /// Accepts tickets of a realm for this service, and more lines for the configuration.
    pub(crate) fn accept_tickets(&self, realm: &str, keytab: &Path, service: &str, more: &str) -> Result<()> {
        let mut text = fs::read_to_string(&self.config)?;
        let kerberos = format!("\n[kerberos.{realm:?}]\nkeytab = {keytab:?}\nservices = [{service:?}]\n");
        text.push_str(&kerberos);
        for kind in ["policy", "enrollment"] {
            let endpoint = "authentication = \"kerberos\"\nlistener = \"password\"\n";
            text.push_str(&format!("\n[[{kind}_endpoint]]\n{endpoint}"));
        }
        text.push_str(more);
        Ok(fs::write(&self.config, text)?)
    }

    /// Answers over RPC, too, on this address, with names and keys of the realm of the tickets; in the place of any
    /// address before.
    pub(crate) fn answer_rpc(
        &self,
        realm: &str,
        address: Ipv4Addr,
        [mapper, requests]: [u16; 2],
    ) -> Result<()> {
        let text = fs::read_to_string(&self.config)?;
        let (before, _) = text.split_once(RPC).unwrap_or((&text, ""));
        let text = format!(
            "{before}{RPC}address = \"{address}:{mapper}\"\nrequest_address = \"{address}:{requests}\"\n\
             realm = \"{realm}\"\nservices = [\"HOST/localhost\", \"RPCSS/localhost\"]\n"
        );
        Ok(fs::write(&self.config, text)?)
    }

    /// Policy and enrollment service with another authentication.
    pub(crate) fn services(&self, method: Method, login: Login) -> Result<(Service, Service)> {
        services(&Settings::load(&self.config)?, method, login)
    }

    /// Where client certificates are asked for.
    pub(crate) fn certificate_address(&self) -> Result<SocketAddr> {
        let port = self.address.port().checked_add(1).context("no port")?;
        Ok(SocketAddr::new(self.address.ip(), port))
    }

    /// Adds an address for key-based renewal, and lets the template be renewed there at any time.
    pub(crate) async fn renew_by_certificate(&self) -> Result<Service> {
        let mut text = fs::read_to_string(&self.config)?;
        text.push_str(
            "\n[[enrollment_endpoint]]\nauthentication = \"client_certificate\"\nlistener = \"certificate\"\n\
             path = \"/renewal\"\nrenewal_only = true\nkey_based_renewal = true\n",
        );
        fs::write(&self.config, text)?;
        let all = defaults::templates()?;
        let mut template = all.into_iter().find(|t| t.name == TEMPLATE).context("no template")?;
        template.renewal.key_based = true;
        template.renewal.window_percent = 100;
        let actor = Actor::Officer("bench".to_owned());
        self.store()?.put_template(template, setup::random_arcs()?, actor, SystemClock.now()).await?;
        let settings = Settings::load(&self.config)?;
        let endpoint = settings.enrollment_endpoints.iter().find(|endpoint| endpoint.key_based_renewal);
        Ok(Service { url: endpoint.context("no such service")?.uri.clone(), login: Login::Certificate })
    }

    /// The store, as another process has it.
    pub(crate) fn store(&self) -> Result<Store> {
        open(&self.directory)
    }

    /// Adds an account like the first, which has no password.
    pub(crate) async fn add_account(&self, name: &str) -> Result<()> {
        let store = open(&self.directory)?;
        let first = store.account(&ACCOUNT.parse()?).await?.context("no first account")?;
        let principal = Principal { name: name.parse()?, ..first.principal };
        store.put_account(principal, Actor::Officer("bench".to_owned()), SystemClock.now()).await?;
        Ok(())
    }

    /// Replaces the templates by so many copies of one that the account may use.
    pub(crate) async fn offer_templates(&self, count: usize) -> Result<()> {
        let store = open(&self.directory)?;
        let actor = || Actor::Officer("bench".to_owned());
        for template in defaults::templates()? {
            store.unpublish_template(template.name, actor(), SystemClock.now()).await?;
        }
        let all = defaults::templates()?;
        let model = all.iter().find(|template| template.name == TEMPLATE).context("no model template")?;
        for number in 0..count {
            let name = format!("Bench{number}");
            let display_name = format!("Benchmark {number}");
            let template = Template { name, display_name, ..model.clone() };
            store.put_template(template, setup::random_arcs()?, actor(), SystemClock.now()).await?;
        }
        Ok(())
    }

    /// Fills the store up to so many certificates.
    pub(crate) async fn fill(&self, count: u32) -> Result<()> {
        let last = open(&self.directory)?.fill(count, SystemClock.now()).await?;
        ensure!(last >= count, "the store was not filled");
        Ok(())
    }

    /// The CA's certificate, PEM.
    pub(crate) fn ca_certificate(&self) -> PathBuf {
        self.directory.join("ca").join(muster_ca::CERTIFICATE_FILE)
    }

    /// The services' certificate and key, PEM, once they were started.
    pub(crate) fn server_certificate(&self) -> (PathBuf, PathBuf) {
        let tls = self.directory.join("tls");
        (tls.join("server.pem"), tls.join("server.key.pem"))
    }
}

fn services(settings: &Settings, method: Method, login: Login) -> Result<(Service, Service)> {
    let find = |endpoints: &[Arc<Endpoint>]| {
        let found = endpoints.iter().find(|endpoint| endpoint.method == method && !endpoint.renewal_only);
        let url = found.context("no such service")?.uri.clone();
        anyhow::Ok(Service { url, login: login.clone() })
    };
    Ok((find(&settings.policy_endpoints)?, find(&settings.enrollment_endpoints)?))
}

fn open(directory: &Path) -> Result<Store> {
    Ok(Store::open(&directory.join("muster.sqlite"), &Options::default(), SystemClock.now())?)
}

/// The first of three ports in a row that nobody listens on.
pub(crate) fn free_ports() -> Result<SocketAddr> {
    for _ in 0..100 {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let free = |offset| {
            let port = first.port().checked_add(offset);
            port.is_some_and(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
        };
        if (0..3).all(free) {
            return Ok(first);
        }
    }
    anyhow::bail!("no three free ports in a row")
}
