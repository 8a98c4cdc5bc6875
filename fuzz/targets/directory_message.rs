//! A message of a directory server.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| muster_fuzz::directory_message(input));
