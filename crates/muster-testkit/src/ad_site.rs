//! An installation inside of the bed's Active Directory: Kerberos endpoints, clients with tickets, forged tokens.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests stop here, at the first surprise"
)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use muster_server::SystemClock;
use serde_json::{Value, json};

use crate::ad::{Ad, Forest, SERVICE, Tickets, unique};
use crate::island::Island;
use crate::messages;
use crate::peers::{self, Peer};
use crate::site::{SigningAlgorithm, Site};
use crate::tools::{Answer, Curl};

/// An installation with Kerberos endpoints for `HTTP/ces.corp.test`.
#[derive(Debug)]
pub struct AdSite {
    /// The directory.
    pub ad: Ad,
    /// The installation.
    pub site: Site,
    /// curl that trusts it.
    pub curl: Curl,
    python: PathBuf,
}

impl AdSite {
    /// The installation, not served yet, if everything is there.
    #[must_use]
    pub fn or_not_run() -> Option<Self> {
        Self::make(SigningAlgorithm::P256)
    }

    /// The same with a CA that signs with `algorithm`, also the certificate for TLS.
    #[must_use]
    pub fn make(algorithm: SigningAlgorithm) -> Option<Self> {
        let ad = Ad::or_not_run()?;
        let (python, curl) = (Peer::KerberosPython.or_not_run()?, Peer::Curl.or_not_run()?);
        let site = Site::make_named(SERVICE, &unique("Bed CA "), algorithm, &SystemClock);
        Some(Self { ad, curl: Curl::new(curl, &site), site, python })
    }

    /// Accepts tickets for these services with a keytab of `world.KEYTABS`, and serves.
    pub fn serve(&mut self, keytab: &str, services: &[&str]) {
        self.configure(keytab, services);
        self.site.serve();
    }

    /// The part of the configuration for Kerberos.
    pub fn configure(&self, keytab: &str, services: &[&str]) {
        let keytab = self.private_keytab(keytab);
        let endpoint = |kind: &str| {
            format!("[[{kind}_endpoint]]\nauthentication = \"kerberos\"\nlistener = \"password\"\n\n")
        };
        self.site.configure(&format!(
            "[kerberos.\"CORP.TEST\"]\nkeytab = {keytab:?}\nservices = {services:?}\n\n{}{}",
            endpoint("policy"),
            endpoint("enrollment")
        ));
    }

    /// The part of the configuration for a domain, read with the service's account of CORP.TEST or of the domain
    /// itself, and more lines for its table.
    pub fn configure_directory(&self, forest: Forest, more: &str) {
        let (account, keytab) = match forest {
            Forest::Corp | Forest::Partner => ("svc-ces@CORP.TEST", "svc-ces"),
            Forest::Other => ("svc-ces@OTHER.TEST", "svc-ces.other"),
        };
        let copy = self.site.path(&format!("{keytab}.keytab"));
        fs::copy(self.ad.keytab(keytab), &copy).unwrap();
        let (domain, dc) = (forest.realm().to_ascii_lowercase(), forest.dc());
        self.site.configure(&format!(
            "[directory.{domain:?}]\nservers = [{dc:?}]\naccount = {account:?}\nkeytab = {copy:?}\n{more}\n"
        ));
    }

    /// Makes this CA an enrollment service of a forest that lists these templates.
    pub fn publish(&self, forest: Forest, templates: &[&str]) {
        let ca = self.site.ca();
        let mut arguments = vec!["authority", self.site.ca_name(), SERVICE, ca.to_str().unwrap()];
        arguments.extend(templates);
        self.ad.directory(forest, &arguments);
    }

    /// The installation of the first deployment: Kerberos for the accounts of CORP.TEST and its templates; not served.
    #[must_use]
    pub fn intranet(templates: &[&str]) -> Option<Self> {
        let site = Self::or_not_run()?;
        site.configure("http", &["HTTP/ces.corp.test"]);
        site.configure_directory(Forest::Corp, "");
        site.publish(Forest::Corp, templates);
        Some(site)
    }

