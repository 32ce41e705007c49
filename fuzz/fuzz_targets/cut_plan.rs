//! Plans of blocks of an array.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pool_shm::fuzzing::cut_plan(bytes));
