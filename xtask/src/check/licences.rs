//! Licences and sources of the crates of others, by the rules of deny.toml: with cargo-deny where it is
//! installed, and without it the same rules read here. Known vulnerabilities only cargo-deny can tell.

use std::fs;

use anyhow::{Context, Result};
use toml::{Table, Value};

use crate::stage::{Verdict, stream};
use crate::workspace::{Foreign, Metadata, cargo, root};

/// How the lock file names the public registry.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

pub(super) fn check(metadata: &Metadata) -> Result<Vec<String>> {
    let deny = fs::read_to_string(root().join("deny.toml")).context("deny.toml")?;
    let rules = Rules::read(&toml::from_str(&deny).context("deny.toml")?);
    let findings = metadata.foreign.iter().flat_map(|package| rules.judge(package)).collect();
    if !cargo().args(["deny", "--version"]).output().is_ok_and(|answer| answer.status.success()) {
        println!(
            "advisories: NOT CHECKED, cargo-deny is missing (`cargo install --locked cargo-deny`); \
             licences and sources of {} crates were",
            metadata.foreign.len()
        );
        return Ok(findings);
    }
    let (verdict, _) = stream(cargo().args(["deny", "check"]))?;
    Ok(if verdict == Verdict::Ok { findings } else { vec!["cargo deny check failed, see above".to_owned()] })
}

/// What of deny.toml is read here.
struct Rules {
    /// Allowed licences.
    allow: Vec<String>,
    /// Further licences for single crates.
    exceptions: Vec<(String, Vec<String>)>,
    /// Crates that must not come in.
    banned: Vec<String>,
}

impl Rules {
    fn read(deny: &Table) -> Self {
        let section = |name: &str| deny.get(name).and_then(Value::as_table).cloned().unwrap_or_default();
        let (licenses, bans) = (section("licenses"), section("bans"));
        let exceptions = tables(&licenses, "exceptions")
            .filter_map(|exception| {
                Some((exception.get("crate")?.as_str()?.to_owned(), texts(exception, "allow")))
            })
            .collect();
        let banned =
            tables(&bans, "deny").filter_map(|ban| Some(ban.get("crate")?.as_str()?.to_owned())).collect();
        Self { allow: texts(&licenses, "allow"), exceptions, banned }
    }

    fn judge(&self, package: &Foreign) -> Vec<String> {
        let Foreign { name, version, licence, source } = package;
        let mut findings = Vec::new();
        if source != REGISTRY {
            findings.push(format!("{name} {version} comes from {source}, not from the public registry"));
        }
        if self.banned.contains(name) {
            findings.push(format!("{name} {version} is banned by deny.toml"));
        }
        let allowed = |licence: &str| {
            let excepted =
                self.exceptions.iter().any(|(of, allow)| of == name && allow.iter().any(|l| l == licence));
            excepted || self.allow.iter().any(|allow| allow == licence)
        };
        match licence {
            Some(expression) if Expression::new(expression).holds(&allowed) => {}
            Some(expression) => findings.push(format!("{name} {version} has the licence {expression}")),
            None => findings.push(format!("{name} {version} does not state its licence")),
        }
        findings
    }
}

fn tables<'a>(section: &'a Table, key: &str) -> impl Iterator<Item = &'a Table> {
    section.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_table)
}

fn texts(section: &Table, key: &str) -> Vec<String> {
    let values = section.get(key).and_then(Value::as_array).into_iter().flatten();
    values.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// An SPDX licence expression; `AND` binds tighter than `OR`. Old manifests write `/` for `OR`.
struct Expression {
    /// The rest, last word first.
    words: Vec<String>,
}

impl Expression {
    fn new(text: &str) -> Self {
        let spaced = text.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
        Self { words: spaced.split_whitespace().rev().map(str::to_owned).collect() }
    }

    /// Whether the allowed licences satisfy all of it; what is not understood is not satisfied.
    fn holds(mut self, allowed: &impl Fn(&str) -> bool) -> bool {
        self.any(allowed) && self.words.is_empty()
    }

    fn any(&mut self, allowed: &impl Fn(&str) -> bool) -> bool {
        let mut holds = self.all(allowed);
        while self.next_is("OR") {
            holds |= self.all(allowed);
        }
        holds
    }

    fn all(&mut self, allowed: &impl Fn(&str) -> bool) -> bool {
        let mut holds = self.one(allowed);
        while self.next_is("AND") {
            holds &= self.one(allowed);
        }
        holds
    }

    fn one(&mut self, allowed: &impl Fn(&str) -> bool) -> bool {
        if self.next_is("(") {
            let holds = self.any(allowed);
            return self.next_is(")") && holds;
        }
        let Some(licence) = self.words.pop() else { return false };
        if !self.next_is("WITH") {
            return allowed(&licence);
        }
        let exception = self.words.pop().unwrap_or_default();
        allowed(&format!("{licence} WITH {exception}")) || allowed(&licence)
    }

    fn next_is(&mut self, word: &str) -> bool {
        self.words.pop_if(|next| next == word).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(expression: &str) -> bool {
        Expression::new(expression).holds(&|licence| matches!(licence, "MIT" | "ISC" | "Apache-2.0"))
    }

    #[test]
    fn expressions_that_hold() {
        for expression in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-3.0 OR MIT",
            "(MIT OR GPL-3.0) AND ISC",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(holds(expression), "{expression}");
        }
    }

    #[test]
    fn expressions_that_do_not() {
        for expression in
            ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR ISC", "MIT MIT", "ISC AND (GPL-3.0 OR MPL-2.0)"]
        {
            assert!(!holds(expression), "{expression}");
        }
    }

    #[test]
    fn rules_by_crate() {
        let deny = "[licenses]\nallow = ['MIT']\nexceptions = [{ crate = 'roots', allow = ['CDLA'] }]\n\
                    [bans]\ndeny = [{ crate = 'openssl-sys', reason = 'one library' }]\n";
        let rules = Rules::read(&toml::from_str(deny).unwrap());
        let judge = |name: &str, licence: &str, source: &str| {
            let (name, version, source) = (name.to_owned(), "1.0.0".to_owned(), source.to_owned());
            rules.judge(&Foreign { name, version, licence: Some(licence.to_owned()), source })
        };
        assert_eq!(judge("a", "MIT", REGISTRY), Vec::<String>::new());
        assert_eq!(judge("roots", "CDLA", REGISTRY), Vec::<String>::new());
        assert_eq!(judge("a", "CDLA", REGISTRY), ["a 1.0.0 has the licence CDLA"]);
        assert_eq!(judge("openssl-sys", "MIT", REGISTRY), ["openssl-sys 1.0.0 is banned by deny.toml"]);
        assert_eq!(judge("a", "MIT", "git+x"), ["a 1.0.0 comes from git+x, not from the public registry"]);
    }
}
