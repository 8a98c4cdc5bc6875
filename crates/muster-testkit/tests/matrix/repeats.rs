//! The same octets again, and requests of others.

use std::collections::BTreeSet;

use muster_core::{Clock, Method, RequestId};
use muster_proto::wstep::RequestSecurityTokenResponse;
use muster_server::config::Service;
use muster_store::{CertificateFilter, Disposition};
use muster_testkit::server::{PASSWORD, path};
use muster_testkit::{Answer, Key, SignIn, TestServer};

const AT_ONCE: usize = 20;

/// Sends the same request of alice twenty times at the same moment.
async fn at_once(server: &TestServer, template: &str) -> Vec<Answer> {
    let endpoint = server.endpoint(Service::Enrollment, Method::UsernamePassword);
    let messages = server.messages(endpoint, SignIn::Password("alice", PASSWORD));
    send_at_once(server, &messages.issue(&Key::generate().request(template))).await
}

async fn send_at_once(server: &TestServer, message: &str) -> Vec<Answer> {
    let endpoint = server.endpoint(Service::Enrollment, Method::UsernamePassword);
    let mut connections = Vec::new();
    for _ in 0..AT_ONCE {
        connections.push(server.connect(endpoint, None).await);
    }
    let tasks = connections.into_iter().map(|mut connection| {
        let (path, message) = (path(endpoint), message.to_owned());
        tokio::spawn(async move { connection.post(&path, &message).await })
    });
    let mut answers = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        answers.push(task.await.unwrap());
    }
    answers
}

