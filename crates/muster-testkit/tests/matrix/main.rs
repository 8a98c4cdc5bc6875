//! The server from outside: every operation with every authentication under every condition, over real HTTPS.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

mod cell;
mod credentials;
mod limits;
mod refusals;
mod repeats;
