//! Enrollment over RPC, driven by programs that share no code with it: a client of its own kind over MIT's library.

#[path = "rpc/bounds.rs"]
mod bounds;
#[path = "rpc/dissected.rs"]
mod dissected;
#[path = "rpc/methods.rs"]
mod methods;
mod rpc;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use muster_adcs::{Adcs, Answer, Expected, Identity, Method as Way, Settings, Submission};
use muster_gss::{Gss, Login};
use muster_proto::wcce::CertificateRequest;
use muster_rpc::wcce::{Form, RequestAttributes, RequestFlags};
use muster_testkit::kdc;
use muster_testkit::peers::Peer;
use muster_testkit::site::CA_NAME;
use rpc::Bed;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::json;

/// Asks with a ticket of `who`.
fn ask(bed: &Bed<'_>, who: &str, request: &str, arguments: &[&str]) -> String {
    bed.client(who, request, arguments).text()
}

#[test]
fn client_enrolls_over_icpr_with_both_providers() {
    kdc::within("", |kdc| {
        let Some(bed) = Bed::start(kdc, "") else { return };
        let Some(openssl) = Peer::OpenSsl.or_not_run() else { return };
        for (number, arguments) in [
            &["--auth", "kerberos"][..],
            &["--auth", "spnego"],
            &["--auth", "kerberos", "--frag", "1432"],
            // CMC full response.
            &["--auth", "spnego", "--frag", "1432", "--flags", "0x40000"],
        ]
        .into_iter()
        .enumerate()
        {
            let request = bed.request(&format!("r{number}"));
            let out = bed.site.path(&format!("out{number}"));
            let out = out.to_str().unwrap();
            let said = ask(&bed, "alice", &request, &[arguments, &["--out", out]].concat());
            assert!(said.contains("disposition 0x3 hresult 0x0"), "{arguments:?}: {said}");
            assert!(said.contains("Issued | ") && said.contains("privacy header signing"), "{said}");
            let certificate = format!("{out}.cer");
            let pem =
                muster_testkit::tools::run(&openssl, &["x509", "-inform", "DER", "-in", &certificate], b"");
            assert!(pem.ok, "{}", pem.all());
            let ca = bed.site.ca();
            let verified = muster_testkit::tools::run(
                &openssl,
                &["verify", "-CAfile", ca.to_str().unwrap()],
                &pem.output,
            );
            assert!(verified.ok, "{}", verified.all());
            let (command, inside) = if arguments.contains(&"--flags") {
                (&["cms", "-cmsout", "-print", "-inform", "DER", "-in", out][..], "id-smime-cct-PKIResponse")
            } else {
                (&["pkcs7", "-print_certs", "-inform", "DER", "-in", out][..], "subject=CN = Peer Test CA")
            };
            let shown = muster_testkit::tools::run(&openssl, command, b"");
            let spelled = shown.all().replace("CN=Peer", "CN = Peer").replace("1.3.6.1.5.5.7.12.3", inside);
            assert!(shown.ok && spelled.contains(inside), "{}", shown.all());
        }
        let listed: serde_json::Value =
            serde_json::from_str(&bed.site.muster("request", &["list", "--json"])).unwrap();
        let listed = listed.as_array().unwrap().iter();
        // The two others are the service's own.
        let listed: Vec<_> = listed.filter(|row| row["requester"] != "$muster").collect();
        assert_eq!(listed.len(), 4, "{listed:#?}");
        for row in listed {
            assert_eq!(row["endpoint"], "rpc://localhost/ICertPassage", "{row:#}");
            assert_eq!((&row["method"], &row["form"]), (&"kerberos".into(), &"pkcs10".into()), "{row:#}");
            assert_eq!(row["requester"], "alice@corp.test", "{row:#}");
            assert_eq!(row["disposition"], "issued", "{row:#}");
        }
    });
}

