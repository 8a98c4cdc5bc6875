//! The client with Kerberos: MIT's KDC gives the tickets, our server and one of python-gssapi judge them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use muster_server::SystemClock;
use muster_testkit::kdc::{self, Kdc};
use muster_testkit::peers::{self, Peer, muster};
use muster_testkit::site::{CA_NAME, SigningAlgorithm, Site};
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

/// A site with Kerberos endpoints beside the usual ones, and its accounts.
fn site(kdc: &Kdc) -> Site {
    let keytab = kdc.add_service("HTTP/localhost", "http.keytab");
    let mut site = Site::make(SigningAlgorithm::P256, &SystemClock);
    let endpoint = |kind: &str| {
        format!("[[{kind}_endpoint]]\nauthentication = \"kerberos\"\nlistener = \"password\"\n\n")
    };
    site.configure(&format!(
        "[kerberos.\"{}\"]\nkeytab = {keytab:?}\nservices = [\"HTTP/localhost\"]\n\n{}{}",
        kdc::REALM,
        endpoint("policy"),
        endpoint("enrollment")
    ));
    site.serve();
    site.account(&format!("alice@{}", kdc::REALM), "user", &["--email", "alice@corp.example"]);
    site.account(&format!("WEB1$@{}", kdc::REALM), "computer", &["--dns", "web1.corp.example"]);
    site
}

fn cep(site: &Site) -> String {
    format!("{}/ADPolicyProvider_CEP_Kerberos/service.svc/CEP", site.base())
}

fn ces(site: &Site) -> String {
    format!("{}/{}_CES_Kerberos/service.svc/CES", site.base(), CA_NAME.replace(' ', "%20"))
}

