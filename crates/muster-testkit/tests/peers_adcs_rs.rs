//! wstep-rs and wcce-rs, a client that was written for Microsoft's services, enrolls, renews, asks and reads answers.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise, in its helpers too"
)]

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use muster_testkit::bed::Bed;
use muster_testkit::messages::{self, get_policies};
use muster_testkit::peers::Peer;
use muster_testkit::site::{PASSWORD, SigningAlgorithm, Site};
use muster_testkit::tools::{Key, from_base64, run};

struct Client {
    program: PathBuf,
    bed: Bed,
}

fn client() -> Option<Client> {
    client_at(|| Site::start(SigningAlgorithm::Rsa2048))
}

fn client_at(site: impl FnOnce() -> Site) -> Option<Client> {
    let program = Peer::AdcsRs.or_not_run()?;
    // Its CMS writes the signer's certificate anew and gives every signature algorithm a NULL, which is right for RSA
    // alone: with another CA key the certificate in a renewal is no longer the one that was issued, and is refused.
    let bed = Bed::or_not_run(site)?;
    Some(Client { program, bed })
}

impl Client {
    /// An envelope that wstep-rs wrote; with a UsernameToken for an account, without for none.
    fn write(&self, account: Option<&str>, arguments: &[&str]) -> String {
        let mut command = Command::new(&self.program);
        if let Some(account) = account {
            command.env("MUSTER_USER", account).env("MUSTER_PASSWORD", PASSWORD);
        }
        let output = command.args(arguments).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What it reads in the answer to such an envelope. `tls` goes to curl.
    #[track_caller]
    fn exchange(&self, account: Option<&str>, arguments: &[&str], tls: &[&str]) -> HashMap<String, String> {
        let envelope = self.write(account, arguments);
        let answer = self.bed.curl.post(arguments[1], &envelope, tls);
        assert!([200, 500].contains(&answer.status), "{arguments:?}: {}", answer.body);
        let ran = run(&self.program, &["read"], answer.body.as_bytes());
        assert!(ran.ok, "{arguments:?}: {} in {}", ran.errors, answer.body);
        let text = ran.text();
        text.lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect()
    }

    /// The reason of a fault. wstep-rs reads faults that carry a CMC response; where that is nil, as MS-WSTEP
    /// 3.1.4.1.3.7 demands where there is none, it gives up, and the reason is searched for in the text.
    #[track_caller]
    fn refusal(&self, account: Option<&str>, arguments: &[&str], tls: &[&str]) -> String {
        let answer = self.bed.curl.post(arguments[1], &self.write(account, arguments), tls);
        assert_eq!(answer.status, 500, "{arguments:?}: {}", answer.body);
        assert!(messages::certificate(&answer.body).is_none(), "{}", answer.body);
        let ran = run(&self.program, &["read"], answer.body.as_bytes());
        assert_eq!(
            ran.ok,
            !answer.body.contains("<BinaryResponse xsi:nil"),
            "{} in {}",
            ran.errors,
            answer.body
        );
        if ran.ok { ran.text() } else { answer.body }
    }

    /// OID, major and minor version of a template, from the policy.
    fn template(&self, account: &str, name: &str) -> [String; 3] {
        let url = self.bed.site.cep();
        let answer = self.bed.curl.post(&url, &get_policies(&url, Some((account, PASSWORD))), &[]).body;
        let policy = answer.split("<policy>").find(|p| p.contains(&format!("<commonName>{name}<"))).unwrap();
        let reference = messages::text(policy, "policyOIDReference").unwrap();
        let oids = answer.split("<oID>").find(|oid| messages::text(oid, "oIDReferenceID") == Some(reference));
        let number = |element| messages::text(policy, element).unwrap().to_owned();
        let oid = messages::text(oids.unwrap(), "value").unwrap().to_owned();
        [oid, number("majorRevision"), number("minorRevision")]
    }

    /// PEM of the certificate that was read, after OpenSSL has verified it.
    #[track_caller]
    fn certificate(&self, read: &HashMap<String, String>, name: &str) -> String {
        assert_eq!(read.get("disposition").map(String::as_str), Some("Issued"), "{read:?}");
        let pem = self.bed.openssl.pem(name, &from_base64(&read["token"]));
        let verdict = self.bed.verify(&pem, "any");
        assert!(verdict.ends_with(": OK\n"), "{verdict}");
        pem
    }
}

#[test]
fn enrolls_asks_and_renews() {
    let Some(client) = client() else { return };
    let Bed { site, openssl, .. } = &client.bed;
    let [oid, major, minor] = &client.template("alice", "User");
    let template = [oid.as_str(), major, minor];
    let ces = site.ces();
    for kind in [Key::P256, Key::Rsa2048] {
        let name = format!("{kind:?}");
        let key = openssl.key(kind, &name);
        let issue = [&["issue", &ces, &key], &template[..]].concat();
        let read = client.exchange(Some("alice"), &issue, &[]);
        let pem = client.certificate(&read, &name);
        let ours = openssl.run(&["pkey", "-in", &key, "-pubout"]);
        assert_eq!(openssl.run(&["x509", "-in", &pem, "-noout", "-pubkey"]), ours);
        let again = client.exchange(Some("alice"), &["query", &ces, &read["request-id"]], &[]);
        assert_eq!(again["token"], read["token"]);

        // Renewals as WCCE has them: CMS by the old key around a PKCS#10 with the old certificate in an attribute.
        let new_key = openssl.key(Key::P256, &format!("{name}-new"));
        let renew = [&["renew", &ces, &new_key, &key, &pem], &template[..]].concat();
        let renewed = client.exchange(Some("alice"), &renew, &[]);
        client.certificate(&renewed, &format!("{name}-renewed"));
        let foreign = client.refusal(Some("bob"), &renew, &[]);
        assert!(foreign.contains("another account"), "{foreign}");

        // And with the old certificate in the handshake.
        let url = site.ces_certificate();
        let renew = [&["renew", &url, &new_key, &key, &pem], &template[..]].concat();
        let renewed = client.exchange(None, &renew, &["--cert", &pem, "--key", &key]);
        client.certificate(&renewed, &format!("{name}-tls-renewed"));
        let without = client.refusal(None, &renew, &[]);
        assert!(without.contains("FailedAuthentication"), "{without}");
    }
}

#[test]
fn renews_by_certificate_alone() {
    let Some(client) = client_at(|| Site::start_key_based(SigningAlgorithm::Rsa2048)) else { return };
    let Bed { site, openssl, .. } = &client.bed;
    let [oid, major, minor] = &client.template("alice", "User");
    let template = [oid.as_str(), major, minor];
    let enroll = |name: &str| {
        let key = openssl.key(Key::Rsa2048, name);
        let (der, _) = client.bed.enroll("alice", "User", &key, &[]);
        (openssl.pem(name, &der), key)
    };
    let ((pem, key), (other, other_key)) = (enroll("alice"), enroll("other"));
    let (url, new_key) = (site.ces_key_based(), openssl.key(Key::P256, "new"));
    let renew = [&["renew", &url, &new_key, &key, &pem], &template[..]].concat();
    let refused = client.refusal(None, &renew, &["--cert", &other, "--key", &other_key]);
    assert!(refused.contains("not the one that signed"), "{refused}");
    let renewed = client.exchange(None, &renew, &["--cert", &pem, "--key", &key]);
    let renewed = client.certificate(&renewed, "renewed");
    let ours = openssl.run(&["pkey", "-in", &new_key, "-pubout"]);
    assert_eq!(openssl.run(&["x509", "-in", &renewed, "-noout", "-pubkey"]), ours);
}

#[test]
fn reads_pending_denied_and_other_faults() {
    let Some(client) = client() else { return };
    let Bed { site, openssl, .. } = &client.bed;
    let ces = site.ces();
    let [oid, major, minor] = &client.template("alice", "CodeSigning");
    let key = openssl.key(Key::P384, "code");
    let issue = ["issue", &ces, &key, oid, major, minor];
    // wstep-rs cannot read the answer to a pending request (it wants a certificate): the words are enough to go on.
    let envelope = client.write(Some("alice"), &issue);
    let pending = client.bed.curl.post(&ces, &envelope, &[]);
    assert_eq!(messages::text(&pending.body, "DispositionMessage"), Some("Taken Under Submission"));
    let id = messages::text(&pending.body, "RequestID").unwrap().to_owned();
    site.muster("request", &["deny", &id, "--comment", "not today"]);
    let denied = client.exchange(Some("alice"), &["query", &ces, &id], &[]);
    assert!(denied["reason"].contains("not today") && denied["invalid-request"] == "true", "{denied:?}");
    let foreign = client.refusal(Some("bob"), &["query", &ces, &id], &[]);
    assert!(foreign.contains("There is no request"), "{foreign}");

    // A newer revision than there is, an unknown template, nobody.
    let next = (major.parse::<u32>().unwrap() + 1).to_string();
    let newer = client.refusal(Some("alice"), &["issue", &ces, &key, oid, &next, "0"], &[]);
    assert!(newer.contains("newer revision"), "{newer}");
    let unknown = client.exchange(Some("alice"), &["issue", &ces, &key, "1.2.3.4", "1", "0"], &[]);
    // 0x80094012, CERTSRV_E_TEMPLATE_DENIED.
    assert!(unknown["error"].contains("2148089874"), "{unknown:?}");
    let nobody = client.refusal(None, &issue, &[]);
    assert!(nobody.contains("FailedAuthentication"), "{nobody}");
    // wstep-rs writes requests for the key exchange token; for its answer it has no type.
    let envelope = client.write(Some("alice"), &["key-exchange", &ces]);
    let exchange = client.bed.curl.post(&ces, &envelope, &[]);
    assert_eq!(exchange.status, 200, "{}", exchange.body);
    assert!(exchange.body.contains("KeyExchangeToken"), "{}", exchange.body);
}

/// An enrollment agent's request as wcce-rs writes it: CMS with the requester's name in the signed attributes.
#[test]
fn enrolls_on_behalf_of_somebody() {
    let Some(client) = client() else { return };
    let Bed { site, openssl, .. } = &client.bed;
    let template = |name: &str, purpose: &str, issuance: &str| {
        site.template(&format!(
            r#"
name = "{name}"
display_name = "{name}"
kind = "user"
eku = ["{purpose}"]
[subject]
source = "identity"
[key]
algorithms = ["rsa", "p256"]
usage = ["digital_signature"]
[validity]
days = 365
renew_before_days = 42
[issuance]
{issuance}
[permissions]
enroll = ["group:users"]
"#
        ));
    };
    template("Agent", "1.3.6.1.4.1.311.20.2.1", "approval = true");
    template("Smartcard", "1.3.6.1.5.5.7.3.2", "signatures = 1");
    let agent_key = openssl.key(Key::Rsa2048, "agent");
    let (der, _) = client.bed.enroll("bob", "Agent", &agent_key, &[]);
    let agent = openssl.pem("agent", &der);
    let [oid, major, minor] = &client.template("alice", "Smartcard");
    let template = [oid.as_str(), major, minor];
    let (ces, key) = (site.ces(), openssl.key(Key::P256, "card"));
    let behalf = |name: &str| -> Vec<String> {
        let words = ["behalf", &ces, &key, &agent_key, &agent, name];
        words.iter().chain(&template).map(|word| (*word).to_owned()).collect()
    };
    let words = behalf("alice");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let refused = client.refusal(Some("bob"), &words, &[]);
    assert!(refused.contains("This enrollment agent may not enroll for this account"), "{refused}");
    site.muster("agent", &["allow", "--agent", "bob", "--template", "Smartcard", "--for-account", "alice"]);
    let pem = client.certificate(&client.exchange(Some("bob"), &words, &[]), "card");
    let subject = openssl.run(&["x509", "-in", &pem, "-noout", "-subject"]);
    assert_eq!(String::from_utf8(subject).unwrap(), "subject=CN = Alice Example\n");
    let words = behalf("nobody-here");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let refused = client.refusal(Some("bob"), &words, &[]);
    assert!(refused.contains("There is no account of the name in the request"), "{refused}");
}
