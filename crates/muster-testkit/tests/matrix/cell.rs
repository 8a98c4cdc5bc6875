//! One cell of the matrix: what is sent, and what has to come back.
#![expect(clippy::wildcard_enum_match_arm, reason = "most conditions leave most of a message as it is")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use muster_core::Method;
use muster_proto::wcce::{RequestedExtension, TemplateId};
use muster_server::config::{Endpoint, Service};
use muster_store::AuditFilter;
use muster_testkit::https::{Connection, post};
use muster_testkit::requests::{MESSAGE_ID, Messages};
use muster_testkit::server::{Fault, PASSWORD, path};
use muster_testkit::{Answer, Identity, Key, SignIn, TestServer, log};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    GetPolicies,
    Issue,
    Renewal,
    Query,
    KeyExchangeToken,
}

impl Operation {
    pub(crate) const ALL: [Self; 5] =
        [Self::GetPolicies, Self::Issue, Self::Renewal, Self::Query, Self::KeyExchangeToken];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Well,
    Anonymous,
    WrongCredentials,
    DisabledAccount,
    MalformedEnvelope,
    MalformedDer,
    Oversize,
    NoPermission,
    UnknownTemplate,
    TemplateConflict,
    RenewalOnlyEndpoint,
    Pending,
    Denied,
    /// A request, or a certificate to be renewed, of somebody else.
    Foreign,
    StoreDown,
    DiskFull,
    StoreLocked,
}

impl Condition {
    /// Those under which the store is well.
    pub(crate) const STORE_WELL: [Self; 14] = [
        Self::Well,
        Self::Anonymous,
        Self::WrongCredentials,
        Self::DisabledAccount,
        Self::MalformedEnvelope,
        Self::MalformedDer,
        Self::Oversize,
        Self::NoPermission,
        Self::UnknownTemplate,
        Self::TemplateConflict,
        Self::RenewalOnlyEndpoint,
        Self::Pending,
        Self::Denied,
        Self::Foreign,
    ];
}

/// What has to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// The combination makes no sense.
    Nothing,
    /// Success.
    Well,
    /// Taken under submission.
    Pending,
    /// An answer without policies.
    NoPolicies,
    /// HTTP 500 with a fault.
    Fault { codes: &'static str, hresult: Option<u32>, log: &'static str, sentence: &'static str },
    /// A status of HTTP alone, without SOAP.
    Http { status: u16, log: &'static str, sentence: &'static str },
}

const AUTHENTICATION: &str = "s:Sender f:FailedAuthentication";
const DENIED: Expected = Expected::Fault {
    codes: "s:Receiver",
    hresult: Some(0x8009_4012),
    log: "TEMPLATE_DENIED",
    sentence: "You are not allowed to enroll for this template, or it is not offered here; ask for permission to enroll.",
};
const UNAVAILABLE: Expected = Expected::Http {
    status: 503,
    log: "STORE",
    sentence: "The service cannot issue certificates at the moment; the client should try the next server.",
};

const fn authentication(log: &'static str, sentence: &'static str) -> Expected {
    Expected::Fault { codes: AUTHENTICATION, hresult: None, log, sentence }
}

const fn detail(hresult: u32, log: &'static str, sentence: &'static str) -> Expected {
    Expected::Fault { codes: "s:Receiver", hresult: Some(hresult), log, sentence }
}

