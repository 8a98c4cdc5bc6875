//! What group policy says about enrollment: policy servers and what autoenrollment may do (MS-CAESO 4.4.5.3.2), registry
//! values below `Software\Policies\Microsoft\Cryptography`.
//!
//! On a joined Linux machine the values stand in `Registry.pol` files: in SYSVOL, and in the folders where Samba's and
//! Ubuntu's programs keep copies of them. Which group policy objects apply, and in which order, the directory knows;
//! those programs fetch the ones that apply. Where two of them name the same server, the file read last wins.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use muster_proto::xcep::ClientAuthentication;
use thiserror::Error;

use crate::Endpoint;
use crate::failover::Candidate;
use crate::files::{self, FileError};

pub use registry_pol::{RegistryData, RegistryPolError, RegistryValue};

pub mod registry_pol;

/// Where programs that apply group policy on Linux keep its files: Samba (Debian, others), Ubuntu's.
pub const CACHES: [&str; 3] =
    ["/var/cache/samba/gpo_cache", "/var/lib/samba/gpo_cache", "/var/cache/adsys/sysvol"];

/// Everything that group policy says about enrollment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupPolicy {
    /// Policy servers in the order in which they are to be asked, those of one policy together.
    pub servers: Vec<PolicyServer>,
    /// What stands below the key of policy servers and is none that can be used, with the reason.
    pub unusable: Vec<(String, String)>,
    /// What autoenrollment may do; none if group policy says nothing about it.
    pub autoenrollment: Option<Autoenrollment>,
}

/// A policy server that group policy names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyServer {
    /// Its URL.
    pub endpoint: Endpoint,
    /// How it authenticates its callers.
    pub authentication: ClientAuthentication,
    /// Identifies the policy: servers with the same one are equals.
    pub policy_id: String,
    /// Name for people.
    pub friendly_name: String,
    /// Lower is preferred.
    pub cost: u32,
    /// Whether autoenrollment uses it.
    pub autoenroll: bool,
}

/// `AEPolicy`: what autoenrollment may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Autoenrollment(pub u32);

impl Autoenrollment {
    /// Everything is allowed.
    pub const ALL: Self = Self(7);

    /// Whether certificates may be asked for as templates say.
    #[must_use]
    pub const fn enrolls(self) -> bool {
        self.0 & 0x8001 == 1
    }

    /// Whether certificates may be renewed.
    #[must_use]
    pub const fn renews(self) -> bool {
        self.0 & 0x8002 == 2
    }

    /// Whether pending requests may be asked about.
    #[must_use]
    pub const fn fetches(self) -> bool {
        self.0 & 0x8004 == 4
    }

    /// Whether it is switched off.
    #[must_use]
    pub const fn is_disabled(self) -> bool {
        self.0 & 0x8000 != 0
    }
}

/// Why group policy cannot be read.
#[derive(Debug, Error)]
pub enum GroupPolicyError {
    /// A file or folder cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file is no `Registry.pol`.
    #[error("{}: {error}", .file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        error: RegistryPolError,
    },
    /// There is no `Registry.pol` in any of these folders.
    #[error("no Registry.pol below {}", list(.0))]
    None(Vec<PathBuf>),
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

impl GroupPolicyError {
    /// What to do about it.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::File(_) => "check the path and its permissions",
            Self::Damaged { .. } => "fetch the file anew from SYSVOL",
            Self::None(_) => {
                "apply group policy first (samba-gpupdate, or adsysctl update), or name a Registry.pol or a copy of SYSVOL"
            }
        }
    }
}

const CRYPTOGRAPHY: &str = r"software\policies\microsoft\cryptography";
/// Cost of a server without one.
const DEFAULT_COST: u32 = 0x7fff_ffff;
/// `Flags` of a policy server: autoenrollment uses it.
const AUTOENROLL: u32 = 0x10;
/// `Flags` of the list: the list of group policy is switched off.
const DISABLE_LIST: u32 = 2;
/// Folders within folders: a domain, `Policies`, an object, `Machine`.
const MAX_DEPTH: usize = 6;
/// Files of one tree: more objects than apply to one machine.
const MAX_FILES: usize = 1000;

