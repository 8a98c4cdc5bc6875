//! The deployment "intranet with a single forest": the acceptance criteria AC-1.x that need no AD CS. The client is zeep
//! with requests-gssapi, the judges are the domain controller, OpenSSL and the administrator's commands.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise, in its helpers too")]

use muster_testkit::ad::{Forest, template_dn};
use muster_testkit::ad_site::{AdSite, Client};
use muster_testkit::peers::Peer;
use muster_testkit::tools::{Key, OpenSsl, base64, from_base64};
use serde_json::{Value, json};

const PUBLISHED: &[&str] =
    &["EnrollersUser", "NestedUser", "DenyContractors", "AnyRight", "Inherited", "Machine", "UserPending"];

fn site(templates: &[&str]) -> Option<(AdSite, OpenSsl)> {
    let openssl = Peer::OpenSsl.or_not_run()?;
    let mut site = AdSite::intranet(templates)?;
    site.site.serve();
    let openssl = OpenSsl::new(openssl, &site.site);
    Some((site, openssl))
}

/// A client once the server has read the templates.
fn ready(site: &AdSite, mut client: Client) -> Client {
    let templates = AdSite::until(|| client.templates(), |all| !all.is_empty());
    assert!(!templates.is_empty(), "no templates: {}", site.site.log());
    client
}

fn issue(client: &mut Client, openssl: &OpenSsl, template: &str, name: &str) -> Value {
    let key = openssl.key(Key::Rsa2048, name);
    let request = openssl.request(&key, template, &[]);
    client.call(&json!({"do": "issue", "request": base64(&request)}))
}

/// What OpenSSL reads in an issued certificate.
fn read(openssl: &OpenSsl, answer: &Value, name: &str) -> String {
    let certificate = answer["certificate"].as_str().unwrap_or_else(|| unissued(answer));
    let pem = openssl.pem(name, &from_base64(certificate));
    String::from_utf8(openssl.run(&["x509", "-in", &pem, "-noout", "-text", "-nameopt", "RFC2253"])).unwrap()
}

#[expect(clippy::panic, reason = "the test stops here and says what came instead")]
fn unissued(answer: &Value) -> &str {
    panic!("not issued: {answer}")
}

/// The SID extension holds the SID as text inside of its octets.
fn has_sid(text: &str, sid: &str) -> bool {
    text.contains("1.3.6.1.4.1.311.25.2") && text.replace("\n", "").contains(sid)
}

#[test]
fn ac_1_1_policies_are_those_published_with_the_permissions_that_the_directory_computes() {
    let Some((site, _)) = site(PUBLISHED) else { return };
    let users = ["alice", "bob", "carol", "dave"];
    let judged = site.ad.judge_all(PUBLISHED, &users);
    for (position, user) in users.iter().enumerate() {
        let mut client = ready(&site, site.client(&site.ad.kinit(user)));
        let offered: Vec<String> = client
            .templates()
            .into_iter()
            .filter(|(_, enroll, _)| *enroll)
            .map(|(name, _, _)| name)
            .collect();
        let mut expected: Vec<&str> = PUBLISHED
            .iter()
            .zip(&judged)
            .filter(|(name, judged)| judged[position] && **name != "Machine")
            .map(|(name, _)| *name)
            .collect();
        expected.sort_unstable();
        assert_eq!(offered, expected, "{user}");
        let all = client.templates();
        assert!(all.iter().all(|(name, _, _)| PUBLISHED.contains(&name.as_str())), "{all:?}");
    }
    // Autoenrollment is a right of its own.
    let alice = ready(&site, site.client(&site.ad.kinit("alice"))).templates();
    assert!(alice.contains(&("EnrollersUser".to_owned(), true, true)), "{alice:?}");
    assert!(alice.contains(&("AnyRight".to_owned(), true, true)), "{alice:?}");
    assert!(alice.contains(&("Inherited".to_owned(), true, false)), "{alice:?}");
}

