//! The deployments "intranet with several forests" and "perimeter": the acceptance criteria AC-2.x and AC-3.x that need
//! no AD CS. CORP.TEST has the services, PARTNER.TEST trusts it and is trusted, OTHER.TEST is alone.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise, in its helpers too"
)]

use muster_testkit::ad::{Ad, Forest};
use muster_testkit::ad_site::{AdSite, Client};
use muster_testkit::messages;
use muster_testkit::peers::Peer;
use muster_testkit::tools::{Key, OpenSsl, base64, from_base64};
use serde_json::{Value, json};

const PUBLISHED: &[&str] = &["PartnerUser", "EnrollersUser", "UserPending", "DenyContractors"];

/// Services in CORP.TEST for its accounts and those of PARTNER.TEST.
fn site() -> Option<(AdSite, OpenSsl)> {
    let openssl = Peer::OpenSsl.or_not_run()?;
    let mut site = AdSite::intranet(PUBLISHED)?;
    site.configure_directory(Forest::Partner, "templates = false\ntrusted_by = \"corp.test\"");
    site.site.serve();
    let openssl = OpenSsl::new(openssl, &site.site);
    Some((site, openssl))
}

fn ready(site: &AdSite, mut client: Client) -> Client {
    let templates = AdSite::until(
        || client.call(&json!({"do": "policies"})),
        |answer| answer["templates"].as_array().is_some_and(|all| !all.is_empty()),
    );
    assert!(templates["templates"].is_array(), "{templates}: {}", site.site.log());
    client
}

fn issue(client: &mut Client, openssl: &OpenSsl, template: &str, name: &str) -> Value {
    let key = openssl.key(Key::Rsa2048, name);
    let request = openssl.request(&key, template, &[]);
    client.call(&json!({"do": "issue", "request": base64(&request)}))
}

fn read(openssl: &OpenSsl, answer: &Value, name: &str) -> String {
    let certificate = answer["certificate"].as_str().unwrap_or_default();
    assert!(!certificate.is_empty(), "not issued: {answer}");
    let pem = openssl.pem(name, &from_base64(certificate));
    String::from_utf8(openssl.run(&["x509", "-in", &pem, "-noout", "-text", "-nameopt", "RFC2253"])).unwrap()
}

#[test]
fn ac_2_1_user_of_a_trusted_forest_is_judged_by_local_groups_of_this_one() {
    let Some((site, openssl)) = site() else { return };
    let mut petra = ready(&site, site.client(&site.ad.kinit("petra@PARTNER.TEST")));
    assert_eq!(petra.may_enroll("PartnerUser"), Some(true));
    assert_ne!(petra.may_enroll("EnrollersUser"), Some(true));
    let text = read(&openssl, &issue(&mut petra, &openssl, "PartnerUser", "petra"), "petra");
    let sid = site.ad.directory(Forest::Partner, &["sid", "petra"]).concat();
    assert!(sid.starts_with("S-1-5-21-1002-") && text.contains(&sid), "{sid}: {text}");
    // Paul is of the same forest, but not in the group.
    let mut paul = ready(&site, site.client(&site.ad.kinit("paul@PARTNER.TEST")));
    assert_ne!(paul.may_enroll("PartnerUser"), Some(true));
    let refused = issue(&mut paul, &openssl, "PartnerUser", "paul");
    assert!(refused["fault"].is_string(), "{refused}");
}

#[test]
fn ac_2_2_names_are_read_in_the_forest_of_the_account() {
    let Some((site, openssl)) = site() else { return };
    let mut petra = ready(&site, site.client(&site.ad.kinit("petra@PARTNER.TEST")));
    let text = read(&openssl, &issue(&mut petra, &openssl, "PartnerUser", "petra"), "petra");
    assert!(text.contains("petra@partner.test"), "{text}");
    assert!(text.contains("DC=partner,DC=test"), "{text}");
    assert!(!text.contains("DC=corp"), "the subject is of the other forest: {text}");
    let listed = site.site.muster("cert", &["list", "--json"]);
    assert!(listed.contains(r"partner.test\\petra"), "{listed}");
}

