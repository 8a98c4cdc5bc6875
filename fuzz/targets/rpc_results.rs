//! What an authority answers to calls.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| muster_fuzz::rpc_results(input));
