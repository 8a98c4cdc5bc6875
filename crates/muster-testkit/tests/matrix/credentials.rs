//! Passwords and client certificates: guessing, enumerating, hoarding, and what ends an access at once.

use std::time::Duration;

use muster_core::audit::Actor;
use muster_core::revocation::Reason;
use muster_core::{Clock, Method, Principal, Serial};
use muster_server::config::Service;
use muster_store::PasswordHash;
use muster_testkit::https::{Connection, post};
use muster_testkit::server::{PASSWORD, path};
use muster_testkit::{Answer, Identity, Key, SignIn, TestServer, log};

fn officer() -> Actor {
    Actor::Officer("officer".to_owned())
}

/// GetPolicies on a connection of its own.
async fn sign_in(server: &TestServer, account: &str, password: &str) -> Answer {
    let endpoint = server.endpoint(Service::Policy, Method::UsernamePassword);
    let message = server.messages(endpoint, SignIn::Password(account, password)).get_policies();
    server.post(endpoint, None, &message).await
}

/// The code of the refusal that it must be.
fn refused(answer: &Answer) -> String {
    assert_ne!(answer.status, 200, "{}", answer.text());
    log::event(&answer.reference())["outcome"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_account_looks_like_a_wrong_password() {
    let server = TestServer::start().await;
    let known = sign_in(&server, "alice", "wrong").await.golden();
    let long = "x".repeat(300);
    for name in ["mallory", "dave", "TEST\\alice", "MUSTER\\nobody-here", "a b", "", "\u{202e}ecila", &long] {
        assert_eq!(sign_in(&server, name, "wrong").await.golden(), known, "{name:?}");
    }
    for password in ["", &long, &"y".repeat(2_000)] {
        assert_eq!(sign_in(&server, "bob", password).await.golden(), known, "{password:?}");
    }
    assert_eq!(sign_in(&server, "TEST\\bob", PASSWORD).await.status, 200, "a domain is ignored");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_are_slowed_down_one_by_one() {
    let server = TestServer::start().await;
    for _ in 0..5 {
        assert_eq!(refused(&sign_in(&server, "alice", "wrong").await), "BAD_CREDENTIALS");
    }
    let waiting = sign_in(&server, "alice", PASSWORD).await;
    assert_eq!(refused(&waiting), "BAD_CREDENTIALS", "the right password has to wait, too");
    assert_eq!(sign_in(&server, "bob", PASSWORD).await.status, 200, "other accounts do not");
    server.clock.advance(2);
    assert_eq!(sign_in(&server, "alice", PASSWORD).await.status, 200);
}

/// GetPolicies from another address of this machine, 127.0.0.`host`.
async fn sign_in_from(server: &TestServer, host: u8, account: &str, password: &str) -> Answer {
    let endpoint = server.endpoint(Service::Policy, Method::UsernamePassword);
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, host], 0).into()).unwrap();
    let socket = socket.connect(server.address(&endpoint.listener)).await.unwrap();
    let mut connection = server.https.shake_hands(socket, None).await.unwrap();
    let message = server.messages(endpoint, SignIn::Password(account, password)).get_policies();
    connection.post(&path(endpoint), &message).await
}

/// Whoever guesses at an account does not keep its owner out, who is elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_from_elsewhere_keep_nobody_out() {
    // Every password is compared, none remembered.
    let server = TestServer::start_with(|config| config + "\n[limits]\npassword_cache_seconds = 0\n").await;
    for _ in 0..8 {
        assert_eq!(refused(&sign_in_from(&server, 66, "alice", "wrong").await), "BAD_CREDENTIALS");
    }
    let guessed = sign_in_from(&server, 66, "alice", PASSWORD).await;
    assert_eq!(refused(&guessed), "BAD_CREDENTIALS", "too late, although it is right");
    assert_eq!(sign_in(&server, "alice", PASSWORD).await.status, 200);

    // From many networks the account waits, but not where it has signed in before.
    for host in 70..80 {
        for _ in 0..5 {
            assert_eq!(refused(&sign_in_from(&server, host, "alice", "wrong").await), "BAD_CREDENTIALS");
        }
    }
    let elsewhere = sign_in_from(&server, 99, "alice", PASSWORD).await;
    assert_eq!(refused(&elsewhere), "BAD_CREDENTIALS", "from a network that nobody knows of her");
    assert_eq!(sign_in(&server, "alice", PASSWORD).await.status, 200);
    assert_eq!(sign_in_from(&server, 99, "bob", PASSWORD).await.status, 200);
}

