//! The programs of others that tests drive: found, or installed where that is harmless, else named as missing.
//!
//! A test asks `muster_testkit::peers` for a program. If it is not there, the test appends a line to the file
//! named by `MUSTER_NOT_RUN` and returns; the test run ends with these lines, so nothing is skipped in silence.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::stage::{Verdict, stream};
use crate::workspace::{cargo, root};

/// A program that has to be on the machine.
struct Program {
    name: &'static str,
    /// Run to see whether it is there.
    probe: &'static [&'static str],
    /// Debian's package.
    package: &'static str,
    /// What cannot be done without it.
    purpose: &'static str,
    /// Tells the tests where it is.
    variable: Option<&'static str>,
}

const PROGRAMS: &[Program] = &[
    Program {
        name: "openssl",
        probe: &["version"],
        package: "openssl",
        purpose: "judging issued certificates and CRLs with OpenSSL",
        variable: Some("MUSTER_PEER_OPENSSL"),
    },
    Program {
        name: "curl",
        probe: &["--version"],
        package: "curl",
        purpose: "driving TLS and HTTP with curl",
        variable: Some("MUSTER_PEER_CURL"),
    },
    Program {
        name: "certmonger",
        probe: &["-v"],
        package: "certmonger",
        purpose: "enrolling and renewing with certmonger by way of our helper",
        variable: Some("MUSTER_PEER_CERTMONGER"),
    },
    Program {
        name: "/usr/bin/python3",
        probe: &["-c", "import cryptography"],
        package: "python3-cryptography",
        purpose: "enrolling with the certificate extension of samba-gpupdate",
        variable: None,
    },
    Program {
        name: "tshark",
        probe: &["--version"],
        package: "tshark",
        purpose: "looking at RPC with Wireshark, to an authority of AD CS and of our own server",
        variable: None,
    },
    Program {
        name: "c++",
        probe: &["--version"],
        package: "g++",
        purpose: "building the fuzz targets",
        variable: None,
    },
];

/// What the tests with MIT's KDC need: a file, and Debian's package that has it.
const KDC: &[(&str, &str)] = &[
    ("/usr/sbin/krb5kdc", "krb5-kdc"),
    ("/usr/sbin/kadmin.local", "krb5-admin-server"),
    ("/usr/bin/kinit", "krb5-user"),
    ("/usr/bin/faketime", "faketime"),
];

/// The Active Directory of the tests in `ad_*.rs`.
pub(crate) const BED: &str = "tests/beds/ad/up.sh";

/// Used if the first python3 of the path has no `venv`.
const PYTHONS: &[&str] = &["python3", "/usr/bin/python3"];

/// What was found.
#[derive(Default)]
pub(crate) struct Peers {
    /// For the tests.
    pub(crate) environment: Vec<(&'static str, OsString)>,
    /// One sentence for each program that is not there: what for, and how to get it.
    pub(crate) missing: Vec<String>,
}

/// `cargo xtask peers`.
#[expect(clippy::unnecessary_wraps, reason = "the tasks have one shape")]
pub(crate) fn run() -> Result<bool> {
    let peers = provide();
    for (variable, value) in &peers.environment {
        println!("{variable}={}", value.display());
    }
    for sentence in &peers.missing {
        println!("MISSING: {sentence}");
    }
    Ok(peers.missing.is_empty())
}

/// Finds the programs; installs with Debian's packages if that is possible, and Python's packages below `target/`.
pub(crate) fn provide() -> Peers {
    let mut packages: Vec<&str> =
        PROGRAMS.iter().filter(|program| !program.is_there()).map(|program| program.package).collect();
    if python().is_none() {
        packages.push("python3-venv");
    }
    if !has_python_gssapi() {
        packages.extend(["python3-gssapi", "python3-venv"]);
    }
    let (kdc, bed) = (missing_for_the_kdc(), missing_for_the_bed());
    packages.extend(kdc.iter().copied());
    packages.extend(bed.iter().map(String::as_str));
    if !packages.is_empty()
        && is_root_on_debian()
        && let Err(error) = install(&packages)
    {
        println!("warning: {error:#}");
    }
    let mut peers = Peers::default();
    for program in PROGRAMS {
        if !program.is_there() {
            let Program { name, package, purpose, .. } = program;
            peers.missing.push(format!("{purpose}: `{name}` is missing (Debian's package {package})"));
        } else if let Some(variable) = program.variable {
            peers.environment.push((variable, program.name.into()));
        }
    }
    let kdc = missing_for_the_kdc();
    if !kdc.is_empty() {
        peers.missing.push(format!("Kerberos with MIT's KDC: needs Debian's packages {}", kdc.join(" ")));
    }
    if let Some(why) = bed_is_impossible() {
        peers.missing.push(format!("Kerberos and Active Directory: {why}"));
    }
    let mut made = |variable, purpose: &str, program: Result<PathBuf>| match program {
        Ok(program) => peers.environment.push((variable, program.into())),
        Err(error) => peers.missing.push(format!("{purpose}: {error:#}")),
    };
    made(
        "MUSTER_PEER_PYTHON",
        "driving both services with zeep, judging with pkilint",
        python()
            .context("no Python with `venv` (Debian's package python3-venv)")
            .and_then(|python| virtual_environment(&[python, "-m", "venv"], "venv", "requirements.txt")),
    );
    made(
        "MUSTER_PEER_KERBEROS_PYTHON",
        "driving both services with requests-gssapi, attacking them with impacket",
        kerberos_environment(),
    );
    made(
        "MUSTER_PEER_CERTIPY",
        "enrolling over RPC with Certipy",
        python()
            .context("no Python with `venv` (Debian's package python3-venv)")
            .and_then(|python| {
                virtual_environment(&[python, "-m", "venv"], "certipy", "requirements-certipy.txt")
            })
            .map(|python| python.with_file_name("certipy")),
    );
    made("MUSTER_PEER_ADCS_RS", "driving CES with wstep-rs and wcce-rs", adcs_rs());
    peers
}

/// The packages of MIT's KDC that are not there.
fn missing_for_the_kdc() -> Vec<&'static str> {
    KDC.iter().filter(|(file, _)| !Path::new(file).exists()).map(|(_, package)| *package).collect()
}

