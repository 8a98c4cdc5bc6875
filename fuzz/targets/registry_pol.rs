//! Registry.pol of group policy, as it lies in SYSVOL.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| muster_fuzz::registry_pol(input));
