//! Enrollment over RPC in a real directory: who somebody is and which templates there are comes from it. The clients are
//! impacket and Certipy, and our own connector, which looks at the certificates.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise, in its helpers too")]

use std::fs;
use std::process::{Command, Stdio};

use muster_adcs::{Adcs, Answer, Expected, Identity, Method, Settings, Submission};
use muster_gss::{Gss, Login};
use muster_proto::wcce::CertificateRequest;
use muster_rpc::wcce::{Form, RequestAttributes, RequestFlags};
use muster_testkit::ad::{Ad, Tickets};
use muster_testkit::ad_site::AdSite;
use muster_testkit::peers::{self, Peer};
use muster_testkit::ports;
use muster_testkit::tools::{self, Ran};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// A computer of the directory with both names, whose keytab is there.
const HOST: &str = "ca1.corp.test";

/// An installation in the directory, whose mapper listens at `mapper`.
fn site(mapper: u16, more: &str) -> Option<(AdSite, u16)> {
    let mut site = AdSite::intranet(&["EnrollersUser"])?;
    let keytab = site.site.path("ca1.keytab");
    fs::copy(site.ad.keytab("ca1"), &keytab).unwrap();
    let port = ports::three();
    site.site.configure(&format!(
        "[rpc]\naddress = \"127.0.0.1:{mapper}\"\nrequest_address = \"127.0.0.1:{port}\"\n\
         realm = \"CORP.TEST\"\nkeytab = {keytab:?}\nservices = [\"HOST/{HOST}\", \"RPCSS/{HOST}\"]\n{more}"
    ));
    site.site.serve();
    Some((site, port))
}

/// A new request without a template; its path.
fn request(site: &AdSite, name: &str) -> String {
    let openssl = Peer::OpenSsl.or_not_run().unwrap();
    let path = site.site.path(name).display().to_string();
    let key = format!("{path}.key");
    let arguments =
        ["req", "-new", "-subj", "/CN=whatever", "-newkey", "rsa:2048", "-nodes", "-keyout", &key];
    let ran = tools::run(&openssl, &[&arguments[..], &["-outform", "DER", "-out", &path]].concat(), b"");
    assert!(ran.ok, "{}", ran.all());
    path
}

/// impacket finds only tickets that are in the cache already.
fn with_services(tickets: &Tickets) {
    for service in ["HOST", "host", "RPCSS"] {
        let ran = tickets.run("kvno", &["-q", &format!("{service}/{HOST}")]);
        assert!(ran.ok, "{}", ran.all());
    }
}

#[test]
fn accounts_of_a_directory_enroll_over_rpc() {
    let mapper = ports::three();
    let Some((site, port)) = site(mapper, "unsigned_headers = true\n") else { return };
    let Some(python) = Peer::KerberosPython.or_not_run() else { return };
    let impacket = |who: &str, command: &str, port: u16, name: &str| -> serde_json::Value {
        let tickets = site.ad.kinit(who);
        with_services(&tickets);
        let request = request(&site, name);
        let cache = tickets.cache();
        let script = peers::script("rpc_impacket.py").display().to_string();
        let attributes = "CertificateTemplate:EnrollersUser";
        let mut all = vec![format!("KRB5CCNAME={}", cache.trim_start_matches("FILE:"))];
        all.extend([python.display().to_string(), script, command.to_owned(), port.to_string()]);
        let rest =
            ["--host", HOST, "--ca", site.site.ca_name(), "--csr", &request, "--attributes", attributes];
        all.extend(rest.map(str::to_owned));
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let ran = tickets.run("env", &all);
        serde_json::from_str(&ran.text()).unwrap_or_else(|error| panic!("{error}: {}", ran.all()))
    };
    // The directory is read in the background.
    let said = AdSite::until(|| impacket("alice", "icpr", port, "a1"), |said| said["disposition"] == "0x3");
    assert_eq!(said["disposition"], "0x3", "{said}");
    let said = impacket("alice", "dcom", mapper, "a2");
    assert_eq!(said["disposition"], "0x3", "{said}");
    assert!(said["templates"].as_str().unwrap().contains("EnrollersUser\n"), "{said}");
    // Somebody in none of the groups: CERTSRV_E_TEMPLATE_DENIED.
    let said = impacket("bob", "icpr", port, "b1");
    assert_eq!(said["disposition"], "0x80094012", "{said}");
    let said = impacket("bob", "dcom", mapper, "b2");
    assert_eq!(said["disposition"], "0x80094012", "{said}");

    // The certificate is the account's: our connector compares its security identifier with the directory's.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let issuer = CertificateDer::from_pem_slice(&fs::read(site.site.ca()).unwrap()).unwrap().to_vec();
    let principal = "alice@CORP.TEST";
    let login = Login::Password { principal: principal.to_owned(), password: Ad::password("alice").into() };
    let identity = Identity::new(principal, Gss::load().unwrap().credential(&login).unwrap());
    for (name, method) in [("c1", Method::Object), ("c2", Method::Passage)] {
        let mut settings = Settings::new(HOST, site.site.ca_name().parse().unwrap(), vec![issuer.clone()]);
        (settings.mapper_port, settings.method) = (mapper, method);
        let request = fs::read(request(&site, name)).unwrap();
        let public_key = CertificateRequest::parse(&request).unwrap().public_key.spki_der().to_vec();
        let submission = Submission {
            request,
            flags: RequestFlags { form: Form::Pkcs10, full_response: true, on_behalf: false },
            attributes: RequestAttributes::NONE.with_template("EnrollersUser".parse().unwrap()),
            expected: Expected { public_key, template: Vec::new(), sid: Some(site.ad.sid("alice")) },
        };
        let answer = runtime.block_on(Adcs::new(settings).submit(&identity, &submission));
        assert!(matches!(answer, Ok(Answer::Issued { .. })), "{name}: {answer:?}");
    }
    let listed = site.site.muster("request", &["list", "--json"]);
    assert_eq!(listed.matches(&format!("rpc://{HOST}/ICertPassage")).count(), 3, "{listed}");
    assert_eq!(listed.matches(&format!("rpc://{HOST}/ICertRequestD")).count(), 3, "{listed}");
    assert!(listed.contains("corp.test\\\\alice"), "{listed}");
}

