//! Files that others can read, folders that others can enter, readers that have gone.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use muster_core::Method;
use muster_server::config::Service;
use muster_testkit::executable::run;
use muster_testkit::{TestServer, peers};

use crate::kill::Site;
use crate::start::failure;

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn tls_key_that_everybody_can_read() {
    let site = Site::new(|config| config).await;
    // The first start makes a certificate; from then on it is one from files.
    site.serve().kill();
    let made: Vec<_> =
        std::fs::read_dir(site.folder.join("tls")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let of = |key: bool| made.iter().find(|path| path.to_string_lossy().contains("key") == key).unwrap();
    let (certificate, key) = (of(false), of(true));
    let text = std::fs::read_to_string(&site.config).unwrap();
    let (before, rest) = text.split_once("[tls]\n").unwrap();
    let (_, after) = rest.split_once('\n').unwrap();
    let files = format!("certificate = {certificate:?}\nkey = {key:?}\n");
    std::fs::write(&site.config, format!("{before}[tls]\n{files}{after}")).unwrap();

    chmod(key, 0o644);
    let message = failure(&run(&["serve".as_ref(), "--config".as_ref(), site.config.as_os_str()]));
    let expected =
        format!("error: others can read the private key {} (mode 644): run chmod o-rwx on it", key.display());
    assert_eq!(message, expected);
    // A group may, as Debian's ssl-cert does.
    chmod(key, 0o640);
    site.serve().kill();
}

#[tokio::test]
async fn folder_that_others_can_enter() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("data");
    std::fs::create_dir(&folder).unwrap();
    chmod(&folder, 0o755);
    std::fs::write(folder.join("theirs"), "").unwrap();
    let quickstart = || {
        let listen = format!("127.0.0.1:{}", muster_testkit::ports::three());
        run(&[
            "quickstart".as_ref(),
            "--once".as_ref(),
            "--listen".as_ref(),
            listen.as_ref(),
            "--dir".as_ref(),
            folder.as_os_str(),
        ])
    };
    let message = failure(&quickstart());
    let expected = format!(
        "error: others can get into the folder {} (mode 755): run chmod 700 on it, or name another folder",
        folder.display()
    );
    assert_eq!(message, expected);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "nothing was made");
    std::fs::remove_file(folder.join("theirs")).unwrap();
    let output = quickstart();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);

    // Opened afterwards: the service serves, and says so.
    chmod(&folder, 0o755);
    let output = quickstart();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && text.contains("others can get into the folder"), "{text}");
}

#[tokio::test]
async fn password_file_that_others_can_read() {
    let site = Site::new(|config| config).await;
    let file = site.folder.join("password");
    std::fs::write(&file, "a long enough password\n").unwrap();
    let add = |name: &str| {
        let mut command = Command::new(peers::muster());
        command.args(["account", "--config"]).arg(&site.config).args(["add", name, "--kind", "user"]);
        let output = command.arg("--password-file").arg(&file).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    chmod(&file, 0o644);
    let path = file.display();
    let warning = format!("warning: others can read {path}; protect it with: chmod 600 {path}\n");
    assert!(add("one").contains(&warning));
    chmod(&file, 0o600);
    assert!(!add("two").contains("warning"));
}

#[tokio::test]
async fn reader_that_has_gone() {
    let site = Site::new(|config| config).await;
    for arguments in [
        &["audit", "--json", "list"][..],
        &["audit", "list"],
        &["config-reference"],
        &["completions", "bash"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(peers::muster());
        command.args(arguments);
        if arguments[0] == "audit" {
            command.arg("--config").arg(&site.config);
        }
        let output = command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
    }
}

/// What the hint says fits what was refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hint_after_a_refused_sign_in() {
    let server = TestServer::start().await;
    let other = TestServer::start().await;
    let identity = other.enroll("alice", "User").await;
    let file = |name: &str, content: &str| {
        let path = server.directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        chmod(&path, 0o600);
        path
    };
    let certificate = file("cert.pem", &muster_server::certificate_pem(&identity.certificate));
    let key = muster_server::certificate_pem(&identity.key.pkcs8()).replace("CERTIFICATE", "PRIVATE KEY");
    let key = file("key.pem", &key);
    let password = file("password", "wrong\n");
    let ca = server.settings.embedded().unwrap().directory.join("ca.pem");
    let ask = |method: Method, options: &[&std::ffi::OsStr]| {
        let uri = &server.endpoint(Service::Policy, method).uri;
        let mut command = Command::new(peers::muster());
        command.args(["policy", "--no-cache", "--policy-url", uri, "--ca-only", "--ca-file"]).arg(&ca);
        let output = command.args(options).stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{text}");
        text
    };
    let text = ask(
        Method::ClientCertificate,
        &["--client-cert".as_ref(), certificate.as_os_str(), "--client-key".as_ref(), key.as_os_str()],
    );
    assert!(text.contains("hint: check the client certificate"), "{text}");
    assert!(!text.contains("user name"), "{text}");
    let text = ask(
        Method::UsernamePassword,
        &["--user".as_ref(), "alice".as_ref(), "--password-file".as_ref(), password.as_os_str()],
    );
    assert!(text.contains("hint: check user name and password"), "{text}");
}
