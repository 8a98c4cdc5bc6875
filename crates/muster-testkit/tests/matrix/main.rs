//! The server from outside: every operation with every authentication under every condition, over real HTTPS; and the
//! executable, by what it prints and by what is left when it is killed.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

mod admin;
mod approvals;
mod audit;
mod cell;
mod config;
mod credentials;
mod faults;
mod files;
mod kill;
mod limits;
mod processes;
mod refusals;
mod repeats;
mod start;
