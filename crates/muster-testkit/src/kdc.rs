//! A Kerberos realm of one test: MIT's KDC on a port of loopback, without root.
//!
//! The Kerberos library reads its configuration from the file that `KRB5_CONFIG` names when the process begins, and
//! a process cannot safely change its environment later. So [`within`] runs the test that calls it once more, in a process
//! that has the variable from the beginning.

#![expect(clippy::unwrap_used, reason = "tests stop here, at the first surprise")]

use std::ffi::OsStr;
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::peers;
use crate::tools::{self, Ran};

/// The realm.
pub const REALM: &str = "CORP.TEST";

/// Tells the inner process where its realm is.
const INSIDE: &str = "MUSTER_TEST_KDC";

/// A realm with its KDC.
#[derive(Debug)]
pub struct Kdc {
    folder: PathBuf,
    /// Of the process that started the KDC.
    server: Option<(Child, tempfile::TempDir)>,
}

/// Runs the rest of the calling test in a realm of its own. `libdefaults` are further lines of that section of
/// `krb5.conf`. Where there is no KDC to start, the test is said not to run.
///
/// # Panics
/// If the test fails, or the KDC does not start.
#[expect(clippy::print_stdout, clippy::panic, reason = "passes on what the inner process said")]
pub fn within(libdefaults: &str, test: impl FnOnce(&Kdc)) {
    if let Some(folder) = std::env::var_os(INSIDE) {
        return test(&Kdc::of_another_process(folder.into()));
    }
    let Some(kdc) = Kdc::start(libdefaults) else { return };
    let name = peers::test_name();
    let (_suite, name) = name.split_once("::").unwrap();
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", name, "--nocapture", "--include-ignored"]);
    again.env(INSIDE, &kdc.folder).env("KRB5_CONFIG", kdc.krb5_conf());
    // No tickets and keys of whoever runs the tests.
    again.env("KRB5CCNAME", format!("FILE:{}", kdc.path("cc").display()));
    again.env("KRB5_KTNAME", kdc.path("none.keytab")).env("KRB5_CLIENT_KTNAME", kdc.path("none.keytab"));
    let output = again.stdin(Stdio::null()).output().unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{said}");
    assert!(said.contains("1 passed") || !output.status.success(), "the inner process ran no test {name}");
    if !output.status.success() {
        panic!("failed in the inner process\n{said}\n{}", kdc.log());
    }
}

