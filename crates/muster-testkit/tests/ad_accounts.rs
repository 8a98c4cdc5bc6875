//! Accounts of a real directory that sign in with a password or with a certificate: which of them are let in, what the
//! directory hears of wrong passwords, and how soon a change there counts here. The client is curl, the requests are
//! OpenSSL's, and the directory is asked by its own tools.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise, in its helpers too")]

use muster_testkit::ad::{Ad, Forest};
use muster_testkit::ad_site::AdSite;
use muster_testkit::messages;
use muster_testkit::peers::Peer;
use muster_testkit::tools::{Answer, Key, OpenSsl, base64, run};
use std::time::{Duration, Instant};

/// What every account may have: a certificate that signs in, with all names that the directory vouches for.
const TEMPLATE: &str = r#"
name = "DomainUser"
display_name = "User of a domain"
kind = "user"
eku = ["1.3.6.1.5.5.7.3.2"]
[subject]
source = "identity"
common_name = "directory_path"
alternatives = ["upn"]
[key]
algorithms = ["p256"]
usage = ["digital_signature"]
[validity]
days = 30
renew_before_days = 5
[permissions]
enroll = ["authenticated"]
"#;

/// An installation whose domain is CORP.TEST, and which takes its users' passwords.
fn bed(more: &str) -> Option<AdSite> {
    let mut site = AdSite::or_not_run()?;
    site.configure("http", &["HTTP/ces.corp.test"]);
    site.site.template(TEMPLATE);
    let keytab = site.ad.keytab("svc-ces");
    site.site.configure(&format!(
        "[directory.\"corp.test\"]\nservers = [\"dc1.corp.test\"]\naccount = \"svc-ces@CORP.TEST\"\nkeytab = {keytab:?}\n\
         passwords = true\nupn_suffixes = [\"corp.example\"]\n{more}"
    ));
    site.site.serve();
    Some(site)
}

fn policies(site: &AdSite, user: &str, password: &str) -> Answer {
    let url = format!("{}/ADPolicyProvider_CEP_UsernamePassword/service.svc/CEP", site.base());
    site.curl.post(&url, &messages::get_policies(&url, Some((user, password))), &[])
}

/// The certificate (DER) that a user of the domain gets with a password.
fn enroll(site: &AdSite, openssl: &OpenSsl, user: &str, key: &str) -> Vec<u8> {
    let url = site.ces().replace("CES_Kerberos", "CES_UsernamePassword");
    let request = base64(&openssl.request(key, "DomainUser", &[]));
    let password = Ad::password(user);
    let name = format!("CORP\\{user}");
    let answer = site.curl.post(&url, &messages::issue(&url, Some((&name, &password)), &request), &[]);
    assert_eq!(answer.status, 200, "{}", answer.body);
    muster_testkit::tools::from_base64(messages::certificate(&answer.body).unwrap())
}

/// Waits until `holds`, at most as long as a change in the directory may take to count.
fn soon(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(5), "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn passwords_of_the_domain_are_taken_in_every_way_to_write_the_name() {
    let Some(site) = bed("") else { return };
    site.ad.set(&site.ad.dn("carol"), "userPrincipalName", &["c.clark@corp.example"]);
    let password = Ad::password("alice");
    for name in ["alice@corp.test", "ALICE@CORP.TEST", "CORP\\alice", "corp.test\\Alice"] {
        let answer = policies(&site, name, &password);
        assert_eq!(answer.status, 200, "{name}: {}", answer.body);
        assert!(answer.body.contains("DomainUser"), "{name}");
    }
    let answer = policies(&site, "c.clark@corp.example", &Ad::password("carol"));
    assert_eq!(answer.status, 200, "{}", answer.body);
    for (name, password) in [
        ("alice@corp.test", "wrong"),
        ("nobody@corp.test", "wrong"),
        ("alice@other.test", password.as_str()),
        ("alice", password.as_str()),
        ("erin@corp.test", &Ad::password("erin")),
        ("frank@corp.test", &Ad::password("frank")),
        ("gina@corp.test", &Ad::password("gina")),
    ] {
        let answer = policies(&site, name, password);
        assert_eq!(answer.status, 500, "{name}");
        assert!(answer.body.contains("The user name or password is not correct"), "{name}: {}", answer.body);
    }
    let log = site.site.log();
    assert!(!log.contains(&password), "a password in the log");
}

