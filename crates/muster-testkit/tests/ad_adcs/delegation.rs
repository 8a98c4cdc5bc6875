//! The caller's own identity at the authority, by delegation; and none when it is taken away.

use muster_testkit::ad::Ad;
use muster_testkit::messages;
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
authentication = "client_certificate"
listener = "certificate"
identity = "delegate"
"#;

fn issue(bed: &Bed, client: &mut muster_testkit::ad_site::Client, template: &str, name: &str) -> Value {
    let key = bed.openssl.key(Key::P256, name);
    let request = bed.openssl.request(&key, template, &[]);
    client.call(&json!({"do": "issue", "request": base64(&request)}))
}

/// AC-1.2, AC-1.3, AC-1.4.
#[test]
fn ac_1_2_1_3_1_4_authority_sees_the_caller_and_never_the_service_in_its_place() {
    Ad::of_its_own("", |ad| {
        let arguments = ["alice", "PC1$"].map(|name| ["--sid-of".to_owned(), Bed::sid_of(ad, name)]).concat();
        let plan = Plan {
            name: NAME,
            templates: &["Plain", "Computer"],
            protocol: "dcom",
            arguments,
            endpoints: ENDPOINTS,
        };
        let Some(mut bed) = Bed::make(&plan) else { return };
        let services = [format!("HOST/{HOST}"), format!("RPCSS/{HOST}")];
        let services: Vec<&str> = services.iter().map(String::as_str).collect();
        ad.set(&ad.dn("svc-ces"), "msDS-AllowedToDelegateTo", &services);
        bed.site.site.serve();
        let (cep, ces) = (bed.site.cep(), bed.ces(NAME, "Kerberos"));

        // The policy names the template, the CA and its address.
        let mut alice = bed.site.client_at(&ad.kinit("alice"), &cep, &ces);
        let templates = muster_testkit::ad_site::AdSite::until(|| alice.templates(), |all| !all.is_empty());
        assert!(templates.contains(&("Plain".to_owned(), true, false)), "{templates:?}");
        let answer = issue(&bed, &mut alice, "Plain", "alice");
        let certificate = answer["certificate"].as_str();
        let certificate = certificate.unwrap_or_else(|| panic!("{answer:#}\n{}", bed.site.site.log()));
        let text = bed.read(certificate, "alice");
        assert!(text.contains(&format!("Issuer: CN={NAME}")), "{text}");
        assert!(text.replace('\n', "").contains(&ad.sid("alice")), "{text}");
        // A computer, too.
        let mut pc1 = bed.site.client_at(&ad.machine("pc1", "PC1$"), &cep, &ces);
        let answer = issue(&bed, &mut pc1, "Computer", "pc1");
        assert!(answer["certificate"].is_string(), "{answer:#}\n{}", bed.site.site.log());
        let seen = bed.authority.requests().concat();
        assert!(
            seen.contains("\"who\": \"alice@CORP.TEST\"") && seen.contains("\"who\": \"PC1$@CORP.TEST\""),
            "{seen}"
        );
        assert!(!seen.contains("svc-ces"), "{seen}");
        let rows = bed.site.site.muster("request", &["list", "--json"]);
        assert!(rows.contains(r"corp.test\\alice") && rows.contains(NAME), "{rows}");

        // Taken away: a fault for the caller, nothing for the authority.
        ad.set(&ad.dn("svc-ces"), "msDS-AllowedToDelegateTo", &[]);
        bed.site.site.stop();
        bed.site.site.serve();
        let before = bed.authority.requests().len();
        let mut alice = bed.site.client_at(&ad.kinit("alice"), &cep, &ces);
        let answer = issue(&bed, &mut alice, "Plain", "refused");
        assert!(answer["certificate"].is_null(), "{answer:#}");
        assert!(
            answer.to_string().contains("does not permit this service to ask"),
            "{answer:#}\n{}",
            bed.site.site.log()
        );
        assert_eq!(bed.authority.requests().len(), before);
    });
}

/// The second half of AC-5.8: the certificate is mapped to an account, and the authority sees that account.
#[test]
fn ac_5_8_account_of_a_certificate_is_seen_by_the_authority() {
    Ad::of_its_own("", |ad| {
        let arguments = vec!["--sid-of".to_owned(), Bed::sid_of(ad, "alice")];
        let plan =
            Plan { name: NAME, templates: &["Plain"], protocol: "dcom", arguments, endpoints: ENDPOINTS };
        let Some(mut bed) = Bed::make(&plan) else { return };
        let services = [format!("HOST/{HOST}"), format!("RPCSS/{HOST}")];
        let services: Vec<&str> = services.iter().map(String::as_str).collect();
        let dn = ad.dn("svc-ces");
        ad.set(&dn, "msDS-AllowedToDelegateTo", &services);
        // NORMAL_ACCOUNT, DONT_EXPIRE_PASSWORD, TRUSTED_TO_AUTH_FOR_DELEGATION.
        ad.set(&dn, "userAccountControl", &[&(0x1_0200 | 0x100_0000).to_string()]);
        // Her certificate is of the CA of the installation, which an account of the directory had with a ticket.
        bed.site.site.configure(&format!(
            "[[enrollment_endpoint]]\nca = {:?}\nauthentication = \"kerberos\"\nlistener = \"password\"\n",
            bed.site.site.ca_name()
        ));
        bed.site.site.serve();
        let own = bed.site.ces();
        let mut alice = bed.site.client_at(&ad.kinit("alice"), &bed.site.cep(), &own);
        let key = bed.openssl.key(Key::P256, "own");
        let request = bed.openssl.request(&key, "Plain", &[]);
        let answer = alice.call(&json!({"do": "issue", "request": base64(&request)}));
        let certificate = answer["certificate"].as_str();
        let certificate = certificate.unwrap_or_else(|| panic!("{answer:#}\n{}", bed.site.site.log()));
        let pem = bed.openssl.pem("own", &from_base64(certificate));

        let base = bed.site.site.certificate_base().replace("localhost", "ces.corp.test");
        let url = format!("{base}/{NAME}_CES_Certificate/service.svc/CES").replace(' ', "%20");
        let message = messages::issue(&url, None, &base64(&bed.request("Plain")));
        let answer = bed.site.curl.post(&url, &message, &["--cert", &pem, "--key", &key]);
        assert_eq!(answer.status, 200, "{}\n{}", answer.body, bed.site.site.log());
        assert!(messages::certificate(&answer.body).is_some(), "{}", answer.body);
        let seen = bed.authority.requests().concat();
        assert!(seen.contains("\"who\": \"alice@CORP.TEST\"") && !seen.contains("svc-ces"), "{seen}");
    });
}
