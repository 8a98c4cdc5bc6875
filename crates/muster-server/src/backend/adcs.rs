//! An authority of AD CS, asked over DCOM or RPC.

use std::path::Path;

use der::{Decode as _, Encode as _};
use muster_adcs::{
    Adcs, AdcsError, Answer, Found, Identity, Method, RequestRow, Settings, Submission, Timeouts,
};
use muster_ca::SigningKey;
use muster_core::UnixTime;
use muster_core::forwarding::{self, IdentityMode, Outcome, RecordedSubmission};
use muster_gss::Gss;
use muster_proto::wcce::{self, CertificateRequest, Cosigner, Possession};
use muster_rpc::client::RpcError;
use muster_rpc::status::{FaultStatus, HResult};
use muster_rpc::wcce::{Form, RequestAttributes, RequestFlags};
use muster_store::ForwardedRequest;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use x509_cert::Certificate;

use super::{Fate, NotSent};
use crate::config::{AdcsSettings, file};
use crate::private;

/// CRYPT_E_REVOKED: the certificate that is asked for has been revoked meanwhile.
const REVOKED: u32 = 0x8009_2010;

/// A CA, and who this service is there.
#[derive(Debug)]
pub(crate) struct Connector {
    adcs: Adcs,
    /// The certificates that the CA signs with, DER.
    issuers: Vec<Vec<u8>>,
    own: Option<Identity>,
    agent: Option<Agent>,
}

/// The enrollment agent that signs what a registration authority passes on.
struct Agent {
    certificate: Vec<u8>,
    key: SigningKey,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Agent")
    }
}

impl Agent {
    fn load(certificate: &Path, key: &Path) -> Result<Self, String> {
        let wrong = |file: &Path, problem: String| format!("{}: {problem}", file.display());
        if let Some(mode) = private::open_to_all(key) {
            return Err(wrong(
                key,
                format!("everybody here can read it (mode {mode:o}): run chmod 600 on it"),
            ));
        }
        let der =
            CertificateDer::from_pem_file(certificate).map_err(|e| wrong(certificate, e.to_string()))?;
        let pkcs8 = PrivatePkcs8KeyDer::from_pem_file(key).map_err(|e| wrong(key, e.to_string()))?;
        let signer =
            SigningKey::from_pkcs8(pkcs8.secret_pkcs8_der()).map_err(|e| wrong(key, e.to_string()))?;
        let read = Certificate::from_der(&der).map_err(|e| wrong(certificate, e.to_string()))?;
        let spki = read.tbs_certificate().subject_public_key_info().to_der();
        if spki.map_err(|e| wrong(certificate, e.to_string()))? != signer.spki() {
            return Err(wrong(
                certificate,
                format!("is not the certificate of the key in {}", key.display()),
            ));
        }
        Ok(Self { certificate: der.to_vec(), key: signer })
    }

    /// The caller's request, with the agent's word for whom it is.
    fn countersign(&self, recorded: &RecordedSubmission) -> Result<Vec<u8>, NotSent> {
        let refused = |why: String| NotSent::Identity(why);
        let parsed = CertificateRequest::parse(recorded.request()).map_err(|e| refused(e.to_string()))?;
        match parsed.possession {
            Possession::Pkcs10Signature | Possession::Both => {}
            Possession::SignerInfo => {
                return Err(refused(
                    "the PKCS#10 is not signed by its key; an agent can sign no other".to_owned(),
                ));
            }
        }
        let requester = recorded.requester();
        let (domain, account) = requester
            .directory_parts()
            .ok_or_else(|| refused(format!("{requester} is in no directory that the CA knows")))?;
        let agent = Cosigner { certificate: &self.certificate, key: &self.key };
        wcce::build_on_behalf(&parsed.pkcs10_der, &format!("{domain}\\{account}"), agent)
            .map_err(|error| refused(error.to_string()))
    }
}

impl AdcsSettings {
    /// How the authority of this name is asked.
    ///
    /// # Errors
    /// A sentence if its certificates cannot be read, or the name cannot be one.
    pub fn connector(&self, name: &str) -> Result<Settings, String> {
        let authority = name.parse().map_err(|error| format!("{error}"))?;
        let mut connector = Settings::new(&self.server, authority, super::issuers(&self.certificates)?);
        connector.mapper_port = self.mapper_port;
        connector.method = match self.protocol {
            file::Protocol::Dcom => Method::Object,
            file::Protocol::Rpc => Method::Passage,
        };
        connector.timeouts = Timeouts { connect: self.connect, call: self.call, ..Timeouts::default() };
        connector.max_connections = self.max_connections;
        Ok(connector)
    }
}

