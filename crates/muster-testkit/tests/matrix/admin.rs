//! The administrator's subcommands, run as a person or a script would.

use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use muster_core::Clock;
use muster_core::audit::Actor;
use muster_core::forwarding::{
    Expected, ExpectedNames, ExpectedSid, ForwardLedger, IdentityMode, Outcome, Settlement, SubmissionRecord,
};
use muster_core::identity::Method;
use muster_core::issuance::RequestRecord;
use muster_server::SystemClock;
use muster_server::config::Service;
use muster_testkit::requests::Messages;
use muster_testkit::server::{PASSWORD, path};
use muster_testkit::{Answer, Identity, Key, SignIn, peers};
use serde_json::Value;

use crate::kill::Site;
use crate::start::failure;

struct Admin {
    site: Site,
}

impl Admin {
    async fn new() -> Self {
        let site = Site::new(|config| config).await;
        let file = site.folder.join("password");
        std::fs::write(&file, "a good password\n").unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        Self { site }
    }

    /// Runs `muster` with these words; `FOLDER` stands for the installation's.
    fn run(&self, words: &str) -> Output {
        let folder = self.site.folder.display().to_string();
        let words = words.split(' ').map(|word| word.replace("FOLDER", &folder));
        let mut command = Command::new(peers::muster());
        command.args(words).arg("--config").arg(&self.site.config).stdin(Stdio::null());
        command.output().unwrap()
    }