/// The table.
pub(crate) fn expected(operation: Operation, method: Method, condition: Condition) -> Expected {
    use Operation::{GetPolicies, Issue, KeyExchangeToken, Query, Renewal};
    let enrolls = matches!(operation, Issue | Renewal);
    match condition {
        Condition::Well => Expected::Well,
        Condition::Anonymous => match method {
            Method::UsernamePassword => authentication(
                "PASSWORD_MISSING",
                "This address needs a user name and a password in the message; configure the client to send them.",
            ),
            Method::ClientCertificate => authentication(
                "CERT_MISSING",
                "This address needs a client certificate in the TLS handshake; configure the client to send one.",
            ),
            Method::Kerberos => Expected::Nothing,
        },
        Condition::WrongCredentials | Condition::DisabledAccount => match method {
            Method::UsernamePassword => authentication(
                "BAD_CREDENTIALS",
                "The user name or password is not correct, or the account is temporarily locked.",
            ),
            Method::ClientCertificate => authentication(
                "CERT_UNKNOWN",
                "This certificate was not issued by this service, or its account may not use it any more.",
            ),
            Method::Kerberos => Expected::Nothing,
        },
        Condition::MalformedEnvelope => Expected::Fault {
            codes: "s:Sender",
            hresult: None,
            log: "XML_REFUSED",
            sentence: "The message was refused: ",
        },
        Condition::MalformedDer if enrolls => {
            detail(0x8007_000d, "REQUEST_MALFORMED", "The request was refused: ")
        }
        Condition::Oversize => {
            Expected::Http { status: 413, log: "HTTP", sentence: "The message is larger than 64 KiB." }
        }
        Condition::NoPermission if operation == GetPolicies => Expected::NoPolicies,
        Condition::NoPermission | Condition::UnknownTemplate if enrolls => DENIED,
        Condition::TemplateConflict if enrolls => detail(
            0x8009_4802,
            "TEMPLATE_CONFLICT",
            "The request names two different templates; create a new request.",
        ),
        Condition::RenewalOnlyEndpoint if operation == Issue => detail(
            0x8007_0005,
            "RENEWAL_ONLY",
            "This address accepts renewals only; enroll at another address of the enrollment policy.",
        ),
        Condition::RenewalOnlyEndpoint if operation != GetPolicies => Expected::Well,
        Condition::Pending if enrolls || operation == Query => Expected::Pending,
        Condition::Denied if operation == Query => {
            detail(0x8009_4014, "DENIED", "Request [id] was denied by an officer: not today")
        }
        Condition::Foreign => match (operation, method) {
            (Query, _) => {
                detail(0x8009_4004, "REQUEST_UNKNOWN", "There is no request [id] for this account.")
            }
            (Renewal, Method::UsernamePassword) => detail(
                0x8007_0005,
                "RENEW_FOREIGN",
                "The certificate to be renewed belongs to another account; enroll anew.",
            ),
            (Renewal, Method::ClientCertificate) => detail(
                0x8009_400e,
                "RENEW_SIGNER",
                "The certificate of the connection is not the one that signed the renewal; use the same for both.",
            ),
            (Renewal, Method::Kerberos) | (GetPolicies | Issue | KeyExchangeToken, _) => Expected::Nothing,
        },
        Condition::StoreDown => UNAVAILABLE,
        // What need not be written is answered.
        Condition::DiskFull | Condition::StoreLocked if enrolls => UNAVAILABLE,
        Condition::DiskFull | Condition::StoreLocked => Expected::Well,
        Condition::MalformedDer
        | Condition::NoPermission
        | Condition::UnknownTemplate
        | Condition::TemplateConflict
        | Condition::RenewalOnlyEndpoint
        | Condition::Pending
        | Condition::Denied => Expected::Nothing,
    }
}

/// What ails the store while a message is answered. Between messages it is well, or the doors would be closed.
pub(crate) enum Illness {
    /// Nothing, or what the test sees to itself.
    None,
    /// Writing fails.
    Fault(Fault),
    /// Somebody else holds the lock.
    Locked(rusqlite::Connection),
}

impl Illness {
    fn set(&self, server: &TestServer, ill: bool) {
        match self {
            Self::None => {}
            Self::Fault(fault) => server.fault.set(ill.then(|| fault.clone())),
            Self::Locked(other) => {
                other.execute_batch(if ill { "BEGIN IMMEDIATE" } else { "ROLLBACK" }).unwrap()
            }
        }
    }
}

