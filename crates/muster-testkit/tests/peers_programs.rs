//! The programs of peers are what the other tests of peers take them for; in a list of failures these come first.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise, in its helpers too")]

use std::path::Path;
use std::process::Command;

use muster_testkit::peers::Peer;

fn output(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn python_has_its_packages() {
    let Some(python) = Peer::Python.or_not_run() else { return };
    let script = "import cryptography, pkilint, requests, zeep; print(zeep.__version__)";
    assert!(output(&python, &["-c", script]).starts_with("4."));
}

#[test]
fn openssl_is_openssl_3() {
    let Some(openssl) = Peer::OpenSsl.or_not_run() else { return };
    assert!(output(&openssl, &["version"]).starts_with("OpenSSL 3"));
}

#[test]
fn curl_speaks_https() {
    let Some(curl) = Peer::Curl.or_not_run() else { return };
    assert!(output(&curl, &["--version"]).contains(" https"));
}

#[test]
fn adcs_rs_makes_an_envelope() {
    let Some(adcs_rs) = Peer::AdcsRs.or_not_run() else { return };
    assert!(output(&adcs_rs, &["key-exchange", "https://localhost/"]).contains("RequestKET"));
}
