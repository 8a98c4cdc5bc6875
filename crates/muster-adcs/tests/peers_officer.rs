//! What officers do, against the program that plays an authority: it was written from the pages of MS-CSRA, not from our code.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise, in its helpers too")]

mod bed;

use std::time::{SystemTime, UNIX_EPOCH};

use bed::{Bed, identity, issued, run};
use muster_adcs::{
    Adcs, AdcsError, Answer, Found, Method, Officer, RequestRow, RequestState, RevocationReason, Wanted,
};
use muster_rpc::status::HResult;
use muster_rpc::wcce::Disposition;
use muster_testkit::kdc;

const ALL: Wanted = Wanted { pending: false, limit: 1_000 };
const ROLES: [&str; 2] = ["--roles", "alice=0x200,bob=0x2"];

fn seconds_now() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "the program's clock is the system's")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap()
}

async fn row(officer: &mut Officer<'_>, id: u32) -> RequestRow {
    let rows = officer.requests(ALL).await.unwrap();
    rows.into_iter().find(|row| row.id == id).unwrap()
}

#[test]
fn officer_lists_approves_denies_and_revokes() {
    kdc::within("", |kdc| {
        let Some(bed) = Bed::start(kdc, &ROLES) else { return };
        let (alice, bob) = (identity("alice"), identity("bob"));
        let adcs = Adcs::new(bed.settings(Method::Object));
        run(async {
            let first = issued(adcs.submit(&alice, &bed.submission("User")).await, &bed);
            let mut waiting = Vec::new();
            for _ in 0..2 {
                let answer = adcs.submit(&alice, &bed.submission("Pending")).await;
                let Ok(Answer::Pending { request_id, .. }) = answer else { panic!("{answer:?}") };
                waiting.push(request_id);
            }
            let [second, third] = waiting.try_into().unwrap();
            let mut officer = adcs.officer(&bob).await.unwrap();
            let roles = officer.roles().await.unwrap();
            assert!(roles.officer() && roles.read() && !roles.enroll() && !roles.administrator());
            let rows = officer.requests(ALL).await.unwrap();
            let ids: Vec<u32> = rows.iter().map(|row| row.id).collect();
            assert_eq!(ids, [third, second, first]);
            let done = rows.last().unwrap();
            assert_eq!((done.requester.as_str(), done.template.as_str()), ("CORP\\alice", "User"));
            assert_eq!((done.state, done.message.as_str()), (Some(RequestState::Issued), "Issued"));
            assert!(done.submitted.unwrap().abs_diff(seconds_now()) < 60 && done.serial.len() > 10);
            let pending = officer.requests(Wanted { pending: true, limit: 1 }).await.unwrap();
            assert_eq!(pending.iter().map(|row| row.id).collect::<Vec<_>>(), [third]);

            assert_eq!(officer.approve(second).await, Ok(Disposition::Issued));
            assert_eq!(officer.deny(third).await, Ok(()));
            let denied = row(&mut officer, third).await;
            assert_eq!(denied.state, Some(RequestState::Denied));
            assert_eq!(denied.status, Some(HResult::ADMIN_DENIED));
            assert_eq!(denied.message, "Denied by CORP\\bob");
            let expected = bed.expected("Pending");
            assert_eq!(issued(adcs.query(&alice, second, true, &expected).await, &bed), second);
            let missing = Disposition::Failed(HResult::PROPERTY_EMPTY);
            assert_eq!(officer.approve(999).await, Ok(missing));
            let gone = officer.deny(999).await.unwrap_err();
            assert!(
                gone.to_string().contains("does not deny the request: CERTSRV_E_PROPERTY_EMPTY"),
                "{gone}"
            );

            officer.revoke(&done.serial, RevocationReason::KeyCompromise, 1_767_323_045).await.unwrap();
            assert_eq!(row(&mut officer, first).await.state, Some(RequestState::Revoked));
            let line = bed.calls("RevokeCertificate", 1).concat();
            assert!(line.contains("\"reason\": 1, \"since\": 1767323045"), "{line}");
            let error = officer.revoke("00", RevocationReason::Superseded, 0).await.unwrap_err();
            assert!(matches!(error, AdcsError::NotDone { result: HResult::INVALID_ARGUMENT, .. }), "{error}");
            let error = officer.revoke(&done.serial, RevocationReason::CertificateHold, 0).await.unwrap_err();
            assert!(matches!(error, AdcsError::NotDone { result: HResult::INVALID_DATA, .. }), "{error}");
            officer.close().await;
        });
        assert!(bed.calls("\"left\": 1", 1).len() == 1, "{:?}", bed.calls("RemRelease", 1));
    });
}

