//! The certification authority: its certificate, its key, and what it writes into everything that it signs.
//!
//! On disk it is a directory with `ca.pem` (the certificate) and `ca.key.pem` (the encrypted key). Nothing here
//! replaces either file.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

use const_oid::AssociatedOid;
use der::pem::LineEnding;
use der::{Decode, Document, Reader, SliceReader};
use muster_core::UnixTime;
use muster_core::names::NameAttribute;
use muster_proto::wcce::SignBytes;
use x509_cert::TbsCertificate;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, SubjectKeyIdentifier};

use crate::extensions;
use crate::key::{KeyError, SigningAlgorithm, SigningKey};
use crate::key_file::{self, FileError, KeyFileError, Passphrase};
use crate::names;
use crate::root::{RootParameters, root_certificate};
use crate::serial::NoRandomness;

/// Name of the certificate's file.
pub const CERTIFICATE_FILE: &str = "ca.pem";
/// Name of the key's file.
pub const KEY_FILE: &str = "ca.key.pem";

/// A CA certificate has 2 kB; what is larger is something else.
const MAX_CERTIFICATE_FILE: u64 = 64 * 1024;
/// Longest URL that is written into certificates.
const MAX_URL: usize = 1_024;

/// Where relying parties find what they need to check a certificate of this CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    crl: String,
    certificate: String,
}

impl Addresses {
    /// The URL of the revocation list and that of the CA certificate (DER). Both have to be `http://`: a client
    /// that needed TLS to fetch a revocation list could need that list for its TLS (RFC 5280 8).
    ///
    /// # Errors
    /// [`UnusableUrl`].
    pub fn new(crl: &str, certificate: &str) -> Result<Self, UnusableUrl> {
        let check = |url: &str| {
            let rest = url.strip_prefix("http://").unwrap_or_default();
            let ok = !rest.is_empty()
                && !rest.starts_with('/')
                && url.len() <= MAX_URL
                && url.bytes().all(|b| (0x21..0x7f).contains(&b));
            if ok { Ok(url.to_owned()) } else { Err(UnusableUrl(url.chars().take(80).collect())) }
        };
        Ok(Self { crl: check(crl)?, certificate: check(certificate)? })
    }

    /// URL of the revocation list.
    #[must_use]
    pub fn crl(&self) -> &str {
        &self.crl
    }

    /// URL of the CA certificate.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }
}

/// The text cannot be the address of a revocation list or of a CA certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' cannot be written into certificates: use an http:// URL in ASCII without spaces")]
pub struct UnusableUrl(String);

/// A CA could not be made or opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// There is a CA in this directory, or a part of one.
    #[error("{0} exists already: a CA is never overwritten; choose another directory")]
    Exists(String),
    /// The operating system said no.
    #[error(transparent)]
    File(#[from] FileError),
    /// The key file cannot be used.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// No serial number could be made.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// The parameters do not make a root.
    #[error("the CA certificate cannot be made: {0}")]
    Parameters(String),
    /// The file is not a certificate.
    #[error("{path} is not a certificate in PEM form, or is damaged: {what}")]
    NotACertificate {
        /// The file.
        path: String,
        /// What was looked for.
        what: &'static str,
    },
    /// The certificate is not one that may issue.
    #[error("{path} is not the certificate of a CA: {what}")]
    NotACa {
        /// The file.
        path: String,
        /// What is missing.
        what: &'static str,
    },
    /// Certificate and key are of different CAs.
    #[error("the key in {key} does not belong to the certificate in {certificate}")]
    KeyMismatch {
        /// The key's file.
        key: String,
        /// The certificate's file.
        certificate: String,
    },
}

/// A certification authority that is ready to sign.
#[derive(Debug)]
pub struct Authority {
    certificate: Vec<u8>,
    subject: Vec<u8>,
    name: String,
    not_before: UnixTime,
    not_after: UnixTime,
    key: SigningKey,
    key_identifier: Vec<u8>,
    /// Extension authorityKeyIdentifier of everything issued.
    authority_key_identifier: Vec<u8>,
    /// Extensions cRLDistributionPoints and authorityInfoAccess of everything issued.
    address_extensions: Vec<u8>,
    addresses: Addresses,
    /// How many certificates were signed since it was opened.
    signatures: AtomicU64,
}

