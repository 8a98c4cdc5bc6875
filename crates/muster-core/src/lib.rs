//! The domain: callers, templates, policy, and the only order in which a certificate can be issued.
//!
//! Nothing here reads the clock, the disk or the network, and nothing here knows XML, DER, SQL or HTTP.
//! Wire formats become these types in `muster-server`; rows become them in `muster-store`.
//!
//! Three kinds of value carry proof:
//!
//! * [`policy::Approved`] is made by [`policy::decide`] alone. Only it can be prepared for signing.
//! * [`forwarding`] holds the chain for a CA that is not ours: *forwardable → recorded submission → settled*, begun by
//!   [`policy::forward`] alone.
//! * [`issuance`] holds the chain *prepared → recorded intent → signed → issued*. Each step consumes the value
//!   before it, so a certificate that was not recorded cannot be signed, and one that was not committed
//!   cannot be answered with.

pub mod agent;
pub mod audit;
pub mod defaults;
pub mod directory;
pub mod forwarding;
pub mod identity;
pub mod issuance;
pub mod names;
pub mod oid;
pub mod policy;
pub mod refusal;
pub mod request;
pub mod revocation;
pub mod risk;
pub mod template;
pub mod time;
pub mod token;

pub use identity::{Caller, Method, Principal};
pub use oid::Oid;
pub use policy::{Approved, Decision};
pub use refusal::Refusal;
pub use request::{RequestId, Serial, Submission};
pub use template::Template;
pub use time::{Clock, UnixTime};
pub use token::TokenId;