#[test]
fn pending_request_is_approved_and_fetched_by_its_owner_alone() {
    kdc::within("", |kdc| {
        let Some(bed) = Bed::start(kdc, "") else { return };
        let request = bed.request("r");
        let said = ask(&bed, "alice", &request, &["--template", "Approved"]);
        let first = bed.last_request();
        let begins =
            |said: &str, rest: &str| assert!(said.starts_with(&format!("request {first} {rest}")), "{said}");
        begins(&said, "disposition 0x5 hresult 0x0");
        assert!(said.contains("Taken Under Submission"), "{said}");
        let said = ask(&bed, "alice", &request, &["--id", &first]);
        begins(&said, "disposition 0x5 hresult 0x0");
        // The template was named beside the request, and is remembered.
        bed.site.muster("request", &["approve", &first]);
        for (who, id) in [("bob", first.as_str()), ("alice", "77")] {
            let said = ask(&bed, who, &request, &["--id", id]);
            assert!(said.contains("hresult 0x80094004") && said.contains("cert 0 "), "{said}");
            assert!(said.contains(&format!("There is no request {id} for this account")), "{said}");
        }
        let said = ask(&bed, "alice", &request, &["--id", &first]);
        begins(&said, "disposition 0x3 hresult 0x0");
        // The same octets again are the same request.
        let again = ask(&bed, "alice", &request, &["--template", "Approved"]);
        begins(&again, "disposition 0x3 hresult 0x0");

        let other = bed.request("other");
        assert!(ask(&bed, "alice", &other, &["--template", "Approved"]).starts_with("request "));
        let id = bed.last_request();
        bed.site.muster("request", &["deny", &id, "--comment", "not yet"]);
        let said = ask(&bed, "alice", &other, &["--id", &id]);
        assert!(said.starts_with(&format!("request {id} disposition 0x2 hresult 0x80094014")), "{said}");
        assert!(said.contains("not yet"), "{said}");
    });
}

#[test]
fn what_policy_refuses_is_refused_over_rpc() {
    kdc::within("", |kdc| {
        let Some(bed) = Bed::start(kdc, "") else { return };
        let request = bed.request("r");
        for (who, arguments, said) in [
            // An account that is not known here; a template that is not there; none; for computers.
            ("mallory", &[][..], "hresult 0x80070005"),
            ("alice", &["--template", "Nothing"], "disposition 0x80094012 hresult 0x0"),
            ("alice", &["--template", ""], "disposition 0x80094801 hresult 0x0"),
            ("alice", &["--template", "Computer"], "disposition 0x80094012 hresult 0x0"),
            // ESC6: other attributes count for nothing.
            (
                "alice",
                &["--template", "SAN:upn=administrator@corp.test"],
                "disposition 0x80094801 hresult 0x0",
            ),
            // Two names are a conflict.
            (
                "alice",
                &["--template", "CertificateTemplate:User\nCertificateTemplate:Approved"],
                "disposition 0x80094802 hresult 0x0",
            ),
            // ESC1 at the caller's own account: somebody else's identity beside the template.
            ("alice", &["--flags", "0x200000", "--template", "Nothing"], "disposition 0x80094012"),
        ] {
            let answer = ask(&bed, who, &request, arguments);
            assert!(answer.contains(said) && answer.contains("cert 0 "), "{who} {arguments:?}: {answer}");
        }
        let answer = bed.client_for("Another CA", "alice", &request, &[]).text();
        assert!(answer.contains("hresult 0x80070057"), "{answer}");
        // Names are compared without case, and sanitized ones are taken.
        let answer = bed.client_for("PEER TEST CA", "alice", &request, &[]).text();
        assert!(answer.contains("disposition 0x3"), "{answer}");
        let san = "SAN:upn=administrator@corp.test&dns=dc1.corp.test\nCertificateTemplate:User";
        let out = bed.site.path("san");
        let second = bed.request("second");
        let arguments = ["--template", san, "--out", out.to_str().unwrap()];
        let answer = ask(&bed, "alice", &second, &arguments);
        assert!(answer.contains("disposition 0x3"), "{answer}");
        let certificate = std::fs::read(bed.site.path("san.cer")).unwrap();
        let text = String::from_utf8_lossy(&certificate);
        assert!(text.contains("alice@corp.test") && !text.contains("administrator"), "{text}");
        assert!(bed.site.log().contains("attributes of a request are not used"), "{}", bed.site.log());

        let noise = bed.file("noise", &[0x30; 500]);
        let answer = ask(&bed, "alice", &noise, &[]);
        assert!(answer.contains("hresult 0x0") && answer.contains("The request was refused"), "{answer}");
        let large = bed.file("large", &[0x30; 70_000]);
        let answer = ask(&bed, "alice", &large, &[]);
        assert!(answer.contains("hresult 0x8007000e"), "{answer}");
        let larger = bed.file("larger", &[0x30; 200_000]);
        let ran = bed.client("alice", &larger, &[]);
        assert!(!ran.ok && !ran.text().contains("request"), "{}", ran.all());
        // And it goes on.
        let third = bed.request("third");
        assert!(ask(&bed, "alice", &third, &[]).contains("disposition 0x3"));
    });
}

