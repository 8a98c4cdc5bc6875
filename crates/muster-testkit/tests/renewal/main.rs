//! Renewal from outside, over HTTPS: each check broken once on every route and in both forms, lines and their revocation,
//! and the acceptance criteria of renewal-only endpoints, key-based renewal and revocation.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

mod checks;
mod clock;
mod criteria;
mod example;
mod lines;
mod world;
