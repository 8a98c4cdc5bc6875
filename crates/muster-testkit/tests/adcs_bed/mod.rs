//! An installation with an authority of AD CS behind it, which a program that shares no code with it plays.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

use std::path::Path;
use std::process::Command;

use muster_server::SystemClock;
use muster_testkit::adcs::Authority;
use muster_testkit::peers::{self, Peer};
use muster_testkit::site::{SigningAlgorithm, Site};
use muster_testkit::tools::{self, Key, OpenSsl, Ran};
use serde_json::Value;

/// What the authority is called.
pub(crate) const CA: &str = "CORP-CA";

pub(crate) struct Bed {
    authority: Authority,
    pub(crate) site: Site,
    pub(crate) mapper: u16,
    /// A request for a certificate, PKCS#10, and its key's public half.
    pub(crate) request: Vec<u8>,
    pub(crate) public_key: Vec<u8>,
}

/// What is different.
pub(crate) struct Plan<'a> {
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

impl Bed {
    pub(crate) fn start(plan: &Plan<'_>) -> Option<Self> {
        let openssl = Peer::OpenSsl.or_not_run()?;
        let site = Site::make_named("localhost", "Own CA", SigningAlgorithm::P256, &SystemClock);
        let folder = site.path("authority");
        std::fs::create_dir_all(&folder).unwrap();
        let openssl = OpenSsl::new(openssl, &site);
        let key = openssl.key(Key::P256, "alice");
        let request = openssl.request(&key, "alice", &[]);
        let public_key = openssl.run(&["pkey", "-in", &key, "-pubout", "-outform", "DER"]);
        let authority = Authority::start(CA, &folder, plan.keytab, plan.arguments)?;
        let mapper = authority.mapper;
        let bed = Self { authority, site, mapper, request, public_key };
        bed.configure(plan);
        Some(bed)
    }

    /// The authority's certificate, PEM.
    pub(crate) fn certificate(&self) -> &Path {
        &self.authority.certificate
    }

    fn configure(&self, plan: &Plan<'_>) {
        let keytab = self.site.path("own.keytab");
        std::fs::copy(plan.own, &keytab).unwrap();
        private(&keytab);
        let mut table = format!(
            "[ca.{CA:?}]\nbackend = \"adcs\"\nserver = \"localhost\"\nmapper_port = {}\ncertificates = [{:?}]\n\
             account = \"svc-ces@CORP.TEST\"\nkeytab = {keytab:?}\nconnect_seconds = 5\ncall_seconds = 5\n",
            self.mapper,
            self.certificate(),
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
        assert!(ran.ok, "{arguments:?}: {}\n{}", ran.all(), self.authority.errors());
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

    /// The authority's lines with this word.
    pub(crate) fn calls(&self, word: &str, count: usize) -> Vec<String> {
        self.authority.calls(word, count)
    }

    pub(crate) fn stop(&mut self) {
        self.authority.stop();
    }
}

fn private(file: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// An endpoint for renewals by this service itself.
pub(crate) const RENEWALS: &str = "[[enrollment_endpoint]]\nca = \"CORP-CA\"\nidentity = \"renew_on_behalf\"\n\
     authentication = \"client_certificate\"\nlistener = \"certificate\"\nrenewal_only = true\n";
