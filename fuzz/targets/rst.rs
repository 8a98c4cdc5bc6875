//! The request to an enrollment service, from any caller.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| muster_fuzz::rst(input));
