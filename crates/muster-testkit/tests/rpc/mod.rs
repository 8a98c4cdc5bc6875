//! An installation with RPC in a realm of MIT's, and what clients of others ask it with.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]
#![allow(dead_code, reason = "each suite uses a part")]

use std::path::PathBuf;

use muster_server::SystemClock;
use muster_testkit::kdc::{self, Kdc};
use muster_testkit::peers::{self, Peer};
use muster_testkit::ports;
use muster_testkit::site::{CA_NAME, SigningAlgorithm, Site};
use muster_testkit::tools::{self, Ran};

/// It is served as long as this lives.
pub(crate) struct Bed<'k> {
    pub(crate) site: Site,
    pub(crate) kdc: &'k Kdc,
    /// The ports.
    pub(crate) mapper: u16,
    pub(crate) port: u16,
    pub(crate) python: PathBuf,
    openssl: PathBuf,
}

impl<'k> Bed<'k> {
    /// With further lines of configuration: those of `[rpc]` first. `None` after having said what is missing.
    pub(crate) fn start(kdc: &'k Kdc, more: &str) -> Option<Self> {
        let (python, openssl) = (Peer::KerberosPython.or_not_run()?, Peer::OpenSsl.or_not_run()?);
        let mut keytab = PathBuf::new();
        for service in ["HTTP", "HOST", "RPCSS"] {
            keytab = kdc.add_service(&format!("{service}/localhost"), "service.keytab");
        }
        let mut site = Site::make(SigningAlgorithm::P256, &SystemClock);
        let mapper = ports::three();
        let port = mapper + 1;
        site.configure(&format!(
            "[kerberos.\"{}\"]\nkeytab = {keytab:?}\nservices = [\"HTTP/localhost\"]\n\n\
             [rpc]\naddress = \"127.0.0.1:{mapper}\"\nrequest_address = \"127.0.0.1:{port}\"\nrealm = \"{}\"\n\
             services = [\"HOST/localhost\", \"RPCSS/localhost\"]\n{more}",
            kdc::REALM,
            kdc::REALM
        ));
        site.serve();
        site.account(&format!("alice@{}", kdc::REALM), "user", &["--email", "alice@corp.example"]);
        site.account(&format!("bob@{}", kdc::REALM), "user", &["--email", "bob@corp.example"]);
        site.template(APPROVED);
        for name in ["alice", "bob", "mallory"] {
            kdc.add_user(name, &format!("{name}-pw"));
        }
        Some(Self { site, kdc, mapper, port, python, openssl })
    }

    /// A ticket cache of a user.
    pub(crate) fn tickets(&self, who: &str) -> String {
        self.kdc.kinit(who, &format!("{who}-pw"), &[])
    }

    /// `tests/beds/adcs/client.py` with a ticket of `who`.
    pub(crate) fn client(&self, who: &str, request: &str, arguments: &[&str]) -> Ran {
        self.client_for(CA_NAME, who, request, arguments)
    }

    /// The same for an authority of this name.
    pub(crate) fn client_for(&self, authority: &str, who: &str, request: &str, arguments: &[&str]) -> Ran {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/beds/adcs/client.py");
        let mut all = vec![format!("KRB5CCNAME={}", self.tickets(who)), self.python.display().to_string()];
        all.extend([script.display().to_string(), self.port.to_string(), authority.to_owned()]);
        all.push(request.to_owned());
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self.kdc.try_run("env", &all, b"")
    }

    /// `tests/peers/rpc_impacket.py` with a ticket of `who`: what it prints.
    pub(crate) fn impacket(&self, who: &str, arguments: &[&str]) -> serde_json::Value {
        let cache = self.tickets(who);
        let ticket = self.kdc.try_run("kvno", &["-q", "-c", &cache, "HOST/localhost"], b"");
        assert!(ticket.ok, "{}", ticket.all());
        // It knows paths alone.
        let cache = cache.trim_start_matches("FILE:");
        let mut all = vec![format!("KRB5CCNAME={cache}"), self.python.display().to_string()];
        all.push(peers::script("rpc_impacket.py").display().to_string());
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let ran = self.kdc.try_run("env", &all, b"");
        serde_json::from_str(&ran.text()).unwrap_or_else(|error| panic!("{error}: {}", ran.all()))
    }

    /// The path of a file with these octets.
    pub(crate) fn file(&self, name: &str, octets: &[u8]) -> String {
        let path = self.site.path(name);
        std::fs::write(&path, octets).unwrap();
        path.display().to_string()
    }

    /// The path of a new request with a new key; it names no template.
    pub(crate) fn request(&self, name: &str) -> String {
        let path = self.site.path(name).display().to_string();
        let key = format!("{path}.key");
        let arguments = ["req", "-new", "-subj", "/CN=whatever", "-newkey", "ec", "-pkeyopt"];
        let more = ["ec_paramgen_curve:P-256", "-nodes", "-keyout", &key, "-outform", "DER", "-out", &path];
        let ran = tools::run(&self.openssl, &[&arguments[..], &more].concat(), b"");
        assert!(ran.ok, "{}", ran.all());
        path
    }

    /// The number of the newest request.
    pub(crate) fn last_request(&self) -> String {
        let listed: serde_json::Value =
            serde_json::from_str(&self.site.muster("request", &["list", "--json"])).unwrap();
        let ids = listed.as_array().unwrap().iter().filter_map(|row| row["id"].as_u64());
        ids.max().unwrap().to_string()
    }
}

const APPROVED: &str = r#"
name = "Approved"
display_name = "Approved by an officer"
kind = "user"
eku = ["1.3.6.1.5.5.7.3.2"]

[subject]
source = "identity"

[key]
algorithms = ["p256"]
usage = ["digital_signature"]

[validity]
days = 30
renew_before_days = 5

[issuance]
approval = true

[permissions]
enroll = ["group:users"]
"#;
