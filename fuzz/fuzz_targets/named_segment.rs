//! Names of segments, and the stamps behind their elements.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pool_shm::fuzzing::named_segment(bytes));
