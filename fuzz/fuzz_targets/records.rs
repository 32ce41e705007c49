//! The records of a worker's stream.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pool_core::fuzzing::records(bytes));
