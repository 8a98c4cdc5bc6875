//! Which domain controllers there are: those that the configuration names, or else those that DNS names.

use aws_lc_rs::rand;

use super::dns::{self, Srv};
use super::error::LdapError;
use super::settings::{Access, LdapSettings, Server, TlsStart};

/// More controllers than are worth trying.
const MAX_SERVERS: usize = 32;

/// The domain controllers in the order in which they are tried.
///
/// # Errors
/// [`LdapError::NoServer`].
pub async fn servers(settings: &LdapSettings) -> Result<Vec<Server>, LdapError> {
    if !settings.servers.is_empty() {
        return Ok(settings.servers.clone());
    }
    let name = format!("_ldap._tcp.dc._msdcs.{}", settings.domain);
    let none = |cause: String| LdapError::NoServer(format!("{name}: {cause}"));
    let asked = tokio::time::timeout(settings.connect_timeout, dns::srv(&name)).await;
    let records = asked.map_err(|_elapsed| none("no name server answers in time".to_owned()))?;
    let mut records = records.map_err(|error| none(error.to_string()))?;
    order(&mut records);
    // LDAPS has no records of its own; the usual port goes without saying.
    let port = |srv: &Srv| match settings.access {
        Access::Tls { start: TlsStart::AtOnce, .. } => None,
        Access::Tls { start: TlsStart::OnRequest, .. } | Access::Sealed(_) => {
            Some(srv.port).filter(|port| *port != settings.access.port())
        }
    };
    let found: Vec<Server> = records
        .iter()
        .filter_map(|srv| Some(Server { port: port(srv), ..srv.target.parse().ok()? }))
        .take(MAX_SERVERS)
        .collect();
    if found.is_empty() { Err(none("names no server".to_owned())) } else { Ok(found) }
}

/// Lowest priority first; among equals by chance, those of greater weight rather earlier (RFC 2782).
fn order(records: &mut [Srv]) {
    records.sort_by_cached_key(|srv| {
        let mut octets = [0; 4];
        // Without chance they come in the order of the answer.
        let _failed = rand::fill(&mut octets);
        (srv.priority, u32::from_be_bytes(octets) / u32::from(srv.weight.max(1)))
    });
}
