//! The configuration file: one TOML text, one typed tree, validated into [`Settings`] before anything starts.
//!
//! [`mod@file`] is the tree as it is written, with every default in one place; unknown keys are refused. This module
//! turns it into typed endpoints and names file, line and key of whatever is wrong.

pub mod file;
mod reference;
mod sockets;
mod validate;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use muster_core::Method;
use muster_directory::ldap::LdapSettings;

pub use muster_core::forwarding::IdentityMode;
pub use muster_relay::Endpoint as Url;
pub use reference::reference;
pub(crate) use validate::encode_path;

/// Everything a running service needs to know, validated.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the store, the keys and the journal live.
    pub data_dir: PathBuf,
    /// Name of the policy, for people.
    pub policy_name: String,
    /// Identifier of the policy, where the administrator took one over from another service.
    pub policy_id: Option<String>,
    /// Hours after which clients ask again (MS-XCEP `nextUpdateHours`).
    pub next_update_hours: u32,
    /// The certification authorities, in the order of their names.
    pub authorities: Vec<CaSettings>,
    /// Where the services' own certificate comes from.
    pub tls: TlsSettings,
    /// Sockets, by name.
    pub listeners: BTreeMap<String, Listener>,
    /// Policy services.
    pub policy_endpoints: Vec<Arc<Endpoint>>,
    /// Enrollment services.
    pub enrollment_endpoints: Vec<Arc<Endpoint>>,
    /// Enrollment services of other nodes that the policy answer names as well.
    pub advertised: Vec<Advertised>,
    /// Other CAs whose certificates may authenticate.
    pub client_trust: Vec<ClientTrust>,
    /// Realms whose tickets are accepted.
    pub kerberos: Vec<KerberosRealm>,
    /// Active Directory domains.
    pub directories: Vec<DirectoryDomain>,
    /// Enrollment over RPC, if it is on.
    pub rpc: Option<RpcSettings>,
    /// Certificates of proxies to which tickets may be bound.
    pub proxy_certificates: Vec<PathBuf>,
    /// Bounds.
    pub limits: file::Limits,
}

/// A certification authority.
#[derive(Clone, Debug)]
pub struct CaSettings {
    /// Its name: the common name of its certificate and the first part of the enrollment path.
    pub name: Arc<str>,
    /// Who signs.
    pub backend: Backend,
}

/// Who signs.
#[derive(Clone, Debug)]
pub enum Backend {
    /// This installation.
    Embedded(EmbeddedSettings),
    /// An authority of Active Directory Certificate Services.
    Adcs(AdcsSettings),
    /// Another enrollment service in front of an authority.
    Relay(Box<RelaySettings>),
}

impl Backend {
    /// Who this service is at another CA.
    #[must_use]
    pub fn account(&self) -> Option<&OwnAccount> {
        match self {
            Self::Embedded(_) => None,
            Self::Adcs(adcs) => adcs.account.as_ref(),
            Self::Relay(relay) => relay.account.as_ref(),
        }
    }

    /// Names of templates of the store that another CA issues from.
    #[must_use]
    pub fn templates(&self) -> &[String] {
        match self {
            Self::Embedded(_) => &[],
            Self::Adcs(adcs) => &adcs.templates,
            Self::Relay(relay) => &relay.templates,
        }
    }
}

/// The embedded certification authority.
#[derive(Clone, Debug)]
pub struct EmbeddedSettings {
    /// Its name.
    pub name: Arc<str>,
    /// Where certificate and key are.
    pub directory: PathBuf,
    /// Where the key's passphrase is.
    pub passphrase_file: PathBuf,
    /// Days that a revocation list is valid.
    pub crl_days: u32,
    /// Where revocation list and CA certificate are served.
    pub publication: Publication,
}

/// An authority of Active Directory Certificate Services.
#[derive(Clone, Debug)]
pub struct AdcsSettings {
    /// Its host, as in its service principal names.
    pub server: String,
    /// Port of its endpoint mapper.
    pub mapper_port: u16,
    /// How it is asked.
    pub protocol: file::Protocol,
    /// PEM files with the certificates that it signs with.
    pub certificates: Vec<PathBuf>,
    /// Who this service is there; `None` if no endpoint needs to be somebody.
    pub account: Option<OwnAccount>,
    /// Certificate and key of the enrollment agent.
    pub agent: Option<(PathBuf, PathBuf)>,
    /// Names of templates of the store that it issues from.
    pub templates: Vec<String>,
    /// For a connection.
    pub connect: Duration,
    /// For an answer.
    pub call: Duration,
    /// Connections at once.
    pub max_connections: usize,
}

