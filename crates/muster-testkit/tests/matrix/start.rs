//! What keeps the executable from starting, and what it says then.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use muster_core::{Clock, UnixTime};
use muster_server::SystemClock;
use muster_testkit::executable::run;
use muster_testkit::requests::Messages;
use muster_testkit::server::{self, PASSWORD, path};
use muster_testkit::{Key, SignIn, peers};

use crate::kill::Site;

fn serve(config: &Path) -> Output {
    run(&["serve".as_ref(), "--config".as_ref(), config.as_os_str()])
}

/// The lines `error:` and `hint:` of a command that must have failed.
pub(crate) fn failure(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(!text.contains("panicked"), "{text}");
    let lines: Vec<&str> =
        text.lines().filter(|l| l.starts_with("error: ") || l.starts_with("hint: ")).collect();
    assert!(lines[0].starts_with("error: "), "{text}");
    lines.join("\n")
}

async fn check(change: impl FnOnce(&Site), expected: &str) {
    let site = Site::new(|config| config).await;
    change(&site);
    let message = failure(&serve(&site.config));
    let folder = site.folder.display().to_string();
    let message = message.replace(&folder, "DIR").replace(&site.address().to_string(), "ADDRESS");
    assert!(message.contains(expected), "expected {expected:?}, got {message:?}");
}

#[tokio::test]
async fn port_is_taken() {
    let site = Site::new(|config| config).await;
    let _taken = std::net::TcpListener::bind(site.address()).unwrap();
    let message = failure(&serve(&site.config)).replace(&site.address().to_string(), "ADDRESS");
    assert!(
        message.contains("error: cannot listen on ADDRESS for listener.password: Address already in use"),
        "{message}"
    );
}

#[tokio::test]
async fn database_is_damaged() {
    let garble = |site: &Site| {
        let path = muster_server::service::store_path(&site.settings);
        std::fs::write(path, b"this is no database, whatever its name says".repeat(200)).unwrap();
    };
    check(garble, "error: the store cannot be opened: the database is damaged (").await;
    // The first page is whole, what follows is not.
    let cut = |site: &Site| {
        let path = muster_server::service::store_path(&site.settings);
        let whole = std::fs::read(&path).unwrap();
        let mut octets = whole[..4096].to_vec();
        octets.resize(whole.len(), 0xa5);
        std::fs::write(&path, octets).unwrap();
    };
    check(cut, "the database is damaged (").await;
}

#[tokio::test]
async fn files_are_missing() {
    let without =
        |name: &'static str| move |site: &Site| std::fs::remove_file(site.folder.join(name)).unwrap();
    check(
        without("muster.sqlite"),
        "error: the store cannot be opened: there is no database at DIR/muster.sqlite",
    )
    .await;
    check(without("ca/ca.pem"), "DIR/ca/ca.pem").await;
    check(without("ca/ca.key.pem"), "DIR/ca/ca.key.pem").await;
    check(
        without("secrets/ca.passphrase"),
        "error: cannot use DIR/secrets/ca.passphrase as passphrase file: No such file",
    )
    .await;
    check(without("muster.toml"), "error: cannot read DIR/muster.toml: No such file").await;
}

#[tokio::test]
async fn passphrase_is_wrong_or_open_to_others() {
    let secret = |site: &Site| site.settings.embedded().unwrap().passphrase_file.clone();
    check(
        |site| std::fs::write(secret(site), "another passphrase\n").unwrap(),
        "error: the CA cannot be opened: ",
    )
    .await;
    check(|site| std::fs::write(secret(site), "\n").unwrap(), "as passphrase file: it is empty").await;
    let open = |site: &Site| {
        std::fs::set_permissions(secret(site), std::fs::Permissions::from_mode(0o644)).unwrap();
    };
    check(
        open,
        "error: cannot use DIR/secrets/ca.passphrase as passphrase file: others can read it (mode 644): run chmod 600 on it",
    )
    .await;
}

#[tokio::test]
async fn name_of_the_ca_differs() {
    let rename = |site: &Site| {
        let text = std::fs::read_to_string(&site.config).unwrap();
        std::fs::write(&site.config, text.replace("[ca.\"Test CA\"]", "[ca.\"Other CA\"]")).unwrap();
    };
    check(
        rename,
        "error: the CA certificate is for 'Test CA', the configuration names 'Other CA': write [ca.\"Test CA\"]",
    )
    .await;
}

#[tokio::test]
async fn ca_has_expired() {
    struct Earlier;
    impl Clock for Earlier {
        fn now(&self) -> UnixTime {
            SystemClock.now().plus(-11 * 366 * 86_400)
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let config = server::install(directory.path().join("data"), &Earlier).await;
    let message = failure(&serve(&config));
    assert!(
        message.contains("error: the CA certificate of 'Test CA' is not valid now (it ends on 20"),
        "{message}"
    );
    assert!(message.contains("): renew the CA"), "{message}");
    let check = failure(&run(&["check-config".as_ref(), "--config".as_ref(), config.as_os_str()]));
    assert!(check.contains("is not valid now"), "{check}");
}

/// A small disk of its own, unmounted when dropped.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=8m", "none"])
            .arg(directory.path())
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(directory));
        }
        peers::not_run("the right to mount a small disk");
        None
    }

    fn fill(&self) {
        let mut file = std::fs::File::create(self.0.path().join("filler")).unwrap();
        for size in [1 << 16, 1 << 12, 1 << 8, 1] {
            while std::io::Write::write_all(&mut file, &vec![0; size]).is_ok() {}
        }
    }

    fn free(&self) {
        std::fs::remove_file(self.0.path().join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disk_is_full() {
    let Some(disk) = Disk::new() else { return };
    let site = Site::new_in(disk.0.path().join("data"), |config| config).await;
    disk.fill();
    let message = failure(&serve(&site.config));
    assert!(message.contains("full") || message.contains("No space left on device"), "{message}");
    disk.free();

    let server = site.serve();
    let endpoint = site.endpoint(muster_server::config::Service::Enrollment);
    let issue = || {
        let messages = Messages::new(&endpoint.uri, SignIn::Password("alice", PASSWORD), SystemClock.now());
        messages.issue(&Key::generate().request("User"))
    };
    let mut connection = site.https.connect(site.address(), None).await;
    let _ = connection.post(&path(endpoint), &issue()).await.issued();
    disk.fill();
    let connects = async || tokio::net::TcpStream::connect(site.address()).await.is_ok();
    // The log of the database has some room of its own, for a few requests and for the write that proves health.
    let mut refused = connection.post(&path(endpoint), &issue()).await;
    for _ in 0..500 {
        if refused.status == 503 && !connects().await {
            break;
        }
        refused = connection.post(&path(endpoint), &issue()).await;
    }
    assert_eq!((refused.status, refused.is_soap()), (503, false), "{}", refused.text());
    // A node that cannot issue is not there, for clients that would take a 503 for the last word.
    assert!(!connects().await, "connections are still taken");
    // The log comes through a pipe, after the answer.
    let mut log = Vec::new();
    let said = |log: &[String]| {
        log.iter().any(|line| {
            line.contains("the disk that holds the database is full; free some space, nothing was lost")
        })
    };
    for _ in 0..100 {
        log.extend(server.log());
        if said(&log) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(said(&log), "{log:?}");

    disk.free();
    let end = Instant::now() + Duration::from_secs(10);
    while !connects().await {
        assert!(Instant::now() < end, "no connections are taken though there is room");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut connection = site.https.connect(site.address(), None).await;
    let _ = connection.post(&path(endpoint), &issue()).await.issued();
}
