//! Methods of `ICertRequestD` and `ICertRequestD2` beside enrollment, as impacket calls them.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise, in its helpers too")]

use muster_testkit::kdc;
use muster_testkit::peers::Peer;
use muster_testkit::site::CA_NAME;
use muster_testkit::tools;
use serde_json::{Value, json};

use crate::rpc::Bed;

const UNSIGNED: &str = "unsigned_headers = true\n";
/// CERTSRV_E_PROPERTY_EMPTY: there is no such request, or it is not the caller's.
const UNKNOWN: &str = "0x80094004";
/// E_INVALIDARG.
const INVALID: &str = "0x80070057";

/// A certificate of alice's: what the authority said, and its serial number as OpenSSL writes it.
fn enrolled(bed: &Bed<'_>) -> Option<(Value, String)> {
    let openssl = Peer::OpenSsl.or_not_run()?;
    let (request, out) = (bed.request("r"), bed.site.path("issued.cer").display().to_string());
    let options = ["--csr", &request, "--attributes", "CertificateTemplate:User", "--out", &out];
    let said =
        bed.impacket("alice", &[&["icpr", &bed.port.to_string(), "--ca", CA_NAME][..], &options].concat());
    let ran = tools::run(&openssl, &["x509", "-inform", "DER", "-in", &out, "-noout", "-serial"], b"");
    let serial = ran.text().trim().strip_prefix("serial=").unwrap().to_owned();
    Some((said, serial))
}

fn refused(said: &Value, code: &str) -> bool {
    said.get("error").and_then(Value::as_str).is_some_and(|error| error.contains(code))
        || said.get("result") == Some(&json!(code))
}

#[test]
fn properties_are_listed_that_are_answered() {
    kdc::within("", |kdc| {
        let Some(bed) = Bed::start(kdc, UNSIGNED) else { return };
        let Some((_, serial)) = enrolled(&bed) else { return };
        let mapper = bed.mapper.to_string();
        let options = ["--ca", CA_NAME, "--serial", &serial, "--properties"];
        let said = bed.impacket("alice", &[&["dcom", &mapper][..], &options].concat());
        let listed = said["listed"].as_array().unwrap();
        let numbers: Vec<Value> = listed.iter().map(|one| json!([one[0], one[1]])).collect();
        let mut sorted = numbers.clone();
        sorted.sort_by_key(|one| one[0].as_u64());
        assert_eq!(json!(sorted), said["answered"], "{said}");
        assert!(listed.len() == 11 && listed.contains(&json!([0x0d, 3, 1, "CA Signing Certificate Chain"])));
        assert!(listed.contains(&json!([0x1d, 4, 0, "Configured Certificate Templates"])), "{said}");
        assert_eq!(said["listed of another"], INVALID);
        // The name is told to whoever does not know it; the structure is that of the property.
        let name: Vec<u8> = format!("{CA_NAME}\0").encode_utf16().flat_map(u16::to_le_bytes).collect();
        let name: String = name.iter().map(|octet| format!("{octet:02x}")).collect();
        assert_eq!((&said["name without a name"], &said["type"]), (&json!(name), &json!("00000000")));
        assert_eq!(said["info"], said["kind"]);
    });
}

