//! From the request to the certificate, with services that are well, ill, slow, or lie.

use std::sync::Arc;
use std::time::Duration;

use muster_client::Endpoint;
use muster_client::answer::{AnswerError, IssuedCertificate};
use muster_client::certificate::{Certificate, CertificateError};
use muster_client::enrollment::{Enrollment, EnrollmentError, OutputFiles, Patience, Progress, Status};
use muster_client::failover::{Candidate, OnUnknown};
use muster_client::files::Existing;
use muster_client::key::{KeyType, PrivateKey};
use muster_client::request::{Form, Old, RequestedNames, build};
use muster_client::session::ServiceError;
use muster_client::transport::Timeouts;
use muster_proto::soap::{Fault, FaultKind};
use muster_proto::wcce::{RequestForm, RequestedName, TemplateId, TemplateSelector};
use muster_proto::wstep::{Operation, RequestSecurityTokenResponse};
use muster_proto::xcep::ClientAuthentication;
use tempfile::TempDir;

use crate::server::{Reply, Server, TestCa};
use crate::service::{Asked, Fixture, Issuer, TEMPLATE_OID, denied, pending};

const TIMEOUTS: Timeouts = Timeouts { connect: Duration::from_secs(5), request: Duration::from_millis(400) };

fn selector() -> TemplateSelector {
    TemplateSelector::Id(TemplateId { oid: TEMPLATE_OID.parse().unwrap(), major: Some(100), minor: Some(1) })
}

/// An enrollment of a fresh key at these endpoints, its files in a directory of its own.
struct Case {
    fixture: Fixture,
    enrollment: Enrollment,
    key: PrivateKey,
    directory: TempDir,
}

impl Case {
    fn new(tls: &TestCa, ca: &Issuer, endpoints: &[Endpoint]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let fixture = Fixture::new(tls, TIMEOUTS);
        let key = PrivateKey::generate(KeyType::P256).unwrap();
        let path = |name: &str| directory.path().join(name);
        key.write(&path("key.pem.new"), Existing::Keep, &fixture.random).unwrap();
        let names = RequestedNames::new(Some("CN=host.test"), &["host.test".to_owned()], &[], &[]).unwrap();
        let token = build(Form::Cmc, &key, &selector(), &names, None).unwrap();
        let targets: Vec<_> = endpoints
            .iter()
            .map(|endpoint| {
                let candidate = Candidate {
                    endpoint: endpoint.clone(),
                    authentication: ClientAuthentication::USERNAME_PASSWORD,
                    priority: None,
                    renewal_only: false,
                };
                (candidate, ca.certificate())
            })
            .collect();
        let files = OutputFiles {
            key: path("key.pem"),
            new_key: Some(path("key.pem.new")),
            certificate: path("cert.pem"),
            chain: Some(path("chain.pem")),
            full_chain: Some(path("fullchain.pem")),
        };
        let now = muster_client::Clock::now(&fixture.clock);
        let enrollment =
            Enrollment::new(&token, key.public(), "Machine", &targets, files, now, &fixture.random);
        Self { fixture, enrollment, key, directory }
    }

    async fn submit(&mut self) -> Result<Progress, EnrollmentError> {
        self.enrollment.submit(self.fixture.session(), OnUnknown::Stop).await
    }

    async fn go_on(&mut self) -> Result<Progress, EnrollmentError> {
        self.enrollment.submit(self.fixture.session(), OnUnknown::GoOn).await
    }

    /// Saves and reads again, as after a restart.
    fn restart(&mut self) {
        let file = self.directory.path().join("state.json");
        self.enrollment.save(&file, &self.fixture.random).unwrap();
        assert!(!std::fs::read_to_string(&file).unwrap().contains("secret"));
        let read = Enrollment::load(&file).unwrap();
        assert_eq!(read, self.enrollment);
        self.enrollment = read;
    }
}

fn issued(progress: Progress) -> IssuedCertificate {
    match progress {
        Progress::Issued(issued) => *issued,
        Progress::Pending => panic!("pending"),
    }
}

async fn well(tls: &TestCa, ca: &Arc<Issuer>) -> Server {
    let ca = Arc::clone(ca);
    Server::start(tls.server_config(), move |_, received| {
        let asked = Asked::read(received);
        let certificate = ca.issue(asked.request().public_key.spki_der(), "host.test");
        asked.answer(&ca.issued(certificate))
    })
    .await
}