    /// What is printed to stdout.
    fn output(&self, words: &str) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What is remarked on stderr; stdout must be empty.
    fn remark(&self, words: &str) -> String {
        let output = self.run(words);
        let remark = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), output.stdout.as_slice()),
            (Some(0), &b""[..]),
            "{words}: {remark}"
        );
        remark.trim_end().to_owned()
    }

    fn json(&self, words: &str) -> Value {
        serde_json::from_str(&self.output(&format!("{words} --json"))).unwrap()
    }

    fn failure(&self, words: &str) -> String {
        failure(&self.run(words)).replace(&self.site.folder.display().to_string(), "FOLDER")
    }

    /// Wrong usage.
    fn usage(&self, words: &str) -> String {
        let output = self.run(words);
        assert_eq!(output.status.code(), Some(2), "{words}");
        String::from_utf8(output.stderr).unwrap()
    }

    async fn post(&self, account: &str, password: &str, write: impl FnOnce(&Messages) -> String) -> Answer {
        let endpoint = self.site.endpoint(Service::Enrollment);
        let messages = Messages::new(&endpoint.uri, SignIn::Password(account, password), SystemClock.now());
        let mut connection = self.site.https.connect(self.site.address(), None).await;
        connection.post(&path(endpoint), &write(&messages)).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts() {
    let admin = Admin::new().await;
    let _server = admin.site.serve();
    let works = async |password: &str| {
        let request = Key::generate().request("User");
        admin.post("carol", password, |m| m.issue(&request)).await.status == 200
    };
    let add = "account add carol --email carol@example.test --password-file FOLDER/password";
    assert_eq!(admin.remark(add), "account carol added");
    assert!(works("a good password").await);
    assert_eq!(
        admin.failure(add),
        "error: there is an account 'carol' already\nhint: change it with 'muster account set'"
    );
    let row = admin.json("account show carol");
    assert_eq!(
        (&row["name"], &row["kind"], &row["enabled"]),
        (&"carol".into(), &"user".into(), &true.into())
    );
    assert_eq!((&row["groups"][0], &row["has_password"]), (&"users".into(), &true.into()));
    assert!(row.get("password_hash").is_none());
    assert!(admin.output("account show carol").contains("email = \"carol@example.test\""));

    assert_eq!(admin.remark("account disable carol"), "account carol and its certificates no longer sign in");
    assert!(!works("a good password").await);
    assert_eq!(admin.json("account show carol")["enabled"], false);
    assert_eq!(admin.remark("account enable carol"), "account carol may sign in again");
    assert!(works("a good password").await);
    std::fs::write(admin.site.folder.join("password"), "a better one\nsecond line\n").unwrap();
    assert_eq!(
        admin.remark("account password carol --password-file FOLDER/password"),
        "the password of carol is set"
    );
    assert!(works("a better one").await);
    assert!(!works("a good password").await);
    assert_eq!(
        admin.remark("account set carol --group users --group staff --upn carol@corp.example"),
        "account carol changed"
    );
    let row = admin.json("account show carol");
    assert_eq!(row["groups"], serde_json::json!(["staff", "users"]));
    assert_eq!(row["email"], "carol@example.test", "what is not named stays");

    let list = admin.json("account list");
    let names: Vec<&str> = list.as_array().unwrap().iter().map(|a| a["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["alice", "bob", "carol", "dave", "host", "nobody"]);
    assert!(admin.output("account list").starts_with("ACCOUNT  KIND      ENABLED  GROUPS"));
    assert_eq!(admin.remark("account remove carol"), "account carol removed");
    assert!(!works("a better one").await);

    let unknown = "error: there is no account 'carol'";
    for words in
        ["show carol", "set carol --email c@example.test", "password carol --password-file FOLDER/password"]
    {
        let said = admin.failure(&format!("account {words}"));
        assert_eq!(said, format!("{unknown}\nhint: 'muster account list' shows all of them"), "{words}");
    }
    for words in ["enable carol", "disable carol", "remove carol"] {
        assert_eq!(admin.failure(&format!("account {words}")), unknown, "{words}");
    }
    for (words, said) in [
        ("account add x --password-file FOLDER/none", "error: cannot read FOLDER/none: No such file"),
        ("account add x", "error: there is no terminal to ask for the password\nhint: put it into a file"),
        (
            "account add x --email nonsense --password-file FOLDER/password",
            "error: 'nonsense' is not an e-mail address",
        ),
        (
            "account add x --dns a_b --password-file FOLDER/password",
            "error: 'a_b' is not a host name\nhint: use at least two labels",
        ),
        (
            "account add x --upn x --password-file FOLDER/password",
            "error: 'x' is not a user principal name\nhint: it has the form",
        ),
    ] {
        let failure = admin.failure(words);
        assert!(failure.starts_with(said), "{words}: {failure}");
    }
    assert!(admin.usage("account add a*b --password-file FOLDER/password").contains("'a*b' is not a name"));
    std::fs::write(admin.site.folder.join("password"), "\n").unwrap();
    assert!(
        admin
            .failure("account add x --password-file FOLDER/password")
            .contains("a password has 1 to 1024 bytes")
    );
    assert_eq!(admin.json("account list").as_array().unwrap().len(), 5, "what failed left nothing");
}

/// An account that signs in with certificates alone: no password does, not even an empty one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn account_without_a_password() {
    let admin = Admin::new().await;
    let _server = admin.site.serve();
    let said = admin.remark("account add kiosk --kind computer --no-password");
    assert_eq!(said, "account kiosk added, without a password");
    assert_eq!(admin.json("account show kiosk")["has_password"], false);
    let request = Key::generate().request("Computer");
    for password in ["", "a good password", "kiosk"] {
        let answer = admin.post("kiosk", password, |m| m.issue(&request)).await;
        assert!(answer.text().contains("FailedAuthentication"), "{password:?}: {}", answer.text());
    }
    let usage = admin.usage("account add x --no-password --password-file FOLDER/password");
    assert!(usage.contains("cannot be used with"), "{usage}");
    // An account has a password from when one is set.
    admin.remark("account set kiosk --dns kiosk.example.test");
    admin.remark("account password kiosk --password-file FOLDER/password");
    assert_eq!(admin.json("account show kiosk")["has_password"], true);
    assert_eq!(admin.post("kiosk", "a good password", |m| m.issue(&request)).await.status, 200);
}

#[tokio::test]
async fn templates() {
    let admin = Admin::new().await;
    let file = admin.site.folder.join("template.toml");
    let list = admin.json("template list");
    assert_eq!(list[0]["name"], "User");
    assert!(admin.output("template list").starts_with("TEMPLATE"));
    let text = admin.output("template show user");
    std::fs::write(&file, &text).unwrap();
    assert_eq!(admin.remark("template check FOLDER/template.toml"), "template User: no fault found");
    std::fs::write(&file, text.replace("days = 365", "days = 100")).unwrap();
    assert_eq!(
        admin.remark("template put FOLDER/template.toml"),
        "template User is offered in revision 100.1"
    );
    assert_eq!(admin.json("template show User")["validity"]["days"], 100);
    let history = admin.json("template history User");
    assert_eq!(history.as_array().unwrap().len(), 2, "{history}");
    assert!(history.to_string().contains("officer:"), "{history}");
    assert_eq!(admin.remark("template remove User"), "template User is offered no longer");
    assert!(
        admin
            .failure("template show User")
            .starts_with("error: there is no template 'User'\nhint: 'muster template list'")
    );
    let failure = admin.failure("template remove User");
    assert!(failure.starts_with("error: there is no template"), "{failure}");
    assert!(!failure.contains("no longer"), "{failure}");
    assert!(admin.failure("template history none").starts_with("error: there is no template 'none'"));

    let risky = text
        .replace("source = \"identity\"", "source = \"request\"\nallow_dns = [\".example\"]")
        .replace("name = \"User\"", "name = \"Risky\"");
    for (broken, said) in [
        (
            text.replace("days = 365", "days = 0"),
            "error: FOLDER/template.toml: template 'User': validity.days must be 1 to 3650",
        ),
        (text.replace("kind =", "knd ="), "error: FOLDER/template.toml: TOML parse error at line "),
        (risky, "error: FOLDER/template.toml: "),
    ] {
        std::fs::write(&file, broken).unwrap();
        let before = admin.json("template list");
        for verb in ["check", "put"] {
            let failure = admin.failure(&format!("template {verb} FOLDER/template.toml"));
            assert!(failure.starts_with(said), "{failure}");
            assert!(failure.ends_with("hint: docs/templates.md explains every key"), "{failure}");
        }
        assert_eq!(admin.json("template list"), before);
    }
    assert!(admin.failure("template put FOLDER/none").starts_with("error: cannot read FOLDER/none: "));
}

/// What another CA has is shown with that CA's number, and is not for officers here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_another_ca_are_shown_and_not_decided() {
    let admin = Admin::new().await;
    let store = admin.site.store();
    let id = store.reserve_request_id().await.unwrap();
    let now = SystemClock.now();
    let request = RequestRecord {
        id,
        received: now,
        actor: Actor::Service,
        requester: "alice".parse().unwrap(),
        requester_sid: None,
        method: Method::Kerberos,
        form: "pkcs10",
        template: Some("User".to_owned()),
        endpoint: "https://ces.lab.example/".to_owned(),
        raw: b"a request".to_vec(),
        asked_with: None,
    };
    let expected = Expected {
        spki: b"a key".to_vec(),
        template_name: "User".to_owned(),
        template_oid: None,
        sid: ExpectedSid::NotCompared,
        names: ExpectedNames::NotCompared,
    };
    let (ca, identity) = ("Corp Issuing CA".to_owned(), IdentityMode::Delegate);
    store.record_submission(SubmissionRecord { request, ca, identity, expected, at: now }).await.unwrap();
    let listed = || {
        let table = admin.output("request list");
        let last: Vec<&str> = table.lines().last().unwrap().split_whitespace().skip(2).collect();
        last.join(" ")
    };
    assert_eq!(listed(), "alice User submitting Corp Issuing CA");
    let settle = async |outcome| {
        Settlement { id, actor: Actor::Service, outcome, at: now }.commit(&store).await.unwrap();
    };
    let (response, message) = (Vec::new(), "Taken Under Submission".to_owned());
    settle(Outcome::UnderSubmission { backend_id: 17, response, message }).await;
    assert_eq!(listed(), "alice User under_submission Corp Issuing CA 17");
    for verb in ["approve", "deny --comment no"] {
        assert_eq!(
            admin.failure(&format!("request {verb} {id}")),
            format!("error: request {id} is under_submission, not pending")
        );
    }
    let (response, message) = (Vec::new(), "Denied by Policy Module".to_owned());
    settle(Outcome::Denied { backend_id: None, hresult: Some(0x8009_4012), response, message }).await;
    let row = admin.json(&format!("request show {id}"));
    assert_eq!((&row["disposition"], &row["code"]), (&"denied".into(), &"CA_DENIED".into()));
    assert_eq!((&row["ca"], &row["ca_request_id"]), (&"Corp Issuing CA".into(), &17.into()));
    assert_eq!((&row["identity"], &row["hresult"]), (&"delegate".into(), &"0x80094012".into()));
    assert_eq!(row["message"], "Denied by Policy Module");
    assert!(admin.output("audit list").contains("record_submission"));
    assert_eq!(admin.json("request list --disposition under_submission"), Value::Array(Vec::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_certificates_and_audit() {
    let admin = Admin::new().await;
    let _server = admin.site.serve();
    let submit = async |template: &str| {
        let key = Arc::new(Key::generate());
        let request = key.request(template);
        (admin.post("alice", PASSWORD, |m| m.issue(&request)).await, key)
    };
    let ask = async |id: &str| admin.post("alice", PASSWORD, |m| m.query(id)).await;

    let (first, _) = submit("Approved").await;
    let (second, _) = submit("Approved").await;
    let (first, second) = (first.pending(), second.pending());
    let pending = admin.json("request list --disposition pending");
    assert_eq!(pending.as_array().unwrap().len(), 2);
    assert!(admin.output("request list").starts_with("ID"));
    let row = admin.json(&format!("request show {first}"));
    assert_eq!((&row["requester"], &row["disposition"]), (&"alice".into(), &"pending".into()));
    assert!(row["asks_for"].as_str().unwrap().contains("256 bits"), "{row}");
    assert_eq!(
        admin.remark(&format!("request approve {first}")),
        format!(
            "request {first} is approved for revision 100.0 of its template; the client gets its certificate when it asks next"
        )
    );
    assert_eq!(ask(&first).await.issued().0, first);
    let deny = Command::new(peers::muster())
        .args(["request", "deny", &second, "--comment", "ask again in May", "--config"])
        .arg(&admin.site.config)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(deny.stderr).unwrap(), format!("request {second} is denied\n"));
    let reason = ask(&second).await.fault().reason;
    assert!(
        reason.starts_with(&format!("Request {second} was denied by an officer: ask again in May")),
        "{reason}"
    );
    assert_eq!(
        admin.failure(&format!("request approve {first}")),
        format!("error: request {first} is issued, not pending")
    );
    assert!(admin.failure("request approve 4000000").starts_with("error: there is no request"));
    assert_eq!(
        admin.failure("request show 4000000"),
        "error: there is no request 4000000\nhint: 'muster request list' shows the newest"
    );
    assert!(admin.usage("request list --disposition bogus").contains("'bogus' is not a disposition"));
    assert!(admin.usage("request show 0").contains("invalid value '0'"));

    // Revocation is seen by the service and by everybody who fetches the list, at once.
    let (answer, key) = submit("User").await;
    let (id, certificate) = answer.issued();
    let row = admin.json(&format!("cert show {id}"));
    let serial = row["serial"].as_str().unwrap().to_owned();
    assert_eq!((&row["account"], &row["revoked"]), (&"alice".into(), &Value::Null));
    let pem = admin.output(&format!("cert show {serial} --pem"));
    assert_eq!(pem, muster_server::certificate_pem(&certificate));
    assert!(admin.output("cert list --account alice").contains(&serial));
    let alice = Identity { certificate, key };
    let policy = admin.site.settings.policy_endpoints.iter().find(|e| e.listener == "certificate").unwrap();
    let address = admin.site.settings.listeners["certificate"].address;
    let mut connection = admin.site.https.connect(address, Some(&alice)).await;
    let message = Messages::new(&policy.uri, SignIn::None, SystemClock.now()).get_policies();
    assert_eq!(connection.post(&path(policy), &message).await.status, 200);
    let hold = admin.remark(&format!("cert revoke {serial} --reason certificateHold"));
    assert!(
        hold.starts_with(&format!("certificate {serial} is revoked (certificateHold); revocation list ")),
        "{hold}"
    );
    let answer = connection.post(&path(policy), &message).await;
    assert!(answer.fault().reason.starts_with("This certificate is on hold"), "{}", answer.text());
    let release = admin.remark(&format!("cert release {serial}"));
    assert!(
        release.starts_with(&format!("certificate {serial} is valid again; revocation list ")),
        "{release}"
    );
    assert_eq!(connection.post(&path(policy), &message).await.status, 200);
    let revoke = admin.remark(&format!("cert revoke {id} --reason keyCompromise"));
    assert!(revoke.ends_with("its key is never accepted again"), "{revoke}");
    assert_eq!(
        admin.failure(&format!("cert revoke {serial}")),
        format!("error: certificate {serial} was revoked before (keyCompromise)")
    );
    assert_eq!(admin.json("cert list --revoked").as_array().unwrap().len(), 1);
    assert!(admin.failure(&format!("cert release {serial}")).starts_with("error: "));
    assert_eq!(
        admin.failure("cert show 4000000"),
        "error: there is no certificate '4000000'\nhint: 'muster cert list' shows the newest"
    );
    assert!(admin.failure("cert show nonsense").ends_with("hint: 'muster cert list' shows serial numbers"));
    assert!(admin.usage(&format!("cert revoke {serial} --reason whim")).contains("whim"));

    // Everything is on record, and the record tells whether somebody changed it.
    let audit = admin.json(&format!("audit list --request {second}"));
    let actions: Vec<&str> =
        audit.as_array().unwrap().iter().map(|r| r["action"].as_str().unwrap()).collect();
    // The last is the question of its owner, which was answered by what the officer said.
    assert_eq!(actions, ["query_token_status", "deny", "submit"]);
    assert!(admin.output("audit list --limit 1").lines().count() == 2);
    let report = admin.json("audit verify");
    assert_eq!(report["faults"], serde_json::json!([]));
    let path = muster_server::service::store_path(&admin.site.settings);
    let database = rusqlite::Connection::open(path).unwrap();
    // The database itself forbids it; whoever may write the file may take that away first.
    let forbidden = database.execute("UPDATE audit SET actor = 'nobody at all' WHERE action = 'deny'", []);
    assert!(forbidden.unwrap_err().to_string().contains("audit records are never changed"));
    let triggers = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit'";
    let mut triggers = database.prepare(triggers).unwrap();
    let triggers: Vec<String> =
        triggers.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    for trigger in triggers {
        database.execute_batch(&format!("DROP TRIGGER {trigger}")).unwrap();
    }
    database.execute_batch("UPDATE audit SET actor = 'nobody at all' WHERE action = 'deny'").unwrap();
    let failure = admin.failure("audit verify");
    assert!(failure.starts_with("error: the audit log was tampered with: "), "{failure}");
    assert!(!admin.output("account list").is_empty());
}

#[tokio::test]
async fn no_installation() {
    let folder = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| {
        let mut command = Command::new(peers::muster());
        failure(&command.args(words).current_dir(folder.path()).stdin(Stdio::null()).output().unwrap())
    };
    if !std::path::Path::new("/etc/muster/muster.toml").exists() {
        assert_eq!(
            run(&["account", "list"]),
            "error: there is no configuration file here\n\
             hint: name it with --config, or make an installation with 'muster quickstart'"
        );
    }
    std::fs::copy(
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/samples/minimal.toml"),
        folder.path().join("muster.toml"),
    )
    .unwrap();
    let missing = run(&["account", "list"]);
    assert!(missing.starts_with("error: there is no store at "), "{missing}");
    assert!(missing.contains("hint: check data_dir in the configuration"), "{missing}");
}