#[test]
fn ac_2_4_without_a_trust_nobody_gets_in_and_nothing_is_told() {
    let Some((site, _)) = site() else { return };
    // There is no ticket for this service.
    let oscar = site.ad.kinit("oscar@OTHER.TEST");
    let ran = oscar.run("kvno", &["HTTP/ces.corp.test@OTHER.TEST"]);
    assert!(!ran.ok, "{}", ran.all());
    let answer = site.client(&oscar).call(&json!({"do": "policies"}));
    assert_eq!(answer["status"], 401, "{answer}");
    // And the password of such a user is answered like that of nobody at all.
    let url = site.site.cep().replace("localhost", "ces.corp.test");
    let ask = |user: &str, password: &str| {
        let message = messages::get_policies(&url, Some((user, password)));
        let answer = site.curl.post(&url, &message, &[]);
        let (before, _) = answer.body.split_once("(reference").unwrap_or((&answer.body, ""));
        (
            answer.status,
            messages::text(before, "Text").map(str::to_owned).unwrap_or_else(|| before.to_owned()),
        )
    };
    let (status, there) = ask("oscar@other.test", &Ad::password("oscar"));
    let (nobody_status, nobody) = ask("nobody@other.test", "wrong");
    assert_eq!((status, &there), (nobody_status, &nobody));
    assert_ne!(status, 200);
    for word in ["OTHER", "partner", "trust", "realm"] {
        assert!(!there.contains(word), "{word} in {there}");
    }
}

#[test]
fn ac_2_4_removed_trust_ends_tickets_and_passwords_without_a_word() {
    Ad::of_its_own("", |ad| {
        let mut site = AdSite::intranet(PUBLISHED).unwrap();
        site.configure_directory(
            Forest::Partner,
            "templates = false\ntrusted_by = \"corp.test\"\npasswords = true",
        );
        site.site.serve();
        let petra = ad.kinit("petra@PARTNER.TEST");
        assert_eq!(ready(&site, site.client(&petra)).may_enroll("PartnerUser"), Some(true));
        let url = site.site.cep().replace("localhost", "ces.corp.test");
        let ask = |user: &str, password: &str| {
            let answer = site.curl.post(&url, &messages::get_policies(&url, Some((user, password))), &[]);
            let (before, _) = answer.body.split_once("(reference").unwrap_or((&answer.body, ""));
            (answer.status, messages::text(before, "Text").unwrap_or(before).to_owned())
        };
        let paul = Ad::password("paul");
        assert_eq!(ask("paul@partner.test", &paul).0, 200);

        for (forest, other, account) in
            [(Forest::Corp, Forest::Partner, "PARTNER$"), (Forest::Partner, Forest::Corp, "CORP$")]
        {
            let domain = other.realm().to_ascii_lowercase();
            ad.directory(forest, &["delete", &format!("CN={domain},CN=System,{}", forest.base())]);
            ad.directory(forest, &["delete", &format!("CN={account},CN=Users,{}", forest.base())]);
        }
        // She still logs on at home, and gets no ticket for this service any more.
        let later = ad.kinit("petra@PARTNER.TEST");
        let ran = later.run("kvno", &["HTTP/ces.corp.test@CORP.TEST"]);
        assert!(!ran.ok, "{}", ran.all());
        let answer = site.client(&later).call(&json!({"do": "policies"}));
        assert_eq!(answer["status"], 401, "{answer}");
        // His password is right, and is answered like one of nobody; so are guesses.
        let nobody = ask("nobody@partner.test", "wrong");
        let answer =
            AdSite::until(|| ask("petra@partner.test", &Ad::password("petra")), |answer| *answer == nobody);
        assert_eq!(answer, nobody);
        assert_eq!(nobody.0, 500);
        for word in ["PARTNER", "partner", "CORP", "trust", "realm", "KDC"] {
            assert!(!nobody.1.contains(word), "{word} in {}", nobody.1);
        }
        // A ticket of before the end is good until it ends: no domain controller is asked about it.
        let before = site.client(&petra).call(&json!({"do": "policies"}));
        assert!(before["templates"].is_array(), "{before}");
        let log = site.site.log();
        assert!(log.contains("does the trust still exist?"), "{log}");
    });
}

