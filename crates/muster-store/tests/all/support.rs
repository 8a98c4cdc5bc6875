//! A store in a folder of its own, and enrollments to put into it.

use std::path::PathBuf;

use muster_core::audit::Actor;
use muster_core::forwarding::{
    Expected, ExpectedNames, ExpectedSid, IdentityMode, Outcome, SubmissionRecord,
};
use muster_core::identity::{AccountName, Method, Principal, PrincipalKind};
use muster_core::issuance::{Intent, IssuedRecord, Opening, RequestRecord};
use muster_core::names::{AltName, SubjectName};
use muster_core::{RequestId, Serial, Template, UnixTime};
use muster_store::{Instance, Options, Store, StoreError};
use tempfile::TempDir;

pub(crate) const NOW: UnixTime = UnixTime(1_795_408_903);
pub(crate) const DAY: i64 = 86_400;

/// Identifier of the template in [`issued`].
pub(crate) const TEMPLATE_OID: &str = "1.3.6.1.4.1.311.21.8.1.2.3.4";

pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("muster.db")
    }

    pub(crate) fn open(&self) -> Store {
        self.open_with(Options::default()).unwrap()
    }

    pub(crate) fn open_with(&self, options: Options) -> Result<Store, StoreError> {
        Store::open(&self.path(), &options, NOW)
    }

    /// The file, as somebody with other tools sees it.
    pub(crate) fn raw(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path()).unwrap()
    }

    pub(crate) fn count(&self, table: &str) -> i64 {
        self.raw().query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    }
}

pub(crate) fn name(text: &str) -> AccountName {
    text.parse().unwrap()
}

pub(crate) fn principal(text: &str) -> Principal {
    Principal {
        name: name(text),
        kind: PrincipalKind::User,
        groups: [name("staff")].into(),
        common_name: Some("Alice Example".to_owned()),
        email: Some("alice@example.org".to_owned()),
        upn: None,
        dns_names: Vec::new(),
        sid: Some("S-1-5-21-1-2-3-1104".to_owned().try_into().unwrap()),
        sids: [].into(),
        directory: None,
        token: None,
    }
}

pub(crate) fn officer() -> Actor {
    Actor::Officer("root".to_owned())
}

pub(crate) fn caller(account: &str) -> Actor {
    Actor::Caller {
        account: name(account),
        method: Method::UsernamePassword,
        address: Some([127, 0, 0, 1].into()),
    }
}

pub(crate) async fn instance(store: &Store) -> Instance {
    let oid_root = "1.3.6.1.4.1.311.21.8.7".parse().unwrap();
    let instance = Instance { policy_id: "{policy}".to_owned(), oid_root, created_at: NOW };
    store.set_instance(instance).await.unwrap()
}

pub(crate) fn template(new_name: &str) -> Template {
    let mut template = muster_core::defaults::templates().unwrap().remove(0);
    template.name = new_name.to_owned();
    template
}

/// A request nobody else sends: its octets hold its identifier.
pub(crate) fn record(id: RequestId, account: &str) -> RequestRecord {
    RequestRecord {
        id,
        received: NOW,
        actor: caller(account),
        requester: name(account),
        requester_sid: None,
        method: Method::UsernamePassword,
        form: "pkcs10",
        template: Some("User".to_owned()),
        endpoint: "password".to_owned(),
        raw: [&id.number().to_be_bytes()[..], &[0x5a; 400]].concat(),
        asked_with: None,
    }
}

pub(crate) fn serial(id: RequestId, seed: u8) -> Serial {
    Serial::compose(id, [seed; 15])
}

fn sequence(tag: u8, contents: &[u8]) -> Vec<u8> {
    let long = u16::try_from(contents.len()).unwrap().to_be_bytes();
    let head = match (contents.len(), long) {
        (0..0x80, [_, short]) => vec![tag, short],
        (0x80..0x100, [_, short]) => vec![tag, 0x81, short],
        (_, [high, low]) => vec![tag, 0x82, high, low],
    };
    [&head, contents].concat()
}

/// Octets of the shape of a tbsCertificate, without a key.
pub(crate) fn tbs(serial: Serial) -> Vec<u8> {
    sequence(0x30, &[&[0x02, 20], &serial.as_bytes()[..], &sequence(0x04, &[7; 500])].concat())
}

/// `tbs` with something in the place of a signature.
pub(crate) fn certificate(tbs: &[u8]) -> Vec<u8> {
    sequence(0x30, &[tbs, &sequence(0x30, &[]), &sequence(0x03, &[9; 70])].concat())
}

pub(crate) fn intent(id: RequestId, account: &str) -> Intent {
    let serial = serial(id, 7);
    Intent {
        opening: Opening::New(Box::new(record(id, account))),
        actor: caller(account),
        serial,
        tbs: tbs(serial),
        at: NOW,
    }
}

pub(crate) fn issued(id: RequestId, account: &str) -> IssuedRecord {
    let serial = serial(id, 7);
    IssuedRecord {
        id,
        actor: caller(account),
        serial,
        certificate: certificate(&tbs(serial)),
        account: name(account),
        template_oid: TEMPLATE_OID.to_owned(),
        subject: "CN=Alice Example".to_owned(),
        not_before: NOW.plus(-600),
        not_after: NOW.plus(365 * DAY),
        at: NOW,
    }
}

/// Both writes of an enrollment.
pub(crate) async fn enroll(store: &Store, account: &str) -> IssuedRecord {
    use muster_core::issuance::Ledger;
    let id = store.reserve_request_id().await.unwrap();
    store.record_intent(intent(id, account)).await.unwrap();
    let issued = issued(id, account);
    store.record_issued(issued.clone()).await.unwrap();
    issued
}

/// The request of [`record`], about to be passed on.
pub(crate) fn submission(id: RequestId, account: &str) -> SubmissionRecord {
    SubmissionRecord {
        request: record(id, account),
        ca: "Corp Issuing CA".to_owned(),
        identity: IdentityMode::Delegate,
        expected: Expected {
            spki: b"a key".to_vec(),
            template_name: "User".to_owned(),
            template_oid: Some(TEMPLATE_OID.parse().unwrap()),
            sid: ExpectedSid::Demanded("S-1-5-21-1-2-3-1104".to_owned()),
            names: asked_names(),
        },
        at: NOW,
    }
}

/// Of each kind one.
pub(crate) fn asked_names() -> ExpectedNames {
    ExpectedNames::Asked {
        subject: SubjectName::common_name("host.lab.example"),
        alternatives: vec![
            AltName::Dns("host.lab.example".to_owned()),
            AltName::Email("a@lab.example".to_owned()),
            AltName::Ip("192.0.2.1".parse().unwrap()),
        ],
    }
}

pub(crate) fn issued_elsewhere() -> Outcome {
    Outcome::Issued { backend_id: 11, certificate: b"a certificate".to_vec(), response: b"a chain".to_vec() }
}

pub(crate) fn under_submission() -> Outcome {
    let message = "Taken Under Submission".to_owned();
    Outcome::UnderSubmission { backend_id: 11, response: Vec::new(), message }
}

/// With words that a terminal would act on.
pub(crate) fn denied() -> Outcome {
    Outcome::Denied {
        backend_id: Some(11),
        hresult: Some(0x8009_4012),
        response: b"no".to_vec(),
        message: "Denied by Policy Module\r\u{1b}[31m red\n".to_owned(),
    }
}
