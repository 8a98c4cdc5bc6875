//! Templates and CAs as the directory has them now: read whole, published at once, kept in a file for a start without
//! the directory.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use muster_core::time::UnixTime;
use tokio::sync::watch;

use crate::directory::{Directory, DirectorySettings};
use crate::entry::RawEntry;
use crate::ldap::{Entry, Filter, LdapError, Search, Session};
use crate::snapshot::Snapshot;

/// More templates, CAs and identifiers than any forest has.
const MAX_OBJECTS: usize = 20_000;
/// Largest state file that is read, octets.
const MAX_FILE: u64 = 64 << 20;
/// The file is written when something changed, and now and then so that its time says how old it may be.
const REWRITE: i64 = 600;

/// Templates and CAs, and where they are from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveSnapshot {
    /// Templates and CAs.
    pub snapshot: Snapshot,
    /// Where from.
    pub source: Source,
    /// Counts the changes of content since the start, from 1; the same content read again has the same number.
    pub revision: u64,
}

/// Where templates and CAs were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// From this domain controller.
    Server(String),
    /// From the state file: the directory has not been reached since the start.
    File,
}

/// The templates and CAs of a forest, always the last ones known.
#[derive(Debug)]
pub struct Live {
    current: watch::Sender<Option<Arc<LiveSnapshot>>>,
    file: Option<PathBuf>,
}

impl Live {
    pub(crate) fn start(settings: &DirectorySettings) -> Self {
        let file = settings.state_file.clone();
        let kept = file.as_deref().and_then(|file| match load(file) {
            Ok(snapshot) => Some(Arc::new(LiveSnapshot { snapshot, source: Source::File, revision: 1 })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(file = %file.display(), %error, "the last known templates cannot be read");
                None
            }
        });
        Self { current: watch::Sender::new(kept), file }
    }

    /// The last ones known; `None` until they have been read for the first time.
    #[must_use]
    pub fn current(&self) -> Option<Arc<LiveSnapshot>> {
        self.current.borrow().clone()
    }

    /// To wait for changes of content.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Option<Arc<LiveSnapshot>>> {
        self.current.subscribe()
    }

    /// Reads everything again.
    pub(crate) async fn refresh(&self, directory: &Directory, session: &Session) -> Result<(), LdapError> {
        let snapshot = read(directory, session).await?;
        let before = self.current();
        let written = before.as_ref().map_or(UnixTime(0), |before| before.snapshot.read_at);
        let same = before.as_ref().is_some_and(|before| same(&before.snapshot, &snapshot));
        let revision = before.map_or(1, |before| before.revision + u64::from(!same));
        let rewrite = !same || snapshot.read_at.0.div_euclid(REWRITE) != written.0.div_euclid(REWRITE);
        let source = Source::Server(session.server.to_string());
        let now = Arc::new(LiveSnapshot { snapshot, source, revision });
        if !same {
            let (templates, authorities) = (now.snapshot.templates.len(), now.snapshot.authorities.len());
            tracing::info!(templates, authorities, revision, "templates of the directory read");
        }
        self.current.send_if_modified(|current| {
            *current = Some(Arc::clone(&now));
            !same
        });
        if let Some(file) = self.file.clone().filter(|_| rewrite) {
            let stored = tokio::task::spawn_blocking(move || store(&file, &now.snapshot)).await;
            match stored {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the last known templates cannot be kept"),
                Err(error) => tracing::warn!(%error, "the last known templates cannot be kept"),
            }
        }
        Ok(())
    }
}

/// Everything below Public Key Services that enrollment needs, in one search.
async fn read(directory: &Directory, session: &Session) -> Result<Snapshot, LdapError> {
    let classes = ["pKICertificateTemplate", "pKIEnrollmentService", "msPKI-Enterprise-Oid"];
    let filter = Filter::Or(classes.map(|class| Filter::text("objectClass", class)).to_vec());
    let base = session.root.public_key_services();
    let search = Search::below(base, filter, &["*", "nTSecurityDescriptor"], MAX_OBJECTS);
    let mut entries = directory.client().search(Search { descriptor: true, ..search }).await?;
    // The container of the identifiers is of their class.
    let container = format!("CN=OID,{}", session.root.public_key_services());
    entries.retain(|entry| !entry.dn.eq_ignore_ascii_case(&container));
    let of = |class: &str| -> Vec<RawEntry> {
        let is = |entry: &&Entry| entry.texts("objectClass").any(|found| found.eq_ignore_ascii_case(class));
        entries.iter().filter(is).map(raw).collect()
    };
    let [templates, authorities, oids] = classes.map(of);
    Ok(Snapshot::build(&templates, &authorities, &oids, directory.clock().now()))
}

fn raw(entry: &Entry) -> RawEntry {
    let plain = |name: &str| name.split(';').next().unwrap_or_default().to_owned();
    RawEntry::new(
        entry.dn.clone(),
        entry.attributes.iter().map(|(name, values)| (plain(name), values.clone())),
    )
}

/// Equal but for the time of reading.
fn same(a: &Snapshot, b: &Snapshot) -> bool {
    a.templates == b.templates && a.authorities == b.authorities && a.oids == b.oids && a.damaged == b.damaged
}

fn load(file: &Path) -> io::Result<Snapshot> {
    if fs::metadata(file)?.len() > MAX_FILE {
        return Err(io::Error::other("the file is too large"));
    }
    serde_json::from_slice(&fs::read(file)?).map_err(io::Error::other)
}

/// Replaces the file so that a crash leaves either the old or the new one.
fn store(file: &Path, snapshot: &Snapshot) -> io::Result<()> {
    let fresh = file.with_extension("new");
    let mut out = fs::File::create(&fresh)?;
    out.write_all(&serde_json::to_vec(snapshot).map_err(io::Error::other)?)?;
    out.sync_all()?;
    fs::rename(&fresh, file)
}

/// How long ago templates and CAs were read.
#[must_use]
pub fn age(snapshot: &LiveSnapshot, now: UnixTime) -> Duration {
    Duration::from_secs(u64::try_from(now.since(snapshot.snapshot.read_at)).unwrap_or_default())
}
