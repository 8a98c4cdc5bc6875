//! The configuration as it is written in TOML. Every default is here, every doc comment is the reference's text.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use muster_core::Method;
use muster_core::forwarding::IdentityMode;
use serde::{Deserialize, Serialize};

/// The whole file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Folder of the store and of what the service writes; relative to the file.
    #[serde(default = "defaults::data_dir")]
    pub data_dir: PathBuf,
    /// The enrollment policy.
    #[serde(default)]
    pub policy: Policy,
    /// The certification authorities, by name.
    pub ca: BTreeMap<String, Ca>,
    /// The services' own certificate.
    pub tls: Tls,
    /// Sockets with TLS, by a name of your choice.
    pub listener: BTreeMap<String, Listener>,
    /// Plain HTTP for the revocation list and the certificate of the embedded CA, which needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publication: Option<Publication>,
    /// One table for each policy service (CEP).
    #[serde(default)]
    pub policy_endpoint: Vec<PolicyEndpoint>,
    /// One table for each enrollment service (CES).
    #[serde(default)]
    pub enrollment_endpoint: Vec<EnrollmentEndpoint>,
    /// Enrollment services of other nodes, named in the policy answer.
    #[serde(default)]
    pub advertise: Vec<Advertise>,
    /// Other CAs whose certificates may authenticate, beside the embedded one.
    #[serde(default)]
    pub client_trust: Vec<ClientTrust>,
    /// Kerberos realms whose tickets are accepted, by name.
    #[serde(default)]
    pub kerberos: BTreeMap<String, Kerberos>,
    /// Active Directory domains whose accounts may enroll, by DNS name.
    #[serde(default)]
    pub directory: BTreeMap<String, Directory>,
    /// Enrollment over RPC, MS-ICPR and MS-WCCE. Off without this table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpc: Option<Rpc>,
    /// Bounds on what callers may use up.
    #[serde(default)]
    pub limits: Limits,
}

/// `[policy]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The name that people see.
    #[serde(default = "defaults::policy_name")]
    pub name: String,
    /// Identifier in braces, to keep the one of a service that this one replaces. Without it, one is made once and kept
    /// in the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Hours after which clients ask again, 1 to 8760.
    #[serde(default = "defaults::next_update_hours")]
    pub next_update_hours: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self { name: defaults::policy_name(), id: None, next_update_hours: defaults::next_update_hours() }
    }
}

/// `[ca."NAME"]`, such as `[ca."Corp Issuing CA"]`: the name is that in the CA's certificate, and the first part of the
/// enrollment path. `directory`, `passphrase_file` and `crl_days` are for the embedded CA, the other keys for other CAs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ca {
    /// Who signs: `embedded`, the CA of this installation, of which there can be one, `adcs`, an authority of Active
    /// Directory Certificate Services that is asked over DCOM or RPC, or `relay`, an authority behind another enrollment
    /// service that is asked over HTTPS.
    #[serde(default = "defaults::backend")]
    pub backend: Backend,
    /// Folder of `ca.pem` and `ca.key.pem`; by default `ca`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    /// File with the passphrase of the key, readable by the service alone; by default `secrets/ca.passphrase`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase_file: Option<PathBuf>,
    /// Days that a revocation list is valid, 1 to 30, by default 7. A new one is made every day, and at once after a
    /// revocation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crl_days: Option<u32>,
    /// Host name of the authority, as in its service principal names: `ca01.corp.example`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Port of the host's endpoint mapper; by default 135.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapper_port: Option<u16>,
    /// How it is asked: `dcom` (MS-WCCE, the default) or `rpc` (MS-ICPR).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// PEM files with the certificates of the authority, all that it signs with: what is not signed by one of them is not
    /// passed on to anybody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<PathBuf>,
    /// The account as which this service asks, such as `svc-muster@CORP.EXAMPLE`, for itself or, where it may be trusted
    /// for delegation, for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// File with that account's keys; by default the keytab of its realm's `[kerberos."REALM"]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keytab: Option<PathBuf>,
    /// The other enrollment service's address (CES) for user names and passwords, exactly as it is written there. Each address
    /// takes one kind of sign-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_url: Option<String>,
    /// Its address for Kerberos; callers with tickets or certificates are passed on there by delegation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kerberos_url: Option<String>,
    /// Its address for client certificates, for renewals with `client_certificate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_url: Option<String>,
    /// PEM file with the certification authorities that the other service's web server has its certificate from; by default
    /// those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// PEM file with the certificate, and its chain, that this service signs in with at `certificate_url`. Read again for
    /// each request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<PathBuf>,
    /// PEM file with its key, readable by the service alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_key: Option<PathBuf>,
    /// PEM file with the certificate of the enrollment agent that `registration_authority` signs with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_certificate: Option<PathBuf>,
    /// PEM file with its key (PKCS#8), readable by the service alone. Whoever has it can enroll for everybody for whom the
    /// authority lets this agent do so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_key: Option<PathBuf>,
    /// Names of templates of this installation's store that the authority issues from. Those of a directory come by its
    /// entry there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub templates: Vec<String>,
    /// Seconds for a connection, authentication included, 1 to 300; by default 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_seconds: Option<u64>,
    /// Seconds for an answer, 1 to 300; by default 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_seconds: Option<u64>,
    /// Connections at once, 1 to 1024; by default 64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<usize>,
}