/// ESC11, T13.
#[test]
fn less_than_packet_privacy_is_refused_and_recorded() {
    kdc::within("", |kdc| {
        let Some(bed) = Bed::start(kdc, "") else { return };
        let request = bed.request("r");
        for (arguments, why) in [
            (&["--level", "integrity"][..], "protection level 5"),
            (&["--no-hdr"], "does not sign the headers"),
        ] {
            let ran = bed.client("alice", &request, arguments);
            assert!(!ran.ok && ran.all().contains("bind refused: pdu 13"), "{}", ran.all());
            assert!(bed.site.log().contains(why), "{why}: {}", bed.site.log());
        }
        let audit = bed.site.muster("audit", &["list"]);
        assert!(audit.contains("RPC_REFUSED"), "{audit}");
        assert!(!bed.site.muster("request", &["list"]).contains("alice"));
    });
}

#[test]
fn noise_silence_and_crowds_do_not_stop_it() {
    kdc::within("", |kdc| {
        let limits = "[limits]\nhandshake_seconds = 2\nheader_seconds = 2\nbody_seconds = 2\nunauthenticated_connections_per_address = 8\n";
        let Some(bed) = Bed::start(kdc, limits) else { return };
        for port in [bed.mapper, bed.port] {
            let connect = || {
                let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                stream
            };
            for noise in [
                &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
                &[0; 64],
                &[0xff; 64],
                // A bind that is longer than it says, and one whose contexts are missing.
                &[5, 0, 11, 3, 0x10, 0, 0, 0, 24, 0, 0, 0, 1, 0, 0, 0, 0xd0, 0x16, 0xd0, 0x16, 0, 0, 0, 0],
                &[5, 0, 0, 3, 0x10, 0, 0, 0, 24, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            ] {
                let mut stream = connect();
                stream.write_all(noise).unwrap();
                let mut answer = Vec::new();
                let begun = Instant::now();
                // A reset is an answer as well.
                let _ = stream.read_to_end(&mut answer);
                assert!(begun.elapsed() < Duration::from_secs(6), "port {port} keeps {noise:?}");
            }
            // Silent ones and slow ones are let go of; until then their number is bounded.
            let mut crowd: Vec<_> = (0..12).map(|_| connect()).collect();
            for (number, stream) in crowd.iter_mut().enumerate() {
                let half = [5, 0, 11, 3, 0x10, 0, 0, 0, 72, 0];
                let _ = stream.write_all(half.get(..number % half.len()).unwrap());
            }
            let begun = Instant::now();
            for mut stream in crowd {
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest);
            }
            assert!(begun.elapsed() < Duration::from_secs(8), "port {port}: {:?}", begun.elapsed());
        }
        let request = bed.request("r");
        assert!(ask(&bed, "alice", &request, &[]).contains("disposition 0x3"));
    });
}

const UNSIGNED: &str = "unsigned_headers = true\n";

/// The options of `tests/peers/rpc_impacket.py` for a request.
fn options<'a>(request: &'a str, attributes: &'a str) -> [&'a str; 6] {
    ["--ca", CA_NAME, "--csr", request, "--attributes", attributes]
}

