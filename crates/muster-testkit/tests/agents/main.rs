//! Enrollment agents from outside: requests that pyasn1 encodes and OpenSSL's keys sign, sent by curl.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at the first surprise, in its helpers too"
)]

mod approved;
mod refused;

use std::path::PathBuf;
use std::process::Command;

use muster_testkit::bed::Bed;
use muster_testkit::messages::{self, certificate, error_code};
use muster_testkit::peers::{self, Peer};
use muster_testkit::site::{PASSWORD, SigningAlgorithm, Site};
use muster_testkit::tools::{Answer, Key, base64, from_base64, run_command};
use serde_json::{Value, json};

const AGENT_PURPOSE: &str = "1.3.6.1.4.1.311.20.2.1";

/// A template for users; `changes` are added to it.
fn template(name: &str, purpose: &str, rest: &str) -> String {
    format!(
        r#"
name = "{name}"
display_name = "{name}"
kind = "user"
eku = ["{purpose}"]
{rest}
[subject]
source = "identity"
common_name = "common_name"
[key]
algorithms = ["p256", "rsa"]
usage = ["digital_signature"]
[validity]
days = 365
renew_before_days = 42
[permissions]
enroll = ["group:users", "group:helpdesk"]
"#
    )
}

/// Someone who signs requests: PEM files of certificate and key.
struct Holder {
    certificate: String,
    key: String,
    der: Vec<u8>,
}

struct Desk {
    bed: Bed,
    python: PathBuf,
    /// The agent's; she may enroll `users` with `Smartcard`.
    helen: Holder,
}

const CLIENT: &str = "1.3.6.1.5.5.7.3.2";

impl Desk {
    fn or_not_run() -> Option<Self> {
        let python = Peer::Python.or_not_run()?;
        let bed = Bed::or_not_run(|| Site::start(SigningAlgorithm::P256))?;
        let site = &bed.site;
        let signed =
            |more: &str| format!("[issuance]\nsignatures = 1\nsignature_eku = [\"{AGENT_PURPOSE}\"]\n{more}");
        // Tables may stand in any order in TOML, keys of the top level may not.
        site.template(&template("Agent", AGENT_PURPOSE, "[issuance]\napproval = true\n"));
        site.template(&template(
            "OtherAgent",
            AGENT_PURPOSE,
            "policies = [\"1.2.3.4\"]\n[issuance]\napproval = true\n",
        ));
        site.template(&template("Smartcard", CLIENT, &signed("")));
        site.template(&template("Unsigned", CLIENT, ""));
        site.template(&template("TwoAgents", CLIENT, &signed("").replace("= 1", "= 2")));
        site.template(&template("Policied", CLIENT, &signed("signature_policies = [\"1.2.3.4\"]\n")));
        site.template(&template("Approved", CLIENT, &signed("approval = true\n")));
        for agent in ["helen", "henry"] {
            site.account(agent, "user", &["--group", "helpdesk"]);
        }
        let helen = enroll(&bed, "helen", "Agent");
        for template in ["Smartcard", "Approved"] {
            site.muster(
                "agent",
                &["allow", "--agent", "helen", "--template", template, "--for-group", "users"],
            );
        }
        Some(Self { bed, python, helen })
    }

    fn site(&self) -> &Site {
        &self.bed.site
    }

    fn pkcs10(&self, template: &str, name: &str) -> Vec<u8> {
        let key = self.bed.openssl.key(Key::P256, name);
        self.bed.openssl.request(&key, template, &[])
    }

    /// A request that pyasn1 encodes.
    fn encode(&self, request: &Value) -> Vec<u8> {
        let mut command = Command::new(&self.python);
        command.arg(peers::script("agent_request.py"));
        let ran = run_command(command, request.to_string().as_bytes());
        assert!(ran.ok, "{}", ran.all());
        from_base64(ran.text().trim())
    }

    /// CMS around a new PKCS#10 for `template`, signed by these with the requester's name.
    fn cms(&self, template: &str, signers: &[(&Holder, &str)]) -> Vec<u8> {
        let signers: Vec<Value> = signers.iter().map(|(holder, name)| signer(holder, &[name])).collect();
        let content = base64(&self.pkcs10(template, "of-requester"));
        self.encode(&json!({"form": "cms", "content": content, "signers": signers}))
    }

    /// The agent sends it with her password.
    fn send(&self, request: &[u8]) -> Answer {
        self.bed.curl.issue(self.site(), "helen", request)
    }

    fn query(&self, account: &str, id: &str) -> Answer {
        let url = self.site().ces();
        self.bed.curl.post(&url, &messages::query(&url, Some((account, PASSWORD)), id), &[])
    }

    #[track_caller]
    fn subject(&self, der: &[u8]) -> String {
        let pem = self.bed.openssl.pem("issued", der);
        let verdict = self.bed.verify(&pem, "sslclient");
        assert!(verdict.ends_with(": OK\n"), "{verdict}");
        let text = self.bed.openssl.run(&["x509", "-in", &pem, "-noout", "-subject"]);
        String::from_utf8(text).unwrap().trim().to_owned()
    }
}

fn signer(holder: &Holder, names: &[&str]) -> Value {
    json!({"certificate": holder.certificate, "key": holder.key, "requesters": names})
}

/// A certificate of this account, approved if need be.
fn enroll(bed: &Bed, account: &str, template: &str) -> Holder {
    let name = format!("{account}-{template}");
    let key = bed.openssl.key(Key::P256, &name);
    let (der, _) = bed.enroll(account, template, &key, &[]);
    Holder { certificate: bed.openssl.pem(&name, &der), key, der }
}

#[track_caller]
fn issued(answer: &Answer) -> Vec<u8> {
    assert_eq!(answer.status, 200, "{}", answer.body);
    from_base64(certificate(&answer.body).unwrap_or_else(|| panic!("{}", answer.body)))
}

#[track_caller]
fn assert_refused(answer: &Answer, code: u32, sentence: &str) {
    assert_eq!(answer.status, 500, "{}", answer.body);
    assert!(answer.body.contains(sentence), "{}", answer.body);
    assert_eq!(error_code(&answer.body), Some(code), "{}", answer.body);
}
