//! What several test suites share: an in-process server, test keys, a movable clock.

pub mod peers;
