//! The answer of an enrollment service, or a fault, as the client gets it.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| muster_fuzz::rstrc(input));
