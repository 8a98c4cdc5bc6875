//! Enrollment agents and Active Directory: the account that is named and the template that asks for a signature are the
//! directory's.

use std::process::Command;

use muster_testkit::ad::{Forest, template_dn};
use muster_testkit::ad_site::AdSite;
use muster_testkit::messages::{self, certificate};
use muster_testkit::peers::{Peer, script};
use muster_testkit::site::PASSWORD;
use muster_testkit::tools::{Key, OpenSsl, base64, from_base64, run_command};
use serde_json::json;

const AGENT: &str = r#"
name = "Agent"
display_name = "Agent"
kind = "user"
eku = ["1.3.6.1.4.1.311.20.2.1"]
[subject]
source = "identity"
[key]
algorithms = ["p256"]
usage = ["digital_signature"]
[validity]
days = 365
renew_before_days = 42
[issuance]
approval = true
[permissions]
enroll = ["group:helpdesk"]
"#;

#[test]
fn agent_enrolls_a_user_of_the_directory_within_limits() {
    let (Some(openssl), Some(python)) = (Peer::OpenSsl.or_not_run(), Peer::Python.or_not_run()) else {
        return;
    };
    let Some(mut bed) = AdSite::or_not_run() else { return };
    // A template of the directory that asks for the signature of one agent.
    let template = bed.ad.template("EnrollersUser", &["(OA;;CR;ENROLL;;{CertEnrollers})"]);
    for (attribute, value) in
        [("msPKI-RA-Signature", "1"), ("msPKI-RA-Application-Policies", "1.3.6.1.4.1.311.20.2.1")]
    {
        bed.ad.set(&template_dn(&template), attribute, &[value]);
    }
    bed.configure("http", &["HTTP/ces.corp.test"]);
    bed.configure_directory(Forest::Corp, "");
    bed.publish(Forest::Corp, &[&template]);
    bed.site.serve();
    let openssl = OpenSsl::new(openssl, &bed.site);
    let (site, ad, curl) = (&bed.site, &bed.ad, &bed.curl);
    site.account("helen", "user", &["--group", "helpdesk"]);
    site.template(AGENT);
    let key = openssl.key(Key::P256, "agent");
    let asked = curl.issue(site, "helen", &openssl.request(&key, "Agent", &[]));
    let id = messages::text(&asked.body, "RequestID").unwrap();
    site.muster("request", &["approve", id]);
    let url = site.ces();
    let answer = curl.post(&url, &messages::query(&url, Some(("helen", PASSWORD)), id), &[]);
    let agent = openssl.pem("agent", &from_base64(certificate(&answer.body).unwrap()));

    let user = ad.user(&["CertEnrollers"]);
    let on_behalf = |name: &str| {
        let card = openssl.key(Key::Rsa2048, "card");
        let content = base64(&openssl.request(&card, &template, &[]));
        let signer = json!({"certificate": agent, "key": key, "requesters": [name]});
        let mut command = Command::new(&python);
        command.arg(script("agent_request.py"));
        let request = json!({"form": "cms", "content": content, "signers": [signer]});
        let ran = run_command(command, request.to_string().as_bytes());
        assert!(ran.ok, "{}", ran.all());
        curl.issue(site, "helen", &from_base64(ran.text().trim()))
    };
    let limited = "This enrollment agent may not enroll for this account";
    let named = format!("corp.test\\{user}");
    site.muster("agent", &["allow", "--agent", "helen", "--template", &template, "--for-account", &named]);
    let ready = |answer: &muster_testkit::tools::Answer| answer.status == 200;
    let answer = AdSite::until(|| on_behalf(&format!("CORP\\{user}")), ready);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let pem = openssl.pem("card", &from_base64(certificate(&answer.body).unwrap()));
    let text = String::from_utf8(openssl.run(&["x509", "-in", &pem, "-noout", "-text"])).unwrap();
    assert!(text.contains(&ad.sid(&user)), "the requester's own identifier: {text}");
    assert!(text.contains(&format!("{user}@corp.test")) || text.contains(&user), "{text}");
    assert_eq!(on_behalf(&format!("{user}@corp.test")).status, 200);
    // Another account; one that rules the domain, though a group covers it; one that is disabled.
    let other = ad.user(&["CertEnrollers"]);
    assert!(on_behalf(&format!("CORP\\{other}")).body.contains(limited));
    let ruler = ad.user(&["CertEnrollers", "Domain Admins"]);
    let sid = ad.sid("Domain Admins");
    site.muster("agent", &["allow", "--agent", "helen", "--template", &template, "--for-sid", &sid]);
    let refused = on_behalf(&format!("CORP\\{ruler}"));
    assert!(refused.body.contains(limited), "{}", refused.body);
    ad.disable(&user);
    let gone = AdSite::until(|| on_behalf(&format!("CORP\\{user}")), |answer| answer.status != 200);
    assert!(gone.body.contains("There is no account of the name in the request"), "{}", gone.body);
}
