//! `muster adcs check` in a real directory: whether the service can act for a caller, and why not.

use std::process::Command;

use muster_testkit::ad::Ad;
use muster_testkit::{peers, tools};
use serde_json::Value;

use crate::bed::{Bed, HOST, Plan};

const NAME: &str = "Check Issuing CA";
const ENDPOINTS: &str = r#"
[[enrollment_endpoint]]
ca = "CA"
authentication = "client_certificate"
listener = "certificate"
identity = "delegate"
"#;

/// Whether it ended with 0, and the findings that are not fine.
fn check(bed: &Bed, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(peers::muster());
    command.args(["adcs", "--config"]).arg(bed.site.site.installed("muster.toml"));
    command.args(["check", "--json"]).args(arguments);
    let ran = tools::run_command(command, b"");
    let all: Value = serde_json::from_slice(&ran.output).unwrap_or_else(|_| panic!("{}", ran.all()));
    let findings = all.pointer("/0/findings").and_then(Value::as_array).unwrap().iter();
    let bad = findings.filter(|finding| finding["severity"] != "ok");
    let lines: Vec<String> = bad.map(|one| format!("{} {}", one["severity"], one["sentence"])).collect();
    (ran.ok, lines.join("\n"))
}

fn contains(text: &str, part: &str) {
    assert!(text.contains(part), "{part:?} in {text}");
}

#[test]
fn check_names_the_step_in_which_delegation_fails() {
    Ad::of_its_own("", |ad| {
        let arguments = ["--roles", "svc-ces=0x100"].map(str::to_owned).to_vec();
        let plan = Plan { name: NAME, templates: &[], protocol: "dcom", arguments, endpoints: ENDPOINTS };
        let Some(bed) = Bed::make(&plan) else { return };
        let service = ad.dn("svc-ces");
        let set = |allowed: &[&str], any_protocol: bool| {
            ad.set(&service, "msDS-AllowedToDelegateTo", allowed);
            let flags = if any_protocol { 0x1_0200 | 0x100_0000 } else { 0x1_0200 };
            ad.set(&service, "userAccountControl", &[&flags.to_string()]);
        };
        let (host, rpcss) = (format!("HOST/{HOST}"), format!("RPCSS/{HOST}"));
        let both = [host.as_str(), rpcss.as_str()];

        set(&both, true);
        let (ok, found) = check(&bed, &[]);
        assert!(ok, "{found}");
        contains(&found, "whether this service can act for callers");
        assert_eq!(check(&bed, &["--as", "alice"]), (true, String::new()));
        let (ok, found) = check(&bed, &["--as", "nobody"]);
        contains(
            &found,
            "no ticket in the name of nobody@CORP.TEST could be had for this service (S4U2Self)",
        );
        assert!(!ok);

        set(&[&rpcss], true);
        let (ok, found) = check(&bed, &["--as", "alice"]);
        contains(&found, &format!("the directory does not let svc-ces delegate to {host}"));
        assert!(!ok && !found.contains("RPCSS"), "{found}");

        set(&both, false);
        let (_, found) = check(&bed, &["--as", "alice@CORP.TEST"]);
        contains(&found, "TRUSTED_TO_AUTH_FOR_DELEGATION is not set");
        assert!(!found.contains("msDS-AllowedToDelegateTo"), "{found}");

        // NORMAL_ACCOUNT, DONT_EXPIRE_PASSWORD, NOT_DELEGATED.
        set(&both, true);
        ad.set(&ad.dn("alice"), "userAccountControl", &[&(0x1_0200 | 0x10_0000).to_string()]);
        let (ok, found) = check(&bed, &["--as", "alice"]);
        contains(&found, "alice@CORP.TEST is sensitive and cannot be delegated (NOT_DELEGATED)");
        assert!(!ok);
        assert_eq!(bed.authority.requests(), Vec::<String>::new());
    });
}
