//! In whose name an upstream is asked.

use std::path::PathBuf;

use muster_client::kerberos::Kerberos;
use muster_client::session::CredentialSet;
use muster_client::tls::ClientIdentity;
use muster_client::{ClientAuthentication, Password, UsernameToken};
use muster_gss::Credential;

use crate::error::RelayError;

/// In whose name an upstream is asked. The upstream's address must take this kind of sign-in.
#[derive(Clone, Debug)]
pub enum UpstreamIdentity {
    /// User name and password, passed on as the caller gave them. `Debug` hides the password; its memory is wiped, also
    /// that of the message that it is sent in.
    Password {
        /// As the upstream knows it: `DOMAIN\user`, `user@realm` or a bare name.
        name: String,
        /// The password.
        secret: Password,
    },
    /// A ticket for `HTTP/HOST`, with the host of the upstream's URL, bound to the certificate that the upstream shows:
    /// with the credential of a caller whom this service acts for (S4U2Proxy), or with a service's own key.
    Kerberos {
        /// Whose it is, for the log: `alice@CORP.EXAMPLE`.
        name: String,
        /// What to get tickets with.
        credential: Credential,
    },
    /// A TLS client certificate of this service's own. The files are read for each message, so that a renewed certificate
    /// is used at once. An upstream that takes it for renewals alone is the one that it is for.
    ClientCertificate {
        /// PEM file, the certificate first and then its chain.
        certificate: PathBuf,
        /// PEM file with the private key.
        key: PathBuf,
    },
}

impl UpstreamIdentity {
    /// For the log.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Password { name, .. } | Self::Kerberos { name, .. } => name.clone(),
            Self::ClientCertificate { certificate, .. } => certificate.display().to_string(),
        }
    }

    /// What the client shows in the message, and in which way the upstream takes it.
    pub(crate) fn credentials(&self) -> (ClientAuthentication, CredentialSet) {
        let none = CredentialSet::default();
        match self {
            Self::Password { name, secret } => {
                let token = UsernameToken { username: name.clone(), password: secret.clone() };
                (ClientAuthentication::USERNAME_PASSWORD, CredentialSet { username: Some(token), ..none })
            }
            Self::Kerberos { name, credential } => {
                let kerberos = Kerberos::with(credential.clone(), name);
                (ClientAuthentication::KERBEROS, CredentialSet { kerberos: Some(kerberos), ..none })
            }
            Self::ClientCertificate { .. } => (ClientAuthentication::CERTIFICATE, none),
        }
    }

    /// What the client shows in the handshake.
    pub(crate) async fn certificate(&self) -> Result<Option<ClientIdentity>, RelayError> {
        let Self::ClientCertificate { certificate, key } = self else { return Ok(None) };
        let (certificate, key) = (certificate.clone(), key.clone());
        let read = tokio::task::spawn_blocking(move || ClientIdentity::from_files(&certificate, &key)).await;
        let read = read.map_err(|error| RelayError::Stopped(error.to_string()))?;
        read.map(Some).map_err(RelayError::Identity)
    }
}
