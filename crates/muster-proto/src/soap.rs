//! SOAP 1.2 messages with WS-Addressing and WS-Security headers, as MS-XCEP and MS-WSTEP use them.
//!
//! A message is parsed once, into one typed [`Envelope`]; whatever could be read in two ways (a second Body, a
//! second Security header) is refused. The same types serve the server and the client.

pub mod fault;
pub mod names;
pub mod xml;

mod date_time;
mod envelope;
mod header;
mod security;

pub use date_time::{DateTime, DateTimeError};
pub use envelope::{BadEnvelope, Envelope, EnvelopeError};
pub use fault::{Fault, FaultKind, HeaderName};
pub use header::{RequestHeader, ResponseHeader};
pub use security::{Credentials, Password, Security, Timestamp, UsernameToken};
