//! The executable among other processes: a command that revokes while renewals are under way, and a manager that waits
//! to be told that the service serves.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use muster_core::audit::Action;
use muster_core::{Clock, Method};
use muster_server::SystemClock;
use muster_server::config::{Endpoint, Service};
use muster_store::{AuditFilter, CertificateFilter};
use muster_testkit::executable::run;
use muster_testkit::requests::Messages;
use muster_testkit::server::{PASSWORD, path};
use muster_testkit::{Answer, Executable, Identity, Key, SignIn, peers};

use crate::kill::Site;

fn endpoint(site: &Site, method: Method) -> &Endpoint {
    let fits = |e: &&Arc<Endpoint>| e.service == Service::Enrollment && e.method == method;
    site.settings.endpoints().find(fits).unwrap()
}

async fn post(site: &Site, method: Method, identity: Option<&Identity>, request: &[u8]) -> Answer {
    let endpoint = endpoint(site, method);
    let sign_in = match identity {
        Some(_) => SignIn::None,
        None => SignIn::Password("alice", PASSWORD),
    };
    let message = Messages::new(&endpoint.uri, sign_in, SystemClock.now()).issue(request);
    let address = site.settings.listeners[&endpoint.listener].address;
    site.https.connect(address, identity).await.post(&path(endpoint), &message).await
}

/// Renews one certificate with one new key, again and again, until told to stop: how many came of it, and how many were refused.
async fn renew(site: Arc<Site>, old: Identity, new: Arc<Key>, stop: Arc<AtomicBool>) -> (u32, u32) {
    let (mut issued, mut refused) = (0, 0);
    while !stop.load(Ordering::SeqCst) {
        let request = new.renewal("User", &old.certificate, &old.key);
        let answer = post(&site, Method::ClientCertificate, Some(&old), &request).await;
        if answer.status == 200 {
            issued += 1;
        } else {
            assert!(answer.text().contains("has been revoked"), "{}", answer.text());
            refused += 1;
        }
    }
    (issued, refused)
}

/// After `muster cert revoke` has returned, nothing is signed on the strength of that certificate any more, although
/// renewals with it were under way in another process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocation_ends_renewals_of_another_process() {
    const ROUNDS: usize = 5;
    let site = Arc::new(Site::new(|config| config).await);
    let _server = site.serve();
    let (mut issued, mut refused) = (0, 0);
    for round in 0..ROUNDS {
        let key = Arc::new(Key::generate());
        let (id, certificate) =
            post(&site, Method::UsernamePassword, None, &key.request("User")).await.issued();
        let old = Identity { certificate, key };
        let (new, stop) = (Arc::new(Key::generate()), Arc::new(AtomicBool::new(false)));
        let renewing: Vec<_> = (0..3)
            .map(|_| tokio::spawn(renew(site.clone(), old.clone(), new.clone(), stop.clone())))
            .collect();
        tokio::time::sleep(Duration::from_millis(100 + 70 * u64::try_from(round).unwrap())).await;
        let (config, which) = (site.config.clone(), id.clone());
        let revoke = move || {
            run(&[
                "cert".as_ref(),
                "--config".as_ref(),
                config.as_os_str(),
                "revoke".as_ref(),
                which.as_ref(),
            ])
        };
        let output = tokio::task::spawn_blocking(revoke).await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // Begun after the command returned: refused.
        let late = Key::generate().renewal("User", &old.certificate, &old.key);
        let late = post(&site, Method::ClientCertificate, Some(&old), &late).await;
        assert_eq!(late.status, 500, "{}", late.text());
        assert!(late.text().contains("has been revoked"), "{}", late.text());
        stop.store(true, Ordering::SeqCst);
        for task in renewing {
            let (more, less) = task.await.unwrap();
            issued += more;
            refused += less;
        }
        // Begun before: in the order of the audit log, which is that of the commits, no intent follows the revocation.
        let store = site.store();
        let row = store.request(id.parse().unwrap()).await.unwrap().unwrap();
        let (serial, _) = row.certificate.unwrap();
        let filter = |action| AuditFilter { action: Some(action), limit: 5_000, ..AuditFilter::default() };
        let revocations = store.audit_list(filter(Action::Revoke)).await.unwrap();
        let revoked = revocations.iter().find(|r| r.serial == Some(serial)).unwrap().sequence;
        let intents = store.audit_list(filter(Action::RecordIntent)).await.unwrap();
        assert!(intents.iter().all(|intent| intent.sequence < revoked), "an intent after the revocation");
    }
    assert!(issued > 0 && refused > 0, "the race took place: {issued} issued, {refused} refused");
}

