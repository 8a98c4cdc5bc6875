//! The token of a request: PKCS#10, CMS renewal or CMC.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| muster_fuzz::certificate_request(input));