impl Authority {
    /// Makes a self-signed root in `directory`, which is created if need be, and opens it.
    ///
    /// # Errors
    /// [`AuthorityError`]; an existing CA is not touched.
    pub fn create(
        parameters: &RootParameters,
        addresses: Addresses,
        directory: &Path,
        passphrase: &Passphrase,
        now: UnixTime,
    ) -> Result<Self, AuthorityError> {
        let (certificate_path, key_path) = paths(directory);
        for path in [&certificate_path, &key_path] {
            if fs::symlink_metadata(path).is_ok() {
                return Err(AuthorityError::Exists(path.display().to_string()));
            }
        }
        let key = SigningKey::generate(parameters.algorithm)?;
        let certificate = root_certificate(parameters, &key, now)?;
        let certificate_pem = Document::try_from(certificate)
            .and_then(|document| document.to_pem("CERTIFICATE", LineEnding::LF))
            .map_err(|e| AuthorityError::Parameters(e.to_string()))?;
        let key_pem = key_file::encrypt(&key, passphrase)?;
        drop(key);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|e| FileError::writing(directory, &e))?;
        let write = |path: &Path, octets: &[u8], mode| match key_file::write_new(path, octets, mode) {
            Err(error) if error.kind == io::ErrorKind::AlreadyExists => {
                Err(AuthorityError::Exists(error.path))
            }
            result => result.map_err(AuthorityError::File),
        };
        write(&key_path, key_pem.as_bytes(), key_file::PRIVATE)?;
        write(&certificate_path, certificate_pem.as_bytes(), key_file::PUBLIC)?;
        // What counts is what is on disk: read it back.
        Self::open(directory, addresses, passphrase)
    }

    /// Opens the CA in `directory` and checks that its parts belong together. Whether the certificate is valid
    /// now is for the caller to see, by [`Self::not_after`].
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn open(
        directory: &Path,
        addresses: Addresses,
        passphrase: &Passphrase,
    ) -> Result<Self, AuthorityError> {
        let (certificate_path, key_path) = paths(directory);
        let certificate = read_certificate(&certificate_path)?;
        let key = key_file::read(&key_path, passphrase)?;
        Self::assemble_parts(certificate, key, addresses).map_err(|problem| {
            problem.at(certificate_path.display().to_string(), key_path.display().to_string())
        })
    }

    /// Makes a root whose key is in memory and nowhere else: for tests and trials, whose certificates nobody is to
    /// trust. It spares them the time that a key file takes to encrypt and to decrypt.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn in_memory(
        parameters: &RootParameters,
        addresses: Addresses,
        now: UnixTime,
    ) -> Result<Self, AuthorityError> {
        let key = SigningKey::generate(parameters.algorithm)?;
        let certificate = root_certificate(parameters, &key, now)?;
        Self::assemble_parts(certificate, key, addresses)
            .map_err(|problem| problem.at("the certificate in memory".to_owned(), "memory".to_owned()))
    }

    fn assemble_parts(certificate: Vec<u8>, key: SigningKey, addresses: Addresses) -> Result<Self, Problem> {
        let Parts { tbs, signature, subject, issuer, spki } =
            Parts::read(&certificate).ok_or(Problem::NotACertificate("its structure is unknown"))?;
        let decoded =
            TbsCertificate::from_der(tbs).map_err(|_| Problem::NotACertificate("it does not decode"))?;
        let (critical, constraints) =
            extension::<BasicConstraints>(&decoded)?.ok_or(Problem::NotACa("it has no basic constraints"))?;
        if !critical || !constraints.ca {
            return Err(Problem::NotACa("its basic constraints do not say so"));
        }
        let (_, usage) = extension::<KeyUsage>(&decoded)?.ok_or(Problem::NotACa("it has no key usage"))?;
        if !usage.key_cert_sign() || !usage.crl_sign() {
            return Err(Problem::NotACa("its key may not sign certificates and revocation lists"));
        }
        let (_, identifier) = extension::<SubjectKeyIdentifier>(&decoded)?
            .ok_or(Problem::NotACa("it has no subject key identifier"))?;
        if decoded.subject().is_empty() {
            return Err(Problem::NotACa("its subject is empty"));
        }
        if spki != key.spki() {
            return Err(Problem::KeyMismatch);
        }
        if subject == issuer && !key.verifies(tbs, signature) {
            return Err(Problem::NotACertificate("its signature is wrong"));
        }
        let instant = |time: &x509_cert::time::Time| {
            i64::try_from(time.to_unix_duration().as_secs())
                .map(UnixTime)
                .map_err(|_| Problem::NotACertificate("its validity is out of range"))
        };
        let key_identifier = identifier.0.as_bytes().to_vec();
        let mut address_extensions = extensions::distribution_point(addresses.crl());
        address_extensions.extend(extensions::issuer_access(addresses.certificate()));
        Ok(Self {
            subject: subject.to_vec(),
            name: common_name(&decoded),
            not_before: instant(&decoded.validity().not_before)?,
            not_after: instant(&decoded.validity().not_after)?,
            authority_key_identifier: extensions::authority_key_identifier(&key_identifier),
            key_identifier,
            address_extensions,
            addresses,
            key,
            signatures: AtomicU64::new(0),
            certificate,
        })
    }

    /// The CA certificate, DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// The common name, or the whole subject where it has none; for people.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The subject, DER: the issuer of everything that this CA signs.
    #[must_use]
    pub fn subject(&self) -> &[u8] {
        &self.subject
    }

    /// Begin of validity.
    #[must_use]
    pub const fn not_before(&self) -> UnixTime {
        self.not_before
    }

    /// End of validity; nothing issued lives longer.
    #[must_use]
    pub const fn not_after(&self) -> UnixTime {
        self.not_after
    }

    /// What it signs with.
    #[must_use]
    pub const fn algorithm(&self) -> SigningAlgorithm {
        self.key.algorithm()
    }

    /// The subject key identifier.
    #[must_use]
    pub fn key_identifier(&self) -> &[u8] {
        &self.key_identifier
    }

    /// Where the revocation list and the CA certificate are found.
    #[must_use]
    pub const fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// What signs CMC responses: hand it to `muster_proto::wcce::build_response` together with
    /// [`Self::certificate`].
    #[must_use]
    pub fn response_signer(&self) -> &dyn SignBytes {
        &self.key
    }

    pub(crate) const fn key(&self) -> &SigningKey {
        &self.key
    }

    pub(crate) const fn algorithm_identifier(&self) -> &'static [u8] {
        self.key.algorithm().identifier()
    }

    pub(crate) fn authority_key_identifier(&self) -> &[u8] {
        &self.authority_key_identifier
    }

    pub(crate) fn address_extensions(&self) -> &[u8] {
        &self.address_extensions
    }

    pub(crate) const fn signatures(&self) -> &AtomicU64 {
        &self.signatures
    }
}

