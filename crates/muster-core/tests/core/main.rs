//! The domain seen from outside: what policy refuses, which templates can be used, in which order a certificate comes
//! into being.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::string_slice,
    reason = "a test stops at the first surprise"
)]

mod agents;
mod directory;
mod forwarding_order;
mod identifiers;
mod issuance_order;
mod policy_esc;
mod policy_forward;
mod policy_names;
mod policy_renewal;
mod properties;
mod support;
mod templates;
