//! A name server's answer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| muster_fuzz::dns_answer(input));
