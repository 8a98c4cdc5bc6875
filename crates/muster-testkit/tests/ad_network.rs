//! What goes over which wire, and what happens when one is cut: the acceptance criteria of the deployments that are
//! about ports, hosts and nodes. Clients and servers sit in networks that only the named ways leave or enter.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise, in its helpers too")]

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use muster_testkit::ad::{Ad, Forest};
use muster_testkit::ad_site::AdSite;
use muster_testkit::island::{Island, counter, listening_around};
use muster_testkit::peers::{self, Peer, muster};
use muster_testkit::tools::{Key, OpenSsl, base64};
use muster_testkit::{Executable, messages, ports};
use serde_json::{Value, json};

const PUBLISHED: &[&str] = &["EnrollersUser", "Machine"];
/// Endpoint mapper, NetBIOS, LDAP, SMB, change of passwords, LDAPS, global catalogs.
const INWARD: [u16; 8] = [135, 139, 389, 445, 464, 636, 3268, 3269];

#[test]
fn ac_1_6_client_without_rpc_ldap_and_smb_enrolls() {
    let Some(openssl) = Peer::OpenSsl.or_not_run() else { return };
    let Some(mut site) = AdSite::intranet(PUBLISHED) else { return };
    site.site.serve();
    let openssl = OpenSsl::new(openssl, &site.site);
    // HTTPS of the services, and the KDC that everybody who logs on reaches anyway.
    let https = format!("127.0.0.1:{}", site.site.port());
    let island = Island::new(&[https, "127.0.0.2:88".to_owned()], &[]);
    assert_eq!(island.open("127.0.0.2", &INWARD), [0_u16; 0]);
    assert!(TcpStream::connect("127.0.0.2:389").is_ok(), "outside it is open");
    for (tickets, template, named) in [
        (site.ad.kinit("alice"), "EnrollersUser", "alice@corp.test"),
        (site.ad.machine("pc1", "PC1$"), "Machine", "pc1.corp.test"),
    ] {
        let mut client = site.client_on(&island, &tickets);
        let may = AdSite::until(|| client.may_enroll(template), |may| *may == Some(true));
        assert_eq!(may, Some(true), "{template}");
        let key = openssl.key(Key::Rsa2048, template);
        let request = base64(&openssl.request(&key, template, &[]));
        let answer = client.call(&json!({"do": "issue", "request": request}));
        let certificate = answer["certificate"].as_str().unwrap_or_default();
        let pem = openssl.pem(named, &muster_testkit::tools::from_base64(certificate));
        let text = String::from_utf8(openssl.run(&["x509", "-in", &pem, "-noout", "-text"])).unwrap();
        assert!(text.contains(named), "{text}");
    }
}

/// Another node on the same store, which names this one's enrollment services in its policy answers.
struct Second {
    node: Executable,
    port: u16,
}

/// The lines about the ports of another node; `url` stays for clients that are told so.
fn second(site: &AdSite, authentication: &str, preferred: bool) -> Second {
    let (own, port) = (site.site.port(), ports::three());
    let config = site.site.installed(&format!("node-{port}.toml"));
    let text = fs::read_to_string(site.site.installed("muster.toml")).unwrap();
    let text = (0..3).fold(text, |text, n| text.replace(&(own + n).to_string(), &(port + n).to_string()));
    // A client asks the node of the lower number first.
    let (path, method) = match authentication {
        "kerberos" => ("Kerberos", "kerberos"),
        _ => ("UsernamePassword", "username_password"),
    };
    let priority = if preferred { 0 } else { 1 };
    let uri = format!("{}/{}/service.svc/CES", site.base(), site.site.enrollment(path));
    let advertise =
        format!("\n[[advertise]]\nuri = {uri:?}\nauthentication = {method:?}\npriority = {priority}\n");
    fs::write(&config, text + &advertise).unwrap();
    let node = Executable::serve(&config, ([127, 0, 0, 1], port).into());
    Second { node, port }
}

impl Second {
    fn at(&self, site: &AdSite, url: &str) -> String {
        url.replace(&site.site.port().to_string(), &self.port.to_string())
    }
}

