//! TLS: which certificate the listeners show, and which client certificates they take notes of.
//!
//! A listener that asks for client certificates lets every handshake through whose signature proves that the peer
//! holds the certificate's key. Whether the certificate is *accepted* is decided by `auth::certificate`, request by
//! request, against the store: so a certificate revoked a second ago is refused on a connection that is open, and the
//! peer reads a sentence instead of a TLS alert. What a handshake accepts is therefore evidence, never permission.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::DigitallySignedStruct;
use rustls::DistinguishedName;
use rustls::SignatureScheme;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

/// The certificate could not be loaded or used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read as PEM.
    #[error("cannot read {} as PEM: {problem}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// The reader's reason.
        problem: String,
    },
    /// Everybody on the machine can read the key.
    #[error("others can read the private key {} (mode {mode:o}): run chmod o-rwx on it", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Certificate and key do not fit together or use an algorithm that TLS does not.
    #[error("certificate and key cannot be used for TLS: {0}")]
    Unusable(#[from] rustls::Error),
}

/// The certificate that all listeners show; exchanged while they run.
#[derive(Debug)]
pub struct ServerCertificate(ArcSwap<CertifiedKey>);

impl ServerCertificate {
    /// Loads certificate chain and key from PEM files.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(certificate: &Path, key: &Path) -> Result<Arc<Self>, TlsError> {
        Ok(Arc::new(Self(ArcSwap::from_pointee(read(certificate, key)?))))
    }

    /// Shows what the files hold now. On failure the old certificate stays.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn reload(&self, certificate: &Path, key: &Path) -> Result<(), TlsError> {
        self.0.store(Arc::new(read(certificate, key)?));
        Ok(())
    }
}

/// The certificate that a handshake showed.
#[derive(Clone, Debug)]
pub struct Shown(Arc<CertifiedKey>);

impl Shown {
    /// The leaf, DER.
    #[must_use]
    pub fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.0.cert.first()
    }
}

impl PartialEq for Shown {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl ServerCertificate {
    /// What a handshake that begins and ends now shows.
    #[must_use]
    pub fn shown(&self) -> Shown {
        Shown(self.0.load_full())
    }
}

impl ResolvesServerCert for ServerCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// Shows nothing, so that every handshake ends with an alert.
#[derive(Debug)]
struct NoCertificate;

impl ResolvesServerCert for NoCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

/// TLS settings under which no handshake succeeds.
///
/// # Errors
/// [`TlsError::Unusable`] if the provider lacks a protocol version.
pub fn closed_config() -> Result<Arc<ServerConfig>, TlsError> {
    listener_config(Arc::new(NoCertificate), false)
}

fn read(certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let pem = |path: &Path, problem: rustls_pki_types::pem::Error| TlsError::Pem {
        path: path.to_owned(),
        problem: problem.to_string(),
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|e| pem(certificate, e))?;
    if chain.is_empty() {
        return Err(pem(certificate, rustls_pki_types::pem::Error::NoItemsFound));
    }
    if let Some(mode) = crate::private::open_to_all(key) {
        return Err(TlsError::Open { path: key.to_owned(), mode });
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|e| pem(key, e))?;
    Ok(CertifiedKey::from_der(chain, private, &provider())?)
}

/// The cryptography of every TLS connection of ours.
#[must_use]
pub fn provider() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

/// The TLS settings of one listener: TLS 1.2 and 1.3, HTTP/1.1 alone.
///
/// # Errors
/// [`TlsError::Unusable`] if the provider lacks a protocol version.
pub fn listener_config(
    certificate: Arc<dyn ResolvesServerCert>,
    ask_for_client_certificate: bool,
) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
    let builder = if ask_for_client_certificate {
        builder.with_client_cert_verifier(Arc::new(PossessionVerifier {
            algorithms: provider.signature_verification_algorithms,
        }))
    } else {
        builder.with_no_client_auth()
    };
    let mut config = builder.with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Verifies that the peer holds the key of the certificate that it shows, and nothing else.
#[derive(Debug)]
struct PossessionVerifier {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for PossessionVerifier {
    fn client_auth_mandatory(&self) -> bool {
        // Without a certificate the peer reads a fault that says so.
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
