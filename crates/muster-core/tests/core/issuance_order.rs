//! The order of issuance, and what is left behind when a step fails.

use std::future::Future;
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use muster_core::audit::Actor;
use muster_core::identity::{AccountName, Method};
use muster_core::issuance::{
    Intent, Issued, IssuedRecord, Issuer, Ledger, LedgerError, Opening, PrepareError, RequestRecord,
    SignError, prepare,
};
use muster_core::policy::CertificateContents;
use muster_core::{RequestId, Serial, UnixTime};

use crate::support::*;

/// CA and store in one: writes down what it is asked to do, and fails at the step named.
#[derive(Default)]
struct Recorder {
    fails_at: Option<&'static str>,
    steps: Mutex<Vec<String>>,
}

impl Recorder {
    fn failing_at(step: &'static str) -> Self {
        Self { fails_at: Some(step), ..Self::default() }
    }

    fn step(&self, step: &'static str, detail: &str) -> Result<(), String> {
        self.steps.lock().unwrap().push(format!("{step} {detail}").trim_end().to_owned());
        if self.fails_at == Some(step) { Err(format!("{step} failed")) } else { Ok(()) }
    }

    fn steps(&self) -> Vec<String> {
        self.steps.lock().unwrap().clone()
    }
}

impl Issuer for Recorder {
    fn build(&self, contents: &CertificateContents, serial: Serial) -> Result<Vec<u8>, PrepareError> {
        self.step("build", "").map_err(PrepareError::Build)?;
        Ok(format!("tbs of {} as {}", contents.subject, &serial.to_string()[..10]).into_bytes())
    }

    fn lint(&self, _: &CertificateContents, tbs: &[u8]) -> Result<(), PrepareError> {
        self.step("lint", &String::from_utf8_lossy(tbs)).map_err(PrepareError::Lint)
    }

    fn sign(&self, tbs: &[u8]) -> Result<Vec<u8>, SignError> {
        let tbs = String::from_utf8_lossy(tbs);
        self.step("sign", &tbs).map_err(SignError)?;
        Ok(format!("signed {tbs}").into_bytes())
    }
}

impl Ledger for Recorder {
    async fn record_intent(&self, intent: Intent) -> Result<(), LedgerError> {
        assert_eq!((intent.serial, intent.at), (serial(), NOW));
        self.step("record", &String::from_utf8_lossy(&intent.tbs)).map_err(LedgerError)
    }

    async fn record_issued(&self, issued: IssuedRecord) -> Result<(), LedgerError> {
        assert_eq!((issued.id, issued.serial, issued.at), (id(), serial(), NOW.plus(2)));
        assert_eq!((issued.account, issued.subject), (alice().name, "CN=Alice Example".to_owned()));
        assert_eq!(issued.template_oid, template("User").oid.unwrap().to_string());
        assert_eq!((issued.not_before, issued.not_after), (NOW.plus(-600), NOW.plus(365 * DAY - 1)));
        self.step("commit", &String::from_utf8_lossy(&issued.certificate)).map_err(LedgerError)
    }

    async fn abandon_intent(
        &self,
        abandoned: RequestId,
        its_serial: Serial,
        reason: String,
        at: UnixTime,
    ) -> Result<(), LedgerError> {
        assert_eq!((abandoned, its_serial, at), (id(), serial(), NOW.plus(1)));
        self.step("abandon", &reason).map_err(LedgerError)
    }
}

fn id() -> RequestId {
    RequestId::new(7).unwrap()
}

fn serial() -> Serial {
    Serial::compose(id(), [0xa5; 15])
}

fn opening(requester: AccountName) -> Opening {
    Opening::New(Box::new(RequestRecord {
        id: id(),
        received: NOW,
        actor: Actor::Service,
        requester,
        requester_sid: None,
        method: Method::UsernamePassword,
        form: "pkcs10",
        template: Some("User".to_owned()),
        endpoint: "https://ca.lab.example/CES".to_owned(),
        raw: plain().raw,
        asked_with: None,
    }))
}

