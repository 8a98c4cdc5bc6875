//! The examples with a directory are run as they are, each in a bed of its own, and say what they are to say.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::process::{Command, Stdio};

use muster_testkit::ad::Ad;
use muster_testkit::peers::{self, Peer, muster};

fn says(example: &str, expected: &[&str], never: &[&str]) {
    let Some(python) = Peer::KerberosPython.or_not_run() else { return };
    Ad::of_its_own("", |_| {
        let folder = tempfile::tempdir().unwrap();
        let mut script = Command::new(peers::script(&format!("../../examples/{example}/run.sh")));
        script.arg(folder.path()).env("MUSTER_EXE", muster()).env("MUSTER_PEER_KERBEROS_PYTHON", python);
        let ran = script.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
        let mut rest = said.as_str();
        for sentence in expected {
            let found = rest.split_once(sentence);
            assert!(found.is_some(), "{sentence} is missing, or too early: {said}");
            rest = found.unwrap().1;
        }
        never.iter().for_each(|word| assert!(!said.contains(word), "{word}: {said}"));
    });
}

#[test]
fn single_forest_enrolls_users_and_computers() {
    let expected = [
        "alice may have: EnrollersUser",
        "carol may have: NestedUser",
        "alice enrolls:",
        "CN = alice",
        "alice asks for what only groups within groups allow:",
        "You are not allowed",
        "carol, who is in such a group, enrolls:",
        "CN = carol",
        "the computer PC1 enrolls:",
        "DNS:pc1.corp.test",
        "a computer that calls itself like the domain controller asks:",
        "bob asks, and an officer approves:",
        "bob has it",
        "in the store:",
        "corp.test\\alice",
    ];
    says("single-forest", &expected, &["DNS:dc1.corp.test"]);
}

#[test]
fn two_forests_enroll_users_of_both() {
    let expected = [
        "alice may have: EnrollersUser",
        "petra@PARTNER.TEST may have: PartnerUser",
        "paul@PARTNER.TEST may have: nothing",
        "petra, whom a group of CORP.TEST has as a member, enrolls",
        "CN = petra",
        "paul, who is in no such group, asks:",
        "You are not allowed",
        "oscar of a forest that nobody trusts gets no ticket:",
    ];
    says("two-forests", &expected, &["CN = paul"]);
}

#[test]
fn perimeter_enrolls_by_password_and_locks_nobody() {
    let expected = [
        "alice@corp.test with her password:",
        "Issued",
        "with a wrong one, eight times:",
        "8 ",
        "the directory has not locked him:",
        "krbtgt/CORP.TEST",
        "no password is in the log",
    ];
    says("perimeter", &expected, &[]);
}

#[test]
fn authority_of_ad_cs_sees_its_callers() {
    let expected = [
        "muster.sqlite: made",
        "alice may have: EnrollersUser",
        "CN = alice",
        "CN = PC1$",
        "whom the authority saw:",
        "by alice@CORP.TEST, privacy",
        "by PC1$@CORP.TEST, privacy",
        "by svc-ces@CORP.TEST, privacy",
        "asked by svc-ces@CORP.TEST, for the holder of the certificate",
        "Corp Issuing CA",
        "the right to delegate is taken away",
        "does not permit this service",
        "heard of 0 requests",
    ];
    says("in-front-of-ad-cs", &expected, &[]);
}
