//! Requests and responses of MS-WCCE, driven from outside.

mod openssl;
mod round_trip;
mod samples;
mod support;
