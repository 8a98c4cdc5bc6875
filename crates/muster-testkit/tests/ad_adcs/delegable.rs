//! Who is not delegated, and why; who is although one would think not.

use muster_testkit::ad::{Ad, Forest};
use muster_testkit::ad_site::Client;
use muster_testkit::executable::run;
use muster_testkit::messages;
use muster_testkit::site::PASSWORD;
use muster_testkit::tools::{Key, base64, from_base64};
use serde_json::{Value, json};

use crate::bed::{Bed, HOST, Plan};

const NAME: &str = "Corp Issuing CA";
const ENDPOINTS: &str = r#"
[[enrollment_endpoint]]
ca = "CA"
authentication = "kerberos"
listener = "password"
identity = "delegate"

[[enrollment_endpoint]]
ca = "CA"
authentication = "username_password"
listener = "password"
identity = "delegate"

[[enrollment_endpoint]]
ca = "CA"
authentication = "client_certificate"
listener = "certificate"
identity = "delegate"
"#;

/// An installation that may delegate by any protocol, to an authority that knows these accounts.
fn bed(ad: &Ad, accounts: &[&str]) -> Option<Bed> {
    let petra = format!("petra@PARTNER.TEST={}", ad.directory(Forest::Partner, &["sid", "petra"]).concat());
    let known = accounts.iter().map(|name| Bed::sid_of(ad, name)).chain([petra]);
    let arguments = known.flat_map(|sid| ["--sid-of".to_owned(), sid]).collect();
    let plan = Plan { name: NAME, templates: &["Plain"], protocol: "dcom", arguments, endpoints: ENDPOINTS };
    let bed = Bed::make(&plan)?;
    let services = [format!("HOST/{HOST}"), format!("RPCSS/{HOST}")];
    let services: Vec<&str> = services.iter().map(String::as_str).collect();
    let dn = ad.dn("svc-ces");
    ad.set(&dn, "msDS-AllowedToDelegateTo", &services);
    // NORMAL_ACCOUNT, DONT_EXPIRE_PASSWORD, TRUSTED_TO_AUTH_FOR_DELEGATION.
    ad.set(&dn, "userAccountControl", &[&(0x1_0200 | 0x100_0000).to_string()]);
    Some(bed)
}

fn issue(bed: &Bed, client: &mut Client, name: &str) -> Value {
    let key = bed.openssl.key(Key::P256, name);
    let request = bed.openssl.request(&key, "Plain", &[]);
    client.call(&json!({"do": "issue", "request": base64(&request)}))
}

fn has_certificate(bed: &Bed, answer: &Value) {
    assert!(answer["certificate"].is_string(), "{answer:#}\n{}", bed.site.site.log());
}

#[track_caller]
fn is_refused(bed: &Bed, answer: &Value, sentence: &str, code: &str) {
    let reason = answer["reason"].as_str().unwrap_or_default();
    assert!(reason.starts_with(sentence), "{answer:#}\n{}", bed.site.site.log());
    assert_eq!(answer["ErrorCode"], json!("-2147024891"), "{answer:#}");
    let (_, reference) = reason.rsplit_once("(reference ").unwrap();
    let reference = reference.split(')').next().unwrap();
    let log = bed.site.site.log();
    let line = log.lines().find(|line| line.contains(reference)).unwrap_or_default();
    assert!(line.contains(code), "{line}");
}

