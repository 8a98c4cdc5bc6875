//! Requests made before the clock starts, and answers taken apart while it runs.

use std::collections::HashSet;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use der::{Decode, Encode};
use muster_client::key::{KeyType, PrivateKey};
use muster_client::{Random, SystemRandom};
use muster_proto::soap::xml::Limits;
use muster_proto::soap::{Credentials, Envelope, Password, RequestHeader, Timestamp, UsernameToken};
use muster_proto::wcce::{Pkcs10Builder, TemplateSelector};
use muster_proto::wstep::{
    BinarySecurityToken, Operation, RequestSecurityToken, RequestSecurityTokenResponse, ValueType,
};
use muster_proto::xcep::{Client, GetPolicies, GetPoliciesResponse};
use x509_cert::Certificate;

use crate::kerberos::Tickets;
use crate::wire;

const SOAP: &str = "application/soap+xml; charset=utf-8";

/// How a message says whose it is.
#[derive(Clone)]
pub(crate) enum Login {
    /// By a name and a password inside of it.
    Password {
        /// Account.
        user: String,
        /// Its password.
        password: String,
    },
    /// Not at all: by the certificate of the connection.
    Certificate,
    /// By a ticket in its head, each with an authenticator of its own.
    Ticket(Tickets),
}

/// A service, and who asks it.
#[derive(Clone)]
pub(crate) struct Service {
    /// Whole URL.
    pub(crate) url: String,
    /// Who asks.
    pub(crate) login: Login,
}

impl Service {
    fn header(&self, random: &SystemRandom) -> RequestHeader {
        let credentials = match &self.login {
            Login::Password { user, password } => Some(Credentials {
                token: UsernameToken { username: user.clone(), password: Password::new(password.clone()) },
                timestamp: Timestamp { created: None, expires: None },
            }),
            Login::Certificate | Login::Ticket(_) => None,
        };
        RequestHeader { message_id: random.message_id(), to: self.url.clone(), credentials }
    }

    fn path(&self) -> &str {
        let after = self.url.split_once("://").map_or("", |(_, rest)| rest);
        after.find('/').and_then(|at| after.get(at..)).unwrap_or("/")
    }

    fn post(&self, body: &str) -> Result<Vec<u8>> {
        let ticket = match &self.login {
            Login::Password { .. } | Login::Certificate => None,
            Login::Ticket(tickets) => Some(format!("Negotiate {}", STANDARD.encode(tickets.token()?))),
        };
        Ok(wire::request("POST", self.path(), SOAP, ticket.as_deref(), body))
    }

    /// A request that is no message; the service answers that it is there.
    pub(crate) fn probe(&self) -> Vec<u8> {
        wire::request("GET", self.path(), "text/plain", None, "")
    }

    /// An Issue message around a request; renewals, too.
    pub(crate) fn issue(&self, request: Vec<u8>, random: &SystemRandom) -> Result<Vec<u8>> {
        let request = RequestSecurityToken {
            preferred_language: None,
            operation: Operation::Issue {
                token: BinarySecurityToken { value_type: ValueType::Pkcs10, bytes: request },
                request_id: None,
            },
            additional_context: Vec::new(),
        };
        self.post(&request.to_envelope(&self.header(random)))
    }

    /// A GetPolicies message.
    pub(crate) fn get_policies(&self) -> Result<Vec<u8>> {
        let client = Client { last_update: None, preferred_language: None };
        let message = GetPolicies { client, request_filter: None };
        self.post(&message.to_envelope(&self.header(&SystemRandom::new())))
    }
}

/// Makes requests for one P-256 key. A signature of ECDSA holds a random number, so no two requests are the same.
pub(crate) struct Requester {
    key: PrivateKey,
    random: SystemRandom,
}

impl Requester {
    pub(crate) fn new() -> Result<Self> {
        Self::of(KeyType::P256)
    }

    /// With another kind of key. A signature of RSA holds nothing random; but for the key, requests are the same.
    pub(crate) fn of(kind: KeyType) -> Result<Self> {
        Ok(Self { key: PrivateKey::generate(kind)?, random: SystemRandom::new() })
    }

    /// The key, to show a certificate with.
    pub(crate) const fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// SubjectPublicKeyInfo, DER.
    pub(crate) fn public_key(&self) -> &[u8] {
        self.key.public().spki_der()
    }

    /// A PKCS#10 for this template.
    pub(crate) fn pkcs10(&self, template: &str) -> Result<Vec<u8>> {
        let template = TemplateSelector::Name(template.to_owned());
        let builder = Pkcs10Builder {
            template: Some(&template),
            os_version: Some("10.0.22631.2"),
            ..Pkcs10Builder::new(self.public_key())
        };
        Ok(builder.build(&self.key)?)
    }

    /// So many Issue messages, ready to be sent.
    pub(crate) fn issue(&self, service: &Service, template: &str, count: usize) -> Result<Vec<Vec<u8>>> {
        (0..count).map(|_| service.issue(self.pkcs10(template)?, &self.random)).collect()
    }
}

/// Takes the certificate out of an answer.
pub(crate) fn certificate(answer: &[u8]) -> Result<Vec<u8>> {
    let envelope = Envelope::parse(answer, &Limits::RESPONSE).map_err(|bad| bad.error)?;
    match RequestSecurityTokenResponse::parse(&envelope.body)? {
        RequestSecurityTokenResponse::Issued(issued) => {
            ensure!(!issued.full_response.is_empty(), "an answer without CMC full response");
            Ok(issued.certificate)
        }
        other @ (RequestSecurityTokenResponse::Pending(_)
        | RequestSecurityTokenResponse::KeyExchangeToken(_)) => {
            bail!("no certificate in the answer: {other:?}")
        }
    }
}

/// How many templates a policy answer offers.
pub(crate) fn templates(answer: &[u8]) -> Result<usize> {
    let envelope = Envelope::parse(answer, &Limits::RESPONSE).map_err(|bad| bad.error)?;
    Ok(GetPoliciesResponse::parse(&envelope.body)?.response.policies.len())
}

/// Counts certificates: each must be for the key, and none may have a serial number that was there before.
pub(crate) struct Counter<'a> {
    public_key: &'a [u8],
    serials: HashSet<Vec<u8>>,
}

impl<'a> Counter<'a> {
    pub(crate) fn new(public_key: &'a [u8]) -> Self {
        Self { public_key, serials: HashSet::new() }
    }

    /// Counts one certificate, DER.
    pub(crate) fn add(&mut self, certificate: &[u8]) -> Result<()> {
        let certificate = Certificate::from_der(certificate).context("not a certificate")?;
        let tbs = certificate.tbs_certificate();
        let public_key = tbs.subject_public_key_info().to_der()?;
        ensure!(public_key == self.public_key, "a certificate for another key");
        let serial = tbs.serial_number().as_bytes().to_vec();
        ensure!(self.serials.insert(serial), "a serial number came twice");
        Ok(())
    }

    pub(crate) fn count(&self) -> usize {
        self.serials.len()
    }
}
