//! A client that knows both services from WSDL and schema alone, and takes nothing that breaks them: python's zeep.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise, in its helpers too"
)]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use muster_testkit::peers::{self, Peer};
use muster_testkit::site::{CA_NAME, PASSWORD, SigningAlgorithm, Site};
use muster_testkit::tools::{Key, OpenSsl, base64, from_base64};
use serde_json::{Value, json};

/// `tests/peers/zeep_client.py`, running.
struct Zeep {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Zeep {
    fn start(site: &Site, python: &std::path::Path, urls: [&str; 2], certificate: &[&str]) -> Self {
        let mut child = Command::new(python)
            .arg(peers::script("zeep_client.py"))
            .args(urls)
            .arg(site.ca())
            .args(certificate)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, input, output }
    }

    /// What zeep makes of an exchange, a fault or a broken answer included.
    fn try_call(&mut self, call: &Value) -> Value {
        writeln!(self.input, "{call}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "zeep_client.py ended at {call}");
        serde_json::from_str(&line).unwrap()
    }

    /// The same, where nothing may be broken.
    #[track_caller]
    fn call(&mut self, call: Value) -> Value {
        let answer = self.try_call(&call);
        assert!(answer.get("broken").is_none(), "{call}: {}", answer["broken"].as_str().unwrap());
        answer
    }

    #[track_caller]
    fn as_user(&mut self, user: &str, mut call: Value) -> Value {
        call["user"] = json!(user);
        call["password"] = json!(PASSWORD);
        self.call(call)
    }
}

impl Drop for Zeep {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Bed {
    zeep: Zeep,
    openssl: OpenSsl,
    site: Site,
    python: std::path::PathBuf,
}

fn bed() -> Option<Bed> {
    let (python, openssl) = (Peer::Python.or_not_run()?, Peer::OpenSsl.or_not_run()?);
    let site = Site::start(SigningAlgorithm::P256);
    site.usual_accounts();
    let zeep = Zeep::start(&site, &python, [&site.cep(), &site.ces()], &[]);
    let openssl = OpenSsl::new(openssl, &site);
    Some(Bed { zeep, openssl, site, python })
}

fn names(answer: &Value) -> Vec<&str> {
    let templates = answer["templates"].as_array();
    let templates = templates.unwrap_or_else(|| panic!("no policies: {answer}"));
    templates.iter().map(|t| t["name"].as_str().unwrap()).collect()
}

fn template<'a>(answer: &'a Value, name: &str) -> &'a Value {
    let templates = answer["templates"].as_array();
    let found = templates.and_then(|all| all.iter().find(|t| t["name"] == name));
    found.unwrap_or_else(|| panic!("no {name}: {answer}"))
}

fn policies() -> Value {
    json!({"do": "policies"})
}

/// The fault's HRESULT.
#[track_caller]
fn error_code(answer: &Value) -> String {
    let code: i32 = answer["ErrorCode"].as_str().unwrap_or_else(|| panic!("{answer}")).parse().unwrap();
    format!("{:#010x}", u32::from_ne_bytes(code.to_ne_bytes()))
}

