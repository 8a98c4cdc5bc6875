//! The folder of certificates that autoenrollment keeps: one name for each template, behind which key and certificate
//! change together.
//!
//! ```text
//! FOLDER/Computer             → .versions/Computer.2
//! FOLDER/.versions/Computer.2/  template.json key.pem cert.pem chain.pem fullchain.pem
//! FOLDER/.versions/Computer.1/  the one before
//! FOLDER/.pending/Computer/     template.json key.pem request.json: a request under way
//! FOLDER/.lock                  held while a run works
//! FOLDER/.changed               a hook has yet to run
//! ```
//!
//! A request becomes a version by one `rename`, and the link is exchanged by another; there is no instant at which the
//! name leads to a key without its certificate. What a crash leaves, [`CertificateFolder::recover`] finishes:
//!
//! | Left behind | Then |
//! |---|---|
//! | a pending folder without `request.json` and `cert.pem` | removed: nothing was sent |
//! | a pending folder with `request.json` | the request goes on as its state says |
//! | a pending folder with `cert.pem`, which is written last | becomes the newest version |
//! | a version above the one that the link names | the link is set |
//!
//! Old versions stay: what was encrypted to them can be read with their keys only.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Random;
use crate::certificate::Certificate;
use crate::enrollment::{Enrollment, EnrollmentError, OutputFiles, Status};
use crate::files::{self, Access, Existing, FileError};
use crate::key::{PrivateKey, PrivateKeyError};
use crate::policy::Template;

/// A folder of certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFolder {
    root: PathBuf,
}

/// Which template something in the folder is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    version: u32,
    /// The policy's identity.
    pub policy_id: String,
    /// The template's name.
    pub template: String,
    /// Its OID, dotted.
    pub oid: Option<String>,
    /// Its major revision when the certificate was asked for.
    pub major: u32,
    /// Its minor revision.
    pub minor: u32,
}

/// A name in the folder with what stands behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The name.
    pub name: String,
    /// The template.
    pub record: Record,
    /// The certificate in use.
    pub held: Option<Held>,
    /// A request under way.
    pub under: Option<Under>,
}

/// A certificate in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The certificate, or why there is none after all: a damaged file, a key that does not fit.
    pub certificate: Result<Certificate, String>,
    /// Its file.
    pub certificate_file: PathBuf,
    /// Its key's file.
    pub key_file: PathBuf,
    /// The template's revision when it was asked for.
    pub major: u32,
}

/// A request under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Under {
    /// How far it is.
    pub status: Status,
    /// When it was made, seconds since 1970; none if that cannot be read.
    pub started: Option<i64>,
    /// The CA's number.
    pub request_id: Option<String>,
    /// What is needed to go on.
    pub state: PathBuf,
}

/// Held while a run works on the folder.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "the lock goes when the file is closed")] File);

const VERSION: u32 = 1;
/// Octets of `template.json`.
const MAX_RECORD: u64 = 64 << 10;
const RECORD: &str = "template.json";
const KEY: &str = "key.pem";
const CERTIFICATE: &str = "cert.pem";
const CHAIN: &str = "chain.pem";
const FULL_CHAIN: &str = "fullchain.pem";
const STATE: &str = "request.json";
const PENDING: &str = ".pending";
const VERSIONS: &str = ".versions";
const CHANGED: &str = ".changed";
/// Length of a name: template names have at most 64 characters.
const MAX_NAME: usize = 80;

impl CertificateFolder {
    /// This folder; it need not exist yet.
    #[must_use]
    pub const fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Makes the folder if needed and takes its lock; `None` if another run has it.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn lock(&self) -> Result<Option<Lock>, FileError> {
        for folder in [&self.root, &self.pending(), &self.versions()] {
            fs::create_dir_all(folder).map_err(|error| io_error(folder, error))?;
        }
        let file = self.root.join(".lock");
        let opened = File::options().create(true).truncate(false).write(true).open(&file);
        let opened = opened.map_err(|error| io_error(&file, error))?;
        match opened.try_lock() {
            Ok(()) => Ok(Some(Lock(opened))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(io_error(&file, error)),
        }
    }

    /// Finishes what a crash interrupted; the names whose certificate changed by that. Only with the lock.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn recover(&self, random: &dyn Random) -> Result<Vec<String>, FileError> {
        let mut changed = Vec::new();
        for name in names(&self.pending())? {
            let folder = self.pending().join(&name);
            if folder.join(CERTIFICATE).exists() {
                self.install(&name, random)?;
                changed.push(name);
            } else if !folder.join(STATE).exists() {
                self.give_up(&name)?;
            }
        }
        let mut newest: Vec<(String, u32)> = Vec::new();
        for version in names(&self.versions())? {
            let Some((name, number)) = split(&version) else { continue };
            match newest.iter_mut().find(|(known, _)| known == name) {
                Some((_, highest)) => *highest = number.max(*highest),
                None => newest.push((name.to_owned(), number)),
            }
        }
        for (name, number) in newest {
            let target = link_target(&name, number);
            if fs::read_link(self.root.join(&name)).ok() != Some(target) && !changed.contains(&name) {
                self.link(&name, number, random)?;
                changed.push(name);
            }
        }
        Ok(changed)
    }

