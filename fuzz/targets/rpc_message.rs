//! One message of an RPC connection, and what both ends of a connection make of it.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| muster_fuzz::rpc_message(input));
