//! Attacks with the tools of those who make them: NTLM relayed by impacket's ntlmrelayx (ESC8), and tickets that a
//! machine in the middle repeats. Each attack is first seen to work where it may.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise, in its helpers too")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use muster_testkit::ad::Ad;
use muster_testkit::ad_site::AdSite;
use muster_testkit::peers::{self, Peer};
use serde_json::json;

/// A program that runs until the test ends.
struct Running(Child);

impl Running {
    /// One that prints its port.
    fn at_port(mut command: Command) -> (Self, u16) {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (Self(child), line.trim().parse().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// ntlmrelayx against a target, and what it says once a victim's NTLM has come by.
fn relay_ntlm(site: &AdSite, python: &Path, target: &str, name: &str) -> String {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (log, loot) = (site.site.path(&format!("{name}.log")), site.site.path(name));
    fs::create_dir(&loot).unwrap();
    let output = fs::File::create(&log).unwrap();
    let mut tool = Command::new(python);
    tool.arg(python.with_file_name("ntlmrelayx.py"));
    tool.args(["-debug", "-t", target, "--adcs", "--template", "EnrollersUser", "-ip", "127.0.0.1"]);
    tool.args(["--http-port", &port.to_string(), "--no-smb-server", "--no-wcf-server", "--no-raw-server"]);
    tool.args(["--no-rpc-server", "--no-winrm-server", "--no-mssql-server", "--no-rdp-server", "-l"]);
    // It ends with its input.
    let tool = tool.arg(&loot).env("PYTHONUNBUFFERED", "1").current_dir(&loot).stdin(Stdio::piped());
    let _tool = Running(tool.stdout(output.try_clone().unwrap()).stderr(output).spawn().unwrap());
    let said = || fs::read_to_string(&log).unwrap();
    let wait = |what: &str, word: &[&str]| {
        let begin = Instant::now();
        while !word.iter().any(|word| said().contains(word)) {
            assert!(begin.elapsed() < Duration::from_secs(40), "{what}: {}", said());
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    wait("it does not start", &["Servers started, waiting for connections"]);
    // Whoever can be made to ask for an address: a printer service, a picture in a mail.
    let victim = format!("CORP\\alice:{}", Ad::password("alice"));
    let lure = format!("http://127.0.0.1:{port}/picture.png");
    let arguments = ["--silent", "--ntlm", "--max-time", "15", "--user", &victim, &lure];
    // Its own answer does not matter.
    let _ = Command::new("curl").args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).status();
    wait(
        "nothing was tried",
        &["SUCCEED", "FAILED", "No NTLM challenge", "not offered", "No authentication requested"],
    );
    std::thread::sleep(Duration::from_secs(1));
    let certificates = fs::read_dir(&loot).unwrap().flatten().count();
    format!("{}\n{certificates} files of loot", said())
}

#[test]
fn t16_ntlmrelayx_gets_no_challenge_and_no_certificate() {
    let Some(mut site) = AdSite::intranet(&["EnrollersUser"]) else { return };
    let Some(python) = Peer::KerberosPython.or_not_run() else { return };
    site.site.serve();
    // Where NTLM is taken, the attack works: as far as the log-on, since there are no web pages of AD CS behind it.
    let mut believer = Command::new(&python);
    believer.arg(peers::script("ntlm_server.py"));
    let (_believer, port) = Running::at_port(believer);
    let said = relay_ntlm(&site, &python, &format!("http://127.0.0.1:{port}/"), "believer");
    assert!(said.contains("SUCCEED"), "{said}");

    for (number, url) in [
        site.ces(),
        site.site.cep().replace("localhost", "ces.corp.test"),
        format!("{}/certsrv/certfnsh.asp", site.base()),
    ]
    .iter()
    .enumerate()
    {
        let said = relay_ntlm(&site, &python, url, &format!("attack-{number}"));
        assert!(!said.contains("SUCCEED") && !said.contains("GOT CERTIFICATE"), "{url}: {said}");
        assert!(said.contains("\n0 files of loot"), "{url}: {said}");
        assert!(
            ["No NTLM challenge", "not offered", "No authentication requested"]
                .iter()
                .any(|word| said.contains(word)),
            "{url}: {said}"
        );
    }
    let listed = site.site.muster("cert", &["list", "--json"]);
    assert!(!listed.contains("alice"), "{listed}");
    // It looks before it sends anything, and there is nothing to be seen; `t16_ntlm_and_its_kin_get_no_challenge` sends.
    let log = site.site.log();
    assert!(log.contains("certfnsh.asp") && !log.contains("alice"), "{log}");
}

/// A certificate for the service's name that is not the service's.
fn impostor(site: &AdSite) -> (PathBuf, PathBuf) {
    let (certificate, key) = (site.site.path("impostor.pem"), site.site.path("impostor.key"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=ces.corp.test"])
        .args(["-addext", "subjectAltName=DNS:ces.corp.test", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .unwrap();
    assert!(made.status.success());
    (certificate, key)
}

#[test]
fn t15_ticket_relayed_by_a_machine_in_the_middle_is_refused() {
    let Some(mut site) = AdSite::intranet(&["EnrollersUser"]) else { return };
    let Some(python) = Peer::KerberosPython.or_not_run() else { return };
    let (certificate, key) = impostor(&site);
    let start = |site: &AdSite| {
        let mut relay = Command::new(&python);
        relay
            .arg(peers::script("tls_relay.py"))
            .arg(&certificate)
            .arg(&key)
            .arg(site.site.port().to_string());
        Running::at_port(relay)
    };
    let alice = site.ad.kinit("alice");
    // Her client trusts the impostor, who is reached under the service's name, and hands over a good ticket.
    let ask = |site: &AdSite, port: u16| {
        let there = |url: String| url.replace(&site.site.port().to_string(), &port.to_string());
        let mut client = site.client_trusting(&certificate, &alice, &there(site.cep()), &there(site.ces()));
        client.call(&json!({"do": "policies"}))
    };
    site.site.serve();
    let (_relay, port) = start(&site);
    let answer = ask(&site, port);
    assert_eq!(answer["status"], 401, "{answer}");
    let log = site.site.log();
    assert!(log.contains("CHANNEL_BINDING"), "{log}");
    assert!(!log.contains("get_policies"), "{log}");

    // The same machine, where it is the operator's own proxy.
    site.site.stop();
    site.site.change_configuration(|text| {
        text.replace("[tls]\n", &format!("[tls]\nproxy_certificates = [{certificate:?}]\n"))
    });
    site.site.serve();
    let answer = ask(&site, port);
    assert!(answer["id"].is_string(), "{answer}: {}", site.site.log());
}
