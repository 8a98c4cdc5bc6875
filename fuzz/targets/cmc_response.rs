//! The CMC full response, and the certificates that come with a CA, as the client gets them.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| muster_fuzz::cmc_response(input));
