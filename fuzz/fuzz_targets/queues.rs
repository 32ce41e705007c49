//! Queues whose memory somebody wrote over.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pool_queue::fuzzing::queue(bytes));
