//! Every program is run as a user runs it, and what it prints is checked.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by a panic, its helpers too"
)]

mod compare;
mod complex;
mod event_driven;
mod heat;
mod histogram;
mod monte_carlo;
mod out_of_core;
mod populate;
mod queues;
mod run;
mod scope;
mod spectrogram;
mod weighted_sum;
