//! One-time tokens from outside: made on the command line, used by OpenSSL and curl, by zeep, and by our own client.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise, in its helpers too"
)]

mod clients;

use std::process::{Command, Stdio};

use muster_testkit::bed::Bed;
use muster_testkit::messages::{self, certificate, error_code, get_policies};
use muster_testkit::peers::muster;
use muster_testkit::ports;
use muster_testkit::site::{MovedClock, SigningAlgorithm, Site};
use muster_testkit::tools::{Answer, Key, base64, from_base64};
use serde_json::Value;

const DAY: i64 = 86_400;
const WRONG: &str = "The user name or password is not correct, or the account is temporarily locked.";
const BAD_SUBJECT: u32 = 0x8009_4001;
const ACCESS_DENIED: u32 = 0x8007_0005;
const TEMPLATE_DENIED: u32 = 0x8009_4012;

/// Names from the request, an officer's approval, and certificates that sign in.
const APPROVED: &str = r#"
name = "Approved"
display_name = "Machines outside"
kind = "computer"
eku = ["1.3.6.1.5.5.7.3.2", "1.3.6.1.5.5.7.3.1"]
[subject]
source = "request"
allow_dns = [".field.example"]
allow_ip = ["10.1.0.0/16"]
[key]
algorithms = ["p256", "rsa"]
usage = ["digital_signature"]
[validity]
days = 365
renew_before_days = 42
[issuance]
approval = true
[permissions]
enroll = ["group:nobody"]
"#;

struct Token {
    user: String,
    password: String,
}

impl Token {
    fn sign_in(&self) -> messages::Credentials<'_> {
        Some((&self.user, &self.password))
    }
}

fn create(site: &Site, options: &[&str]) -> Token {
    let text = site.muster("token", &[&["create", "--json"], options].concat());
    let made: Value = serde_json::from_str(&text).unwrap();
    let word = |key: &str| made[key].as_str().unwrap().to_owned();
    Token { user: word("username"), password: word("password") }
}

fn bed() -> Option<Bed> {
    Bed::or_not_run(|| Site::start(SigningAlgorithm::P256))
}

fn policies(bed: &Bed, token: &Token) -> Answer {
    let url = bed.site.cep();
    bed.curl.post(&url, &get_policies(&url, token.sign_in()), &[])
}

fn issue(bed: &Bed, token: &Token, request: &[u8]) -> Answer {
    let url = bed.site.ces();
    bed.curl.post(&url, &messages::issue(&url, token.sign_in(), &base64(request)), &[])
}

fn query(bed: &Bed, token: &Token, id: &str) -> Answer {
    let url = bed.site.ces();
    bed.curl.post(&url, &messages::query(&url, token.sign_in(), id), &[])
}

fn templates(answer: &Answer) -> Vec<&str> {
    assert_eq!(answer.status, 200, "{}", answer.body);
    messages::texts(&answer.body, "commonName")
}

#[track_caller]
fn issued(answer: &Answer) -> Vec<u8> {
    assert_eq!(answer.status, 200, "{}", answer.body);
    from_base64(certificate(&answer.body).unwrap_or_else(|| panic!("{}", answer.body)))
}

/// The one answer that tells nothing.
#[track_caller]
fn assert_wrong_password(answer: &Answer) {
    assert_eq!(answer.status, 500, "{}", answer.body);
    assert!(answer.body.contains("FailedAuthentication"), "{}", answer.body);
    assert!(answer.body.contains(WRONG), "{}", answer.body);
    assert!(!answer.body.to_lowercase().contains("token"), "{}", answer.body);
}

#[track_caller]
fn assert_refused(answer: &Answer, code: u32, sentence: &str) {
    assert_eq!(answer.status, 500, "{}", answer.body);
    assert_eq!(error_code(&answer.body), Some(code), "{}", answer.body);
    assert!(answer.body.contains(sentence), "{}", answer.body);
}

/// The codes of the log's last lines.
fn outcomes(site: &Site) -> Vec<String> {
    let log = site.log();
    let word = |line: &str| {
        let (_, rest) = line.split_once("outcome\":\"").or_else(|| line.split_once("outcome="))?;
        let rest = rest.trim_start_matches('"');
        Some(rest.split(['"', ' ']).next()?.to_owned())
    };
    log.lines().filter_map(word).collect()
}

