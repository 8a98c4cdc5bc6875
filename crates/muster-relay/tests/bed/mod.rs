//! A program that plays an enrollment service (`tests/peers/upstream.py`), and requests for it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]
#![allow(dead_code, reason = "each suite uses a part")]

use std::future::Future;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use muster_relay::{
    Answer, DateTime, Expected, Password, RelayError, Settings, Submission, Timeouts, Trust, Upstream,
    UpstreamIdentity,
};
use muster_testkit::Key;
use muster_testkit::peers::{self, Peer};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::Value;
use tempfile::TempDir;

/// The program, the certificates around it, and a request.
pub(crate) struct Bed {
    child: Child,
    lines: Arc<Mutex<Vec<Value>>>,
    host: &'static str,
    port: u16,
    pub(crate) folder: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
    pub(crate) key: Key,
}

impl Drop for Bed {
    #[expect(clippy::print_stderr, reason = "tells whoever reads the test's output")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", std::fs::read_to_string(self.path("errors")).unwrap_or_default());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn issuer(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

impl Bed {
    /// `None` after having said what is missing.
    pub(crate) fn start() -> Option<Self> {
        Some(Self::start_with(&Peer::Python.or_not_run()?, "localhost", &[]))
    }

    /// With a Python that has python-gssapi where tickets come, and further arguments.
    pub(crate) fn start_with(python: &Path, host: &'static str, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, pem: &str| std::fs::write(folder.path().join(name), pem).unwrap();
        let (authority, web) = (issuer("CORP-CA"), issuer("Web CA"));
        write("ca.pem", &authority.pem());
        write("ca.key", &authority.key().serialize_pem());
        write("web.pem", &web.pem());
        for (file, name) in [("server", host), ("node1", "node1.corp.test")] {
            let key = KeyPair::generate().unwrap();
            let names = vec![name.to_owned(), "127.0.0.1".to_owned()];
            let mut params = CertificateParams::new(names).unwrap();
            params.distinguished_name.push(DnType::CommonName, name);
            write(&format!("{file}.pem"), &params.signed_by(&key, &web).unwrap().pem());
            write(&format!("{file}.key"), &key.serialize_pem());
        }
        let mut command = Command::new(python);
        command.arg(peers::script("upstream.py"));
        command
            .args(["server.pem", "server.key", "ca.pem", "ca.key", "web.pem"].map(|f| folder.path().join(f)));
        command.args(["--host", host]).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(std::fs::File::create(folder.path().join("errors")).unwrap());
        let mut child = command.spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        output.read_line(&mut first).unwrap();
        let errors = || std::fs::read_to_string(folder.path().join("errors")).unwrap();
        let first: Value = serde_json::from_str(&first).unwrap_or_else(|_| panic!("{}", errors()));
        let lines = Arc::new(Mutex::new(Vec::new()));
        std::thread::spawn({
            let lines = Arc::clone(&lines);
            move || collect(output, &lines)
        });
        let port = first["port"].as_u64().unwrap().try_into().unwrap();
        Self { child, lines, host, port, folder, authority, key: Key::generate() }
    }

    pub(crate) fn settings(&self, doing: &str, sign_in: &str) -> Settings {
        let url = format!("https://{}:{}/{doing}_{sign_in}/service.svc/CES", self.host, self.port);
        let mut settings = Settings::new(url.parse().unwrap(), vec![self.authority.der().to_vec()]);
        settings.trust = Trust { files: vec![self.path("web.pem")], only: true, ..Trust::default() };
        settings.timeouts = Timeouts { connect: Duration::from_secs(10), request: Duration::from_secs(10) };
        settings
    }

    pub(crate) fn upstream(&self, doing: &str) -> Upstream {
        Upstream::new(self.settings(doing, "UsernamePassword")).unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn expected(&self) -> Expected {
        Expected { public_key: self.key.spki().to_vec(), template: vec!["User".to_owned()], sid: None }
    }

    pub(crate) fn submission(&self) -> Submission {
        Submission { request: self.key.request("User"), expected: self.expected() }
    }

    /// Submits with alice's password.
    pub(crate) async fn submit(&self, doing: &str) -> Result<Answer, RelayError> {
        self.upstream(doing).submit(&password("alice"), &self.submission(), now()).await
    }

    /// What the program saw, once there are so many messages; or what there is after a while.
    pub(crate) fn saw(&self, count: usize) -> Vec<Value> {
        let started = Instant::now();
        loop {
            let lines = self.lines.lock().unwrap().clone();
            if lines.len() >= count || started.elapsed() > Duration::from_secs(3) {
                return lines;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn collect(output: BufReader<ChildStdout>, lines: &Mutex<Vec<Value>>) {
    for line in output.lines().map_while(Result::ok) {
        lines.lock().unwrap().push(serde_json::from_str(&line).unwrap());
    }
}

pub(crate) fn password(name: &str) -> UpstreamIdentity {
    UpstreamIdentity::Password { name: name.to_owned(), secret: Password::new(format!("{name}-pw")) }
}

/// The program does not look at the time.
pub(crate) const fn now() -> DateTime {
    DateTime::from_unix(1_800_000_000)
}

pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}