impl Kdc {
    /// Starts a realm without principals of ours; `None` after having said that there is no KDC.
    #[must_use]
    pub fn start(libdefaults: &str) -> Option<Self> {
        let (Some(server), Some(_)) = (program("krb5kdc"), program("kadmin.local")) else {
            peers::not_run("MIT's KDC (Debian's packages krb5-kdc, krb5-admin-server, krb5-user)");
            return None;
        };
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().to_path_buf();
        let (port, shown) = (crate::ports::three(), folder.display());
        fs::write(
            folder.join("krb5.conf"),
            format!(
                "[libdefaults]\n default_realm = {REALM}\n dns_lookup_kdc = false\n dns_lookup_realm = false\n \
                 dns_canonicalize_hostname = false\n rdns = false\n forwardable = true\n \
                 udp_preference_limit = 1\n {libdefaults}\n\
                 [realms]\n {REALM} = {{\n  kdc = 127.0.0.1:{port}\n }}\n NOWHERE.TEST = {{\n  kdc = 127.0.0.1:1\n }}\n\
                 [domain_realm]\n .corp.test = {REALM}\n localhost = {REALM}\n"
            ),
        )
        .unwrap();
        fs::write(
            folder.join("kdc.conf"),
            format!(
                "[kdcdefaults]\n kdc_listen = 127.0.0.1:{port}\n kdc_tcp_listen = 127.0.0.1:{port}\n\
                 [realms]\n {REALM} = {{\n  database_name = {shown}/principal\n  key_stash_file = {shown}/stash\n  \
                 acl_file = {shown}/acl\n  supported_enctypes = aes256-cts:normal aes128-cts:normal\n }}\n\
                 [logging]\n kdc = FILE:{shown}/kdc.log\n"
            ),
        )
        .unwrap();
        let mut kdc = Self { folder, server: None };
        kdc.run("kdb5_util", &["create", "-s", "-r", REALM, "-P", "master"]);
        let log = fs::File::create(kdc.path("kdc.out")).unwrap();
        let child = kdc
            .environment(&mut Command::new(server))
            .args(["-n", "-r", REALM])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        kdc.server = Some((child, root));
        let answers = || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok();
        for _ in 0..200 {
            if answers() {
                return Some(kdc);
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        assert!(answers(), "the KDC does not answer: {}", kdc.log());
        Some(kdc)
    }

    /// The realm in this folder, which another process started and ends.
    #[must_use]
    pub const fn of_another_process(folder: PathBuf) -> Self {
        Self { folder, server: None }
    }

    /// Its configuration, for the variable `KRB5_CONFIG` of clients and servers.
    #[must_use]
    pub fn krb5_conf(&self) -> PathBuf {
        self.path("krb5.conf")
    }

    /// A file in the folder of the realm, which is gone after the test.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// What the KDC has logged.
    #[must_use]
    pub fn log(&self) -> String {
        ["kdc.out", "kdc.log"].map(|name| fs::read_to_string(self.path(name)).unwrap_or_default()).concat()
    }

    /// Sets the variables that put a program into this realm.
    pub fn environment<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("KRB5_CONFIG", self.krb5_conf())
            .env("KRB5_KDC_PROFILE", self.path("kdc.conf"))
            .env("KRB5CCNAME", format!("FILE:{}", self.path("cc").display()))
    }

    fn run(&self, name: &str, arguments: &[&str]) -> String {
        let ran = self.try_run(name, arguments, b"");
        assert!(ran.ok, "{name} {arguments:?}: {}", ran.all());
        ran.all()
    }

    /// Runs a program in this realm, whatever comes of it.
    #[must_use]
    pub fn try_run<A: AsRef<OsStr>>(&self, name: &str, arguments: &[A], input: &[u8]) -> Ran {
        let mut command = Command::new(program(name).unwrap_or_else(|| PathBuf::from(name)));
        self.environment(&mut command).args(arguments);
        tools::run_command(command, input)
    }

    /// A command of `kadmin.local`.
    pub fn admin(&self, query: &str) -> String {
        let said = self.run("kadmin.local", &["-r", REALM, "-q", query]);
        assert!(!said.contains("while "), "{query}: {said}");
        said
    }

    /// Adds a user.
    pub fn add_user(&self, name: &str, password: &str) {
        self.admin(&format!("addprinc -pw {password} {name}"));
    }

    /// Adds a service with random AES keys and writes them to the keytab `file`, beside what is in it already.
    pub fn add_service(&self, name: &str, file: &str) -> PathBuf {
        self.admin(&format!("addprinc -randkey {name}"));
        self.export(name, file)
    }

    /// Writes the keys of a principal to the keytab `file`, without changing them.
    pub fn export(&self, name: &str, file: &str) -> PathBuf {
        let path = self.path(file);
        self.admin(&format!("ktadd -norandkey -k {} {name}", path.display()));
        path
    }

    /// Gets a user's ticket into a cache of its own and returns the cache's name.
    pub fn kinit(&self, name: &str, password: &str, options: &[&str]) -> String {
        let cache = format!("FILE:{}", self.path(&format!("cc-{}", name.replace('/', "_"))).display());
        let arguments = [&["-c", &cache][..], options, &[name]].concat();
        let ran = self.try_run("kinit", &arguments, format!("{password}\n").as_bytes());
        assert!(ran.ok, "kinit {name}: {}\n{}", ran.all(), self.log());
        cache
    }
}

impl Drop for Kdc {
    fn drop(&mut self) {
        if let Some((server, _folder)) = &mut self.server {
            // It may have ended by itself.
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// A program of the path, or of the folders for administrators that are not in everybody's path.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders =
        std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(|folder| Path::new(folder).into()));
    folders.map(|folder: PathBuf| folder.join(name)).find(|file| file.is_file())
}
