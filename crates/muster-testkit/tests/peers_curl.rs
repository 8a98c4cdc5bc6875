//! TLS and HTTP at their edges, by curl and by octets written straight into a TLS connection of OpenSSL's.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test may stop at the first surprise, in its helpers too"
)]

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use muster_testkit::bed::Bed;
use muster_testkit::messages::{self, get_policies};
use muster_testkit::peers::Peer;
use muster_testkit::site::{PASSWORD, SigningAlgorithm, Site};
use muster_testkit::tools::{Answer, Key};

const SOAP: &str = "Content-Type: application/soap+xml; charset=utf-8";
const ALICE: messages::Credentials<'static> = Some(("alice", PASSWORD));

/// Status line, headers and body of an exchange in which nobody may ever be asked for a password by HTTP.
#[track_caller]
fn exchange(bed: &Bed, arguments: &[&str], input: &str) -> (u16, String) {
    let ran = bed.curl.run(&[&["--include"], arguments].concat(), input.as_bytes());
    let text = ran.text();
    // After an interim answer (100) comes the final one.
    let last = text.rfind("HTTP/1.").map_or("", |at| &text[at..]);
    let status = last.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or_default();
    assert_ne!(status, 401, "{text}");
    assert!(!text.to_ascii_lowercase().contains("www-authenticate"), "{text}");
    (status, format!("{text}{}", ran.errors))
}

#[test]
fn probes_are_answered_without_a_challenge() {
    let Some(bed) = Bed::or_not_run(|| Site::start(SigningAlgorithm::P256)) else { return };
    for url in [bed.site.cep(), bed.site.ces()] {
        for options in [
            &[][..],
            &["--head"],
            &["--http1.0", "--no-alpn"],
            &["--basic", "--user", "alice:wrong"],
            &["--tlsv1.3"],
        ] {
            let (status, text) = exchange(&bed, &[options, &[&url]].concat(), "");
            assert_eq!(status, 200, "{options:?}: {text}");
        }
        // HTTP's own authentication is no sign-in.
        let soap =
            ["--header", SOAP, "--data-binary", "@-", "--basic", "--user", &format!("alice:{PASSWORD}")];
        let (status, text) = exchange(&bed, &[&soap[..], &[&url]].concat(), &get_policies(&url, None));
        assert_eq!(status, 500, "{text}");
        assert!(text.contains("FailedAuthentication"), "{text}");
    }
}

#[test]
fn paths_are_found_in_any_case_and_coding_and_others_are_not() {
    let Some(bed) = Bed::or_not_run(|| Site::start(SigningAlgorithm::P256)) else { return };
    let (base, cep, ces) = (bed.site.base(), bed.site.cep(), bed.site.ces());
    let message = get_policies(&cep, ALICE);
    let lower = cep.to_lowercase();
    for url in [
        lower.as_str(),
        &cep.replace("CEP_", "%43EP_"),
        &format!("{cep}?wsdl"),
        &cep.replace("localhost", "127.0.0.1"),
    ] {
        assert_eq!(bed.curl.post(url, &message, &[]).status, 200, "{url}");
    }
    // To may be written differently, too; it must mean this service.
    assert_eq!(bed.curl.post(&cep, &get_policies(&lower, ALICE), &[]).status, 200);
    let elsewhere = bed.curl.post(&cep, &get_policies(&ces, ALICE), &[]);
    assert_eq!(elsewhere.status, 500);
    assert!(elsewhere.body.contains("DestinationUnreachable"), "{}", elsewhere.body);
    let (status, text) =
        exchange(&bed, &[&ces.to_uppercase().replace("HTTPS://LOCALHOST", "https://localhost")], "");
    assert_eq!(status, 200, "{text}");

    let certificate_path =
        bed.site.cep_certificate().rsplit_once(":").unwrap().1.split_once('/').unwrap().1.to_owned();
    for path in ["", "service.svc", "ADPolicyProvider_CEP_UsernamePassword/service.svc", &certificate_path] {
        for method in ["GET", "POST"] {
            let url = format!("{base}/{path}");
            let (status, text) =
                exchange(&bed, &["--request", method, "--header", SOAP, "--data", "x", &url], "");
            assert_eq!(status, 404, "{method} {path}: {text}");
        }
    }
    for suffix in ["/", "/x", "%00", "%2f", "%"] {
        let (status, text) = exchange(&bed, &["--path-as-is", &format!("{cep}{suffix}")], "");
        assert!([400, 404].contains(&status), "{suffix}: {text}");
    }
}

