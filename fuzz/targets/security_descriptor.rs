//! A security descriptor, as a directory stores it.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| muster_fuzz::security_descriptor(input));