/// Runs a future that never waits.
fn finish<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the recorder never waits"),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Failed {
    Prepare(PrepareError),
    Ledger(LedgerError),
    Sign(SignError),
}

/// What a service does: the only way through that compiles.
async fn issue(recorder: &Recorder, opening: Opening) -> Result<Issued, Failed> {
    let approved = approved(&alice(), &template("User"), &plain());
    let prepared = prepare(recorder, approved, serial()).map_err(Failed::Prepare)?;
    let intent = prepared.record(recorder, opening, Actor::Service, NOW).await.map_err(Failed::Ledger)?;
    match intent.sign(recorder) {
        Ok(signed) => signed.commit(recorder, NOW.plus(2)).await.map_err(Failed::Ledger),
        Err((intent, error)) => {
            intent.abandon(recorder, error.to_string(), NOW.plus(1)).await.map_err(Failed::Ledger)?;
            Err(Failed::Sign(error))
        }
    }
}

const TBS: &str = "tbs of CN=Alice Example as 4d00000007";

#[test]
fn certificate_is_linted_recorded_signed_and_committed_in_this_order() {
    for opening in [opening(alice().name), Opening::Approved(id())] {
        let recorder = Recorder::default();
        let issued = finish(issue(&recorder, opening)).unwrap();
        let expected = [
            "build".to_owned(),
            format!("lint {TBS}"),
            format!("record {TBS}"),
            format!("sign {TBS}"),
            format!("commit signed {TBS}"),
        ];
        assert_eq!(recorder.steps(), expected);
        assert_eq!((issued.id(), issued.serial()), (id(), serial()));
        assert_eq!(issued.certificate(), format!("signed {TBS}").as_bytes());
    }
}

#[test]
fn failure_at_each_step_leaves_nothing_that_was_not_recorded() {
    let why = |step: &str| format!("{step} failed");
    for (step, expected, error) in [
        ("build", &["build"][..], Failed::Prepare(PrepareError::Build(why("build")))),
        ("lint", &["build", "lint"], Failed::Prepare(PrepareError::Lint(why("lint")))),
        // Nothing is signed that is not on disk.
        ("record", &["build", "lint", "record"], Failed::Ledger(LedgerError(why("record")))),
        // The serial number that may have been signed is given up.
        ("sign", &["build", "lint", "record", "sign", "abandon"], Failed::Sign(SignError(why("sign")))),
        // Nothing is handed out that is not on disk.
        (
            "commit",
            &["build", "lint", "record", "sign", "commit"],
            Failed::Ledger(LedgerError(why("commit"))),
        ),
    ] {
        let recorder = Recorder::failing_at(step);
        let failed = finish(issue(&recorder, opening(alice().name))).unwrap_err();
        assert_eq!(failed, error);
        let steps = recorder.steps();
        let words: Vec<&str> = steps.iter().filter_map(|step| step.split(' ').next()).collect();
        assert_eq!(words, expected, "{step}");
    }
}

#[test]
fn reason_of_an_abandoned_intent_is_the_signers() {
    let recorder = Recorder::failing_at("sign");
    assert!(finish(issue(&recorder, opening(alice().name))).is_err());
    assert_eq!(recorder.steps().last().unwrap(), "abandon the CA key cannot sign: sign failed");
}

/// The certificate of one request is never recorded under another one, nor under another account.
#[test]
fn approval_is_recorded_for_its_own_request_only() {
    let other = RequestId::new(8).unwrap();
    for opening in [Opening::Approved(other), opening("mallory".parse().unwrap())] {
        let recorder = Recorder::default();
        let failed = finish(issue(&recorder, opening)).unwrap_err();
        assert!(
            matches!(&failed, Failed::Ledger(LedgerError(why)) if why.contains("not prepared")),
            "{failed:?}"
        );
        assert_eq!(recorder.steps(), ["build".to_owned(), format!("lint {TBS}")]);
    }
}
