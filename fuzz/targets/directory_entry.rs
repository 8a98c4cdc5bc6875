//! An entry of a directory, as LDIF.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &str| muster_fuzz::directory_entry(input));
