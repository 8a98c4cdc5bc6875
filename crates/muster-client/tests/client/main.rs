//! The client against small TLS servers that are well, ill, slow, or lie.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a test may stop at the first surprise"
)]

mod enroll;
mod policy;
mod server;
mod service;
mod transport;
mod vectors;
