//! certmonger as the one who runs `muster certmonger-submit`: it makes keys and requests, runs the helper, and keeps
//! what comes. It is started without a bus, on a socket of its own.

#![expect(clippy::unwrap_used, reason = "tests stop here, at the first surprise")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// certmonger with folders of its own.
#[derive(Debug)]
pub struct Certmonger {
    daemon: Child,
    folder: PathBuf,
}

impl Drop for Certmonger {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

impl Certmonger {
    /// Starts the daemon with its state below `folder`, and waits until it listens.
    #[must_use]
    pub fn start(certmonger: &Path, folder: PathBuf) -> Self {
        for name in ["cas", "requests", "local", "config", "tmp", "home"] {
            std::fs::create_dir_all(folder.join(name)).unwrap();
        }
        let socket = folder.join("socket");
        let daemon = Command::new(certmonger)
            .args(["-L", "-n", "-P"])
            .arg(&socket)
            .env("CERTMONGER_CAS_DIR", folder.join("cas"))
            .env("CERTMONGER_REQUESTS_DIR", folder.join("requests"))
            .env("CERTMONGER_LOCAL_CA_DIR", folder.join("local"))
            .env("CERTMONGER_CONFIG_DIR", folder.join("config"))
            .env("CERTMONGER_TMPDIR", folder.join("tmp"))
            .env("CERTMONGER_SYSTEM_LOCK_FILE", folder.join("lock"))
            .env("HOME", folder.join("home"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.join("log")).unwrap())
            .spawn()
            .unwrap();
        let this = Self { daemon, folder };
        let begin = Instant::now();
        while !socket.exists() {
            assert!(begin.elapsed() < Duration::from_secs(20), "{}", this.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        this
    }

    /// What the daemon wrote.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// A file in its folder.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The socket, as `getcert` wants it in `CERTMONGER_PVT_ADDRESS`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("unix:path={}", self.file("socket").display())
    }

    /// `getcert ARGUMENTS`: what it printed, whatever its exit code.
    pub fn getcert(&self, arguments: &[&str]) -> String {
        let output = Command::new("getcert")
            .args(arguments)
            .env("CERTMONGER_PVT_ADDRESS", self.address())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    /// Makes a helper's command line the CA `muster`.
    pub fn add_ca(&self, helper: &str) {
        let said = self.getcert(&["add-ca", "-c", "muster", "-e", helper]);
        assert!(said.contains("New CA \"muster\" added"), "{said}");
    }

    /// Asks for a certificate for a template, in files named after it.
    pub fn request(&self, name: &str, template: &str, more: &[&str]) {
        let (key, certificate) = (self.file(&format!("{name}.key")), self.file(&format!("{name}.pem")));
        let (key, certificate) = (key.to_str().unwrap(), certificate.to_str().unwrap());
        let files = ["request", "-I", name, "-c", "muster", "-T", template, "-k", key, "-f", certificate];
        let said = self.getcert(&[&files[..], more].concat());
        assert!(said.contains("New signing request"), "{said}");
    }

    /// Waits until a request has this status, and returns all that certmonger says about it.
    #[track_caller]
    pub fn wait(&self, name: &str, status: &str) -> String {
        let begin = Instant::now();
        loop {
            let said = self.getcert(&["list", "-i", name]);
            if said.contains(&format!("status: {status}")) {
                return said;
            }
            assert!(begin.elapsed() < Duration::from_secs(40), "not {status}: {said}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}