fn list(site: &Site) -> Vec<Value> {
    serde_json::from_str(&site.muster("token", &["list", "--json"])).unwrap()
}

#[test]
fn token_gives_one_certificate_and_no_second() {
    let Some(bed) = bed() else { return };
    let site = &bed.site;
    let token = create(site, &["--template", "Computer", "--dns", "box.field.example", "--ttl", "1h"]);
    assert_eq!(templates(&policies(&bed, &token)), ["Computer"]);
    let key = bed.openssl.key(Key::P256, "box");
    let request = bed.openssl.request(&key, "Computer", &[]);
    let answer = issue(&bed, &token, &request);
    let der = issued(&answer);
    let pem = bed.openssl.pem("box", &der);
    let verdict = bed.verify(&pem, "sslserver");
    assert!(verdict.ends_with(": OK\n"), "{verdict}");
    let text = bed.openssl.run(&["x509", "-in", &pem, "-noout", "-subject", "-ext", "subjectAltName"]);
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("CN = box.field.example\n"), "{text}");
    assert_eq!(text.matches("DNS:").count(), 1, "{text}");
    assert!(text.contains("DNS:box.field.example\n"), "{text}");

    // The same octets have the same answer; other octets have none, and neither has any other question.
    assert_eq!(issued(&issue(&bed, &token, &request)), der);
    let another = bed.openssl.request(&bed.openssl.key(Key::P256, "another"), "Computer", &[]);
    assert_wrong_password(&issue(&bed, &token, &another));
    assert_wrong_password(&policies(&bed, &token));
    let id = messages::text(&answer.body, "RequestID").unwrap();
    assert_eq!(issued(&query(&bed, &token, id)), der);
    let (state, log) = (list(site), outcomes(site));
    assert_eq!((&state[0]["state"], &state[0]["used"]), (&"used".into(), &1.into()));
    assert_eq!(log.iter().filter(|code| *code == "TOKEN_USED").count(), 2, "{}", site.log());
    let audit = site.muster("audit", &["list", "--json"]);
    for word in ["put_token", "use_token", "refused:TOKEN_USED", "use 1 of 1"] {
        assert!(audit.contains(word), "{word}: {audit}");
    }
}

#[test]
fn secrets_are_in_no_file() {
    let Some(mut bed) = bed() else { return };
    let token = create(&bed.site, &["--template", "Computer", "--dns", "box.field.example"]);
    let request = bed.openssl.request(&bed.openssl.key(Key::P256, "box"), "Computer", &[]);
    issued(&issue(&bed, &token, &request));
    assert_wrong_password(&policies(&bed, &token));
    bed.site.stop();
    let mut read = 0;
    let mut folders = vec![bed.site.installed("."), bed.site.path(".")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let octets = std::fs::read(&path).unwrap();
                let found = octets.windows(token.password.len()).any(|w| w == token.password.as_bytes());
                assert!(!found, "the password is in {}", path.display());
                read += usize::from(octets.windows(token.user.len()).any(|w| w == token.user.as_bytes()));
            }
        }
    }
    assert!(read >= 2, "store and log name the token");
}