impl Connector {
    /// Nothing is connected yet.
    ///
    /// # Errors
    /// What cannot be read.
    pub(super) fn open(name: &str, settings: &AdcsSettings) -> Result<Self, String> {
        let connector = settings.connector(name)?;
        let issuers = connector.issuers.clone();
        let own = match &settings.account {
            None => None,
            Some(account) => {
                let gss = Gss::load().map_err(|error| error.to_string())?;
                let credential = gss.service(&account.keytab, &account.principal);
                let credential = credential.map_err(|error| format!("{}: {error}", account.principal))?;
                Some(Identity::new(&account.principal, credential))
            }
        };
        let agent = settings.agent.as_ref().map(|(certificate, key)| Agent::load(certificate, key));
        let agent = agent.transpose()?;
        Ok(Self { adcs: Adcs::new(connector), issuers, own, agent })
    }

    /// The certificates that the CA signs with, DER; the first is told to clients.
    pub(super) fn issuers(&self) -> &[Vec<u8>] {
        &self.issuers
    }

    /// This service itself.
    ///
    /// # Errors
    /// [`NotSent::Identity`] without an account; the configuration lets no endpoint need one then.
    pub(super) fn own(&self) -> Result<&Identity, NotSent> {
        self.own.as_ref().ok_or_else(|| NotSent::Identity("no account is configured for the CA".to_owned()))
    }

    /// Sends a request, once.
    ///
    /// # Errors
    /// [`NotSent`].
    pub(super) async fn send(
        &self,
        identity: &Identity,
        recorded: &RecordedSubmission,
    ) -> Result<Outcome, NotSent> {
        let (on_behalf, request) = match recorded.identity() {
            IdentityMode::RenewOnBehalf => (true, recorded.request().to_vec()),
            IdentityMode::Delegate => (false, recorded.request().to_vec()),
            IdentityMode::RegistrationAuthority => {
                let agent = self.agent.as_ref();
                let agent = agent.ok_or_else(|| NotSent::Identity("no agent is configured".to_owned()))?;
                (false, agent.countersign(recorded)?)
            }
        };
        let submission = Submission {
            request,
            flags: RequestFlags { form: Form::Detect, full_response: true, on_behalf },
            attributes: RequestAttributes::NONE,
            expected: super::expected(recorded.expected()),
        };
        outcome(self.adcs.submit(identity, &submission).await)
    }

    /// Asks what became of a request that the CA has.
    ///
    /// # Errors
    /// [`NotSent`], also if the answer was lost: asking can be repeated.
    pub(super) async fn ask(
        &self,
        identity: &Identity,
        backend_id: u32,
        wanted: &forwarding::Expected,
    ) -> Result<Outcome, NotSent> {
        match self.adcs.query(identity, backend_id, true, &super::expected(wanted)).await {
            // That the question was refused says nothing of the request, unless its denial is the reason.
            Ok(Answer::Refused(result)) if result != HResult::ADMIN_DENIED => Err(NotSent::Unreachable(
                format!("the CA does not say what became of request {backend_id}: {result}"),
            )),
            answer => outcome(answer),
        }
    }

    /// The CA's key exchange certificate, DER; `None` if it has none, or cannot be asked for it.
    ///
    /// # Errors
    /// [`NotSent`].
    pub(super) async fn exchange(&self, identity: &Identity) -> Result<Option<Vec<u8>>, NotSent> {
        match self.adcs.exchange_certificate(identity).await {
            Ok(certificate) => Ok(Some(certificate)),
            Err(
                error @ (AdcsError::NotOffered { .. }
                | AdcsError::NotSaid { .. }
                | AdcsError::NotItsOwn { .. }),
            ) => {
                tracing::warn!(%error, "no key exchange certificate");
                Ok(None)
            }
            Err(error) => match failure(error) {
                Ok(_) => Err(NotSent::Unreachable("no answer".to_owned())),
                Err(not_sent) => Err(not_sent),
            },
        }
    }

