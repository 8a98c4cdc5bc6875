//! Renewals by accounts of a real directory: with a ticket, with the certificate alone, and what ends both. Names and
//! security identifier of the new certificate are those that the directory has today, and an account that was made anew
//! under the same name inherits nothing. Requests and signatures are OpenSSL's, tickets are used by requests-gssapi.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise, in its helpers too")]

use muster_testkit::ad::Forest;
use muster_testkit::ad_site::AdSite;
use muster_testkit::messages;
use muster_testkit::peers::Peer;
use muster_testkit::site::KEY_BASED;
use muster_testkit::tools::{Answer, Key, OpenSsl, base64, from_base64};
use serde_json::{Value, json};

/// Renewed at any time, also by whoever has nothing but the certificate.
const TEMPLATE: &str = r#"
name = "Renewable"
display_name = "Renewable certificate of a user"
kind = "user"
eku = ["1.3.6.1.5.5.7.3.2"]
[subject]
source = "identity"
common_name = "common_name"
alternatives = ["upn"]
[key]
algorithms = ["p256"]
usage = ["digital_signature"]
[validity]
days = 30
renew_before_days = 5
[renewal]
key_based = true
window_percent = 100
[permissions]
enroll = ["authenticated"]
"#;

/// A certificate and its key, PEM files and octets.
struct Holder {
    der: Vec<u8>,
    pem: String,
    key: String,
}

struct Bed {
    site: AdSite,
    openssl: OpenSsl,
}

/// How a renewal comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    ClientCertificate,
    KeyBased,
}

impl Bed {
    fn or_not_run() -> Option<Self> {
        let openssl = Peer::OpenSsl.or_not_run()?;
        let mut site = AdSite::or_not_run()?;
        site.configure("http", &["HTTP/ces.corp.test"]);
        site.configure_directory(Forest::Corp, "templates = false");
        site.site.template(TEMPLATE);
        site.site.configure(KEY_BASED);
        site.site.serve();
        let openssl = OpenSsl::new(openssl, &site.site);
        Some(Self { site, openssl })
    }

    /// What comes of a request with a fresh ticket of `user`.
    fn with_ticket(&self, user: &str, request: &[u8]) -> Value {
        let mut client = self.site.client(&self.site.ad.kinit(user));
        client.call(&json!({"do": "issue", "request": base64(request)}))
    }

    /// What comes of a request over a connection with the certificate of `holder`.
    fn with_certificate(&self, way: Way, holder: &Holder, request: &[u8]) -> Answer {
        let at = |url: String| url.replace("localhost", "ces.corp.test");
        let url = match way {
            Way::ClientCertificate => at(self.site.site.ces_certificate()),
            Way::KeyBased => format!("{}/key-based", at(self.site.site.certificate_base())),
        };
        let message = messages::issue(&url, None, &base64(request));
        self.site.curl.post(&url, &message, &["--cert", &holder.pem, "--key", &holder.key])
    }

    fn holder(&self, name: &str, key: String, certificate: &str) -> Holder {
        let der = from_base64(certificate);
        let pem = self.openssl.pem(name, &der);
        Holder { der, pem, key }
    }

    /// A first certificate, with a ticket.
    fn enroll(&self, user: &str, name: &str) -> Holder {
        let key = self.openssl.key(Key::P256, name);
        let answer = self.with_ticket(user, &self.openssl.request(&key, "Renewable", &[]));
        let certificate = answer.get("certificate").and_then(Value::as_str);
        assert!(certificate.is_some(), "{answer:#}\n{}", self.site.site.log());
        self.holder(name, key, certificate.unwrap_or_default())
    }

    /// A renewal of what `old` has, its new key first.
    fn renewal(&self, old: &Holder, name: &str) -> (String, Vec<u8>) {
        let key = self.openssl.key(Key::P256, name);
        let request = self.openssl.renewal_request(&key, "Renewable", &[], &old.der);
        (key, self.openssl.cms(&request, &old.pem, &old.key, &[]))
    }

    /// What OpenSSL reads in a certificate.
    fn read(&self, holder: &Holder) -> String {
        let arguments = ["x509", "-in", &holder.pem, "-noout", "-text", "-nameopt", "RFC2253"];
        String::from_utf8(self.openssl.run(&arguments)).unwrap()
    }
}