    /// Calls until the answer is as it should be, for at most ten seconds; the last answer.
    pub fn until<T>(mut call: impl FnMut() -> T, holds: impl Fn(&T) -> bool) -> T {
        let begin = Instant::now();
        loop {
            let answer = call();
            if holds(&answer) || begin.elapsed() > Duration::from_secs(10) {
                return answer;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// A copy of a keytab that the test may change.
    #[must_use]
    pub fn private_keytab(&self, name: &str) -> PathBuf {
        let copy = self.site.path("service.keytab");
        fs::copy(self.ad.keytab(name), &copy).unwrap();
        copy
    }

    /// The address under the name for which there are tickets.
    #[must_use]
    pub fn base(&self) -> String {
        format!("https://{SERVICE}:{}", self.site.port())
    }

    /// The policy service with Kerberos.
    #[must_use]
    pub fn cep(&self) -> String {
        format!("{}/ADPolicyProvider_CEP_Kerberos/service.svc/CEP", self.base())
    }

    /// The enrollment service with Kerberos.
    #[must_use]
    pub fn ces(&self) -> String {
        format!("{}/{}/service.svc/CES", self.base(), self.site.enrollment("Kerberos"))
    }

    /// The certificate that the server shows, PEM.
    #[must_use]
    pub fn shown(&self) -> PathBuf {
        let file = self.site.path("shown.pem");
        if !file.is_file() {
            let at = format!("127.0.0.1:{}", self.site.port());
            let shown = Command::new("openssl")
                .args(["s_client", "-connect", &at, "-servername", SERVICE])
                .stdin(Stdio::null())
                .output()
                .unwrap();
            let certificate = crate::tools::run(
                "openssl".as_ref(),
                &["x509", "-out", file.to_str().unwrap()],
                &shown.stdout,
            );
            assert!(certificate.ok, "{}", certificate.all());
        }
        file
    }

    /// What `forge_ticket.py` makes of `tickets` and the options of `call`, the right binding being the default.
    pub fn token(&self, tickets: &Tickets, call: &Value) -> String {
        let service = call["service"].as_str().unwrap_or("HTTP/ces.corp.test");
        let (service, realm) = service.split_once('@').unwrap_or((service, "CORP.TEST"));
        let fetched = tickets.run("kvno", &[service]);
        assert!(fetched.ok, "{}", fetched.all());
        let mut whole = json!({
            "cache": tickets.cache().trim_start_matches("FILE:"),
            "service": format!("{service}@{realm}"),
            "certificate": self.shown(),
            "keytab": self.ad.keytab("all"),
        });
        for (key, value) in call.as_object().unwrap() {
            if key != "service" {
                whole[key] = value.clone();
            }
        }
        let script = peers::script("forge_ticket.py");
        let ran = crate::tools::run(
            &self.python,
            &["-W".as_ref(), "ignore".as_ref(), script.as_os_str()],
            format!("{whole}\n").as_bytes(),
        );
        assert!(ran.ok, "{}", ran.all());
        let answer: Value = serde_json::from_slice(&ran.output).unwrap();
        answer["token"].as_str().unwrap().to_owned()
    }

    /// GetPolicies with a token in the header; the answer with its headers before it.
    pub fn ask(&self, scheme_and_token: &str) -> Answer {
        self.ask_at(&self.cep(), scheme_and_token)
    }

    /// The same at another address.
    pub fn ask_at(&self, url: &str, scheme_and_token: &str) -> Answer {
        let header = self.site.path(&format!("authorization-{:?}", std::thread::current().id()));
        fs::write(&header, format!("Authorization: {scheme_and_token}\n")).unwrap();
        let header = format!("@{}", header.display());
        self.curl.post(url, &messages::get_policies(url, None), &["--include", "--header", &header])
    }

    /// A client with these tickets that knows the services from WSDL and schema (zeep) and Kerberos from requests-gssapi.
    #[must_use]
    pub fn client(&self, tickets: &Tickets) -> Client {
        self.client_at(tickets, &self.cep(), &self.ces())
    }

    /// The same for other addresses.
    #[must_use]
    pub fn client_at(&self, tickets: &Tickets, cep: &str, ces: &str) -> Client {
        self.client_by(Command::new(&self.python), &self.site.ca(), tickets, cep, ces)
    }

    /// The same, trusting another certificate than the CA's.
    #[must_use]
    pub fn client_trusting(&self, trusted: &Path, tickets: &Tickets, cep: &str, ces: &str) -> Client {
        self.client_by(Command::new(&self.python), trusted, tickets, cep, ces)
    }

    /// The same on an island that only these ways leave.
    #[must_use]
    pub fn client_on(&self, island: &Island, tickets: &Tickets) -> Client {
        self.client_by(island.command(&self.python), &self.site.ca(), tickets, &self.cep(), &self.ces())
    }

    fn client_by(
        &self,
        mut python: Command,
        trusted: &Path,
        tickets: &Tickets,
        cep: &str,
        ces: &str,
    ) -> Client {
        let mut child = python
            .args(["-W", "ignore"])
            .arg(peers::script("zeep_client.py"))
            .args(["--negotiate", cep, ces])
            .arg(trusted)
            .env("KRB5CCNAME", tickets.cache())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Client { child, input, output, _tickets: tickets.clone() }
    }
}

/// `tests/peers/zeep_client.py --negotiate`, running.
#[derive(Debug)]
pub struct Client {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    _tickets: Tickets,
}

impl Client {
    /// What it makes of an exchange, faults included.
    pub fn call(&mut self, call: &Value) -> Value {
        writeln!(self.input, "{call}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{call}: {e}: {line}"));
        assert!(answer.get("broken").is_none(), "{call}: {answer}");
        answer
    }

    /// Templates of the policy answer: name, may enroll, may autoenroll; in order of their names.
    pub fn templates(&mut self) -> Vec<(String, bool, bool)> {
        let answer = self.call(&json!({"do": "policies"}));
        let mut all: Vec<_> = answer["templates"]
            .as_array()
            .unwrap_or_else(|| panic!("{answer}"))
            .iter()
            .map(|one| {
                let flag = |name: &str| one[name].as_bool().unwrap();
                (one["name"].as_str().unwrap().to_owned(), flag("enroll"), flag("autoEnroll"))
            })
            .collect();
        all.sort();
        all
    }

    /// Whether it may enroll for a template, by the policy answer; `None` if that does not name it.
    pub fn may_enroll(&mut self, template: &str) -> Option<bool> {
        self.templates().into_iter().find(|(name, _, _)| name == template).map(|(_, enroll, _)| enroll)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
