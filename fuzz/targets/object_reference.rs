//! A reference to an object, and the answer to an activation.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| muster_fuzz::object_reference(input));
