//! A tower, and the endpoint mapper's answer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| muster_fuzz::epm_tower(input));
