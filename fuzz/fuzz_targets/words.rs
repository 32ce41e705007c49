//! The words that describe jobs, claims and tasks.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pool_core::fuzzing::words(bytes));
