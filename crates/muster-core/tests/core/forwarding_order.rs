//! The order in which a request goes to another CA, and what is left behind when a step fails.

use std::future::Future;
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use muster_core::RequestId;
use muster_core::audit::Actor;
use muster_core::forwarding::{ForwardLedger, IdentityMode, Outcome, Settled, Settlement, SubmissionRecord};
use muster_core::identity::Method;
use muster_core::issuance::{LedgerError, RequestRecord};
use muster_core::policy::{ForwardCircumstances, Forwardable, forward};

use crate::support::*;

/// A store and the other CA in one: writes down what it is asked to do, and fails at the step named.
#[derive(Default)]
struct Recorder {
    fails_at: Option<&'static str>,
    steps: Mutex<Vec<&'static str>>,
}

impl Recorder {
    fn step(&self, step: &'static str) -> Result<(), LedgerError> {
        self.steps.lock().unwrap().push(step);
        if self.fails_at == Some(step) { Err(LedgerError(format!("{step} failed"))) } else { Ok(()) }
    }

    fn steps(&self) -> Vec<&'static str> {
        self.steps.lock().unwrap().clone()
    }
}

impl ForwardLedger for Recorder {
    async fn record_submission(&self, record: SubmissionRecord) -> Result<(), LedgerError> {
        assert_eq!((record.request.id, record.at), (id(), NOW));
        assert_eq!((record.ca.as_str(), record.identity), ("Corp", IdentityMode::Delegate));
        assert_eq!(record.expected.sid.demanded(), Some(OWN_SID));
        self.step("record")
    }

    async fn settle(&self, settlement: Settlement) -> Result<(), LedgerError> {
        let actor = Actor::Service;
        assert_eq!(settlement, Settlement { id: id(), actor, outcome: issued(), at: NOW.plus(2) });
        self.step("settle")
    }
}

fn id() -> RequestId {
    RequestId::new(7).unwrap()
}

fn issued() -> Outcome {
    Outcome::Issued { backend_id: 11, certificate: b"certificate".to_vec(), response: b"cms".to_vec() }
}

fn forwardable() -> Forwardable {
    let circumstances = ForwardCircumstances {
        identity: IdentityMode::Delegate,
        method: Method::Kerberos,
        tls_certificate: None,
        renewal_only: false,
        key_based: false,
        renewed: None,
        key_blocked: false,
        now: NOW,
    };
    forward(&alice(), &template("User"), &plain(), &circumstances).unwrap()
}

fn row() -> RequestRecord {
    RequestRecord {
        id: id(),
        received: NOW,
        actor: Actor::Service,
        requester: alice().name,
        requester_sid: alice().sid,
        method: Method::Kerberos,
        form: "pkcs10",
        template: Some("User".to_owned()),
        endpoint: "https://ca.lab.example/CES".to_owned(),
        raw: plain().raw,
        asked_with: None,
    }
}

/// Runs a future that never waits.
fn finish<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the recorder never waits"),
    }
}

async fn pass_on(recorder: &Recorder, row: RequestRecord) -> Result<Settled, LedgerError> {
    let recorded = forwardable().record(recorder, row, "Corp", NOW).await?;
    assert_eq!((recorded.id(), recorded.ca(), recorded.identity()), (id(), "Corp", IdentityMode::Delegate));
    assert_eq!((recorded.request(), &recorded.expected().spki), (&plain().raw[..], &key().spki));
    recorder.step("send")?;
    recorded.settle(recorder, issued(), NOW.plus(2)).await
}

#[test]
fn request_is_recorded_sent_and_settled_in_this_order() {
    let recorder = Recorder::default();
    let settled = finish(pass_on(&recorder, row())).unwrap();
    assert_eq!(recorder.steps(), ["record", "send", "settle"]);
    assert_eq!((settled.id(), settled.outcome()), (id(), &issued()));
    assert_eq!(settled.into_outcome(), issued());
}

#[test]
fn nothing_is_sent_or_answered_that_is_not_on_disk() {
    for (step, expected) in [("record", &["record"][..]), ("settle", &["record", "send", "settle"])] {
        let recorder = Recorder { fails_at: Some(step), ..Recorder::default() };
        let failed = finish(pass_on(&recorder, row()));
        assert_eq!(failed, Err(LedgerError(format!("{step} failed"))));
        assert_eq!(recorder.steps(), expected);
    }
}

/// What policy has seen is what is recorded and sent, and nothing else.
#[test]
fn another_request_than_policy_has_seen_is_not_recorded() {
    for other in [
        RequestRecord { requester: "mallory".parse().unwrap(), ..row() },
        RequestRecord { raw: b"another request".to_vec(), ..row() },
        RequestRecord { template: Some("UserEmail".to_owned()), ..row() },
        RequestRecord { template: None, ..row() },
    ] {
        let recorder = Recorder::default();
        let failed = finish(pass_on(&recorder, other)).unwrap_err();
        assert_eq!(failed.0, "request 7 is not the one that policy has seen");
        assert_eq!(recorder.steps(), [""; 0]);
    }
}

#[test]
fn what_is_learnt_later_is_committed_before_it_is_answered() {
    let settlement = || Settlement { id: id(), actor: Actor::Service, outcome: issued(), at: NOW.plus(2) };
    let settled = finish(settlement().commit(&Recorder::default())).unwrap();
    assert_eq!(settled.outcome(), &issued());
    let failing = Recorder { fails_at: Some("settle"), ..Recorder::default() };
    assert_eq!(finish(settlement().commit(&failing)), Err(LedgerError("settle failed".to_owned())));
}
