//! Every page speaks of what exists: links, anchors, paths and crate names.

use std::fs;

use anyhow::Result;

use crate::workspace::{Metadata, files, root};

/// A page that newcomers read in one sitting.
const ARCHITECTURE_LINES: usize = 150;

/// Endings by which a name with a `/` is taken for a path even if its first folder is unknown.
const ENDINGS: &[&str] = &[".rs", ".md"];

pub(super) fn check(metadata: &Metadata) -> Result<Vec<String>> {
    let files = files()?;
    let mut findings = Vec::new();
    for page in files.iter().filter(|name| name.ends_with(".md")) {
        let text = fs::read_to_string(root().join(page))?;
        findings.extend(broken(page, &text, &files).into_iter().map(|what| format!("{page}: {what}")));
        for (target, anchor) in links(&text).into_iter().filter_map(|link| link.split_once('#')) {
            if target.contains(':') {
                continue;
            }
            let target = if target.is_empty() { page.clone() } else { join(folder(page), target) };
            let Ok(text) = fs::read_to_string(root().join(&target)) else { continue };
            if target.ends_with(".md") && !headings(&text).iter().any(|heading| heading == anchor) {
                findings.push(format!("{page}: {target} has no heading for #{anchor}"));
            }
        }
    }
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap_or_default();
    let lines = page.lines().count();
    if lines > ARCHITECTURE_LINES {
        findings.push(format!("ARCHITECTURE.md has {lines} lines, more than {ARCHITECTURE_LINES}"));
    }
    for member in &metadata.members {
        if !page.contains(&format!("`{}`", member.name)) {
            findings.push(format!("ARCHITECTURE.md does not name the crate `{}`", member.name));
        }
    }
    Ok(findings)
}

/// Links and paths of a page that lead nowhere.
fn broken(page: &str, text: &str, files: &[String]) -> Vec<String> {
    let mut findings = Vec::new();
    for link in links(text) {
        let target = link.split('#').next().unwrap_or_default();
        if !target.is_empty() && !target.contains(':') && !exists(&join(folder(page), target), files) {
            findings.push(format!("link to {target}, which does not exist"));
        }
    }
    for path in code_spans(text).into_iter().filter_map(|span| as_path(span, files)) {
        // From the root, from the page, or from the crate that the page belongs to.
        let bases = ["", folder(page), crate_folder(page)];
        if !bases.iter().any(|base| exists(&join(base, path), files)) {
            findings.push(format!("names `{path}`, which does not exist"));
        }
    }
    findings
}

/// The page without its fenced code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        !in_code && !fence
    })
}

/// What stands in backticks.
fn code_spans(text: &str) -> Vec<&str> {
    prose(text).flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

/// Targets of `[text](target)` and `[name]: target`.
fn links(text: &str) -> Vec<&str> {
    let mut links = Vec::new();
    for line in prose(text) {
        // Between backticks nothing is a link.
        for part in line.split('`').step_by(2) {
            links.extend(part.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next()));
        }
        if let Some(rest) = line.strip_prefix('[')
            && let Some((_, target)) = rest.split_once("]: ")
        {
            links.push(target.trim());
        }
    }
    links
}

/// The code span as a path of the repository, if it looks like one.
fn as_path<'a>(span: &'a str, files: &[String]) -> Option<&'a str> {
    let path = span.split([':', '#']).next().unwrap_or_default();
    let placeholder = |character: char| character.is_whitespace() || "<>…$\\|=\"'()[];@%".contains(character);
    if path.starts_with(['/', '-', '~']) || span.contains("://") || path.contains(placeholder) {
        return None;
    }
    let (first, _) = path.split_once('/')?;
    let known = files.iter().any(|file| file.split_once('/').is_some_and(|(folder, _)| folder == first));
    (known || ENDINGS.iter().any(|ending| path.ends_with(ending))).then_some(path)
}

fn folder(page: &str) -> &str {
    page.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// `crates/NAME` of a page below it.
fn crate_folder(page: &str) -> &str {
    let end = page.match_indices('/').nth(1).map_or(0, |(at, _)| at);
    page.get(..end).filter(|folder| folder.starts_with("crates/")).unwrap_or_default()
}

/// The path below the root, with `.` and `..` resolved.
fn join(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

/// Whether a file or folder of this name, in which `*` and `{a,b}` stand for several, is in the repository.
fn exists(path: &str, files: &[String]) -> bool {
    if let Some((before, rest)) = path.split_once('{')
        && let Some((choices, after)) = rest.split_once('}')
    {
        return choices.split(',').all(|choice| exists(&format!("{before}{choice}{after}"), files));
    }
    path.is_empty()
        || files.iter().any(|file| {
            let mut names = file.split('/');
            path.split('/').all(|part| names.next().is_some_and(|name| matches(part, name)))
        })
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, end)) => {
            name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
        }
    }
}

/// The anchors that a page's headings get.
fn headings(text: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    for heading in prose(text).filter(|line| line.starts_with('#')) {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let again = anchors.iter().filter(|earlier| **earlier == anchor).count();
        anchors.push(if again == 0 { anchor } else { format!("{anchor}-{again}") });
    }
    anchors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(page: &str, text: &str) -> Vec<String> {
        let files = [
            "ARCHITECTURE.md",
            "crates/a/src/lib.rs",
            "crates/b/src/lib.rs",
            "docs/guide.md",
            "docs/samples/x.toml",
        ];
        broken(page, text, &files.map(str::to_owned))
    }

    #[test]
    fn links_and_paths_that_exist() {
        let text = "[a](guide.md#start) [b](../ARCHITECTURE.md) [c](https://example.org/x) [d](#here)\n\
                    `crates/a` `crates/{a,b}/src/lib.rs:12` `crates/*/src/` `docs/samples/x.toml` `./samples/x.toml`\n\
                    `application/soap+xml` `--dir ./gone` `crates/<name>/` `/etc/muster/muster.toml` `a → b`\n\
                    ```sh\n[x](gone.md) `crates/gone`\n```\n";
        assert_eq!(findings("docs/guide.md", text), Vec::<String>::new());
    }

    #[test]
    fn path_within_the_crate_of_the_page() {
        assert_eq!(findings("crates/a/migrations/README.md", "`src/lib.rs`"), Vec::<String>::new());
        let expected = ["names `src/gone.rs`, which does not exist"];
        assert_eq!(findings("crates/a/migrations/README.md", "`src/gone.rs`"), expected);
        assert_eq!(findings("docs/guide.md", "`src/lib.rs`"), ["names `src/lib.rs`, which does not exist"]);
    }

    #[test]
    fn link_that_leads_nowhere() {
        assert_eq!(findings("docs/guide.md", "[a](gone.md)"), ["link to gone.md, which does not exist"]);
        assert_eq!(findings("docs/guide.md", "[a]: gone.md"), ["link to gone.md, which does not exist"]);
    }

    #[test]
    fn path_that_does_not_exist() {
        assert_eq!(findings("a.md", "`crates/gone`"), ["names `crates/gone`, which does not exist"]);
        assert_eq!(findings("a.md", "`crates/{a,gone}`"), ["names `crates/{a,gone}`, which does not exist"]);
        assert_eq!(findings("a.md", "`old/src/lib.rs`"), ["names `old/src/lib.rs`, which does not exist"]);
    }

    #[test]
    fn anchors_of_headings() {
        let text = "# What works, what not\n## Start\n```\n# no heading\n```\n## Start\n";
        assert_eq!(headings(text), ["what-works-what-not", "start", "start-1"]);
    }
}
