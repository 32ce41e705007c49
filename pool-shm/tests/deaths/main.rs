//! Processes that are killed while they hold something, or wait for it: the others go on, and are told what they must know.
//!
//! A child is this very test binary, started again for the test `plays_its_part` with its part in the environment; see `harness.rs`.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which may fail")]

mod harness;
mod locks;
mod meetings;
mod values;

/// The child's side: does nothing in an ordinary run.
#[test]
fn plays_its_part() {
    harness::play(&[locks::PARTS, meetings::PARTS, values::PARTS]);
}