#[test]
fn methods_media_types_and_codings() {
    let Some(bed) = Bed::or_not_run(|| Site::start(SigningAlgorithm::P256)) else { return };
    let url = bed.site.cep();
    let message = get_policies(&url, ALICE);
    for method in ["PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "PROPFIND"] {
        let (status, text) =
            exchange(&bed, &["--request", method, "--header", SOAP, "--data-binary", "@-", &url], &message);
        assert_eq!(status, 405, "{method}: {text}");
        assert!(text.to_lowercase().contains("\nallow: get, head, post"), "{text}");
    }
    let post = |header: &str, more: &[&str]| {
        let arguments = [&["--data-binary", "@-", "--header", header], more, &[&url]].concat();
        exchange(&bed, &arguments, &message)
    };
    for good in [
        SOAP,
        "Content-Type: application/soap+xml",
        "content-type: Application/Soap+XML;charset=\"UTF-8\"; action=\"urn:x\"",
    ] {
        let (status, text) = post(good, &[]);
        assert_eq!(status, 200, "{good}: {text}");
    }
    for bad in [
        "Content-Type: text/xml; charset=utf-8",
        "Content-Type: application/soap+xml; charset=utf-16",
        "Content-Type: multipart/related; type=\"application/xop+xml\"",
        "Content-Type:",
        "Content-Type: application/x-www-form-urlencoded",
    ] {
        let (status, text) = post(bad, &[]);
        assert_eq!(status, 415, "{bad}: {text}");
        assert!(!text.contains("GetPoliciesResponse"), "{text}");
    }
    let (status, text) = post(SOAP, &["--header", "Content-Encoding: gzip"]);
    assert_eq!(status, 415, "{text}");
    for good in
        ["Transfer-Encoding: chunked", "Expect: 100-continue", "Accept-Encoding: gzip, br", "SOAPAction: x"]
    {
        let (status, text) = post(SOAP, &["--header", good]);
        assert_eq!(status, 200, "{good}: {text}");
        assert!(!text.to_lowercase().contains("\ncontent-encoding"), "{text}");
    }
    // HTTP/2 is not offered, and a client that prefers it goes on with HTTP/1.1.
    let (status, text) = post(SOAP, &["--http2"]);
    assert!(status == 200 && text.starts_with("HTTP/1.1 "), "{text}");
    // Two messages on one connection.
    let twice = ["--data-binary", &message, "--header", SOAP, "--output", "/dev/null"];
    let told = ["--write-out", "%{http_code} %{num_connects};"];
    let ran = bed.curl.run(
        &[
            &twice[..],
            &told,
            &[&url, "--next", "--silent", "--cacert", bed.site.ca().to_str().unwrap()],
            &twice,
            &told,
            &[&url],
        ]
        .concat(),
        b"",
    );
    assert_eq!(ran.text(), "200 1;200 0;", "{}", ran.errors);
    // Plain HTTP on the port for TLS ends at once.
    let ran = bed.curl.run(&["--max-time", "5", &url.replace("https:", "http:")], b"");
    assert!(!ran.ok && !ran.errors.contains("timed out"), "{}", ran.all());
}

#[test]
fn messages_up_to_the_bound_are_taken() {
    let Some(bed) = Bed::or_not_run(|| Site::start(SigningAlgorithm::P256)) else { return };
    let url = bed.site.cep();
    let message = get_policies(&url, ALICE);
    let padded = |length: usize| format!("{message}{}", " ".repeat(length - message.len()));
    let bound = 64 * 1024;
    for options in [&[][..], &["--header", "Transfer-Encoding: chunked"]] {
        assert_eq!(bed.curl.post(&url, &padded(bound), options).status, 200, "{options:?}");
        assert_eq!(bed.curl.post(&url, &padded(bound + 1), options).status, 413, "{options:?}");
        assert_eq!(bed.curl.post(&url, &padded(50 * bound), options).status, 413, "{options:?}");
    }
    // A header that is too large, and too many of them.
    let large = format!("X-Large: {}", "x".repeat(40_000));
    let (status, text) = exchange(&bed, &["--header", &large, &url], "");
    assert!([0, 431].contains(&status), "{text}");
    let many: Vec<String> = (0..100).map(|n| format!("X-{n}: x")).collect();
    let many: Vec<&str> = many.iter().flat_map(|header| ["--header", header]).collect();
    let (status, text) = exchange(&bed, &[&many[..], &[&url]].concat(), "");
    assert_eq!(status, 431, "{text}");
    assert_eq!(bed.curl.post(&url, &message, &[]).status, 200, "and all is as before");
}

