//! The store seen from outside: through its API, and where a fault has to be provoked, through its file.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "a test may stop at the first surprise"
)]

mod accounts;
mod audit;
mod certificates;
mod concurrency;
mod crash;
mod crl;
mod faults;
mod forwarding;
mod lines;
mod processes;
mod requests;
mod schema;
mod support;
mod templates;