#[test]
fn impacket_finds_activates_and_enrolls() {
    kdc::within("", |kdc| {
        let Some(bed) = Bed::start(kdc, UNSIGNED) else { return };
        let (mapper, port) = (bed.mapper.to_string(), bed.port.to_string());
        let alive = bed.impacket("alice", &["alive", &mapper]);
        assert_eq!(alive["bindings"], json!(["localhost", "127.0.0.1"]), "{alive}");
        let mapped = bed.impacket("alice", &["map", &mapper]);
        assert_eq!(mapped["binding"], format!("ncacn_ip_tcp:localhost[{port}]"), "{mapped}");

        let request = bed.request("r1");
        let options_ = options(&request, "CertificateTemplate:User");
        let said = bed.impacket("alice", &[&["icpr", &port][..], &options_].concat());
        assert_eq!((&said["disposition"], &said["message"]), (&json!("0x3"), &json!("Issued")), "{said}");

        let ca = std::fs::read(bed.site.ca()).unwrap();
        let ca = CertificateDer::from_pem_slice(&ca).unwrap();
        let hex: String = ca.iter().map(|octet| format!("{octet:02x}")).collect();
        for activation in ["integrity", "privacy"] {
            let request = bed.request(activation);
            let out = bed.site.path("dcom.cer").display().to_string();
            let more = ["--activation", activation, "--flags", "0x40000", "--out", &out];
            let options = options(&request, "CertificateTemplate:User");
            let said = bed.impacket("alice", &[&["dcom", &mapper][..], &options, &more].concat());
            for (key, value) in [
                ("disposition", json!("0x3")),
                ("result", json!("0x0")),
                ("ping", json!("0x0")),
                // E_INVALIDARG: another authority, no such property, not in this encoding.
                ("other", json!("0x80070057")),
                ("unknown", json!("0x80070057")),
                ("wrong type", json!("0x80070057")),
                ("name", json!(CA_NAME)),
                ("sanitized", json!(CA_NAME)),
                ("short", json!(CA_NAME)),
                ("dns", json!("localhost")),
                // CAINFO: 40 octets, enterprise root, a certificate of each kind, the largest property is 0x28.
                (
                    "kind",
                    json!("28000000000000000100000001000000000000002800000000000000000000000000000000000000"),
                ),
                ("signing", json!(hex)),
                ("certificate is signing", json!(true)),
                ("queried", json!(true)),
            ] {
                assert_eq!(said[key], value, "{key}: {said}");
            }
            let templates = said["templates"].as_str().unwrap();
            assert!(templates.starts_with("User\n1.3.6.1.4.1.311.21.8.") && !templates.contains("Computer"));
            // id-cct-PKIResponse.
            assert!(said["full"].as_str().unwrap().contains("06082b06010505070c03"), "{said}");
            assert!(said["chain"].as_str().unwrap().contains(&hex), "{said}");
            assert!(std::fs::read(&out).unwrap().len() > 300);
        }
        // A request that waits, and its owner alone may ask.
        let waiting = bed.request("waiting");
        let options_ = options(&waiting, "CertificateTemplate:Approved");
        let said = bed.impacket("alice", &[&["dcom", &mapper][..], &options_].concat());
        assert_eq!(said["disposition"], "0x5", "{said}");
        let id = said["id"].to_string();
        bed.site.muster("request", &["approve", &id]);
        let query = ["dcom", &mapper, "--ca", CA_NAME, "--id", &id];
        let said = bed.impacket("bob", &query);
        assert!(said["error"].as_str().unwrap().contains("0x80094004"), "{said}");
        assert_eq!(bed.impacket("alice", &query)["disposition"], "0x3");

        let endpoints = bed.site.muster("request", &["list", "--json"]);
        assert_eq!(endpoints.matches("rpc://localhost/ICertRequestD").count(), 3, "{endpoints}");
    });
}