#[test]
fn sensitive_and_protected_accounts_are_refused_in_words_of_their_own() {
    Ad::of_its_own("", |ad| {
        let Some(mut bed) = bed(ad, &["bob", "carol"]) else { return };
        // Her certificate is of the CA of the installation.
        bed.site.site.configure(&format!(
            "[[enrollment_endpoint]]\nca = {:?}\nauthentication = \"kerberos\"\nlistener = \"password\"\n",
            bed.site.site.ca_name()
        ));
        bed.site.site.serve();
        let (cep, ces) = (bed.site.cep(), bed.ces(NAME, "Kerberos"));
        let key = bed.openssl.key(Key::P256, "own");
        let request = base64(&bed.openssl.request(&key, "Plain", &[]));
        let mut carol = bed.site.client_at(&ad.kinit("carol"), &cep, &bed.site.ces());
        let answer = carol.call(&json!({"do": "issue", "request": request}));
        has_certificate(&bed, &answer);
        let own = bed.openssl.pem("own", &from_base64(answer["certificate"].as_str().unwrap()));
        has_certificate(&bed, &issue(&bed, &mut bed.site.client_at(&ad.kinit("bob"), &cep, &ces), "before"));

        // NOT_DELEGATED.
        ad.set(&ad.dn("bob"), "userAccountControl", &[&(0x1_0200 | 0x10_0000).to_string()]);
        ad.set(&ad.dn("Protected Users"), "member", &[&ad.dn("carol")]);
        bed.site.site.stop();
        bed.site.site.serve();
        let before = bed.authority.requests().len();
        for (user, sentence, code) in [
            ("bob", "Your account is sensitive and cannot be delegated", "DELEGATION_SENSITIVE"),
            ("carol", "Your account is one of the Protected Users", "DELEGATION_PROTECTED"),
        ] {
            let answer = issue(&bed, &mut bed.site.client_at(&ad.kinit(user), &cep, &ces), user);
            is_refused(&bed, &answer, sentence, code);
        }
        // By certificate as well, where some KDCs would not have minded.
        let base = bed.site.site.certificate_base().replace("localhost", "ces.corp.test");
        let url = format!("{base}/{NAME}_CES_Certificate/service.svc/CES").replace(' ', "%20");
        let message = messages::issue(&url, None, &base64(&bed.request("Plain")));
        let answer = bed.site.curl.post(&url, &message, &["--cert", &own, "--key", &key]);
        assert!(answer.body.contains("Your account is one of the Protected Users"), "{}", answer.body);
        assert_eq!(bed.authority.requests().len(), before);

        // Their passwords are enough: nobody is delegated.
        for user in ["bob", "carol"] {
            let answer = bed.by_password(NAME, user, &bed.request("Plain"));
            assert_eq!(answer.status, 200, "{}\n{}", answer.body, bed.site.site.log());
            assert!(messages::certificate(&answer.body).is_some(), "{}", answer.body);
            assert!(!bed.site.site.log().contains(&Ad::password(user)));
        }
        let seen = bed.authority.requests().concat();
        assert!(seen.contains("bob@CORP.TEST") && seen.contains("carol@CORP.TEST"), "{seen}");
        assert!(!seen.contains("svc-ces"), "{seen}");
    });
}

/// A client that sends its own ticket along, as some do to every server; and one of a trusted forest (AC-2.3).
#[test]
fn callers_with_more_than_a_ticket_and_from_elsewhere_are_seen_by_the_authority() {
    Ad::of_its_own("", |ad| {
        let Some(mut bed) = bed(ad, &["alice"]) else { return };
        bed.site.configure_directory(
            Forest::Partner,
            "trusted_by = \"corp.test\"\npasswords = true\ntemplates = false",
        );
        bed.site.site.serve();
        let (cep, ces) = (bed.site.cep(), bed.ces(NAME, "Kerberos"));
        let mut alice = bed.site.client_at(&ad.kinit("alice"), &cep, &ces);
        alice.call(&json!({"do": "forward"}));
        has_certificate(&bed, &issue(&bed, &mut alice, "alice"));
        let mut petra = bed.site.client_at(&ad.kinit("petra@PARTNER.TEST"), &cep, &ces);
        let answer = issue(&bed, &mut petra, "petra");
        has_certificate(&bed, &answer);
        let seen = bed.authority.requests().concat();
        assert!(seen.contains("alice@CORP.TEST") && seen.contains("petra@PARTNER.TEST"), "{seen}");
    });
}

#[test]
fn account_of_the_installation_alone_is_refused() {
    let plan =
        Plan { name: NAME, templates: &["Plain"], protocol: "dcom", arguments: vec![], endpoints: ENDPOINTS };
    let Some(mut bed) = Bed::make(&plan) else { return };
    bed.site.site.account("local", "user", &[]);
    bed.site.site.serve();
    let url = bed.ces(NAME, "UsernamePassword");
    let message = messages::issue(&url, Some(("local", PASSWORD)), &base64(&bed.request("Plain")));
    let answer = bed.site.curl.post(&url, &message, &[]);
    assert!(answer.body.contains("Your account is one of this service alone"), "{}", answer.body);
    assert_eq!(bed.authority.requests(), Vec::<String>::new());
}

/// A ticket is evidence for the account that it is for.
#[test]
fn service_whose_tickets_are_for_another_account_does_not_start() {
    let plan =
        Plan { name: NAME, templates: &["Plain"], protocol: "dcom", arguments: vec![], endpoints: ENDPOINTS };
    let Some(bed) = Bed::make(&plan) else { return };
    std::fs::copy(bed.ad().keytab("pc1"), bed.site.site.path("own.keytab")).unwrap();
    let keytab = format!("keytab = {:?}", bed.site.site.path("own.keytab"));
    bed.site.site.change_configuration(|text| {
        let own = |account: &str| format!("account = \"{account}\"\n{keytab}");
        text.replace(&own("svc-ces@CORP.TEST"), &own("PC1$@CORP.TEST"))
    });
    let config = bed.site.site.installed("muster.toml");
    let ran = run(&["serve".as_ref(), "--config".as_ref(), config.as_os_str()]);
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert_eq!(ran.status.code(), Some(1), "{said}");
    assert!(said.contains("PC1$@CORP.TEST: callers' tickets are for HTTP/ces.corp.test@CORP.TEST"), "{said}");
}