/// T20: the directory hears of four wrong passwords, whatever is tried here, so nobody can be locked out from here.
#[test]
fn guesses_stop_here_before_the_directory_locks_the_account() {
    let Some(site) = bed("") else { return };
    let user = site.ad.user(&[]);
    let name = format!("{user}@corp.test");
    for _ in 0..12 {
        assert_eq!(policies(&site, &name, "guess").status, 500);
    }
    let count = site.ad.directory(Forest::Corp, &["get", &site.ad.dn(&user), "badPwdCount"]).concat();
    let count: u32 = count.parse().unwrap_or_default();
    assert!((1..=4).contains(&count), "the directory counted {count} wrong passwords");
}

/// The same when they come at once: each is counted before the next is tried.
#[test]
fn t20_guesses_that_come_at_once_stop_as_early() {
    let Some(site) = bed("") else { return };
    let user = site.ad.user(&[]);
    let name = format!("{user}@corp.test");
    std::thread::scope(|scope| {
        for guess in 0..20 {
            let (site, name) = (&site, &name);
            scope.spawn(move || assert_ne!(policies(site, name, &format!("guess {guess}")).status, 200));
        }
    });
    let count = site.ad.directory(Forest::Corp, &["get", &site.ad.dn(&user), "badPwdCount"]).concat();
    let count: u32 = count.parse().unwrap_or_default();
    assert!((1..=4).contains(&count), "the directory counted {count} wrong passwords");
}

#[test]
fn disabled_account_is_refused_at_once_also_with_a_remembered_password() {
    let Some(site) = bed("") else { return };
    let user = site.ad.user(&[]);
    let (name, password) = (format!("CORP\\{user}"), Ad::password(&user));
    assert_eq!(policies(&site, &name, &password).status, 200);
    assert_eq!(policies(&site, &name, &password).status, 200);
    site.ad.disable(&user);
    soon("a disabled account is still let in", || policies(&site, &name, &password).status == 500);
}

#[test]
fn certificate_of_a_directory_user_carries_path_upn_and_sid() {
    let Some(site) = bed("") else { return };
    let Some(openssl) = Peer::OpenSsl.or_not_run() else { return };
    let openssl = OpenSsl::new(openssl, &site.site);
    let key = openssl.key(Key::P256, "alice.key");
    let pem = openssl.pem("alice.pem", &enroll(&site, &openssl, "alice", &key));
    let text = String::from_utf8(openssl.run(&["x509", "-in", &pem, "-noout", "-text"])).unwrap();
    assert!(text.contains("Subject: DC = test, DC = corp, CN = Users, CN = alice"), "{text}");
    assert!(text.contains("alice@corp.test"), "{text}");
    assert!(text.contains("1.3.6.1.4.1.311.25.2"), "{text}");
    assert!(text.contains(&site.ad.sid("alice")), "{text}");
}

/// A certificate signs in for as long as its account may, and for that account alone: one that was made anew under the
/// same name is another one.
#[test]
fn certificate_signs_in_until_its_account_is_gone() {
    let Some(site) = bed("") else { return };
    let (Some(program), Some(curl)) = (Peer::OpenSsl.or_not_run(), Peer::Curl.or_not_run()) else { return };
    let openssl = OpenSsl::new(program, &site.site);
    let user = site.ad.user(&[]);
    let key = openssl.key(Key::P256, "user.key");
    let pem = openssl.pem("user.pem", &enroll(&site, &openssl, &user, &key));
    let ask = || {
        let url =
            format!("{}/ADPolicyProvider_CEP_Certificate/service.svc/CEP", site.site.certificate_base())
                .replace("localhost", "ces.corp.test");
        let message = messages::get_policies(&url, None);
        site.curl.post(&url, &message, &["--cert", &pem, "--key", &key]).status
    };
    assert!(run(&curl, &["--version"], b"").ok);
    assert_eq!(ask(), 200);
    site.ad.disable(&user);
    soon("a certificate of a disabled account is let in", || ask() == 500);
    site.ad.set(&site.ad.dn(&user), "userAccountControl", &["512"]);
    soon("an enabled account is not let in", || ask() == 200);
    site.ad.delete(&site.ad.dn(&user));
    soon("a certificate of a deleted account is let in", || ask() == 500);
    site.ad.directory(Forest::Corp, &["user", &user]);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(ask(), 500, "another account of that name");
}