/// ESC11 by impacket: what it can send that is less is refused before a call is read, and nothing is issued.
#[test]
fn t13_impacket_gets_nothing_without_kerberos_and_privacy() {
    kdc::within("", |kdc| {
        let Some(bed) = Bed::start(kdc, UNSIGNED) else { return };
        let (mapper, port) = (bed.mapper.to_string(), bed.port.to_string());
        let request = bed.request("r");
        let options = options(&request, "CertificateTemplate:User");
        let not_recognized = "Authentication type not recognized";
        for (arguments, refused) in [
            (&["--auth", "none"][..], "access_denied"),
            (&["--auth", "ntlm"], not_recognized),
            (&["--auth", "ntlm", "--level", "connect"], not_recognized),
            (&["--level", "connect"], not_recognized),
            (&["--level", "call"], not_recognized),
            (&["--level", "packet"], not_recognized),
            (&["--level", "integrity"], not_recognized),
        ] {
            let said = bed.impacket("alice", &[&["icpr", &port][..], &options, arguments].concat());
            let error = said["error"].as_str().unwrap_or_default();
            assert!(error.contains(refused), "icpr {arguments:?}: {said}");
        }
        for (arguments, refused) in [
            // impacket makes NTLM without a name of it; the call after an activation it always seals.
            (&["--auth", "none"][..], not_recognized),
            (&["--auth", "ntlm"], not_recognized),
            (&["--activation", "connect"], not_recognized),
        ] {
            let said = bed.impacket("alice", &[&["dcom", &mapper][..], &options, arguments].concat());
            let error = said["error"].as_str().unwrap_or_default();
            assert!(error.contains(refused), "dcom {arguments:?}: {said}");
        }
        let listed = bed.site.muster("request", &["list"]);
        assert!(!listed.contains("alice"), "{listed}");
        let audit = bed.site.muster("audit", &["list"]);
        assert!(audit.matches("RPC_REFUSED").count() >= 9, "{audit}");
        // The same with all that is demanded is answered.
        let said = bed.impacket("alice", &[&["icpr", &port][..], &options].concat());
        assert_eq!(said["disposition"], "0x3", "{said}");
    });
}

#[test]
fn unsigned_headers_are_refused_unless_configured() {
    kdc::within("", |kdc| {
        let Some(bed) = Bed::start(kdc, "") else { return };
        let request = bed.request("r");
        let options = options(&request, "CertificateTemplate:User");
        for (command, port) in [("icpr", bed.port), ("dcom", bed.mapper)] {
            let said = bed.impacket("alice", &[&[command, &port.to_string()][..], &options].concat());
            let error = said["error"].as_str().unwrap_or_default();
            assert!(error.contains("Authentication type not recognized"), "{said}");
        }
        assert!(bed.site.log().contains("does not sign the headers"), "{}", bed.site.log());
    });
}

/// Our own connector, last: it demands what the server demands, and believes nothing.
#[test]
fn connector_takes_it_for_an_authority() {
    kdc::within("", |kdc| {
        let Some(bed) = Bed::start(kdc, "") else { return };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.unwrap();
        let password = Login::Password {
            principal: format!("alice@{}", kdc::REALM),
            password: "alice-pw".to_owned().into(),
        };
        let credential = Gss::load().unwrap().credential(&password).unwrap();
        let identity = Identity::new(&format!("alice@{}", kdc::REALM), credential);
        let pem = std::fs::read(bed.site.ca()).unwrap();
        let issuer = CertificateDer::from_pem_slice(&pem).unwrap().to_vec();
        for (name, method) in [("object", Way::Object), ("passage", Way::Passage)] {
            let mut settings = Settings::new("localhost", CA_NAME.parse().unwrap(), vec![issuer.clone()]);
            (settings.mapper_port, settings.method) = (bed.mapper, method);
            let adcs = Adcs::new(settings);
            let request = std::fs::read(bed.request(name)).unwrap();
            let public_key = CertificateRequest::parse(&request).unwrap().public_key.spki_der().to_vec();
            let submission = Submission {
                request,
                flags: RequestFlags { form: Form::Pkcs10, full_response: true, on_behalf: false },
                attributes: RequestAttributes::NONE.with_template("User".parse().unwrap()),
                expected: Expected { public_key, template: Vec::new(), sid: None },
            };
            let answer = runtime.block_on(adcs.submit(&identity, &submission));
            assert!(matches!(answer, Ok(Answer::Issued { .. })), "{name}: {answer:?}");
        }
    });
}