#[test]
fn ac_1_2_requester_is_the_user_and_not_the_service() {
    let Some((site, openssl)) = site(PUBLISHED) else { return };
    let mut alice = ready(&site, site.client(&site.ad.kinit("alice")));
    let text = read(&openssl, &issue(&mut alice, &openssl, "EnrollersUser", "alice"), "alice");
    assert!(has_sid(&text, &site.ad.sid("alice")), "{text}");
    assert!(text.contains("alice@corp.test"), "{text}");
    let listed = site.site.muster("cert", &["list", "--json"]);
    let row = listed.lines().find(|line| line.contains("alice")).unwrap_or_default();
    assert!(row.contains(r"corp.test\\alice"), "{listed}");
    assert!(!row.contains("svc-ces"), "{listed}");
}

/// The CA is in the service: nobody's ticket is passed on, and no account is trusted to pass one on.
#[test]
fn ac_1_5_no_delegation_is_needed() {
    let Some((site, openssl)) = site(&["EnrollersUser"]) else { return };
    let account = site.ad.dn("svc-ces");
    let get = |name: &str| site.ad.directory(Forest::Corp, &["get", &account, name]).concat();
    // TRUSTED_FOR_DELEGATION and TRUSTED_TO_AUTH_FOR_DELEGATION (MS-ADTS 2.2.16).
    let flags: u32 = get("userAccountControl").parse().unwrap();
    assert_eq!(flags & (0x8_0000 | 0x100_0000), 0);
    assert_eq!(get("msDS-AllowedToDelegateTo"), "");
    let alice = site.ad.kinit("alice");
    let mut client = ready(&site, site.client(&alice));
    let text = read(&openssl, &issue(&mut client, &openssl, "EnrollersUser", "alice"), "alice");
    assert!(has_sid(&text, &site.ad.sid("alice")), "{text}");
}

#[test]
fn ac_1_3_computer_gets_its_own_name_with_an_empty_subject() {
    let Some((site, openssl)) = site(PUBLISHED) else { return };
    let mut pc1 = ready(&site, site.client(&site.ad.machine("pc1", "PC1$")));
    assert_eq!(pc1.may_enroll("Machine"), Some(true));
    // A template of schema 1 is named in requests, as in the example of MS-XCEP's service: BMPString "Machine".
    let answer = pc1.call(&json!({"do": "policies"}));
    let extensions = |answer: &Value, name: &str| {
        let all = answer["templates"].as_array().unwrap();
        all.iter().find(|one| one["name"] == name).unwrap()["extensions"].clone()
    };
    let machine = extensions(&answer, "Machine");
    assert_eq!(machine["1.3.6.1.4.1.311.20.2"], json!([false, "Hg4ATQBhAGMAaABpAG4AZQ=="]));
    assert!(machine["1.3.6.1.4.1.311.21.7"].is_null() && machine["1.3.6.1.4.1.311.21.10"].is_null());
    let answer = site.client(&site.ad.kinit("alice")).call(&json!({"do": "policies"}));
    let user = extensions(&answer, "EnrollersUser");
    assert!(user["1.3.6.1.4.1.311.21.7"].is_array() && user["1.3.6.1.4.1.311.20.2"].is_null(), "{user}");
    let text = read(&openssl, &issue(&mut pc1, &openssl, "Machine", "pc1"), "pc1");
    assert!(text.contains("DNS:pc1.corp.test"), "{text}");
    assert!(has_sid(&text, &site.ad.sid("PC1")), "{text}");
    // A user may not have it, whatever the request says.
    let mut alice = site.client(&site.ad.kinit("alice"));
    assert_ne!(alice.may_enroll("Machine"), Some(true));
    let refused = issue(&mut alice, &openssl, "Machine", "not-alice");
    assert!(refused["fault"].is_string(), "{refused}");
}

#[test]
fn t09_thief_of_a_host_name_gets_no_certificate() {
    let Some((site, openssl)) = site(PUBLISHED) else { return };
    for (keytab, principal) in [("evil1", "EVIL1$"), ("evil2", "EVIL2$"), ("pc3", "PC3$")] {
        let mut thief = ready(&site, site.client(&site.ad.machine(keytab, principal)));
        let answer = issue(&mut thief, &openssl, "Machine", keytab);
        assert!(answer["fault"].is_string(), "{principal}: {answer}");
    }
}

