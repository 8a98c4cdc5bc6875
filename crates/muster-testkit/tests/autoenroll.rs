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
use std::sync::atomic::Ordering;

use base64::Engine as _;
use muster_core::Clock as _;
use muster_server::SystemClock;
use muster_testkit::peers::muster;
use muster_testkit::requests::Messages;
use muster_testkit::site::{MovedClock, PASSWORD, SigningAlgorithm, Site};
use muster_testkit::{Https, Key, SignIn, one_way};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::Value;

const DAY: i64 = 86_400;

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
    ask(&["x509", "-in", &text(certificate), "-noout", "-pubkey"]) == ask(&["pkey", "-in", &text(key), "-pubout"])
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
    let validity = if tail.contains("[validity]") { "" } else { "[validity]\ndays = 30\nrenew_before_days = 10\n" };
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

#[test]
fn second_run_has_nothing_to_do() {
    use std::os::unix::fs::PermissionsExt as _;

    let site = site();
    let client = Client::new(&site, "web1");
    let planned = client.run(&["--dry-run"]).expect(0);
    planned.is("Computer", "enroll", "-");
    assert!(!client.folder.exists() && planned.changed().is_empty());
    assert_eq!(requests(&site), 0);

    let first = client.run(&[]).expect(0);
    first.is("Computer", "enroll", "done");
    assert_eq!(first.changed(), ["Computer"]);
    // Templates without the permission are none of its business.
    assert_eq!(first.report["certificates"].as_array().unwrap().len(), 1, "{:#}", first.report);
    client.pair_fits("Computer");
    let mode = std::fs::metadata(client.file("Computer/key.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let chain = client.read("Computer/cert.pem") + &client.read("Computer/chain.pem");
    assert_eq!(client.read("Computer/fullchain.pem"), chain);
    let before = client.read("Computer/cert.pem");

    let second = client.run(&[]).expect(0);
    second.is("Computer", "leave", "-");
    assert!(second.changed().is_empty());
    assert_eq!(client.read("Computer/cert.pem"), before);
    assert_eq!(requests(&site), 1);
    assert!(std::fs::read_dir(client.file(".pending")).unwrap().next().is_none());
}

#[test]
fn certificate_alone_goes_on_from_the_first() {
    let site = site();
    let client = Client::new(&site, "web1");
    client.run(&[]).expect(0);
    site.template(&template("Extra", ""));
    // No password any more: the certificate of the folder is what TLS shows.
    let url = site.cep_certificate();
    let ran = client.bare(&["--policy-url", &url]).expect(0);
    ran.is("Computer", "leave", "-");
    ran.is("Extra", "enroll", "done");
    client.pair_fits("Extra");
}

#[test]
fn higher_major_revision_enrolls_again() {
    let site = site();
    let client = Client::new(&site, "web1");
    site.template(&template("Mesh", "major = 1"));
    client.run(&[]).expect(0).is("Mesh", "enroll", "done");
    let before = client.read("Mesh/cert.pem");
    // A change that is not for those who have one.
    site.template(&template("Mesh", "major = 1\npolicies = [\"1.3.6.1.4.1.99999.7\"]"));
    client.run(&[]).expect(0).is("Mesh", "leave", "-");
    site.template(&template("Mesh", "major = 2"));
    let ran = client.run(&[]).expect(0);
    ran.is("Mesh", "enroll", "done");
    assert_eq!(ran.changed(), ["Mesh"]);
    assert_ne!(client.read("Mesh/cert.pem"), before);
    client.pair_fits("Mesh");
    assert_eq!(client.read(".versions/Mesh.1/cert.pem"), before, "the old one stays");
    client.run(&[]).expect(0).is("Mesh", "leave", "-");
}

const OID: &str = "1.3.6.1.4.1.99999.42";

/// A site that serves, and a client that got a certificate for 30 days from it so many days ago.
fn issued_before(days: i64) -> Site {
    let mut site = Site::make(SigningAlgorithm::P256, &MovedClock(-50 * DAY));
    site.usual_accounts();
    site.template(&template("Mesh", &format!("oid = \"{OID}\"\nmajor = 1")));
    let clock = MovedClock(-days * DAY);
    let (certificate, key) = site.serve_at(clock, |site| {
        let key = Key::generate();
        let messages = Messages::new(&site.ces(), SignIn::Password("web1", PASSWORD), clock.now());
        let message = messages.issue(&key.request("Mesh"));
        let ca = CertificateDer::from_pem_file(site.ca()).unwrap();
        let path = site.ces().replace(&site.base(), "");
        let answer = runtime().block_on(async {
            let address = (std::net::Ipv4Addr::LOCALHOST, site.port()).into();
            Https::new(&ca).connect(address, None).await.post(&path, &message).await
        });
        (answer.issued().1, key)
    });
    site.serve();
    let folder = Client::new(&site, "web1").folder;
    let version = folder.join(".versions/Mesh.1");
    std::fs::create_dir_all(&version).unwrap();
    std::os::unix::fs::symlink(".versions/Mesh.1", folder.join("Mesh")).unwrap();
    let record = serde_json::json!({
        "version": 1, "policy_id": "any", "template": "Mesh", "oid": OID, "major": 1, "minor": 0,
    });
    std::fs::write(version.join("template.json"), record.to_string()).unwrap();
    for (file, label, der) in [("cert.pem", "CERTIFICATE", certificate), ("key.pem", "PRIVATE KEY", key.pkcs8())] {
        let body = base64::engine::general_purpose::STANDARD.encode(der);
        let pem = format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
        std::fs::write(version.join(file), pem).unwrap();
    }
    site
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn certificate_is_renewed_in_its_window() {
    let site = issued_before(19);
    Client::new(&site, "web1").run(&[]).expect(0).is("Mesh", "leave", "-");

    let site = issued_before(21);
    let client = Client::new(&site, "web1");
    // From now on an officer decides about everything but renewals, which the old key has signed.
    let watched = "major = 1\n[issuance]\napproval = true\nrenewal_without_approval = true";
    site.template(&template("Mesh", watched));
    let before = client.read("Mesh/key.pem");
    let ran = client.run(&[]).expect(0);
    ran.is("Mesh", "renew", "done");
    client.pair_fits("Mesh");
    assert_ne!(client.read("Mesh/key.pem"), before);
    assert_eq!(client.read(".versions/Mesh.1/key.pem"), before);
    client.run(&[]).expect(0).is("Mesh", "leave", "-");
}

#[test]
fn expired_certificate_is_replaced() {
    let site = issued_before(31);
    let client = Client::new(&site, "web1");
    client.run(&[]).expect(0).is("Mesh", "enroll", "done");
    client.pair_fits("Mesh");
    client.run(&[]).expect(0).is("Mesh", "leave", "-");
}

#[test]
fn pending_request_is_fetched_when_it_is_decided() {
    let site = site();
    let client = Client::new(&site, "web1");
    site.template(&template("Watched", "[issuance]\napproval = true"));
    let first = client.run(&[]).expect(4);
    first.is("Watched", "enroll", "pending");
    assert_eq!(first.changed(), ["Computer"]);
    let again = client.run(&[]).expect(4);
    again.is("Watched", "fetch", "pending");
    assert!(again.changed().is_empty());
    assert_eq!(requests(&site), 2, "asked for once");
    let id = |ran: &Ran| {
        let steps = ran.report["certificates"].as_array().unwrap().clone();
        let step = steps.into_iter().find(|s| s["name"] == "Watched").unwrap();
        step["request_id"].as_str().unwrap().to_owned()
    };
    assert_eq!(id(&first), id(&again));
    site.muster("request", &["approve", &id(&first)]);
    let fetched = client.run(&[]).expect(0);
    fetched.is("Watched", "fetch", "done");
    assert_eq!(fetched.changed(), ["Watched"]);
    client.pair_fits("Watched");

    // A denied one is done with, and asked for again by the next run.
    site.template(&template("Denied", "[issuance]\napproval = true"));
    let pending = client.run(&[]).expect(4);
    let steps = pending.report["certificates"].as_array().unwrap();
    let denied = steps.iter().find(|s| s["name"] == "Denied").unwrap()["request_id"].as_str().unwrap();
    site.muster("request", &["deny", denied, "--comment", "no"]);
    client.run(&[]).expect(3).is("Denied", "fetch", "refused");
    assert!(!client.file(".pending/Denied").exists());
}

#[test]
fn crash_at_any_point_is_made_good() {
    let site = site();
    let client = Client::new(&site, "web1");
    client.run(&[]).expect(0);
    let (pending, version) = (client.file(".pending/Computer"), client.file(".versions/Computer.1"));
    let certificate = client.read("Computer/cert.pem");

    // The key was written, the request was not: nothing was sent.
    std::fs::create_dir(&pending).unwrap();
    for file in ["template.json", "key.pem"] {
        std::fs::copy(version.join(file), pending.join(file)).unwrap();
    }
    client.run(&[]).expect(0).is("Computer", "leave", "-");
    assert!(!pending.exists());

    // The certificate has come, and was not put behind its name.
    std::fs::remove_file(client.file("Computer")).unwrap();
    std::fs::rename(&version, &pending).unwrap();
    let ran = client.run(&[]).expect(0);
    ran.is("Computer", "leave", "-");
    assert_eq!(ran.changed(), ["Computer"], "the hook has yet to run");
    assert_eq!(client.read("Computer/cert.pem"), certificate);

    // The link was not set.
    std::fs::remove_file(client.file("Computer")).unwrap();
    assert_eq!(client.run(&[]).expect(0).changed(), ["Computer"]);
    assert_eq!(client.read("Computer/cert.pem"), certificate);
    assert_eq!(requests(&site), 1);

    // A key that does not fit its certificate is no certificate.
    std::fs::write(client.file("Computer/key.pem"), "damaged").unwrap();
    client.run(&[]).expect(0).is("Computer", "enroll", "done");
    client.pair_fits("Computer");
}

#[test]
fn lost_answer_leads_to_one_certificate() {
    let mut site = Site::make(SigningAlgorithm::P256, &SystemClock);
    let mute = one_way::in_front_of(&mut site);
    site.usual_accounts();
    let client = Client::new(&site, "web1");
    let cache = text(&site.path("cache"));
    let run = || {
        let (cep, password, ca) = (site.cep(), text(&site.path("password")), text(&site.ca()));
        let output = Command::new(muster())
            .args(["autoenroll", "--json", "--timeout", "2", "--cache-dir", &cache, "--policy-url", &cep])
            .args(["--ca-file", &ca, "--user", "web1", "--password-file", &password, "--store"])
            .arg(&client.folder)
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {errors}"));
        Ran { code: output.status.code().unwrap(), report, errors }
    };
    // So that the policy is at hand when answers no longer come.
    let password = text(&site.path("password"));
    let policy = ["policy", "--policy-url", &site.cep(), "--cache-dir", &cache, "--ca-file", &text(&site.ca())];
    let policy = Command::new(muster()).args(policy).args(["--user", "web1", "--password-file", &password]).status();
    assert!(policy.unwrap().success());
    mute.store(true, Ordering::SeqCst);
    run().expect(6).is("Computer", "enroll", "unknown");
    run().expect(6).is("Computer", "fetch", "unknown");
    mute.store(false, Ordering::SeqCst);
    run().expect(0).is("Computer", "fetch", "done");
    client.pair_fits("Computer");
    assert_eq!(requests(&site), 1);
}

#[test]
fn outage_leaves_everything_as_it_is() {
    let mut site = site();
    let folder = {
        let client = Client::new(&site, "web1");
        client.run(&[]).expect(0);
        client.folder
    };
    site.stop();
    let client = Client { site: &site, user: "web1", folder };
    let before = (client.read("Computer/cert.pem"), client.read("Computer/key.pem"));
    let down = client.run(&[]).expect(5);
    assert_eq!(down.report["status"], "unreachable");
    assert!(down.report["policies"][0]["error"].as_str().unwrap().contains("no endpoint could be reached"));
    assert_eq!((client.read("Computer/cert.pem"), client.read("Computer/key.pem")), before);
    assert!(down.changed().is_empty());
}

#[test]
fn superseded_template_is_replaced_and_then_left() {
    let site = site();
    let client = Client::new(&site, "web1");
    site.template(&template("Old", ""));
    client.run(&[]).expect(0).is("Old", "enroll", "done");
    site.template(&template("New", "supersedes = [\"Old\"]"));
    let ran = client.run(&[]).expect(0);
    ran.is("New", "enroll", "done");
    ran.is("Old", "leave", "-");
    let ran = client.run(&[]).expect(0);
    ran.is("Old", "leave", "-");
    assert!(ran.report.to_string().contains("template New replaces it"), "{:#}", ran.report);
    // Whoever begins now gets the new one alone.
    let fresh = Client { site: &site, user: "web1", folder: site.path("fresh") };
    let ran = fresh.run(&[]).expect(0);
    ran.is("New", "enroll", "done");
    assert!(!fresh.file("Old").exists());
    // Files of somebody else's and of templates that are gone are left alone.
    std::fs::create_dir(client.file("Foreign")).unwrap();
    site.muster("template", &["remove", "Old"]);
    let ran = client.run(&[]).expect(0);
    ran.is("Old", "leave", "-");
    assert!(client.file("Old/cert.pem").exists() && client.file("Foreign").is_dir());
}

#[test]
fn names_come_from_the_configuration() {
    let site = site();
    let client = Client::new(&site, "web1");
    let subject = "[subject]\nsource = \"request\"\nallow_dns = [\"own\"]\n";
    // A purpose that logs nobody in: names may come from the request.
    site.template(&template("Site", subject).replace("5.7.3.2", "5.7.3.1"));
    let ran = client.run(&[]).expect(0);
    ran.is("Site", "leave", "-");
    assert!(ran.report.to_string().contains("takes the names from the request"), "{:#}", ran.report);
    let config = site.path("client.toml");
    let quoted = |path: &Path| format!("{:?}", text(path));
    let toml = format!(
        "store = {}\nca_files = [{}]\nca_only = true\nuser = \"web1\"\npassword_file = {}\nafter = \"echo $MUSTER_CHANGED > {}\"\n\
         [[policy]]\nurls = [{:?}]\n[names.Site]\ndns = [\"www.corp.example\"]\n",
        quoted(&client.folder),
        quoted(&site.ca()),
        quoted(&site.path("password")),
        text(&site.path("hook")),
        site.cep(),
    );
    std::fs::write(&config, toml).unwrap();
    let run = |more: &[&str]| {
        let output = Command::new(muster())
            .args(["autoenroll", "--json", "--no-cache", "--config"])
            .arg(&config)
            .args(more)
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {errors}"));
        Ran { code: output.status.code().unwrap(), report, errors }
    };
    run(&[]).expect(0).is("Site", "enroll", "done");
    assert_eq!(std::fs::read_to_string(site.path("hook")).unwrap().trim(), "Site");
    client.pair_fits("Site");
    let toml = std::fs::read_to_string(&config).unwrap().replace("user =", "usr =");
    std::fs::write(&config, toml).unwrap();
    let refused = run(&[]).expect(1);
    assert!(refused.report["error"].as_str().unwrap().contains("usr"), "{:#}", refused.report);
}

#[test]
fn hook_runs_until_it_was_well() {
    let site = site();
    let client = Client::new(&site, "web1");
    let marks = site.path("marks");
    let failing = format!("echo $MUSTER_CHANGED in $MUSTER_STORE >> {}; false", text(&marks));
    let ran = client.run(&["--after", &failing]).expect(1);
    ran.is("Computer", "enroll", "done");
    assert!(ran.report["hook_error"].as_str().unwrap().contains("exit status: 1"), "{:#}", ran.report);
    client.pair_fits("Computer");
    let well = failing.replace("; false", "");
    client.run(&["--after", &well]).expect(0).is("Computer", "leave", "-");
    // Nothing changed since.
    client.run(&["--after", &well]).expect(0);
    let expected = format!("Computer in {}\n", text(&client.folder)).repeat(2);
    assert_eq!(std::fs::read_to_string(&marks).unwrap(), expected);
}

#[test]
fn two_runs_exclude_one_another() {
    let site = site();
    let client = Client::new(&site, "web1");
    client.run(&[]).expect(0);
    let lock = std::fs::File::options().write(true).open(client.file(".lock")).unwrap();
    lock.lock().unwrap();
    let refused = client.run(&[]).expect(1);
    assert!(refused.report["error"].as_str().unwrap().contains("another run"), "{:#}", refused.report);
    client.run(&["--dry-run"]).expect(0);
    drop(lock);
    client.run(&[]).expect(0);
}

#[test]
fn kinds_are_kept_apart() {
    let site = site();
    let client = Client::new(&site, "web1");
    client.run(&["--kind", "user"]).expect(0).is("Computer", "leave", "-");
    assert_eq!(requests(&site), 0);
    client.run(&["--kind", "machine"]).expect(0).is("Computer", "enroll", "done");
    // A user has no template for unattended enrollment here.
    let alice = Client::new(&site, "alice").run(&[]).expect(0);
    assert_eq!(alice.report["certificates"].as_array().unwrap().len(), 0);
    let stranger = Client { user: "nobody-here", ..Client::new(&site, "web1") };
    let refused = stranger.run(&[]).expect(3);
    assert!(refused.report["policies"][0]["error"].as_str().unwrap().contains("authentication failed"));
}

/// As the servers of group policy and other parts of it are written by a domain's administrators.
fn registry_pol(file: &Path, values: &[(&str, &str, Result<&str, u32>)]) {
    let units = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let mut content = b"PReg\x01\x00\x00\x00".to_vec();
    for (key, name, data) in values {
        let (kind, data) = match data {
            Ok(text) => (1_u32, units(&format!("{text}\0"))),
            Err(number) => (4, number.to_le_bytes().to_vec()),
        };
        content.extend(units(&format!("[{key}\0;{name}\0;")));
        content.extend(kind.to_le_bytes());
        content.extend(units(";"));
        content.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
        content.extend(units(";"));
        content.extend(data);
        content.extend(units("]"));
    }
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, content).unwrap();
}

#[test]
fn group_policy_names_the_servers_and_what_is_allowed() {
    const SERVERS: &str = r"Software\Policies\Microsoft\Cryptography\PolicyServers\0a";
    const AUTOENROLLMENT: &str = r"Software\Policies\Microsoft\Cryptography\AutoEnrollment";

    let site = site();
    let client = Client::new(&site, "web1");
    let cep = site.cep();
    let sysvol = site.path("sysvol");
    let file = sysvol.join("corp.example/Policies/{31B2F340-016D-11D2-945F-00C04FB984F9}/MACHINE/Registry.pol");
    let write = |flags: u32, allowed: u32| {
        let values = [
            (SERVERS, "URL", Ok(cep.as_str())),
            (SERVERS, "PolicyID", Ok("{any}")),
            (SERVERS, "Flags", Err(flags)),
            (SERVERS, "AuthFlags", Err(4)),
            (AUTOENROLLMENT, "AEPolicy", Err(allowed)),
        ];
        registry_pol(&file, &values);
    };
    let (password, sysvol) = (text(&site.path("password")), text(&sysvol));
    let run = || {
        client.bare(&["--group-policy", "--registry-pol", &sysvol, "--user", "web1", "--password-file", &password])
    };
    write(0x14, 0x8000);
    run().expect(0).is("Computer", "leave", "-");
    // Not marked for autoenrollment: there is nobody to ask.
    write(0x4, 7);
    assert_eq!(run().expect(0).report["policies"].as_array().unwrap().len(), 0);
    write(0x14, 7);
    run().expect(0).is("Computer", "enroll", "done");

    let shown = Command::new(muster()).args(["policy", "servers", "--json", "--registry-pol", &sysvol]).output();
    let shown: Value = serde_json::from_slice(&shown.unwrap().stdout).unwrap();
    assert_eq!((&shown["servers"][0]["url"], &shown["autoenrollment"]), (&cep.into(), &7.into()));
}
