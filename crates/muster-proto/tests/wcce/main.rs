//! Requests and responses of MS-WCCE, driven from outside.

mod round_trip;
mod samples;
mod support;
