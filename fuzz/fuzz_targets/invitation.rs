#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| tertulia_fuzzing::invitation(input));
