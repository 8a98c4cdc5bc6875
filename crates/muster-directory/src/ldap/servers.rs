//! Which domain controllers there are.

use super::error::LdapError;
use super::settings::{LdapSettings, Server};

/// The domain controllers in the order in which they are tried.
///
/// # Errors
/// [`LdapError::NoServer`].
pub async fn servers(settings: &LdapSettings) -> Result<Vec<Server>, LdapError> {
    if settings.servers.is_empty() {
        return Err(LdapError::NoServer(format!("none is configured for {}", settings.domain)));
    }
    Ok(settings.servers.clone())
}