    /// What became of a request that was sent at `since` or later: of the rows with its key, the one of whoever sent it.
    pub(super) async fn fate(
        &self,
        request: &ForwardedRequest,
        since: UnixTime,
        short_names: &[(String, String)],
    ) -> Fate {
        let Ok(own) = self.own() else { return Fate::Blind("there is no account to look with".to_owned()) };
        let wanted = &request.forwarding.expected;
        let sender = Sender::of(request, own, short_names);
        let rows = match self.adcs.find(own, &wanted.spki, since.0).await {
            Ok(Found::Found(rows)) => rows,
            Ok(Found::NotFound) => return Fate::NotThere,
            Ok(Found::Untold(rows)) => {
                let own = rows.iter().filter(|row| sender.sent(row, wanted)).count();
                return match own {
                    0 => Fate::NotThere,
                    own => Fate::Unclear(format!("the CA has kept no key of {own} requests since then")),
                };
            }
            Ok(Found::NotPermitted) => {
                return Fate::Blind("the account may not read the CA's database".to_owned());
            }
            Ok(Found::TooMany { looked_through }) => {
                return Fate::Unclear(format!("more than {looked_through} requests have come since then"));
            }
            Err(error) => return Fate::Blind(error.to_string()),
        };
        // One of somebody else with this key is not ours; but whether ours is there, it leaves open.
        let (ours, others): (Vec<_>, Vec<_>) = rows.iter().partition(|row| sender.sent(row, wanted));
        for other in others {
            tracing::warn!(
                request.id = request.summary.id.number(),
                at_the_ca = other.id,
                requester = other.requester,
                template = other.template,
                "the CA has a request with the same key, of somebody else or of another template, which is not taken for it"
            );
        }
        let [row] = ours.as_slice() else {
            let (ours, all) = (ours.len(), rows.len());
            return Fate::Unclear(format!(
                "the CA has {all} requests with this key, {ours} of them by its sender"
            ));
        };
        match self.ask(own, row.id, wanted).await {
            Ok(outcome) => Fate::Known(outcome),
            Err(error) => Fate::Unclear(error.to_string()),
        }
    }

    /// Gives back what the CA keeps for this service.
    pub(super) async fn close(&self) {
        self.adcs.close().await;
    }
}

/// Who is said to have asked, where the CA has got a request: domain and account.
struct Sender<'a> {
    accounts: Vec<(String, String)>,
    short_names: &'a [(String, String)],
}

impl<'a> Sender<'a> {
    /// The caller; where this service asks for others, itself or the one whom it asks for, as the CA writes it down.
    fn of(request: &ForwardedRequest, own: &Identity, short_names: &'a [(String, String)]) -> Self {
        let caller = request.summary.requester.directory_parts();
        let mut all: Vec<_> =
            caller.map(|(domain, account)| (domain.to_owned(), account)).into_iter().collect();
        match request.forwarding.identity {
            IdentityMode::Delegate => {}
            IdentityMode::RenewOnBehalf | IdentityMode::RegistrationAuthority => {
                let own = own.name().split_once('@');
                all.extend(own.map(|(account, realm)| (realm.to_owned(), account.to_owned())));
            }
        }
        Self { accounts: all, short_names }
    }

    /// Whether a row can be that of the request. What the CA does not tell is no reason against it.
    fn sent(&self, row: &RequestRow, wanted: &forwarding::Expected) -> bool {
        let template = wanted.template_oid.as_ref().map(ToString::to_string);
        let of_template = row.template.is_empty()
            || row.template.eq_ignore_ascii_case(&wanted.template_name)
            || template.is_some_and(|oid| oid == row.template);
        let by = |(domain, account): &(String, String)| match row.requester.split_once('\\') {
            Some((there, name)) => {
                name.to_lowercase() == account.to_lowercase() && self.is_domain(there, domain)
            }
            None => row.requester.eq_ignore_ascii_case(&format!("{account}@{domain}")),
        };
        // Of a caller of no directory the CA's name for it is not known.
        of_template && (row.requester.is_empty() || self.accounts.is_empty() || self.accounts.iter().any(by))
    }

    /// Whether a CA may call a domain so: by its DNS name or its short one, which is the first label unless somebody chose
    /// another when the domain was made.
    fn is_domain(&self, written: &str, domain: &str) -> bool {
        let known = self.short_names.iter().find(|(dns, _)| dns.eq_ignore_ascii_case(domain));
        let short = match known {
            Some((_, short)) => short.clone(),
            // No more than fifteen characters fit into one.
            None => domain.split('.').next().unwrap_or_default().chars().take(15).collect(),
        };
        written.eq_ignore_ascii_case(domain) || written.eq_ignore_ascii_case(&short)
    }
}

