//! Who may read what is secret: the folder of an installation and the private key of its TLS certificate.

use std::path::Path;

/// Makes a folder that only its owner can enter, or makes sure that one is such.
///
/// An empty folder of ours is closed to others. One with files in it is left alone: what is in there may be for others,
/// or may have been put there by them.
///
/// # Errors
/// A sentence with the command that mends it.
pub(crate) fn folder(path: &Path) -> Result<(), String> {
    let wrong = |e: std::io::Error| format!("{}: {e}", path.display());
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(wrong)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let metadata = std::fs::metadata(path).map_err(wrong)?;
        // Without /proc it is not known who we are; then writing into a folder of somebody else mostly fails.
        let own = std::fs::metadata("/proc/self").map(|own| own.uid()).ok();
        if own.is_some_and(|own| own != metadata.uid()) {
            return Err(format!(
                "the folder {} belongs to another user (uid {}): run this as that user, or name another folder",
                path.display(),
                metadata.uid()
            ));
        }
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            if std::fs::read_dir(path).map_err(wrong)?.next().is_some() {
                return Err(format!(
                    "others can get into the folder {} (mode {mode:o}): run chmod 700 on it, or name another folder",
                    path.display()
                ));
            }
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).map_err(wrong)?;
        }
    }
    Ok(())
}

/// The mode of a file that everybody on this machine can read. A group may: there are some for exactly that.
#[cfg(unix)]
pub(crate) fn open_to_all(path: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o007 != 0).then_some(mode)
}

/// What there are no modes for cannot be seen.
#[cfg(not(unix))]
pub(crate) fn open_to_all(_: &Path) -> Option<u32> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn folders_are_made_closed_or_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let made = root.path().join("a/b");
        folder(&made).unwrap();
        assert_eq!(mode(&made), 0o700);
        // Empty and ours.
        std::fs::set_permissions(&made, std::fs::Permissions::from_mode(0o755)).unwrap();
        folder(&made).unwrap();
        assert_eq!(mode(&made), 0o700);
        std::fs::write(made.join("file"), "").unwrap();
        folder(&made).unwrap();
        std::fs::set_permissions(&made, std::fs::Permissions::from_mode(0o750)).unwrap();
        let refused = folder(&made).unwrap_err();
        assert!(refused.ends_with("(mode 750): run chmod 700 on it, or name another folder"), "{refused}");
        assert_eq!(mode(&made), 0o750);
    }

    #[test]
    fn files_of_a_group_are_not_open_to_all() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("key");
        std::fs::write(&file, "").unwrap();
        for (mode, open) in [(0o600, None), (0o640, None), (0o644, Some(0o644)), (0o602, Some(0o602))] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(open_to_all(&file), open);
        }
    }
}
