//! The connector to an authority of AD CS: [`Adcs::submit`] asks in a caller's name, and answers with what the authority
//! said, checked.
//!
//! An authority is asked over `ICertPassage` (MS-ICPR) or over DCOM (MS-WCCE), as [`Method`] says, by Kerberos with packet
//! privacy or not at all. A connection belongs to one identity, and is used again for nobody else.
//!
//! Whether a request has reached the authority is never guessed: [`AdcsError::may_have_been_submitted`] tells a failure
//! before the call from one after which the authority may hold a request. Nothing is sent twice.
//!
//! What the authority answers is not trusted: a certificate with another key, issuer or security identifier than expected
//! is [`AdcsError::Untrusted`], and is not handed out.
//!
//! An [`Officer`] lists requests, decides on them and revokes (MS-CSRA); [`Adcs::find`] says what became of a request whose
//! call broke.

mod adcs;
mod error;
mod health;
mod kerberos;
mod officer;
mod pool;
mod reply;
mod session;
mod settings;
mod wire;

pub use adcs::{Adcs, Answer, Identity, Issued, Submission};
pub use error::AdcsError;
pub use health::{Health, OfferedTemplate};
pub use kerberos::{Accepting, Kerberos};
pub use muster_rpc::csra::{RequestState, RevocationReason, Roles};
pub use muster_rpc::status::HResult;
pub use muster_rpc::wcce::Disposition;
pub use officer::{Found, Officer, RequestRow, Wanted};
pub use reply::{Expected, Problem, check_issuer, check_reply};
pub use settings::{Method, Settings, Timeouts};
