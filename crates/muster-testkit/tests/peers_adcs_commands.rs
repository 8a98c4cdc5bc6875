//! `muster adcs …` from outside, in a realm of MIT's: what it finds was planted, what it decides the authority has seen.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise, in its helpers too")]

mod adcs_bed;

use adcs_bed::{Bed, CA, Plan, RENEWALS};
use muster_adcs::{Adcs, Answer, Expected, Identity, Settings, Submission};
use muster_core::audit::Actor;
use muster_core::forwarding::{self, IdentityMode, Outcome, Settlement, SubmissionRecord};
use muster_core::issuance::RequestRecord;
use muster_core::{Clock as _, Method, RequestId};
use muster_gss::{Gss, Login};
use muster_rpc::wcce::{RequestAttributes, RequestFlags};
use muster_server::SystemClock;
use muster_store::{Options, Store};
use muster_testkit::kdc::{self, Kdc};
use serde_json::Value;

const SID: &str = "S-1-5-21-1-2-3-1104";

fn prepare(kdc: &Kdc) {
    kdc.add_user("alice", "alice-pw");
    kdc.add_user("officer", "officer-pw");
    kdc.add_service("HOST/localhost", "ca1.keytab");
    kdc.add_service("svc-ces", "svc-ces.keytab");
}

fn start(kdc: &Kdc, arguments: &[&str], more: &str) -> Option<Bed> {
    let (keytab, own) = (kdc.path("ca1.keytab"), kdc.path("svc-ces.keytab"));
    let arguments = &[&["--host", "localhost", "--sid", SID][..], arguments].concat();
    Bed::start(&Plan { keytab: &keytab, own: &own, arguments, more, tables: RENEWALS })
}

/// Asks for a certificate in alice's name, as the service would.
fn submit(bed: &Bed, template: &str) -> Result<Answer, muster_adcs::AdcsError> {
    let login =
        Login::Password { principal: "alice@CORP.TEST".to_owned(), password: "alice-pw".to_owned().into() };
    let alice = Identity::new("alice@CORP.TEST", Gss::load().unwrap().credential(&login).unwrap());
    let pem = std::fs::read(bed.certificate()).unwrap();
    let issuer =
        <rustls_pki_types::CertificateDer<'_> as rustls_pki_types::pem::PemObject>::from_pem_slice(&pem);
    let mut settings = Settings::new("localhost", CA.parse().unwrap(), vec![issuer.unwrap().to_vec()]);
    settings.mapper_port = bed.mapper;
    let submission = Submission {
        request: bed.request.clone(),
        flags: RequestFlags { full_response: true, ..RequestFlags::default() },
        attributes: RequestAttributes::NONE.with_template(template.parse().unwrap()),
        expected: Expected { public_key: bed.public_key.clone(), ..Expected::default() },
    };
    wait(Adcs::new(settings).submit(&alice, &submission))
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(future)
}

fn contains(text: &str, part: &str) {
    assert!(text.contains(part), "{part:?} in {text}");
}

/// AC-4.4 among them: an account for renewals that may request certificates is a finding.
#[test]
fn ac_4_4_check_says_what_is_wrong() {
    kdc::within("", |kdc| {
        prepare(kdc);
        let Some(bed) = start(kdc, &["--roles", "svc-ces=0x100"], "") else { return };
        let (_, found) = bed.check(&[]);
        let [one] = found.as_slice() else { panic!("{found:?}") };
        contains(
            one,
            "wrong svc-ces@CORP.TEST gets no ticket for RPCSS/localhost: the KDC does not know the service",
        );
        drop(bed);
        kdc.add_service("RPCSS/localhost", "ca1.keytab");

        for (arguments, more, fine, wanted) in [
            (&["--roles", "svc-ces=0x100"][..], "templates = [\"User\"]", true, ""),
            (
                &["--roles", "svc-ces=0x200"],
                "",
                false,
                "wrong svc-ces@CORP.TEST may request certificates, and needs only \"Read\" to renew for others",
            ),
            (&["--roles", "svc-ces=0x8"], "", false, "wrong svc-ces@CORP.TEST may not read the authority"),
            (
                &["--roles", "svc-ces=0x102"],
                "",
                true,
                "warning svc-ces@CORP.TEST may manage certificates or the authority itself",
            ),
            (
                &["--roles", "svc-ces=0x100", "--name", "OTHER-CA"],
                "",
                false,
                "wrong the authority on localhost calls itself OTHER-CA, not CORP-CA",
            ),
            (
                &["--roles", "svc-ces=0x100"],
                "certificates = [\"ca/ca.pem\"]",
                false,
                "wrong its newest certificate is not among those configured",
            ),
            (
                &["--roles", "svc-ces=0x100"],
                "templates = [\"User\", \"Nowhere\"]",
                false,
                "wrong it does not issue from templates that are offered for it: Nowhere",
            ),
            (&["--lie", "level"], "", false, "the protection level 5 instead of packet privacy"),
            (
                &["--roles", "svc-ces=0x100"],
                "account = \"nobody@CORP.TEST\"",
                false,
                "wrong nobody@CORP.TEST",
            ),
            (&["--roles", "svc-ces=0x100", "--lie", "old"], "", true, "is not known: "),
        ] {
            let Some(bed) = start(kdc, arguments, more) else { return };
            let (ok, found) = bed.check(&[]);
            assert_eq!(ok, fine, "{arguments:?} {more}: {found:?}");
            if wanted.is_empty() {
                assert_eq!(found, Vec::<String>::new());
            } else {
                contains(&found.join("\n"), wanted);
            }
            assert_eq!(bed.calls("request_len", 0), Vec::<String>::new());
        }
        let Some(mut bed) = start(kdc, &[], "protocol = \"rpc\"") else { return };
        let (_, found) = bed.check(&["--ca", CA]);
        contains(&found.join("\n"), "may request certificates");
        bed.stop();
        let (ok, found) = bed.check(&[]);
        assert!(!ok);
        contains(&found.join("\n"), "cannot be reached");
        contains(
            &bed.bad(None, &["check", "--ca", "Nowhere"]),
            "the authority Nowhere is not configured, but CORP-CA",
        );
    });
}

