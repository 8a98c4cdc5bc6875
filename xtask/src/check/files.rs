//! Files stay readable: not too long, each Rust file says why it exists, none names somebody's machine.

use std::fs;

use anyhow::Result;

use crate::workspace::{Metadata, files, root};

/// Lines of a Rust file; above this it has two subjects.
const LINES: usize = 600;

/// Absolute paths of the machines on which people build; written in two parts, so as not to find themselves.
const MACHINE_PATHS: &[&str] =
    &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/opt/wh", "eels"), concat!("/Us", "ers/")];

pub(super) fn check(_: &Metadata) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for name in files()? {
        let bytes = fs::read(root().join(&name))?;
        // Vectors in binary are nobody's text.
        if let Ok(text) = std::str::from_utf8(&bytes) {
            findings.extend(judge(&name, text).into_iter().map(|what| format!("{name}: {what}")));
        }
    }
    Ok(findings)
}

fn judge(name: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    if name.ends_with(".rs") {
        let lines = text.lines().count();
        if lines > LINES {
            findings.push(format!("has {lines} lines, more than {LINES}: split it"));
        }
        if !text.starts_with("//!") {
            findings.push("does not start with `//!` and the reason why it exists".to_owned());
        }
    }
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(path) = MACHINE_PATHS.iter().find(|path| names_path(line, path)) {
            findings.push(format!("line {number} names a path of somebody's machine, {path}"));
        }
        if line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> ") {
            findings.push(format!("line {number} is left over from a merge"));
        }
    }
    findings
}

/// Whether the path stands in the line as an absolute one, not as the end of another or of a URL.
fn names_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        !before.is_some_and(|before| before.is_alphanumeric() || "/.-_~}*".contains(before))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_file() {
        assert_eq!(judge("a.rs", "//! Why.\nfn main() {}\n"), Vec::<String>::new());
    }

    #[test]
    fn file_without_a_reason() {
        assert_eq!(judge("a.rs", "fn main() {}\n").len(), 1);
    }

    #[test]
    fn file_too_long() {
        let text = format!("//! Why.\n{}", "\n".repeat(LINES));
        assert_eq!(judge("a.rs", &text), ["has 601 lines, more than 600: split it"]);
    }

    #[test]
    fn path_of_a_machine_but_not_of_a_url() {
        let path = MACHINE_PATHS[1];
        assert_eq!(judge("a.md", &format!("see `{path}.cargo`")).len(), 1);
        assert_eq!(
            judge("a.md", &format!("http://localhost{path}ca.crl and data{path}")),
            Vec::<String>::new()
        );
    }
}
