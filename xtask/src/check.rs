//! `cargo xtask check`: what the compiler and the linter do not see, so that no page and no rule rots.

mod acceptance;
mod arrows;
mod docs;
mod files;
mod licences;
mod vectors;

use anyhow::{Result, bail};

use crate::workspace::Metadata;

type Check = fn(&Metadata) -> Result<Vec<String>>;

/// By name; each answers with the findings, one sentence each.
const CHECKS: &[(&str, Check)] = &[
    ("arrows", arrows::check),
    ("docs", docs::check),
    ("vectors", vectors::check),
    ("files", files::check),
    ("licences", licences::check),
    ("acceptance", acceptance::check),
];

/// Runs the named checks, all of them without a name; whether nothing was found.
pub(crate) fn run(names: &[&str]) -> Result<bool> {
    if let Some(unknown) = names.iter().find(|name| CHECKS.iter().all(|(known, _)| known != *name)) {
        let known: Vec<&str> = CHECKS.iter().map(|(known, _)| *known).collect();
        bail!("no such check: {unknown}; there are {}", known.join(", "));
    }
    let metadata = Metadata::read()?;
    let mut in_order = true;
    for (name, check) in CHECKS.iter().filter(|(name, _)| names.is_empty() || names.contains(name)) {
        let findings = check(&metadata)?;
        println!("check {name}: {}", if findings.is_empty() { "ok" } else { "FAILED" });
        for finding in &findings {
            println!("  {finding}");
        }
        in_order &= findings.is_empty();
    }
    Ok(in_order)
}
