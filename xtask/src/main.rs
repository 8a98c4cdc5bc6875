//! The project's own tasks. Everything that continuous integration or a contributor runs is one of these,
//! so that there is one way to run it and it is written in Rust.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

mod bench;
mod check;
mod fuzz;
mod peers;
mod stage;
mod test;
mod workspace;

use std::process::ExitCode;

use anyhow::{Result, bail};

const HELP: &str = "\
cargo xtask test           every test: format, lints, checks, docs, unit, integration, fuzz smoke, real peers
cargo xtask test fast      the same without fuzzing and without the real peers
cargo xtask check [NAME…]  arrows | docs | vectors | files | licences; all of them without a name
cargo xtask fuzz [SECONDS] [TARGET…]
                           run the fuzz targets, each so long (8 s), new inputs kept below target/fuzz/corpus
cargo xtask bench [--quick] [--markdown] [--runs N] [--only PART,…]
                           measure a release build from outside and print the table; --quick: one short run
cargo xtask peers          install the programs that the tests of real peers drive, and say which are missing
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the task found everything in order.
fn run(arguments: &[&str]) -> Result<bool> {
    match arguments {
        ["test"] => test::run(test::Extent::All),
        ["test", "fast"] => test::run(test::Extent::Fast),
        ["check", names @ ..] => check::run(names),
        ["fuzz"] => fuzz::run(fuzz::SMOKE_SECONDS, &[]),
        ["fuzz", seconds, targets @ ..] => match seconds.parse() {
            Ok(seconds) => fuzz::run(seconds, targets),
            Err(_) => bail!("how many seconds for each target? got `{seconds}`"),
        },
        ["bench", arguments @ ..] => bench::run(arguments),
        ["peers"] => peers::run(),
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            Ok(true)
        }
        [unknown, ..] => bail!("no such task: {unknown}\n\n{HELP}"),
    }
}
