//! An installation in a temporary folder, served by the real executable: what tests of real peers drive.
//!
//! Each test makes its own (about a second); it is stopped and removed when the value is dropped.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests stop here, at the first surprise")]

use std::ffi::OsStr;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use muster_core::{Clock, UnixTime};
use muster_server::setup::{self, Plan};
use muster_server::{Node, Settings, SystemClock};
use tempfile::TempDir;

pub use muster_ca::SigningAlgorithm;

/// Tables for [`Site::configure`]: the policy service for key-based renewal, and an address `/key-based` for it.
pub const KEY_BASED: &str = r#"
[[policy_endpoint]]
authentication = "client_certificate"
listener = "certificate"
key_based_renewal = true

[[enrollment_endpoint]]
authentication = "client_certificate"
listener = "certificate"
path = "/key-based"
renewal_only = true
key_based_renewal = true
"#;

/// The password of every account that [`Site::account`] makes.
pub const PASSWORD: &str = "correct horse battery staple";

/// Name of the CA; the space is on purpose.
pub const CA_NAME: &str = "Peer Test CA";

/// First port tried: below the range from which systems take ports for outgoing connections.
const FIRST_PORT: u32 = 12_000;
/// Triples of ports to choose from.
const TRIPLES: u32 = 6_000;

/// The system's clock, moved by a number of seconds.
#[derive(Clone, Copy, Debug)]
pub struct MovedClock(pub i64);

impl Clock for MovedClock {
    fn now(&self) -> UnixTime {
        SystemClock.now().plus(self.0)
    }
}

/// An installation and, if it was started, its server.
#[derive(Debug)]
pub struct Site {
    folder: TempDir,
    ca_name: String,
    port: u16,
    config: PathBuf,
    server: Option<Child>,
}

impl Site {
    /// An installation whose CA signs with `algorithm`, and the executable serving it.
    #[must_use]
    pub fn start(algorithm: SigningAlgorithm) -> Self {
        let mut site = Self::make(algorithm, &SystemClock);
        site.serve();
        site
    }

    /// The same with an address for key-based renewal ([`Self::ces_key_based`]) where the template `User` is
    /// renewed at any time.
    #[must_use]
    pub fn start_key_based(algorithm: SigningAlgorithm) -> Self {
        let mut site = Self::make(algorithm, &SystemClock);
        site.configure(KEY_BASED);
        let user = site.muster("template", &["show", "User"]);
        site.template(&format!("{user}\n[renewal]\nkey_based = true\nwindow_percent = 100\n"));
        site.serve();
        site
    }

    /// An installation made at the time of `clock`, not served yet.
    #[must_use]
    pub fn make(algorithm: SigningAlgorithm, clock: &dyn Clock) -> Self {
        Self::make_for("localhost", algorithm, clock)
    }

    /// The same with another name for this machine in certificates and policies; it is still reached as `localhost`.
    #[must_use]
    pub fn make_for(host: &str, algorithm: SigningAlgorithm, clock: &dyn Clock) -> Self {
        Self::make_named(host, CA_NAME, algorithm, clock)
    }

    /// The same with another name for the CA, for a directory in which names of CAs must differ.
    #[must_use]
    pub fn make_named(host: &str, ca_name: &str, algorithm: SigningAlgorithm, clock: &dyn Clock) -> Self {
        // Other tests of this run choose ports at the same time; the process and the moment tell them apart.
        let seed = u32::from_be_bytes(setup_random());
        let port = (0..TRIPLES)
            .map(|n| FIRST_PORT + (seed.wrapping_add(n) % TRIPLES) * 3)
            .filter_map(|port| u16::try_from(port).ok())
            .find(|port| (0..3).all(|n| TcpListener::bind((Ipv4Addr::LOCALHOST, port + n)).is_ok()))
            .unwrap();
        let folder = tempfile::Builder::new().prefix("muster-peers-").tempdir().unwrap();
        let plan = Plan {
            directory: folder.path().join("installation"),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            host: host.to_owned(),
            ca_name: ca_name.to_owned(),
            algorithm,
            ca_years: 10,
        };
        let config = wait(setup::create(&plan, clock)).unwrap();
        fs::write(folder.path().join("password"), format!("{PASSWORD}\n")).unwrap();
        Self { folder, ca_name: ca_name.to_owned(), port, config, server: None }
    }

    /// Starts the executable and waits until it listens.
    pub fn serve(&mut self) {
        self.serve_by(Command::new(crate::peers::muster()));
    }

