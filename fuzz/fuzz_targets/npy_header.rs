//! Headers of `.npy` files.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pool_shm::fuzzing::npy_header(bytes));