/// Enrolls at one server that answers like this.
async fn answered(
    ca: &Arc<Issuer>,
    answer: impl Fn(&Asked) -> RequestSecurityTokenResponse + Send + Sync + 'static,
) -> Result<Progress, EnrollmentError> {
    let tls = TestCa::new("Test CA");
    let server = Server::start(tls.server_config(), move |_, received| {
        let asked = Asked::read(received);
        asked.answer(&answer(&asked))
    })
    .await;
    Case::new(&tls, ca, &[server.endpoint("/CES")]).submit().await
}

#[tokio::test]
async fn certificate_is_issued_and_installed() {
    let (tls, ca) = (TestCa::new("Test CA"), Issuer::new("Issuing CA"));
    let server = well(&tls, &ca).await;
    let mut case = Case::new(&tls, &ca, &[server.endpoint("/My%20CA_CES/service.svc/CES")]);
    let issued = issued(case.submit().await.unwrap());
    assert!(issued.certificate.has_key(case.key.public()));
    assert_eq!((issued.request_id.as_deref(), issued.message.as_str()), (Some("7"), "Issued"));
    assert_eq!(issued.chain.len(), 1);
    assert_eq!(issued.chain[0].der(), ca.certificate());

    case.enrollment.files.install(&issued, &case.fixture.random).unwrap();
    let read = |name: &str| std::fs::read_to_string(case.directory.path().join(name)).unwrap();
    assert_eq!(read("cert.pem"), issued.certificate.pem());
    assert_eq!(read("fullchain.pem"), read("cert.pem") + &read("chain.pem"));
    assert!(case.enrollment.files.holds(case.key.public()));
    assert!(!case.directory.path().join("key.pem.new").exists());

    let asked = Asked::read(&server.received()[0]);
    assert_eq!(asked.to, server.endpoint("/My%20CA_CES/service.svc/CES").as_str());
    assert_eq!(asked.user.as_deref(), Some("alice:secret"));
    let request = asked.request();
    assert!(matches!(request.form, RequestForm::Cmc { ref signers } if signers.is_empty()));
    assert_eq!(request.names, [RequestedName::Dns("host.test".to_owned())]);
    assert_eq!(request.template.id.unwrap().oid.to_string(), TEMPLATE_OID);
}

#[tokio::test]
async fn endpoints_that_cannot_have_acted_are_passed_over() {
    let (tls, other, ca) = (TestCa::new("Test CA"), TestCa::new("Other CA"), Issuer::new("Issuing CA"));
    let down = "https://127.0.0.1:1/CES".parse().unwrap();
    let untrusted = Server::start(other.server_config(), |_, _| Reply::Stall).await;
    let away = Server::start(tls.server_config(), |_, _| Reply::Http(503, "text/html", Vec::new())).await;
    let (first, second) = (well(&tls, &ca).await, well(&tls, &ca).await);
    let path = "/CES";
    let endpoints =
        [down, untrusted.endpoint(path), away.endpoint(path), first.endpoint(path), second.endpoint(path)];
    let mut case = Case::new(&tls, &ca, &endpoints);
    issued(case.submit().await.unwrap());
    assert_eq!((away.received().len(), first.received().len(), second.received().len()), (1, 1, 0));
    assert_eq!(case.enrollment.target().unwrap().url, first.endpoint(path).as_str());
}

#[tokio::test]
async fn all_endpoints_down_is_final_and_says_why() {
    let (tls, ca) = (TestCa::new("Test CA"), Issuer::new("Issuing CA"));
    let down: Vec<Endpoint> =
        ["https://127.0.0.1:1/a", "https://127.0.0.1:1/b"].map(|url| url.parse().unwrap()).into();
    let mut case = Case::new(&tls, &ca, &down);
    let error = case.submit().await.unwrap_err();
    assert!(error.is_final());
    let EnrollmentError::Service(ServiceError::Unreachable(attempts)) = error else { panic!("{error}") };
    assert_eq!(attempts.len(), 2);
    assert!(attempts[0].to_string().contains("no connection to 127.0.0.1:1"), "{}", attempts[0]);
}