#[test]
fn wrong_names_passwords_and_tokens_have_one_answer() {
    let Some(bed) = bed() else { return };
    let site = &bed.site;
    let token = create(site, &["--template", "Computer", "--dns", "box.field.example"]);
    let with = |user: &str, password: &str| {
        let url = site.cep();
        bed.curl.post(&url, &get_policies(&url, Some((user, password))), &[])
    };
    let plain = |answer: Answer| {
        assert_wrong_password(&answer);
        let (before, after) = answer.body.split_once("(reference ").unwrap();
        let id = messages::text(&answer.body, "RelatesTo").unwrap_or_default().to_owned();
        (before.replace(&id, ""), after.split_once(')').unwrap().1.to_owned())
    };
    let unknown = plain(with("token-aaaabbbbccccdddd", &token.password));
    assert_eq!(plain(with(&token.user, "wrong")), unknown);
    assert_eq!(plain(with("nobody-here", "wrong")), unknown);
    let other = create(site, &["--template", "Computer", "--dns", "other.field.example"]);
    assert_eq!(plain(with(&token.user, &other.password)), unknown, "the password of another token");
    assert_eq!(templates(&with(&token.user.to_uppercase(), &token.password)), ["Computer"]);
    assert_eq!(templates(&with(&format!("CORP\\{}", token.user), &token.password)), ["Computer"]);
    site.muster("token", &["revoke", &token.user]);
    assert_eq!(plain(with(&token.user, &token.password)), unknown);
    let log = outcomes(site);
    for code in ["TOKEN_UNKNOWN", "TOKEN_SECRET", "TOKEN_REVOKED"] {
        assert!(log.iter().any(|outcome| outcome == code), "{code}: {log:?}");
    }
    // Guessing is slowed as for passwords: after five tries the right one has to wait as well.
    for _ in 0..5 {
        assert_wrong_password(&with(&other.user, "wrong"));
    }
    assert_wrong_password(&with(&other.user, &other.password));
    assert!(outcomes(site).iter().any(|outcome| outcome == "BAD_CREDENTIALS"), "{}", site.log());
}

#[test]
fn requests_beyond_the_token_are_refused_and_use_nothing() {
    let Some(bed) = bed() else { return };
    let site = &bed.site;
    site.template(APPROVED);
    let token = create(
        site,
        &["--template", "Computer", "--dns", "box.field.example", "--dns", "alias.field.example"],
    );
    let key = bed.openssl.key(Key::P256, "box");
    let request = |template: &str, extensions: &[&str]| bed.openssl.request(&key, template, extensions);
    for (extensions, name) in [
        (&["subjectAltName=DNS:bank.example"][..], "DNS:bank.example"),
        (&["subjectAltName=DNS:box.field.example,DNS:bank.example"], "DNS:bank.example"),
        (&["subjectAltName=IP:10.1.2.3"], "IP:10.1.2.3"),
        (&["subjectAltName=email:root@field.example"], "email:root@field.example"),
        (
            &["subjectAltName=otherName:1.3.6.1.4.1.311.20.2.3;UTF8:administrator@corp.example"],
            "UPN:administrator@corp.example",
        ),
        (&["subjectAltName=RID:1.2.3"], "registeredID 1.2.3"),
    ] {
        let sentence = format!("The token is not for the name {name};");
        assert_refused(&issue(&bed, &token, &request("Computer", extensions)), BAD_SUBJECT, &sentence);
    }
    let subject = |subject: &str| {
        let config = bed.openssl.path("req.cnf");
        let template = "1.3.6.1.4.1.311.20.2=ASN1:BMPSTRING:Computer";
        bed.openssl.run(&[
            "req", "-new", "-config", &config, "-key", &key, "-subj", subject, "-outform", "DER", "-addext",
            template,
        ])
    };
    for (wanted, name) in
        [("/CN=bank.example", "CN=bank.example"), ("/O=Bank/CN=box.field.example", "O=Bank")]
    {
        let sentence = format!("The token is not for the name {name};");
        assert_refused(&issue(&bed, &token, &subject(wanted)), BAD_SUBJECT, &sentence);
    }
    // Another template, whether there is one or not.
    for template in ["Approved", "User", "WebServer", "NoSuchTemplate"] {
        let answer = issue(&bed, &token, &request(template, &[]));
        assert_refused(&answer, TEMPLATE_DENIED, "You are not allowed to enroll for this template");
    }
    // A renewal by password.
    let (old, _) = bed.enroll("web1", "Computer", &bed.openssl.key(Key::P256, "web1"), &[]);
    let (pem, old_key) = (bed.openssl.pem("web1", &old), bed.openssl.path("web1.key.pem"));
    let renewal = bed.openssl.renewal_request(&key, "Computer", &[], &old);
    let renewal = bed.openssl.cms(&renewal, &pem, &old_key, &[]);
    assert_refused(
        &issue(&bed, &token, &renewal),
        ACCESS_DENIED,
        "A token is for one enrollment with its password",
    );
    assert_eq!(list(site)[0]["used"], 0);
    // What it has may be asked for, in part or not at all; the certificate has all of it.
    let der = issued(&issue(&bed, &token, &request("Computer", &["subjectAltName=DNS:alias.field.example"])));
    let pem = bed.openssl.pem("box", &der);
    let text = bed.openssl.run(&["x509", "-in", &pem, "-noout", "-ext", "subjectAltName"]);
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("DNS:box.field.example, DNS:alias.field.example"), "{text}");
}

