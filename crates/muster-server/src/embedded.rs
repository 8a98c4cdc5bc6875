//! The CA of this installation as a running node has it: opened once, its own certificates and its revocation list kept
//! fresh.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use muster_ca::{Addresses, Authority, Passphrase};
use muster_core::{Clock, UnixTime};
use muster_store::Store;

use crate::catalog::Catalog;
use crate::config::{EmbeddedSettings, Settings, TlsSettings};
use crate::enroll::Enrollment;
use crate::identities::Identities;
use crate::own_certificate;
use crate::publish::Publisher;
use crate::service::StartError;

/// The embedded CA of a node.
pub(crate) struct Embedded {
    /// The way of every request to it.
    pub(crate) enrollment: Arc<Enrollment>,
    /// Its revocation list.
    pub(crate) publisher: Arc<Publisher>,
    settings: EmbeddedSettings,
}

impl Embedded {
    /// Opens it, and makes what is due: its key exchange certificate and its revocation list.
    ///
    /// # Errors
    /// [`StartError`].
    pub(crate) async fn start(
        settings: &EmbeddedSettings,
        store: &Store,
        identities: &Arc<Identities>,
        catalog: Catalog,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let authority = Arc::new(open(settings, &**clock)?);
        let enrollment = Arc::new(Enrollment {
            store: store.clone(),
            authority: Arc::clone(&authority),
            identities: Arc::clone(identities),
            catalog,
            exchange: ArcSwapOption::empty(),
            clock: Arc::clone(clock),
        });
        let publisher = Publisher::new(store.clone(), authority, settings.crl_days, Arc::clone(clock));
        let embedded = Self { enrollment, publisher: Arc::new(publisher), settings: settings.clone() };
        embedded.refresh_exchange().await.map_err(StartError::OwnCertificate)?;
        embedded.publisher.publish_if_due().await?;
        Ok(embedded)
    }

    /// Makes what is due by now. What fails is tried again the next time.
    pub(crate) async fn refresh(&self, settings: &Settings) {
        if let Err(error) = self.publisher.publish_if_due().await {
            tracing::error!(%error, "no revocation list could be made");
        }
        if let TlsSettings::Embedded { names } = &settings.tls
            && let Err(error) = own_certificate::ensure(&self.enrollment, &settings.data_dir, names).await
        {
            tracing::error!(error, "the services' own certificate could not be renewed");
        }
        if let Err(error) = self.refresh_exchange().await {
            tracing::error!(error, "the CA's key exchange certificate could not be renewed");
        }
    }

    /// The services' own certificate from this CA: files of certificate and key.
    ///
    /// # Errors
    /// [`StartError::OwnCertificate`].
    pub(crate) async fn own_certificate(
        &self,
        data_dir: &Path,
        names: &[String],
    ) -> Result<(PathBuf, PathBuf), StartError> {
        own_certificate::ensure(&self.enrollment, data_dir, names).await.map_err(StartError::OwnCertificate)
    }

    async fn refresh_exchange(&self) -> Result<(), String> {
        let passphrase = read_passphrase(&self.settings.passphrase_file).map_err(|e| e.to_string())?;
        let directory = &self.settings.directory;
        let der = own_certificate::ensure_exchange(&self.enrollment, directory, &passphrase).await?;
        self.enrollment.exchange.store(Some(Arc::new(der)));
        Ok(())
    }
}

/// Opens the embedded CA that the settings name.
///
/// # Errors
/// [`StartError`].
pub fn open_authority(settings: &Settings, clock: &dyn Clock) -> Result<Authority, StartError> {
    open(settings.embedded()?, clock)
}

fn open(settings: &EmbeddedSettings, clock: &dyn Clock) -> Result<Authority, StartError> {
    let passphrase = read_passphrase(&settings.passphrase_file)?;
    let publication = &settings.publication;
    let addresses = Addresses::new(&publication.crl_url(), &publication.ca_url())?;
    let authority = Authority::open(&settings.directory, addresses, &passphrase)?;
    let name = settings.name.to_string();
    if authority.name() != name {
        return Err(StartError::CaName { found: authority.name().to_owned(), configured: name });
    }
    let now = clock.now();
    if now > authority.not_after() || now < authority.not_before() {
        return Err(StartError::CaExpired { name, not_after: authority.not_after() });
    }
    Ok(authority)
}

/// When the certificate of the embedded CA ends; its key is not needed to know.
///
/// # Errors
/// A sentence if the file cannot be read, or there is no such CA.
pub fn ca_not_after(settings: &Settings) -> Result<UnixTime, String> {
    let embedded = settings.embedded().map_err(|error| error.to_string())?;
    own_certificate::end_of_file(&embedded.directory.join(muster_ca::CERTIFICATE_FILE))
}

fn read_passphrase(path: &Path) -> Result<Passphrase, StartError> {
    let wrong = |problem: String| StartError::Passphrase { path: path.to_owned(), problem };
    let metadata = std::fs::metadata(path).map_err(|e| wrong(e.to_string()))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = metadata.permissions().mode() & 0o777;
        // systemd lets the service's user in by an access list, which shows as permission of the group; nobody else gets
        // into the folder.
        let credential = std::env::var_os("CREDENTIALS_DIRECTORY").is_some_and(|dir| path.starts_with(dir));
        let others = if credential { 0o037 } else { 0o077 };
        if mode & others != 0 {
            return Err(wrong(format!("others can read it (mode {mode:o}): run chmod 600 on it")));
        }
    }
    let text = zeroize::Zeroizing::new(std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?);
    let line = text.trim_end_matches(['\r', '\n']);
    Passphrase::new(line.to_owned()).ok_or_else(|| wrong("it is empty".to_owned()))
}
