//! Values inside of certificates and requests: names, identifiers, policies.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| muster_fuzz::der_values(input));
