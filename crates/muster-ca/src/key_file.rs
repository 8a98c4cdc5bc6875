//! Private keys at rest: encrypted PKCS#8 in PEM, and files that appear whole or not at all.
//!
//! The form is the standard one (RFC 5958 3 with PBES2 of RFC 8018, scrypt of RFC 7914, AES-256-CBC), so that an
//! administrator can take a key elsewhere with `openssl pkey -in ca.key.pem`.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use der::Decode;
use der::pem::LineEnding;
use pkcs8::pkcs5::pbes2;
use pkcs8::pkcs5::scrypt;
use pkcs8::{EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef, SecretDocument};
use zeroize::Zeroizing;

use crate::key::{KeyError, SigningKey};
use crate::serial::{NoRandomness, random};

/// Mode of a file that only its owner may read.
pub(crate) const PRIVATE: u32 = 0o600;
/// Mode of a file that everybody may read.
pub(crate) const PUBLIC: u32 = 0o644;

const LABEL: &str = "ENCRYPTED PRIVATE KEY";
/// Key files have 3 kB at most; what is larger is something else.
const MAX_KEY_FILE: u64 = 64 * 1024;
/// scrypt with N = 2^14, r = 8 takes 16 MiB, half of what OpenSSL allows; p = 5 brings the work to what
/// OWASP's table asks for with that much memory.
const SCRYPT_LOG_N: u8 = 14;
const SCRYPT_R: u32 = 8;
const SCRYPT_P: u32 = 5;
/// For a passphrase of [`RANDOM_LENGTH`] random characters. That table is about passwords that people choose, where
/// the price of one guess is all the protection; 2^128 guesses are out of reach at any price, and every start of the
/// service pays it once.
const SCRYPT_P_RANDOM: u32 = 1;
/// Random characters with at least 128 bits: 4 bits each at the least (hexadecimal digits).
const RANDOM_LENGTH: usize = 32;

/// The secret that a key file is encrypted with. Never empty, never printed, erased when dropped.
#[derive(Clone)]
pub struct Passphrase {
    text: Zeroizing<String>,
    random: bool,
}

impl Passphrase {
    /// Takes over `text`, which a person may have chosen; `None` if it is empty.
    #[must_use]
    pub fn new(text: String) -> Option<Self> {
        (!text.is_empty()).then(|| Self { text: Zeroizing::new(text), random: false })
    }

    /// Takes over `text`, which the caller just drew at random from 16 characters or more. Keys encrypted with it are
    /// opened faster. `None` if it has fewer than 32 characters.
    #[must_use]
    pub fn random(text: String) -> Option<Self> {
        (text.len() >= RANDOM_LENGTH).then(|| Self { text: Zeroizing::new(text), random: true })
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

/// A file could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} {path}: {kind}", if *writing { "cannot write" } else { "cannot read" })]
pub struct FileError {
    /// The file.
    pub path: String,
    /// Whether it was to be written.
    pub writing: bool,
    /// What the operating system said.
    pub kind: io::ErrorKind,
}

impl FileError {
    pub(crate) fn reading(path: &Path, error: &io::Error) -> Self {
        Self { path: path.display().to_string(), writing: false, kind: error.kind() }
    }

    pub(crate) fn writing(path: &Path, error: &io::Error) -> Self {
        Self { path: path.display().to_string(), writing: true, kind: error.kind() }
    }
}

/// A key file could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// The operating system said no.
    #[error(transparent)]
    File(#[from] FileError),
    /// Others than the owner may read the file.
    #[error("others may read the private key in {path} (mode {mode:04o}): set its mode to 0600")]
    Exposed {
        /// The file.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// Not one whole PEM block `ENCRYPTED PRIVATE KEY`.
    #[error("the file is not an encrypted private key in PEM form, or is damaged or cut off")]
    NotAKeyFile,
    /// It does not decrypt. Which of the two it is cannot be told.
    #[error("the passphrase is wrong, or the key file is damaged")]
    Passphrase,
    /// It is encrypted in a way that is not read here.
    #[error(
        "the key file is not encrypted with AES under PBES2: rewrite it with 'openssl pkcs8 -topk8 -scrypt'"
    )]
    Encryption,
    /// It decrypts to something unusable.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// No salt could be made.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

/// The PEM text of `key`, encrypted. Takes a quarter of a second, which is what a guess costs, too; a fifth of that
/// with a random passphrase.
pub(crate) fn encrypt(key: &SigningKey, passphrase: &Passphrase) -> Result<Zeroizing<String>, KeyFileError> {
    let plain = key.to_pkcs8()?;
    let passes = if passphrase.random { SCRYPT_P_RANDOM } else { SCRYPT_P };
    let parameters = scrypt::Params::new(SCRYPT_LOG_N, SCRYPT_R, passes)
        .ok()
        .zip(Some((random::<16>()?, random::<16>()?)))
        .and_then(|(cost, (salt, iv))| pbes2::Parameters::generate_scrypt_aes256cbc(cost, &salt, iv).ok())
        .ok_or(KeyError::Encoding)?;
    let info = PrivateKeyInfoRef::from_der(&plain).map_err(|_| KeyError::Encoding)?;
    let encrypted =
        info.encrypt_with_params(parameters, passphrase.text.as_bytes()).map_err(|_| KeyError::Encoding)?;
    Ok(encrypted.to_pem(LABEL, LineEnding::LF).map_err(|_| KeyError::Encoding)?)
}

/// Reads what [`encrypt`] wrote, and what `openssl pkcs8 -topk8` writes.
pub(crate) fn decrypt(text: &str, passphrase: &Passphrase) -> Result<SigningKey, KeyFileError> {
    let (label, document) = SecretDocument::from_pem(text).map_err(|_| KeyFileError::NotAKeyFile)?;
    if label != LABEL {
        return Err(KeyFileError::NotAKeyFile);
    }
    let info = EncryptedPrivateKeyInfoRef::from_der(document.as_bytes()).map_err(|error| {
        // Well-formed, with an algorithm that is not known here.
        let unknown =
            matches!(error.kind(), der::ErrorKind::OidUnknown { .. } | der::ErrorKind::Value { .. });
        if unknown { KeyFileError::Encryption } else { KeyFileError::NotAKeyFile }
    })?;
    let plain = info.decrypt(passphrase.text.as_bytes()).map_err(|_| KeyFileError::Passphrase)?;
    Ok(SigningKey::from_pkcs8(plain.as_bytes())?)
}

/// Reads and decrypts a key file that only its owner may read.
pub(crate) fn read(path: &Path, passphrase: &Passphrase) -> Result<SigningKey, KeyFileError> {
    let metadata = fs::metadata(path).map_err(|e| FileError::reading(path, &e))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Exposed { path: path.display().to_string(), mode });
    }
    if metadata.len() > MAX_KEY_FILE {
        return Err(KeyFileError::NotAKeyFile);
    }
    let octets = fs::read(path).map(Zeroizing::new).map_err(|e| FileError::reading(path, &e))?;
    let text = std::str::from_utf8(&octets).map_err(|_| KeyFileError::NotAKeyFile)?;
    decrypt(text, passphrase)
}