async fn certificates(server: &TestServer) -> usize {
    let filter =
        CertificateFilter { account: Some("alice".parse().unwrap()), ..CertificateFilter::default() };
    server.store.certificates(filter).await.unwrap().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn same_octets_one_after_the_other() {
    let server = TestServer::start().await;
    let endpoint = server.endpoint(Service::Enrollment, Method::UsernamePassword);
    let request = Key::generate().request("User");
    let send = async |account: &str| {
        let messages = server.messages(endpoint, SignIn::Password(account, PASSWORD));
        server.post(endpoint, None, &messages.issue(&request)).await.issued()
    };
    let first = send("alice").await;
    assert_eq!(send("alice").await, first);
    assert_ne!(send("bob").await, first, "the octets of another account are another request");
    assert_eq!(certificates(&server).await, 1);
    server.clock.advance(86_401);
    assert_ne!(send("alice").await, first, "a day later they are, too");
    assert_eq!(certificates(&server).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn same_octets_twenty_times_at_once() {
    let server = TestServer::start().await;
    let endpoint = server.endpoint(Service::Enrollment, Method::UsernamePassword);
    let mut ids = BTreeSet::new();
    let mut received = BTreeSet::new();
    for answer in at_once(&server, "User").await {
        match answer.enrollment() {
            RequestSecurityTokenResponse::Issued(issued) => {
                ids.insert(issued.request_id.unwrap());
                received.insert(issued.certificate);
            }
            // The first is not done yet; its certificate can be asked for.
            RequestSecurityTokenResponse::Pending(pending) => drop(ids.insert(pending.request_id.unwrap())),
            RequestSecurityTokenResponse::KeyExchangeToken(_) => unreachable!(),
        }
    }
    assert_eq!((ids.len(), received.len(), certificates(&server).await), (1, 1, 1));
    let messages = server.messages(endpoint, SignIn::Password("alice", PASSWORD));
    let id = ids.first().unwrap().as_str();
    let (_, certificate) = server.post(endpoint, None, &messages.query(id)).await.issued();
    assert!(received.contains(&certificate));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn same_octets_to_be_approved_twenty_times_at_once() {
    let server = TestServer::start().await;
    let ids: BTreeSet<String> = at_once(&server, "Approved").await.iter().map(Answer::pending).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
}

/// An approved request is issued when its owner asks; twenty who ask at once get one certificate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn approved_request_asked_for_twenty_times_at_once() {
    let server = TestServer::start().await;
    let endpoint = server.endpoint(Service::Enrollment, Method::UsernamePassword);
    let messages = server.messages(endpoint, SignIn::Password("alice", PASSWORD));
    let request = messages.issue(&Key::generate().request("Approved"));
    let id = server.post(endpoint, None, &request).await.pending();
    server.store.approve(id.parse().unwrap(), "officer".to_owned(), server.clock.now()).await.unwrap();
    let mut received = BTreeSet::new();
    for answer in send_at_once(&server, &messages.query(&id)).await {
        match answer.enrollment() {
            RequestSecurityTokenResponse::Issued(issued) => drop(received.insert(issued.certificate)),
            RequestSecurityTokenResponse::Pending(pending) => {
                assert_eq!(pending.request_id.unwrap().as_str(), id);
            }
            RequestSecurityTokenResponse::KeyExchangeToken(_) => unreachable!(),
        }
    }
    assert_eq!((received.len(), certificates(&server).await), (1, 1));
    assert_eq!(server.post(endpoint, None, &messages.query(&id)).await.issued().0, id);
}

/// Foreign requests look like unknown ones, whatever became of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_request_is_an_unknown_one() {
    let server = TestServer::start().await;
    let now = server.clock.now();
    let alice = server.enroll("alice", "User").await;
    let endpoint = server.endpoint(Service::Enrollment, Method::UsernamePassword);
    let bobs = server.messages(endpoint, SignIn::Password("bob", PASSWORD));
    let submit =
        async |template| server.post(endpoint, None, &bobs.issue(&Key::generate().request(template))).await;
    let issued = submit("User").await.issued().0;
    let refused = submit("Computer").await.detail().request_id.unwrap().to_string();
    let pending = submit("Approved").await.pending();
    let approved = submit("Approved").await.pending();
    server.store.approve(approved.parse().unwrap(), "officer".to_owned(), now).await.unwrap();
    let denied = submit("Approved").await.pending();
    server.store.deny(denied.parse().unwrap(), "officer".to_owned(), "no".to_owned(), now).await.unwrap();

    for method in [Method::UsernamePassword, Method::ClientCertificate] {
        let endpoint = server.endpoint(Service::Enrollment, method);
        let (sign_in, identity) = match method {
            Method::UsernamePassword => (SignIn::Password("alice", PASSWORD), None),
            Method::ClientCertificate | Method::Kerberos => (SignIn::None, Some(&alice)),
        };
        let messages = server.messages(endpoint, sign_in);
        let ask = async |id: &str| {
            let answer = server.post(endpoint, identity, &messages.query(id)).await;
            answer.golden().replace(&format!("request {id} "), "request [id] ")
        };
        let unknown = ask("4000000").await;
        for id in [&issued, &refused, &pending, &approved, &denied] {
            assert_eq!(ask(id).await, unknown, "{id}");
        }
        assert_eq!(ask("no-number-at-all").await, unknown);
        assert_eq!(ask("99999999999999999999").await, unknown);
    }
    let id: RequestId = approved.parse().unwrap();
    let row = server.store.request(id).await.unwrap().unwrap();
    assert_eq!(row.summary.disposition, Disposition::Approved, "asking for it issued nothing");

    // The owner reads what became of each.
    let ask = async |id: &str| server.post(endpoint, None, &bobs.query(id)).await;
    assert_eq!(ask(&issued).await.issued().0, issued);
    assert_eq!(ask(&pending).await.pending(), pending);
    assert_eq!(ask(&approved).await.issued().0, approved);
    let reason = ask(&refused).await.fault().reason;
    assert!(reason.starts_with(&format!("Request {refused} was refused: You are not allowed")), "{reason}");
    let reason = ask(&denied).await.fault().reason;
    assert!(reason.starts_with(&format!("Request {denied} was denied by an officer: no")), "{reason}");
}