#[test]
fn who_is_no_officer_decides_nothing() {
    kdc::within("", |kdc| {
        let Some(bed) = Bed::start(kdc, &ROLES) else { return };
        let alice = identity("alice");
        let adcs = Adcs::new(bed.settings(Method::Object));
        run(async {
            let answer = adcs.submit(&alice, &bed.submission("Pending")).await;
            let Ok(Answer::Pending { request_id, .. }) = answer else { panic!("{answer:?}") };
            let mut officer = adcs.officer(&alice).await.unwrap();
            let denied = |error: AdcsError| {
                assert!(!error.may_have_been_submitted(), "{error}");
                assert!(
                    matches!(error, AdcsError::NotDone { result: HResult::ACCESS_DENIED, .. }),
                    "{error}"
                );
            };
            denied(officer.approve(request_id).await.unwrap_err());
            denied(officer.deny(request_id).await.unwrap_err());
            denied(officer.revoke("61", RevocationReason::Unspecified, 0).await.unwrap_err());
            assert_eq!(officer.roles().await.map(|roles| roles.0), Ok(0x200));
            assert_eq!(row(&mut officer, request_id).await.state, Some(RequestState::Pending));
            // Bob may do all that, and request nothing.
            let refused = adcs.submit(&identity("bob"), &bed.submission("User")).await;
            assert_eq!(refused, Ok(Answer::Refused(HResult::ACCESS_DENIED)));
            let health = adcs.officer(&identity("bob")).await.unwrap().health().await.unwrap();
            assert_eq!((health.name.as_deref(), health.templates.len()), (Some("CORP-CA"), 2));
            assert_eq!(health.certificate.as_ref(), Some(&bed.issuer));
        });
    });
}

/// More rows than one answer has, in both directions.
#[test]
fn long_lists_are_read_to_their_end() {
    kdc::within("", |kdc| {
        let Some(bed) = Bed::start(kdc, &["--roles", "bob=0x100"]) else { return };
        let (alice, bob) = (identity("alice"), identity("bob"));
        let adcs = Adcs::new(bed.settings(Method::Passage));
        run(async {
            for _ in 0..130 {
                issued(adcs.submit(&alice, &bed.submission("User")).await, &bed);
            }
            let mut officer = adcs.officer(&bob).await.unwrap();
            let rows = officer.requests(ALL).await.unwrap();
            assert_eq!(rows.len(), 130);
            assert!(rows.windows(2).all(|pair| matches!(pair, [newer, older] if newer.id == older.id + 1)));
            assert_eq!(officer.requests(Wanted { limit: 70, ..ALL }).await.unwrap().len(), 70);
            assert_eq!(bed.calls("EnumView\"", 3).len(), 3);
            let found = adcs.find(&bob, &bed.expected("").public_key, 0).await.unwrap();
            let Found::Found(found) = found else { panic!("{found:?}") };
            assert_eq!(found.len(), 130);
        });
        assert_eq!(bed.calls("CloseView", 3).len(), 3);
    });
}

/// A call that broke: what became of it is found by the key, without sending anything again.
#[test]
fn request_whose_call_broke_is_found_by_its_key() {
    kdc::within("", |kdc| {
        let Some(bed) = Bed::start(kdc, &["--roles", "bob=0x100,alice=0x200"]) else { return };
        let (alice, bob) = (identity("alice"), identity("bob"));
        let adcs = Adcs::new(bed.settings(Method::Object));
        let key = bed.expected("").public_key;
        run(async {
            let since = seconds_now() - 600;
            let broken = |answer: Result<Answer, AdcsError>| match answer {
                Err(error @ AdcsError::Unknown { .. }) => assert!(error.may_have_been_submitted()),
                answer => panic!("{answer:?}"),
            };
            broken(adcs.submit(&alice, &bed.submission("Drop")).await);
            assert_eq!(adcs.find(&bob, &key, since).await, Ok(Found::NotFound));
            broken(adcs.submit(&alice, &bed.submission("Lost")).await);
            let found = adcs.find(&bob, &key, since).await.unwrap();
            let Found::Found(rows) = found else { panic!("{found:?}") };
            let [row] = rows.as_slice() else { panic!("{rows:?}") };
            assert_eq!((row.state, row.requester.as_str()), (Some(RequestState::Issued), "CORP\\alice"));
            // The database has the certificate, and only of requests that have one.
            let mut reader = adcs.officer(&bob).await.unwrap();
            let (same, certificate) = reader.request(row.id).await.unwrap().unwrap();
            assert_eq!((&same, certificate.is_some_and(|der| der.len() > 200)), (row, true));
            assert_eq!(reader.request(999).await, Ok(None));
            // Its certificate is had like that of any request.
            let expected = bed.expected("Lost");
            assert_eq!(issued(adcs.query(&alice, row.id, true, &expected).await, &bed), row.id);
            // Another key, or before that time: none.
            assert_eq!(adcs.find(&bob, b"another key", since).await, Ok(Found::NotFound));
            assert_eq!(adcs.find(&bob, &key, seconds_now() + 60).await, Ok(Found::NotFound));
        });
        drop(bed);
        let Some(bed) = Bed::start(kdc, &["--roles", "bob=0x8"]) else { return };
        let adcs = Adcs::new(bed.settings(Method::Object));
        assert_eq!(run(adcs.find(&bob, &key, 0)), Ok(Found::NotPermitted));
    });
}

#[test]
fn older_interface_does_all_but_roles() {
    kdc::within("", |kdc| {
        let Some(bed) = Bed::start(kdc, &["--lie", "old", "--roles", "bob=0x2"]) else { return };
        let bob = identity("bob");
        let adcs = Adcs::new(bed.settings(Method::Object));
        run(async {
            let mut officer = adcs.officer(&bob).await.unwrap();
            assert_eq!(officer.requests(ALL).await, Ok(Vec::new()));
            let error = officer.roles().await.unwrap_err();
            assert!(error.to_string().contains("ICertAdminD has no call for it"), "{error}");
        });
    });
}