#[test]
fn policies_are_what_each_caller_may_have() {
    let Some(mut bed) = bed() else { return };
    let (zeep, site) = (&mut bed.zeep, &bed.site);
    let alice = zeep.as_user("alice", policies());
    let mut listed = names(&alice);
    listed.sort_unstable();
    assert_eq!(listed, ["CodeSigning", "User", "UserEmail"]);
    let web1 = zeep.as_user("web1", policies());
    let mut listed = names(&web1);
    listed.sort_unstable();
    assert_eq!(listed, ["Computer", "WebServer"]);

    // Who may do what, and how.
    let (computer, web) = (template(&web1, "Computer"), template(&web1, "WebServer"));
    assert_eq!((&computer["enroll"], &computer["autoEnroll"]), (&json!(true), &json!(true)));
    assert_eq!((&web["enroll"], &web["autoEnroll"]), (&json!(true), &json!(false)));
    assert_eq!(computer["generalFlags"].as_u64().unwrap() & 0x40, 0x40, "machine type");
    assert_eq!(computer["subjectNameFlags"], 0x1800_0000, "names from the host names of the account");
    assert_eq!(web["subjectNameFlags"], 1, "names from the request");
    assert_eq!(computer["providers"], json!(["Microsoft RSA SChannel Cryptographic Provider"]));
    assert_eq!((&computer["bits"], &computer["seconds"]), (&json!(2048), &json!(365 * 86_400)));
    let code = template(&alice, "CodeSigning");
    assert_eq!(code["enrollmentFlags"].as_u64().unwrap() & 0x42, 0x42, "approval, but not for renewals");
    assert_eq!(template(&alice, "User")["generalFlags"].as_u64().unwrap() & 0x40, 0);
    for each in alice["templates"].as_array().unwrap().iter().chain(web1["templates"].as_array().unwrap()) {
        assert_eq!(each["group"], 9, "{each}");
        assert_eq!(each["cas"], json!([0]), "{each}");
        let extensions = each["extensions"].as_object().unwrap();
        for oid in ["1.3.6.1.4.1.311.21.7", "2.5.29.37", "2.5.29.15", "1.3.6.1.4.1.311.21.10"] {
            assert!(extensions.contains_key(oid), "{oid} in {each}");
        }
        assert_eq!(extensions["2.5.29.15"][0], true, "key usage is critical");
        assert!(each["oid"].as_str().unwrap().split('.').all(|arc| arc.parse::<u32>().is_ok()), "{each}");
    }

    // One CA, with its certificate and both addresses, the preferred one of them for certificates.
    let cas = alice["cas"].as_array().unwrap();
    assert_eq!(cas.len(), 1);
    let ca = bed.openssl.run(&["x509", "-in", site.ca().to_str().unwrap(), "-outform", "DER"]);
    assert_eq!(from_base64(cas[0]["certificate"].as_str().unwrap()), ca);
    assert_eq!(cas[0]["enroll"], true);
    let expected = json!([[4, site.ces(), 10, false], [8, site.ces_certificate(), 1, false]]);
    assert_eq!(cas[0]["uris"], expected);

    // The policy is the same for all and stays the same.
    assert_eq!((&alice["id"], &alice["hours"], &alice["name"]), (&web1["id"], &json!(8), &json!(CA_NAME)));
    let id = alice["id"].as_str().unwrap();
    assert!(id.len() == 38 && id.starts_with('{') && id.ends_with('}') && id == id.to_uppercase(), "{id}");
    assert_eq!(zeep.as_user("alice", policies()), alice);

    // Denied beats allowed; what is not allowed is not listed.
    let user = site.muster("template", &["show", "User"]);
    let denied = user.replace("deny = []", "deny = [\"account:bob\"]");
    assert_ne!(user, denied, "{user}");
    site.template(&denied);
    assert!(!names(&zeep.as_user("bob", policies())).contains(&"User"));
    assert!(names(&zeep.as_user("alice", policies())).contains(&"User"));
}

