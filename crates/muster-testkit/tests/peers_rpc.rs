//! Enrollment over RPC, driven by programs that share no code with it: a client of its own kind over MIT's library.

mod rpc;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use muster_testkit::kdc;
use muster_testkit::peers::Peer;
use rpc::Bed;

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
