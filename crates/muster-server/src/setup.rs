//! Makes an installation: folder, CA, configuration, store, default templates, first account. Used by
//! `muster quickstart` and by tests; nothing it writes is weaker than what production needs.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use muster_ca::{Addresses, Authority, Passphrase, RootParameters, SigningAlgorithm};
use muster_core::audit::Actor;
use muster_core::identity::{AccountName, Principal, PrincipalKind};
use muster_core::oid::OidError;
use muster_core::{Clock, Oid, defaults};
use muster_store::{Instance, Options, PasswordHash, Store};

use crate::auth::hash_password;
use crate::config::Settings;
use crate::own_certificate::write_private;
use crate::private;
use crate::service::store_path;

/// What the installation is to be.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its folder.
    pub directory: PathBuf,
    /// Address and port of the listener for passwords; client certificates get the next port, the revocation list the
    /// one after that.
    pub listen: SocketAddr,
    /// The name that clients use for this machine.
    pub host: String,
    /// Common name of the CA.
    pub ca_name: String,
    /// What the CA signs with.
    pub algorithm: SigningAlgorithm,
    /// Years that the CA certificate lives.
    pub ca_years: u32,
}

/// Name of the configuration file in the folder.
pub const CONFIG_FILE: &str = "muster.toml";

/// Something could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A file or folder.
    #[error("{0}")]
    File(String),
    /// The CA.
    #[error("the CA cannot be made: {0}")]
    Ca(String),
    /// The store.
    #[error("the store cannot be made: {0}")]
    Store(#[from] muster_store::StoreError),
    /// A template of ours.
    #[error("a default template cannot be added: {0}")]
    Template(#[from] muster_core::template::TemplateError),
    /// The ports.
    #[error("port {0} leaves no room for the two ports after it: choose one up to 65533")]
    Port(u16),
}

/// Makes the installation and returns the path of its configuration file. Existing files are never overwritten.
///
/// # Errors
/// [`SetupError`].
pub async fn create(plan: &Plan, clock: &dyn Clock) -> Result<PathBuf, SetupError> {
    let file = |what: &Path, e: std::io::Error| SetupError::File(format!("{}: {e}", what.display()));
    let ca_error = |e: &dyn std::fmt::Display| SetupError::Ca(e.to_string());
    let config_path = plan.directory.join(CONFIG_FILE);
    let config = config_text(plan)?;
    let secrets = plan.directory.join("secrets");
    private::folder(&plan.directory).map_err(SetupError::File)?;
    private::folder(&secrets).map_err(SetupError::File)?;

    let passphrase_file = secrets.join("ca.passphrase");
    let passphrase = if passphrase_file.exists() {
        let text = std::fs::read_to_string(&passphrase_file).map_err(|e| file(&passphrase_file, e))?;
        Passphrase::new(text.trim_end().to_owned())
    } else {
        let text = random_text(32)?;
        write_private(&passphrase_file, format!("{text}\n").as_bytes()).map_err(SetupError::File)?;
        Passphrase::random(text)
    };
    let passphrase = passphrase.ok_or_else(|| SetupError::Ca("the passphrase file is empty".to_owned()))?;
    let ca_directory = plan.directory.join("ca");
    if !ca_directory.join(muster_ca::CERTIFICATE_FILE).exists() {
        let publication = publication_url(plan)?;
        let addresses = Addresses::new(&format!("{publication}/ca.crl"), &format!("{publication}/ca.crt"))
            .map_err(|e| ca_error(&e))?;
        let parameters = RootParameters {
            common_name: plan.ca_name.clone(),
            organization: None,
            algorithm: plan.algorithm,
            years: plan.ca_years,
        };
        Authority::create(&parameters, addresses, &ca_directory, &passphrase, clock.now())
            .map_err(|e| ca_error(&e))?;
    }
    let (store, is_new) = make_store(&plan.directory.join("muster.sqlite"), clock).await?;
    if is_new {
        for template in defaults::templates()? {
            store.put_template(template, random_arcs()?, actor(), clock.now()).await?;
        }
    }
    // Last, so that an installation with a configuration is a whole one.
    write_private(&config_path, config.as_bytes()).map_err(SetupError::File)?;
    Ok(config_path)
}

/// Makes the store of a configuration that was written by hand, without accounts and templates; whether it was not there
/// yet.
///
/// # Errors
/// [`SetupError`].
pub async fn init(settings: &Settings, clock: &dyn Clock) -> Result<bool, SetupError> {
    // That of a file which was named without a folder is here.
    let here = settings.data_dir.as_os_str().is_empty();
    private::folder(if here { Path::new(".") } else { &settings.data_dir }).map_err(SetupError::File)?;
    let (_, is_new) = make_store(&store_path(settings), clock).await?;
    Ok(is_new)
}

async fn make_store(path: &Path, clock: &dyn Clock) -> Result<(Store, bool), SetupError> {
    let store = Store::open(path, &Options::default(), clock.now())?;
    let is_new = store.instance().await?.is_none();
    if is_new {
        store.set_instance(instance(clock)?).await?;
    }
    Ok((store, is_new))
}

/// Adds a user account with a random password, which is written into a file that only its owner can read.
///
/// # Errors
/// [`SetupError`].
pub async fn first_account(
    store: &Store,
    name: &AccountName,
    password_file: &Path,
    clock: &dyn Clock,
) -> Result<(), SetupError> {
    let password = random_text(20)?;
    let hash = hash_password(&password).map_err(SetupError::File)?;
    let group: AccountName =
        "users".parse().map_err(|e: muster_core::identity::NameError| SetupError::File(e.to_string()))?;
    let principal = Principal {
        name: name.clone(),
        kind: PrincipalKind::User,
        groups: [group].into(),
        common_name: None,
        email: None,
        upn: None,
        dns_names: Vec::new(),
        sid: None,
        sids: [].into(),
        directory: None,
        token: None,
    };
    write_private(password_file, format!("{password}\n").as_bytes()).map_err(SetupError::File)?;
    store.put_account(principal, actor(), clock.now()).await?;
    store.set_password_hash(name.clone(), PasswordHash(hash), actor(), clock.now()).await?;
    Ok(())
}

/// Whoever sits at this machine.
fn actor() -> Actor {
    Actor::Officer("setup".to_owned())
}

/// What identifies an installation: a random policy identifier, and a root for template identifiers below the arc in
/// which Windows' own forests draw theirs at random.
fn instance(clock: &dyn Clock) -> Result<Instance, SetupError> {
    let b = random::<16>()?;
    let hex = |octets: &[u8]| octets.iter().map(|o| format!("{o:02X}")).collect::<String>();
    let [a, c, d, e, f] =
        [b.get(..4), b.get(4..6), b.get(6..8), b.get(8..10), b.get(10..)].map(Option::unwrap_or_default);
    let policy_id = format!("{{{}-{}-{}-{}-{}}}", hex(a), hex(c), hex(d), hex(e), hex(f));
    let root: Oid = "1.3.6.1.4.1.311.21.8".parse().map_err(|e: OidError| SetupError::File(e.to_string()))?;
    let arcs: Vec<u32> = (0..4).map(|_| random_arc()).collect::<Result<_, _>>()?;
    Ok(Instance { policy_id, oid_root: root.child(&arcs), created_at: clock.now() })
}

/// Arcs for a new template, below the installation's root.
///
/// # Errors
/// [`SetupError::File`] if the system has no randomness.
pub fn random_arcs() -> Result<Vec<u32>, SetupError> {
    Ok(vec![random_arc()?, random_arc()?])
}

/// At least 2, because 1 is the internal template, and below 2^24 as Windows' are.
fn random_arc() -> Result<u32, SetupError> {
    Ok((u32::from_be_bytes(random::<4>()?) >> 8).max(2))
}

fn random<const N: usize>() -> Result<[u8; N], SetupError> {
    let mut octets = [0u8; N];
    aws_lc_rs::rand::fill(&mut octets)
        .map_err(|_| SetupError::File("no random numbers could be had".to_owned()))?;
    Ok(octets)
}

/// Letters and digits that cannot be mistaken for one another, about 5.7 bits each.
///
/// # Errors
/// [`SetupError::File`] if the system has no randomness.
pub fn random_text(length: usize) -> Result<String, SetupError> {
    const ALPHABET: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789";
    let mut text = String::with_capacity(length);
    while text.len() < length {
        let octets = random::<64>()?;
        // Octets beyond the last whole multiple of the alphabet would favour its first letters.
        let fair = octets.iter().map(|b| usize::from(*b)).filter(|b| *b < 4 * ALPHABET.len());
        text.extend(fair.filter_map(|b| ALPHABET.get(b % ALPHABET.len())).map(|b| char::from(*b)));
        text.truncate(length);
    }
    Ok(text)
}

fn port(plan: &Plan, offset: u16) -> Result<u16, SetupError> {
    plan.listen.port().checked_add(offset).ok_or(SetupError::Port(plan.listen.port()))
}

fn authority_part(host: &str, port: u16) -> String {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => format!("[{address}]:{port}"),
        Ok(IpAddr::V4(_)) | Err(_) => format!("{host}:{port}"),
    }
}