/// The packages that the bed asks for and that are not there.
fn missing_for_the_bed() -> Vec<String> {
    let asked = Command::new("bash").arg(BED).arg("--check").current_dir(root()).output();
    let said = asked.map(|answer| String::from_utf8_lossy(&answer.stdout).into_owned()).unwrap_or_default();
    said.split_whitespace().map(str::to_owned).collect()
}

/// Why the bed cannot be made on this machine, if so.
pub(crate) fn bed_is_impossible() -> Option<String> {
    let packages = missing_for_the_bed();
    if !cfg!(target_os = "linux") {
        return Some(format!("{BED} needs Linux"));
    }
    if !packages.is_empty() {
        return Some(format!("{BED} needs Debian's packages {}", packages.join(" ")));
    }
    let namespaces = ["-Urnm", "-nm"];
    let allowed = namespaces.iter().any(|own| succeeds(Command::new("unshare").args([own, "true"])));
    (!allowed).then(|| format!("{BED} needs namespaces: `unshare -Urnm true` has to work"))
}

/// Whether C++ can be compiled, which the fuzz targets' engine needs.
pub(crate) fn has_cpp() -> bool {
    PROGRAMS.iter().filter(|program| program.name == "c++").all(Program::is_there)
}

impl Program {
    fn is_there(&self) -> bool {
        succeeds(Command::new(self.name).args(self.probe))
    }
}

fn succeeds(command: &mut Command) -> bool {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn is_root_on_debian() -> bool {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let debian = release.lines().any(|line| {
        let (key, value) = line.split_once('=').unwrap_or_default();
        matches!(key, "ID" | "ID_LIKE") && value.trim_matches('"').split(' ').any(|id| id == "debian")
    });
    let user = Command::new("id").arg("-u").output().map(|output| output.stdout).unwrap_or_default();
    debian && user == b"0\n"
}

fn install(packages: &[&str]) -> Result<()> {
    println!("installing from Debian, since you are root: {}", packages.join(" "));
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    stream(apt().args(["update", "-q"]))?;
    let install = ["install", "-q", "-y", "--no-install-recommends"];
    let (verdict, _) = stream(apt().args(install).args(packages))?;
    anyhow::ensure!(verdict == Verdict::Ok, "apt-get could not install {}", packages.join(" "));
    Ok(())
}

fn python() -> Option<&'static str> {
    PYTHONS
        .iter()
        .copied()
        .find(|python| succeeds(Command::new(python).args(["-c", "import venv, ensurepip"])))
}

/// Debian's Python with its python-gssapi, which needs no compiler.
const DEBIAN_PYTHON: &str = "/usr/bin/python3";

fn has_python_gssapi() -> bool {
    succeeds(Command::new(DEBIAN_PYTHON).args(["-c", "import gssapi, venv, ensurepip"]))
}

fn kerberos_environment() -> Result<PathBuf> {
    anyhow::ensure!(has_python_gssapi(), "needs Debian's packages python3-gssapi and python3-venv");
    let make = [DEBIAN_PYTHON, "tests/peers/kerberos_environment.py"];
    virtual_environment(&make, "kerberos", "requirements-kerberos.txt")
}

/// Makes or finds the virtual environment `name` with what a file of `tests/peers` requires; the answer is its Python.
fn virtual_environment(make: &[&str], name: &str, required: &str) -> Result<PathBuf> {
    let folder = root().join("target/peers");
    let (environment, stamp) = (folder.join(name), folder.join(format!("installed-{name}.txt")));
    let interpreter = environment.join("bin/python");
    let requirements = root().join("tests/peers").join(required);
    let wanted = fs::read_to_string(&requirements).with_context(|| format!("tests/peers/{required}"))?;
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted)
        && succeeds(Command::new(&interpreter).arg("--version"))
    {
        return Ok(interpreter);
    }
    println!("installing tests/peers/{required} into target/peers/{name}");
    remove(&environment)?;
    fs::create_dir_all(&folder)?;
    let [python, options @ ..] = make else { anyhow::bail!("no command") };
    let made = Command::new(python).args(options).arg(&environment).current_dir(root()).status()?;
    anyhow::ensure!(made.success(), "`{}` failed", make.join(" "));
    let (verdict, _) = stream(
        Command::new(&interpreter)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"])
            .arg(&requirements),
    )?;
    if verdict != Verdict::Ok {
        // With half an environment tests would fail that are better not run.
        remove(&environment)?;
        anyhow::bail!("pip could not install tests/peers/{required} (no network?)");
    }
    fs::write(&stamp, wanted)?;
    Ok(interpreter)
}

/// Builds the program around wstep-rs and wcce-rs.
fn adcs_rs() -> Result<PathBuf> {
    let folder = root().join("target/peers/adcs-rs");
    let (verdict, _) = stream(
        cargo()
            .args(["build", "--quiet", "--locked", "--manifest-path", "tests/peers/adcs-rs/Cargo.toml"])
            .env("CARGO_TARGET_DIR", &folder),
    )?;
    anyhow::ensure!(verdict == Verdict::Ok, "tests/peers/adcs-rs does not build (no network?)");
    Ok(folder.join("debug").join(format!("muster-peer-adcs-rs{}", std::env::consts::EXE_SUFFIX)))
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
