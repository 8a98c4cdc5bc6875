//! The configuration as it is written in TOML. Every default is here, every doc comment is the reference's text.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use muster_core::Method;
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
    /// The certification authority.
    pub ca: Ca,
    /// The services' own certificate.
    pub tls: Tls,
    /// Sockets with TLS, by a name of your choice.
    pub listener: BTreeMap<String, Listener>,
    /// Plain HTTP for the revocation list and the CA certificate.
    pub publication: Publication,
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

/// `[ca]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ca {
    /// Its name, as in its certificate; the first part of the enrollment path.
    pub name: String,
    /// Folder of `ca.pem` and `ca.key.pem`.
    #[serde(default = "defaults::ca_directory")]
    pub directory: PathBuf,
    /// File with the passphrase of the key, readable by the service alone.
    #[serde(default = "defaults::passphrase_file")]
    pub passphrase_file: PathBuf,
    /// Days that a revocation list is valid, 1 to 30. A new one is made every day, and at once after a revocation.
    #[serde(default = "defaults::crl_days")]
    pub crl_days: u32,
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

/// `[limits]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Largest message, in bytes, 4096 to 262144.
    pub body_bytes: usize,
    /// Seconds for the TLS handshake.
    pub handshake_seconds: u64,
    /// Seconds for the headers of a request, also between two requests of a connection.
    pub header_seconds: u64,
    /// Seconds for the body of a request.
    pub body_seconds: u64,
    /// Seconds for an answer to be read by its client, once it does not fit into what the network holds.
    pub write_seconds: u64,
    /// Connections of one address none of whose requests was authenticated yet.
    pub unauthenticated_connections_per_address: usize,
    /// Connections altogether.
    pub connections: usize,
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
            waiting_requests_per_account: 100,
            password_verifications: 4,
            password_queue: 64,
            password_cache_seconds: 300,
        }
    }
}

/// Every default that is not a bound.
mod defaults {
    use std::path::PathBuf;

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
    pub(super) fn ca_directory() -> PathBuf {
        PathBuf::from("ca")
    }
    pub(super) fn passphrase_file() -> PathBuf {
        PathBuf::from("secrets/ca.passphrase")
    }
    pub(super) const fn crl_days() -> u32 {
        7
    }
    pub(super) const fn priority() -> u32 {
        1
    }
}
