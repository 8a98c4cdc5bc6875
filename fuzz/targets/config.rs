//! The configuration file, as an administrator writes it.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &str| muster_fuzz::config(input));