/// What the cells need to be there before.
pub(crate) struct World {
    pub(crate) server: TestServer,
    pub(crate) illness: Illness,
    /// Whether the store is well, so that every refusal has to be in the audit log.
    pub(crate) audited: bool,
    alice: Identity,
    bob: Identity,
    dave: Identity,
    /// Of no group.
    nobody: Identity,
    /// Alice's, from a template that asks for approval.
    approved: Identity,
    /// Alice's, not renewed before.
    fresh: Identity,
    /// The key of every renewal: with several keys there would be several holders.
    new_key: Key,
    issued: String,
    pending: String,
    denied: String,
    foreign: String,
    /// Names another template than the request does, by its identifier.
    another_template: [RequestedExtension; 1],
}

impl World {
    pub(crate) async fn new() -> Self {
        let server = TestServer::start().await;
        let now = || muster_core::Clock::now(&server.clock);
        let officer = || muster_core::audit::Actor::Officer("officer".to_owned());
        // At addresses for renewals, too, renewals may come at any time.
        let catalog = server.store.catalog().await.unwrap();
        let mut user = catalog.into_iter().find(|template| template.name == "User").unwrap();
        user.renewal.window_percent = 100;
        server.store.put_template(user, vec![7, 8], officer(), now()).await.unwrap();
        let alice = server.enroll("alice", "User").await;
        let fresh = server.enroll("alice", "User").await;
        let bob = server.enroll("bob", "User").await;
        server.store.set_enabled("dave".parse().unwrap(), true, officer(), now()).await.unwrap();
        let dave = server.enroll("dave", "User").await;
        server.store.set_enabled("dave".parse().unwrap(), false, officer(), now()).await.unwrap();

        // One who had a certificate once and is in no group any more.
        let name: muster_core::identity::AccountName = "nobody".parse().unwrap();
        let mut principal = server.store.account(&name).await.unwrap().unwrap().principal;
        principal.groups.insert("users".parse().unwrap());
        server.store.put_account(principal.clone(), officer(), now()).await.unwrap();
        let nobody = server.enroll("nobody", "User").await;
        principal.groups.clear();
        server.store.put_account(principal, officer(), now()).await.unwrap();

        let endpoint = server.endpoint(Service::Enrollment, Method::UsernamePassword);
        let messages = server.messages(endpoint, SignIn::Password("alice", PASSWORD));
        let submit = async |request: &[u8]| server.post(endpoint, None, &messages.issue(request)).await;
        let (issued, _) = submit(&Key::generate().request("User")).await.issued();
        let pending = submit(&Key::generate().request("Approved")).await.pending();
        let denied = submit(&Key::generate().request("Approved")).await.pending();
        let id = denied.parse().unwrap();
        server.store.deny(id, "officer".to_owned(), "not today".to_owned(), now()).await.unwrap();
        let key = Arc::new(Key::generate());
        let id = submit(&key.request("Approved")).await.pending();
        server.store.approve(id.parse().unwrap(), "officer".to_owned(), now()).await.unwrap();
        let (_, certificate) = server.post(endpoint, None, &messages.query(&id)).await.issued();
        let approved = Identity { certificate, key };
        let bobs = server.messages(endpoint, SignIn::Password("bob", PASSWORD));
        let message = bobs.issue(&Key::generate().request("User"));
        let (foreign, _) = server.post(endpoint, None, &message).await.issued();
        let templates = server.store.catalog().await.unwrap();
        let other = templates.iter().find(|t| t.name == "UserEmail").and_then(|t| t.oid.as_ref()).unwrap();
        let id = TemplateId { oid: other.as_str().parse().unwrap(), major: None, minor: None };
        let oid = "1.3.6.1.4.1.311.21.7".parse().unwrap();
        let another_template = [RequestedExtension { oid, critical: false, value: id.to_der() }];
        Self {
            server,
            illness: Illness::None,
            audited: true,
            alice,
            bob,
            dave,
            nobody,
            approved,
            fresh,
            new_key: Key::generate(),
            issued,
            pending,
            denied,
            foreign,
            another_template,
        }
    }

