//! `cargo xtask test`: every test in one run, and at its end what passed, how long it took and what was not run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::peers::{self, Peers};
use crate::stage::{Count, Stages, Verdict, stream};
use crate::workspace::{Metadata, cargo, root};
use crate::{check, fuzz};

/// How much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Everything.
    All,
    /// Without fuzzing and without the real peers.
    Fast,
}

/// Integration tests with this prefix drive real peers.
const PEER_PREFIX: &str = "peers_";

/// Integration tests with this prefix run in the Active Directory of `tests/beds/ad`.
const DIRECTORY_PREFIX: &str = "ad_";

/// Workspaces of their own.
const APART: &[&str] = &["fuzz/Cargo.toml", "tests/peers/adcs-rs/Cargo.toml"];

/// `cargo xtask test`; whether nothing failed.
pub(crate) fn run(extent: Extent) -> Result<bool> {
    let metadata = Metadata::read()?;
    let mut stages = Stages::default();
    fresh_not_run_file()?;
    let mut peers = Peers::default();
    if extent == Extent::All {
        stages.run("programs of peers", |_| {
            peers = peers::provide();
            Ok(if peers.missing.is_empty() { Verdict::Ok } else { Verdict::NotRun })
        });
    }
    stages.run("format", |_| {
        let mut verdict = stream(cargo().args(["fmt", "--all", "--check"]))?.0;
        for manifest in APART {
            let (theirs, _) = stream(cargo().args(["fmt", "--check", "--manifest-path", manifest]))?;
            verdict = if theirs == Verdict::Ok { verdict } else { theirs };
        }
        Ok(verdict)
    });
    stages.run("checks", |_| Ok(if check::run(&[])? { Verdict::Ok } else { Verdict::Failed }));
    stages.run("lints", |_| {
        Ok(stream(cargo().args([
            "clippy",
            "--workspace",
            "--all-targets",
            "--keep-going",
            "--",
            "-D",
            "warnings",
        ]))?
        .0)
    });
    stages.run("client alone", |_| {
        let arguments = ["clippy", "-p", "muster", "--no-default-features", "--", "-D", "warnings"];
        Ok(stream(cargo().args(arguments))?.0)
    });
    stages.run("documentation", |_| {
        let mut rustdoc = cargo();
        rustdoc.env("RUSTDOCFLAGS", "-D warnings").args(["doc", "--workspace", "--no-deps"]);
        Ok(stream(&mut rustdoc)?.0)
    });

    let (peer_tests, others): (Vec<&str>, Vec<&str>) = metadata
        .members
        .iter()
        .flat_map(|member| &member.integration_tests)
        .map(String::as_str)
        .partition(|name| name.starts_with(PEER_PREFIX));
    let (directory_tests, own_tests): (Vec<&str>, Vec<&str>) =
        others.into_iter().partition(|name| name.starts_with(DIRECTORY_PREFIX));
    let runner = Runner::find();
    // Tests of the executable start the one in the target folder, which cargo does not build for other packages' tests.
    stages.run("executable", |_| Ok(stream(cargo().args(["build", "--workspace", "--bins"]))?.0));
    stages.run("unit and integration", |count| {
        runner.run(&["--lib", "--bins"], &own_tests, &Peers::default(), count)
    });
    if metadata.members.iter().any(|member| member.library) {
        stages.run("documentation's tests", |count| {
            let (verdict, output) = stream(cargo().args(["test", "--workspace", "--doc"]))?;
            count.add_output(&output);
            Ok(verdict)
        });
    }
    if extent == Extent::All {
        stages.run("fuzz smoke", |_| {
            if !peers::has_cpp() {
                return Ok(Verdict::NotRun);
            }
            Ok(if fuzz::run(fuzz::SMOKE_SECONDS, &[])? { Verdict::Ok } else { Verdict::Failed })
        });
        if !peer_tests.is_empty() {
            stages.run("real peers", |count| runner.run(&[], &peer_tests, &peers, count));
        }
        if !directory_tests.is_empty() {
            stages.run("active directory", |count| runner.run_in_bed(&directory_tests, &peers, count));
        }
    }

    let not_run = said_not_run()?;
    let in_order = stages.report();
    say_what_was_not_run(extent, &peers.missing, &not_run);
    let Count { passed, failed, skipped } = stages.count;
    // A test without its peer returns early, which its runner takes for success.
    let (passed, skipped) = (passed.saturating_sub(not_run.len()), skipped + not_run.len());
    println!("\n{passed} passed, {failed} failed, {skipped} skipped");
    Ok(in_order)
}