/// Another enrollment service (CES), Microsoft's or of this kind, in front of an authority.
#[derive(Clone, Debug)]
pub struct RelaySettings {
    /// Its address for user names and passwords.
    pub password_url: Option<Url>,
    /// Its address for Kerberos.
    pub kerberos_url: Option<Url>,
    /// Its address for client certificates.
    pub certificate_url: Option<Url>,
    /// PEM file with the certification authorities of its web server; `None`: those of the system.
    pub ca_file: Option<PathBuf>,
    /// PEM files with the certificates that the authority signs with.
    pub certificates: Vec<PathBuf>,
    /// Who this service is there; `None` if no endpoint needs to be somebody.
    pub account: Option<OwnAccount>,
    /// Certificate and key to sign in with.
    pub client: Option<(PathBuf, PathBuf)>,
    /// Names of templates of the store that the authority issues from.
    pub templates: Vec<String>,
    /// For a connection.
    pub connect: Duration,
    /// For an answer.
    pub call: Duration,
    /// Connections at once.
    pub max_connections: usize,
}

/// An account of this service, with its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnAccount {
    /// With its realm.
    pub principal: String,
    /// The keys.
    pub keytab: PathBuf,
}

/// The configuration has no embedded CA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the configuration has no CA of its own: no [ca.\"NAME\"] has backend = \"embedded\"")]
pub struct NoEmbeddedCa;

/// The certificate that the listeners show.
#[derive(Clone, Debug)]
pub enum TlsSettings {
    /// From files, reloaded when they change.
    Files {
        /// PEM, the server's certificate first.
        certificate: PathBuf,
        /// PEM, PKCS#8, PKCS#1 or SEC 1.
        key: PathBuf,
    },
    /// Issued by the embedded CA and renewed by itself.
    Embedded {
        /// The names and addresses in it.
        names: Vec<String>,
    },
}

/// A socket with TLS, or the part of one that some server names lead to.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its name in the file.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// What clients write before the path: `https://host:port`.
    pub url: String,
    /// The names (SNI) that lead here, in lower case, where listeners share an address; none: whatever else comes.
    pub server_names: Vec<String>,
    /// Whether the handshake asks for a client certificate.
    pub client_certificate: bool,
}

/// Which of the two services an endpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// MS-XCEP.
    Policy,
    /// MS-WSTEP.
    Enrollment,
}

/// One URL: one service, one CA, one authentication.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The service.
    pub service: Service,
    /// Name of the CA; of a policy service, which tells of all, the first.
    pub ca: Arc<str>,
    /// In whose name a CA is asked that is not the embedded one.
    pub identity: Option<IdentityMode>,
    /// The authentication.
    pub method: Method,
    /// Name of its listener.
    pub listener: String,
    /// The path, percent-decoded.
    pub path: String,
    /// The whole URL as clients write it.
    pub uri: String,
    /// Lower is preferred (MS-XCEP `priority`).
    pub priority: u32,
    /// First enrollments are refused.
    pub renewal_only: bool,
    /// Enrollment: a certificate alone renews, where its template allows it. Policy: tells of nothing else.
    pub key_based_renewal: bool,
}

/// An enrollment URL of another node.
#[derive(Clone, Debug)]
pub struct Advertised {
    /// Name of the CA.
    pub ca: Arc<str>,
    /// The URL.
    pub uri: String,
    /// Its authentication.
    pub method: Method,
    /// Lower is preferred.
    pub priority: u32,
    /// First enrollments are refused there.
    pub renewal_only: bool,
    /// A certificate alone renews there.
    pub key_based_renewal: bool,
}

/// A CA whose certificates may authenticate.
#[derive(Clone, Debug)]
pub struct ClientTrust {
    /// PEM file with its certificate.
    pub ca_file: PathBuf,
    /// File with its revocation list.
    pub crl_file: PathBuf,
    /// The account behind a certificate.
    pub account: TrustedAccount,
}

