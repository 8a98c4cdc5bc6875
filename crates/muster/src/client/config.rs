//! The client's configuration file: what would otherwise be options of every run of `muster autoenroll`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use muster_client::files;
use muster_client::request::RequestedNames;
use serde::Deserialize;

use super::failure::ClientFailure;
use super::options::Connection;

/// The file. Options on the command line win over it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ClientConfig {
    /// URLs of the policy servers, by policy.
    pub(crate) policy: Vec<PolicyTable>,
    /// Use the policy servers of group policy.
    pub(crate) group_policy: bool,
    /// Files and folders with `Registry.pol`, instead of those of the programs that apply group policy.
    pub(crate) registry_pol: Vec<PathBuf>,
    /// The folder of certificates.
    pub(crate) store: Option<PathBuf>,
    /// Only templates of this kind.
    pub(crate) kind: Option<super::autoenroll::KindOption>,
    /// Command to run when something has changed.
    pub(crate) after: Option<String>,
    /// Where policies are kept.
    pub(crate) cache_dir: Option<PathBuf>,
    ca_files: Vec<PathBuf>,
    ca_only: bool,
    user: Option<String>,
    password_file: Option<PathBuf>,
    password_credential: Option<String>,
    kerberos: bool,
    keytab: Option<PathBuf>,
    principal: Option<String>,
    client_cert: Option<PathBuf>,
    client_key: Option<PathBuf>,
    /// Names for templates that take them from the request, by template.
    names: BTreeMap<String, NamesTable>,
}

/// One policy.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyTable {
    /// Servers of this policy, equals.
    pub(crate) urls: Vec<String>,
}

/// Names to ask for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct NamesTable {
    subject: Option<String>,
    dns: Vec<String>,
    email: Vec<String>,
    ip: Vec<IpAddr>,
}

/// The machine's configuration.
const MACHINE: &str = "/etc/muster/client.toml";
/// Octets of the file.
const MAX_FILE: u64 = 1 << 20;

impl ClientConfig {
    /// Reads the named file, or the one of the machine (for root) or person if it is there.
    pub(crate) fn load(named: Option<&Path>) -> Result<Self, ClientFailure> {
        let file = match named {
            Some(file) => file.to_owned(),
            None => match usual() {
                Some(file) if file.exists() => file,
                Some(_) | None => return Ok(Self::default()),
            },
        };
        let content = files::read(&file, MAX_FILE)?;
        let text = String::from_utf8_lossy(&content);
        toml::from_str(&text).map_err(|error| {
            ClientFailure::failed(
                format!("{}: {}", file.display(), error.to_string().trim_end()),
                "docs/client.md explains every key",
            )
        })
    }

    /// Fills in what the command line leaves open.
    pub(crate) fn complete(&self, connection: &mut Connection) {
        if connection.ca_file.is_empty() {
            connection.ca_file.clone_from(&self.ca_files);
            connection.ca_only |= self.ca_only && !self.ca_files.is_empty();
        }
        // What belongs together comes from one place.
        if connection.user.is_none() {
            connection.user.clone_from(&self.user);
            connection.password_file.clone_from(&self.password_file);
            connection.password_credential.clone_from(&self.password_credential);
        }
        if connection.keytab.is_none() {
            connection.keytab.clone_from(&self.keytab);
            connection.principal.clone_from(&self.principal);
        }
        connection.kerberos |= self.kerberos;
        if connection.client_cert.is_none() {
            connection.client_cert.clone_from(&self.client_cert);
            connection.client_key.clone_from(&self.client_key);
        }
    }

    /// Whether names for this template are configured.
    pub(crate) fn has_names(&self, template: &str) -> bool {
        self.names.keys().any(|name| name.eq_ignore_ascii_case(template))
    }

    /// Names to ask for.
    pub(crate) fn names(&self, template: &str) -> Result<RequestedNames, ClientFailure> {
        let table = self.names.iter().find(|(name, _)| name.eq_ignore_ascii_case(template));
        let Some((_, names)) = table else { return Ok(RequestedNames::default()) };
        Ok(RequestedNames::new(names.subject.as_deref(), &names.dns, &names.email, &names.ip)?)
    }
}

fn usual() -> Option<PathBuf> {
    if is_root() {
        return Some(PathBuf::from(MACHINE));
    }
    let base = folder("XDG_CONFIG_HOME").or_else(|| folder("HOME").map(|home| home.join(".config")))?;
    Some(base.join("muster/client.toml"))
}

/// Where autoenrollment keeps certificates if nothing else is said: what systemd made for the service, the machine's
/// folder for root, the person's otherwise.
pub(crate) fn usual_store() -> Option<PathBuf> {
    if let Some(given) = folder("STATE_DIRECTORY") {
        return Some(given);
    }
    if is_root() {
        return Some(PathBuf::from("/var/lib/muster-autoenroll"));
    }
    let base = folder("XDG_DATA_HOME").or_else(|| folder("HOME").map(|home| home.join(".local/share")))?;
    Some(base.join("muster/certificates"))
}

fn folder(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// Whether this process is root's; there is none where there is no /proc.
#[cfg(unix)]
pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

#[cfg(not(unix))]
pub(crate) fn is_root() -> bool {
    false
}