/// The rule that matters most: nobody else is asked while a request may be alive, and what is asked again is the
/// very same message.
#[tokio::test]
async fn unknown_outcome_stops_and_resumes_with_the_same_message() {
    let (tls, ca) = (TestCa::new("Test CA"), Issuer::new("Issuing CA"));
    let authority = Arc::clone(&ca);
    let ill = Server::start(tls.server_config(), move |number, received| {
        let asked = Asked::read(received);
        match number {
            0 => Reply::Stall,
            1 => Reply::Cut,
            2 => Reply::Http(502, "text/html", Vec::new()),
            3 => Reply::Soap(200, "<nonsense/>".to_owned()),
            _ => {
                let certificate = authority.issue(asked.request().public_key.spki_der(), "host.test");
                asked.answer(&authority.issued(certificate))
            }
        }
    })
    .await;
    let other = well(&tls, &ca).await;
    let mut case = Case::new(&tls, &ca, &[ill.endpoint("/CES"), other.endpoint("/CES")]);
    for _ in 0..4 {
        let error = case.submit().await.unwrap_err();
        assert!(matches!(error, EnrollmentError::Service(ServiceError::OutcomeUnknown(_))), "{error}");
        assert!(!error.is_final());
        assert_eq!(case.enrollment.status, Status::Unknown);
        case.restart();
    }
    issued(case.submit().await.unwrap());
    assert_eq!((ill.received().len(), other.received().len()), (5, 0));
    let asked: Vec<Asked> = ill.received().iter().map(Asked::read).collect();
    assert!(asked.iter().all(|a| a.message_id == asked[0].message_id && a.operation == asked[0].operation));
}

#[tokio::test]
async fn unknown_outcome_goes_on_only_when_told_to() {
    let (tls, ca) = (TestCa::new("Test CA"), Issuer::new("Issuing CA"));
    let ill = Server::start(tls.server_config(), |_, _| Reply::Stall).await;
    let other = well(&tls, &ca).await;
    let mut case = Case::new(&tls, &ca, &[ill.endpoint("/CES"), other.endpoint("/CES")]);
    case.submit().await.unwrap_err();
    let issued = issued(case.go_on().await.unwrap());
    assert!(issued.certificate.has_key(case.key.public()));
    let (first, second) = (Asked::read(&ill.received()[0]), Asked::read(&other.received()[0]));
    assert_eq!(first.message_id, second.message_id);
    assert_eq!(first.operation, second.operation);
    assert_eq!(second.to, other.endpoint("/CES").as_str());
}

#[tokio::test]
async fn unknown_stays_unknown_when_the_server_is_gone() {
    let (tls, ca) = (TestCa::new("Test CA"), Issuer::new("Issuing CA"));
    let ill = Server::start(tls.server_config(), |_, _| Reply::Cut).await;
    let mut case = Case::new(&tls, &ca, &[ill.endpoint("/CES")]);
    case.submit().await.unwrap_err();
    drop(ill);
    let error = case.submit().await.unwrap_err();
    assert!(matches!(error, EnrollmentError::Service(ServiceError::OutcomeUnknown(_))), "{error}");
}

#[tokio::test]
async fn refusal_is_shown_whole_and_ends_it() {
    let (tls, ca) = (TestCa::new("Test CA"), Issuer::new("Issuing CA"));
    let refusing =
        Server::start(tls.server_config(), |_, received| Asked::read(received).refuse(&denied())).await;
    let other = well(&tls, &ca).await;
    let mut case = Case::new(&tls, &ca, &[refusing.endpoint("/CES"), other.endpoint("/CES")]);
    let error = case.submit().await.unwrap_err();
    assert!(error.is_final());
    assert!(
        error.to_string().ends_with(
            "the service refused: Denied by Policy Module (0x80094012 CERTSRV_E_TEMPLATE_DENIED, request 8)"
        ),
        "{error}"
    );
    assert!(other.received().is_empty());
}

#[tokio::test]
async fn internal_error_of_the_service_keeps_the_state() {
    let (tls, ca) = (TestCa::new("Test CA"), Issuer::new("Issuing CA"));
    let failing = Server::start(tls.server_config(), |_, received| {
        let fault = Fault { kind: FaultKind::InternalServiceFault, reason: String::new() };
        Asked::read(received).refuse(&fault)
    })
    .await;
    let error = Case::new(&tls, &ca, &[failing.endpoint("/CES")]).submit().await.unwrap_err();
    assert!(!error.is_final());
    assert!(error.to_string().ends_with("internal error of the service"), "{error}");
}

