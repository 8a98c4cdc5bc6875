//! `cargo xtask fuzz`: the targets of `fuzz/`, with the stable toolchain and without cargo-fuzz.
//!
//! What cargo-fuzz does is little: it passes the flags that make the compiler count edges, and calls libFuzzer.
//! Without a sanitizer both work on stable Rust; since unsafe code is forbidden, panics, endless loops and memory
//! use are what there is to find. `cargo fuzz run --sanitizer none TARGET` works in the same folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use toml::{Table, Value};

use crate::stage::{Verdict, stream};
use crate::workspace::{cargo, root};

/// For each target, in the run of all tests.
pub(crate) const SMOKE_SECONDS: u32 = 8;

/// Edge counters, the table that names them, and the operands of comparisons: all that libFuzzer steers by.
const INSTRUMENT: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";

/// Folders with good and bad examples, read as seeds by every target.
const SEEDS: &[&str] = &["vectors", "docs/samples", "crates/muster-core/templates"];

/// libFuzzer's limits: an input in bytes, an input's time in seconds, the process's memory in MiB.
const LIMITS: &[&str] = &["-max_len=65536", "-timeout=5", "-rss_limit_mb=1024"];

/// Builds all targets, and runs the named ones or all; whether nothing was found.
pub(crate) fn run(seconds: u32, names: &[&str]) -> Result<bool> {
    let targets = targets()?;
    if let Some(unknown) = names.iter().find(|name| !targets.iter().any(|target| target == *name)) {
        bail!("no such fuzz target: {unknown}; there are {}", targets.join(", "));
    }
    let executables = build()?;
    let mut in_order = true;
    for target in targets.iter().filter(|target| names.is_empty() || names.contains(&target.as_str())) {
        in_order &= fuzz(target, &executables.join(target), seconds)?;
    }
    Ok(in_order)
}

/// The executables of fuzz/Cargo.toml.
fn targets() -> Result<Vec<String>> {
    let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).context("fuzz/Cargo.toml")?;
    let manifest: Table = toml::from_str(&manifest).context("fuzz/Cargo.toml")?;
    let executables =
        manifest.get("bin").and_then(Value::as_array).context("fuzz/Cargo.toml has no [[bin]]")?;
    Ok(executables.iter().filter_map(|bin| Some(bin.get("name")?.as_str()?.to_owned())).collect())
}

/// Builds with instrumentation; the answer is the executables' folder.
fn build() -> Result<PathBuf> {
    let version = Command::new("rustc").arg("-vV").output().context("rustc")?;
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let host =
        version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc -vV names no host")?;
    let folder = root().join("target/fuzz/build");
    let stamp = same_versions()?;
    // With `--target` the flags are not those of build scripts and macros.
    let (verdict, _) = stream(
        cargo()
            .args(["build", "--manifest-path", "fuzz/Cargo.toml", "--release", "--bins", "--target", host])
            .env("CARGO_TARGET_DIR", &folder)
            .env("RUSTFLAGS", INSTRUMENT),
    )?;
    ensure!(verdict == Verdict::Ok, "the fuzz targets do not build");
    fs::copy(root().join("Cargo.lock"), stamp)?;
    Ok(folder.join(host).join("release"))
}

/// Starts the targets' lock file from the product's, if that has changed since the file that is answered.
fn same_versions() -> Result<PathBuf> {
    let (locked, stamp) = (root().join("Cargo.lock"), root().join("target/fuzz/Cargo.lock"));
    fs::create_dir_all(root().join("target/fuzz"))?;
    let theirs = root().join("fuzz/Cargo.lock");
    if !theirs.exists() || fs::read(&locked)? != fs::read(&stamp).unwrap_or_default() {
        fs::copy(&locked, theirs)?;
    }
    Ok(stamp)
}

fn fuzz(target: &str, executable: &Path, seconds: u32) -> Result<bool> {
    let (corpus, artifacts) =
        (root().join("target/fuzz/corpus").join(target), root().join("target/fuzz/artifacts"));
    fs::create_dir_all(&corpus)?;
    fs::create_dir_all(&artifacts)?;
    let start = Instant::now();
    let mut libfuzzer = Command::new(executable);
    libfuzzer
        .args([
            format!("-max_total_time={seconds}"),
            format!("-artifact_prefix={}/{target}-", artifacts.display()),
        ])
        .args(LIMITS)
        .args(["-print_final_stats=1", "-verbosity=0"])
        // New inputs are written to the first folder only.
        .arg(&corpus)
        .args(SEEDS.iter().map(|folder| root().join(folder)).filter(|folder| folder.is_dir()));
    let output = libfuzzer.output().with_context(|| format!("cannot start {}", executable.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        println!("{}{said}", String::from_utf8_lossy(&output.stdout));
        println!("fuzz {target}: FAILED; the input is in {}, see CONTRIBUTING.md", artifacts.display());
        return Ok(false);
    }
    let executed = said.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    let executed: u64 = executed.map(str::trim).and_then(|number| number.parse().ok()).unwrap_or_default();
    println!("fuzz {target}: {executed} inputs in {:.0} s, nothing found", start.elapsed().as_secs_f64());
    Ok(executed > 0)
}
