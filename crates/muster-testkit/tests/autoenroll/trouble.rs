//! Crashes, outages, lost answers, hooks that fail, runs at the same time.

use std::process::Command;
use std::sync::atomic::Ordering;

use muster_server::SystemClock;
use muster_testkit::one_way;
use muster_testkit::peers::muster;
use muster_testkit::site::{SigningAlgorithm, Site};

use super::{Client, Ran, requests, site, text};

#[test]
fn crash_at_any_point_is_made_good() {
    let site = site();
    let client = Client::new(&site, "web1");
    client.run(&[]).expect(0);
    let (pending, version) = (client.file(".pending/Computer"), client.file(".versions/Computer.1"));
    let certificate = client.read("Computer/cert.pem");

    // The key was written, the request was not: nothing was sent.
    std::fs::create_dir(&pending).unwrap();
    for file in ["template.json", "key.pem"] {
        std::fs::copy(version.join(file), pending.join(file)).unwrap();
    }
    client.run(&[]).expect(0).is("Computer", "leave", "-");
    assert!(!pending.exists());

    // The certificate has come, and was not put behind its name.
    std::fs::remove_file(client.file("Computer")).unwrap();
    std::fs::rename(&version, &pending).unwrap();
    let ran = client.run(&[]).expect(0);
    ran.is("Computer", "leave", "-");
    assert_eq!(ran.changed(), ["Computer"], "the hook has yet to run");
    assert_eq!(client.read("Computer/cert.pem"), certificate);

    // The link was not set.
    std::fs::remove_file(client.file("Computer")).unwrap();
    assert_eq!(client.run(&[]).expect(0).changed(), ["Computer"]);
    assert_eq!(client.read("Computer/cert.pem"), certificate);
    assert_eq!(requests(&site), 1);

    // A key that does not fit its certificate is no certificate.
    std::fs::write(client.file("Computer/key.pem"), "damaged").unwrap();
    client.run(&[]).expect(0).is("Computer", "enroll", "done");
    client.pair_fits("Computer");
}

#[test]
fn lost_answer_leads_to_one_certificate() {
    let mut site = Site::make(SigningAlgorithm::P256, &SystemClock);
    let mute = one_way::in_front_of(&mut site);
    site.usual_accounts();
    let client = Client::new(&site, "web1");
    let cache = text(&site.path("cache"));
    let run = || {
        let (cep, password, ca) = (site.cep(), text(&site.path("password")), text(&site.ca()));
        let output = Command::new(muster())
            .args(["autoenroll", "--json", "--timeout", "2", "--cache-dir", &cache, "--policy-url", &cep])
            .args(["--ca-file", &ca, "--user", "web1", "--password-file", &password, "--store"])
            .arg(&client.folder)
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {errors}"));
        Ran { code: output.status.code().unwrap(), report, errors }
    };
    // So that the policy is at hand when answers no longer come.
    let password = text(&site.path("password"));
    let policy =
        ["policy", "--policy-url", &site.cep(), "--cache-dir", &cache, "--ca-file", &text(&site.ca())];
    let policy =
        Command::new(muster()).args(policy).args(["--user", "web1", "--password-file", &password]).status();
    assert!(policy.unwrap().success());
    mute.store(true, Ordering::SeqCst);
    run().expect(6).is("Computer", "enroll", "unknown");
    run().expect(6).is("Computer", "fetch", "unknown");
    mute.store(false, Ordering::SeqCst);
    run().expect(0).is("Computer", "fetch", "done");
    client.pair_fits("Computer");
    assert_eq!(requests(&site), 1);
}

#[test]
fn outage_leaves_everything_as_it_is() {
    let mut site = site();
    let folder = {
        let client = Client::new(&site, "web1");
        client.run(&[]).expect(0);
        client.folder
    };
    site.stop();
    let client = Client { site: &site, user: "web1", folder };
    let before = (client.read("Computer/cert.pem"), client.read("Computer/key.pem"));
    let down = client.run(&[]).expect(5);
    assert_eq!(down.report["status"], "unreachable");
    assert!(down.report["policies"][0]["error"].as_str().unwrap().contains("no endpoint could be reached"));
    assert_eq!((client.read("Computer/cert.pem"), client.read("Computer/key.pem")), before);
    assert!(down.changed().is_empty());
}

#[test]
fn hook_runs_until_it_was_well() {
    let site = site();
    let client = Client::new(&site, "web1");
    let marks = site.path("marks");
    let failing = format!("echo $MUSTER_CHANGED in $MUSTER_STORE >> {}; false", text(&marks));
    let ran = client.run(&["--after", &failing]).expect(1);
    ran.is("Computer", "enroll", "done");
    assert!(ran.report["hook_error"].as_str().unwrap().contains("exit status: 1"), "{:#}", ran.report);
    client.pair_fits("Computer");
    let well = failing.replace("; false", "");
    client.run(&["--after", &well]).expect(0).is("Computer", "leave", "-");
    // Nothing changed since.
    client.run(&["--after", &well]).expect(0);
    let expected = format!("Computer in {}\n", text(&client.folder)).repeat(2);
    assert_eq!(std::fs::read_to_string(&marks).unwrap(), expected);
}

#[test]
fn two_runs_exclude_one_another() {
    let site = site();
    let client = Client::new(&site, "web1");
    client.run(&[]).expect(0);
    let lock = std::fs::File::options().write(true).open(client.file(".lock")).unwrap();
    lock.lock().unwrap();
    let refused = client.run(&[]).expect(1);
    assert!(refused.report["error"].as_str().unwrap().contains("another run"), "{:#}", refused.report);
    client.run(&["--dry-run"]).expect(0);
    drop(lock);
    client.run(&[]).expect(0);
}