#[test]
fn officer_decides_with_their_own_ticket() {
    kdc::within("", |kdc| {
        prepare(kdc);
        kdc.add_service("RPCSS/localhost", "ca1.keytab");
        let Some(bed) = start(kdc, &["--roles", "svc-ces=0x100,officer=0x2"], "") else { return };
        let officer = kdc.kinit("officer", "officer-pw", &[]);
        let me = Some(officer.as_str());
        for template in ["User", "Pending", "Pending"] {
            submit(&bed, template).unwrap();
        }
        let listed: Value = serde_json::from_str(&bed.good(None, &["requests", "--json"])).unwrap();
        let rows = listed.as_array().unwrap();
        let field = |row: &Value, name: &str| row.pointer(name).unwrap().as_str().unwrap().to_owned();
        let states: Vec<String> = rows.iter().map(|row| field(row, "/state")).collect();
        assert_eq!(states, ["pending", "pending", "issued"]);
        let id = |row: &Value| row.pointer("/id").unwrap().to_string();
        let (denied, approved, issued) = (id(&rows[0]), id(&rows[1]), field(&rows[2], "/serial"));
        assert_eq!(field(&rows[2], "/requester"), "CORP\\alice");

        // The service reads, and decides nothing.
        let refused = bed.bad(None, &["approve", &approved]);
        contains(&refused, "error: localhost does not approve the request: E_ACCESSDENIED");
        contains(&refused, "hint: svc-ces@CORP.TEST may not, and need not be able to");
        contains(
            &bed.good(me, &["approve", &approved, "--as-me"]),
            &format!("request {approved} was issued by CORP-CA"),
        );
        contains(&bed.bad(me, &["approve", &approved, "--as-me"]), "it does not wait for an officer");
        contains(&bed.bad(me, &["approve", "999", "--as-me"]), "it has no such request");
        contains(
            &bed.good(me, &["deny", &denied, "--as-me"]),
            &format!("request {denied} was denied at CORP-CA"),
        );
        let spelled = format!("0x{}", issued.to_uppercase());
        let said = bed.good(me, &["revoke", &spelled, "--reason", "keyCompromise", "--as-me"]);
        contains(&said, &format!("certificate {issued} of CORP-CA is revoked (keyCompromise)"));
        contains(&bed.bad(me, &["revoke", &issued, "--release", "--as-me"]), "ERROR_INVALID_DATA");
        contains(&bed.bad(me, &["revoke", "xyz", "--as-me"]), "\"xyz\" is no serial number");
        contains(
            &bed.bad(me, &["revoke", &issued, "--reason", "privilegeWithdrawn", "--as-me"]),
            "does not know the reason",
        );
        let table = bed.good(None, &["requests", "--limit", "9"]);
        for word in [
            "revoked",
            "Denied by CORP\\officer",
            "Resubmitted by CORP\\officer",
            "CERTSRV_E_ADMIN_DENIED_REQUEST",
        ] {
            contains(&table, word);
        }
        assert_eq!(bed.good(None, &["requests", "--pending"]).lines().count(), 1);
        contains(&bed.good(None, &["templates"]), "Machine  1.3.6.1.4.1.311.21.8.1.2");
        // Who wrote what: the authority saw the officer.
        let revoked = bed.calls("RevokeCertificate", 1);
        assert!(revoked.iter().all(|line| line.contains("officer@CORP.TEST")), "{revoked:?}");
    });
}

