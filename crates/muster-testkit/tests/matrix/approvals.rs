//! What an officer's word is good for, and how much may wait for it.

use muster_core::audit::{Action, Actor};
use muster_core::request::RequestId;
use muster_core::{Clock, Method, Template};
use muster_server::config::{Endpoint, Service};
use muster_store::{AuditFilter, CertificateFilter, Disposition};
use muster_testkit::server::PASSWORD;
use muster_testkit::{Answer, Key, SignIn, TestServer};

fn endpoint(server: &TestServer) -> &Endpoint {
    server.endpoint(Service::Enrollment, Method::UsernamePassword)
}

async fn submit(server: &TestServer, account: &str, request: &[u8]) -> Answer {
    let messages = server.messages(endpoint(server), SignIn::Password(account, PASSWORD));
    server.post(endpoint(server), None, &messages.issue(request)).await
}

async fn ask(server: &TestServer, id: &str) -> Answer {
    let messages = server.messages(endpoint(server), SignIn::Password("alice", PASSWORD));
    server.post(endpoint(server), None, &messages.query(id)).await
}

async fn approve(server: &TestServer, id: &str) -> String {
    let at = server.clock.now();
    server.store.approve(id.parse().unwrap(), "officer".to_owned(), at).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn approval_is_for_the_template_as_it_was() {
    let server = TestServer::start().await;
    let id = submit(&server, "alice", &Key::generate().request("Approved")).await.pending();
    let then = approve(&server, &id).await;

    // Between the approval and the next question the rules change.
    let catalog = server.store.catalog().await.unwrap();
    let mut template: Template = catalog.into_iter().find(|t| t.name == "Approved").unwrap();
    template.validity.days = 90;
    let officer = || Actor::Officer("officer".to_owned());
    let now = server.store.put_template(template, vec![9], officer(), server.clock.now()).await.unwrap();
    assert_eq!(ask(&server, &id).await.pending(), id);
    let row = async || server.store.request(id.parse().unwrap()).await.unwrap().unwrap().summary;
    let why = format!("approved for {then}, but the template is {} by now; look at it again", now.revision());
    assert_eq!((row().await.disposition, row().await.message), (Disposition::Pending, Some(why.clone())));
    let filter = AuditFilter { action: Some(Action::Reopen), ..AuditFilter::default() };
    let audit = server.store.audit_list(filter).await.unwrap();
    assert_eq!(audit.len(), 1);
    assert_eq!((audit[0].request, audit[0].object.as_deref()), (id.parse::<RequestId>().ok(), Some(&*why)));
    // It stays so until somebody looks at it again.
    assert_eq!(ask(&server, &id).await.pending(), id);

    assert_eq!(approve(&server, &id).await, now.revision());
    let _ = ask(&server, &id).await.issued();
    let issued = server.store.certificates(CertificateFilter::default()).await.unwrap().remove(0);
    assert_eq!(issued.not_after.since(issued.not_before) / 86_400, 90);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_wait_are_bounded_by_account() {
    let server =
        TestServer::start_with(|config| config + "\n[limits]\nwaiting_requests_per_account = 2\n").await;
    let requests: Vec<Vec<u8>> = (0..3).map(|_| Key::generate().request("Approved")).collect();
    let mut ids = Vec::new();
    for request in requests.iter().take(2) {
        ids.push(submit(&server, "alice", request).await.pending());
    }
    let refused = submit(&server, "alice", &requests[2]).await;
    assert_eq!(refused.detail().error_code.unwrap().code(), 0x8007_0718);
    insta::assert_snapshot!("too_many_pending", refused.golden());
    let filter = AuditFilter { limit: 1, ..AuditFilter::default() };
    let record = server.store.audit_list(filter).await.unwrap().remove(0);
    assert_eq!(record.outcome, "refused:TOO_MANY_PENDING");
    assert_eq!((record.actor.as_str(), record.request), ("caller:alice/username_password@127.0.0.1", None));
    assert_eq!(record.template.as_deref(), Some("Approved"));

    // Everything else goes on: what waits, what needs no officer, what others want.
    assert_eq!(submit(&server, "alice", &requests[0]).await.pending(), ids[0], "the same octets again");
    assert_eq!(ask(&server, &ids[1]).await.pending(), ids[1]);
    let _ = submit(&server, "alice", &Key::generate().request("User")).await.issued();
    let _ = submit(&server, "bob", &Key::generate().request("Approved")).await.pending();
    // One that is decided makes room for one.
    let _ = approve(&server, &ids[0]).await;
    let _ = submit(&server, "alice", &requests[2]).await.pending();
    assert_eq!(submit(&server, "alice", &Key::generate().request("Approved")).await.status, 500);
}
