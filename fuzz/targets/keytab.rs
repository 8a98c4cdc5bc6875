//! A keytab, as other programs write it.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| muster_fuzz::keytab(input));
