//! The real executable at other times (libfaketime), with requests by OpenSSL, envelopes by hand, and curl to carry them.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use muster_testkit::bed::Bed;
use muster_testkit::messages::{self, certificate, error_code};
use muster_testkit::peers::not_run;
use muster_testkit::site::{KEY_BASED, SigningAlgorithm, Site};
use muster_testkit::tools::{Answer, Key, base64, from_base64};

/// The library that answers a program's questions for the time.
fn library() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?.filter_map(Result::ok).map(|entry| entry.path());
    let found = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1")).find(|file| file.exists());
    if found.is_none() {
        not_run("libfaketime (Debian's package faketime)");
    }
    found
}

/// A certificate and its key, in files of OpenSSL.
struct Holder {
    pem: String,
    der: Vec<u8>,
    key: String,
}

fn bed() -> Option<Bed> {
    let bed = Bed::or_not_run(|| {
        let site = Site::make(SigningAlgorithm::P256, &muster_server::SystemClock);
        site.configure(KEY_BASED);
        site
    })?;
    let user = bed.site.muster("template", &["show", "User"]);
    bed.site.template(&format!("{user}\n[renewal]\nkey_based = true\nmax_age_days = 400\n"));
    Some(bed)
}

/// The server as it would run after so many days.
fn serve_after(bed: &mut Bed, library: &OsStr, days: u32) {
    bed.site.stop();
    let shift = format!("+{days}d");
    let mut server = Command::new(muster_testkit::peers::muster());
    server.env("LD_PRELOAD", library).env("FAKETIME", shift);
    bed.site.serve_by(server);
}

fn send(bed: &Bed, holder: &Holder, cms: &[u8]) -> Answer {
    let url = format!("{}/key-based", bed.site.certificate_base());
    // The service's own certificate is of its time, curl is of ours.
    let options = ["--insecure", "--cert", &holder.pem, "--key", &holder.key];
    bed.curl.post(&url, &messages::issue(&url, None, &base64(cms)), &options)
}

fn renew(bed: &Bed, holder: &Holder, name: &str) -> (Answer, String) {
    let key = bed.openssl.key(Key::P256, name);
    let request = bed.openssl.renewal_request(&key, "User", &[], &holder.der);
    (send(bed, holder, &bed.openssl.cms(&request, &holder.pem, &holder.key, &[])), key)
}

fn enroll(bed: &Bed, account: &str, name: &str) -> Holder {
    let key = bed.openssl.key(Key::P256, name);
    let (der, _) = bed.enroll(account, "User", &key, &[]);
    Holder { pem: bed.openssl.pem(name, &der), der, key }
}

#[track_caller]
fn refused(answer: &Answer, words: &str) {
    assert_eq!(answer.status, 500, "{}", answer.body);
    assert!(answer.body.contains(words), "no '{words}' in {}", answer.body);
    assert!(certificate(&answer.body).is_none());
}

/// The window, the end of a certificate, and the age of a line, on the real executable.
#[test]
fn window_expiry_and_age_of_the_line_on_the_executable() {
    let Some(library) = library() else { return };
    let Some(mut bed) = bed() else { return };
    bed.site.serve();
    let alice = enroll(&bed, "alice", "first");
    refused(&renew(&bed, &alice, "early").0, "can be renewed from");

    serve_after(&mut bed, library.as_os_str(), 290);
    refused(&renew(&bed, &alice, "early").0, "can be renewed from");
    serve_after(&mut bed, library.as_os_str(), 300);
    let (answer, key) = renew(&bed, &alice, "second");
    assert_eq!(answer.status, 200, "{}", answer.body);
    let der = from_base64(certificate(&answer.body).unwrap());
    let second = Holder { pem: bed.openssl.pem("second", &der), der, key };

    serve_after(&mut bed, library.as_os_str(), 366);
    refused(&renew(&bed, &alice, "late").0, "This certificate expired on");
    refused(&renew(&bed, &second, "early").0, "can be renewed from");
    // In the window again, but the password was given more than 400 days ago.
    serve_after(&mut bed, library.as_os_str(), 600);
    refused(&renew(&bed, &second, "old").0, "goes back to an enrollment of");
    serve_after(&mut bed, library.as_os_str(), 700);
    refused(&renew(&bed, &second, "late").0, "This certificate expired on");
}

