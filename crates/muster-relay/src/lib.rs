//! The connector to an upstream: another enrollment service (CES), Microsoft's or ours, that is asked over HTTPS with a
//! request that came from somebody else. It is for a node that holds no right at any authority.
//!
//! [`Upstream::submit`] sends a request once, in the name of an [`UpstreamIdentity`], and answers with what the upstream
//! said, checked. What carries the message is the client's transport; what judges the certificate is the connector's to
//! AD CS, because a lie is the same lie whichever way it came.
//!
//! Whether a request has arrived is never guessed: [`RelayError::may_have_been_submitted`] tells a failure before the
//! message was sent from one after which the upstream may hold a request. Nothing is sent twice.
//!
//! No connection is kept: each message gets its own, with a TLS session of its own. So none can carry a message of
//! somebody else, whatever a server remembers of a connection (TLS client certificates belong to one, and so do, on some
//! servers, Kerberos sign-ins).

mod answer;
mod error;
mod identity;
mod upstream;

pub use answer::Answer;
pub use error::{Distrust, RelayError};
pub use identity::UpstreamIdentity;
pub use muster_adcs::{Expected, Problem};
pub use muster_client::tls::{TlsError, Trust};
pub use muster_client::transport::{NotSent, Timeouts, TurnedAway, Unknown};
pub use muster_client::{DateTime, Endpoint, EndpointError, Password};
pub use upstream::{Settings, Submission, Upstream};