/// How a certificate of another CA names an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustedAccount {
    /// A name in it is the name of a local account.
    Local(file::ClientName),
    /// It is an account of a domain.
    Directory {
        /// The domain.
        domain: String,
        /// Whether names count where there is no security identifier.
        weak_names: bool,
    },
}

/// A realm in which this service has an account.
#[derive(Clone, Debug)]
pub struct KerberosRealm {
    /// Its name, in upper case.
    pub name: String,
    /// The keys of the account.
    pub keytab: PathBuf,
    /// `HTTP/host`, without the realm.
    pub services: Vec<String>,
}

/// An Active Directory domain.
#[derive(Clone, Debug)]
pub struct DirectoryDomain {
    /// DNS name, in lower case.
    pub domain: String,
    /// Kerberos realm.
    pub realm: String,
    /// How it is reached.
    pub ldap: LdapSettings,
    /// Whether its forest's templates are offered.
    pub templates: bool,
    /// Whether passwords of its users are accepted.
    pub passwords: bool,
    /// What may stand after the `@` in names of its users beside domain and realm.
    pub upn_suffixes: Vec<String>,
    /// The configured domain whose forest's templates its accounts get: itself, or one that trusts it.
    pub forest: String,
}

/// Enrollment over RPC.
#[derive(Clone, Debug)]
pub struct RpcSettings {
    /// Where the endpoint mapper listens.
    pub address: SocketAddr,
    /// Where calls are taken.
    pub request_address: SocketAddr,
    /// The name of this machine that clients are told.
    pub host: String,
    /// The realm of the callers.
    pub realm: String,
    /// The keys of this machine.
    pub keytab: PathBuf,
    /// `HOST/host`, `RPCSS/host`, without the realm.
    pub services: Vec<String>,
    /// Clients need not sign the headers of messages.
    pub unsigned_headers: bool,
    /// What requests by MS-ICPR are recorded with.
    pub passage: Arc<Endpoint>,
    /// What requests by MS-WCCE are recorded with.
    pub object: Arc<Endpoint>,
}

/// Plain HTTP for what relying parties fetch.
#[derive(Clone, Debug)]
pub struct Publication {
    /// Where it listens.
    pub address: SocketAddr,
    /// What is named in certificates: `http://host:port`, no slash at the end.
    pub url: String,
}

impl Publication {
    /// The revocation list's address.
    #[must_use]
    pub fn crl_url(&self) -> String {
        format!("{}/ca.crl", self.url)
    }

    /// The CA certificate's address.
    #[must_use]
    pub fn ca_url(&self) -> String {
        format!("{}/ca.crt", self.url)
    }
}

/// What is wrong with the file.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A place in the file is wrong.
    #[error("{}:{line}: {key}: {problem}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
        /// The key, such as `listener.main.address`.
        key: String,
        /// What is wrong, and what to write.
        problem: String,
    },
}

impl Settings {
    /// Reads and validates the file. Paths in it are relative to its folder.
    ///
    /// # Errors
    /// [`ConfigError`] with the first thing that is wrong.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(path, &text)
    }

    /// The same from text; `path` is for messages and for relative paths.
    ///
    /// # Errors
    /// [`ConfigError::Wrong`] with the first thing that is wrong.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let wrong =
            |line, key: String, problem| ConfigError::Wrong { path: path.to_owned(), line, key, problem };
        let tree: file::File = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            wrong(validate::line_of_offset(text, at), validate::key_at(text, at), error.message().to_owned())
        })?;
        let base = path.parent().unwrap_or(Path::new("."));
        validate::settings(&tree, base)
            .map_err(|fault| wrong(validate::line_of_key(text, &fault.key), fault.key, fault.problem))
    }

    /// The embedded CA.
    ///
    /// # Errors
    /// [`NoEmbeddedCa`].
    pub fn embedded(&self) -> Result<&EmbeddedSettings, NoEmbeddedCa> {
        let embedded = self.authorities.iter().find_map(|ca| match &ca.backend {
            Backend::Embedded(embedded) => Some(embedded),
            Backend::Adcs(_) | Backend::Relay(_) => None,
        });
        embedded.ok_or(NoEmbeddedCa)
    }

    /// Every endpoint, policy services first.
    pub fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.policy_endpoints.iter().chain(&self.enrollment_endpoints)
    }
}
