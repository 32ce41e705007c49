//! What processes are told at their start, and what a single process says of its end.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pool_core::fuzzing::messages(bytes));
