//! The client subcommands of the real executable against the real server: results, files, exit codes.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use muster_server::SystemClock;
use muster_testkit::one_way;
use muster_testkit::peers::{self, muster};
use muster_testkit::site::{PASSWORD, SigningAlgorithm, Site};
use serde_json::Value;

/// What a run of the executable left.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}\n{}", self.out, self.err))
    }

    #[track_caller]
    fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        self
    }
}

fn run(arguments: &[&str]) -> Ran {
    let output = Command::new(muster()).args(arguments).stdin(Stdio::null()).output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A site with the usual accounts, and files of its client.
fn site() -> Site {
    let site = Site::start(SigningAlgorithm::P256);
    site.usual_accounts();
    private(&site.path("password"));
    site
}

fn private(file: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn text(path: PathBuf) -> String {
    path.into_os_string().into_string().unwrap()
}

/// `muster VERB --policy-url … --user USER … ARGUMENTS`.
fn ask(site: &Site, verb: &str, user: &str, arguments: &[&str]) -> Ran {
    let cep = site.cep();
    let mut all = vec![verb];
    if verb != "status" && !arguments.contains(&"--resume") {
        all.extend(["--policy-url", &cep, "--no-cache"]);
    }
    let (ca, password) = (text(site.ca()), text(site.path("password")));
    all.extend(["--ca-file", &ca, "--ca-only", "--user", user, "--password-file", &password]);
    all.extend(arguments);
    run(&all)
}

#[test]
fn policy_shows_templates_and_endpoints() {
    let site = site();
    let shown = ask(&site, "policy", "alice", &["--json"]).expect(0).json();
    assert_eq!(shown["status"], "ok");
    assert_eq!(shown["freshness"], "fetched");
    let names: Vec<&str> =
        shown["templates"].as_array().unwrap().iter().filter_map(|t| t["name"].as_str()).collect();
    assert!(names.contains(&"User") && !names.contains(&"WebServer"), "{names:?}");
    let urls: Vec<&str> =
        shown["endpoints"].as_array().unwrap().iter().filter_map(|e| e["url"].as_str()).collect();
    assert_eq!(urls, [site.ces_certificate(), site.ces()]);
    let page = ask(&site, "policy", "alice", &[]).expect(0).out;
    assert!(page.contains("ENROLLMENT SERVICE") && page.contains(&site.ces()), "{page}");
}

#[test]
fn enrolled_files_are_good_for_openssl() {
    let site = site();
    let Some(openssl) = peers::Peer::OpenSsl.or_not_run() else { return };
    std::fs::write(site.path("p12-password"), "päss word\n").unwrap();
    private(&site.path("p12-password"));
    let (p12_password, ca) = (text(site.path("p12-password")), text(site.ca()));
    for kind in ["rsa2048", "p256", "p384", "ed25519"] {
        let file = |name: &str| text(site.path(&format!("{kind}-{name}")));
        let (out, key, chain, full, p12) =
            (file("c.pem"), file("c.key.pem"), file("chain.pem"), file("full.pem"), file("c.p12"));
        let arguments = [
            "--template",
            "User",
            "--out",
            &out,
            "--key-type",
            kind,
            "--chain",
            &chain,
            "--full-chain",
            &full,
            "--pkcs12",
            &p12,
            "--pkcs12-password-file",
            &p12_password,
            "--json",
        ];
        let answer = ask(&site, "enroll", "alice", &arguments).expect(0).json();
        assert_eq!(answer["status"], "issued");
        assert_eq!(answer["files"]["key"].as_str(), Some(key.as_str()));
        assert_eq!(answer["endpoint"].as_str(), Some(site.ces().as_str()));
        assert!(answer["certificate"]["subject"].as_str().unwrap().contains("Alice Example"), "{answer}");

        let call = |arguments: &[&str]| {
            let output = Command::new(&openssl).args(arguments).stdin(Stdio::null()).output().unwrap();
            assert!(
                output.status.success(),
                "{kind} {arguments:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            String::from_utf8(output.stdout).unwrap()
        };
        call(&["verify", "-CAfile", &ca, &out]);
        let certified = call(&["x509", "-in", &out, "-noout", "-pubkey"]);
        assert_eq!(certified, call(&["pkey", "-in", &key, "-pubout"]), "{kind}");
        assert_eq!(read(&full), read(&out) + &read(&chain));
        assert_eq!(read(&chain), read(&ca));

        let passin = format!("file:{p12_password}");
        let packed = call(&["pkcs12", "-in", &p12, "-nodes", "-passin", &passin]);
        for pem in [read(&out), read(&chain), read(&key)] {
            assert!(packed.contains(&pem), "{kind}: {packed}");
        }
        assert_eq!(mode(&key), 0o600);
        assert_eq!(mode(&p12), 0o600);
    }
}

fn read(file: &str) -> String {
    std::fs::read_to_string(file).unwrap()
}

fn mode(file: &str) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(file).unwrap().permissions().mode() & 0o777
}

#[test]
fn bare_pkcs10_and_existing_key_are_taken() {
    let site = site();
    let (first, second) = (text(site.path("a.pem")), text(site.path("b.pem")));
    let key = text(site.path("a.key.pem"));
    ask(&site, "enroll", "alice", &["--template", "User", "--out", &first, "--pkcs10"]).expect(0);
    let made = read(&key);
    let again = ["--template", "User", "--out", &second, "--key", &key, "--existing-key"];
    ask(&site, "enroll", "alice", &again).expect(0);
    assert_eq!(read(&key), made);
    assert_ne!(read(&first), read(&second));
}

#[test]
fn names_from_the_request_are_granted_within_the_rules() {
    let site = site();
    let out = text(site.path("web.pem"));
    let own = ["--template", "WebServer", "--out", &out];
    // Without names there is nothing to certify.
    let refused = ask(&site, "enroll", "web1", &own).expect(2);
    assert!(refused.err.contains("takes the names from the request"), "{}", refused.err);
    let foreign = [&own[..], &["--dns", "intranet.corp.example"]].concat();
    ask(&site, "enroll", "web1", &foreign).expect(3);
    assert!(!site.path("web.key.pem").exists() && !site.path("web.key.pem.new").exists());
    let good = [&own[..], &["--subject", "CN=www.corp.example", "--dns", "www.corp.example"]].concat();
    ask(&site, "enroll", "web1", &good).expect(0);
}

#[test]
fn nothing_is_overwritten_without_force() {
    let site = site();
    let out = text(site.path("a.pem"));
    let arguments = ["--template", "User", "--out", &out];
    ask(&site, "enroll", "alice", &arguments).expect(0);
    let (certificate, key) = (read(&out), read(&text(site.path("a.key.pem"))));
    let kept = ask(&site, "enroll", "alice", &arguments).expect(1);
    assert!(kept.err.starts_with("error: ") && kept.err.contains("\nhint: "), "{}", kept.err);
    assert_eq!((read(&out), read(&text(site.path("a.key.pem")))), (certificate.clone(), key.clone()));
    // A refused attempt with force leaves the good pair alone.
    let refused = ["--template", "User", "--out", &out, "--force", "--key-type", "rsa2048", "--subject", "="];
    ask(&site, "enroll", "alice", &refused).expect(2);
    assert_eq!(read(&out), certificate);
    ask(&site, "enroll", "alice", &[&arguments[..], &["--force"]].concat()).expect(0);
    assert_ne!(read(&out), certificate);
    assert_ne!(read(&text(site.path("a.key.pem"))), key);
}

#[test]
fn pending_request_is_approved_and_fetched() {
    let site = site();
    let out = text(site.path("code.pem"));
    let state = format!("{out}.pending.json");
    let arguments = ["--template", "CodeSigning", "--out", &out, "--json"];
    let pending = ask(&site, "enroll", "alice", &arguments).expect(4).json();
    assert_eq!(
        (pending["status"].as_str(), pending["state"].as_str()),
        (Some("pending"), Some(state.as_str()))
    );
    let id = pending["request_id"].as_str().unwrap();
    assert!(!read(&state).contains(PASSWORD));
    assert_eq!(mode(&state), 0o600);
    // A second request for the same files is not sent.
    ask(&site, "enroll", "alice", &arguments).expect(1);
    ask(&site, "status", "alice", &["--state", &state]).expect(4);
    ask(&site, "status", "alice", &["--request-id", id, "--url", &site.ces()]).expect(4);
    // Nobody else learns anything about it.
    ask(&site, "status", "bob", &["--request-id", id, "--url", &site.ces()]).expect(3);

    site.muster("request", &["approve", id]);
    let looked = ask(&site, "status", "alice", &["--state", &state, "--json"]).expect(0).json();
    assert_eq!((looked["status"].as_str(), looked["verified"].as_bool()), (Some("issued"), Some(true)));
    assert!(!Path::new(&out).exists(), "status only looks");
    ask(&site, "enroll", "alice", &["--resume", "--out", &out]).expect(0);
    assert!(Path::new(&out).exists() && site.path("code.key.pem").exists());
    assert!(!Path::new(&state).exists() && !site.path("code.key.pem.new").exists());
}

#[test]
fn waiting_gets_the_decision() {
    let site = Arc::new(site());
    let out = text(site.path("code.pem"));
    let officer = {
        let site = Arc::clone(&site);
        std::thread::spawn(move || {
            let state = site.path("code.pem.pending.json");
            for _ in 0..400 {
                let id = std::fs::read(&state)
                    .ok()
                    .and_then(|content| serde_json::from_slice::<Value>(&content).ok())
                    .and_then(|state| Some(state["request_id"].as_str()?.to_owned()));
                if let Some(id) = id {
                    site.muster("request", &["deny", &id, "--comment", "not today"]);
                    return;
                }
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
        })
    };
    let arguments = ["--template", "CodeSigning", "--out", &out, "--wait", "60", "--json"];
    let denied = ask(&site, "enroll", "alice", &arguments).expect(3).json();
    officer.join().unwrap();
    assert_eq!(denied["status"], "refused");
    assert!(denied["error"].as_str().unwrap().contains("not today"), "{denied}");
    assert!(denied["hresult"].as_str().unwrap().starts_with("0x80094014 "), "{denied}");
    assert!(!site.path("code.pem.pending.json").exists() && !site.path("code.key.pem.new").exists());
}

#[test]
fn renewal_by_password_and_by_certificate() {
    let site = site();
    let (out, ca) = (text(site.path("a.pem")), text(site.ca()));
    let key = text(site.path("a.key.pem"));
    ask(&site, "enroll", "alice", &["--template", "User", "--out", &out]).expect(0);
    let (mut certificate, first_key) = (read(&out), read(&key));

    ask(&site, "renew", "alice", &["--cert", &out, "--force"]).expect(0);
    assert_ne!(read(&out), certificate);
    assert_ne!(read(&key), first_key);
    certificate = read(&out);
    let second_key = read(&key);

    // From now on the certificate is the only credential.
    let url = site.cep_certificate();
    let by_certificate = |more: &[&str]| {
        let common =
            ["renew", "--cert", &out, "--policy-url", &url, "--no-cache", "--ca-file", &ca, "--ca-only"];
        run(&[&common[..], more].concat())
    };
    let not_due = by_certificate(&["--json"]).expect(0).json();
    assert_eq!(not_due["status"], "not_due");
    assert_eq!(read(&out), certificate);
    // The template wants a new key, until it says otherwise.
    let refused = by_certificate(&["--force", "--same-key", "--json"]).expect(3).json();
    assert!(refused["hresult"].as_str().unwrap().contains("CERTSRV_E_RENEWAL_BAD_PUBLIC_KEY"), "{refused}");
    let user = site.muster("template", &["show", "User"]);
    site.template(&format!("{user}\n[renewal]\nkey = \"any\"\n"));
    let same = by_certificate(&["--force", "--same-key", "--json"]).expect(0).json();
    assert_eq!(same["endpoint"].as_str(), Some(site.ces_certificate().as_str()));
    assert_ne!(read(&out), certificate);
    assert_eq!(read(&key), second_key);
    by_certificate(&["--force", "--key-type", "p384"]).expect(0);
    assert_ne!(read(&key), second_key);
    by_certificate(&["--force"]).expect(0);

    // In its window it needs no force.
    let certificate = read(&out);
    let long =
        user.replace("days = 365", "days = 730").replace("renew_before_days = 42", "renew_before_days = 400");
    site.template(&long);
    by_certificate(&[]).expect(0);
    assert_ne!(read(&out), certificate);
}

#[test]
fn refusals_say_what_and_where() {
    let site = site();
    let out = text(site.path("a.pem"));
    let wrong = text(site.path("wrong"));
    std::fs::write(&wrong, "no such word\n").unwrap();
    let (ca, cep) = (text(site.ca()), site.cep());
    let login = run(&[
        "policy",
        "--policy-url",
        &cep,
        "--no-cache",
        "--ca-file",
        &ca,
        "--user",
        "alice",
        "--password-file",
        &wrong,
    ])
    .expect(3);
    assert!(login.err.contains("authentication failed") && login.err.contains(&cep), "{}", login.err);
    assert!(login.err.contains("others can read"), "{}", login.err);
    assert!(!login.err.contains("no such word"));

    let template = ask(&site, "enroll", "alice", &["--template", "WebServer", "--out", &out]).expect(1);
    assert!(template.err.contains("hint: there are: "), "{}", template.err);
    let key = ["--template", "CodeSigning", "--out", &out, "--key-type", "ed25519", "--json"];
    let refused = ask(&site, "enroll", "alice", &key).expect(3).json();
    assert!(refused["hresult"].as_str().unwrap().contains("CERTSRV_E_KEY_LENGTH"), "{refused}");
    assert!(refused["request_id"].as_str().is_some(), "{refused}");
    assert_eq!(refused["endpoint"].as_str(), Some(site.ces().as_str()));
    // No trust, no password: what is not the server's fault.
    let stranger =
        run(&["policy", "--policy-url", &cep, "--no-cache", "--user", "alice", "--password-file", &wrong]);
    assert!(stranger.expect(5).err.contains("--ca-file"));
    run(&["policy", "--policy-url", "http://plain.test/CEP"]).expect(2);
    run(&["enroll", "--template", "User"]).expect(2);
}

#[test]
fn kept_policy_serves_while_the_policy_server_is_down() {
    let mut site = site();
    let (ca, cep, cache) = (text(site.ca()), site.cep(), text(site.path("cache")));
    let password = text(site.path("password"));
    let policy = || {
        run(&[
            "policy",
            "--policy-url",
            &cep,
            "--cache-dir",
            &cache,
            "--ca-file",
            &ca,
            "--user",
            "alice",
            "--password-file",
            &password,
            "--json",
        ])
    };
    assert_eq!(policy().expect(0).json()["freshness"], "fetched");
    assert_eq!(policy().expect(0).json()["freshness"], "cached");
    let out = text(site.path("a.pem"));
    let dead = "https://localhost:1/ADPolicyProvider_CEP_UsernamePassword/service.svc/CEP";
    let arguments = ["--template", "User", "--out", &out, "--policy-url", dead];
    // Of several policy servers one that is down does no harm.
    ask(&site, "enroll", "alice", &arguments).expect(0);
    site.stop();
    let down = run(&["policy", "--policy-url", dead, "--no-cache"]);
    assert!(down.expect(1).err.contains("no endpoint fits the credentials"));
    assert_eq!(policy().expect(0).json()["freshness"], "cached");
}

/// The answer is lost; the very same request, sent again, gets the certificate that was issued the first time.
#[test]
fn lost_answer_leads_to_one_certificate() {
    let mut site = Site::make(SigningAlgorithm::P256, &SystemClock);
    let mute = one_way::in_front_of(&mut site);
    site.usual_accounts();
    private(&site.path("password"));

    let (out, cep, ca) = (text(site.path("a.pem")), site.cep(), text(site.ca()));
    let (password, cache) = (text(site.path("password")), text(site.path("cache")));
    let login =
        ["--ca-file", &ca, "--user", "alice", "--password-file", &password, "--timeout", "2", "--json"];
    run(&[&["policy", "--policy-url", &cep, "--cache-dir", &cache], &login[..]].concat()).expect(0);
    mute.store(true, Ordering::SeqCst);
    let enroll = ["enroll", "--policy-url", &cep, "--cache-dir", &cache, "--template", "User", "--out", &out];
    let lost = run(&[&enroll[..], &login].concat()).expect(6).json();
    assert_eq!(lost["status"], "unknown");
    let state = lost["state"].as_str().unwrap();
    // Not sent anew, and the status cannot be asked for: there is no number.
    run(&[&enroll[..], &login].concat()).expect(1);
    run(&[&["status", "--state", state], &login[..]].concat()).expect(6);
    run(&[&["enroll", "--resume", "--state", state], &login[..]].concat()).expect(6);
    mute.store(false, Ordering::SeqCst);
    run(&[&["enroll", "--resume", "--state", state], &login[..]].concat()).expect(0);
    assert!(Path::new(&out).exists() && !Path::new(state).exists());

    let list: Value = serde_json::from_str(&site.muster("request", &["list", "--json"])).unwrap();
    let of_alice = list.as_array().unwrap().iter().filter(|r| r["requester"] == "alice").count();
    assert_eq!(of_alice, 1, "{list}");
}