#[test]
fn forests_without_a_trust_are_served_side_by_side_each_with_its_own_templates() {
    let Some(site) = AdSite::intranet(&["EnrollersUser", "UserPending"]) else { return };
    let Some(openssl) = Peer::OpenSsl.or_not_run() else { return };
    let mut site = site;
    // The other forest knows this service by another name, with another key.
    let keytab = site.site.path("other.keytab");
    std::fs::copy(site.ad.keytab("http.other"), &keytab).unwrap();
    site.site.configure(&format!(
        "[kerberos.\"OTHER.TEST\"]\nkeytab = {keytab:?}\nservices = [\"HTTP/ces.other.test\"]\n"
    ));
    site.configure_directory(Forest::Other, "");
    site.publish(Forest::Other, &["User", "UserPending"]);
    site.site.change_configuration(|text| {
        text.replace("names = [\"ces.corp.test\"", "names = [\"ces.other.test\", \"ces.corp.test\"")
    });
    site.site.serve();
    let openssl = OpenSsl::new(openssl, &site.site);
    let here = ready(&site, site.client(&site.ad.kinit("alice"))).templates();
    assert!(here.iter().any(|(name, enroll, _)| name == "EnrollersUser" && *enroll), "{here:?}");
    let there = |url: String| url.replace("ces.corp.test", "ces.other.test");
    let oscar = site.ad.kinit("oscar@OTHER.TEST");
    let mut oscar = ready(&site, site.client_at(&oscar, &there(site.cep()), &there(site.ces())));
    let names: Vec<String> = oscar.templates().into_iter().map(|(name, _, _)| name).collect();
    assert!(
        !names.contains(&"EnrollersUser".to_owned()) && names.contains(&"UserPending".to_owned()),
        "{names:?}"
    );
    let pending = issue(&mut oscar, &openssl, "UserPending", "oscar");
    let id = pending["id"].as_str().unwrap_or_default();
    site.site.muster("request", &["approve", id]);
    let text = read(&openssl, &oscar.call(&json!({"do": "query", "id": id})), "oscar");
    let sid = site.ad.directory(Forest::Other, &["sid", "oscar"]).concat();
    assert!(text.contains(&sid) && text.contains("oscar@other.test"), "{text}");
}

/// Services in the perimeter: passwords over the Internet, and only LDAP and Kerberos inward.
fn perimeter() -> Option<(AdSite, OpenSsl)> {
    let openssl = Peer::OpenSsl.or_not_run()?;
    let site = AdSite::or_not_run()?;
    let mut site = site;
    site.configure("http", &["HTTP/ces.corp.test"]);
    site.configure_directory(Forest::Corp, "passwords = true");
    site.publish(Forest::Corp, PUBLISHED);
    site.site.serve();
    let openssl = OpenSsl::new(openssl, &site.site);
    Some((site, openssl))
}

/// The directory writes down who changes what, so that a read-only domain controller would do.
#[test]
fn ac_3_1_nothing_in_the_directory_is_written() {
    let Some((site, openssl)) = perimeter() else { return };
    let mut alice = ready(&site, site.client(&site.ad.kinit("alice")));
    read(&openssl, &issue(&mut alice, &openssl, "EnrollersUser", "alice"), "alice");
    let url = site.site.cep();
    let message = messages::get_policies(&url, Some(("alice@corp.test", &Ad::password("alice"))));
    assert_eq!(site.curl.post(&url, &message, &[]).status, 200);
    assert_eq!(site.ad.changes_by(&site.ad.sid("svc-ces")), Vec::<Value>::new());
    // What the bed itself writes, as the administrator, is in the same log.
    let administrator = site.ad.sid("Administrator");
    let written = site.ad.changes_by(&administrator);
    assert!(written.iter().any(|change| change.to_string().contains(site.site.ca_name())), "{written:?}");
}

