//! Each vector has a provenance: a row in the table of its folder's README.md, and each row has its file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::Result;

use crate::workspace::{Metadata, files, root};

/// Words that the table's head must have; the other columns are each folder's own.
const COLUMNS: &[&str] = &["file", "licence"];

pub(super) fn check(_: &Metadata) -> Result<Vec<String>> {
    let mut folders: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files()?.iter().filter(|name| name.starts_with("vectors/")) {
        if let Some((folder, name)) = file.rsplit_once('/') {
            let names = folders.entry(folder.to_owned()).or_default();
            if name != "README.md" {
                names.insert(name.to_owned());
            }
        }
    }
    let mut findings = Vec::new();
    for (folder, names) in folders.into_iter().filter(|(_, names)| !names.is_empty()) {
        match fs::read_to_string(root().join(&folder).join("README.md")) {
            Ok(page) => {
                let found = compare(&page, &names);
                findings.extend(found.into_iter().map(|what| format!("{folder}/README.md: {what}")));
            }
            Err(error) => findings.push(format!("{folder}/README.md: {error}")),
        }
    }
    Ok(findings)
}

fn compare(page: &str, names: &BTreeSet<String>) -> Vec<String> {
    let mut findings = Vec::new();
    let mut listed = BTreeSet::new();
    let mut head: Option<Vec<&str>> = None;
    for line in page.lines() {
        let Some(row) = cells(line) else {
            head = None;
            continue;
        };
        let first = row.first().copied().unwrap_or_default();
        let Some(head) = &head else {
            if COLUMNS.iter().all(|column| row.iter().any(|cell| cell.to_lowercase().contains(column))) {
                head = Some(row);
            }
            continue;
        };
        if first.starts_with("--") || first.starts_with(":-") {
            continue;
        }
        if row.len() != head.len() || row.iter().any(|cell| cell.is_empty()) {
            findings.push(format!("the row of {first} leaves a column empty or has too many"));
        }
        listed.extend(first.split([',', ' ']).map(|name| name.trim_matches('`').to_owned()));
    }
    listed.remove("");
    findings.extend(names.difference(&listed).map(|name| format!("{name} has no row")));
    findings.extend(listed.difference(names).map(|name| format!("{name} has a row but is not there")));
    findings
}

/// The cells of a table's row.
fn cells(line: &str) -> Option<Vec<&str>> {
    let row = line.trim().strip_prefix('|')?;
    let row = row.strip_suffix('|').unwrap_or(row);
    // A `\|` is part of its cell; that the cell then counts as two is told as such.
    Some(row.split('|').map(str::trim).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "| File | Origin | Licence |\n|---|---|---|\n";

    fn findings(rows: &str, names: &[&str]) -> Vec<String> {
        compare(&format!("# Vectors\n\n{HEAD}{rows}"), &names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn each_file_with_its_row() {
        let rows = "| `a.xml` | specification | CC0 |\n| b.der, c.der | made | MIT |\n\n| other | table |\n|---|---|\n| x | y |\n";
        assert_eq!(findings(rows, &["a.xml", "b.der", "c.der"]), Vec::<String>::new());
    }

    #[test]
    fn file_without_row_and_row_without_file() {
        let expected = ["b.xml has no row", "a.xml has a row but is not there"];
        assert_eq!(findings("| `a.xml` | specification | CC0 |\n", &["b.xml"]), expected);
    }

    #[test]
    fn row_without_licence() {
        let expected = ["the row of `a.xml` leaves a column empty or has too many"];
        assert_eq!(findings("| `a.xml` | specification | |\n", &["a.xml"]), expected);
    }
}
