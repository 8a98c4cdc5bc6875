//! What several test suites share: an in-process server, test keys, a movable clock, the log, the real executable.
//!
//! [`TestServer`] makes a whole installation in a folder of its own and serves it in this process; [`https`] talks to
//! it, or to the executable, octet by octet; [`requests`] writes what a client would. Everything here stops at the
//! first surprise, because nothing but tests uses it.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "used by tests alone, which stop at the first surprise"
)]

pub mod ad;
pub mod ad_site;
pub mod adcs;
pub mod bed;
pub mod certmonger;
pub mod executable;
pub mod https;
pub mod island;
pub mod kdc;
pub mod log;
pub mod messages;
pub mod one_way;
pub mod peers;
pub mod ports;
pub mod requests;
pub mod server;
pub mod site;
pub mod tools;
pub mod wireshark;

pub use executable::Executable;
pub use https::{Answer, Https, Identity};
pub use requests::{Key, SignIn};
pub use server::{MovableClock, TestServer};
