//! Manners of the command line: results to stdout, everything else to stderr, failures as `error:` then `hint:`.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;

/// Exit code of a failure on this machine.
pub(crate) const FAILED: u8 = 1;

/// A failure as a person reads it.
#[derive(Debug)]
pub(crate) struct Failure {
    error: String,
    hint: Option<String>,
    code: u8,
}

impl Failure {
    pub(crate) fn new(error: impl Display) -> Self {
        Self { error: error.to_string(), hint: None, code: FAILED }
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    #[must_use]
    pub(crate) const fn code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// Error and hint.
    pub(crate) fn into_parts(self) -> (String, Option<String>) {
        (self.error, self.hint)
    }

    /// Prints it and ends with its code.
    pub(crate) fn report(&self) -> ExitCode {
        let mut err = std::io::stderr().lock();
        // Where stderr is closed there is nobody to tell.
        let _ = writeln!(err, "error: {}", self.error);
        if let Some(hint) = &self.hint {
            let _ = writeln!(err, "hint: {hint}");
        }
        ExitCode::from(self.code)
    }
}

impl<E: std::error::Error> From<E> for Failure {
    /// The error with its sources.
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text.push_str(": ");
                text.push_str(&cause_text);
            }
            source = cause.source();
        }
        Self::new(text)
    }
}

/// What most commands return.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// Where results go, and in which form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    /// JSON instead of text.
    pub(crate) json: bool,
}

impl Output {
    /// One line of a result. A reader that has seen enough (`| head`) is no failure.
    pub(crate) fn line(self, text: impl Display) -> Outcome {
        match writeln!(std::io::stdout().lock(), "{text}") {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// A result in either form.
    pub(crate) fn value<T: Serialize>(self, value: &T, text: impl FnOnce() -> String) -> Outcome {
        if self.json { self.line(serde_json::to_string_pretty(value)?) } else { self.line(text().trim_end()) }
    }

    /// Rows in either form: aligned columns, or an array of objects.
    pub(crate) fn table<T: Serialize>(
        self,
        rows: &[T],
        heads: &[&str],
        cells: impl Fn(&T) -> Vec<String>,
    ) -> Outcome {
        if self.json {
            return self.line(serde_json::to_string_pretty(rows)?);
        }
        let body: Vec<Vec<String>> = rows.iter().map(cells).collect();
        let head = heads.iter().map(|h| (*h).to_owned()).collect();
        let lines: Vec<Vec<String>> = std::iter::once(head).chain(body).collect();
        let width = |column: usize| {
            lines.iter().filter_map(|l| l.get(column)).map(|c| c.chars().count()).max().unwrap_or(0)
        };
        for line in &lines {
            let cells: Vec<String> =
                line.iter().enumerate().map(|(i, cell)| format!("{cell:<w$}", w = width(i))).collect();
            self.line(cells.join("  ").trim_end())?;
        }
        Ok(())
    }

    /// A remark that is no result.
    pub(crate) fn note(self, text: impl Display) {
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }
}

/// Tells if others can read a file with a secret, and how to end that.
#[cfg(unix)]
pub(crate) fn warn_if_readable(file: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;

    // A file that cannot be looked at cannot be read either, and that is told then.
    if std::fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o077 != 0) {
        let file = file.display();
        let _ = writeln!(
            std::io::stderr().lock(),
            "warning: others can read {file}; protect it with: chmod 600 {file}"
        );
    }
}

#[cfg(not(unix))]
pub(crate) fn warn_if_readable(_: &std::path::Path) {}
