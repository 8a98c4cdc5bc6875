//! Clients that know nothing of tokens: our own, and zeep.

use std::path::Path;
use std::process::Command;

use muster_testkit::peers::{self, muster};
use muster_testkit::site::{SigningAlgorithm, Site};
use muster_testkit::tools::{Key, base64, run_command};
use serde_json::Value;

use crate::{bed, create};

fn private(file: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn own_client_enrolls_with_a_token_from_stdin() {
    let site = Site::start(SigningAlgorithm::P256);
    let token = create(&site, &["--template", "Computer", "--dns", "box.field.example"]);
    let (cert, key) = (site.path("box.pem"), site.path("box.key.pem"));
    let mut command = Command::new(muster());
    command.args(["enroll", "--template", "Computer", "--policy-url", &site.cep(), "--no-cache"]);
    command.arg("--ca-file").arg(site.ca()).args([
        "--ca-only",
        "--user",
        &token.user,
        "--password-file",
        "-",
    ]);
    command.arg("--out").arg(&cert).arg("--key").arg(&key);
    let ran = run_command(command, format!("{}\n", token.password).as_bytes());
    assert!(ran.ok, "{}", ran.all());
    assert!(cert.exists());
    private(&key);
    // From here on there is no password: the policy by the certificate, and what the policy says is due.
    let mut command = Command::new(muster());
    command.args(["policy", "--policy-url", &site.cep_certificate(), "--no-cache", "--json"]);
    command.arg("--ca-file").arg(site.ca()).arg("--ca-only");
    command.arg("--client-cert").arg(&cert).arg("--client-key").arg(&key);
    let ran = run_command(command, b"");
    assert!(ran.ok, "{}", ran.all());
    let shown: Value = serde_json::from_str(&ran.text()).unwrap();
    let names: Vec<&str> =
        shown["templates"].as_array().unwrap().iter().filter_map(|t| t["name"].as_str()).collect();
    assert_eq!(names, ["Computer"]);
}

#[test]
fn zeep_enrolls_with_a_token() {
    let (Some(bed), Some(python)) = (bed(), peers::Peer::Python.or_not_run()) else { return };
    let token = create(&bed.site, &["--template", "Computer", "--dns", "box.field.example"]);
    let request = bed.openssl.request(&bed.openssl.key(Key::P256, "box"), "Computer", &[]);
    let ask = |what: Value| {
        let mut command = Command::new(&python);
        command
            .arg(peers::script("zeep_client.py"))
            .args([bed.site.cep(), bed.site.ces()])
            .arg(bed.site.ca());
        let ran = run_command(command, format!("{what}\n").as_bytes());
        assert!(ran.ok, "{}", ran.all());
        ran.text()
    };
    let (user, password) = (&token.user, &token.password);
    let shown = ask(
        serde_json::json!({"do": "policies", "user": user, "password": password, "filter": null, "since": null}),
    );
    assert!(shown.contains("Computer") && !shown.contains("WebServer"), "{shown}");
    let enroll = serde_json::json!(
        {"do": "issue", "user": user, "password": password, "request": base64(&request), "context": {}}
    );
    let answer = ask(enroll);
    assert!(answer.contains("Issued"), "{answer}");
    let refused = ask(
        serde_json::json!({"do": "policies", "user": user, "password": password, "filter": null, "since": null}),
    );
    assert!(refused.contains("FailedAuthentication"), "{refused}");
}