#[test]
fn identity_of_a_token_renews_for_years_and_does_nothing_else() {
    let Some(mut bed) = bed() else { return };
    let token = create(&bed.site, &["--template", "Computer", "--dns", "box.field.example"]);
    let mut key = bed.openssl.key(Key::P256, "box");
    let request = bed.openssl.request(&key, "Computer", &[]);
    let mut old = issued(&issue(&bed, &token, &request));
    let mut pem = bed.openssl.pem("box", &old);
    let post = |bed: &Bed, url: &str, message: &str, pem: &str, key: &str| {
        bed.curl.post(url, message, &["--insecure", "--cert", pem, "--key", key])
    };

    // With its certificate it sees its template and cannot enroll anew.
    let cep = bed.site.cep_certificate();
    assert_eq!(templates(&post(&bed, &cep, &get_policies(&cep, None), &pem, &key)), ["Computer"]);
    let ces = bed.site.ces_certificate();
    let fresh = bed.openssl.request(&bed.openssl.key(Key::P256, "fresh"), "Computer", &[]);
    let answer = post(&bed, &ces, &messages::issue(&ces, None, &base64(&fresh)), &pem, &key);
    assert_refused(&answer, ACCESS_DENIED, "A token is for one enrollment with its password");

    // It renews, year after year, and stays who it is.
    bed.site.stop();
    for year in 1..=3 {
        let new_key = bed.openssl.key(Key::P256, &format!("box{year}"));
        let renewal = bed.openssl.renewal_request(&new_key, "Computer", &[], &old);
        let cms = bed.openssl.cms(&renewal, &pem, &key, &[]);
        let message = messages::issue(&ces, None, &base64(&cms));
        let wanted =
            bed.openssl.renewal_request(&new_key, "Computer", &["subjectAltName=DNS:bank.example"], &old);
        let wanted = messages::issue(&ces, None, &base64(&bed.openssl.cms(&wanted, &pem, &key, &[])));
        let (refused, answer) = bed.site.serve_at(MovedClock(year * 350 * DAY), |_| {
            (post(&bed, &ces, &wanted, &pem, &key), post(&bed, &ces, &message, &pem, &key))
        });
        assert_eq!(refused.status, 500, "{}", refused.body);
        assert!(refused.body.contains("bank.example"), "{}", refused.body);
        old = issued(&answer);
        pem = bed.openssl.pem(&format!("box{year}"), &old);
        key = new_key;
        let text = bed.openssl.run(&["x509", "-in", &pem, "-noout", "-subject", "-ext", "subjectAltName"]);
        assert!(String::from_utf8_lossy(&text).contains("DNS:box.field.example\n"), "year {year}");
    }

    // Until an officer revokes it: at once, while the service runs.
    let new_key = bed.openssl.key(Key::P256, "late");
    let renewal = bed.openssl.renewal_request(&new_key, "Computer", &[], &old);
    let message = messages::issue(&ces, None, &base64(&bed.openssl.cms(&renewal, &pem, &key, &[])));
    let (before, after) = bed.site.serve_at(MovedClock(4 * 350 * DAY), |site| {
        let before = post(&bed, &cep, &get_policies(&cep, None), &pem, &key);
        site.muster("token", &["revoke", &token.user]);
        (before, post(&bed, &ces, &message, &pem, &key))
    });
    assert_eq!(templates(&before), ["Computer"]);
    assert_eq!(after.status, 500, "{}", after.body);
    assert!(after.body.contains("or its account may not use it any more"), "{}", after.body);
    assert_eq!(list(&bed.site)[0]["state"], "revoked");
}