#[tokio::test]
async fn pending_request_is_asked_for_at_the_reference() {
    let (tls, ca) = (TestCa::new("Test CA"), Issuer::new("Issuing CA"));
    let authority = Arc::clone(&ca);
    let front = Server::start(tls.server_config(), |_, received| {
        let asked = Asked::read(received);
        asked.answer(&pending(&asked.to.replace("/CES", "/Status")))
    })
    .await;
    let mut case = Case::new(&tls, &ca, &[front.endpoint("/CES")]);
    assert_eq!(case.submit().await.unwrap(), Progress::Pending);
    assert_eq!((case.enrollment.status, case.enrollment.request_id.as_deref()), (Status::Pending, Some("7")));
    assert_eq!(case.enrollment.reference.as_deref(), Some(front.endpoint("/Status").as_str()));
    case.restart();

    let spki = case.key.public().spki_der().to_vec();
    let back = Server::start(tls.server_config(), move |number, received| {
        let asked = Asked::read(received);
        assert!(matches!(&asked.operation, Operation::QueryTokenStatus { request_id } if request_id.as_str() == "7"));
        match number {
            0 | 2 => asked.answer(&pending("")),
            1 => Reply::Cut,
            _ => asked.answer(&authority.issued(authority.issue(&spki, "host.test"))),
        }
    })
    .await;
    case.enrollment.reference = Some(back.endpoint("/Status").as_str().to_owned());
    drop(front);
    let patience = Patience {
        total: Duration::from_secs(20),
        first: Duration::from_millis(10),
        longest: Duration::from_millis(20),
    };
    let issued = issued(case.enrollment.wait(case.fixture.session(), patience).await.unwrap());
    assert!(issued.certificate.has_key(case.key.public()));
    assert_eq!(back.received().len(), 4);
    assert_eq!(Asked::read(&back.received()[0]).to, back.endpoint("/Status").as_str());
}

#[tokio::test]
async fn waiting_ends_when_the_time_is_over() {
    let (tls, ca) = (TestCa::new("Test CA"), Issuer::new("Issuing CA"));
    let server = Server::start(tls.server_config(), |_, r| Asked::read(r).answer(&pending(""))).await;
    let mut case = Case::new(&tls, &ca, &[server.endpoint("/CES")]);
    case.submit().await.unwrap();
    let patience = Patience {
        total: Duration::from_millis(60),
        first: Duration::from_millis(20),
        longest: Duration::from_millis(20),
    };
    assert_eq!(case.enrollment.wait(case.fixture.session(), patience).await.unwrap(), Progress::Pending);
    assert!(server.received().len() >= 2);
}

#[tokio::test]
async fn certificate_for_another_key_is_not_taken() {
    let ca = Issuer::new("Issuing CA");
    let authority = Arc::clone(&ca);
    let other = PrivateKey::generate(KeyType::P256).unwrap();
    let result =
        answered(&ca, move |_| authority.issued(authority.issue(other.public().spki_der(), "host.test")))
            .await;
    assert!(matches!(result, Err(EnrollmentError::Answer(AnswerError::OtherKey))), "{result:?}");
}

/// The service hands out certificates of a CA that calls itself like the one of the policy.
#[tokio::test]
async fn certificate_of_an_impostor_is_not_taken() {
    let (ca, impostor) = (Issuer::new("Issuing CA"), Issuer::new("Issuing CA"));
    let result = answered(&ca, move |asked| {
        impostor.issued(impostor.issue(asked.request().public_key.spki_der(), "host.test"))
    })
    .await;
    assert!(matches!(result, Err(EnrollmentError::Answer(AnswerError::Response(_)))), "{result:?}");
}

