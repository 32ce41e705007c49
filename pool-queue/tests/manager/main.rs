//! Managers: their objects, deaths of clients and of managers, what strangers send, and many clients at once.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by a panic, its helpers too"
)]

mod common;
mod deaths;
mod hosted;
mod life;
mod objects;
mod security;
mod storm;