/// A row of ours that is unknown, for the request of the bed.
fn unknown(bed: &Bed, template: &str) -> RequestId {
    let settings = muster_server::Settings::load(&bed.site.installed("muster.toml")).unwrap();
    let path = muster_server::service::store_path(&settings);
    let now = SystemClock.now();
    let options = Options { create: false, ..Options::default() };
    let store = Store::open(&path, &options, now).unwrap();
    wait(async {
        let id = store.reserve_request_id().await.unwrap();
        let actor = Actor::Officer("test".to_owned());
        let request = RequestRecord {
            id,
            received: now,
            actor: actor.clone(),
            requester: "alice@corp.test".parse().unwrap(),
            requester_sid: None,
            method: Method::Kerberos,
            form: "pkcs10",
            template: Some(template.to_owned()),
            endpoint: "certificate".to_owned(),
            raw: [&bed.request[..], &id.number().to_be_bytes()].concat(),
            asked_with: None,
        };
        let expected = forwarding::Expected {
            spki: bed.public_key.clone(),
            template_name: template.to_owned(),
            template_oid: None,
            sid: forwarding::ExpectedSid::Demanded(SID.to_owned()),
            names: forwarding::ExpectedNames::NotCompared,
        };
        let record = SubmissionRecord {
            request,
            ca: CA.to_owned(),
            identity: IdentityMode::Delegate,
            expected,
            at: now,
        };
        store.try_record_submission(record).await.unwrap();
        let outcome = Outcome::Unknown { why: "the server closed the connection".to_owned() };
        store.try_settle(Settlement { id, actor, outcome, at: now }).await.unwrap();
        id
    })
}

fn disposition(bed: &Bed, id: RequestId) -> String {
    let shown = bed.site.muster("request", &["show", &id.to_string(), "--json"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    shown.pointer("/disposition").unwrap().as_str().unwrap().to_owned()
}

/// Nothing is sent again to find out: the authority got each request once.
#[test]
fn unknown_requests_are_looked_up_and_settled() {
    kdc::within("", |kdc| {
        prepare(kdc);
        kdc.add_service("RPCSS/localhost", "ca1.keytab");
        let Some(bed) = start(kdc, &["--roles", "svc-ces=0x100"], "") else { return };
        assert_eq!(bed.good(None, &["requests", "--unknown"]).lines().count(), 1);
        let lost = unknown(&bed, "Lost");
        contains(&bed.good(None, &["requests", "--unknown"]), "not there: it did not get it");
        assert!(submit(&bed, "Lost").unwrap_err().may_have_been_submitted());
        let listed: Value =
            serde_json::from_str(&bed.good(None, &["requests", "--unknown", "--json"])).unwrap();
        let there = listed.pointer("/0/ca_request_ids/0").unwrap().to_string();
        assert_eq!(listed.pointer("/0/at_the_authority").unwrap(), &format!("issued as request {there}"));

        let our = lost.to_string();
        let error = bed.bad(None, &["settle", &our, "--not-submitted"]);
        contains(&error, &format!("CORP-CA has it: issued as request {there}"));
        contains(&error, &format!("settle it with --issued {there}"));
        contains(
            &bed.bad(None, &["settle", &our, "--issued", "999"]),
            "request 999 of CORP-CA is another one",
        );
        assert_eq!(disposition(&bed, lost), "unknown");
        contains(
            &bed.good(None, &["settle", &our, "--issued", &there]),
            &format!("request {our} is issued: request {there} of CORP-CA"),
        );
        assert_eq!(disposition(&bed, lost), "issued");
        contains(&bed.bad(None, &["settle", &our, "--not-submitted"]), "is issued: only of unknown ones");

        // One that never arrived: the authority has the same key, of before. So another key.
        let Some(other) = start(kdc, &["--roles", "svc-ces=0x100"], "") else { return };
        let never = unknown(&other, "User");
        contains(&other.good(None, &["settle", &never.to_string(), "--not-submitted"]), "did not get it");
        assert_eq!(disposition(&other, never), "failed");
        // One that waits for the authority's officer.
        let waits = unknown(&other, "Pending");
        submit(&other, "Pending").unwrap();
        let listed: Value =
            serde_json::from_str(&other.good(None, &["requests", "--unknown", "--json"])).unwrap();
        let there = listed.pointer("/0/ca_request_ids/0").unwrap().to_string();
        contains(
            &other.good(None, &["settle", &waits.to_string(), "--issued", &there]),
            "is under_submission",
        );
        assert_eq!(disposition(&other, waits), "under_submission");
        assert_eq!(bed.calls("\"request_len\": 0", 1).len(), 1, "only asked about");
        bed.site.muster("audit", &["verify"]);
    });
}
