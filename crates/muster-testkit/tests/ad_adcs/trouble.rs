//! An authority that is down, slow, or gone in the middle of a call: nothing is lost, and nothing is sent twice.

use muster_testkit::ad::Ad;
use muster_testkit::ad_site::AdSite;
use muster_testkit::adcs::Authority;
use muster_testkit::peers::muster;
use muster_testkit::site::MovedClock;
use muster_testkit::tools;
use muster_testkit::{log, messages};

use crate::bed::{Bed, Plan};

const ENDPOINT: &str = r#"
[[enrollment_endpoint]]
ca = "CA"
authentication = "username_password"
listener = "password"
identity = "delegate"
"#;

fn bed(name: &str) -> Option<Bed> {
    let ad = Ad::or_not_run()?;
    let arguments = vec!["--sid-of".to_owned(), Bed::sid_of(&ad, "alice")];
    let templates = &["Plain", "Drop", "Half", "Slow", "Truncated", "Forged", "Unsigned", "Signed"];
    let mut bed = Bed::make(&Plan { name, templates, protocol: "dcom", arguments, endpoints: ENDPOINT })?;
    bed.site.site.serve();
    Some(bed)
}

#[test]
fn call_that_breaks_is_written_down_as_unknown_and_never_sent_again() {
    let name = "Corp Breaking CA";
    let Some(bed) = bed(name) else { return };
    // Forged and Unsigned: a fault says that nothing was begun, and nobody has signed it.
    for template in ["Drop", "Half", "Truncated", "Forged", "Unsigned", "Slow"] {
        let request = bed.request(template);
        let answer = bed.by_password(name, "alice", &request);
        assert_eq!(answer.status, 500, "{template}: {}\n{}", answer.body, bed.site.site.log());
        assert!(answer.body.contains("It is not known whether"), "{template}: {}", answer.body);
        let id = messages::text(&answer.body, "RequestID").unwrap().to_owned();
        let shown = bed.site.site.muster("request", &["show", &id, "--json"]);
        assert!(shown.contains("\"unknown\""), "{template}: {shown}");
        let calls = bed.authority.requests().len();
        let again = bed.by_password(name, "alice", &request);
        assert!(again.body.contains("It is not known whether"), "{template}: {}", again.body);
        assert_eq!(messages::text(&again.body, "RequestID"), Some(id.as_str()), "{template}");
        assert_eq!(bed.authority.requests().len(), calls, "{template}");
    }
    // The authority has signed that nothing was begun: the caller may not, here or by another server.
    let answer = bed.by_password(name, "alice", &bed.request("Signed"));
    assert!(!answer.body.contains("It is not known whether"), "{}", answer.body);
    assert!(bed.site.site.log().contains("CA_IDENTITY"), "{}", bed.site.site.log());
    let rows = bed.site.site.muster("request", &["list", "--disposition", "failed", "--json"]);
    assert!(rows.contains("CA_NOT_REACHED"), "{rows}");
    // The next one works.
    let answer = bed.by_password(name, "alice", &bed.request("Plain"));
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[test]
fn authority_that_is_down_makes_the_client_go_elsewhere_and_the_same_octets_may_come_again() {
    let name = "Corp Absent CA";
    let Some(mut bed) = bed(name) else { return };
    let request = bed.request("Plain");
    bed.authority.stop();
    let answer = bed.by_password(name, "alice", &request);
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(!answer.body.contains("Envelope"), "{}", answer.body);
    let log = bed.site.site.log();
    assert!(log.contains("CA_NOT_REACHED") && log.contains("cannot be reached"), "{log}");
    // Sent again it is tried again, and not refused as having failed.
    assert_eq!(bed.by_password(name, "alice", &request).status, 503);
    let rows = bed.site.site.muster("request", &["list", "--disposition", "failed", "--json"]);
    assert!(rows.contains("CA_NOT_REACHED"), "{rows}");
}

/// Two authorities issue from one template, and the policy names both; the client goes on to the second if the first
/// certainly did not get the request, and only then.
#[test]
fn ac_1_8_client_goes_on_to_the_second_authority_unless_the_first_may_have_the_request() {
    const PREFERRED: &str = r#"
[[enrollment_endpoint]]
ca = "CA"
authentication = "username_password"
listener = "password"
identity = "delegate"
priority = 1
"#;
    let Some(ad) = Ad::or_not_run() else { return };
    let (first, second) = ("Corp First CA", "Corp Second CA");
    let arguments = vec!["--sid-of".to_owned(), Bed::sid_of(&ad, "alice")];
    let templates: &[&str] = &["Plain", "Drop"];
    let plan =
        Plan { name: first, templates, protocol: "dcom", arguments: arguments.clone(), endpoints: PREFERRED };
    let Some(mut bed) = Bed::make(&plan) else { return };
    let folder = bed.site.site.path("second");
    std::fs::create_dir_all(&folder).unwrap();
    // The second would issue for whatever the first breaks off at.
    let mut also = arguments.clone();
    for name in templates {
        also.extend(["--template".to_owned(), format!("{}={name}", bed.template_oid(name))]);
    }
    also.extend(["--behave".to_owned(), "Drop=Plain".to_owned()]);
    // It answers with certificates instead of a CMC response, which nobody else could sign.
    also.extend(["--lie".to_owned(), "chain".to_owned()]);
    let also: Vec<&str> = also.iter().map(String::as_str).collect();
    let Some(other) = Authority::start(second, &folder, &ad.keytab("ca1"), &also) else { return };
    let endpoints = PREFERRED.replace("priority = 1", "priority = 2");
    bed.add(
        second,
        &other,
        &Plan { name: second, templates, protocol: "rpc", arguments, endpoints: &endpoints },
    );
    // Otherwise the installation's own CA would issue as well.
    bed.site.site.serve();
    let password = bed.openssl.write("alice.password", format!("{}\n", Ad::password("alice")));
    let cep = format!("{}/ADPolicyProvider_CEP_UsernamePassword/service.svc/CEP", bed.site.base());
    let enroll = |template: &str, out: &str| {
        let (ca_file, out) = (bed.site.site.ca(), bed.openssl.path(out));
        let ran = tools::run(
            &muster(),
            &[
                "enroll",
                "--policy-url",
                &cep,
                "--ca-file",
                ca_file.to_str().unwrap(),
                "--user",
                "alice@corp.test",
                "--password-file",
                &password,
                "--template",
                template,
                "--out",
                &out,
            ],
            b"",
        );
        (ran, out)
    };
    let issuer =
        |file: &str| String::from_utf8(bed.openssl.run(&["x509", "-in", file, "-noout", "-issuer"])).unwrap();
    let (ran, file) = enroll("Plain", "one.pem");
    assert!(ran.ok, "{}\n{}", ran.all(), bed.site.site.log());
    assert!(issuer(&file).contains(first), "{}", issuer(&file));

    // It may have it: the second hears nothing.
    let (ran, _) = enroll("Drop", "two.pem");
    assert!(!ran.ok, "{}", ran.all());
    assert_eq!(other.requests(), Vec::<String>::new());

    bed.authority.stop();
    let (ran, file) = enroll("Plain", "three.pem");
    assert!(ran.ok, "{}\n{}", ran.all(), bed.site.site.log());
    assert!(issuer(&file).contains(second), "{}", issuer(&file));
    assert_eq!(other.requests().len(), 1);
}

/// What became of a request whose call broke is found out at the authority, where the service's account may look: it was
/// issued there, and the client gets it; or it never arrived, and may be sent again.
#[test]
fn request_whose_call_broke_is_found_at_the_authority() {
    let name = "Corp Forgetful CA";
    let Some(ad) = Ad::or_not_run() else { return };
    let arguments =
        ["--sid-of".to_owned(), Bed::sid_of(&ad, "alice"), "--roles".to_owned(), "svc-ces=0x100".to_owned()];
    let templates = &[
        "Lost",
        "Drop",
        "Forged",
        "Unsigned",
        "LostBare",
        "LostAlien",
        "LostOther",
        "LostPending",
        "LostAll",
    ];
    let arguments = arguments.to_vec();
    let plan = Plan { name, templates, protocol: "dcom", arguments, endpoints: ENDPOINT };
    let Some(mut bed) = Bed::make(&plan) else { return };
    bed.site.site.serve();
    let mut broken = Vec::new();
    for template in templates {
        let request = bed.request(template);
        let answer = bed.by_password(name, "alice", &request);
        assert!(answer.body.contains("It is not known whether"), "{template}: {}", answer.body);
        broken.push((request, messages::text(&answer.body, "RequestID").unwrap().to_owned()));
    }
    bed.site.site.stop();
    let [(_, lost), (dropped, never), (_, forged), (_, unsigned), rest @ ..] = broken.as_slice() else {
        panic!()
    };
    let [(_, bare), (_, alien), (_, other), (_, untold), (_, waiting)] = rest else { panic!() };
    log::keep();
    // Ten minutes later; nothing is looked for before.
    bed.site.site.serve_at(MovedClock(700), |site| {
        let state = |id: &str| site.muster("request", &["show", id, "--json"]);
        // The last are those of which something is missing: the request, so that the certificate tells the key; and the
        // key of one that waits, so that nobody can say whether it came.
        for (id, word) in [
            (lost, "issued"),
            (forged, "issued"),
            (bare, "issued"),
            (waiting, "under_submission"),
            (never, "failed"),
            (unsigned, "failed"),
        ] {
            let word = format!("\"{word}\"");
            let shown = AdSite::until(|| state(id), |shown| shown.contains(&word));
            assert!(shown.contains(&word), "{shown}");
        }
        // Of somebody else, of another template, without a key: not taken for it, and not given up either.
        for id in [alien, other, untold] {
            assert!(state(id).contains("\"unknown\""), "{}", state(id));
        }
        let log = log::text();
        let kept =
            |what: &str| log.lines().any(|line| line.contains("is not taken for it") && line.contains(what));
        assert!(kept("mallory") && kept("Other"), "{log}");
    });
    bed.site.site.serve();
    let answer = bed.poll(name, "alice", lost);
    assert!(messages::certificate(&answer.body).is_some(), "{}", answer.body);
    // It is a new request, which breaks off as well.
    let again = bed.by_password(name, "alice", dropped);
    let id = messages::text(&again.body, "RequestID").unwrap();
    assert!(again.body.contains("It is not known whether") && id != never, "{}", again.body);
}
