//! Tests of pools as processes: what they promise while processes are killed, and that nothing is left behind.
//!
//! One binary, one topic per file. Every test holds a [`common::Leftovers`] guard, so under libtest they run one after the
//! other; under nextest each is a process of its own. Nothing here waits for time: a timeout only ends a deadlock.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod attempts;
mod blocks;
mod common;
mod conformance;
mod crashes;
mod deadlines;
mod farewells;
mod idle;
mod initializer;
#[cfg(feature = "inject")]
mod injections;
mod into;
mod leaving;
mod locks;
mod methods;
mod nested;
mod overwritten;
mod parent;
mod parts;
mod placing;
mod single;
mod sizes;
mod storms;
mod temporary;
mod turnover;
mod verbs;