/// A TLS connection into which a test writes octets.
struct Raw {
    child: Child,
    input: Option<ChildStdin>,
    output: Receiver<Vec<u8>>,
}

impl Raw {
    fn connect(bed: &Bed, port: u16, options: &[&str]) -> Self {
        let openssl = Peer::OpenSsl.or_not_run().unwrap();
        let mut child = Command::new(openssl)
            .args([
                "s_client",
                "-quiet",
                "-servername",
                "localhost",
                "-connect",
                &format!("127.0.0.1:{port}"),
            ])
            .arg("-CAfile")
            .arg(bed.site.ca())
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let (sender, output) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = stdout.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { input: child.stdin.take(), child, output }
    }

    fn send(&mut self, octets: &str) {
        // The other end may have gone, which is what some tests wait for.
        let _ = self.input.as_mut().unwrap().write_all(octets.as_bytes());
        let _ = self.input.as_mut().unwrap().flush();
    }

    /// Everything until the other end closes; panics if it does not within `limit`.
    #[track_caller]
    fn until_closed(&self, limit: Duration) -> String {
        let end = Instant::now() + limit;
        let mut all = Vec::new();
        loop {
            match self.output.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(octets) => all.extend(octets),
                Err(RecvTimeoutError::Disconnected) => return String::from_utf8_lossy(&all).into_owned(),
                Err(RecvTimeoutError::Timeout) => {
                    panic!("still open after {limit:?}: {}", String::from_utf8_lossy(&all))
                }
            }
        }
    }

    /// The next answer that ends with an envelope.
    #[track_caller]
    fn envelope(&self) -> String {
        let mut all = String::new();
        while !all.contains("</s:Envelope>") {
            let octets =
                self.output.recv_timeout(Duration::from_secs(20)).unwrap_or_else(|_| panic!("only {all}"));
            all.push_str(&String::from_utf8_lossy(&octets));
        }
        all
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn path(url: &str) -> &str {
    &url[url.match_indices('/').nth(2).unwrap().0..]
}

#[test]
fn ambiguous_lengths_are_refused_and_nothing_is_smuggled() {
    let Some(bed) = Bed::or_not_run(|| Site::start(SigningAlgorithm::P256)) else { return };
    let url = bed.site.cep();
    let (path, message) = (path(&url), get_policies(&url, ALICE));
    let length = message.len();
    let hidden = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{SOAP}\r\n");
    let chunked = format!("{length:x}\r\n{message}\r\n0\r\n\r\n{hidden}");
    let cases = [
        (
            "two lengths",
            format!("{head}Content-Length: {length}\r\nContent-Length: 0\r\n\r\n{message}{hidden}"),
        ),
        ("lengths in a list", format!("{head}Content-Length: {length}, 0\r\n\r\n{message}{hidden}")),
        ("unknown coding", format!("{head}Transfer-Encoding: xchunked\r\n\r\n{chunked}")),
        ("chunked not last", format!("{head}Transfer-Encoding: chunked, identity\r\n\r\n{chunked}")),
        ("negative length", format!("{head}Content-Length: -1\r\n\r\n{message}{hidden}")),
        ("signed length", format!("{head}Content-Length: +{length}\r\n\r\n{message}{hidden}")),
        (
            "length beyond 64 bits",
            format!("{head}Content-Length: 18446744073709551617\r\n\r\n{message}{hidden}"),
        ),
        ("space before colon", format!("{head}Content-Length : {length}\r\n\r\n{message}{hidden}")),
        ("folded header", format!("{head}X: y\r\n z\r\nContent-Length: {length}\r\n\r\n{message}{hidden}")),
        ("NUL in a header", format!("{head}X: \0\r\nContent-Length: {length}\r\n\r\n{message}{hidden}")),
        (
            "chunk of 2^64",
            format!("{head}Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n{message}{hidden}"),
        ),
        ("no version", format!("GET {path}\r\n\r\n{hidden}")),
        ("not HTTP", "\u{16}\u{3}\u{1}\r\n\r\n".to_owned() + &hidden),
    ];
    for (case, octets) in cases {
        let mut raw = Raw::connect(&bed, bed.site.port(), &[]);
        raw.send(&octets);
        let text = raw.until_closed(Duration::from_secs(10));
        let answers = text.matches("HTTP/1.1 ").count();
        assert!(answers <= 1, "{case}: {answers} answers: {text}");
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{case}: {text}");
    }
    // With both, the coding counts, and the connection ends (RFC 9112 6.3): what follows is not taken for a message.
    for first in
        ["Content-Length: 4\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 4"]
    {
        let mut raw = Raw::connect(&bed, bed.site.port(), &[]);
        raw.send(&format!("{head}{first}\r\n\r\n{chunked}"));
        let text = raw.until_closed(Duration::from_secs(10));
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{text}");
        assert!(text.to_lowercase().contains("\nconnection: close"), "{text}");
    }
    // Said twice the same is one length, as RFC 9110 8.6 allows; either way there is at most one answer for it.
    let mut raw = Raw::connect(&bed, bed.site.port(), &[]);
    let same = format!("Content-Length: {length}\r\nContent-Length: {length}\r\nConnection: close\r\n");
    raw.send(&format!("{head}{same}\r\n{message}"));
    let text = raw.until_closed(Duration::from_secs(10));
    assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{text}");
    assert_eq!(bed.curl.post(&url, &message, &[]).status, 200);
}

#[test]
fn slow_peers_are_let_go() {
    let site = || {
        let mut site = Site::make(SigningAlgorithm::P256, &muster_testkit::site::MovedClock(0));
        site.configure("[limits]\nhandshake_seconds = 2\nheader_seconds = 2\nbody_seconds = 2\n");
        site.serve();
        site
    };
    let Some(mut bed) = Bed::or_not_run(site) else { return };
    let url = bed.site.cep();
    let (path, port) = (path(&url).to_owned(), bed.site.port());
    let started = Instant::now();
    let mut silent = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut header = Raw::connect(&bed, port, &[]);
    header.send(&format!("POST {path} HTTP/1.1\r\nHost: loc"));
    let nothing = Raw::connect(&bed, port, &[]);
    let mut body = Raw::connect(&bed, port, &[]);
    body.send(&format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\n{SOAP}\r\nContent-Length: 100\r\n\r\n<s:Env"
    ));
    let mut dripping = Raw::connect(&bed, port, &[]);
    dripping.send(&format!("POST {path} HTTP/1.1\r\n"));
    for n in 0..12 {
        std::thread::sleep(Duration::from_millis(300));
        dripping.send(&format!("X-{n}: y\r\n"));
    }
    // Meanwhile others are served.
    assert_eq!(bed.curl.post(&url, &get_policies(&url, ALICE), &[]).status, 200);
    for (case, raw) in [("header", header), ("nothing", nothing), ("dripping header", dripping)] {
        let text = raw.until_closed(Duration::from_secs(6));
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 408"), "{case}: {text}");
    }
    let text = body.until_closed(Duration::from_secs(6));
    assert!(text.starts_with("HTTP/1.1 408"), "{text}");
    silent.set_read_timeout(Some(Duration::from_secs(6))).unwrap();
    assert_eq!(silent.read(&mut [0; 10]).unwrap(), 0, "a handshake that does not come");
    assert!(started.elapsed() < Duration::from_secs(20));
    assert!(bed.site.is_running());
}

