//! The client on machines of a real directory: with the machine's keytab by group policy, and with a user's ticket.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

use std::path::Path;
use std::process::{Command, Stdio};

use muster_testkit::ad_site::AdSite;
use muster_testkit::peers::{self, muster};
use muster_testkit::tools;
use serde_json::{Value, json};

/// An installation that knows a computer and a person of the directory.
fn site() -> Option<AdSite> {
    let mut site = AdSite::or_not_run()?;
    site.site.account("pc1$@corp.test", "computer", &["--dns", "pc1.corp.test"]);
    site.site.account("alice@corp.test", "user", &["--email", "alice@corp.test"]);
    site.serve("http", &["HTTP/ces.corp.test"]);
    Some(site)
}

/// A policy object as administrators make it, in a copy of SYSVOL.
fn group_policy(sysvol: &Path, url: &str, authentication: u32) {
    const SERVER: &str =
        r"Software\Policies\Microsoft\Cryptography\PolicyServers\0000000000000000000000000000000000000001";
    let folder = sysvol.join("corp.test/Policies/{31B2F340-016D-11D2-945F-00C04FB984F9}/MACHINE");
    std::fs::create_dir_all(&folder).unwrap();
    let values = json!([
        [SERVER, "URL", url],
        [SERVER, "PolicyID", "{0e6f0b5c-0000-4000-8000-00000000000a}"],
        [SERVER, "FriendlyName", "Muster"],
        [SERVER, "Flags", 0x14],
        [SERVER, "AuthFlags", authentication],
        [SERVER, "Cost", 0x7fff_fffd],
        [r"Software\Policies\Microsoft\Cryptography\AutoEnrollment", "AEPolicy", 7],
    ]);
    let script = peers::script("registry_pol.py");
    let file = folder.join("Registry.pol");
    let arguments = [script.to_str().unwrap(), file.to_str().unwrap()];
    let made = tools::run("/usr/bin/python3".as_ref(), &arguments, values.to_string().as_bytes());
    assert!(made.ok, "{}", made.all());
}

fn run(command: &mut Command) -> (i32, Value, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"));
    (output.status.code().unwrap(), report, errors)
}

#[test]
fn joined_machine_autoenrolls_by_group_policy() {
    let Some(site) = site() else { return };
    let sysvol = site.site.path("sysvol");
    group_policy(&sysvol, &site.cep(), 2);
    let autoenroll = || {
        let mut command = Command::new(muster());
        command.args(["autoenroll", "--json", "--no-cache", "--kind", "machine", "--group-policy"]);
        command.arg("--registry-pol").arg(&sysvol).arg("--store").arg(site.site.path("certificates"));
        command
            .arg("--keytab")
            .arg(site.ad.keytab("pc1"))
            .arg("--ca-only")
            .arg("--ca-file")
            .arg(site.site.ca());
        run(&mut command)
    };
    let (code, first, errors) = autoenroll();
    assert_eq!(code, 0, "{first:#}\n{errors}");
    let done = first.pointer("/certificates/0/outcome").and_then(Value::as_str);
    assert_eq!(done, Some("done"), "{first:#}");
    assert_eq!(first.pointer("/policies/0/source").and_then(Value::as_str), Some(site.cep().as_str()));
    let (code, second, errors) = autoenroll();
    assert_eq!(code, 0, "{second:#}\n{errors}");
    let action = second.pointer("/certificates/0/action").and_then(Value::as_str);
    assert_eq!(action, Some("leave"), "{second:#}");
}

#[test]
fn user_enrolls_with_the_ticket_of_the_directory() {
    let Some(site) = site() else { return };
    let tickets = site.ad.kinit("alice");
    let mut command = Command::new(muster());
    command.args(["enroll", "--json", "--no-cache", "--policy-url", &site.cep(), "--template", "User"]);
    command
        .arg("--out")
        .arg(site.site.path("alice.pem"))
        .arg("--ca-only")
        .arg("--ca-file")
        .arg(site.site.ca());
    let (code, issued, errors) = run(command.env("KRB5CCNAME", tickets.cache()));
    assert_eq!(code, 0, "{issued:#}\n{errors}");
    assert_eq!(issued.get("endpoint").and_then(Value::as_str), Some(site.ces().as_str()));

    // A name of the same machine for which there is no ticket.
    let url = site.cep().replace("ces.corp.test", "localhost");
    let mut command = Command::new(muster());
    command.args(["policy", "--json", "--no-cache", "--policy-url", &url, "--ca-file"]).arg(site.site.ca());
    let (code, refused, _) = run(command.env("KRB5CCNAME", tickets.cache()));
    assert_eq!(code, 5, "{refused:#}");
}