    fn endpoint(&self, operation: Operation, method: Method, condition: Condition) -> &Endpoint {
        match (operation, condition) {
            (Operation::GetPolicies, _) => self.server.endpoint(Service::Policy, method),
            (_, Condition::RenewalOnlyEndpoint) => self.server.renewal_only(method),
            _ => self.server.endpoint(Service::Enrollment, method),
        }
    }

    /// Somebody else's key under alice's names and serial number.
    fn look_alike(&self) -> Identity {
        let key = Arc::new(Key::generate());
        let (own, forged) = (self.alice.key.spki(), key.spki());
        let mut certificate = self.alice.certificate.clone();
        let at = certificate.windows(own.len()).position(|w| w == own).unwrap();
        certificate[at..at + own.len()].copy_from_slice(forged);
        Identity { certificate, key }
    }

    fn message(
        &self,
        operation: Operation,
        method: Method,
        condition: Condition,
        messages: &Messages,
    ) -> String {
        let template = match condition {
            Condition::NoPermission => "Computer",
            Condition::UnknownTemplate => "NoSuchTemplate",
            Condition::Pending => "Approved",
            _ => "User",
        };
        let extensions: &[RequestedExtension] =
            if condition == Condition::TemplateConflict { &self.another_template } else { &[] };
        let broken = |mut request: Vec<u8>| {
            if condition == Condition::MalformedDer {
                request.truncate(request.len() - 7);
            }
            request
        };
        let message = match operation {
            Operation::GetPolicies => messages.get_policies(),
            Operation::Issue => messages.issue(&broken(Key::generate().request_with(template, extensions))),
            Operation::Renewal => {
                let old = match condition {
                    Condition::Foreign => &self.bob,
                    Condition::Pending => &self.approved,
                    Condition::RenewalOnlyEndpoint if method == Method::ClientCertificate => &self.fresh,
                    _ => &self.alice,
                };
                let request = self.new_key.renewal_with(template, extensions, &old.certificate, &old.key);
                messages.issue(&broken(request))
            }
            Operation::Query => messages.query(match condition {
                Condition::Pending => &self.pending,
                Condition::Denied => &self.denied,
                Condition::Foreign => &self.foreign,
                _ => &self.issued,
            }),
            Operation::KeyExchangeToken => messages.key_exchange_token(),
        };
        match condition {
            Condition::MalformedEnvelope => message.replace("</s:Body>", ""),
            Condition::Oversize => message + &" ".repeat(64 * 1024),
            _ => message,
        }
    }