/// Who signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backend {
    /// This installation.
    Embedded,
    /// An authority of Active Directory Certificate Services.
    Adcs,
    /// Another enrollment service.
    Relay,
}

/// How an authority of Active Directory Certificate Services is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// MS-WCCE.
    Dcom,
    /// MS-ICPR.
    Rpc,
}

/// `[tls]`: either `certificate` and `key`, or `names`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file with the server's certificate and its chain; read again when it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// PEM file with its private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// Names for a certificate from the embedded CA, renewed by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// PEM files with the certificates of proxies that end TLS before this service: Kerberos tickets may be bound to
    /// them as well. Whoever has the key of such a proxy can pass on the tickets of its clients.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proxy_certificates: Vec<PathBuf>,
}

/// `[listener.NAME]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Address and port.
    pub address: SocketAddr,
    /// What clients write before the path, such as `https://pki.example`.
    pub url: String,
    /// Names by which clients choose this listener in the TLS handshake (SNI), so that several listeners can share an
    /// address. One of them may have none: it takes whoever asks for another name, or for none. Without such a one
    /// their handshakes fail.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub server_names: Vec<String>,
    /// Ask for a client certificate in the handshake. Such a listener serves `client_certificate` endpoints and no
    /// others.
    #[serde(default)]
    pub client_certificate: bool,
}

/// `[publication]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publication {
    /// Address and port.
    pub address: SocketAddr,
    /// What is named in certificates, such as `http://pki.example`. It cannot be changed for certificates that exist.
    pub url: String,
}

/// `[[policy_endpoint]]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyEndpoint {
    /// `username_password`, `client_certificate` or `kerberos`.
    pub authentication: Method,
    /// Name of the listener.
    pub listener: String,
    /// The path; by default the one that IIS uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Tell only of templates and addresses for key-based renewal; with `client_certificate` alone. The default path then
    /// begins with `/KeyBasedRenewal_`.
    #[serde(default)]
    pub key_based_renewal: bool,
}

/// `[[enrollment_endpoint]]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrollmentEndpoint {
    /// Name of the CA; may be left out if there is one only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// For a CA that is not the embedded one: in whose name it is asked. `delegate`: in the caller's, by a ticket for it.
    /// `renew_on_behalf`: in that of this service, which needs `renewal_only`; the authority takes the account from the
    /// certificate that is renewed. `registration_authority`: in that of this service, which signs the request as an
    /// enrollment agent and names the caller in it. There is no default, and never another one than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<IdentityMode>,
    /// `username_password`, `client_certificate` or `kerberos`.
    pub authentication: Method,
    /// Name of the listener.
    pub listener: String,
    /// The path; by default the one that IIS uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Lower is preferred.
    #[serde(default = "defaults::priority")]
    pub priority: u32,
    /// Refuse first enrollments.
    #[serde(default)]
    pub renewal_only: bool,
    /// A certificate is enough to renew it, where its template has `renewal.key_based`: its holder needs no permission to
    /// enroll. With `client_certificate` and `renewal_only` alone.
    #[serde(default)]
    pub key_based_renewal: bool,
}

