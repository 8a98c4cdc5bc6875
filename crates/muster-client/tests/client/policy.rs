//! Getting and keeping policies.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_client::failover::order;
use muster_client::policy::{Cache, Freshness, Policy, TemplateError, fetch};
use muster_client::session::ServiceError;
use muster_client::transport::Timeouts;
use muster_client::{Endpoint, SystemRandom};
use muster_proto::soap::xml::Limits;
use muster_proto::soap::{DateTime, Envelope, Fault, FaultKind, ResponseHeader};
use muster_proto::xcep::{ClientAuthentication, GetPolicies, GetPoliciesResponse};

use crate::server::{Received, Reply, Server, TestCa};
use crate::service::{Fixture, Issuer, message_id, policy, uri};

const TIMEOUTS: Timeouts = Timeouts { connect: Duration::from_secs(5), request: Duration::from_millis(400) };
const HOUR: i64 = 3600;

fn question(received: &Received) -> GetPolicies {
    let envelope = Envelope::parse(received.body.as_bytes(), &Limits::REQUEST).unwrap();
    GetPolicies::parse(envelope.action.as_deref(), &envelope.body).unwrap()
}

fn answer(received: &Received, answer: &GetPoliciesResponse) -> Reply {
    Reply::Soap(200, answer.to_envelope(&ResponseHeader::relating_to(Some(&message_id(received)))))
}

/// A server whose policy was last changed at a time that the test moves.
struct Cep {
    server: Server,
    changed: Arc<Mutex<i64>>,
}

async fn cep(tls: &TestCa) -> Cep {
    let full = policy(&Issuer::new("Issuing CA"), 2, vec![uri("https://ces.test/CES", 1)]);
    let changed = Arc::new(Mutex::new(0));
    let when = Arc::clone(&changed);
    let server = Server::start(tls.server_config(), move |_, received| {
        let last = question(received).client.last_update.unwrap();
        if last.unix() >= *when.lock().unwrap() && last != DateTime::MIN {
            let short =
                GetPoliciesResponse::not_changed(full.response.policy_id.clone(), "Test".to_owned(), 4);
            return answer(received, &short);
        }
        answer(received, &full)
    })
    .await;
    Cep { server, changed }
}

fn names(policy: &Policy) -> Vec<&str> {
    policy.templates().map(|t| t.name()).collect()
}

#[tokio::test]
async fn policy_is_kept_until_its_next_update() {
    let tls = TestCa::new("Test CA");
    let cep = cep(&tls).await;
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::new(directory.path().join("muster"));
    let mut fixture = Fixture::new(&tls, TIMEOUTS);
    let servers = [cep.server.endpoint("/CEP")];
    let start = fixture.clock.0;
    let mut get = async |time: i64, refresh: bool| {
        fixture.clock.0 = time;
        let policy = fetch(fixture.session(), &servers, Some(&cache), refresh).await.unwrap();
        assert_eq!(names(&policy), ["Machine"]);
        (policy.freshness, policy.next_update.unix() - start, cep.server.received().len())
    };

    assert_eq!(get(start, false).await, (Freshness::Fetched, 8 * HOUR, 1));
    assert_eq!(get(start + 8 * HOUR - 1, false).await, (Freshness::Cached, 8 * HOUR, 1));
    // Due: the server has nothing new, and says so for four hours.
    assert_eq!(get(start + 8 * HOUR, false).await, (Freshness::NotChanged, 12 * HOUR, 2));
    assert_eq!(get(start + 11 * HOUR, false).await, (Freshness::Cached, 12 * HOUR, 2));
    assert_eq!(get(start + 11 * HOUR, true).await, (Freshness::Fetched, 19 * HOUR, 3));
    // Something new.
    *cep.changed.lock().unwrap() = start + 12 * HOUR;
    assert_eq!(get(start + 19 * HOUR, false).await, (Freshness::Fetched, 27 * HOUR, 4));

    let last: Vec<_> =
        cep.server.received().iter().map(|r| question(r).client.last_update.unwrap()).collect();
    assert_eq!(last[0], DateTime::MIN);
    assert_eq!(last[1].unix(), start - 300, "five minutes for clocks that differ");
    assert_eq!(last[2], DateTime::MIN);
    assert!(cep.server.received().iter().all(|r| question(r).request_filter.is_none()));
}

#[tokio::test]
async fn stale_policy_serves_while_servers_are_down() {
    let tls = TestCa::new("Test CA");
    let cep = cep(&tls).await;
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::new(directory.path().to_owned());
    let mut fixture = Fixture::new(&tls, TIMEOUTS);
    let servers = [cep.server.endpoint("/CEP")];
    fetch(fixture.session(), &servers, Some(&cache), false).await.unwrap();
    drop(cep);
    fixture.clock.0 += 100 * HOUR;
    let policy = fetch(fixture.session(), &servers, Some(&cache), false).await.unwrap();
    assert_eq!((policy.freshness, names(&policy)), (Freshness::Stale, vec!["Machine"]));
    let error = fetch(fixture.session(), &servers, Some(&cache), true).await.unwrap_err();
    assert!(matches!(error, ServiceError::Unreachable(ref attempts) if attempts.len() == 1), "{error}");
}

#[tokio::test]
async fn policy_of_another_user_is_not_used() {
    let tls = TestCa::new("Test CA");
    let cep = cep(&tls).await;
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::new(directory.path().to_owned());
    let mut fixture = Fixture::new(&tls, TIMEOUTS);
    let servers = [cep.server.endpoint("/CEP")];
    fetch(fixture.session(), &servers, Some(&cache), false).await.unwrap();
    fixture.credentials.username.as_mut().unwrap().username = "bob".to_owned();
    let policy = fetch(fixture.session(), &servers, Some(&cache), false).await.unwrap();
    assert_eq!(policy.freshness, Freshness::Fetched);
}

