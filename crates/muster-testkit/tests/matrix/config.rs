//! `muster check-config`: broken files, and what is said about each; the samples and the reference page.

use std::path::Path;

use muster_server::Settings;
use muster_server::config::{ConfigError, reference};
use muster_testkit::executable::run;

const MINIMAL: &str = include_str!("../../../../docs/samples/minimal.toml");

/// What is in the sample, what stands there instead (everywhere), and what is said: line, key, problem.
const BROKEN: &[(&str, &str, &str)] = &[
    (
        "[ca.\"Example CA\"]",
        "[kerberos.\"CORP.EXAMPLE\"]\nkeytab = \"k\"\nservices = [\"HTTP/pki.example\"]\n[rpc]\nrequest_address = \"127.0.0.1:4\"\nrealm = \"OTHER.EXAMPLE\"\nservices = []\n[ca.\"Example CA\"]",
        "9: rpc.realm: there is no [kerberos.\"OTHER.EXAMPLE\"]",
    ),
    (
        "[ca.\"Example CA\"]",
        "[kerberos.\"CORP.EXAMPLE\"]\nkeytab = \"k\"\nservices = [\"HTTP/pki.example\"]\n[rpc]\nrequest_address = \"127.0.0.1:4\"\nrealm = \"CORP.EXAMPLE\"\nservices = []\n[ca.\"Example CA\"]",
        "10: rpc.services: needs names such as HOST/pki.corp.example and RPCSS/pki.corp.example",
    ),
    (
        "[ca.\"Example CA\"]",
        "[kerberos.\"CORP.EXAMPLE\"]\nkeytab = \"k\"\nservices = [\"HTTP/pki.example\"]\n[rpc]\nrequest_address = \"127.0.0.1:4\"\nrealm = \"CORP.EXAMPLE\"\nservices = [\"HTTP/pki.example\"]\n[ca.\"Example CA\"]",
        "10: rpc.services: 'HTTP/pki.example' must be HOST/ or RPCSS/ and a host name in lower case",
    ),
    (
        "[ca.\"Example CA\"]",
        "[kerberos.\"CORP.EXAMPLE\"]\nkeytab = \"k\"\nservices = [\"HTTP/pki.example\"]\n[rpc]\nrequest_address = \"127.0.0.1:4\"\nrealm = \"CORP.EXAMPLE\"\nservices = [\"HOST/pki.example\"]\n[ca.\"Example CA\"]",
        "10: rpc.services: lacks RPCSS/pki.example: clients ask for tickets of both names",
    ),
    (
        "[ca.\"Example CA\"]",
        "[kerberos.\"CORP.EXAMPLE\"]\nkeytab = \"k\"\nservices = [\"HTTP/pki.example\"]\n[rpc]\naddress = \"127.0.0.1:4\"\nrequest_address = \"127.0.0.1:4\"\nrealm = \"CORP.EXAMPLE\"\nservices = [\"HOST/pki.example\", \"RPCSS/pki.example\"]\n[ca.\"Example CA\"]",
        "9: rpc.request_address: 127.0.0.1:4 is used by rpc.address",
    ),
    (
        "[ca.\"Example CA\"]",
        "[kerberos.\"corp.example\"]\nkeytab = \"k\"\nservices = [\"HTTP/pki.example\"]\n[ca.\"Example CA\"]",
        "4: kerberos.\"corp.example\": 'corp.example' is not the name of a realm: write it in upper case",
    ),
    (
        "[ca.\"Example CA\"]",
        "[kerberos.\"CORP.EXAMPLE\"]\nkeytab = \"k\"\nservices = []\n[ca.\"Example CA\"]",
        "6: kerberos.\"CORP.EXAMPLE\".services: needs a name such as HTTP/pki.corp.example",
    ),
    (
        "[ca.\"Example CA\"]",
        "[kerberos.\"CORP.EXAMPLE\"]\nkeytab = \"k\"\nservices = [\"HOST/pki.example\"]\n[ca.\"Example CA\"]",
        "6: kerberos.\"CORP.EXAMPLE\".services: 'HOST/pki.example' must be HTTP/ and a host name in lower case",
    ),
    (
        "[ca.\"Example CA\"]",
        "[[policy_endpoint]]\nauthentication = \"kerberos\"\nlistener = \"main\"\n[ca.\"Example CA\"]",
        "1: kerberos: an endpoint has authentication = \"kerberos\"; add [kerberos.\"YOUR.REALM\"]",
    ),
    (
        "[ca.\"Example CA\"]",
        "[directory.\"corp.example\"]\naccount = \"svc@CORP.EXAMPLE\"\n[ca.\"Example CA\"]",
        "4: directory.\"corp.example\".keytab: is missing, and there is no [kerberos.\"CORP.EXAMPLE\"] with one",
    ),
    (
        "[ca.\"Example CA\"]",
        "[directory.\"corp.example\"]\naccount = \"svc@CORP.EXAMPLE\"\npassword_file = \"p\"\n[ca.\"Example CA\"]",
        "6: directory.\"corp.example\".password_file: needs ca_file beside it: a password is sent over TLS alone",
    ),
    (
        "[ca.\"Example CA\"]",
        "[kerberos.\"CORP.EXAMPLE\"]\nkeytab = \"k\"\nservices = [\"HTTP/pki.example\"]\n[directory.\"corp.example\"]\naccount = \"svc\"\n[ca.\"Example CA\"]",
        "8: directory.\"corp.example\".account: must name the realm as well, as in svc-muster@CORP.EXAMPLE",
    ),
    (
        "[ca.\"Example CA\"]",
        "[kerberos.\"CORP.EXAMPLE\"]\nkeytab = \"k\"\nservices = [\"HTTP/pki.example\"]\n[directory.\"corp.example\"]\naccount = \"svc@CORP.EXAMPLE\"\ntrusted_by = \"other.example\"\n[ca.\"Example CA\"]",
        "9: directory.\"corp.example\".trusted_by: there is no [directory.\"other.example\"]",
    ),
    (
        "[ca.\"Example CA\"]",
        "[directory.\"corp.example\"]\naccount = \"svc@CORP.EXAMPLE\"\nkeytab = \"k\"\npasswords = true\n[ca.\"Example CA\"]",
        "7: directory.\"corp.example\".passwords: needs [kerberos.\"CORP.EXAMPLE\"]: the KDC is believed only if",
    ),
    (
        "[ca.\"Example CA\"]",
        "[[client_trust]]\nca_file = \"c\"\ncrl_file = \"l\"\n[ca.\"Example CA\"]",
        "4: client_trust[0].name: write either name or directory",
    ),
    (
        "[ca.\"Example CA\"]",
        "[[client_trust]]\nca_file = \"c\"\ncrl_file = \"l\"\ndirectory = \"corp.example\"\n[ca.\"Example CA\"]",
        "7: client_trust[0].directory: there is no [directory.\"corp.example\"]",
    ),
    (
        "backend = \"embedded\"",
        "bakcend = \"embedded\"",
        "5: ca.\"Example CA\".bakcend: unknown field `bakcend`, expected one of",
    ),
    ("backend = \"embedded\"", "backend = 7", "5: ca.\"Example CA\".backend: "),
    (
        "backend = \"embedded\"",
        "backend = \"x\"",
        "5: ca.\"Example CA\".backend: unknown variant `x`, expected one of `embedded`, `adcs`, `relay`",
    ),
    (
        "[ca.\"Example CA\"]\nbackend = \"embedded\"",
        "[ca]\nname = \"Example CA\"",
        "5: ca.name: invalid type: string \"Example CA\", expected struct Ca",
    ),
    ("[ca.\"Example CA\"]\nbackend = \"embedded\"", "", "1: the file: missing field `ca`"),
    ("[ca.\"Example CA\"]\nbackend = \"embedded\"", "[ca]", "4: ca: needs 1 to 32 tables [ca.\"NAME\"]"),
    (
        "Example CA\"]",
        "a/b\"]",
        "4: ca.\"a/b\": the name must have 1 to 64 characters, none of them / \\ % ? #",
    ),
    ("Example CA\"]", "  \"]", "4: ca.\"  \": the name must have 1 to 64 characters"),
    ("[ca.\"Example CA\"]", "[ca", "4: ca: unclosed table, expected `]`"),
    ("[ca.\"Example CA\"]", "[cca]", "4: cca: unknown field `cca`"),
    ("backend = \"embedded\"", "crl_days = 31", "5: ca.\"Example CA\".crl_days: must be 1 to 30"),
    (
        "backend = \"embedded\"",
        "server = \"ca01.corp.example\"",
        "5: ca.\"Example CA\".server: is not for a CA with backend = \"embedded\"",
    ),
    (
        "[ca.\"Example CA\"]",
        "[ca.\"Another\"]\n[ca.\"Example CA\"]",
        "6: ca.\"Example CA\".backend: there can be one embedded CA, and that is ca.\"Another\"",
    ),
    (
        "backend = \"embedded\"",
        "backend = \"adcs\"",
        "4: ca.\"Example CA\".server: is missing: write the authority's host name",
    ),
    (
        "backend = \"embedded\"",
        "backend = \"adcs\"\nserver = \"ca01.corp.example\"",
        "4: ca.\"Example CA\".certificates: is missing",
    ),
    (
        "backend = \"embedded\"",
        "backend = \"adcs\"\nserver = \"10.0.0.7\"\ncertificates = [\"ca.pem\"]",
        "6: ca.\"Example CA\".server: '10.0.0.7' must be a host name",
    ),
    (
        "backend = \"embedded\"",
        "backend = \"adcs\"\ndirectory = \"ca\"",
        "6: ca.\"Example CA\".directory: is not for a CA with backend = \"adcs\"",
    ),
    (
        "backend = \"embedded\"",
        "backend = \"adcs\"\nserver = \"ca01.corp.example\"\ncertificates = [\"ca.pem\"]\ncall_seconds = 0",
        "8: ca.\"Example CA\".call_seconds: must be 1 to 300",
    ),
    (
        "backend = \"embedded\"",
        "backend = \"adcs\"\nserver = \"ca01.corp.example\"\ncertificates = [\"ca.pem\"]\nmax_connections = 0",
        "8: ca.\"Example CA\".max_connections: must be 1 to 1024",
    ),
    (
        "backend = \"embedded\"",
        "backend = \"adcs\"\nserver = \"ca01.corp.example\"\ncertificates = [\"ca.pem\"]\nkeytab = \"k\"",
        "8: ca.\"Example CA\".keytab: needs account beside it",
    ),
    (
        "backend = \"embedded\"",
        "backend = \"adcs\"\nserver = \"ca01.corp.example\"\ncertificates = [\"ca.pem\"]\naccount = \"svc\"",
        "8: ca.\"Example CA\".account: must name the realm as well",
    ),
    (
        "backend = \"embedded\"",
        "backend = \"adcs\"\nserver = \"ca01.corp.example\"\ncertificates = [\"ca.pem\"]\naccount = \"svc@CORP.EXAMPLE\"",
        "4: ca.\"Example CA\".keytab: is missing, and there is no [kerberos.\"CORP.EXAMPLE\"] with one",
    ),
    (
        "backend = \"embedded\"",
        "backend = \"adcs\"\nserver = \"ca01.corp.example\"\ncertificates = [\"ca.pem\"]",
        "10: tls.names: is for a certificate from the embedded CA, and there is none",
    ),
    (
        "[tls]\nnames = [\"pki.example\"]",
        "[tls]\ncertificate = \"c\"\nkey = \"k\"\n[ca.\"Corp CA\"]\nbackend = \"adcs\"\nserver = \"ca01.corp.example\"\ncertificates = [\"ca.pem\"]",
        "27: enrollment_endpoint[0].ca: is missing: there are several CAs",
    ),
    ("[tls]\nnames = [\"pki.example\"]\n", "", "1: the file: missing field `tls`"),
    ("[\"pki.example\"]", "[\"a b\"]", "8: tls.names: 'a b' is neither a host name nor an address"),
    ("[\"pki.example\"]", "[]", "7: tls: needs either certificate and key, or names"),
    ("names = [\"pki.example\"]", "certificate = \"x\"", "8: tls.certificate: needs tls.key beside it"),
    ("names = [\"pki.example\"]", "key = \"x\"", "8: tls.key: needs tls.certificate beside it"),
    (
        "[tls]",
        "[tls]\ncertificate = \"x\"\nkey = \"y\"",
        "10: tls.names: is for a certificate from the embedded CA; remove it or certificate and key",
    ),
    ("0.0.0.0:443", "0.0.0.0", "11: listener.main.address: invalid socket address syntax"),
    ("0.0.0.0:443", "0.0.0.0:80", "11: listener.main.address: 0.0.0.0:80 is used twice"),
    (
        "url = \"https://pki.example\"",
        "url = \"https://pki.example\"\nserver_names = [\"192.0.2.1\"]",
        "13: listener.main.server_names: '192.0.2.1' is no host name; clients name no addresses in the handshake",
    ),
    (
        "url = \"https://pki.example\"",
        "url = \"https://pki.example\"\nserver_names = [\"other.example\"]",
        "13: listener.main.server_names: 'other.example' is not in tls.names, so the certificate would not fit",
    ),
    (
        "[\"pki.example\"]\n\n[listener.main]",
        "[\"pki.example\", \"a.example\"]\n\n[listener.main]\nserver_names = [\"a.example\"]",
        "11: listener.main.server_names: 'pki.example', the host of the url, is missing",
    ),
    ("address = \"0.0.0.0:443\"", "", "10: listener.main: missing field `address`"),
    (
        "https://pki.example",
        "http://pki.example",
        "12: listener.main.url: 'http://pki.example' must be a URL without a path",
    ),
    (
        "https://pki.example",
        "https://pki.example/ces",
        "12: listener.main.url: 'https://pki.example/ces' must be a URL without a path",
    ),
    ("\"http://pki", "\"https://pki", "16: publication.url: must begin with http:// and name a host"),
    (
        "listener = \"main\"",
        "listener = \"other\"",
        "20: policy_endpoint[0].listener: there is no [listener.other]",
    ),
    (
        "username_password",
        "kerberos",
        "1: kerberos: an endpoint has authentication = \"kerberos\"; add [kerberos.",
    ),
    (
        "username_password",
        "client_certificate",
        "20: policy_endpoint[0].listener: client_certificate needs a listener that asks for one",
    ),
    (
        "[listener.main]",
        "[listener.main]\nclient_certificate = true",
        "21: policy_endpoint[0].listener: listener.main asks for client certificates; username_password needs another one",
    ),
];

