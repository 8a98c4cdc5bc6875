//! Whatever a peer posts, before anything is known about it.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| muster_fuzz::soap_envelope(input));