#[test]
fn certificate_is_found_by_its_serial_number_by_its_owner_alone() {
    kdc::within("", |kdc| {
        let Some(bed) = Bed::start(kdc, UNSIGNED) else { return };
        let Some((issued, serial)) = enrolled(&bed) else { return };
        let (mapper, port) = (bed.mapper.to_string(), bed.port.to_string());
        let id = issued["id"].to_string();
        let ways: [&[&str]; 3] = [&["dcom", &mapper], &["dcom", &mapper, "--old"], &["icpr", &port]];
        let ask = |who: &str, way: &[&str], options: &[&str]| {
            bed.impacket(who, &[way, &["--ca", CA_NAME], options].concat())
        };
        let mut other = serial.clone();
        let last = if other.pop() == Some('0') { '1' } else { '0' };
        other.push(last);
        for way in ways {
            for serial in [serial.as_str(), &serial.to_lowercase()] {
                let said = ask("alice", way, &["--serial", serial]);
                for key in ["id", "certificate", "disposition"] {
                    assert_eq!(said[key], issued[key], "{way:?} {key}: {said}");
                }
                assert_eq!(said["result"], "0x0", "{way:?}: {said}");
            }
            for (who, serial) in [("bob", serial.as_str()), ("alice", &other), ("alice", "not a number")] {
                let said = ask(who, way, &["--serial", serial]);
                assert!(refused(&said, UNKNOWN), "{way:?} {who} {serial}: {said}");
            }
            let said = ask("alice", way, &["--neither"]);
            assert!(refused(&said, INVALID), "{way:?}: {said}");
        }
        // Request2 has an argument for each.
        let said = ask("alice", &["dcom", &mapper], &["--serial", &serial, "--id", &id]);
        assert!(refused(&said, INVALID), "{said}");
        let audit = bed.site.muster("audit", &["list"]);
        assert!(audit.matches("REQUEST_UNKNOWN").count() >= 9, "{audit}");

        bed.site.muster("cert", &["revoke", &serial, "--reason", "superseded"]);
        for (way, query) in ways.iter().flat_map(|way| [(way, ["--serial", &serial]), (way, ["--id", &id])]) {
            let said = ask("alice", way, &query);
            assert_eq!((&said["disposition"], &said["result"]), (&json!("0x6"), &json!("0x0")), "{said}");
            assert_eq!((&said["certificate"], &said["id"]), (&json!(0), &issued["id"]), "{said}");
        }
    });
}

/// What somebody who has signed in was refused is always in the audit log, whatever was asked.
#[test]
fn refused_calls_are_recorded_with_who_made_them() {
    kdc::within("", |kdc| {
        let Some(bed) = Bed::start(kdc, UNSIGNED) else { return };
        let (mapper, port) = (bed.mapper.to_string(), bed.port.to_string());
        let recorded = |who: &str, action: &str, code: &str| {
            let audit: Value = serde_json::from_str(&bed.site.muster("audit", &["list", "--json"])).unwrap();
            let rows = audit.as_array().unwrap().iter().filter(|row| {
                let row = row.to_string();
                [who, action, code].iter().all(|part| row.contains(part))
            });
            rows.count()
        };
        // Another authority, with a request and without; and a query that names nothing.
        let request = bed.request("r");
        for query in [&["--ca", "Another CA", "--csr", &request][..], &["--ca", "Another CA", "--id", "7"]] {
            let said = bed.impacket("alice", &[&["icpr", &port][..], query].concat());
            assert!(refused(&said, INVALID), "{said}");
            let message = said["message"].as_str().unwrap();
            assert!(message.starts_with("The call is for another certification authority"), "{said}");
        }
        let said = bed.impacket("alice", &["icpr", &port, "--ca", CA_NAME, "--neither"]);
        assert!(refused(&said, INVALID), "{said}");
        assert_eq!(recorded("alice@corp.test", "submit", "RPC_ARGUMENT"), 1);
        assert_eq!(recorded("alice@corp.test", "query_token_status", "RPC_ARGUMENT"), 2);
        // Somebody without an account asks which templates there are.
        let said = bed.impacket("mallory", &["dcom", &mapper, "--ca", CA_NAME, "--id", "7"]);
        assert!(refused(&said, "0x80070005") || said.to_string().contains("denied"), "{said}");
        assert_eq!(recorded("127.0.0.1", "get_policies", "TICKET_ACCOUNT"), 0, "nobody has signed in");
        assert_eq!(recorded("127.0.0.1", "authenticate", "TICKET_ACCOUNT"), 1);
    });
}