/// `muster enroll`: where the certificate came from, or what it said.
fn enroll(
    site: &AdSite,
    policies: &[String],
    how: impl FnOnce(&mut Command),
    name: &str,
) -> Result<String, String> {
    let mut command = Command::new(muster());
    command.args(["enroll", "--json", "--no-cache", "--template", "EnrollersUser", "--ca-only", "--ca-file"]);
    command.arg(site.site.ca()).arg("--out").arg(site.site.path(name));
    policies.iter().for_each(|url| {
        command.args(["--policy-url", url]);
    });
    how(&mut command);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    match answer.get("endpoint").and_then(Value::as_str) {
        Some(endpoint) if output.status.success() => Ok(endpoint.to_owned()),
        _ => Err(format!("{answer}\n{errors}")),
    }
}

#[test]
fn ac_1_8_second_enrollment_service_of_a_ca_is_used_when_the_first_is_stopped() {
    let Some(mut site) = AdSite::intranet(PUBLISHED) else { return };
    site.site.serve();
    let alice = site.ad.kinit("alice");
    let second = second(&site, "kerberos", true);
    let (cep, ces) = (second.at(&site, &site.cep()), second.at(&site, &site.ces()));
    // Both addresses are in one answer, for one CA; neither a name of several hosts nor a balancer is needed.
    let mut client = site.client_at(&alice, &cep, &ces);
    AdSite::until(|| client.may_enroll("EnrollersUser"), |may| *may == Some(true));
    let answer = client.call(&json!({"do": "policies"}));
    let cas = answer["cas"].as_array().unwrap();
    assert_eq!(cas.len(), 1, "{answer}");
    let mut uris: Vec<(i64, &str)> = cas
        .iter()
        .flat_map(|ca| ca["uris"].as_array().unwrap())
        .filter(|uri| uri[0] == 2)
        .map(|uri| (uri[2].as_i64().unwrap(), uri[1].as_str().unwrap()))
        .collect();
    uris.sort_unstable();
    assert_eq!(uris, [(0, site.ces().as_str()), (1, ces.as_str())]);
    let as_alice = |command: &mut Command| {
        command.env("KRB5CCNAME", alice.cache());
    };
    let policies = [cep.clone()];
    assert_eq!(enroll(&site, &policies, as_alice, "first.pem"), Ok(site.ces()));
    site.site.stop();
    assert_eq!(enroll(&site, &policies, as_alice, "second.pem"), Ok(ces.clone()));
    // A client that knows nothing of ours goes through the same list, and finds the same.
    let openssl = OpenSsl::new(Peer::OpenSsl.or_not_run().unwrap(), &site.site);
    let key = openssl.key(Key::Rsa2048, "foreign");
    let request = base64(&openssl.request(&key, "EnrollersUser", &[]));
    let reachable = uris.iter().find(|(_, uri)| TcpStream::connect(host(uri)).is_ok()).unwrap().1;
    let mut client = site.client_at(&alice, &cep, reachable);
    let answer = client.call(&json!({"do": "issue", "request": request}));
    assert!(answer["certificate"].is_string(), "{answer}");
    drop(second.node);
}

fn host(uri: &str) -> &str {
    uri.trim_start_matches("https://").split('/').next().unwrap()
}

/// Services in the perimeter: passwords of the directory's users, nothing else.
fn perimeter() -> Option<AdSite> {
    let site = AdSite::or_not_run()?;
    site.configure("http", &["HTTP/ces.corp.test"]);
    site.configure_directory(Forest::Corp, "passwords = true");
    site.publish(Forest::Corp, PUBLISHED);
    Some(site)
}

/// A request for EnrollersUser with alice's password, by curl.
fn issue_by_password(site: &AdSite, url: &str, name: &str) -> (u16, String) {
    let openssl = OpenSsl::new(Peer::OpenSsl.or_not_run().unwrap(), &site.site);
    let key = openssl.key(Key::Rsa2048, name);
    let request = base64(&openssl.request(&key, "EnrollersUser", &[]));
    let password = Ad::password("alice");
    let message = messages::issue(url, Some(("alice@corp.test", &password)), &request);
    let answer = site.curl.post(url, &message, &[]);
    (answer.status, answer.body)
}

