//! This service as a registration authority: an enrollment agent that signs the caller's request and names the caller in it.

use muster_testkit::ad::Ad;
use muster_testkit::messages;
use muster_testkit::tools::Key;

use crate::bed::{Bed, Plan};

const ENDPOINT: &str = r#"
[[enrollment_endpoint]]
ca = "CA"
authentication = "username_password"
listener = "password"
identity = "registration_authority"
"#;

/// A certificate of the authority with this purpose, and its key.
fn agent(bed: &Bed, purpose: &str) -> (String, String) {
    let key = bed.openssl.key(Key::P256, "agent");
    let (request, certificate) = (bed.openssl.path("agent.csr"), bed.openssl.path("agent.pem"));
    let config = bed.openssl.write("agent.cnf", "[req]\ndistinguished_name = n\n[n]\n");
    bed.openssl.run(&[
        "req",
        "-new",
        "-config",
        &config,
        "-key",
        &key,
        "-subj",
        "/CN=agent",
        "-out",
        &request,
    ]);
    let extensions = bed.openssl.write("agent.ext", format!("extendedKeyUsage = {purpose}\n"));
    let (ca, ca_key) =
        (bed.authority.certificate.display().to_string(), bed.authority.key.display().to_string());
    bed.openssl.run(&[
        "x509",
        "-req",
        "-in",
        &request,
        "-CA",
        &ca,
        "-CAkey",
        &ca_key,
        "-CAcreateserial",
        "-days",
        "30",
        "-extfile",
        &extensions,
        "-out",
        &certificate,
    ]);
    (certificate, key)
}

fn bed(name: &str, purpose: &str) -> Option<Bed> {
    let ad = Ad::or_not_run()?;
    let arguments = vec!["--sid-of".to_owned(), format!("corp.test\\alice={}", ad.sid("alice"))];
    let plan = Plan { name, templates: &["Plain"], protocol: "dcom", arguments, endpoints: ENDPOINT };
    let mut bed = Bed::make(&plan)?;
    let (certificate, key) = agent(&bed, purpose);
    bed.site.site.change_configuration(|text| {
        let table = format!("[ca.{name:?}]\n");
        text.replace(&table, &format!("{table}agent_certificate = {certificate:?}\nagent_key = {key:?}\n"))
    });
    bed.site.site.serve();
    Some(bed)
}

#[test]
fn agent_enrolls_the_caller_and_names_it() {
    let name = "Corp Countersigned CA";
    let Some(bed) = bed(name, "1.3.6.1.4.1.311.20.2.1") else { return };
    let answer = bed.by_password(name, "alice", &bed.request("Plain"));
    assert_eq!(answer.status, 200, "{}\n{}\n{}", answer.body, bed.site.site.log(), bed.authority.errors());
    let text = bed.read(messages::certificate(&answer.body).unwrap(), "plain").replace('\n', "");
    assert!(text.contains(&bed.ad().sid("alice")), "{text}");
    let seen = bed.authority.calls("\"agent\"", 1).concat();
    assert!(seen.contains("\"by\": \"svc-ces@CORP.TEST\"") && seen.contains(r"corp.test\\alice"), "{seen}");
    // The request in our store is hers, as it came.
    let id = messages::text(&answer.body, "RequestID").unwrap();
    let shown = bed.site.site.muster("request", &["show", id, "--json"]);
    assert!(shown.contains("pkcs10"), "{shown}");
}

/// A certificate without the purpose signs nothing that the authority believes.
#[test]
fn authority_refuses_an_agent_that_is_none() {
    let name = "Corp Doubting CA";
    let Some(bed) = bed(name, "1.3.6.1.5.5.7.3.2") else { return };
    let refused = bed.by_password(name, "alice", &bed.request("Plain"));
    assert_eq!(refused.status, 500, "{}", refused.body);
    assert_eq!(messages::error_code(&refused.body), Some(0x8009_480B), "{}", refused.body);
}
