//! A server whose CA is behind another enrollment service: ours, and one that shares no code with us and lies.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

#[path = "../../muster-relay/tests/bed/mod.rs"]
mod bed;

use std::fmt::Write as _;

use bed::Bed;
use muster_ca::CERTIFICATE_FILE;
use muster_core::audit::Actor;
use muster_core::{Clock, Method, Template};
use muster_server::config::{Endpoint, Service};
use muster_store::{CertificateFilter, Disposition, PasswordHash};
use muster_testkit::server::PASSWORD;
use muster_testkit::{Answer, Key, SignIn, TestServer};

/// The configuration of a server with its own CA and another behind a relay.
fn with_relay(config: &str, table: &str) -> String {
    let config = config.replace("[[enrollment_endpoint]]\n", "[[enrollment_endpoint]]\nca = \"Test CA\"\n");
    format!("{config}\n{table}")
}

fn endpoint<'s>(server: &'s TestServer, ca: &str) -> &'s Endpoint {
    server.settings.enrollment_endpoints.iter().find(|e| *e.ca == *ca && !e.renewal_only).unwrap()
}

async fn submit(server: &TestServer, ca: &str, who: &str, password: &str, request: &[u8]) -> Answer {
    let endpoint = endpoint(server, ca);
    let messages = server.messages(endpoint, SignIn::Password(who, password));
    server.post(endpoint, None, &messages.issue(request)).await
}

async fn query(server: &TestServer, ca: &str, who: &str, id: &str) -> Answer {
    let endpoint = endpoint(server, ca);
    let messages = server.messages(endpoint, SignIn::Password(who, PASSWORD));
    server.post(endpoint, None, &messages.query(id)).await
}

/// How many certificates the embedded CA has signed.
async fn signed(server: &TestServer) -> usize {
    server.store.certificates(CertificateFilter::default()).await.unwrap().len()
}

/// An upstream, and a relay that has the upstream's templates and its accounts.
struct Chain {
    upstream: TestServer,
    relay: TestServer,
}

const CA: &str = "Upstream CA";

impl Chain {
    async fn start() -> Self {
        let upstream = TestServer::start().await;
        let ca = upstream.settings.embedded().unwrap().directory.join(CERTIFICATE_FILE);
        let url = &upstream.endpoint(Service::Enrollment, Method::UsernamePassword).uri;
        let table = format!(
            "[ca.\"{CA}\"]\nbackend = \"relay\"\npassword_url = {url:?}\nca_file = {ca:?}\ncertificates = [{ca:?}]\n\
             templates = [\"Relayed\", \"Waiting\"]\n\n\
             [[enrollment_endpoint]]\nca = \"{CA}\"\nauthentication = \"username_password\"\nlistener = \"password\"\n\
             identity = \"delegate\"\n"
        );
        let relay = TestServer::start_with(|config| with_relay(&config, &table)).await;
        // Both have the templates under one identifier, as in a directory.
        for (name, like, arc) in [("Relayed", "User", 1), ("Waiting", "Approved", 2)] {
            let officer = || Actor::Officer("tests".to_owned());
            let catalog = upstream.store.catalog().await.unwrap();
            let mut template: Template = catalog.into_iter().find(|t| t.name == like).unwrap();
            template.name = name.to_owned();
            template.oid = Some(format!("1.3.6.1.4.1.99999.{arc}").parse().unwrap());
            for server in [&upstream, &relay] {
                server
                    .store
                    .put_template(template.clone(), vec![], officer(), server.clock.now())
                    .await
                    .unwrap();
            }
        }
        Self { upstream, relay }
    }

    async fn submit(&self, who: &str, request: &[u8]) -> Answer {
        submit(&self.relay, CA, who, PASSWORD, request).await
    }