#[test]
fn ac_3_3_nothing_but_https_and_the_revocation_list_comes_in_and_nothing_but_kerberos_and_ldap_goes_out() {
    let Some(mut site) = perimeter() else { return };
    let port = site.site.port();
    site.site.change_configuration(|text| {
        let (before, after) = text.split_once("# Client certificates need").unwrap();
        let (_, after) = after.split_once("# Revocation list").unwrap();
        let text = format!("{before}# Revocation list{after}");
        let certificate = |kind: &str, more: &str| {
            format!(
                "[[{kind}_endpoint]]\nauthentication = \"client_certificate\"\nlistener = \"certificate\"\n{more}\n"
            )
        };
        text.replace(&certificate("policy", ""), "")
            .replace(&certificate("enrollment", "priority = 1\n"), "")
            .replace(&format!("127.0.0.1:{port}"), "127.0.0.1:443")
            .replace(&format!("ces.corp.test:{port}"), "ces.corp.test")
            .replace(&format!("127.0.0.1:{}", port + 2), "127.0.0.1:80")
            .replace(&format!("ces.corp.test:{}", port + 2), "ces.corp.test")
    });
    let listed = ["127.0.0.2:88".to_owned(), "127.0.0.2:389".to_owned()];
    let island = Island::new(&listed, &["127.0.0.1:443".to_owned(), "127.0.0.1:80".to_owned()]);
    site.site.serve_by(island.command(&muster()));
    let url = format!("https://ces.corp.test/{}/service.svc/CES", site.site.enrollment("UsernamePassword"));
    let (status, body) =
        AdSite::until(|| issue_by_password(&site, &url, "alice"), |(status, _)| *status == 200);
    assert_eq!(status, 200, "{body}: {}", site.site.log());
    assert!(messages::certificate(&body).is_some(), "{body}");
    let crl = site.curl.run(&["http://ces.corp.test/ca.crl"], b"");
    assert!(crl.ok && crl.output.first() == Some(&0x30), "{}", crl.errors);

    // The ways outward end in sockets of the island, too.
    let server = island.process();
    let expected: Vec<String> = ["127.0.0.1:443", "127.0.0.1:80", "127.0.0.2:389", "127.0.0.2:88"]
        .map(|at| format!("tcp {at}"))
        .into();
    assert_eq!(listening_around(server).into_iter().collect::<Vec<_>>(), expected);
    // It asked for nothing that is not there: no connection was refused, nothing had no route.
    assert!(counter(server, "Tcp", "ActiveOpens") > 0);
    assert_eq!(counter(server, "Tcp", "AttemptFails"), 0);
    assert_eq!(counter(server, "Ip", "OutNoRoutes"), 0);
    assert_eq!(counter(server, "Udp", "OutDatagrams"), 0);
}

/// A read-only domain controller, the writable one being stopped.
struct ReadOnly(Child);

