//! The question to a policy service, from any caller.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| muster_fuzz::get_policies(input));