    /// What the folder holds, in the order of the names. Nothing if there is no folder yet.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn read(&self) -> Result<Vec<Slot>, FileError> {
        let mut slots: Vec<Slot> = Vec::new();
        let mut all = names(&self.root)?;
        all.extend(names(&self.pending())?);
        all.sort();
        all.dedup();
        for name in all {
            let (current, pending) = (self.root.join(&name), self.pending().join(&name));
            let held = Record::read(&current).map(|record| (Held::read(&current, &record), record));
            let under = Under::read(&pending.join(STATE));
            let (held, record) = match (held, Record::read(&pending)) {
                // A request under way is for the template as it is now.
                (Some((held, _)), Some(record)) => (Some(held), record),
                (Some((held, record)), None) => (Some(held), record),
                (None, Some(record)) => (None, record),
                // Something of somebody else's.
                (None, None) => continue,
            };
            slots.push(Slot { name, record, held, under });
        }
        Ok(slots)
    }

    /// A name for a template that has none yet.
    #[must_use]
    pub fn new_name(template: &str, slots: &[Slot]) -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let mut name: String =
            template.chars().take(MAX_NAME).map(|c| if plain(c) { c } else { '_' }).collect();
        if name.is_empty() {
            name.push('_');
        }
        let taken = |name: &str| slots.iter().any(|slot| slot.name.eq_ignore_ascii_case(name));
        let numbered = (2..).map(|number: u32| format!("{name}-{number}"));
        std::iter::once(name.clone()).chain(numbered).find(|name| !taken(name)).unwrap_or(name)
    }

    /// Prepares the place of a request: what it is for, and its key. What was there is given up.
    ///
    /// # Errors
    /// [`PrivateKeyError`] if a file cannot be written.
    pub fn begin(
        &self,
        name: &str,
        record: &Record,
        key: &PrivateKey,
        random: &dyn Random,
    ) -> Result<(OutputFiles, PathBuf), PrivateKeyError> {
        self.give_up(name)?;
        let folder = self.pending().join(name);
        fs::create_dir_all(&folder).map_err(|error| io_error(&folder, error))?;
        let content = serde_json::to_vec_pretty(record).map_err(|error| io_error(&folder, error.into()))?;
        files::write(&folder.join(RECORD), &content, Access::Public, Existing::Replace, random)?;
        key.write(&folder.join(KEY), Existing::Replace, random)?;
        let outputs = OutputFiles {
            key: folder.join(KEY),
            new_key: None,
            certificate: folder.join(CERTIFICATE),
            chain: Some(folder.join(CHAIN)),
            full_chain: Some(folder.join(FULL_CHAIN)),
        };
        Ok((outputs, folder.join(STATE)))
    }

    /// Removes a request that is done with, its key included.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn give_up(&self, name: &str) -> Result<(), FileError> {
        let folder = self.pending().join(name);
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(&folder, error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Whether a request of this name has come to its end.
    #[must_use]
    pub fn is_done(&self, name: &str) -> bool {
        !self.pending().join(name).join(STATE).exists()
    }

    /// Puts a certificate that has arrived, with its key, behind its name.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn install(&self, name: &str, random: &dyn Random) -> Result<(), FileError> {
        let from = self.pending().join(name);
        let state = from.join(STATE);
        match fs::remove_file(&state) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error(&state, error)),
            Ok(()) | Err(_) => {}
        }
        let numbers = names(&self.versions())?;
        let numbers = numbers.iter().filter_map(|version| split(version)).filter(|(of, _)| *of == name);
        let number = numbers.map(|(_, number)| number).max().unwrap_or(0).saturating_add(1);
        let to = self.versions().join(format!("{name}.{number}"));
        fs::rename(&from, &to).map_err(|error| io_error(&to, error))?;
        self.link(name, number, random)
    }

    /// Notes that a hook has to run, before anything changes.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn mark_changed(&self, name: &str, random: &dyn Random) -> Result<(), FileError> {
        let mut all = self.changed();
        if !all.iter().any(|known| known == name) {
            all.push(name.to_owned());
        }
        let content = all.join("\n");
        files::write(&self.root.join(CHANGED), content.as_bytes(), Access::Public, Existing::Replace, random)
    }

    /// The names for which a hook has to run.
    #[must_use]
    pub fn changed(&self) -> Vec<String> {
        let content = files::read(&self.root.join(CHANGED), MAX_RECORD).unwrap_or_default();
        String::from_utf8_lossy(&content).lines().map(str::to_owned).collect()
    }

    /// The hook has run.
    pub fn clear_changed(&self) {
        // If it stays, the hook runs once more, which does no harm.
        let _ = fs::remove_file(self.root.join(CHANGED));
    }

    /// The certificate in use under a name.
    #[must_use]
    pub fn certificate_file(&self, name: &str) -> PathBuf {
        self.root.join(name).join(CERTIFICATE)
    }

    fn pending(&self) -> PathBuf {
        self.root.join(PENDING)
    }

    fn versions(&self) -> PathBuf {
        self.root.join(VERSIONS)
    }

    /// Exchanges the link in one step.
    fn link(&self, name: &str, number: u32, random: &dyn Random) -> Result<(), FileError> {
        let link = self.root.join(name);
        let temporary = self.root.join(format!(".{name}.{:016x}", random.below(usize::MAX)));
        let set =
            symlink(&link_target(name, number), &temporary).and_then(|()| fs::rename(&temporary, &link));
        if let Err(error) = set {
            // The error that matters is the first one.
            let _ = fs::remove_file(&temporary);
            return Err(io_error(&link, error));
        }
        // The exchange is durable only once the folder is.
        if let Ok(folder) = File::open(&self.root) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

#[cfg(unix)]
fn symlink(to: &Path, at: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(to, at)
}

#[cfg(not(unix))]
fn symlink(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

fn link_target(name: &str, number: u32) -> PathBuf {
    Path::new(VERSIONS).join(format!("{name}.{number}"))
}

/// `Computer.2` is the second version of `Computer`.
fn split(version: &str) -> Option<(&str, u32)> {
    let (name, number) = version.rsplit_once('.')?;
    Some((name, number.parse().ok()?))
}

/// Names in a folder that are not hidden; none if there is no folder.
fn names(folder: &Path) -> Result<Vec<String>, FileError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| io_error(folder, error))?,
    };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
    names.sort();
    Ok(names)
}

