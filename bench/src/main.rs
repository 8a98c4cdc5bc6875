//! What enrollment costs, measured from outside: a load generator in its own process, real HTTPS on loopback to a
//! real `muster serve`, every answer parsed and its certificate counted, floors and a neighbour in the same run.
//!
//! `cargo xtask bench` builds both and runs this. docs/benchmarks.md explains the table. Nothing is written but
//! folders that are removed at the end.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

mod adcs;
mod connector;
mod floor;
mod installation;
mod kerberos;
mod load;
mod measure;
mod message;
mod neighbour;
mod process;
mod proxy;
mod renewal;
mod report;
mod scenario;
mod suite;
mod table;
mod wire;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::world::World;

/// Measures `muster serve`; run it by `cargo xtask bench`.
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    /// The release build of `muster`.
    #[arg(long)]
    muster: PathBuf,
    /// Folder for installations made for the run; on the disk that is to be measured.
    #[arg(long)]
    folder: PathBuf,
    /// Runs of which the medians are printed.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// One short run that shows that everything works; its numbers mean nothing.
    #[arg(long)]
    quick: bool,
    /// Print as docs/benchmarks.md has it.
    #[arg(long)]
    markdown: bool,
    /// Only these parts: p256, rsa2048, stored, policies, renewal, cfssl, kerberos, adcs.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Of the enrollments only the loads whose name contains this text.
    #[arg(long, default_value = "")]
    load: String,
    /// The world that this process was started in, for the part that needs one.
    #[arg(long, hide = true)]
    inside: Option<World>,
}

impl Arguments {
    fn runs(&self) -> usize {
        if self.quick { 1 } else { self.runs.max(1) }
    }

    /// A number of requests, or few for a short run.
    fn requests(&self, number: usize) -> usize {
        if self.quick { number / 20 } else { number }
    }

    fn wants(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == part)
    }

    /// Whether there is something to measure in this process.
    fn measures_here(&self) -> bool {
        self.inside.is_some()
            || self.only.is_empty()
            || self.only.iter().any(|name| !world::PARTS.contains(&name.as_str()))
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    std::fs::create_dir_all(&arguments.folder)?;
    if arguments.measures_here() {
        let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(&arguments.folder)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let results = runtime.block_on(suite::run(arguments, folder.path()))?;
        print!("{}", results.text(arguments));
    }
    if arguments.inside.is_none() {
        world::run_inside_each(arguments)?;
    }
    Ok(())
}
