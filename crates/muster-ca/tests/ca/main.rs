//! Drives the CA from outside: what it makes is read by OpenSSL and by x509-cert, what it refuses is refused for
//! the reason given.
#![expect(
    clippy::unwrap_used,
    clippy::string_slice,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

mod certificates;
mod keys;
mod lints;
mod lists;
mod properties;
mod responses;
mod roots;
mod service;
mod support;