#[tokio::test]
async fn damaged_cache_counts_as_absent() {
    let tls = TestCa::new("Test CA");
    let cep = cep(&tls).await;
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::new(directory.path().to_owned());
    let fixture = Fixture::new(&tls, TIMEOUTS);
    let servers = [cep.server.endpoint("/CEP")];
    fetch(fixture.session(), &servers, Some(&cache), false).await.unwrap();
    let file = std::fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
    std::fs::write(file, "{").unwrap();
    let policy = fetch(fixture.session(), &servers, Some(&cache), false).await.unwrap();
    assert_eq!(policy.freshness, Freshness::Fetched);
}

#[tokio::test]
async fn next_policy_server_is_asked_when_one_is_ill() {
    let tls = TestCa::new("Test CA");
    let well = cep(&tls).await;
    let other = TestCa::new("Other CA");
    let ill = [
        Server::start(tls.server_config(), |_, _| Reply::Stall).await,
        Server::start(tls.server_config(), |_, _| Reply::Cut).await,
        Server::start(tls.server_config(), |_, _| Reply::Http(503, "text/html", Vec::new())).await,
        Server::start(tls.server_config(), |_, _| Reply::Soap(200, "<nonsense/>".to_owned())).await,
        Server::start(other.server_config(), |_, _| Reply::Stall).await,
    ];
    let mut servers: Vec<Endpoint> = ill.iter().map(|server| server.endpoint("/CEP")).collect();
    servers.push(well.server.endpoint("/CEP"));
    let fixture = Fixture::new(&tls, TIMEOUTS);
    let policy = fetch(fixture.session(), &servers, None, false).await.unwrap();
    assert_eq!(policy.source, well.server.endpoint("/CEP"));

    let error = fetch(fixture.session(), &servers[..5], None, false).await.unwrap_err();
    let ServiceError::Unreachable(attempts) = error else { panic!("{error}") };
    let mut asked: Vec<&str> = attempts.iter().map(|attempt| attempt.endpoint.as_str()).collect();
    let mut expected: Vec<&str> = servers[..5].iter().map(Endpoint::as_str).collect();
    asked.sort_unstable();
    expected.sort_unstable();
    assert_eq!(asked, expected);
}

#[tokio::test]
async fn refusal_of_a_policy_server_ends_the_search() {
    let tls = TestCa::new("Test CA");
    let refusing = |_, received: &Received| {
        let fault =
            Fault { kind: FaultKind::FailedAuthentication, reason: "wrong user name or password".to_owned() };
        Reply::Soap(500, fault.to_envelope(&ResponseHeader::relating_to(Some(&message_id(received)))))
    };
    let servers = [
        Server::start(tls.server_config(), refusing).await,
        Server::start(tls.server_config(), refusing).await,
    ];
    let endpoints: Vec<Endpoint> = servers.iter().map(|server| server.endpoint("/CEP")).collect();
    let fixture = Fixture::new(&tls, TIMEOUTS);
    let error = fetch(fixture.session(), &endpoints, None, false).await.unwrap_err();
    assert!(error.to_string().ends_with("wrong user name or password (authentication failed)"), "{error}");
    // A second attempt with the same password would count against the account.
    assert_eq!(servers[0].received().len() + servers[1].received().len(), 1);
}

#[tokio::test]
async fn answer_to_another_message_is_not_taken() {
    let tls = TestCa::new("Test CA");
    let full = policy(&Issuer::new("Issuing CA"), 2, Vec::new());
    let server = Server::start(tls.server_config(), move |_, _| {
        Reply::Soap(200, full.to_envelope(&ResponseHeader::relating_to(Some("urn:uuid:0"))))
    })
    .await;
    let fixture = Fixture::new(&tls, TIMEOUTS);
    let error = fetch(fixture.session(), &[server.endpoint("/CEP")], None, false).await.unwrap_err();
    let ServiceError::Unreachable(attempts) = error else { panic!("{error}") };
    assert!(attempts[0].to_string().contains("answers another message"), "{}", attempts[0]);
}

#[tokio::test]
async fn kerberos_url_needs_a_credential_that_is_not_there() {
    let tls = TestCa::new("Test CA");
    let fixture = Fixture::new(&tls, TIMEOUTS);
    let url = "https://cep.test/ADPolicyProvider_CEP_Kerberos/service.svc/CEP".parse().unwrap();
    let error = fetch(fixture.session(), &[url], None, false).await.unwrap_err();
    assert!(matches!(error, ServiceError::NoEndpoint), "{error}");
}

#[tokio::test]
async fn template_is_found_by_name_oid_and_display_name() {
    let tls = TestCa::new("Test CA");
    let cep = cep(&tls).await;
    let fixture = Fixture::new(&tls, TIMEOUTS);
    let policy = fetch(fixture.session(), &[cep.server.endpoint("/CEP")], None, false).await.unwrap();
    for wanted in ["machine", crate::service::TEMPLATE_OID, "Computer"] {
        assert_eq!(policy.template(wanted).unwrap().name(), "Machine");
    }
    let error = policy.template("WebServer").unwrap_err();
    assert!(matches!(error, TemplateError::NotFound { .. }));
    assert_eq!(error.hint(), "there are: Machine");
    let template = policy.template("Machine").unwrap();
    let candidates: Vec<_> = template.candidates().map(|(candidate, _)| candidate).collect();
    let usable = |a| a == ClientAuthentication::USERNAME_PASSWORD;
    assert_eq!(order(candidates, usable, false, &SystemRandom::new()).len(), 1);
}
