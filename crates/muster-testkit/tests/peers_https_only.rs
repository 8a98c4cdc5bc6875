//! T19: credentials travel through TLS or not at all. curl and OpenSSL look for a way around it, and sockets that are
//! not ours look for what our client would give away.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_testkit::island::listening;
use muster_testkit::messages::get_policies;
use muster_testkit::peers::{Peer, muster};
use muster_testkit::site::{PASSWORD, SigningAlgorithm, Site};
use muster_testkit::tools::{Curl, run};

fn site() -> Option<(Site, Curl)> {
    let curl = Peer::Curl.or_not_run()?;
    let site = Site::start(SigningAlgorithm::P256);
    site.usual_accounts();
    let curl = Curl::new(curl, &site);
    Some((site, curl))
}

#[test]
fn t19_nothing_listens_but_what_is_configured() {
    let Some((site, _)) = site() else { return };
    let port = site.port();
    let expected: Vec<String> = (0..3).map(|n| format!("tcp 127.0.0.1:{}", port + n)).collect();
    assert_eq!(listening(site.id()).into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn t19_listeners_for_tls_answer_nothing_in_clear() {
    let Some((site, _)) = site() else { return };
    let message = get_policies(&site.cep(), Some(("alice", PASSWORD)));
    let post = format!(
        "POST /ADPolicyProvider_CEP_UsernamePassword/service.svc/CEP HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{message}",
        message.len()
    );
    for (what, octets) in [
        ("a request", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("a message", post.as_str()),
        ("HTTP/2 with prior knowledge", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0"),
        (
            "an upgrade",
            "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
        ),
    ] {
        for listener in 0..2 {
            let mut socket = TcpStream::connect(("127.0.0.1", site.port() + listener)).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            socket.write_all(octets.as_bytes()).unwrap();
            let mut answer = Vec::new();
            // It may be reset.
            let _ = socket.read_to_end(&mut answer);
            // At most the alert of TLS: no word of HTTP, and no way to go elsewhere.
            let alert = answer.first() == Some(&21) && answer.len() == 7;
            assert!(answer.is_empty() || alert, "{what}: {}", String::from_utf8_lossy(&answer));
        }
    }
    assert!(!site.log().contains("alice"), "{}", site.log());
}

#[test]
fn t19_protocol_is_not_changed_inside_of_tls() {
    let Some((site, curl)) = site() else { return };
    let Some(openssl) = Peer::OpenSsl.or_not_run() else { return };
    let at = format!("localhost:{}", site.port());
    let shaken = run(&openssl, &["s_client", "-connect", &at, "-alpn", "h2,h2c"], b"");
    assert!(!shaken.text().contains("ALPN protocol: h2"), "{}", shaken.all());
    let url = site.cep();
    let message = get_policies(&url, Some(("alice", PASSWORD)));
    let upgrade = [
        "--include",
        "--header",
        "Connection: Upgrade, HTTP2-Settings",
        "--header",
        "Upgrade: h2c",
        "--header",
        "HTTP2-Settings: AAMAAABk",
    ];
    let answer = curl.post(&url, &message, &upgrade);
    assert!(!answer.body.contains("101 Switching"), "{}", answer.body);
    // And every address that clients are told is one of HTTPS.
    let answer = curl.post(&url, &message, &[]);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let uris = muster_testkit::messages::texts(&answer.body, "uri");
    assert!(!uris.is_empty() && uris.iter().all(|uri| uri.starts_with("https://")), "{uris:?}");
}

#[test]
fn t19_port_of_the_revocation_list_takes_no_messages_and_leads_nowhere() {
    let Some((site, curl)) = site() else { return };
    let base = site.published("");
    let message = get_policies(&site.cep(), Some(("alice", PASSWORD)));
    for path in [
        "",
        "ca.crl",
        "ADPolicyProvider_CEP_UsernamePassword/service.svc/CEP",
        "ADPolicyProvider_CEP_Kerberos/service.svc/CEP",
    ] {
        for upgrade in [&[][..], &["--header", "Connection: Upgrade", "--header", "Upgrade: h2c"]] {
            let url = format!("{base}{path}");
            let posted = curl.post(&url, &message, &[&["--include"], upgrade].concat());
            let got =
                curl.run(&[&["--silent", "--include", "--max-time", "10"], upgrade, &[&url]].concat(), b"");
            let head = String::from_utf8_lossy(&got.output).to_ascii_lowercase();
            let head = head.split("\r\n\r\n").next().unwrap_or_default();
            assert_eq!(posted.status, 405, "{path}: {}", posted.body);
            for answer in [&posted.body.to_ascii_lowercase(), head] {
                for word in ["www-authenticate", "location:", "http/1.1 101", "http/1.1 3"] {
                    assert!(!answer.contains(word), "{path}: {answer}");
                }
            }
        }
    }
}

/// Listens, keeps what comes, and answers with `answer`.
fn trap(answer: &'static str) -> (String, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, kept) = (listener.local_addr().unwrap().to_string(), Arc::new(Mutex::new(Vec::new())));
    let keep = Arc::clone(&kept);
    std::thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
            let mut octets = [0; 4096];
            let count = socket.read(&mut octets).unwrap_or(0);
            keep.lock().unwrap().extend(octets.iter().take(count));
            let _ = socket.write_all(answer.as_bytes());
        }
    });
    (address, kept)
}

#[test]
fn t19_client_gives_its_password_to_nobody_without_tls() {
    use std::os::unix::fs::PermissionsExt as _;

    let Some((site, _)) = site() else { return };
    let Some(python) = Peer::Python.or_not_run() else { return };
    let (clear, seen) = trap("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let password = site.path("password");
    std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o600)).unwrap();
    let ask = |url: &str, ca: &std::path::Path| {
        let mut command = Command::new(muster());
        command.args(["policy", "--no-cache", "--user", "alice", "--policy-url", url, "--ca-file"]).arg(ca);
        command.arg("--password-file").arg(&password).stdin(Stdio::null());
        let output = command.output().unwrap();
        assert!(!output.status.success(), "{url}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = ask(&format!("http://{clear}/CEP"), &site.ca());
    assert!(said.contains("https"), "{said}");
    // A server that it trusts sends it away, to one without TLS, and to one with the same certificate.
    let (certificate, key) = (site.path("redirect.pem"), site.path("redirect.key"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args([
            "-addext",
            "subjectAltName=DNS:localhost",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-keyout",
        ])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .unwrap();
    assert!(made.status.success());
    for to in [format!("http://{clear}/CEP"), format!("https://{clear}/CEP")] {
        let mut server = Command::new(&python)
            .args(["-c", REDIRECT])
            .args([&certificate, &key])
            .arg(&to)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut port = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(server.stdout.take().unwrap()), &mut port)
            .unwrap();
        let said = ask(&format!("https://localhost:{}/CEP", port.trim()), &certificate);
        server.kill().unwrap();
        server.wait().unwrap();
        assert!(said.contains("redirects are not followed"), "{said}");
    }
    assert_eq!(seen.lock().unwrap().len(), 0, "something was sent in clear");
}

/// Answers everything with 307, over TLS.
const REDIRECT: &str = r#"
import http.server, ssl, sys
class Redirect(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(307)
        self.send_header("Location", sys.argv[3])
        self.send_header("Content-Length", "0")
        self.end_headers()
server = http.server.HTTPServer(("127.0.0.1", 0), Redirect)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
"#;
