//! Policies on disk, until their next update.
//!
//! One file for each URL, way to authenticate and user, since the answer depends on all three. It holds the answer as
//! it came; nothing in it is secret. A file that cannot be read or understood counts as absent: the worst that
//! happens is a question that could have been saved.

use std::fs;
use std::path::PathBuf;

use aws_lc_rs::digest::{SHA256, digest};
use muster_proto::soap::xml::Limits;
use muster_proto::soap::{DateTime, Envelope};
use muster_proto::xcep::{ClientAuthentication, GetPoliciesResponse};
use serde::{Deserialize, Serialize};

use crate::files::{self, Access, Existing, FileError};
use crate::{Endpoint, Random};

/// A directory of policies.
#[derive(Clone, Debug)]
pub struct Cache {
    directory: PathBuf,
}

/// Whose policy an entry is.
#[derive(Clone, Copy, Debug)]
pub struct CacheKey<'a> {
    /// Where it came from.
    pub endpoint: &'a Endpoint,
    /// How the caller authenticated.
    pub authentication: ClientAuthentication,
    /// The user name, or another name for the caller; empty if there is none.
    pub caller: &'a str,
}

/// A policy that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The answer.
    pub answer: GetPoliciesResponse,
    /// The message that it came in.
    pub message: String,
    /// When it was asked for.
    pub last_update: DateTime,
    /// When to ask again.
    pub next_update: DateTime,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    url: String,
    authentication: u32,
    caller: String,
    policy_id: String,
    last_update: String,
    next_update: String,
    message: String,
}

const VERSION: u32 = 1;
/// Octets of a file: the longest answer, escaped as JSON.
const MAX_FILE: u64 = 20 << 20;

impl Cache {
    /// In this directory, which is made when something is stored.
    #[must_use]
    pub const fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// The entry for this caller.
    #[must_use]
    pub fn load(&self, key: CacheKey<'_>) -> Option<Entry> {
        let content = files::read(&self.file(key), MAX_FILE).ok()?;
        let file: File = serde_json::from_slice(&content).ok()?;
        let fits = file.version == VERSION
            && file.url == key.endpoint.as_str()
            && file.authentication == key.authentication.0
            && file.caller == key.caller;
        if !fits {
            return None;
        }
        let envelope = Envelope::parse(file.message.as_bytes(), &Limits::RESPONSE).ok()?;
        let answer = GetPoliciesResponse::parse(&envelope.body).ok()?;
        (answer.response.policy_id == file.policy_id).then_some(())?;
        let (last_update, next_update) = (file.last_update.parse().ok()?, file.next_update.parse().ok()?);
        Some(Entry { answer, message: file.message, last_update, next_update })
    }

    /// Keeps an entry.
    ///
    /// # Errors
    /// [`FileError`]; the caller goes on without.
    pub fn store(&self, key: CacheKey<'_>, entry: &Entry, random: &dyn Random) -> Result<(), FileError> {
        let wrap = |error| FileError::Io { file: self.directory.clone(), error };
        fs::create_dir_all(&self.directory).map_err(wrap)?;
        let file = File {
            version: VERSION,
            url: key.endpoint.as_str().to_owned(),
            authentication: key.authentication.0,
            caller: key.caller.to_owned(),
            policy_id: entry.answer.response.policy_id.clone(),
            last_update: entry.last_update.to_string(),
            next_update: entry.next_update.to_string(),
            message: entry.message.clone(),
        };
        let content = serde_json::to_vec_pretty(&file).map_err(|error| wrap(error.into()))?;
        files::write(&self.file(key), &content, Access::Private, Existing::Replace, random)
    }

    fn file(&self, key: CacheKey<'_>) -> PathBuf {
        // A line feed occurs in none of the parts.
        let name = format!("{}\n{}\n{}", key.endpoint, key.authentication.0, key.caller);
        let hash = digest(&SHA256, name.as_bytes());
        let hex: String = hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        self.directory.join(format!("policy-{hex}.json"))
    }
}