#[test]
fn waiting_request_holds_the_use_and_is_fetched_after_the_end() {
    let Some(mut bed) = bed() else { return };
    bed.site.template(APPROVED);
    let names = ["--dns", "box.field.example", "--ip", "10.1.2.3"];
    let token = create(&bed.site, &[&["--template", "Approved"], &names[..]].concat());
    let key = bed.openssl.key(Key::P256, "box");
    let request = bed.openssl.request(&key, "Approved", &["subjectAltName=DNS:box.field.example"]);
    let answer = issue(&bed, &token, &request);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let id = messages::text(&answer.body, "RequestID").unwrap().to_owned();
    assert!(certificate(&answer.body).is_none());
    let other = bed.openssl.request(&bed.openssl.key(Key::P256, "other"), "Approved", &[]);
    assert_wrong_password(&issue(&bed, &token, &other));
    let again = issue(&bed, &token, &request);
    assert_eq!(messages::text(&again.body, "RequestID"), Some(&*id), "{}", again.body);
    assert_eq!(list(&bed.site)[0]["used"], 1);
    bed.site.muster("request", &["approve", &id]);
    bed.site.stop();
    let url = bed.site.ces();
    let message = messages::query(&url, token.sign_in(), &id);
    let ask = |days: i64| {
        bed.site.serve_at(MovedClock(days * DAY), |_| bed.curl.post(&url, &message, &["--insecure"]))
    };
    // The grace ends thirty days after the token.
    assert_wrong_password(&ask(31));
    let pem = bed.openssl.pem("box", &issued(&ask(29)));
    let text = bed.openssl.run(&["x509", "-in", &pem, "-noout", "-subject", "-ext", "subjectAltName"]);
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("DNS:box.field.example, IP Address:10.1.2.3"), "{text}");
    assert!(text.contains("CN = box.field.example"), "{text}");
}

#[test]
fn expired_token_enrolls_nobody() {
    let Some(mut bed) = bed() else { return };
    bed.site.stop();
    let token = create(&bed.site, &["--template", "Computer", "--dns", "box.field.example", "--ttl", "1h"]);
    let request = bed.openssl.request(&bed.openssl.key(Key::P256, "box"), "Computer", &[]);
    let url = bed.site.ces();
    let message = messages::issue(&url, token.sign_in(), &base64(&request));
    let at = |seconds: i64| {
        bed.site.serve_at(MovedClock(seconds), |_| bed.curl.post(&url, &message, &["--insecure"]))
    };
    assert_wrong_password(&at(3_605));
    assert_eq!(list(&bed.site)[0]["used"], 0);
    issued(&at(3_500));
}

/// A second process on the same store, at other ports.
struct Second {
    child: std::process::Child,
    port: u16,
}

