//! What arrives at the end of a pipe.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pool_queue::fuzzing::pipe(bytes));