/// Writes a file that was not there before, with this mode. After this it is there whole, also after a power
/// failure; on an error it is not there at all. An existing file is never touched.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] among others.
pub(crate) fn write_new(path: &Path, octets: &[u8], mode: u32) -> Result<(), FileError> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        Some(_) | None => PathBuf::from("."),
    };
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let tag = random::<8>().map(u64::from_be_bytes).unwrap_or_else(|_| std::process::id().into());
    let temporary = directory.join(format!(".{name}.{tag:016x}"));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temporary)
        .and_then(|mut file| {
            // The mode given to open is subject to the umask.
            file.set_permissions(fs::Permissions::from_mode(mode))?;
            file.write_all(octets)?;
            file.sync_all()
        })
        // A link fails where the name is taken; a rename would replace what is there, and a CA key is not to be
        // replaced.
        .and_then(|()| fs::hard_link(&temporary, path));
    let removed = fs::remove_file(&temporary);
    written
        .and(removed)
        .and_then(|()| File::open(&directory)?.sync_all())
        .map_err(|e| FileError::writing(path, &e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::SigningAlgorithm;

    /// The parameter p in an encrypted key.
    fn passes(text: &str) -> u32 {
        let (_, document) = SecretDocument::from_pem(text).unwrap();
        let info = EncryptedPrivateKeyInfoRef::from_der(document.as_bytes()).unwrap();
        let pbes2 = info.encryption_algorithm.pbes2().unwrap();
        u32::from(pbes2.kdf.scrypt().unwrap().parallelization)
    }

    #[test]
    fn random_passphrase_is_stretched_less() {
        let key = SigningKey::generate(SigningAlgorithm::P256).unwrap();
        let random = "0123456789abcdef0123456789abcdef".to_owned();
        let (chosen, drawn) =
            (Passphrase::new(random.clone()).unwrap(), Passphrase::random(random.clone()).unwrap());
        let text = encrypt(&key, &drawn).unwrap();
        assert_eq!(passes(&text), 1);
        assert_eq!(passes(&encrypt(&key, &chosen).unwrap()), 5);
        assert!(decrypt(&text, &chosen).is_ok(), "whoever reads it later need not know");
        assert!(decrypt(&text, &Passphrase::new("x".to_owned()).unwrap()).is_err());
        assert!(Passphrase::random(random.chars().skip(1).collect()).is_none());
    }
}
