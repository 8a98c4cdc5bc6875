//! SOAP, MS-XCEP and MS-WSTEP messages, driven from outside.
#![expect(clippy::expect_used, reason = "helpers of tests may stop at the first surprise")]

mod envelope;
mod fault;
mod hostile;
mod round_trip;
mod support;
mod traps;
mod wstep;
mod xcep;
mod xml;
