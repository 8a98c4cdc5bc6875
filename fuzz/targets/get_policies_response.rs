//! The answer of a policy service, as the client gets it.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| muster_fuzz::get_policies_response(input));
