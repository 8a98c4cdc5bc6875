//! The real executable under load, ended without warning again and again: nothing that a client received is lost,
//! and nothing that was begun is forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use muster_core::{Clock, Method, RequestId};
use muster_proto::soap::Envelope;
use muster_proto::soap::xml::Limits;
use muster_proto::wstep::RequestSecurityTokenResponse;
use muster_server::config::{Endpoint, Service};
use muster_server::{Settings, SystemClock};
use muster_store::{AuditFilter, Disposition, Options, RequestFilter, Store};
use muster_testkit::https::post;
use muster_testkit::requests::Messages;
use muster_testkit::server::{self, PASSWORD, path};
use muster_testkit::{Executable, Https, Key, SignIn};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// An installation for the executable.
pub(crate) struct Site {
    /// Its folder.
    pub(crate) folder: PathBuf,
    /// Removes it at the end.
    temporary: Option<TempDir>,
    pub(crate) config: PathBuf,
    pub(crate) settings: Settings,
    pub(crate) https: Https,
}

impl Site {
    pub(crate) async fn new(change: impl FnOnce(String) -> String) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let mut site = Self::new_in(temporary.path().join("data"), change).await;
        site.temporary = Some(temporary);
        site
    }

    pub(crate) async fn new_in(folder: PathBuf, change: impl FnOnce(String) -> String) -> Self {
        let config = server::install(folder.clone(), &SystemClock).await;
        let text = change(std::fs::read_to_string(&config).unwrap());
        std::fs::write(&config, text).unwrap();
        let settings = Settings::load(&config).unwrap();
        let ca =
            CertificateDer::from_pem_file(settings.embedded().unwrap().directory.join("ca.pem")).unwrap();
        let site = Self { folder, temporary: None, config, settings, https: Https::new(&ca) };
        server::populate(&site.store(), &SystemClock).await;
        site
    }

    pub(crate) fn store(&self) -> Store {
        let path = muster_server::service::store_path(&self.settings);
        Store::open(&path, &Options { create: false, ..Options::default() }, SystemClock.now()).unwrap()
    }

    pub(crate) fn endpoint(&self, service: Service) -> &Endpoint {
        let fits = |e: &&Arc<Endpoint>| e.service == service && e.method == Method::UsernamePassword;
        self.settings.endpoints().find(fits).unwrap()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.settings.listeners["password"].address
    }

    pub(crate) fn serve(&self) -> Executable {
        Executable::serve(&self.config, self.address())
    }

    /// What `/ca.crl` of the running server says.
    pub(crate) async fn crl(&self) -> Vec<u8> {
        let mut socket =
            tokio::net::TcpStream::connect(self.settings.embedded().unwrap().publication.address)
                .await
                .unwrap();
        socket.write_all(b"GET /ca.crl HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await.unwrap();
        let at = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        answer.split_off(at + 4)
    }
}

/// Certificates that a client holds, by request.
type Received = BTreeMap<String, Vec<u8>>;

/// Enrolls as fast as it goes until told to stop or until the server is gone.
async fn enroll(site: Arc<Site>, account: &'static str, stop: Arc<AtomicBool>) -> Received {
    let mut received = Received::new();
    let endpoint = site.endpoint(Service::Enrollment);
    let mut connection = site.https.connect(site.address(), None).await;
    while !stop.load(Ordering::Relaxed) {
        let messages = Messages::new(&endpoint.uri, SignIn::Password(account, PASSWORD), SystemClock.now());
        let message = messages.issue(&Key::generate().request("User"));
        connection.send(&post(&path(endpoint), "", message.as_bytes())).await;
        let Some(answer) = connection.answer().await else { break };
        let envelope = Envelope::parse(&answer.body, &Limits::RESPONSE).unwrap();
        if let Ok(RequestSecurityTokenResponse::Issued(issued)) =
            RequestSecurityTokenResponse::parse(&envelope.body)
        {
            received.insert(issued.request_id.unwrap().to_string(), issued.certificate);
        }
    }
    received
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_ten_times_under_load() {
    let site = Arc::new(Site::new(|config| config).await);
    let mut received = Received::new();
    for cycle in 0..10u64 {
        let mut server = site.serve();
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..6)
            .map(|i| {
                let account = if i % 2 == 0 { "alice" } else { "bob" };
                tokio::spawn(enroll(Arc::clone(&site), account, Arc::clone(&stop)))
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(300 + 61 * cycle)).await;
        server.kill();
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            for (id, certificate) in client.await.unwrap() {
                assert!(received.insert(id, certificate).is_none(), "a number was given twice");
            }
        }
    }
    assert!(received.len() > 50, "{} certificates are no load", received.len());
    let mut server = site.serve();
    check(&site, &received).await;
    server.kill();
}