fn outcome(answer: Result<Answer, AdcsError>) -> Result<Outcome, NotSent> {
    let denied = |backend_id, hresult: Option<HResult>, response, message| Outcome::Denied {
        backend_id,
        hresult: hresult.map(|result| result.0),
        response,
        message,
    };
    match answer {
        Ok(Answer::Issued { request_id, issued, message: _ }) => Ok(Outcome::Issued {
            backend_id: request_id,
            certificate: issued.certificate,
            response: issued.response,
        }),
        Ok(Answer::Pending { request_id, response, message }) => {
            Ok(Outcome::UnderSubmission { backend_id: request_id, response, message })
        }
        Ok(Answer::Denied { request_id, reason, response, message }) => {
            Ok(denied(Some(request_id), reason, response, message))
        }
        Ok(Answer::Revoked { request_id }) => {
            let message = "the certificate has been revoked".to_owned();
            Ok(denied(Some(request_id), Some(HResult(REVOKED)), Vec::new(), message))
        }
        Ok(Answer::Refused(result)) => Ok(denied(None, Some(result), Vec::new(), result.to_string())),
        Err(error) => failure(error),
    }
}

/// What a failed call means for the request.
fn failure(error: AdcsError) -> Result<Outcome, NotSent> {
    let sentence = error.to_string();
    match error {
        AdcsError::Unknown { .. } => Ok(Outcome::Unknown { why: sentence }),
        AdcsError::Untrusted { request_id, .. } => {
            Ok(Outcome::Untrusted { backend_id: Some(request_id), why: sentence })
        }
        AdcsError::Ticket { error, .. } => Err(NotSent::Ticket { error, sentence }),
        AdcsError::Activation { result: HResult::ACCESS_DENIED, .. } => Err(NotSent::Identity(sentence)),
        AdcsError::Connection { ref error, .. } | AdcsError::CallRefused { ref error, .. }
            if is_access_denied(error) =>
        {
            Err(NotSent::Identity(sentence))
        }
        AdcsError::Unreachable { .. }
        | AdcsError::ConnectTimedOut { .. }
        | AdcsError::NotServed { .. }
        | AdcsError::Connection { .. }
        | AdcsError::Activation { .. }
        | AdcsError::Busy { .. }
        | AdcsError::CallRefused { .. }
        // Answers to other questions.
        | AdcsError::NotOffered { .. }
        | AdcsError::NotSaid { .. }
        | AdcsError::NotDone { .. }
        | AdcsError::NotItsOwn { .. } => Err(NotSent::Unreachable(sentence)),
    }
}

/// The host said that this caller may not.
fn is_access_denied(error: &RpcError) -> bool {
    matches!(
        error,
        RpcError::Fault(fault) | RpcError::UnverifiedFault(fault) if [FaultStatus::ACCESS_DENIED, FaultStatus::E_ACCESS_DENIED].contains(&fault.status)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(requester: &str, template: &str) -> RequestRow {
        RequestRow {
            id: 11,
            requester: requester.to_owned(),
            state: None,
            status: None,
            message: String::new(),
            template: template.to_owned(),
            serial: String::new(),
            submitted: None,
            resolved: None,
        }
    }

    #[test]
    fn row_is_the_requests_if_sender_and_template_are() {
        let wanted = forwarding::Expected {
            spki: Vec::new(),
            template_name: "User".to_owned(),
            template_oid: "1.3.6.1.4.1.311.21.8.1".parse().ok(),
            sid: forwarding::ExpectedSid::NotCompared,
            names: forwarding::ExpectedNames::NotCompared,
        };
        let pair = |(domain, name): (&str, &str)| (domain.to_owned(), name.to_owned());
        let accounts = [("corp.test", "alice"), ("CORP.TEST", "svc-ces")].map(pair).to_vec();
        let other = [pair(("corp.test", "CONTOSO"))];
        for (requester, template, by_first_label, by_short_name) in [
            ("CORP\\alice", "User", true, false),
            ("CONTOSO\\Alice", "user", false, true),
            ("corp.test\\alice", "1.3.6.1.4.1.311.21.8.1", true, true),
            ("alice@CORP.TEST", "User", true, true),
            ("CORP\\svc-ces", "User", true, false),
            ("", "", true, true),
            ("CORP\\bob", "User", false, false),
            ("PARTNER\\alice", "User", false, false),
            ("alice", "User", false, false),
            ("corp.test\\alice", "Machine", false, false),
            ("corp.test\\alice", "1.3.6.1.4.1.311.21.8.2", false, false),
        ] {
            for (short_names, expected) in [(&[][..], by_first_label), (&other[..], by_short_name)] {
                let sender = Sender { accounts: accounts.clone(), short_names };
                let row = row(requester, template);
                assert_eq!(sender.sent(&row, &wanted), expected, "{requester} {template} {short_names:?}");
            }
        }
        // Nothing is known of a caller of no directory.
        let sender = Sender { accounts: Vec::new(), short_names: &[] };
        assert!(sender.sent(&row("CORP\\bob", "User"), &wanted));
    }
}
