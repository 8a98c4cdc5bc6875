//! The worlds that tickets need: a realm of MIT's KDC, and the Active Directory of `tests/beds/ad`.
//!
//! The Kerberos library reads its configuration from the file that `KRB5_CONFIG` names when a process begins. So what
//! is measured there runs in another process of this program, which prints tables of its own.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use muster_testkit::kdc::Kdc;
use muster_testkit::peers;

use crate::Arguments;

/// The parts of the run that need them.
pub(crate) const PARTS: [&str; 2] = [KERBEROS, ADCS];
const KERBEROS: &str = "kerberos";
const ADCS: &str = "adcs";
/// The principal that enrolls in the realm.
pub(crate) const PRINCIPAL: &str = "bench";
/// Where the inner process finds the realm.
const REALM_FOLDER: &str = "MUSTER_BENCH_REALM";

/// A world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum World {
    /// A realm of MIT's KDC.
    Realm,
    /// An Active Directory.
    Directory,
    /// A realm with an authority that is asked over RPC.
    Authority,
}

/// Measures in each of the worlds that are wanted and can be made here, and says loudly which cannot.
pub(crate) fn run_inside_each(arguments: &Arguments) -> Result<()> {
    if arguments.wants(KERBEROS) {
        in_realm(arguments, "realm", &["HTTP"], "enrollment with tickets")?;
        in_directory(arguments)?;
    }
    if arguments.wants(ADCS) {
        in_realm(arguments, "authority", &["HTTP", "HOST", "RPCSS"], "enrollment by the connector to AD CS")?;
    }
    Ok(())
}

/// In a realm with a user and these classes of services on this host.
fn in_realm(arguments: &Arguments, world: &str, classes: &[&str], what: &str) -> Result<()> {
    let Some(kdc) = Kdc::start("") else {
        println!("NOT RUN: {what}: needs Debian's packages krb5-kdc krb5-admin-server krb5-user\n");
        return Ok(());
    };
    for class in classes {
        kdc.add_service(&format!("{class}/localhost"), KEYTAB);
    }
    kdc.add_user(PRINCIPAL, "bench-pw");
    kdc.kinit(PRINCIPAL, "bench-pw", &[]);
    let mut command = this_program(arguments, world)?;
    kdc.environment(&mut command).env(REALM_FOLDER, kdc.path(""));
    succeed(command)
}

/// The service's keys in the realm's folder.
pub(crate) const KEYTAB: &str = "http.keytab";

/// The realm that the outer process made.
pub(crate) fn realm() -> Result<Kdc> {
    let folder = std::env::var_os(REALM_FOLDER).context("not started inside of a realm")?;
    Ok(Kdc::of_another_process(folder.into()))
}

fn in_directory(arguments: &Arguments) -> Result<()> {
    let up = peers::script("../beds/ad/up.sh");
    let missing = Command::new(&up).arg("--check").output().context("tests/beds/ad/up.sh")?;
    let missing = String::from_utf8_lossy(&missing.stdout).trim().to_owned();
    if !missing.is_empty() {
        println!("NOT RUN: policies of an Active Directory: needs Debian's packages {missing}\n");
        return Ok(());
    }
    let inner = this_program(arguments, "directory")?;
    let mut command = Command::new(up);
    command.arg(arguments.folder.join("ad")).arg(inner.get_program()).args(inner.get_args());
    succeed(command)
}

/// This program once more, for one world.
fn this_program(arguments: &Arguments, world: &str) -> Result<Command> {
    let absolute = |path: &PathBuf| std::path::absolute(path);
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--muster").arg(absolute(&arguments.muster)?);
    command.arg("--folder").arg(absolute(&arguments.folder)?);
    command.arg("--runs").arg(arguments.runs.to_string()).args(["--inside", world]);
    command.arg("--load").arg(&arguments.load);
    for (set, flag) in [(arguments.quick, "--quick"), (arguments.markdown, "--markdown")] {
        if set {
            command.arg(flag);
        }
    }
    Ok(command)
}

fn succeed(mut command: Command) -> Result<()> {
    let status = command.status()?;
    if !status.success() {
        bail!("{:?} ended with {status}", command.get_program());
    }
    Ok(())
}

/// Runs a program of the directory's bed; what it says.
pub(crate) fn run(program: &str, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>> {
    let ran = muster_testkit::tools::run_command(
        {
            let mut command = Command::new(program);
            command.args(arguments);
            command
        },
        input,
    );
    ensure!(ran.ok, "{program}: {}", ran.all());
    Ok(ran.output)
}
