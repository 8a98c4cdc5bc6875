//! Programs of others that tests drive, and the one way for a test to say that its peer is not there.
//!
//! `cargo xtask test` installs or finds them, names them in environment variables, and ends with a list of the
//! tests that had to do without; so no test is left out in silence.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A program of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// wstep-rs and wcce-rs behind a command line, described in `tests/peers/adcs-rs/src/main.rs`.
    AdcsRs,
    /// The daemon `certmonger`, with the command `getcert`.
    Certmonger,
    /// The command `certipy`.
    Certipy,
    /// The command `curl`.
    Curl,
    /// The command `openssl`.
    OpenSsl,
    /// A Python with python-gssapi and the packages of `tests/peers/requirements-kerberos.txt`.
    KerberosPython,
    /// A Python with the packages of `tests/peers/requirements.txt`.
    Python,
}

impl Peer {
    /// The program to start; `None` after having said that the calling test is not run: the test then returns.
    ///
    /// ```
    /// use muster_testkit::peers::Peer;
    ///
    /// let Some(openssl) = Peer::OpenSsl.or_not_run() else { return };
    /// assert!(std::process::Command::new(openssl).arg("version").status().unwrap().success());
    /// ```
    #[must_use]
    pub fn or_not_run(self) -> Option<PathBuf> {
        let built = || root().join("target/peers/adcs-rs/debug/muster-peer-adcs-rs");
        let (variable, default, name) = match self {
            Self::AdcsRs => ("MUSTER_PEER_ADCS_RS", built(), "wstep-rs and wcce-rs"),
            Self::Certmonger => ("MUSTER_PEER_CERTMONGER", PathBuf::from("certmonger"), "certmonger"),
            Self::Certipy => {
                let program = root().join("target/peers/certipy/bin/certipy");
                ("MUSTER_PEER_CERTIPY", program, "Certipy (tests/peers/requirements-certipy.txt)")
            }
            Self::Curl => ("MUSTER_PEER_CURL", PathBuf::from("curl"), "curl"),
            Self::OpenSsl => ("MUSTER_PEER_OPENSSL", PathBuf::from("openssl"), "openssl"),
            Self::KerberosPython => {
                let python = root().join("target/peers/kerberos/bin/python");
                ("MUSTER_PEER_KERBEROS_PYTHON", python, "Python with tests/peers/requirements-kerberos.txt")
            }
            Self::Python => {
                let python = root().join("target/peers/venv/bin/python");
                ("MUSTER_PEER_PYTHON", python, "Python with tests/peers/requirements.txt")
            }
        };
        let program = std::env::var_os(variable).map_or(default, PathBuf::from);
        let mut probe = Command::new(&program);
        probe.arg(match self {
            Self::OpenSsl => "version",
            Self::Certmonger => "-v",
            Self::Certipy => "-h",
            Self::AdcsRs | Self::Curl | Self::KerberosPython | Self::Python => "--version",
        });
        let silent = probe.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if silent.status().is_ok_and(|status| status.success()) {
            return Some(program);
        }
        not_run(name);
        None
    }
}

/// The file `name` of `tests/peers`, where the scripts that peers run are kept.
#[must_use]
pub fn script(name: &str) -> PathBuf {
    root().join("tests/peers").join(name)
}

/// The real executable.
///
/// # Panics
/// If it has not been built; `cargo xtask test` builds it.
#[must_use]
#[expect(clippy::panic, reason = "used by tests alone, which stop here with a sentence")]
pub fn muster() -> PathBuf {
    let program = std::env::var_os("MUSTER_EXE").map_or_else(beside_this_test, PathBuf::from);
    if !program.is_file() {
        panic!("{} does not exist: run `cargo build -p muster` first", program.display());
    }
    program
}

/// Test executables are in `target/PROFILE/deps`, programs in `target/PROFILE`.
fn beside_this_test() -> PathBuf {
    let this = std::env::current_exe().unwrap_or_default();
    let profile = this.parent().and_then(Path::parent).unwrap_or(Path::new("."));
    profile.join(format!("muster{}", std::env::consts::EXE_SUFFIX))
}

/// Says that the calling test is not run, for want of `needs`; the test then returns.
#[expect(clippy::print_stderr, reason = "tells whoever reads the test's output")]
pub fn not_run(needs: &str) {
    let line = format!("NOT RUN: {}: needs {needs}\n", test_name());
    eprint!("{line}");
    if let Some(file) = std::env::var_os("MUSTER_NOT_RUN") {
        let written = OpenOptions::new()
            .append(true)
            .create(true)
            .open(file)
            .and_then(|mut file| file.write_all(line.as_bytes()));
        if let Err(error) = written {
            eprintln!("cannot note it for the summary: {error}");
        }
    }
}

/// A test's thread has its name; where it runs on the main thread, its runner named it on the command line.
pub(crate) fn test_name() -> String {
    let program = std::env::current_exe().unwrap_or_default();
    let suite = program.file_stem().map(OsString::from).unwrap_or_default();
    let suite = suite.to_string_lossy();
    let suite = suite.rsplit_once('-').map_or(&*suite, |(name, _hash)| name);
    let current = std::thread::current();
    let name = match current.name() {
        Some(name) if name != "main" => name.to_owned(),
        Some(_) | None => {
            std::env::args().skip_while(|argument| argument != "--exact").nth(1).unwrap_or_default()
        }
    };
    format!("{suite}::{name}")
}

fn root() -> PathBuf {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR"));
    crates.ancestors().nth(2).unwrap_or(crates).to_path_buf()
}
