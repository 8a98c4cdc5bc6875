//! The token of `Authorization: Negotiate`, before the library sees it.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| muster_fuzz::kerberos_token(input));
