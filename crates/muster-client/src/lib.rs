//! The enrollment client: policy, enrollment, renewal, several endpoints with fail-over.
//!
//! It speaks MS-XCEP to policy servers and MS-WSTEP to enrollment servers, ours or Microsoft's, and says nothing
//! to them that the specifications do not say. In reading order:
//!
//! * [`Endpoint`], [`tls`] and [`transport`] carry one message and say what became of it;
//! * [`failover`] orders the endpoints and decides when the next one may be tried;
//! * [`key`] makes and stores private keys.
//!
//! The library asks neither the clock nor the system's randomness by itself: both come in through [`Clock`] and
//! [`Random`]. It prints nothing.

pub mod failover;
pub mod files;
pub mod key;
pub mod tls;
pub mod transport;

mod endpoint;
mod environment;

pub use endpoint::{Endpoint, EndpointError};
pub use environment::{Clock, Random, SystemRandom};
