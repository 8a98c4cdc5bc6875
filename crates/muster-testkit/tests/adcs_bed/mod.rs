//! An installation with an authority of AD CS behind it, which a program that shares no code with it plays.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
#![allow(dead_code, reason = "each suite uses a part")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use muster_server::SystemClock;
use muster_testkit::peers::{self, Peer};
use muster_testkit::site::{SigningAlgorithm, Site};
use muster_testkit::tools::{self, Ran};
use serde_json::Value;

/// What the authority is called.
pub(crate) const CA: &str = "CORP-CA";

pub(crate) struct Bed {
    child: Child,
    pub(crate) site: Site,
    pub(crate) mapper: u16,
    /// A request for a certificate, PKCS#10, and its key's public half.
    pub(crate) request: Vec<u8>,
    pub(crate) public_key: Vec<u8>,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is different.
pub(crate) struct Plan<'a> {
    pub(crate) host: &'a str,
    /// The authority's own.
    pub(crate) keytab: &'a Path,
    /// The service's.
    pub(crate) own: &'a Path,
    pub(crate) arguments: &'a [&'a str],
    /// Lines of the table of the authority.
    pub(crate) more: &'a str,
    /// Tables.
    pub(crate) tables: &'a str,
}

fn openssl(folder: &Path, arguments: &[&str]) -> Vec<u8> {
    let mut command = Command::new(Peer::OpenSsl.or_not_run().unwrap());
    command.current_dir(folder).args(arguments);
    let ran = tools::run_command(command, b"");
    assert!(ran.ok, "{arguments:?}: {}", ran.all());
    ran.output
}

impl Bed {
    pub(crate) fn start(plan: &Plan<'_>) -> Option<Self> {
        let python = Peer::KerberosPython.or_not_run()?;
        Peer::OpenSsl.or_not_run()?;
        let site = Site::make_named("localhost", "Own CA", SigningAlgorithm::P256, &SystemClock);
        let folder = site.path("authority");
        std::fs::create_dir_all(&folder).unwrap();
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        openssl(
            &folder,
            &[&["req", "-x509", "-subj", "/CN=CORP-CA", "-keyout", "ca.key", "-out", "ca.pem"][..], &key]
                .concat(),
        );
        openssl(
            &folder,
            &[
                &[
                    "req",
                    "-new",
                    "-subj",
                    "/CN=alice",
                    "-keyout",
                    "key",
                    "-outform",
                    "DER",
                    "-out",
                    "request",
                ][..],
                &key,
            ]
            .concat(),
        );
        let public_key = openssl(&folder, &["pkey", "-in", "key", "-pubout", "-outform", "DER"]);
        let request = std::fs::read(folder.join("request")).unwrap();
        let mut child = Command::new(python)
            .arg(peers::script("../beds/adcs/authority.py"))
            .args(["--ca", "ca.pem", "--ca-key", "ca.key", "--keytab"])
            .arg(plan.keytab)
            .args(plan.arguments)
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(folder.join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        output.read_line(&mut first).unwrap();
        let said: Value = serde_json::from_str(&first).unwrap_or_default();
        let mapper =
            said.pointer("/mapper").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
        let mapper = mapper.unwrap_or_else(|| {
            panic!("{first}{}", std::fs::read_to_string(folder.join("log")).unwrap_or_default())
        });
        let lines = Arc::new(Mutex::new(Vec::new()));
        std::thread::spawn({
            let lines = Arc::clone(&lines);
            move || output.lines().map_while(Result::ok).for_each(|line| lines.lock().unwrap().push(line))
        });
        let bed = Self { child, site, mapper, request, public_key, lines };
        bed.configure(plan);
        Some(bed)
    }

    fn configure(&self, plan: &Plan<'_>) {
        let keytab = self.site.path("own.keytab");
        std::fs::copy(plan.own, &keytab).unwrap();
        private(&keytab);
        let mut table = format!(
            "[ca.{CA:?}]\nbackend = \"adcs\"\nserver = {:?}\nmapper_port = {}\ncertificates = [{:?}]\n\
             account = \"svc-ces@CORP.TEST\"\nkeytab = {keytab:?}\nconnect_seconds = 5\ncall_seconds = 5\n",
            plan.host,
            self.mapper,
            self.site.path("authority/ca.pem"),
        );
        for line in plan.more.lines() {
            let (name, _) = line.split_once(" =").unwrap();
            let kept: Vec<&str> =
                table.lines().filter(|old| !old.starts_with(&format!("{name} ="))).collect();
            table = format!("{}\n{line}\n", kept.join("\n"));
        }
        self.site.change_configuration(|text| {
            text.replace("[[enrollment_endpoint]]\n", "[[enrollment_endpoint]]\nca = \"Own CA\"\n")
        });
        self.site.configure(&format!("{table}\n{}", plan.tables));
    }

    /// `muster adcs …`, with the tickets of `cache` if any.
    pub(crate) fn run(&self, cache: Option<&str>, arguments: &[&str]) -> Ran {
        let mut command = Command::new(peers::muster());
        command.args(["adcs", "--config"]).arg(self.site.installed("muster.toml")).args(arguments);
        if let Some(cache) = cache {
            command.env("KRB5CCNAME", cache);
        }
        tools::run_command(command, b"")
    }

    pub(crate) fn good(&self, cache: Option<&str>, arguments: &[&str]) -> String {
        let ran = self.run(cache, arguments);
        assert!(ran.ok, "{arguments:?}: {}\n{:?}", ran.all(), self.lines.lock().unwrap());
        ran.text()
    }

    /// What it says when it fails.
    pub(crate) fn bad(&self, cache: Option<&str>, arguments: &[&str]) -> String {
        let ran = self.run(cache, arguments);
        assert!(!ran.ok, "{arguments:?}: {}", ran.all());
        ran.errors
    }

    /// The findings of `check` that are not fine; and whether it ended with 0.
    pub(crate) fn check(&self, arguments: &[&str]) -> (bool, Vec<String>) {
        let ran = self.run(None, &[&["check", "--json"][..], arguments].concat());
        let all: Value = serde_json::from_slice(&ran.output).unwrap_or_else(|_| panic!("{}", ran.all()));
        let findings = all.pointer("/0/findings").and_then(Value::as_array).unwrap().iter();
        let text = |finding: &Value, name: &str| {
            finding.pointer(name).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let bad = findings.filter(|finding| text(finding, "/severity") != "ok");
        let line = |finding: &Value| {
            let advice = text(finding, "/advice");
            assert!(!advice.is_empty(), "{finding}");
            format!("{} {}", text(finding, "/severity"), text(finding, "/sentence"))
        };
        (ran.ok, bad.map(line).collect())
    }

    /// The authority's lines with this word, once there are so many, or after a while.
    pub(crate) fn calls(&self, word: &str, count: usize) -> Vec<String> {
        let started = Instant::now();
        loop {
            let lines = self.lines.lock().unwrap().clone();
            let found: Vec<String> = lines.into_iter().filter(|line| line.contains(word)).collect();
            if found.len() >= count || started.elapsed() > Duration::from_secs(3) {
                return found;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn private(file: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// An endpoint for renewals by this service itself.
pub(crate) const RENEWALS: &str = "[[enrollment_endpoint]]\nca = \"CORP-CA\"\nidentity = \"renew_on_behalf\"\n\
     authentication = \"client_certificate\"\nlistener = \"certificate\"\nrenewal_only = true\n";