    async fn disposition(&self, id: &str) -> Disposition {
        self.relay.store.request(id.parse().unwrap()).await.unwrap().unwrap().summary.disposition
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn password_is_passed_on_and_the_upstream_issues() {
    let chain = Chain::start().await;
    let key = Key::generate();
    let request = key.request("Relayed");
    let before = (signed(&chain.relay).await, signed(&chain.upstream).await);
    let (id, certificate) = chain.submit("alice", &request).await.issued();
    let row = chain.relay.store.request(id.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(row.summary.disposition, Disposition::Issued);
    let there = row.forwarding.unwrap();
    assert_eq!((there.ca.as_str(), there.certificate.as_deref()), (CA, Some(&*certificate)));
    let number = there.backend_request_id.unwrap().to_string();
    let upstream = chain.upstream.store.request(number.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(upstream.summary.requester.to_string(), "alice");
    // Its own CA has signed nothing, and the same octets are not sent again.
    let (again, same) = chain.submit("alice", &request).await.issued();
    assert_eq!((again, same), (id, certificate));
    assert_eq!((signed(&chain.relay).await, signed(&chain.upstream).await), (before.0, before.1 + 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_waits_at_the_upstream() {
    let chain = Chain::start().await;
    let id = chain.submit("alice", &Key::generate().request("Waiting")).await.pending();
    assert_eq!(chain.disposition(&id).await, Disposition::UnderSubmission);
    assert_eq!(query(&chain.relay, CA, "alice", &id).await.pending(), id);
    let there = chain.relay.store.request(id.parse().unwrap()).await.unwrap().unwrap().forwarding.unwrap();
    let number = there.backend_request_id.unwrap().to_string().parse().unwrap();
    let (officer, at) = ("officer".to_owned(), chain.upstream.clock.now());
    chain.upstream.store.approve(number, officer, at).await.unwrap().unwrap();
    let (answered, _) = query(&chain.relay, CA, "alice", &id).await.issued();
    assert_eq!(answered, id);
    // Nobody else's business.
    assert_eq!(query(&chain.relay, CA, "bob", &id).await.detail().error_code.unwrap().code(), 0x8009_4004);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upstream_that_refuses_or_is_gone_has_no_request() {
    let mut chain = Chain::start().await;
    let officer = || Actor::Officer("tests".to_owned());
    let at = chain.upstream.clock.now();
    chain.upstream.store.set_enabled("alice".parse().unwrap(), false, officer(), at).await.unwrap();
    let key = Key::generate();
    let request = key.request("Relayed");
    let refused = chain.submit("alice", &request).await;
    assert_eq!(refused.detail().error_code.unwrap().code(), 0x8007_0005);
    assert!(refused.text().contains("cannot be asked in your name"), "{}", refused.text());
    chain.upstream.store.set_enabled("alice".parse().unwrap(), true, officer(), at).await.unwrap();
    chain.upstream.stop().await;
    // 503: the client goes on to the next node.
    assert_eq!(chain.submit("alice", &request).await.status, 503);
    chain.upstream.start_again().await.unwrap();
    // Neither of them had arrived, so the same octets are sent now.
    let _ = chain.submit("alice", &request).await.issued();
}

/// The broken-call rule, and an answer that is not believed, as the caller and the officer see them.
#[test]
fn lies_and_broken_calls_of_the_upstream_are_not_passed_on() {
    let Some(bed) = Bed::start() else { return };
    let doings = [
        "issue",
        "deny",
        "no-permission",
        "drop",
        "wrong-key",
        "two",
        "no-authority",
        "broken-call",
        "odd-code",
    ];
    let mut table = String::new();
    for doing in doings {
        let (url, web, ca) =
            (bed.settings(doing, "UsernamePassword").url, bed.path("web.pem"), bed.path("ca.pem"));
        let url = url.as_str();
        write!(
            table,
            "[ca.{doing}]\nbackend = \"relay\"\npassword_url = {url:?}\nca_file = {web:?}\ncertificates = [{ca:?}]\n\
             templates = [\"User\"]\n\n\
             [[enrollment_endpoint]]\nca = {doing:?}\nauthentication = \"username_password\"\nlistener = \"password\"\n\
             identity = \"delegate\"\n\n"
        )
        .unwrap();
    }
    bed::run(async {
        let server = TestServer::start_with(|config| with_relay(&config, &table)).await;
        let hash = PasswordHash(muster_server::hash_password("alice-pw").unwrap());
        let officer = Actor::Officer("tests".to_owned());
        let at = server.clock.now();
        server.store.set_password_hash("alice".parse().unwrap(), hash, officer, at).await.unwrap();
        let mut sent = 0;
        for doing in doings {
            let request = Key::generate().request("User");
            let first = submit(&server, doing, "alice", "alice-pw", &request).await;
            let again = submit(&server, doing, "alice", "alice-pw", &request).await;
            let code = |answer: &Answer| answer.detail().error_code.unwrap().code();
            sent += match doing {
                "issue" => {
                    assert_eq!(first.issued(), again.issued());
                    1
                }
                "no-authority" => {
                    assert_eq!((first.status, again.status), (503, 503));
                    2
                }
                "deny" => {
                    assert_eq!((code(&first), code(&again)), (0x8009_4012, 0x8009_4012));
                    assert!(first.detail().invalid_request);
                    // Nothing came of it, so it may be asked again.
                    2
                }
                // A code that stands for this alone.
                "no-permission" => {
                    assert_eq!((code(&first), code(&again)), (0x8007_0005, 0x8007_0005));
                    2
                }
                // Whether it got it or not: it does not get it twice.
                "drop" | "broken-call" | "odd-code" | "wrong-key" | "two" => {
                    assert_eq!((code(&first), code(&again)), (0x8009_4003, 0x8009_4003), "{doing}");
                    assert!(!first.detail().invalid_request, "{doing}");
                    1
                }
                _ => panic!("{doing}"),
            };
            let saw = bed.saw(sent);
            assert_eq!(saw.len(), sent, "{doing}: {saw:?}");
            assert_eq!(saw[sent - 1]["who"], "alice");
        }
        assert!(!muster_testkit::log::text().contains("alice-pw"), "the password is in the log");
    });
}
