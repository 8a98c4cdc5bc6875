//! Writes files whole or not at all, private ones readable by their owner only.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::Random;

/// Who may read a file that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Its owner only, mode 0600.
    Private,
    /// Everybody, mode 0644.
    Public,
}

/// Whether a file that exists may be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and writing fails.
    Keep,
    /// It is replaced.
    Replace,
}

/// Why a file could not be written or read.
#[derive(Debug, Error)]
pub enum FileError {
    /// The file exists and may not be replaced.
    #[error("{} exists", .0.display())]
    Exists(PathBuf),
    /// The system refused.
    #[error("{}: {error}", .file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl FileError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Exists(_) => "give another name, or --force to replace it",
            Self::Io { error, .. } if error.kind() == io::ErrorKind::NotFound => "check the path",
            Self::Io { error, .. } if error.kind() == io::ErrorKind::StorageFull => "free some disk space",
            Self::Io { .. } => "check the permissions of the file and its directory",
        }
    }
}

/// Writes a file: complete, on disk, and under its name, or not at all.
///
/// The content goes to a new file beside it, with the final mode from the start, and is renamed (or, with
/// [`Existing::Keep`], linked, which fails if the name exists).
///
/// # Errors
/// [`FileError`].
pub fn write(
    file: &Path,
    content: &[u8],
    access: Access,
    existing: Existing,
    random: &dyn Random,
) -> Result<(), FileError> {
    let wrap = |error| FileError::Io { file: file.to_owned(), error };
    let directory = match file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let name = file.file_name().ok_or_else(|| wrap(io::ErrorKind::InvalidInput.into()))?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{:016x}", random.below(usize::MAX)));
    let temporary = directory.join(temporary);

    let result = write_new(&temporary, content, access).and_then(|()| match existing {
        Existing::Replace => fs::rename(&temporary, file),
        Existing::Keep => fs::hard_link(&temporary, file).and_then(|()| fs::remove_file(&temporary)),
    });
    if let Err(error) = result {
        // The error that matters is the first one.
        let _ = fs::remove_file(&temporary);
        return Err(match (existing, error.kind()) {
            (Existing::Keep, io::ErrorKind::AlreadyExists) => FileError::Exists(file.to_owned()),
            _ => wrap(error),
        });
    }
    // The name is durable only once the directory is; where directories cannot be opened there is nothing to do.
    if let Ok(directory) = File::open(directory) {
        let _ = directory.sync_all();
    }
    Ok(())
}

fn write_new(file: &Path, content: &[u8], access: Access) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    set_mode(&mut options, access);
    let mut file = options.open(file)?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(unix)]
fn set_mode(options: &mut OpenOptions, access: Access) {
    use std::os::unix::fs::OpenOptionsExt as _;
    options.mode(match access {
        Access::Private => 0o600,
        Access::Public => 0o644,
    });
}

#[cfg(not(unix))]
fn set_mode(_: &mut OpenOptions, _: Access) {}

/// Fails if a file exists that may not be replaced, before any work is done for it.
///
/// # Errors
/// [`FileError::Exists`].
pub fn check(file: &Path, existing: Existing) -> Result<(), FileError> {
    // A dangling link counts as existing.
    if existing == Existing::Keep && fs::symlink_metadata(file).is_ok() {
        return Err(FileError::Exists(file.to_owned()));
    }
    Ok(())
}

/// Reads a file of at most `limit` octets.
///
/// # Errors
/// [`FileError::Io`].
pub fn read(file: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    use io::Read as _;

    let read = || {
        let mut content = Vec::new();
        let read = File::open(file)?.take(limit.saturating_add(1)).read_to_end(&mut content)?;
        if u64::try_from(read).is_ok_and(|read| read <= limit) {
            Ok(content)
        } else {
            Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file is too large"))
        }
    };
    read().map_err(|error| FileError::Io { file: file.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemRandom;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn private_file_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt as _;

        let directory = tempfile::tempdir().unwrap();
        for (name, access, mode) in [("key", Access::Private, 0o600), ("cert", Access::Public, 0o644)] {
            let file = directory.path().join(name);
            write(&file, b"content", access, Existing::Keep, &SystemRandom::new()).unwrap();
            assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, mode & 0o777, "{name}");
            assert_eq!(fs::read(&file).unwrap(), b"content");
        }
        assert_eq!(names(directory.path()), ["cert", "key"]);
    }

    #[test]
    fn existing_file_stays_unless_it_may_be_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key");
        let random = SystemRandom::new();
        write(&file, b"old", Access::Private, Existing::Keep, &random).unwrap();
        let error = write(&file, b"new", Access::Private, Existing::Keep, &random).unwrap_err();
        assert!(matches!(error, FileError::Exists(_)), "{error}");
        assert!(check(&file, Existing::Keep).is_err());
        assert_eq!(fs::read(&file).unwrap(), b"old");
        write(&file, b"new", Access::Private, Existing::Replace, &random).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert_eq!(names(directory.path()), ["key"]);
    }

    #[test]
    fn missing_directory_is_reported() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("no/such/key");
        let error = write(&file, b"", Access::Private, Existing::Keep, &SystemRandom::new()).unwrap_err();
        assert_eq!(error.hint(), "check the path");
    }

    #[test]
    fn long_file_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("f");
        fs::write(&file, b"12345").unwrap();
        assert_eq!(read(&file, 5).unwrap(), b"12345");
        assert!(read(&file, 4).is_err());
    }
}
