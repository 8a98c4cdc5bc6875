//! Certificates that come of age: due, expired.

use base64::Engine as _;
use muster_core::Clock as _;
use muster_testkit::requests::Messages;
use muster_testkit::site::{KEY_BASED, MovedClock, PASSWORD, SigningAlgorithm, Site};
use muster_testkit::{Https, Key, SignIn};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::{Client, template};

const DAY: i64 = 86_400;
const OID: &str = "1.3.6.1.4.1.99999.42";

/// A site that serves, and a client that got a certificate for 30 days from it so many days ago.
fn issued_before(days: i64) -> Site {
    issued_with(days, "")
}

fn issued_with(days: i64, config: &str) -> Site {
    let mut site = Site::make(SigningAlgorithm::P256, &MovedClock(-50 * DAY));
    site.configure(config);
    site.usual_accounts();
    let more = format!("oid = \"{OID}\"\nmajor = 1\n[renewal]\nkey_based = true");
    site.template(&template("Mesh", &more));
    let clock = MovedClock(-days * DAY);
    let (certificate, key) = site.serve_at(clock, |site| {
        let key = Key::generate();
        let messages = Messages::new(&site.ces(), SignIn::Password("web1", PASSWORD), clock.now());
        let message = messages.issue(&key.request("Mesh"));
        let ca = CertificateDer::from_pem_file(site.ca()).unwrap();
        let path = site.ces().replace(&site.base(), "");
        let answer = runtime().block_on(async {
            let address = (std::net::Ipv4Addr::LOCALHOST, site.port()).into();
            Https::new(&ca).connect(address, None).await.post(&path, &message).await
        });
        (answer.issued().1, key)
    });
    site.serve();
    let folder = Client::new(&site, "web1").folder;
    let version = folder.join(".versions/Mesh.1");
    std::fs::create_dir_all(&version).unwrap();
    std::os::unix::fs::symlink(".versions/Mesh.1", folder.join("Mesh")).unwrap();
    let record = serde_json::json!({
        "version": 1, "policy_id": "any", "template": "Mesh", "oid": OID, "major": 1, "minor": 0,
    });
    std::fs::write(version.join("template.json"), record.to_string()).unwrap();
    for (file, label, der) in
        [("cert.pem", "CERTIFICATE", certificate), ("key.pem", "PRIVATE KEY", key.pkcs8())]
    {
        let body = base64::engine::general_purpose::STANDARD.encode(der);
        let pem = format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
        std::fs::write(version.join(file), pem).unwrap();
    }
    site
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn certificate_is_renewed_in_its_window() {
    let site = issued_before(19);
    Client::new(&site, "web1").run(&[]).expect(0).is("Mesh", "leave", "-");

    let site = issued_before(21);
    let client = Client::new(&site, "web1");
    // From now on an officer decides about everything but renewals, which the old key has signed.
    let watched = "major = 1\n[issuance]\napproval = true\nrenewal_without_approval = true";
    site.template(&template("Mesh", watched));
    let before = client.read("Mesh/key.pem");
    let ran = client.run(&[]).expect(0);
    ran.is("Mesh", "renew", "done");
    client.pair_fits("Mesh");
    assert_ne!(client.read("Mesh/key.pem"), before);
    assert_eq!(client.read(".versions/Mesh.1/key.pem"), before);
    client.run(&[]).expect(0).is("Mesh", "leave", "-");
}

#[test]
fn expired_certificate_is_replaced() {
    let site = issued_before(31);
    let client = Client::new(&site, "web1");
    client.run(&[]).expect(0).is("Mesh", "enroll", "done");
    client.pair_fits("Mesh");
    client.run(&[]).expect(0).is("Mesh", "leave", "-");
}

/// AC-5.2: the policy for key-based renewal is enough, with neither password nor permission; what was never had is not
/// asked for there, and a certificate of another policy is renewed because both have one identifier.
#[test]
fn key_based_policy_renews_without_a_password_and_enrolls_for_nothing() {
    let site = issued_with(21, KEY_BASED);
    let url = format!(
        "{}/KeyBasedRenewal_ADPolicyProvider_CEP_Certificate/service.svc/CEP",
        site.certificate_base()
    );
    site.muster("account", &["set", "web1", "--group", "outside"]);
    let other = "oid = \"1.3.6.1.4.1.99999.43\"\n[renewal]\nkey_based = true";
    site.template(&template("Never", other));
    let client = Client::new(&site, "web1");
    let before = client.read("Mesh/cert.pem");
    let ran = client.bare(&["--policy-url", &url]).expect(0);
    ran.is("Mesh", "renew", "done");
    assert!(ran.report["certificates"].as_array().unwrap().iter().all(|step| step["name"] != "Never"));
    assert_ne!(client.read("Mesh/cert.pem"), before);
    client.pair_fits("Mesh");
    client.bare(&["--policy-url", &url]).expect(0).is("Mesh", "leave", "-");
}
