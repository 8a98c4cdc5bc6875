//! Every acceptance criterion has its tests, or says why not; every test that is named after one is listed.

use std::collections::BTreeMap;
use std::fs;

use anyhow::Result;

use crate::workspace::{Metadata, files, root};

const PAGE: &str = "docs/acceptance.md";

pub(super) fn check(_: &Metadata) -> Result<Vec<String>> {
    let page = fs::read_to_string(root().join(PAGE))?;
    let mut tests = Vec::new();
    for name in files()?.iter().filter(|name| name.contains("/tests/") && name.ends_with(".rs")) {
        tests.extend(functions(&fs::read_to_string(root().join(name))?));
    }
    Ok(compare(&page, &tests).into_iter().map(|what| format!("{PAGE}: {what}")).collect())
}

/// Names of functions; those of tests are among them.
fn functions(text: &str) -> Vec<String> {
    let heads =
        text.lines().filter_map(|line| line.trim_start().trim_start_matches("async ").strip_prefix("fn "));
    heads.filter_map(|head| head.split_once('(')).map(|(name, _)| name.to_owned()).collect()
}

/// `ac_1_10_pending…` is about AC-1.10.
fn criterion(test: &str) -> Option<String> {
    let mut parts = test.strip_prefix("ac_")?.splitn(3, '_');
    let (deployment, number) = (parts.next()?, parts.next()?);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    (digits(deployment) && digits(number)).then(|| format!("AC-{deployment}.{number}"))
}

fn compare(page: &str, tests: &[String]) -> Vec<String> {
    let mut findings = Vec::new();
    let mut rows: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for row in page.lines().filter(|line| line.starts_with("| AC-")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [name, _, last] = cells.as_slice() else {
            findings.push(format!("a row has not three columns: {row}"));
            continue;
        };
        let named: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
        if named.is_empty() && !last.starts_with("none: ") {
            findings.push(format!("{name} has neither a test nor a reason"));
        }
        for test in &named {
            if !tests.iter().any(|known| known == test) {
                findings.push(format!("{name} names {test}, which does not exist"));
            }
        }
        rows.insert(name, named);
    }
    for test in tests {
        if let Some(criterion) = criterion(test)
            && !rows.get(criterion.as_str()).is_some_and(|named| named.contains(&test.as_str()))
        {
            findings.push(format!("{criterion} does not name {test}"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::{compare, criterion, functions};

    #[test]
    fn page_and_tests_are_compared_in_both_directions() {
        let tests = functions("#[test]\nfn ac_1_1_a() {\n    async fn ac_1_10_b() {\nfn helper(x: u8) {");
        assert_eq!(tests, ["ac_1_1_a", "ac_1_10_b", "helper"]);
        assert_eq!(criterion("ac_1_10_b").as_deref(), Some("AC-1.10"));
        assert_eq!(criterion("ac_dc_x"), None);
        let good =
            "| AC-1.1 | x | `ac_1_1_a` |\n| AC-1.10 | x | `ac_1_10_b` `helper` |\n| AC-1.2 | x | none: why |";
        assert_eq!(compare(good, &tests), Vec::<String>::new());
        let bad = "| AC-1.1 | x | `gone` |\n| AC-1.2 | x | |";
        assert_eq!(compare(bad, &tests).len(), 4, "{:?}", compare(bad, &tests));
    }
}
