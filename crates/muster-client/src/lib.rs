//! The enrollment client: policy, enrollment, renewal, several endpoints with fail-over.
//!
//! It speaks MS-XCEP to policy servers and MS-WSTEP to enrollment servers, ours or Microsoft's, and says nothing
//! to them that the specifications do not say. In reading order:
//!
//! * [`Endpoint`], [`tls`], [`kerberos`] and [`transport`] carry one message and say what became of it;
//! * [`failover`] orders the endpoints and decides when the next one may be tried;
//! * [`session`] adds headers and credentials and reads the answer;
//! * [`policy`] gets and keeps policies;
//! * [`key`] makes and stores private keys, [`request`] builds requests with them;
//! * [`enrollment`] takes a request to its certificate, which [`answer`] judges; [`pkcs12`] packs it up;
//! * [`autoenroll`] does so unattended, [`group_policy`] knows where.
//!
//! The library asks neither the clock nor the system's randomness by itself: both come in through [`Clock`] and
//! [`Random`]. It prints nothing.

pub mod answer;
pub mod autoenroll;
pub mod certificate;
pub mod enrollment;
pub mod failover;
pub mod files;
pub mod group_policy;
pub mod kerberos;
pub mod key;
pub mod pkcs12;
pub mod policy;
pub mod request;
pub mod session;
pub mod status;
pub mod tls;
pub mod transport;

mod endpoint;
mod environment;

pub use endpoint::{Endpoint, EndpointError};
pub use environment::{Clock, Random, SystemRandom};
// Types of the protocol that callers handle.
pub use muster_proto::soap::{DateTime, FaultKind, Password, UsernameToken};
pub use muster_proto::wcce::CertificateTemplate;
pub use muster_proto::xcep::ClientAuthentication;
