//! Handles of arrays.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pool_shm::fuzzing::array_handle(bytes));
