//! Which processes use the database now: one locked file each.
//!
//! An intent names the node that wrote it. At a start, and every minute, the intents of nodes that have ended are
//! given up; those of running nodes must not be touched, since the key may be in use for them this very moment. A
//! file beside the database that its process keeps locked answers that without clocks: the kernel drops the lock
//! when the process ends, however it ends.
//!
//! The file gets its final name only when it is locked, so that nobody sees it unlocked and takes its owner for dead.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use crate::error::StoreError;

pub(super) struct Node {
    database: PathBuf,
    name: String,
    /// Held for its lock.
    file: Option<File>,
}

impl Node {
    /// A new node, with a random name.
    pub(super) fn register(database: &Path) -> Result<Self, StoreError> {
        let mut random = [0u8; 8];
        aws_lc_rs::rand::fill(&mut random)
            .map_err(|_| StoreError::Other("no random numbers from the operating system".to_owned()))?;
        let name: String = random.iter().map(|b| format!("{b:02x}")).collect();
        let mut node = Self { database: database.to_owned(), name, file: None };
        let path = node.path(&node.name);
        let unnamed = path.with_extension("tmp");
        let fail = |e: std::io::Error| StoreError::Other(format!("{} cannot be made: {e}", path.display()));
        let file = File::create_new(&unnamed).map_err(fail)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(e)) => return Err(fail(e)),
            Err(TryLockError::WouldBlock) => return Err(fail(std::io::ErrorKind::WouldBlock.into())),
        }
        std::fs::rename(&unnamed, &path).map_err(fail)?;
        node.file = Some(file);
        Ok(node)
    }

    /// Somebody who only reads.
    pub(super) fn reader(database: &Path) -> Self {
        Self { database: database.to_owned(), name: String::new(), file: None }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn path(&self, name: &str) -> PathBuf {
        let mut file = self.database.file_name().unwrap_or_default().to_owned();
        file.push(format!("-node-{name}"));
        self.database.with_file_name(file)
    }

    /// Those of `candidates` that do not run any more.
    pub(super) fn ended(&self, candidates: Vec<String>) -> Result<Vec<String>, StoreError> {
        let mut ended = Vec::new();
        for name in candidates {
            if name != self.name && !is_locked(&self.path(&name))? {
                ended.push(name);
            }
        }
        Ok(ended)
    }

    /// Whether another process has the database open for writing. Removes the files of those that ended.
    pub(super) fn others_live(&self) -> Result<bool, StoreError> {
        let folder = match self.database.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            Some(_) | None => Path::new("."),
        };
        let prefix = self.path("");
        let prefix = prefix.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut live = false;
        let fail = |e: std::io::Error| StoreError::Other(format!("{} cannot be read: {e}", folder.display()));
        for entry in std::fs::read_dir(folder).map_err(fail)? {
            let path = entry.map_err(fail)?.path();
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            match file.strip_prefix(&prefix) {
                Some(name) if name != self.name && path.extension().is_none_or(|e| e != "tmp") => {
                    if is_locked(&path)? {
                        live = true;
                    } else {
                        drop(std::fs::remove_file(&path));
                    }
                }
                Some(_) | None => {}
            }
        }
        Ok(live)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.file.is_some() {
            drop(std::fs::remove_file(self.path(&self.name)));
        }
    }
}

fn is_locked(path: &Path) -> Result<bool, StoreError> {
    let fail = |e: std::io::Error| StoreError::Other(format!("{} cannot be locked: {e}", path.display()));
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(fail(e)),
    };
    match file.try_lock() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(e)) => Err(fail(e)),
    }
}
