//! Which crate may depend on which: the list stands in ARCHITECTURE.md and nowhere else, and is compared with
//! the manifests in both directions.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result};

use crate::workspace::{Kind, Metadata, cargo, root};

/// Crates for tests: any crate's tests may use the first; their own tests may use any crate.
const FOR_TESTS: &[&str] = &["muster-testkit", "xtask"];

/// What the executable must not contain when it is built as the client alone.
const NOT_IN_CLIENT: &[&str] = &["muster-server", "muster-store", "muster-ca", "muster-core", "rusqlite"];

pub(super) fn check(metadata: &Metadata) -> Result<Vec<String>> {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).context("ARCHITECTURE.md")?;
    let mut findings = compare(&listed(&page), metadata);
    let tree = cargo()
        .args(["tree", "-p", "muster", "--no-default-features", "--edges", "normal", "--prefix", "none"])
        .output()?;
    let tree = String::from_utf8_lossy(&tree.stdout);
    for name in NOT_IN_CLIENT {
        if tree.lines().any(|line| line.split(' ').next() == Some(name)) {
            findings.push(format!("the client alone (`muster --no-default-features`) contains {name}"));
        }
    }
    Ok(findings)
}

/// The lines `a → b, c` of the page, in code blocks; `nothing` means no dependency, brackets hold a remark.
fn listed(page: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut in_code = false;
    let mut edges = BTreeMap::new();
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if in_code && let Some((from, to)) = line.split_once('→') {
            let to = to.split('(').next().unwrap_or_default();
            let to = to.split(',').map(|name| name.trim().to_owned());
            let to = to.filter(|name| !name.is_empty() && name != "nothing").collect();
            edges.insert(from.trim().to_owned(), to);
        }
    }
    edges
}

fn compare(listed: &BTreeMap<String, BTreeSet<String>>, metadata: &Metadata) -> Vec<String> {
    let mut findings = Vec::new();
    for member in &metadata.members {
        let name = &member.name;
        let Some(allowed) = listed.get(name) else {
            findings.push(format!("ARCHITECTURE.md has no line `{name} → …` in a code block"));
            continue;
        };
        for (to, kind) in &member.edges {
            let for_tests = *kind == Kind::Dev
                && (to == "muster-testkit" || FOR_TESTS.contains(&name.as_str()) || to == name);
            if !allowed.contains(to) && !for_tests {
                findings.push(format!("{name} depends on {to}, which ARCHITECTURE.md does not allow"));
            }
        }
        for to in allowed {
            if !member.edges.iter().any(|(edge, _)| edge == to) {
                findings.push(format!("ARCHITECTURE.md says {name} → {to}, but it does not depend on it"));
            }
        }
    }
    for name in listed.keys() {
        if !metadata.members.iter().any(|member| member.name == *name) {
            findings
                .push(format!("ARCHITECTURE.md has arrows of {name}, which is no crate of this workspace"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Member;

    fn member(name: &str, edges: &[(&str, Kind)]) -> Member {
        let edges = edges.iter().map(|(to, kind)| ((*to).to_owned(), *kind)).collect();
        Member { name: name.to_owned(), edges, integration_tests: Vec::new(), library: true }
    }

    fn findings(page: &str, members: Vec<Member>) -> Vec<String> {
        compare(&listed(page), &Metadata { members, foreign: Vec::new() })
    }

    const PAGE: &str = "a → b is prose\n```text\nserver → store, core (a remark)\ncore   → nothing\n```\n";

    #[test]
    fn arrows_as_listed() {
        let server = member("server", &[("store", Kind::Normal), ("core", Kind::Normal)]);
        assert_eq!(findings(PAGE, vec![server, member("core", &[])]), Vec::<String>::new());
    }

    #[test]
    fn arrow_that_is_not_listed() {
        let server = member("server", &[("store", Kind::Normal), ("core", Kind::Normal)]);
        let core = member("core", &[("server", Kind::Build)]);
        let expected = ["core depends on server, which ARCHITECTURE.md does not allow"];
        assert_eq!(findings(PAGE, vec![server, core]), expected);
    }

    #[test]
    fn arrow_that_does_not_exist() {
        let server = member("server", &[("core", Kind::Normal)]);
        let expected = ["ARCHITECTURE.md says server → store, but it does not depend on it"];
        assert_eq!(findings(PAGE, vec![server, member("core", &[])]), expected);
    }

    #[test]
    fn crate_that_is_not_listed_and_line_without_crate() {
        let server = member("server", &[("store", Kind::Normal), ("core", Kind::Normal)]);
        let expected = [
            "ARCHITECTURE.md has no line `client → …` in a code block",
            "ARCHITECTURE.md has arrows of core, which is no crate of this workspace",
        ];
        assert_eq!(findings(PAGE, vec![server, member("client", &[])]), expected);
    }

    #[test]
    fn tests_may_use_the_testkit_but_nothing_else_unlisted() {
        let page = "```\ncore → nothing\n```";
        let testkit = member("core", &[("muster-testkit", Kind::Dev)]);
        assert_eq!(findings(page, vec![testkit]), Vec::<String>::new());
        assert_eq!(findings(page, vec![member("core", &[("store", Kind::Dev)])]).len(), 1);
        assert_eq!(findings(page, vec![member("core", &[("muster-testkit", Kind::Normal)])]).len(), 1);
    }
}
