//! What a caller asks an authority.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| muster_fuzz::rpc_arguments(input));