/// The invariants I1 to I7, except that of every signature, which cannot be seen from outside.
async fn check(site: &Site, received: &Received) {
    let store = site.store();
    let filter = RequestFilter { limit: u32::MAX, ..RequestFilter::default() };
    let rows = store.requests(filter).await.unwrap();
    let mut serials = BTreeSet::new();
    let mut issued = 0;
    for row in &rows {
        let request = store.request(row.id).await.unwrap().unwrap();
        match row.disposition {
            Disposition::Issued => {
                let (serial, certificate) = request.certificate.unwrap();
                assert!(serials.insert(serial), "serial number {serial} twice");
                assert_eq!(store.certificate(serial).await.unwrap().unwrap().der, certificate);
                issued += 1;
            }
            Disposition::Failed => assert!(request.certificate.is_none()),
            Disposition::Pending
            | Disposition::Approved
            | Disposition::Signing
            | Disposition::Denied
            | Disposition::Submitting
            | Disposition::UnderSubmission
            | Disposition::Unknown => {
                unreachable!("request {} is {}", row.id, row.disposition)
            }
        }
    }
    assert!(issued >= received.len());
    // What a client received is there, bit by bit, and its owner gets it again.
    for (id, certificate) in received {
        let number: RequestId = id.parse().unwrap();
        let row = store.request(number).await.unwrap().unwrap();
        assert_eq!(row.certificate.map(|(_, der)| der).as_ref(), Some(certificate), "request {id}");
    }
    let endpoint = site.endpoint(Service::Enrollment);
    let mut connection = site.https.connect(site.address(), None).await;
    for (id, certificate) in received.iter().step_by(7) {
        let owner = store.request(id.parse().unwrap()).await.unwrap().unwrap().summary.requester;
        let messages =
            Messages::new(&endpoint.uri, SignIn::Password(owner.as_str(), PASSWORD), SystemClock.now());
        let answer = connection.post(&path(endpoint), &messages.query(id)).await;
        assert_eq!(answer.issued(), (id.clone(), certificate.clone()));
    }
    // Who waited for what was given up is told to begin anew.
    for row in rows.iter().filter(|row| row.disposition == Disposition::Failed) {
        let sign_in = SignIn::Password(row.requester.as_str(), PASSWORD);
        let messages = Messages::new(&endpoint.uri, sign_in, SystemClock.now());
        let answer = connection.post(&path(endpoint), &messages.query(&row.id.to_string())).await;
        let reason = answer.fault().reason;
        assert!(
            reason.starts_with(&format!("Request {} failed on the server; enroll again.", row.id)),
            "{reason}"
        );
        assert_eq!(answer.detail().error_code.unwrap().code(), 0x8009_4003);
    }
    // What was given up is revoked: each such serial number is on the list, and none of another.
    let filter = AuditFilter { limit: u32::MAX, ..AuditFilter::default() };
    let audit = store.audit_list(filter).await.unwrap();
    let crl = site.crl().await;
    let abandoned: Vec<_> = audit.iter().filter(|r| r.action == "abandon_intent").collect();
    for record in &abandoned {
        let serial = record.serial.unwrap();
        assert!(!serials.contains(&serial), "{serial} was given up and issued");
        assert!(crl.windows(20).any(|w| w == serial.as_bytes()), "{serial} is not on the revocation list");
    }
    let failed = rows.iter().filter(|row| row.disposition == Disposition::Failed).count();
    assert_eq!(abandoned.len(), failed, "each request that failed left one serial number");
    let report = store.audit_verify().await.unwrap();
    assert!(report.faults.is_empty(), "{:?}", report.faults);
}

/// An orderly end lets what has begun finish.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_in_progress_outlives_the_signal_to_stop() {
    let site = Site::new(|config| config).await;
    let mut server = site.serve();
    let endpoint = site.endpoint(Service::Enrollment);
    let messages = Messages::new(&endpoint.uri, SignIn::Password("alice", PASSWORD), SystemClock.now());
    let message = messages.issue(&Key::generate().request("User"));
    let request = post(&path(endpoint), "", message.as_bytes());
    let mut connection = site.https.connect(site.address(), None).await;
    let mut idle = site.https.connect(site.address(), None).await;
    let (first, rest) = request.split_at(request.len() - 100);
    connection.send(first).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let kill = std::process::Command::new("kill").arg(server.id().to_string()).status().unwrap();
    assert!(kill.success());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(std::net::TcpStream::connect(site.address()).is_err(), "nobody new is let in");
    assert!(idle.is_closed().await, "who asks for nothing is sent away");
    connection.send(rest).await;
    let (id, _) = connection.answer().await.expect("an answer").issued();
    assert_eq!(server.wait(), Some(0));
    let row = site.store().request(id.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(row.summary.disposition, Disposition::Issued);
}

/// Callers who hang up leave no heap of password hashes behind; each takes 19 MiB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_ins_that_hang_up_are_bounded_in_memory() {
    let site = Site::new(|config| config).await;
    let server = site.serve();
    let endpoint = site.endpoint(Service::Policy);
    for i in 0..200 {
        let user = format!("user{i}");
        let messages = Messages::new(&endpoint.uri, SignIn::Password(&user, "wrong"), SystemClock.now());
        let mut connection = site.https.connect(site.address(), None).await;
        connection.send(&post(&path(endpoint), "", messages.get_policies().as_bytes())).await;
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = peak.split_whitespace().next().unwrap().parse().unwrap();
    assert!(kib < 256 * 1024, "{kib} KiB at the peak");
}