#[tokio::test]
async fn answer_without_cmc_response_is_judged_by_the_certificate() {
    for honest in [true, false] {
        let (ca, impostor) = (Issuer::new("Issuing CA"), Issuer::new("Issuing CA"));
        let authority = if honest { Arc::clone(&ca) } else { impostor };
        let result = answered(&ca, move |asked| {
            let certificate = authority.issue(asked.request().public_key.spki_der(), "host.test");
            match authority.issued(certificate) {
                RequestSecurityTokenResponse::Issued(mut issued) => {
                    issued.full_response = Vec::new();
                    RequestSecurityTokenResponse::Issued(issued)
                }
                other => other,
            }
        })
        .await;
        match result {
            Ok(Progress::Issued(_)) => assert!(honest),
            Err(EnrollmentError::Answer(AnswerError::Certificate(CertificateError::Signature(_)))) => {
                assert!(!honest);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn two_different_certificates_are_not_taken() {
    let ca = Issuer::new("Issuing CA");
    let authority = Arc::clone(&ca);
    let result = answered(&ca, move |asked| {
        let spki = asked.request().public_key.spki_der().to_vec();
        match authority.issued(authority.issue(&spki, "host.test")) {
            RequestSecurityTokenResponse::Issued(mut issued) => {
                issued.certificate = authority.issue(&spki, "other.test");
                RequestSecurityTokenResponse::Issued(issued)
            }
            other => other,
        }
    })
    .await;
    assert!(matches!(result, Err(EnrollmentError::Answer(AnswerError::TwoCertificates))), "{result:?}");
}

/// What is not believed is not lost: the CA's number is kept, and its status can be asked for with a new policy.
#[tokio::test]
async fn answer_that_is_not_believed_keeps_the_state() {
    let (tls, ca, impostor) = (TestCa::new("Test CA"), Issuer::new("Issuing CA"), Issuer::new("Issuing CA"));
    let server = well(&tls, &impostor).await;
    let mut case = Case::new(&tls, &ca, &[server.endpoint("/CES")]);
    let error = case.submit().await.unwrap_err();
    assert!(!error.is_final());
    assert_eq!((case.enrollment.status, case.enrollment.request_id.as_deref()), (Status::Pending, Some("7")));
}

#[test]
fn renewal_is_signed_with_old_and_new_key() {
    let ca = Issuer::new("Issuing CA");
    let (old_key, new_key) =
        (PrivateKey::generate(KeyType::P384).unwrap(), PrivateKey::generate(KeyType::Ed25519).unwrap());
    let old = Certificate::from_der(&ca.issue(old_key.public().spki_der(), "host.test")).unwrap();
    let names = RequestedNames::of(&old).unwrap();
    for form in [Form::Pkcs10, Form::Cmc] {
        let old = Old { certificate: &old, key: &old_key };
        let token = build(form, &new_key, &selector(), &names, Some(old)).unwrap();
        let request = muster_proto::wcce::CertificateRequest::parse(&token.bytes).unwrap();
        assert_eq!(request.form.renewed().unwrap().certificate_der, old.certificate.der());
        assert_eq!(matches!(request.form, RequestForm::CmcRenewal { .. }), form == Form::Cmc);
        assert_eq!(request.public_key, *new_key.public());
        assert_eq!(request.subject.name.to_string(), "CN=host.test");
        assert_eq!(request.names, [RequestedName::Dns("host.test".to_owned())]);
    }
}

#[test]
fn damaged_state_file_is_refused() {
    let (tls, ca) = (TestCa::new("Test CA"), Issuer::new("Issuing CA"));
    let case = Case::new(&tls, &ca, &["https://ces.test/CES".parse().unwrap()]);
    let file = case.directory.path().join("state.json");
    case.enrollment.save(&file, &case.fixture.random).unwrap();
    let good = std::fs::read_to_string(&file).unwrap();
    for (from, to) in [
        ("\"version\": 1", "\"version\": 2"),
        ("\"status\": \"prepared\"", "\"status\": \"done\""),
        ("\"token\": \"", "\"token\": \"!"),
        ("\"public_key\": \"", "\"public_key\": \"AAAA"),
        ("https://ces.test", "http://ces.test"),
        ("\"started\"", "\"stopped\""),
    ] {
        let bad = good.replace(from, to);
        assert_ne!(bad, good);
        std::fs::write(&file, bad).unwrap();
        let error = Enrollment::load(&file).unwrap_err();
        assert!(matches!(error, EnrollmentError::State { .. }), "{from}: {error}");
    }
}

/// What OpenSSL makes of such files is a test of the executable.
#[test]
fn password_outside_of_the_format_is_refused() {
    let ca = Issuer::new("Issuing CA");
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    let certificate = Certificate::from_der(&ca.issue(key.public().spki_der(), "host.test")).unwrap();
    let result =
        muster_client::pkcs12::encode(&key, &certificate, &[], "🔑", &muster_client::SystemRandom::new());
    assert_eq!(result, Err(muster_client::pkcs12::Pkcs12Error::Password));
}
