//! What several test suites share: an in-process server, test keys, a movable clock.

pub mod messages;
pub mod peers;
pub mod site;
pub mod tools;
