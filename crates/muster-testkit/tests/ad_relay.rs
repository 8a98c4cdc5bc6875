//! Callers of a directory at a server whose CA is behind another enrollment service: what that service sees of them.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

#[path = "../../muster-relay/tests/bed/mod.rs"]
mod bed;

use std::fs;

use muster_testkit::ad::{Ad, Forest};
use muster_testkit::ad_site::AdSite;
use muster_testkit::messages;
use muster_testkit::peers::Peer;
use muster_testkit::tools::{Answer, Key, OpenSsl, base64, from_base64};
use serde_json::json;

/// The host of the upstream, and its name in tickets.
const HOST: &str = "ca1.corp.test";
const SERVICE: &str = "HTTP/ca1.corp.test";
const CA: &str = "Upstream CA";

/// A server with a CA of its own and one behind the relay.
struct Bed {
    site: AdSite,
    openssl: OpenSsl,
    upstream: bed::Bed,
}

impl Bed {
    fn make(ad: &Ad, endpoints: &str) -> Option<Self> {
        let (openssl, python) = (Peer::OpenSsl.or_not_run()?, Peer::KerberosPython.or_not_run()?);
        let site = AdSite::or_not_run()?;
        site.site.template(TEMPLATE);
        let keytab = ad.keytab("ca1").display().to_string();
        // What the authority takes from the certificate that is renewed, the program takes from here.
        let [sid, own_sid] = ["alice", "svc-ces"].map(|name| format!("{name}@CORP.TEST={}", ad.sid("alice")));
        let password = format!("alice@CORP.TEST={}", Ad::password("alice"));
        let arguments = ["--keytab", &keytab, "--sid", &sid, "--sid", &own_sid, "--password", &password];
        let upstream = bed::Bed::start_with(&python, HOST, &arguments);
        let own = site.site.ca_name().to_owned();
        site.site.change_configuration(|text| {
            text.replace("[[enrollment_endpoint]]\n", &format!("[[enrollment_endpoint]]\nca = {own:?}\n"))
        });
        let http = site.private_keytab("http");
        site.configure_directory(Forest::Corp, "passwords = true\ntemplates = false");
        let account = site.site.path("own.keytab");
        fs::copy(ad.keytab("svc-ces"), &account).unwrap();
        let url = |sign_in: &str| upstream.settings("issue", sign_in).url.as_str().to_owned();
        site.site.configure(&format!(
            "[kerberos.\"CORP.TEST\"]\nkeytab = {http:?}\nservices = [\"HTTP/ces.corp.test\"]\n\n\
             [[policy_endpoint]]\nauthentication = \"kerberos\"\nlistener = \"password\"\n\n\
             [[enrollment_endpoint]]\nca = {own:?}\nauthentication = \"kerberos\"\nlistener = \"password\"\n\n\
             [ca.{CA:?}]\nbackend = \"relay\"\npassword_url = {:?}\nkerberos_url = {:?}\nca_file = {:?}\n\
             certificates = [{:?}]\naccount = \"svc-ces@CORP.TEST\"\nkeytab = {account:?}\ntemplates = [\"Plain\"]\n\n\
             {endpoints}",
            url("UsernamePassword"),
            url("Kerberos"),
            upstream.path("web.pem"),
            upstream.path("ca.pem"),
        ));
        Some(Self { openssl: OpenSsl::new(openssl, &site.site), site, upstream })
    }

    fn ces(&self, base: &str, authentication: &str) -> String {
        format!("{base}/{CA}_CES_{authentication}/service.svc/CES").replace(' ', "%20")
    }

    fn request(&self, name: &str) -> (String, Vec<u8>) {
        let key = self.openssl.key(Key::P256, name);
        let request = self.openssl.request(&key, "Plain", &[]);
        (key, request)
    }

    fn by_password(&self, request: &[u8]) -> Answer {
        let url = self.ces(&self.site.base(), "UsernamePassword");
        let sign_in = ("alice@corp.test", &*Ad::password("alice"));
        self.site.curl.post(&url, &messages::issue(&url, Some(sign_in), &base64(request)), &[])
    }

    fn with_certificate(&self, pem: &str, key: &str, request: &[u8]) -> Answer {
        let base = self.site.site.certificate_base().replace("localhost", "ces.corp.test");
        let url = self.ces(&base, "Certificate");
        let message = messages::issue(&url, None, &base64(request));
        self.site.curl.post(&url, &message, &["--cert", pem, "--key", key])
    }