/// What is added at the end, from line 25 on.
const ADDED: &[(&str, &str)] = &[
    ("path = \"x\"", "25: enrollment_endpoint[0].path: must begin with / and contain no ? # %"),
    ("path = \"/a?b\"", "25: enrollment_endpoint[0].path: must begin with / and contain no ? # %"),
    (
        "key_based_renewal = true",
        "25: enrollment_endpoint[0].key_based_renewal: goes with authentication = \"client_certificate\" alone",
    ),
    ("priority = -1", "25: enrollment_endpoint.priority: invalid value: integer `-1`, expected u32"),
    (
        "renewal_only = \"yes\"",
        "25: enrollment_endpoint.renewal_only: invalid type: string \"yes\", expected a boolean",
    ),
    (
        "client_certificate = true",
        "25: enrollment_endpoint.client_certificate: unknown field `client_certificate`",
    ),
    (
        "[listener.other]\naddress = \"0.0.0.0:443\"\nurl = \"https://pki.example\"",
        "26: listener.other.address: 0.0.0.0:443 is used twice; listeners can share it by server_names",
    ),
    (
        "[listener.other]\naddress = \"0.0.0.0:443\"\nurl = \"https://pki.example\"\nserver_names = [\"pki.example\"]",
        "12: listener.main.url: 'pki.example' leads to another listener of this address",
    ),
    (
        "[listener.a]\naddress = \"0.0.0.0:444\"\nurl = \"https://pki.example\"\nserver_names = [\"pki.example\"]\n\
         [listener.b]\naddress = \"0.0.0.0:444\"\nurl = \"https://pki.example\"\nserver_names = [\"PKI.example\"]",
        "32: listener.b.server_names: 'pki.example' leads to another listener of 0.0.0.0:444 already",
    ),
    ("[limits]\nbody_bytes = 4095", "26: limits.body_bytes: must be 4096 to 262144"),
    ("[limits]\nbody_bytes = 262145", "26: limits.body_bytes: must be 4096 to 262144"),
    (
        "[limits]\nwaiting_requests_per_account = 0",
        "26: limits.waiting_requests_per_account: must be 1 to 1000000",
    ),
    ("[limits]\nwrite_seconds = 0", "26: limits.write_seconds: must be 1 to 300"),
    ("[limits]\nconnections = 0", "26: limits.connections: must be 1 to 1000000"),
    (
        "[limits]\nrpc_connections_per_account = 0",
        "26: limits.rpc_connections_per_account: must be 1 to 1000000",
    ),
    ("[limits]\nrpc_idle_seconds = 0", "26: limits.rpc_idle_seconds: must be 1 to 3600"),
    ("[limits]\nrpc_lifetime_seconds = 36001", "26: limits.rpc_lifetime_seconds: must be 1 to 36000"),
    ("[limits]\npassword_verifications = 0", "26: limits.password_verifications: must be 1 to 256"),
    (
        "[limits]\nunauthenticated_connections_per_address = 0",
        "26: limits.unauthenticated_connections_per_address: must be 1 to 1000000",
    ),
    ("[policy]\nid = \"x\"", "26: policy.id: must look like {083C7011-"),
    ("[policy]\nnext_update_hours = 0", "26: policy.next_update_hours: must be 1 to 8760"),
    ("[policy]\nnext_update_hours = 8761", "26: policy.next_update_hours: must be 1 to 8760"),
    (
        "[[enrollment_endpoint]]\nauthentication = \"username_password\"\nlistener = \"main\"",
        "25: enrollment_endpoint[1].path: /Example CA_CES_UsernamePassword/service.svc/CES is served twice by listener.main",
    ),
    (
        "[[advertise]]\nuri = \"x\"\nauthentication = \"username_password\"",
        "26: advertise[0].uri: 'x' must be a URL such as https://",
    ),
    ("[[client_trust]]\nca_file = \"x\"", "25: client_trust: missing field `crl_file`"),
    ("[ca.\"Example CA\"]", "25: ca.\"Example CA\": "),
    ("x = ", "25: enrollment_endpoint.x: "),
];