/// Enrolls for a key if there is one, signed in with `first`, then renews onward, each certificate with the one before,
/// until something is refused: what was had.
async fn onward(site: Arc<Site>, first: Identity, key: Option<Arc<Key>>) -> Vec<Vec<u8>> {
    let (mut current, mut key, mut had) = (first, key, Vec::new());
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < Duration::from_secs(60), "nothing was ever refused");
        let (new, request) = match key.take() {
            Some(key) => (Arc::clone(&key), key.request("User")),
            None => {
                let key = Arc::new(Key::generate());
                let request = key.renewal("User", &current.certificate, &current.key);
                (key, request)
            }
        };
        let answer = post(&site, Method::ClientCertificate, Some(&current), &request).await;
        if answer.status == 503 {
            // Given up between intent and certificate: the client is to ask again, and is refused then.
            continue;
        }
        if answer.status != 200 {
            assert!(answer.text().contains("revoked"), "{}", answer.text());
            return had;
        }
        current = Identity { certificate: answer.issued().1, key: new };
        had.push(current.certificate.clone());
    }
}

/// T26, AC-6.3: `muster cert revoke --line` in its own process, while the line grows in three places by renewals over
/// HTTPS in the running service: afterwards no certificate of it lives, and all are on the revocation list.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t26_line_revoked_by_another_process_leaves_no_living_certificate() {
    const ROUNDS: u64 = 8;
    let site = Arc::new(Site::new(|config| config).await);
    let _server = site.serve();
    let mut renewals = 0;
    for round in 0..ROUNDS {
        let key = Arc::new(Key::generate());
        let (id, certificate) =
            post(&site, Method::UsernamePassword, None, &key.request("User")).await.issued();
        let old = Identity { certificate, key };
        // Renewed, and twice enrolled for with it, which is of its line as well.
        let keys = [None, Some(Arc::new(Key::generate())), Some(Arc::new(Key::generate()))];
        let growing = keys.map(|key| tokio::spawn(onward(Arc::clone(&site), old.clone(), key)));
        tokio::time::sleep(Duration::from_millis(50 + 60 * round)).await;
        let (config, which) = (site.config.clone(), id.clone());
        let revoke = move || {
            let arguments = ["revoke", "--line", &which, "--reason", "keyCompromise"].map(OsStr::new);
            run(&[&["cert".as_ref(), "--config".as_ref(), config.as_os_str()], &arguments[..]].concat())
        };
        let output = tokio::task::spawn_blocking(revoke).await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // What the service publishes at the moment at which the command has returned.
        let published = site.crl().await;
        let mut had = vec![old.certificate.clone()];
        for task in growing {
            had.extend(task.await.unwrap());
        }
        renewals += had.len() - 1;

        let store = site.store();
        let first = store.request(id.parse().unwrap()).await.unwrap().unwrap();
        let (serial, _) = first.certificate.unwrap();
        let mut line = BTreeSet::new();
        for member in store.line(serial).await.unwrap() {
            let Some(certificate) = member.certificate else { continue };
            assert!(certificate.revocation.is_some(), "round {round}: {} lives", certificate.serial);
            let octets = certificate.serial.as_bytes();
            let listed = published.windows(octets.len()).any(|window| window == octets);
            assert!(listed, "round {round}: {} is not on the list", certificate.serial);
            line.insert(store.certificate(certificate.serial).await.unwrap().unwrap().der);
        }
        // Whatever somebody received is of the line, and so is revoked.
        assert!(had.iter().all(|certificate| line.contains(certificate)), "round {round}");
        // Nothing of the account lives beside it.
        let account = Some("alice".parse().unwrap());
        let filter = CertificateFilter {
            account,
            valid_at: Some(SystemClock.now()),
            limit: 5_000,
            ..Default::default()
        };
        for summary in store.certificates(filter).await.unwrap() {
            assert!(summary.revocation.is_some(), "round {round}: {} lives", summary.serial);
        }
    }
    assert!(renewals > 20, "the race took place: {renewals}");
}

/// What systemd is told (sd_notify(3)), and whether it is true at that moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_is_told_when_it_is_true() {
    let site = Site::new(|config| config).await;
    let socket_path = site.folder.join("notify");
    let socket = UnixDatagram::bind(&socket_path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut addresses: Vec<_> = site.settings.listeners.values().map(|l| l.address).collect();
    addresses.push(site.settings.embedded().unwrap().publication.address);
    let next = move || {
        let mut buffer = [0; 4_096];
        let length = socket.recv(&mut buffer).unwrap();
        let told = String::from_utf8(buffer[..length].to_vec()).unwrap();
        (told, addresses.iter().map(|a| TcpStream::connect(a).is_ok()).collect::<Vec<_>>())
    };
    let manager = std::thread::spawn(move || (next(), next()));

    let mut command = Command::new(peers::muster());
    command.args(["serve", "--config"]).arg(&site.config).env("NOTIFY_SOCKET", &socket_path);
    let mut server = Executable::spawn(command, site.address());
    tokio::time::sleep(Duration::from_millis(300)).await;
    let kill = Command::new("kill").arg(server.id().to_string()).status().unwrap();
    assert!(kill.success());
    let ((ready, open), (stopping, _)) = manager.join().unwrap();
    assert_eq!((ready.trim(), open), ("READY=1", vec![true; 3]));
    assert_eq!(stopping.trim(), "STOPPING=1");
    assert_eq!(server.wait(), Some(0));
}