/// `[[advertise]]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Advertise {
    /// Name of the CA; may be left out if there is one only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// The whole URL.
    pub uri: String,
    /// `username_password`, `client_certificate` or `kerberos`.
    pub authentication: Method,
    /// Lower is preferred.
    #[serde(default = "defaults::priority")]
    pub priority: u32,
    /// It refuses first enrollments.
    #[serde(default)]
    pub renewal_only: bool,
    /// It renews by certificate alone.
    #[serde(default)]
    pub key_based_renewal: bool,
}

/// `[[client_trust]]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientTrust {
    /// PEM file with the CA's certificate.
    pub ca_file: PathBuf,
    /// File with its revocation list, PEM or DER; read again when it changes. One that has run out trusts nobody.
    pub crl_file: PathBuf,
    /// The name in a certificate that is the name of the local account: `dns_name` or `email`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<ClientName>,
    /// Instead of `name`: the configured domain whose account the certificate is for, by the security identifier in it
    /// (1.3.6.1.4.1.311.25.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// With `directory`: certificates without a security identifier are mapped by user principal name or host name.
    /// Whoever can have such a name written into a certificate of that CA is taken for its owner.
    #[serde(default)]
    pub weak_names: bool,
}

/// The kind of alternative name that is mapped to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientName {
    /// dNSName.
    DnsName,
    /// rfc822Name.
    Email,
}

/// `[kerberos."REALM"]`, such as `[kerberos."CORP.EXAMPLE"]`: the realm that this service has an account in.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kerberos {
    /// File with the keys of the service's account, AES alone, readable by the service alone; read again for each
    /// ticket, so that keys can be added while it runs.
    pub keytab: PathBuf,
    /// Names of this service in tickets, such as `HTTP/pki.corp.example`: one for each host name that clients use.
    pub services: Vec<String>,
}

/// `[directory."DOMAIN"]`, such as `[directory."corp.example"]`: an Active Directory domain whose accounts may enroll.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Directory {
    /// Its Kerberos realm; by default the domain in upper case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realm: Option<String>,
    /// Domain controllers in the order of preference, such as `dc1.corp.example`; by default those that DNS names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<String>,
    /// The account as which this service reads the directory, such as `svc-muster@CORP.EXAMPLE`.
    pub account: String,
    /// File with that account's keys; by default the keytab of the realm's `[kerberos."REALM"]`. The connection is
    /// encrypted by Kerberos.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keytab: Option<PathBuf>,
    /// File with that account's password, instead of keys. Needs `ca_file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// PEM file with the CA of the domain controllers' certificates: the connection is LDAPS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Offer the templates that the forest publishes for this CA.
    #[serde(default = "defaults::yes")]
    pub templates: bool,
    /// Accept the passwords of its users where `username_password` is configured. The realm needs `[kerberos."REALM"]`.
    #[serde(default)]
    pub passwords: bool,
    /// What may stand after the `@` in names of its users beside the domain, such as `example.com`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upn_suffixes: Vec<String>,
    /// Another configured domain, whose forest trusts this one: its templates are offered instead of this forest's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted_by: Option<String>,
}

