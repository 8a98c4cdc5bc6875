//! What a directory says about a caller, inside of a ticket.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| muster_fuzz::pac(input));
