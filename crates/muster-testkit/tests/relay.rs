//! The relay against our own server as the upstream.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::time::Duration;

use muster_ca::CERTIFICATE_FILE;
use muster_core::{Clock, Method};
use muster_relay::{
    Answer, DateTime, Distrust, Expected, Password, RelayError, Settings, Submission, Timeouts, Trust,
    Upstream, UpstreamIdentity,
};
use muster_server::config::{Endpoint, Service};
use muster_testkit::server::PASSWORD;
use muster_testkit::{Identity, Key, TestServer};

fn now(server: &TestServer) -> DateTime {
    DateTime::from_unix(server.clock.now().0)
}

/// The certificate of the server's CA, which also issued that of its web server.
fn ca(server: &TestServer) -> std::path::PathBuf {
    server.settings.embedded().unwrap().directory.join(CERTIFICATE_FILE)
}

fn upstream(server: &TestServer, endpoint: &Endpoint) -> Upstream {
    let ca = ca(server);
    let issuer = muster_client::tls::certificates(&ca).unwrap().remove(0).to_vec();
    // Under the name in the certificate, at the port where this server listens.
    let url = format!(
        "https://localhost:{}{}",
        server.address(&endpoint.listener).port(),
        muster_testkit::server::path(endpoint)
    );
    let mut settings = Settings::new(url.parse().unwrap(), vec![issuer]);
    settings.trust = Trust { files: vec![ca], only: true, ..Trust::default() };
    settings.timeouts = Timeouts { connect: Duration::from_secs(20), request: Duration::from_secs(20) };
    Upstream::new(settings).unwrap()
}

fn by_password(server: &TestServer) -> Upstream {
    upstream(server, server.endpoint(Service::Enrollment, Method::UsernamePassword))
}

fn with_password(name: &str, password: &str) -> UpstreamIdentity {
    UpstreamIdentity::Password { name: name.to_owned(), secret: Password::new(password.to_owned()) }
}

fn expected(key: &Key) -> Expected {
    Expected { public_key: key.spki().to_vec(), ..Expected::default() }
}

fn submission(key: &Key, template: &str) -> Submission {
    Submission { request: key.request(template), expected: expected(key) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_password_enrolls_at_the_upstream() {
    let server = TestServer::start().await;
    let (key, upstream) = (Key::generate(), by_password(&server));
    let alice = with_password("alice", PASSWORD);
    let answer = upstream.submit(&alice, &submission(&key, "User"), now(&server)).await;
    let Ok(Answer::Issued { request_id, certificate, full_response, message }) = answer else {
        panic!("{answer:?}")
    };
    assert!(!full_response.is_empty() && !message.is_empty());
    let id = request_id.to_string().parse().unwrap();
    let row = server.store.request(id).await.unwrap().unwrap();
    assert_eq!(row.summary.requester.to_string(), "alice");
    // The upstream knows the same octets again; and so does a query.
    let again = upstream.query(&alice, request_id, &expected(&key), now(&server)).await;
    assert!(matches!(&again, Ok(Answer::Issued { certificate: c, .. }) if *c == certificate), "{again:?}");
    let bob = with_password("bob", PASSWORD);
    let unknown = upstream.query(&bob, request_id, &expected(&key), now(&server)).await;
    assert!(matches!(unknown, Ok(Answer::NotTaken { hresult: 0x8009_4004, .. })), "{unknown:?}");
    // A certificate of the right authority, for a key that is not that of the request.
    let other = upstream.query(&alice, request_id, &expected(&Key::generate()), now(&server)).await;
    let Err(RelayError::Untrusted { problem: Distrust::Certificate(_), .. }) = other else {
        panic!("{other:?}")
    };
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_that_waits_at_the_upstream_is_fetched_or_denied_later() {
    let server = TestServer::start().await;
    let upstream = by_password(&server);
    let alice = with_password("alice", PASSWORD);
    for approved in [true, false] {
        let key = Key::generate();
        let answer = upstream.submit(&alice, &submission(&key, "Approved"), now(&server)).await;
        let Ok(Answer::UnderSubmission { request_id, .. }) = answer else { panic!("{answer:?}") };
        let query = async || upstream.query(&alice, request_id, &expected(&key), now(&server)).await;
        let answer = query().await;
        assert!(matches!(answer, Ok(Answer::UnderSubmission { .. })), "{answer:?}");
        let id = request_id.to_string().parse().unwrap();
        let (officer, at) = ("officer".to_owned(), server.clock.now());
        if approved {
            server.store.approve(id, officer, at).await.unwrap().unwrap();
            assert!(matches!(query().await, Ok(Answer::Issued { .. })));
        } else {
            server.store.deny(id, officer, "not today".to_owned(), at).await.unwrap();
            let answer = query().await;
            let Ok(Answer::Denied { hresult, request_id: number, .. }) = answer else { panic!("{answer:?}") };
            assert_eq!((hresult, number), (Some(0x8009_4014), Some(request_id)));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_of_the_upstream_are_told_apart() {
    let server = TestServer::start().await;
    let upstream = by_password(&server);
    let key = Key::generate();
    let ask = async |who: &UpstreamIdentity, template: &str| {
        upstream.submit(who, &submission(&key, template), now(&server)).await
    };
    let error = ask(&with_password("alice", "wrong"), "User").await.unwrap_err();
    assert!(matches!(error, RelayError::SignIn { .. }) && !error.may_have_been_submitted(), "{error:?}");
    let answer = ask(&with_password("nobody", PASSWORD), "User").await;
    assert!(matches!(answer, Ok(Answer::Denied { hresult: Some(0x8009_4012), .. })), "{answer:?}");
    let certificate = upstream.exchange_certificate(&with_password("alice", PASSWORD), now(&server)).await;
    assert!(certificate.unwrap().len() > 200);
}

/// Our upstream binds a renewal to the connection that it comes over: a node with a certificate of its own renews that one,
/// and nobody else's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_certificate_renews_itself_and_nobody_elses() {
    let server = TestServer::start().await;
    let (node, alice) = (server.enroll("bob", "User").await, server.enroll("alice", "User").await);
    let folder = server.directory.path();
    let write = |name: &str, der: &[u8], kind: &str| {
        let text = pem(kind, der);
        std::fs::write(folder.join(name), text).unwrap();
        folder.join(name)
    };
    let identity = UpstreamIdentity::ClientCertificate {
        certificate: write("node.pem", &node.certificate, "CERTIFICATE"),
        key: write("node.key", &node.key.pkcs8(), "PRIVATE KEY"),
    };
    // Late enough in the lives of both.
    server.clock.advance(340 * 86_400);
    let upstream = upstream(&server, server.renewal_only(Method::ClientCertificate));
    let renew = async |old: &Identity| {
        let key = Key::generate();
        let request = key.renewal("User", &old.certificate, &old.key);
        let submission = Submission { request, expected: expected(&key) };
        upstream.submit(&identity, &submission, now(&server)).await
    };
    let refused = renew(&alice).await;
    assert!(matches!(refused, Ok(Answer::Denied { hresult: Some(0x8009_400E), .. })), "{refused:?}");
    let answer = renew(&node).await;
    assert!(matches!(answer, Ok(Answer::Issued { .. })), "{answer:?}");
}

fn pem(kind: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {kind}-----\n{text}\n-----END {kind}-----\n")
}
