//! The CA's key exchange certificate (MS-WSTEP 3.1.4.2.2, MS-WCCE 3.2.1.4.3.2 property 0x0F).
//!
//! Its private key lies encrypted beside the CA's, under the same passphrase. Archival of private keys is not offered
//! yet; the key is kept so that what clients encrypt for it can be opened once it is.

use std::fs;
use std::path::Path;

use muster_core::policy::{self, Approved};
use muster_core::{Oid, Refusal, UnixTime};

use crate::authority::Authority;
use crate::key::{KeyError, SigningAlgorithm, SigningKey};
use crate::key_file::{self, FileError, KeyFileError, Passphrase};

/// No exchange certificate can be prepared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// The CA ends.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No key could be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The key could not be encrypted.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The key could not be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Makes an RSA key, writes it encrypted to `key_file` in place of an older one, and approves a certificate for it.
///
/// # Errors
/// [`ExchangeError`].
pub fn approve(
    authority: &Authority,
    template: Oid,
    key_file: &Path,
    passphrase: &Passphrase,
    now: UnixTime,
) -> Result<Approved, ExchangeError> {
    let key = SigningKey::generate(SigningAlgorithm::Rsa2048)?;
    let pem = key_file::encrypt(&key, passphrase)?;
    let approved = policy::approve_exchange(
        authority.name(),
        key.spki().to_vec(),
        template,
        now,
        authority.not_after(),
    )?;
    // The certificate of the older key has ended or is about to; nothing was ever encrypted for it.
    match fs::remove_file(key_file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(FileError::writing(key_file, &error).into());
        }
        Ok(()) | Err(_) => {}
    }
    key_file::write_new(key_file, pem.as_bytes(), key_file::PRIVATE)?;
    Ok(approved)
}