/// Whose settings: the machine's or a user's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The computer configuration.
    Machine,
    /// The user configuration.
    User,
}

/// The `Registry.pol` files below a folder, or the file itself, in the order of their paths.
///
/// # Errors
/// [`GroupPolicyError::File`] if the path cannot be read.
pub fn find(path: &Path, scope: Scope) -> Result<Vec<PathBuf>, GroupPolicyError> {
    let wrap = |error| FileError::Io { file: path.to_owned(), error };
    if !fs::metadata(path).map_err(wrap)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    let mut folders = vec![(path.to_owned(), 0_usize)];
    while let Some((folder, depth)) = folders.pop() {
        // A folder that vanished or is closed to us holds nothing for us.
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten().take(MAX_FILES) {
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() && depth < MAX_DEPTH {
                folders.push((entry.path(), depth.saturating_add(1)));
            } else if kind.is_file() && is_named(&entry.path(), "registry.pol") {
                let folder = match scope {
                    Scope::Machine => "machine",
                    Scope::User => "user",
                };
                if entry.path().parent().is_some_and(|parent| is_named(parent, folder))
                    && found.len() < MAX_FILES
                {
                    found.push(entry.path());
                }
            }
        }
    }
    found.sort();
    Ok(found)
}

/// File systems of domain controllers do not tell cases apart, and copies are written in either.
fn is_named(path: &Path, name: &str) -> bool {
    path.file_name().is_some_and(|found| found.eq_ignore_ascii_case(name))
}

/// Reads group policy from these files and folders, or from the folders of the programs that apply it.
///
/// # Errors
/// [`GroupPolicyError`].
pub fn read(paths: &[PathBuf], scope: Scope) -> Result<GroupPolicy, GroupPolicyError> {
    let mut files = Vec::new();
    let known: Vec<PathBuf> = CACHES.iter().map(PathBuf::from).collect();
    if paths.is_empty() {
        for path in known.iter().filter(|path| path.is_dir()) {
            files.extend(find(path, scope)?);
        }
    }
    for path in paths {
        files.extend(find(path, scope)?);
    }
    if files.is_empty() {
        return Err(GroupPolicyError::None(if paths.is_empty() { known } else { paths.to_vec() }));
    }
    let mut values = Vec::new();
    for file in files {
        let content = files::read(&file, registry_pol::MAX_FILE)?;
        let read = registry_pol::parse(&content)
            .map_err(|error| GroupPolicyError::Damaged { file: file.clone(), error })?;
        values.extend(read);
    }
    Ok(GroupPolicy::from_values(&values))
}

#[derive(Default)]
struct Entry {
    url: Option<String>,
    policy_id: Option<String>,
    friendly_name: Option<String>,
    flags: Option<u32>,
    auth_flags: Option<u32>,
    cost: Option<u32>,
}

impl GroupPolicy {
    /// From registry values in the order of their effect.
    #[must_use]
    pub fn from_values(values: &[RegistryValue]) -> Self {
        let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
        let mut policy = Self::default();
        let mut list_flags = 0;
        for RegistryValue { key, name, data } in values {
            let key = key.to_ascii_lowercase();
            let Some(below) = key.strip_prefix(CRYPTOGRAPHY).and_then(|rest| rest.strip_prefix('\\')) else {
                continue;
            };
            let name = name.to_ascii_lowercase();
            if below == "autoenrollment" && name == "aepolicy" {
                policy.autoenrollment = data.number().map(Autoenrollment);
            } else if below == "policyservers" && name == "flags" {
                list_flags = data.number().unwrap_or(0);
            } else if let Some(server) = below.strip_prefix(r"policyservers\") {
                entries.entry(server.to_owned()).or_default().set(&name, data);
            }
        }
        for (key, entry) in entries {
            match entry.server() {
                Ok(server) => policy.servers.push(server),
                Err(reason) => policy.unusable.push((entry.url.unwrap_or(key), reason)),
            }
        }
        if list_flags & DISABLE_LIST != 0 {
            for server in policy.servers.drain(..) {
                let reason = "group policy switches its own list off".to_owned();
                policy.unusable.push((server.endpoint.to_string(), reason));
            }
        }
        policy.servers.sort_by_key(PolicyServer::rank);
        policy.together();
        policy
    }