#[test]
fn ac_1_7_entry_of_a_descriptor_changes_permissions_at_once() {
    let Some((site, openssl)) = site(&["User"]) else { return };
    let template = site.ad.template("EnrollersUser", &["(OA;;CR;ENROLL;;{Contractors})"]);
    site.ad.directory(Forest::Corp, &["publish", &template, site.site.ca_name()]);
    let (mut alice, mut bob) = (site.client(&site.ad.kinit("alice")), site.client(&site.ad.kinit("bob")));
    assert_eq!(AdSite::until(|| bob.may_enroll(&template), |may| *may == Some(true)), Some(true));
    assert_ne!(alice.may_enroll(&template), Some(true));
    let before = issue(&mut alice, &openssl, &template, "before");
    assert!(before["fault"].is_string(), "{before}");
    let dn = template_dn(&template);
    let descriptor = site.ad.directory(Forest::Corp, &["descriptor", &dn]).concat();
    let changed = descriptor.replace(&site.ad.sid("Contractors"), &site.ad.sid("CertEnrollers"));
    site.ad.directory(Forest::Corp, &["descriptor", &dn, &changed]);
    assert_eq!(AdSite::until(|| alice.may_enroll(&template), |may| *may == Some(true)), Some(true));
    assert_ne!(bob.may_enroll(&template), Some(true));
    let bob_asks = issue(&mut bob, &openssl, &template, "bob");
    assert!(bob_asks["fault"].is_string(), "{bob_asks}");
    let alice_asks = issue(&mut alice, &openssl, &template, "after");
    assert!(alice_asks["certificate"].is_string(), "{alice_asks}");
}

#[test]
fn ac_1_9_two_policy_services_answer_with_the_same_octets() {
    let Some((site, _)) = site(PUBLISHED) else { return };
    let tickets = site.ad.kinit("alice");
    drop(ready(&site, site.client(&tickets)));
    // A second node over the same store, certificate and CA.
    let (ports, others) = (site.site.port(), muster_testkit::ports::three());
    let second = site.site.installed("second.toml");
    let text = std::fs::read_to_string(site.site.installed("muster.toml")).unwrap();
    let text = (0..3).fold(text, |text, n| text.replace(&(ports + n).to_string(), &(others + n).to_string()));
    std::fs::write(&second, text).unwrap();
    let address = ([127, 0, 0, 1], others).into();
    let node = muster_testkit::Executable::serve(&second, address);
    let response = |url: &str| {
        let token = site.token(&tickets, &json!({}));
        let answer = site.ask_at(url, &format!("Negotiate {token}"));
        assert_eq!(answer.status, 200, "{}", answer.body);
        let (_, after) = answer.body.split_once("<response").unwrap();
        after.split_once("</response>").unwrap().0.to_owned()
    };
    let first = response(&site.cep());
    let other = site.cep().replace(&ports.to_string(), &others.to_string());
    let second = AdSite::until(|| response(&other), |second| *second == first);
    assert!(first.contains("EnrollersUser"), "{first}");
    assert_eq!(first, second);
    drop(node);
}

#[test]
fn ac_1_10_pending_request_is_approved_or_denied() {
    let Some((site, openssl)) = site(PUBLISHED) else { return };
    let mut alice = ready(&site, site.client(&site.ad.kinit("alice")));
    let mut carol = site.client(&site.ad.kinit("carol"));
    for (decision, comment) in [("approve", &[][..]), ("deny", &["--comment", "not today"])] {
        let pending = issue(&mut alice, &openssl, "UserPending", decision);
        let id = pending["id"].as_str().unwrap_or_else(|| unissued(&pending)).to_owned();
        assert!(pending["certificate"].is_null() && pending["reference"].is_string(), "{pending}");
        let query = json!({"do": "query", "id": id});
        assert!(alice.call(&query)["certificate"].is_null());
        let mut arguments = vec![decision, &id];
        arguments.extend(comment);
        site.site.muster("request", &arguments);
        let answer = alice.call(&query);
        if decision == "approve" {
            assert!(has_sid(&read(&openssl, &answer, "approved"), &site.ad.sid("alice")));
        } else {
            assert_eq!(answer["InvalidRequest"], "true", "{answer}");
            assert_eq!(answer["RequestID"], json!(id), "{answer}");
        }
        // It is nobody else's.
        let foreign = carol.call(&query);
        assert!(foreign["fault"].is_string() && foreign["certificate"].is_null(), "{foreign}");
    }
}