fn io_error(file: &Path, error: io::Error) -> FileError {
    FileError::Io { file: file.to_owned(), error }
}

impl Record {
    /// Of a template as the policy has it now.
    #[must_use]
    pub fn new(policy_id: &str, template: Template<'_>) -> Self {
        let revision = template.attributes().revision;
        Self {
            version: VERSION,
            policy_id: policy_id.to_owned(),
            template: template.name().to_owned(),
            oid: template.oid().map(str::to_owned),
            major: revision.major_revision,
            minor: revision.minor_revision,
        }
    }

    fn read(folder: &Path) -> Option<Self> {
        let content = files::read(&folder.join(RECORD), MAX_RECORD).ok()?;
        serde_json::from_slice(&content).ok().filter(|record: &Self| record.version == VERSION)
    }

    /// Whether it is of this template: by OID, which no other template bears; without OIDs by policy and name.
    #[must_use]
    pub fn is_of(&self, policy_id: &str, template: Template<'_>) -> bool {
        match (self.oid.as_deref(), template.oid()) {
            (Some(ours), Some(theirs)) => ours == theirs,
            (_, _) => self.policy_id == policy_id && self.template.eq_ignore_ascii_case(template.name()),
        }
    }
}

impl Held {
    fn read(folder: &Path, record: &Record) -> Self {
        let (certificate_file, key_file) = (folder.join(CERTIFICATE), folder.join(KEY));
        let certificate = match Certificate::from_file(&certificate_file) {
            Err(error) => Err(error.to_string()),
            Ok(Err(error)) => Err(format!("{}: {error}", certificate_file.display())),
            Ok(Ok(certificate)) => match PrivateKey::from_file(&key_file) {
                Err(error) => Err(error.to_string()),
                Ok(key) if certificate.has_key(key.public()) => Ok(certificate),
                Ok(_) => Err(format!("{} is not the certificate's key", key_file.display())),
            },
        };
        Self { certificate, certificate_file, key_file, major: record.major }
    }
}

impl Under {
    fn read(state: &Path) -> Option<Self> {
        let loaded = match Enrollment::load(state) {
            Ok(loaded) => loaded,
            Err(EnrollmentError::File(_)) => return None,
            // A damaged state is of no more use than one that is too old.
            Err(_) => {
                let (status, state) = (Status::Unknown, state.to_owned());
                return Some(Self { status, started: None, request_id: None, state });
            }
        };
        Some(Self {
            status: loaded.status,
            started: loaded.started.parse().ok().map(|time: crate::DateTime| time.unix()),
            request_id: loaded.request_id,
            state: state.to_owned(),
        })
    }
}
