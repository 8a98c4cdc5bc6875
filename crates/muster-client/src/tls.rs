//! Whom the client trusts and who it says it is, as far as TLS goes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;

/// Which certification authorities may have issued a server's certificate.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// PEM files whose certificates are trusted.
    pub files: Vec<PathBuf>,
    /// Certificates that are trusted.
    pub certificates: Vec<CertificateDer<'static>>,
    /// Trust nothing but these; otherwise they come on top of the system's.
    pub only: bool,
}

/// Certificate and key for TLS client authentication.
#[derive(Debug)]
pub struct ClientIdentity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// Why TLS could not be set up.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read or holds no PEM.
    #[error("{}: {error}", .file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What the reader says.
        error: pem::Error,
    },
    /// A file without certificates.
    #[error("{} holds no certificate", .0.display())]
    NoCertificate(PathBuf),
    /// A certificate cannot be used as a trust anchor.
    #[error("a certificate cannot be trusted as certification authority: {0}")]
    Anchor(rustls::Error),
    /// Neither the system nor an option names a certification authority.
    #[error("no trusted certification authority was found")]
    NoRoots,
    /// Certificate and private key do not fit each other, or the key cannot be used.
    #[error("the TLS client certificate cannot be used with its key: {0}")]
    Identity(rustls::Error),
    /// The TLS library cannot be set up.
    #[error("TLS: {0}")]
    Setup(rustls::Error),
}

impl TlsError {
    /// What to do about it.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::File { .. } => "give a readable PEM file",
            Self::NoCertificate(_) => "give a PEM file with at least one CERTIFICATE block",
            Self::Anchor(_) => "give the certificate of the certification authority itself",
            Self::NoRoots => {
                "install the system's CA certificates (package ca-certificates) or name a CA file"
            }
            Self::Identity(_) => "give the private key that belongs to the certificate",
            Self::Setup(_) => "this is a defect; please report it",
        }
    }
}

impl ClientIdentity {
    /// Reads certificate (with its chain, end-entity first) and key from PEM files.
    ///
    /// # Errors
    /// [`TlsError`] if one of them cannot be read.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let chain = certificates(certificate)?;
        let key = PrivateKeyDer::from_pem_file(key)
            .map_err(|error| TlsError::File { file: key.to_owned(), error })?;
        Ok(Self { chain, key })
    }

    /// A name that no other certificate has: its SHA-256 in hexadecimal.
    #[must_use]
    pub fn name(&self) -> String {
        let leaf: &[u8] = self.chain.first().map_or(&[], |leaf| leaf);
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, leaf);
        hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// From parts in memory, end-entity certificate first.
    #[must_use]
    pub const fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Self {
        Self { chain, key }
    }
}

/// All certificates of a PEM file.
///
/// # Errors
/// [`TlsError::File`] or [`TlsError::NoCertificate`].
pub fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrap = |error| TlsError::File { file: file.to_owned(), error };
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file).map_err(wrap)?.collect();
    let found = found.map_err(wrap)?;
    if found.is_empty() { Err(TlsError::NoCertificate(file.to_owned())) } else { Ok(found) }
}

/// TLS 1.2 and 1.3, HTTP/1.1, without resumption or early data.
///
/// # Errors
/// [`TlsError`].
pub fn client_config(trust: &Trust, identity: Option<ClientIdentity>) -> Result<ClientConfig, TlsError> {
    let roots = roots(trust)?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    match identity {
        None => Ok(config),
        Some(identity) => with_identity(config, identity),
    }
}

/// The same with a client certificate, for whoever needs several on the same trust.
///
/// # Errors
/// [`TlsError::Identity`].
pub fn with_identity(mut config: ClientConfig, identity: ClientIdentity) -> Result<ClientConfig, TlsError> {
    let ClientIdentity { chain, key } = identity;
    let certified =
        CertifiedKey::from_der(chain, key, config.crypto_provider()).map_err(TlsError::Identity)?;
    config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(certified));
    Ok(config)
}

fn roots(trust: &Trust) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for file in &trust.files {
        for certificate in certificates(file)? {
            roots.add(certificate).map_err(TlsError::Anchor)?;
        }
    }
    for certificate in &trust.certificates {
        roots.add(certificate.clone()).map_err(TlsError::Anchor)?;
    }
    if !trust.only {
        // Some systems ship anchors that the library does not read; the others are used all the same.
        let system = rustls_native_certs::load_native_certs();
        let (_added, _ignored) = roots.add_parsable_certificates(system.certs);
    }
    if roots.is_empty() { Err(TlsError::NoRoots) } else { Ok(roots) }
}
