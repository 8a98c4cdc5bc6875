//! Kerberos: a ticket in the header of each message, bound to the TLS connection that carries it.
//!
//! The token goes with the first message, without waiting to be asked for it: a service that asks first with 401 has
//! then read the message once in vain. It is bound to the certificate that the server showed (`tls-server-end-point`,
//! RFC 5929), so nobody in between can use it elsewhere, and made anew for each message, since services remember used
//! ones. The service proves in its answer that it could read the ticket (RFC 4559, mutual authentication); an answer
//! without that proof is believed only if it is an error, which grants nothing.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::header::{HeaderValue, WWW_AUTHENTICATE};
use http::{HeaderMap, Response};
use muster_gss::{
    ChannelBinding, Credential, Framing, Gss, InitiateError, Initiator, InitiatorSettings, KeytabError,
    Missing, Step, read_keytab,
};
use rustls_pki_types::CertificateDer;
use thiserror::Error;
use tokio::time::timeout;

pub use muster_gss::Login;

use crate::transport::NotSent;

/// Something to get tickets with.
#[derive(Clone)]
pub struct Kerberos {
    credential: Credential,
    name: String,
}

/// Why there is no Kerberos.
#[derive(Debug, Error)]
pub enum KerberosError {
    /// The library is not installed.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// There are no tickets, or there is no key.
    #[error(transparent)]
    Credential(#[from] InitiateError),
    /// The keytab cannot be read.
    #[error("{}: {error}", .file.display())]
    Keytab {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        error: KeytabError,
    },
    /// The keytab is empty.
    #[error("{} holds no key", .0.display())]
    NoKey(PathBuf),
}

impl KerberosError {
    /// What to do about it.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Missing(_) => "install it, or use another kind of sign-in",
            Self::Credential(_) => "get a ticket with kinit, or name a keytab with --keytab and --principal",
            Self::Keytab { .. } | Self::NoKey(_) => {
                "name a keytab that can be read, such as /etc/krb5.keytab for root"
            }
        }
    }
}

/// The machine's keys.
pub const MACHINE_KEYTAB: &str = "/etc/krb5.keytab";

impl Kerberos {
    /// Loads the library and opens the tickets or the keytab. Nobody is asked yet.
    ///
    /// # Errors
    /// [`KerberosError`].
    pub fn open(login: &Login) -> Result<Self, KerberosError> {
        let credential = Gss::load()?.credential(login)?;
        // Policies are kept by it: who the caller is, as far as that is known without asking.
        let name = match login {
            Login::DefaultCache => "default".to_owned(),
            Login::Cache(cache) => cache.clone(),
            Login::Keytab { principal, .. } | Login::Password { principal, .. } => principal.clone(),
        };
        Ok(Self { credential, name })
    }

    /// With a credential that is there already, such as one that a service acts for a caller with.
    #[must_use]
    pub fn with(credential: Credential, name: &str) -> Self {
        Self { credential, name: name.to_owned() }
    }

    /// A name for the caller.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Header and proof to come for one message to a host.
    pub(crate) async fn prove(
        &self,
        host: &str,
        certificate: Option<&CertificateDer<'_>>,
        patience: Duration,
    ) -> Result<(HeaderValue, Proof), NotSent> {
        let no_ticket = |error| NotSent::Ticket { host: host.to_owned(), error };
        let binding = certificate.map(|der| ChannelBinding::tls_server_end_point(der)).transpose();
        let settings = InitiatorSettings {
            class: "HTTP".to_owned(),
            host: host.to_owned(),
            binding: binding.map_err(NotSent::Binding)?,
            mutual: true,
            sealing: false,
            framing: Framing::Negotiate,
        };
        let credential = self.credential.clone();
        // It may ask the KDC.
        let asked = tokio::task::spawn_blocking(move || {
            let mut initiator = credential.initiator(settings)?;
            initiator.step(None).map(|step| (initiator, step))
        });
        let kdc = |what: String| no_ticket(InitiateError::KdcUnreachable(what));
        let (initiator, step) = timeout(patience, asked)
            .await
            .map_err(|_| kdc(format!("no answer within {} s", patience.as_secs())))?
            .map_err(|error| kdc(error.to_string()))?
            .map_err(no_ticket)?;
        let (token, initiator) = match step {
            Step::Continue(token) => (token, Some(initiator)),
            Step::Done(Some(token)) => (token, None),
            Step::Done(None) => return Err(no_ticket(InitiateError::OutOfOrder)),
        };
        let mut header = HeaderValue::try_from(format!("Negotiate {}", BASE64.encode(token)))
            .map_err(|error| NotSent::Request(error.into()))?;
        header.set_sensitive(true);
        Ok((header, Proof { initiator }))
    }
}

impl fmt::Debug for Kerberos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Kerberos").field(&self.name).finish()
    }
}

/// What the service has yet to prove.
pub(crate) struct Proof {
    initiator: Option<Initiator>,
}

impl Proof {
    /// Checks the proof in an answer.
    pub(crate) fn check<T>(self, response: &Response<T>) -> Result<(), InitiateError> {
        let Some(mut initiator) = self.initiator else { return Ok(()) };
        // Whoever turns the ticket away has nothing to prove.
        if response.status().is_client_error() {
            return Ok(());
        }
        match negotiate(response.headers()) {
            Some(Some(token)) => match initiator.step(Some(&token))? {
                Step::Done(None) => Ok(()),
                Step::Done(Some(_)) | Step::Continue(_) => Err(InitiateError::OtherMechanism),
            },
            Some(None) => Err(InitiateError::Malformed("it is not base64".to_owned())),
            None if response.status().is_success() => {
                Err(InitiateError::NotProven("the answer has no token".to_owned()))
            }
            None => Ok(()),
        }
    }
}

/// The token of `WWW-Authenticate: Negotiate`; the inner none is one that is not base64.
fn negotiate(headers: &HeaderMap) -> Option<Option<Vec<u8>>> {
    headers.get_all(WWW_AUTHENTICATE).iter().find_map(|value| {
        let (scheme, token) = value.to_str().ok()?.trim().split_once(' ')?;
        scheme.eq_ignore_ascii_case("Negotiate").then(|| BASE64.decode(token.trim()).ok())
    })
}

/// Whose key to use of a keytab: the machine's, `HOST$@REALM`, otherwise the first one.
///
/// # Errors
/// [`KerberosError::Keytab`] or [`KerberosError::NoKey`].
pub fn principal_of(keytab: &Path) -> Result<String, KerberosError> {
    let entries =
        read_keytab(keytab).map_err(|error| KerberosError::Keytab { file: keytab.to_owned(), error })?;
    let entry = entries.iter().find(|entry| entry.name.ends_with('$')).or(entries.first());
    let entry = entry.ok_or_else(|| KerberosError::NoKey(keytab.to_owned()))?;
    Ok(format!("{}@{}", entry.name, entry.realm))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(values: &[&'static str]) -> Option<Option<Vec<u8>>> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(value));
        }
        negotiate(&headers)
    }

    #[test]
    fn token_is_found_among_other_schemes() {
        assert_eq!(header(&[]), None);
        assert_eq!(header(&["Negotiate", "Basic realm=x"]), None);
        assert_eq!(header(&["Basic realm=x", "negotiate AQI="]), Some(Some(vec![1, 2])));
        assert_eq!(header(&["Negotiate ~"]), Some(None));
    }
}