/// A site behind one address, somebody of which guesses: those who have signed in from there before go on working.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_of_a_neighbour_keep_nobody_out() {
    let server = TestServer::start_with(|config| config + "\n[limits]\npassword_cache_seconds = 0\n").await;
    assert_eq!(sign_in(&server, "alice", PASSWORD).await.status, 200);
    for n in 0..50 {
        let name = format!("user{n}");
        assert_eq!(refused(&sign_in(&server, &name, "wrong").await), "BAD_CREDENTIALS");
    }
    assert_eq!(refused(&sign_in(&server, "bob", PASSWORD).await), "BAD_CREDENTIALS", "the network waits");
    assert_eq!(sign_in(&server, "alice", PASSWORD).await.status, 200);
    assert_eq!(sign_in_from(&server, 66, "bob", PASSWORD).await.status, 200, "other networks do not");
    // From then on bob is known here as well, once the wait is over.
    server.clock.advance(2);
    assert_eq!(sign_in(&server, "bob", PASSWORD).await.status, 200);
}

/// Guesses sent at the same moment are slowed down as if they had come one by one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_are_slowed_down_at_once() {
    let server = TestServer::start_with(|config| {
        config + "\n[limits]\npassword_verifications = 1\nunauthenticated_connections_per_address = 100\n"
    })
    .await;
    let endpoint = server.endpoint(Service::Policy, Method::UsernamePassword);
    let mut connections = Vec::new();
    for _ in 0..40 {
        connections.push(server.connect(endpoint, None).await);
    }
    let mut last = server.connect(endpoint, None).await;
    let wrong = server.messages(endpoint, SignIn::Password("alice", "wrong")).get_policies();
    let right = server.messages(endpoint, SignIn::Password("alice", PASSWORD)).get_policies();
    for connection in &mut connections {
        connection.send(&post(&path(endpoint), "", wrong.as_bytes())).await;
    }
    // All of them wait for their turn by now, and the right one stands behind them.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(refused(&last.post(&path(endpoint), &right).await), "BAD_CREDENTIALS");
    for mut connection in connections {
        assert_eq!(refused(&connection.answer().await.unwrap()), "BAD_CREDENTIALS");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_ins_beyond_the_queue_get_503() {
    let server = TestServer::start_with(|config| {
        config
            + "\n[limits]\npassword_verifications = 1\npassword_queue = 2\nunauthenticated_connections_per_address = 100\n"
    })
    .await;
    let endpoint = server.endpoint(Service::Policy, Method::UsernamePassword);
    let mut connections = Vec::new();
    for i in 0..30 {
        let message = server.messages(endpoint, SignIn::Password(&format!("u{i}"), "wrong")).get_policies();
        connections.push((server.connect(endpoint, None).await, message));
    }
    for (connection, message) in &mut connections {
        connection.send(&post(&path(endpoint), "", message.as_bytes())).await;
    }
    let mut busy = Vec::new();
    for (mut connection, _) in connections {
        let answer = connection.answer().await.unwrap();
        match refused(&answer).as_str() {
            "BUSY" => busy.push(answer),
            other => assert_eq!(other, "BAD_CREDENTIALS"),
        }
    }
    assert!((1..=27).contains(&busy.len()), "{}", busy.len());
    assert!(busy.iter().all(|a| a.status == 503 && !a.is_soap()));
    insta::assert_snapshot!("busy", busy[0].golden());
    assert_eq!(sign_in(&server, "alice", PASSWORD).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn remembered_password_ends_with_its_account() {
    let server = TestServer::start().await;
    let endpoint = server.endpoint(Service::Policy, Method::UsernamePassword);
    let message = server.messages(endpoint, SignIn::Password("alice", PASSWORD)).get_policies();
    let mut connection = server.connect(endpoint, None).await;
    let alice = || "alice".parse().unwrap();
    assert_eq!(connection.post(&path(endpoint), &message).await.status, 200);

    server.store.set_enabled(alice(), false, officer(), server.clock.now()).await.unwrap();
    assert_eq!(refused(&connection.post(&path(endpoint), &message).await), "BAD_CREDENTIALS");
    server.store.set_enabled(alice(), true, officer(), server.clock.now()).await.unwrap();
    assert_eq!(connection.post(&path(endpoint), &message).await.status, 200);

    let hash = PasswordHash(muster_server::hash_password("another").unwrap());
    server.store.set_password_hash(alice(), hash, officer(), server.clock.now()).await.unwrap();
    assert_eq!(refused(&connection.post(&path(endpoint), &message).await), "BAD_CREDENTIALS");
    assert_eq!(sign_in(&server, "alice", "another").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timestamp_has_to_be_of_now() {
    let server = TestServer::start().await;
    let endpoint = server.endpoint(Service::Policy, Method::UsernamePassword);
    let old = server.messages(endpoint, SignIn::Password("alice", PASSWORD)).get_policies();
    server.clock.advance(590);
    assert_eq!(server.post(endpoint, None, &old).await.status, 200, "five minutes, and five for clocks");
    server.clock.advance(20);
    let late = server.post(endpoint, None, &old).await;
    insta::assert_snapshot!("timestamp", late.golden());
    server.clock.advance(-1_000);
    assert_eq!(refused(&server.post(endpoint, None, &old).await), "TIMESTAMP", "from the future");
}

/// One connection that stays open while its certificate ceases to be good.
struct Held {
    connection: Connection,
    path: String,
    message: String,
}

impl Held {
    async fn new(server: &TestServer, identity: &Identity) -> Self {
        let endpoint = server.endpoint(Service::Policy, Method::ClientCertificate);
        let message = server.messages(endpoint, SignIn::None).get_policies();
        Self { connection: server.connect(endpoint, Some(identity)).await, path: path(endpoint), message }
    }

    async fn ask(&mut self) -> Answer {
        self.connection.post(&self.path, &self.message).await
    }
}

async fn serial(server: &TestServer, identity: &Identity) -> Serial {
    let all = server.store.certificates(muster_store::CertificateFilter::default()).await.unwrap();
    for summary in all {
        let certificate = server.store.certificate(summary.serial).await.unwrap().unwrap();
        if certificate.der == identity.certificate {
            return summary.serial;
        }
    }
    unreachable!("the certificate is in the store");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificate_is_refused_on_an_open_connection() {
    let server = TestServer::start().await;
    let now = || server.clock.now();

    // Hold, release, revocation for good: each at once.
    let alice = server.enroll("alice", "User").await;
    let mut held = Held::new(&server, &alice).await;
    assert_eq!(held.ask().await.status, 200);
    let number = serial(&server, &alice).await;
    server.store.revoke(number, Reason::CertificateHold, officer(), now()).await.unwrap();
    assert_eq!(refused(&held.ask().await), "CERT_ON_HOLD");
    server.store.release_hold(number, officer(), now()).await.unwrap();
    assert_eq!(held.ask().await.status, 200);
    server.store.revoke(number, Reason::Superseded, officer(), now()).await.unwrap();
    insta::assert_snapshot!("cert_revoked", held.ask().await.golden());

    // An account that is disabled, or removed.
    let bob = server.enroll("bob", "User").await;
    let mut held = Held::new(&server, &bob).await;
    assert_eq!(held.ask().await.status, 200);
    server.store.set_enabled("bob".parse().unwrap(), false, officer(), now()).await.unwrap();
    assert_eq!(refused(&held.ask().await), "CERT_UNKNOWN");
    server.store.set_enabled("bob".parse().unwrap(), true, officer(), now()).await.unwrap();
    assert_eq!(held.ask().await.status, 200);

    // Another purpose.
    let email = server.enroll("bob", "UserEmail").await;
    insta::assert_snapshot!("cert_purpose", Held::new(&server, &email).await.ask().await.golden());

    // Its end.
    server.clock.advance(364 * 86_400);
    assert_eq!(held.ask().await.status, 200);
    server.clock.advance(2 * 86_400);
    let expired = held.ask().await;
    assert_eq!(refused(&expired), "CERT_EXPIRED");
    let reason = expired.fault().reason;
    assert!(reason.starts_with("This certificate expired on 20"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_of_others_prove_nothing() {
    let server = TestServer::start().await;
    let other = TestServer::start().await;
    let alice = server.enroll("alice", "User").await;
    let elsewhere = other.enroll("alice", "User").await;
    // The other CA has the same name, and the other account, too.
    assert_eq!(refused(&Held::new(&server, &elsewhere).await.ask().await), "CERT_UNKNOWN");
    // The CA's own certificate with a key of somebody else, and one without any structure of ours.
    let key = std::sync::Arc::new(Key::generate());
    let (own, forged) = (alice.key.spki().to_vec(), key.spki().to_vec());
    let mut certificate = alice.certificate.clone();
    let at = certificate.windows(own.len()).position(|w| w == own).unwrap();
    certificate[at..at + own.len()].copy_from_slice(&forged);
    let look_alike = Identity { certificate, key };
    assert_eq!(refused(&Held::new(&server, &look_alike).await.ask().await), "CERT_UNKNOWN");
    assert_eq!(Held::new(&server, &alice).await.ask().await.status, 200);
}

/// What a proxy would say about the caller is no evidence.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_of_proxies_are_ignored() {
    let server = TestServer::start().await;
    let alice = server.enroll("alice", "User").await;
    let pem = muster_server::certificate_pem(&alice.certificate).replace('\n', "%0A");
    let headers = format!(
        "X-SSL-Client-Cert: {pem}\r\nX-SSL-Client-Verify: SUCCESS\r\nX-SSL-Client-S-DN: CN=alice\r\n\
         X-Client-Cert: {pem}\r\nX-ARR-ClientCert: {pem}\r\nX-Forwarded-Client-Cert: Cert=\"{pem}\"\r\n\
         X-Remote-User: alice\r\nRemote-User: alice\r\nX-Forwarded-User: alice\r\nX-Forwarded-Proto: https\r\n\
         X-Forwarded-For: 203.0.113.7\r\nForwarded: for=203.0.113.7\r\nX-Real-IP: 203.0.113.7\r\n\
         X-Original-URL: /renewal\r\nX-HTTP-Method-Override: GET\r\n\
         Authorization: Basic YWxpY2U6Y29ycmVjdCBob3JzZSBiYXR0ZXJ5\r\n"
    );
    for (method, code) in
        [(Method::UsernamePassword, "PASSWORD_MISSING"), (Method::ClientCertificate, "CERT_MISSING")]
    {
        for service in [Service::Policy, Service::Enrollment] {
            let endpoint = server.endpoint(service, method);
            let messages = server.messages(endpoint, SignIn::None);
            let message = match service {
                Service::Policy => messages.get_policies(),
                Service::Enrollment => messages.issue(&Key::generate().request("User")),
            };
            let mut connection = server.connect(endpoint, None).await;
            let answer = connection.post_with(&path(endpoint), &headers, &message).await;
            assert_eq!(refused(&answer), code);
            let event = log::event(&answer.reference());
            assert!(event["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{event}");
        }
    }
    let audit = server.store.audit_list(muster_store::AuditFilter::default()).await.unwrap();
    assert!(!audit.iter().any(|record| record.actor.contains("203.0.113.7")));
}

/// Written answers are kept; none is kept longer than it is true.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_follow_templates_and_accounts_at_once() {
    let server = TestServer::start().await;
    let offered = async |account: &str| {
        let answer = sign_in(&server, account, PASSWORD).await;
        let names = answer.policies().response.policies.into_iter().map(|p| p.attributes.common_name);
        names.collect::<Vec<String>>()
    };
    let alice = offered("alice").await;
    assert!(alice.iter().any(|name| name == "Approved") && alice.len() > 1, "{alice:?}");
    for _ in 0..2 {
        assert_eq!(offered("alice").await, alice);
        assert_eq!(offered("bob").await, alice, "of the same groups");
        assert_eq!(offered("nobody").await, [""; 0], "without groups");
    }
    // One account leaves its groups; the other's answer, which was the same, stays.
    let account = server.store.account(&"alice".parse().unwrap()).await.unwrap().unwrap();
    let alone = Principal { groups: [].into(), ..account.principal.clone() };
    server.store.put_account(alone, officer(), server.clock.now()).await.unwrap();
    assert_eq!(offered("alice").await, [""; 0]);
    assert_eq!(offered("bob").await, alice);
    server.store.put_account(account.principal, officer(), server.clock.now()).await.unwrap();
    assert_eq!(offered("alice").await, alice);
    // A template is withdrawn, another one changed.
    server.store.unpublish_template("User".to_owned(), officer(), server.clock.now()).await.unwrap();
    let left: Vec<String> = alice.iter().filter(|name| *name != "User").cloned().collect();
    assert_eq!(offered("alice").await, left);
    let mut changed = server.store.template("Approved").await.unwrap().unwrap().template;
    changed.validity.days += 1;
    let arcs = muster_server::setup::random_arcs().unwrap();
    server.store.put_template(changed.clone(), arcs, officer(), server.clock.now()).await.unwrap();
    let answer = sign_in(&server, "alice", PASSWORD).await.policies();
    let approved = answer.response.policies.iter().find(|p| p.attributes.common_name == "Approved").unwrap();
    let seconds = approved.attributes.certificate_validity.validity_period_seconds;
    assert_eq!(seconds, changed.validity.lifetime_seconds());
}
