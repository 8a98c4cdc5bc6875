//! An installation with a CA of its own for TLS, and an authority of AD CS behind it.

use std::fs;

use muster_testkit::ad::{Ad, Forest};
use muster_testkit::ad_site::AdSite;
use muster_testkit::adcs::Authority;
use muster_testkit::messages;
use muster_testkit::peers::Peer;
use muster_testkit::tools::{Answer, Key, OpenSsl, base64};

/// The host of the authority in the directory.
pub(crate) const HOST: &str = "ca1.corp.test";

/// A template of the store, from which the authority issues to every user in the directory, or to every computer.
fn template(name: &str) -> String {
    if name.starts_with("Asked") {
        return of_request(name);
    }
    let (kind, common_name, alternatives) = if name.starts_with("Computer") {
        ("computer", "dns_name", "dns_names")
    } else {
        ("user", "common_name", "upn")
    };
    format!(
        r#"
name = "{name}"
display_name = "{name}"
kind = "{kind}"
eku = ["1.3.6.1.5.5.7.3.2"]
[subject]
source = "identity"
common_name = "{common_name}"
alternatives = ["{alternatives}"]
[key]
algorithms = ["p256"]
usage = ["digital_signature"]
[validity]
days = 365
renew_before_days = 60
[renewal]
key_based = true
window_percent = 100
[permissions]
enroll = ["authenticated"]
"#
    )
}

/// One that takes its names from the request; whether an officer has to look is the authority's business.
fn of_request(name: &str) -> String {
    format!(
        r#"
name = "{name}"
display_name = "{name}"
kind = "user"
eku = ["1.3.6.1.5.5.7.3.1"]
[subject]
source = "request"
allow_dns = [".lab.example"]
[issuance]
approval = true
[key]
algorithms = ["p256"]
usage = ["digital_signature"]
[validity]
days = 365
renew_before_days = 60
[permissions]
enroll = ["account:corp.test\\alice"]
"#
    )
}

fn template_oid(site: &AdSite, name: &str) -> String {
    let shown = site.site.muster("template", &["show", name, "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let oid = shown.pointer("/oid").and_then(serde_json::Value::as_str);
    oid.unwrap_or_else(|| panic!("{shown}")).to_owned()
}

/// The whole.
pub(crate) struct Bed {
    pub(crate) site: AdSite,
    pub(crate) openssl: OpenSsl,
    pub(crate) authority: Authority,
}

/// What an authority and the table of it are to be like.
pub(crate) struct Plan<'a> {
    pub(crate) name: &'a str,
    pub(crate) templates: &'a [&'a str],
    pub(crate) protocol: &'a str,
    pub(crate) arguments: Vec<String>,
    /// Tables of endpoints, in which `CA` stands for its name.
    pub(crate) endpoints: &'a str,
}

impl Bed {
    /// Not served yet.
    pub(crate) fn make(plan: &Plan<'_>) -> Option<Self> {
        let openssl = Peer::OpenSsl.or_not_run()?;
        let site = AdSite::or_not_run()?;
        // Clients of ours name templates by identifier.
        let mut arguments = plan.arguments.clone();
        for name in plan.templates {
            site.site.template(&template(name));
            arguments.extend(["--template".to_owned(), format!("{}={name}", template_oid(&site, name))]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let keytab = site.ad.keytab("ca1");
        let folder = site.site.path("authority");
        fs::create_dir_all(&folder).unwrap();
        let authority = Authority::start(plan.name, &folder, &keytab, &arguments)?;
        let own = site.site.ca_name().to_owned();
        site.site.change_configuration(|text| {
            text.replace("[[enrollment_endpoint]]\n", &format!("[[enrollment_endpoint]]\nca = {own:?}\n"))
        });
        let http = site.private_keytab("http");
        site.site.configure(&format!(
            "[kerberos.\"CORP.TEST\"]\nkeytab = {http:?}\nservices = [\"HTTP/ces.corp.test\"]\n\n\
             [[policy_endpoint]]\nauthentication = \"kerberos\"\nlistener = \"password\"\n"
        ));
        site.configure_directory(Forest::Corp, "passwords = true\ntemplates = false");
        let bed = Self { openssl: OpenSsl::new(openssl, &site.site), site, authority };
        bed.add(plan.name, &bed.authority, plan);
        Some(bed)
    }

    /// The identifier of a template.
    pub(crate) fn template_oid(&self, name: &str) -> String {
        template_oid(&self.site, name)
    }

    /// The tables of an authority.
    pub(crate) fn add(&self, name: &str, authority: &Authority, plan: &Plan<'_>) {
        let keytab = self.site.site.path("own.keytab");
        fs::copy(self.site.ad.keytab("svc-ces"), &keytab).unwrap();
        self.site.site.configure(&format!(
            "[ca.{name:?}]\nbackend = \"adcs\"\nserver = {HOST:?}\nmapper_port = {}\nprotocol = {:?}\n\
             certificates = [{:?}]\naccount = \"svc-ces@CORP.TEST\"\nkeytab = {keytab:?}\ntemplates = {:?}\n\
             connect_seconds = 5\ncall_seconds = 2\n\n{}",
            authority.mapper,
            plan.protocol,
            authority.certificate,
            plan.templates,
            plan.endpoints.replace("CA", name)
        ));
    }

    /// The directory.
    pub(crate) fn ad(&self) -> &Ad {
        &self.site.ad
    }

    /// Where a CA is asked with an authentication.
    pub(crate) fn ces(&self, ca: &str, authentication: &str) -> String {
        format!("{}/{ca}_CES_{authentication}/service.svc/CES", self.site.base()).replace(' ', "%20")
    }

    /// A request with a key of its own.
    pub(crate) fn request(&self, template: &str) -> Vec<u8> {
        let key = self.openssl.key(Key::P256, template);
        self.openssl.request(&key, template, &[])
    }

    /// Issue with a password.
    pub(crate) fn by_password(&self, ca: &str, user: &str, request: &[u8]) -> Answer {
        let url = self.ces(ca, "UsernamePassword");
        let name = format!("{user}@corp.test");
        let password = Ad::password(user);
        self.site.curl.post(&url, &messages::issue(&url, Some((&name, &password)), &base64(request)), &[])
    }

    /// QueryTokenStatus with a password.
    pub(crate) fn poll(&self, ca: &str, user: &str, id: &str) -> Answer {
        let url = self.ces(ca, "UsernamePassword");
        let (name, password) = (format!("{user}@corp.test"), Ad::password(user));
        self.site.curl.post(&url, &messages::query(&url, Some((&name, &password)), id), &[])
    }

    /// What OpenSSL reads in a certificate, base64.
    pub(crate) fn read(&self, certificate: &str, name: &str) -> String {
        let pem = self.openssl.pem(name, &muster_testkit::tools::from_base64(certificate));
        let arguments = ["x509", "-in", &pem, "-noout", "-text", "-nameopt", "RFC2253"];
        String::from_utf8(self.openssl.run(&arguments)).unwrap()
    }

    /// `principal=SID` for the program.
    pub(crate) fn sid_of(ad: &Ad, account: &str) -> String {
        format!("{account}@CORP.TEST={}", ad.sid(account))
    }
}