impl ReadOnly {
    fn start(accounts: &[&str]) -> Self {
        let log = fs::File::create(bed().join("rodc.log")).unwrap();
        let mut script = Command::new("setpriv");
        script.args(["--pdeathsig", "TERM"]).arg(peers::script("../beds/ad/rodc.sh")).args(accounts);
        let script = script.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn();
        let mut this = Self(script.unwrap());
        let begin = Instant::now();
        while TcpStream::connect("127.0.0.5:88").is_err() || TcpStream::connect("127.0.0.5:389").is_err() {
            let ended = this.0.try_wait().unwrap();
            let log = fs::read_to_string(bed().join("rodc.log")).unwrap();
            assert!(ended.is_none() && begin.elapsed() < Duration::from_mins(2), "{ended:?}: {log}");
            std::thread::sleep(Duration::from_millis(200));
        }
        this
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn bed() -> PathBuf {
    std::env::var_os("BED_DIR").map(PathBuf::from).unwrap()
}

#[test]
fn ac_3_1_read_only_domain_controller_is_enough() {
    Ad::of_its_own("", |ad| {
        let mut site = perimeter().unwrap();
        site.site.change_configuration(|text| text.replace("\"dc1.corp.test\"", "\"rodc1.corp.test\""));
        let (alice, pc1) = (ad.sid("alice"), ad.sid("PC1"));
        let _rodc = ReadOnly::start(&["alice", "svc-ces", "PC1$"]);
        assert!(TcpStream::connect("127.0.0.2:389").is_err(), "the writable controller still runs");
        let listed = ["127.0.0.5:88".to_owned(), "127.0.0.5:389".to_owned()];
        let port = site.site.port();
        let island = Island::new(&listed, &[format!("127.0.0.1:{port}")]);
        site.site.serve_by(island.command(&muster()));

        let openssl = OpenSsl::new(Peer::OpenSsl.or_not_run().unwrap(), &site.site);
        for (tickets, template, sid) in
            [(ad.kinit("alice"), "EnrollersUser", alice), (ad.machine("pc1", "PC1$"), "Machine", pc1)]
        {
            let mut client = site.client(&tickets);
            let may = AdSite::until(|| client.may_enroll(template), |may| *may == Some(true));
            assert_eq!(may, Some(true), "{template}: {}", site.site.log());
            let key = openssl.key(Key::Rsa2048, template);
            let request = base64(&openssl.request(&key, template, &[]));
            let answer = client.call(&json!({"do": "issue", "request": request}));
            let certificate = answer["certificate"].as_str().unwrap_or_default();
            let pem = openssl.pem(template, &muster_testkit::tools::from_base64(certificate));
            let text = String::from_utf8(openssl.run(&["x509", "-in", &pem, "-noout", "-text"])).unwrap();
            assert!(text.replace('\n', "").contains(&sid), "{text}");
        }
        let url = site.ces().replace("CES_Kerberos", "CES_UsernamePassword");
        let (status, body) = issue_by_password(&site, &url, "password");
        assert!(status == 200 && messages::certificate(&body).is_some(), "{body}: {}", site.site.log());
        let log = fs::read_to_string(bed().join("rodc/samba.log")).unwrap();
        // Only the KDC itself notes when somebody logged on.
        let by_others =
            |line: &&str| line.contains("\"dsdbChange\"") && !line.contains("\"userSid\": \"S-1-5-18\"");
        assert!(log.contains("\"lastLogon\""), "changes are not logged: {log}");
        assert_eq!(log.lines().filter(by_others).collect::<Vec<_>>(), [""; 0]);
    });
}

#[test]
fn ac_3_5_one_node_of_several_that_is_down_is_invisible() {
    let Some(mut site) = perimeter() else { return };
    site.site.serve();
    let second = second(&site, "username_password", false);
    let first = site.site.cep().replace("localhost", "ces.corp.test");
    let other = second.at(&site, &first);
    let password: PathBuf = site.site.path("alice.password");
    fs::write(&password, Ad::password("alice")).unwrap();
    fs::set_permissions(&password, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let by_password = |command: &mut Command| {
        command.args(["--user", "alice@corp.test", "--password-file"]).arg(&password);
    };
    let policies = [first, other];
    let once = || enroll(&site, &policies, by_password, "first.pem");
    assert!(AdSite::until(once, Result::is_ok).is_ok(), "{:?}", once());
    let up: Vec<String> =
        (0..4).map(|n| enroll(&site, &policies, by_password, &format!("up-{n}.pem")).unwrap()).collect();
    site.site.stop();
    let begin = Instant::now();
    let down: Vec<String> =
        (0..4).map(|n| enroll(&site, &policies, by_password, &format!("down-{n}.pem")).unwrap()).collect();
    let port = second.port.to_string();
    assert!(down.iter().all(|endpoint| endpoint.contains(&port)), "{down:?}");
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    assert_eq!(up.len(), down.len());
    drop(second.node);
}