/// Why certificate and key do not make a CA; the caller knows the files.
enum Problem {
    NotACertificate(&'static str),
    NotACa(&'static str),
    KeyMismatch,
}

impl Problem {
    fn at(self, certificate: String, key: String) -> AuthorityError {
        match self {
            Self::NotACertificate(what) => AuthorityError::NotACertificate { path: certificate, what },
            Self::NotACa(what) => AuthorityError::NotACa { path: certificate, what },
            Self::KeyMismatch => AuthorityError::KeyMismatch { key, certificate },
        }
    }
}

fn paths(directory: &Path) -> (PathBuf, PathBuf) {
    (directory.join(CERTIFICATE_FILE), directory.join(KEY_FILE))
}

fn read_certificate(path: &Path) -> Result<Vec<u8>, AuthorityError> {
    let not_one = |what| AuthorityError::NotACertificate { path: path.display().to_string(), what };
    let length = fs::metadata(path).map_err(|e| FileError::reading(path, &e))?.len();
    if length > MAX_CERTIFICATE_FILE {
        return Err(not_one("the file is too large"));
    }
    let octets = fs::read(path).map_err(|e| FileError::reading(path, &e))?;
    let text = std::str::from_utf8(&octets).map_err(|_| not_one("the file is not text"))?;
    let (label, document) = Document::from_pem(text).map_err(|_| not_one("there is no whole PEM block"))?;
    if label != "CERTIFICATE" {
        return Err(not_one("the PEM block has another label"));
    }
    Ok(document.as_bytes().to_vec())
}

/// The octets of a Certificate's parts.
struct Parts<'a> {
    tbs: &'a [u8],
    signature: &'a [u8],
    issuer: &'a [u8],
    subject: &'a [u8],
    spki: &'a [u8],
}

impl<'a> Parts<'a> {
    fn read(certificate: &'a [u8]) -> Option<Self> {
        let mut reader = SliceReader::new(certificate).ok()?;
        let (tbs, signature) = reader
            .sequence(|reader| {
                let tbs = reader.tlv_bytes()?;
                reader.tlv_bytes()?;
                Ok::<_, der::Error>((tbs, reader.decode::<der::asn1::BitStringRef<'_>>()?))
            })
            .ok()?;
        if !reader.is_finished() {
            return None;
        }
        let fields = elements(tbs)?;
        match fields.as_slice() {
            [_version, _serial, _algorithm, issuer, _validity, subject, spki, ..] => {
                Some(Self { tbs, signature: signature.as_bytes()?, issuer, subject, spki })
            }
            _ => None,
        }
    }
}

/// The octets of each element inside one constructed SEQUENCE.
pub(crate) fn elements(tbs: &[u8]) -> Option<Vec<&[u8]>> {
    let mut reader = SliceReader::new(tbs).ok()?;
    let fields = reader
        .sequence(|reader| {
            let mut fields = Vec::with_capacity(8);
            while !reader.is_finished() {
                fields.push(reader.tlv_bytes()?);
            }
            Ok::<_, der::Error>(fields)
        })
        .ok()?;
    reader.is_finished().then_some(fields)
}

/// An extension that may be there once.
fn extension<T: for<'a> Decode<'a> + AssociatedOid>(
    certificate: &TbsCertificate,
) -> Result<Option<(bool, T)>, Problem> {
    let mut found = certificate.extensions().into_iter().flatten().filter(|e| e.extn_id == T::OID);
    let Some(extension) = found.next() else { return Ok(None) };
    if found.next().is_some() {
        return Err(Problem::NotACertificate("an extension is there twice"));
    }
    T::from_der(extension.extn_value.as_bytes())
        .map(|value| Some((extension.critical, value)))
        .map_err(|_| Problem::NotACertificate("an extension does not decode"))
}

fn common_name(certificate: &TbsCertificate) -> String {
    let oid = names::syntax(NameAttribute::CommonName).oid;
    certificate
        .subject()
        .iter()
        .find(|attribute| attribute.oid.as_bytes() == oid)
        .and_then(|attribute| std::str::from_utf8(attribute.value.value()).ok())
        .map_or_else(|| certificate.subject().to_string(), str::to_owned)
}