    /// Brings servers of one policy together: policies in the order of their best server.
    fn together(&mut self) {
        let order: Vec<String> = self.servers.iter().map(|server| server.policy_id.clone()).collect();
        self.servers.sort_by_key(|server| order.iter().position(|id| *id == server.policy_id));
    }

    /// The servers by policy, each with what is needed to ask.
    #[must_use]
    pub fn policies(&self, wanted: impl Fn(&PolicyServer) -> bool) -> Vec<Vec<Candidate>> {
        let mut policies: Vec<(&str, Vec<Candidate>)> = Vec::new();
        for server in self.servers.iter().filter(|server| wanted(server)) {
            match policies.last_mut() {
                Some((id, servers)) if *id == server.policy_id => servers.push(server.candidate()),
                Some(_) | None => policies.push((&server.policy_id, vec![server.candidate()])),
            }
        }
        policies.into_iter().map(|(_, servers)| servers).collect()
    }
}

impl Entry {
    fn set(&mut self, name: &str, data: &RegistryData) {
        match name {
            "url" => self.url = data.text(),
            "policyid" => self.policy_id = data.text(),
            "friendlyname" => self.friendly_name = data.text(),
            "flags" => self.flags = data.number(),
            "authflags" => self.auth_flags = data.number(),
            "cost" => self.cost = data.number(),
            // What one policy object deletes the next may set again.
            "**delvals." => *self = Self::default(),
            "**del.url" => self.url = None,
            _ => {}
        }
    }

    fn server(&self) -> Result<PolicyServer, String> {
        let url = self.url.as_deref().ok_or("it has no URL")?;
        if url.eq_ignore_ascii_case("ldap:") {
            return Err("this client does not read templates from the directory".to_owned());
        }
        let endpoint: Endpoint = url.parse().map_err(|error: crate::EndpointError| error.to_string())?;
        Ok(PolicyServer {
            // Without an identity it is a policy of its own.
            policy_id: self.policy_id.clone().filter(|id| !id.is_empty()).unwrap_or_else(|| url.to_owned()),
            friendly_name: self.friendly_name.clone().unwrap_or_default(),
            authentication: ClientAuthentication(self.auth_flags.unwrap_or(ClientAuthentication::KERBEROS.0)),
            cost: self.cost.unwrap_or(DEFAULT_COST),
            autoenroll: self.flags.is_some_and(|flags| flags & AUTOENROLL != 0),
            endpoint,
        })
    }
}

impl PolicyServer {
    /// MS-CAESO 4.4.5.3.2.3: by cost; among equal costs Kerberos, then anonymous, then the rest.
    fn rank(&self) -> (u32, u8) {
        let preference = match self.authentication {
            ClientAuthentication::KERBEROS => 0,
            ClientAuthentication::ANONYMOUS => 1,
            _ => 2,
        };
        (self.cost, preference)
    }

    fn candidate(&self) -> Candidate {
        Candidate {
            endpoint: self.endpoint.clone(),
            authentication: self.authentication,
            priority: Some(self.cost),
            renewal_only: false,
        }
    }
}

impl RegistryData {
    fn text(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Number(_) | Self::Other(_) => None,
        }
    }

    const fn number(&self) -> Option<u32> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(_) | Self::Other(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