/// GetPolicies at the address for certificates.
fn with(bed: &Bed, options: &[&str]) -> Answer {
    let url = bed.site.cep_certificate();
    bed.curl.post(&url, &get_policies(&url, None), options)
}

#[track_caller]
fn assert_refused(answer: &Answer, word: &str) {
    assert_eq!(answer.status, 500, "{}", answer.body);
    assert!(answer.body.contains("FailedAuthentication") && answer.body.contains(word), "{}", answer.body);
    assert!(!answer.body.contains("policyID"), "{}", answer.body);
}

#[test]
fn client_certificates_that_prove_nothing_are_refused() {
    let Some(bed) = Bed::or_not_run(|| Site::start(SigningAlgorithm::P256)) else { return };
    let Bed { site, openssl, .. } = &bed;
    let key = openssl.key(Key::P256, "alice");
    let (der, _) = bed.enroll("alice", "User", &key, &[]);
    let pem = openssl.pem("alice", &der);
    let serial = String::from_utf8(openssl.run(&["x509", "-in", &pem, "-noout", "-serial"])).unwrap();
    let serial = serial.trim().trim_start_matches("serial=").to_owned();
    let pair = ["--cert", pem.as_str(), "--key", key.as_str()];
    for version in [&["--tls-max", "1.2"][..], &["--tlsv1.3"]] {
        let answer = with(&bed, &[&pair[..], version].concat());
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_refused(&with(&bed, version), "needs a client certificate");
    }
    // A password in the message does not stand in for it, nor the certificate for a password.
    let url = site.cep_certificate();
    assert_refused(&bed.curl.post(&url, &get_policies(&url, ALICE), &[]), "needs a client certificate");
    let url = site.cep();
    assert_refused(
        &bed.curl.post(&url, &get_policies(&url, None), &pair),
        "needs a user name and a password",
    );

    // Same issuer, serial number and subject, signed by a CA of the same name.
    let (forged, _, forged_key) = openssl.forge(&pem, "forged");
    assert_refused(&with(&bed, &["--cert", &forged, "--key", &forged_key]), "was not issued by this service");
    // Behind it a chain with the real certificate and the CA's.
    let read = |path: &str| std::fs::read_to_string(path).unwrap();
    let chain = read(&forged) + &read(&pem) + &read(site.ca().to_str().unwrap());
    let chain = openssl.write("chain.pem", chain);
    assert_refused(&with(&bed, &["--cert", &chain, "--key", &forged_key]), "was not issued by this service");
    // Forty certificates behind a good one cost nothing.
    let long = openssl.write("long.pem", read(&pem) + &read(&forged).repeat(40));
    let started = Instant::now();
    let answer = with(&bed, &["--cert", &long, "--key", &key]);
    assert!(answer.status == 200 && started.elapsed() < Duration::from_secs(5), "{}", answer.body);
    // One's own, signed by itself.
    let own = openssl.path("own.pem");
    let config = openssl.path("req.cnf");
    openssl.run(&[
        "req",
        "-x509",
        "-config",
        &config,
        "-key",
        &key,
        "-subj",
        "/CN=Alice Example",
        "-addext",
        "extendedKeyUsage=clientAuth",
        "-out",
        &own,
    ]);
    assert_refused(&with(&bed, &["--cert", &own, "--key", &key]), "was not issued by this service");
    // Issued here, but not for clients: a web server's, the service's own, the CA's.
    let web_key = openssl.key(Key::P256, "web");
    let (web, _) = bed.enroll("web1", "WebServer", &web_key, &["subjectAltName=DNS:web1.corp.example"]);
    let web = openssl.pem("web", &web);
    let answer = with(&bed, &["--cert", &web, "--key", &web_key]);
    assert_refused(&answer, "not for client authentication");

    // On hold, released, disabled, enabled, revoked: each at once.
    let ok = |bed: &Bed| assert_eq!(with(bed, &pair).status, 200);
    site.muster("cert", &["revoke", &serial, "--reason", "certificateHold"]);
    assert_refused(&with(&bed, &pair), "is on hold");
    site.muster("cert", &["release", &serial]);
    ok(&bed);
    site.muster("account", &["disable", "alice"]);
    assert_refused(&with(&bed, &pair), "may not use it any more");
    site.muster("account", &["enable", "alice"]);
    ok(&bed);
    site.muster("cert", &["revoke", &serial]);
    assert_refused(&with(&bed, &pair), "has been revoked");
}