#[test]
fn ac_3_2_passwords_get_no_challenge_and_guesses_stop_before_the_account_is_locked() {
    let Some((site, _)) = perimeter() else { return };
    let user = site.ad.user(&["CertEnrollers"]);
    let url = site.site.cep();
    let ask = |password: &str| {
        let message = messages::get_policies(&url, Some((&format!("{user}@corp.test"), password)));
        site.curl.post(&url, &message, &["--include"])
    };
    let good = AdSite::until(|| ask(&Ad::password(&user)), |answer| answer.status == 200);
    assert!(good.body.contains("EnrollersUser"), "{}: {}", good.body, site.site.log());
    for n in 0..10 {
        let answer = ask(&format!("wrong-{n}"));
        assert_ne!(answer.status, 401, "{}", answer.body);
        assert!(!answer.body.to_ascii_lowercase().contains("www-authenticate"), "{}", answer.body);
        assert!(!answer.body.contains("GetPoliciesResponse"));
    }
    // The directory would have locked the account after five.
    site.ad.kinit(&user);
}

/// Whatever is logged, also what only developers look at, and whatever is kept or answered.
#[test]
fn ac_3_4_passwords_are_nowhere() {
    let Some(site) = AdSite::or_not_run() else { return };
    let mut site = site;
    site.configure("http", &["HTTP/ces.corp.test"]);
    site.configure_directory(Forest::Corp, "passwords = true");
    site.publish(Forest::Corp, PUBLISHED);
    let mut program = std::process::Command::new(muster_testkit::peers::muster());
    site.site.serve_by({
        program.env("RUST_LOG", "trace");
        program
    });
    let right = Ad::password("alice");
    let (wrong, odd) = ("canary-5f1c0e", "canary-\u{e9}&amp;<>\"'");
    let url = site.site.cep();
    let mut answers = String::new();
    for (user, password) in [
        ("alice@corp.test", right.as_str()),
        ("alice@corp.test", wrong),
        ("nobody@corp.test", wrong),
        ("canary", odd),
    ] {
        let message = messages::get_policies(&url, Some((user, password)));
        answers += &site.curl.post(&url, &message, &["--include"]).body;
        // Cut, with a broken end, at the other service, and where nobody asks for a password.
        for damaged in [
            message.split_once("</o:Security>").unwrap().0,
            &message.replace("</", "<"),
            &message.replace("Password", "Passwort"),
        ] {
            answers += &site.curl.post(&url, damaged, &["--include"]).body;
        }
        for other in [site.site.ces(), site.cep(), site.site.base()] {
            answers += &site.curl.post(&other, &message, &["--include"]).body;
        }
    }
    assert!(answers.contains("GetPoliciesResponse"), "nobody was let in: {answers}");
    let log = site.site.log();
    assert!(log.contains("TRACE") && log.contains("alice"), "{log}");
    site.site.stop();
    let mut kept = walk(&site.site.installed("."));
    kept.push(("the log".into(), log.into_bytes()));
    kept.push(("an answer".into(), answers.into_bytes()));
    assert!(kept.len() > 5);
    for (place, octets) in kept {
        for secret in [right.as_str(), wrong, "canary-\u{e9}"] {
            let found = octets.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!found, "{secret} in {}", place.display());
        }
    }
}

fn walk(folder: &std::path::Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(walk(&path));
        } else {
            files.push((path.clone(), std::fs::read(&path).unwrap()));
        }
    }
    files
}