/// What runs the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Runner {
    /// One process for each test.
    Nextest,
    /// What comes with cargo.
    CargoTest,
}

impl Runner {
    fn find() -> Self {
        let nextest = cargo().args(["nextest", "--version"]).output();
        if nextest.is_ok_and(|answer| answer.status.success()) { Self::Nextest } else { Self::CargoTest }
    }

    fn run(
        self,
        targets: &[&str],
        integration_tests: &[&str],
        peers: &Peers,
        count: &mut Count,
    ) -> Result<Verdict> {
        let mut arguments = self.arguments(targets, integration_tests);
        arguments.push("--no-fail-fast");
        if self == Self::Nextest {
            arguments.push("--no-tests=pass");
        }
        let mut command = cargo();
        Self::stream(command.args(arguments), peers, count)
    }

    /// The same inside of a real Active Directory, which has no network: everything is compiled before it begins.
    fn run_in_bed(self, integration_tests: &[&str], peers: &Peers, count: &mut Count) -> Result<Verdict> {
        if peers::bed_is_impossible().is_some() {
            // Each of them says that it is not run.
            self.run(&[], integration_tests, peers, count)?;
            return Ok(Verdict::NotRun);
        }
        let mut arguments = self.arguments(&[], integration_tests);
        arguments.push("--no-run");
        let (compiled, _) = stream(cargo().args(&arguments))?;
        if compiled != Verdict::Ok {
            return Ok(compiled);
        }
        arguments.pop();
        let cargo = cargo();
        let mut command = Command::new("bash");
        command.args([peers::BED, "--forests", "target/beds/ad"]).arg(cargo.get_program()).arg("--offline");
        command.args(arguments).arg("--no-fail-fast").current_dir(root());
        Self::stream(&mut command, peers, count)
    }

    fn arguments<'a>(self, targets: &[&'a str], integration_tests: &[&'a str]) -> Vec<&'a str> {
        let mut arguments = match self {
            Self::Nextest => vec!["nextest", "run"],
            Self::CargoTest => vec!["test"],
        };
        arguments.push("--workspace");
        arguments.extend(targets);
        for name in integration_tests {
            arguments.extend(["--test", *name]);
        }
        arguments
    }

    fn stream(command: &mut Command, peers: &Peers, count: &mut Count) -> Result<Verdict> {
        command.envs(peers.environment.iter().map(|(name, value)| (name, value)));
        command.env("MUSTER_EXE", executable()).env("MUSTER_NOT_RUN", not_run_file());
        // A run can be repeated; whoever wants other random inputs sets another seed (CONTRIBUTING.md).
        if std::env::var_os(RANDOM_SEED).is_none() {
            command.env(RANDOM_SEED, "1");
        }
        let (verdict, output) = stream(command)?;
        count.add_output(&output);
        Ok(verdict)
    }
}

/// Where proptest begins.
const RANDOM_SEED: &str = "PROPTEST_RNG_SEED";

/// The `muster` that the tests of peers start.
fn executable() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join("debug").join(format!("muster{}", std::env::consts::EXE_SUFFIX))
}

fn not_run_file() -> PathBuf {
    root().join("target/peers/not-run.txt")
}

fn fresh_not_run_file() -> Result<()> {
    let file = not_run_file();
    fs::create_dir_all(file.parent().unwrap_or(Path::new(".")))?;
    fs::write(&file, "")?;
    Ok(())
}

/// The lines that tests without their peer left, each once.
fn said_not_run() -> Result<Vec<String>> {
    let mut lines: Vec<String> = fs::read_to_string(not_run_file())?.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines.dedup();
    Ok(lines)
}

fn say_what_was_not_run(extent: Extent, missing: &[String], not_run: &[String]) {
    if extent == Extent::Fast {
        println!(
            "\nNOT RUN, as asked: fuzz smoke, real peers, Active Directory (`cargo xtask test` runs them)"
        );
    }
    if missing.is_empty() && not_run.is_empty() {
        return;
    }
    println!("\n!!!! NOT EVERYTHING WAS RUN");
    for sentence in missing {
        println!("MISSING: {sentence}");
    }
    for line in not_run {
        println!("{line}");
    }
}
