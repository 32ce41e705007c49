//! What clients send to a manager: frames, requests, deaths.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pool_queue::fuzzing::manager(bytes));