    /// A connection, once the doors are open again after the last cell.
    async fn connect(&self, endpoint: &Endpoint, identity: Option<&Identity>) -> Connection {
        if matches!(self.illness, Illness::None) {
            return self.server.connect(endpoint, identity).await;
        }
        let address = self.server.address(&endpoint.listener);
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            if let Ok(socket) = tokio::net::TcpStream::connect(address).await
                && let Ok(connection) = self.server.https.shake_hands(socket, identity).await
            {
                return connection;
            }
            assert!(Instant::now() < end, "the doors stay closed");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A dead store closes the doors and idle connections at once, so the message has to be on its way before.
    async fn while_the_store_dies(&self, connection: &mut Connection, message: &[u8]) -> Answer {
        let (first, rest) = message.split_at(message.len() - 100);
        connection.send(first).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        self.server.fault.set(Some(Fault::Panic));
        let endpoint = self.server.endpoint(Service::Enrollment, Method::UsernamePassword);
        let messages = self.server.messages(endpoint, SignIn::Password("alice", PASSWORD));
        let last = self.server.post(endpoint, None, &messages.issue(&Key::generate().request("User"))).await;
        assert_eq!(last.status, 503);
        connection.send(rest).await;
        connection.answer().await.unwrap()
    }

    /// Sends the message of one cell, and checks what comes back. Returns a refusal as it is to be compared.
    pub(crate) async fn check(
        &self,
        operation: Operation,
        method: Method,
        condition: Condition,
    ) -> Option<(&'static str, String)> {
        let expected = expected(operation, method, condition);
        if expected == Expected::Nothing {
            return None;
        }
        let endpoint = self.endpoint(operation, method, condition);
        let sign_in = match (method, condition) {
            (Method::ClientCertificate | Method::Kerberos, _) | (_, Condition::Anonymous) => SignIn::None,
            (_, Condition::WrongCredentials) => SignIn::Password("bob", "wrong"),
            (_, Condition::DisabledAccount) => SignIn::Password("dave", PASSWORD),
            (_, Condition::NoPermission) if operation == Operation::GetPolicies => {
                SignIn::Password("nobody", PASSWORD)
            }
            (Method::UsernamePassword, _) => SignIn::Password("alice", PASSWORD),
        };
        let identity = match (method, condition) {
            (Method::UsernamePassword | Method::Kerberos, _) | (_, Condition::Anonymous) => None,
            (_, Condition::WrongCredentials) => Some(self.look_alike()),
            (_, Condition::DisabledAccount) => Some(self.dave.clone()),
            (_, Condition::NoPermission) if operation == Operation::GetPolicies => Some(self.nobody.clone()),
            (_, Condition::Pending) if operation == Operation::Renewal => Some(self.approved.clone()),
            (_, Condition::RenewalOnlyEndpoint) if operation == Operation::Renewal => {
                Some(self.fresh.clone())
            }
            (Method::ClientCertificate, _) => Some(self.alice.clone()),
        };
        let messages = self.server.messages(endpoint, sign_in);
        let message = self.message(operation, method, condition, &messages);
        let mut connection = self.connect(endpoint, identity.as_ref()).await;
        let answer = if condition == Condition::StoreDown {
            self.while_the_store_dies(&mut connection, &post(&path(endpoint), "", message.as_bytes())).await
        } else {
            self.illness.set(&self.server, true);
            let answer = connection.post(&path(endpoint), &message).await;
            self.illness.set(&self.server, false);
            answer
        };
        let cell = format!("{operation:?} × {method:?} × {condition:?}");
        assert_ne!(answer.status, 401, "{cell}");
        assert_eq!(answer.header("www-authenticate"), None, "{cell}");
        match expected {
            Expected::Nothing => None,
            Expected::Well => {
                self.check_success(operation, &answer, &cell);
                None
            }
            Expected::Pending => {
                assert!(!answer.pending().is_empty(), "{cell}");
                None
            }
            Expected::NoPolicies => {
                assert!(answer.policies().response.policies.is_empty(), "{cell}");
                None
            }
            Expected::Fault { codes, hresult, log, sentence } => {
                assert_eq!((answer.status, answer.is_soap()), (500, true), "{cell}: {}", answer.text());
                assert_eq!(answer.codes(), codes, "{cell}");
                let relates = format!("<a:RelatesTo>{MESSAGE_ID}</a:RelatesTo>");
                // What cannot be read to its end has no MessageID for certain.
                let readable = condition != Condition::MalformedEnvelope;
                assert_eq!(answer.text().contains(&relates), readable, "{cell}");
                if let Some(hresult) = hresult {
                    let detail = answer.detail();
                    assert_eq!(
                        detail.error_code.map(|c| c.code()),
                        Some(hresult),
                        "{cell}: {}",
                        answer.text()
                    );
                    assert!(detail.invalid_request, "{cell}");
                }
                let text = self.without_ids(&answer.fault().reason);
                check_sentence(&cell, &text, sentence, &answer);
                check_log(&cell, &answer, log);
                self.check_audit(&cell, &answer, operation, condition, log).await;
                Some((log, self.without_ids(&answer.golden())))
            }
            Expected::Http { status, log, sentence } => {
                assert_eq!((answer.status, answer.is_soap()), (status, false), "{cell}: {}", answer.text());
                if status == 503 {
                    assert_eq!(answer.header("retry-after"), Some("30"), "{cell}");
                }
                check_sentence(&cell, answer.text().trim_end(), sentence, &answer);
                check_log(&cell, &answer, log);
                self.check_audit(&cell, &answer, operation, condition, log).await;
                Some((log, answer.golden()))
            }
        }
    }

    /// The newest audit record is about this refusal: who, what, with which outcome.
    async fn check_audit(
        &self,
        cell: &str,
        answer: &Answer,
        operation: Operation,
        condition: Condition,
        code: &str,
    ) {
        if !self.audited {
            return;
        }
        let filter = AuditFilter { limit: 1, ..AuditFilter::default() };
        let record = self.server.store.audit_list(filter).await.unwrap().remove(0);
        assert_eq!(record.outcome, format!("refused:{code}"), "{cell}: {record:?}");
        let (actor, action) = match (condition, operation) {
            (Condition::MalformedEnvelope | Condition::Oversize, _) => {
                ("unauthenticated@127.0.0.1", "receive")
            }
            (Condition::Anonymous | Condition::WrongCredentials | Condition::DisabledAccount, _) => {
                ("unauthenticated@127.0.0.1", "authenticate")
            }
            (_, Operation::Issue | Operation::Renewal) => ("caller:alice/", "submit"),
            (_, Operation::Query) => ("caller:alice/", "query_token_status"),
            (_, Operation::GetPolicies) => ("caller:alice/", "get_policies"),
            (_, Operation::KeyExchangeToken) => ("caller:alice/", "key_exchange_token"),
        };
        assert!(record.actor.starts_with(actor), "{cell}: {record:?}");
        assert_eq!(record.action, action, "{cell}: {record:?}");
        // What has a row in the request table is found by its number, everything else by the reference.
        let reference = record.object.as_deref().is_some_and(|o| o.contains(&answer.reference()));
        assert!(reference || record.request.is_some(), "{cell}: {record:?}");
        let foreign = condition == Condition::Foreign && operation == Operation::Query;
        assert!(!foreign || (record.request.is_none() && record.template.is_none()), "{cell}: {record:?}");
    }

    fn check_success(&self, operation: Operation, answer: &Answer, cell: &str) {
        match operation {
            Operation::GetPolicies => assert!(!answer.policies().response.policies.is_empty(), "{cell}"),
            Operation::Issue | Operation::Renewal => assert!(!answer.issued().1.is_empty(), "{cell}"),
            Operation::Query => assert_eq!(answer.issued().0, self.issued, "{cell}"),
            Operation::KeyExchangeToken => {
                assert_eq!(answer.status, 200, "{cell}");
                assert!(answer.text().contains("KeyExchangeToken"), "{cell}");
            }
        }
    }

    /// Numbers of requests differ from run to run.
    fn without_ids(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for id in [&self.pending, &self.denied, &self.foreign] {
            text = text.replace(&format!("equest {id} "), "equest [id] ");
        }
        match text.split_once("<RequestID>").map(|(a, rest)| (a.to_owned(), rest.split_once("</RequestID>")))
        {
            Some((before, Some((_, after)))) => format!("{before}<RequestID>[id]</RequestID>{after}"),
            _ => text,
        }
    }
}

fn check_sentence(cell: &str, text: &str, sentence: &str, answer: &Answer) {
    assert!(text.starts_with(sentence), "{cell}: {text}");
    assert!(text.ends_with(&format!("(reference {})", answer.reference())), "{cell}: {text}");
    assert!(text.chars().count() <= 240, "{cell}: {text}");
}

/// The log has the reference, the status and the code, and nothing secret.
fn check_log(cell: &str, answer: &Answer, code: &str) {
    let event = log::event(&answer.reference());
    assert_eq!(event["outcome"], code, "{cell}: {event}");
    assert_eq!(event["status"], answer.status, "{cell}: {event}");
    assert!(!event["detail"].as_str().unwrap().is_empty(), "{cell}: {event}");
    assert!(!event.to_string().contains(PASSWORD), "{cell}: {event}");
}