/// In tickets an account can have several names; in the log it is found by what it is counted by.
#[test]
fn connections_of_an_account_are_counted_by_its_identifier() {
    let more = "unsigned_headers = true\n[limits]\nrpc_connections_per_account = 1\n";
    let Some((site, port)) = site(ports::three(), more) else { return };
    let Some(python) = Peer::KerberosPython.or_not_run() else { return };
    let tickets = site.ad.kinit("alice");
    with_services(&tickets);
    let cache = format!("KRB5CCNAME={}", tickets.cache().trim_start_matches("FILE:"));
    let (python, script, port) = (
        python.display().to_string(),
        peers::script("rpc_impacket.py").display().to_string(),
        port.to_string(),
    );
    let options =
        ["hold", &port, "--host", HOST, "--ca", site.site.ca_name(), "--count", "2", "--seconds", "0"];
    let ran = tickets.run("env", &[&[cache.as_str(), &python, &script][..], &options].concat());
    let said: serde_json::Value = serde_json::from_str(&ran.text()).unwrap();
    assert!(said["calls"][1].as_str().unwrap().contains("nca_s_server_too_busy"), "{said}");
    let log = site.site.log();
    let refused = log.lines().find(|line| line.contains("a connection was refused")).unwrap();
    assert!(refused.contains(&format!("account=\"{}\"", site.ad.sid("alice"))), "{refused}");
}

/// Certipy and Samba with their own ideas of where things are: the mapper is on port 135.
#[test]
fn certipy_enrolls_and_samba_arrives_by_the_endpoint_mapper() {
    let Some(certipy) = Peer::Certipy.or_not_run() else { return };
    let Some((site, _)) = site(135, "unsigned_headers = true\n") else { return };
    let run = |options: &[&str], cache: Option<&Tickets>, name: &str| -> Ran {
        let mut command = Command::new(&certipy);
        command.args(["req", "-u", "alice@corp.test", "-dc-ip", "127.0.0.2", "-ns", "127.0.0.2"]);
        command.args(["-target", HOST, "-target-ip", "127.0.0.1", "-ca", site.site.ca_name()]);
        command.args(["-template", "EnrollersUser", "-out", name, "-debug", "-dynamic-endpoint"]);
        command.args(options).current_dir(site.site.path("")).stdin(Stdio::null());
        if let Some(cache) = cache {
            command.env("KRB5CCNAME", cache.cache().trim_start_matches("FILE:"));
        }
        tools::run_command(command, b"")
    };
    let tickets = site.ad.kinit("alice");
    with_services(&tickets);
    let ran = AdSite::until(
        || run(&["-k", "-no-pass"], Some(&tickets), "got"),
        |ran| ran.all().contains("Successfully requested certificate"),
    );
    assert!(ran.all().contains("Successfully requested certificate"), "{}", ran.all());
    assert!(site.site.path("got.pfx").exists(), "{}", ran.all());
    // ESC11 is this: NTLM, whose first half comes from somewhere else.
    let ran = run(&["-p", &Ad::password("alice")], None, "stolen");
    assert!(!ran.all().contains("Successfully requested certificate"), "{}", ran.all());
    assert!(!site.site.path("stolen.pfx").exists(), "{}", ran.all());
    assert!(site.site.muster("audit", &["list"]).contains("RPC_REFUSED"));

    // Samba's own client finds the port by the mapper, and nobody in particular gets no further.
    let script = peers::script("rpc_samba.py");
    let said = tickets.run("/usr/bin/python3", &[script.to_str().unwrap(), HOST]).all();
    assert!(
        said.contains("connected") && said.contains("error: ") && said.contains("Access Denied"),
        "{said}"
    );
}
