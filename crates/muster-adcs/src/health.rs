//! What an authority says of itself, and whether it can be asked at all.

use muster_rpc::client::RpcError;
use muster_rpc::status::HResult;
use muster_rpc::wcce::{self, PropertyId};
use tokio::time::timeout;

use crate::adcs::{Adcs, Identity};
use crate::error::AdcsError;
use crate::session::{Session, before};
use crate::settings::Settings;
use crate::wire::connection;

/// An authority that can be reached, with the rights of one identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// What its `Ping2` returned; `None` over MS-ICPR, which has none: there, that the connection was taken is all.
    pub ping: Option<HResult>,
    /// The name that it has itself.
    pub name: Option<String>,
    /// The templates that it issues from.
    pub templates: Vec<OfferedTemplate>,
    /// Its newest signing certificate (DER), which is not trusted for being said here.
    pub certificate: Option<Vec<u8>>,
}

/// A template that an authority issues from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedTemplate {
    /// Its name.
    pub name: String,
    /// Its object identifier; empty for those of Windows 2000.
    pub oid: String,
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
        let results = |error: RpcError| connection(host, error);
        let pinged =
            session.method(wcce::PING2, |version, cause| wcce::ping(version, cause, authority)).await;
        let Some(pinged) = pinged else { return Ok(Health::default()) };
        let pinged = pinged.map_err(|error| before(host, error))?;
        let ping = Some(wcce::parse_pong(&pinged).map_err(results)?);
        let mut health = Health { ping, ..Health::default() };
        for (property, index) in
            [(PropertyId::Name, 0), (PropertyId::Templates, 0), (PropertyId::SigningCertificate, u32::MAX)]
        {
            let asked = session.method(wcce::GET_CA_PROPERTY, |version, cause| {
                wcce::ca_property(version, cause, authority, property, index)
            });
            let Some(said) = asked.await else { break };
            let said = said.map_err(|error| before(host, error))?;
            let Ok(value) = wcce::parse_octets(&said).map_err(results)? else { continue };
            match property {
                PropertyId::Name => health.name = Some(wcce::property_text(&value)),
                PropertyId::Templates => health.templates = templates(&value),
                PropertyId::SigningCertificate => health.certificate = Some(value),
                PropertyId::SanitizedName
                | PropertyId::Kind
                | PropertyId::Chain
                | PropertyId::ExchangeCertificate
                | PropertyId::DnsName => {}
            }
        }
        Ok(health)
    }
}

/// Names and object identifiers, a line each, in turn.
fn templates(value: &[u8]) -> Vec<OfferedTemplate> {
    let lines = wcce::property_lines(value);
    let (pairs, _) = lines.as_chunks::<2>();
    pairs.iter().map(|[name, oid]| OfferedTemplate { name: name.clone(), oid: oid.clone() }).collect()
}