    /// The same by a command that runs the executable with the arguments which are added to it.
    pub fn serve_by(&mut self, mut command: Command) {
        let log = self.path("server.log");
        let file = fs::File::create(&log).unwrap();
        let mut child = command
            .args(["serve", "--config"])
            .arg(&self.config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .unwrap();
        for _ in 0..600 {
            let text = fs::read_to_string(&log).unwrap_or_default();
            if text.contains("serving revocation list") {
                self.server = Some(child);
                return;
            }
            if child.try_wait().unwrap().is_some() {
                panic!("the server ended:\n{text}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = child.kill();
        let _ = child.wait();
        panic!("the server does not start:\n{}", fs::read_to_string(&log).unwrap_or_default());
    }

    /// Serves inside this process, at the time of `clock`, while `work` runs; for what only another time shows.
    pub fn serve_at<T>(&self, clock: MovedClock, work: impl FnOnce(&Self) -> T) -> T {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let settings = Settings::load(&self.config).unwrap();
        let node = runtime.block_on(Node::start(settings, std::sync::Arc::new(clock))).unwrap();
        let result = work(self);
        runtime.block_on(node.stop());
        result
    }

    /// Adds tables to the configuration of a server that is not started yet.
    pub fn configure(&self, toml: &str) {
        let text = fs::read_to_string(&self.config).unwrap();
        fs::write(&self.config, format!("{text}\n{toml}")).unwrap();
    }

    /// Writes another configuration for a server that is not started yet.
    pub fn change_configuration(&self, change: impl FnOnce(String) -> String) {
        let text = fs::read_to_string(&self.config).unwrap();
        fs::write(&self.config, change(text)).unwrap();
    }

    /// What the server wrote to its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("server.log")).unwrap_or_default()
    }

    /// A file beside the installation.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file of the installation.
    #[must_use]
    pub fn installed(&self, name: &str) -> PathBuf {
        self.config.with_file_name(name)
    }

    /// The CA certificate, PEM.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.installed("ca/ca.pem")
    }

    /// The port of the listener for passwords; the one for client certificates is next, then the revocation list's.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// `https://localhost:PORT` of the listener for passwords.
    #[must_use]
    pub fn base(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// `https://localhost:PORT` of the listener for client certificates.
    #[must_use]
    pub fn certificate_base(&self) -> String {
        format!("https://localhost:{}", self.port + 1)
    }

    /// `http://localhost:PORT/FILE` of revocation list (`ca.crl`) and CA certificate (`ca.crt`, `ca.pem`).
    #[must_use]
    pub fn published(&self, file: &str) -> String {
        format!("http://localhost:{}/{file}", self.port + 2)
    }

    /// The policy service for passwords.
    #[must_use]
    pub fn cep(&self) -> String {
        format!("{}/ADPolicyProvider_CEP_UsernamePassword/service.svc/CEP", self.base())
    }

    /// The policy service for client certificates.
    #[must_use]
    pub fn cep_certificate(&self) -> String {
        format!("{}/ADPolicyProvider_CEP_Certificate/service.svc/CEP", self.certificate_base())
    }

    /// The enrollment service for passwords.
    #[must_use]
    pub fn ces(&self) -> String {
        format!("{}/{}/service.svc/CES", self.base(), self.enrollment("UsernamePassword"))
    }

    /// The enrollment service for client certificates.
    #[must_use]
    pub fn ces_certificate(&self) -> String {
        format!("{}/{}/service.svc/CES", self.certificate_base(), self.enrollment("Certificate"))
    }

    /// The enrollment service of [`Self::start_key_based`].
    #[must_use]
    pub fn ces_key_based(&self) -> String {
        format!("{}/key-based", self.certificate_base())
    }

    /// The name of the CA.
    #[must_use]
    pub fn ca_name(&self) -> &str {
        &self.ca_name
    }

    /// The part of the enrollment services' paths with the CA's name and the authentication.
    #[must_use]
    pub fn enrollment(&self, authentication: &str) -> String {
        format!("{}_CES_{authentication}", self.ca_name.replace(' ', "%20"))
    }

    /// Runs an administrator's subcommand and returns what it printed; `arguments` begin with the group, such as
    /// `cert`.
    pub fn muster<A: AsRef<OsStr>>(&self, group: &str, arguments: &[A]) -> String {
        let output = Command::new(crate::peers::muster())
            .args([group, "--config"])
            .arg(&self.config)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "muster {group}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Adds an account of the kind `user` or `computer` with [`PASSWORD`]; further options as on the command line.
    pub fn account(&self, name: &str, kind: &str, options: &[&str]) {
        let password = self.path("password");
        let mut arguments = vec!["add", name, "--kind", kind, "--password-file", password.to_str().unwrap()];
        arguments.extend(options);
        self.muster("account", &arguments);
    }

    /// The accounts that most tests need: `alice` and `bob` are users, `web1` is a computer.
    pub fn usual_accounts(&self) {
        let alice = [
            "--common-name",
            "Alice Example",
            "--email",
            "alice@corp.example",
            "--upn",
            "alice@corp.example",
        ];
        self.account("alice", "user", &alice);
        self.account("bob", "user", &["--email", "bob@corp.example"]);
        self.account("web1", "computer", &["--dns", "web1.corp.example", "--dns", "www.corp.example"]);
    }

    /// Adds a template, or a new revision, from its TOML text.
    pub fn template(&self, toml: &str) {
        let file = self.path("template.toml");
        fs::write(&file, toml).unwrap();
        self.muster("template", &[OsStr::new("put"), file.as_os_str()]);
    }

    /// Ends the server; the installation stays.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.server.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The server's process; 0 if it does not run.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.server.as_ref().map_or(0, Child::id)
    }

    /// Whether the server still runs.
    pub fn is_running(&mut self) -> bool {
        self.server.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(mut child) = self.server.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprint_log(&self.path("server.log"));
        }
    }
}

#[expect(clippy::print_stderr, reason = "shown for a test that failed")]
fn eprint_log(log: &Path) {
    eprintln!("the server's log:\n{}", fs::read_to_string(log).unwrap_or_default());
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn setup_random() -> [u8; 4] {
    let text = setup::random_text(4).unwrap();
    let mut octets = [0; 4];
    octets.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
    octets
}