#[test]
fn account_made_anew_has_nothing_of_the_one_before() {
    let Some((site, openssl)) = site(&["UserPending"]) else { return };
    let user = site.ad.user(&[]);
    let mut before = ready(&site, site.client(&site.ad.kinit(&user)));
    let key = openssl.key(Key::Rsa2048, &user);
    let request = base64(&openssl.request(&key, "UserPending", &[]));
    let issue = json!({"do": "issue", "request": request});
    let pending = before.call(&issue);
    let id = pending["id"].as_str().unwrap_or_else(|| unissued(&pending)).to_owned();
    assert_eq!(before.call(&issue)["id"], json!(id), "the same octets are the same request");
    site.site.muster("request", &["approve", &id]);
    let sid = site.ad.sid(&user);
    site.ad.delete(&site.ad.dn(&user));
    site.ad.directory(Forest::Corp, &["user", &user]);
    assert_ne!(site.ad.sid(&user), sid);

    let mut after = site.client(&site.ad.kinit(&user));
    let query = |id: &str| json!({"do": "query", "id": id});
    let answer = AdSite::until(|| after.call(&query(&id)), |answer| answer["fault"].is_string());
    let unknown = after.call(&query("99999999"));
    let said = |answer: &Value| {
        let reason = answer["reason"].as_str().unwrap_or_default();
        reason.split("(reference").next().unwrap().replace(&id, "N").replace("99999999", "N")
    };
    assert!(answer["certificate"].is_null() && answer["fault"].is_string(), "{answer}");
    assert_eq!(said(&answer), said(&unknown));
    // The same octets are a request of its own.
    let own = after.call(&issue);
    assert!(own["id"].is_string() && own["id"] != json!(id) && own["certificate"].is_null(), "{own}");
}

#[test]
fn disabled_account_stops_although_its_ticket_is_good() {
    let Some((site, openssl)) = site(PUBLISHED) else { return };
    let user = site.ad.user(&["CertEnrollers"]);
    let tickets = site.ad.kinit(&user);
    let mut client = ready(&site, site.client(&tickets));
    assert!(issue(&mut client, &openssl, "EnrollersUser", "before")["certificate"].is_string());
    site.ad.disable(&user);
    let answer = AdSite::until(
        || client.call(&json!({"do": "policies"})),
        |answer| answer["fault"].is_string() || answer["status"].is_number(),
    );
    assert!(answer.get("templates").is_none(), "{answer}");
    assert!(issue(&mut client, &openssl, "EnrollersUser", "after")["certificate"].is_null());
}

#[test]
fn group_of_today_counts_at_the_next_ticket() {
    let Some((site, _)) = site(PUBLISHED) else { return };
    let user = site.ad.user(&[]);
    let mut before = site.client(&site.ad.kinit(&user));
    assert_eq!(AdSite::until(|| before.may_enroll("UserPending"), Option::is_some), Some(true));
    assert_ne!(before.may_enroll("EnrollersUser"), Some(true));
    site.ad.directory(Forest::Corp, &["add", &site.ad.dn("CertEnrollers"), "member", &site.ad.dn(&user)]);
    let mut after = site.client(&site.ad.kinit(&user));
    assert_eq!(after.may_enroll("EnrollersUser"), Some(true));
}

#[test]
fn foreign_names_in_a_request_change_nothing() {
    let Some((site, openssl)) = site(PUBLISHED) else { return };
    let mut alice = ready(&site, site.client(&site.ad.kinit("alice")));
    let key = openssl.key(Key::Rsa2048, "names");
    let other =
        "subjectAltName=otherName:1.3.6.1.4.1.311.20.2.3;UTF8:administrator@corp.test,DNS:dc1.corp.test";
    let request = openssl.request(&key, "EnrollersUser", &[other]);
    let answer = alice.call(&json!({"do": "issue", "request": base64(&request)}));
    if answer["certificate"].is_string() {
        let text = read(&openssl, &answer, "names");
        assert!(!text.contains("administrator") && !text.contains("dc1.corp.test"), "{text}");
        assert!(has_sid(&text, &site.ad.sid("alice")), "{text}");
    } else {
        assert!(answer["fault"].is_string(), "{answer}");
    }
}
