//! Refusals in the audit log: what has no operation or no caller, how many, and what is told of the others.

use muster_core::Method;
use muster_server::config::{Endpoint, Service};
use muster_store::{AuditFilter, AuditRecord};
use muster_testkit::https::post;
use muster_testkit::server::{PASSWORD, path};
use muster_testkit::{Key, SignIn, TestServer, log};

fn endpoint(server: &TestServer) -> &Endpoint {
    server.endpoint(Service::Enrollment, Method::UsernamePassword)
}

async fn newest(server: &TestServer) -> AuditRecord {
    server.store.audit_list(AuditFilter { limit: 1, ..AuditFilter::default() }).await.unwrap().remove(0)
}

/// Sends octets and returns the audit record of what came back, which must be about this answer.
async fn refused(server: &TestServer, octets: &[u8]) -> AuditRecord {
    let mut connection = server.connect(endpoint(server), None).await;
    connection.send(octets).await;
    let answer = connection.answer().await.unwrap();
    let record = newest(server).await;
    let object = record.object.clone().unwrap_or_default();
    assert!(object.contains(&format!("reference {}", answer.reference())), "{record:?}: {}", answer.text());
    let event = log::event(&answer.reference());
    assert_eq!(record.outcome, format!("refused:{}", event["outcome"].as_str().unwrap()), "{event}");
    record
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_are_no_operation() {
    let server = TestServer::start().await;
    let own = path(endpoint(&server));
    let messages = server.messages(endpoint(&server), SignIn::Password("alice", PASSWORD));
    let query = messages.query("7");
    let post = |message: &str| post(&own, "", message.as_bytes());

    let whole = String::from_utf8(post(&query)).unwrap();
    for octets in [
        whole.replacen(&own, "/nothing/here", 1),
        whole.replacen("POST", "PUT", 1),
        whole.replacen("soap+xml", "json", 1),
        "GET /favicon.ico HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
    ] {
        let record = refused(&server, octets.as_bytes()).await;
        assert_eq!(
            (record.actor.as_str(), record.action.as_str(), record.outcome.as_str()),
            ("unauthenticated@127.0.0.1", "receive", "refused:HTTP")
        );
    }
    assert!(newest(&server).await.object.unwrap().starts_with("/favicon.ico; "));

    for (message, code) in [
        ("no message".to_owned(), "XML_REFUSED"),
        (query.replace(&endpoint(&server).uri, "https://elsewhere.example/CES"), "DESTINATION"),
    ] {
        let record = refused(&server, &post(&message)).await;
        assert_eq!(record.outcome, format!("refused:{code}"));
        assert_eq!(record.actor, "unauthenticated@127.0.0.1");
    }

    // From here on there is a caller.
    let record = refused(&server, &post(&query.replace("RST/wstep", "RST/other"))).await;
    assert_eq!((record.action.as_str(), record.outcome.as_str()), ("receive", "refused:OPERATION"));
    assert_eq!(record.actor, "caller:alice/username_password@127.0.0.1");
    let record = refused(&server, &post(&query.replace(">7<", ">99999<"))).await;
    assert_eq!(
        (record.action.as_str(), record.outcome.as_str()),
        ("query_token_status", "refused:REQUEST_UNKNOWN")
    );
    assert!(record.object.unwrap().starts_with("request 99999; "));
    let mut request = Key::generate().request("User");
    request.truncate(request.len() - 7);
    let record = refused(&server, &post(&messages.issue(&request))).await;
    assert_eq!((record.action.as_str(), record.outcome.as_str()), ("submit", "refused:REQUEST_MALFORMED"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_callers_fill_the_audit_log() {
    let mut server = TestServer::start().await;
    let own = path(endpoint(&server));
    let messages = server.messages(endpoint(&server), SignIn::Password("alice", PASSWORD));
    let unknown = post(&own, "", messages.query("99999").as_bytes());
    let noise = post(&own, "", b"no message");
    let ask = async |octets: &[u8], times: u32| {
        let mut connection = server.connect(endpoint(&server), None).await;
        for _ in 0..times {
            connection.send(octets).await;
            assert_eq!(connection.answer().await.unwrap().status, 500);
        }
    };
    let before = server.store.audit_head().await.unwrap().sequence;
    let written = async || server.store.audit_head().await.unwrap().sequence - before;
    ask(&noise, 70).await;
    assert_eq!(written().await, 60, "refusals of nobody are bounded");
    ask(&unknown, 150).await;
    assert_eq!(written().await, 60 + 150, "those of callers are not");
    // Guesses are recorded even so, and the first of them tells what is missing.
    let wrong = server.messages(endpoint(&server), SignIn::Password("bob", "wrong")).query("7");
    let record = refused(&server, &post(&own, "", wrong.as_bytes())).await;
    assert!(record.object.unwrap().ends_with("; 10 refused before, not recorded"));
    ask(&noise, 3).await;
    // What was not told by then is told when the service ends.
    server.stop().await;
    let last = newest(&server).await;
    assert_eq!(
        (last.actor.as_str(), last.object.as_deref()),
        ("service", Some("3 refused before, not recorded"))
    );
    assert!(server.store.audit_verify().await.unwrap().faults.is_empty());
}
