//! The embedded certification authority: keys, serial numbers, certificates, lints, revocation lists.

mod authority;
mod certificate;
pub mod crl;
mod encode;
pub mod exchange;
mod extensions;
mod key;
mod key_file;
mod lint;
mod names;
pub mod serial;
pub mod server_certificate;

pub use authority::{
    Addresses, Authority, AuthorityError, CERTIFICATE_FILE, KEY_FILE, RootParameters, UnusableUrl,
};
pub use extensions::{OfferedExtension, offered as offered_extensions};
pub use key::{KeyError, SigningAlgorithm, SigningKey, UnknownAlgorithm};
pub use key_file::{FileError, KeyFileError, Passphrase};
pub use lint::Finding;