#[test]
fn filters_and_last_update_are_heeded() {
    let Some(mut bed) = bed() else { return };
    let zeep = &mut bed.zeep;
    let all = zeep.as_user("alice", policies());
    let user = template(&all, "User")["oid"].as_str().unwrap().to_owned();
    let mut filtered = |filter: Value| {
        let answer = zeep.as_user("alice", json!({"do": "policies", "filter": filter}));
        names(&answer).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(filtered(json!({"oids": [user, "1.2.3.4"]})), ["User"]);
    assert!(filtered(json!({"oids": ["1.2.3.4"]})).is_empty());
    assert_eq!(filtered(json!({"client": 0, "server": 0})).len(), 3, "0 is no restriction");
    assert_eq!(filtered(json!({"client": 6, "server": 6})).len(), 3);
    assert_eq!(filtered(json!({"oids": [user], "client": 1, "server": 1})), ["User"]);

    // In Windows' first request the last update is in year 1.
    let mut since = |when: &str| zeep.as_user("alice", json!({"do": "policies", "since": when}));
    assert_eq!(names(&since("0001-01-01T00:00:00")).len(), 3);
    assert_eq!(names(&since("2020-01-01T00:00:00+00:00")).len(), 3);
    assert_eq!(names(&since("2999-01-01T00:00:00+00:00")).len(), 3, "a clock that is wrong hides nothing");
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    let now = now();
    let short = since(&now);
    assert_eq!((&short["unchanged"], names(&short).len()), (&json!(true), 0), "{short}");
    assert_eq!((&short["id"], &short["cas"]), (&all["id"], &json!([])));
    // Somebody changes a template: the same question has another answer.
    let text = bed.site.muster("template", &["show", "User"]);
    bed.site.template(&text.replace("days = 365", "days = 300"));
    let again = since(&now);
    assert_eq!(template(&again, "User")["seconds"], 300 * 86_400, "{again}");
}

/// The time in ISO 8601, by another program's clock.
fn now() -> String {
    let date = Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%S+00:00"]).output().unwrap();
    String::from_utf8(date.stdout).unwrap().trim().to_owned()
}

#[test]
fn issues_and_answers_queries() {
    let Some(mut bed) = bed() else { return };
    let (zeep, openssl) = (&mut bed.zeep, &bed.openssl);
    let key = openssl.key(Key::P256, "alice");
    let request = base64(&openssl.request(&key, "User", &[]));
    let context =
        json!({"rmd": "pc1.corp.example", "ccm": "pc1.corp.example", "SAN": "upn=bob@corp.example"});
    let issued = zeep.as_user("alice", json!({"do": "issue", "request": request, "context": context}));
    assert_eq!(
        (&issued["disposition"], &issued["language"]),
        (&json!("Issued"), &json!("en-US")),
        "{issued}"
    );
    let id = issued["id"].as_str().unwrap().to_owned();
    assert!(id.parse::<u32>().unwrap() > 0);
    let pem = openssl.pem("alice", &from_base64(issued["certificate"].as_str().unwrap()));
    let text = String::from_utf8(openssl.run(&["x509", "-in", &pem, "-noout", "-text"])).unwrap();
    assert!(text.contains("Subject: CN = Alice Example") && !text.contains("bob"), "{text}");

    // The same octets: the same certificate. A query for it: again.
    let again = zeep.as_user("alice", json!({"do": "issue", "request": request}));
    assert_eq!((&again["certificate"], &again["id"]), (&issued["certificate"], &issued["id"]));
    let queried = zeep.as_user("alice", json!({"do": "query", "id": id}));
    assert_eq!((&queried["certificate"], &queried["id"]), (&issued["certificate"], &issued["id"]));

    // A query of somebody else is one for nothing.
    let foreign = zeep.as_user("bob", json!({"do": "query", "id": id}));
    let unknown = zeep.as_user("bob", json!({"do": "query", "id": "999999"}));
    assert_eq!(
        (error_code(&foreign), error_code(&unknown)),
        ("0x80094004".to_owned(), "0x80094004".to_owned())
    );
    let sentence = |answer: &Value, id: &str| {
        let reason = answer["reason"].as_str().unwrap();
        reason.split(" (reference").next().unwrap().replace(id, "N")
    };
    assert_eq!(sentence(&foreign, &id), sentence(&unknown, "999999"));
    for field in ["fault", "subcodes", "InvalidRequest", "RequestID", "BinaryResponse", "action"] {
        assert_eq!(foreign[field], unknown[field], "{field}");
    }
    for nonsense in ["0", "-1", "4294967296", "x", " "] {
        let answer = zeep.as_user("alice", json!({"do": "query", "id": nonsense}));
        assert!(answer.get("fault").is_some(), "{nonsense:?}: {answer}");
    }

    // The CA exchange certificate, for keys that are to be archived.
    let exchange = zeep.as_user("alice", json!({"do": "key-exchange"}));
    let pem = openssl.pem("exchange", &from_base64(exchange["certificate"].as_str().unwrap()));
    let ca = bed.site.ca();
    openssl.run(&["verify", "-x509_strict", "-purpose", "any", "-CAfile", ca.to_str().unwrap(), &pem]);
    let text = String::from_utf8(openssl.run(&["x509", "-in", &pem, "-noout", "-text"])).unwrap();
    for word in ["Peer Test CA-Xchg", "1.3.6.1.4.1.311.21.5", "Key Encipherment"] {
        assert!(text.contains(word), "no '{word}' in {text}");
    }
}

#[test]
fn refusals_are_faults_with_detail() {
    let Some(mut bed) = bed() else { return };
    let (zeep, openssl) = (&mut bed.zeep, &bed.openssl);
    let key = openssl.key(Key::P256, "key");
    let small = openssl.path("small.pem");
    openssl.run(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024", "-out", &small]);
    let request = |template: &str, extensions: &[&str]| base64(&openssl.request(&key, template, extensions));
    let mut tampered = openssl.request(&key, "User", &[]);
    let last = tampered.len() - 1;
    tampered[last] ^= 1;
    let authority = ["basicConstraints=critical,CA:TRUE"];
    let sid = ["1.3.6.1.4.1.311.25.2=ASN1:UTF8:S-1-5-21-1-2-3-500"];
    let foreign_name = ["subjectAltName=DNS:other.example"];
    // The last word: whether it got as far as the store, and so has a number and a CMC response that says failed.
    let cases: [(&str, &str, String, &str, bool); 10] = [
        ("unknown template", "alice", request("NoSuchTemplate", &[]), "0x80094012", true),
        ("template of others", "alice", request("Computer", &[]), "0x80094012", true),
        ("short key", "alice", base64(&openssl.request(&small, "User", &[])), "0x80094811", false),
        (
            "kind of key",
            "web1",
            base64(&openssl.request(&openssl.key(Key::Ed25519, "ed"), "Computer", &[])),
            "0x80094811",
            true,
        ),
        ("wants to be a CA", "alice", request("User", &authority), "0x80094001", true),
        ("brings a SID", "alice", request("User", &sid), "0x80094001", true),
        ("name of others", "web1", request("WebServer", &foreign_name), "0x80094001", true),
        ("no name", "web1", request("WebServer", &[]), "0x80094001", true),
        ("tampered", "alice", base64(&tampered), "0x80090006", false),
        ("nonsense", "alice", base64(b"nonsense"), "0x8007000d", false),
    ];
    for (case, account, request, code, recorded) in cases {
        let answer = zeep.as_user(account, json!({"do": "issue", "request": request}));
        assert_eq!(answer["fault"], "Receiver", "{case}: {answer}");
        assert_eq!(answer["InvalidRequest"], "true", "{case}: {answer}");
        assert!(answer["reason"].as_str().unwrap().contains("(reference "), "{case}: {answer}");
        assert_eq!(error_code(&answer), code, "{case}: {answer}");
        if recorded {
            assert!(
                answer["RequestID"].as_str().is_some_and(|id| id.parse::<u32>().is_ok()),
                "{case}: {answer}"
            );
            // Its CMC response says failed, and carries no certificate but the CA's.
            let response =
                openssl.write("denied.der", from_base64(answer["BinaryResponse"].as_str().unwrap()));
            let shown =
                openssl.run(&["cms", "-cmsout", "-print", "-noout", "-inform", "DER", "-in", &response]);
            let shown = String::from_utf8(shown).unwrap();
            assert_eq!(shown.matches("d.certificate:").count(), 1, "{case}: {shown}");
        }
        assert!(
            answer["action"].as_str().unwrap().ends_with("CertificateEnrollmentWSDetailFault"),
            "{answer}"
        );
    }

    // Who does not sign in gets one answer, whatever is wrong.
    let mut sign_in = |user: &str, password: &str| {
        let answer = zeep.call(json!({"do": "policies", "user": user, "password": password}));
        assert_eq!(
            (&answer["fault"], &answer["subcodes"]),
            (&json!("Sender"), &json!(["FailedAuthentication"])),
            "{answer}"
        );
        answer["reason"].as_str().unwrap().split(" (reference").next().unwrap().to_owned()
    };
    let wrong = sign_in("alice", "wrong");
    assert_eq!(sign_in("nobody", "wrong"), wrong);
    assert_eq!(sign_in("<&>'\"", PASSWORD), wrong);
    let answer = zeep.call(json!({"do": "issue", "request": request("User", &[])}));
    assert_eq!(answer["subcodes"], json!(["FailedAuthentication"]), "{answer}");
    // And slowing down guesses does not lock out who knows the password for good.
    assert_eq!(names(&zeep.as_user("bob", policies())).len(), 3);
}

#[test]
fn officer_approves_and_denies_while_the_client_polls() {
    let Some(mut bed) = bed() else { return };
    let (zeep, site, openssl) = (&mut bed.zeep, &bed.site, &bed.openssl);
    let submit = |zeep: &mut Zeep, name: &str| {
        let request = base64(&openssl.request(&openssl.key(Key::P384, name), "CodeSigning", &[]));
        let pending = zeep.as_user("alice", json!({"do": "issue", "request": request}));
        assert_eq!(pending["disposition"], "Taken Under Submission", "{pending}");
        assert_eq!((&pending["certificate"], &pending["reference"]), (&Value::Null, &json!(site.ces())));
        pending
    };
    let query = |zeep: &mut Zeep, id: &str| zeep.as_user("alice", json!({"do": "query", "id": id}));

    let pending = submit(zeep, "first");
    let id = pending["id"].as_str().unwrap();
    for _ in 0..2 {
        let polled = query(zeep, id);
        assert_eq!(
            (&polled["disposition"], &polled["id"]),
            (&pending["disposition"], &pending["id"]),
            "{polled}"
        );
    }
    // CMC status 3, pending, with the CA's signature.
    let response = openssl.write("pending.der", from_base64(pending["response"].as_str().unwrap()));
    let content = openssl.path("pending.content");
    let ca = site.ca();
    let verify = ["cms", "-verify", "-inform", "DER", "-in", &response, "-purpose", "any", "-out", &content];
    openssl.run(&[&verify[..], &["-CAfile", ca.to_str().unwrap()]].concat());
    let listed = site.muster("request", &["list", "--disposition", "pending"]);
    assert!(listed.contains("CodeSigning") && listed.contains("alice"), "{listed}");
    let shown = site.muster("request", &["show", id]);
    assert!(shown.contains("384 bits"), "{shown}");

    site.muster("request", &["approve", id]);
    let foreign = zeep.as_user("bob", json!({"do": "query", "id": id}));
    assert_eq!(error_code(&foreign), "0x80094004", "approved for alice, not for bob: {foreign}");
    let issued = query(zeep, id);
    assert_eq!(issued["disposition"], "Issued", "{issued}");
    let certificate = issued["certificate"].as_str().unwrap();
    assert_eq!(query(zeep, id)["certificate"], certificate, "the same certificate at every query");
    let pem = openssl.pem("code", &from_base64(certificate));
    let key = openssl.run(&["pkey", "-in", &openssl.path("first.key.pem"), "-pubout"]);
    assert_eq!(openssl.run(&["x509", "-in", &pem, "-noout", "-pubkey"]), key);

    // Denied: a fault with the officer's words, at every query, and nothing is issued any more.
    let denied = submit(zeep, "second");
    let id = denied["id"].as_str().unwrap();
    site.muster("request", &["deny", id, "--comment", "ask <your> team & come again"]);
    for _ in 0..2 {
        let answer = query(zeep, id);
        assert_eq!((error_code(&answer).as_str(), &answer["InvalidRequest"]), ("0x80094014", &json!("true")));
        assert!(answer["reason"].as_str().unwrap().contains("ask <your> team & come again"), "{answer}");
        assert_eq!(answer["RequestID"], id, "{answer}");
    }
    let certificates = site.muster("cert", &["list", "--account", "alice"]);
    assert_eq!(certificates.matches("Alice Example").count(), 1, "{certificates}");
}

#[test]
fn client_certificate_signs_in_at_both_services() {
    let Some(mut bed) = bed() else { return };
    let (site, openssl) = (&bed.site, &bed.openssl);
    let key = openssl.key(Key::P256, "alice");
    let request = base64(&openssl.request(&key, "User", &[]));
    let issued = bed.zeep.as_user("alice", json!({"do": "issue", "request": request}));
    let pem = openssl.pem("alice", &from_base64(issued["certificate"].as_str().unwrap()));
    let urls = [site.cep_certificate(), site.ces_certificate()];
    let urls = urls.each_ref().map(String::as_str);
    let mut with = Zeep::start(site, &bed.python, urls, &[&pem, &key]);
    assert_eq!(names(&with.call(policies())).len(), 3);
    let queried = with.call(json!({"do": "query", "id": issued["id"]}));
    assert_eq!(queried["certificate"], issued["certificate"]);
    let fresh = base64(&openssl.request(&openssl.key(Key::P256, "fresh"), "User", &[]));
    assert_eq!(with.call(json!({"do": "issue", "request": fresh}))["disposition"], "Issued");
    let mut without = Zeep::start(site, &bed.python, urls, &[]);
    let answer = without.call(policies());
    assert_eq!(answer["subcodes"], json!(["FailedAuthentication"]), "{answer}");
    // A password does not help where a certificate is asked for.
    let answer = without.as_user("alice", policies());
    assert_eq!(answer["subcodes"], json!(["FailedAuthentication"]), "{answer}");
}

/// AC-5.2, AC-5.6: OpenSSL signs the renewal with the old key, zeep writes the envelope, the old certificate opens the
/// connection; neither password nor permission to enroll takes part.
#[test]
fn key_based_renewal_by_openssl_and_zeep() {
    let (Some(python), Some(openssl)) = (Peer::Python.or_not_run(), Peer::OpenSsl.or_not_run()) else {
        return;
    };
    let site = Site::start_key_based(SigningAlgorithm::P256);
    site.usual_accounts();
    let openssl = OpenSsl::new(openssl, &site);
    let (cep, ces, key_based) = (site.cep(), site.ces(), site.ces_key_based());
    let mut by_password = Zeep::start(&site, &python, [&cep, &ces], &[]);
    let mut enroll = |account: &str, name: &str| {
        let key = openssl.key(Key::P256, name);
        let request = base64(&openssl.request(&key, "User", &[]));
        let issued = by_password.as_user(account, json!({"do": "issue", "request": request}));
        let der = from_base64(issued["certificate"].as_str().unwrap());
        (openssl.pem(name, &der), der, key)
    };
    let (pem, old, key) = enroll("alice", "alice");
    let (second, _, second_key) = enroll("alice", "second");
    let (bob, _, bob_key) = enroll("bob", "bob");
    site.muster("account", &["set", "alice", "--group", "nobody"]);

    let new_key = openssl.key(Key::P256, "new");
    let request = openssl.renewal_request(&new_key, "User", &[], &old);
    let renewal = base64(&openssl.cms(&request, &pem, &key, &[]));
    let at = |certificate: &[&str]| {
        Zeep::start(&site, &python, [&site.cep_certificate(), &key_based], certificate)
    };
    let issue = |request: &str| json!({"do": "issue", "request": request});

    // Another certificate in the connection than the one that signs: of the same account, of another, none.
    for other in [[second.as_str(), &second_key], [&bob, &bob_key]] {
        let answer = at(&other).call(issue(&renewal));
        assert_eq!(error_code(&answer), "0x8009400e", "{answer}");
        assert!(answer["reason"].as_str().unwrap().contains("not the one that signed"), "{answer}");
    }
    let answer = at(&[]).call(issue(&renewal));
    assert_eq!(answer["subcodes"], json!(["FailedAuthentication"]), "{answer}");
    // A first enrollment is none of this address's business.
    let mut alice = at(&[&pem, &key]);
    let first = base64(&openssl.request(&openssl.key(Key::P256, "first"), "User", &[]));
    let answer = alice.call(issue(&first));
    assert!(answer.get("fault").is_some() && answer["RequestID"].is_null(), "{answer}");

    let answer = alice.call(issue(&renewal));
    assert_eq!(answer["disposition"], "Issued", "{answer}");
    let renewed = openssl.pem("renewed", &from_base64(answer["certificate"].as_str().unwrap()));
    let of = |pem: &str, what: &str| {
        String::from_utf8(openssl.run(&["x509", "-in", pem, "-noout", what])).unwrap()
    };
    let public_key = openssl.run(&["pkey", "-in", &new_key, "-pubout"]);
    assert_eq!(of(&renewed, "-pubkey").into_bytes(), public_key);
    assert_eq!(of(&renewed, "-subject"), of(&pem, "-subject"));
    // It serves at once to ask for its own number.
    let queried = at(&[&renewed, &new_key]).call(json!({"do": "query", "id": answer["id"]}));
    assert_eq!(queried["certificate"], answer["certificate"], "{queried}");
}
