//! The certificate that an authority answers with, against what was asked for.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| muster_fuzz::authority_reply(input));