impl Second {
    fn start(site: &Site) -> Self {
        let (first, port) = (site.port(), ports::three());
        let text = std::fs::read_to_string(site.installed("muster.toml")).unwrap();
        let text =
            (0..3).fold(text, |text, n| text.replace(&(first + n).to_string(), &(port + n).to_string()));
        let config = site.installed("second.toml");
        std::fs::write(&config, text).unwrap();
        let log = std::fs::File::create(site.path("second.log")).unwrap();
        let mut command = Command::new(muster());
        command
            .args(["serve", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let second = Self { child: command.spawn().unwrap(), port };
        for _ in 0..600 {
            if std::fs::read_to_string(site.path("second.log")).unwrap().contains("serving revocation list") {
                return second;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("{}", std::fs::read_to_string(site.path("second.log")).unwrap());
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn two_processes_race_for_one_use() {
    let Some(bed) = bed() else { return };
    let site = &bed.site;
    let second = Second::start(site);
    let other_url = site.ces().replace(&site.port().to_string(), &second.port.to_string());
    let urls = [site.ces(), other_url];
    for round in 0..6 {
        let token = create(site, &["--template", "Computer", "--dns", "box.field.example"]);
        let requests: Vec<Vec<u8>> = (0..4)
            .map(|n| {
                let key = bed.openssl.key(Key::P256, &format!("race{round}-{n}"));
                bed.openssl.request(&key, "Computer", &[])
            })
            .collect();
        let answers: Vec<Answer> = std::thread::scope(|scope| {
            let (bed, token, urls) = (&bed, &token, &urls);
            let send = |(n, request): (usize, &Vec<u8>)| {
                let message = messages::issue(&urls[n % 2], token.sign_in(), &base64(request));
                scope.spawn(move || bed.curl.post(&urls[n % 2], &message, &[]))
            };
            let sent: Vec<_> = requests.iter().enumerate().map(send).collect();
            sent.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let won: Vec<usize> = (0..4).filter(|n| answers[*n].status == 200).collect();
        assert_eq!(won.len(), 1, "round {round}: {answers:?}");
        for (n, answer) in answers.iter().enumerate().filter(|(n, _)| !won.contains(n)) {
            assert_wrong_password(answer);
            assert!(n < 4);
        }
        // The other process gives the same answer to the same octets.
        let der = issued(&answers[won[0]]);
        let url = &urls[(won[0] + 1) % 2];
        let message = messages::issue(url, token.sign_in(), &base64(&requests[won[0]]));
        assert_eq!(issued(&bed.curl.post(url, &message, &[])), der);
        assert_eq!(list(site)[0]["used"], 1);
    }
}

#[test]
fn more_uses_are_counted() {
    let Some(bed) = bed() else { return };
    let token = create(
        &bed.site,
        &["--template", "Computer", "--dns", "box.field.example", "--uses", "2", "--ttl", "7d"],
    );
    let request = |name: &str| bed.openssl.request(&bed.openssl.key(Key::P256, name), "Computer", &[]);
    issued(&issue(&bed, &token, &request("one")));
    assert_eq!(templates(&policies(&bed, &token)), ["Computer"]);
    issued(&issue(&bed, &token, &request("two")));
    assert_wrong_password(&issue(&bed, &token, &request("three")));
    assert_eq!((&list(&bed.site)[0]["used"], &list(&bed.site)[0]["state"]), (&2.into(), &"used".into()));
}

/// What an officer cannot make: the sentence says why, and nothing is stored.
#[test]
fn tokens_that_are_not_made() {
    let site = Site::make(SigningAlgorithm::P256, &muster_server::SystemClock);
    let run = |options: &[&str]| {
        let output = Command::new(muster())
            .args(["token", "--config"])
            .arg(site.installed("muster.toml"))
            .arg("create")
            .args(options)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(!output.status.success(), "{options:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    for (options, said) in [
        (&["--template", "None", "--dns", "a.example"][..], "error: there is no template 'None'"),
        (&["--template", "Computer"], "error: a token without names would be for nobody"),
        (&["--template", "Computer", "--dns", "a_b"], "error: 'a_b' is not a host name"),
        (
            &["--template", "Computer", "--dns", "a.example", "--dns", "A.example"],
            "error: a name is given twice",
        ),
        (
            &["--template", "Computer", "--email", "a@b.example"],
            "error: template 'Computer' needs a name that the token lacks\nhint: add --dns",
        ),
        (
            &["--template", "Computer", "--dns", "a.example", "--ip", "10.0.0.1"],
            "error: template 'Computer' does not give the name IP:10.0.0.1",
        ),
        (
            &["--template", "Computer", "--dns", "a.example", "--upn", "root@a.example"],
            "error: template 'Computer' does not give the name UPN:root@a.example",
        ),
        (&["--template", "WebServer", "--dns", "*.a.example"], "error: '*.a.example' is not a host name"),
        (&["--template", "Computer", "--dns", "a.example", "--ttl", "91d"], "error: invalid value '91d'"),
        (&["--template", "Computer", "--dns", "a.example", "--uses", "0"], "error: invalid value '0'"),
    ] {
        let text = run(options);
        assert!(text.starts_with(said), "{options:?}: {text}");
    }
    assert!(list(&site).is_empty());
    let add = ["add", "token-abcdefghijklmnop", "--password-file", "x"];
    let output = Command::new(muster())
        .args(["account", "--config"])
        .arg(site.installed("muster.toml"))
        .args(add)
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("or of a token"));
}