fn publication_url(plan: &Plan) -> Result<String, SetupError> {
    Ok(format!("http://{}", authority_part(&plan.host, port(plan, 2)?)))
}

fn config_text(plan: &Plan) -> Result<String, SetupError> {
    let ip = plan.listen.ip();
    let (second, third) = (port(plan, 1)?, port(plan, 2)?);
    let mut names = vec![plan.host.clone()];
    if ip.is_loopback() {
        names.extend(["localhost".to_owned(), ip.to_string()].into_iter().filter(|n| *n != plan.host));
    }
    let names: Vec<String> = names.iter().map(|n| format!("{n:?}")).collect();
    Ok(format!(
        r#"# Muster. Every key is explained in docs/configuration.md; `muster check-config` checks this file.

[policy]
name = "{ca}"

[ca."{ca}"]
backend = "embedded"

# The services' own certificate, issued by the CA above and renewed by itself.
[tls]
names = [{names}]

# User name and password.
[listener.password]
address = "{password}"
url = "https://{password_url}"

# Client certificates need a listener that asks for them.
[listener.certificate]
address = "{certificate}"
url = "https://{certificate_url}"
client_certificate = true

# Revocation list and CA certificate, over plain HTTP. Every certificate names this address.
[publication]
address = "{publication}"
url = "{publication_url}"

[[policy_endpoint]]
authentication = "username_password"
listener = "password"

[[policy_endpoint]]
authentication = "client_certificate"
listener = "certificate"

[[enrollment_endpoint]]
authentication = "username_password"
listener = "password"
priority = 10

[[enrollment_endpoint]]
authentication = "client_certificate"
listener = "certificate"
priority = 1
"#,
        ca = plan.ca_name,
        names = names.join(", "),
        password = plan.listen,
        password_url = authority_part(&plan.host, plan.listen.port()),
        certificate = SocketAddr::new(ip, second),
        certificate_url = authority_part(&plan.host, second),
        publication = SocketAddr::new(ip, third),
        publication_url = publication_url(plan)?,
    ))
}