/// `[rpc]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rpc {
    /// Address and port of the endpoint mapper, where clients begin. Windows knows no other port than 135, which only root
    /// or a service with `CAP_NET_BIND_SERVICE` can take.
    #[serde(default = "defaults::rpc_address")]
    pub address: SocketAddr,
    /// Address and port of the calls themselves; the endpoint mapper tells clients the port.
    pub request_address: SocketAddr,
    /// The realm of the callers' tickets; there has to be a `[kerberos."REALM"]`.
    pub realm: String,
    /// File with the keys of `services`; by default that of the realm. AES alone, readable by the service alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keytab: Option<PathBuf>,
    /// Names of this machine in tickets, such as `HOST/pki.corp.example` and `RPCSS/pki.corp.example`: both, for each host name
    /// that clients use. The host of the first is what clients are told.
    pub services: Vec<String>,
    /// Take calls of clients that seal the arguments but do not sign the headers of their messages, as impacket and Certipy.
    /// Whoever is in between can then change which method is called.
    #[serde(default)]
    pub unsigned_headers: bool,
}

/// `[limits]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Largest message, and largest request over RPC, in bytes, 4096 to 262144.
    pub body_bytes: usize,
    /// Seconds for the TLS handshake, or for the authentication of a connection of RPC.
    pub handshake_seconds: u64,
    /// Seconds for the headers of a request, also between two requests of a connection, and between two calls to the endpoint
    /// mapper by nobody in particular.
    pub header_seconds: u64,
    /// Seconds for the body of a request, or for a call over RPC to arrive.
    pub body_seconds: u64,
    /// Seconds for an answer to be read by its client, once it does not fit into what the network holds.
    pub write_seconds: u64,
    /// Connections of one address none of whose requests was authenticated yet. HTTPS and each of the two sockets of RPC count
    /// for themselves.
    pub unauthenticated_connections_per_address: usize,
    /// Connections altogether. HTTPS and each of the two sockets of RPC count for themselves.
    pub connections: usize,
    /// Connections of RPC that one account may have, at each of the two sockets.
    pub rpc_connections_per_account: usize,
    /// Seconds for which a connection of RPC may be silent between two calls, and after which one to the endpoint mapper ends on
    /// which nobody has authenticated; 1 to 3600.
    pub rpc_idle_seconds: u64,
    /// Seconds after which a connection of RPC ends, between two calls, however busy it is; what its ticket said of the caller's
    /// groups is that old by then; 1 to 36000.
    pub rpc_lifetime_seconds: u64,
    /// Requests of one account that may wait for an officer, 1 to 1000000; more are refused.
    pub waiting_requests_per_account: u32,
    /// Passwords verified at the same time; each takes 19 MiB.
    pub password_verifications: usize,
    /// Verifications that may wait; more are answered with 503.
    pub password_queue: usize,
    /// Seconds for which a verified password is not verified again.
    pub password_cache_seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // The largest real requests, renewals in CMC with RSA-4096 keys and chains, stay below 20 KiB.
            body_bytes: 64 * 1024,
            handshake_seconds: 10,
            header_seconds: 30,
            body_seconds: 15,
            write_seconds: 30,
            unauthenticated_connections_per_address: 32,
            connections: 4096,
            // The connector of another node keeps up to 64 for each of its accounts.
            rpc_connections_per_account: 256,
            rpc_idle_seconds: 300,
            rpc_lifetime_seconds: 3_600,
            waiting_requests_per_account: 100,
            password_verifications: 4,
            password_queue: 64,
            password_cache_seconds: 300,
        }
    }
}

/// Every default that is not a bound.
mod defaults {
    use std::net::SocketAddr;
    use std::path::PathBuf;

    use super::Backend;

    pub(super) const fn yes() -> bool {
        true
    }
    pub(super) fn data_dir() -> PathBuf {
        PathBuf::from(".")
    }
    pub(super) fn policy_name() -> String {
        "Muster".to_owned()
    }
    pub(super) const fn next_update_hours() -> u32 {
        8
    }
    pub(super) const fn backend() -> Backend {
        Backend::Embedded
    }
    pub(super) fn rpc_address() -> SocketAddr {
        SocketAddr::from(([0, 0, 0, 0], 135)) // "0.0.0.0:135"
    }
    pub(super) const fn priority() -> u32 {
        1
    }
}
