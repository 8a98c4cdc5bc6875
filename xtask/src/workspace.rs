//! What the tasks know about the repository: its root, its files, its crates and their dependencies.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// Cargo as it runs us.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    // Set by the cargo that runs us; it would tie the ones that we run to its toolchain's paths.
    command.env_remove("CARGO_MANIFEST_DIR");
    command
}

/// The files that are, or with the next `git add -A` would be, in the repository; with `/` between folders.
pub(crate) fn files() -> Result<Vec<String>> {
    let root = root();
    let listing = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(&root)
        .output()
        .context("git is needed to list the repository's files")?;
    if !listing.status.success() {
        bail!("git ls-files: {}", String::from_utf8_lossy(&listing.stderr).trim());
    }
    let listing = String::from_utf8(listing.stdout).context("a file name is not UTF-8")?;
    let mut files: Vec<String> =
        listing.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    files.retain(|name| root.join(name).is_file());
    files.sort_unstable();
    files.dedup();
    Ok(files)
}

/// What kind of dependency an edge between two crates is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Part of the product.
    Normal,
    /// Of a build script.
    Build,
    /// Of tests alone.
    Dev,
}

/// A crate of this workspace.
pub(crate) struct Member {
    pub(crate) name: String,
    /// The other members on which it depends.
    pub(crate) edges: Vec<(String, Kind)>,
    /// Integration tests, the stems of `tests/*.rs`.
    pub(crate) integration_tests: Vec<String>,
    /// Has a library whose documentation can hold tests.
    pub(crate) library: bool,
}

/// A crate of others, as the lock file pins it.
pub(crate) struct Foreign {
    pub(crate) name: String,
    pub(crate) version: String,
    /// The SPDX expression that it declares.
    pub(crate) licence: Option<String>,
    /// Where cargo gets it.
    pub(crate) source: String,
}

/// What `cargo metadata` says.
pub(crate) struct Metadata {
    pub(crate) members: Vec<Member>,
    pub(crate) foreign: Vec<Foreign>,
}

impl Metadata {
    /// Asks cargo.
    pub(crate) fn read() -> Result<Self> {
        let answer = cargo().args(["metadata", "--format-version=1", "--locked"]).output()?;
        if !answer.status.success() {
            bail!("cargo metadata: {}", String::from_utf8_lossy(&answer.stderr).trim());
        }
        Self::from_json(&serde_json::from_slice(&answer.stdout)?)
    }

    fn from_json(metadata: &Value) -> Result<Self> {
        let packages = array(metadata, "packages")?;
        let member_names: Vec<&str> = packages
            .iter()
            .filter(|package| package["source"].is_null())
            .map(|package| text(package, "name"))
            .collect::<Result<_>>()?;
        let (mut members, mut foreign) = (Vec::new(), Vec::new());
        for package in packages {
            let name = text(package, "name")?.to_owned();
            if let Some(source) = package["source"].as_str() {
                foreign.push(Foreign {
                    name,
                    version: text(package, "version")?.to_owned(),
                    licence: package["license"].as_str().map(str::to_owned),
                    source: source.to_owned(),
                });
                continue;
            }
            let mut edges = Vec::new();
            for dependency in array(package, "dependencies")? {
                let target = text(dependency, "name")?;
                if member_names.contains(&target) {
                    let kind = match dependency["kind"].as_str() {
                        Some("dev") => Kind::Dev,
                        Some("build") => Kind::Build,
                        Some(_) | None => Kind::Normal,
                    };
                    edges.push((target.to_owned(), kind));
                }
            }
            let (mut integration_tests, mut library) = (Vec::new(), false);
            for target in array(package, "targets")? {
                let kinds = array(target, "kind")?;
                if kinds.iter().any(|kind| kind == "test") {
                    integration_tests.push(text(target, "name")?.to_owned());
                }
                library |= kinds.iter().any(|kind| kind == "lib");
            }
            members.push(Member { name, edges, integration_tests, library });
        }
        members.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { members, foreign })
    }
}

fn array<'a>(value: &'a Value, key: &str) -> Result<&'a Vec<Value>> {
    value.get(key).and_then(Value::as_array).with_context(|| format!("cargo metadata has no list `{key}`"))
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value.get(key).and_then(Value::as_str).with_context(|| format!("cargo metadata has no text `{key}`"))
}
