//! Several listeners at one address, told apart by the name in the handshake: as OpenSSL and curl see it.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise, in its helpers too"
)]

use muster_server::SystemClock;
use muster_testkit::bed::Bed;
use muster_testkit::messages::{self, get_policies};
use muster_testkit::site::{PASSWORD, SigningAlgorithm, Site};
use muster_testkit::tools::{Answer, Key};

const ALICE: messages::Credentials<'static> = Some(("alice", PASSWORD));

/// Passwords at `localhost` and client certificates at `cert.localhost` of the same port; `password` are further keys
/// of the listener for passwords.
fn site(password: &str) -> Site {
    let mut site = Site::make(SigningAlgorithm::P256, &SystemClock);
    let (own, next) = (site.port(), site.port() + 1);
    site.change_configuration(|text| {
        let text = text
            .replace("names = [\"localhost\"", "names = [\"localhost\", \"cert.localhost\"")
            .replace(&format!("127.0.0.1:{next}\""), &format!("127.0.0.1:{own}\""))
            .replace(
                &format!("url = \"https://localhost:{next}\""),
                &format!("url = \"https://cert.localhost:{own}\"\nserver_names = [\"cert.localhost\"]"),
            );
        let url = format!("url = \"https://localhost:{own}\"");
        assert!(text.contains("server_names") && text.contains(&url), "{text}");
        text.replace(&url, &format!("{url}\n{password}"))
    });
    site.serve();
    site
}

fn cep_certificate(site: &Site) -> String {
    site.cep().replace("//localhost", "//cert.localhost").replace("UsernamePassword", "Certificate")
}

/// POSTs to this machine, whatever the host in the URL is.
fn post(bed: &Bed, url: &str, message: &str, options: &[&str]) -> Answer {
    let port = bed.site.port();
    let resolve: Vec<String> =
        ["cert", "other"].iter().map(|name| format!("{name}.localhost:{port}:127.0.0.1")).collect();
    let mut all = vec!["--resolve", &resolve[0], "--resolve", &resolve[1]];
    all.extend(options);
    bed.curl.post(url, message, &all)
}

/// What `openssl s_client` shows of a handshake.
fn handshake(bed: &Bed, options: &[&str]) -> String {
    let to = format!("127.0.0.1:{}", bed.site.port());
    let ca = bed.site.ca();
    let arguments = [&["s_client", "-connect", &to, "-CAfile", ca.to_str().unwrap()], options].concat();
    bed.openssl.try_run(&arguments, b"").all()
}

fn asks_for_a_certificate(shown: &str) -> bool {
    assert!(shown.contains("Verify return code: 0 (ok)"), "{shown}");
    shown.contains("Client Certificate Types") || shown.contains("Requested Signature Algorithms")
}

#[test]
fn name_in_the_handshake_chooses_the_listener() {
    let Some(bed) = Bed::or_not_run(|| site("")) else { return };
    let key = bed.openssl.key(Key::P256, "alice");
    let (der, _) = bed.enroll("alice", "User", &key, &[]);
    let pem = bed.openssl.pem("alice", &der);
    let pair = ["--cert", pem.as_str(), "--key", key.as_str()];

    for version in ["-tls1_2", "-tls1_3"] {
        assert!(asks_for_a_certificate(&handshake(&bed, &[version, "-servername", "cert.localhost"])));
        assert!(asks_for_a_certificate(&handshake(&bed, &[version, "-servername", "CERT.localhost"])));
        for other in
            [&["-servername", "localhost"][..], &["-noservername"], &["-servername", "else.localhost"]]
        {
            assert!(!asks_for_a_certificate(&handshake(&bed, &[&[version], other].concat())), "{other:?}");
        }
    }

    let (password, certificate) = (bed.site.cep(), cep_certificate(&bed.site));
    assert_eq!(post(&bed, &password, &get_policies(&password, ALICE), &[]).status, 200);
    let answer = post(&bed, &certificate, &get_policies(&certificate, None), &pair);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body.contains("cert.localhost"), "the policy names the address: {}", answer.body);
    // Without a name, and with one that nobody has, it is the listener that has none.
    for (host, options) in [("127.0.0.1", &[][..]), ("other.localhost", &["--insecure"])] {
        let url = password.replace("localhost", host);
        assert_eq!(post(&bed, &url, &get_policies(&password, ALICE), options).status, 200, "{host}");
    }
}

#[test]
fn listener_cannot_be_changed_after_the_handshake() {
    let Some(bed) = Bed::or_not_run(|| site("")) else { return };
    let key = bed.openssl.key(Key::P256, "alice");
    let (der, _) = bed.enroll("alice", "User", &key, &[]);
    let pem = bed.openssl.pem("alice", &der);
    let pair = ["--cert", pem.as_str(), "--key", key.as_str()];
    let (password, certificate) = (bed.site.cep(), cep_certificate(&bed.site));
    let port = bed.site.port();

    // Shaken hands with as localhost, spoken to as cert.localhost, and the other way round.
    let host = format!("Host: cert.localhost:{port}");
    let here = certificate.replace("cert.localhost", "localhost");
    let message = get_policies(&certificate, None);
    let answer = post(&bed, &here, &message, &[&pair[..], &["--header", &host]].concat());
    assert_eq!(answer.status, 404, "{}", answer.body);
    let host = format!("Host: localhost:{port}");
    let there = password.replace("localhost", "cert.localhost");
    let answer = post(&bed, &there, &get_policies(&password, ALICE), &["--header", &host]);
    assert_eq!(answer.status, 404, "{}", answer.body);
    // Absolute form, as to a proxy.
    let target = ["--request-target", certificate.as_str()];
    let answer = post(&bed, &here, &message, &[&pair[..], &target].concat());
    assert_eq!(answer.status, 404, "{}", answer.body);

    // A session of one listener is no session of the other, so nobody gets past its question.
    let session = bed.openssl.path("session");
    let new = handshake(&bed, &["-tls1_2", "-servername", "localhost", "-sess_out", &session]);
    assert!(new.contains("New, TLSv1.2"), "{new}");
    let own = handshake(&bed, &["-tls1_2", "-servername", "localhost", "-sess_in", &session]);
    assert!(own.contains("Reused, TLSv1.2"), "{own}");
    let other = handshake(&bed, &["-tls1_2", "-servername", "cert.localhost", "-sess_in", &session]);
    assert!(other.contains("New, TLSv1.2") && asks_for_a_certificate(&other), "{other}");
}

#[test]
fn unknown_names_are_refused_where_every_listener_has_names() {
    let Some(bed) = Bed::or_not_run(|| site("server_names = [\"localhost\"]")) else { return };
    let (password, certificate) = (bed.site.cep(), cep_certificate(&bed.site));
    assert_eq!(post(&bed, &password, &get_policies(&password, ALICE), &[]).status, 200);
    assert_eq!(post(&bed, &certificate, &get_policies(&certificate, None), &[]).status, 500);
    for name in [&["-noservername"][..], &["-servername", "other.localhost"]] {
        for version in ["-tls1_2", "-tls1_3"] {
            let shown = handshake(&bed, &[&[version], name].concat());
            assert!(shown.contains("Cipher is (NONE)") && shown.contains("alert"), "{name:?}: {shown}");
        }
    }
    // The others go on being served.
    assert_eq!(post(&bed, &password, &get_policies(&password, ALICE), &[]).status, 200);
}