fn problem(text: &str) -> String {
    match Settings::parse(Path::new("file.toml"), text) {
        Ok(_) => "no fault found".to_owned(),
        Err(error @ (ConfigError::Wrong { .. } | ConfigError::Unreadable { .. })) => error.to_string(),
    }
}

#[test]
fn broken_files_are_explained() {
    let changed = BROKEN.iter().map(|(from, to, said)| {
        assert!(MINIMAL.contains(from), "{from}");
        (MINIMAL.replace(from, to), said)
    });
    let added = ADDED.iter().map(|(more, said)| (format!("{MINIMAL}{more}\n"), said));
    let mut wrong = Vec::new();
    for (text, said) in changed.chain(added) {
        let problem = problem(&text);
        if !problem.starts_with(&format!("file.toml:{said}")) {
            wrong.push(format!("expected {said}\n     got {problem}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let without = MINIMAL.split_once("[[policy_endpoint]]").unwrap().0;
    assert!(problem(without).starts_with("file.toml:1: policy_endpoint: no service is configured; add"));
    assert!(problem("").starts_with("file.toml:1: the file: missing field `ca`"));
}

/// A second CA, with an endpoint that asks it in the callers' names: what else is in the file, how callers sign in, what is said.
const DELEGATING: &[(&str, &str, &str)] = &[
    (
        "",
        "username_password",
        "\"delegate\" with passwords needs a [directory.\"DOMAIN\"] with passwords = true",
    ),
    (
        "[kerberos.\"OTHER.EXAMPLE\"]\nkeytab = \"k\"\nservices = [\"HTTP/pki.example\"]",
        "kerberos",
        "\"delegate\" with tickets needs a [kerberos.\"CORP.EXAMPLE\"] whose services are names of svc@CORP.EXAMPLE",
    ),
    ("", "client_certificate", "\"delegate\" with certificates needs a [directory.\"DOMAIN\"]"),
];

#[test]
fn delegation_that_cannot_work_is_refused() {
    let one = MINIMAL.replace("[[enrollment_endpoint]]", "[[enrollment_endpoint]]\nca = \"Example CA\"");
    let with = |more: &str, method: &str| {
        format!(
            "{one}{more}\n[listener.other]\naddress = \"0.0.0.0:444\"\nurl = \"https://pki.example:444\"\n\
             client_certificate = {}\n\
             [ca.\"Corp CA\"]\nbackend = \"adcs\"\nserver = \"ca01.corp.example\"\ncertificates = [\"ca.pem\"]\n\
             account = \"svc@CORP.EXAMPLE\"\nkeytab = \"k\"\n\
             [[enrollment_endpoint]]\nauthentication = \"{method}\"\nlistener = \"other\"\nca = \"Corp CA\"\n\
             identity = \"delegate\"\n",
            method == "client_certificate"
        )
    };
    for (more, method, said) in DELEGATING {
        let problem = problem(&with(more, method));
        assert!(problem.contains(&format!("enrollment_endpoint[1].identity: {said}")), "{method}: {problem}");
    }
    let corp = "[kerberos.\"CORP.EXAMPLE\"]\nkeytab = \"k\"\nservices = [\"HTTP/pki.example\"]\n\
                [directory.\"corp.example\"]\naccount = \"svc@CORP.EXAMPLE\"\npasswords = true";
    for method in ["username_password", "kerberos", "client_certificate"] {
        assert_eq!(problem(&with(corp, method)), "no fault found", "{method}");
    }
}

/// What the table of a relay has beside `backend` and `certificates`, what its endpoint has, and what is said of them.
const RELAYING: &[(&str, &str, &str)] = &[
    ("", "", "ca.\"Corp CA\".password_url: is missing: write at least one of password_url, kerberos_url and"),
    (
        "password_url = \"http://ces/CES\"",
        "",
        "ca.\"Corp CA\".password_url: \"http://ces/CES\" is not an https URL",
    ),
    ("kerberos_url = \"/CES\"", "", "ca.\"Corp CA\".kerberos_url: \"/CES\" is not an absolute URL"),
    (
        "certificate_url = \"https://ces/CES\"",
        "",
        "ca.\"Corp CA\".certificate_url: and client_certificate need each",
    ),
    ("client_key = \"k\"", "", "ca.\"Corp CA\".client_key: needs client_certificate beside it"),
    ("server = \"ca01\"", "", "ca.\"Corp CA\".server: is not for a CA with backend = \"relay\""),
    ("agent_key = \"k\"", "", "ca.\"Corp CA\".agent_key: is not for a CA with backend = \"relay\""),
    (
        "password_url = \"https://ces/CES\"",
        "",
        "enrollment_endpoint[1].identity: is missing: write \"delegate\", to ask",
    ),
    (
        "password_url = \"https://ces/CES\"",
        "identity = \"registration_authority\"",
        "enrollment_endpoint[1].identity: \"registration_authority\" is not for a CA with backend = \"relay\"",
    ),
    (
        "password_url = \"https://ces/CES\"",
        "identity = \"renew_on_behalf\"",
        "enrollment_endpoint[1].identity: \"renew_on_behalf\" is for renewals alone",
    ),
    (
        "password_url = \"https://ces/CES\"",
        "identity = \"renew_on_behalf\"\nrenewal_only = true",
        "ca.\"Corp CA\".kerberos_url: is missing: an endpoint asks with tickets",
    ),
    (
        "kerberos_url = \"https://ces/CES\"",
        "identity = \"renew_on_behalf\"\nrenewal_only = true",
        "ca.\"Corp CA\".account: is missing: an endpoint asks the other service as",
    ),
    (
        "kerberos_url = \"https://ces/CES\"",
        "identity = \"delegate\"",
        "ca.\"Corp CA\".password_url: is missing: an endpoint passes on passwords",
    ),
    ("password_url = \"https://ces/CES\"", "identity = \"delegate\"", "no fault found"),
    (
        "certificate_url = \"https://ces/CES\"\nclient_certificate = \"c\"\nclient_key = \"k\"",
        "identity = \"renew_on_behalf\"\nrenewal_only = true",
        "no fault found",
    ),
];

#[test]
fn relay_has_an_address_for_each_way_in_which_it_is_asked() {
    let one = MINIMAL.replace("[[enrollment_endpoint]]", "[[enrollment_endpoint]]\nca = \"Example CA\"");
    for (table, endpoint, said) in RELAYING {
        let text = format!(
            "{one}\n[ca.\"Corp CA\"]\nbackend = \"relay\"\ncertificates = [\"ca.pem\"]\n{table}\n\
             [[enrollment_endpoint]]\nauthentication = \"username_password\"\nlistener = \"main\"\nca = \"Corp CA\"\n\
             {endpoint}\n"
        );
        let problem = problem(&text);
        assert!(problem.contains(said), "{table} {endpoint}: {problem}");
    }
}

#[test]
fn executable_explains_a_broken_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("broken.toml");
    let check = |file: &Path| {
        let output = run(&["check-config".as_ref(), "--config".as_ref(), file.as_os_str()]);
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
        String::from_utf8(output.stderr).unwrap().replace(&directory.path().display().to_string(), "DIR")
    };
    std::fs::write(&file, MINIMAL.replace("0.0.0.0:443", "nowhere")).unwrap();
    insta::assert_snapshot!("check_config", check(&file));
    std::fs::write(&file, b"name = \"\xff\"").unwrap();
    assert!(check(&file).starts_with("error: cannot read DIR/broken.toml: "));
    assert!(check(directory.path()).starts_with("error: cannot read DIR: "));
    assert!(check(&directory.path().join("none")).starts_with("error: cannot read DIR/none: No such file"));
}

#[test]
fn samples_are_without_fault() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/samples");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(samples).unwrap() {
        let path = entry.unwrap().path();
        let settings = Settings::load(&path).unwrap_or_else(|error| panic!("{error}"));
        assert!(settings.endpoints().count() >= 2, "{}", path.display());
        names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    names.sort();
    assert_eq!(
        names,
        ["minimal.toml", "one-port.toml", "relay.toml", "renewal-only.toml", "two-instances.toml"]
    );
}

#[test]
fn reference_page_is_up_to_date() {
    let page = include_str!("../../../../docs/configuration.md");
    assert_eq!(page, reference(), "run: muster config-reference > docs/configuration.md");
    let printed = String::from_utf8(run(&["config-reference"]).stdout).unwrap();
    assert_eq!(printed, page);
}