    /// Who asked the upstream so far.
    fn seen(&self, count: usize) -> Vec<String> {
        let saw = self.upstream.saw(count);
        saw.iter().map(|line| line["who"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

const TEMPLATE: &str = r#"
name = "Plain"
display_name = "Plain"
kind = "user"
eku = ["1.3.6.1.5.5.7.3.2"]
[subject]
source = "identity"
alternatives = ["upn"]
[key]
algorithms = ["p256"]
usage = ["digital_signature"]
[validity]
days = 365
renew_before_days = 60
[renewal]
window_percent = 100
[permissions]
enroll = ["authenticated"]
"#;

const DELEGATE: &str = r#"
[[enrollment_endpoint]]
ca = "Upstream CA"
authentication = "kerberos"
listener = "password"
identity = "delegate"

[[enrollment_endpoint]]
ca = "Upstream CA"
authentication = "username_password"
listener = "password"
identity = "delegate"

[[enrollment_endpoint]]
ca = "Upstream CA"
authentication = "client_certificate"
listener = "certificate"
identity = "delegate"
"#;

/// By ticket, by password, and by a certificate that is mapped to the account; and by none of the first and last when the
/// directory takes the permission away.
#[test]
fn upstream_sees_the_caller_and_never_the_service_in_its_place() {
    Ad::of_its_own("", |ad| {
        let Some(mut bed) = Bed::make(ad, DELEGATE) else { return };
        let dn = ad.dn("svc-ces");
        ad.set(&dn, "msDS-AllowedToDelegateTo", &[SERVICE]);
        // NORMAL_ACCOUNT, DONT_EXPIRE_PASSWORD, TRUSTED_TO_AUTH_FOR_DELEGATION.
        ad.set(&dn, "userAccountControl", &[&(0x1_0200 | 0x100_0000).to_string()]);
        bed.site.site.serve();
        let log = |bed: &Bed| bed.site.site.log();
        let (cep, ces) = (bed.site.cep(), bed.ces(&bed.site.base(), "Kerberos"));
        let mut alice = bed.site.client_at(&ad.kinit("alice"), &cep, &ces);

        let (_, request) = bed.request("ticket");
        let answer = alice.call(&json!({"do": "issue", "request": base64(&request)}));
        assert!(answer["certificate"].is_string(), "{answer:#}\n{}", log(&bed));
        let answer = bed.by_password(&bed.request("password").1);
        assert_eq!(answer.status, 200, "{}\n{}", answer.body, log(&bed));
        // Her certificate is of the CA of this installation.
        let own = bed.site.ces();
        let mut at_own = bed.site.client_at(&ad.kinit("alice"), &cep, &own);
        let (key, request) = bed.request("own");
        let answer = at_own.call(&json!({"do": "issue", "request": base64(&request)}));
        let certificate = answer["certificate"].as_str();
        let certificate = certificate.unwrap_or_else(|| panic!("{answer:#}\n{}", log(&bed)));
        let pem = bed.openssl.pem("own", &from_base64(certificate));
        let answer = bed.with_certificate(&pem, &key, &bed.request("mapped").1);
        assert_eq!(answer.status, 200, "{}\n{}", answer.body, log(&bed));
        assert_eq!(bed.seen(3), ["alice@CORP.TEST"; 3]);
        assert!(bed.upstream.saw(3).iter().filter(|line| line["bound"] == true).count() == 2);

        ad.set(&dn, "msDS-AllowedToDelegateTo", &[]);
        bed.site.site.stop();
        bed.site.site.serve();
        let mut alice = bed.site.client_at(&ad.kinit("alice"), &cep, &ces);
        let (_, request) = bed.request("refused");
        let answer = alice.call(&json!({"do": "issue", "request": base64(&request)}));
        assert!(answer["certificate"].is_null(), "{answer:#}\n{}", log(&bed));
        let answer = bed.with_certificate(&pem, &key, &bed.request("refused too").1);
        assert_eq!(answer.status, 500, "{}", answer.body);
        assert_eq!(bed.seen(3).len(), 3, "{answer:?}");
        // A password needs nobody's permission.
        assert_eq!(bed.by_password(&bed.request("password again").1).status, 200);
    });
}

const RENEW: &str = r#"
[[enrollment_endpoint]]
ca = "Upstream CA"
authentication = "username_password"
listener = "password"
identity = "delegate"

[[enrollment_endpoint]]
ca = "Upstream CA"
authentication = "username_password"
listener = "password"
path = "/renew"
identity = "renew_on_behalf"
renewal_only = true
"#;

#[test]
fn renewal_is_asked_for_with_the_services_own_account() {
    let Some(ad) = Ad::or_not_run() else { return };
    let Some(mut bed) = Bed::make(&ad, RENEW) else { return };
    bed.site.site.serve();
    let (key, request) = bed.request("first");
    let answer = bed.by_password(&request);
    let first = messages::certificate(&answer.body);
    let first = from_base64(first.unwrap_or_else(|| panic!("{}\n{}", answer.body, bed.site.site.log())));
    let url = format!("{}/renew", bed.site.base());
    let renew = |request: &[u8]| {
        let sign_in = ("alice@corp.test", &*Ad::password("alice"));
        bed.site.curl.post(&url, &messages::issue(&url, Some(sign_in), &base64(request)), &[])
    };
    assert_eq!(renew(&bed.request("new").1).status, 500, "not a renewal");
    let new = bed.openssl.key(Key::P256, "second");
    let inner = bed.openssl.renewal_request(&new, "Plain", &[], &first);
    let cms = bed.openssl.cms(&inner, &bed.openssl.pem("first", &first), &key, &[]);
    let answer = renew(&cms);
    assert_eq!(answer.status, 200, "{}\n{}", answer.body, bed.site.site.log());
    assert_eq!(bed.seen(2), ["alice@CORP.TEST", "svc-ces@CORP.TEST"]);
    assert_eq!(bed.upstream.saw(2)[1]["kind"], "PKCS7");
}
