//! The stages of a test run: each streams its output, is timed, and ends in one row of the closing table.

use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// How a stage ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All that it asked was so.
    Ok,
    /// Something was not.
    Failed,
    /// A program is missing; the list below the table says which.
    NotRun,
}

/// Tests counted in the output of a test runner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

/// The stages so far.
#[derive(Default)]
pub(crate) struct Stages {
    rows: Vec<(&'static str, Verdict, Duration)>,
    pub(crate) count: Count,
}

impl Stages {
    /// Runs one stage. An error is a failure of that stage alone: the others still run.
    pub(crate) fn run(&mut self, name: &'static str, stage: impl FnOnce(&mut Count) -> Result<Verdict>) {
        println!("\n==== {name}");
        let start = Instant::now();
        let verdict = match stage(&mut self.count) {
            Ok(verdict) => verdict,
            Err(error) => {
                println!("error: {error:#}");
                Verdict::Failed
            }
        };
        if verdict == Verdict::Failed {
            println!("==== {name} FAILED");
        }
        self.rows.push((name, verdict, start.elapsed()));
    }

    /// Prints the table; whether no stage failed.
    pub(crate) fn report(&self) -> bool {
        println!("\n{:<26} {:<8} {:>8}", "stage", "result", "seconds");
        for (name, verdict, took) in &self.rows {
            let verdict = match verdict {
                Verdict::Ok => "ok",
                Verdict::Failed => "FAILED",
                Verdict::NotRun => "not run",
            };
            println!("{name:<26} {verdict:<8} {:>8.1}", took.as_secs_f64());
        }
        let total: Duration = self.rows.iter().map(|(_, _, took)| *took).sum();
        println!("{:<26} {:<8} {:>8.1}", "all", "", total.as_secs_f64());
        self.rows.iter().all(|(_, verdict, _)| *verdict != Verdict::Failed)
    }
}

/// Runs a program with its output going to the terminal and into the answer.
pub(crate) fn stream(command: &mut Command) -> Result<(Verdict, String)> {
    if std::io::stdout().is_terminal() {
        // A pipe would take the colours away.
        command.env("CARGO_TERM_COLOR", "always");
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let seen = Mutex::new(String::new());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        scope.spawn(|| stdout.map(|pipe| copy_lines(pipe, &seen)));
        scope.spawn(|| stderr.map(|pipe| copy_lines(pipe, &seen)));
    });
    let verdict = if child.wait()?.success() { Verdict::Ok } else { Verdict::Failed };
    Ok((verdict, seen.into_inner().unwrap_or_default()))
}

fn copy_lines(pipe: impl Read, seen: &Mutex<String>) {
    let mut pipe = BufReader::new(pipe);
    let mut line = Vec::new();
    while pipe.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        // A terminal that went away stops no test.
        drop(std::io::stdout().write_all(&line));
        if let Ok(mut seen) = seen.lock() {
            seen.push_str(&without_colours(&String::from_utf8_lossy(&line)));
        }
        line.clear();
    }
}

/// The text without terminal control sequences.
fn without_colours(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            for control in characters.by_ref() {
                if control.is_ascii_alphabetic() {
                    break;
                }
            }
        } else {
            plain.push(character);
        }
    }
    plain
}

impl Count {
    /// Adds what a test runner's closing lines say: nextest's `Summary`, cargo test's `test result`.
    pub(crate) fn add_output(&mut self, output: &str) {
        for line in output.lines() {
            let line = line.trim_start();
            if line.starts_with("Summary [") || line.starts_with("test result: ") {
                self.passed += number_before(line, "passed");
                self.failed += number_before(line, "failed");
                self.skipped += number_before(line, "skipped") + number_before(line, "ignored");
            }
        }
    }
}

/// The number that stands before a word, as in `12 passed`; 0 if none does.
fn number_before(line: &str, word: &str) -> usize {
    let words: Vec<&str> = line.split([' ', ',', ';', '(', ')']).filter(|part| !part.is_empty()).collect();
    words
        .windows(2)
        .find_map(|pair| match pair {
            [number, follower] if *follower == word => number.parse().ok(),
            _ => None,
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(output: &str) -> Count {
        let mut count = Count::default();
        count.add_output(output);
        count
    }

    #[test]
    fn count_of_nextest() {
        let output = "     Summary [   0.006s] 10 tests run: 8 passed (1 slow), 2 failed, 3 skipped\n";
        assert_eq!(count(output), Count { passed: 8, failed: 2, skipped: 3 });
    }

    #[test]
    fn count_of_cargo_test_adds_up() {
        let line =
            "test result: ok. 4 passed; 1 failed; 2 ignored; 0 measured; 9 filtered out; finished in 0.00s\n";
        assert_eq!(count(&line.repeat(2)), Count { passed: 8, failed: 2, skipped: 4 });
    }

    #[test]
    fn count_ignores_other_lines() {
        assert_eq!(count("10 passed\n"), Count::default());
    }

    #[test]
    fn colours_are_removed() {
        assert_eq!(without_colours("\u{1b}[32;1m Summary\u{1b}[0m [1s]"), " Summary [1s]");
    }
}
