//! `muster autoenroll` of the real executable against the real server: what it does, what it leaves alone, and what
//! crashes and outages leave behind. Whether a key fits its certificate is for OpenSSL to say.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use muster_testkit::peers::muster;
use muster_testkit::site::{SigningAlgorithm, Site};
use serde_json::Value;

mod group_policy;
mod life;
mod renewal;
mod trouble;

/// A client's folder at a site.
struct Client<'a> {
    site: &'a Site,
    user: &'static str,
    folder: PathBuf,
}

struct Ran {
    code: i32,
    report: Value,
    errors: String,
}

impl Ran {
    #[track_caller]
    fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{:#}\n{}", self.report, self.errors);
        self
    }

    /// What the run says about a name: what was to be done, and what came of it.
    #[track_caller]
    fn step(&self, name: &str) -> (String, String) {
        let steps = self.report["certificates"].as_array().unwrap();
        let step = steps.iter().find(|s| s["name"] == name).unwrap_or_else(|| panic!("{:#}", self.report));
        let word = |key: &str| step[key].as_str().unwrap_or("-").to_owned();
        (word("action"), word("outcome"))
    }

    #[track_caller]
    fn is(&self, name: &str, action: &str, outcome: &str) {
        assert_eq!(self.step(name), (action.to_owned(), outcome.to_owned()), "{:#}", self.report);
    }

    fn changed(&self) -> Vec<&str> {
        self.report["changed"].as_array().unwrap().iter().filter_map(Value::as_str).collect()
    }
}

impl<'a> Client<'a> {
    fn new(site: &'a Site, user: &'static str) -> Self {
        private(&site.path("password"));
        Self { site, user, folder: site.path(&format!("certificates-{user}")) }
    }

    /// Only what every run needs.
    fn bare(&self, arguments: &[&str]) -> Ran {
        let output = Command::new(muster())
            .args(["autoenroll", "--json", "--no-cache", "--ca-only", "--store"])
            .arg(&self.folder)
            .arg("--ca-file")
            .arg(self.site.ca())
            .args(arguments)
            .env("HOME", self.site.path("home"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let out = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let report = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}\n{errors}"));
        Ran { code: output.status.code().unwrap(), report, errors }
    }

    /// With the password, at the policy service for passwords.
    fn run(&self, arguments: &[&str]) -> Ran {
        let (cep, password) = (self.site.cep(), text(&self.site.path("password")));
        let login = ["--policy-url", &cep, "--user", self.user, "--password-file", &password];
        self.bare(&[&login[..], arguments].concat())
    }

    fn file(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.file(path)).unwrap()
    }

    /// The certificate is for the key beside it.
    #[track_caller]
    fn pair_fits(&self, name: &str) {
        let (certificate, key) = (self.file(name).join("cert.pem"), self.file(name).join("key.pem"));
        let certificate = muster_client_pair(&certificate, &key);
        assert!(certificate, "{name}");
    }
}

/// Judged by OpenSSL if it is there, which it is wherever the other tests ran.
fn muster_client_pair(certificate: &Path, key: &Path) -> bool {
    let ask = |arguments: &[&str]| {
        let output = Command::new("openssl").args(arguments).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    ask(&["x509", "-in", &text(certificate), "-noout", "-pubkey"])
        == ask(&["pkey", "-in", &text(key), "-pubout"])
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn private(file: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn site() -> Site {
    let site = Site::start(SigningAlgorithm::P256);
    site.usual_accounts();
    site
}

/// A template for computers that are to enroll unattended.
fn template(name: &str, more: &str) -> String {
    let (mut head, mut tail) = (String::new(), String::new());
    for line in more.lines() {
        let to = if line.starts_with('[') || !tail.is_empty() { &mut tail } else { &mut head };
        to.push_str(&format!("{line}\n"));
    }
    let validity =
        if tail.contains("[validity]") { "" } else { "[validity]\ndays = 30\nrenew_before_days = 10\n" };
    let subject = if tail.contains("[subject]") {
        ""
    } else {
        "[subject]\nsource = \"identity\"\ncommon_name = \"dns_name\"\nalternatives = [\"dns_names\"]\n"
    };
    format!(
        r#"
name = "{name}"
display_name = "{name}"
kind = "computer"
eku = ["1.3.6.1.5.5.7.3.2"]
{head}
{subject}
[key]
algorithms = ["p256"]
usage = ["digital_signature"]
{validity}
[permissions]
enroll = ["group:computers"]
auto_enroll = ["group:computers"]
{tail}"#
    )
}

fn requests(site: &Site) -> usize {
    let list: Value = serde_json::from_str(&site.muster("request", &["list", "--json"])).unwrap();
    list.as_array().unwrap().iter().filter(|request| request["requester"] == "web1").count()
}
