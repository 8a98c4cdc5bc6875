//! What policy wants, and what becomes of it: first certificates, new revisions, approvals, templates that replace others.

use std::path::Path;
use std::process::Command;

use muster_testkit::peers::muster;

use super::{Client, Ran, requests, site, template, text};

#[test]
fn second_run_has_nothing_to_do() {
    use std::os::unix::fs::PermissionsExt as _;

    let site = site();
    let client = Client::new(&site, "web1");
    let planned = client.run(&["--dry-run"]).expect(0);
    planned.is("Computer", "enroll", "-");
    assert!(!client.folder.exists() && planned.changed().is_empty());
    assert_eq!(requests(&site), 0);

    let first = client.run(&[]).expect(0);
    first.is("Computer", "enroll", "done");
    assert_eq!(first.changed(), ["Computer"]);
    // Templates without the permission are none of its business.
    assert_eq!(first.report["certificates"].as_array().unwrap().len(), 1, "{:#}", first.report);
    client.pair_fits("Computer");
    let mode = std::fs::metadata(client.file("Computer/key.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let chain = client.read("Computer/cert.pem") + &client.read("Computer/chain.pem");
    assert_eq!(client.read("Computer/fullchain.pem"), chain);
    let before = client.read("Computer/cert.pem");

    let second = client.run(&[]).expect(0);
    second.is("Computer", "leave", "-");
    assert!(second.changed().is_empty());
    assert_eq!(client.read("Computer/cert.pem"), before);
    assert_eq!(requests(&site), 1);
    assert!(std::fs::read_dir(client.file(".pending")).unwrap().next().is_none());
}

#[test]
fn certificate_alone_goes_on_from_the_first() {
    let site = site();
    let client = Client::new(&site, "web1");
    client.run(&[]).expect(0);
    site.template(&template("Extra", ""));
    // No password any more: the certificate of the folder is what TLS shows.
    let url = site.cep_certificate();
    let ran = client.bare(&["--policy-url", &url]).expect(0);
    ran.is("Computer", "leave", "-");
    ran.is("Extra", "enroll", "done");
    client.pair_fits("Extra");
}

#[test]
fn higher_major_revision_enrolls_again() {
    let site = site();
    let client = Client::new(&site, "web1");
    site.template(&template("Mesh", "major = 1"));
    client.run(&[]).expect(0).is("Mesh", "enroll", "done");
    let before = client.read("Mesh/cert.pem");
    // A change that is not for those who have one.
    site.template(&template("Mesh", "major = 1\npolicies = [\"1.3.6.1.4.1.99999.7\"]"));
    client.run(&[]).expect(0).is("Mesh", "leave", "-");
    site.template(&template("Mesh", "major = 2"));
    let ran = client.run(&[]).expect(0);
    ran.is("Mesh", "enroll", "done");
    assert_eq!(ran.changed(), ["Mesh"]);
    assert_ne!(client.read("Mesh/cert.pem"), before);
    client.pair_fits("Mesh");
    assert_eq!(client.read(".versions/Mesh.1/cert.pem"), before, "the old one stays");
    client.run(&[]).expect(0).is("Mesh", "leave", "-");
}

#[test]
fn pending_request_is_fetched_when_it_is_decided() {
    let site = site();
    let client = Client::new(&site, "web1");
    site.template(&template("Watched", "[issuance]\napproval = true"));
    let first = client.run(&[]).expect(4);
    first.is("Watched", "enroll", "pending");
    assert_eq!(first.changed(), ["Computer"]);
    let again = client.run(&[]).expect(4);
    again.is("Watched", "fetch", "pending");
    assert!(again.changed().is_empty());
    assert_eq!(requests(&site), 2, "asked for once");
    let id = |ran: &Ran| {
        let steps = ran.report["certificates"].as_array().unwrap().clone();
        let step = steps.into_iter().find(|s| s["name"] == "Watched").unwrap();
        step["request_id"].as_str().unwrap().to_owned()
    };
    assert_eq!(id(&first), id(&again));
    site.muster("request", &["approve", &id(&first)]);
    let fetched = client.run(&[]).expect(0);
    fetched.is("Watched", "fetch", "done");
    assert_eq!(fetched.changed(), ["Watched"]);
    client.pair_fits("Watched");

    // A denied one is done with, and asked for again by the next run.
    site.template(&template("Denied", "[issuance]\napproval = true"));
    let pending = client.run(&[]).expect(4);
    let steps = pending.report["certificates"].as_array().unwrap();
    let denied = steps.iter().find(|s| s["name"] == "Denied").unwrap()["request_id"].as_str().unwrap();
    site.muster("request", &["deny", denied, "--comment", "no"]);
    client.run(&[]).expect(3).is("Denied", "fetch", "refused");
    assert!(!client.file(".pending/Denied").exists());
}

#[test]
fn superseded_template_is_replaced_and_then_left() {
    let site = site();
    let client = Client::new(&site, "web1");
    site.template(&template("Old", ""));
    client.run(&[]).expect(0).is("Old", "enroll", "done");
    site.template(&template("New", "supersedes = [\"Old\"]"));
    let ran = client.run(&[]).expect(0);
    ran.is("New", "enroll", "done");
    ran.is("Old", "leave", "-");
    let ran = client.run(&[]).expect(0);
    ran.is("Old", "leave", "-");
    assert!(ran.report.to_string().contains("template New replaces it"), "{:#}", ran.report);
    // Whoever begins now gets the new one alone.
    let fresh = Client { site: &site, user: "web1", folder: site.path("fresh") };
    let ran = fresh.run(&[]).expect(0);
    ran.is("New", "enroll", "done");
    assert!(!fresh.file("Old").exists());
    // Files of somebody else's and of templates that are gone are left alone.
    std::fs::create_dir(client.file("Foreign")).unwrap();
    site.muster("template", &["remove", "Old"]);
    let ran = client.run(&[]).expect(0);
    ran.is("Old", "leave", "-");
    assert!(client.file("Old/cert.pem").exists() && client.file("Foreign").is_dir());
}

#[test]
fn names_come_from_the_configuration() {
    let site = site();
    let client = Client::new(&site, "web1");
    let subject = "[subject]\nsource = \"request\"\nallow_dns = [\"own\"]\n";
    // A purpose that logs nobody in: names may come from the request.
    site.template(&template("Site", subject).replace("5.7.3.2", "5.7.3.1"));
    let ran = client.run(&[]).expect(0);
    ran.is("Site", "leave", "-");
    assert!(ran.report.to_string().contains("takes the names from the request"), "{:#}", ran.report);
    let config = site.path("client.toml");
    let quoted = |path: &Path| format!("{:?}", text(path));
    let toml = format!(
        "store = {}\nca_files = [{}]\nca_only = true\nuser = \"web1\"\npassword_file = {}\nafter = \"echo $MUSTER_CHANGED > {}\"\n\
         [[policy]]\nurls = [{:?}]\n[names.Site]\ndns = [\"www.corp.example\"]\n",
        quoted(&client.folder),
        quoted(&site.ca()),
        quoted(&site.path("password")),
        text(&site.path("hook")),
        site.cep(),
    );
    std::fs::write(&config, toml).unwrap();
    let run = |more: &[&str]| {
        let output = Command::new(muster())
            .args(["autoenroll", "--json", "--no-cache", "--config"])
            .arg(&config)
            .args(more)
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {errors}"));
        Ran { code: output.status.code().unwrap(), report, errors }
    };
    run(&[]).expect(0).is("Site", "enroll", "done");
    assert_eq!(std::fs::read_to_string(site.path("hook")).unwrap().trim(), "Site");
    client.pair_fits("Site");
    let toml = std::fs::read_to_string(&config).unwrap().replace("user =", "usr =");
    std::fs::write(&config, toml).unwrap();
    let refused = run(&[]).expect(1);
    assert!(refused.report["error"].as_str().unwrap().contains("usr"), "{:#}", refused.report);
}

#[test]
fn kinds_are_kept_apart() {
    let site = site();
    let client = Client::new(&site, "web1");
    client.run(&["--kind", "user"]).expect(0).is("Computer", "leave", "-");
    assert_eq!(requests(&site), 0);
    client.run(&["--kind", "machine"]).expect(0).is("Computer", "enroll", "done");
    // A user has no template for unattended enrollment here.
    let alice = Client::new(&site, "alice").run(&[]).expect(0);
    assert_eq!(alice.report["certificates"].as_array().unwrap().len(), 0);
    let stranger = Client { user: "nobody-here", ..Client::new(&site, "web1") };
    let refused = stranger.run(&[]).expect(3);
    assert!(refused.report["policies"][0]["error"].as_str().unwrap().contains("authentication failed"));
}
