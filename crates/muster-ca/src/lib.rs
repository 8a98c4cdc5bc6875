//! The embedded certification authority: keys, serial numbers, certificates, lints, revocation lists.
//!
//! [`Authority`] is the CA. It implements [`muster_core::issuance::Issuer`], so a certificate is only made in the
//! order that [`muster_core::issuance`] enforces:
//!
//! | step | here |
//! |---|---|
//! | build | `certificate` writes DER from [`muster_core::policy::CertificateContents`] and what was encoded at opening; `encode`, `names`, `extensions` |
//! | lint | `lint` reads the DER back with other decoders and compares it with the contents: [`Finding`] |
//! | sign | [`SigningKey`], the only place that uses a private key |
//!
//! Beside it: [`crl`] for revocation lists, [`server_certificate`] for the service's own TLS certificate, [`serial`]
//! for the random part of serial numbers, [`Authority::response_signer`] for CMC responses.
//!
//! Nothing here knows a request, the store or the clock. A certificate says what policy approved, the CA's own
//! addresses and identifiers computed from keys, and nothing else: there is no way to hand in an extension.

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
mod root;
pub mod serial;
pub mod server_certificate;

pub use authority::{Addresses, Authority, AuthorityError, CERTIFICATE_FILE, KEY_FILE, UnusableUrl};
pub use extensions::{OfferedExtension, OfferedTemplate, offered as offered_extensions};
pub use key::{KeyError, SigningAlgorithm, SigningKey, UnknownAlgorithm};
pub use key_file::{FileError, KeyFileError, Passphrase};
pub use lint::Finding;
pub use root::RootParameters;
