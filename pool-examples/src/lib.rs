//! What the example programs share: how they end, print, measure and draw; and what the tests of processes need.
//!
//! The programs themselves stand in `src/bin`, each short enough to be read in one go. Start with `populate`.

pub mod args;
mod axes;
pub mod failure;
pub mod font;
pub mod histogram;
pub mod leftovers;
pub mod limit;
pub mod memory;
pub mod picture;
pub mod plate;
pub mod process;
pub mod progress;
pub mod replace;
mod riff;
pub mod spectrum;
mod sys;
pub mod table;
pub mod transform;
pub mod wav;

/// The snippets of the workspace's README, compiled and run as tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

/// The snippets of ARCHITECTURE.md.
#[cfg(doctest)]
#[doc = include_str!("../../ARCHITECTURE.md")]
pub struct Architecture;
