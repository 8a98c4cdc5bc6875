//! The two services over HTTPS: configuration, TLS, routes, authentication, policy answers, enrollment.
//!
//! [`enroll`] is the file to open first; [`service`] shows how a message gets there.

mod accounts;
mod admission;
mod auth;
mod backend;
mod carried;
mod catalog;
pub mod clock;
pub mod config;
mod deadline;
mod decode;
mod desk;
pub mod directory_entry;
mod doors;
mod embedded;
pub mod enroll;
pub mod fault;
mod forest;
mod forward;
mod http;
mod identities;
mod linger;
mod on_behalf;
mod own_certificate;
mod passable;
mod private;
pub mod publish;
mod readiness;
mod reconcile;
mod record;
mod refusals;
mod renewal;
mod rpc;
pub mod service;
pub mod setup;
pub mod snippets;
mod status;
pub mod tls;
mod wstep;
mod xcep;

use muster_core::Clock;
use muster_store::StoreError;

/// A certificate in PEM form.
#[must_use]
pub fn certificate_pem(der: &[u8]) -> String {
    der::pem::encode_string("CERTIFICATE", der::pem::LineEnding::LF, der).unwrap_or_default()
}

/// What a stored request asks for, in a line for officers; `None` if it cannot be read any more.
#[must_use]
pub fn describe_request(raw: &[u8]) -> Option<String> {
    let submission = decode::submission(raw).ok()?;
    let key = format!("{} {} bits", submission.key.algorithm.as_str(), submission.key.bits);
    let names = decode::describe(&submission.names);
    Some(if names.is_empty() { key } else { format!("{key}; {names}") })
}

/// Makes a revocation list now and returns its number; for the command line, whether the service runs or not.
///
/// # Errors
/// [`service::StartError`] if CA or store cannot be used.
pub async fn publish_now(
    settings: &Settings,
    store: &muster_store::Store,
) -> Result<u64, service::StartError> {
    let clock = SystemClock;
    let authority = service::open_authority(settings, &clock)?;
    let days = settings.embedded()?.crl_days;
    match publish::make(store, &authority, days, clock.now()).await {
        Ok(crl) => Ok(crl.number),
        // The service made a list with a higher number at the same moment: it names all that this one would.
        Err(publish::PublishError::Store(StoreError::StaleCrl { latest, .. })) => Ok(latest),
        Err(error) => Err(error.into()),
    }
}

pub use auth::{KerberosError, NewToken, hash_password};
pub use backend::{check_names, expected};
pub use clock::SystemClock;
pub use config::Settings;
pub use forest::templates_in_force;
pub use service::Node;