#[test]
fn renewal_with_a_ticket_has_the_names_and_the_sid_of_today() {
    let Some(bed) = Bed::or_not_run() else { return };
    let ad = &bed.site.ad;
    let user = ad.user(&[]);
    let sid = ad.sid(&user);
    let first = bed.enroll(&user, "first");
    assert!(bed.read(&first).contains(&sid), "{}", bed.read(&first));

    let upn = format!("renamed.{user}@corp.test");
    ad.set(&ad.dn(&user), "userPrincipalName", &[&upn]);
    let mut last = first;
    let mut renew = || {
        let (key, request) = bed.renewal(&last, "renewed");
        let answer = bed.with_ticket(&user, &request);
        let certificate = answer.get("certificate").and_then(Value::as_str);
        assert!(certificate.is_some(), "{answer:#}\n{}", bed.site.site.log());
        last = bed.holder("renewed", key, certificate.unwrap_or_default());
        bed.read(&last)
    };
    let text = AdSite::until(&mut renew, |text| text.contains(&upn));
    assert!(text.contains(&sid) && text.contains(&upn), "{text}");

    // Somebody else's ticket does not renew it.
    let other = ad.user(&[]);
    let refused = bed.with_ticket(&other, &bed.renewal(&last, "stolen").1);
    assert!(refused.to_string().contains("belongs to another account"), "{refused:#}");
}

#[test]
fn account_made_anew_does_not_renew_with_its_ticket_what_the_former_one_had() {
    let Some(bed) = Bed::or_not_run() else { return };
    let ad = &bed.site.ad;
    let user = ad.user(&[]);
    let (old_sid, first) = (ad.sid(&user), bed.enroll(&user, "first"));
    ad.delete(&ad.dn(&user));
    ad.directory(Forest::Corp, &["user", &user]);
    let new_sid = ad.sid(&user);
    assert_ne!(old_sid, new_sid);

    let refused = bed.with_ticket(&user, &bed.renewal(&first, "inherited").1);
    assert!(refused.get("certificate").is_none(), "{refused:#}");
    let reason = refused.get("reason").and_then(Value::as_str).unwrap_or_default();
    assert!(reason.contains("was replaced by another one of the same name"), "{refused:#}");
    // It gets its own.
    let own = bed.read(&bed.enroll(&user, "own"));
    assert!(own.contains(&new_sid) && !own.contains(&old_sid), "{own}");
}

/// Each way in which an account ends, at both endpoints where a certificate is all that there is.
#[test]
fn certificate_renews_until_its_account_is_disabled_deleted_or_made_anew() {
    let Some(bed) = Bed::or_not_run() else { return };
    let ad = &bed.site.ad;
    for way in [Way::ClientCertificate, Way::KeyBased] {
        let user = ad.user(&[]);
        let (dn, sid) = (ad.dn(&user), ad.sid(&user));
        let first = bed.enroll(&user, &format!("{way:?}-first"));
        let (key, request) = bed.renewal(&first, &format!("{way:?}-second"));
        let answer = bed.with_certificate(way, &first, &request);
        assert_eq!(answer.status, 200, "{way:?}: {}", answer.body);
        let certificate = messages::certificate(&answer.body).unwrap();
        let second = bed.holder(&format!("{way:?}-second"), key, certificate);
        let text = bed.read(&second);
        assert!(text.contains(&sid) && text.contains(&format!("{user}@corp.test")), "{way:?}: {text}");

        // The same octets each time: while they are let in they get the answer that they have.
        let (key, request) = bed.renewal(&second, &format!("{way:?}-third"));
        let ask = || bed.with_certificate(way, &second, &request);
        let refused = |when: &str| {
            let answer = AdSite::until(ask, |answer| answer.status == 500);
            assert_eq!(answer.status, 500, "{way:?}, {when}");
            assert!(messages::certificate(&answer.body).is_none(), "{way:?}, {when}: {}", answer.body);
            let sentence = "not issued by this service, or its account may not use it any more";
            assert!(answer.body.contains(sentence), "{way:?}, {when}: {}", answer.body);
        };
        ad.disable(&user);
        refused("disabled");
        ad.set(&dn, "userAccountControl", &["512"]);
        let answer = AdSite::until(ask, |answer| answer.status == 200);
        assert_eq!(answer.status, 200, "{way:?}, enabled: {}", answer.body);
        let third = bed.holder(&format!("{way:?}-third"), key, messages::certificate(&answer.body).unwrap());

        ad.delete(&dn);
        refused("deleted");
        ad.directory(Forest::Corp, &["user", &user]);
        assert_ne!(ad.sid(&user), sid);
        // Time for whatever would take the new account for the old one.
        std::thread::sleep(std::time::Duration::from_secs(2));
        refused("made anew");
        let answer = bed.with_certificate(way, &third, &bed.renewal(&third, &format!("{way:?}-4")).1);
        assert_eq!(answer.status, 500, "{way:?}: {}", answer.body);
    }
}