fn text(path: &std::path::Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn run(site: &Site, cache: &str, arguments: &[&str]) -> Ran {
    let output = Command::new(muster())
        .args(arguments)
        .args(["--ca-only", "--ca-file"])
        .arg(site.ca())
        .env("KRB5CCNAME", cache)
        .env("HOME", site.path("home"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn ticket_enrolls_and_renews() {
    kdc::within("", |kdc| {
        let site = site(kdc);
        kdc.add_user("alice", "secret");
        let cache = kdc.kinit("alice", "secret", &[]);
        let (url, out) = (cep(&site), text(&site.path("alice.pem")));
        // Nothing but the ticket: no option names it.
        let policy = ["policy", "--policy-url", &url, "--no-cache", "--json"];
        let shown = run(&site, &cache, &policy).expect(0).json();
        assert_eq!(shown["freshness"], "fetched");
        let enroll =
            ["enroll", "--policy-url", &url, "--no-cache", "--template", "User", "--out", &out, "--json"];
        let issued = run(&site, &cache, &enroll).expect(0).json();
        assert_eq!(issued["endpoint"].as_str(), Some(ces(&site).as_str()));
        let renew =
            ["renew", "--policy-url", &url, "--no-cache", "--cert", &out, "--kerberos", "--force", "--json"];
        let renewed = run(&site, &cache, &renew).expect(0).json();
        assert_ne!(renewed["certificate"]["serial"], issued["certificate"]["serial"]);
    });
}

/// One key, no tickets: what a machine has.
#[test]
fn machine_keytab_autoenrolls() {
    kdc::within("", |kdc| {
        let site = site(kdc);
        kdc.admin("addprinc -randkey host/web1.corp.test");
        kdc.admin("addprinc -randkey WEB1$");
        // The machine's name is not the first in the file, as adcli writes it.
        kdc.export("host/web1.corp.test", "machine.keytab");
        let keytab = text(&kdc.export("WEB1$", "machine.keytab"));
        let (url, store) = (cep(&site), text(&site.path("certificates")));
        let cache = format!("FILE:{}", kdc.path("no-cache").display());
        let arguments = [
            "autoenroll",
            "--policy-url",
            &url,
            "--no-cache",
            "--keytab",
            &keytab,
            "--store",
            &store,
            "--json",
        ];
        let first = run(&site, &cache, &arguments).expect(0).json();
        assert_eq!(first["certificates"][0]["outcome"], "done", "{first:#}");
        assert_eq!(first["certificates"][0]["template"], "Computer");
        let second = run(&site, &cache, &arguments).expect(0).json();
        assert_eq!(second["certificates"][0]["action"], "leave", "{second:#}");
        assert!(!kdc.path("no-cache").exists(), "tickets stay in memory");
        // Another key of the same file.
        let other = format!("host/web1.corp.test@{}", kdc::REALM);
        let host = [&arguments[..], &["--principal", &other]].concat();
        let refused = run(&site, &cache, &host).expect(3);
        assert!(refused.out.contains("host/web1.corp.test"), "{}", refused.out);
    });
}

#[test]
fn refusals_name_what_is_missing() {
    kdc::within("", |kdc| {
        let site = site(kdc);
        kdc.add_user("bob", "secret");
        let url = cep(&site);
        let policy = ["policy", "--policy-url", &url, "--no-cache"];
        let none = format!("FILE:{}", kdc.path("no-cache").display());
        // Nothing is asked for by itself where there is nothing; asked for, it is missed.
        let nothing = run(&site, &none, &policy).expect(1);
        assert!(nothing.err.contains("no endpoint fits the credentials"), "{}", nothing.err);
        let asked = run(&site, &none, &[&policy[..], &["--kerberos"]].concat()).expect(1);
        assert!(asked.err.contains("there is no Kerberos ticket"), "{}", asked.err);
        assert!(asked.err.contains("hint: get a ticket with kinit"), "{}", asked.err);
        let missing = run(&site, &none, &[&policy[..], &["--keytab", "/nowhere.keytab"]].concat()).expect(1);
        assert!(missing.err.contains("/nowhere.keytab"), "{}", missing.err);

        // A good ticket of somebody without an account.
        let bob = kdc.kinit("bob", "secret", &[]);
        let stranger = run(&site, &bob, &policy).expect(3);
        assert!(stranger.err.contains("no account here for bob@CORP.TEST"), "{}", stranger.err);

        // The KDC does not know the service of this name.
        kdc.admin("delprinc -force HTTP/localhost");
        let bob = kdc.kinit("bob", "secret", &[]);
        let unknown = run(&site, &bob, &policy).expect(5);
        assert!(unknown.err.contains("no Kerberos ticket for HTTP/localhost"), "{}", unknown.err);
        assert!(unknown.err.contains("does not know the service"), "{}", unknown.err);
        assert!(unknown.err.contains("hint: use the host name"), "{}", unknown.err);
    });
}

#[test]
fn machine_without_the_library_is_told_what_to_install() {
    kdc::within("", |kdc| {
        let site = site(kdc);
        site.usual_accounts();
        // The library is found here first, and is none.
        let folder = site.path("lib");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("libgssapi_krb5.so.2"), "no library").unwrap();
        let without = |arguments: &[&str]| {
            let output = Command::new(muster())
                .args(arguments)
                .arg("--ca-file")
                .arg(site.ca())
                .env("LD_LIBRARY_PATH", &folder)
                .output()
                .unwrap();
            (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
        };
        let (code, said) = without(&["policy", "--no-cache", "--policy-url", &cep(&site), "--kerberos"]);
        assert!(code == 1 && said.contains("install libgssapi-krb5-2"), "{code} {said}");
        // Everything else works.
        let password = text(&site.path("password"));
        let login = ["--user", "alice", "--password-file", &password];
        let policy = ["policy", "--no-cache", "--policy-url", &site.cep()];
        assert_eq!(without(&[&policy[..], &login].concat()).0, 0);
    });
}

/// The server of `tests/peers/kerberos_server.py`.
struct Foreign {
    process: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Drop for Foreign {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Foreign {
    /// Expects tickets to be bound to the certificate that it shows, or to none that anybody shows.
    fn start(kdc: &Kdc, python: &PathBuf, expects_own: bool) -> Self {
        // Both servers of a test have the same key.
        let add = ["-r", kdc::REALM, "-q", "addprinc -randkey HTTP/localhost"];
        let _ = kdc.try_run("kadmin.local", &add, b"");
        let keytab = kdc.export("HTTP/localhost", "foreign.keytab");
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf =
            rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        std::fs::write(file("cert.pem"), leaf.pem()).unwrap();
        let expected: &[u8] = if expects_own { leaf.der() } else { b"another certificate" };
        std::fs::write(file("cert.der"), expected).unwrap();
        std::fs::write(file("key.pem"), key.serialize_pem()).unwrap();
        let answer = peers::script("../../vectors/ms-xcep/handmade-get-policies-response.xml");
        let answer = std::fs::read_to_string(answer).unwrap();
        // It answers no message in particular.
        let (head, rest) = answer.split_once("<a:RelatesTo").unwrap();
        let (_, tail) = rest.split_once("</a:RelatesTo>").unwrap();
        std::fs::write(file("answer.xml"), format!("{head}{tail}")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(python);
        command.arg(peers::script("kerberos_server.py")).arg(port.to_string());
        command.args([file("cert.pem"), file("key.pem"), file("cert.der"), keytab, file("answer.xml")]);
        kdc.environment(&mut command).env("KRB5_KTNAME", file("none"));
        command.stdin(Stdio::null()).stdout(std::fs::File::create(file("saw")).unwrap());
        let process = command.spawn().unwrap();
        for _ in 0..200 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        Self { process, port, folder }
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}/{path}_Kerberos/service.svc/CEP", self.port)
    }

    /// What it saw so far.
    fn saw(&self) -> Vec<Value> {
        let file = std::fs::File::open(self.folder.path().join("saw")).unwrap();
        BufReader::new(file).lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
    }

    /// Asks for the policy at these addresses.
    fn ask(&self, cache: &str, urls: &[&str]) -> Ran {
        let mut command = Command::new(muster());
        command.args(["policy", "--no-cache", "--json", "--ca-only", "--ca-file"]);
        command.arg(self.folder.path().join("cert.pem")).env("KRB5CCNAME", cache);
        for url in urls {
            command.args(["--policy-url", url]);
        }
        let output = command.stdin(Stdio::null()).output().unwrap();
        Ran {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// python-gssapi judges the ticket: bound, mutual, sent without being asked for, a new one for each message.
#[test]
fn foreign_server_sees_a_bound_ticket_and_has_to_prove_itself() {
    let Some(python) = Peer::KerberosPython.or_not_run() else { return };
    kdc::within("", |kdc| {
        kdc.add_user("alice", "secret");
        let cache = kdc.kinit("alice", "secret", &[]);
        let server = Foreign::start(kdc, &python, true);
        let good = server.ask(&cache, &[&server.url("good")]).expect(0).json();
        assert_eq!(good["freshness"], "fetched");
        let saw = server.saw();
        assert_eq!(saw.len(), 1, "no message in vain: {saw:?}");
        assert_eq!(saw[0]["initiator"], "alice@CORP.TEST", "{saw:?}");
        for fact in ["bound", "mutual", "complete"] {
            assert_eq!(saw[0][fact], true, "{fact}: {saw:?}");
        }
        server.ask(&cache, &[&server.url("good")]).expect(0);
        let saw = server.saw();
        assert_ne!(saw[0]["token"], saw[1]["token"], "a token is used once");

        for (path, said) in [
            ("silent", "bears no proof"),
            ("garbage", "bears no proof"),
            // The very first answer's, for another exchange.
            ("foreign", "bears no proof"),
        ] {
            let refused = server.ask(&cache, &[&server.url(path)]).expect(5);
            assert!(refused.err.contains(said), "{path}: {}", refused.err);
        }
        // A server behind a proxy that ends TLS, or one to which a ticket is relayed.
        let relayed = Foreign::start(kdc, &python, false);
        let refused = relayed.ask(&cache, &[&relayed.url("good")]).expect(5);
        assert!(
            refused.err.contains("turned away with HTTP status 401: no good ticket\n"),
            "{}",
            refused.err
        );
        assert!(relayed.saw()[0]["error"].is_string());
        // Such a server keeps nobody from asking the next one.
        for _ in 0..4 {
            server.ask(&cache, &[&server.url("silent"), &server.url("good")]).expect(0);
        }
    });
}
