//! Kerberos through the system's MIT library, which is loaded when it is first needed.
//!
//! A machine without that library builds and runs everything else; [`Gss::load`] says what to install.
//! [`Acceptor`] is the server's side, [`Initiator`] the client's, [`Acceptor::verify_password`] checks passwords with
//! a KDC, [`Pac`] is what a directory says about a caller. [`DceInitiator`] and [`DceAcceptor`] are for remote procedure
//! calls of Windows.
//!
//! MIT Kerberos 1.19 or later is needed: an older library does not tell whether a token was bound to the channel, and
//! then every token is refused with [`Refused::NoChannelBinding`].
//!
//! All calls block: on files, and some of them on the network. Async callers use `spawn_blocking`.
//! Nothing here sets an environment variable; where KDCs are and what is permitted is the system's matter
//! (`/etc/krb5.conf`, `KRB5_CONFIG`).
//!
//! This is the only crate with `unsafe`, in `ffi.rs`, `ffi/` and `library.rs`.

use std::path::Path;

mod acceptor;
mod bindings;
mod dce;
mod ffi;
mod initiator;
mod keytab;
mod library;
pub mod pac;
mod password;
mod principal;
mod spnego;
mod status;

pub use acceptor::{Accepted, Acceptor, AcceptorError, AcceptorSettings, Refused, ReplayCache};
pub use bindings::{BindingError, ChannelBinding};
pub use dce::{DceAcceptor, DceInitiator};
pub use initiator::{
    Channel, Credential, Framing, InitiateError, Initiator, InitiatorSettings, Login, Protection, Step,
};
pub use keytab::{EncryptionType, KeytabEntry, KeytabError, parse_keytab, read_keytab, same_account};
pub use library::Missing;
pub use pac::{Pac, PacError};
pub use password::{Account, PasswordRefused, Verified};
pub use principal::{Principal, ServiceName, ServiceNameError};
pub use spnego::{Inspected, MAX_TOKEN, inspect_token};
pub use status::Status;

/// The library, loaded. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct Gss {
    api: &'static library::Api,
}

impl Gss {
    /// Loads the system's library; every call after the first finds it loaded.
    ///
    /// # Errors
    /// [`Missing`], if it is not installed or too old.
    pub fn load() -> Result<Self, Missing> {
        library::Api::load().map(|api| Self { api })
    }

    /// An acceptor of tickets for services of ours.
    ///
    /// # Errors
    /// See [`AcceptorError`].
    pub fn acceptor(self, settings: &AcceptorSettings) -> Result<Acceptor, AcceptorError> {
        Acceptor::new(self.api, settings)
    }

    /// Something to get tickets with. Blocks on files, and with a password on the KDC; a key is tried when it is first used.
    ///
    /// # Errors
    /// See [`InitiateError`].
    pub fn credential(self, login: &Login) -> Result<Credential, InitiateError> {
        Credential::new(self.api, login)
    }
}

impl Gss {
    /// A service's key to take calls with: [`Credential::dce_acceptor`]. No replay cache is needed there: the last leg proves
    /// that the client is there.
    ///
    /// # Errors
    /// See [`InitiateError`].
    pub fn service_key(self, keytab: &Path, principal: &str) -> Result<Credential, InitiateError> {
        Credential::accepting(self.api, keytab, principal)
    }

    /// A service's own account, to act for callers with. The principal, `svc-ces@CORP.EXAMPLE`, must be
    /// in the keytab. Blocks on files; the key is tried when it is first used.
    ///
    /// # Errors
    /// See [`InitiateError`].
    pub fn service(self, keytab: &Path, principal: &str) -> Result<Credential, InitiateError> {
        Credential::service(self.api, keytab, principal)
    }
}

impl Credential {
    /// An authentication to one service.
    ///
    /// # Errors
    /// If class and host make no name.
    pub fn initiator(&self, settings: InitiatorSettings) -> Result<Initiator, InitiateError> {
        Initiator::new(self, settings)
    }
}