#[test]
fn revocation_reaches_a_connection_that_is_open() {
    let Some(bed) = Bed::or_not_run(|| Site::start(SigningAlgorithm::P256)) else { return };
    let key = bed.openssl.key(Key::P256, "alice");
    let (der, _) = bed.enroll("alice", "User", &key, &[]);
    let pem = bed.openssl.pem("alice", &der);
    let serial = String::from_utf8(bed.openssl.run(&["x509", "-in", &pem, "-noout", "-serial"])).unwrap();
    let url = bed.site.cep_certificate();
    let message = get_policies(&url, None);
    let length = message.len();
    let request = format!(
        "POST {} HTTP/1.1\r\nHost: localhost\r\n{SOAP}\r\nContent-Length: {length}\r\n\r\n{message}",
        path(&url)
    );
    let mut old = Raw::connect(&bed, bed.site.port() + 1, &["-tls1_2", "-cert", &pem, "-key", &key]);
    let mut new = Raw::connect(&bed, bed.site.port() + 1, &["-tls1_3", "-cert", &pem, "-key", &key]);
    for raw in [&mut old, &mut new] {
        raw.send(&request);
        let answer = raw.envelope();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("policyID"), "{answer}");
    }
    bed.site.muster("cert", &["revoke", serial.trim().trim_start_matches("serial=")]);
    std::thread::sleep(Duration::from_secs(1));
    for raw in [&mut old, &mut new] {
        raw.send(&request);
        let answer = raw.envelope();
        assert!(answer.starts_with("HTTP/1.1 500") && answer.contains("has been revoked"), "{answer}");
        assert!(!answer.contains("policyID"), "{answer}");
    }
}
