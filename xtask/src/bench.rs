//! `cargo xtask bench`: builds the executable and the load generator as they are released, and runs the latter.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::workspace::{cargo, root};

/// Passes `arguments` on to the load generator; whether it ran to its end.
pub(crate) fn run(arguments: &[&str]) -> Result<bool> {
    // By name: the executable with all of its features, and nothing of a debug build.
    let built = cargo().args(["build", "--release", "-p", "muster", "-p", "muster-bench"]).status()?;
    if !built.success() {
        bail!("the release build failed");
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let program = |name| target.join("release").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    let status = std::process::Command::new(program("muster-bench"))
        .arg("--muster")
        .arg(program("muster"))
        .arg("--folder")
        .arg(target.join("bench"))
        .args(arguments)
        .status()?;
    Ok(status.success())
}
