//! What an authority says of itself, and whether it can be asked at all.

use muster_rpc::Interface;
use muster_rpc::client::RpcError;
use muster_rpc::status::HResult;
use muster_rpc::wcce::{self, PropertyId};
use tokio::time::timeout;

use crate::adcs::{Adcs, Identity};
use crate::error::AdcsError;
use crate::reply::check_issuer;
use crate::session::{Session, before};
use crate::settings::Settings;
use crate::wire::connection;

/// `fchain` of `GetCACert` (MS-WCCE 3.2.1.4.2.2): the signing certificate.
const SIGNING: u32 = 0;
/// The certificate for exchange.
const EXCHANGE: u32 = 1;
/// The name of the authority.
const NAME: u32 = 0x6e61_6d65;

/// An authority that can be reached, with the rights of one identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// What its ping returned; `None` over MS-ICPR, which has none: there, that the connection was taken is all.
    pub ping: Option<HResult>,
    /// The name that it has itself.
    pub name: Option<String>,
    /// The templates that it issues from; empty, too, where only `ICertRequestD` is offered, which does not tell.
    pub templates: Vec<OfferedTemplate>,
    /// Its newest signing certificate (DER), which is not trusted for being said here.
    pub certificate: Option<Vec<u8>>,
}

impl Health {
    /// Keeps the value of a property that is shown.
    pub(crate) fn learn(&mut self, property: PropertyId, value: Vec<u8>) {
        match property {
            PropertyId::Name => self.name = Some(wcce::property_text(&value)),
            PropertyId::Templates => self.templates = templates(&value),
            PropertyId::SigningCertificate => self.certificate = Some(value),
            PropertyId::SanitizedName
            | PropertyId::Kind
            | PropertyId::Chain
            | PropertyId::ExchangeCertificate
            | PropertyId::DnsName
            | PropertyId::SigningCertificateCount
            | PropertyId::ExchangeCertificateCount
            | PropertyId::SanitizedShortName => {}
        }
    }
}

/// A template that an authority issues from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedTemplate {
    /// Its name.
    pub name: String,
    /// Its object identifier; empty for those of Windows 2000.
    pub oid: String,
}

/// What can be asked by `GetCAProperty`, or, of an authority that has only `ICertRequestD`, by `GetCACert`.
#[derive(Clone, Copy, Debug)]
enum Question {
    Property(PropertyId, u32),
    Certificate(u32),
}

impl Adcs {
    /// Connects as `identity`, and asks the authority what it is. Nothing is requested, and nothing is kept.
    ///
    /// # Errors
    /// See [`AdcsError`].
    pub async fn health(&self, identity: &Identity) -> Result<Health, AdcsError> {
        let Settings { host, timeouts, .. } = self.settings();
        let limit = timeouts.connect + timeouts.call;
        let asked = timeout(limit, self.ask_for_health(identity)).await;
        asked.map_err(|_| AdcsError::ConnectTimedOut { host: host.clone(), limit })?
    }

    async fn ask_for_health(&self, identity: &Identity) -> Result<Health, AdcsError> {
        let mut session = Session::open(self.settings(), identity).await?;
        let (host, authority) = (&self.settings().host, self.settings().authority.as_str());
        let Some(interface) = session.interface() else { return Ok(Health::default()) };
        let newer = interface == Interface::CertRequest2;
        let opnum = if newer { wcce::PING2 } else { wcce::PING };
        let pinged = session.method(opnum, |version, cause| wcce::ping(version, cause, authority)).await;
        let Some(pinged) = pinged else { return Ok(Health::default()) };
        let pinged = pinged.map_err(|error| before(host, error))?;
        let ping = Some(wcce::parse_pong(&pinged).map_err(|error| connection(host, error))?);
        let mut health = Health { ping, ..Health::default() };
        let name = if newer { Question::Property(PropertyId::Name, 0) } else { Question::Certificate(NAME) };
        health.name = self.ask_about(&mut session, name).await?.ok().map(|value| wcce::property_text(&value));
        let newest = Question::Property(PropertyId::SigningCertificate, u32::MAX);
        let certificate = if newer { newest } else { Question::Certificate(SIGNING) };
        health.certificate = self.ask_about(&mut session, certificate).await?.ok();
        if newer {
            let offered = self.ask_about(&mut session, Question::Property(PropertyId::Templates, 0)).await?;
            if let Ok(value) = offered {
                health.learn(PropertyId::Templates, value);
            }
        }
        session.close().await;
        Ok(health)
    }

    /// The certificate (DER) that keys for the authority are encrypted with (MS-WSTEP `RequestKET`). It is one that the
    /// authority has signed.
    ///
    /// # Errors
    /// [`AdcsError::NotOffered`] over MS-ICPR, which has no call for it; [`AdcsError::NotSaid`] if the authority has none;
    /// [`AdcsError::NotItsOwn`] if it was signed by another; else as for a request that was not sent.
    pub async fn exchange_certificate(&self, identity: &Identity) -> Result<Vec<u8>, AdcsError> {
        const WHAT: &str = "a certificate for the exchange of keys";
        let Settings { host, timeouts, issuers, .. } = self.settings();
        let host = || host.clone();
        let (_permit, mut session) = self.session(identity).await?;
        let question = match session.interface() {
            Some(Interface::CertRequest) => Question::Certificate(EXCHANGE),
            Some(_) => Question::Property(PropertyId::ExchangeCertificate, 0),
            None => {
                self.keep(identity, session);
                return Err(AdcsError::NotOffered { host: host(), what: WHAT, method: "MS-ICPR" });
            }
        };
        let asked = timeout(timeouts.call, self.ask_about(&mut session, question)).await;
        let late = |_| AdcsError::ConnectTimedOut { host: host(), limit: timeouts.call };
        let said = asked.map_err(late)??;
        self.keep(identity, session);
        let said = said.map_err(|result| AdcsError::NotSaid { host: host(), what: WHAT, result })?;
        let problem = |problem| AdcsError::NotItsOwn { host: host(), what: WHAT, problem };
        check_issuer(&said, issuers).map_err(problem)?;
        Ok(said)
    }

    async fn ask_about(
        &self,
        session: &mut Session,
        question: Question,
    ) -> Result<Result<Vec<u8>, HResult>, AdcsError> {
        let (host, authority) = (&self.settings().host, self.settings().authority.as_str());
        let said = match question {
            Question::Property(property, index) => {
                let arguments =
                    |version, cause| wcce::ca_property(version, cause, authority, property, index);
                session.method(wcce::GET_CA_PROPERTY, arguments).await
            }
            Question::Certificate(which) => {
                let arguments = |version, cause| wcce::ca_certificate(version, cause, authority, which);
                session.method(wcce::GET_CA_CERT, arguments).await
            }
        };
        let Some(said) = said else { return Ok(Err(HResult::NOT_IMPLEMENTED)) };
        let said = said.map_err(|error| before(host, error))?;
        wcce::parse_octets(&said).map_err(|error: RpcError| connection(host, error))
    }
}

/// Names and object identifiers, a line each, in turn.
fn templates(value: &[u8]) -> Vec<OfferedTemplate> {
    let lines = wcce::property_lines(value);
    let (pairs, _) = lines.as_chunks::<2>();
    pairs.iter().map(|[name, oid]| OfferedTemplate { name: name.clone(), oid: oid.clone() }).collect()
}
