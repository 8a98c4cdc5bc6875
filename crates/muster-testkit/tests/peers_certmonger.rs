//! certmonger as the judge of `muster certmonger-submit`: what it gets, waits for, is refused, and renews.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use muster_testkit::certmonger::Certmonger;
use muster_testkit::peers::{Peer, muster};
use muster_testkit::site::{SigningAlgorithm, Site};
use serde_json::Value;

const WATCHED: &str = r#"
name = "Watched"
display_name = "Watched"
kind = "computer"
eku = ["1.3.6.1.5.5.7.3.2"]

[subject]
source = "identity"
common_name = "dns_name"
alternatives = ["dns_names"]

[key]
algorithms = ["rsa"]
usage = ["digital_signature"]

[validity]
days = 30
renew_before_days = 10

[issuance]
approval = true

[permissions]
enroll = ["group:computers"]
"#;

/// The helper's command line, asking again every two seconds.
fn helper(site: &Site, certmonger: &Certmonger) -> String {
    use std::os::unix::fs::PermissionsExt as _;

    std::fs::set_permissions(site.path("password"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let config = certmonger.file("client.toml");
    let toml = format!(
        "ca_files = [{:?}]\nca_only = true\nuser = \"web1\"\npassword_file = {:?}\ncache_dir = {:?}\n[[policy]]\nurls = [{:?}]\n",
        site.ca(),
        site.path("password"),
        certmonger.file("cache"),
        site.cep()
    );
    std::fs::write(&config, toml).unwrap();
    format!("{} certmonger-submit --poll 2 --refresh --config {}", muster().display(), config.display())
}

fn pending_ids(site: &Site) -> Vec<String> {
    let list: Value = serde_json::from_str(&site.muster("request", &["list", "--json"])).unwrap();
    let rows = list.as_array().unwrap().iter().filter(|row| row.to_string().contains("\"pending\""));
    rows.map(|row| row.get("id").map(ToString::to_string).unwrap_or_default()).collect()
}

#[test]
fn certmonger_gets_waits_for_is_refused_and_renews() {
    let Some(certmonger) = Peer::Certmonger.or_not_run() else { return };
    let Some(openssl) = Peer::OpenSsl.or_not_run() else { return };
    let mut site = Site::start(SigningAlgorithm::P256);
    site.usual_accounts();
    site.template(WATCHED);
    let certmonger = Certmonger::start(&certmonger, site.path("certmonger"));
    certmonger.add_ca(&helper(&site, &certmonger));

    let roots = certmonger.file("roots.pem");
    certmonger.request("computer", "Computer", &["-F", roots.to_str().unwrap()]);
    certmonger.wait("computer", "MONITORING");
    let verify = |name: &str| {
        let output = Command::new(&openssl)
            .args(["verify", "-CAfile"])
            .arg(&roots)
            .arg(certmonger.file(name))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    // The roots are those that the helper named.
    verify("computer.pem");
    let known = certmonger.getcert(&["list-cas", "-c", "muster", "-v"]);
    assert!(known.contains("self-identifies as: muster 0."), "{known}");
    // certmonger keeps the templates in its file of the CA.
    let begin = Instant::now();
    loop {
        let cas = std::fs::read_dir(certmonger.file("cas")).unwrap().flatten();
        let kept: String = cas.map(|file| std::fs::read_to_string(file.path()).unwrap_or_default()).collect();
        let profiles = kept.lines().find(|line| line.starts_with("ca_profiles=")).unwrap_or_default();
        if ["Computer", "Watched", "WebServer"].iter().all(|name| profiles.contains(name)) {
            assert!(!profiles.contains("CodeSigning"), "{profiles}");
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "{kept}");
        std::thread::sleep(Duration::from_millis(200));
    }

    certmonger.request("watched", "Watched", &[]);
    certmonger.wait("watched", "CA_WORKING");
    let ids = pending_ids(&site);
    let [id] = ids.as_slice() else { panic!("{ids:?}") };
    site.muster("request", &["approve", id]);
    certmonger.wait("watched", "MONITORING");
    verify("watched.pem");

    certmonger.request("denied", "Watched", &[]);
    certmonger.wait("denied", "CA_WORKING");
    let ids = pending_ids(&site);
    let [id] = ids.as_slice() else { panic!("{ids:?}") };
    site.muster("request", &["deny", id, "--comment", "not today"]);
    let said = certmonger.wait("denied", "CA_REJECTED");
    assert!(said.contains("not today"), "{said}");

    certmonger.request("foreign", "CodeSigning", &[]);
    let said = certmonger.wait("foreign", "CA_REJECTED");
    assert!(said.contains("the policy has no template"), "{said}");

    let before = std::fs::read(certmonger.file("computer.pem")).unwrap();
    let said = certmonger.getcert(&["resubmit", "-i", "computer"]);
    assert!(said.contains("Resubmitting"), "{said}");
    certmonger.wait("computer", "MONITORING");
    let begin = Instant::now();
    while std::fs::read(certmonger.file("computer.pem")).unwrap() == before {
        assert!(begin.elapsed() < Duration::from_secs(40), "{}", certmonger.log());
        std::thread::sleep(Duration::from_millis(200));
    }
    verify("computer.pem");

    site.stop();
    certmonger.request("down", "Computer", &[]);
    let said = certmonger.wait("down", "CA_UNREACHABLE");
    assert!(said.contains("no endpoint could be reached"), "{said}");
    site.serve();
    certmonger.getcert(&["resubmit", "-i", "down"]);
    certmonger.wait("down", "MONITORING");
}

/// The helper by itself, as certmonger would run it.
fn ask(site: &Site, environment: &[(&str, &str)], more: &[&str]) -> (i32, String) {
    let output = Command::new(muster())
        .arg("certmonger-submit")
        .args(more)
        .env("HOME", site.path("home"))
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn helper_answers_with_the_codes_of_certmonger() {
    let site = Site::make(SigningAlgorithm::P256, &muster_server::SystemClock);
    let operation = |name| [("CERTMONGER_OPERATION", name)];
    assert_eq!(ask(&site, &operation("FETCH-SCEP-CA-CAPS"), &[]), (6, String::new()));
    assert_eq!(ask(&site, &operation("SOMETHING-NEW"), &[]).0, 6);
    assert_eq!(ask(&site, &operation("GET-DEFAULT-TEMPLATE"), &[]), (0, String::new()));
    let requirements = (0, "CERTMONGER_CA_PROFILE\n".to_owned());
    assert_eq!(ask(&site, &operation("GET-NEW-REQUEST-REQUIREMENTS"), &[]), requirements);
    assert_eq!(ask(&site, &operation("GET-RENEW-REQUEST-REQUIREMENTS"), &[]), requirements);
    assert!(ask(&site, &operation("IDENTIFY"), &[]).1.starts_with("muster 0."));
    // Without a configuration nothing can be asked for.
    let (code, said) = ask(&site, &operation("FETCH-ROOTS"), &["--config", "/nowhere/client.toml"]);
    assert_eq!(code, 4, "{said}");
    let (code, said) = ask(&site, &operation("GET-SUPPORTED-TEMPLATES"), &[]);
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("no policy server to ask"), "{said}");
    let (code, said) = ask(&site, &operation("SUBMIT"), &[]);
    assert!(code == 4 && said.contains("CERTMONGER_CSR"), "{said}");
    let nonsense = [("CERTMONGER_OPERATION", "SUBMIT"), ("CERTMONGER_CSR", "nonsense")];
    let (code, said) = ask(&site, &nonsense, &[]);
    assert!(code == 2 && said.contains("no certificate request"), "{said}");
    let cookie = [("CERTMONGER_OPERATION", "POLL"), ("CERTMONGER_CA_COOKIE", "bm9uc2Vuc2U=")];
    let (code, said) = ask(&site, &cookie, &[]);
    assert!(code == 2 && said.contains("CERTMONGER_CA_COOKIE"), "{said}");
}