/// Made before its time: the certificate neither signs in nor renews.
#[test]
fn certificate_that_is_not_yet_valid_renews_nothing() {
    let Some(library) = library() else { return };
    let Some(mut bed) = bed() else { return };
    serve_after(&mut bed, library.as_os_str(), 10);
    let key = bed.openssl.key(Key::P256, "ahead");
    let request = bed.openssl.request(&key, "User", &[]);
    let credentials = Some(("alice", muster_testkit::site::PASSWORD));
    let message = messages::issue(&bed.site.ces(), credentials, &base64(&request));
    let answer = bed.curl.post(&bed.site.ces(), &message, &["--insecure"]);
    let der = from_base64(certificate(&answer.body).unwrap());
    let ahead = Holder { pem: bed.openssl.pem("ahead", &der), der, key };
    bed.site.stop();
    bed.site.serve();
    refused(&renew(&bed, &ahead, "new").0, "This certificate is not valid before");
    let key = bed.openssl.key(Key::P256, "password");
    let request = bed.openssl.renewal_request(&key, "User", &[], &ahead.der);
    let cms = bed.openssl.cms(&request, &ahead.pem, &ahead.key, &[]);
    let message = messages::issue(&bed.site.ces(), credentials, &base64(&cms));
    let answer = bed.curl.post(&bed.site.ces(), &message, &["--insecure"]);
    refused(&answer, "The certificate to be renewed is not valid before");
}

/// Renewals that OpenSSL signs for two, or with another template, at the address for key-based renewal; and two good
/// ones in a row, the second with the certificate of the first.
#[test]
fn openssl_renews_by_certificate_alone_twice_and_cannot_bring_company() {
    let Some(library) = library() else { return };
    let Some(mut bed) = bed() else { return };
    bed.site.serve();
    let (alice, bob) = (enroll(&bed, "alice", "alice"), enroll(&bed, "bob", "bob"));
    serve_after(&mut bed, library.as_os_str(), 300);
    let key = bed.openssl.key(Key::P256, "new");
    let request = bed.openssl.renewal_request(&key, "User", &[], &alice.der);
    let both = ["-signer", &bob.pem, "-inkey", &bob.key];
    let cms = bed.openssl.cms(&request, &alice.pem, &alice.key, &both);
    let answer = send(&bed, &alice, &cms);
    refused(&answer, "is signed by somebody else besides");
    assert_eq!(error_code(&answer.body), Some(0x8009_400e));
    let cms = bed.openssl.cms(&request, &bob.pem, &bob.key, &[]);
    refused(&send(&bed, &alice, &cms), "The request was refused");
    let first = bed.openssl.cms(&bed.openssl.request(&key, "User", &[]), &alice.pem, &alice.key, &[]);
    refused(&send(&bed, &alice, &first), "This address accepts renewals only");

    let cms = bed.openssl.cms(&request, &alice.pem, &alice.key, &["-noattr"]);
    let answer = send(&bed, &alice, &cms);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let der = from_base64(certificate(&answer.body).unwrap());
    let second = Holder { pem: bed.openssl.pem("second", &der), der, key };
    bed.site.template(
        &bed.site.muster("template", &["show", "User"]).replace("max_age_days = 400", "max_age_days = 0"),
    );
    serve_after(&mut bed, library.as_os_str(), 620);
    assert_eq!(renew(&bed, &second, "third").0.status, 200);
}

/// AC-6.3: after one certificate was revoked, the command names those that were had with it, and how to revoke them.
#[test]
fn ac_6_3_revoking_an_older_certificate_shows_the_later_ones() {
    let Some(mut bed) = bed() else { return };
    bed.site.serve();
    let alice = enroll(&bed, "alice", "first");
    let key = bed.openssl.key(Key::P256, "second");
    let request = bed.openssl.renewal_request(&key, "User", &[], &alice.der);
    let cms = bed.openssl.cms(&request, &alice.pem, &alice.key, &[]);
    let answer = bed.curl.issue(&bed.site, "alice", &cms);
    let (old, new) = ("257", messages::text(&answer.body, "RequestID").unwrap());
    let run = |arguments: &[&str]| {
        let output = Command::new(muster_testkit::peers::muster())
            .args(["cert", "--config"])
            .arg(bed.site.installed("muster.toml"))
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8(text).unwrap()
    };
    let line: serde_json::Value = serde_json::from_str(&run(&["line", new, "--json"])).unwrap();
    let members = line["members"].as_array().unwrap();
    let old = members[0]["request"].as_u64().map_or(old.to_owned(), |id| id.to_string());
    assert_eq!(members.len(), 2);
    assert_eq!((&members[0]["how"], &members[1]["how"]), (&"first".into(), &"renewal".into()));
    assert_eq!(members[1]["parent"].as_u64().unwrap().to_string(), old);
    assert_eq!(members[1]["key"].as_str().unwrap().len(), 64);
    let told = run(&["revoke", &old, "--reason", "superseded"]);
    assert!(told.contains("1 later certificates of its line are still valid"), "{told}");
    assert!(told.contains(members[1]["serial"].as_str().unwrap()), "{told}");
    assert!(told.contains("muster cert revoke --line"), "{told}");
    let told = run(&["revoke", "--line", new, "--reason", "keyCompromise"]);
    assert!(told.contains("1 certificates are revoked (keyCompromise), 1 were before"), "{told}");
    let line = run(&["line", &old]);
    assert!(line.contains("superseded") && line.contains("keyCompromise"), "{line}");
}
